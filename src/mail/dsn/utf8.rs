//! What of a notification is in UTF-8 (RFC 6533): of a message that came with SMTPUTF8. To a sender in ASCII it is encoded, as any hop is to take a notification;
//! one in UTF-8 is reached over SMTPUTF8 alone, and then so is its 8-bit text.

use crate::limits;
use crate::mail::dsn::notice::Notice;
use crate::mail::dsn::text::{begin_part, write_printable};
use crate::mail::encoding::{Base64, QuotedPrintable};

/// Writes a part of one type if its text is ASCII, else of another.
pub(super) fn write_part(
    out: &mut Vec<u8>,
    notice: &Notice<'_>,
    (ascii, utf8): (&str, &str),
    write: impl FnOnce(&mut Vec<u8>),
) {
    let begin = out.len();
    begin_part(out, notice.unique, ascii);
    let text = out.len();
    write(out);
    if !out[text..].is_ascii() {
        recast(out, notice, utf8, (begin, text));
    }
}

#[cold]
fn recast(out: &mut Vec<u8>, notice: &Notice<'_>, utf8: &str, (begin, text): (usize, usize)) {
    let text = out.split_off(text);
    out.truncate(begin);
    if goes_as_it_is(notice) {
        begin_part(out, notice.unique, &format!("{utf8}\r\nContent-Transfer-Encoding: 8bit"));
        return out.extend_from_slice(&text);
    }
    begin_part(out, notice.unique, &format!("{utf8}\r\nContent-Transfer-Encoding: quoted-printable"));
    let mut encoder = QuotedPrintable::default();
    encoder.write(&text, out);
    encoder.finish(out);
}

/// Whether 8-bit text reaches its sender: its address needs SMTPUTF8, and 8BITMIME is a part of that (RFC 6531 3.1).
fn goes_as_it_is(notice: &Notice<'_>) -> bool {
    !notice.sender.is_ascii()
}

/// All of a message whose header section is in UTF-8 (RFC 6533 4.2). None: it is another, or not all of it is there.
pub(super) fn write_whole(out: &mut Vec<u8>, notice: &Notice<'_>, header: &[u8]) -> Option<()> {
    if !(notice.is_whole && is_of(notice, header)) {
        return None;
    }
    let is_short = |line: &[u8]| line.len() < limits::LINE_OF_ALL && !line.contains(&0);
    if goes_as_it_is(notice) && notice.header.split(|byte| *byte == b'\n').all(is_short) {
        begin_part(out, notice.unique, "message/global\r\nContent-Transfer-Encoding: 8bit");
        out.extend_from_slice(notice.header);
        return Some(());
    }
    begin_part(out, notice.unique, "message/global\r\nContent-Transfer-Encoding: base64");
    let mut encoder = Base64::default();
    encoder.write(notice.header, out);
    encoder.finish(out);
    Some(())
}

/// Whether a header section is one in UTF-8, and its client said so.
pub(super) fn is_of(notice: &Notice<'_>, header: &[u8]) -> bool {
    notice.utf8 && !header.is_ascii() && std::str::from_utf8(header).is_ok()
}

/// Whether any recipient needs the type `utf-8`, and so a report in UTF-8.
pub(super) fn names_any(notice: &Notice<'_>) -> bool {
    notice.recipients.iter().any(|one| !one.recipient.is_ascii())
}

/// A recipient as a human reads it, and as fields have it behind its type.
pub(super) fn write_recipient(out: &mut Vec<u8>, recipient: &[u8]) {
    match std::str::from_utf8(recipient) {
        Ok(text)
            if !text.is_ascii() && text.len() <= limits::PATH_MAX && !text.contains(char::is_control) =>
        {
            out.extend_from_slice(recipient);
        }
        _ => write_printable(out, recipient, limits::PATH_MAX),
    }
}
