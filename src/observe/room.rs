//! Whether a shard takes new mail, and what it would need where it does not.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::counters::Counter;

/// What keeps new mail out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shut {
    /// Nothing does.
    #[default]
    No,
    /// Its lane has no free segment, and none could be made.
    NoSegment,
    /// Its lane has all the bytes that `spool.size_max` allows, and they are full.
    SizeMax,
    /// More is queued than may be.
    QueueFull,
    /// Clients hold all the memory that transactions may have.
    NoMemory,
    /// What happens to mail cannot be written down.
    NoJournal,
    /// An operator empties the node.
    Drained,
}

/// Written by the shard, read by control.
#[derive(Debug, Default)]
pub struct Room {
    shut: AtomicU8,
    /// The lane that new mail of this shard goes to.
    pub lane: Counter,
    /// Bytes of the segment that the lane would need.
    pub wanted: Counter,
    /// Bytes of the files of that lane.
    pub bytes: Counter,
    /// Bytes that clients may hold in transactions, on all shards together.
    pub memory_max: Counter,
    /// Why a segment could not be made, the last time. Touched when that fails and when it is read, never for a message.
    problem: Mutex<String>,
}

impl Room {
    /// What keeps mail out now.
    pub fn set(&self, shut: Shut) {
        self.shut.store(shut as u8, Ordering::Relaxed);
    }

    /// The same, read.
    pub fn shut(&self) -> Shut {
        match self.shut.load(Ordering::Relaxed) {
            1 => Shut::NoSegment,
            2 => Shut::SizeMax,
            3 => Shut::QueueFull,
            4 => Shut::NoMemory,
            5 => Shut::NoJournal,
            6 => Shut::Drained,
            _ => Shut::No,
        }
    }

    /// A segment could not be made, or was. True if that is news.
    pub fn set_problem(&self, words: &str) -> bool {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *problem != words;
        if news {
            words.clone_into(&mut problem);
        }
        news
    }

    /// Why one could not be made.
    pub fn problem(&self) -> String {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_read() {
        let room = Room::default();
        let some = [Shut::NoSegment, Shut::SizeMax, Shut::QueueFull, Shut::NoMemory];
        for shut in some.into_iter().chain([Shut::NoJournal, Shut::Drained, Shut::No]) {
            room.set(shut);
            assert_eq!(room.shut(), shut);
        }
        assert!(room.set_problem("full") && !room.set_problem("full"));
        assert_eq!(room.problem(), "full");
    }
}
