//! `[[rule]]`: what a rule matches, what it sets, and how it ends. Patterns are compiled and replies are written out here, so that
//! whoever obeys a rule finds nothing wrong with it.

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use toml::de::DeValue;

use crate::config::ListenAddress;
use crate::config::guess;
use crate::config::literal::{Fix, Wrong, boolean, list, quoted, span, text};
use crate::config::retry::Schedule;
use crate::config::section::Section;
use crate::config::value::{self, BadValue, Network};
use crate::limits;
use crate::mail::address::{self, international};
use crate::mail::duties::Duty;
use crate::mail::parameters::{self, Key};
use crate::names::ends::End;

mod addresses;
pub(super) mod order;
mod template;

pub use addresses::AddressPattern;
pub use template::Template;

/// `[[rule]]`
#[derive(Clone, Debug, Default)]
pub struct RuleConfig {
    /// The account that authenticated.
    pub account: Option<String>,
    /// The listener, by its place in [`listeners`](super::Config::listeners).
    pub listener: Option<usize>,
    /// Networks that clients come from. Empty: from anywhere, or from nowhere, as over HTTP.
    pub clients: Vec<Network>,
    /// Reverse paths.
    pub sender: Option<AddressPattern>,
    /// Forward paths: with it a rule is about these recipients, not about the message.
    pub recipient: Option<AddressPattern>,
    /// A header field.
    pub header: Option<HeaderPattern>,
    /// Duties of bulk mail: it is about messages that lack any of them. Empty: about all.
    pub lacks: Vec<Duty>,
    /// What it sets.
    pub set: RuleSet,
    /// How it ends; None: the next rule is looked at.
    pub action: Option<RuleAction>,
}

impl RuleConfig {
    /// Whether it is about what a header section has or has not.
    pub fn is_of_header(&self) -> bool {
        self.header.is_some() || !self.lacks.is_empty()
    }
}

/// `match.header`
#[derive(Clone, Debug)]
pub struct HeaderPattern {
    /// The field's name, in lower case.
    pub name: String,
    /// What its value is like, as one line. Matched in a time that grows with the value and no faster.
    pub pattern: Regex,
}

/// `set`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Parameters, each with its value.
    pub parameters: Vec<(Key, Template)>,
    /// How long delivery is tried, in place of `[retry] expire`.
    pub expire: Option<Duration>,
    /// Another reverse path.
    pub sender: Option<Template>,
    /// Fields that are put in front of the others.
    pub header_add: Vec<(String, Template)>,
    /// Fields that are taken out, in lower case.
    pub header_remove: Vec<String>,
    /// Received fields tell no hop where the message was before it left here.
    pub hide_trace: bool,
    /// A message to one recipient gets a way out of its list (`[public]`), where it has none.
    pub unsubscribe: bool,
}

/// `action`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// This reply, line end included.
    Reject(Box<str>),
    /// The message is taken and delivered to nobody: it has this end.
    End(End),
}

impl RuleSet {
    /// Whether it sets nothing.
    pub fn is_empty(&self) -> bool {
        *self == RuleSet::default()
    }

    /// Whether anything of what the pattern of the rule found goes into it.
    pub fn has_groups(&self) -> bool {
        self.templates().any(|template| template.text().is_none())
    }

    /// The longest wait of the schedule of retries it sets, if it does.
    pub fn longest_wait(&self) -> Option<Duration> {
        let (_, schedule) = self.parameters.iter().find(|(key, _)| *key == Key::Retry)?;
        Some(Schedule::parse(schedule.text()?)?.longest())
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let parameters = self.parameters.iter().map(|(_, template)| template);
        parameters.chain(&self.sender).chain(self.header_add.iter().map(|(_, template)| template))
    }
}

pub(super) fn read(root: &Section<'_>, listeners: &[ListenAddress]) -> Vec<RuleConfig> {
    let sections = root.sections("rule");
    if let Some(first) = sections.get(limits::RULES_MAX) {
        let problem = format!("there are more than {} rules", limits::RULES_MAX);
        first.fail("", "", &problem, Fix::Do("put what several rules share into one".to_owned()));
    }
    sections.iter().take(limits::RULES_MAX).map(|section| rule(section, listeners)).collect()
}

