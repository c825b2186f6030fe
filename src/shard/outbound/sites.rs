//! The sites of a shard: which there are, which have connections with nothing to do, and which rest.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::queue::destinations::SiteKey;
use crate::queue::destinations::summary::is_run_by;
use crate::queue::schedule;
use crate::queue::select::Place;
use crate::route::{Hop, SitePolicy};
use crate::runtime::{Defect, Runtime};
use crate::shaping::key::Key;
use crate::shaping::pace::Pace;
use crate::shaping::rated::{EachRate, Rated};
use crate::shard::Shard;
use crate::shard::counts::ConnectionCount;
use crate::shard::live::LiveConfig;
use crate::shard::outbound::bucket::{Bucket, RateKind};
use crate::shard::outbound::provider::Share;
use crate::shard::outbound::receiver::Receiver;
use crate::shard::outbound::site::{IdleConnection, Site};
use crate::shard::outbound::{borrow, elsewhere, spare, warm};
use crate::smtp::client::Timeouts;
use crate::time::Instant;

/// A connection of the site has nothing to do.
pub(super) fn goes_idle<R: Runtime>(
    shard: &Shard<R>,
    key: SiteKey,
    site: &Rc<Site>,
    connection: &Rc<IdleConnection>,
) {
    connection.woken.set(false);
    let mut idle = site.idle.borrow_mut();
    if idle.is_empty() {
        shard.outbound.resting.borrow_mut().insert(key, site.clone());
    }
    idle.push(connection.clone());
    // Nobody is to ask for one that is kept.
    site.set_idle(shard.index, idle.len() > usize::from(spare::is_kept(shard, site)));
    connection.places.iter().for_each(|places| places.set_idle(shard.index, true));
}

/// It has again, woken or by itself.
pub(super) fn goes_on<R: Runtime>(
    shard: &Shard<R>,
    key: SiteKey,
    site: &Site,
    connection: &Rc<IdleConnection>,
) {
    connection.places.iter().for_each(|places| places.set_idle(shard.index, false));
    if connection.woken.get() {
        site.waking.set(site.waking.get().saturating_sub(1));
    } else {
        site.idle.borrow_mut().retain(|other| !Rc::ptr_eq(other, connection));
    }
    if site.idle.borrow().is_empty() {
        shard.outbound.resting.borrow_mut().remove(&key);
        site.set_idle(shard.index, false);
    }
}

/// The site of a next hop; where it is may have changed, and what holds for it.
pub(super) fn site<R: Runtime>(shard: &Shard<R>, hop: Rc<Hop>) -> (SiteKey, Rc<Site>) {
    let key = shard.outbound.destinations.borrow_mut().site(&hop.site);
    let known = shard.outbound.sites.borrow().get(&key).cloned();
    let site = known.unwrap_or_else(|| {
        let (receiver, live) = (receiver(shard, &hop), shard.live.get());
        let beside = receiver.count.beside();
        let policy = policy(shard, &live, &hop, &beside);
        let site = Rc::new(Site::new(hop.clone(), policy.clone(), receiver));
        warm::take_up(shard, &live, &site, &policy);
        share(shard, key, &site, &policy);
        site.shaped_by.set((live.generation, beside.len(), shard.outbound.suspending.generation.get()));
        shard.outbound.sites.borrow_mut().insert(key, site.clone());
        site
    });
    // What is said of a domain, or of the host that a route names, is said of all that lead to its hosts.
    let named = if hop.is_of_dns() { Cow::Borrowed(&*hop.label) } else { Cow::Owned(hop.names().0) };
    if shard.live.get().table.is_rolled_up(&named) {
        site.count.add_beside(&named);
    }
    let by = |hop: &Hop| hop.by.as_ref().map(Arc::as_ptr);
    let before = site.hop.replace(hop.clone());
    if by(&before) != by(&hop) {
        // The source has another address, or speaks by another name.
        site.end_connections();
    }
    heed(shard, key, &site);
    let provider = site.policy.borrow().provider.clone();
    is_run_by(&mut shard.outbound.destinations.borrow_mut(), key, provider.as_deref());
    (key, site)
}

/// Of whose limits the site of a hop has a part.
fn receiver<R: Runtime>(shard: &Shard<R>, hop: &Hop) -> Rc<Receiver> {
    let name = if shard.runtime.planted(Defect::HopsApart) { hop.site.clone() } else { hop.receiver() };
    shard.outbound.receivers.get(&name, || shard.mesh.site_count(&name, shard.runtime.now()))
}

/// Takes up what holds for a site, if that may be another: by a reload, or since a domain was found to lead there that has its say.
pub(super) fn heed<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    let suspended = shard.outbound.suspending.generation.get();
    if site.shaped_by.get() != (shard.live.generation(), site.count.besides(), suspended) {
        take_up(shard, key, site, &shard.live.get());
    }
    if site.count.window().is_some() {
        look(shard, key, site);
    }
}

