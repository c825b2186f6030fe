//! Types of records.

use crate::names::ends::End;
use crate::queue::outcome::{HELD, Stored};
use crate::spool::segment::FieldReader;

/// What a record is. All of these are critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A message: envelope and where its body lies.
    Message = 0x81,
    /// A piece of a body whose message follows later, or never.
    Chunk = 0x82,
    /// What became of some recipients.
    Outcome = 0x83,
    /// All that is still live of an older segment; earlier outcomes about that segment no longer matter.
    Snapshot = 0x84,
    /// The same of a segment that is damaged: of messages it does not list it says nothing, for they could not be read when it was
    /// written, and perhaps can be one day.
    PartialSnapshot = 0x85,
    /// An outcome, laid out as such, of an end that the first version of the format did not know: that version would take its number for
    /// damage, and says of this record that it is of a later one.
    LaterOutcome = 0x86,
    /// A snapshot, laid out as such, that lists recipients which an operator holds; the first version knew of none.
    LaterSnapshot = 0x87,
    /// The same of a segment that is damaged.
    LaterPartialSnapshot = 0x88,
}

impl RecordKind {
    /// The kind of a record of this outcome.
    pub(in crate::spool) fn of_outcome(disposition: &Stored) -> RecordKind {
        match disposition {
            Stored::Delivered | Stored::Bounced(_) | Stored::Expired(_) | Stored::Deferred(_) => {
                RecordKind::Outcome
            }
            Stored::Local(_) | Stored::Held(_) => RecordKind::LaterOutcome,
        }
    }

    /// Whether a record of this kind is an outcome.
    pub(in crate::spool) fn is_outcome(kind: u8) -> bool {
        kind == RecordKind::Outcome as u8 || kind == RecordKind::LaterOutcome as u8
    }

    /// The kind of a snapshot: of a damaged segment, and with recipients that are held.
    pub(in crate::spool) fn of_snapshot(partial: bool, held: bool) -> RecordKind {
        match (partial, held) {
            (false, false) => RecordKind::Snapshot,
            (true, false) => RecordKind::PartialSnapshot,
            (false, true) => RecordKind::LaterSnapshot,
            (true, true) => RecordKind::LaterPartialSnapshot,
        }
    }

    /// Whether a record of this kind is a snapshot, and then whether it is one of a damaged segment.
    pub(in crate::spool) fn snapshot(kind: u8) -> Option<bool> {
        let is =
            |partial| [false, true].map(|held| RecordKind::of_snapshot(partial, held) as u8).contains(&kind);
        if is(false) { Some(false) } else { is(true).then_some(true) }
    }

    /// The number of the end in the payload of such a record, if only a later version knows it.
    pub(in crate::spool) fn unknown_end(kind: u8, payload: &[u8]) -> Option<u8> {
        let mut rest = FieldReader(payload);
        let (_origin, _range, code) = (rest.u64()?, rest.u32()?, rest.u8()?);
        let known = code == HELD || End::of_code(code).is_some();
        (kind == RecordKind::LaterOutcome as u8 && !known).then_some(code)
    }
}
