//! The parts of a message that came from outside, as far as they are looked at (RFC 2045, 2046).
//!
//! What is looked at is a front piece with LF between its lines. Headers lie as often as not: a part is what its content type says, or what
//! its first lines look like.

use std::borrow::Cow;

use super::text;
use crate::limits;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Words for a human.
    Text,
    /// The same, with markup.
    Html,
    /// Fields of a delivery report (RFC 3464, RFC 6533).
    Status,
    /// Fields of a complaint (RFC 5965).
    Feedback,
    /// Fields of a receipt that a reader asked for (RFC 8098).
    Disposition,
    /// A message: mostly the one that comes back.
    Message,
    /// The header section of one.
    Headers,
    /// Something else.
    Other,
}

/// A part that has no parts.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    pub kind: Kind,
    /// Decoded. Of a message: all of it, header section first.
    pub body: Cow<'a, [u8]>,
}

/// A header field, one line, trimmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub name: &'a [u8],
    /// With its folds.
    pub value: &'a [u8],
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its value in one line.
    pub fn text(&self) -> String {
        text::one_line(self.value, limits::INCOMING_VALUE_MAX)
    }
}

/// The front of a message, with LF between lines. A message that has CR alone there gets LF, too.
pub(super) fn front(message: &[u8]) -> Vec<u8> {
    let front = &message[..message.len().min(limits::INCOMING_FRONT_MAX)];
    let mut out = Vec::with_capacity(front.len());
    let lone = memchr::memchr(b'\n', front).is_none();
    let mut at = 0;
    while let Some(place) = memchr::memchr(b'\r', &front[at..]) {
        out.extend_from_slice(&front[at..at + place]);
        at += place + 1;
        if lone || front.get(at) != Some(&b'\n') {
            out.push(b'\n');
        }
    }
    out.extend_from_slice(&front[at..]);
    out
}

/// Header section and body. Without an empty line all is header section, if it begins like one.
pub(super) fn split(message: &[u8]) -> (&[u8], &[u8]) {
    if message.first() == Some(&b'\n') {
        return (&[], &message[1..]);
    }
    match memchr::memmem::find(message, b"\n\n") {
        Some(end) => (&message[..=end], &message[end + 2..]),
        None => (message, &[]),
    }
}

/// Fields of lines up to the end, empty lines and lines that are no field left out; so many are looked at.
pub(super) fn fields(section: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = section;
    let mut left = limits::INCOMING_FIELDS_MAX;
    std::iter::from_fn(move || {
        while !rest.is_empty() && left > 0 {
            left -= 1;
            let mut end = 0;
            loop {
                end += memchr::memchr(b'\n', &rest[end..]).map_or(rest.len() - end, |place| place + 1);
                if end >= rest.len() || !matches!(rest[end], b' ' | b'\t') {
                    break;
                }
            }
            let (line, after) = rest.split_at(end);
            rest = after;
            if let Some(field) = field(line) {
                return Some(field);
            }
        }
        None
    })
}

fn field(line: &[u8]) -> Option<Field<'_>> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| Field { name, value: line[colon + 1..].trim_ascii() })
}

/// The value of the first field with a name.
pub(super) fn value(section: &[u8], name: &str) -> Option<String> {
    fields(section).find(|field| field.is(name)).map(|field| field.text())
}

/// What Content-Type and Content-Transfer-Encoding of a section say.
struct Content<'a> {
    kind: String,
    boundary: Option<Vec<u8>>,
    encoding: String,
    section: &'a [u8],
}

impl<'a> Content<'a> {
    fn read(section: &'a [u8]) -> Content<'a> {
        let mut content = Content { kind: String::new(), boundary: None, encoding: String::new(), section };
        for field in fields(section) {
            if field.is("Content-Type") && content.kind.is_empty() {
                let value = field.text();
                content.boundary = parameter(&value, "boundary");
                let kind = value.split(';').next().unwrap_or_default().trim();
                content.kind = kind.to_ascii_lowercase();
            } else if field.is("Content-Transfer-Encoding") {
                content.encoding = field.text().to_ascii_lowercase();
            }
        }
        content
    }

    fn decode(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        if self.encoding.contains("quoted-printable") {
            Cow::Owned(text::quoted_printable(body))
        } else if self.encoding.contains("base64") {
            Cow::Owned(text::base64(body))
        } else {
            Cow::Borrowed(body)
        }
    }

    /// Whether its own fields are those of a message: some put what they return behind a boundary, and nothing between.
    fn is_message(&self) -> bool {
        let mut seen = 0;
        for field in fields(self.section) {
            if field.is("Received") || field.is("Return-Path") {
                return true;
            }
            seen += usize::from(field.is("From") || field.is("Subject") || field.is("Message-ID"));
        }
        seen >= 2
    }
}

/// A parameter of a field, quoted or not.
fn parameter(value: &str, name: &str) -> Option<Vec<u8>> {
    let lower = value.to_ascii_lowercase();
    let mut at = 0;
    while let Some(place) = lower.get(at..)?.find(name) {
        let start = at + place;
        at = start + name.len();
        let before = lower[..start].trim_end();
        let rest = value[at..].trim_start();
        if !before.ends_with(';') && !before.ends_with(',') {
            continue;
        }
        let Some(rest) = rest.strip_prefix('=') else { continue };
        let rest = rest.trim_start();
        let found = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default().replace('\\', ""),
            None => rest.split([';', ' ', '\t']).next().unwrap_or_default().to_owned(),
        };
        return (!found.is_empty()).then(|| found.into_bytes());
    }
    None
}

/// The parts of a message that have no parts, in order. `top`: its header section is that of the message that came.
pub(super) fn read(message: &[u8]) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let (section, body) = split(message);
    walk(&Content::read(section), body, 0, &mut out);
    out
}

