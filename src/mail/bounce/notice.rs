//! What a notification says to humans, and the header fields that say what kind of message it is.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::original::{self, Original};
use super::parts::{self, Kind, Part};
use super::text;
use crate::limits;
use crate::mail::header;

/// A message, as far as its words go.
#[derive(Debug)]
pub(super) struct Notice {
    pub from: String,
    pub subject: String,
    /// Addresses it is to.
    pub to: Vec<String>,
    /// X-Failed-Recipients, which Exim and Google write.
    pub failed: Vec<String>,
    /// Its return path is null: a field says so.
    pub null_path: bool,
    /// From and Subject and some more, then an empty line and the text: what entries of systems.toml look at.
    pub marked: Vec<u8>,
    /// Where the text begins there.
    pub text_at: usize,
    /// What came back in the text or in a part of its own.
    pub returned: Option<Vec<u8>>,
}

/// Where the message that comes back begins, in a text: lines that many systems write, or its first header field.
static RETURNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?mi-u)^(?:[ \t>*]*(?:",
        r"-{2,}[ \t]*(?:begin(?:ning)? of |below (?:this|the next) line|(?:the |full )?(?:copy of |header of |headers? of )?(?:the |your )?(?:original|returned|unsent|undelivered|non-?delivered) (?:message|mail|e-?mail|text)|this is a copy of|returned message|message header|message returned|original message|message text follows|header of the original|unsent message|the original message)",
        r"|(?:the )?original (?:message|mail)(?: headers?)?(?: follows)?[.:]*[ \t]*$",
        r"|original message headers?:|message headers? follows?\.|(?:-{2,}|\|-{2,})[ \t]*original (?:mail|message) info|\|-+[ \t]*message text follows",
        r"|(?:included|below|here|attached) is a copy of the (?:original )?(?:message|mail)",
        r"|-{3,}[ \t]*$\n(?:[ \t]*\n)*(?:received|return-path):",
        r")|(?:received|return-path|dkim-signature|x-received|delivered-to|message-id):[ \t]*(?:from|by|<|v=|\()",
        r")"
    ))
    .ok()
});

