//! Trace fields the relay adds to a message (RFC 5321 4.4) and dates as mail writes them (RFC 5322 3.3).
//!
//! Whatever came from outside is written only where the grammar has room for it and only as printable ASCII, so that no
//! name a client gives can end a line, a comment or the field.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::id::MessageId;
use crate::limits;
use crate::mail::address::{self, international};
use crate::mail::envelope::OriginRef;
use crate::mail::header;
use crate::time::{Civil, UnixMillis, write_decimal, write_ipv4};

/// Put in front of the `From ` line of a mailbox file, as others do.
pub const MAILBOX_FIELD: &[u8] = b"X-Mailbox-Line: ";
/// Lines are folded to this many characters where a blank allows it (RFC 5322 2.1.1).
const LINE_WIDTH: usize = 78;
/// The last second a four-digit year can name: 9999-12-31T23:59:59Z (RFC 5322 3.3).
const LAST_SECOND: u64 = 253_402_300_799;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// By month from 1; December stands at 12 modulo 12.
const MONTHS: [&str; 12] =
    ["Dec", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov"];

/// Appends the Received field of an accepted message, CRLF included, to `out`.
///
/// `recipient` is the envelope's only recipient; with several it must be None, for the `for` clause would tell one
/// recipient of another (RFC 5321 7.2). A message of the relay's own (`origin.client` is None) gets no `from` clause:
/// it came from nobody.
pub fn write_received<'a>(
    out: &mut Vec<u8>,
    origin: impl Into<OriginRef<'a>>,
    hostname: &str,
    id: MessageId,
    arrival: UnixMillis,
    recipient: Option<&[u8]>,
) {
    let origin = origin.into();
    out.reserve(limits::TRACE_FIELD_ROOM);
    let mut field = HeaderFolder::begin(out, "Received:");
    if let Some(client) = origin.client {
        write_from(&mut field, origin.helo, client);
        field.new_line();
    }
    field.word(|out| out.extend_from_slice(b"by"));
    field.word(|out| write_name(out, hostname));
    field.word(|out| out.extend_from_slice(b"(relevo)"));
    if origin.client.is_some() {
        field.word(|out| out.extend_from_slice(b"with"));
        field.word(|out| out.extend_from_slice(origin.protocol.keyword().as_bytes()));
        if let Some(tls) = origin.tls {
            write_comment(&mut field, "", tls);
        }
    }
    field.new_line();
    field.word(|out| out.extend_from_slice(b"id"));
    field.word(|out| out.extend_from_slice(&id.to_text()));
    if let Some(recipient) = recipient.filter(|recipient| is_plain_path(recipient)) {
        field.word(|out| out.extend_from_slice(b"for"));
        field.word(|out| {
            out.push(b'<');
            out.extend_from_slice(recipient);
            out.push(b'>');
        });
    }
    field.end_clause(b';');
    field.new_line();
    field.word(|out| write_date(out, arrival));
    field.end();
}

/// Appends a Received field that says no more than when another one was written, whose value is given: the date behind its last semicolon, if it has one.
pub fn write_hidden(out: &mut Vec<u8>, hostname: &str, value: &[u8]) {
    let date = memchr::memrchr(b';', value).map_or(&b""[..], |at| &value[at + 1..]);
    let date = header::one_line(date, limits::HIDDEN_DATE_MAX);
    let is_date = |date: &str| {
        date.starts_with(|first: char| first.is_ascii_alphanumeric())
            && date.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ,:+-".contains(&byte))
    };
    let mut field = HeaderFolder::begin(out, "Received:");
    field.word(|out| out.extend_from_slice(b"by"));
    field.word(|out| write_name(out, hostname));
    field.end_clause(b';');
    match Some(&*date).filter(|date| is_date(date)) {
        Some(date) => field.word(|out| out.extend_from_slice(date.as_bytes())),
        None => field.word(|out| write_date(out, UnixMillis(0))),
    }
    field.end();
}

/// Appends `at` in UTC as RFC 5322 3.3 writes it: `Thu, 1 Jan 1970 00:00:00 +0000`, without CRLF.
/// Points past the year 9999 are written as its last second.
pub fn write_date(out: &mut Vec<u8>, at: UnixMillis) {
    let Civil { year, month, day, weekday, hour, minute, second, .. } =
        UnixMillis(at.0.min(LAST_SECOND * 1000)).civil();
    let (weekday, month) = (WEEKDAYS[weekday as usize % 7], MONTHS[month as usize % 12]);
    out.extend_from_slice(weekday.as_bytes());
    out.extend_from_slice(b", ");
    write_decimal(day, 1, out);
    out.push(b' ');
    out.extend_from_slice(month.as_bytes());
    for (before, value, width) in [(b' ', year, 4), (b' ', hour, 2), (b':', minute, 2), (b':', second, 2)] {
        out.push(before);
        write_decimal(value, width, out);
    }
    out.extend_from_slice(b" +0000");
}

