//! What waits in one domain is changed: all of it is set aside at once, and goes back a slice at a time, or is taken out of the queue.
//!
//! Meanwhile the domain counts as busy, so nobody forgets it, and what comes for it queues as ever.

use std::collections::VecDeque;

use super::domain::Deferred;
use super::keys::DomainKey;
use super::walk::wanted;
use super::{Destinations, Effect};
use crate::queue::lifetimes::Times;
use crate::queue::select::{Filter, GroupState, Pattern, Tally};
use crate::queue::{Group, GroupPhase};

/// What is set aside. To be ended with [`AsideGroups::end`], which gives back what is left.
#[derive(Debug)]
#[must_use = "what is set aside is in no queue"]
pub struct AsideGroups {
    key: DomainKey,
    deferred: Vec<Deferred>,
    ready: VecDeque<Group>,
    /// It is told for the first time that some of it is to be tried at once.
    hurried: bool,
}

/// What became of the next group that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextGroup {
    /// It is the caller's, with a credit: to be settled as an attempt is.
    Taken(DomainKey, Group),
    /// All credits of its lane are out. It is still set aside.
    Starved,
    /// These were looks enough for a slice.
    Unfinished,
    /// Nothing is set aside any more.
    Nothing,
}

/// The next domain from this place on that has mail which may be wanted; after so many looks the place from where to go on. None: there is no
/// other.
pub fn next_domain(
    queues: &Destinations,
    filter: &Filter,
    from: u32,
    looks: usize,
) -> Option<Result<DomainKey, u32>> {
    if let Some(Pattern::Whole(name)) = &filter.domain {
        let only = queues.domains.find(name, from)?;
        return wanted(queues, only, filter).map_or(Some(Err(only.next())), |_| Some(Ok(only)));
    }
    let end = u32::try_from(queues.domains.slots()).unwrap_or(u32::MAX);
    let stop = end.min(from.saturating_add(u32::try_from(looks).unwrap_or(u32::MAX)));
    let found = (from..stop).map(DomainKey).find(|key| wanted(queues, *key, filter).is_some());
    match found {
        Some(key) => Some(Ok(key)),
        None => (stop < end).then_some(Err(stop)),
    }
}

impl AsideGroups {
    /// Sets aside what of this domain waits for its next attempt; what is ready too, if that is to change. How many are under way.
    pub fn take(queues: &mut Destinations, key: DomainKey, ready: bool) -> Option<(AsideGroups, u32)> {
        let domain = queues.domains.get_mut(key)?;
        let under_way = domain.active;
        domain.active += 1;
        let deferred = std::mem::take(&mut domain.deferred).into_vec();
        let mut aside = AsideGroups { key, deferred, ready: VecDeque::new(), hurried: false };
        if ready {
            aside.ready = std::mem::take(&mut domain.ready);
            if let Some(site) = domain.site().filter(|_| domain.in_ring) {
                queues.sites.lose(site, aside.ready.len());
            }
        }
        Some((aside, under_way))
    }

    /// A slice: what is wanted is due now, but what an operator holds; all goes back to the queue. True: all of it did. Effects are to be carried out.
    pub fn hurry(
        &mut self,
        queues: &mut Destinations,
        filter: &Filter,
        times: Times<'_>,
        looks: usize,
        tally: &mut Tally,
    ) -> (bool, Option<Effect>) {
        let mut effect = None;
        for _ in 0..looks {
            let Some(Deferred(mut group)) = self.deferred.pop() else { break };
            if filter.wants(&group, GroupState::Deferred, times) && !group.is_kept() {
                tally.add(group.count, GroupState::Deferred);
                group.resume();
                self.hasten(queues);
            }
            queues.now = times.now;
            effect = queues.enqueue(self.key, group, times.now).or(effect);
        }
        (self.deferred.is_empty(), effect)
    }

    /// A slice: what was put aside for a suspension is due now, all goes back to the queue. True: all of it did. Effects are to be carried
    /// out.
    pub fn resume(&mut self, queues: &mut Destinations, now: u32, looks: usize) -> (bool, Option<Effect>) {
        let mut effect = None;
        for _ in 0..looks {
            let Some(Deferred(mut group)) = self.deferred.pop() else { break };
            if group.standing == GroupPhase::Suspended {
                group.resume();
            }
            queues.now = now;
            effect = queues.enqueue(self.key, group, now).or(effect);
        }
        (self.deferred.is_empty(), effect)
    }

