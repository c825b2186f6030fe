//! Rules of the operator: what a message is treated by, and what is refused or ends here. Pure: facts in, decisions out.
//!
//! A rule decides as soon as all it matches is known: of the sender at MAIL, of a recipient at RCPT, of the header behind it. What it sets
//! is worked out once, when the header is known, in the order of the rules: a later one sets over an earlier one, and one with an
//! action is the last.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::rule::{RuleAction, RuleConfig, RuleSet, Template};
use crate::config::value::Network;
use crate::limits;
use crate::mail::address;
use crate::mail::author::Author;
use crate::mail::duties::{Duty, Lacks};
use crate::mail::header;
use crate::mail::parameters::{self, Key, Parameters};
use crate::names::ends::End;

/// The rules of a shard. Each shard has its own: what a pattern remembers while it is matched is not shared between threads.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<RuleConfig>,
    /// Header fields that rules match, in lower case, in order.
    names: Vec<String>,
    /// Some rule is about duties of bulk mail.
    of_duties: bool,
    hostname: String,
    stages: Stages,
}

/// At which stages there is anything to ask. Where there is not, mail pays the look at this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// At MAIL: some rule refuses senders.
    pub sender: bool,
    /// At RCPT: some rule refuses recipients.
    pub recipient: bool,
    /// Behind the header: some rule sets, ends it here, or refuses by the header.
    pub header: bool,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The account that authenticated.
    pub account: Option<&'a str>,
    /// The listener, by its place in the configuration. None: it came by none.
    pub listener: Option<usize>,
    /// Where the client is. None: it came by no session.
    pub client: Option<IpAddr>,
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
    lacks: Lacks,
}

/// A header section, and what is to be known of its message to judge it.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    /// Its fields.
    pub section: &'a [u8],
    /// It begins with the `From ` line of a mailbox file.
    pub mailbox_line: bool,
    /// The reverse path.
    pub sender: &'a [u8],
    /// Whether mail of an author is signed here with a key of its domain.
    pub is_signed: &'a dyn Fn(&Author) -> bool,
}

impl Fields<'_> {
    /// What it lacks of the first of these duties that it does not do.
    fn lacks(&self, duties: &[Duty]) -> Option<&'static str> {
        duties.iter().find_map(|duty| self.lacks.of(*duty))
    }

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
    /// Received fields tell no hop where the message was before it left here.
    pub hide_trace: bool,
    /// It gets a way out of its list.
    pub unsubscribe: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'r> {
    /// It goes on.
    Proceed,
    /// It is refused with this reply.
    Reject(&'r str),
    /// It is taken and delivered to nobody: it has this end.
    End(End),
}

impl Action<'_> {
    /// The end that it has at once.
    pub fn end(self) -> Option<End> {
        match self {
            Action::End(end) => Some(end),
            Action::Proceed | Action::Reject(_) => None,
        }
    }
}

impl Rules {
    /// Those of a configuration.
    pub fn new(rules: &[RuleConfig]) -> Rules {
        let wanted = rules.iter().filter_map(|rule| rule.header.as_ref());
        let names: BTreeSet<String> = wanted.map(|header| header.name.to_ascii_lowercase()).collect();
        let mut stages = Stages::default();
        for rule in rules {
            let rejects = matches!(rule.action, Some(RuleAction::Reject(_)));
            match (rejects, rule.is_of_header(), &rule.recipient) {
                (true, false, None) => stages.sender = true,
                (true, false, Some(_)) => stages.recipient = true,
                _ => stages.header = true,
            }
            stages.header |= !rule.set.is_empty();
        }
        let of_duties = rules.iter().any(|rule| !rule.lacks.is_empty());
        let names = names.into_iter().collect();
        Rules { rules: rules.to_vec(), names, of_duties, hostname: String::new(), stages }
    }

    /// The same, of a node with this name.
    pub fn of_node(self, hostname: &str) -> Rules {
        Rules { hostname: hostname.to_owned(), ..self }
    }

    /// The name of the node.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// What there is to ask.
    pub fn stages(&self) -> Stages {
        self.stages
    }

    /// The fields that rules match, in one pass over a header section; another one finds what it lacks, if some rule asks for that.
    pub fn fields<'a>(&'a self, judged: Judged<'a>) -> Fields<'a> {
        let Judged { section, mailbox_line, sender, is_signed } = judged;
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
        let lacks = match self.of_duties {
            true => Lacks::find(section, mailbox_line, sender, is_signed),
            false => Lacks::default(),
        };
        Fields { names: &self.names, values, lacks }
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

    /// Finds the rules that hold of a message whose header is known, whatever its recipients; looks at one more with each call, for a match
    /// may take long. False: that was the last one.
    pub fn judge<'r>(&'r self, facts: &Facts<'_>, judgement: &mut Judgement<'r>) -> bool {
        let Some(rule) = self.rules.get(judgement.looked_at) else { return false };
        judgement.looked_at += 1;
        if !matches(rule, facts) {
            return judgement.looked_at < self.rules.len();
        }
        judgement.hits.push(Hit::new(rule, facts, &mut judgement.added));
        // One that ends for the whole message leaves nothing to those behind it.
        let ends = rule.recipient.is_none() && rule.action.is_some();
        !ends && judgement.looked_at < self.rules.len()
    }
}

/// What holds of a message. Asked for each of its recipients without matching anything twice.
#[derive(Debug, Default)]
pub struct Judgement<'r> {
    looked_at: usize,
    hits: Vec<Hit<'r>>,
    /// Bytes of fields that are added.
    added: usize,
}

