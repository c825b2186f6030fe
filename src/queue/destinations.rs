//! The queues of one shard: groups wait in their domain, domains in their site.
//!
//! Pure. A *domain* is what the home-shard hash routes; a *site* is the set of hosts it resolves to, and what limits and
//! back-off apply to. The driver (`shard::outbound::dispatch`) carries out the [`Effect`]s.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use crate::queue::Group;

mod closed;
mod domain;
mod moved;
mod put_back;
mod ring;
mod unanswered;
#[cfg(test)]
use domain::LEAVING_MAX;
use domain::{Deferred, Domain, RESOLVED_FOR};
use ring::{Ring, Turn};
pub use unanswered::Unanswered;

/// Names a domain of this shard while it has mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainKey(u32);

/// Names a site of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteKey(u32);

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Resolve this domain and call [`Destinations::resolved`] or [`Destinations::unresolved`].
    Resolve(DomainKey, Rc<str>),
    /// This site may have work for a connection.
    Pump(SiteKey),
}

/// What a connection that asks for work gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// A group to deliver, and its domain. One credit of its lane is taken.
    Job(DomainKey, Group),
    /// A group that is past its expiry: settle it as expired. One credit is taken.
    Expired(DomainKey, Group),
    /// Nothing may be started now.
    Nothing,
}

#[derive(Debug, Default)]
struct Site {
    name: Rc<str>,
    /// Domains with ready groups, served in turn.
    ring: Ring<DomainKey>,
    ready: usize,
    /// Domains that lead here.
    domains: u32,
    /// It is in the list of those that found no credit.
    starved: bool,
    /// No attempt before this time (seconds of the queues' clock): the site as a whole failed.
    closed_until: u32,
    failures: u32,
    /// While it is closed: which of its groups is looked at next, by the places of domain and group.
    looked: (usize, usize),
    /// And at which domain of the ring it is looked next for what is too old.
    aged: usize,
}

/// A site that failed is remembered so long (seconds) after it was to be tried again, so that its pauses grow.
const FAILURES_REMEMBERED: u32 = 900;

/// Domains of a failed site asked for again in one tick; the others wait for its next turn.
const RESOLVED_AGAIN_MAX: usize = 500;

/// All queues of one shard.
#[derive(Debug)]
pub struct Destinations {
    domains: Vec<Option<Domain>>,
    free_domains: Vec<u32>,
    by_name: HashMap<Rc<str>, DomainKey>,
    sites: Vec<Site>,
    free_sites: Vec<u32>,
    by_site: HashMap<Rc<str>, SiteKey>,
    /// When domains have something due. An entry counts if its domain says the same time.
    due: BinaryHeap<Reverse<(u32, DomainKey)>>,
    site_due: BinaryHeap<Reverse<(u32, SiteKey)>>,
    /// Outcome credits of each lane that this shard holds.
    credits: Vec<u32>,
    /// Sites that found no credit for the head of their ring.
    starved: Vec<SiteKey>,
    /// Domains that were found without mail, and when: mail of the next moment finds their site.
    leaving: VecDeque<(u32, DomainKey)>,
    /// Which group is looked at next of those whose domain is asked for, by the places of domain and group.
    listened: (usize, usize),
    /// The last number of a turn in a ring.
    turns: u32,
    now: u32,
    queued: usize,
    /// Groups a connection could take now, those of closed sites included.
    crowd: usize,
}

impl Destinations {
    /// Empty queues, with so many outcome credits for each lane.
    pub fn new(credits: Vec<u32>) -> Destinations {
        Destinations {
            domains: Vec::new(),
            free_domains: Vec::new(),
            by_name: HashMap::new(),
            sites: Vec::new(),
            free_sites: Vec::new(),
            by_site: HashMap::new(),
            due: BinaryHeap::new(),
            site_due: BinaryHeap::new(),
            credits,
            starved: Vec::new(),
            leaving: VecDeque::new(),
            listened: (0, 0),
            turns: 0,
            now: 0,
            queued: 0,
            crowd: 0,
        }
    }

    /// Recipients queued here, those under way included.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Groups that wait for nothing but a connection.
    pub fn crowd(&self) -> usize {
        self.crowd
    }

    /// The site of a domain, while it has one.
    pub fn site_of(&self, domain: DomainKey) -> Option<SiteKey> {
        self.domain(domain)?.site
    }

