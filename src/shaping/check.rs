//! What can never take effect, or has another effect than seems to be meant: found without sending anything.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::file::{Block, SHIPPED, Setting};
use super::key::Key;
use super::layers::{Layer, Scope, Shaping};
use super::provider::{Match, MatchKind};
use super::reading::{FileLine, Findings};
use super::rule::{Action, Rule, Trigger};
use super::value::{Limit, Value};
use crate::config::ConfigError;
use crate::config::literal::quoted;
use crate::config::nearest::nearest;
use crate::mail::address;

/// All of them, from the bottom layer to the top.
fn blocks(shaping: &Shaping) -> impl Iterator<Item = (Scope, &Block)> {
    let default = shaping.default.iter().map(|block| (Scope::Default, block));
    let providers = shaping.providers.iter().map(|block| (Scope::Provider, block));
    let domains = shaping.domains.iter().map(|block| (Scope::Domain, block));
    default.chain(providers).chain(domains)
}

/// Sections of domains that hold for no mail, as a route leads the domain to a host: what is said of a site goes by where it is.
pub fn routed(shaping: &Shaping, leads: impl Fn(&str) -> Option<String>) -> Vec<ConfigError> {
    let own = shaping.domains.iter().filter(|block| &*block.place.file != Path::new(SHIPPED));
    let doubt = |block: &Block| {
        let host = leads(&block.name)?;
        let section = Layer { block, scope: Scope::Domain, of_source: false }.to_string();
        let problem =
            format!("mail for {} goes by a [[route]] to {host}, and this holds for no mail", block.name);
        let fix = if address::is_domain(host.as_bytes()) {
            format!("say it of the host: [{}]", quoted(&host))
        } else {
            "give the host a name in the route, and say it of that".to_owned()
        };
        Some(block.place.remark(&section, problem, &fix))
    };
    own.filter_map(doubt).collect()
}

/// All that is doubtful in files that are read and lie over each other.
pub fn check(shaping: &Shaping) -> Findings {
    let mut found = Findings::default();
    for (scope, block) in blocks(shaping) {
        let section = Layer { block, scope, of_source: false }.to_string();
        contradictions(&section, &block.settings, &mut found);
        for (source, settings) in &block.sources {
            let section = format!("{section}.sources.\"{source}\"");
            contradictions(&section, settings, &mut found);
            for set in settings.iter().filter(|set| set.value == Value::Source(source.clone())) {
                let key = format!("{section}.{}", set.key.name());
                let fix = "name another source, or leave it out";
                found.warn(set.place.remark(&key, "a source does not stand in for itself", fix));
            }
        }
        for (at, rule) in block.rules.iter().enumerate() {
            let key = format!("{section}.automation[{at}]");
            texts(&key, rule, &mut found);
            patterns(&key, rule, &mut found);
            effects(&key, rule, &block.settings, &mut found);
            let below = shaping.default.as_ref().filter(|_| scope != Scope::Default);
            shadowed(&key, rule, (&block.rules[..at], below), &mut found);
        }
    }
    for (at, block) in shaping.providers.iter().enumerate() {
        provider(block, shaping, at, &mut found);
    }
    shaping.domains.iter().for_each(|block| domain(block, &mut found));
    found
}