fn rule(section: &Section<'_>, listeners: &[ListenAddress]) -> RuleConfig {
    let matched = section.section("match");
    let address = |value| AddressPattern::read(value).map(Some);
    let rule = RuleConfig {
        account: matched.read("account", None, |value| {
            Ok(Some(text(value, "shop")?).filter(|name| !name.is_empty()).map(str::to_owned))
        }),
        listener: matched.read("listener", None, |value| listener(value, listeners)),
        clients: matched
            .read("clients", Vec::new(), |value| list(value, value::network, guess::network, "10.0.0.0/8")),
        sender: matched.read("sender", None, address),
        recipient: matched.read("recipient", None, address),
        header: header(&matched),
        lacks: matched.read("lacks", Vec::new(), lacks),
        set: set(&section.section("set")),
        action: section.read("action", None, action),
    };
    matched.finish();
    if rule.action.is_none() && rule.set.is_empty() && section.errors().borrow().is_empty() {
        let fix = Fix::Write("\"discard\"".to_owned(), ", or a set that is not empty".to_owned());
        section.fail("action", "", "this rule does nothing", fix);
    }
    judge(section, &rule);
    section.finish();
    rule
}

/// What cannot be obeyed though each key can be understood.
fn judge(section: &Section<'_>, rule: &RuleConfig) {
    if rule.recipient.is_some() {
        if rule.is_of_header() && matches!(rule.action, Some(RuleAction::Reject(_))) {
            let problem = "one reply is for all recipients when the header is known";
            let more = ", or match either the recipient or the header";
            section.fail("action", "", problem, Fix::Write("\"discard\"".to_owned(), more.to_owned()));
        }
        let RuleSet { parameters, expire, sender, header_add, header_remove, hide_trace, unsubscribe } =
            &rule.set;
        let whole = [
            ("send_at", parameters.iter().any(|(key, _)| *key == Key::SendAt)),
            ("expire", expire.is_some()),
            ("sender", sender.is_some()),
            ("header_add", !header_add.is_empty()),
            ("header_remove", !header_remove.is_empty()),
            ("hide_trace", *hide_trace),
            ("unsubscribe", *unsubscribe),
        ];
        for (key, _) in whole.iter().filter(|(_, is_set)| *is_set) {
            let problem =
                format!("{key} is for the whole message, and this rule is about some of its recipients");
            section.fail(
                "set",
                "",
                &problem,
                Fix::Do("set it in a rule that matches no recipient".to_owned()),
            );
        }
    }
    let groups = rule.header.as_ref().map_or(0, |header| header.pattern.captures_len());
    let missing = rule.set.templates().flat_map(Template::groups).find(|group| *group >= groups.max(1));
    if let Some(missing) = missing.or((groups == 0).then(|| first_group(&rule.set)).flatten()) {
        let problem = match groups {
            0 => format!("${missing} stands for what match.header finds, and there is none"),
            _ => format!("there is no group {missing} in the pattern of match.header"),
        };
        section.fail(
            "set",
            "",
            &problem,
            Fix::Do("write $$ for a dollar, or put the group in parentheses there".to_owned()),
        );
    }
}

fn first_group(set: &RuleSet) -> Option<usize> {
    set.templates().flat_map(Template::groups).next()
}

fn listener(value: &DeValue<'_>, listeners: &[ListenAddress]) -> Result<Option<usize>, Wrong> {
    let known: Vec<String> = listeners.iter().map(ListenAddress::to_string).collect();
    let usual = known.first().map_or("", String::as_str);
    let wanted = text(value, usual)?;
    if wanted.is_empty() {
        return Ok(None);
    }
    let place = known.iter().position(|address| address == wanted);
    place.map(Some).ok_or_else(|| {
        let port = wanted.rsplit(':').next();
        let close = known.iter().find(|one| one.rsplit(':').next() == port).map_or(usual, String::as_str);
        let problem = format!("no [[listener]] has the address {}", quoted(wanted));
        Wrong::write(problem, quoted(close), &format!("; there are {}", known.join(", ")))
    })
}

fn header(matched: &Section<'_>) -> Option<HeaderPattern> {
    let section = matched.section("header");
    let name = section.read("name", None, |value| field_name(value).map(Some));
    let pattern = section.read("pattern", None, |value| pattern(value).map(Some));
    for (key, usual) in [("name", "X-Job"), ("pattern", "^promo-(.*)")] {
        if section.lacks(key) {
            let more = "; a header has name and pattern".to_owned();
            section.fail(key, "", "this key is missing", Fix::Write(quoted(usual), more));
        }
    }
    section.finish();
    name.zip(pattern).map(|(name, pattern)| HeaderPattern { name: name.to_ascii_lowercase(), pattern })
}

