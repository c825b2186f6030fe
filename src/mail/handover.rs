//! What a node says of a message that it hands over to another one of its operator, as it is emptied: one field in front of it, `X-Relevo-Handover`, an
//! object of JSON in ASCII. It is for the next node alone, which takes it out.
//!
//! The field is folded wherever its line is long enough: CRLF and a blank go in, and the same go out again. All recipients of such a message were tried as
//! often, and have the same parameters.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::mail::header;
use crate::mail::origin;
use crate::mail::parameters::{Key, Parameters, Problem};
use crate::time::UnixMillis;

/// The field.
pub const FIELD: &str = "X-Relevo-Handover";
/// How EHLO offers to take it, and the version of what is taken.
pub const KEYWORD: &str = "XRELEVO";
/// The version of what is written and read here.
pub const VERSION: u32 = 1;

/// What a message brings along. Its envelope, its body and what its sender asked to be told come as with any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// When it was accepted first.
    pub arrival: UnixMillis,
    /// When it is given up.
    pub expiry: UnixMillis,
    /// The account that it came by.
    pub account: Option<Box<str>>,
    /// No hop is told which client brought it.
    pub hides_client: bool,
    /// Its parameters; [`Key::Origin`] is always among them.
    pub parameters: Parameters,
    /// How often it was tried, and what was said.
    pub begun: Begun,
}

/// How far delivery to some recipients is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Attempts.
    pub attempts: u16,
    /// When the next was to be, Unix seconds; 0: at once.
    pub next: u32,
    /// Their sender was told that they are late.
    pub late: bool,
    /// The last reply, as records have it.
    pub reply: Box<str>,
}

/// What an envelope keeps of a handover beside what any other has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// When it came to this node: [`Envelope::arrival`](super::envelope::Envelope::arrival) is when it came to the first.
    pub came: UnixMillis,
    /// How often it was tried before.
    pub begun: Begun,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    version: u32,
    origin: String,
    arrival: u64,
    expiry: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    attempts: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    next: u32,
    #[serde(default, skip_serializing_if = "is_no")]
    late: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reply: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    account: String,
    #[serde(default, skip_serializing_if = "is_no")]
    hides_client: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_no(word: &bool) -> bool {
    !word
}

/// Why a field is none: the fault of the node that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadHandover {
    /// It has more than [`limits::HANDOVER_MAX`] bytes.
    TooLong,
    /// It is no object of JSON in ASCII, or has other members than there are.
    NoObject,
    /// It is of another version.
    Version(u32),
    /// It is said more than once.
    Twice,
    /// This member cannot be understood.
    Member(&'static str),
    /// This parameter cannot be one.
    Parameter(&'static str, Problem),
}

impl fmt::Display for BadHandover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{FIELD}")?;
        match self {
            BadHandover::TooLong => write!(formatter, " is longer than {} bytes", limits::HANDOVER_MAX),
            BadHandover::NoObject => write!(formatter, " is not what version {VERSION} writes"),
            BadHandover::Version(version) => {
                write!(formatter, " is of version {version}; this is version {VERSION}")
            }
            BadHandover::Twice => write!(formatter, " is there twice"),
            BadHandover::Member(name) => write!(formatter, ": {name} cannot be understood"),
            BadHandover::Parameter(name, problem) => write!(formatter, ": {name} {problem}"),
        }
    }
}

impl Handover {
    /// Appends the field. False: it has more bytes than one may have, and nothing was appended.
    pub fn write(&self, out: &mut Vec<u8>) -> bool {
        let parameters = self.parameters.iter().filter(|(key, text)| *key != Key::Origin && !text.is_empty());
        let said = Said {
            version: VERSION,
            origin: self.parameters.get(Key::Origin).unwrap_or_default().to_owned(),
            arrival: self.arrival.0,
            expiry: self.expiry.0,
            attempts: self.begun.attempts.into(),
            next: self.begun.next,
            late: self.begun.late,
            reply: clean(&self.begun.reply, limits::REPLY_MOVED_MAX),
            account: clean(self.account.as_deref().unwrap_or_default(), limits::FILTER_TEXT_MAX),
            hides_client: self.hides_client,
            parameters: parameters.map(|(key, text)| (key.name().to_owned(), text.to_owned())).collect(),
        };
        let Ok(text) = serde_json::to_string(&said) else { return false };
        let text = ascii(&text);
        if text.len() > limits::HANDOVER_MAX {
            return false;
        }
        out.extend_from_slice(FIELD.as_bytes());
        out.extend_from_slice(b": ");
        for (place, piece) in text.as_bytes().chunks(limits::HANDOVER_LINE).enumerate() {
            if place > 0 {
                out.extend_from_slice(FOLD);
            }
            out.extend_from_slice(piece);
        }
        out.extend_from_slice(b"\r\n");
        true
    }
}

