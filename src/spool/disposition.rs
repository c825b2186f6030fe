//! What became of recipients, and how that is written in outcomes, snapshots and moves.

use crate::spool::segment::Cursor;

/// What became of a range of recipients, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Taken by the next hop.
    Delivered,
    /// Refused for good; the bounce, if one was owed, is already durable.
    Bounced,
    /// Given up for age; the same holds for its bounce.
    Expired,
    /// Thrown away, as the operator wants it.
    Discarded,
    /// To be tried again.
    Deferred {
        /// Attempts so far.
        attempts: u16,
        /// When (Unix seconds).
        next: u32,
        /// The last reply or error.
        reply: Box<str>,
    },
}

/// A range of recipients and its fate: first ordinal, how many, what became of them.
pub(in crate::spool) type RangeFate = (u16, u16, Fate);

/// Writes an outcome's payload. The message is named by where it was born: sequence number and offset.
pub(in crate::spool) fn write_outcome(
    out: &mut Vec<u8>,
    sequence: u32,
    offset: u32,
    first: u16,
    count: u16,
    fate: &Fate,
) {
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    write_fate(out, first, count, fate);
}

/// A range and its fate.
pub(in crate::spool) fn write_fate(out: &mut Vec<u8>, first: u16, count: u16, fate: &Fate) {
    let (kind, attempts, next, reply) = match fate {
        Fate::Delivered => (1, 0, 0, ""),
        Fate::Bounced => (2, 0, 0, ""),
        Fate::Expired => (3, 0, 0, ""),
        Fate::Discarded => (5, 0, 0, ""),
        Fate::Deferred { attempts, next, reply } => (4, *attempts, *next, &**reply),
    };
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&attempts.to_le_bytes());
    out.extend_from_slice(&next.to_le_bytes());
    let reply = &reply.as_bytes()[..reply.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(reply.len() as u16).to_le_bytes());
    out.extend_from_slice(reply);
}

/// Reads what [`write_fate`] wrote.
pub(in crate::spool) fn read_fate(value: &mut Cursor<'_>) -> Option<RangeFate> {
    let (first, count, kind) = (value.u16()?, value.u16()?, value.u8()?);
    let (attempts, next, length) = (value.u16()?, value.u32()?, value.u16()?);
    let reply = value.bytes(usize::from(length))?;
    let fate = match kind {
        1 => Fate::Delivered,
        2 => Fate::Bounced,
        3 => Fate::Expired,
        5 => Fate::Discarded,
        4 => Fate::Deferred { attempts, next, reply: String::from_utf8_lossy(reply).into() },
        _ => return None,
    };
    Some((first, count, fate))
}

/// Bytes of a range and its fate without the reply.
pub(in crate::spool) const FATE: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_survive() {
        let deferred = Fate::Deferred { attempts: 3, next: 1_700_000_000, reply: "451 4.7.1 later".into() };
        for fate in [Fate::Delivered, Fate::Bounced, Fate::Expired, Fate::Discarded, deferred] {
            let mut out = Vec::new();
            write_fate(&mut out, 4, 2, &fate);
            assert_eq!(read_fate(&mut Cursor(&out)), Some((4, 2, fate)));
            for cut in 0..out.len() {
                assert_eq!(read_fate(&mut Cursor(&out[..cut])), None);
            }
        }
    }
}
