//! Domains whose routes may be others by now: those whose mail never pauses, and all where the operator says so.

use std::collections::VecDeque;
use std::ops::Range;

use super::credits::Credits;
use super::domains::Domains;
use super::effect::Effect;
use super::keys::DomainKey;
use super::sites::Sites;
use crate::limits;
use crate::queue::Group;

/// Those of these slots whose mail has gone on for long by the site that was found once.
pub(super) fn resolve_busy(
    (domains, sites): (&mut Domains, &Sites),
    now: u32,
    slots: Range<usize>,
) -> Vec<Effect> {
    let mut effects = Vec::new();
    for slot in slots {
        let Some((key, domain)) = domains.at(slot) else { break };
        let Some(domain) = domain else { continue };
        let Some(site) = domain.site() else { continue };
        let busy = domain.active > 0 || domain.in_ring;
        let closed = sites.get(site).is_closed(now);
        let old = domain.since.saturating_add(limits::RESOLVED_AGAIN) <= now;
        if busy && old && !closed && domain.is_first_asked(now) {
            effects.push(Effect::Resolve(key, domain.name.clone()));
        }
    }
    effects
}

/// The domain leads to its site no more.
pub(super) fn leave_site((domains, sites): (&mut Domains, &mut Sites), key: DomainKey) {
    let Some(domain) = domains.get_mut(key) else { return };
    let Some(site) = domain.site() else { return };
    sites.lead(domain, None);
    if std::mem::take(&mut domain.in_ring) {
        let left = (domain.flow(), domain.ready.len());
        sites.withdraw(site, left, domains);
    }
}

/// Those of these slots whose mail was led by other routes leave their sites.
pub(super) fn rerouted(
    (domains, sites): (&mut Domains, &mut Sites),
    now: u32,
    slots: Range<usize>,
) -> Vec<Effect> {
    let mut effects = Vec::new();
    for slot in slots {
        let Some((key, domain)) = domains.at(slot) else { break };
        let Some(domain) = domain else { continue };
        if domain.site().is_some() && !sites.is_astray(domain) {
            continue;
        }
        leave_site((domains, sites), key);
        let Some(domain) = domains.get_mut(key) else { continue };
        if !domain.ready.is_empty() && domain.is_first_asked(now) {
            effects.push(Effect::Resolve(key, domain.name.clone()));
        }
    }
    effects
}

/// A domain whose mail all waits for a later time needs no room for more, and no site: it asks for that again then. One without mail is
/// forgotten in a moment.
pub(super) fn rest((domains, sites): (&mut Domains, &mut Sites), key: DomainKey, now: u32) {
    let Some(domain) = domains.get_mut(key).filter(|domain| domain.is_idle()) else { return };
    if domain.deferred.is_empty() {
        if let Some(site) = domains.leaves(key, now) {
            sites.lost(site);
        }
        return;
    }
    domain.ready = VecDeque::new();
    sites.lead(domain, None);
}

/// The first of the groups of a domain that does not resolve, its credit taken.
pub(super) fn take_unresolved(
    (domains, credits): (&mut Domains, &mut Credits),
    key: DomainKey,
) -> Option<Group> {
    let domain = domains.get_mut(key)?;
    let group = *domain.ready.front()?;
    if !credits.take(group.location.lane) {
        return None;
    }
    domain.active += 1;
    domain.ready.pop_front()
}