/// Sources and fallbacks that a configuration does not have; `knows`: whether it has a source of this name, and whether a pool.
pub fn strangers(shaping: &Shaping, knows: impl Fn(&str) -> (bool, bool)) -> Vec<ConfigError> {
    let mut found = Vec::new();
    for (scope, block) in blocks(shaping) {
        let section = Layer { block, scope, of_source: false }.to_string();
        let fallback = |place: &FileLine, key: &str, name: &str| {
            (knows(name) == (false, false)).then(|| {
                let problem = format!("no [[source]] and no [[pool]] is called {}", quoted(name));
                place.remark(
                    &format!("{key}.fallback_source"),
                    problem,
                    "name one that there is: until then its mail waits",
                )
            })
        };
        for (source, settings) in &block.sources {
            let section = format!("{section}.sources.\"{source}\"");
            if let Some(set) = settings.first().filter(|_| !knows(source).0) {
                let problem =
                    format!("no [[source]] is called {}: this section does nothing", quoted(source));
                found.push(set.place.remark(
                    &section,
                    problem,
                    "add a [[source]] of this name, or leave it out",
                ));
            }
            for set in settings {
                let Value::Source(name) = &set.value else { continue };
                found.extend(fallback(&set.place, &section, name));
            }
        }
        for set in &block.settings {
            let Value::Source(name) = &set.value else { continue };
            found.extend(fallback(&set.place, &section, name));
        }
        for (at, rule) in block.rules.iter().enumerate() {
            let Some(name) = &rule.fallback_source else { continue };
            found.extend(fallback(&rule.place, &format!("{section}.automation[{at}]"), name));
        }
    }
    found
}

/// The replies that a rule is said to be for.
fn texts(key: &str, rule: &Rule, found: &mut Findings) {
    let fits = |text: &str| rule.patterns.iter().any(|pattern| pattern.matches(text.as_bytes()));
    for example in rule.examples.iter().filter(|example| !fits(example)) {
        let problem = format!("no pattern of it matches its example {}", quoted(example));
        let fix = "mend regex: as it is, the rule never acts on that reply";
        found.fail(rule.place.remark(&format!("{key}.example"), problem, fix));
    }
    if rule.examples.is_empty() || rule.patterns.len() == 1 {
        return;
    }
    for pattern in &rule.patterns {
        if !rule.examples.iter().any(|example| pattern.matches(example.as_bytes())) {
            let problem = format!("{} matches none of its examples", quoted(pattern.written()));
            let fix = "add a reply that it is for to example, or leave it out";
            found.fail(rule.place.remark(&format!("{key}.regex"), problem, fix));
        }
    }
}

/// Patterns that match nothing that a reply can be, or all.
fn patterns(key: &str, rule: &Rule, found: &mut Findings) {
    let mut warn = |problem: String, fix: &str| {
        found.warn(rule.place.remark(&format!("{key}.regex"), problem, fix));
    };
    for pattern in &rule.patterns {
        let written = pattern.written();
        let shown = quoted(written);
        if !rule.examples.iter().any(|example| pattern.matches(example.as_bytes())) {
            if written.contains("\\\\") {
                let fix = "write one where two stand: in '''…''' nothing is escaped twice";
                warn(format!("{shown} wants a backslash in the reply, which no provider sends"), fix);
            }
            if begins_without_a_code(written) && !rule.match_internal {
                let fix = "write the code too, or leave the ^ out";
                warn(format!("{shown} never matches: a reply begins with its code, as in 421 4.7.0"), fix);
            }
            if begins_with_no_failure(written) && !rule.match_internal {
                let fix = "write a code that begins with 4 or 5";
                warn(format!("{shown} never matches: rules are for replies that refuse something"), fix);
            }
            if wants_a_line_break(written) {
                let fix = "write a blank where a line ends, or two patterns";
                warn(format!("{shown} never matches: the lines of a reply are joined by blanks"), fix);
            }
        }
        if rule.match_internal && written.contains("KumoMTA internal") {
            let fix = "write what this relay says itself: events and `relevo queue list` show it";
            warn(format!("{shown} is of KumoMTA's own words, which nobody says here"), fix);
        }
        if pattern.matches(b"") {
            warn(format!("{shown} matches every reply"), "write the text that is meant");
        }
    }
}

/// Whether a pattern wants another beginning than three digits.
fn begins_without_a_code(pattern: &str) -> bool {
    let behind = |rest: &str| {
        rest.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == ' ')
            || rest.starts_with("\\[")
    };
    // A choice may have other beginnings.
    let plain = pattern.strip_prefix("(?i)").unwrap_or(pattern);
    plain.strip_prefix('^').is_some_and(behind) && !pattern.contains('|')
}

