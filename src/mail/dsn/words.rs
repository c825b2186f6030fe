//! The part of a notification that humans read.

use std::time::Duration;

use crate::limits;
use crate::mail::dsn::notice::{Cause, Notice};
use crate::mail::dsn::text::{remote, reply_code, write_printable, write_text};
use crate::mail::dsn::utf8::write_recipient;
use crate::mail::trace::{HeaderFolder, append, write_date, write_name};

/// What it is called.
pub(super) fn subject(notice: &Notice<'_>) -> &'static str {
    let has = |cause| count(notice, cause) > 0;
    match (has(Cause::Refused), has(Cause::Expired)) {
        (true, true) => return "Undelivered mail: some recipients were not reached",
        (true, false) => return "Undelivered mail: your message was refused",
        (false, true) => return "Undelivered mail: your message could not be delivered in time",
        (false, false) => {}
    }
    match (has(Cause::Late), has(Cause::Relayed), has(Cause::Delivered)) {
        (true, false, false) => "Delayed mail: your message has not been delivered yet",
        (false, false, true) => "Delivered mail: your message was delivered",
        (false, true, false) => "Relayed mail: your message was passed on",
        _ => "What became of your message",
    }
}

fn count(notice: &Notice<'_>, cause: Cause) -> usize {
    notice.recipients.iter().filter(|failure| failure.cause == cause).count()
}

/// The first part.
pub(super) fn write(out: &mut Vec<u8>, notice: &Notice<'_>) {
    out.extend_from_slice(b"This is the mail relay at ");
    write_name(out, notice.hostname);
    out.extend_from_slice(b".\r\n\r\n");
    let mut room = limits::BOUNCE_LISTED_MAX;
    for cause in [Cause::Refused, Cause::Expired, Cause::Late, Cause::Relayed, Cause::Delivered] {
        if count(notice, cause) > 0 {
            write_cause(out, notice, cause);
            write_list(out, notice, cause, &mut room);
        }
    }
    out.extend_from_slice(b"The relay took your message on ");
    write_date(out, notice.arrival);
    append(out, format_args!("\r\nand knew it as {}.\r\n", notice.id));
}

/// What became of those that are listed then.
fn write_cause(out: &mut Vec<u8>, notice: &Notice<'_>, cause: Cause) {
    let age = Age(Duration::from_millis(notice.now.0.saturating_sub(notice.arrival.0)));
    match cause {
        Cause::Refused => out.extend_from_slice(
            b"Your message was refused for good for the recipients below. It was not delivered\r\n\
              to them, and no further attempt will be made.\r\n\r\n",
        ),
        Cause::Expired => append(
            out,
            format_args!(
                "Your message could not be delivered to the recipients below within {age}.\r\n\
                 All attempts so far failed for the time being, and the relay has now given up.\r\n\
                 You may send the message again; it may arrive once the trouble is over.\r\n\r\n"
            ),
        ),
        Cause::Late => {
            append(
                out,
                format_args!(
                    "Your message has not been delivered to the recipients below for {age}.\r\n\
                     You need not send it again: the relay goes on trying until\r\n"
                ),
            );
            write_date(out, notice.expiry);
            out.extend_from_slice(b".\r\n\r\n");
        }
        Cause::Relayed => out.extend_from_slice(
            b"Your message for the recipients below was passed on to a host that does not tell\r\n\
              senders of its delivery. You may hear no more of it.\r\n\r\n",
        ),
        Cause::Delivered => {
            out.extend_from_slice(b"Your message was delivered to the recipients below.\r\n\r\n")
        }
    }
}

fn write_list(out: &mut Vec<u8>, notice: &Notice<'_>, cause: Cause, room: &mut usize) {
    let failures = || notice.recipients.iter().filter(|failure| failure.cause == cause);
    for failure in failures().take(*room) {
        out.extend_from_slice(b"  <");
        write_recipient(out, failure.recipient);
        out.extend_from_slice(b">\r\n");
        if let Some(remote) = remote(failure) {
            out.extend_from_slice(b"    The host ");
            write_printable(out, remote.as_bytes(), limits::DSN_NAME_MAX);
            out.extend_from_slice(if failure.text.is_empty() { b" was asked.\r\n" } else { b" said:\r\n" });
        } else if matches!(cause, Cause::Expired | Cause::Late) && reply_code(failure.text).is_some() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, expected) in [
            (0, "0 minutes"),
            (60, "1 minute"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (86_400, "24 hours"),
            (432_000, "5 days"),
        ] {
            assert_eq!(Age(Duration::from_secs(seconds)).to_string(), expected);
        }
    }
}
