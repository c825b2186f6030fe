//! Shares of a site over all shards of the node: how far each tenant has come there, and each campaign of it, and which shards wait for a connection
//! and for whose mail.
//!
//! Each tenant has one *pass* (see `destinations::shares`), which every shard moves on that takes a message of it, and beside it has each of its
//! campaigns one of the same kind. So the order within a shard goes by what each had on all of them. Between shards connections follow: one that
//! waits says whose mail is farthest behind there, and who is done with a message passes its connection on where its own is less so. How far that is
//! goes by the tenant, and by its campaign beside the others of the tenant, together: else a shard that has mail of a tenant which is behind would never
//! say that it has a campaign besides which is. What each shard has already counts as if it had been used for a while: so connections settle where
//! shares want them and do not go to and fro.
//!
//! Only atomics, and nobody waits for anybody. What is read may be a moment old: the next message sets it right, as passes forget nothing.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use crate::limits;
use crate::mail::parameters::Priority;
use crate::queue::flow::Flow;
use crate::time::Instant;

mod passes;

use passes::Passes;
pub use passes::STRIDE;

const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// Whose mail of those that have some at a shard is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// It is of the highest class that has mail.
    pub flow: Flow,
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

type Campaigns = Passes<()>;

/// Those of tenants, and beside each those of its campaigns, where it has one that is named.
type Tenants = Passes<OnceLock<Box<Campaigns>>>;

/// What a shard waits for something with: what is next there, and how many connections it has. Two words, so that one may be a moment older.
#[derive(Debug, Default)]
struct Wish {
    /// Whose it is.
    flow: AtomicU64,
    /// The rest; 0: it waits for nothing.
    rest: AtomicU64,
}

/// Bits of a weight in [`Wish`].
const WEIGHT_BITS: u32 = 40;
/// Those of the number of connections.
const CONNECTIONS_BITS: u32 = 12;

const fn most(bits: u32) -> u64 {
    (1 << bits) - 1
}

impl Wish {
    fn put(&self, head: Head, connections: usize) {
        let Flow { class, tenant, campaign } = head.flow;
        self.flow.store(u64::from(tenant) << 32 | u64::from(campaign), SeqCst);
        let connections = (connections as u64).min(most(CONNECTIONS_BITS));
        let class = (class as u64) << CONNECTIONS_BITS;
        // The highest bit says that there is one.
        let rest = 1 << 63 | (class | connections) << WEIGHT_BITS | head.weight.min(most(WEIGHT_BITS));
        self.rest.store(rest, SeqCst);
    }

    fn end(&self) {
        self.rest.store(0, SeqCst);
    }

    fn is_one(&self) -> bool {
        self.rest.load(SeqCst) != 0
    }

    fn get(&self) -> Option<(Head, usize)> {
        let rest = self.rest.load(SeqCst);
        if rest == 0 {
            return None;
        }
        let (weight, rest) = (rest & most(WEIGHT_BITS), rest >> WEIGHT_BITS);
        let class = CLASSES[(rest >> CONNECTIONS_BITS & 3).min(2) as usize];
        let flow = self.flow.load(SeqCst);
        let flow = Flow { class, tenant: (flow >> 32) as u32, campaign: flow as u32 };
        Some((Head { flow, weight }, (rest & most(CONNECTIONS_BITS)) as usize))
    }
}

/// What a shard says of itself.
#[derive(Debug, Default)]
struct ShardDemand {
    /// While it waits for a connection.
    head: Wish,
    /// Until when a connection that is free is its own.
    promised: AtomicU64,
    /// While it waits for the rate.
    rated: Wish,
}

/// Shares of one site.
#[derive(Debug)]
pub struct NodeShares {
    /// By [`Priority`].
    classes: [OnceLock<Box<Tenants>>; 3],
    shards: Box<[ShardDemand]>,
}

const _: () = assert!(3 + CONNECTIONS_BITS + WEIGHT_BITS <= 64, "they are in one word");

/// How much further behind another must be, so that single messages make no difference.
fn slack(head: Head, than: Head) -> u64 {
    if head.flow == than.flow { 0 } else { limits::NODE_SLACK * STRIDE / head.weight.max(1) }
}

/// A campaign, as it is known among those of its tenant: two tenants may share a place.
fn campaign(flow: Flow) -> u64 {
    u64::from(flow.tenant) << 32 | u64::from(flow.campaign)
}

impl NodeShares {
    /// Those of a node with so many shards.
    pub fn new(shards: usize) -> NodeShares {
        NodeShares {
            classes: Default::default(),
            shards: (0..shards).map(|_| ShardDemand::default()).collect(),
        }
    }

