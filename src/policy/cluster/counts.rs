//! Counts that hold for all nodes together: quotas, and volumes of warm-up. What one node may give out of each.
//!
//! A node is granted so much of a count in all, by a little more than it has given out, and asks for more before it needs it: so nobody waits as a rule. A
//! question says what the node should have in all and what it has, so that one that is asked again takes nothing twice, and a store that forgot learns
//! it again. Where nobody can be asked a node gives out what it was granted, and its share of what was left when it heard last, once.
//!
//! What is granted is never more than all of it; what nodes give out by their shares comes on top, as far as others were granted the same.

use std::collections::HashMap;
use std::time::Duration;

use super::count_script::{CountAnswer, CountAsk, CountGrant, CountKey, Marks};
use crate::limits;
use crate::time::Instant;

/// A count as its node knows it, which keeps on disk what it gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// All of it.
    pub most: u32,
    /// What this node has given out.
    pub used: u32,
    /// What it gives out at once as a rule.
    pub block: u32,
    /// How long it lasts altogether.
    pub length: Duration,
    /// From now on.
    pub left: Duration,
    /// The next one has as much.
    pub recurs: bool,
}

/// What a node may give out of a count now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// So much more than it has.
    pub left: u32,
    /// What holds of the rest.
    pub then: Then,
}

/// Why there is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More was asked for, which is answered soon.
    Wait,
    /// All nodes together have all of it.
    Over,
    /// Nobody can be asked, and this is the node's share.
    Away,
}

/// Whoever says how much a node may give out.
pub trait Credits {
    /// Of this period of a count; so much is wanted at least. As much of it as that, or a block, counts as given out until [`Credits::gave`] says what was.
    fn room(&mut self, name: &str, number: u32, count: Count, wanted: u32) -> Room;
    /// So much of it is given out in all.
    fn gave(&mut self, name: &str, number: u32, used: u32);
    /// This is what was given out before now: others hear of it where that was forgotten.
    fn note(&mut self, name: &str, number: u32, count: Count);
    /// What others were granted of it; None: there are none, or that was not heard.
    fn others(&self, name: &str, number: u32) -> Option<u32>;
    /// What all know of it, where this is what the node does, and whether others were asked. None: they are, which is answered soon.
    fn marks(&mut self, name: &str, number: u32, count: Count, own: Marks) -> Option<(Marks, bool)>;
}

/// There are no other nodes.
#[derive(Clone, Copy, Debug)]
pub struct NoOthers;

impl Credits for NoOthers {
    fn room(&mut self, _: &str, _: u32, _: Count, _: u32) -> Room {
        Room { left: u32::MAX, then: Then::Over }
    }

    fn gave(&mut self, _: &str, _: u32, _: u32) {}

    fn note(&mut self, _: &str, _: u32, _: Count) {}

    fn others(&self, _: &str, _: u32) -> Option<u32> {
        None
    }

    fn marks(&mut self, _: &str, _: u32, _: Count, own: Marks) -> Option<(Marks, bool)> {
        Some((own, true))
    }
}

/// What this node was granted of all counts.
#[derive(Debug)]
pub struct CountLedger {
    share: f64,
    nodes: u64,
    items: HashMap<CountKey, Item>,
    /// Since when something is waited for.
    silent: Option<Instant>,
    /// The last question was not answered, or not in time.
    failed: bool,
    slow: bool,
    /// Until then nothing is granted: what was before is forgotten.
    grace: Instant,
    /// Since when the store knows what is granted.
    began: u64,
    /// The number of the last question.
    turn: u64,
}

#[derive(Debug)]
struct Item {
    count: Count,
    /// What the node was granted in all.
    granted: u32,
    /// What others were; None: that was never heard.
    others: Option<u32>,
    /// What it may give out in all while nobody can be asked; None: it did not come to that.
    alone: Option<u32>,
    /// So much more than is used is waited for.
    wanted: u32,
    /// There was not as much as was asked for: until then that is taken to be so.
    short: Instant,
    marks: Marks,
    /// When it was answered last, and since when it is over as far as anybody asked.
    heard: Instant,
    over: Option<Instant>,
    ends: Instant,
    /// When some was used or wanted last.
    active: Instant,
    due: Instant,
}