    /// Whether nothing is started at a site now.
    pub fn is_closed(&self, site: SiteKey, now: u32) -> bool {
        self.sites[site.0 as usize].closed_until > now
    }

    /// The domain's name.
    pub fn name(&self, domain: DomainKey) -> &str {
        self.domain(domain).map_or("", |domain| &domain.name)
    }

    fn domain(&self, key: DomainKey) -> Option<&Domain> {
        self.domains.get(key.0 as usize)?.as_ref()
    }

    fn domain_mut(&mut self, key: DomainKey) -> Option<&mut Domain> {
        self.domains.get_mut(key.0 as usize)?.as_mut()
    }

    /// Who brought mail for the domain last, a hash; whatever is asked for it again is asked on his behalf.
    pub fn client(&self, domain: DomainKey) -> u32 {
        self.domain(domain).map_or(0, |domain| domain.client)
    }

    /// Queues a group of nobody in particular. `name` is lower case.
    pub fn push(&mut self, name: &str, group: Group, now: u32) -> Option<Effect> {
        self.push_for(name, group, now, 0)
    }

    /// Queues a group that `client` brought.
    pub fn push_for(&mut self, name: &str, group: Group, now: u32, client: u32) -> Option<Effect> {
        self.queued += usize::from(group.count);
        self.now = now;
        let key = match self.by_name.get(name) {
            Some(key) => *key,
            None => self.new_domain(name),
        };
        if let Some(domain) = self.domain_mut(key) {
            domain.client = client;
            let rests = domain.active == 0 && !domain.in_ring;
            if rests && domain.since.saturating_add(RESOLVED_FOR) <= now {
                self.lead(key, None);
            }
        }
        self.enqueue(key, group, now)
    }

    fn new_domain(&mut self, name: &str) -> DomainKey {
        let name: Rc<str> = name.into();
        let domain = Domain::new(name.clone());
        let key = match self.free_domains.pop() {
            Some(slot) => {
                self.domains[slot as usize] = Some(domain);
                DomainKey(slot)
            }
            None => {
                self.domains.push(Some(domain));
                DomainKey(u32::try_from(self.domains.len() - 1).expect("fewer than 2^32 domains"))
            }
        };
        self.by_name.insert(name, key);
        key
    }

    fn enqueue(&mut self, key: DomainKey, group: Group, now: u32) -> Option<Effect> {
        let domain = self.domain_mut(key)?;
        if group.not_before > now {
            let due = group.due();
            if domain.deferred.len() == domain.deferred.capacity() {
                // By a quarter and not by as much again: most of what waits for long waits here.
                domain.deferred.reserve_exact(domain.deferred.len() / 4 + 1);
            }
            domain.deferred.push(Deferred(group));
            self.wake(key, due);
            return None;
        }
        domain.ready.push_back(group);
        self.activate(key, 1)
    }

    /// The domain is looked at by the tick of this time.
    fn wake(&mut self, key: DomainKey, at: u32) {
        let at = at.max(1);
        let Some(domain) = self.domain_mut(key) else { return };
        if domain.wakes != 0 && domain.wakes <= at {
            return;
        }
        domain.wakes = at;
        self.due.push(Reverse((at, key)));
        if self.due.len() > 2 * self.by_name.len() + 1024 {
            let domains = &self.domains;
            let counts = |key: &DomainKey, at: u32| {
                domains[key.0 as usize].as_ref().is_some_and(|domain| domain.wakes == at)
            };
            self.due.retain(|Reverse((at, key))| counts(key, *at));
        }
    }

    /// A domain whose mail all waits for a later time needs no room for more, and no site: it asks for that again then.
    fn rest(&mut self, key: DomainKey) {
        let Some(domain) = self.domain_mut(key) else { return };
        let waits = domain.active == 0 && domain.ready.is_empty() && !domain.resolving && !domain.in_ring;
        if waits && !domain.deferred.is_empty() {
            domain.ready = VecDeque::new();
            self.lead(key, None);
        }
    }

    /// The domain leads there now.
    fn lead(&mut self, key: DomainKey, site: Option<SiteKey>) {
        let Some(domain) = self.domain_mut(key) else { return };
        let before = std::mem::replace(&mut domain.site, site);
        if let Some(before) = before {
            self.sites[before.0 as usize].domains -= 1;
        }
        if let Some(site) = site {
            self.sites[site.0 as usize].domains += 1;
        }
    }