    fn tenants(&self, class: Priority) -> &Tenants {
        self.classes[class as usize].get_or_init(|| Box::new(Passes::of(limits::NODE_TENANTS)))
    }

    fn campaigns(&self, flow: Flow) -> Option<&Campaigns> {
        self.tenants(flow.class).beside(flow.tenant.into())?.get().map(|campaigns| &**campaigns)
    }

    /// How far a tenant of this weight has come.
    pub fn pass(&self, class: Priority, tenant: u32, weight: u64) -> u64 {
        self.tenants(class).pass(tenant.into(), weight)
    }

    /// How far a flow has come: its tenant, less what its campaign is behind the others of the tenant.
    pub fn far(&self, head: Head) -> u64 {
        let flow = head.flow;
        let behind = self.campaigns(flow).map_or(0, |campaigns| campaigns.behind(campaign(flow)));
        // That much it is behind at most.
        let most = limits::NODE_CREDIT * STRIDE;
        self.pass(flow.class, flow.tenant, head.weight) + most - behind.min(most) / head.weight.max(1)
    }

    /// Of the campaigns of a tenant the one that has come least far; of several that have come as far the first.
    pub fn first(&self, flows: impl Iterator<Item = Flow>) -> Option<Flow> {
        let mut flows = flows.peekable();
        match self.campaigns(*flows.peek()?) {
            Some(campaigns) => flows.min_by_key(|flow| campaigns.pass(campaign(*flow), 1)),
            None => flows.next(),
        }
    }

    /// A message of a flow is taken. How far its tenant, which has this weight, has come now.
    pub fn serve(&self, flow: Flow, weight: u64) -> u64 {
        let served = self.tenants(flow.class).serve(flow.tenant.into(), weight);
        let known = served.beside.get();
        known.filter(|_| served.taken).inspect(|campaigns| campaigns.forget());
        if known.is_some() || flow.campaign != 0 {
            let campaigns = served.beside.get_or_init(|| Box::new(Passes::of(limits::NODE_CAMPAIGNS)));
            campaigns.serve(campaign(flow), 1);
        }
        served.pass
    }

    /// Whether several tenants had mail there of late, or several campaigns of one.
    pub fn has_several(&self) -> bool {
        self.classes.iter().filter_map(OnceLock::get).any(|tenants| {
            let of_campaigns =
                |own: &OnceLock<Box<Campaigns>>| own.get().map_or(1, |own| own.recent().count());
            tenants.recent().map(of_campaigns).sum::<usize>() > 1
        })
    }

    /// A shard waits for a connection, for this mail.
    pub fn wait(&self, at: Place, head: Head) {
        if let Some(own) = self.shards.get(at.shard) {
            own.head.put(head, at.connections);
        }
    }

    /// It waits no more, as it has one or needs none. True: it had the promise of one, and others that were refused meanwhile are to be asked: also
    /// where it came to that too late.
    pub fn leave(&self, shard: usize) -> bool {
        let Some(own) = self.shards.get(shard) else { return false };
        own.head.end();
        own.promised.swap(0, SeqCst) != 0
    }

    /// A shard waits for the rate of the site, for this mail; None: no more.
    pub fn wait_for_rate(&self, shard: usize, head: Option<Head>) {
        if let Some(own) = self.shards.get(shard) {
            match head {
                Some(head) => own.rated.put(head, 0),
                None => own.rated.end(),
            }
        }
    }

    /// Whether what the rate lets begin is rather for another shard that waits for it than for this with what is next here.
    pub fn is_for_others(&self, shard: usize, own: Head) -> bool {
        let kept = (own.flow.class, self.far(own));
        let others = self.shards.iter().enumerate().filter(|(other, _)| *other != shard);
        let mut heads = others.filter_map(|(_, other)| other.rated.get());
        heads.any(|(head, _)| (head.flow.class, self.far(head) + slack(head, own)) < kept)
    }

    /// Whether it says for whose mail it waits.
    pub fn is_waiting(&self, shard: usize) -> bool {
        self.shards.get(shard).is_some_and(|own| own.head.is_one())
    }

    /// Connections that are promised to other shards than this.
    pub fn promised(&self, shard: usize, now: Instant) -> usize {
        let others = self.shards.iter().enumerate().filter(|(other, _)| *other != shard);
        others.filter(|(_, other)| other.promised.load(SeqCst) > now.0).count()
    }

