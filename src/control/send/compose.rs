//! A message of what a request says: checked field by field, then written as MIME.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;
use serde_json::Value;

use super::shape::{Attachment, Mail, Mailbox};
use crate::limits;
use crate::mail::address::{self, AddressError, international};
use crate::mail::envelope::Recipient;
use crate::mail::parameters::{self, Key, Parameters};

/// A message, and to whom it goes.
#[derive(Debug)]
pub struct Composed {
    /// The reverse path.
    pub sender: Vec<u8>,
    /// Each once.
    pub recipients: Vec<Recipient>,
    /// What it is treated by.
    pub parameters: Parameters,
    /// Header and body; every line ends with CRLF.
    pub message: Vec<u8>,
}

/// What is wrong with a request, in the order of its fields.
#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        if self.0.len() < limits::SEND_ERRORS_MAX {
            self.0.push(fault);
        }
    }
}

/// Fields of the header that are written from other fields of a request, or are the relay's to write.
const OWN_FIELDS: [&str; 16] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "sender",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
    "received",
    "return-path",
    "dkim-signature",
];

/// What a request says as a message, whose id has this in front of `@`.
pub fn compose(mail: &Mail, (name, hostname, now): (&str, &str, i64)) -> Result<Composed, Vec<String>> {
    let mut faults = Faults::default();
    let from = mailbox("from", mail.from.as_ref(), &mut faults);
    let (mut recipients, mut visible) = (Vec::new(), Vec::new());
    for (field, all) in [("to", &mail.to), ("cc", &mail.cc), ("bcc", &mail.bcc)] {
        let shown = receivers(field, all.as_deref().unwrap_or_default(), &mut recipients, &mut faults);
        visible.push(shown);
    }
    if recipients.is_empty() && faults.0.is_empty() {
        faults.add("'to' is required: name at least one recipient in to, cc or bcc".to_owned());
    }
    if recipients.len() > limits::RECIPIENTS_MAX {
        faults.add(format!("'to', 'cc' and 'bcc' name more than {} recipients", limits::RECIPIENTS_MAX));
    }
    let reply_to =
        mail.reply_to.as_ref().and_then(|reply_to| mailbox("reply_to", Some(reply_to), &mut faults));
    let subject = text_of("subject", mail.subject.as_deref(), limits::SEND_SUBJECT_MAX, &mut faults);
    if subject.is_none_or(str::is_empty) {
        faults.add("'subject' is required".to_owned());
    }
    let (text, html) = (
        mail.text.as_deref().filter(|text| !text.is_empty()),
        mail.html.as_deref().filter(|html| !html.is_empty()),
    );
    if text.is_none() && html.is_none() {
        faults.add("must specify either text or html body".to_owned());
    }
    let (text, html) = (text.map(lines), html.map(lines));
    let parameters = parameters(mail, &mut faults);
    let headers =
        mail.headers.as_ref().map(|headers| header_fields(headers, &mut faults)).unwrap_or_default();
    let (inline, attached) = files(mail.attachments.as_deref().unwrap_or_default(), &mut faults);
    let Some(from) = from.filter(|_| faults.0.is_empty()) else { return Err(faults.0) };
    let mut builder =
        MessageBuilder::new().from(from.shown()).date(now).message_id(format!("{name}@{hostname}"));
    for (field, shown) in ["To", "Cc"].into_iter().zip(&visible) {
        if !shown.is_empty() {
            builder = builder.header(field, Address::new_list(shown.iter().map(Named::shown).collect()));
        }
    }
    if let Some(reply_to) = &reply_to {
        builder = builder.header("Reply-To", reply_to.shown());
    }
    builder = builder.header("Subject", Text::new(subject.unwrap_or_default()));
    for (name, value) in &headers {
        builder = match value.is_ascii() {
            true => builder.header(*name, Raw::new(*value)),
            false => builder.header(*name, Text::new(*value)),
        };
    }
    let body = body_of((text.as_deref(), html.as_deref()), inline, attached);
    let mut message = builder.body(body).write_to_vec().map_err(|error| vec![error.to_string()])?;
    if !message.ends_with(b"\r\n") {
        message.extend_from_slice(b"\r\n");
    }
    Ok(Composed { sender: from.address.into_bytes(), recipients, parameters, message })
}

/// With CRLF at the end of each line, however it was written.
fn lines(text: &str) -> Cow<'_, str> {
    if !text.contains(['\r', '\n']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n"))
}

