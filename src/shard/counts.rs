//! Connections of the node to each site and to each address, and those of clients to each listener: counts that all shards share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits;
use crate::policy::clients::{Client, Clients, Full};

/// Counts by what they are of. One that nobody holds is zero, and dropped in time.
#[derive(Debug)]
pub(super) struct Counts<K, Count = ConnectionCount>(Mutex<(HashMap<K, Arc<Count>>, usize)>);

impl<K, Count> Default for Counts<K, Count> {
    fn default() -> Counts<K, Count> {
        Counts(Mutex::new((HashMap::new(), limits::COUNTS_KEPT)))
    }
}

impl<K: Eq + std::hash::Hash, Count: Default> Counts<K, Count> {
    pub(super) fn get(&self, key: K) -> Arc<Count> {
        let (counts, room) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() > *room {
            counts.retain(|_, count| Arc::strong_count(count) > 1);
            // Looked through again when there are twice as many: so it costs little for each that comes.
            *room = limits::COUNTS_KEPT.max(2 * counts.len());
        }
        counts.entry(key).or_default().clone()
    }
}

/// The connections of clients to one listener, over all shards. The lock is taken when one opens or closes, never for a message.
#[derive(Debug, Default)]
pub struct ClientCounts(Mutex<Clients>);

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
