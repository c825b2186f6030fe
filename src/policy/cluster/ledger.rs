//! The leases of one node: what it may use of each limit, and what it asks for.
//!
//! In turns: [`Ledger::observe`] is told what was used of each limit, and says what may be used; [`Ledger::ask`] says what is to be asked for, up to
//! a batch at a time; [`Ledger::answer`] takes what came back. A part that becomes smaller is smaller before anybody is told of it, and what is in use
//! is let go of only when it is not any more: so the sum of what nodes use is within the limit as the sum of leases is.

use std::collections::HashMap;
use std::time::Duration;

use super::Limit;
use super::fair::{Others, fair};
use super::script::{Ask, Grant};
use crate::limits;
use crate::time::Instant;

/// What was used of a limit since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// So many of its units; of a rate as it was since then.
    pub used: u64,
    /// Somebody waited for more.
    pub wanted: bool,
    /// When the latest was taken of a rate; 0: none was.
    pub taken: Instant,
}

/// The leases of a node.
#[derive(Debug)]
pub struct Ledger {
    /// What the node has of each limit while nobody can be asked, as a part of one.
    share: f64,
    /// Nodes there are, as far as is known.
    nodes: u64,
    held: HashMap<Box<str>, Held>,
    /// Whether anybody ever answered.
    heard: bool,
    /// Since when no answer has come to what was asked.
    silent: Option<Instant>,
    /// Until then nobody gets what he had not: the leases were forgotten.
    grace: Instant,
}

#[derive(Debug)]
struct Held {
    limit: Limit,
    /// What was given, and until when.
    units: u64,
    until: Instant,
    /// What is used of that at most.
    aim: u64,
    need: u64,
    /// What others were told of that last.
    told: u64,
    level: u64,
    others: Others,
    /// Whether it was ever answered.
    known: bool,
    /// The latest answer came while leases were forgotten: that it gave nothing says nothing of who has what.
    forgot: bool,
    reading: Reading,
    idle: Option<Instant>,
    /// When it was looked at last.
    seen: Instant,
    due: Instant,
    /// Where nodes take turns: how long this one's lasts, and until when it leaves it to others.
    turn: Instant,
    rests: Instant,
}

/// What a node has of a limit that it has no lease of: its share, or, where an answer is on its way, as much of that as it begins with.
pub fn beginning(limit: Limit, share: f64, whole: bool) -> u64 {
    let share = (limit.most as f64 * share) as u64;
    match share < limit.least {
        true => 0,
        false if whole || limit.eager => share,
        false => (share / limits::CLUSTER_START).max(limit.least),
    }
}

/// How leases stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Limits that there are.
    pub keys: usize,
    /// Those of which the node has a lease.
    pub leased: usize,
    /// Those of which it has its share, as nobody can be asked.
    pub shared: usize,
    /// Those that wait, as the share is too small to be of use.
    pub closed: usize,
}

impl Ledger {
    /// That of a node that has such a share of each limit while nobody can be asked.
    pub fn new(share: f64) -> Ledger {
        Ledger { share, nodes: 1, held: HashMap::new(), heard: false, silent: None, grace: Instant(0) }
    }

    /// So many nodes are there, as was answered.
    pub fn nodes(&mut self, nodes: usize) {
        self.nodes = nodes.max(1) as u64;
        (self.heard, self.silent) = (true, None);
    }

    /// What was asked was not answered.
    pub fn fails(&mut self, now: Instant) {
        self.silent.get_or_insert(now);
    }

    /// This was used of a limit. What may be used of it from now on.
    pub fn observe(&mut self, key: &str, limit: Limit, reading: Reading, now: Instant) -> u64 {
        let busy = reading.used > 0 || reading.wanted;
        // Of what nobody uses no lease is asked for.
        if busy && !self.held.contains_key(key) && self.held.len() < limits::CLUSTER_KEYS_MAX {
            self.held.insert(key.into(), Held::new(limit, now));
        }
        if let Some(held) = self.held.get_mut(key) {
            held.observe(limit, reading, (now, self.nodes));
        }
        self.part(key, limit, now)
    }

    /// What may be used of a limit now.
    pub fn part(&self, key: &str, limit: Limit, now: Instant) -> u64 {
        let (held, share) = (self.held.get(key), self.share_of(limit));
        let is_full = held.is_none() && self.held.len() >= limits::CLUSTER_KEYS_MAX;
        // Where leases were forgotten, who had none has his share, as if nobody could be asked.
        match held.filter(|held| held.says(now)) {
            Some(held) => held.aim.min(held.units),
            None if share == 0 => 0,
            None if self.is_cut_off(now) || is_full => share,
            None if held.is_some_and(|held| held.known) => 0,
            None => beginning(limit, self.share_of_node(), false),
        }
    }

