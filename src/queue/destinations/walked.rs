//! Where a walk through the queues stands within one domain, between two slices of it, and what of that changes under it.
//!
//! What waits for its next attempt is gone through first, then what is ready, each from its end to its start: what is taken out moves the
//! others towards the start, or from the one to the other, and is met there. What could pass the walk the other way is noted.

use super::keys::DomainKey;
use crate::limits;
use crate::queue::Group;
use crate::queue::select::GroupState;

#[derive(Debug)]
pub(super) struct Walked {
    key: DomainKey,
    /// Places of the heap before this were not looked at.
    pub(super) deferred: usize,
    /// The same of what is ready, once all of the heap was looked at.
    pub(super) ready: Option<usize>,
    /// What may have passed the walk since the last slice: no more than can be deferred between two of them.
    pub(super) passed: Vec<Group>,
}

impl Walked {
    /// Enters a domain with so many deferred groups.
    pub(super) fn new(key: DomainKey, deferred: usize) -> Walked {
        Walked { key, deferred, ready: None, passed: Vec::new() }
    }

    /// Whether it stands in this domain.
    pub(super) fn is_in(&self, key: DomainKey) -> bool {
        self.key == key
    }

    /// A group was pushed into the heap, which has this length now: on the path from the last place to the root one may have sunk from
    /// before the walk to behind it.
    pub(super) fn deferred(&mut self, key: DomainKey, length: usize, at: impl FnOnce(usize) -> Group) {
        if self.key != key || self.deferred == 0 {
            return;
        }
        let mut place = length - 1;
        if place < self.deferred {
            return;
        }
        while (place - 1) / 2 >= self.deferred {
            place = (place - 1) / 2;
        }
        self.note(at(place));
    }

    /// A group was put in front of what is ready: all others have moved on by a place.
    pub(super) fn put_in_front(&mut self, key: DomainKey) {
        if self.key == key
            && let Some(ready) = &mut self.ready
        {
            *ready += 1;
        }
    }

    /// The first of what is ready takes the place of one in the middle.
    pub(super) fn displaced(&mut self, key: DomainKey, first: Option<Group>) {
        if self.key == key
            && let Some(first) = first
        {
            self.note(first);
        }
    }

    fn note(&mut self, group: Group) {
        if self.passed.len() < limits::ASK_LOOKS {
            self.passed.push(group);
        }
    }
}

/// Of a group that was met on its way: by its time.
pub(super) fn state_of(group: &Group, now: u32) -> GroupState {
    if group.not_before > now { GroupState::Deferred } else { GroupState::Ready }
}
