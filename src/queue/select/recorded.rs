//! What only the record of a message tells, and what was said last of a recipient: filters that no queue answers.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::config::AddressPattern;
use crate::limits;
use crate::mail::origin;
use crate::mail::parameters::{Key, Parameters};

/// Which recipients are meant: those of which all that is set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientFilter {
    /// The reverse path.
    pub sender: Option<AddressPattern>,
    /// Their own address.
    pub recipient: Option<AddressPattern>,
    /// The account that the message came by.
    pub account: Option<Box<str>>,
    /// Parameters of the message, or their own in place of these.
    pub parameters: Vec<(Key, Box<str>)>,
    /// What was said last when they were tried.
    pub reply: Option<TextPattern>,
}

/// A regular expression that is found anywhere in a text, in either case.
#[derive(Clone, Debug)]
pub struct TextPattern(Regex);

impl PartialEq for TextPattern {
    fn eq(&self, other: &TextPattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for TextPattern {}

impl TextPattern {
    fn parse(text: &str) -> Option<TextPattern> {
        if text.is_empty() || text.len() > limits::FILTER_TEXT_MAX {
            return None;
        }
        let built = RegexBuilder::new(text)
            .case_insensitive(true)
            .size_limit(limits::PATTERN_SIZE_MAX)
            .dfa_size_limit(limits::PATTERN_SIZE_MAX)
            .build();
        built.ok().map(TextPattern)
    }

    /// Whether it is found in this text.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

const ADDRESS: &str =
    "an address, @ and a domain, *. and a domain for all below it, * for any, or <> for the null sender";
const WORD: &str = "a name as it is written, of at most 320 bytes";
const PATTERN: &str =
    "a regular expression that is found in the reply, such as '4\\.7\\.1' or 'try again', and no large one";

/// What became of a filter that is given.
pub(super) enum FilterResult {
    /// It is set. `again`: and was set before.
    Set {
        /// Whether it was set before.
        again: bool,
    },
    /// Its text is none that it may have, which is this.
    Wrong(&'static str),
    /// There is none of that name here.
    Unknown,
}

impl RecipientFilter {
    /// One more filter, by its name.
    pub(super) fn set(&mut self, name: &str, text: &str) -> FilterResult {
        let address = || AddressPattern::parse(text.trim()).map_err(|_| ADDRESS);
        let word = || {
            let fits = !text.is_empty() && text.len() <= limits::FILTER_TEXT_MAX;
            if fits { Ok(Box::from(text)) } else { Err(WORD) }
        };
        let set = match name {
            "sender" => address().map(|pattern| self.sender.replace(pattern).is_some()),
            "recipient" => match address() {
                Ok(AddressPattern::Null) => Err(ADDRESS),
                read => read.map(|pattern| self.recipient.replace(pattern).is_some()),
            },
            "account" => word().map(|name| self.account.replace(name).is_some()),
            "reply" => {
                TextPattern::parse(text).ok_or(PATTERN).map(|pattern| self.reply.replace(pattern).is_some())
            }
            _ => {
                let keys = [Key::Tenant, Key::Campaign, Key::Pool, Key::Origin];
                let Some(key) = keys.into_iter().find(|key| key.name() == name) else {
                    return FilterResult::Unknown;
                };
                word().map(|value| {
                    let again = self.parameters.iter().any(|(other, _)| *other == key);
                    self.parameters.push((key, value));
                    again
                })
            }
        };
        set.map_or_else(FilterResult::Wrong, |again| FilterResult::Set { again })
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == RecipientFilter::default()
    }

    /// Whether records are to be read: the index knows what was said last.
    pub fn wants_records(&self) -> bool {
        let RecipientFilter { sender, recipient, account, parameters, reply: _ } = self;
        sender.is_some() || recipient.is_some() || account.is_some() || !parameters.is_empty()
    }

    /// Whether recipients with these parameters are meant.
    pub fn wants_parameters(&self, own: Parameters<&str>) -> bool {
        self.parameters.iter().all(|(key, text)| match (key, own.value(*key)) {
            (Key::Origin, Some(value)) => origin::is_asked(value, text),
            (_, value) => value == Some(text),
        })
    }

    /// Each as a name and what it is to be.
    pub(super) fn words(&self) -> Vec<String> {
        fn word(name: &str, value: impl fmt::Display) -> String {
            format!("{name}={value}")
        }
        let RecipientFilter { sender, recipient, account, parameters, reply } = self;
        let mut words = Vec::new();
        words.extend(sender.iter().map(|pattern| word("sender", pattern)));
        words.extend(recipient.iter().map(|pattern| word("recipient", pattern)));
        words.extend(account.iter().map(|name| word("account", name)));
        words.extend(parameters.iter().map(|(key, value)| word(key.name(), value)));
        words.extend(reply.iter().map(|pattern| word("reply", pattern.0.as_str())));
        words
    }
}
