//! Delivery status notifications (RFC 3464, in the wrapping of RFC 6522): bounces for recipients that failed, and reports of those that were
//! delivered, went on, or are late.
//!
//! [`owed`] says whether anybody is to be told; [`compose`] writes the message. It has three parts: words for a human,
//! fields for a machine, and the message that it is about, or its header section. Next hops and the original sender wrote
//! much of what goes in, so everything from outside is reduced to printable ASCII, but for what is returned:
//! a header section that has 8-bit text is quoted-printable, and a message is made 7-bit before (`mail::seven_bit`). So a notification is 7-bit
//! whatever it is about, and any next hop takes it; one to a sender in UTF-8 apart, which goes with SMTPUTF8 (`utf8`).

mod notice;
mod text;
mod utf8;
mod words;

use crate::limits;
use crate::mail::encoding::QuotedPrintable;
use crate::mail::envelope::{BodyFacts, Envelope, Recipient, Utf8};
use crate::mail::notify;
use crate::mail::seven_bit::{Rewriter, Survey};
use crate::mail::trace::{HeaderFolder, append, is_plain_path, write_date, write_name};
use crate::time::UnixMillis;

pub use notice::{Cause, Notice, ReportedRecipient};
use text::{Boundary, begin_part, enhanced_code, remote, reply_code, write_printable, write_text};

/// Longest line of a returned header section, CRLF excluded (RFC 5322 2.1.1).
const LINE_MAX: usize = 998;

/// A notification, ready for the spool. Its reverse path is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// The sender of the message that it is about.
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
        let mut body = BodyFacts { needs_stuffing: self.needs_stuffing, ..BodyFacts::default() };
        if !self.recipient.address.is_ascii() {
            // RFC 6533 4.5. Its field To is in UTF-8.
            envelope.needs.utf8 = Utf8::OF_CLIENT;
            (body.eight_bit, body.eight_bit_header) = (true, true);
        }
        envelope.complete((arrival, expiry), body);
        envelope
    }
}

/// Whether a message from `sender` earns a notification: never one from the null sender (RFC 5321 4.5.5, RFC 3464 section 2),
/// and none from a path that leads nowhere.
pub fn owed(sender: &[u8]) -> bool {
    domain_at(sender).is_some() && is_plain_path(sender)
}

