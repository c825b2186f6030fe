//! Bounces: delivery status notifications for recipients that failed (RFC 3464, in the wrapping of RFC 6522).
//!
//! [`owed`] says whether anybody is to be told; [`compose`] writes the message. It has three parts: words for a human,
//! fields for a machine, and the header section of the message that failed. Next hops and the original sender wrote
//! much of what goes in, so everything from outside is reduced to printable ASCII, but for the returned header section:
//! where that has 8-bit text it is quoted-printable. So a bounce is 7-bit whatever it is about, and any next hop takes it.

use std::time::Duration;

use crate::id::MessageId;
use crate::limits;
use crate::mail::encoding::QuotedPrintable;
use crate::mail::envelope::{BodyFacts, Envelope, Recipient};
use crate::mail::trace::{HeaderFolder, append, is_plain_path, write_date, write_name};
use crate::time::UnixMillis;

/// Longest line of a returned header section, CRLF excluded (RFC 5322 2.1.1).
const LINE_MAX: usize = 998;

/// Everything a bounce tells: recipients of one message that failed in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Our name: who reports, and whose MAILER-DAEMON writes.
    pub hostname: &'a str,
    /// The reverse path of the message that failed, without angle brackets.
    pub sender: &'a [u8],
    /// The id of the message that failed.
    pub id: MessageId,
    /// When it was accepted.
    pub arrival: UnixMillis,
    /// The date of the bounce.
    pub now: UnixMillis,
    /// Unpredictable bits: the boundary and the Message-ID are made of them.
    pub unique: u64,
    /// Whom it did not reach.
    pub failures: &'a [FailedRecipient<'a>],
    /// The start of the message that failed: its header section, or more (the rest is ignored), or nothing.
    pub header: &'a [u8],
}

/// One recipient that failed.
#[derive(Clone, Copy, Debug)]
pub struct FailedRecipient<'a> {
    /// Its forward path, without angle brackets.
    pub recipient: &'a [u8],
    /// Why it is given up.
    pub cause: Cause,
    /// The RFC 3463 code, if the caller knows better than `text`.
    pub status: Option<(u8, u16, u16)>,
    /// The host that said `text`; None if the relay itself found the fault, or time ran out: then a reply is one if it begins with a code.
    pub remote: Option<&'a str>,
    /// What was said last: a reply as `smtp::reply::Reply::describe` gives it (`550 5.1.1 no such user`), or words of
    /// our own. May be empty.
    pub text: &'a str,
    /// When delivery was tried last, if it was.
    pub last_attempt: Option<UnixMillis>,
}

/// Why a recipient is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A next hop or the relay said no for good.
    Refused,
    /// It was tried for as long as the configuration allows.
    Expired,
}

/// A bounce, ready for the spool. Its reverse path is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// The sender of the message that failed.
    pub recipient: Recipient,
    /// Header and body, canonical: every line ends with CRLF, nothing is dot-stuffed.
    pub body: Vec<u8>,
    /// Some line begins with a dot.
    pub needs_stuffing: bool,
}

impl Bounce {
    /// The envelope it travels in. `arrival` is now, `expiry` when the bounce itself is dropped.
    pub fn envelope(&self, arrival: UnixMillis, expiry: UnixMillis) -> Envelope {
        let mut envelope = Envelope::blank();
        envelope.recipients.push(self.recipient.clone());
        let body = BodyFacts { needs_stuffing: self.needs_stuffing, ..BodyFacts::default() };
        envelope.complete((arrival, expiry), body);
        envelope
    }
}

/// Whether a message from `sender` earns a bounce: never one from the null sender (RFC 5321 4.5.5, RFC 3464 section 2),
/// and none from a path that leads nowhere.
pub fn owed(sender: &[u8]) -> bool {
    domain_at(sender).is_some() && is_plain_path(sender)
}

/// Writes one bounce for all failures of `notice`. None if none is [`owed`] or nothing failed.
pub fn compose(notice: &Notice<'_>) -> Option<Bounce> {
    if !owed(notice.sender) || notice.failures.is_empty() {
        return None;
    }
    let domain_at = domain_at(notice.sender)?;
    let mut header = Vec::with_capacity(notice.header.len().min(limits::HEADER_MAX));
    copy_header(&mut header, notice.header);

    let mut body = Vec::with_capacity(
        limits::DSN_WORDS_ROOM
            + header.len()
            + notice.failures.len().saturating_mul(limits::DSN_RECIPIENT_ROOM),
    );
    write_head(&mut body, notice, message_id(&header));
    write_words(&mut body, notice);
    write_status(&mut body, notice);
    write_returned(&mut body, notice.unique, &header);
    append(&mut body, format_args!("\r\n--{}--\r\n", Boundary(notice.unique)));

    let needs_stuffing = body.starts_with(b".") || memchr::memmem::find(&body, b"\r\n.").is_some();
    let recipient = Recipient::new(notice.sender.into(), domain_at);
    Some(Bounce { recipient, body, needs_stuffing })
}