/// Text and HTML, with what HTML shows beside it, and files behind that.
fn body_of<'a>(
    (text, html): (Option<&'a str>, Option<&'a str>),
    inline: Vec<MimePart<'a>>,
    attached: Vec<MimePart<'a>>,
) -> MimePart<'a> {
    let html = html.map(|html| {
        let html = MimePart::new("text/html", html);
        match inline.is_empty() {
            true => html,
            false => {
                MimePart::new("multipart/related", std::iter::once(html).chain(inline).collect::<Vec<_>>())
            }
        }
    });
    let text = text.map(|text| MimePart::new("text/plain", text));
    let body = match (text, html) {
        (Some(text), Some(html)) => MimePart::new("multipart/alternative", vec![text, html]),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => MimePart::new("text/plain", ""),
    };
    match attached.is_empty() {
        true => body,
        false => MimePart::new("multipart/mixed", std::iter::once(body).chain(attached).collect::<Vec<_>>()),
    }
}

/// Somebody whose address is sound, as it is kept.
struct Named<'a> {
    address: String,
    name: Option<&'a str>,
}

impl Named<'_> {
    fn shown(&self) -> Address<'_> {
        Address::new_address(self.name, self.address.as_str())
    }
}

fn mailbox<'a>(field: &str, of: Option<&'a Mailbox>, faults: &mut Faults) -> Option<Named<'a>> {
    let Some(Mailbox { email, name }) = of else {
        faults.add(format!("'{field}' is required"));
        return None;
    };
    let name = text_of(&format!("{field}.name"), name.as_deref(), limits::SEND_NAME_MAX, faults)
        .filter(|name| !name.is_empty());
    match address(email) {
        Ok((address, _)) => Some(Named { address, name }),
        Err(why) => {
            faults.add(format!("'{field}' address is invalid: {why}"));
            None
        }
    }
}

/// Takes these in, each address once, and says whom others see.
fn receivers<'a>(
    field: &str,
    all: &'a [Mailbox],
    recipients: &mut Vec<Recipient>,
    faults: &mut Faults,
) -> Vec<Named<'a>> {
    let mut shown = Vec::new();
    for (place, one) in all.iter().enumerate().take(limits::RECIPIENTS_MAX + 1) {
        let field = format!("{field}[{place}]");
        let name = text_of(&format!("{field}.name"), one.name.as_deref(), limits::SEND_NAME_MAX, faults)
            .filter(|name| !name.is_empty());
        match address(&one.email) {
            Ok((address, domain_at)) => {
                let is_new = !recipients
                    .iter()
                    .any(|known| address::is_same_mailbox(&known.address, address.as_bytes()));
                if is_new {
                    recipients.push(Recipient::new(address.as_bytes().into(), domain_at));
                }
                shown.push(Named { address, name });
            }
            Err(why) => faults.add(format!("'{field}' address is invalid: {why}")),
        }
    }
    shown
}

/// An address as it is kept: its domain in A-labels. Where its domain begins.
pub(super) fn address(email: &str) -> Result<(String, u16), &'static str> {
    let words = |error: AddressError| match error {
        AddressError::TooLong => "it is too long (RFC 5321 section 4.5.3.1)",
        AddressError::NotAscii | AddressError::NotUtf8 | AddressError::Labels => {
            "no domain has these letters"
        }
        AddressError::NoDomain => "it has no domain",
        AddressError::Syntax => "write it as ada@example.org, and the name beside it",
    };
    if email.is_empty() {
        return Err("it is empty");
    }
    let path = format!("<{email}>");
    let parsed = international::parse(path.as_bytes(), false).map_err(words)?;
    if parsed.length != path.len() || parsed.routed {
        return Err(words(AddressError::Syntax));
    }
    if parsed.domain().is_empty() {
        return Err(words(AddressError::NoDomain));
    }
    let (address, at) = match international::canonical(&parsed) {
        Some(canonical) => (canonical.address, canonical.domain_at),
        None => (parsed.address.to_vec(), parsed.domain_at),
    };
    let address = String::from_utf8(address).map_err(|_| words(AddressError::NotUtf8))?;
    u16::try_from(at).map(|at| (address, at)).map_err(|_| words(AddressError::TooLong))
}

/// A text of one line.
fn text_of<'a>(field: &str, text: Option<&'a str>, most: usize, faults: &mut Faults) -> Option<&'a str> {
    let text = text?;
    if text.len() > most {
        faults.add(format!("'{field}' has more than {most} bytes"));
    } else if text.chars().any(char::is_control) {
        faults.add(format!("'{field}' has a control character in it: it is one line"));
    } else {
        return Some(text);
    }
    None
}