/// How counts stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountStanding {
    /// How many there are.
    pub counts: usize,
    /// Of how many the node gives out its share.
    pub alone: usize,
}

impl CountLedger {
    /// That of a node that has such a share of each count while nobody can be asked.
    pub fn new(share: f64) -> CountLedger {
        let nodes = (1.0 / share).ceil() as u64;
        let (items, silent) = Default::default();
        let (failed, slow, grace) = (false, false, Instant(0));
        CountLedger { share, nodes, items, silent, failed, slow, grace, began: 0, turn: 0 }
    }

    /// So many nodes are there.
    pub fn nodes(&mut self, nodes: usize) {
        self.nodes = nodes.max(1) as u64;
    }

    /// What may be given out of a count, of which so much is wanted at least, and whether more is to be asked for at once. What is taken of it is taken from
    /// then on: whoever gives less says so ([`CountLedger::gave`]).
    pub fn room(&mut self, key: &CountKey, count: Count, wanted: u32, now: Instant) -> (Room, bool) {
        let (room, asks) = self.look(key, count, wanted, now);
        if let Some(item) = self.items.get_mut(key).filter(|_| room.left >= wanted || room.then != Then::Wait)
        {
            item.count.used = count.used.saturating_add(room.left.min(count.block.max(wanted)));
        }
        (room, asks)
    }

    /// So much of a count is given out in all.
    pub fn gave(&mut self, key: &CountKey, used: u32) {
        if let Some(item) = self.items.get_mut(key) {
            item.count.used = used;
        }
    }

    fn look(&mut self, key: &CountKey, count: Count, wanted: u32, now: Instant) -> (Room, bool) {
        let (cut_off, share, nodes) = (self.is_cut_off(now), self.share_of_node(), self.nodes);
        let Some(item) = self.take_up(key, count, now) else {
            // There are too many: its share, and no more.
            let left = part(count.most, share).saturating_sub(count.used);
            return (Room { left, then: Then::Away }, false);
        };
        item.active = now;
        let credit = item.granted.saturating_sub(count.used);
        let is_short = item.short > now;
        if credit >= wanted.max(1) {
            let next = credit.saturating_sub(count.block.max(wanted));
            let asks = next <= item.ahead(nodes) / 2 && !item.is_all_given() && !is_short;
            if asks {
                item.due = item.due.min(now);
            }
            return (Room { left: credit, then: Then::Wait }, asks && !cut_off);
        }
        if count.used >= count.most {
            return (Room { left: 0, then: Then::Over }, false);
        }
        item.wanted = item.wanted.max(wanted).max(1);
        item.due = item.due.min(if is_short { item.short } else { now });
        if cut_off {
            let left = item.alone(share).saturating_sub(count.used);
            let then = if item.is_all_given() { Then::Over } else { Then::Away };
            return (Room { left, then }, false);
        }
        if is_short {
            return (Room { left: credit, then: Then::Over }, false);
        }
        self.silent.get_or_insert(now);
        (Room { left: credit, then: Then::Wait }, true)
    }

    /// What all know of a count, with whether others were asked; and whether that is to be done at once. None: it is waited for.
    pub fn marks(
        &mut self,
        key: &CountKey,
        count: Count,
        own: Marks,
        now: Instant,
    ) -> (Option<(Marks, bool)>, bool) {
        let cut_off = self.is_cut_off(now);
        let Some(item) = self.take_up(key, count, now) else { return (Some((own, false)), false) };
        let all = item.marks.join(own);
        let is_news = item.marks != all;
        item.marks = all;
        // Of a period that is over it counts what is known since.
        let since = if count.left.is_zero() { *item.over.get_or_insert(now) } else { Instant(1) };
        let is_known = item.heard >= since;
        if is_news || !is_known {
            item.due = item.due.min(now);
        }
        if is_known || cut_off {
            return (Some((all, is_known)), is_news && !cut_off);
        }
        self.silent.get_or_insert(now);
        (None, true)
    }

    /// This is what the node has given out: others hear of it where that was forgotten.
    pub fn note(&mut self, key: &CountKey, count: Count, now: Instant) {
        let is_new = !self.items.contains_key(key);
        if let Some(item) = self.take_up(key, count, now).filter(|_| is_new) {
            item.active = Instant(0);
        }
    }

