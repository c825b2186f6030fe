//! Shares of a site over all shards of the node: how far each tenant has come there, and which shards wait for a connection and for whose mail.
//!
//! Each tenant has one *pass* (see `destinations::shares`), which every shard moves on that takes a message of it. So the order within a shard goes by
//! what the tenant had on all of them. Between shards connections follow: one that waits says whose mail is next there, and who is done with a message
//! passes its connection on where that one is behind. What each has already counts as if it had been used for a while: so connections settle where
//! shares want them and do not go to and fro.
//!
//! Only atomics, and nobody waits for anybody. What is read may be a moment old: the next message sets it right, as passes forget nothing.

use std::cmp::Ordering as Order;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::limits;
use crate::mail::parameters::Priority;
use crate::time::Instant;

/// How far the pass of a tenant of weight 1 grows with each message.
pub const STRIDE: u64 = 1 << 20;

const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// Whose mail is next at a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The highest class that has mail.
    pub class: Priority,
    /// The tenant of it that is next.
    pub tenant: u32,
    /// What all tenants weigh that have mail of this class there.
    pub weight: u64,
}

/// A shard at the site.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which it is.
    pub shard: usize,
    /// Connections it has.
    pub connections: usize,
    /// Those of the node, at most.
    pub limit: usize,
}

#[derive(Debug)]
struct Passes {
    /// The highest that was served.
    reached: AtomicU64,
    /// By tenants: those that share a place share a part.
    of: [AtomicU64; limits::NODE_TENANTS],
}

