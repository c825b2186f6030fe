//! The segments of a lane, by their headers.

use std::collections::HashMap;

use crate::id::MessageId;
use crate::limits;
use crate::spool::files::Files;
use crate::spool::segment::{Header, LaneOrigin};
use crate::spool::survey::{self, FileState, Lookout, MISSING, SegmentFile, UNKNOWN};
use crate::spool::trouble::SpoolRefusal;

/// A segment in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSegment {
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
    /// Its header is lost; this one was found out.
    pub lost: bool,
}

/// The segments of a lane, by their headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// In use, oldest first.
    pub active: Vec<FoundSegment>,
    /// Emptied, or never used.
    pub free: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files that are not what was written. Of some all mail can be read: these are among the active ones too.
    pub damaged: Vec<Unsound>,
}

/// A file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsound {
    /// The file.
    pub slot: u16,
    /// What is wrong with it.
    pub what: String,
    /// Messages in it that are out of reach.
    pub messages: Vec<MessageId>,
}

impl Survey {
    /// The segment in a file.
    pub fn at(&self, slot: u16) -> Option<&FoundSegment> {
        self.active.iter().find(|found| found.slot == slot)
    }

    /// The segment with a sequence number.
    pub fn by_sequence(&self, sequence: u32) -> Option<&FoundSegment> {
        self.active.iter().find(|found| found.header.sequence == sequence)
    }
}

/// Reads the headers of a lane. `origin` is what they must say.
pub fn survey(files: &impl Files, origin: LaneOrigin) -> Result<Survey, SpoolRefusal> {
    let Lookout { seen, missing } = survey::look(files, origin, limits::SEGMENT_SIZE_MIN)?;
    let mut survey = Survey::default();
    let damaged = |slot, what: String| Unsound { slot, what, messages: Vec::new() };
    survey.damaged.extend(missing.into_iter().map(|slot| damaged(slot, MISSING.to_owned())));
    for SegmentFile { slot, size, said } in seen {
        survey.bytes += size;
        let found = |header, lost| FoundSegment { slot, header, size, end: size, sealed: false, lost };
        match said {
            FileState::Free(_) | FileState::Unused | FileState::Torn(_) => survey.free += 1,
            FileState::Active(header) => survey.active.push(found(header, header.predecessor == UNKNOWN)),
            FileState::Damaged { what, header, messages } => {
                survey.damaged.push(Unsound { slot, what, messages });
                survey.active.extend(header.map(|header| found(header, true)));
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
pub fn is_current(files: &impl Files, found: &FoundSegment) -> bool {
    files.read(found.slot, 0, limits::BLOCK as usize).is_ok_and(|block| match Header::decode(&block) {
        Ok(header) => header == found.header,
        Err(_) => found.lost,
    })
}
