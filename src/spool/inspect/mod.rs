//! Looking at a spool from outside: what lies in a lane, whether it is sound, what became of one message.
//!
//! Pure, as the fold is, over the same [`Files`]. The fold asks what to deliver and stops at the first doubt; what is here asks
//! what there is, reads every byte, and goes on behind damage as far as salts and CRCs allow.

mod message;
mod verify;
mod walk;

pub use message::{Fault, History, Placed, RecipientState, find, history, read_extent, read_message};
pub use verify::{LaneReport, Rot, TornTail, verify};
pub use walk::{Salvage, Step, walk};

use std::collections::HashMap;

use crate::limits;
use crate::spool::fold::{Files, Refusal};
use crate::spool::segment::{Birthplace, Header, HeaderError, Life};

/// A segment in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its file.
    pub slot: u16,
    /// Its header.
    pub header: Header,
    /// Bytes of the file.
    pub size: u64,
    /// Where it ends: what lies behind is void, or was never written.
    pub end: u64,
    /// A successor's header says so: all before `end` was synced.
    pub sealed: bool,
}

/// The segments of a lane, by their headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// In use, oldest first.
    pub active: Vec<Found>,
    /// Emptied, or never used.
    pub free: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files with a header that cannot be read: slot and what is wrong.
    pub damaged: Vec<(u16, String)>,
}

impl Survey {
    /// The segment in a file.
    pub fn at(&self, slot: u16) -> Option<&Found> {
        self.active.iter().find(|found| found.slot == slot)
    }

    /// The segment with a sequence number.
    pub fn by_sequence(&self, sequence: u32) -> Option<&Found> {
        self.active.iter().find(|found| found.header.sequence == sequence)
    }
}

/// Reads the headers of a lane. `birthplace` is what they must say.
pub fn survey(files: &impl Files, birthplace: Birthplace) -> Result<Survey, Refusal> {
    let mut survey = Survey::default();
    for (slot, size) in files.slots() {
        survey.bytes += size;
        let block = match files.read(slot, 0, limits::BLOCK.min(size) as usize) {
            Ok(block) => block,
            Err(error) => {
                survey.damaged.push((slot, format!("its header cannot be read: {error}")));
                continue;
            }
        };
        match Header::decode(&block) {
            Ok(header) if header.birthplace.node != birthplace.node => {
                return Err(Refusal::ForeignNode(header.birthplace.node));
            }
            Ok(header) if !header.belongs(birthplace, slot) => {
                let (other, lane) = (header.slot, header.birthplace.lane);
                survey.damaged.push((slot, format!("its header is that of segment {other} of lane {lane}")));
            }
            Ok(header) if header.life == Life::Free => survey.free += 1,
            Ok(header) => {
                survey.active.push(Found { slot, header, size, end: size, sealed: false });
            }
            Err(HeaderError::Blank) => survey.free += 1,
            Err(HeaderError::Version(version)) => {
                return Err(Refusal::Newer(format!("segment {slot} has version {version}")));
            }
            Err(HeaderError::Damaged) => {
                survey
                    .damaged
                    .push((slot, "its header is damaged; what mail it has is out of reach".to_owned()));
            }
        }
    }
    survey.active.sort_by_key(|found| found.header.sequence);
    let headers = survey.active.iter().map(|found| found.header);
    let ends: HashMap<u32, u32> =
        headers.map(|header| (header.predecessor, header.predecessor_end)).collect();
    for found in &mut survey.active {
        if let Some(end) = ends.get(&found.header.sequence) {
            found.end = u64::from(*end).min(found.size);
            found.sealed = true;
        }
    }
    Ok(survey)
}

/// Whether a segment still lives the life it had when it was surveyed: a running relay recycles segments.
pub fn is_current(files: &impl Files, found: &Found) -> bool {
    files
        .read(found.slot, 0, limits::BLOCK as usize)
        .is_ok_and(|block| Header::decode(&block).is_ok_and(|header| header == found.header))
}
