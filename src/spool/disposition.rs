//! What became of recipients, and how that is written in outcomes, snapshots and moves.

use crate::limits;
use crate::mail::classify::Class;
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::spool::segment::FieldReader;

/// A range of recipients and its disposition: first ordinal, how many, what became of them.
pub(in crate::spool) type RangeDisposition = (u16, u16, Stored);

/// Writes an outcome's payload. The message is named by where it was first stored: sequence number and offset.
pub(in crate::spool) fn write_outcome(
    out: &mut Vec<u8>,
    sequence: u32,
    offset: u32,
    first: u16,
    count: u16,
    disposition: &Stored,
) {
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    write_disposition(out, first, count, disposition);
}

/// A range and its disposition.
pub(in crate::spool) fn write_disposition(out: &mut Vec<u8>, first: u16, count: u16, disposition: &Stored) {
    let marked = |attempts: u16, late: bool| attempts.min(!LATE) | if late { LATE } else { 0 };
    let both;
    let (attempts, next, reply) = match disposition {
        Stored::Deferred(StoredDeferral { attempts, next, reply, late }) => {
            (marked(*attempts, *late), *next, &**reply)
        }
        Stored::Held(hold) => {
            both = cut(hold.text());
            (marked(hold.attempts, hold.late), hold.until, &*both)
        }
        Stored::Bounced(class) | Stored::Expired(class) => (class.map_or(0, Class::number), 0, ""),
        Stored::Delivered | Stored::Local(_) => (0, 0, ""),
    };
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.push(disposition.code());
    out.extend_from_slice(&attempts.to_le_bytes());
    out.extend_from_slice(&next.to_le_bytes());
    let reply = &reply.as_bytes()[..reply.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(reply.len() as u16).to_le_bytes());
    out.extend_from_slice(reply);
}

/// What fits with a message that moves. The words are in front, and shorter than that: they and the mark behind them stay.
fn cut(mut text: String) -> String {
    let end = (0..=limits::REPLY_MOVED_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}

/// Reads what [`write_disposition`] wrote.
pub(in crate::spool) fn read_disposition(value: &mut FieldReader<'_>) -> Option<RangeDisposition> {
    let (first, count, code) = (value.u16()?, value.u16()?, value.u8()?);
    let (attempts, next, length) = (value.u16()?, value.u32()?, value.u16()?);
    let reply = value.bytes(usize::from(length))?;
    let deferral = || StoredDeferral {
        attempts: attempts & !LATE,
        next,
        reply: String::from_utf8_lossy(reply).into(),
        late: attempts & LATE != 0,
    };
    Some((first, count, Stored::of_code(code, Class::of_number(attempts), deferral)?))
}

/// The bit of the number of attempts that says that it was told with this deferral that it is late. So many attempts nobody makes, and a version
/// that does not know the bit only believes that they were made.
const LATE: u16 = 1 << 15;

/// Bytes of a range and its disposition without the reply.
pub(in crate::spool) const DISPOSITION: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ends::End;
    use crate::queue::outcome::Hold;

    #[test]
    fn fates_survive() {
        let deferred = |late| {
            let reply = "451 4.7.1 later".into();
            Stored::Deferred(StoredDeferral { attempts: 3, next: 1_700_000_000, reply, late })
        };
        for disposition in [
            Stored::Delivered,
            Stored::Bounced(None),
            Stored::Bounced(Some(Class::BadMailbox)),
            Stored::Bounced(Some(Class::Other)),
            Stored::Expired(None),
            Stored::Expired(Some(Class::Expired)),
            Stored::Local(End::Discarded),
            Stored::Local(End::Suppressed),
            deferred(false),
            deferred(true),
            Hold::new(1_700_000_000, "by user 0: no").onto((3, "451 4.7.1 later", true)),
            Stored::Held(Box::default()),
        ] {
            let mut out = Vec::new();
            write_disposition(&mut out, 4, 2, &disposition);
            assert_eq!(read_disposition(&mut FieldReader(&out)), Some((4, 2, disposition)));
            for cut in 0..out.len() {
                assert_eq!(read_disposition(&mut FieldReader(&out[..cut])), None);
            }
        }
    }
}
