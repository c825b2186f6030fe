//! The queues of one shard: groups wait in their domain, domains in their site.
//!
//! Pure. A *domain* is what the home-shard hash routes; a *site* is the set of hosts it resolves to, and what limits and
//! back-off apply to. The driver (`shard::outbound::dispatch`) carries out the [`Effect`]s.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::limits;
use crate::queue::Group;
use crate::queue::flow::{Strand, Weights};
use crate::queue::suspension::ActiveSuspensions;
use crate::route::egress::EgressKey;

pub mod aside;
mod closed;
mod credits;
mod domain;
mod domains;
mod effect;
mod keys;
pub mod known;
pub mod moves;
mod over_node;
mod resting;
mod ring;
mod rings;
mod routes;
mod shares;
mod sites;
pub mod summary;
mod suspended;
mod taking;
mod unanswered;
pub mod walk;
mod walked;

use credits::Credits;
use domains::Domains;
pub use effect::{Effect, Take};
pub use keys::{DomainKey, SiteKey};
use over_node::OverNode;
use resting::Resting;
use sites::Sites;
pub use suspended::PutAside;
use unanswered::Sweep;
pub use unanswered::Unanswered;

/// All queues of one shard.
#[derive(Debug)]
pub struct Destinations {
    domains: Domains,
    sites: Sites,
    credits: Credits,
    /// Which group is looked at next of those whose domain is asked for.
    unanswered: Sweep,
    /// What is suspended, and the domains with mail that is to be put aside for that.
    held: ActiveSuspensions,
    /// What tenants weigh.
    weights: Weights,
    /// Those that may begin nothing now.
    resting: Resting,
    aside: BTreeSet<DomainKey>,
    now: u32,
    queued: usize,
}

impl Destinations {
    /// Empty queues, with so many outcome credits for each lane.
    pub fn new(credits: Vec<u32>) -> Destinations {
        Destinations {
            domains: Domains::default(),
            sites: Sites::default(),
            credits: Credits::new(credits),
            unanswered: Sweep::default(),
            held: ActiveSuspensions::default(),
            weights: Weights::default(),
            resting: Resting::default(),
            aside: BTreeSet::new(),
            now: 0,
            queued: 0,
        }
    }

    /// Recipients queued here, those under way included.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Groups that wait for nothing but a connection.
    pub fn waiting_groups(&self) -> usize {
        self.sites.ready()
    }

    /// The domain's name.
    pub fn name(&self, domain: DomainKey) -> &str {
        self.domains.get(domain).map_or("", |domain| &domain.name)
    }

    /// By which pool and source the mail of a domain leaves.
    pub fn egress(&self, domain: DomainKey) -> EgressKey {
        self.domains.get(domain).map_or(EgressKey::NODE, |domain| domain.egress)
    }

    /// The site of a domain, while it has one.
    pub fn site_of(&self, domain: DomainKey) -> Option<SiteKey> {
        self.domains.get(domain)?.site()
    }

    /// Who brought mail for the domain last, a hash; whatever is asked for it again is asked on his behalf.
    pub fn client(&self, domain: DomainKey) -> u32 {
        self.domains.get(domain).map_or(0, |domain| domain.client)
    }

    /// Groups that wait to hear where their domain leads.
    pub fn unrouted(&self, key: DomainKey) -> usize {
        self.domains.get(key).map_or(0, |domain| domain.ready.len())
    }

    /// Domains that there are keys for, those in use and those that are free.
    pub fn domain_slots(&self) -> usize {
        self.domains.slots()
    }

    /// Sites that there are keys for, those in use and those that are free.
    pub fn site_slots(&self) -> usize {
        self.sites.slots()
    }

    /// The key of one of them.
    pub fn site_at(&self, slot: usize) -> SiteKey {
        SiteKey(slot as u32)
    }

    /// Queues a group of nobody in particular. `name` is lower case.
    pub fn push(&mut self, name: &str, group: Group, now: u32) -> Option<Effect> {
        self.push_for((name, Strand::default()), group, now, 0)
    }

    /// Queues a group that `client` brought, for a domain.
    pub fn push_for(
        &mut self,
        (name, strand): (&str, Strand),
        group: Group,
        now: u32,
        client: u32,
    ) -> Option<Effect> {
        self.queued += usize::from(group.count);
        self.now = now;
        let key = self.domains.named(name, strand, &self.weights);
        let domain = self.domains.get_mut(key)?;
        domain.client = client;
        let rests = domain.active == 0 && !domain.in_ring;
        if rests && domain.since.saturating_add(limits::RESOLVED_FOR) <= now {
            self.sites.lead(domain, None);
        }
        self.enqueue(key, group, now)
    }

