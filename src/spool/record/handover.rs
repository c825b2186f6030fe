//! The field of a message that another node handed over: when it came to this one (8 bytes, Unix milliseconds), and how far delivery was then, as
//! dispositions. Of one that moved only the time counts: its state says the rest.

use crate::limits;
use crate::mail::envelope::Envelope;
use crate::mail::handover::{Begun, Carried};
use crate::mail::header::cut;
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::spool::disposition::{DISPOSITION, RangeDisposition, read_disposition, write_disposition};
use crate::spool::segment::FieldReader;
use crate::time::UnixMillis;

/// At most so many bytes are written of this envelope for it.
pub(in crate::spool) fn bound(envelope: &Envelope) -> usize {
    if envelope.handover.is_some() { 6 + 8 + DISPOSITION + limits::REPLY_MOVED_MAX } else { 0 }
}

/// The value, for a message with so many recipients.
pub(super) fn value(carried: &Carried, count: u16) -> Vec<u8> {
    let mut out = carried.came.0.to_le_bytes().to_vec();
    if let Some(stored) = stored(&carried.begun) {
        write_disposition(&mut out, 0, count, &stored);
    }
    out
}

/// As an outcome has it. None: it was never tried, and no more is to be known.
fn stored(begun: &Begun) -> Option<Stored> {
    let Begun { attempts, next, late, reply } = begun;
    if *attempts == 0 {
        return None;
    }
    let reply = cut(reply, limits::REPLY_MOVED_MAX).into();
    Some(Stored::Deferred(StoredDeferral { attempts: *attempts, next: *next, reply, late: *late }))
}

/// How far delivery to all recipients of a message is as it comes, where another node has tried before.
pub(in crate::spool) fn begun(envelope: &Envelope) -> Option<Stored> {
    envelope.handover.as_ref().and_then(|carried| stored(&carried.begun))
}

/// When it came to this node.
pub(super) fn came(value: &[u8]) -> Option<UnixMillis> {
    FieldReader(value).u64().map(UnixMillis)
}

/// How far delivery was when it came, of ranges of so many recipients. What makes no sense says nothing: delivery begins anew then.
pub(super) fn dispositions(value: &[u8], total: u16) -> impl Iterator<Item = RangeDisposition> + use<'_> {
    let mut rest = FieldReader(value.get(8..).unwrap_or_default());
    std::iter::from_fn(move || read_disposition(&mut rest)).filter(move |(first, count, disposition)| {
        let end = first.checked_add(*count);
        disposition.deferral().is_some() && end.is_some_and(|end| end <= total)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_version_writes_says_nothing() {
        let read = |value: &[u8]| (came(value), dispositions(value, 2).count());
        assert_eq!((read(b""), read(b"1234567")), ((None, 0), (None, 0)));
        let mut wide = 9u64.to_le_bytes().to_vec();
        write_disposition(&mut wide, 1, 1, &Stored::Delivered);
        write_disposition(&mut wide, 1, 2, &Stored::Deferred(StoredDeferral::default()));
        write_disposition(&mut wide, 1, u16::MAX, &Stored::Deferred(StoredDeferral::default()));
        assert_eq!(read(&wide), (Some(UnixMillis(9)), 0));
        let begun = Begun { attempts: 4, next: 5, late: true, reply: "451 4.7.1 later".into() };
        let whole = value(&Carried { came: UnixMillis(77), begun: begun.clone() }, 2);
        assert_eq!(
            dispositions(&whole, 2).collect::<Vec<_>>(),
            [(0, 2, stored(&begun).expect("it was tried"))]
        );
        for cut in 8..whole.len() {
            assert_eq!(read(&whole[..cut]), (Some(UnixMillis(77)), 0));
        }
        let untried = value(&Carried { came: UnixMillis(77), begun: Begun::default() }, 2);
        assert_eq!(read(&untried), (Some(UnixMillis(77)), 0));
    }
}
