//! What a lane recorded since a position: a start tells it again, where a journal has only what was recorded before.

use crate::id::{Location, Position};
use crate::queue::outcome::Stored;

/// Something that happened to accepted mail, as a lane has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// This message came.
    Message(Location),
    /// That became of some recipients.
    Outcome {
        /// Their message. Its record is there as long as that of its outcome is.
        of: Location,
        /// First ordinal.
        first: u16,
        /// How many.
        count: u16,
        /// What became of them.
        disposition: Stored,
    },
}

impl Happened {
    /// The message.
    pub fn of(&self) -> Location {
        let (Happened::Message(of) | Happened::Outcome { of, .. }) = self;
        *of
    }
}

/// Gathers that, in order.
#[derive(Debug, Default)]
pub struct Since {
    from: Option<Position>,
    /// How many are gathered.
    pub most: usize,
    /// What was found.
    pub found: Vec<Happened>,
    /// There was more than is gathered.
    pub cut: bool,
}

impl Since {
    /// From here on, so many. None: nothing is gathered.
    pub fn new(from: Option<Position>, most: usize) -> Since {
        Since { from, most, ..Since::default() }
    }

    /// Takes note of what is recorded there, if that is asked about.
    pub(in crate::spool) fn note(&mut self, (sequence, offset): (u32, u32), what: impl FnOnce() -> Happened) {
        if self.from.is_some_and(|from| Position::new(sequence, offset) >= from) {
            self.cut |= self.found.len() >= self.most;
            if !self.cut {
                self.found.push(what());
            }
        }
    }
}
