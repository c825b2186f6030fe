//! Rules of the operator: what a message is treated by, and what is refused or discarded. Pure: facts in, decisions out.
//!
//! A rule decides as soon as all it matches is known: of the sender at MAIL, of a recipient at RCPT, of the header behind it. What it sets
//! is worked out once, when the header is known, in the order of the rules: a later one sets over an earlier one, and one with an
//! action is the last.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::rule::{HeaderPattern, RuleAction, RuleConfig, RuleSet, Template};
use crate::limits;
use crate::mail::address;
use crate::mail::header;
use crate::mail::parameters::{self, Key, Parameters};

/// The rules of a shard. Each shard has its own: what a pattern remembers while it is matched is not shared between threads.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<RuleConfig>,
    /// Header fields that rules match, in lower case, in order.
    names: Vec<String>,
    asks: Asks,
}

/// At which stages there is anything to ask. Where there is not, mail pays the look at this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// At MAIL: some rule refuses senders.
    pub sender: bool,
    /// At RCPT: some rule refuses recipients.
    pub recipient: bool,
    /// Behind the header: some rule sets, discards, or refuses by the header.
    pub header: bool,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The account that authenticated.
    pub account: Option<&'a str>,
    /// The listener, by its place in the configuration.
    pub listener: usize,
    /// The reverse path.
    pub sender: &'a [u8],
    /// The forward path it is asked about.
    pub recipient: Option<&'a [u8]>,
    /// The header, once it is there.
    pub fields: Option<&'a Fields<'a>>,
}

/// The fields of a message that rules match: the first of each name.
#[derive(Debug)]
pub struct Fields<'a> {
    names: &'a [String],
    values: Vec<Option<Cow<'a, str>>>,
}

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let place = self.names.binary_search_by(|known| known.as_str().cmp(name)).ok()?;
        self.values.get(place)?.as_deref()
    }
}

/// What rules set for a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings<'r> {
    /// Its parameters.
    pub parameters: Parameters,
    /// How long delivery is tried.
    pub expire: Option<Duration>,
    /// Another reverse path.
    pub sender: Option<Vec<u8>>,
    /// Header fields that come, as they stand in a message.
    pub add: Vec<u8>,
    /// Those that go, in lower case.
    pub remove: BTreeSet<&'r str>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'r> {
    /// It goes on.
    Proceed,
    /// It is refused with this reply.
    Reject(&'r str),
    /// It is taken and delivered to nobody.
    Discard,
}

impl Rules {
    /// Those of a configuration.
    pub fn new(rules: &[RuleConfig]) -> Rules {
        let wanted = rules.iter().filter_map(|rule| rule.header.as_ref());
        let names: BTreeSet<String> = wanted.map(|header| header.name.to_ascii_lowercase()).collect();
        let mut asks = Asks::default();
        for rule in rules {
            let rejects = matches!(rule.action, Some(RuleAction::Reject(_)));
            match (rejects, &rule.header, &rule.recipient) {
                (true, None, None) => asks.sender = true,
                (true, None, Some(_)) => asks.recipient = true,
                _ => asks.header = true,
            }
            asks.header |= !rule.set.is_empty();
        }
        Rules { rules: rules.to_vec(), names: names.into_iter().collect(), asks }
    }

    /// What there is to ask.
    pub fn asks(&self) -> Asks {
        self.asks
    }

    /// The fields that rules match, in one pass over a header section.
    pub fn fields<'a>(&'a self, section: &'a [u8], mailbox_line: bool) -> Fields<'a> {
        let mut values: Vec<Option<Cow<'a, str>>> = vec![None; self.names.len()];
        if !self.names.is_empty() {
            for field in header::fields(section, mailbox_line) {
                let order = |known: &String| {
                    let letters = field.name.iter().map(u8::to_ascii_lowercase);
                    known.bytes().cmp(letters)
                };
                if let Ok(place) = self.names.binary_search_by(order) {
                    values[place]
                        .get_or_insert_with(|| header::one_line(field.value, limits::FIELD_VALUE_MAX));
                }
            }
        }
        Fields { names: &self.names, values }
    }

    /// The reply with which a rule refuses what is known so far: the first rule with an action says.
    pub fn refuses(&self, facts: &Facts<'_>) -> Option<&str> {
        let first = self.rules.iter().find(|rule| {
            rule.action.is_some() && matches(rule, facts) && matches_recipient(rule, facts.recipient)
        });
        match &first?.action {
            Some(RuleAction::Reject(reply)) => Some(reply),
            _ => None,
        }
    }

    /// Finds the rules that hold of a message whose header is known, whatever its recipients; some more with each call. False: that
    /// was all of them.
    pub fn judge<'r>(&'r self, facts: &Facts<'_>, judgement: &mut Judgement<'r>) -> bool {
        let more = self.rules.iter().skip(judgement.looked_at).take(limits::RULES_AT_ONCE);
        for rule in more.clone().filter(|rule| matches(rule, facts)) {
            let value = |(key, template): &'r (Key, Template)| {
                let value = expand(template, rule.header.as_ref(), facts.fields, key.most());
                parameters::check(*key, &value).is_ok().then_some((*key, value))
            };
            let parameters = rule.set.parameters.iter().filter_map(value).collect();
            judgement.hits.push(Hit { rule, parameters });
        }
        judgement.looked_at += more.len();
        judgement.looked_at < self.rules.len()
    }
}

