//! What is suspended is taken up, as soon as control says so. Queues know at once what they may not give out any more. Here all domains are gone
//! through, a few at a time: what is ready of those that are suspended is put aside, and what was put aside for what is over before its time is
//! due again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::queue::destinations::DomainKey;
use crate::queue::select::Place;
use crate::queue::suspension::{ActiveSuspensions, Effect, Providers, Suspension, Suspensions};
use crate::route::egress::Source;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::answer::change;
use crate::shard::live::LiveConfig;
use crate::shard::outbound::dispatch::carry_out;
use crate::shard::outbound::{borrow, reroute, sites, suspended};

/// Takes up what is suspended now, if that is something else than before.
pub(in crate::shard) fn hear<R: Runtime>(shard: &Rc<Shard<R>>) {
    let generation = shard.mesh.suspended();
    if shard.outbound.suspending.generation.replace(generation) == generation {
        return;
    }
    if shard.runtime.planted(Defect::SuspensionForgotten) {
        return;
    }
    let (now, wall) = (shard.seconds_up(), shard.runtime.wall());
    let all = shard.mesh.suspensions();
    let held = ActiveSuspensions::new(all.clone(), |until| {
        let left = Duration::from_millis(until.0.saturating_sub(wall.0));
        // Late by a second rather than early.
        now.saturating_add(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    });
    let drains = all.drains(wall);
    if shard.outbound.suspending.drains.replace(drains) != drains {
        shard.publish();
        if drains {
            shard.timers.expire_idle();
        }
    }
    let live = shard.live.get();
    hold_sources(shard, &live, &all);
    let held = held.with(Providers::of(&all, |name| live.table.provider(name)));
    let (sets, redirects) = (held.sets(), held.redirects());
    *shard.outbound.resolver.redirects.borrow_mut() = held.clone();
    let before = shard.outbound.destinations.borrow_mut().suspend(held);
    if sets || before.sets() {
        shard.outbound.suspending.sets.set(true);
    }
    let lasts =
        |one: &Suspension| all.all().iter().any(|other| other.id == one.id && other.until >= one.until);
    if before.all().iter().any(|one| one.until > wall && !lasts(one)) {
        shard.outbound.suspending.resumes.set(true);
    }
    let news = |one: &&Suspension| before.all().iter().all(|other| other.id != one.id);
    let returns = |one: &Suspension| one.effect == Effect::Return && one.scope.is_of_mail();
    if all.all().iter().filter(news).any(returns) {
        shard.outbound.suspending.returns.set(true);
    }
    borrow::give_all_back(shard);
    if redirects != before.redirects() {
        reroute::redirected(shard);
    }
    begin(shard);
}

/// Nothing leaves by a source of which an operator says so: its mail goes by others of its pool, as where it does not work. Each shard says it of the
/// sources of the node, and the last one by what holds then.
fn hold_sources<R: Runtime>(shard: &Rc<Shard<R>>, live: &LiveConfig, all: &Suspensions) {
    let (now, wall) = (shard.runtime.now(), shard.runtime.wall());
    let holding = |source: &Source, one: &Suspension| {
        let why = format!("source {} is suspended by {}: {}", source.name(), one.by, one.reason);
        (why.into(), now + Duration::from_millis(one.until.0.saturating_sub(wall.0)))
    };
    let held =
        |source: &&Arc<Source>| source.hold(all.of_source(source.name()).map(|one| holding(source, one)));
    if live.egresses.sources().filter(held).count() > 0 {
        live.egresses.changed();
    }
}

/// Another configuration holds: providers may be known by something else.
pub(in crate::shard) fn hear_again<R: Runtime>(shard: &Rc<Shard<R>>) {
    let of = &shard.outbound.suspending;
    if !shard.mesh.suspensions().is_empty() {
        of.generation.set(of.generation.get().wrapping_sub(1));
        of.looked.set(u64::MAX);
        of.resumes.set(true);
        hear(shard);
    }
}

/// Four times a second: whether something is to be put aside.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    if shard.outbound.destinations.borrow().is_to_put_aside() {
        begin(shard);
    }
}

fn begin<R: Runtime>(shard: &Rc<Shard<R>>) {
    if !shard.draining.get() && !shard.outbound.suspending.looks.replace(true) {
        shard.runtime.spawn_vital("suspensions", go_through(shard.clone()));
    }
}

async fn go_through<R: Runtime>(shard: Rc<Shard<R>>) {
    // Not inside of what noticed it.
    shard.runtime.yield_now().await;
    let of = &shard.outbound.suspending;
    loop {
        let generation = of.generation.get();
        if of.looked.replace(generation) != generation {
            look(&shard).await;
        }
        suspended::put_aside(&shard, carry_out).await;
        if of.generation.get() == generation || shard.draining.get() {
            break;
        }
    }
    of.looks.set(false);
}

/// Whether some mail of a domain is to go back, as its record tells.
fn may_return<R: Runtime>(shard: &Shard<R>, key: DomainKey) -> bool {
    let destinations = shard.outbound.destinations.borrow();
    let place = Place { domain: destinations.name(key), site: None };
    destinations.held().may_return(place, shard.seconds())
}

/// Looks at all domains once.
async fn look<R: Runtime>(shard: &Rc<Shard<R>>) {
    let resumes = shard.outbound.suspending.resumes.replace(false);
    let returns = shard.outbound.suspending.returns.replace(false);
    let slots = shard.outbound.destinations.borrow().domain_slots();
    for first in (0..slots).step_by(limits::TURN_SITES) {
        let (now, end) = (shard.seconds(), slots.min(first + limits::TURN_SITES));
        shard.outbound.destinations.borrow_mut().look_at_suspended(now, first..end);
        for slot in (first..end).filter(|_| resumes || returns) {
            let key = shard.outbound.destinations.borrow().domain_at(slot);
            let resumed = shard.outbound.destinations.borrow().has_resumed(
                key,
                shard.seconds(),
                limits::SUSPENDED_LOOKS,
            );
            if resumed && resumes {
                change::resume(shard, key).await;
            }
            if returns && may_return(shard, key) {
                change::give_back(shard, key).await;
            }
            if shard.runtime.should_yield() {
                shard.runtime.yield_now().await;
            }
        }
        shard.runtime.yield_now().await;
    }
    if shard.outbound.suspending.sets.replace(false) {
        // Another limit or rate may let those go on that wait.
        let slots = shard.outbound.destinations.borrow().site_slots();
        for slot in 0..slots {
            sites::heed_waiting(shard, slot);
            if shard.runtime.should_yield() {
                shard.runtime.yield_now().await;
            }
        }
    }
}
