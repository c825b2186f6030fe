//! `[[….automation]]`: a reply, and what is done about it.

use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, without_meaning};
use super::pattern::Pattern;
use super::reading::{FileLine, Reading};
use super::value::{self, Rate, Value};
use crate::config::literal::{Wrong, boolean, kind, quoted, text};
use crate::config::nearest::nearest;
use crate::limits;
use crate::mail::classify::{CLASSES, Class};

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where it stands.
    pub place: FileLine,
    /// In whose section, if that is a provider's.
    pub provider: Option<Box<str>>,
    /// `regex`: a reply that one of them matches.
    pub patterns: Vec<Pattern>,
    /// When it acts.
    pub trigger: Trigger,
    /// What it does.
    pub actions: Vec<Action>,
    /// For how long; there is one where there are actions.
    pub duration: Option<Duration>,
    /// Also on what this relay says itself, of a timeout for one.
    pub match_internal: bool,
    /// Replies that it is for.
    pub examples: Vec<Box<str>>,
    /// What the reply is about.
    pub class: Option<Class>,
    /// Whether the reply is final, whatever its first digit says.
    pub permanent: Option<bool>,
    /// Who sends to the site while it holds.
    pub fallback_source: Option<Box<str>>,
}

/// When a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// On each reply that it matches.
    Immediate,
    /// Once so many have come in such a time.
    Threshold(Rate),
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The source rests at the site.
    Suspend,
    /// The tenant's mail to the domain rests.
    SuspendTenant,
    /// The campaign's mail to the domain rests.
    SuspendCampaign,
    /// The domain's mail is returned.
    Bounce,
    /// The tenant's mail to the domain is returned.
    BounceTenant,
    /// The campaign's mail to the domain is returned.
    BounceCampaign,
    /// A key has another value for the site, or (`domain`) for the domain alone.
    Set {
        /// Which.
        key: Key,
        /// What it is meanwhile.
        value: Value,
        /// `SetDomainConfig`
        domain: bool,
    },
}

const WORDS: [(&str, Action); 6] = [
    ("Suspend", Action::Suspend),
    ("SuspendTenant", Action::SuspendTenant),
    ("SuspendCampaign", Action::SuspendCampaign),
    ("Bounce", Action::Bounce),
    ("BounceTenant", Action::BounceTenant),
    ("BounceCampaign", Action::BounceCampaign),
];

impl std::fmt::Display for Action {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Set { key, value, domain } => {
                let domain = if *domain { " of the domain" } else { "" };
                write!(formatter, "{}{domain} = {value}", key.name())
            }
            action => {
                let word = WORDS.iter().find(|(_, known)| known == action);
                formatter.write_str(word.map_or("", |(word, _)| word))
            }
        }
    }
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trigger::Immediate => formatter.write_str("Immediate"),
            Trigger::Threshold(rate) => write!(formatter, "{rate}"),
        }
    }
}

impl Rule {
    /// Whether a reply is meant; `own`: this relay said it, not the next hop.
    pub fn matches(&self, reply: &[u8], own: bool) -> bool {
        (self.match_internal || !own) && self.patterns.iter().any(|pattern| pattern.matches(reply))
    }
}

const KEYS: [&str; 9] = [
    "regex",
    "trigger",
    "action",
    "duration",
    "match_internal",
    "example",
    "class",
    "permanent",
    "fallback_source",
];

/// Reads one, at its place in `section`, which may be a provider's. None: it is told what is wrong with it.
pub(super) fn read(
    reading: &Reading<'_>,
    (section, provider): (&str, Option<&str>),
    table: &DeTable<'_>,
    span: Range<usize>,
) -> Option<Rule> {
    explain_unknown(reading, section, table);
    let of = RuleKeys { reading, section, provider, table };
    let patterns = of.patterns(span.clone());
    let trigger = of.get("trigger", trigger);
    let actions = of.actions();
    let duration = of.get("duration", value::read_time);
    let match_internal = of.get("match_internal", boolean);
    let examples =
        of.list("example", limits::SHAPING_EXAMPLES_MAX, |value| text(value, "421 text").map(Box::from));
    let class = of.get("class", class);
    let permanent = of.get("permanent", boolean);
    let fallback_source = of.get("fallback_source", value::source);
    let rule = Rule {
        place: reading.place(span.start),
        provider: provider.map(Box::from),
        patterns: patterns?,
        trigger: trigger?.unwrap_or(Trigger::Immediate),
        actions: actions?,
        duration: duration?,
        match_internal: match_internal?.unwrap_or(false),
        examples: examples?,
        class: class?,
        permanent: permanent?,
        fallback_source: fallback_source?,
    };
    let lasts = !rule.actions.is_empty() || rule.fallback_source.is_some();
    if lasts && rule.duration.is_none() {
        reading.fail(
            span,
            &format!("{section}.duration"),
            "this key is missing",
            "add duration = \"1h\": how long it holds",
        );
        return None;
    }
    let says = lasts || rule.class.is_some() || rule.permanent.is_some();
    // Where a key of KumoMTA's was all that it set, that was told.
    if !says && !table.contains_key("action") {
        reading.fail(
            span,
            &format!("{section}.action"),
            "this key is missing",
            "add action = \"Suspend\", or another",
        );
        return None;
    }
    Some(rule)
}