    fn enqueue(&mut self, key: DomainKey, group: Group, now: u32) -> Option<Effect> {
        if group.not_before > now && !suspended::returns(&self.held, &self.domains, key, now) {
            self.domains.defer(key, group);
            return None;
        }
        self.domains.get_mut(key)?.ready.push_back(group);
        self.activate(key, 1)
    }

    /// A domain got ready groups: into its site's ring, or to the resolver.
    fn activate(&mut self, key: DomainKey, groups: usize) -> Option<Effect> {
        let parts = (&mut self.domains, &mut self.sites, &mut self.aside);
        if suspended::note(&self.held, parts, (key, groups), self.now) {
            return None;
        }
        let domain = self.domains.get_mut(key)?;
        let Some(site) = domain.site() else {
            if !domain.is_first_asked(self.now) {
                return None;
            }
            return Some(Effect::Resolve(key, domain.name.clone()));
        };
        // What was put aside, and is not suspended any more, comes with those that are new.
        let groups = if domain.in_ring { groups } else { domain.ready.len() };
        self.sites.gain(site, key, domain, groups);
        Some(Effect::Pump(site))
    }

    /// This is suspended from now on. Nothing is taken any more of what that means; [`Destinations::look_at_suspended`] is to be called for
    /// all slots.
    pub fn suspend(&mut self, held: ActiveSuspensions) -> ActiveSuspensions {
        std::mem::replace(&mut self.held, held)
    }

    /// What is suspended.
    pub fn held(&self) -> &ActiveSuspensions {
        &self.held
    }

    fn is_suspended(&self, key: DomainKey, now: u32) -> bool {
        suspended::of(&self.held, (&self.domains, &self.sites), key, now).is_some()
    }

    /// Those of these slots whose mail is suspended leave their sites.
    pub fn look_at_suspended(&mut self, now: u32, slots: Range<usize>) {
        let parts = (&mut self.domains, &mut self.sites, &mut self.aside);
        suspended::leave(&self.held, parts, now, slots);
    }

    /// The next step with domains whose mail is suspended: with no more than `looks`, what of it waits is put aside.
    pub fn put_aside(&mut self, now: u32, looks: &mut usize) -> PutAside {
        self.now = now;
        let parts = (&mut self.domains, &mut self.sites, &mut self.credits);
        let next = suspended::next(&self.held, parts, &mut self.aside, now, looks);
        match next {
            suspended::PutAsideStep::Told(told) => told,
            suspended::PutAsideStep::Over(key) => {
                let ready = self.domains.get(key).map_or(0, |domain| domain.ready.len());
                let effect = if ready > 0 { self.activate(key, ready) } else { None };
                self.rest(key);
                PutAside::Over(effect)
            }
        }
    }

    /// Whether there is something to be put aside.
    pub fn is_to_put_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Whether a domain has mail that was put aside and is not suspended any more; of one with more mail than so many looks the same is said.
    pub fn has_resumed(&self, key: DomainKey, now: u32, looks: usize) -> bool {
        !self.is_suspended(key, now) && self.domains.get(key).is_some_and(|domain| domain.has_aside(looks))
    }

    /// The key of a domain in a slot.
    pub fn domain_at(&self, slot: usize) -> DomainKey {
        DomainKey(slot as u32)
    }

    /// A domain whose mail all waits needs no room for more, and no site: it asks for that again. One without mail is soon forgotten.
    fn rest(&mut self, key: DomainKey) {
        routes::rest((&mut self.domains, &mut self.sites), key, self.now);
    }

    /// The key of the site of this canonical name.
    pub fn site(&mut self, name: &str) -> SiteKey {
        self.sites.named(name)
    }

    /// Forgets sites no domain belongs to and nobody is `busy` with, so that memory follows the queue: of these slots, as not all are
    /// looked at in one turn.
    pub fn forget_idle_sites(
        &mut self,
        now: u32,
        slots: Range<usize>,
        busy: impl Fn(SiteKey) -> bool,
    ) -> Vec<SiteKey> {
        self.sites.forget_idle(now, slots, busy)
    }

