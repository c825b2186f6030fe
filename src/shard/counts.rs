//! Connections of the node to each site and to each address, and those of clients to each listener: counts that all shards share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits;
use crate::policy::clients::{Client, Clients, Full};
use crate::shaping::pace::Pace;
use crate::time::Instant;

/// What may be forgotten when nobody holds it.
pub(super) trait Forgotten {
    /// Whether it says nothing by then.
    fn is_empty(&self, now: Instant) -> bool;
}

/// Counts by what they are of. One that nobody holds and that says nothing is dropped in time.
#[derive(Debug)]
pub(super) struct Counts<K, Count = ConnectionCount>(Mutex<(HashMap<K, Arc<Count>>, usize)>);

impl<K, Count> Default for Counts<K, Count> {
    fn default() -> Counts<K, Count> {
        Counts(Mutex::new((HashMap::new(), limits::COUNTS_KEPT)))
    }
}

impl<K: Eq + std::hash::Hash, Count: Default + Forgotten> Counts<K, Count> {
    pub(super) fn get(&self, key: K, now: Instant) -> Arc<Count> {
        let (counts, room) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() > *room {
            counts.retain(|_, count| Arc::strong_count(count) > 1 || !count.is_empty(now));
            // Looked through again when there are twice as many: so it costs little for each that comes.
            *room = limits::COUNTS_KEPT.max(2 * counts.len());
        }
        counts.entry(key).or_default().clone()
    }
}

/// The connections of clients to one listener, over all shards. The lock is taken when one opens or closes, never for a message.
#[derive(Debug, Default)]
pub struct ClientCounts(Mutex<Clients>);

impl Forgotten for ClientCounts {
    fn is_empty(&self, _: Instant) -> bool {
        true
    }
}

impl ClientCounts {
    /// Counts one in, or says why it is one too many: of all, or of this client.
    pub fn enter(&self, client: Client, most: usize, most_each: usize) -> Result<(), Full> {
        self.lock().enter(client, most, most_each)
    }

