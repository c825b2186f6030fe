//! Header fields as they are hashed (RFC 6376 3.4.1, 3.4.2), and which of them are (5.4).

use std::fmt;

use crate::limits;
use crate::mail::header::{self, Field};

use super::Canonicalization;
use super::folder::Folder;

/// What is signed where nothing else is asked for (RFC 6376 5.4.1, RFC 8058 4, and what large receivers ask for), in the order of `h=`.
/// True: signed once more than it is there, so that nobody can add one on the way.
const USUAL: [(&str, bool); 30] = [
    ("from", true),
    ("sender", false),
    ("reply-to", true),
    ("subject", true),
    ("date", true),
    ("message-id", true),
    ("to", true),
    ("cc", true),
    ("mime-version", false),
    ("content-type", true),
    ("content-transfer-encoding", false),
    ("content-id", false),
    ("content-description", false),
    ("in-reply-to", false),
    ("references", false),
    ("list-id", false),
    ("list-help", false),
    ("list-unsubscribe", true),
    ("list-unsubscribe-post", true),
    ("list-subscribe", false),
    ("list-post", false),
    ("list-owner", false),
    ("list-archive", false),
    ("feedback-id", false),
    ("resent-date", false),
    ("resent-from", false),
    ("resent-sender", false),
    ("resent-to", false),
    ("resent-cc", false),
    ("resent-message-id", false),
];

/// What changes on the way by rule, or goes.
const NEVER: [&str; 5] = ["received", "return-path", "bcc", "resent-bcc", "dkim-signature"];

/// Why names of fields are no list to sign by. The fault is with whoever wrote the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListFlaw {
    /// That is no name of a field.
    NoName(String),
    /// Relays add, change or remove this one.
    Changing(String),
    /// It is there twice.
    Twice(String),
    /// From is not there.
    NoFrom,
    /// There are too many.
    TooMany,
}

impl fmt::Display for ListFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListFlaw::NoName(name) => write!(formatter, "{name:?} is no name of a header field"),
            ListFlaw::Changing(name) => {
                write!(formatter, "{name} cannot be signed: relays add, change or remove it; leave it out")
            }
            ListFlaw::Twice(name) => {
                write!(formatter, "{name} is there twice; once signs all fields of that name")
            }
            ListFlaw::NoFrom => {
                write!(formatter, "From is missing: a signature without it is worth nothing (RFC 6376 5.4)")
            }
            ListFlaw::TooMany => {
                write!(formatter, "it has more than {} names; leave some out", limits::DKIM_NAMES_MAX)
            }
        }
    }
}

impl std::error::Error for ListFlaw {}

/// Names of the fields that are signed, in the order of `h=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldList(Vec<SignedName>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct SignedName {
    /// In small letters.
    name: String,
    /// Signed once more than it is there.
    oversigned: bool,
}

impl Default for FieldList {
    fn default() -> FieldList {
        let signed = |(name, oversigned): (&str, bool)| SignedName { name: name.to_owned(), oversigned };
        FieldList(USUAL.map(signed).into())
    }
}

impl FieldList {
    /// These names; true: signed once more than it is there.
    pub fn new<'a>(names: impl IntoIterator<Item = (&'a str, bool)>) -> Result<FieldList, ListFlaw> {
        let mut list: Vec<SignedName> = Vec::new();
        for (name, oversigned) in names {
            // RFC 5322 3.6.8, without `;`, which ends `h=`.
            let is_name = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b':' | b';');
            let name = name.to_ascii_lowercase();
            if name.is_empty() || name.len() > limits::DKIM_NAME_MAX || !name.bytes().all(is_name) {
                return Err(ListFlaw::NoName(name));
            }
            if NEVER.contains(&name.as_str()) {
                return Err(ListFlaw::Changing(name));
            }
            if list.iter().any(|other| other.name == name) {
                return Err(ListFlaw::Twice(name));
            }
            if list.len() == limits::DKIM_NAMES_MAX {
                return Err(ListFlaw::TooMany);
            }
            list.push(SignedName { name, oversigned });
        }
        let has_from = list.iter().any(|signed| signed.name == "from");
        if has_from { Ok(FieldList(list)) } else { Err(ListFlaw::NoFrom) }
    }
}

/// Why nobody would believe a signature of a header section. The fault is with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFlaw {
    /// RFC 5322 3.6 wants a From field.
    NoFrom,
    /// RFC 5322 3.6 wants one: readers show any of them.
    SeveralFrom,
    /// It has more fields of the names that are signed than are looked at.
    TooManyFields,
    /// A line in it is no field (RFC 5322 2.2): some readers end the section there, some skip it.
    NoField,
    /// There is a NUL in it, which relays take out, replace, or end the line at.
    Nul,
}