    /// A domain left the ring of its site with nothing ready.
    fn left_ring(&mut self, key: DomainKey) {
        if let Some(domain) = self.domain_mut(key) {
            domain.in_ring = false;
        }
        self.rest(key);
        self.release_if_empty(key);
    }

    /// A domain got ready groups: into its site's ring, or to the resolver.
    fn activate(&mut self, key: DomainKey, groups: usize) -> Option<Effect> {
        let now = self.now;
        let domain = self.domains.get_mut(key.0 as usize)?.as_mut()?;
        let Some(site) = domain.site else {
            if !domain.is_first_asked(now) {
                return None;
            }
            return Some(Effect::Resolve(key, domain.name.clone()));
        };
        let state = &mut self.sites[site.0 as usize];
        state.ready += groups;
        self.crowd += groups;
        if !domain.in_ring {
            self.turns = self.turns.wrapping_add(1);
            (domain.in_ring, domain.turn) = (true, self.turns);
            state.ring.push(Turn { key, number: self.turns });
        }
        Some(Effect::Pump(site))
    }

    /// The key of the site of this canonical name.
    pub fn site(&mut self, name: &str) -> SiteKey {
        if let Some(site) = self.by_site.get(name) {
            return *site;
        }
        let name: Rc<str> = name.into();
        let site = Site { name: name.clone(), ..Site::default() };
        let new = match self.free_sites.pop() {
            Some(slot) => {
                self.sites[slot as usize] = site;
                SiteKey(slot)
            }
            None => {
                self.sites.push(site);
                SiteKey(u32::try_from(self.sites.len() - 1).expect("fewer than 2^32 sites"))
            }
        };
        self.by_site.insert(name, new);
        new
    }

    /// Forgets sites no domain belongs to and nobody is `busy` with, so that memory follows the queue: of these slots, as not all are
    /// looked at in one turn.
    pub fn forget_idle_sites(
        &mut self,
        now: u32,
        slots: Range<usize>,
        busy: impl Fn(SiteKey) -> bool,
    ) -> Vec<SiteKey> {
        let mut forgotten = Vec::new();
        for slot in slots.start..slots.end.min(self.sites.len()) {
            let site = &mut self.sites[slot];
            let key = SiteKey(slot as u32);
            let until = site.closed_until + if site.failures > 0 { FAILURES_REMEMBERED } else { 0 };
            let idle = site.domains == 0 && site.ring.is_empty() && until <= now;
            if idle && self.by_site.get(&site.name) == Some(&key) && !busy(key) {
                self.by_site.remove(&site.name);
                *site = Site::default();
                self.free_sites.push(key.0);
                forgotten.push(key);
            }
        }
        forgotten
    }

    /// The domain resolves to the site of this name (a canonical one: equal sites have equal names).
    /// The site, if it has something to do now.
    pub fn resolved(&mut self, key: DomainKey, site: &str) -> Option<SiteKey> {
        let site = self.site(site);
        let now = self.now;
        match self.domain_mut(key)?.site {
            None => {}
            // It was asked for again while its mail was under way.
            Some(before) if before == site => {
                self.domain_mut(key)?.since = now;
                self.goes_on(key);
                return None;
            }
            Some(_) => self.leave_site(key),
        }
        self.lead(key, Some(site));
        let domain = self.domain_mut(key)?;
        domain.resolving = false;
        domain.since = now;
        let ready = domain.ready.len();
        if ready == 0 {
            self.release_if_empty(key);
            return None;
        }
        self.activate(key, ready);
        Some(site)
    }

    /// Groups that wait to hear where their domain leads.
    pub fn unrouted(&self, key: DomainKey) -> usize {
        self.domain(key).map_or(0, |domain| domain.ready.len())
    }

    /// The domain does not resolve (yet): the first of its ready groups, its credit taken, so that the caller settles it. None: there
    /// is none, or no credit for it. To be ended with [`Destinations::unresolved`].
    pub fn take_unresolved(&mut self, key: DomainKey) -> Option<Group> {
        let domain = self.domains.get_mut(key.0 as usize)?.as_mut()?;
        let group = *domain.ready.front()?;
        let credit = self.credits.get_mut(usize::from(group.location.lane)).filter(|credit| **credit > 0)?;
        *credit -= 1;
        domain.active += 1;
        domain.ready.pop_front()
    }