    /// Counts it out.
    pub fn leave(&self, client: Client) {
        self.lock().leave(client);
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections of the node to one site, or to one address: a count that all shards share. It is touched when a connection opens or closes,
/// never for a message, so the limit is exact and costs nothing in between.
#[derive(Debug, Default)]
pub struct ConnectionCount {
    used: AtomicUsize,
    /// Shards that were refused a connection and want to hear when one is free.
    waiting: [AtomicU64; limits::SHARDS_MAX / 64],
    /// Shards with a connection that has nothing to do.
    idle: [AtomicU64; limits::SHARDS_MAX / 64],
    /// Domains that lead there, of those whose section in a shaping file is said for all that do. Locked when one is found, or was.
    beside: Mutex<Vec<Box<str>>>,
    /// How many they are.
    besides: AtomicUsize,
    /// Those that were opened, by the rate of the site.
    pub opened: RateCount,
    /// Messages, by the rate of the site or the provider.
    pub messages: RateCount,
}

impl Forgotten for ConnectionCount {
    /// A rate of one an hour is kept to by whoever has mail again half an hour later.
    fn is_empty(&self, now: Instant) -> bool {
        self.opened.is_full(now) && self.messages.is_full(now)
    }
}

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

    /// What another rate left is put right.
    fn right(&self, pace: Pace, now: Instant) -> u64 {
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

    fn is_full(&self, now: Instant) -> bool {
        self.0.load(Ordering::Acquire) <= now.0
    }
}

impl ConnectionCount {
    /// This domain leads there as well, and what is said of it holds for all that do.
    pub fn add_beside(&self, domain: &str) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        if !beside.iter().any(|known| **known == *domain) {
            beside.push(domain.into());
            self.besides.store(beside.len(), Ordering::SeqCst);
        }
    }

    /// Such domains.
    pub fn beside(&self) -> Vec<Box<str>> {
        if self.besides() == 0 {
            return Vec::new();
        }
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many there are: never fewer than before.
    pub fn besides(&self) -> usize {
        self.besides.load(Ordering::SeqCst)
    }

    /// Takes a connection if fewer than `limit` are used; else the shard is put on the waiting list.
    pub fn take(&self, limit: usize, shard: usize) -> bool {
        if self.try_take(limit) {
            return true;
        }
        self.waiting[shard / 64].fetch_or(1 << (shard % 64), Ordering::SeqCst);
        // One may have been given back between the two lines above.
        self.try_take(limit)
    }

    /// Takes a connection if fewer than `limit` are used, and waits for none.
    pub fn try_take(&self, limit: usize) -> bool {
        let more = |used| (used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Puts a shard on the waiting list. How many connections are free after that: whoever gives one back later sees the shard.
    pub fn want(&self, limit: usize, shard: usize) -> usize {
        self.waiting[shard / 64].fetch_or(1 << (shard % 64), Ordering::SeqCst);
        self.free(limit)
    }

    /// Connections that are free.
    pub fn free(&self, limit: usize) -> usize {
        limit.saturating_sub(self.used.load(Ordering::SeqCst))
    }

    /// Whether any shard waits for a connection, the asking one included.
    pub fn is_wanted(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.load(Ordering::Relaxed) != 0)
    }

    /// A shard has a connection with nothing to do, or has none any more.
    pub fn set_idle(&self, shard: usize, idle: bool) {
        let (word, bit) = (&self.idle[shard / 64], 1 << (shard % 64));
        // Mostly it is so already, and a look costs less than a write.
        if (word.load(Ordering::SeqCst) & bit != 0) != idle {
            if idle {
                word.fetch_or(bit, Ordering::SeqCst)
            } else {
                word.fetch_and(!bit, Ordering::SeqCst)
            };
        }
    }

    /// Whether another shard waits for a connection.
    pub fn wanted_by_others(&self, own: usize) -> bool {
        self.waiting.iter().enumerate().any(|(word, waiting)| {
            let own = if own / 64 == word { 1 << (own % 64) } else { 0 };
            waiting.load(Ordering::SeqCst) & !own != 0
        })
    }

    /// Shards with a connection that has nothing to do.
    pub(super) fn idle(&self) -> impl Iterator<Item = usize> {
        self.idle.iter().enumerate().flat_map(|(word, idle)| shards(word, idle.load(Ordering::SeqCst)))
    }

    /// Gives a connection back. The shards that wait for one, which are taken off the list as they are told.
    pub(super) fn give_back(&self) -> impl Iterator<Item = usize> {
        self.used.fetch_sub(1, Ordering::SeqCst);
        self.waiting
            .iter()
            .enumerate()
            .flat_map(|(word, waiting)| shards(word, waiting.swap(0, Ordering::SeqCst)))
    }
}

/// The shards whose bits are set in a word of such a list.
fn shards(word: usize, mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let shard = (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        shard
    })
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

    /// What a rate remembers outlasts whoever asked: the next is held to it.
    #[test]
    fn a_count_is_forgotten_when_it_says_nothing() {
        let counts: Counts<usize> = Counts::default();
        let pace = Pace::of(&rate("1/h").expect("a rate"));
        let now = Instant(7_000_000_000);
        counts.get(0, now).messages.take(pace, now).expect("the first");
        drop(counts.get(1, now));
        let fill = |from: usize, now| {
            (from..from + 3 * limits::COUNTS_KEPT).for_each(|key| drop(counts.get(key, now)))
        };
        fill(2, now);
        assert!(counts.get(0, now).messages.take(pace, now).is_err());
        fill(2, Instant(now.0 + 2 * 3_600_000_000_000));
        assert!(counts.0.lock().unwrap().0.len() <= 3 * limits::COUNTS_KEPT);
        assert!(
            counts.get(0, now).messages.take(pace, now).is_ok(),
            "an hour later it is as if it never was"
        );
    }
}