/// Whether a pattern wants a code that is neither 4yz nor 5yz.
fn begins_with_no_failure(pattern: &str) -> bool {
    let plain = pattern.strip_prefix("(?i)").unwrap_or(pattern);
    let code = plain.strip_prefix('^').unwrap_or_default();
    // A quantifier may make the digit one of several, or none.
    let mut letters = code.chars();
    let first = letters.next().is_some_and(|first| first.is_ascii_digit() && first != '4' && first != '5');
    first && !letters.next().is_some_and(|next| "?*{".contains(next)) && !pattern.contains('|')
}

/// Whether a pattern wants the end of a line, for sure: outside of classes, where there is no choice and nothing may be left out.
fn wants_a_line_break(pattern: &str) -> bool {
    const MAY_BE_LEFT_OUT: [&str; 6] = ["|", ")?", ")*", "){", "(?x", "(?!"];
    if MAY_BE_LEFT_OUT.iter().any(|sign| pattern.contains(sign)) {
        return false;
    }
    let mut letters = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(letter) = letters.next() {
        let is_break = match letter {
            '\\' => letters.next().is_some_and(|escaped| matches!(escaped, 'n' | 'r')),
            letter => {
                in_class = letter == '[' || in_class && letter != ']';
                matches!(letter, '\n' | '\r')
            }
        };
        let optional = letters.peek().is_some_and(|next| "?*{".contains(*next));
        if is_break && !in_class && !optional {
            return true;
        }
    }
    false
}

/// What a rule changes that was so before.
fn effects(key: &str, rule: &Rule, settings: &[Setting], found: &mut Findings) {
    let mut warn = |name: &str, problem: String, fix: &str| {
        found.warn(rule.place.remark(&format!("{key}.{name}"), problem, fix));
    };
    for action in &rule.actions {
        let Action::Set { key, value, .. } = action else { continue };
        let Some(set) = settings.iter().rfind(|set| set.key == *key) else { continue };
        if exceeds(value, &set.value) {
            let problem = format!("it sets {} to {value}, and {} says {}", key.name(), set.place, set.value);
            warn("action", problem, "write less than that: a reply that asks for less must not get more");
        }
    }
    if let Some(permanent) = rule.permanent {
        let digit = if permanent { '5' } else { '4' };
        if !rule.examples.is_empty() && rule.examples.iter().all(|text| text.starts_with(digit)) {
            let problem = format!("permanent = {permanent} is what the codes of its examples say");
            warn("permanent", problem, "leave it out, or add the reply that it is for to example");
        }
    }
    for example in &rule.examples {
        if !rule.match_internal && !example.bytes().take(3).all(|byte| byte.is_ascii_digit()) {
            let problem = format!("the example {} has no code", quoted(example));
            warn("example", problem, "write the whole reply, as in \"421 4.7.0 text\"");
        }
    }
}

fn exceeds(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Limit(one), Value::Limit(other)) => one.most > other.most,
        (Value::Count(one), Value::Count(other)) => one > other,
        (Value::Rate(one), Value::Rate(other)) => one.per_day() > other.per_day(),
        _ => false,
    }
}

/// Whether one acts no later than the other: so many come no sooner than fewer do, or than as many do in a longer time.
fn acts_as_soon(one: &Trigger, other: &Trigger) -> bool {
    match (one, other) {
        (Trigger::Immediate, _) => true,
        (Trigger::Threshold(one), Trigger::Threshold(other)) => {
            one.count <= other.count && one.period >= other.period
        }
        (Trigger::Threshold(_), Trigger::Immediate) => false,
    }
}