/// A text as the next node takes it.
fn clean(text: &str, most: usize) -> String {
    header::cut(text, most).chars().filter(|letter| !letter.is_control()).collect()
}

/// What a line is broken by.
const FOLD: &[u8] = b"\r\n ";

/// The same JSON in ASCII: other letters stand in its strings alone.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, ' '..='~') {
            out.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// What stands first in a header section, if that is a handover. What stands behind another field came with the message from wherever, and is none.
pub fn read(section: &[u8], mailbox_line: bool) -> Result<Option<Handover>, BadHandover> {
    let mut fields = header::fields(section, mailbox_line);
    let Some(first) = fields.next().filter(|field| field.is(FIELD)) else { return Ok(None) };
    if fields.next().is_some_and(|second| second.is(FIELD)) {
        return Err(BadHandover::Twice);
    }
    of_value(first.value).map(Some)
}

fn of_value(value: &[u8]) -> Result<Handover, BadHandover> {
    let lines = value.len() / limits::HANDOVER_LINE + 1;
    if value.len() > limits::HANDOVER_MAX + FOLD.len() * (lines + 1) {
        return Err(BadHandover::TooLong);
    }
    let text = unfolded(value).ok_or(BadHandover::NoObject)?;
    let said: Said = serde_json::from_str(&text).map_err(|_| match serde_json::from_str(&text) {
        Ok(Versioned { version }) if version != VERSION => BadHandover::Version(version),
        _ => BadHandover::NoObject,
    })?;
    said.understood()
}

/// All that is looked at of another version.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The value in one line. None: there is something in it that nobody writes.
fn unfolded(mut value: &[u8]) -> Option<String> {
    value = value.strip_prefix(b" ").unwrap_or(value);
    let mut text = String::with_capacity(value.len());
    while let Some((byte, rest)) = value.split_first() {
        value = match (byte, value.strip_prefix(FOLD)) {
            (_, Some(behind)) => behind,
            (b' '..=b'~', None) => {
                text.push(char::from(*byte));
                rest
            }
            _ => return None,
        };
    }
    Some(text)
}

impl Said {
    fn understood(self) -> Result<Handover, BadHandover> {
        let Said {
            version, origin, arrival, expiry, attempts, next, late, reply, account, hides_client, ..
        } = self;
        if version != VERSION {
            return Err(BadHandover::Version(version));
        }
        if !origin::is_one(&origin) {
            return Err(BadHandover::Member("origin"));
        }
        let lives = expiry.checked_sub(arrival).ok_or(BadHandover::Member("expiry"))?;
        // Held for as long as may be, and tried for as long behind that.
        if u128::from(lives) > 2 * limits::HOLD_MAX.as_millis() || expiry / 1000 > u64::from(u32::MAX) {
            return Err(BadHandover::Member("expiry"));
        }
        let attempts = u16::try_from(attempts).ok().filter(|attempts| *attempts <= limits::ATTEMPTS_TOLD_MAX);
        let attempts = attempts.ok_or(BadHandover::Member("attempts"))?;
        let plain = |text: &str, most| text.len() <= most && !text.chars().any(char::is_control);
        if !plain(&reply, limits::REPLY_MOVED_MAX) {
            return Err(BadHandover::Member("reply"));
        }
        if !plain(&account, limits::FILTER_TEXT_MAX) {
            return Err(BadHandover::Member("account"));
        }
        let mut parameters = Parameters::default();
        for (name, text) in &self.parameters {
            let known = Key::ALL.into_iter().filter(|key| *key != Key::Origin);
            let key = known.into_iter().find(|key| key.name() == name);
            let key = key.ok_or(BadHandover::Member("parameters"))?;
            parameters.set(key, text).map_err(|problem| BadHandover::Parameter(key.name(), problem))?;
        }
        if parameters.get(Key::SendAt).is_some() && parameters.release().is_none() {
            // A wait is counted from when it came, which only its first node knew.
            return Err(BadHandover::Parameter(Key::SendAt.name(), Problem::NoTime));
        }
        parameters.put(Key::Origin, origin.into());
        if parameters.length() > limits::PARAMETERS_BYTES_MAX {
            return Err(BadHandover::Member("parameters"));
        }
        Ok(Handover {
            arrival: UnixMillis(arrival),
            expiry: UnixMillis(expiry),
            account: (!account.is_empty()).then(|| account.into()),
            hides_client,
            parameters,
            begun: Begun { attempts, next, late, reply: reply.into() },
        })
    }
}

#[cfg(test)]
mod tests;
