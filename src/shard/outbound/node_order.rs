//! Beside pump: how shards share the connections of a site that has all it may have. See [`crate::queue::node_shares`].

use std::time::Duration;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::queue::node_shares::{Head, Place};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::borrow;
use crate::shard::outbound::site::{OverNode, Site};

/// How many connections there may be but for those that are promised to other shards.
pub(super) fn room<R: Runtime>(shard: &Shard<R>, site: &Site, limit: usize) -> usize {
    let Some(shares) = site.count.shares() else { return limit };
    limit.saturating_sub(shares.promised(shard.index, shard.timers.recent()))
}

/// The site found no connection: other shards are told for whose mail it waits.
pub(super) fn refused<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    let limit = site.connections_max();
    if site.connections.get() >= limit || shard.runtime.planted(Defect::SharesOfShards) {
        return;
    }
    let shares = site.count.share(shard.mesh.shards());
    count(shard, key, site);
    if let Some(head) = head(shard, key) {
        shares.wait(place(shard, site, limit), head);
        site.waits_at.set(Some(shard.index));
    }
}

/// It has one now, or needs none. What was promised to it is for others then.
pub(super) fn served<R: Runtime>(shard: &Shard<R>, site: &Site) {
    if site.waits_at.take().is_some()
        && let Some(shares) = site.count.shares()
        && shares.leave(shard.index)
    {
        shard.mesh.widened(&site.count);
    }
}

/// Another shard waits for a connection and should have this one.
pub(super) fn must_yield<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site, done: usize) -> bool {
    if done == 0 {
        return false;
    }
    if !site.count.wanted_by_others(shard.index) {
        forget(shard, key, site);
        return false;
    }
    let turn = done >= limits::CONNECTION_TURN;
    passes_on(shard, key, site, turn) || wanted_by_borrowers(shard, site, turn)
}

/// Whether the next connection that is free is promised to another shard, as it is behind this one.
pub(super) fn passes_on<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site, turn: bool) -> bool {
    let Some(shares) = site.count.shares() else { return false };
    count(shard, key, site);
    let Some(head) = head(shard, key) else { return false };
    shares.promise(place(shard, site, site.connections_max()), head, turn, shard.timers.recent())
}

/// A shard waits that has none of its own mail there, and this has more than its share or had its turn.
fn wanted_by_borrowers<R: Runtime>(shard: &Shard<R>, site: &Site, turn: bool) -> bool {
    let says = |other| site.count.shares().is_some_and(|shares| shares.is_waiting(other));
    let share = borrow::share(shard, site);
    site.connections.get() > share
        && (share > 0 || turn)
        && site.count.waits().any(|other| other != shard.index && !says(other))
}

/// The rate lets the site begin nothing now: other shards are told for whose mail it waits.
pub(super) fn waits_for_rate<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    if shard.mesh.shards() == 1 || shard.runtime.planted(Defect::RateOfShards) {
        return;
    }
    let (left, _) = site.left_rate.get();
    site.left_rate.set((left, None));
    let shares = site.count.share(shard.mesh.shards());
    count(shard, key, site);
    let head = head(shard, key);
    shares.wait_for_rate(shard.index, head);
    site.waits_for_rate_at.set(head.map(|_| shard.index));
}

/// It has what it waited for, or needs it no more.
pub(super) fn has_rate<R: Runtime>(shard: &Shard<R>, site: &Site) {
    site.left_rate.set((0, None));
    waits_no_more(shard, site);
}

/// What it waited for is gone.
pub(super) fn waits_no_more<R: Runtime>(shard: &Shard<R>, site: &Site) {
    if site.waits_for_rate_at.take().is_some()
        && let Some(shares) = site.count.shares()
    {
        shares.wait_for_rate(shard.index, None);
    }
}

/// Whether what the rate lets begin now is left to another shard that waits for it and is behind this one: no longer than none of it is lost,
/// and not every time, so that what is less urgent has its turns.
pub(super) fn leaves_rate<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site, late: Duration) -> bool {
    let Some(shares) = site.count.shares() else { return false };
    let (left, until) = site.left_rate.get();
    if left >= limits::CLASS_TURN {
        return false;
    }
    count(shard, key, site);
    let Some(head) = head(shard, key) else { return false };
    if !shares.is_for_others(shard.index, head) {
        return false;
    }
    let now = shard.runtime.now();
    if until.is_none() {
        site.left_rate.set((left + 1, Some(now + late / 2)));
    }
    until.is_none_or(|until| now < until)
}

/// Whose mail is behind, as far as other shards are to know.
fn head<R: Runtime>(shard: &Shard<R>, key: SiteKey) -> Option<Head> {
    let mut head = shard.outbound.destinations.borrow_mut().over_node(key).head()?;
    if shard.runtime.planted(Defect::CampaignsOfShards) {
        head.flow.campaign = 0;
    }
    Some(head)
}

fn place<R: Runtime>(shard: &Shard<R>, site: &Site, limit: usize) -> Place {
    // Those of a shard for which others work count twice, as it has the queue to keep besides.
    let times = if borrow::is_lending(shard) { 2 } else { 1 };
    Place { shard: shard.index, connections: times * site.connections.get(), limit }
}

/// What tenants have at the site counts over the node.
fn count<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    let generation = shard.live.generation();
    let known = site.over_node.get().is_some_and(|known| known.generation == generation);
    site.over_node.set(Some(OverNode { wanted: shard.timers.recent(), generation }));
    if !known {
        shard.outbound.destinations.borrow_mut().over_node(key).count_for(site.count.shares().cloned());
    }
}

/// No more, where no shard has waited for long.
fn forget<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) {
    let Some(known) = site.over_node.get() else { return };
    if known.wanted + limits::NODE_SHARES_KEPT < shard.timers.recent() && site.waits_at.get().is_none() {
        site.over_node.set(None);
        shard.outbound.destinations.borrow_mut().over_node(key).count_for(None);
    }
}