    /// The domain resolves to the site of this name (a canonical one: equal sites have equal names).
    /// The site, if it has something to do now.
    pub fn resolved(&mut self, key: DomainKey, site: &str) -> Option<SiteKey> {
        let site = self.sites.named(site);
        let domain = self.domains.get_mut(key)?;
        domain.resolving = false;
        domain.since = self.now;
        let domain = match domain.site() {
            None => domain,
            // It was asked for again while its mail was under way.
            Some(before) if before == site => {
                self.rest(key);
                return None;
            }
            Some(_) => {
                self.leave_site(key);
                self.domains.get_mut(key)?
            }
        };
        self.sites.lead(domain, Some(site));
        if std::mem::take(&mut domain.hurried) {
            self.sites.hurry(site);
        }
        let ready = domain.ready.len();
        if ready == 0 {
            self.rest(key);
            return None;
        }
        self.activate(key, ready).map(|_| site)
    }

    /// The domain does not resolve (yet): the first of its ready groups, its credit taken, so that the caller settles it. None: there
    /// is none, or no credit for it. To be ended with [`Destinations::unresolved`].
    pub fn take_unresolved(&mut self, key: DomainKey) -> Option<Group> {
        routes::take_unresolved((&mut self.domains, &mut self.credits), key)
    }

    /// That is all for now: for what is left of its groups the domain is asked for again by [`Destinations::tick`].
    pub fn unresolved(&mut self, key: DomainKey, now: u32, retry_in: u32) {
        let Some(domain) = self.domains.get_mut(key) else { return };
        domain.resolving = false;
        if !domain.ready.is_empty() {
            self.domains.wake(key, now + retry_in.max(1));
        }
        self.rest(key);
    }

    /// Those of these slots whose mail has gone on for long by the site that was found once: they are to be asked for again, as its hosts
    /// may be others by now, and their mail goes on meanwhile. What waits for a closed site is asked for when that opens.
    pub fn resolve_busy(&mut self, now: u32, slots: Range<usize>) -> Vec<Effect> {
        routes::resolve_busy((&mut self.domains, &self.sites), now, slots)
    }

    /// Nobody could say where the domain leads now. True: its mail goes on to the site it has.
    pub fn goes_on(&mut self, key: DomainKey) -> bool {
        let Some(domain) = self.domains.get_mut(key).filter(|domain| domain.site().is_some()) else {
            return false;
        };
        domain.resolving = false;
        self.rest(key);
        true
    }

    /// The domain leads to its site no more: what waits there waits for the answer where it leads.
    pub fn leave_site(&mut self, key: DomainKey) {
        routes::leave_site((&mut self.domains, &mut self.sites), key);
    }

    /// Other routes hold from now on. Nothing is taken any more of a domain that was led by those before, until it is asked for anew:
    /// [`Destinations::rerouted`] is to be called for all slots.
    pub fn reroute(&mut self) {
        self.sites.reroute();
    }

    /// Those of these slots whose mail was led by other routes wait for what those that hold now say.
    pub fn rerouted(&mut self, now: u32, slots: Range<usize>) -> Vec<Effect> {
        routes::rerouted((&mut self.domains, &mut self.sites), now, slots)
    }

    /// Whether any domain leads to this site.
    pub fn is_led_to(&self, site: SiteKey) -> bool {
        self.sites.domains(site) > 0
    }

    /// Work for a connection of this site.
    pub fn take(&mut self, site: SiteKey, now: u32) -> Take {
        self.take_allowed(site, now, &mut |_| true)
    }

    /// The same, where mail of a tenant may be begun that `allows` it: it is asked for each message, and one of whom it says no rests.
    pub fn take_allowed(&mut self, site: SiteKey, now: u32, allows: &mut dyn FnMut(u32) -> bool) -> Take {
        self.now = now;
        let Destinations { domains, sites, credits, aside, resting, .. } = self;
        let parts = taking::Parts { domains, sites, credits, aside, resting };
        taking::take(parts, (&self.held, &self.weights), (site, now), allows)
    }

    /// Whether all that waits at a site is of tenants that rest. It is told of when they do not.
    pub fn rests(&mut self, site: SiteKey) -> bool {
        let Destinations { sites, resting, .. } = self;
        !resting.is_empty() && sites.get_mut(site).rings.rests(&mut |tenant| resting.meets(tenant, site))
    }

    /// A tenant that began to rest: [`Destinations::resume_tenant`] is to be called when it may go on.
    pub fn take_resting(&mut self) -> Option<u32> {
        self.resting.take_new()
    }

    /// A tenant may go on: so many of the sites where its mail was passed over. True: there are more, and this is to be called again.
    pub fn resume_tenant(&mut self, tenant: u32, most: usize) -> (Vec<SiteKey>, bool) {
        let resumed = self.resting.resume(tenant, most);
        resumed.0.iter().for_each(|site| self.sites.wake(*site, tenant));
        resumed
    }

