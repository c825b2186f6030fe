//! Places in the journal, and in the lanes that it tells of.

use crate::id::Position;

/// Where a frame begins, or the last one ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::control) struct FramePosition {
    /// The segment's sequence.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// How far a reader is: it has what stands before this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::control) struct ReadPosition {
    /// Of the frame that it reads.
    pub frame: FramePosition,
    /// Bytes of the frame's lines that it has, whole lines.
    pub within: u64,
}

impl From<FramePosition> for ReadPosition {
    fn from(frame: FramePosition) -> ReadPosition {
        ReadPosition { frame, within: 0 }
    }
}

/// How far the journal is with a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) struct LaneCheckpoint {
    /// It has what is recorded before this.
    pub until: Position,
    /// Which lane it was that had this number. 0: that was not written down.
    pub origin: u64,
}
