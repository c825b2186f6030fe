//! A file that a program of this machine hands in, as PowerMTA's pickup directory takes it: fields that are the envelope (`x-sender`,
//! `x-receiver`), then the message, whose lines may end as those of any text file.

pub mod batch;

use std::fmt;

use crate::limits;
use crate::mail::address::{self, AddressError, international};
use crate::mail::envelope::Recipient;
use crate::mail::header;

/// What editors of other systems put in front of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The field behind which all is the message, whatever it begins with.
const ENVELOPE_ENDS: &str = "x-relevo-message";

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// The reverse path; empty: nobody is told of the message.
    pub sender: Vec<u8>,
    /// In the order of the file.
    pub recipients: Vec<Recipient>,
    /// The message without its envelope; every line ends with CRLF.
    pub message: Vec<u8>,
}

/// What is wrong with a file. Always the fault of who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing is in it.
    Empty,
    /// It does not begin with its envelope.
    NoSender,
    /// It has no x-receiver.
    NoReceiver,
    /// More of them than a message may have.
    TooManyReceivers,
    /// A second x-sender, or x-sender-override, in this line.
    SecondSender(usize),
    /// An x-receiver in this line, behind fields of the message.
    LateReceiver(usize),
    /// This field, in this line, with this value, is no address for that.
    Address(&'static str, usize, String, AddressError),
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Empty => formatter.write_str("the file is empty"),
            Flaw::NoSender => formatter.write_str(
                "the file does not begin with x-sender: ADDRESS; write it, and an x-receiver: ADDRESS for each recipient, above the message",
            ),
            Flaw::NoReceiver => formatter.write_str(
                "there is no x-receiver: ADDRESS below x-sender; write one for each recipient",
            ),
            Flaw::TooManyReceivers => write!(
                formatter,
                "there are more than {} x-receiver; write several files",
                limits::RECIPIENTS_MAX
            ),
            Flaw::SecondSender(line) => {
                write!(formatter, "line {line}: a sender is said already; a message has one")
            }
            Flaw::LateReceiver(line) => write!(
                formatter,
                "line {line}: x-receiver stands among the fields of the message; write it above them, below x-sender"
            ),
            Flaw::Address(field, line, value, error) => {
                let why = match error {
                    AddressError::TooLong => "is too long (RFC 5321 section 4.5.3.1)",
                    AddressError::NotAscii | AddressError::NotUtf8 | AddressError::Labels => {
                        "has letters beyond ASCII; hand it in by SMTP with SMTPUTF8 (RFC 6531)"
                    }
                    AddressError::NoDomain => "has no domain",
                    AddressError::Syntax => "is no address; write it alone, without a name",
                };
                write!(formatter, "line {line}: {field}: {value} {why}")
            }
        }
    }
}

/// Reads a file.
pub fn read(file: &[u8]) -> Result<Picked, Flaw> {
    let file = file.strip_prefix(MARK).unwrap_or(file);
    if file.is_empty() {
        return Err(Flaw::Empty);
    }
    let mut found = Found::default();
    let (mut at, mut line) = (0, 1);
    let mut message = Vec::with_capacity(file.len() + file.len() / 32);
    while let Some(field) = next_field(&file[at..]) {
        let keep = found.field(field, line)?;
        if keep {
            canonical(&mut message, field);
        }
        line += memchr::memchr_iter(b'\n', field).count();
        at += field.len();
    }
    canonical(&mut message, &file[at..]);
    let (sender, recipients) = found.whole()?;
    Ok(Picked { sender, recipients, message })
}

/// Whether it begins with a command of those that PowerMTA knows files of SMTP commands by ([`batch`]).
pub fn is_batch(file: &[u8]) -> bool {
    let first = file.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    ["helo", "ehlo", "mail", "xack", "xmrg"].iter().any(|verb| first.eq_ignore_ascii_case(verb.as_bytes()))
}

/// The lines of the field that is next; None: the header section is over.
fn next_field(rest: &[u8]) -> Option<&[u8]> {
    if matches!(rest, [] | [b'\n', ..] | [b'\r', b'\n', ..]) {
        return None;
    }
    let mut end = 0;
    loop {
        end += memchr::memchr(b'\n', &rest[end..]).map_or(rest.len() - end, |found| found + 1);
        // RFC 5322 2.2.3: a line that begins with white space goes on with the field before.
        if !matches!(rest.get(end), Some(b' ' | b'\t')) {
            return Some(&rest[..end]);
        }
    }
}

