//! What the node is made of, told as a whole: the queue summed up, and pages of sites. A slice at a time, like every other answer.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::queue::destinations::summary::SummaryWalk;
use crate::runtime::{Defect, Runtime};
use crate::shaping::rated::Rated;
use crate::shard::Shard;
use crate::shard::answer::clock::times;
use crate::shard::answer::rest;
use crate::shard::ask::Reply;
use crate::shard::ask::overview::{KnownSite, SitePage, SiteRow, SitesWanted, Summary, number_of};
use crate::shard::outbound::site::Site;

/// Sums up what waits, and counts the sites.
pub(super) async fn summary<R: Runtime>(shard: &Rc<Shard<R>>, reply: Reply<Summary>) {
    let mut summary = Summary::default();
    let mut walk = SummaryWalk::default();
    if shard.runtime.planted(Defect::SummarySkips) {
        walk.skip();
    }
    loop {
        let begun = shard.runtime.now();
        let over = walk.step(&mut shard.outbound.destinations.borrow_mut(), times(shard), limits::ASK_LOOKS);
        summary.worked += shard.runtime.now().since(begun);
        if over {
            break;
        }
        if !reply.is_wanted() {
            return;
        }
        rest::slice(shard, begun).await;
    }
    summary.queue = walk.sums(&shard.outbound.destinations.borrow());
    let mut connections = HashMap::<Box<str>, u64>::new();
    let all = each_site(shard, &reply, |_, site| {
        let provider = site.policy.borrow().provider.clone();
        if let Some(provider) = &provider
            && (connections.contains_key(provider) || connections.len() < limits::SUMMARY_NAMES)
        {
            *connections.entry(provider.clone()).or_default() += site.connections.get() as u64;
        }
        if summary.sites.len() < limits::SUMMARY_KEPT {
            let number = number_of(&site.hop.borrow().site);
            summary.sites.push(KnownSite { number, provider, narrowed: is_narrow(site) });
        }
    });
    if all.await.is_some() {
        summary.connections = connections.into_iter().collect();
        reply.answer(summary);
    }
}

/// Goes through the sites. None: nobody waits for it any more.
async fn each_site<R: Runtime, T>(
    shard: &Rc<Shard<R>>,
    reply: &Reply<T>,
    mut meet: impl FnMut(SiteKey, &Site),
) -> Option<()> {
    let mut from = 0;
    loop {
        let begun = shard.runtime.now();
        let slots = shard.outbound.destinations.borrow().site_slots();
        let to = slots.min(from + limits::ASK_LOOKS / limits::SITE_LOOK_COST);
        for slot in from..to {
            let key = shard.outbound.destinations.borrow().site_at(slot);
            let site = shard.outbound.sites.borrow().get(&key).cloned();
            if let Some(site) = site {
                meet(key, &site);
            }
        }
        from = to;
        if from >= slots {
            return Some(());
        }
        if !reply.is_wanted() {
            return None;
        }
        rest::slice(shard, begun).await;
    }
}

/// Whether a site refused something and gets less than it might.
fn is_narrow(site: &Site) -> bool {
    let policy = site.policy.borrow();
    let window = site.count.window().filter(|_| policy.adaptive);
    window.is_some_and(|window| {
        window.connections(policy.connections) < policy.connections || window.pace().is_some()
    })
}

/// The first sites of those that are wanted.
pub(super) async fn sites<R: Runtime>(shard: &Rc<Shard<R>>, wanted: SitesWanted, reply: Reply<SitePage>) {
    let mut first = BTreeMap::<Box<str>, SiteKey>::new();
    let mut more = false;
    let all = each_site(shard, &reply, |key, site| {
        let hop = site.hop.borrow();
        if *hop.site <= *wanted.after
            || wanted.provider.is_some() && wanted.provider != site.policy.borrow().provider
            || wanted.narrowed && !is_narrow(site)
        {
            return;
        }
        if first.len() >= limits::SITE_ROWS {
            more = true;
            if first.last_key_value().is_some_and(|(last, _)| **last < *hop.site) {
                return;
            }
            first.pop_last();
        }
        first.insert(hop.site.as_str().into(), key);
    });
    if all.await.is_none() {
        return;
    }
    let begun = shard.runtime.now();
    let rows = first.into_iter().filter_map(|(name, key)| {
        let site = shard.outbound.sites.borrow().get(&key).cloned()?;
        // Another may have its place by now.
        (*site.hop.borrow().site == *name).then(|| row(shard, key, &site))
    });
    let page = SitePage { rows: rows.collect(), more };
    rest::slice(shard, begun).await;
    reply.answer(page);
}

fn row<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> SiteRow {
    let (hop, policy) = (site.hop.borrow(), site.policy.borrow());
    let window = site.count.window().filter(|_| policy.adaptive);
    let rates = [policy.rates[Rated::Messages], window.and_then(|window| window.pace())];
    let rate = rates.into_iter().flatten().map(|pace| pace.a_second()).min_by(f64::total_cmp);
    let destinations = shard.outbound.destinations.borrow();
    let now = shard.seconds();
    let (last_error, of_window) = last_reply(site, destinations.closed_until(key, now).is_some());
    SiteRow {
        name: hop.site.as_str().into(),
        provider: policy.provider.clone(),
        source: hop.source().into(),
        connections: site.count.used(),
        limit: policy.connections,
        window: window
            .map(|window| window.connections(policy.connections))
            .filter(|most| *most < policy.connections),
        narrowed: is_narrow(site),
        rate,
        ready: destinations.ready(key, now),
        closed_until: destinations.closed_until(key, now).map(|until| shard.wall_of(until)),
        last_error,
        of_window,
    }
}

/// Why it gets less than it might: why it is closed; else what narrowed it, which is told apart; else why a connection failed last.
fn last_reply(site: &Site, is_closed: bool) -> (Box<str>, bool) {
    let (error, narrowed_by) = (site.last_error.borrow(), site.narrowed_by.borrow());
    let says_why = is_closed && !error.1.is_empty();
    if !says_why && !narrowed_by.is_empty() && is_narrow(site) {
        return (narrowed_by.clone(), true);
    }
    (error.1.chars().take(limits::ROW_TEXT_MAX).collect::<String>().into(), false)
}