/// Where the domain begins; a domain holds no `@`, a quoted local part may.
fn domain_at(sender: &[u8]) -> Option<u16> {
    let at = memchr::memrchr(b'@', sender)?;
    u16::try_from(at + 1).ok()
}

/// What stands between the parts. `=_` appears in no quoted-printable text, the digits in no text at all.
struct Boundary(u64);

impl std::fmt::Display for Boundary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "=_relevo_{:016x}", self.0)
    }
}

fn begin_part(out: &mut Vec<u8>, unique: u64, content_type: &str) {
    append(out, format_args!("\r\n--{}\r\nContent-Type: {content_type}\r\n\r\n", Boundary(unique)));
}

/// The third part: the header section of what failed. RFC 6152 section 3: a hop without 8BITMIME takes no 8-bit text, and a bounce must
/// reach its sender by any hop.
fn write_returned(out: &mut Vec<u8>, unique: u64, header: &[u8]) {
    if header.is_ascii() {
        begin_part(out, unique, "text/rfc822-headers");
        out.extend_from_slice(header);
        return;
    }
    begin_part(out, unique, "text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable");
    let mut encoder = QuotedPrintable::default();
    encoder.write(header, out);
    encoder.finish(out);
}

/// The header of the bounce itself.
fn write_head(out: &mut Vec<u8>, notice: &Notice<'_>, answered: Option<&[u8]>) {
    out.extend_from_slice(b"Date: ");
    write_date(out, notice.now);
    out.extend_from_slice(b"\r\nFrom: Mail Delivery System <MAILER-DAEMON@");
    write_name(out, notice.hostname);
    out.extend_from_slice(b">\r\nTo: <");
    out.extend_from_slice(notice.sender);
    append(out, format_args!(">\r\nMessage-ID: <{:016x}.{}@", notice.unique, notice.id));
    write_name(out, notice.hostname);
    out.extend_from_slice(b">\r\n");
    if let Some(answered) = answered {
        // RFC 3834 3.1.5: so that the report lands beside the message it speaks of.
        for name in ["In-Reply-To:", "References:"] {
            let mut field = HeaderFolder::begin(out, name);
            field.word(|out| out.extend_from_slice(answered));
            field.end();
        }
    }
    let subject = match (count(notice, Cause::Refused), count(notice, Cause::Expired)) {
        (_, 0) => "Undelivered mail: your message was refused",
        (0, _) => "Undelivered mail: your message could not be delivered in time",
        _ => "Undelivered mail: some recipients were not reached",
    };
    // RFC 3834 section 5: no responder is to answer this.
    append(out, format_args!("Subject: {subject}\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"));
    append(
        out,
        format_args!(
            "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{}\"\r\n\r\n\
             This is a delivery status notification in MIME format.\r\n",
            Boundary(notice.unique)
        ),
    );
}

fn count(notice: &Notice<'_>, cause: Cause) -> usize {
    notice.failures.iter().filter(|failure| failure.cause == cause).count()
}

/// The first part: words for a human.
fn write_words(out: &mut Vec<u8>, notice: &Notice<'_>) {
    begin_part(out, notice.unique, "text/plain; charset=us-ascii");
    out.extend_from_slice(b"This is the mail relay at ");
    write_name(out, notice.hostname);
    out.extend_from_slice(b".\r\n\r\n");
    let mut room = limits::BOUNCE_LISTED_MAX;
    if count(notice, Cause::Refused) > 0 {
        out.extend_from_slice(
            b"Your message was refused for good for the recipients below. It was not delivered\r\n",
        );
        out.extend_from_slice(b"to them, and no further attempt will be made.\r\n\r\n");
        write_list(out, notice, Cause::Refused, &mut room);
    }
    if count(notice, Cause::Expired) > 0 {
        let age = Age(Duration::from_millis(notice.now.0.saturating_sub(notice.arrival.0)));
        append(
            out,
            format_args!("Your message could not be delivered to the recipients below within {age}.\r\n"),
        );
        out.extend_from_slice(
            b"All attempts so far failed for the time being, and the relay has now given up.\r\n",
        );
        out.extend_from_slice(
            b"You may send the message again; it may arrive once the trouble is over.\r\n\r\n",
        );
        write_list(out, notice, Cause::Expired, &mut room);
    }
    out.extend_from_slice(b"The relay took your message on ");
    write_date(out, notice.arrival);
    append(out, format_args!("\r\nand knew it as {}.\r\n", notice.id));
}