fn explain_unknown(reading: &Reading<'_>, section: &str, table: &DeTable<'_>) {
    for (key, value) in table {
        let name = &**key.get_ref();
        if KEYS.contains(&name) {
            continue;
        }
        let fix = if Key::named(name).is_some() {
            "it belongs in the section, or in action = {SetConfig = {name = …, value = …}}".to_owned()
        } else if let Some(close) = nearest(name, KEYS.into_iter(), 3) {
            format!("did you mean {close} = {}?", reading.excerpt(value.span()))
        } else {
            format!("known here: {}", KEYS.join(", "))
        };
        reading.fail(key.span(), &format!("{section}.{name}"), "unknown key", fix);
    }
}

/// The keys of one rule.
struct RuleKeys<'a, 'b> {
    reading: &'a Reading<'b>,
    section: &'a str,
    provider: Option<&'a str>,
    table: &'a DeTable<'a>,
}

impl RuleKeys<'_, '_> {
    /// None: it is wrong, and that is told; Some(None): it is not there.
    fn get<T>(&self, key: &str, parse: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>) -> Option<Option<T>> {
        match self.table.get(key) {
            Some(value) => self.reading.value(value, self.section, key, parse).map(Some),
            None => Some(None),
        }
    }

    /// One, or a list of them.
    fn list<T>(
        &self,
        key: &str,
        most: usize,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let Some(value) = self.table.get(key) else { return Some(Vec::new()) };
        let DeValue::Array(all) = value.get_ref() else {
            return self.reading.value(value, self.section, key, parse).map(|one| vec![one]);
        };
        if all.len() > most {
            let problem = format!("there are more than {most}");
            self.reading.fail(
                value.span(),
                &format!("{}.{key}", self.section),
                problem,
                "write several rules",
            );
            return None;
        }
        let read = |one: &Spanned<DeValue<'_>>| self.reading.value(one, self.section, key, &parse);
        // All of them, so that each that is wrong is told.
        let all: Vec<Option<T>> = all.iter().map(read).collect();
        all.into_iter().collect()
    }

