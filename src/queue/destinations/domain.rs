//! One domain's queue, and how domains without mail are forgotten.

use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

use super::ring::Turn;
use super::{Destinations, DomainKey, SiteKey};
use crate::queue::Group;

/// Domains without mail that are kept for the next.
pub(super) const LEAVING_MAX: usize = 4096;

/// The site of a domain is asked for again after so many seconds, if nothing of the domain is under way then. The resolver's cache
/// knows how long an answer holds; this is what a message saves that comes right after another.
pub(super) const RESOLVED_FOR: u32 = 5;

/// A group that waits, the earliest due first in a heap.
#[derive(Debug)]
pub(super) struct Deferred(pub(super) Group);

impl Ord for Deferred {
    fn cmp(&self, other: &Deferred) -> std::cmp::Ordering {
        other.0.due().cmp(&self.0.due())
    }
}

impl PartialOrd for Deferred {
    fn partial_cmp(&self, other: &Deferred) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Deferred {
    fn eq(&self, other: &Deferred) -> bool {
        self.0.due() == other.0.due()
    }
}

impl Eq for Deferred {}

#[derive(Debug)]
pub(super) struct Domain {
    pub(super) name: Rc<str>,
    pub(super) ready: VecDeque<Group>,
    pub(super) deferred: BinaryHeap<Deferred>,
    pub(super) site: Option<SiteKey>,
    /// The time of its entry in `due` that counts; 0: it has none.
    pub(super) wakes: u32,
    /// Groups being attempted.
    pub(super) active: u32,
    /// When its site was found, or since when it is asked for (seconds of the queues' clock).
    pub(super) since: u32,
    /// Who brought mail for it last, a hash.
    pub(super) client: u32,
    /// It is asked where it leads; while its mail goes on to the site it has, if it has one.
    pub(super) resolving: bool,
    /// In its site's ring of domains with ready groups.
    pub(super) in_ring: bool,
    /// Which of the turns of a ring is its own.
    pub(super) turn: u32,
    /// In the line of those that were without mail.
    pub(super) leaving: bool,
}

const _: () = assert!(size_of::<Option<Domain>>() <= 104, "one of these for each domain with mail");

/// The domain that has this turn in a ring, unless it left.
pub(super) fn at(domains: &[Option<Domain>], turn: Turn<DomainKey>) -> Option<&Domain> {
    domains.get(turn.key.0 as usize)?.as_ref().filter(|domain| domain.has(turn))
}

/// The same, to be changed.
pub(super) fn at_mut(domains: &mut [Option<Domain>], turn: Turn<DomainKey>) -> Option<&mut Domain> {
    domains.get_mut(turn.key.0 as usize)?.as_mut().filter(|domain| domain.has(turn))
}

impl Domain {
    fn has(&self, turn: Turn<DomainKey>) -> bool {
        self.in_ring && self.turn == turn.number
    }

    /// One without mail, that leads nowhere yet.
    pub(super) fn new(name: Rc<str>) -> Domain {
        Domain {
            name,
            ready: VecDeque::new(),
            deferred: BinaryHeap::new(),
            site: None,
            wakes: 0,
            active: 0,
            since: 0,
            client: 0,
            resolving: false,
            in_ring: false,
            turn: 0,
            leaving: false,
        }
    }

    /// It is asked for. False: it is already.
    pub(super) fn is_first_asked(&mut self, now: u32) -> bool {
        let first = !std::mem::replace(&mut self.resolving, true);
        if first {
            self.since = now;
        }
        first
    }

    /// Nothing of it waits or is under way.
    fn is_empty(&self) -> bool {
        self.active == 0
            && self.ready.is_empty()
            && self.deferred.is_empty()
            && !self.resolving
            && !self.in_ring
    }
}

impl Destinations {
    /// A domain without mail is forgotten, so that memory follows the queue; not at once, as more of its mail may come in a moment.
    pub(super) fn release_if_empty(&mut self, key: DomainKey) {
        let now = self.now;
        let Some(domain) = self.domain_mut(key) else { return };
        if domain.is_empty() && !std::mem::replace(&mut domain.leaving, true) {
            self.leaving.push_back((now, key));
            if self.leaving.len() > LEAVING_MAX {
                self.forget_first();
            }
        }
    }

    /// Forgets those whose moment is over.
    pub(super) fn forget_left(&mut self, now: u32) {
        while self.leaving.front().is_some_and(|(since, _)| since.saturating_add(RESOLVED_FOR) <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, key)) = self.leaving.pop_front() else { return };
        let Some(domain) = self.domain_mut(key) else { return };
        domain.leaving = false;
        if domain.is_empty() {
            self.lead(key, None);
            if let Some(domain) = self.domains[key.0 as usize].take() {
                self.by_name.remove(&domain.name);
            }
            self.free_domains.push(key.0);
        }
    }
}
