//! Beside counts: rates of the node, each a number that all shards share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::shaping::pace::Pace;
use crate::time::Instant;

/// A bucket of the node ([`Pace`]): one number that all shards share. To take one for each message costs 30 ns, 50
/// where two cores do nothing else: no shard has to hold any in store, which would make windows inexact. A site without a rate never touches it.
#[derive(Debug, Default)]
pub struct RateCount(AtomicU64);

impl RateCount {
    /// Takes one, or says when it may be taken.
    pub fn take(&self, pace: Pace, now: Instant) -> Result<(), Instant> {
        let mut wait = now;
        self.right(pace, now);
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at| {
            pace.take(full_at, now).inspect_err(|when| wait = *when).ok()
        });
        taken.map(|_| ()).map_err(|_| wait)
    }

    /// What another rate left is put right; when it is full.
    pub fn right(&self, pace: Pace, now: Instant) -> u64 {
        let full_at = self.0.load(Ordering::Acquire);
        let right = pace.right(full_at, now);
        if right != full_at {
            // Whoever was faster saw the same, or took one since.
            let _ = self.0.compare_exchange(full_at, right, Ordering::AcqRel, Ordering::Acquire);
        }
        right
    }

    /// How many may be taken.
    pub fn free(&self, pace: Pace, now: Instant) -> usize {
        pace.free(self.right(pace, now), now)
    }

    /// When one may be taken, as it looks now.
    pub fn next(&self, pace: Pace, now: Instant) -> Instant {
        pace.take(self.right(pace, now), now).err().unwrap_or(now)
    }

    /// One that was taken then was not used.
    pub fn give_back(&self, pace: Pace, (taken, now): (Instant, Instant)) {
        if pace.can_undo(taken, now) {
            let undo = |full_at| Some(pace.undo(full_at));
            let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, undo);
        }
    }

    /// Nothing is in it.
    pub fn empty(&self, pace: Pace, now: Instant) {
        self.0.store(pace.empty(now), Ordering::Release);
    }

    /// Whether nothing is missing in it.
    pub fn is_full(&self, now: Instant) -> bool {
        self.0.load(Ordering::Acquire) <= now.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::value::rate;

    /// However many shards take of a bucket at one time, it gives what it has.
    #[test]
    fn shards_take_no_more_than_there_is() {
        let pace = Pace::of(&rate("1000/s,max_burst=500").expect("a rate"));
        let count = RateCount::default();
        let took = |now: Instant| {
            let take = || (0..1_000).filter(|_| count.take(pace, now).is_ok()).count();
            std::thread::scope(|scope| {
                let shards: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
                shards.into_iter().map(|shard| shard.join().expect("no panic")).sum::<usize>()
            })
        };
        let now = Instant(7_000_000_000);
        assert_eq!(took(now), 500);
        assert_eq!((took(now), count.free(pace, now)), (0, 0));
        let later = Instant(now.0 + 100_000_000);
        assert_eq!(count.free(pace, later), 100);
        count.give_back(pace, (now, later));
        assert_eq!((took(later), took(later)), (100, 0));
        count.give_back(pace, (later, later));
        assert_eq!(took(later), 1, "one was not used");
    }
}
