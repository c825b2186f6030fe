//! What a source may not send goes on by others. One in warm-up has no room for more today: its mail goes by sources of its pool that are warm, or by
//! the pool that its plan names, and where there is none it waits for the next day. One that another stands in for (`elsewhere`) sends nothing.

use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::queue::destinations::moves;
use crate::route::egress::{EgressKey, seed_of};
use crate::runtime::Runtime;
use crate::shaping::warmup::WarmupStage;
use crate::shard::Shard;
use crate::shard::live::InForce;
use crate::shard::outbound::dispatch::carry_out;
use crate::shard::outbound::site::Site;
use crate::shard::outbound::{borrow, elsewhere, warm};
use crate::shard::warm::WarmCount;

/// Why a source sends no more to a site.
enum OverflowReason {
    /// Its day of warm-up is over.
    Over(Arc<WarmCount>),
    /// This source, or pool, sends in its place.
    Elsewhere(Box<str>),
}

impl OverflowReason {
    /// None: it sends.
    fn of<R: Runtime>(shard: &Shard<R>, site: &Site) -> Option<OverflowReason> {
        if let Some(by) = site.sent_by.borrow().clone() {
            return Some(OverflowReason::Elsewhere(by));
        }
        site.warm.borrow().clone().filter(|count| warm::is_over(shard, count)).map(OverflowReason::Over)
    }
}

/// Four times a second: sites whose source sends no more.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    let sources = &shard.outbound.sources;
    let nothing = sources.over.borrow().is_empty() && sources.elsewhere.borrow().is_empty();
    if nothing || shard.draining.get() || sources.overflows.replace(true) {
        return;
    }
    let own = shard.clone();
    shard.runtime.spawn_vital("overflow", async move {
        let sources = &own.outbound.sources;
        let mut keys = sources.over.take();
        keys.extend(sources.elsewhere.borrow().iter().copied());
        for key in keys {
            let site = own.outbound.sites.borrow().get(&key).cloned();
            match site {
                Some(site) => of_site(&own, key, &site).await,
                None => drop(sources.elsewhere.borrow_mut().remove(&key)),
            }
            if own.runtime.should_yield() {
                own.runtime.yield_now().await;
            }
        }
        sources.overflows.set(false);
    });
}

async fn of_site<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>) {
    // What others lent would wait here as well: at home it goes on by another.
    borrow::give_back(shard, site);
    let resting = elsewhere::resting(shard, &shard.live.get(), site);
    let (mut place, mut moved) = (moves::Position::default(), 0);
    while !shard.draining.get()
        && let Some(why) = OverflowReason::of(shard, site)
    {
        let live = shard.live.get();
        let today = shard.runtime.wall().day();
        let instead = |egress, seed| instead(shard, (&live, today), (&why, &resting), (egress, seed));
        let slice = moves::overflow(
            &mut shard.outbound.destinations.borrow_mut(),
            (key, place),
            shard.seconds(),
            (limits::OVERFLOW_LOOKS, limits::OVERFLOW_TURN),
            |egress, group| instead(egress, seed_of(group)),
        );
        moved += slice.moved;
        if let OverflowReason::Over(count) = &why {
            count.overflows(u32::try_from(slice.moved).unwrap_or(u32::MAX));
            shard.instruments.counters.warmup_overflowed.add(slice.moved as u64);
        } else {
            shard.instruments.counters.groups_moved.add(slice.moved as u64);
        }
        for effect in slice.effects {
            carry_out(shard, effect);
        }
        let Some(next) = slice.next else { break };
        place = next;
        shard.runtime.yield_now().await;
    }
    if moved == 0 {
        site.overflows_at.set(shard.runtime.now() + limits::OVERFLOW_AGAIN);
    }
}

/// By which egress mail goes on that waits for one that sends no more to its site.
fn instead<R: Runtime>(
    shard: &Shard<R>,
    (live, today): (&InForce, u32),
    (why, resting): (&OverflowReason, &[Box<str>]),
    (egress, seed): (EgressKey, u64),
) -> Option<EgressKey> {
    let rests = |source: &str| resting.iter().any(|other| **other == *source);
    let count = match why {
        OverflowReason::Elsewhere(by) => {
            return live.egresses.in_place(egress, by, seed, |source| !rests(source));
        }
        OverflowReason::Over(count) => count,
    };
    let is_warm = |source: &str| {
        let Some(plan) = live.warmups.get(source) else { return !rests(source) };
        // One that is behind its plan at this provider is known to be.
        let known = || shard.mesh.warm().find((source, &count.provider));
        WarmupStage::of(plan, today, 0) == WarmupStage::Warm
            && !rests(source)
            && known().is_none_or(|known| known.is_warm(today))
    };
    live.egresses.beside(egress, count.plan().overflow.as_deref(), seed, is_warm)
}