    /// What tenants weigh from now on.
    pub fn set_weights(&mut self, weights: Weights) {
        self.weights = weights;
    }

    /// How a site stands to other shards.
    pub fn over_node(&mut self, site: SiteKey) -> OverNode<'_> {
        OverNode { sites: &mut self.sites, resting: &mut self.resting, weights: &self.weights, site }
    }

    /// Whether no connection of this site would get work now, as the credits of its lanes are all out. It is asked to pump
    /// when some come home.
    pub fn is_starved(&mut self, site: SiteKey) -> bool {
        credits::is_starved((&self.domains, &mut self.sites, &self.credits), site)
    }

    /// The domain whose mail is next at a site, and how many others have mail there.
    pub fn waiting_at(&self, site: SiteKey) -> Option<(&str, usize)> {
        let rings = &self.sites.get(site).rings;
        let first = rings.some().find_map(|turn| self.domains.of(turn))?;
        Some((&*first.name, rings.len() - 1))
    }

    /// Groups that a connection could take now.
    pub fn ready(&self, site: SiteKey, now: u32) -> usize {
        self.sites.get(site).ready(now)
    }

    /// An attempt ended: `again` are the parts to be tried later; the rest of `group` is settled. The credit comes home by
    /// [`Destinations::credit`] once the outcome is synced.
    pub fn attempted(&mut self, key: DomainKey, group: &Group, again: &[Group], now: u32) {
        let left: usize = again.iter().map(|group| usize::from(group.count)).sum();
        self.queued = self.queued.saturating_sub(usize::from(group.count)) + left;
        self.now = now;
        if let Some(domain) = self.domains.get_mut(key) {
            domain.active -= 1;
        }
        for group in again {
            // One that is due already waits for the next tick, which says who is to work on it: nobody listens here.
            let not_before = group.not_before.max(now.saturating_add(1));
            self.enqueue(key, Group { not_before, ..*group }, now);
        }
        self.rest(key);
    }

    /// The attempt never began (the connection was stale, or never came up): the group goes back to the front with its credit.
    #[must_use = "nobody works on the group, or asks where its domain leads, unless this is carried out"]
    pub fn put_back(&mut self, key: DomainKey, group: Group) -> Option<Effect> {
        self.take_back(key, group);
        self.activate(key, 1)
    }

    /// As [`Destinations::put_back`], where nothing can be carried out: the next [`Destinations::tick`] says what is to be done.
    pub fn put_back_unheard(&mut self, key: DomainKey, group: Group) {
        self.take_back(key, group);
        // The site may be another by now than the one whose connection gives the group back, or the domain may have none: then it is
        // not asked for by anybody before the tick asks.
        if self.site_of(key).is_some() {
            self.activate(key, 1);
        }
        self.domains.wake(key, self.now);
    }

    fn take_back(&mut self, key: DomainKey, group: Group) {
        self.credits.give_back(group.location.lane);
        let Some(domain) = self.domains.get_mut(key) else { return };
        domain.active -= 1;
        domain.ready.push_front(group);
        self.domains.put_in_front(key);
    }

    /// One more credit of a lane, for an attempt that goes on when what it brought so far went out with the one it had. False: all
    /// are out.
    pub fn take_credit(&mut self, lane: u16) -> bool {
        self.credits.take(lane)
    }

    /// Synced outcomes bring credits home: sites that found none, to be pumped.
    pub fn credit(&mut self, lane: u16, count: u32) -> Vec<SiteKey> {
        self.credits.give(lane, count);
        self.sites.take_starved()
    }

    /// Attempts whose outcome is not synced yet, given how many credits there were at first.
    pub fn credits_out(&self, initial: u32) -> u32 {
        self.credits.out(initial)
    }

    /// The site as a whole failed (no host took a connection): nothing is started before `until`.
    pub fn close_site(&mut self, site: SiteKey, until: u32) {
        self.sites.close(site, until);
    }

    /// The site works.
    pub fn open_site(&mut self, site: SiteKey) {
        self.sites.open(site);
    }

    /// Whether nothing is started at a site now.
    pub fn is_closed(&self, site: SiteKey, now: u32) -> bool {
        self.sites.get(site).is_closed(now)
    }

    /// Until when nothing is started at a site; None: it is not closed.
    pub fn closed_until(&self, site: SiteKey, now: u32) -> Option<u32> {
        Some(self.sites.get(site).closed_until).filter(|until| *until > now)
    }

    /// Failures of the site in a row.
    pub fn failures(&self, site: SiteKey) -> u32 {
        self.sites.get(site).failures
    }

    /// Tells one that waits for a closed site that it could not be reached, and was not told so or is to be told again: an attempt
    /// more, and when this is said next (`next`, by attempts; not before the site is tried again). It stays where it is, so that it
    /// goes out as soon as the site opens. A credit is taken. No more than `looks`.
    pub fn tell(
        &mut self,
        site: SiteKey,
        now: u32,
        looks: &mut usize,
        next: impl FnOnce(u16) -> u32,
    ) -> Option<(DomainKey, Group)> {
        closed::tell((&mut self.domains, &mut self.sites, &mut self.credits), site, now, looks, next)
    }

    /// While a site is closed, or waits, its oldest groups may expire: one at the head of a domain, its credit taken. No more than `looks`.
    pub fn expire(
        &mut self,
        site: SiteKey,
        looks: &mut usize,
        is_too_old: impl Fn(&Group) -> bool,
    ) -> Option<(DomainKey, Group)> {
        closed::expire((&mut self.domains, &mut self.sites, &mut self.credits), site, looks, is_too_old)
    }

    /// The next group whose domain is asked for, in vain, since `patience` seconds and that was not told so or is to be told again (`next`,
    /// by attempts), or that is too old. Goes on where it was last, to the end of all domains at most, with no more than `looks`.
    pub fn unanswered(
        &mut self,
        now: u32,
        patience: u32,
        looks: &mut usize,
        next: impl FnOnce(u16) -> u32,
    ) -> Option<Unanswered> {
        self.unanswered.next((&mut self.domains, &mut self.credits), (now, patience), looks, next)
    }

    /// Moves what is due to where it can be taken, at most `bound` groups and sites; the rest follows at the next call.
    pub fn tick(&mut self, now: u32, bound: usize) -> Vec<Effect> {
        self.now = now;
        // Those whose moment is over.
        while self.domains.is_left(now) {
            if let Some(site) = self.domains.forget_first() {
                self.sites.lost(site);
            }
        }
        let mut effects = credits::came_back(&mut self.credits, &mut self.sites);
        let (mut moved, mut looked) = (0, 0);
        while moved < bound
            && looked < bound
            && let Some(key) = self.domains.take_due(now)
        {
            looked += 1;
            let Some(domain) = self.domains.get_mut(key) else { continue };
            let ready = domain.ready_due(now, bound - moved);
            moved += ready;
            // Mail that waited may find its domain elsewhere; the resolver's cache knows how long an answer holds.
            if ready > 0 && !domain.in_ring && domain.active == 0 {
                self.sites.lead(domain, None);
            }
            // What became ready, did not lead anywhere, or was put back when nobody listened.
            let waits = !domain.ready.is_empty();
            if let Some(next) = domain.next_due() {
                self.domains.wake(key, next);
            }
            if waits {
                effects.extend(self.activate(key, ready));
            }
        }
        // With a bound of their own: no mail that is due for long keeps sites closed.
        let mut tried = 0;
        while tried < bound
            && let Some(site) = self.sites.take_due(now)
        {
            tried += 1 + self.resolve_again(site, &mut effects);
            effects.push(Effect::Pump(site));
        }
        effects
    }

    /// A site that failed is tried again: its domains may have moved meanwhile. How many were looked at.
    fn resolve_again(&mut self, site: SiteKey, effects: &mut Vec<Effect>) -> usize {
        let mut search = self.sites.get(site).rings.search();
        for looked in 0..limits::RESOLVED_A_TICK {
            let rings = &mut self.sites.get_mut(site).rings;
            let Some((flow, turn)) = rings.pop(&mut search, &mut |_| false) else { return looked };
            let (key, Some(domain)) = (turn.key, self.domains.of_mut(turn)) else {
                rings.met(flow);
                continue;
            };
            self.sites.lose(site, domain.ready.len());
            domain.in_ring = false;
            if domain.ready.is_empty() {
                // What of it is under way may be put back here.
                self.rest(key);
                continue;
            }
            if domain.is_first_asked(self.now) {
                effects.push(Effect::Resolve(key, domain.name.clone()));
            }
            self.sites.lead(domain, None);
        }
        limits::RESOLVED_A_TICK
    }

    /// When [`Destinations::tick`] has something to do next (seconds of the queues' clock).
    pub fn next_due(&self) -> Option<u32> {
        self.domains.next_due().into_iter().chain(self.sites.next_due()).min()
    }
}

#[cfg(test)]
mod tests;
