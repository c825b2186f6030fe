//! The domains of one shard: by name and by key, when they have something due, and how those without mail are forgotten.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::Rc;

use super::domain::Domain;
use super::keys::{ByName, DomainKey, SiteKey};
use super::ring::Turn;
use super::walked::{Walked, state_of};
use crate::limits;
use crate::queue::Group;
use crate::queue::flow::{Strand, Weights};
use crate::queue::select::GroupState;
use crate::route::egress::EgressKey;

/// All domains with mail.
#[derive(Debug, Default)]
pub(super) struct Domains {
    slots: Vec<Option<Domain>>,
    free: Vec<u32>,
    /// Those by the node's own addresses.
    by_name: ByName<DomainKey>,
    /// Those by other egresses: nobody has any where no source is configured.
    by_egress: BTreeMap<EgressKey, ByName<DomainKey>>,
    /// Those of tenants, campaigns and priorities, by their strands in order.
    by_strand: ByName<Vec<(Strand, DomainKey)>>,
    /// When domains have something due. An entry counts if its domain says the same time.
    due: BinaryHeap<Reverse<(u32, DomainKey)>>,
    /// Domains that were found without mail, and when: mail of the next moment finds their site.
    leaving: VecDeque<(u32, DomainKey)>,
    /// Where a walk through the queues stands, between two slices of it.
    pub(super) walked: Option<Walked>,
}

