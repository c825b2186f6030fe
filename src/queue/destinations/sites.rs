//! The sites of one shard: which domains have mail for them, which take none now, and how those nobody needs are forgotten.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::rc::Rc;

use super::domain::Domain;
use super::domains::Domains;
use super::keys::{ByName, DomainKey, SiteKey};
use super::ring::Turn;
use super::rings::{Place, Rings};

use crate::limits;
use crate::queue::flow::Flow;

/// What is called so has no room for a name of its own.
pub(super) const OTHER: &str = "other";
/// And this is its number: the last that a domain has room for.
pub(super) const OTHER_NUMBER: u8 = (1 << 7) - 1;
const _: () = assert!(limits::SUMMARY_NAMES < OTHER_NUMBER as usize);

#[derive(Debug, Default)]
pub(super) struct SiteQueue {
    name: Rc<str>,
    /// Domains with ready groups, served in turn.
    pub(super) rings: Rings,
    /// Groups of these.
    ready: usize,
    /// Domains that lead here.
    domains: u32,
    /// It is in the list of those that found no credit.
    starved: bool,
    /// Who runs it: a number of the providers; 0: nobody that is known.
    provider: u8,
    /// No attempt before this time (seconds of the queues' clock): the site as a whole failed.
    pub(super) closed_until: u32,
    pub(super) failures: u32,
    /// While it is closed: which of its groups is looked at next, by the places of domain and group.
    pub(super) looked: (Place, usize),
    /// And at which domain of the ring it is looked next for what is too old.
    pub(super) aged: (Place, usize),
}

impl SiteQueue {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_closed(&self, now: u32) -> bool {
        self.closed_until > now
    }

    /// Groups that a connection could take now.
    pub(super) fn ready(&self, now: u32) -> usize {
        if self.is_closed(now) { 0 } else { self.ready }
    }
}

/// All sites that domains lead to.
#[derive(Debug, Default)]
pub(super) struct Sites {
    slots: Vec<SiteQueue>,
    free: Vec<u32>,
    by_name: ByName<SiteKey>,
    /// When those that are closed are tried again.
    due: BinaryHeap<Reverse<(u32, SiteKey)>>,
    /// Those that found no credit for the head of their ring.
    starved: Vec<SiteKey>,
    /// Groups a connection could take now, those of closed sites included.
    ready: usize,
    /// The last number of a turn in a ring.
    turns: u32,
    /// The number of the routes by which domains are led now. It may come again: by then none is led by those that had it.
    routing: u8,
    /// Those who run sites, by number from 1 on. They are never taken out: each is a name of a shaping file.
    providers: Vec<Box<str>>,
}

impl Sites {
    pub(super) fn get(&self, key: SiteKey) -> &SiteQueue {
        &self.slots[key.0 as usize]
    }

    pub(super) fn get_mut(&mut self, key: SiteKey) -> &mut SiteQueue {
        &mut self.slots[key.0 as usize]
    }

    /// Keys that there are, those in use and those that are free.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Groups a connection could take now, those of closed sites included.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// The site of this canonical name.
    pub(super) fn named(&mut self, name: &str) -> SiteKey {
        match self.by_name.get(name) {
            Some(key) => *key,
            None => self.add(name),
        }
    }