    /// Promises the next free connection to a shard that waits, if one should have it rather than this with what is next here; where the
    /// connection had its `turn`, to one that has none at all.
    pub fn promise(&self, at: Place, own: Head, turn: bool, now: Instant) -> bool {
        let kept = (own.flow.class, self.score(own, at.connections.saturating_sub(1), at.limit));
        let best = self.waiting(at.shard, now).min_by_key(|one| self.wanted(one, own, at.limit));
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
            let (head, connections) = other.head.get()?;
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
        (head.flow.class, self.score(*head, connections + 1, limit) + slack(*head, than))
    }

    fn score(&self, head: Head, connections: usize, limit: usize) -> u64 {
        let ahead = limits::NODE_AHEAD * STRIDE * connections as u64 / limit.max(1) as u64;
        self.far(head) + ahead / head.weight.max(1)
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
    use std::collections::BTreeMap;

    use super::*;

    const NOW: Instant = Instant(1_000_000_000);
    const LIMIT: usize = 4;

    fn flow(tenant: u32, campaign: u32) -> Flow {
        Flow { class: Priority::Normal, tenant, campaign }
    }

    fn head(tenant: u32, weight: u64) -> Head {
        Head { flow: flow(tenant, 0), weight }
    }

    fn of_class(class: Priority, head: Head) -> Head {
        Head { flow: Flow { class, ..head.flow }, ..head }
    }

    /// A campaign of tenant 9, where all that have mail weigh so much.
    fn of_campaign(campaign: u32, weight: u64) -> Head {
        Head { flow: flow(9, campaign), weight }
    }

    fn place(shard: usize, connections: usize) -> Place {
        Place { shard, connections, limit: LIMIT }
    }

    /// Each of so many shards has mail of these, each with what it weighs: in turn each of the connections is done with a message. How many messages
    /// each had, and how often a connection moved.
    fn share(of_shards: &[&[(Head, u64)]], messages: usize) -> (BTreeMap<Flow, usize>, usize) {
        let shares = NodeShares::new(of_shards.len());
        let (mut had, mut moved) = (BTreeMap::new(), 0);
        let mut connections = [0; LIMIT];
        let behind = |shard: usize| {
            let heads = of_shards[shard].iter().map(|(head, _)| *head);
            heads.min_by_key(|head| shares.far(*head)).expect("it has mail")
        };
        let next = |shard: usize| {
            let order = |(head, weight): &&(Head, u64)| {
                let of_campaign =
                    shares.campaigns(head.flow).map_or(0, |own| own.pass(campaign(head.flow), 1));
                (shares.pass(head.flow.class, head.flow.tenant, *weight), of_campaign)
            };
            *of_shards[shard].iter().min_by_key(order).expect("it has mail")
        };
        for number in 0..messages {
            let count = |of: usize| connections.iter().filter(|shard| **shard == of).count();
            let shard = connections[number % LIMIT];
            for other in (0..of_shards.len()).filter(|other| *other != shard) {
                shares.wait(place(other, count(other)), behind(other));
            }
            if shares.promise(place(shard, count(shard)), behind(shard), false, NOW) {
                let promised = |other: &usize| shares.leave(*other);
                connections[number % LIMIT] = (0..of_shards.len()).find(promised).expect("one has it");
                moved += 1;
            }
            let (head, weight) = next(connections[number % LIMIT]);
            shares.serve(head.flow, weight);
            *had.entry(head.flow).or_insert(0) += 1;
        }
        (had, moved)
    }

    /// The same of one tenant on each of two shards, of such weights.
    fn share_of_two(weights: [u64; 2], messages: usize) -> (Vec<usize>, usize) {
        let heads = [0, 1].map(|shard: usize| [(head(shard as u32, weights[shard]), weights[shard])]);
        let (had, moved) = share(&[&heads[0], &heads[1]], messages);
        (had.into_values().collect(), moved)
    }

    #[test]
    fn connections_settle_where_weights_want_them() {
        for (weights, part) in [([1, 1], 200), ([1, 3], 100), ([30, 10], 300), ([1, 9], 40)] {
            let (had, moved) = share_of_two(weights, 400);
            assert!(had[0].abs_diff(part) <= 12, "{weights:?}: {had:?}");
            assert!(moved <= 20, "{weights:?}: {moved} moves");
        }
        let (had, moved) = share_of_two([2, 1], 6_000);
        assert!(had[0].abs_diff(4_000) <= 30, "{had:?}: what does not come out even is made up for");
        assert!(moved <= 6_000 / 20, "{moved} moves");
    }

    /// Also where they share their shards with others, and one of them has three of its own.
    #[test]
    fn campaigns_of_a_tenant_have_the_same_each_wherever_they_are() {
        let one = |campaign| (of_campaign(campaign, 1), 1);
        let (had, moved) = share(&[&[one(1)], &[one(1)], &[one(1)], &[one(2)]], 1_000);
        assert!(had[&flow(9, 1)].abs_diff(500) <= 15, "{had:?}");
        assert!(moved <= 50, "{moved} moves");
        let (had, moved) = share(&[&[one(1), one(2)], &[one(3)]], 3_000);
        assert!(had.values().all(|had| had.abs_diff(1_000) <= 30), "{had:?}");
        assert!(moved <= 3_000 / 20, "{moved} moves");
        // Half of a tenant's mail, whose other campaign has its shard with another tenant.
        let beside = [(of_campaign(2, 2), 1), (Head { weight: 2, ..head(4, 1) }, 1)];
        let (had, moved) = share(&[&[one(1)], &beside], 2_000);
        let of = |tenant, campaign| had[&flow(tenant, campaign)];
        assert!(of(4, 0).abs_diff(1_000) <= 30, "{had:?}");
        assert!(of(9, 1).abs_diff(500) <= 25 && of(9, 2).abs_diff(500) <= 25, "{had:?}");
        assert!(moved <= 2_000 / 10, "{moved} moves");
    }

    #[test]
    fn several_are_those_of_late() {
        let shares = NodeShares::new(2);
        shares.serve(flow(1, 0), 1);
        assert!(!shares.has_several());
        shares.serve(flow(1, 5), 1);
        shares.serve(flow(1, 6), 1);
        assert!(shares.has_several(), "campaigns of one");
        (0..100).for_each(|_| _ = shares.serve(flow(1, 5), 1));
        assert!(!shares.has_several());
        shares.serve(flow(2, 0), 1);
        assert!(shares.has_several());
    }

    /// Whatever a tenant did not use, its next message waits for one other to end, and a flood of it has no more than a few before the others.
    #[test]
    fn who_comes_is_next_and_not_for_long() {
        let shares = NodeShares::new(2);
        (0..10_000).for_each(|_| _ = shares.serve(flow(0, 0), 1));
        shares.wait(place(1, 0), head(1, 1));
        assert!(shares.promise(place(0, 1), head(0, 1), false, NOW), "the last that is left");
        shares.leave(1);
        let mut had = 0;
        shares.wait(place(0, 0), head(0, 1));
        while !shares.promise(place(1, 1), head(1, 1), false, NOW) {
            shares.serve(flow(1, 0), 1);
            had += 1;
        }
        assert!(had <= 30, "{had}");
    }

    #[test]
    fn what_is_urgent_has_the_connection_and_what_is_not_its_turn() {
        let shares = NodeShares::new(3);
        let high = of_class(Priority::High, head(5, 1));
        (0..100).for_each(|_| _ = shares.serve(high.flow, 1));
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
        let low = of_class(Priority::Low, head(2, 1));
        shares.serve(flow(1, 0), 1);
        (0..20).for_each(|_| _ = shares.serve(flow(0, 0), 1));
        assert!(!shares.is_for_others(0, head(0, 1)), "nobody waits");
        shares.wait_for_rate(1, Some(head(1, 1)));
        assert!(shares.is_for_others(0, head(0, 1)) && shares.is_for_others(2, low));
        assert!(!shares.is_for_others(1, head(1, 1)), "nobody leaves it to himself");
        assert!(!shares.is_for_others(0, of_class(Priority::High, head(0, 1))));
        shares.wait_for_rate(1, Some(head(0, 1)));
        assert!(!shares.is_for_others(0, head(0, 1)), "of the same tenant any shard goes on");
        shares.wait_for_rate(1, None);
        assert!(!shares.is_for_others(2, low));
        (0..20).for_each(|_| _ = shares.serve(flow(9, 1), 1));
        shares.serve(flow(9, 2), 1);
        shares.wait_for_rate(1, Some(of_campaign(2, 1)));
        assert!(shares.is_for_others(0, of_campaign(1, 1)), "another campaign of the same tenant");
        assert!(!shares.is_for_others(0, of_campaign(2, 1)) && !shares.is_for_others(0, of_campaign(3, 1)));
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
    fn a_head_is_what_it_was_behind_its_words() {
        let wish = Wish::default();
        for class in CLASSES {
            let flow = Flow { class, tenant: u32::MAX, campaign: 0xABCD_0123 };
            let head = Head { flow, weight: 64_000_000 };
            wish.put(head, 4_000);
            assert_eq!(wish.get(), Some((head, 4_000)));
        }
        wish.put(head(0, 1 << 40), 100_000);
        assert_eq!(wish.get(), Some((head(0, most(40)), 0xFFF)));
        wish.end();
        assert_eq!(wish.get(), None);
    }
}