/// A few times a second one of the shards looks whether the site's window lets more. Each takes up whether it bounds messages.
fn look<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    let Some(window) = site.count.window() else { return };
    let (policy, now) = (site.policy.borrow().clone(), shard.timers.recent());
    if window.is_due(now) && window.look(policy.connections, policy.rates[Rated::Messages], now) {
        shard.mesh.widened(&site.count);
    }
    if site.paced.get() != is_paced(site, &policy) {
        let waited = site.is_waiting();
        share(shard, key, site, &policy);
        later(shard, waited.then_some(key));
    }
}

fn is_paced(site: &Site, policy: &SitePolicy) -> bool {
    policy.adaptive && site.count.window().is_some_and(|window| window.pace().is_some())
}

/// The same for one that waits for a place or for its rate.
pub(in crate::shard) fn heed_waiting<R: Runtime>(shard: &Shard<R>, slot: usize) {
    let key = shard.outbound.destinations.borrow().site_at(slot);
    let site = shard.outbound.sites.borrow().get(&key).cloned();
    if let Some(site) = site.filter(|site| site.is_waiting()) {
        heed(shard, key, &site);
    }
}

fn take_up<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site, live: &LiveConfig) {
    let beside = site.count.beside();
    site.shaped_by.set((live.generation, beside.len(), shard.outbound.suspending.generation.get()));
    let policy = policy(shard, live, &site.hop.borrow(), &beside);
    let warm = warm::take_up(shard, live, site, &policy);
    if site.take_up(&policy) || warm {
        let waited = site.is_waiting();
        share(shard, key, site, &policy);
        // What it waited for may be another thing now.
        later(shard, waited.then_some(key));
    }
}

/// The providers of a site, and the buckets of its rates and theirs, are those of its policy.
fn share<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site, policy: &SitePolicy) {
    let (mut buckets, mut shares) = (<[Vec<Bucket>; 2]>::default(), Vec::new());
    if elsewhere::take_up(shard, key, site, policy) {
        buckets[RateKind::Messages as usize].push(Bucket::Elsewhere);
    }
    // First: where its day is over others take its mail, whatever its rate.
    let warm = site.warm.borrow().clone().map(|count| Bucket::Warm(shard.mesh.clone(), count));
    buckets[RateKind::Messages as usize].extend(warm);
    add(&mut buckets, &site.count, &policy.rates);
    site.paced.set(is_paced(site, policy));
    buckets[RateKind::Messages as usize].extend(site.paced.get().then(|| Bucket::of_window(&site.count)));
    let hop = site.hop.borrow();
    let source = hop.source();
    for of in &policy.providers {
        let count = || shard.mesh.provider_count((source, &of.name), shard.runtime.now());
        let provider = shard.outbound.providers.get((source, &of.name), count);
        add(&mut buckets, &provider.count, &of.rates);
        if let Some(desk) = shard.mesh.cluster.desk() {
            desk.limited(&format!("p {source} {}", of.name), &provider.count, of.shared());
        }
        shares.push(Share { provider, connections: of.connections });
    }
    if let Some(desk) = shard.mesh.cluster.desk() {
        desk.limited(&format!("s {}", site.receiver.name), &site.count, policy.shared());
    }
    site.set_buckets(buckets);
    *site.providers.borrow_mut() = (!shares.is_empty()).then(|| shares.into());
    // It is asked anew.
    site.waits_no_more();
    site.wakes_at.set(None);
}

/// A bucket for each of these rates, beside the others that are taken of for the same.
fn add(buckets: &mut [Vec<Bucket>; 2], count: &Arc<ConnectionCount>, rates: &EachRate<Option<Pace>>) {
    for (of, pace) in rates.set() {
        buckets[RateKind::of(of) as usize].push(Bucket::new(count, of, *pace));
    }
}

/// A source was suspended, or works again: where another stands in for it that holds now, or does not any more.
pub(super) fn heed_source<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    let policy = site.policy.borrow().clone();
    if policy.fallback.is_some() && elsewhere::by(site, &policy) != *site.sent_by.borrow() {
        share(shard, key, site, &policy);
        later(shard, [key]);
    }
}

/// What holds for the site of a hop, with what rules for replies set there.
pub(super) fn policy<R: Runtime>(
    shard: &Shard<R>,
    live: &LiveConfig,
    hop: &Hop,
    beside: &[Box<str>],
) -> Arc<SitePolicy> {
    let policy = live.table.policy_for(hop, beside);
    let destinations = shard.outbound.destinations.borrow();
    let mut settings = destinations.held().settings(Place { domain: &hop.label, site: Some(&hop.site) });
    // What a route says stands over what rules do, as over what the files say.
    settings.retain(|(key, _)| *key != Key::EnableTls || hop.tls.is_none());
    let policy = if settings.is_empty() { policy } else { policy.overruled(&settings) };
    if !shard.runtime.planted(Defect::ShapingIgnored) {
        return policy;
    }
    let connections = live.config.delivery.connections_per_destination;
    let messages_per_connection = live.config.delivery.messages_per_connection;
    let (timeouts, max_age) = (Timeouts::default(), None);
    Arc::new(SitePolicy { connections, messages_per_connection, timeouts, max_age, ..(*policy).clone() })
}