/// A rule that does nothing which an earlier one of its section, or one for all destinations, does not do.
fn shadowed(
    key: &str,
    rule: &Rule,
    (earlier, default): (&[Arc<Rule>], Option<&Block>),
    found: &mut Findings,
) {
    let does_all = |other: &&Arc<Rule>| {
        let as_soon = acts_as_soon(&other.trigger, &rule.trigger);
        let as_long = other.duration >= rule.duration;
        let same_words = rule.patterns.iter().all(|pattern| other.patterns.contains(pattern));
        let same_deeds = rule.actions.iter().all(|action| other.actions.contains(action));
        let says = (rule.class.is_none() || other.class.is_some())
            && (rule.permanent.is_none() || other.permanent.is_some())
            && (rule.fallback_source.is_none() || rule.fallback_source == other.fallback_source);
        as_soon
            && as_long
            && same_words
            && same_deeds
            && says
            && (other.match_internal || !rule.match_internal)
    };
    // What a layer says of class and end overrules those below.
    let overrules = rule.class.is_some() || rule.permanent.is_some() || rule.fallback_source.is_some();
    let below = default.filter(|_| !overrules).into_iter().flat_map(|block| &block.rules);
    if let Some(other) = earlier.iter().chain(below).find(does_all) {
        let problem = format!("the rule at {} does all of this already", other.place);
        found.warn(rule.place.remark(key, problem, "leave it out, or have it do something else"));
    }
}

/// Values of one section that leave each other no effect. What another section sets is overruled on purpose.
fn contradictions(section: &str, settings: &[Setting], found: &mut Findings) {
    let of = |key: Key| settings.iter().rfind(|set| set.key == key);
    let limits = [
        (Key::ProviderConnectionLimit, Key::ConnectionLimit),
        (Key::ProviderMaxMessageRate, Key::MaxMessageRate),
    ];
    for (whole, one) in limits {
        if let (Some(whole), Some(one)) = (of(whole), of(one))
            && exceeds(&one.value, &whole.value)
        {
            let (name, other) = (one.key.name(), whole.key.name());
            let problem = format!(
                "{other} is {}, so that {name} = {} ({}) is never reached",
                whole.value, one.value, one.place
            );
            let fix = format!("raise {other}, or lower {name}");
            found.warn(whole.place.remark(&format!("{section}.{other}"), problem, fix));
        }
    }
    for (shorter, longer) in [(Key::RetryInterval, Key::MaxRetryInterval), (Key::RetryInterval, Key::MaxAge)]
    {
        if let (Some(first), Some(last)) = (of(shorter), of(longer))
            && let (Value::Time(short), Value::Time(long)) = (&first.value, &last.value)
            && short > long
        {
            let (name, other) = (first.key.name(), last.key.name());
            let problem = format!("{other} is {}, shorter than {name} = {}", last.value, first.value);
            found.warn(last.place.remark(&format!("{section}.{other}"), problem, format!("lower {name}")));
        }
    }
    if let (Some(set), Some(rate)) = (of(Key::ConnectionLimit), of(Key::MaxConnectionRate))
        && let (Value::Limit(Limit { most, .. }), Value::Rate(rate)) = (&set.value, &rate.value)
        && (*most as f64) > rate.per_day()
    {
        let problem = format!("{most} connections are never opened in a day at {rate}");
        let fix = "lower connection_limit, or raise max_connection_rate";
        found.warn(set.place.remark(&format!("{section}.connection_limit"), problem, fix));
    }
}