    /// That is all for now: for what is left of its groups the domain is asked for again by [`Destinations::tick`].
    pub fn unresolved(&mut self, key: DomainKey, now: u32, retry_in: u32) {
        let Some(domain) = self.domain_mut(key) else { return };
        domain.resolving = false;
        if !domain.ready.is_empty() {
            self.wake(key, now + retry_in.max(1));
        }
        self.rest(key);
        self.release_if_empty(key);
    }

    /// Work for a connection of this site.
    pub fn take(&mut self, site: SiteKey, now: u32) -> Take {
        let state = &self.sites[site.0 as usize];
        if state.closed_until > now {
            return Take::Nothing;
        }
        // Each domain of the ring is looked at once at most: one whose lane has no credit is passed over.
        for _ in 0..state.ring.places() {
            let state = &mut self.sites[site.0 as usize];
            let Some(turn) = state.ring.pop() else { break };
            let (key, Some(domain)) = (turn.key, domain::at_mut(&mut self.domains, turn)) else {
                state.ring.met();
                continue;
            };
            let Some(group) = domain.ready.front().copied() else {
                self.left_ring(key);
                continue;
            };
            let credit = self.credits.get_mut(usize::from(group.location.lane)).filter(|credit| **credit > 0);
            let Some(credit) = credit else {
                state.ring.push(turn);
                if !std::mem::replace(&mut state.starved, true) {
                    self.starved.push(site);
                }
                continue;
            };
            *credit -= 1;
            domain.ready.pop_front();
            domain.active += 1;
            state.ready -= 1;
            self.crowd -= 1;
            if domain.ready.is_empty() {
                domain.in_ring = false;
            } else {
                state.ring.push(turn);
            }
            return if group.is_expired(now) { Take::Expired(key, group) } else { Take::Job(key, group) };
        }
        Take::Nothing
    }

    /// Whether no connection of this site would get work now, as the credits of its lanes are all out. It is asked to pump
    /// when some come home.
    pub fn is_starved(&mut self, site: SiteKey) -> bool {
        const LOOKED_AT: usize = 64;
        let takes = |turn| {
            // Behind one that left there may be others.
            let Some(domain) = domain::at(&self.domains, turn) else { return true };
            let lane = domain.ready.front().map(|group| group.location.lane);
            lane.is_some_and(|lane| self.credits.get(usize::from(lane)).is_some_and(|credits| *credits > 0))
        };
        let state = &mut self.sites[site.0 as usize];
        if state.ring.iter().take(LOOKED_AT).any(takes) {
            return false;
        }
        if !std::mem::replace(&mut state.starved, true) {
            self.starved.push(site);
        }
        true
    }

    /// The domain whose mail is next at a site, and how many others have mail there.
    pub fn waiting_at(&self, site: SiteKey) -> Option<(&str, usize)> {
        let ring = &self.sites.get(site.0 as usize)?.ring;
        let first = ring.iter().find_map(|turn| domain::at(&self.domains, turn))?;
        Some((&*first.name, ring.len() - 1))
    }

    /// Groups that a connection could take now.
    pub fn ready(&self, site: SiteKey, now: u32) -> usize {
        let site = &self.sites[site.0 as usize];
        if site.closed_until > now { 0 } else { site.ready }
    }

    /// An attempt ended: `again` are the parts to be tried later; the rest of `group` is settled. The credit comes home by
    /// [`Destinations::credit`] once the outcome is synced.
    pub fn attempted(&mut self, key: DomainKey, group: &Group, again: &[Group], now: u32) {
        let left: usize = again.iter().map(|group| usize::from(group.count)).sum();
        self.queued = self.queued.saturating_sub(usize::from(group.count)) + left;
        self.now = now;
        if let Some(domain) = self.domain_mut(key) {
            domain.active -= 1;
        }
        for group in again {
            // One that is due already waits for the next tick, which says who is to work on it: nobody listens here.
            let not_before = group.not_before.max(now.saturating_add(1));
            self.enqueue(key, Group { not_before, ..*group }, now);
        }
        self.rest(key);
        self.release_if_empty(key);
    }

