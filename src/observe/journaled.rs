//! Who reads what shards tell, and how far a journal has what the lanes hold: then a kill takes no event of accepted mail, as a start tells
//! again what follows from the records behind that.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::Position;

/// What a shard passes on at once.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Whole lines.
    pub lines: Vec<u8>,
    /// What holds of all chunks before this one, and of its lines.
    pub recorded: Option<LaneWatermark>,
    /// Who waits until all chunks before this one, and its lines, are written.
    pub awaited: Option<WriteAck>,
}

impl Chunk {
    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.recorded.is_none()
    }
}

/// Told once something is written; dropped where that cannot be. It is told on the writer's thread, which must not wait for anything.
pub struct WriteAck(Box<dyn FnOnce() + Send>);

impl WriteAck {
    /// What is to be done then.
    pub fn new(tell: impl FnOnce() + Send + 'static) -> WriteAck {
        WriteAck(Box::new(tell))
    }

    /// It is written.
    pub fn written(self) {
        (self.0)();
    }
}

impl fmt::Debug for WriteAck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WriteAck")
    }
}

/// The events of all records of a lane that stand before a position have been passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneWatermark {
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
    /// By lane: what tells it from others that had its number. 0: nobody knows.
    origins: Box<[AtomicU64]>,
}

impl Journaled {
    /// Of so many lanes; `known` is what the journal of an earlier life says of each.
    pub fn new(lanes: usize, known: impl Fn(u16) -> Option<Position>) -> Journaled {
        let of = |lane: usize| known(u16::try_from(lane).ok()?);
        let value = |lane| AtomicU64::new(of(lane).map_or(0, |until| until.0.saturating_add(1)));
        let origins = (0..lanes).map(|_| AtomicU64::new(0)).collect();
        Journaled { lanes: (0..lanes).map(value).collect(), origins }
    }

    /// The same, where the journal says as well which lane was meant by each.
    pub fn of_origins(self, origin: impl Fn(u16) -> u64) -> Journaled {
        for (place, lane) in self.origins.iter().zip(0..) {
            place.store(origin(lane), Ordering::Relaxed);
        }
        self
    }

    /// A shard has opened a lane with this origin, in which all ends there. How far the journal is with it: what it says of another lane with this
    /// number, or of one that was longer, is not of this one.
    pub fn opened(&self, lane: u16, origin: u64, end: Position) -> Option<Position> {
        let place = self.origins.get(usize::from(lane))?;
        let known = place.swap(origin, Ordering::AcqRel);
        let until = self.of(lane).filter(|until| *until <= end && (known == 0 || known == origin));
        if until.is_none() {
            self.lanes.get(usize::from(lane))?.store(0, Ordering::Release);
        }
        until
    }

    /// Which lane is meant by a number. 0: nobody knows.
    pub fn origin(&self, lane: u16) -> u64 {
        self.origins.get(usize::from(lane)).map_or(0, |origin| origin.load(Ordering::Acquire))
    }

    /// The journal has this on the disk.
    pub fn publish(&self, LaneWatermark { lane, until }: LaneWatermark) {
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
            journaled.publish(LaneWatermark { lane: 2, until });
            assert_eq!(journaled.of(2), Some(until));
        }
        journaled.publish(LaneWatermark { lane: 3, until: Position(5) });
        assert_eq!(journaled.of(3), None, "there is no such lane");
    }

    #[test]
    fn what_is_known_of_another_lane_is_not_believed() {
        let known = Position::new(3, 4096);
        let life = |origin| Journaled::new(2, |_| Some(known)).of_origins(|_| origin);
        for (before, now, end, believed) in [
            (7, 7, known, true),
            (0, 7, known, true),
            (7, 7, Position::new(4, 0), true),
            // Another lane got its number, or it was replaced by an older copy of itself.
            (7, 8, Position::new(4, 0), false),
            (7, 7, Position::new(3, 4095), false),
        ] {
            let journaled = life(before);
            let wanted = believed.then_some(known);
            assert_eq!(journaled.opened(1, now, end), wanted, "{before} {now} {end:?}");
            assert_eq!((journaled.of(1), journaled.origin(1)), (wanted, now));
            assert_eq!((journaled.of(0), journaled.origin(0)), (Some(known), before));
        }
        assert_eq!(life(7).opened(2, 7, known), None, "there is no such lane");
    }
}
