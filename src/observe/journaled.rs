//! Who reads what shards tell, and how far a journal has what the lanes hold: then a kill takes no event of accepted mail, as a start tells
//! again what follows from the records behind that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::Position;

/// What a shard passes on at once.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Whole lines.
    pub lines: Vec<u8>,
    /// What holds of all chunks before this one, and of its lines.
    pub recorded: Option<Recorded>,
}

/// The events of all records of a lane that stand before a position have been passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The lane.
    pub lane: u16,
    /// The first position of which that is not so.
    pub until: Position,
}

/// Who reads what shards tell.
#[derive(Clone, Debug, Default)]
pub enum Readers {
    /// Nobody: nothing is written down.
    Nobody,
    /// A log that may miss some: what finds no room is dropped and counted.
    #[default]
    Lossy,
    /// A journal, which misses nothing that happened to accepted mail.
    Journal(Arc<Journaled>),
}

/// How far the journal has what each lane holds. Control writes it, shards read it; no locks.
#[derive(Debug)]
pub struct Journaled {
    /// By lane: 0, or a position and one more.
    lanes: Box<[AtomicU64]>,
}

impl Journaled {
    /// Of so many lanes; `known` is what the journal of an earlier life says of each.
    pub fn new(lanes: usize, known: impl Fn(u16) -> Option<Position>) -> Journaled {
        let of = |lane: usize| known(u16::try_from(lane).ok()?);
        let value = |lane| AtomicU64::new(of(lane).map_or(0, |until| until.0.saturating_add(1)));
        Journaled { lanes: (0..lanes).map(value).collect() }
    }

    /// The journal has this on the disk. What is told last counts, though it be less: a lane may have been replaced.
    pub fn publish(&self, Recorded { lane, until }: Recorded) {
        if let Some(place) = self.lanes.get(usize::from(lane)) {
            place.store(until.0.saturating_add(1), Ordering::Release);
        }
    }

    /// How far it is with a lane. None: it knows nothing of it.
    pub fn of(&self, lane: u16) -> Option<Position> {
        let value = self.lanes.get(usize::from(lane))?.load(Ordering::Acquire);
        Some(Position(value.checked_sub(1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_last_is_read() {
        let known = |lane| (lane == 1).then_some(Position::new(3, 4096));
        let journaled = Journaled::new(3, known);
        assert_eq!((journaled.of(0), journaled.of(1)), (None, Some(Position::new(3, 4096))));
        for until in [Position(0), Position::new(9, 8192), Position::new(1, 4096)] {
            journaled.publish(Recorded { lane: 2, until });
            assert_eq!(journaled.of(2), Some(until));
        }
        journaled.publish(Recorded { lane: 3, until: Position(5) });
        assert_eq!(journaled.of(3), None, "there is no such lane");
    }
}
