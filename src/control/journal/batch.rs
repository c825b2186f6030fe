//! Lines on their way into the journal, as its writer makes them and those who keep up get them from memory.

use std::ops::Range;

use crate::control::journal::place::FramePosition;

/// What is written at once.
#[derive(Debug)]
pub(super) struct Batch {
    /// Where it stands.
    pub start: FramePosition,
    /// Where the frame with its lines stands.
    pub frame: FramePosition,
    /// Where the next one will.
    pub end: FramePosition,
    /// All of it.
    pub bytes: Vec<u8>,
    /// The lines among that.
    pub lines: Range<usize>,
}