fn parameters(mail: &Mail, faults: &mut Faults) -> Parameters {
    let mut parameters = Parameters::default();
    let metadata = mail.custom_variables.as_ref().filter(|all| !all.is_empty());
    let metadata = metadata.map(|all| Value::Object(all.clone()).to_string());
    let category = mail.category.clone().filter(|category| !category.is_empty());
    for (field, key, value) in
        [("category", Key::Category, category), ("custom_variables", Key::Metadata, metadata)]
    {
        let Some(value) = value else { continue };
        match parameters::check(key, &value) {
            Ok(()) => parameters.put(key, value.into()),
            Err(problem) => faults.add(format!("'{field}' {problem}")),
        }
    }
    parameters
}

/// Further fields of the header. What else writes is not written twice, and what tells a relay what to do with mail is not for who may only send.
fn header_fields<'a>(headers: &'a BTreeMap<String, String>, faults: &mut Faults) -> Vec<(&'a str, &'a str)> {
    let mut fields = Vec::new();
    if headers.len() > limits::SEND_HEADERS_MAX {
        faults.add(format!("'headers' has more than {} fields", limits::SEND_HEADERS_MAX));
        return fields;
    }
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let is_name = !name.is_empty()
            && name.len() <= limits::SEND_NAME_MAX
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if !is_name {
            faults.add("'headers' has a name that is none of a field".to_owned());
        } else if OWN_FIELDS.contains(&lower.as_str()) {
            faults.add(format!("'headers.{name}' is written by the relay, or by a field of its own"));
        } else if is_instruction(&lower) {
            faults.add(format!(
                "'headers.{name}' is an instruction to a relay: use category and custom_variables"
            ));
        } else if let Some(value) =
            text_of(&format!("headers.{name}"), Some(value), limits::SEND_HEADER_MAX, faults)
        {
            fields.push((name.as_str(), value));
        }
    }
    fields
}

/// Whether a field, in lower case, tells a relay how to treat mail (`mail::instructions`).
pub fn is_instruction(name: &str) -> bool {
    name.starts_with("x-relevo-") || ["x-virtual-mta", "x-job", "x-envid"].contains(&name)
}

/// Files: those that HTML shows, and the others.
fn files<'a>(all: &'a [Attachment], faults: &mut Faults) -> (Vec<MimePart<'a>>, Vec<MimePart<'a>>) {
    let (mut inline, mut attached) = (Vec::new(), Vec::new());
    if all.len() > limits::SEND_ATTACHMENTS_MAX {
        faults.add(format!("'attachments' has more than {} files", limits::SEND_ATTACHMENTS_MAX));
        return (inline, attached);
    }
    for (place, one) in all.iter().enumerate() {
        let field = |name: &str| format!("attachments[{place}].{name}");
        let name = text_of(&field("filename"), Some(&one.filename), limits::SEND_NAME_MAX, faults);
        if name.is_some_and(str::is_empty) {
            faults.add(format!("'{}' is required", field("filename")));
        }
        let media =
            one.media.as_deref().filter(|media| !media.is_empty()).unwrap_or("application/octet-stream");
        if !is_media(media) {
            faults.add(format!("'{}' is no media type, as application/pdf is one", field("type")));
        }
        let id = text_of(&field("content_id"), one.content_id.as_deref(), limits::SEND_NAME_MAX, faults)
            .filter(|id| !id.is_empty());
        if id.is_some_and(|id| id.bytes().any(|byte| !byte.is_ascii_graphic() || b"<>".contains(&byte))) {
            faults
                .add(format!("'{}' has blanks, brackets or letters beyond ASCII in it", field("content_id")));
        }
        let Ok(content) = STANDARD.decode(one.content.as_bytes()) else {
            faults.add(format!("'{}' is no base64", field("content")));
            continue;
        };
        let part = MimePart::new(media.to_owned(), content);
        match one.disposition.as_deref().unwrap_or("attachment") {
            "inline" => {
                let part = part.inline();
                inline.push(match id {
                    Some(id) => part.cid(id),
                    None => part.cid(one.filename.as_str()),
                });
            }
            "attachment" => attached.push(part.attachment(one.filename.as_str())),
            _ => faults.add(format!("'{}' is attachment or inline", field("disposition"))),
        }
    }
    (inline, attached)
}

/// `type/subtype`, without parameters (RFC 6838 section 4.2).
fn is_media(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part.len() <= 127
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/')
        .is_some_and(|(kind, sub)| is_token(kind) && is_token(sub) && !kind.eq_ignore_ascii_case("multipart"))
}

#[cfg(test)]
mod tests;