    /// Whether nobody can be asked, or nobody knows who had what.
    pub fn is_cut_off(&self, now: Instant) -> bool {
        self.is_silent(now) || self.grace > now
    }

    /// Whether nobody has answered for a while.
    pub fn is_silent(&self, now: Instant) -> bool {
        !self.heard || self.silent.is_some_and(|since| now.since(since) > limits::CLUSTER_SILENCE)
    }

    fn share_of(&self, limit: Limit) -> u64 {
        beginning(limit, self.share_of_node(), true)
    }

    fn share_of_node(&self) -> f64 {
        self.share.min(1.0 / self.nodes as f64)
    }

    /// What is to be asked now, at most a batch; `used`: what is used of a limit at this moment, which is not let go of.
    pub fn ask(&mut self, now: Instant, used: impl Fn(&str) -> u64) -> Vec<Ask> {
        // What nobody looks at holds no more here, and its lease runs out.
        self.held.retain(|_, held| now.since(held.seen) < limits::CLUSTER_LEASE * 2);
        // Whoever could ask nobody, or nobody who knew, has his share, and says so. Where leases were forgotten that becomes a lease, as far as others
        // have not said that they have it.
        let share = if self.is_cut_off(now) { self.share_of_node() } else { 0.0 };
        let nodes = self.nodes;
        let mut due: Vec<_> = self
            .held
            .iter_mut()
            .filter(|(_, held)| held.due <= now)
            .map(|(key, held)| (held.due, key, held))
            .collect();
        if due.len() > limits::CLUSTER_BATCH {
            due.select_nth_unstable_by_key(limits::CLUSTER_BATCH, |(at, ..)| *at);
            due.truncate(limits::CLUSTER_BATCH);
        }
        let asks: Vec<Ask> =
            due.into_iter().map(|(_, key, held)| held.ask(key, (now, nodes, share), used(key))).collect();
        if !asks.is_empty() {
            self.silent.get_or_insert(now);
        }
        asks
    }

    /// What was answered to these questions, which were sent then; `grace`: so many milliseconds nobody gets what he had not.
    pub fn answer(
        &mut self,
        asked: &[Ask],
        (grace, grants): (u64, &[Grant]),
        (sent, now): (Instant, Instant),
    ) {
        (self.heard, self.silent) = (true, None);
        let grace = Duration::from_millis(grace).min(limits::CLUSTER_LEASE);
        self.grace = if grace.is_zero() { Instant(0) } else { now + grace };
        // Not more than a batch of them a second.
        let batches = u32::try_from(self.held.len() / limits::CLUSTER_BATCH).unwrap_or(u32::MAX);
        let often =
            limits::CLUSTER_SOON.saturating_mul(batches).clamp(limits::CLUSTER_SOON, limits::CLUSTER_RENEW);
        for (ask, grant) in asked.iter().zip(grants) {
            let Some(held) = self.held.get_mut(&ask.key) else { continue };
            held.answer(ask, *grant, (sent, now), (self.nodes, often));
            held.forgot = !grace.is_zero();
            if ask.want == 0 && ask.need == 0 && held.idle.is_some() {
                self.held.remove(&ask.key);
            }
        }
    }

    /// How they stand.
    pub fn standing(&self, now: Instant) -> Standing {
        let mut standing = Standing { keys: self.held.len(), ..Standing::default() };
        let cut_off = self.is_cut_off(now);
        for held in self.held.values() {
            if held.says(now) {
                standing.leased += usize::from(held.units > 0);
            } else if cut_off {
                let has = self.share_of(held.limit) > 0;
                standing.shared += usize::from(has);
                standing.closed += usize::from(!has);
            }
        }
        standing
    }
}

impl Held {
    fn new(limit: Limit, now: Instant) -> Held {
        Held {
            limit,
            units: 0,
            until: Instant(0),
            aim: 0,
            need: 0,
            told: 0,
            level: limit.most,
            others: Others::default(),
            known: false,
            forgot: false,
            reading: Reading::default(),
            idle: None,
            seen: now,
            due: now,
            turn: Instant(0),
            rests: Instant(0),
        }
    }

