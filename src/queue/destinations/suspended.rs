//! Mail that is suspended, as far as queues know it: it leaves the ring of its site, and is put aside until the suspension ends, or taken out to go
//! back to its senders. So it costs nothing while it waits: nobody asks where its domain leads, and no connection is opened for it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::credits::Credits;
use super::domain::Domain;
use super::domains::Domains;
use super::effect::Effect;
use super::keys::{DomainKey, SiteKey};
use super::sites::Sites;
use crate::queue::select::Place;
use crate::queue::suspension::{self, ActiveSuspensions, Found, Suspension};
use crate::queue::{Group, GroupPhase};

/// What a step with suspended mail brought.
#[derive(Debug)]
pub enum PutAside {
    /// This is past its expiry: settle it as expired. One credit is taken.
    Expired(DomainKey, Group, Box<Suspension>),
    /// This goes back to its sender, as the suspension says. One credit is taken.
    Returned(DomainKey, Group, Box<Suspension>),
    /// A domain has none any more: to be carried out.
    Over(Option<Effect>),
    /// What is to go back finds no credit now.
    Starved,
    /// These were looks enough.
    Unfinished,
    /// There is no such mail.
    Nothing,
}

pub(super) enum PutAsideStep {
    Told(PutAside),
    /// Nothing of this domain is to be put aside any more.
    Over(DomainKey),
}

/// What holds for all mail of a domain.
pub(super) fn of<'a>(
    held: &'a ActiveSuspensions,
    (domains, sites): (&Domains, &Sites),
    key: DomainKey,
    now: u32,
) -> Option<Found<'a>> {
    if held.is_empty() {
        return None;
    }
    domains.get(key).and_then(|domain| of_domain(held, sites, domain, now))
}

fn of_domain<'a>(held: &'a ActiveSuspensions, sites: &Sites, domain: &Domain, now: u32) -> Option<Found<'a>> {
    let site = domain.site().map(|site| sites.get(site).name());
    held.at(Place { domain: &domain.name, site }, now)
}

/// Whether all mail of a domain is returned, wherever it leads: also what is not due.
fn returns(held: &ActiveSuspensions, domains: &Domains, key: DomainKey, now: u32) -> bool {
    if held.is_empty() {
        return false;
    }
    let Some(domain) = domains.get(key) else { return false };
    let found = held.at(Place { domain: &domain.name, site: None }, now);
    found.is_some_and(|found| found.suspension.effect == suspension::Effect::Return)
}

/// Whether a group is to be taken up: its time has come, or its mail goes back, but what an operator holds.
pub(super) fn is_due(
    held: &ActiveSuspensions,
    domains: &Domains,
    (key, group): (DomainKey, &Group),
    now: u32,
) -> bool {
    group.not_before <= now || !group.is_kept() && returns(held, domains, key, now)
}

/// A domain got ready groups: whether these are suspended, and noted.
pub(super) fn note(
    held: &ActiveSuspensions,
    (domains, sites, aside): (&mut Domains, &mut Sites, &mut BTreeSet<DomainKey>),
    (key, groups): (DomainKey, usize),
    now: u32,
) -> bool {
    if of(held, (domains, sites), key, now).is_none() {
        return false;
    }
    aside.insert(key);
    // As long as it has its turn, all of it that is ready counts.
    if let Some(domain) = domains.get_mut(key).filter(|domain| domain.in_ring)
        && let Some(site) = domain.site()
    {
        sites.gain(site, key, domain, groups);
    }
    true
}

/// Whether a domain that is next at its site is suspended: it leaves the ring.
pub(super) fn stops(
    held: &ActiveSuspensions,
    sites: &mut Sites,
    (site, domain): (SiteKey, &mut Domain),
    now: u32,
) -> bool {
    let suspended = of_domain(held, sites, domain, now).is_some();
    if suspended {
        sites.lose(site, domain.ready.len());
        domain.in_ring = false;
    }
    suspended
}

/// Those of these slots whose mail is suspended leave the rings of their sites, and are noted.
pub(super) fn leave(
    held: &ActiveSuspensions,
    (domains, sites, aside): (&mut Domains, &mut Sites, &mut BTreeSet<DomainKey>),
    now: u32,
    slots: Range<usize>,
) {
    if held.is_empty() {
        return;
    }
    for slot in slots {
        let Some((key, domain)) = domains.at(slot) else { break };
        let Some(domain) = domain.filter(|domain| !(domain.ready.is_empty() && domain.deferred.is_empty()))
        else {
            continue;
        };
        let Some(found) = of_domain(held, sites, domain, now) else { continue };
        if domain.ready.is_empty() && found.suspension.effect == suspension::Effect::Wait {
            continue;
        }
        aside.insert(key);
        let (left, site) = ((domain.flow(), domain.ready.len()), domain.site());
        if let Some(site) = site.filter(|_| std::mem::take(&mut domain.in_ring)) {
            sites.withdraw(site, left, domains);
        }
    }
}

/// The next step with the domains that were noted.
pub(super) fn next(
    held: &ActiveSuspensions,
    (domains, sites, credits): (&mut Domains, &mut Sites, &mut Credits),
    aside: &mut BTreeSet<DomainKey>,
    now: u32,
    looks: &mut usize,
) -> PutAsideStep {
    loop {
        let Some(key) = aside.first().copied() else { return PutAsideStep::Told(PutAside::Nothing) };
        let Some(found) = of(held, (domains, sites), key, now) else {
            aside.remove(&key);
            return PutAsideStep::Over(key);
        };
        let Some(domain) = domains.get_mut(key) else { continue };
        let returns = found.suspension.effect == suspension::Effect::Return;
        let waits = if returns { domain.deferred.peek().map(|first| first.0) } else { None };
        let Some(group) = domain.ready.front().copied().or(waits) else {
            aside.remove(&key);
            return PutAsideStep::Over(key);
        };
        if *looks == 0 {
            return PutAsideStep::Told(PutAside::Unfinished);
        }
        *looks -= 1;
        // Whose time is over is given up, also what a start found so: it would not be tried before the suspension ends.
        let expired = group.expiry <= now;
        let ends = (returns || expired) && credits.take(group.location.lane);
        if returns && !ends {
            return PutAsideStep::Told(PutAside::Starved);
        }
        if domain.ready.pop_front().is_none() {
            domain.deferred.pop();
        }
        if ends {
            domain.active += 1;
            let suspension = Box::new(found.suspension.clone());
            return PutAsideStep::Told(match expired {
                true => PutAside::Expired(key, group, suspension),
                false => PutAside::Returned(key, group, suspension),
            });
        }
        // One that is too old and finds no credit is due again at once.
        domains.defer(key, Group { standing: GroupPhase::Suspended, not_before: found.until, ..group });
    }
}

#[cfg(test)]
mod tests;