    fn take_up(&mut self, key: &CountKey, count: Count, now: Instant) -> Option<&mut Item> {
        if !self.items.contains_key(key) {
            if self.items.len() >= limits::COUNTS_MAX {
                return None;
            }
            self.items.insert(key.clone(), Item::new(count, now));
        }
        let item = self.items.get_mut(key)?;
        (item.count, item.ends) = (count, now + count.left);
        Some(item)
    }

    /// What others were granted of a count, as far as that was heard.
    pub fn others(&self, key: &CountKey) -> Option<u32> {
        self.items.get(key)?.others
    }

    /// Whether an answer is to be had soon even where nothing is due: it is not known whether there is one.
    pub fn is_in_doubt(&self) -> bool {
        self.failed || self.slow
    }

    /// Whether nobody can be asked, or nobody knows who had what, or it takes too long.
    pub fn is_cut_off(&self, now: Instant) -> bool {
        let is_late = |since| now.since(since) > limits::COUNT_WAIT;
        self.failed || self.slow || self.grace > now || self.silent.is_some_and(is_late)
    }

    fn share_of_node(&self) -> f64 {
        self.share.min(1.0 / self.nodes as f64)
    }

    /// What is to be asked now, at most a batch; `wall`: milliseconds of the clock, for the numbers of questions.
    pub fn ask(&mut self, now: Instant, wall: u64) -> Vec<CountAsk> {
        self.items.retain(|_, item| item.ends + limits::COUNT_IDLE > now);
        self.begin_next(now);
        let mut due: Vec<_> = self.items.iter_mut().filter(|(_, item)| item.due <= now).collect();
        if due.len() > limits::CLUSTER_BATCH {
            due.select_nth_unstable_by_key(limits::CLUSTER_BATCH, |(_, item)| item.due);
            due.truncate(limits::CLUSTER_BATCH);
        }
        self.turn = wall.max(self.turn + 1);
        let (nodes, turn, tells) = (self.nodes, self.turn, self.failed || self.grace > now);
        let asks: Vec<CountAsk> =
            due.into_iter().map(|(key, item)| item.ask(key, (nodes, turn, tells), now)).collect();
        if !asks.is_empty() {
            self.silent.get_or_insert(now);
        }
        asks
    }

    /// Of what is in use the next period is asked for before it begins.
    fn begin_next(&mut self, now: Instant) {
        let soon = |item: &&Item| {
            item.count.recurs
                && item.is_active(now)
                && item.ends > now
                && item.ends < now + limits::COUNT_NEXT
        };
        let next: Vec<(CountKey, Count)> = self
            .items
            .iter()
            .filter(|(_, item)| soon(item))
            .map(|((name, number), item)| {
                let left = item.ends.since(now) + item.count.length;
                ((name.clone(), number.saturating_add(1)), Count { used: 0, left, ..item.count })
            })
            .filter(|(key, _)| !self.items.contains_key(key))
            .collect();
        for (key, count) in next {
            if let Some(item) = self.take_up(&key, count, now) {
                item.active = now;
            }
        }
    }

    /// What was answered to these questions, which were sent then.
    pub fn answer(&mut self, asked: &[CountAsk], answer: &CountAnswer, (sent, now): (Instant, Instant)) {
        let forgot = std::mem::replace(&mut self.began, answer.began) != answer.began;
        // Whoever could ask nobody has given out what others have not heard of; and they are told what was forgotten.
        let tells_all = forgot || self.failed;
        let grace = Duration::from_millis(answer.grace).min(limits::CLUSTER_LEASE);
        // As long as it takes all who could ask nobody to tell what they gave out, nobody gets more.
        let wait = if self.failed { limits::COUNT_TOLD.max(grace) } else { grace };
        self.grace = self.grace.max(now + wait);
        let waits = self.grace > now;
        (self.silent, self.failed, self.slow) = (None, false, now.since(sent) > limits::COUNT_WAIT);
        if tells_all {
            self.items.values_mut().filter(|item| item.has_any()).for_each(|item| item.due = now);
        }
        for (ask, grant) in asked.iter().zip(&answer.grants) {
            if let Some(item) = self.items.get_mut(&ask.key) {
                item.answer(ask, *grant, (waits, now));
            }
        }
    }

