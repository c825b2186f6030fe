//! What the service of `[hook]` is asked about a message, and what its answer means. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{rule, value};
use crate::limits;
use crate::mail::parameters::{self, Key};

/// A message that the service is asked about. Texts that are no UTF-8 have U+FFFD where they are not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HookQuestion {
    /// Address and port of who brought it; None: nobody did over a connection.
    pub client: Option<String>,
    /// What that called itself.
    pub helo: String,
    /// Version and cipher of its TLS.
    pub tls: Option<String>,
    /// The account that logged in.
    pub account: Option<String>,
    /// The listener that it came to.
    pub listener: Option<String>,
    /// It may relay.
    pub trusted: bool,
    /// The reverse path.
    pub sender: String,
    /// The first of its recipients.
    pub recipients: Vec<String>,
    /// How many there are.
    pub recipients_count: usize,
    /// Bytes of it that came so far.
    pub size: u64,
    /// What rules and instructions set.
    pub set: BTreeMap<String, String>,
    /// Its header section, as rules left it; as much as is shown.
    pub header: String,
    /// There is more of that.
    pub header_cut: bool,
}

impl HookQuestion {
    /// Bytes that it holds, about.
    pub fn bytes(&self) -> usize {
        let recipients: usize = self.recipients.iter().map(String::len).sum();
        size_of::<HookQuestion>() + self.header.len() + self.sender.len() + recipients
    }

    /// As it is sent.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What is to become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAction {
    /// It is taken.
    Accept,
    /// It is refused, with this reply, which ends its line.
    Reject(Box<str>),
    /// It is put off, in the same way.
    Defer(Box<str>),
    /// It is taken and goes to nobody.
    Discard,
}

/// What is set beside that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookSet {
    /// Parameters, checked as those of rules are.
    pub parameters: Vec<(Key, Box<str>)>,
    /// How long delivery is tried.
    pub expire: Option<Duration>,
    /// Header fields, lines as they stand in a message.
    pub add: Vec<u8>,
}

/// What the service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookAnswer {
    /// What becomes of the message.
    pub action: HookAction,
    /// What is set.
    pub set: HookSet,
}

/// Why there is no answer. Who asks has told that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// None came, or one that makes no sense.
    Failed,
    /// The service failed of late, and is left alone.
    Resting,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    action: String,
    #[serde(default)]
    reply: Option<String>,
    #[serde(default)]
    set: BTreeMap<String, Value>,
}

const DEFER: &str = "451 4.7.1 The message is put off; try again later\r\n";
const REJECT: &str = "550 5.7.1 The message is not accepted here\r\n";
/// What is said where nobody could be asked.
pub const UNASKED: &str = "451 4.3.0 The message cannot be judged now; try again later\r\n";

impl HookAnswer {
    /// Reads an answer; or what is wrong with it, for whoever runs the service.
    pub fn parse(bytes: &[u8]) -> Result<HookAnswer, String> {
        let Written { action, reply, set } = serde_json::from_slice(bytes)
            .map_err(|error| format!("the answer is not as it must be: {}", one_line(&error.to_string())))?;
        let reply = reply.filter(|reply| !reply.is_empty());
        let said = reply.as_deref().map(rule::reply_line).transpose();
        let said = said.map_err(|problem| format!("its reply {problem}"))?;
        let of_class = |class: char, usual: &str| match said {
            Some(ref said) if !said.starts_with(class) => {
                Err(format!("its reply does not begin with {class}, as that of {action} must"))
            }
            Some(ref said) => Ok(said.as_str().into()),
            None => Ok(usual.into()),
        };
        let action = match &*action {
            "accept" => HookAction::Accept,
            "discard" => HookAction::Discard,
            "reject" => HookAction::Reject(of_class('5', REJECT)?),
            "defer" => HookAction::Defer(of_class('4', DEFER)?),
            _ => return Err("its action is none of accept, reject, defer, discard".to_owned()),
        };
        Ok(HookAnswer { action, set: read_set(&set)? })
    }
}

fn read_set(written: &BTreeMap<String, Value>) -> Result<HookSet, String> {
    let mut set = HookSet::default();
    for (name, given) in written {
        if name == "header_add" {
            add_fields(given, &mut set.add)?;
            continue;
        }
        let text = given.as_str().ok_or_else(|| format!("its set.{} is no text", shown(name)))?;
        if text.is_empty() {
            continue;
        }
        if name == "expire" {
            let span = value::duration(text)
                .ok()
                .filter(|span| (Duration::from_secs(1)..=limits::CONFIG_TIME_MAX).contains(span));
            set.expire = Some(span.ok_or("its set.expire is no time as in 2d")?);
            continue;
        }
        let known = rule::PARAMETERS.iter().find(|(known, _)| known == name);
        let (_, key) = known.ok_or_else(|| format!("its set.{} is nothing that can be set", shown(name)))?;
        parameters::check(*key, text).map_err(|problem| format!("its set.{name} {problem}"))?;
        set.parameters.push((*key, text.into()));
    }
    Ok(set)
}

fn add_fields(given: &Value, add: &mut Vec<u8>) -> Result<(), String> {
    let fields = given.as_object().ok_or("its set.header_add is no object of fields")?;
    if fields.len() > limits::HOOK_FIELDS_MAX {
        return Err(format!("its set.header_add has more than {} fields", limits::HOOK_FIELDS_MAX));
    }
    for (name, text) in fields {
        let text = text.as_str().ok_or_else(|| format!("its set.header_add.{} is no text", shown(name)))?;
        rule::may_be_added(name, text).map_err(|problem| format!("its set.header_add: {problem}"))?;
        add.extend([name.as_bytes(), b": ", text.as_bytes(), b"\r\n"].concat());
    }
    Ok(())
}