fn write_list(out: &mut Vec<u8>, notice: &Notice<'_>, cause: Cause, room: &mut usize) {
    let failures = || notice.failures.iter().filter(|failure| failure.cause == cause);
    for failure in failures().take(*room) {
        out.extend_from_slice(b"  <");
        write_printable(out, failure.recipient, limits::PATH_MAX);
        out.extend_from_slice(b">\r\n");
        if let Some(remote) = remote(failure) {
            out.extend_from_slice(b"    The host ");
            write_printable(out, remote.as_bytes(), limits::DSN_NAME_MAX);
            out.extend_from_slice(if failure.text.is_empty() { b" was asked.\r\n" } else { b" said:\r\n" });
        } else if cause == Cause::Expired && reply_code(failure.text).is_some() {
            out.extend_from_slice(b"    The last reply was:\r\n");
        }
        if !failure.text.trim().is_empty() {
            let mut paragraph = HeaderFolder::begin(out, "\t");
            write_text(&mut paragraph, failure.text);
            paragraph.end();
        }
        out.extend_from_slice(b"\r\n");
    }
    let all = failures().count();
    let left = all.saturating_sub(*room);
    *room = room.saturating_sub(all);
    if left > 0 {
        append(
            out,
            format_args!("  and {left} more, which are named in the second part of this report.\r\n\r\n"),
        );
    }
}