impl fmt::Display for HeaderFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderFlaw::NoFrom => write!(formatter, "the message has no From field"),
            HeaderFlaw::SeveralFrom => write!(formatter, "the message has several From fields"),
            HeaderFlaw::TooManyFields => write!(
                formatter,
                "the message has more than {} header fields that would have to be signed",
                limits::DKIM_FIELDS_MAX
            ),
            HeaderFlaw::NoField => {
                write!(formatter, "the header section of the message has a line that is no field")
            }
            HeaderFlaw::Nul => write!(formatter, "the header section of the message has a NUL"),
        }
    }
}

impl std::error::Error for HeaderFlaw {}

/// The fields of one header section that are signed.
#[derive(Debug, Default)]
pub struct Picked {
    /// Where they lie, each with its name's place in the list: in the order in which they are hashed.
    fields: Vec<(usize, usize, usize)>,
}

impl Picked {
    /// Picks them, in one walk over the section.
    pub fn pick(&mut self, section: &[u8], mailbox_line: bool, list: &FieldList) -> Result<(), HeaderFlaw> {
        self.fields.clear();
        let mut froms = 0;
        for field in header::fields(section, mailbox_line) {
            if !has_plain_name(section, &field) {
                return Err(HeaderFlaw::NoField);
            }
            let Some(place) = list.0.iter().position(|signed| field.is(&signed.name)) else { continue };
            if self.fields.len() == limits::DKIM_FIELDS_MAX {
                return Err(HeaderFlaw::TooManyFields);
            }
            froms += usize::from(list.0[place].name == "from");
            self.fields.push((place, field.start, field.end));
        }
        if memchr::memchr(0, section).is_some() {
            return Err(HeaderFlaw::Nul);
        }
        // RFC 6376 5.4.2: of several fields of a name, the last one comes first.
        self.fields.sort_unstable_by_key(|(place, start, _)| (*place, std::cmp::Reverse(*start)));
        match froms {
            0 => Err(HeaderFlaw::NoFrom),
            1 => Ok(()),
            _ => Err(HeaderFlaw::SeveralFrom),
        }
    }

    /// Appends them in canonical form.
    pub fn write(&self, section: &[u8], canonicalization: Canonicalization, out: &mut Vec<u8>) {
        for (_, start, end) in &self.fields {
            write_field(&section[*start..*end], canonicalization, out);
        }
    }

    /// Writes what `h=` lists, in order, and a semicolon behind it.
    pub fn write_names(&self, list: &FieldList, field: &mut Folder<'_>) {
        let mut fields = self.fields.iter().peekable();
        let mut last = None;
        for (place, signed) in list.0.iter().enumerate() {
            let there = std::iter::from_fn(|| fields.next_if(|field| field.0 == place)).count();
            for _ in 0..there + usize::from(signed.oversigned) {
                if let Some(before) = last.replace(&signed.name) {
                    field.part(before, ":");
                }
            }
        }
        field.part(last.map_or("", String::as_str), ";");
    }
}

/// Whether there is a name of letters (RFC 5322 3.6.8), on the line of its colon, with nothing but blanks in front of that. Else readers differ in
/// what field it is, and in whether the section ends with it.
fn has_plain_name(section: &[u8], field: &Field<'_>) -> bool {
    if field.name.is_empty() || !field.name.iter().all(u8::is_ascii_graphic) {
        return false;
    }
    let behind = &section[field.start + field.name.len()..field.end];
    behind.iter().find(|byte| !matches!(byte, b' ' | b'\t')) == Some(&b':')
}

/// Appends a whole field, CRLF included, in canonical form.
pub fn write_field(field: &[u8], canonicalization: Canonicalization, out: &mut Vec<u8>) {
    let text = field.strip_suffix(b"\r\n").unwrap_or(field);
    match canonicalization {
        Canonicalization::Simple => out.extend_from_slice(text),
        Canonicalization::Relaxed => {
            let colon = memchr::memchr(b':', text).unwrap_or(text.len());
            let (name, value) = text.split_at(colon);
            let start = out.len();
            out.extend_from_slice(name.trim_ascii_end());
            out[start..].make_ascii_lowercase();
            out.push(b':');
            write_relaxed(value.get(1..).unwrap_or_default(), out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 6376 3.4.2: lines unfolded, white space between words made one blank, none around.
fn write_relaxed(mut value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        loop {
            match value {
                [first, rest @ ..] if blank(first) => value = rest,
                [b'\r', b'\n', rest @ ..] => value = rest,
                _ => break,
            }
        }
        if value.is_empty() {
            return;
        }
        if out.len() > start {
            out.push(b' ');
        }
        let mut end = 0;
        // A CR alone is a letter like others.
        loop {
            end += memchr::memchr3(b' ', b'\t', b'\r', &value[end..]).unwrap_or(value.len() - end);
            if value.get(end) != Some(&b'\r') || value.get(end + 1) == Some(&b'\n') {
                break;
            }
            end += 1;
        }
        let (word, rest) = value.split_at(end);
        out.extend_from_slice(word);
        value = rest;
    }
}