fn lacks(value: &DeValue<'_>) -> Result<Vec<Duty>, Wrong> {
    const KINDS: BadValue =
        BadValue::Syntax("\"list_unsubscribe\", \"one_click\", \"alignment\", or \"form\"");
    let parse = |text: &str| Duty::ALL.into_iter().find(|duty| duty.word() == text).ok_or(KINDS);
    list(value, parse, |_| None, Duty::OneClick.word())
}

/// RFC 5322 2.2: printable ASCII but the colon; a letter or digit first, so that no line begins with a dot.
fn is_field_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= limits::PARAMETER_MAX
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

fn field_name(value: &DeValue<'_>) -> Result<String, Wrong> {
    let name = text(value, "X-Job")?;
    if is_field_name(name) {
        return Ok(name.to_owned());
    }
    let meant: String = name.trim().trim_end_matches(':').chars().filter(char::is_ascii_graphic).collect();
    let meant = if is_field_name(&meant) { meant } else { "X-Job".to_owned() };
    Err(Wrong::write(format!("{} is no name of a header field", quoted(name)), quoted(&meant), ""))
}

fn pattern(value: &DeValue<'_>) -> Result<Regex, Wrong> {
    let words = text(value, "^promo-(.*)")?;
    if words.len() > limits::PATTERN_MAX {
        let problem =
            format!("a pattern of {} bytes, and at most {} may be", words.len(), limits::PATTERN_MAX);
        return Err(Wrong::act(problem, "write a shorter one, or several rules"));
    }
    let built = RegexBuilder::new(words)
        .size_limit(limits::PATTERN_SIZE_MAX)
        .dfa_size_limit(limits::PATTERN_SIZE_MAX)
        .build();
    built.map_err(|error| {
        let problem = match error {
            regex::Error::CompiledTooBig(most) => {
                format!("{} takes more than {most} bytes when compiled", quoted(words))
            }
            // Its last line says what is wrong; those before draw where.
            error => {
                let words_of = error.to_string();
                let last =
                    words_of.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("{} is no pattern: {last}", quoted(words))
            }
        };
        Wrong::write(problem, quoted(&regex::escape(words)), ", if these letters themselves are meant")
    })
}

fn set(section: &Section<'_>) -> RuleSet {
    let mut set = RuleSet::default();
    for (name, key) in PARAMETERS {
        let template = section.read(name, None, |value| parameter(value, key));
        set.parameters.extend(template.map(|template| (key, template)));
    }
    let schedule = section.read("retry", None, |value| Schedule::read(value).map(Some));
    let schedule = schedule.map(|schedule| Template::parse(&schedule.to_string()));
    set.parameters.extend(schedule.map(|schedule| (Key::Retry, schedule)));
    let most = limits::CONFIG_TIME_MAX;
    set.expire = section.read("expire", None, |value| match value.as_str() {
        Some("") => Ok(None),
        _ => span(value, Duration::from_secs(1)..=most, Duration::from_secs(2 * 86_400)).map(Some),
    });
    set.sender = section.read("sender", None, sender);
    set.header_add = section.read("header_add", Vec::new(), header_add);
    set.header_remove = section.read("header_remove", Vec::new(), header_remove);
    set.hide_trace = section.read("hide_trace", false, boolean);
    set.unsubscribe = section.read("unsubscribe", false, boolean);
    section.finish();
    set
}

/// Parameters that rules set.
pub(crate) const PARAMETERS: [(&str, Key); 6] = [
    ("tenant", Key::Tenant),
    ("campaign", Key::Campaign),
    ("category", Key::Category),
    ("pool", Key::Pool),
    ("priority", Key::Priority),
    ("send_at", Key::SendAt),
];

/// Empty: it is not set.
fn parameter(value: &DeValue<'_>, key: Key) -> Result<Option<Template>, Wrong> {
    let usual = match key {
        Key::Priority => "low",
        Key::SendAt => "+2h",
        _ => "bulk",
    };
    let words = text(value, usual)?;
    if words.is_empty() {
        return Ok(None);
    }
    let template = Template::parse(words);
    match template.text().map(|text| parameters::check(key, text)) {
        Some(Err(problem)) => Err(Wrong::write(format!("{} {problem}", quoted(words)), quoted(usual), "")),
        _ => Ok(Some(template)),
    }
}