impl Notice {
    /// Reads the header section and the parts of a message.
    pub fn read(section: &[u8], parts: &[Part<'_>]) -> Notice {
        let mut notice = Notice {
            from: String::new(),
            subject: String::new(),
            to: Vec::new(),
            failed: Vec::new(),
            null_path: false,
            marked: Vec::new(),
            text_at: 0,
            returned: None,
        };
        for field in parts::fields(section) {
            notice.take(&field);
        }
        let marks = format!("From: {}\nSubject: {}\n", notice.from, notice.subject);
        notice.marked.splice(0..0, marks.bytes());
        notice.marked.push(b'\n');
        notice.text_at = notice.marked.len();
        notice.take_parts(parts);
        notice
    }

    fn take(&mut self, field: &parts::Field<'_>) {
        if field.is("From") && self.from.is_empty() {
            self.from = decoded(&field.text());
        } else if field.is("Subject") && self.subject.is_empty() {
            self.subject = decoded(&field.text());
        } else if field.is("To") {
            field.text().split(',').for_each(|one| original::push(&mut self.to, text::address(one)));
        } else if field.is("X-Failed-Recipients") {
            let failed = parts_text(field);
            failed.split(',').for_each(|one| original::push(&mut self.failed, text::address(one)));
        } else if field.is("Return-Path") {
            let value = field.text();
            self.null_path = !value.contains('@') || is_daemon(&value);
        } else if field.is("X-Mailer") || field.is("X-MLServer") || field.is("X-Mailer-Daemon") {
            let room = limits::INCOMING_VALUE_MAX.saturating_sub(self.marked.len());
            let mark = format!("X-Mailer: {}\n", field.text());
            self.marked.extend_from_slice(header::cut(&mark, room).as_bytes());
        }
    }

    fn take_parts(&mut self, parts: &[Part<'_>]) {
        let most = self.text_at + limits::INCOMING_TEXT_MAX;
        let plain = parts.iter().any(|part| part.kind == Kind::Text && !part.body.trim_ascii().is_empty());
        for part in parts {
            match part.kind {
                Kind::Text => self.push(part.body.trim_ascii_end(), most),
                Kind::Html if !plain => self.push(&text::without_markup(&part.body), most),
                Kind::Message | Kind::Headers if self.returned.is_none() => {
                    self.returned = Some(front(&part.body).to_vec());
                }
                _ => {}
            }
        }
        // What comes back behind the words is none of them.
        let text = &self.marked[self.text_at..];
        if let Some(found) = RETURNED.as_ref().and_then(|pattern| pattern.find(text)) {
            let place = self.text_at + found.start();
            let line = self.marked[place..].to_vec();
            self.marked.truncate(place);
            if self.returned.is_none() {
                self.returned = Some(headers_in(&line).to_vec());
            }
        }
    }

    fn push(&mut self, text: &[u8], most: usize) {
        let room = most.saturating_sub(self.marked.len());
        self.marked.extend_from_slice(&text[..text.len().min(room)]);
        self.marked.push(b'\n');
    }

    /// The words.
    pub fn text(&self) -> &[u8] {
        &self.marked[self.text_at..]
    }

    /// What came back.
    pub fn original(&self) -> Original {
        self.returned.as_deref().map(Original::read).unwrap_or_default()
    }

    /// The line that names an address first, with the lines that go on with it; and with those behind, up to an empty one.
    pub fn mentions(&self, address: &str) -> [String; 2] {
        let text = self.text();
        let Some(place) = memchr::memmem::find(text, address.as_bytes()).filter(|_| !address.is_empty())
        else {
            return Default::default();
        };
        let start = memchr::memrchr(b'\n', &text[..place]).map_or(0, |end| end + 1);
        let next = |at: usize| memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |line| at + line + 1);
        let mut end = next(place);
        while matches!(text.get(end..), Some([b' ' | b'\t', rest, ..]) if *rest != b'\n') {
            end = next(end);
        }
        let paragraph = memchr::memmem::find(&text[start..], b"\n\n").map_or(text.len(), |end| start + end);
        let line = |to: usize| text::one_line(&text[start..to], limits::INCOMING_REASON_MAX);
        [line(end), line(paragraph.max(end))]
    }

    /// A reply of several lines of which a report has only the first, as the text has it.
    pub fn whole_reply(&self, first: &str) -> String {
        let front = header::cut(first, limits::INCOMING_FRONT_OF_REPLY).as_bytes();
        let code = front.get(..4).filter(|code| code[3] == b'-').map(|code| &code[..3]);
        let (Some(code), Some(place)) = (code, memchr::memmem::find(self.text(), front)) else {
            return String::new();
        };
        let mut lines = Vec::new();
        for line in self.text()[place..].split(|byte| *byte == b'\n') {
            let line = line.trim_ascii_start();
            let line = line.strip_prefix(b"<<< ").unwrap_or(line);
            if !line.starts_with(code) || lines.len() > limits::INCOMING_REASON_MAX {
                break;
            }
            lines.extend_from_slice(line);
            lines.push(b' ');
        }
        text::one_line(&lines, limits::INCOMING_REASON_MAX)
    }

    /// Whether a program of a mail system sent it.
    pub fn is_of_a_system(&self) -> bool {
        is_daemon(&self.from)
    }
}

fn parts_text(field: &parts::Field<'_>) -> String {
    text::one_line(field.value, limits::INCOMING_TEXT_MAX)
}

/// As much of a returned message as its header section may have.
fn front(body: &[u8]) -> &[u8] {
    &body[..body.len().min(limits::INCOMING_TEXT_MAX)]
}

/// The header fields behind the line that announces them.
fn headers_in(text: &[u8]) -> &[u8] {
    let mut rest = text;
    for _ in 0..12 {
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_field = name.len() < line.len()
            && !name.is_empty()
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if is_field {
            return rest;
        }
        rest = rest.get(line.len() + 1..).unwrap_or_default();
    }
    &[]
}

/// Names that systems use for themselves.
pub(super) fn is_daemon(from: &str) -> bool {
    let from = from.to_ascii_lowercase();
    const NAMES: [&str; 13] = [
        "mailer-daemon",
        "mailer_daemon",
        "mailerdaemon",
        "postmaster",
        "post_master",
        "mail delivery",
        "mail deliver system",
        "mail.delivery",
        "mail administrator",
        "system administrator",
        "mail system",
        "ndr administrator",
        "mmsc",
    ];
    NAMES.iter().any(|name| from.contains(name)) || from.trim_matches(['<', '>', ' ', '"']).is_empty()
}

/// Encoded words (RFC 2047) of a field, as bytes of UTF-8 where they are; other charsets stay as they are.
pub(super) fn decoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(place) = rest.find("=?") {
        out.push_str(&rest[..place]);
        rest = &rest[place..];
        let mut pieces = rest[2..].splitn(4, '?');
        let (Some(_), Some(kind), Some(word), Some(after)) =
            (pieces.next(), pieces.next(), pieces.next(), pieces.next())
        else {
            break;
        };
        let bytes = match kind {
            "B" | "b" => text::base64(word.as_bytes()),
            "Q" | "q" => text::quoted_printable(word.replace('_', " ").as_bytes()),
            _ => break,
        };
        let Some(after) = after.strip_prefix('=') else { break };
        out.push_str(&String::from_utf8_lossy(&bytes));
        rest = if after.trim_start().starts_with("=?") { after.trim_start() } else { after };
    }
    out.push_str(rest);
    text::one_line(out.as_bytes(), limits::INCOMING_VALUE_MAX)
}