    /// Synced outcomes bring credits home: sites that found none, to be pumped.
    pub fn credit(&mut self, lane: u16, count: u32) -> Vec<SiteKey> {
        if let Some(credit) = self.credits.get_mut(usize::from(lane)) {
            *credit += count;
        }
        for site in &self.starved {
            self.sites[site.0 as usize].starved = false;
        }
        std::mem::take(&mut self.starved)
    }

    /// Attempts whose outcome is not synced yet, given how many credits there were at first.
    pub fn credits_out(&self, initial: u32) -> u32 {
        self.credits.iter().map(|credit| initial.saturating_sub(*credit)).sum()
    }

    /// The site works.
    pub fn open_site(&mut self, site: SiteKey) {
        let state = &mut self.sites[site.0 as usize];
        state.closed_until = 0;
        state.failures = 0;
    }

    /// Failures of the site in a row.
    pub fn failures(&self, site: SiteKey) -> u32 {
        self.sites[site.0 as usize].failures
    }

    /// Moves what is due to where it can be taken, at most `bound` groups and sites; the rest follows at the next call.
    pub fn tick(&mut self, now: u32, bound: usize) -> Vec<Effect> {
        self.now = now;
        self.forget_left(now);
        let mut effects = Vec::new();
        let (mut moved, mut looked) = (0, 0);
        while moved < bound && looked < bound {
            let Some(Reverse((due, key))) = self.due.peek().copied() else { break };
            if due > now {
                break;
            }
            self.due.pop();
            let Some(domain) = self.domain_mut(key).filter(|domain| domain.wakes == due) else { continue };
            domain.wakes = 0;
            looked += 1;
            let before = moved;
            while moved < bound && domain.deferred.peek().is_some_and(|first| first.0.due() <= now) {
                domain.ready.extend(domain.deferred.pop().map(|first| first.0));
                moved += 1;
            }
            if domain.deferred.len() < domain.deferred.capacity() / 4 {
                domain.deferred.shrink_to_fit();
            }
            let next = domain.deferred.peek().map(|first| first.0.due());
            // Mail that waited may find its domain elsewhere; the resolver's cache knows how long an answer holds.
            if moved > before && !domain.in_ring && domain.active == 0 {
                self.lead(key, None);
            }
            if let Some(next) = next {
                self.wake(key, next);
            }
            // What did not lead anywhere, or was put back when nobody listened.
            let waits = self.domain(key).is_some_and(|domain| !domain.ready.is_empty());
            if moved > before || waits {
                effects.extend(self.activate(key, moved - before));
            }
        }
        // With a bound of their own: no mail that is due for long keeps sites closed.
        let mut tried = 0;
        while tried < bound
            && let Some(Reverse((due, site))) = self.site_due.peek().copied()
            && due <= now
        {
            self.site_due.pop();
            tried += 1 + self.resolve_again(site, &mut effects);
            effects.push(Effect::Pump(site));
        }
        effects
    }

    /// A site that failed is tried again: its domains may have moved meanwhile. How many were looked at.
    fn resolve_again(&mut self, site: SiteKey, effects: &mut Vec<Effect>) -> usize {
        let looks = self.sites[site.0 as usize].ring.places().min(RESOLVED_AGAIN_MAX);
        for _ in 0..looks {
            let state = &mut self.sites[site.0 as usize];
            let Some(turn) = state.ring.pop() else { break };
            let (key, Some(domain)) = (turn.key, domain::at_mut(&mut self.domains, turn)) else {
                state.ring.met();
                continue;
            };
            state.ready -= domain.ready.len();
            self.crowd -= domain.ready.len();
            if domain.ready.is_empty() {
                // What of it is under way may be put back here.
                self.left_ring(key);
                continue;
            }
            domain.in_ring = false;
            if domain.is_first_asked(self.now) {
                effects.push(Effect::Resolve(key, domain.name.clone()));
            }
            self.lead(key, None);
        }
        looks
    }

    /// When [`Destinations::tick`] has something to do next (seconds of the queues' clock).
    pub fn next_due(&self) -> Option<u32> {
        let domain = self.due.peek().map(|Reverse((due, _))| *due);
        let site = self.site_due.peek().map(|Reverse((due, _))| *due);
        domain.into_iter().chain(site).min()
    }
}

#[cfg(test)]
mod tests;