    /// What is ready, and wanted, waits for its site alone: that opens.
    pub fn hurry_ready(
        &mut self,
        queues: &mut Destinations,
        filter: &Filter,
        times: Times<'_>,
        places: std::ops::Range<usize>,
        tally: &mut Tally,
    ) -> Option<Effect> {
        let domain = queues.domains.get(self.key)?;
        let mut met = false;
        for group in
            domain.ready.range(places.start.min(domain.ready.len())..places.end.min(domain.ready.len()))
        {
            if filter.wants(group, GroupState::Ready, times) {
                tally.add(group.count, GroupState::Ready);
                met = true;
            }
        }
        if met {
            self.hasten(queues);
        }
        let site = queues.domains.get(self.key)?.site().filter(|_| met)?;
        Some(Effect::Pump(site))
    }

    /// Groups of the domain that are ready.
    pub fn ready(&self, queues: &Destinations) -> usize {
        queues.domains.get(self.key).map_or(0, |domain| domain.ready.len())
    }

    /// The site of the domain opens, or will when it is known.
    fn hasten(&mut self, queues: &mut Destinations) {
        if std::mem::replace(&mut self.hurried, true) {
            return;
        }
        let Some(domain) = queues.domains.get_mut(self.key) else { return };
        match domain.site() {
            Some(site) => queues.sites.hurry(site),
            None => domain.hurried = true,
        }
    }

    /// The next group that is wanted leaves the queue, or the part of it that is meant; others go back.
    pub fn next(
        &mut self,
        queues: &mut Destinations,
        filter: &Filter,
        times: Times<'_>,
        looks: usize,
        effect: &mut Option<Effect>,
    ) -> NextGroup {
        self.next_of(queues, (filter, |_| true), times, looks, effect)
    }

    /// The same, of those among them that are `meant` too.
    pub fn next_of(
        &mut self,
        queues: &mut Destinations,
        (filter, meant): (&Filter, impl Fn(&Group) -> bool),
        times: Times<'_>,
        looks: usize,
        effect: &mut Option<Effect>,
    ) -> NextGroup {
        for _ in 0..looks {
            let (group, state) = match (self.deferred.last(), self.ready.front()) {
                (Some(Deferred(group)), _) => (*group, GroupState::Deferred),
                (None, Some(group)) => (*group, GroupState::Ready),
                (None, None) => return NextGroup::Nothing,
            };
            let wanted = filter.wants(&group, state, times) && meant(&group);
            let meant = wanted.then(|| filter.first(&group)).flatten();
            if meant.is_some() {
                if !queues.take_credit(group.location.lane) {
                    return NextGroup::Starved;
                }
                if let Some(domain) = queues.domains.get_mut(self.key) {
                    domain.active += 1;
                }
            }
            if self.deferred.pop().is_none() {
                self.ready.pop_front();
            }
            let Some((first, count)) = meant else {
                *effect = self.put_back(queues, group, state, times).or(effect.take());
                continue;
            };
            // Those before it are not meant; of those behind it some may be, and they are looked at next.
            let (meant, rest) = group.cut(first, count);
            for part in rest {
                match state {
                    _ if part.first < first => {
                        *effect = self.put_back(queues, part, state, times).or(effect.take())
                    }
                    GroupState::Deferred | GroupState::Suspended | GroupState::Held => {
                        self.deferred.push(Deferred(part))
                    }
                    GroupState::Ready => self.ready.push_front(part),
                }
            }
            return NextGroup::Taken(self.key, meant);
        }
        NextGroup::Unfinished
    }

    fn put_back(
        &self,
        queues: &mut Destinations,
        group: Group,
        state: GroupState,
        times: Times<'_>,
    ) -> Option<Effect> {
        queues.now = times.now;
        if state == GroupState::Deferred {
            return queues.enqueue(self.key, group, times.now);
        }
        // What is told that it waits says so by the same field as what is deferred: it stays where it was.
        queues.domains.get_mut(self.key)?.ready.push_back(group);
        queues.activate(self.key, 1)
    }

    /// A slice of the end: what is left goes back as it was. True: that is all, and the domain is as all others.
    pub fn end(
        &mut self,
        queues: &mut Destinations,
        times: Times<'_>,
        looks: usize,
    ) -> (bool, Option<Effect>) {
        let mut effect = None;
        for _ in 0..looks {
            let (group, state) = match self.deferred.pop() {
                Some(Deferred(group)) => (group, GroupState::Deferred),
                None => match self.ready.pop_front() {
                    Some(group) => (group, GroupState::Ready),
                    None => {
                        if let Some(domain) = queues.domains.get_mut(self.key) {
                            domain.active -= 1;
                        }
                        queues.rest(self.key);
                        return (true, effect);
                    }
                },
            };
            effect = self.put_back(queues, group, state, times).or(effect);
        }
        (false, effect)
    }
}

#[cfg(test)]
mod tests;
