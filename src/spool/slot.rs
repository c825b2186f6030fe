//! One file of a lane, as the lane knows it.

use std::collections::BTreeSet;

use crate::id::Position;

/// What a segment file is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spool) enum SegmentState {
    /// There is no usable file.
    Absent,
    /// The file is being made.
    Creating,
    /// In the pool.
    Free,
    /// The one commits go to.
    Open,
    /// Full.
    Sealed,
    /// Its free header is being written.
    Freeing,
    /// A write or sync failed, or it is damaged: what is valid is read, nothing is written, it is never reused.
    Quarantined,
}

#[derive(Clone, Debug)]
pub(in crate::spool) struct Slot {
    pub state: SegmentState,
    pub sequence: u32,
    pub salt: u64,
    /// Messages and pieces of bodies that are live here, or have moved and may still be read here.
    pub live: u32,
    /// Bytes of those that are live.
    pub bytes: u64,
    /// `live` when nothing more could be moved out.
    pub stuck_at: Option<u32>,
    /// `live` when a snapshot would have been too large.
    pub large_at: Option<u32>,
    /// Of one that was found damaged: where the messages in it stand that are known and settled, or have moved.
    pub settled: Option<Vec<u32>>,
    /// How often its free header could not be written.
    pub failures: u8,
    /// A snapshot of it waits to be written.
    pub is_asked: bool,
    /// Older segments that outcomes, snapshots or moves here speak about.
    pub about: BTreeSet<u32>,
    /// Segments that its header says the valid end of, or that they are void: were it gone, what a failed commit left in them
    /// would count.
    pub cuts: BTreeSet<u32>,
    /// How far a journal must be for this to be used again: it has what was recorded here, and what was recorded of messages here before
    /// nothing of them was live any more.
    pub free_from: Position,
    /// Bytes of the file. It keeps the size it was made with, whatever size new ones get.
    pub size: u64,
}

impl Slot {
    pub const ABSENT: Slot = Slot {
        state: SegmentState::Absent,
        sequence: 0,
        salt: 0,
        live: 0,
        bytes: 0,
        stuck_at: None,
        large_at: None,
        is_asked: false,
        failures: 0,
        settled: None,
        about: BTreeSet::new(),
        cuts: BTreeSet::new(),
        free_from: Position(0),
        size: 0,
    };
}

impl Slot {
    /// Nothing in it matters to anyone.
    pub fn is_needless(&self) -> bool {
        self.live == 0 && self.about.is_empty() && self.cuts.is_empty()
    }

    /// Nothing in it is live, but outcomes in it are about older mail that is.
    pub fn is_held(&self) -> bool {
        self.state == SegmentState::Sealed && self.live == 0 && !self.about.is_empty()
    }

    /// Something in it is live.
    pub fn pin(&mut self, bytes: u32) {
        self.live += 1;
        self.bytes += u64::from(bytes);
    }
}
