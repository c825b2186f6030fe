//! Connections of the node to each site and to each address, and those of clients to each listener: counts that all shards share.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::limits;
use crate::policy::clients::{Client, Clients};
use crate::policy::reason::Refused;
use crate::queue::node_shares::NodeShares;
use crate::shaping::rated::EachRate;
use crate::shard::cluster_part::ClusterPart;
use crate::shard::rate_count::RateCount;
use crate::shard::window::SiteWindow;
use crate::time::Instant;

/// What may be forgotten when nobody holds it.
pub(super) trait Forgettable {
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

impl<K: Eq + std::hash::Hash, Count: Default + Forgettable> Counts<K, Count> {
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

impl Forgettable for ClientCounts {
    fn is_empty(&self, _: Instant) -> bool {
        true
    }
}

impl ClientCounts {
    /// Counts one in, or refuses it as one too many: of all, or of this client.
    pub fn enter(&self, client: Client, most: usize, most_each: usize) -> Result<(), Refused<'static>> {
        self.lock().enter(client, most, most_each)
    }

    /// Counts it out.
    pub fn leave(&self, client: Client) {
        self.lock().leave(client);
    }

    /// How many there are.
    #[cfg(test)]
    pub fn all(&self) -> usize {
        self.lock().all()
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
    /// Those among them over which a session came up.
    standing: AtomicUsize,
    /// What the site has shown to take, once it refused something.
    window: OnceLock<Box<SiteWindow>>,
    /// What tenants had over all shards, once one waited for a connection.
    shares: OnceLock<Arc<NodeShares>>,
    /// Shards that were refused a connection and want to hear when one is free.
    waiting: [AtomicU64; limits::SHARDS_MAX / 64],
    /// Shards with a connection that has nothing to do.
    idle: [AtomicU64; limits::SHARDS_MAX / 64],
    /// What this node has of it, where it shares it with others.
    part: OnceLock<Arc<ClusterPart>>,
    /// Domains that lead there, of those whose section in a shaping file is said for all that do. Locked when one is found, or was.
    beside: Mutex<Vec<Box<str>>>,
    /// How many they are.
    besides: AtomicUsize,
    /// What was begun, by the rates of the site or the provider.
    pub rates: EachRate<RateCount>,
}

/// An address as it is seen from: connections of another source are another sender's there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FarEnd {
    /// The address.
    pub ip: IpAddr,
    /// The number of the source; 0: the node's own addresses.
    pub source: u32,
}

impl fmt::Display for FarEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.ip)
    }
}

impl Forgettable for ConnectionCount {
    /// A rate of one an hour is kept to by whoever has mail again half an hour later.
    fn is_empty(&self, now: Instant) -> bool {
        self.rates.iter().all(|(_, count)| count.is_full(now))
            && self.window().is_none_or(|window| window.is_empty(now))
    }
}

impl ConnectionCount {
    /// What the site has shown to take; None: it never refused anything.
    pub fn window(&self) -> Option<&SiteWindow> {
        self.window.get().map(|window| &**window)
    }

    /// The same, for something that it refuses.
    pub fn narrow(&self) -> &SiteWindow {
        self.window.get_or_init(Box::default)
    }

    /// What tenants had over all shards; None: no shard ever waited.
    pub fn shares(&self) -> Option<&Arc<NodeShares>> {
        self.shares.get()
    }

    /// The same, as one of so many shards waits.
    pub fn share(&self, shards: usize) -> &Arc<NodeShares> {
        self.shares.get_or_init(|| Arc::new(NodeShares::new(shards)))
    }

    /// What this node has of it; None: all.
    pub fn part(&self) -> Option<&Arc<ClusterPart>> {
        self.part.get()
    }

    /// The same, as it is shared with other nodes.
    pub fn share_with_nodes(&self) -> &Arc<ClusterPart> {
        self.part.get_or_init(Arc::default)
    }

    /// How many of so many connections this node may have.
    pub fn on_node(&self, limit: usize) -> usize {
        self.part().map_or(limit, |part| part.connections(limit))
    }

    /// Whether there are more than this node has of it now.
    pub fn is_over_part(&self) -> bool {
        self.part().is_some_and(|part| self.exceeds(part.connections(usize::MAX)))
    }

    /// Shards that wait for a connection; they stay on the list.
    pub fn waits(&self) -> impl Iterator<Item = usize> {
        self.waiting
            .iter()
            .enumerate()
            .flat_map(|(word, waiting)| shards(word, waiting.load(Ordering::SeqCst)))
    }

    /// How many connections there may be, of so many that the operator allows.
    pub fn most(&self, limit: usize) -> usize {
        self.window().map_or(limit, |window| window.connections(limit))
    }

    /// Those over which a session came up.
    pub fn standing(&self) -> usize {
        self.standing.load(Ordering::SeqCst)
    }

    /// One came up: how many stand.
    pub fn stands(&self) -> usize {
        self.standing.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// One that stood ends.
    pub fn falls(&self) {
        self.standing.fetch_sub(1, Ordering::SeqCst);
    }

    /// All of them, those that are being opened included.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Whether there are more than so many.
    pub fn exceeds(&self, limit: usize) -> bool {
        self.used.load(Ordering::SeqCst) > limit
    }

    /// Shards that wait for a connection, which are taken off the list as they are told.
    pub(super) fn waiting(&self) -> impl Iterator<Item = usize> {
        let waiting = self.waiting.iter().enumerate();
        waiting.flat_map(|(word, waiting)| shards(word, waiting.swap(0, Ordering::SeqCst)))
    }

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

    /// Whether another shard waits for a connection, or another node.
    pub fn wanted_by_others(&self, own: usize) -> bool {
        self.is_over_part()
            || self.waiting.iter().enumerate().any(|(word, waiting)| {
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
        self.waiting()
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
    use crate::shaping::pace::Pace;
    use crate::shaping::rated::Rated;
    use crate::shaping::value::rate;

    /// What a rate remembers outlasts whoever asked: the next is held to it.
    #[test]
    fn a_count_is_forgotten_when_it_says_nothing() {
        let counts: Counts<usize> = Counts::default();
        let pace = Pace::of(&rate("1/h").expect("a rate"));
        let now = Instant(7_000_000_000);
        counts.get(0, now).rates[Rated::Messages].take(pace, now).expect("the first");
        drop(counts.get(1, now));
        let fill = |from: usize, now| {
            (from..from + 3 * limits::COUNTS_KEPT).for_each(|key| drop(counts.get(key, now)))
        };
        fill(2, now);
        assert!(counts.get(0, now).rates[Rated::Messages].take(pace, now).is_err());
        fill(2, Instant(now.0 + 2 * 3_600_000_000_000));
        assert!(counts.0.lock().unwrap().0.len() <= 3 * limits::COUNTS_KEPT);
        assert!(
            counts.get(0, now).rates[Rated::Messages].take(pace, now).is_ok(),
            "an hour later it is as if it never was"
        );
    }
}