/// What holds for a site by these. Its connections end, each behind its transaction, where they were opened by something else, or for mail that
/// does not go there any more.
pub(super) fn renew<R: Runtime>(shard: &Shard<R>, slot: usize, live: &LiveConfig) {
    let (key, led) = {
        let destinations = shard.outbound.destinations.borrow();
        let key = destinations.site_at(slot);
        (key, destinations.is_led_to(key))
    };
    let Some(site) = shard.outbound.sites.borrow().get(&key).cloned() else { return };
    take_up(shard, key, &site, live);
    if !(led || site.borrowed.waiting() > 0) {
        site.end_connections();
    }
}

/// Whether a transaction may be started at a site now, else when it may. Asked before a connection is begun for one and before a group is taken
/// for one (`pump`), and nothing else starts any. What forbids it is the site's back-off: when that is over the queue's tick has it pumped.
pub(super) fn may_start<R: Runtime>(shard: &Shard<R>, key: SiteKey, now: u32) -> Result<(), Instant> {
    if let Some(until) = held_until(shard, key) {
        return Err(until);
    }
    let closed_until = shard.outbound.destinations.borrow().closed_until(key, now);
    closed_until.map_or(Ok(()), |until| Err(shard.clock.when(until)))
}

/// Until when a site rests here as a rule says so that control has not heard of yet.
fn held_until<R: Runtime>(shard: &Shard<R>, key: SiteKey) -> Option<Instant> {
    let now = shard.timers.recent();
    if shard.outbound.suspending.holds_until.get() <= now {
        return None;
    }
    let site = shard.outbound.sites.borrow().get(&key).cloned()?;
    Some(site.held_until.get()).filter(|until| *until > now)
}

/// Nothing is begun at a site until control has told all shards what a rule does there.
pub(super) fn hold_back<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>) {
    let until = shard.runtime.now() + limits::SUSPENDED_AT_ONCE;
    shard.outbound.suspending.holds_until.set(until);
    if site.held_until.replace(until) > shard.timers.recent() {
        return;
    }
    let (own, site) = (shard.clone(), site.clone());
    shard.runtime.spawn_vital("held site", async move {
        // By the clock that says whether it is held, which is a little behind: who looked a moment earlier would not come again.
        while let until = site.held_until.get()
            && until > own.timers.recent()
        {
            own.timers.sleep_until(until).await;
        }
        later(&own, [key]);
    });
}

/// Nothing is begun at a site for a while, longer each time; `why` is said if mail waits for it.
pub(super) fn rest<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    site: &Site,
    level: Level,
    why: &dyn std::fmt::Display,
) {
    let mut destinations = shard.outbound.destinations.borrow_mut();
    let failures = destinations.failures(key);
    let pause = schedule::site_pause(failures, shard.runtime.random())
        .min(site.policy.borrow().retry.max)
        .as_secs()
        .max(1) as u32;
    let now = shard.seconds();
    if destinations.ready(key, now) > 0 {
        let label = &site.hop.borrow().label;
        let (domain, others) = destinations.waiting_at(key).unwrap_or_default();
        let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
        shard
            .say(level, format_args!("mail for {domain}{more} waits: {label}: {why}; next try in {pause} s"));
    }
    destinations.close_site(key, now + pause);
    drop(destinations);
    borrow::give_back(shard, site);
}

/// These sites are pumped in the turns of the inbox.
pub(super) fn later<R: Runtime>(shard: &Shard<R>, sites: impl IntoIterator<Item = SiteKey>) {
    let mut later = false;
    for key in sites {
        if shard.outbound.sites.borrow().get(&key).is_some_and(|site| !site.refused.replace(true)) {
            shard.outbound.refused.borrow_mut().push_back(key);
            later = true;
        }
    }
    if later {
        shard.runtime.bell().ring();
    }
}

/// The site has given a place of its provider, or a connection to its hosts, to whoever waits for one, and takes none for a moment: else the one that
/// has it at hand would always be first.
pub(super) fn give_way<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>) {
    if site.yields.replace(true) {
        return;
    }
    let (own, site) = (shard.clone(), site.clone());
    shard.runtime.spawn_vital("place given", async move {
        own.runtime.sleep_until(own.runtime.now() + limits::PROVIDER_YIELD).await;
        site.yields.set(false);
        later(&own, [key]);
    });
}

#[cfg(test)]
mod tests;