fn sender(value: &DeValue<'_>) -> Result<Option<Template>, Wrong> {
    const USUAL: &str = "bounces@example.net";
    let words = text(value, USUAL)?;
    if words.is_empty() {
        return Ok(None);
    }
    // The null sender.
    let words = if words == "<>" { "" } else { words };
    let labels = words.rsplit_once('@').and_then(|(local, domain)| {
        let domain = international::domain_of(domain).filter(|_| !domain.is_ascii())?;
        Some(format!("{local}@{domain}"))
    });
    let template = Template::parse(labels.as_deref().unwrap_or(words));
    // What an address has beyond ASCII is in its domain, or a hop must take SMTPUTF8.
    let is_ascii = labels.as_deref().unwrap_or(words).is_ascii();
    match template.text().map_or((!is_ascii).then_some(false), |text| Some(address::is_path(text))) {
        Some(false) => {
            let more = ", or \"<>\" for none";
            Err(Wrong::write(format!("{} is no address", quoted(words)), quoted(USUAL), more))
        }
        _ => Ok(Some(template)),
    }
}

fn header_add(value: &DeValue<'_>) -> Result<Vec<(String, Template)>, Wrong> {
    let wrong = |problem: String| Wrong::write(problem, "{ \"X-Sent-By\" = \"relevo\" }", "");
    let Some(table) = value.as_table() else { return Err(wrong("this is no table of fields".to_owned())) };
    let mut fields = Vec::new();
    for (name, value) in table {
        let (name, text) = (name.get_ref(), value.get_ref().as_str());
        // What is no text is no field either.
        may_be_added(name, text.unwrap_or("\0")).map_err(wrong)?;
        fields.push((name.to_string(), Template::parse(text.unwrap_or_default())));
    }
    Ok(fields)
}

/// What is wrong with a field that is to be added to messages.
pub(crate) fn may_be_added(name: &str, text: &str) -> Result<(), String> {
    let fits = text.len() <= limits::FIELD_VALUE_MAX
        && name.len() + 2 + text.len() <= limits::ADDED_LINE_MAX
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !fits || !is_field_name(name) {
        return Err(format!("{} is no field of printable ASCII within a line", quoted(name)));
    }
    not_to_be_added(name).map_or(Ok(()), |problem| Err(format!("{} {problem}", quoted(name))))
}

/// Why no rule may add a field of this name. A field is added behind those that there are: where there may be one, that would be a second.
fn not_to_be_added(name: &str) -> Option<&'static str> {
    const ONCE: [&str; 10] = [
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "message-id",
        "in-reply-to",
        "references",
        "subject",
        "date",
    ];
    match &*name.to_ascii_lowercase() {
        "received" | "return-path" => {
            Some("is a trace field, which only who takes mail in writes (RFC 5321 4.4)")
        }
        "bcc" | "resent-bcc" => {
            Some("would name to all who they are that should not be seen (RFC 5322 3.6.3)")
        }
        name if name.starts_with("x-relevo-") => {
            Some("is what clients tell this relay, and leaves with no mail; set the parameter itself")
        }
        name if ONCE.contains(&name) => {
            Some("may be in a message once (RFC 5322 3.6), and the client writes it")
        }
        _ => None,
    }
}

fn header_remove(value: &DeValue<'_>) -> Result<Vec<String>, Wrong> {
    let parse = |text: &str| match text.to_ascii_lowercase() {
        // RFC 5321 4.4; and who finds loops counts them.
        name if name == "received" => Err(BadValue::Unusable(
            "trace fields stay as they are (RFC 5321 4.4), as loops are found by them; hide_trace = true hides what they say",
        )),
        name if is_field_name(text) => Ok(name),
        _ => Err(BadValue::Syntax("the name of a header field")),
    };
    list(value, parse, |_| None, "X-Job")
}

fn action(value: &DeValue<'_>) -> Result<Option<RuleAction>, Wrong> {
    const USUAL: &str = "reject 550 5.7.1 not accepted here";
    let words = text(value, USUAL)?;
    let ends = || {
        End::wants()
            .filter(|end| *end != "capture")
            .map(|end| format!(", or {}", quoted(end)))
            .collect::<String>()
    };
    let wrong = |problem: String| Wrong::write(problem, quoted(USUAL), &ends());
    if let Some(end) = End::wanted_by(words).filter(|end| *end != End::Captured) {
        return Ok(Some(RuleAction::End(end)));
    }
    match words.split_once(' ').unwrap_or((words, "")) {
        ("", "") => Ok(None),
        ("capture", "") => Err(wrong("a rule cannot capture, a route can".to_owned())),
        ("reject", reply) => match reply_line(reply) {
            Ok(line) => Ok(Some(RuleAction::Reject(line.into()))),
            Err(problem) => Err(wrong(format!("{} {problem}", quoted(words)))),
        },
        _ => Err(wrong(format!("{} cannot be understood", quoted(words)))),
    }
}

