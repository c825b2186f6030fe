//! Types of records.

use crate::names::ends::End;
use crate::queue::outcome::Stored;
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
}

impl RecordKind {
    /// The kind of a record of this outcome.
    pub(in crate::spool) fn of_outcome(disposition: &Stored) -> RecordKind {
        match disposition {
            Stored::Delivered | Stored::Bounced(_) | Stored::Expired(_) | Stored::Deferred(_) => {
                RecordKind::Outcome
            }
            Stored::Local(_) => RecordKind::LaterOutcome,
        }
    }

    /// Whether a record of this kind is an outcome.
    pub(in crate::spool) fn is_outcome(kind: u8) -> bool {
        kind == RecordKind::Outcome as u8 || kind == RecordKind::LaterOutcome as u8
    }

    /// The number of the end in the payload of such a record, if only a later version knows it.
    pub(in crate::spool) fn unknown_end(kind: u8, payload: &[u8]) -> Option<u8> {
        let mut rest = FieldReader(payload);
        let (_origin, _range, code) = (rest.u64()?, rest.u32()?, rest.u8()?);
        (kind == RecordKind::LaterOutcome as u8 && End::of_code(code).is_none()).then_some(code)
    }
}