impl Domains {
    pub(super) fn get(&self, key: DomainKey) -> Option<&Domain> {
        self.slots.get(key.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: DomainKey) -> Option<&mut Domain> {
        self.slots.get_mut(key.0 as usize)?.as_mut()
    }

    /// The domain that has this turn in a ring, unless it left.
    pub(super) fn of(&self, turn: Turn<DomainKey>) -> Option<&Domain> {
        self.get(turn.key).filter(|domain| domain.has(turn))
    }

    /// The same, to be changed.
    pub(super) fn of_mut(&mut self, turn: Turn<DomainKey>) -> Option<&mut Domain> {
        self.get_mut(turn.key).filter(|domain| domain.has(turn))
    }

    /// Keys that there are, those in use and those that are free.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// What is in a slot, and its key; None: there is no such slot.
    pub(super) fn at(&mut self, slot: usize) -> Option<(DomainKey, Option<&mut Domain>)> {
        self.slots.get_mut(slot).map(|domain| (DomainKey(slot as u32), domain.as_mut()))
    }

    /// The first domain of this name, lower case, that has mail and stands at this place or behind it: it may have mail by several
    /// egresses and of several flows.
    pub(super) fn find(&self, name: &str, from: u32) -> Option<DomainKey> {
        let all = self.by_egress.values().filter_map(|by_name| by_name.get(name));
        let strands = self.by_strand.get(name).into_iter().flatten().map(|(_, key)| key);
        all.chain(self.by_name.get(name)).chain(strands).filter(|key| key.0 >= from).min().copied()
    }

    /// The domain of this name and strand, a new one if need be.
    pub(super) fn named(&mut self, name: &str, strand: Strand, weights: &Weights) -> DomainKey {
        if !strand.flow.is_plain() {
            return self.of_flow(name, strand, weights);
        }
        let found = match strand.egress {
            EgressKey::NODE => self.by_name.get(name),
            other => self.by_egress.get(&other).and_then(|by_name| by_name.get(name)),
        };
        match found {
            Some(key) => *key,
            None => self.add(name, strand),
        }
    }

    fn of_flow(&mut self, name: &str, strand: Strand, weights: &Weights) -> DomainKey {
        let strand = match self.by_strand.get(name) {
            None => strand,
            Some(known) => match known.binary_search_by_key(&strand, |(strand, _)| *strand) {
                Ok(place) => return known[place].1,
                Err(_) => folded(known, strand, weights),
            },
        };
        if strand.flow.is_plain() {
            return self.named(name, strand, weights);
        }
        let known = self.by_strand.get(name);
        let place = known.map(|known| known.binary_search_by_key(&strand, |(strand, _)| *strand));
        match (known, place) {
            (Some(known), Some(Ok(place))) => known[place].1,
            _ => self.add(name, strand),
        }
    }

    fn add(&mut self, name: &str, strand: Strand) -> DomainKey {
        let name: Rc<str> = name.into();
        let domain = Domain::new(name.clone(), strand);
        let key = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(domain);
                DomainKey(slot)
            }
            None => {
                self.slots.push(Some(domain));
                DomainKey(u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 domains"))
            }
        };
        if !strand.flow.is_plain() {
            let known = self.by_strand.entry(name).or_default();
            let place = known.partition_point(|(other, _)| *other < strand);
            if known.len() == known.capacity() {
                known.reserve_exact(known.len() / 4 + 1);
            }
            known.insert(place, (strand, key));
            return key;
        }
        match strand.egress {
            EgressKey::NODE => self.by_name.insert(name, key),
            other => self.by_egress.entry(other).or_default().insert(name, key),
        };
        key
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn forget_name(&mut self, domain: &Domain) {
        let strand = Strand { egress: domain.egress, flow: domain.flow() };
        if !strand.flow.is_plain() {
            if let Some(known) = self.by_strand.get_mut(&domain.name) {
                known.retain(|(other, _)| *other != strand);
                if known.is_empty() {
                    self.by_strand.remove(&domain.name);
                }
            }
        } else if domain.egress == EgressKey::NODE {
            self.by_name.remove(&domain.name);
        } else if let Some(by_name) = self.by_egress.get_mut(&domain.egress) {
            by_name.remove(&domain.name);
            if by_name.is_empty() {
                self.by_egress.remove(&domain.egress);
            }
        }
    }

    /// Queues a group for a later time, at which the domain is looked at.
    pub(super) fn defer(&mut self, key: DomainKey, group: Group) {
        let Some(domain) = self.get_mut(key) else { return };
        domain.defer(group);
        if let (Some(walked), Some(Some(domain))) = (&mut self.walked, self.slots.get(key.0 as usize)) {
            let heap = domain.deferred.as_slice();
            walked.deferred(key, heap.len(), |place| heap[place].0);
        }
        self.wake(key, group.due());
    }

    /// The domain in which a walk stands, and where in it.
    pub(super) fn walking(&mut self, key: DomainKey) -> Option<(&mut Walked, &Domain)> {
        let domain = self.slots.get(key.0 as usize)?.as_ref()?;
        self.walked.as_mut().map(|walked| (walked, domain))
    }

    /// Goes on in the domain where the walk stands, by so many looks at the most. How many they were, and whether that was all of it.
    pub(super) fn go_on(
        &mut self,
        key: DomainKey,
        now: u32,
        most: usize,
        mut meet: impl FnMut(&Group, GroupState),
    ) -> (usize, bool) {
        let Some((walked, domain)) = self.walking(key) else { return (0, true) };
        for group in std::mem::take(&mut walked.passed) {
            meet(&group, state_of(&group, now));
        }
        let heap = domain.deferred.as_slice();
        let from = walked.deferred.min(heap.len());
        walked.deferred = from.saturating_sub(most);
        for deferred in &heap[walked.deferred..from] {
            meet(&deferred.0, GroupState::Deferred);
        }
        let looked = from - walked.deferred;
        if walked.deferred > 0 {
            return (looked, false);
        }
        let from = walked.ready.unwrap_or(usize::MAX).min(domain.ready.len());
        let to = from.saturating_sub(most - looked);
        for group in domain.ready.range(to..from) {
            meet(group, GroupState::Ready);
        }
        walked.ready = Some(to);
        (looked + from - to, to == 0)
    }

    /// A group was put in front of all that is ready.
    pub(super) fn put_in_front(&mut self, key: DomainKey) {
        if let Some(walked) = &mut self.walked {
            walked.put_in_front(key);
        }
    }

    /// The first of what is ready was moved into the middle.
    pub(super) fn displaced(&mut self, key: DomainKey, first: Option<Group>) {
        if let Some(walked) = &mut self.walked {
            walked.displaced(key, first);
        }
    }

    /// The domain is looked at by the tick of this time.
    pub(super) fn wake(&mut self, key: DomainKey, at: u32) {
        let at = at.max(1);
        let Some(domain) = self.get_mut(key) else { return };
        if domain.wakes != 0 && domain.wakes <= at {
            return;
        }
        domain.wakes = at;
        self.due.push(Reverse((at, key)));
        if self.due.len() > 2 * self.len() + limits::WAKES_SPARE {
            let slots = &self.slots;
            let counts = |key: &DomainKey, at: u32| {
                slots[key.0 as usize].as_ref().is_some_and(|domain| domain.wakes == at)
            };
            self.due.retain(|Reverse((at, key))| counts(key, *at));
        }
    }

    /// When the first of them is to be looked at.
    pub(super) fn next_due(&self) -> Option<u32> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The next that is to be looked at by now.
    pub(super) fn take_due(&mut self, now: u32) -> Option<DomainKey> {
        while let Some(Reverse((due, key))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            if let Some(domain) = self.get_mut(key)
                && domain.wakes == due
            {
                domain.wakes = 0;
                return Some(key);
            }
        }
        None
    }

    /// A domain without mail is forgotten, so that memory follows the queue; not at once, as more of its mail may come in a moment.
    /// Where that makes too many of them, one goes: the site that it led to.
    pub(super) fn leaves(&mut self, key: DomainKey, now: u32) -> Option<SiteKey> {
        let domain = self.get_mut(key)?;
        if !domain.leaves() {
            return None;
        }
        self.leaving.push_back((now, key));
        if self.leaving.len() > limits::DOMAINS_LEAVING_MAX { self.forget_first() } else { None }
    }

    /// Whether the moment of the first of them is over.
    pub(super) fn is_left(&self, now: u32) -> bool {
        self.leaving.front().is_some_and(|(since, _)| since.saturating_add(limits::RESOLVED_FOR) <= now)
    }

    /// Forgets the first of those that had no mail, unless it has some again: the site that it led to.
    pub(super) fn forget_first(&mut self) -> Option<SiteKey> {
        let (_, key) = self.leaving.pop_front()?;
        let domain = self.get_mut(key)?;
        domain.stays();
        if !domain.is_empty() {
            return None;
        }
        self.walked.take_if(|walked| walked.is_in(key));
        let domain = self.slots[key.0 as usize].take()?;
        self.forget_name(&domain);
        self.free.push(key.0);
        domain.site()
    }
}

/// The strand that mail of a domain is queued by, where these have mail already. Their number is bounded, whatever applications call their
/// campaigns: beyond a bound all of a tenant's is one, beyond another that of a tenant which is not named in
/// the configuration is nobody's.
fn folded(known: &[(Strand, DomainKey)], strand: Strand, weights: &Weights) -> Strand {
    let from = known.partition_point(|(other, _)| other.egress < strand.egress);
    let to = known.partition_point(|(other, _)| other.egress <= strand.egress);
    let mut folded = strand;
    if to - from >= limits::FLOWS_A_DOMAIN {
        folded.flow.campaign = 0;
    }
    if to - from >= 2 * limits::FLOWS_A_DOMAIN && !weights.has(folded.flow.tenant) {
        folded.flow.tenant = 0;
    }
    folded
}

#[cfg(test)]
impl Domains {
    pub(super) fn count(&self) -> usize {
        self.len()
    }

    /// Names that have strands.
    pub(super) fn strands(&self) -> usize {
        self.by_strand.len()
    }

    /// Entries of those that are to be looked at, old ones included.
    pub(super) fn entries(&self) -> usize {
        self.due.len()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let of_domain = |domain: &Domain| {
            // Beside the text two counts; the queues' memory comes in whole words.
            let queues = (domain.deferred.capacity() + domain.ready.capacity()) * size_of::<Group>();
            domain.name.len() + 2 * size_of::<usize>() + queues.next_multiple_of(16)
        };
        self.slots.iter().flatten().map(of_domain).sum::<usize>()
            + self.slots.capacity() * size_of::<Option<Domain>>()
            + self.by_name.capacity() * 8 / 7 * (size_of::<(Rc<str>, DomainKey)>() + 1)
            + self.due.capacity() * size_of::<(u32, DomainKey)>()
    }
}