    fn observe(&mut self, limit: Limit, reading: Reading, (now, nodes): (Instant, u64)) {
        if self.limit != limit {
            // By a reload.
            (self.limit, self.level, self.due) = (limit, limit.most, now);
        }
        self.seen = now;
        // What is more than that shows at once: somebody waits.
        let padded = reading.used + reading.used / limits::CLUSTER_SPARE;
        // An even part first: who begins with little would take what others need, who begin at the same time.
        let even = limit.most / nodes;
        let more = if self.aim < even { even } else { limit.most };
        let more = if reading.wanted { more } else { 0 };
        // What was needed for a moment is let go of fast, what was needed just now is not: a rate that is cut to a low moment of it stays low.
        let still = if self.need / 2 > padded { self.need / 2 } else { self.need / 8 * 7 };
        let need = padded.max(still).max(more);
        self.need = need.min(limit.most);
        // Others hear at once of what is far more than they know of, or more where all was given that was asked for; and of what is less where they
        // want it.
        let is_wanted = self.others.large > 0 || self.told > even;
        let less = is_wanted && self.need < self.told / 4 * 3 && self.told - self.need > even / 16;
        let given = self.need > self.told && self.units >= self.told;
        if self.known && (less || given || self.need / 2 > self.told) {
            self.due = self.due.min(now);
        }
        let busy = reading.used > 0 || reading.wanted;
        self.reading = reading;
        if busy {
            if self.idle.take().is_some() && self.until <= now {
                // It is as new.
                self.due = now;
            }
        } else {
            self.need = 0;
            self.idle.get_or_insert(now);
        }
        self.aim = self.aim.min(self.wanted(now, nodes).1);
    }

    /// Whether the latest answer holds.
    fn says(&self, now: Instant) -> bool {
        self.until > now && (self.units > 0 || !self.forgot)
    }

    /// Whether what was taken of a slow rate lets another node begin.
    fn is_over(&self, now: Instant) -> bool {
        self.reading.taken == Instant(0) || now.since(self.reading.taken) >= self.limit.each
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.idle.is_some_and(|since| now.since(since) >= limits::CLUSTER_LEASE) && self.is_over(now)
    }

    /// The level, and what the node should have.
    fn wanted(&self, now: Instant, nodes: u64) -> (u64, u64) {
        let Limit { most, least, .. } = self.limit;
        let fair = fair(most, self.need, self.others, nodes);
        if self.is_idle(now) {
            return (fair.level, 0);
        }
        if fair.level >= least {
            return (fair.level, fair.part.max(least));
        }
        let has = self.units >= least && self.until > now;
        let part = match has {
            true if now < self.turn || !self.others.need_any() => least,
            true => 0,
            false if now < self.rests || self.idle.is_some() => 0,
            false => least,
        };
        (fair.level, part)
    }

    fn ask(&mut self, key: &str, (now, nodes, share): (Instant, u64, f64), used: u64) -> Ask {
        let (level, part) = self.wanted(now, nodes);
        let has = if self.until > now { self.units } else { 0 };
        let held = if has > 0 { has } else { beginning(self.limit, share, true) };
        if part < self.aim {
            self.aim = part;
        }
        self.level = level.max(1);
        // Connections that are open, and what a slow rate let begin, are not let go of.
        let kept = if self.limit.stays { used.min(has) } else { 0 };
        let kept = if self.is_over(now) { kept } else { has };
        let want = part.max(kept);
        if part == 0 && has > 0 && kept == 0 && !self.is_idle(now) {
            self.rests = now + limits::CLUSTER_REST;
        }
        // Until it is answered it is not asked again.
        self.due = now + limits::CLUSTER_SOON;
        let lease = limits::CLUSTER_LEASE.as_millis() as u64;
        let rest = if self.is_over(now) {
            0
        } else {
            let rest = self.limit.each.saturating_sub(now.since(self.reading.taken));
            u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)
        };
        let rotates = level < self.limit.least && part > 0;
        let need = if rotates { self.need.max(part) } else { self.need };
        self.told = need;
        Ask {
            key: key.into(),
            limit: self.limit,
            want,
            need,
            level: self.level,
            held,
            lasts: lease.max(rest.saturating_add(1)),
        }
    }

    fn answer(
        &mut self,
        ask: &Ask,
        grant: Grant,
        (sent, now): (Instant, Instant),
        (nodes, often): (u64, Duration),
    ) {
        let had = self.until > now && self.units > 0;
        self.units = grant.units;
        self.until = sent + (Duration::from_millis(ask.lasts) - limits::CLUSTER_MARGIN);
        self.others = grant.others;
        self.known = true;
        if !had && grant.units > 0 {
            self.turn = now + limits::CLUSTER_LEASE.max(self.limit.each.min(limits::CLUSTER_LEASE * 6));
        }
        let (level, part) = self.wanted(now, nodes);
        self.aim = part.min(grant.units);
        let rotates = level < self.limit.least;
        // The level that others were told by is the one that came of it.
        let is_level = level.abs_diff(self.level) <= level / 32;
        let settled = grant.units >= part && is_level && !rotates;
        // Who has more than an even part hears soon of others that begin, and who wants more of others that need less.
        let is_uneven = nodes > 1 && (grant.units > self.limit.most / nodes || grant.units < self.need);
        self.level = level.max(1);
        self.due = now
            + match settled {
                true if is_uneven => often,
                true => limits::CLUSTER_RENEW,
                false => limits::CLUSTER_SOON,
            };
    }
}