/// Formatting into a vector cannot fail.
pub(super) fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// `from name ([address])`. A name the grammar has no room for moves into the comment.
fn write_from(field: &mut HeaderFolder<'_>, helo: &str, client: SocketAddr) {
    field.word(|out| out.extend_from_slice(b"from"));
    if address::is_domain(helo.as_bytes()) || address::is_literal(helo.as_bytes()) {
        field.word(|out| out.extend_from_slice(helo.as_bytes()));
        field.word(|out| {
            out.push(b'(');
            write_literal(out, client.ip());
            out.push(b')');
        });
    } else {
        field.word(|out| write_literal(out, client.ip()));
        write_comment(field, "helo=", helo);
    }
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
fn write_literal(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            out.push(b'[');
            write_ipv4(address, out);
            out.push(b']');
        }
        IpAddr::V6(address) => append(out, format_args!("[IPv6:{address}]")),
    }
}

/// Our own name. The configuration checked it; a bad one must not break the field all the same.
pub(super) fn write_name(out: &mut Vec<u8>, name: &str) {
    if address::is_domain(name.as_bytes()) || address::is_literal(name.as_bytes()) {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.extend_from_slice(b"localhost");
    }
}

/// `(label text)`, word by word, anything with a meaning inside comments replaced (RFC 5322 3.2.2).
fn write_comment(field: &mut HeaderFolder<'_>, label: &str, text: &str) {
    let text = &text.as_bytes()[..text.len().min(limits::TRACE_COMMENT_MAX)];
    let mut words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).peekable();
    let mut opening = true;
    if words.peek().is_none() {
        return;
    }
    while let Some(word) = words.next() {
        let closing = words.peek().is_none();
        field.word(|out| {
            if std::mem::take(&mut opening) {
                out.push(b'(');
                out.extend_from_slice(label.as_bytes());
            }
            out.extend(word.iter().map(|byte| match byte {
                b'(' | b')' | b'\\' => b'?',
                33..=126 => *byte,
                _ => b'?',
            }));
            if closing {
                out.push(b')');
            }
        });
    }
}

/// Whether an address can stand between `<` and `>` in a header field. Envelope addresses are checked when they come
/// in; this holds for those read from disk, too.
pub(super) fn is_plain_path(path: &[u8]) -> bool {
    if path.is_empty() || path.len() + 2 > limits::PATH_MAX {
        return false;
    }
    let mut bracketed = [b'<'; limits::PATH_MAX];
    bracketed[1..=path.len()].copy_from_slice(path);
    bracketed[path.len() + 1] = b'>';
    let bracketed = &bracketed[..path.len() + 2];
    let is_kept = |parsed: address::Path<'_>| parsed.address == path && parsed.domain().is_ascii();
    international::parse(bracketed, true).is_ok_and(is_kept)
}

/// Writes a header field word by word and breaks lines where they grow too long.
pub(super) struct HeaderFolder<'a> {
    out: &'a mut Vec<u8>,
    /// Where the current line begins in `out`.
    line: usize,
}