    /// The same, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<SiteKey> {
        self.by_name.get(name).copied()
    }

    fn add(&mut self, name: &str) -> SiteKey {
        let name: Rc<str> = name.into();
        let site = SiteQueue { name: name.clone(), ..SiteQueue::default() };
        let key = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = site;
                SiteKey(slot)
            }
            None => {
                self.slots.push(site);
                SiteKey(u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 sites"))
            }
        };
        self.by_name.insert(name, key);
        key
    }

    /// Forgets those of these slots that no domain leads to and nobody is `busy` with, so that memory follows the queue.
    pub(super) fn forget_idle(
        &mut self,
        now: u32,
        slots: Range<usize>,
        busy: impl Fn(SiteKey) -> bool,
    ) -> Vec<SiteKey> {
        let mut forgotten = Vec::new();
        for slot in slots.start..slots.end.min(self.slots.len()) {
            let site = &mut self.slots[slot];
            let key = SiteKey(slot as u32);
            let until = site.closed_until + if site.failures > 0 { limits::SITE_FAILURES_KEPT } else { 0 };
            let idle = site.domains == 0 && site.rings.is_empty() && until <= now;
            if idle && self.by_name.get(&site.name) == Some(&key) && !busy(key) {
                self.by_name.remove(&site.name);
                *site = SiteQueue::default();
                self.free.push(key.0);
                forgotten.push(key);
            }
        }
        forgotten
    }

    /// Other routes hold from now on: none of its domains is led by them yet.
    pub(super) fn reroute(&mut self) {
        self.routing = self.routing.wrapping_add(1);
    }

    /// Whether a domain was led where it leads by other routes than those that hold.
    pub(super) fn is_astray(&self, domain: &Domain) -> bool {
        domain.is_astray(self.routing)
    }

    /// A tenant with mail at a site rests no more. The site may be forgotten by now.
    pub(super) fn wake(&mut self, key: SiteKey, tenant: u32) {
        if let Some(site) = self.slots.get_mut(key.0 as usize) {
            site.rings.wake(tenant);
        }
    }

    /// How many domains lead to a site.
    pub(super) fn domains(&self, site: SiteKey) -> u32 {
        self.get(site).domains
    }

    /// The domain leads there now.
    pub(super) fn lead(&mut self, domain: &mut Domain, to: Option<SiteKey>) {
        if let Some(before) = domain.lead(to, self.routing) {
            self.get_mut(before).domains -= 1;
        }
        if let Some(to) = to {
            let site = self.get_mut(to);
            site.domains += 1;
            domain.set_provider(site.provider);
        }
    }

    /// Who runs a site. Where there are too many they have one number.
    pub(super) fn is_run_by(&mut self, site: SiteKey, provider: Option<&str>) {
        let number = provider.map_or(0, |name| {
            let known = self.providers.iter().position(|known| **known == *name);
            let place = known.or_else(|| {
                (self.providers.len() < limits::SUMMARY_NAMES).then(|| {
                    self.providers.push(name.into());
                    self.providers.len() - 1
                })
            });
            place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(OTHER_NUMBER)
        });
        self.get_mut(site).provider = number;
    }

    /// What the provider of a number is called.
    pub(super) fn provider(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|place| self.providers.get(place)).map_or(OTHER, |name| name)
    }

    /// A domain that led there was forgotten.
    pub(super) fn lost(&mut self, site: SiteKey) {
        self.get_mut(site).domains -= 1;
    }

    /// So many more groups of a domain can be taken at its site.
    pub(super) fn gain(&mut self, site: SiteKey, key: DomainKey, domain: &mut Domain, groups: usize) {
        self.ready += groups;
        let site = &mut self.slots[site.0 as usize];
        site.ready += groups;
        if !domain.in_ring {
            self.turns = self.turns.wrapping_add(1);
            (domain.in_ring, domain.turn) = (true, self.turns);
            site.rings.push(domain.flow(), Turn { key, number: self.turns });
        }
    }

    /// So many groups less can be taken there.
    pub(super) fn lose(&mut self, site: SiteKey, groups: usize) {
        self.ready -= groups;
        self.get_mut(site).ready -= groups;
    }

    /// A domain of a flow that had so many groups ready there just left its ring.
    pub(super) fn withdraw(&mut self, site: SiteKey, (flow, groups): (Flow, usize), domains: &Domains) {
        self.lose(site, groups);
        let site = self.get_mut(site);
        if site.rings.leave(flow, |turn| domains.of(turn).is_some()) {
            (site.looked, site.aged) = Default::default();
        }
    }

    /// The site found no credit: it is told when some come home.
    pub(super) fn starve(&mut self, site: SiteKey) {
        if !std::mem::replace(&mut self.get_mut(site).starved, true) {
            self.starved.push(site);
        }
    }

    /// Credits came home: those that found none.
    pub(super) fn take_starved(&mut self) -> Vec<SiteKey> {
        let starved = std::mem::take(&mut self.starved);
        for site in &starved {
            self.get_mut(*site).starved = false;
        }
        starved
    }

    /// The site as a whole failed: nothing is started before `until`.
    pub(super) fn close(&mut self, key: SiteKey, until: u32) {
        let site = self.get_mut(key);
        site.closed_until = until;
        site.failures = site.failures.saturating_add(1);
        site.looked = Default::default();
        self.due.push(Reverse((until, key)));
    }

    /// The site works.
    pub(super) fn open(&mut self, key: SiteKey) {
        let site = self.get_mut(key);
        site.closed_until = 0;
        site.failures = 0;
    }

    /// An operator wants it to be tried now. Where it fails again, its next pause is longer all the same.
    pub(super) fn hurry(&mut self, key: SiteKey) {
        self.get_mut(key).closed_until = 0;
    }

    /// When the first of those that failed is tried again.
    pub(super) fn next_due(&self) -> Option<u32> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The next that is to be tried again by now.
    pub(super) fn take_due(&mut self, now: u32) -> Option<SiteKey> {
        let Reverse((due, _)) = self.due.peek()?;
        if *due > now {
            return None;
        }
        self.due.pop().map(|Reverse((_, site))| site)
    }
}
