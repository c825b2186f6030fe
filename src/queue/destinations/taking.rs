//! What a connection of a site works on next.

use std::collections::BTreeSet;

use super::credits::Credits;
use super::domains::Domains;
use super::effect::Take;
use super::keys::{DomainKey, SiteKey};
use super::resting::Resting;
use super::sites::Sites;
use super::{routes, suspended};
use crate::queue::flow::Weights;
use crate::queue::suspension::ActiveSuspensions;

/// The parts of the queues that are changed by it.
pub(super) struct Parts<'a> {
    pub(super) domains: &'a mut Domains,
    pub(super) sites: &'a mut Sites,
    pub(super) credits: &'a mut Credits,
    pub(super) aside: &'a mut BTreeSet<DomainKey>,
    pub(super) resting: &'a mut Resting,
}

/// Work for a connection of this site. Each domain of its rings is looked at once at most, or twice where several flows have mail: one whose lane
/// has no credit is passed over.
pub(super) fn take(
    Parts { domains, sites, credits, aside, resting }: Parts<'_>,
    (held, weights): (&ActiveSuspensions, &Weights),
    (site, now): (SiteKey, u32),
    allows: &mut dyn FnMut(u32) -> bool,
) -> Take {
    let state = sites.get(site);
    if state.is_closed(now) {
        return Take::Nothing;
    }
    let mut search = state.rings.search();
    loop {
        let mut rests = |tenant| !resting.is_empty() && resting.meets(tenant, site);
        let found = sites.get_mut(site).rings.pop(&mut search, &mut rests);
        let Some((flow, turn)) = found else { return Take::Nothing };
        let (key, Some(domain)) = (turn.key, domains.of_mut(turn)) else {
            sites.get_mut(site).rings.met(flow);
            continue;
        };
        let Some(group) = domain.ready.front().copied() else {
            domain.in_ring = false;
            routes::rest((domains, sites), key, now);
            continue;
        };
        if sites.is_astray(domain) {
            // [`Destinations::rerouted`] comes to it, and asks where it leads now.
            sites.lose(site, domain.ready.len());
            domain.in_ring = false;
            sites.lead(domain, None);
            continue;
        }
        if !held.is_empty() && suspended::stops(held, sites, (site, domain), now) {
            aside.insert(key);
            continue;
        }
        if !credits.take(group.location.lane) {
            sites.get_mut(site).rings.pass_over(flow, turn, &mut search);
            sites.starve(site);
            continue;
        }
        let expired = group.is_expired(now);
        if !expired && !allows(flow.tenant) {
            credits.give(group.location.lane, 1);
            sites.get_mut(site).rings.push(flow, turn);
            resting.rest(flow.tenant, site);
            continue;
        }
        domain.ready.pop_front();
        domain.active += 1;
        sites.lose(site, 1);
        let rings = &mut sites.get_mut(site).rings;
        if domain.ready.is_empty() {
            domain.in_ring = false;
        } else {
            rings.push(flow, turn);
        }
        if expired {
            return Take::Expired(key, group);
        }
        let last = rings.serve(flow, &search, weights);
        return if last { Take::Last(key, group) } else { Take::Job(key, group) };
    }
}
