//! Mail that waits goes where the routes in force say, and connections end that were opened for what does not hold any more.
//!
//! The queues know at once which of their domains were led by other routes: none of these is tried before it is asked for anew. Here all
//! of them are gone through, a few at a time, so that what waits for a site that is closed moves as well.

use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::moves;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::live::{InForce, LiveConfig};
use crate::shard::outbound::dispatch::{self, carry_out};
use crate::shard::outbound::{borrow, sites};

/// Another configuration came into force.
pub(in crate::shard) fn begin<R: Runtime>(shard: &Rc<Shard<R>>, before: &LiveConfig, now: &Rc<InForce>) {
    let routing = before.routing != now.routing && !shard.runtime.planted(Defect::RoutesKept);
    if routing {
        shard.outbound.destinations.borrow_mut().reroute();
        borrow::give_all_back(shard);
    }
    if routing || !now.table.same_policies_as(&before.table) {
        shard.runtime.spawn_vital("reroute", go_through(shard.clone(), now.clone()));
    }
}

/// Operators lead mail elsewhere, or not any more.
pub(in crate::shard) fn redirected<R: Runtime>(shard: &Rc<Shard<R>>) {
    shard.outbound.destinations.borrow_mut().reroute();
    shard.runtime.spawn_vital("redirect", go_through(shard.clone(), shard.live.get()));
}

/// Four times a second: where a source was suspended or resumed, what waits by it goes on by others, or goes on.
pub(in crate::shard) fn heed_sources<R: Runtime>(shard: &Rc<Shard<R>>) {
    let changes = shard.live.get().egresses.changes();
    if shard.outbound.sources.seen.replace(changes) != changes {
        shard.runtime.spawn_vital("sources", see_to_sources(shard.clone()));
    }
}

async fn see_to_sources<R: Runtime>(shard: Rc<Shard<R>>) {
    let slots = shard.outbound.destinations.borrow().domain_slots();
    for slot in 0..slots {
        let key = moves::domain_at(&mut shard.outbound.destinations.borrow_mut(), slot);
        if let Some(key) = key.filter(|key| dispatch::is_astray(&shard, *key)) {
            dispatch::leave_by_another(&shard, key).await;
        }
        if shard.draining.get() {
            return;
        }
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
    // What waits at a site of a source that works again goes on at once.
    let sites: Vec<_> =
        shard.outbound.sites.borrow().iter().map(|(key, site)| (*key, site.clone())).collect();
    for (key, site) in sites {
        sites::heed_source(&shard, key, &site);
        let source = site.hop.borrow().by.clone();
        if source.as_ref().is_some_and(|source| source.is_held()) {
            site.end_connections();
        }
        let works = source.is_some_and(|source| !source.is_suspended());
        if works && site.by_source.replace(false) {
            moves::hurry(&mut shard.outbound.destinations.borrow_mut(), key);
            sites::later(&shard, [key]);
        }
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
}

async fn go_through<R: Runtime>(shard: Rc<Shard<R>>, live: Rc<InForce>) {
    // Not inside of what noticed it.
    shard.runtime.yield_now().await;
    let slots = shard.outbound.destinations.borrow().site_slots();
    for slot in 0..slots {
        // Another limit or rate may let it go on at once.
        sites::heed_waiting(&shard, slot);
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
    let slots = shard.outbound.destinations.borrow().domain_slots();
    for first in (0..slots).step_by(limits::TURN_SITES) {
        let now = shard.seconds();
        let effects =
            shard.outbound.destinations.borrow_mut().rerouted(now, first..first + limits::TURN_SITES);
        for effect in effects {
            if shard.runtime.should_yield() {
                shard.runtime.yield_now().await;
            }
            carry_out(&shard, effect);
        }
        shard.runtime.yield_now().await;
    }
    // Most of them are known by then; one that is not has its connections opened again.
    shard.timers.sleep_until(shard.runtime.now() + limits::REROUTED_WITHIN).await;
    let slots = shard.outbound.destinations.borrow().site_slots();
    for slot in 0..slots {
        if shard.draining.get() || shard.live.generation() != live.generation {
            return;
        }
        sites::renew(&shard, slot, &live);
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
}
