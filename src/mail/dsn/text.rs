//! How texts from outside stand in a notification, and what stands between its parts.

use crate::limits;
use crate::mail::dsn::notice::ReportedRecipient;
use crate::mail::trace::{HeaderFolder, append};

/// What stands between the parts. `=_` appears in no quoted-printable text, the digits in no text at all.
pub(super) struct Boundary(pub(super) u64);

impl std::fmt::Display for Boundary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "=_relevo_{:016x}", self.0)
    }
}

pub(super) fn begin_part(out: &mut Vec<u8>, unique: u64, content_type: &str) {
    append(out, format_args!("\r\n--{}\r\nContent-Type: {content_type}\r\n\r\n", Boundary(unique)));
}

/// The host that spoke of it, if one did.
pub(super) fn remote<'a>(failure: &ReportedRecipient<'a>) -> Option<&'a str> {
    failure.remote.filter(|name| !name.trim().is_empty())
}

/// The class of an SMTP reply, and what follows its code.
pub(super) fn reply_code(text: &str) -> Option<(u8, &str)> {
    let (code, rest) = text.split_at_checked(3)?;
    let class = code.as_bytes()[0].wrapping_sub(b'0');
    let digits = code.bytes().all(|byte| byte.is_ascii_digit());
    let alone = rest.is_empty() || rest.starts_with(' ');
    if digits && alone && matches!(class, 2..=5) { Some((class, rest)) } else { None }
}

/// A code of RFC 3463.
pub(super) fn enhanced_code(word: &str) -> Option<(u8, u16, u16)> {
    let mut numbers = word.split('.').map(|part| part.parse::<u16>());
    let mut next = || numbers.next()?.ok();
    let code = (u8::try_from(next()?).ok()?, next()?, next()?);
    if numbers.next().is_some() { None } else { Some(code) }
}

/// The words of `text`, folded.
pub(super) fn write_text(field: &mut HeaderFolder<'_>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(limits::DSN_TEXT_MAX)];
    for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        field.word(|out| write_printable(out, word, limits::DSN_TEXT_MAX));
    }
}

/// At most `max` bytes of `text`, what is not printable ASCII replaced.
pub(super) fn write_printable(out: &mut Vec<u8>, text: &[u8], max: usize) {
    let text = &text[..text.len().min(max)];
    out.extend(text.iter().map(|byte| if (32..127).contains(byte) { *byte } else { b'?' }));
}
