//! How far each shard is with what it tells, for what hangs on that elsewhere. Three times a shard, no locks; a message pays nothing for them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Instant;

/// Of all shards.
#[derive(Debug)]
pub struct Progress {
    shards: Box<[[AtomicU64; 3]]>,
    /// Until then all of them hurry.
    hurried: AtomicU64,
}

/// Times up to which something is done, each without the moment itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// What was told of the shard's own messages is passed on.
    pub told: Instant,
    /// Outcomes that were handed to the shard are on the disk.
    pub written: Instant,
    /// All that was told is passed on.
    pub passed: Instant,
}

impl Times {
    /// There is nothing more to come.
    pub const OVER: Times = Times { told: Instant::FAR, written: Instant::FAR, passed: Instant::FAR };
}

impl Progress {
    /// Of so many shards, that have done nothing yet.
    pub fn new(shards: usize) -> Progress {
        Progress { shards: (0..shards).map(|_| Default::default()).collect(), hurried: AtomicU64::new(0) }
    }

    /// A shard waits for all of them: until then they are to tell how far they are more often.
    pub fn hurry(&self, until: Instant) {
        self.hurried.fetch_max(until.0, Ordering::Relaxed);
    }

    /// Until when they are.
    pub fn hurried(&self) -> Instant {
        Instant(self.hurried.load(Ordering::Relaxed))
    }

    /// A shard is so far.
    pub fn set(&self, shard: usize, times: Times) {
        let [told, written, passed] = &self.shards[shard];
        for (place, time) in [(told, times.told), (written, times.written), (passed, times.passed)] {
            place.store(time.0, Ordering::Release);
        }
    }

    /// So far is one shard.
    pub fn of(&self, shard: usize) -> Times {
        Progress::read(&self.shards[shard])
    }

    /// So far are all shards.
    pub fn all(&self) -> Times {
        let least = |one: Times, other: Times| Times {
            told: one.told.min(other.told),
            written: one.written.min(other.written),
            passed: one.passed.min(other.passed),
        };
        let none = Times { told: Instant(0), written: Instant(0), passed: Instant(0) };
        self.shards.iter().map(Progress::read).reduce(least).unwrap_or(none)
    }

    fn read([told, written, passed]: &[AtomicU64; 3]) -> Times {
        let [told, written, passed] = [told, written, passed].map(|at| Instant(at.load(Ordering::Acquire)));
        Times { told, written, passed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_shard_counts() {
        let progress = Progress::new(2);
        let times = |told, written, passed| Times {
            told: Instant(told),
            written: Instant(written),
            passed: Instant(passed),
        };
        progress.set(0, times(9, 8, 7));
        assert_eq!(progress.all(), times(0, 0, 0));
        progress.set(1, times(1, 20, 3));
        assert_eq!((progress.of(1), progress.all()), (times(1, 20, 3), times(1, 8, 3)));
        for (until, hurried) in [(9, 9), (20, 20), (15, 20)] {
            progress.hurry(Instant(until));
            assert_eq!(progress.hurried(), Instant(hurried), "who waits longest counts");
        }
    }
}