/// What holds of a message. Asked for each of its recipients without matching anything twice.
#[derive(Debug, Default)]
pub struct Judgement<'r> {
    looked_at: usize,
    hits: Vec<Hit<'r>>,
}

#[derive(Debug)]
struct Hit<'r> {
    rule: &'r RuleConfig,
    /// What it sets, as far as that can be set.
    parameters: Vec<(Key, Cow<'r, str>)>,
}

impl<'r> Judgement<'r> {
    /// Whether recipients may fare differently.
    pub fn differs_by_recipient(&self) -> bool {
        self.hits.iter().any(|hit| hit.rule.recipient.is_some())
    }

    /// What holds of the whole message.
    pub fn message(&self, facts: &Facts<'_>, set: &mut Settings<'r>) -> Action<'r> {
        for hit in self.hits.iter().filter(|hit| hit.rule.recipient.is_none()) {
            hit.set(&mut set.parameters);
            let RuleSet { parameters: _, expire, sender, header_add, header_remove } = &hit.rule.set;
            let expand = |template, most| expand(template, hit.rule.header.as_ref(), facts.fields, most);
            set.expire = expire.or(set.expire);
            if let Some(template) = sender {
                let path = expand(template, limits::PATH_MAX - 2);
                if address::is_path(&path) {
                    set.sender = Some(path.as_bytes().to_vec());
                }
            }
            for (name, template) in header_add {
                let value = expand(template, limits::FIELD_VALUE_MAX);
                let value = value.replace(|letter: char| letter.is_control(), " ");
                if set.add.len() + name.len() + value.len() + 4 <= limits::HEADER_ADDED_MAX {
                    set.add.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
            }
            set.remove.extend(header_remove.iter().map(String::as_str));
            if let Some(action) = &hit.rule.action {
                return action.into();
            }
        }
        Action::Proceed
    }

    /// What holds of one recipient: `set` has what the client instructs. Nobody is refused here, which was done at RCPT.
    pub fn recipient(&self, recipient: &[u8], set: &mut Parameters) -> Action<'r> {
        for hit in self.hits.iter().filter(|hit| matches_recipient(hit.rule, Some(recipient))) {
            hit.set(set);
            match &hit.rule.action {
                Some(RuleAction::Discard) => return Action::Discard,
                Some(RuleAction::Reject(_)) => return Action::Proceed,
                None => {}
            }
        }
        Action::Proceed
    }
}

impl Hit<'_> {
    fn set(&self, parameters: &mut Parameters) {
        for (key, value) in &self.parameters {
            // It was checked.
            let _ = parameters.set(*key, value);
        }
    }
}

impl<'r> From<&'r RuleAction> for Action<'r> {
    fn from(action: &'r RuleAction) -> Action<'r> {
        match action {
            RuleAction::Reject(reply) => Action::Reject(reply),
            RuleAction::Discard => Action::Discard,
        }
    }
}

/// Whether all a rule matches but the recipient holds.
fn matches(rule: &RuleConfig, facts: &Facts<'_>) -> bool {
    rule.account.as_deref().is_none_or(|account| facts.account == Some(account))
        && rule.listener.is_none_or(|listener| facts.listener == listener)
        && rule.sender.as_ref().is_none_or(|pattern| pattern.matches(facts.sender))
        && rule.header.as_ref().is_none_or(|header| {
            let value = facts.fields.and_then(|fields| fields.get(&header.name));
            value.is_some_and(|value| header.pattern.is_match(value))
        })
}

/// Whether a recipient is one that a rule is about. A rule about some is not about a message as a whole.
fn matches_recipient(rule: &RuleConfig, recipient: Option<&[u8]>) -> bool {
    let Some(pattern) = &rule.recipient else { return true };
    recipient.is_some_and(|recipient| pattern.matches(recipient))
}

/// A value with what the pattern of its rule found in place of `$1`.
fn expand<'r>(
    template: &'r Template,
    header: Option<&HeaderPattern>,
    fields: Option<&Fields<'_>>,
    most: usize,
) -> Cow<'r, str> {
    if let Some(text) = template.text() {
        return Cow::Borrowed(header::cut(text, most));
    }
    let value = header.and_then(|header| Some((header, fields?.get(&header.name)?)));
    let found = value.and_then(|(header, value)| header.pattern.captures(value));
    let group =
        |number| found.as_ref().and_then(|found| found.get(number)).map_or("", |group| group.as_str());
    let text = template.expand(group);
    Cow::Owned(header::cut(&text, most).to_owned())
}

#[cfg(test)]
mod tests;