/// Appends lines, each of which ends with CRLF then.
fn canonical(out: &mut Vec<u8>, lines: &[u8]) {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        out.extend_from_slice(b"\r\n");
    }
}

/// What was found of the envelope.
#[derive(Default)]
struct Found {
    sender: Option<Vec<u8>>,
    instead: Option<Vec<u8>>,
    recipients: Vec<Recipient>,
    /// Another field than those with `x-` came: the envelope is over.
    is_over: bool,
}

impl Found {
    /// Whether a field, which begins in this line, is the message's.
    fn field(&mut self, field: &[u8], line: usize) -> Result<bool, Flaw> {
        let colon = memchr::memchr(b':', field).unwrap_or(field.len());
        let (name, value) = (field[..colon].trim_ascii_end(), field.get(colon + 1..).unwrap_or_default());
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if is("x-sender-override") {
            // What writes the message may put it anywhere.
            let sender = path("x-sender-override", line, value, true)?.0;
            return match self.instead.replace(sender) {
                Some(_) => Err(Flaw::SecondSender(line)),
                None => Ok(false),
            };
        }
        if is("x-receiver") {
            if self.is_over {
                return Err(Flaw::LateReceiver(line));
            }
            if self.recipients.len() == limits::RECIPIENTS_MAX {
                return Err(Flaw::TooManyReceivers);
            }
            let (address, domain_at) = path("x-receiver", line, value, false)?;
            self.recipients.push(Recipient::new(address.as_slice().into(), domain_at));
            return Ok(false);
        }
        if is("x-sender") && !self.is_over {
            let sender = path("x-sender", line, value, true)?.0;
            return match self.sender.replace(sender) {
                Some(_) => Err(Flaw::SecondSender(line)),
                None => Ok(false),
            };
        }
        if is(ENVELOPE_ENDS) && !self.is_over {
            self.is_over = true;
            return Ok(false);
        }
        self.is_over |= !name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-"));
        Ok(true)
    }

    fn whole(self) -> Result<(Vec<u8>, Vec<Recipient>), Flaw> {
        let sender = self.instead.or(self.sender).ok_or(Flaw::NoSender)?;
        if self.recipients.is_empty() {
            return Err(Flaw::NoReceiver);
        }
        Ok((sender, self.recipients))
    }
}

/// An address, with angle brackets or without, and where its domain begins.
fn path(field: &'static str, line: usize, value: &[u8], null: bool) -> Result<(Vec<u8>, u16), Flaw> {
    let value = value.trim_ascii();
    let bare = value.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(value);
    let flaw = |error| {
        let shown = header::one_line(value, limits::PICKUP_SHOWN_MAX);
        let shown = shown.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
        Flaw::Address(field, line, shown, error)
    };
    let bracketed = match in_a_labels(bare) {
        Some(address) => [b"<", address.as_bytes(), b">"].concat(),
        None => [b"<", bare, b">"].concat(),
    };
    let parsed = address::parse_path(&bracketed, null).map_err(flaw)?;
    if parsed.length != bracketed.len() || parsed.routed {
        return Err(flaw(AddressError::Syntax));
    }
    if !null && parsed.domain().is_empty() {
        return Err(flaw(AddressError::NoDomain));
    }
    let domain_at = u16::try_from(parsed.domain_at).map_err(|_| flaw(AddressError::TooLong))?;
    Ok((parsed.address.to_vec(), domain_at))
}