/// What a reader of JSON says has names in it that somebody else made up, with whatever letters.
fn one_line(words: &str) -> String {
    words
        .chars()
        .take(limits::HOOK_WORDS)
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

/// A name that somebody else made up.
fn shown(name: &str) -> String {
    name.chars().take(40).filter(|letter| !letter.is_control()).collect()
}

/// Leaves a service alone that fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    failures: u32,
    until: Duration,
}

/// What is to be told of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is the first one.
    First,
    /// It is one of several; from now on the service is left alone.
    Rests,
    /// That is known.
    Known,
}

impl Breaker {
    /// Whether the service may be asked.
    pub fn allows(&mut self, now: Duration) -> bool {
        if self.failures < limits::HOOK_FAILURES {
            return true;
        }
        let is_due = now >= self.until;
        if is_due {
            // One at a time tries it, behind the rest.
            self.until = now.saturating_add(limits::HOOK_REST);
        }
        is_due
    }

    /// It answered. True: that is news.
    pub fn succeeded(&mut self) -> bool {
        std::mem::take(self).failures > 0
    }

    /// It did not.
    pub fn failed(&mut self, now: Duration) -> Fault {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= limits::HOOK_FAILURES {
            self.until = now.saturating_add(limits::HOOK_REST);
        }
        match self.failures {
            1 => Fault::First,
            limits::HOOK_FAILURES => Fault::Rests,
            _ => Fault::Known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HookAnswer, String> {
        HookAnswer::parse(text.as_bytes())
    }

    #[test]
    fn answers_are_read() {
        let action = |text: &str| parse(text).map(|answer| answer.action);
        assert_eq!(action(r#"{"action": "accept"}"#), Ok(HookAction::Accept));
        assert_eq!(action(r#"{"action": "discard", "set": {}}"#), Ok(HookAction::Discard));
        assert_eq!(action(r#"{"action": "reject"}"#), Ok(HookAction::Reject(REJECT.into())));
        let reply = r#"{"action": "defer", "reply": "450 not now"}"#;
        assert_eq!(action(reply), Ok(HookAction::Defer("450 4.7.1 not now\r\n".into())));
        let all = r#"{"action": "accept", "set": {"tenant": "shop", "campaign": "c", "category": "", "pool": "bulk",
            "priority": "low", "expire": "2d", "send_at": "+2h", "header_add": {"X-Seen": "by hook"}}}"#;
        let set = parse(all).expect("all that can be set").set;
        assert_eq!(
            (set.expire, &*set.add),
            (Some(Duration::from_secs(172_800)), &b"X-Seen: by hook\r\n"[..])
        );
        let names: Vec<_> = set.parameters.iter().map(|(key, value)| (key.name(), &**value)).collect();
        let wanted = [
            ("campaign", "c"),
            ("pool", "bulk"),
            ("priority", "low"),
            ("send_at", "+2h"),
            ("tenant", "shop"),
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, wanted) in [
            ("", "is not as it must be"),
            ("[]", "is not as it must be"),
            (r#"{"action":"accept","e\r\nX":1}"#, "unknown field `e??X`"),
            ("{}", "missing field `action`"),
            (r#"{"action": "accept", "acton": 1}"#, "unknown field `acton`"),
            (r#"{"action": "bounce"}"#, "none of accept, reject, defer, discard"),
            (r#"{"action": "reject", "reply": "450 no"}"#, "does not begin with 5"),
            (r#"{"action": "defer", "reply": "550 no"}"#, "does not begin with 4"),
            (r#"{"action": "reject", "reply": "550 a\r\nb"}"#, "its reply must have one line"),
            (r#"{"action": "reject", "reply": "250 ok"}"#, "its reply must name a reply code"),
            (r#"{"action": "accept", "set": {"tenant": 7}}"#, "its set.tenant is no text"),
            (r#"{"action": "accept", "set": {"priority": "urgent"}}"#, "its set.priority must be high"),
            (
                r#"{"action": "accept", "set": {"sender": "a@b"}}"#,
                "its set.sender is nothing that can be set",
            ),
            (r#"{"action": "accept", "set": {"expire": "0s"}}"#, "its set.expire"),
            (r#"{"action": "accept", "set": {"header_add": {"Bcc": "a@b"}}}"#, "would name to all"),
            (r#"{"action": "accept", "set": {"header_add": {"X-A": "a\r\nBcc: b"}}}"#, "is no field"),
            (r#"{"action": "accept", "set": {"header_add": []}}"#, "is no object"),
        ] {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(wanted), "{text}: {problem}");
        }
    }

    #[test]
    fn a_service_that_fails_is_left_alone_and_tried_again() {
        let (mut breaker, now) = (Breaker::default(), Duration::from_secs(70));
        assert_eq!(breaker.failed(now), Fault::First);
        assert!(breaker.succeeded() && !breaker.succeeded());
        let faults: Vec<Fault> = (0..limits::HOOK_FAILURES).map(|_| breaker.failed(now)).collect();
        assert_eq!((faults[0], faults[1], faults[4]), (Fault::First, Fault::Known, Fault::Rests));
        let later = now + limits::HOOK_REST;
        assert!(!breaker.allows(now) && !breaker.allows(later - Duration::from_millis(1)));
        assert!(breaker.allows(later) && !breaker.allows(later), "one tries it");
        assert_eq!(breaker.failed(later), Fault::Known);
        assert!(!breaker.allows(later) && breaker.allows(later + limits::HOOK_REST));
        assert!(breaker.succeeded() && breaker.allows(later));
    }
}