    /// What was asked was not answered.
    pub fn fails(&mut self, now: Instant) {
        self.failed = true;
        self.silent.get_or_insert(now);
    }

    /// How they stand.
    pub fn standing(&self, now: Instant) -> CountStanding {
        let cut_off = self.is_cut_off(now);
        let alone = self.items.values().filter(|item| cut_off && item.alone.is_some()).count();
        CountStanding { counts: self.items.len(), alone }
    }
}

/// A share of a count.
fn part(most: u32, share: f64) -> u32 {
    (f64::from(most) * share) as u32
}

impl Item {
    fn new(count: Count, now: Instant) -> Item {
        Item {
            count,
            granted: 0,
            others: None,
            alone: None,
            wanted: 0,
            short: Instant(0),
            marks: Marks::default(),
            heard: Instant(0),
            over: None,
            ends: now,
            active: now,
            due: now,
        }
    }

    fn has_any(&self) -> bool {
        self.count.used > 0 || self.granted > 0 || self.marks != Marks::default()
    }

    fn is_active(&self, now: Instant) -> bool {
        self.active != Instant(0) && now.since(self.active) < limits::COUNT_IDLE
    }

    /// What is left of it for all, as far as that is known.
    fn left(&self) -> u32 {
        self.count.most.saturating_sub(self.others.unwrap_or(0)).saturating_sub(self.count.used)
    }

    fn is_all_given(&self) -> bool {
        let granted = self.granted.max(self.count.used);
        self.others.is_some_and(|others| others.saturating_add(granted) >= self.count.most)
    }

    /// What a node has before it needs it: the less there is left, the less.
    fn ahead(&self, nodes: u64) -> u32 {
        let part = u64::from(self.left()) / (limits::COUNT_AHEAD_PART * nodes);
        let blocks = self.count.block.saturating_mul(limits::COUNT_AHEAD);
        u32::try_from(part).unwrap_or(u32::MAX).min(blocks).max(1)
    }

    /// What it may give out in all while nobody can be asked: the same until somebody can.
    fn alone(&mut self, share: f64) -> u32 {
        let left = self.count.most.saturating_sub(self.others.unwrap_or(0)).saturating_sub(self.granted);
        let most = self.granted.saturating_add(part(left, share));
        *self.alone.get_or_insert(most)
    }

    fn ask(&mut self, key: &CountKey, (nodes, turn, tells): (u64, u64, bool), now: Instant) -> CountAsk {
        let Count { most, used, .. } = self.count;
        let more = if self.is_active(now) { self.ahead(nodes).max(self.wanted) } else { 0 };
        let want = used.saturating_add(more).min(most);
        let want = if tells { want.min(self.granted) } else { want };
        // What goes back is not used from now on.
        self.granted = self.granted.min(want).max(used.min(self.granted));
        self.due = now + limits::CLUSTER_SOON;
        let lasts = self.count.length.clamp(limits::COUNT_KEPT_LEAST, limits::COUNT_KEPT_MOST);
        let kept = self.ends.since(now) + lasts;
        CountAsk {
            key: key.clone(),
            most,
            want: want.max(used),
            held: self.granted.max(used),
            turn,
            kept: u64::try_from(kept.as_millis()).unwrap_or(u64::MAX),
            marks: self.marks,
        }
    }

    fn answer(&mut self, ask: &CountAsk, grant: CountGrant, (forgot, now): (bool, Instant)) {
        // Whoever answers may be anybody: no more than was asked for.
        self.granted = grant.granted.min(ask.want).max(ask.held);
        let others = grant.total.saturating_sub(grant.granted);
        (self.marks, self.heard) = (self.marks.join(grant.marks), now);
        if forgot {
            self.others = self.others.map(|known| known.max(others));
            self.due = now + limits::CLUSTER_SOON;
            return;
        }
        (self.others, self.alone) = (Some(others), None);
        let is_short = self.granted < ask.want;
        // What others give back is found.
        self.short = if is_short { now + limits::CLUSTER_RENEW } else { Instant(0) };
        let again = if is_short && self.wanted > 0 { limits::CLUSTER_RENEW } else { limits::COUNT_RENEW };
        self.due = if self.is_active(now) { now + again } else { Instant::FAR };
        if !is_short {
            self.wanted = 0;
        }
        if self.count.used > self.granted {
            self.due = now;
        }
    }
}
