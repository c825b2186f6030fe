//! Beside pump: rates of tenants. Mail of one that may begin no message now is passed over at all sites, and looked at again when it may.

use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::{SiteKey, Take};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::sites;

/// Work for a connection of a site, or for another shard: of a tenant with a rate, its right to begin is taken.
pub(super) fn take<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey) -> Take {
    let now = shard.seconds();
    let live = shard.live.get();
    if live.tenant_rates.is_empty() || shard.runtime.planted(Defect::RateUncounted) {
        return shard.outbound.destinations.borrow_mut().take(key, now);
    }
    let at = shard.runtime.now();
    let mut allows = |tenant| live.tenant_rates.take(tenant, at);
    let taken = shard.outbound.destinations.borrow_mut().take_allowed(key, now, &mut allows);
    // The queues are not borrowed meanwhile: a task may run inside its spawn, and this one needs them if what it waits for is there by then.
    while let Some(tenant) = take_resting(shard) {
        shard.runtime.spawn_vital("tenant", wake(shard.clone(), tenant));
    }
    taken
}

/// Of so many that a site could begin as many as the rates of the tenants let that have mail there, but one of each: who asks for that and may
/// not begin it is woken when he may.
pub(super) fn allowed<R: Runtime>(shard: &Shard<R>, key: SiteKey, many: usize) -> usize {
    let live = shard.live.get();
    if many <= 1 || live.tenant_rates.is_empty() || shard.runtime.planted(Defect::RateUncounted) {
        return many;
    }
    let tenants = shard.outbound.destinations.borrow_mut().over_node(key).tenants(limits::TENANTS_COUNTED);
    let Some(tenants) = tenants else { return many };
    let now = shard.runtime.now();
    let mut free = 0;
    for tenant in tenants {
        let Some(of_one) = live.tenant_rates.free(tenant, now) else { return many };
        free = of_one.max(1).saturating_add(free);
    }
    free.min(many)
}

fn take_resting<R: Runtime>(shard: &Shard<R>) -> Option<u32> {
    shard.outbound.destinations.borrow_mut().take_resting()
}

/// Its sites are pumped when it may begin a message, some at a time.
async fn wake<R: Runtime>(shard: Rc<Shard<R>>, tenant: u32) {
    while !shard.draining.get() {
        let now = shard.runtime.now();
        // Another rate may be in force before that.
        let wait = shard.live.get().tenant_rates.wait(tenant, now).map(|(when, _)| when);
        if let Some(when) = wait {
            shard.runtime.sleep_until(when.min(now + limits::TENANT_LOOK)).await;
            continue;
        }
        let resumed = shard.outbound.destinations.borrow_mut().resume_tenant(tenant, limits::SITES_LOOKED_AT);
        let (keys, more) = resumed;
        sites::later(&shard, keys);
        if !more {
            return;
        }
        shard.runtime.yield_now().await;
    }
}