/// An address whose domain alone is beyond ASCII, as it is kept.
fn in_a_labels(address: &[u8]) -> Option<String> {
    let (local, domain) = std::str::from_utf8(address).ok()?.rsplit_once('@')?;
    let domain = international::domain_of(domain).filter(|_| local.is_ascii() && !domain.is_ascii())?;
    Some(format!("{local}@{domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(text: &str) -> Result<(String, Vec<String>, String), String> {
        let Picked { sender, recipients, message } =
            read(text.as_bytes()).map_err(|flaw| flaw.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((text(&sender), recipients.iter().map(|one| text(&one.address)).collect(), text(&message)))
    }

    #[test]
    fn an_envelope_and_a_message() {
        let file = "x-sender: me@over.here\nX-Receiver: you@over.there\nx-receiver:<two@over.there>\nx-envid: me-1\n\
                    x-receiver: three@a.example\nFrom: Me <me@over.here>\nX-Sender: kept\n\n.one\r\n\ntwo";
        let (sender, recipients, message) = picked(file).unwrap();
        assert_eq!(sender, "me@over.here");
        assert_eq!(recipients, ["you@over.there", "two@over.there", "three@a.example"]);
        assert_eq!(
            message,
            "x-envid: me-1\r\nFrom: Me <me@over.here>\r\nX-Sender: kept\r\n\r\n.one\r\n\r\ntwo\r\n"
        );
        let recipient = &read(file.as_bytes()).unwrap().recipients[0];
        assert_eq!(&recipient.address[usize::from(recipient.domain_at)..], b"over.there");
    }

    #[test]
    fn an_envelope_may_say_that_it_ends() {
        let file = "x-sender: a@b.example\nx-receiver: c@d.example\nX-Relevo-Message:\nX-Sender: e@f.example\nTo: x\n\n";
        let (sender, recipients, message) = picked(file).unwrap();
        assert_eq!((&*sender, &*recipients[0], recipients.len()), ("a@b.example", "c@d.example", 1));
        assert_eq!(message, "X-Sender: e@f.example\r\nTo: x\r\n\r\n");
    }

    #[test]
    fn senders_of_all_kinds() {
        let sender = |lines: &str| picked(&format!("{lines}x-receiver: a@b.example\nTo: x\n\n")).unwrap().0;
        assert_eq!(sender("x-sender:\n"), "");
        assert_eq!(sender("X-SENDER: <>\r\n"), "");
        assert_eq!(sender("\u{feff}x-sender: a@b.example\n"), "a@b.example");
        assert_eq!(sender("x-sender:\n \"a b\"@b.example\n"), "\"a b\"@b.example");
        assert_eq!(sender("x-sender: a@B\u{fc}cher.example\n"), "a@xn--bcher-kva.example");
        let file =
            "x-sender: a@b.example\nx-receiver: c@d.example\nTo: x\nX-Sender-Override: e@f.example\n\n";
        assert_eq!(picked(file).unwrap().0, "e@f.example");
        assert_eq!(picked(file).unwrap().2, "To: x\r\n\r\n");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let many =
            format!("x-sender: a@b\n{}\n", "x-receiver: a@b.example\n".repeat(limits::RECIPIENTS_MAX + 1));
        for (file, words) in [
            ("", "the file is empty"),
            ("\n", "does not begin with x-sender"),
            ("Subject: x\n\nx-sender: a@b.example\n", "does not begin with x-sender"),
            ("x-sender: a@b.example\nTo: x\n\n", "there is no x-receiver"),
            ("x-sender: a@b.example\nx-sender: a@b.example\n", "line 2: a sender is said already"),
            (
                "x-sender: a@b.example\nTo: x\n y\nx-receiver: a@b.example\n\n",
                "line 4: x-receiver stands among",
            ),
            (
                "x-sender: a@b.example\nx-receiver: Me <a@b.example>\n",
                "line 2: x-receiver: Me <a@b.example> is no address",
            ),
            ("x-sender: a@b.example\nx-receiver: postmaster\n", "x-receiver: postmaster has no domain"),
            ("x-sender: a@b.example\nx-receiver: a@b.example, c@d.example\n", "is no address"),
            ("x-sender: a@b.example\nx-receiver: a@b.example>\r\nX: y <z\n", "is no address"),
            ("x-sender: a@b.example\nx-receiver: \u{e4}@b.example\n", "by SMTP with SMTPUTF8"),
            ("x-sender: a\0@b.example\n", "line 1: x-sender: a?@b.example is no address"),
            (&many, "more than 1000 x-receiver"),
        ] {
            let error = picked(file).unwrap_err();
            assert!(error.contains(words), "{file:.60}: {error}");
        }
    }
}