    fn patterns(&self, span: Range<usize>) -> Option<Vec<Pattern>> {
        let pattern = |value: &DeValue<'_>| {
            let written = text(value, "too many")?;
            Pattern::new(written).map_err(|why| {
                let problem = format!("{} is no pattern: {why}", quoted(written));
                Wrong::act(problem, "mend it: the syntax is that of Rust's regex, in linear time")
            })
        };
        let patterns = self.list("regex", limits::SHAPING_PATTERNS_MAX, pattern)?;
        if patterns.is_empty() {
            let fix = "add regex = '''too many connections''': the text of the reply";
            self.reading.fail(span, &format!("{}.regex", self.section), "this key is missing", fix);
            return None;
        }
        Some(patterns)
    }

    fn actions(&self) -> Option<Vec<Action>> {
        let Some(all) = self.table.get("action") else { return Some(Vec::new()) };
        let parse = |value: &DeValue<'_>| self.action(value, all.span());
        let actions = self.list("action", limits::SHAPING_ACTIONS_MAX, parse)?;
        Some(actions.into_iter().flatten().collect())
    }

    /// None: it sets what has no meaning here.
    fn action(&self, value: &DeValue<'_>, span: Range<usize>) -> Result<Option<Action>, Wrong> {
        const USUAL: &str = "\"Suspend\"";
        if let Some(word) = value.as_str() {
            let known = WORDS.iter().find(|(known, _)| *known == word);
            return known.map(|(_, action)| Some(action.clone())).ok_or_else(|| {
                let words = || WORDS.iter().map(|(word, _)| *word);
                let same = words().find(|known| known.eq_ignore_ascii_case(word));
                let close = same.or(nearest(word, words(), 4)).unwrap_or("Suspend");
                let more = format!(", or one of {}", words().collect::<Vec<_>>().join(", "));
                Wrong::write(format!("{} is no action", quoted(word)), quoted(close), &more)
            });
        }
        let table = value.as_table().filter(|table| table.len() == 1);
        let one = table.and_then(|table| table.iter().next());
        let Some((word, inner)) = one else {
            let more = ", or {SetConfig = {name = \"connection_limit\", value = 1}}";
            return Err(Wrong::write(format!("this is {}, not an action", kind(value)), USUAL, more));
        };
        let domain = match &**word.get_ref() {
            "SetConfig" => false,
            "SetDomainConfig" => true,
            other => {
                let problem = format!("{} is no action", quoted(other));
                return Err(Wrong::write(
                    problem,
                    "{SetConfig = {name = \"connection_limit\", value = 1}}",
                    "",
                ));
            }
        };
        self.set(inner.get_ref(), domain, span)
    }

    fn set(&self, value: &DeValue<'_>, domain: bool, span: Range<usize>) -> Result<Option<Action>, Wrong> {
        let word = if domain { "SetDomainConfig" } else { "SetConfig" };
        let shape = format!("{{{word} = {{name = \"connection_limit\", value = 1}}}}");
        let table = value.as_table().filter(|table| table.len() == 2);
        let given =
            table.and_then(|table| Some((table.get("name")?.get_ref().as_str()?, table.get("value")?)));
        let Some((name, value)) = given else {
            return Err(Wrong::write("it wants a name and a value", shape, ""));
        };
        if let Some(why) = without_meaning(name) {
            let key = format!("{}.action", self.section);
            let problem = format!("{name} has no meaning here: {why}");
            self.reading.warn(span, &key, problem, "leave it out; it changes nothing");
            return Ok(None);
        }
        let Some(key) = Key::named(name) else {
            let close = nearest(name, Key::ALL.iter().map(|key| key.name()), 3);
            let fix =
                close.map_or("name a key of a section".to_owned(), |close| format!("did you mean {close}?"));
            return Err(Wrong::act(format!("there is no key {}", quoted(name)), fix));
        };
        if let Some(wrong) = self.cannot_be_set(key) {
            return Err(wrong);
        }
        let value = value::read(value.get_ref(), key.kind()).map_err(|wrong| {
            Wrong::act(format!("{name}: {}", wrong.problem), format!("write it as {shape}"))
        })?;
        Ok(Some(Action::Set { key, value, domain }))
    }

    /// What would have no effect here, or not the one that its name says.
    fn cannot_be_set(&self, key: Key) -> Option<Wrong> {
        if key == Key::FallbackSource {
            let problem = "fallback_source is a key of a rule and of a section, and not one to set";
            let fix = "write fallback_source = \"name\" in the rule, beside its duration, and leave this action out";
            return Some(Wrong::act(problem, fix));
        }
        if key.is_of_providers() && self.provider.is_none() {
            let site = match key {
                Key::ProviderConnectionLimit => Key::ConnectionLimit,
                _ => Key::MaxMessageRate,
            };
            let problem = format!("{} is a limit of a whole provider, and this rule is of none", key.name());
            let fix =
                format!("set {} here, or move the rule to [[provider.\"name\".automation]]", site.name());
            return Some(Wrong::act(problem, fix));
        }
        None
    }
}

fn trigger(value: &DeValue<'_>) -> Result<Trigger, Wrong> {
    let wrong = |problem: String| Wrong::write(problem, "{Threshold = \"10/h\"}", ", or \"Immediate\"");
    match value {
        DeValue::String(word) if word == "Immediate" => Ok(Trigger::Immediate),
        DeValue::Table(table) if table.len() == 1 => {
            let Some(rate) = table.get("Threshold") else {
                return Err(wrong("it wants a Threshold".to_owned()));
            };
            value::read_rate(rate.get_ref()).map(Trigger::Threshold).map_err(|found| wrong(found.problem))
        }
        other => Err(wrong(format!("this is {}, and says not when to act", kind(other)))),
    }
}

fn class(value: &DeValue<'_>) -> Result<Class, Wrong> {
    let word = text(value, "throttled")?;
    let read: StrDeserializer<'_, Error> = word.into_deserializer();
    Class::deserialize(read).map_err(|_| {
        let close = nearest(word, CLASSES.into_iter(), 4).unwrap_or("throttled");
        let more = format!(", or one of {}", CLASSES.join(", "));
        Wrong::write(format!("{} is no class", quoted(word)), quoted(close), &more)
    })
}