/// Writes one notification for all recipients of `notice`. None if none is [`owed`] or there is nobody.
pub fn compose(notice: &Notice<'_>) -> Option<Bounce> {
    if !owed(notice.sender) || notice.recipients.is_empty() {
        return None;
    }
    let domain_at = domain_at(notice.sender)?;
    let mut header = Vec::with_capacity(notice.header.len().min(limits::HEADER_MAX));
    copy_header(&mut header, notice.header);
    let whole = if notice.is_whole { seven_bit(notice.header) } else { None };

    let mut body = Vec::with_capacity(
        limits::DSN_WORDS_ROOM
            + whole.as_ref().map_or(header.len(), Vec::len)
            + notice.recipients.len().saturating_mul(limits::DSN_RECIPIENT_ROOM),
    );
    write_head(&mut body, notice, message_id(&header));
    let names = ("text/plain; charset=us-ascii", "text/plain; charset=utf-8");
    utf8::write_part(&mut body, notice, names, |body| words::write(body, notice));
    // RFC 6533 4.1
    let names = ("message/delivery-status", "message/global-delivery-status");
    utf8::write_part(&mut body, notice, names, |body| write_status(body, notice));
    match whole {
        Some(whole) => {
            begin_part(&mut body, notice.unique, "message/rfc822");
            body.extend_from_slice(&whole);
        }
        None if utf8::write_whole(&mut body, notice, &header).is_some() => {}
        None => write_returned(&mut body, notice, &header),
    }
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

/// The third part: the header section of what failed. RFC 6152 section 3: a hop without 8BITMIME takes no 8-bit text, and a bounce must
/// reach its sender by any hop.
fn write_returned(out: &mut Vec<u8>, notice: &Notice<'_>, header: &[u8]) {
    let unique = notice.unique;
    if utf8::is_of(notice, header) {
        // RFC 6533 4.3
        let names = ("text/rfc822-headers", "message/global-headers");
        utf8::write_part(out, notice, names, |out| out.extend_from_slice(header));
    } else if header.is_ascii() {
        begin_part(out, unique, "text/rfc822-headers");
        out.extend_from_slice(header);
    } else {
        begin_part(out, unique, "text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable");
        let mut encoder = QuotedPrintable::default();
        encoder.write(header, out);
        encoder.finish(out);
    }
}

/// A whole message as a part can have it (RFC 2046 5.2.1): its own parts are encoded where they are 8-bit. None: it cannot be, and then its header
/// section is all that is returned.
fn seven_bit(message: &[u8]) -> Option<Vec<u8>> {
    let mut survey = Survey::default();
    survey.read(message);
    let plan = survey.finish().ok()?;
    let mut out = Vec::with_capacity(message.len());
    let mut rewriter = Rewriter::new(&plan);
    rewriter.write(message, &mut out);
    rewriter.finish(&mut out);
    out.is_ascii().then_some(out)
}

/// The header of the notification itself.
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
    let subject = words::subject(notice);
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

/// The second part: fields for a machine (RFC 3464 section 2).
fn write_status(out: &mut Vec<u8>, notice: &Notice<'_>) {
    let in_utf8 = utf8::names_any(notice);
    out.extend_from_slice(b"Reporting-MTA: dns; ");
    write_name(out, notice.hostname);
    append(out, format_args!("\r\nX-Relevo-Message: {}\r\n", notice.id));
    if let Some(envid) = notice.envid.filter(|envid| notify::quote_envid(envid).is_some()) {
        // RFC 3464 2.2.1: not as xtext.
        append(out, format_args!("Original-Envelope-Id: {envid}\r\n"));
    }
    out.extend_from_slice(b"Arrival-Date: ");
    write_date(out, notice.arrival);
    out.extend_from_slice(b"\r\n");
    for failure in notice.recipients {
        out.extend_from_slice(b"\r\n");
        if let Some(original) = failure.original.filter(|original| notify::is_original(original)) {
            // RFC 3464 2.3.1
            out.extend_from_slice(b"Original-Recipient: ");
            notify::write_original(original, in_utf8, out);
            out.extend_from_slice(b"\r\n");
        }
        let kind: &[u8] = if failure.recipient.is_ascii() { b"rfc822; " } else { b"utf-8; " };
        out.extend_from_slice(b"Final-Recipient: ");
        out.extend_from_slice(kind);
        utf8::write_recipient(out, failure.recipient);
        let (class, subject, detail) = status(failure);
        let action = failure.cause.action();
        append(out, format_args!("\r\nAction: {action}\r\nStatus: {class}.{subject}.{detail}\r\n"));
        if let Some(remote) = remote(failure) {
            write_remote(out, remote);
        }
        if !failure.text.trim().is_empty() {
            // RFC 3464 2.3.6: the type says whose words these are.
            let theirs = remote(failure).is_some() || matches!(failure.cause, Cause::Expired | Cause::Late);
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
        if failure.cause == Cause::Late {
            // RFC 3464 2.3.9
            out.extend_from_slice(b"Will-Retry-Until: ");
            write_date(out, notice.expiry);
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

/// The RFC 3463 code of a recipient: the caller's, or 4.4.7 for what ran out of time, or what the reply says, or the
/// least that can be said.
fn status(failure: &ReportedRecipient<'_>) -> (u8, u16, u16) {
    let own = failure.cause.class();
    let valid = |(class, subject, detail): &(u8, u16, u16)| {
        let fits = *class == own || (failure.cause.is_failure() && matches!(class, 4 | 5));
        fits && *subject < 1000 && *detail < 1000
    };
    if let Some(status) = failure.status.filter(valid) {
        return status;
    }
    if failure.cause == Cause::Expired {
        return (4, 4, 7);
    }
    let Some((class, rest)) = reply_code(failure.text) else { return (own, 0, 0) };
    let word = rest.split(' ').find(|word| !word.is_empty()).unwrap_or_default();
    let least = if failure.cause == Cause::Refused && class == 4 { 4 } else { own };
    enhanced_code(word).filter(valid).unwrap_or((least, 0, 0))
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
