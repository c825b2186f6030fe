//! Delivery reports: `message/delivery-status` (RFC 3464) and its global form (RFC 6533), as systems really write them.

use super::found::{Action, PerRecipient, Returned};
use super::parts::{self, Field};
use super::text;
use crate::limits;
use crate::mail::classify::Class;

/// The fields of a report part.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub envelope_id: Option<String>,
    pub reporting_mta: Option<String>,
    pub recipients: Vec<RecipientFields>,
}

/// The fields of one recipient.
#[derive(Debug, Default)]
pub(super) struct RecipientFields {
    recipient: Option<String>,
    original: Option<String>,
    action: Option<Action>,
    status: Option<(u8, u16, u16)>,
    /// What Status says behind the code.
    comment: String,
    diagnostic: String,
    remote: Option<String>,
    /// Some field of it stands there.
    begun: bool,
}

/// Reads a report part, with LF between lines. None: nothing in it is of a recipient.
pub(super) fn read(part: &[u8]) -> Option<Fields> {
    let mut found = Fields::default();
    let mut current = RecipientFields::default();
    // Sections end with an empty line; some have none, and some have them anywhere.
    for section in sections(part) {
        for field in parts::fields(section) {
            if found.take(&field) {
                continue;
            }
            if current.is_next(&field) {
                found.add(std::mem::take(&mut current));
            }
            current.take(&field);
        }
        if current.is_whole() {
            found.add(std::mem::take(&mut current));
        }
    }
    found.add(current);
    (!found.recipients.is_empty()).then_some(found)
}

/// What stands between empty lines.
fn sections(part: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(part);
    std::iter::from_fn(move || {
        let text = rest?;
        match memchr::memmem::find(text, b"\n\n") {
            Some(end) => {
                rest = Some(&text[end + 2..]);
                Some(&text[..end])
            }
            None => rest.take(),
        }
    })
    .take(limits::INCOMING_FIELDS_MAX)
}

impl Fields {
    /// Takes a field of the message. False: it is none.
    fn take(&mut self, field: &Field<'_>) -> bool {
        if field.is("Original-Envelope-Id") {
            self.envelope_id.get_or_insert_with(|| field.text());
        } else if field.is("Reporting-MTA") {
            self.reporting_mta.get_or_insert_with(|| without_type(&field.text()).to_owned());
        } else {
            return false;
        }
        true
    }

    fn add(&mut self, fields: RecipientFields) {
        if !fields.begun || self.recipients.len() >= limits::INCOMING_REPORTS_MAX {
            return;
        }
        // What has no recipient goes on with the one before, where that lacks it.
        if fields.recipient.is_none() && fields.original.is_none() {
            match self.recipients.last_mut() {
                Some(last)
                    if last.action.is_none() || last.status.is_none() || last.diagnostic.is_empty() =>
                {
                    last.complete(fields);
                    return;
                }
                Some(_) => return,
                None => {}
            }
        }
        // The same recipient twice: what is known of it is put together.
        let name = |fields: &RecipientFields| fields.recipient.clone().or_else(|| fields.original.clone());
        let same = self.recipients.iter_mut().find(|known| name(known) == name(&fields));
        match same {
            Some(known) if known.diagnostic.is_empty() || fields.diagnostic.is_empty() => {
                known.complete(fields)
            }
            _ => self.recipients.push(fields),
        }
    }
}

impl RecipientFields {
    /// Whether a field begins another recipient.
    fn is_next(&self, field: &Field<'_>) -> bool {
        field.is("Final-Recipient") && self.recipient.is_some()
            || field.is("Original-Recipient") && self.original.is_some()
    }

    fn is_whole(&self) -> bool {
        (self.recipient.is_some() || self.original.is_some()) && self.begun
    }

    fn take(&mut self, field: &Field<'_>) {
        if field.is("Final-Recipient") || field.is("X-Actual-Recipient") && self.recipient.is_none() {
            self.recipient = Some(recipient(&field.text()));
        } else if field.is("Original-Recipient") {
            self.original = Some(recipient(&field.text()));
        } else if field.is("Action") {
            self.action = action(&field.text());
        } else if field.is("Status") {
            let text = field.text();
            self.status = status(&text);
            self.comment = text;
        } else if field.is("Diagnostic-Code") || field.is("X-Supplementary-Info") {
            let text = field.text();
            if self.diagnostic.is_empty() || field.is("Diagnostic-Code") && self.diagnostic.len() < text.len()
            {
                self.diagnostic = without_type(&text).to_owned();
            }
        } else if field.is("Remote-MTA") {
            self.remote = Some(without_type(&field.text()).to_owned());
        } else {
            return;
        }
        self.begun = true;
    }

