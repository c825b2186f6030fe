//! A walk through the queues of one shard: what waits, counted or told page by page, in slices.
//!
//! Domains are gone through by their places, which they keep while they have mail. Within a domain groups have an order of their own
//! (lane, key, first recipient), and a page has the first of them behind the last one told. So what waits from the first page to the last is
//! told in one of them, whatever comes, goes and is tried meanwhile; that itself may be told or not. Nothing is told that never was.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Destinations;
use super::domain::Domain;
use super::keys::DomainKey;
use super::walked::Walked;
use crate::queue::Group;
use crate::queue::lifetimes::Times;
use crate::queue::select::{
    Filter, GroupState, Order, Pattern, Place, ScanPosition, Tally, WaitingGroup, order,
};

/// One walk, and what it has found.
#[derive(Debug)]
pub struct Walk {
    filter: Arc<Filter>,
    place: ScanPosition,
    /// Rows of a page; None: all is counted.
    most: Option<usize>,
    /// Looks until it ends between two domains, to go on with another.
    budget: usize,
    /// Of the domain in which it stands: the first behind the last one told.
    first: BTreeMap<Order, (Group, GroupState)>,
    /// There are more in it.
    more: bool,
    /// What it found, unless it counts.
    pub rows: Vec<WaitingGroup>,
    /// How much it found.
    pub tally: Tally,
}

/// How a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// In the middle.
    Unfinished,
    /// The walk is over; there may be more from here on.
    Over(Option<ScanPosition>),
}

impl Walk {
    /// A walk that begins there, and ends after about so many looks.
    pub fn new(filter: Arc<Filter>, place: ScanPosition, most: Option<usize>, budget: usize) -> Walk {
        let (first, rows, tally) = Default::default();
        Walk { filter, place, most, budget, first, more: false, rows, tally }
    }

    /// One slice of so many looks.
    pub fn step(&mut self, queues: &mut Destinations, times: Times<'_>, looks: usize) -> Slice {
        let mut left = looks;
        loop {
            if queues.domains.walked.is_none() {
                // Nobody stands anywhere: what was gathered is of a domain that is no more.
                self.first.clear();
                self.more = false;
                match self.enter(queues, &mut left) {
                    Some(end) => return end,
                    None if left == 0 => return Slice::Unfinished,
                    None => {}
                }
            }
            if !self.look(queues, times, &mut left) {
                return Slice::Unfinished;
            }
            queues.domains.walked = None;
            if self.leave(queues) {
                return Slice::Over(Some(self.place));
            }
        }
    }

    /// Gives up where it stands.
    pub fn abandon(queues: &mut Destinations) {
        queues.domains.walked = None;
    }

    /// Into the next domain that is wanted. None: it stands in one, or no looks are left.
    fn enter(&mut self, queues: &mut Destinations, left: &mut usize) -> Option<Slice> {
        loop {
            if self.most.is_some_and(|most| self.rows.len() >= most) || self.budget == 0 {
                return Some(Slice::Over(Some(self.place)));
            }
            if let Some(Pattern::Whole(name)) = &self.filter.domain {
                let Some(DomainKey(only)) = queues.domains.find(name, self.place.domain) else {
                    return Some(Slice::Over(None));
                };
                if only > self.place.domain {
                    self.place = ScanPosition { domain: only, after: None };
                }
            }
            if self.place.domain as usize >= queues.domains.slots() {
                return Some(Slice::Over(None));
            }
            if *left == 0 {
                return None;
            }
            self.looked(left, self.filter.domain_cost());
            let key = DomainKey(self.place.domain);
            if let Some(domain) = wanted(queues, key, &self.filter) {
                let (deferred, active) = (domain.deferred.len(), domain.active);
                if self.filter.is_of_domains() && self.place.after.is_none() {
                    self.tally.under_way += u64::from(active);
                }
                queues.domains.walked = Some(Walked::new(key, deferred));
                return None;
            }
            self.place = ScanPosition { domain: self.place.domain + 1, after: None };
        }
    }

    fn looked(&mut self, left: &mut usize, looks: usize) {
        *left = left.saturating_sub(looks);
        self.budget = self.budget.saturating_sub(looks);
    }

    /// Goes on in the domain. True: all of it was looked at.
    fn look(&mut self, queues: &mut Destinations, times: Times<'_>, left: &mut usize) -> bool {
        let (domains, key) = (&mut queues.domains, DomainKey(self.place.domain));
        let meet = |group: &Group, state| self.meet(group, state, times);
        let (looks, over) = domains.go_on(key, times.now, *left, meet);
        self.looked(left, looks);
        over
    }

    fn meet(&mut self, group: &Group, state: GroupState, times: Times<'_>) {
        let (order, state) = (order(group), state.of(group));
        if self.place.after.is_some_and(|after| order <= after) || !self.filter.wants(group, state, times) {
            return;
        }
        let Some(most) = self.most else { return self.tally.add(self.filter.meant(group), state) };
        let room = most - self.rows.len();
        if self.first.len() >= room {
            if self.first.last_key_value().is_some_and(|(last, _)| *last < order) {
                self.more = true;
                return;
            }
            if self.first.insert(order, (*group, state)).is_none() {
                self.first.pop_last();
                self.more = true;
            }
            return;
        }
        self.first.insert(order, (*group, state));
    }

    /// Out of the domain, with what was found in it. True: the page is full, and there is more of it.
    fn leave(&mut self, queues: &Destinations) -> bool {
        if self.first.is_empty() && !self.more {
            self.place = ScanPosition { domain: self.place.domain + 1, after: None };
            return false;
        }
        let domain = queues.domains.get(DomainKey(self.place.domain));
        let site = domain.and_then(|domain| domain.site()).map(|site| queues.sites.get(site));
        let last = self.first.last_key_value().map(|(order, _)| *order);
        for (group, state) in std::mem::take(&mut self.first).into_values() {
            self.tally.add(self.filter.meant(&group), state);
            self.rows.push(WaitingGroup {
                domain: domain.map(|domain| Box::from(&*domain.name)).unwrap_or_default(),
                site: site.map(|site| Box::from(site.name())),
                closed_until: site.map(|site| site.closed_until).filter(|until| *until > queues.now),
                state,
                group,
            });
        }
        if std::mem::take(&mut self.more) {
            self.place.after = last;
            return true;
        }
        self.place = ScanPosition { domain: self.place.domain + 1, after: None };
        false
    }
}

/// A domain with mail that may be meant.
pub(super) fn wanted<'a>(queues: &'a Destinations, key: DomainKey, filter: &Filter) -> Option<&'a Domain> {
    let domain = queues.domains.get(key)?;
    // Not looked up for nothing: it lies elsewhere in memory, and there may be a hundred thousand domains.
    let site = domain.site().filter(|_| filter.asks_site()).map(|site| queues.sites.get(site).name());
    filter.wants_domain(Place { domain: &domain.name, site }, domain.egress).then_some(domain)
}

#[cfg(test)]
mod tests;