fn provider(block: &Block, shaping: &Shaping, at: usize, found: &mut Findings) {
    let key = format!("provider.\"{}\"", block.name);
    if block.matches.is_empty() {
        let others = shaping.providers.iter().filter(|other| !other.matches.is_empty());
        let names: Vec<&str> = others.map(|other| &*other.name).collect();
        let fix = match meant(&block.name, &names) {
            Some(close) => format!("did you mean [provider.\"{close}\"]?"),
            None => {
                "add match = [{MXSuffix = \".example.com\"}], or write the name of a provider that has one"
                    .to_owned()
            }
        };
        found.warn(block.place.remark(&key, "nobody is this provider: no file says who it is known by", fix));
    }
    for entry in &block.matches {
        suffix(&key, entry, found);
    }
    // What a later section says of hosts that an earlier one knows holds beside it: limits twice, rules twice.
    let twice = |entry: &&Match| {
        shaping.providers[..at].iter().any(|other| other.matches.iter().any(|known| entry.is_within(known)))
    };
    if let Some(entry) = block.matches.iter().find(twice) {
        let known = |other: &&Block| other.matches.iter().any(|known| entry.is_within(known));
        let Some(other) = shaping.providers[..at].iter().find(known) else { return };
        let problem = format!(
            "{} = {} is known to provider.\"{}\" too ({}): the rules and limits of both hold",
            entry.what,
            quoted(&entry.written),
            other.name,
            other.place
        );
        let fix = format!("name this section provider.\"{}\" too, or leave one of them out", other.name);
        found.warn(entry.place.remark(&format!("{key}.match"), problem, fix));
    }
}

/// Brands, and the providers whose hosts take their mail.
const BRANDS: [(&str, &str); 10] = [
    ("gmail", "google"),
    ("googlemail", "google"),
    ("hotmail", "outlook"),
    ("live", "outlook"),
    ("microsoft", "outlook"),
    ("microsoft365", "office365"),
    ("aol", "yahoo"),
    ("icloud", "apple"),
    ("xfinity", "comcast"),
    ("spectrum", "charter"),
];

/// The provider that is meant by a name which none has.
fn meant<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let brand = lower.strip_suffix(".com").unwrap_or(&lower);
    let of_brand = BRANDS.iter().find(|(known, _)| *known == brand).map(|(_, provider)| *provider);
    let found = known.iter().find(|known| Some(**known) == of_brand || known.eq_ignore_ascii_case(name));
    found.copied().or_else(|| nearest(name, known.iter().copied(), 1))
}

fn suffix(key: &str, entry: &Match, found: &mut Findings) {
    let key = format!("{key}.match");
    let Match { what, written, place, .. } = entry;
    let mut warn = |problem: String, fix: String| found.warn(place.remark(&key, problem, fix));
    if entry.cannot_match().is_some() {
        return;
    }
    let canonical = super::provider::canonical(written);
    let capital = written.bytes().any(|byte| byte.is_ascii_uppercase());
    if written.ends_with('.') || capital {
        let why = if written.ends_with('.') { "a dot at its end" } else { "capital letters" };
        let problem = format!("{what} = {} has {why}: KumoMTA matches nothing by it", quoted(written));
        warn(problem, format!("write {}, which is how it is taken here", quoted(&canonical)));
    }
    let one = match what {
        MatchKind::MxSuffix => Some("HostName"),
        MatchKind::DomainSuffix => Some("Domain"),
        MatchKind::HostName | MatchKind::Domain => None,
    };
    let one = one.filter(|_| !canonical.starts_with('.') && canonical.contains('.'));
    if let Some(one) = one {
        let problem =
            format!("{what} = {} is the end of other names too, as of not{canonical}", quoted(written));
        let fix = format!(
            "write {} for all names below it, or {one} for this one",
            quoted(&format!(".{canonical}"))
        );
        warn(problem, fix);
    }
}

/// A section of a domain that no mail can be for.
fn domain(block: &Block, found: &mut Findings) {
    let name = &*block.name;
    let key = quoted(name);
    let mut warn = |problem: &str, fix: &str| found.warn(block.place.remark(&key, problem, fix));
    if name.parse::<IpAddr>().is_ok() {
        warn(
            "this is an address and no domain: no mail is for it, also where a route leads to this address",
            "give the host a name in the route, and say it of that; mail to an address literal is for [\"[192.0.2.1]\"]",
        );
    } else if !address::is_domain(name.as_bytes()) && !address::is_literal(name.as_bytes()) {
        warn("this is no domain: no mail is for it", "leave the section out; it changes nothing");
    } else if !name.contains('.') {
        warn("this is no domain that mail is for", "write the whole name in quotes, as [\"example.com\"]");
    }
}

#[cfg(test)]
mod tests;