    /// Takes what it lacks.
    fn complete(&mut self, other: RecipientFields) {
        self.recipient = self.recipient.take().or(other.recipient);
        self.original = self.original.take().or(other.original);
        self.action = self.action.or(other.action);
        self.status = self.status.or(other.status);
        self.remote = self.remote.take().or(other.remote);
        if self.comment.is_empty() {
            self.comment = other.comment;
        }
        if self.diagnostic.is_empty() {
            self.diagnostic = other.diagnostic;
        }
    }

    /// What is found, without a verdict yet.
    pub fn finish(self) -> PerRecipient {
        let action = self.action.unwrap_or(match self.status {
            Some((2, ..)) => Action::Delivered,
            Some((4, ..)) if self.diagnostic.is_empty() => Action::Delayed,
            _ => Action::Failed,
        });
        let named = self.recipient.filter(|name| !name.is_empty());
        let original = self.original.filter(|name| !name.is_empty());
        let recipient = named.clone().filter(|name| name.contains('@')).or(original.clone()).or(named);
        let recipient = recipient.unwrap_or_default();
        // Words behind the status are all that some have.
        let diagnostic = if self.diagnostic.is_empty() { comment(&self.comment) } else { self.diagnostic };
        PerRecipient {
            original_recipient: original.filter(|name| *name != recipient),
            recipient,
            action,
            status: self.status,
            code: None,
            diagnostic,
            remote_mta: self.remote.filter(|name| !name.is_empty()),
            class: Class::Other,
            permanent: false,
        }
    }
}

/// The words in brackets behind a status.
fn comment(status: &str) -> String {
    let inner = status.split_once('(').map_or("", |(_, rest)| rest);
    inner.trim_end_matches(')').trim().to_owned()
}

/// A value without its type: `smtp; 550 …`, `dns; host`.
fn without_type(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, rest)) if is_type(kind) => rest.trim_start(),
        _ => value,
    }
}

fn is_type(kind: &str) -> bool {
    let kind = kind.trim();
    !kind.is_empty()
        && kind.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
}

/// A recipient field: the address, or what stands there in place of one (a local user, a command).
fn recipient(value: &str) -> String {
    let (kind, rest) = value.split_once(';').filter(|(kind, _)| is_type(kind)).unwrap_or(("rfc822", value));
    let kind = kind.trim();
    let global = kind.eq_ignore_ascii_case("utf-8");
    let rest = if global { unicode(rest) } else { rest.to_owned() };
    if let Some(address) = text::address(&rest) {
        return address;
    }
    let bare = rest.trim_matches(|letter: char| letter.is_whitespace() || matches!(letter, '<' | '>' | '"'));
    text::one_line(bare.as_bytes(), limits::INCOMING_ADDRESS_MAX)
}

/// `\x{HEX}` of RFC 6533 section 3 as the letters they are.
fn unicode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(place) = rest.find("\\x{") {
        out.push_str(&rest[..place]);
        rest = &rest[place..];
        let end = rest.find('}').filter(|end| *end <= "\\x{10FFFF".len());
        let letter = end.and_then(|end| u32::from_str_radix(&rest[3..end], 16).ok()).and_then(char::from_u32);
        match (letter, end) {
            (Some(letter), Some(end)) => {
                out.push(letter);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push_str("\\x{");
                rest = &rest[3..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn action(value: &str) -> Option<Action> {
    let word: String = value.trim().chars().take_while(char::is_ascii_alphabetic).collect();
    Some(match word.to_ascii_lowercase().as_str() {
        "failed" | "failure" | "fail" | "failes" | "error" | "denied" => Action::Failed,
        "delayed" | "deferred" | "delay" => Action::Delayed,
        "delivered" | "deliverable" | "success" => Action::Delivered,
        "relayed" | "relay" => Action::Relayed,
        "expanded" => Action::Expanded,
        _ => return None,
    })
}

/// `5.1.1`, with or without words around it.
pub(super) fn status(value: &str) -> Option<(u8, u16, u16)> {
    let value = value.trim().trim_start_matches(['#', '(']);
    let mut numbers = value.splitn(3, '.');
    let class = numbers.next()?.trim().parse().ok().filter(|class| matches!(class, 2 | 4 | 5))?;
    let subject = numbers.next()?.trim();
    let detail: String = numbers.next()?.trim().chars().take_while(char::is_ascii_digit).collect();
    let number = |text: &str| (text.len() <= 3).then(|| text.parse().ok()).flatten();
    Some((class, number(subject)?, number(&detail)?))
}

/// What a report part says, without verdicts.
pub(super) fn returned(fields: Fields) -> Returned {
    Returned {
        reports: fields.recipients.into_iter().map(RecipientFields::finish).collect(),
        envelope_id: fields.envelope_id.filter(|id| !id.is_empty()),
        reporting_mta: fields.reporting_mta.filter(|name| !name.is_empty()),
        matched: "rfc3464",
        ..Returned::default()
    }
}