impl<'a> HeaderFolder<'a> {
    /// A field with this name (colon included).
    pub(super) fn begin(out: &'a mut Vec<u8>, name: &str) -> HeaderFolder<'a> {
        let line = out.len();
        out.extend_from_slice(name.as_bytes());
        HeaderFolder { out, line }
    }

    /// A word, on this line if it fits and on a line of its own otherwise. `write` must write at least one visible byte
    /// and no line end: a folded line of nothing but blanks is malformed (RFC 5322 3.2.2).
    pub(super) fn word(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let blank = self.out.len();
        let fresh = self.out[self.line..] == *b"\t";
        if !fresh {
            self.out.push(b' ');
        }
        write(self.out);
        if !fresh && self.out.len() - self.line > LINE_WIDTH {
            self.out.splice(blank..=blank, *b"\r\n\t");
            self.line = blank + 2;
        }
    }

    /// The next word opens a line.
    pub(super) fn new_line(&mut self) {
        self.out.extend_from_slice(b"\r\n\t");
        self.line = self.out.len() - 1;
    }

    /// A mark right behind the last word.
    fn end_clause(&mut self, mark: u8) {
        self.out.push(mark);
    }

    /// The CRLF that ends the field.
    pub(super) fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::envelope::{Origin, WithProtocol};

    fn date(millis: u64) -> String {
        let mut out = Vec::new();
        write_date(&mut out, UnixMillis(millis));
        String::from_utf8(out).unwrap()
    }

    const ID: MessageId = MessageId { lane: 1, sequence: 2, offset: 4096 };

    fn received(helo: &str, client: &str, tls: Option<&str>, recipient: Option<&[u8]>) -> String {
        let origin = Origin {
            client: client.parse().ok(),
            helo: helo.into(),
            protocol: if tls.is_some() { WithProtocol::Esmtps } else { WithProtocol::Esmtp },
            tls: tls.map(Into::into),
        };
        let mut out = b"X: before\r\n".to_vec();
        write_received(&mut out, &origin, "relay.example", ID, UnixMillis(0), recipient);
        String::from_utf8(out).unwrap().strip_prefix("X: before\r\n").unwrap().to_owned()
    }

    #[test]
    fn dates() {
        // Computed with GNU date.
        for (seconds, expected) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (951_868_800, "Wed, 1 Mar 2000 00:00:00 +0000"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 +0000"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
            (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 +0000"),
            (LAST_SECOND + 1, "Fri, 31 Dec 9999 23:59:59 +0000"),
        ] {
            assert_eq!(date(seconds * 1000 + 999), expected, "{seconds}");
        }
        assert_eq!(date(u64::MAX), date(LAST_SECOND * 1000));
    }

    /// Every day of eight hundred years against a calendar that only counts.
    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..292_194 {
            let civil = UnixMillis(days * 86_400_000).civil();
            assert_eq!((civil.year, civil.month as usize - 1, civil.day), (year, month, day), "day {days}");
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                1 => 28 + u64::from(leap),
                3 | 5 | 8 | 10 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month == 12 {
                (month, year) = (0, year + 1);
            }
        }
    }

    #[test]
    fn a_received_field() {
        assert_eq!(
            received(
                "c.example",
                "192.0.2.1:25",
                Some("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                Some(b"x@y.example")
            ),
            "Received: from c.example ([192.0.2.1])\r\n\
             \tby relay.example (relevo) with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n\
             \tid 0100000080001000 for <x@y.example>;\r\n\
             \tThu, 1 Jan 1970 00:00:00 +0000\r\n"
                .replace("0100000080001000", &ID.to_string())
        );
        let plain = received("[IPv6:::1]", "[2001:db8::1]:25", None, None);
        assert!(plain.starts_with("Received: from [IPv6:::1] ([IPv6:2001:db8::1])\r\n\tby "), "{plain}");
        assert!(!plain.contains(" for ") && plain.contains("with ESMTP\r\n"), "{plain}");
        let mapped = received("c", "[::ffff:192.0.2.1]:25", None, None);
        assert!(mapped.starts_with("Received: from c ([192.0.2.1])\r\n"), "{mapped}");
        // What such a name means is nobody's to guess, but it is there to be seen.
        let shown = received("B\u{fc}ro (2. Stock)", "192.0.2.1:25", None, None);
        assert!(shown.starts_with("Received: from [192.0.2.1] (helo=B??ro ?2. Stock?)\r\n"), "{shown}");
    }

    #[test]
    fn mail_of_our_own_comes_from_nobody() {
        let own = received("", "none", None, Some(b"x@y"));
        assert!(own.starts_with("Received: by relay.example (relevo)\r\n\tid "), "{own}");
    }

    #[test]
    fn nothing_from_outside_ends_a_line_or_the_field() {
        for evil in [
            "a\r\nEvil: yes",
            "a\nEvil: yes",
            "a) by evil (b",
            "a\\",
            "()",
            "é",
            "a;b",
            "\u{0}",
            " ",
            "",
            "from x by y",
        ] {
            for place in 0..3 {
                let field = match place {
                    0 => received(evil, "192.0.2.1:25", None, None),
                    1 => received("c", "192.0.2.1:25", Some(evil), None),
                    _ => received("c", "192.0.2.1:25", None, Some(evil.as_bytes())),
                };
                let lines: Vec<_> = field.strip_suffix("\r\n").unwrap().split("\r\n").collect();
                assert!(lines[0].starts_with("Received: from ") && lines.len() <= 5, "{field}");
                assert!(lines[1..].iter().all(|line| line.starts_with('\t')), "{field}");
                let clean = field.replace("\r\n\t", " ").replace("\r\n", "");
                assert!(clean.bytes().all(|byte| (32..127).contains(&byte)), "{field:?}");
                assert_eq!(clean.matches('(').count(), clean.matches(')').count(), "{field}");
                assert!(!clean.contains('\\'), "{field}");
                // A semicolon inside a comment is only text.
                let in_comment = usize::from(evil.contains(';') && place < 2);
                assert_eq!(clean.matches(';').count(), 1 + in_comment, "{field}");
            }
        }
    }

    #[test]
    fn long_words_are_folded_and_never_past_998() {
        let helo = format!("{0}.{0}.{0}.example", "h".repeat(60));
        let recipient = format!("{}@{}.{}.example", "l".repeat(255), "d".repeat(63), "e".repeat(63));
        let tls = "TLSv1.3 ".repeat(40);
        let field = received(&helo, "192.0.2.1:1", Some(&tls), Some(recipient.as_bytes()));
        assert!(field.contains(&helo) && field.contains(&recipient));
        for line in field.split("\r\n") {
            let words = line.split_ascii_whitespace().count();
            assert!(line.len() <= LINE_WIDTH || words <= 1, "{line}");
            assert!(line.len() <= 998 && (line.is_empty() || !line.trim().is_empty()));
        }
        let quoted = received("c", "192.0.2.1:1", None, Some(b"\"a b>\"@c.example"));
        assert!(quoted.contains("for <\"a b>\"@c.example>;"), "{quoted}");
    }
}
