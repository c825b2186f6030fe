//! One domain's queue.

use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::num::NonZeroU32;
use std::rc::Rc;

use super::keys::{DomainKey, SiteKey};
use super::ring::Turn;
use crate::mail::parameters::Priority;
use crate::queue::flow::{Flow, Strand};
use crate::queue::{Group, GroupPhase};
use crate::route::egress::EgressKey;

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

/// The mail of one domain by one egress, of one flow.
#[derive(Debug)]
pub(super) struct Domain {
    pub(super) name: Rc<str>,
    pub(super) ready: VecDeque<Group>,
    pub(super) deferred: BinaryHeap<Deferred>,
    /// The site that it leads to, as far as that is known, counted from 1; [`Domain::lead`] says.
    led: Option<NonZeroU32>,
    /// The time of its entry in the table's `due` that counts; 0: it has none.
    pub(super) wakes: u32,
    /// Groups being attempted.
    pub(super) active: u32,
    /// When its site was found, or since when it is asked for (seconds of the queues' clock).
    pub(super) since: u32,
    /// Who brought mail for it last, a hash.
    pub(super) client: u32,
    /// It is asked where it leads; while its mail goes on to the site it has, if it has one.
    pub(super) resolving: bool,
    /// An operator wants its mail to be tried now: the site that it leads to opens.
    pub(super) hurried: bool,
    /// In its site's ring of domains with ready groups.
    pub(super) in_ring: bool,
    /// Which of the turns of a ring is its own.
    pub(super) turn: u32,
    /// By which pool and source its mail leaves.
    pub(super) egress: EgressKey,
    /// Whose mail it is: its flow, in parts that leave no gap.
    class: Priority,
    tenant: u32,
    campaign: u32,
    /// The number of the routes by which it leads to its site.
    led_by: u8,
    /// Whether it is in the line of those that were without mail ([`LEAVING`]), and who runs the site that it led to last: a number of
    /// [`Sites`](super::sites::Sites), 0: nobody that is known.
    marks: u8,
}

/// See [`Domain`]: the rest is the number of a provider.
const LEAVING: u8 = 1 << 7;

const _: () = assert!(size_of::<Option<Domain>>() <= 112, "one of these for each domain with mail");

impl Domain {
    pub(super) fn new(name: Rc<str>, Strand { egress, flow }: Strand) -> Domain {
        let Flow { class, tenant, campaign } = flow;
        Domain {
            name,
            egress,
            class,
            tenant,
            campaign,
            led_by: 0,
            ready: VecDeque::new(),
            deferred: BinaryHeap::new(),
            led: None,
            wakes: 0,
            active: 0,
            since: 0,
            client: 0,
            resolving: false,
            hurried: false,
            in_ring: false,
            turn: 0,
            marks: 0,
        }
    }

    /// Whose mail it is.
    pub(super) fn flow(&self) -> Flow {
        Flow { class: self.class, tenant: self.tenant, campaign: self.campaign }
    }

    /// It is in the line of those that were without mail. False: it is already.
    pub(super) fn leaves(&mut self) -> bool {
        let first = self.marks & LEAVING == 0;
        self.marks |= LEAVING;
        first
    }

    /// It is not in that line any more.
    pub(super) fn stays(&mut self) {
        self.marks &= !LEAVING;
    }

    /// Who runs the site that it led to last.
    pub(super) fn provider(&self) -> usize {
        usize::from(self.marks & !LEAVING)
    }

    /// This is who runs the site that it leads to.
    pub(super) fn set_provider(&mut self, number: u8) {
        self.marks = self.marks & LEAVING | number & !LEAVING;
    }

    /// Where it leads, while that is known.
    pub(super) fn site(&self) -> Option<SiteKey> {
        self.led.map(|led| SiteKey(led.get() - 1))
    }

    /// It leads there, by the routes of this number. Where it led before.
    pub(super) fn lead(&mut self, to: Option<SiteKey>, routing: u8) -> Option<SiteKey> {
        let before = self.site();
        self.led = to.and_then(|site| NonZeroU32::new(site.0 + 1));
        self.led_by = routing;
        before
    }

    /// Whether it was led where it leads by other routes than those of this number.
    pub(super) fn is_astray(&self, routing: u8) -> bool {
        self.led.is_some() && self.led_by != routing
    }

    /// Whether this turn in a ring is its own, and it did not leave.
    pub(super) fn has(&self, turn: Turn<DomainKey>) -> bool {
        self.in_ring && self.turn == turn.number
    }

    /// It is asked for. False: it is already.
    pub(super) fn is_first_asked(&mut self, now: u32) -> bool {
        let first = !std::mem::replace(&mut self.resolving, true);
        if first {
            self.since = now;
        }
        first
    }

    /// Whether nothing of it can be taken or is under way, and nobody asks where it leads.
    pub(super) fn is_idle(&self) -> bool {
        self.active == 0 && self.ready.is_empty() && !self.resolving && !self.in_ring
    }

    /// Whether nothing of it waits or is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.is_idle() && self.deferred.is_empty()
    }

    /// Queues a group for a later time.
    pub(super) fn defer(&mut self, group: Group) {
        if self.deferred.len() == self.deferred.capacity() {
            // By a quarter and not by as much again: most of what waits for long waits here.
            self.deferred.reserve_exact(self.deferred.len() / 4 + 1);
        }
        self.deferred.push(Deferred(group));
    }

    /// Makes what is due ready, at most so many groups; returns how many they were.
    pub(super) fn ready_due(&mut self, now: u32, most: usize) -> usize {
        let mut moved = 0;
        while moved < most
            && let Some(first) = self.deferred.peek_mut()
            && first.0.due() <= now
        {
            let mut group = PeekMut::pop(first).0;
            if matches!(group.standing, GroupPhase::Suspended | GroupPhase::Held) {
                group.resume();
            }
            self.ready.push_back(group);
            moved += 1;
        }
        if self.deferred.len() < self.deferred.capacity() / 4 {
            self.deferred.shrink_to_fit();
        }
        moved
    }

    /// Whether some of what waits was put aside for a suspension; where there is more than so many looks that is not looked up.
    pub(super) fn has_aside(&self, looks: usize) -> bool {
        let is_aside = |waits: &Deferred| waits.0.standing == GroupPhase::Suspended;
        self.deferred.len() > looks || self.deferred.iter().any(is_aside)
    }

    /// When the first of those that wait is due.
    pub(super) fn next_due(&self) -> Option<u32> {
        self.deferred.peek().map(|first| first.0.due())
    }
}
