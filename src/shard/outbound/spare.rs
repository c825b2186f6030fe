//! Beside pump: the connection that is kept free at a site for tenants that send there now and then.
//!
//! Where mail of others waits, all connections are busy with it, and a message of a tenant that is below its share waits for one of them to end, by
//! the hop's time and not by its share. So a shard that has several connections keeps one free for a while once such a tenant was seen: one that
//! ran out of mail while others had some. Who has had mail for long leaves it alone; it costs these one connection of at least
//! [`limits::SPARE_FROM`].

use std::time::Duration;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::borrow;
use crate::shard::outbound::site::{IdleConnection, Site};
use crate::time::Instant;

/// A tenant ran out of mail there, and others have some.
pub(super) fn wanted<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    if shard.runtime.planted(Defect::NoSpareConnection) {
        return;
    }
    let until = shard.timers.recent() + limits::SPARE_KEPT;
    if site.spare_until.replace(until) == Instant(0) {
        shard.outbound.spares.borrow_mut().push(key);
    }
}

/// Whether one is kept free.
pub(super) fn is_kept<R: Runtime>(shard: &Shard<R>, site: &Site) -> bool {
    let until = site.spare_until.get();
    until != Instant(0) && until > shard.timers.recent() && site.connections.get() >= limits::SPARE_FROM
}

/// How long one that has nothing to do is kept though other shards want it: the only one of a shard that may have several as long as one is
/// kept free elsewhere.
pub(super) fn idle_kept<R: Runtime>(shard: &Shard<R>, site: &Site) -> Duration {
    let only = site.connections.get() == 1 && borrow::share(shard, site) >= limits::SPARE_FROM;
    let keeps = only && !shard.runtime.planted(Defect::NoSpareConnection);
    if keeps { limits::SPARE_KEPT } else { limits::IDLE_KEPT }
}

/// Whether it is this one: no other has nothing to do.
pub(super) fn is_it<R: Runtime>(shard: &Shard<R>, site: &Site, connection: &IdleConnection) -> bool {
    is_kept(shard, site) && site.idle.borrow().iter().all(|idle| std::ptr::eq(&**idle, connection))
}

/// Whether the connection that asks is the one to be kept free, as what is next is of one who has had mail for long.
pub(super) fn is_this<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    is_kept(shard, site) && site.idle.borrow().is_empty() && is_steady(shard, key, site)
}

/// Wakes a connection that has nothing to do, if what is next is for it. False: none was woken.
pub(super) fn wake_one<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    let keep = is_kept(shard, site) && site.idle.borrow().len() == 1 && is_steady(shard, key, site);
    !keep && site.wake_one()
}

fn is_steady<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    let now = shard.seconds();
    shard.outbound.destinations.borrow_mut().over_node(key).has_steady(site.connections.get(), now)
}

/// Sites that need none any more: it is as any other.
pub(super) fn over<R: Runtime>(shard: &Shard<R>) -> Vec<SiteKey> {
    let mut spares = shard.outbound.spares.take();
    let mut over = Vec::new();
    spares.retain(|key| {
        let site = shard.outbound.sites.borrow().get(key).cloned();
        let Some(site) = site else { return false };
        let goes_on = site.spare_until.get() > shard.timers.recent();
        if !goes_on {
            site.spare_until.set(Instant(0));
            if !site.idle.borrow().is_empty() {
                site.set_idle(shard.index, true);
                over.push(*key);
            }
        }
        goes_on
    });
    shard.outbound.spares.replace(spares);
    over
}