/// Why a reply is none to refuse mail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadReply {
    Code,
    EndsSession,
    ClassesDiffer,
    NoText,
    Text,
}

impl std::fmt::Display for BadReply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            BadReply::Code => "must name a reply code from 400 to 559",
            BadReply::EndsSession => "has the code with which sessions end; write another",
            BadReply::ClassesDiffer => "has an enhanced status code of another class than its reply code",
            BadReply::NoText => "has no words that say why",
            BadReply::Text => "must have one line of printable ASCII, of at most 480 bytes",
        })
    }
}

/// A reply (RFC 5321 4.2) with an enhanced status code (RFC 2034).
pub(crate) fn reply_line(reply: &str) -> Result<String, BadReply> {
    let (code, rest) = reply.split_once(' ').unwrap_or((reply, ""));
    let class = match code.as_bytes() {
        [class @ (b'4' | b'5'), b'0'..=b'5', b'0'..=b'9'] => *class,
        _ => return Err(BadReply::Code),
    };
    if code == "421" {
        return Err(BadReply::EndsSession);
    }
    let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let parts: Vec<&str> = first.split('.').collect();
    let number =
        |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let (enhanced, text) = if parts.len() == 3 && parts.iter().all(number) {
        if parts[0].as_bytes() != [class] {
            return Err(BadReply::ClassesDiffer);
        }
        (first.to_owned(), text)
    } else {
        (format!("{}.7.1", char::from(class)), rest)
    };
    if text.trim().is_empty() {
        return Err(BadReply::NoText);
    }
    if text.len() > limits::REPLY_TEXT_MAX - 32 || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(BadReply::Text);
    }
    Ok(format!("{code} {enhanced} {text}\r\n"))
}

/// What a rule does, for `relevo check`.
pub(super) fn describe(rule: &RuleConfig, listeners: &[ListenAddress]) -> String {
    let mut whose = Vec::new();
    whose.extend(rule.account.as_ref().map(|account| format!("of account {account}")));
    let listener = rule.listener.and_then(|place| listeners.get(place));
    whose.extend(listener.map(|listener| format!("that comes to {listener}")));
    let clients: Vec<String> = rule.clients.iter().map(ToString::to_string).collect();
    whose.extend((!clients.is_empty()).then(|| format!("of clients in {}", clients.join(" or "))));
    whose.extend(rule.sender.as_ref().map(|sender| format!("from {sender}")));
    whose.extend(rule.recipient.as_ref().map(|recipient| format!("to {recipient}")));
    let header = rule.header.as_ref();
    whose.extend(header.map(|header| format!("whose {} matches {}", header.name, header.pattern)));
    let lacks: Vec<&str> = rule.lacks.iter().map(|duty| duty.word()).collect();
    whose.extend((!lacks.is_empty()).then(|| format!("that lacks {}", lacks.join(" or "))));
    let whose =
        if whose.is_empty() { "every message".to_owned() } else { format!("mail {}", whose.join(", ")) };
    let mut what: Vec<String> = Vec::new();
    let show = |template: &Template| template.expand_as_written();
    what.extend(rule.set.parameters.iter().map(|(key, value)| format!("{} {}", key.name(), show(value))));
    what.extend(rule.set.expire.map(|span| format!("given up after {}", value::show_duration(span))));
    what.extend(rule.set.sender.as_ref().map(|sender| format!("sender <{}>", show(sender))));
    what.extend(rule.set.header_add.iter().map(|(name, value)| format!("{name}: {} added", show(value))));
    what.extend(rule.set.header_remove.iter().map(|name| format!("{name} removed")));
    what.extend(rule.set.hide_trace.then(|| "the way it came hidden".to_owned()));
    what.extend(rule.set.unsubscribe.then(|| "a way to unsubscribe added".to_owned()));
    what.extend(rule.action.as_ref().map(|action| match action {
        RuleAction::Reject(reply) => format!("refused with {}", reply.trim_end()),
        RuleAction::End(end) => format!("taken and {}", end.word()),
    }));
    format!("{whose}: {}", what.join(", "))
}

#[cfg(test)]
mod tests;