fn walk<'a>(content: &Content<'a>, body: &'a [u8], depth: usize, out: &mut Vec<Part<'a>>) {
    if out.len() >= limits::INCOMING_PARTS_MAX {
        return;
    }
    let sniffed = content
        .boundary
        .clone()
        .filter(|boundary| has_line(body, boundary))
        .or_else(|| content.kind.starts_with("multipart").then(|| sniff(body)).flatten());
    let boundary = sniffed.as_deref();
    if let Some(boundary) = boundary.filter(|_| depth < limits::INCOMING_DEPTH_MAX)
        && !content.kind.starts_with("message/")
    {
        for piece in Pieces::new(body, boundary) {
            let (section, inner) = split_part(piece);
            let own = Content::read(section);
            if depth > 0 || !own.kind.is_empty() || !own.is_message() {
                walk(&own, inner, depth + 1, out);
            } else {
                out.push(Part { kind: Kind::Headers, body: Cow::Borrowed(piece) });
            }
            if out.len() >= limits::INCOMING_PARTS_MAX {
                return;
            }
        }
        return;
    }
    let body = content.decode(body);
    let kind = kind(content, &body, depth);
    out.push(Part { kind, body });
}

/// A part may have no header section, not even an empty line in front (RFC 2046 5.1.1 asks for that).
fn split_part(piece: &[u8]) -> (&[u8], &[u8]) {
    let first = piece.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if field(first).is_none() && !first.is_empty() { (&[], piece) } else { split(piece) }
}

fn kind(content: &Content<'_>, body: &[u8], depth: usize) -> Kind {
    let kind = content.kind.as_str();
    if kind.ends_with("delivery-status") {
        return Kind::Status;
    }
    match kind {
        "message/feedback-report" => Kind::Feedback,
        "message/disposition-notification" | "message/global-disposition-notification" => Kind::Disposition,
        "message/rfc822" | "message/global" | "message/partial" => Kind::Message,
        "text/rfc822-headers"
        | "text/rfc822-header"
        | "message/rfc822-headers"
        | "message/global-headers" => Kind::Headers,
        // What is declared as text, and is none.
        _ if depth > 0 && looks_like(body, &["Feedback-Type"]) => Kind::Feedback,
        _ if depth > 0 && looks_like(body, &["Final-Recipient", "Original-Recipient"]) => Kind::Status,
        _ if depth > 0 && looks_like(body, &["Received", "Return-Path"]) => Kind::Headers,
        "text/html" => Kind::Html,
        "" => Kind::Text,
        _ if kind.starts_with("text") => Kind::Text,
        _ if depth == 0 => Kind::Text,
        _ => Kind::Other,
    }
}

/// Whether it begins with fields, and one of these is among the first.
fn looks_like(body: &[u8], names: &[&str]) -> bool {
    let start = body.trim_ascii_start();
    let lines = start.split(|byte| *byte == b'\n').take(16);
    let mut begun = false;
    for line in lines {
        match field(line) {
            Some(field) if names.iter().any(|name| field.is(name)) => return true,
            Some(_) => begun = true,
            None if line.is_empty() || matches!(line[0], b' ' | b'\t') => {}
            None => return false,
        }
        if !begun {
            return false;
        }
    }
    false
}

/// The delimiter that a body begins with, where its header section does not name one of its lines: it has fields behind it.
fn sniff(body: &[u8]) -> Option<Vec<u8>> {
    let front = &body[..body.len().min(limits::INCOMING_SNIFF_MAX)];
    let mut lines = front.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_field =
            lines.peek().and_then(|next| field(next)).is_some_and(|field| field.name.starts_with(b"Content"));
        if let Some(boundary) = line.strip_prefix(b"--").filter(|rest| is_field && !rest.is_empty()) {
            return Some(boundary.trim_ascii_end().to_vec());
        }
    }
    None
}

/// Whether a line is a delimiter.
fn has_line(body: &[u8], boundary: &[u8]) -> bool {
    Pieces::new(body, boundary).next().is_some()
}

/// What stands between delimiters.
struct Pieces<'a> {
    body: &'a [u8],
    delimiter: memchr::memmem::Finder<'static>,
    /// Where the next piece begins; none: nothing follows.
    at: Option<usize>,
}

impl<'a> Pieces<'a> {
    fn new(body: &'a [u8], boundary: &[u8]) -> Pieces<'a> {
        let delimiter = memchr::memmem::Finder::new(&[b"--", boundary].concat()).into_owned();
        let mut pieces = Pieces { body, delimiter, at: None };
        if let Some((_, after, false)) = pieces.delimiter_from(0) {
            pieces.at = Some(after);
        }
        pieces
    }

    /// The next delimiter: where its line begins, where the line behind begins, and whether it is the last.
    fn delimiter_from(&self, from: usize) -> Option<(usize, usize, bool)> {
        let mut at = from;
        loop {
            let place = at + self.delimiter.find(&self.body[at..])?;
            let end = place + self.delimiter.needle().len();
            let line =
                end + memchr::memchr(b'\n', &self.body[end..]).map_or(self.body.len() - end, |l| l + 1);
            let rest = self.body[end..line].trim_ascii();
            if (place == 0 || self.body[place - 1] == b'\n') && (rest.is_empty() || rest == b"--") {
                return Some((place, line, rest == b"--"));
            }
            at = end;
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.at?;
        match self.delimiter_from(start) {
            Some((end, after, last)) => {
                self.at = (!last).then_some(after);
                Some(&self.body[start..end])
            }
            None => {
                self.at = None;
                Some(&self.body[start..])
            }
        }
    }
}
