//! What comes back of a message that was sent: the fields that tell which it was.

use super::parts;
use super::text;
use crate::limits;

/// Fields of the message that is returned or complained of, as far as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// Message-ID, with its brackets as they were.
    pub message_id: Option<String>,
    /// Date.
    pub date: Option<String>,
    /// Subject, still encoded.
    pub subject: Option<String>,
    /// Addresses of From.
    pub from: Vec<String>,
    /// Addresses of To, Cc and of fields that name the envelope's recipient.
    pub to: Vec<String>,
    /// Addresses that may be our return path: of Return-Path, of fields that name the envelope's sender, and in Received fields.
    pub return_paths: Vec<String>,
    /// List-Unsubscribe.
    pub list_unsubscribe: Option<String>,
    /// Feedback-ID.
    pub feedback_id: Option<String>,
    /// X-Relevo-… and X-Job, X-Envid: what the sender's side calls it. Name and value.
    pub ours: Vec<(String, String)>,
}

impl Original {
    /// Whether nothing is known of it.
    pub fn is_empty(&self) -> bool {
        *self == Original::default()
    }

    /// Reads a header section, with LF between lines; a body behind it is not looked at.
    pub(super) fn read(section: &[u8]) -> Original {
        let section = section.trim_ascii_start();
        let (section, _) = parts::split(section);
        let mut original = Original::default();
        for field in parts::fields(section) {
            original.take(&field);
        }
        original
    }

    fn take(&mut self, field: &parts::Field<'_>) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        match name.as_str() {
            "message-id" => keep(&mut self.message_id, field),
            "date" => keep(&mut self.date, field),
            "subject" => keep(&mut self.subject, field),
            "list-unsubscribe" => keep(&mut self.list_unsubscribe, field),
            "feedback-id" | "x-feedback-id" => keep(&mut self.feedback_id, field),
            "from" => addresses(&mut self.from, field),
            "to"
            | "cc"
            | "x-hmxmroriginalrecipient"
            | "x-original-to"
            | "delivered-to"
            | "envelope-to"
            | "x-apparently-to"
            | "x-rcpt-to"
            | "x-envelope-to"
            | "x-mailru-rcpt" => addresses(&mut self.to, field),
            "return-path" | "x-return-path" | "x-envelope-from" | "errors-to" | "x-envelope-sender"
            | "x-mail-from" | "x-sid-pra" | "x-source-envelope" => addresses(&mut self.return_paths, field),
            "received" => self.take_received(field),
            "x-job" | "x-envid" | "x-virtual-mta" => self.take_ours(field),
            _ if name.starts_with("x-relevo-") => self.take_ours(field),
            _ => {}
        }
    }

    fn take_ours(&mut self, field: &parts::Field<'_>) {
        if self.ours.len() < limits::INCOMING_ADDRESSES_MAX {
            self.ours.push((String::from_utf8_lossy(field.name).into_owned(), field.text()));
        }
    }

    /// `(envelope-from <…>)` is where hops in between keep it.
    fn take_received(&mut self, field: &parts::Field<'_>) {
        let line = field.text();
        for word in ["envelope-from", "envelope-sender", "envelope sender"] {
            if let Some(place) = line.find(word) {
                let rest = line[place + word.len()..].trim_start_matches([':', '=', ' ']);
                let rest = rest.split([')', ';']).next().unwrap_or_default();
                push(&mut self.return_paths, text::address(rest));
            }
        }
    }
}

fn keep(slot: &mut Option<String>, field: &parts::Field<'_>) {
    let text = field.text();
    if slot.is_none() && !text.is_empty() {
        *slot = Some(text);
    }
}

fn addresses(list: &mut Vec<String>, field: &parts::Field<'_>) {
    for one in field.text().split(',') {
        push(list, text::address(one));
    }
}

pub(super) fn push(list: &mut Vec<String>, address: Option<String>) {
    if let Some(address) = address.filter(|one| !list.contains(one))
        && list.len() < limits::INCOMING_ADDRESSES_MAX
    {
        list.push(address);
    }
}