/// A rule that holds, and what it sets, as far as that can be set.
#[derive(Debug)]
struct Hit<'r> {
    rule: &'r RuleConfig,
    parameters: Vec<(Key, Cow<'r, str>)>,
    sender: Option<Cow<'r, str>>,
    /// Whole lines.
    add: Vec<u8>,
    /// What the message lacks, in words that go on after "the message".
    lacks: Option<&'static str>,
}

impl<'r> Judgement<'r> {
    /// Whether recipients may fare differently.
    pub fn differs_by_recipient(&self) -> bool {
        self.hits.iter().any(|hit| hit.rule.recipient.is_some())
    }

    /// What holds of the whole message.
    pub fn message(&self, set: &mut Settings<'r>) -> Action<'r> {
        for hit in self.hits.iter().filter(|hit| hit.rule.recipient.is_none()) {
            let Hit { rule, parameters, sender, add, lacks: _ } = hit;
            for (key, value) in parameters {
                set.parameters.put(*key, (**value).into());
            }
            set.expire = rule.set.expire.or(set.expire);
            if let Some(sender) = sender {
                set.sender = Some(sender.as_bytes().to_vec());
            }
            set.add.extend_from_slice(add);
            set.hide_trace |= rule.set.hide_trace;
            set.unsubscribe |= rule.set.unsubscribe;
            set.remove.extend(rule.set.header_remove.iter().map(String::as_str));
            if let Some(action) = &rule.action {
                return action.into();
            }
        }
        Action::Proceed
    }

    /// What the last rule that holds is about, if that is what the message lacks.
    pub fn lacks(&self) -> Option<&'static str> {
        self.hits.last()?.lacks
    }

    /// What holds of one recipient, over what the client instructs. Nobody is refused here, which was done at RCPT.
    pub fn recipient<'a>(
        &'a self,
        recipient: &[u8],
        instructed: Parameters<&'a str>,
    ) -> (Action<'r>, Parameters<&'a str>) {
        let mut set = instructed;
        for hit in self.hits.iter().filter(|hit| matches_recipient(hit.rule, Some(recipient))) {
            for (key, value) in &hit.parameters {
                set.put(*key, value);
            }
            match &hit.rule.action {
                Some(RuleAction::End(end)) => return (Action::End(*end), set),
                Some(RuleAction::Reject(_)) => break,
                None => {}
            }
        }
        (Action::Proceed, set)
    }
}

impl<'r> Hit<'r> {
    /// Works out what a rule sets; the pattern is gone through for its groups once, and no field is written for which there is no room.
    fn new(rule: &'r RuleConfig, facts: &Facts<'_>, added: &mut usize) -> Hit<'r> {
        let RuleSet { parameters, sender, header_add, .. } = &rule.set;
        let header = rule.header.as_ref().filter(|_| rule.set.has_groups());
        let value = header.and_then(|header| Some((header, facts.fields?.get(&header.name)?)));
        let found = value.and_then(|(header, value)| header.pattern.captures(value));
        let expand = |template: &'r Template, most: usize| match template.text() {
            Some(text) => Cow::Borrowed(header::cut(text, most)),
            None => Cow::Owned(template.expand(most, |number| {
                found.as_ref().and_then(|found| found.get(number)).map_or("", |group| group.as_str())
            })),
        };
        let parameter = |(key, template): &'r (Key, Template)| {
            let value = expand(template, key.most());
            parameters::check(*key, &value).is_ok().then_some((*key, value))
        };
        let parameters = parameters.iter().filter_map(parameter).collect();
        let sender = sender.as_ref().map(|template| expand(template, limits::PATH_MAX - 2));
        let mut add = Vec::new();
        for (name, template) in header_add {
            let room = limits::HEADER_ADDED_MAX - *added;
            let around = name.len() + 4;
            if around > room {
                continue;
            }
            let most = limits::FIELD_VALUE_MAX.min(limits::ADDED_LINE_MAX.saturating_sub(name.len() + 2));
            let value = expand(template, most).replace(|letter: char| letter.is_control(), " ");
            if around + value.len() <= room {
                *added += around + value.len();
                add.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        let lacks = facts.fields.and_then(|fields| fields.lacks(&rule.lacks));
        Hit { rule, parameters, sender: sender.filter(|path| address::is_path(path)), add, lacks }
    }
}

impl<'r> From<&'r RuleAction> for Action<'r> {
    fn from(action: &'r RuleAction) -> Action<'r> {
        match action {
            RuleAction::Reject(reply) => Action::Reject(reply),
            RuleAction::End(end) => Action::End(*end),
        }
    }
}

/// Whether all a rule matches but the recipient holds.
fn matches(rule: &RuleConfig, facts: &Facts<'_>) -> bool {
    rule.account.as_deref().is_none_or(|account| facts.account == Some(account))
        && rule.listener.is_none_or(|listener| facts.listener == Some(listener))
        && (rule.clients.is_empty() || facts.client.is_some_and(|client| comes_from(&rule.clients, client)))
        && rule.sender.as_ref().is_none_or(|pattern| pattern.matches(facts.sender))
        && rule.header.as_ref().is_none_or(|header| {
            let value = facts.fields.and_then(|fields| fields.get(&header.name));
            value.is_some_and(|value| header.pattern.is_match(value))
        })
        && (rule.lacks.is_empty() || facts.fields.is_some_and(|fields| fields.lacks(&rule.lacks).is_some()))
}

fn comes_from(networks: &[Network], client: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(client))
}

/// Whether a recipient is one that a rule is about. A rule about some is not about a message as a whole.
fn matches_recipient(rule: &RuleConfig, recipient: Option<&[u8]>) -> bool {
    let Some(pattern) = &rule.recipient else { return true };
    recipient.is_some_and(|recipient| pattern.matches(recipient))
}

#[cfg(test)]
mod tests;