/// The second part: fields for a machine (RFC 3464 section 2).
fn write_status(out: &mut Vec<u8>, notice: &Notice<'_>) {
    begin_part(out, notice.unique, "message/delivery-status");
    out.extend_from_slice(b"Reporting-MTA: dns; ");
    write_name(out, notice.hostname);
    append(out, format_args!("\r\nX-Relevo-Message: {}\r\nArrival-Date: ", notice.id));
    write_date(out, notice.arrival);
    out.extend_from_slice(b"\r\n");
    for failure in notice.failures {
        out.extend_from_slice(b"\r\nFinal-Recipient: rfc822; ");
        write_printable(out, failure.recipient, limits::PATH_MAX);
        let (class, subject, detail) = status(failure);
        append(out, format_args!("\r\nAction: failed\r\nStatus: {class}.{subject}.{detail}\r\n"));
        if let Some(remote) = remote(failure) {
            write_remote(out, remote);
        }
        if !failure.text.trim().is_empty() {
            // RFC 3464 2.3.6: the type says whose words these are.
            let theirs = remote(failure).is_some() || failure.cause == Cause::Expired;
            let kind = if theirs && reply_code(failure.text).is_some() { "smtp;" } else { "x-relevo;" };
            let mut field = HeaderFolder::begin(out, "Diagnostic-Code:");
            field.word(|out| out.extend_from_slice(kind.as_bytes()));
            write_text(&mut field, failure.text);
            field.end();
        }
        if let Some(at) = failure.last_attempt {
            out.extend_from_slice(b"Last-Attempt-Date: ");
            write_date(out, at);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A name of the DNS, or an address literal, and nothing else (RFC 3464 2.3.5, RFC 5321 4.1.3); where that was is a comment
/// (RFC 3464 2.1.1), which nobody takes for part of the name.
fn write_remote(out: &mut Vec<u8>, remote: &str) {
    let (name, place) = remote.split_once(' ').map_or((remote, ""), |(name, place)| (name, place.trim()));
    out.extend_from_slice(b"Remote-MTA: dns; ");
    match name.parse() {
        Ok(std::net::IpAddr::V6(address)) => append(out, format_args!("[IPv6:{address}]")),
        Ok(std::net::IpAddr::V4(address)) => append(out, format_args!("[{address}]")),
        Err(_) => write_printable(out, name.as_bytes(), limits::DSN_NAME_MAX),
    }
    // A parenthesis or a backslash would end the comment, or hide its end.
    if !place.is_empty() && !place.contains(['(', ')', '\\']) {
        out.extend_from_slice(b" (");
        write_printable(out, place.as_bytes(), limits::DSN_NAME_MAX);
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

fn remote<'a>(failure: &FailedRecipient<'a>) -> Option<&'a str> {
    failure.remote.filter(|name| !name.trim().is_empty())
}

/// The RFC 3463 code of a failure: the caller's, or 4.4.7 for what ran out of time, or what the reply says, or the
/// least that can be said.
fn status(failure: &FailedRecipient<'_>) -> (u8, u16, u16) {
    let valid = |(class, subject, detail): &(u8, u16, u16)| {
        matches!(class, 4 | 5) && *subject < 1000 && *detail < 1000
    };
    if let Some(status) = failure.status.filter(valid) {
        return status;
    }
    if failure.cause == Cause::Expired {
        return (4, 4, 7);
    }
    let Some((class, rest)) = reply_code(failure.text) else { return (5, 0, 0) };
    let word = rest.split(' ').find(|word| !word.is_empty()).unwrap_or_default();
    enhanced_code(word).filter(valid).unwrap_or(if class == 4 { (4, 0, 0) } else { (5, 0, 0) })
}

/// The class of an SMTP reply, and what follows its code.
fn reply_code(text: &str) -> Option<(u8, &str)> {
    let (code, rest) = text.split_at_checked(3)?;
    let class = code.as_bytes()[0].wrapping_sub(b'0');
    let digits = code.bytes().all(|byte| byte.is_ascii_digit());
    let alone = rest.is_empty() || rest.starts_with(' ');
    if digits && alone && matches!(class, 2..=5) { Some((class, rest)) } else { None }
}

fn enhanced_code(word: &str) -> Option<(u8, u16, u16)> {
    let mut numbers = word.split('.').map(|part| part.parse::<u16>());
    let mut next = || numbers.next()?.ok();
    let code = (u8::try_from(next()?).ok()?, next()?, next()?);
    if numbers.next().is_some() { None } else { Some(code) }
}

/// The words of `text`, folded.
fn write_text(field: &mut HeaderFolder<'_>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(limits::DSN_TEXT_MAX)];
    for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        field.word(|out| write_printable(out, word, limits::DSN_TEXT_MAX));
    }
}

/// At most `max` bytes of `text`, what is not printable ASCII replaced.
fn write_printable(out: &mut Vec<u8>, text: &[u8], max: usize) {
    let text = &text[..text.len().min(max)];
    out.extend(text.iter().map(|byte| if (32..127).contains(byte) { *byte } else { b'?' }));
}

/// A span as humans say it.
struct Age(Duration);

impl std::fmt::Display for Age {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let minutes = self.0.as_secs() / 60;
        let (number, unit) = match minutes {
            0..120 => (minutes, "minute"),
            120..2880 => (minutes / 60, "hour"),
            _ => (minutes / 1440, "day"),
        };
        write!(formatter, "{number} {unit}{}", if number == 1 { "" } else { "s" })
    }
}

/// Copies the header section at the start of `message`: whole lines, at most HEADER_MAX bytes, each at most 998 long and
/// ended by CRLF, without the characters RFC 5322 2.2 and RFC 5321 2.3.8 forbid in them.
fn copy_header(out: &mut Vec<u8>, message: &[u8]) {
    for line in message.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Folding adds three bytes to a thousand at most.
        if line.is_empty() || out.len() + line.len() + line.len() / 300 + 2 > limits::HEADER_MAX {
            return;
        }
        let (mut rest, mut indent) = (line, 0);
        while indent + rest.len() > LINE_MAX {
            let (head, tail) = rest.split_at(cut(rest));
            copy_line(out, head);
            indent = usize::from(!matches!(tail.first(), Some(b' ' | b'\t')));
            if indent > 0 {
                out.push(b' ');
            }
            rest = tail;
        }
        copy_line(out, rest);
    }
}

fn copy_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend(line.iter().map(|byte| if matches!(byte, b'\r' | 0) { b'?' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

/// Where to break a line that is too long: before a blank, or else between two characters. One byte of room is left for
/// the blank that opens the next line.
fn cut(line: &[u8]) -> usize {
    let room = &line[..LINE_MAX - 1];
    let blank =
        room.iter().rposition(|byte| matches!(byte, b' ' | b'\t')).filter(|place| *place > LINE_MAX / 2);
    // A UTF-8 character has at most three bytes that continue it.
    let boundary = (room.len() - 3..=room.len()).rev().find(|place| line[*place] & 0xc0 != 0x80);
    blank.or(boundary).unwrap_or(room.len())
}

/// The Message-ID of a header section, if it has one that can be repeated (RFC 5322 3.6.4).
fn message_id(header: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"message-id:";
    let value = header.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then(|| value.trim_ascii())
    })?;
    let inner = value.strip_prefix(b"<")?.strip_suffix(b">")?;
    let plain = inner.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'));
    if plain && (1..limits::MESSAGE_ID_MAX).contains(&inner.len()) { Some(value) } else { None }
}

#[cfg(test)]
mod tests;
