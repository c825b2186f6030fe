//! What a source in warm-up has no room for today goes on by others: by those of its pool that are warm, or by the pool that its plan names. Where
//! there is none it waits for the next day.

use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::queue::destinations::moves;
use crate::route::egress::{EgressKey, seed_of};
use crate::runtime::Runtime;
use crate::shaping::warmup::Standing;
use crate::shard::Shard;
use crate::shard::live::InForce;
use crate::shard::outbound::dispatch::carry_out;
use crate::shard::outbound::site::Site;
use crate::shard::outbound::{borrow, warm};
use crate::shard::warm::WarmCount;

/// Four times a second: sites whose day is over.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    let sources = &shard.outbound.sources;
    if sources.over.borrow().is_empty() || shard.draining.get() || sources.overflows.replace(true) {
        return;
    }
    let own = shard.clone();
    shard.runtime.spawn_vital("overflow", async move {
        let over = own.outbound.sources.over.take();
        for key in over {
            let site = own.outbound.sites.borrow().get(&key).cloned();
            if let Some(site) = site {
                of_site(&own, key, &site).await;
            }
        }
        own.outbound.sources.overflows.set(false);
    });
}

async fn of_site<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>) {
    // What others lent would wait here as well: at home it goes on by another.
    borrow::give_back(shard, site);
    let Some(count) = site.warm.borrow().clone() else { return };
    let (mut place, mut moved) = (moves::Position::default(), 0);
    while !shard.draining.get() && warm::is_over(shard, &count) {
        let live = shard.live.get();
        let today = shard.runtime.wall().day();
        let instead = |egress, seed| instead(shard, (&live, today), &count, (egress, seed));
        let slice = moves::overflow(
            &mut shard.outbound.destinations.borrow_mut(),
            (key, place),
            shard.seconds(),
            (limits::OVERFLOW_LOOKS, limits::OVERFLOW_TURN),
            |egress, group| instead(egress, seed_of(group)),
        );
        moved += slice.moved;
        for effect in slice.effects {
            carry_out(shard, effect);
        }
        let Some(next) = slice.next else { break };
        place = next;
        shard.runtime.yield_now().await;
    }
    count.overflows(u32::try_from(moved).unwrap_or(u32::MAX));
    shard.instruments.counters.warmup_overflowed.add(moved as u64);
    if moved == 0 {
        site.overflows_at.set(shard.runtime.now() + limits::OVERFLOW_AGAIN);
    }
}

/// By which egress mail goes on that waits for one whose day is over at this provider.
fn instead<R: Runtime>(
    shard: &Shard<R>,
    (live, today): (&InForce, u32),
    count: &WarmCount,
    (egress, seed): (EgressKey, u64),
) -> Option<EgressKey> {
    let is_warm = |source: &str| {
        let Some(plan) = live.warmups.get(source) else { return true };
        // One that is behind its plan at this provider is known to be.
        let known = || shard.mesh.warm().find((source, &count.provider));
        Standing::of(plan, today, 0) == Standing::Warm && known().is_none_or(|known| known.is_warm(today))
    };
    live.egresses.beside(egress, count.plan().overflow.as_deref(), seed, is_warm)
}