impl Default for Passes {
    fn default() -> Passes {
        Passes { reached: AtomicU64::new(0), of: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Passes {
    /// Who was away gets a little more at first, so that what he sends now and then waits for nobody.
    fn least(&self, weight: u64) -> u64 {
        self.reached.load(Relaxed).saturating_sub(limits::NODE_CREDIT * STRIDE / weight.max(1))
    }
}

/// What a shard says of itself.
#[derive(Debug, Default)]
struct ShardDemand {
    /// What is next there, while it waits for a connection; 0: it does not.
    head: AtomicU64,
    /// Until when a connection that is free is its own.
    promised: AtomicU64,
    /// What is next there, while it waits for the rate; 0: it does not.
    rated: AtomicU64,
}

/// Shares of one site.
#[derive(Debug)]
pub struct NodeShares {
    /// By [`Priority`].
    classes: [Passes; 3],
    shards: Box<[ShardDemand]>,
}

/// A head and how many connections its shard has, in one word. The highest bit says that there is one.
fn packed(head: Head, connections: usize) -> u64 {
    let connections = connections.min(0xFFF) as u64;
    let place = u64::from(head.tenant) % limits::NODE_TENANTS as u64;
    1 << 63 | (head.class as u64) << 60 | place << 52 | connections << 40 | head.weight.min((1 << 40) - 1)
}

fn unpacked(word: u64) -> Option<(Head, usize)> {
    let class = CLASSES[(word >> 60 & 3).min(2) as usize];
    let head = Head { class, tenant: (word >> 52 & 0xFF) as u32, weight: word & ((1 << 40) - 1) };
    (word != 0).then_some((head, (word >> 40 & 0xFFF) as usize))
}

/// How much further behind another must be, so that single messages make no difference.
fn slack(head: Head, than: Head) -> u64 {
    let same = head.tenant == than.tenant % limits::NODE_TENANTS as u32;
    if same { 0 } else { limits::NODE_SLACK * STRIDE / head.weight.max(1) }
}

const _: () = assert!(limits::NODE_TENANTS <= 256, "a place has eight bits in a word");

impl NodeShares {
    /// Those of a node with so many shards.
    pub fn new(shards: usize) -> NodeShares {
        NodeShares {
            classes: Default::default(),
            shards: (0..shards).map(|_| ShardDemand::default()).collect(),
        }
    }

    /// How far a tenant of this weight has come.
    pub fn pass(&self, class: Priority, tenant: u32, weight: u64) -> u64 {
        let passes = &self.classes[class as usize];
        passes.of[tenant as usize % limits::NODE_TENANTS].load(Relaxed).max(passes.least(weight))
    }

    /// A message of it is taken. How far it has come now.
    pub fn serve(&self, class: Priority, tenant: u32, weight: u64) -> u64 {
        let passes = &self.classes[class as usize];
        let own = &passes.of[tenant as usize % limits::NODE_TENANTS];
        let least = passes.least(weight);
        if own.load(Relaxed) < least {
            own.fetch_max(least, Relaxed);
        }
        let stride = STRIDE / weight.max(1);
        let before = own.fetch_add(stride, Relaxed);
        if passes.reached.load(Relaxed) < before {
            passes.reached.fetch_max(before, Relaxed);
        }
        before + stride
    }

    /// Whether several tenants had mail there of late.
    pub fn has_several(&self) -> bool {
        self.classes.iter().any(|passes| {
            let since = passes.reached.load(Relaxed).saturating_sub(2 * limits::NODE_CREDIT * STRIDE);
            passes.of.iter().filter(|own| own.load(Relaxed) > since).count() > 1
        })
    }

    /// A shard waits for a connection, for this mail.
    pub fn wait(&self, at: Place, head: Head) {
        if let Some(own) = self.shards.get(at.shard) {
            own.head.store(packed(head, at.connections), SeqCst);
        }
    }

    /// It waits no more, as it has one or needs none. True: it had the promise of one, and others that were refused meanwhile are to be asked: also
    /// where it came to that too late.
    pub fn leave(&self, shard: usize) -> bool {
        let Some(own) = self.shards.get(shard) else { return false };
        own.head.store(0, SeqCst);
        own.promised.swap(0, SeqCst) != 0
    }

    /// A shard waits for the rate of the site, for this mail; None: no more.
    pub fn wait_for_rate(&self, shard: usize, head: Option<Head>) {
        if let Some(own) = self.shards.get(shard) {
            own.rated.store(head.map_or(0, |head| packed(head, 0)), SeqCst);
        }
    }

    /// Whether what the rate lets begin is rather for another shard that waits for it than for this with what is next here.
    pub fn is_for_others(&self, shard: usize, own: Head) -> bool {
        let kept = (own.class, self.pass(own.class, own.tenant, own.weight));
        let others = self.shards.iter().enumerate().filter(|(other, _)| *other != shard);
        let mut heads = others.filter_map(|(_, other)| unpacked(other.rated.load(SeqCst)));
        heads.any(|(head, _)| {
            let pass = self.pass(head.class, head.tenant, head.weight);
            (head.class, pass + slack(head, own)) < kept
        })
    }

    /// Whether it says for whose mail it waits.
    pub fn is_waiting(&self, shard: usize) -> bool {
        self.shards.get(shard).is_some_and(|own| own.head.load(SeqCst) != 0)
    }

    /// Connections that are promised to other shards than this.
    pub fn promised(&self, shard: usize, now: Instant) -> usize {
        let others = self.shards.iter().enumerate().filter(|(other, _)| *other != shard);
        others.filter(|(_, other)| other.promised.load(SeqCst) > now.0).count()
    }

    /// Promises the next free connection to a shard that waits, if one should have it rather than this with what is next here; where the
    /// connection had its `turn`, to one that has none at all.
    pub fn promise(&self, at: Place, own: Head, turn: bool, now: Instant) -> bool {
        let kept = (own.class, self.score(own, at.connections.saturating_sub(1), at.limit));
        let best = self.waiting(at.shard, now).min_by(|one, other| {
            let (one, other) = (self.wanted(one, own, at.limit), self.wanted(other, own, at.limit));
            one.partial_cmp(&other).unwrap_or(Order::Equal)
        });
        let Some(best) = best else { return false };
        if self.wanted(&best, own, at.limit) <= kept {
            return self.keep_for(best.0, now);
        }
        let next =
            |(shard, ..): &(usize, Head, usize)| (*shard + self.shards.len() - at.shard) % self.shards.len();
        let without = self.waiting(at.shard, now).filter(|(.., connections)| turn && *connections == 0);
        without.min_by_key(next).is_some_and(|(shard, ..)| self.keep_for(shard, now))
    }

    /// Other shards that wait and have no promise, what is next there, and how many connections they have.
    fn waiting(&self, own: usize, now: Instant) -> impl Iterator<Item = (usize, Head, usize)> + '_ {
        let others = self.shards.iter().enumerate().filter(move |(shard, _)| *shard != own);
        others.filter_map(move |(shard, other)| {
            let (head, connections) = unpacked(other.head.load(SeqCst))?;
            (other.promised.load(SeqCst) <= now.0).then_some((shard, head, connections))
        })
    }

    /// The lower, the more it needs one. Passes go up and down by single messages: that much must not move a connection.
    fn wanted(
        &self,
        (_, head, connections): &(usize, Head, usize),
        than: Head,
        limit: usize,
    ) -> (Priority, u64) {
        (head.class, self.score(*head, connections + 1, limit) + slack(*head, than))
    }

    fn score(&self, head: Head, connections: usize, limit: usize) -> u64 {
        let ahead = limits::NODE_AHEAD * STRIDE * connections as u64 / limit.max(1) as u64;
        self.pass(head.class, head.tenant, head.weight) + ahead / head.weight.max(1)
    }

    fn keep_for(&self, shard: usize, now: Instant) -> bool {
        let promised = &self.shards[shard].promised;
        let before = promised.load(SeqCst);
        let until = (now + limits::NODE_PROMISE).0;
        before <= now.0 && promised.compare_exchange(before, until, SeqCst, SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000_000_000);
    const LIMIT: usize = 4;

    fn head(tenant: u32, weight: u64) -> Head {
        Head { class: Priority::Normal, tenant, weight }
    }

    fn place(shard: usize, connections: usize) -> Place {
        Place { shard, connections, limit: LIMIT }
    }

    /// One tenant on each of two shards, of such weights: in turn each connection is done with a message. How many messages each had, and how
    /// often a connection moved.
    fn share(weights: [u64; 2], messages: u64) -> ([u64; 2], u64) {
        let shares = NodeShares::new(2);
        let (mut had, mut moved) = ([0, 0], 0);
        let mut connections = [0; LIMIT];
        let mut number = 0;
        while had[0] + had[1] < messages {
            let count = |of: usize| connections.iter().filter(|shard| **shard == of).count();
            let shard = connections[number % LIMIT];
            let other = 1 - shard;
            shares.wait(place(other, count(other)), head(other as u32, weights[other]));
            if shares.promise(place(shard, count(shard)), head(shard as u32, weights[shard]), false, NOW) {
                connections[number % LIMIT] = other;
                shares.leave(other);
                moved += 1;
            }
            let shard = connections[number % LIMIT];
            shares.serve(Priority::Normal, shard as u32, weights[shard]);
            had[shard] += 1;
            number += 1;
        }
        (had, moved)
    }

    #[test]
    fn connections_settle_where_weights_want_them() {
        for (weights, part) in [([1, 1], 200), ([1, 3], 100), ([30, 10], 300), ([1, 9], 40)] {
            let (had, moved) = share(weights, 400);
            assert!(had[0].abs_diff(part) <= 12, "{weights:?}: {had:?}");
            assert!(moved <= 20, "{weights:?}: {moved} moves");
        }
        let (had, moved) = share([2, 1], 6_000);
        assert!(had[0].abs_diff(4_000) <= 30, "{had:?}: what does not come out even is made up for");
        assert!(moved <= 6_000 / 20, "{moved} moves");
    }

    /// Whatever a tenant did not use, its next message waits for one other to end, and a flood of it has no more than a few before the others.
    #[test]
    fn who_comes_is_next_and_not_for_long() {
        let shares = NodeShares::new(2);
        (0..10_000).for_each(|_| _ = shares.serve(Priority::Normal, 0, 1));
        shares.wait(place(1, 0), head(1, 1));
        assert!(shares.promise(place(0, 1), head(0, 1), false, NOW), "the last that is left");
        shares.leave(1);
        let mut had = 0;
        shares.wait(place(0, 0), head(0, 1));
        while !shares.promise(place(1, 1), head(1, 1), false, NOW) {
            shares.serve(Priority::Normal, 1, 1);
            had += 1;
        }
        assert!(had <= 30, "{had}");
    }

    #[test]
    fn what_is_urgent_has_the_connection_and_what_is_not_its_turn() {
        let shares = NodeShares::new(3);
        let high = Head { class: Priority::High, ..head(5, 1) };
        (0..100).for_each(|_| _ = shares.serve(Priority::High, 5, 1));
        shares.wait(place(1, 0), head(1, 1));
        assert!(!shares.promise(place(0, 4), high, false, NOW), "what is less urgent waits");
        assert!(shares.promise(place(0, 4), high, true, NOW), "but not for ever");
        shares.wait(place(2, 2), high);
        assert!(shares.promise(place(0, 2), head(0, 1), false, NOW));
        assert_eq!((shares.promised(0, NOW), shares.promised(1, NOW)), (2, 1));
    }

    #[test]
    fn what_a_rate_lets_begin_is_for_who_is_behind() {
        let shares = NodeShares::new(3);
        let low = Head { class: Priority::Low, ..head(2, 1) };
        shares.serve(Priority::Normal, 1, 1);
        (0..20).for_each(|_| _ = shares.serve(Priority::Normal, 0, 1));
        assert!(!shares.is_for_others(0, head(0, 1)), "nobody waits");
        shares.wait_for_rate(1, Some(head(1, 1)));
        assert!(shares.is_for_others(0, head(0, 1)) && shares.is_for_others(2, low));
        assert!(!shares.is_for_others(1, head(1, 1)), "nobody leaves it to himself");
        assert!(!shares.is_for_others(0, Head { class: Priority::High, ..head(0, 1) }));
        shares.wait_for_rate(1, Some(head(0, 1)));
        assert!(!shares.is_for_others(0, head(0, 1)), "of the same tenant any shard goes on");
        shares.wait_for_rate(1, None);
        assert!(!shares.is_for_others(2, low));
    }

    #[test]
    fn a_promise_is_made_once_and_ends() {
        let shares = NodeShares::new(3);
        shares.wait(place(1, 0), head(1, 1));
        assert!(shares.promise(place(0, 4), head(0, 1), false, NOW));
        assert!(!shares.promise(place(2, 4), head(0, 1), false, NOW));
        let late = NOW + limits::NODE_PROMISE;
        assert_eq!((shares.promised(0, NOW), shares.promised(0, late)), (1, 0));
        assert!(shares.leave(1), "who was refused for it is asked again, also where it ended by itself");
        assert!(!shares.leave(1));
        assert!(!shares.promise(place(0, 4), head(0, 1), false, late), "nobody waits");
    }

    #[test]
    fn a_head_is_what_it_was_behind_a_word() {
        for class in CLASSES {
            let head = Head { class, tenant: 63, weight: 64_000 };
            assert_eq!(unpacked(packed(head, 4_000)), Some((head, 4_000)));
        }
        assert_eq!(unpacked(0), None);
        assert_eq!(unpacked(packed(head(0, 1), 100_000)), Some((head(0, 1), 0xFFF)));
    }
}
