//! Beside dispatch: who works on what a site has ready. A connection that is wanted is begun; one that asks gets its next group.

use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::{self as queue, SiteKey};
use crate::runtime::{Defect, Runtime};
use crate::shaping::window::Narrows;
use crate::shard::Shard;
use crate::shard::message::ShardMessage;
use crate::shard::outbound::bucket::RateKind;
use crate::shard::outbound::lend::lend;
use crate::shard::outbound::opening::OpeningConnection;
use crate::shard::outbound::provider::ConnectionPlaces;
use crate::shard::outbound::site::{Site, Work};
use crate::shard::outbound::{borrow, node_order, rates, sites, spare, tenants};
use crate::shard::window::SiteWindow;

/// Sees to it that somebody works on what the site has ready. True: a connection was begun.
pub(super) fn pump<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey) -> bool {
    if shard.draining.get() || shard.mesh.stages().rests() {
        return false;
    }
    let now = shard.seconds();
    if sites::may_start(shard, key, now).is_err() {
        return false;
    }
    let mut ready = shard.outbound.destinations.borrow().ready(key, now);
    let Some(site) = shard.outbound.sites.borrow().get(&key).cloned() else { return false };
    sites::heed(shard, key, &site);
    // What a rate lets nobody begin is lent to nobody: it would wait there.
    if ready >= shard.mesh.lend_at()
        && rates::allowed(shard, (key, &site), RateKind::Messages, ready) >= shard.mesh.lend_at()
    {
        lend(shard, key, &site);
        ready = shard.outbound.destinations.borrow().ready(key, now);
    }
    let ready = tenants::allowed(shard, key, ready) + site.borrowed.waiting();
    let ready = rates::allowed(shard, (key, &site), RateKind::Messages, ready);
    if site.borrowed.waiting() == 0 && shard.outbound.destinations.borrow_mut().rests(key) {
        return false;
    }
    if ready <= site.free_connections(borrow::is_busy(shard)) || spare::wake_one(shard, key, &site) {
        return false;
    }
    let holds = site.connections.get() > 0 && shard.timers.recent() < site.hold_until.get();
    if holds || site.parked.get().is_some() {
        return false;
    }
    // As many again as are open, and a few: a site that answers gets all it may have within a few round trips, and neither it
    // nor this core is run over before that is known. Each job taken pumps again.
    let open = site.connections.get() - site.opening.get();
    if site.opening.get() >= limits::OPENING_MIN + open || borrow::leaves_room(shard, &site) {
        return false;
    }
    if site.borrowed.waiting() == 0 && shard.outbound.destinations.borrow_mut().is_starved(key) {
        return false;
    }
    may_open(shard, key, &site) && begin(shard, key, site)
}

/// Begins a connection, if the limits of the site and of its providers and its rate let it.
fn begin<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: Rc<Site>) -> bool {
    // It is pumped when that ends.
    if site.yields.get() {
        return false;
    }
    let Ok(token) = rates::take(shard, (key, &site), RateKind::Connections) else { return false };
    let refused = || {
        if !site.refused.replace(true) {
            shard.outbound.refused.borrow_mut().push_back(key);
        }
    };
    site.waits_no_more();
    let shares =
        site.providers.borrow().clone().filter(|_| !shard.runtime.planted(Defect::ProviderUncounted));
    let places =
        match shares.map(|shares| ConnectionPlaces::take(&shard.mesh, &shares, shard.index)).transpose() {
            Ok(places) => places,
            Err(waiting) => {
                *site.waits_for.borrow_mut() = Some(waiting);
                // Those of this shard are asked at the next tick.
                shard.outbound.asked.set(true);
                refused();
                return false;
            }
        };
    let room = node_order::room(shard, &site, site.connections_max());
    if !site.count.take(room, shard.index) {
        // Where other nodes have the rest, a wider window would change nothing, and learn nothing.
        let narrow = |window: &&SiteWindow| {
            let of_window = window.connections(usize::MAX);
            of_window <= site.count.on_node(usize::MAX)
        };
        site.count.window().filter(narrow).inspect(|window| window.wants(Narrows::Connections));
        site.count.part().inspect(|part| part.wants(None));
        shard.mesh.ask_for_connection(shard.index, &site.count);
        *site.waits_here.borrow_mut() = Some(site.receiver.wait());
        if site.has_idle_beside() {
            shard.outbound.asked.set(true);
        }
        node_order::refused(shard, key, &site);
        refused();
        return false;
    }
    node_order::served(shard, &site);
    site.connections.set(site.connections.get() + 1);
    site.opening.set(site.opening.get() + 1);
    shard.outbound.connections.set(shard.outbound.connections.get() + 1);
    let unproven = (!site.proven.get()).then(|| shard.outbound.openings.begin(site.behalf.get()));
    // It is opened in the next turn of the inbox, or before that when another connection ends.
    shard.outbound.begun.borrow_mut().push_back(OpeningConnection {
        key,
        site,
        unproven,
        coming: None,
        places,
        token,
    });
    shard.runtime.bell().ring();
    true
}

/// Whether more waits for the site than the connections it has will take without being asked.
pub(super) fn needs_connection<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    let ready = shard.outbound.destinations.borrow().ready(key, shard.seconds()) + site.borrowed.waiting();
    ready > site.free_connections(borrow::is_busy(shard))
}

/// Whether anything waits for a connection of the site.
pub(super) fn has_work<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    site.borrowed.waiting() > 0 || shard.outbound.destinations.borrow().ready(key, shard.seconds()) > 0
}

/// Work for a connection of this site: the shard's own and what it borrowed, in turn.
pub(super) fn take<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Site) -> Work {
    let now = shard.seconds();
    if sites::may_start(shard, key, now).is_err() {
        return Work::Nothing;
    }
    if site.borrowed.waiting() > 0
        && site.borrowed.is_next()
        && let Some(job) = borrow::take(shard, site)
    {
        return job;
    }
    match tenants::take(shard, key) {
        queue::Take::Job(domain, group) => Work::Job(shard.own_job(domain, group)),
        queue::Take::Last(domain, group) => {
            spare::wanted(shard, key, site);
            Work::Job(shard.own_job(domain, group))
        }
        queue::Take::Expired(domain, group) => Work::Expired(shard.own_job(domain, group)),
        queue::Take::Nothing => borrow::take(shard, site).unwrap_or(Work::Nothing),
    }
}

/// Whether more waits for the site than the connections that are free or on their way will take. A busy shard spares itself the
/// wakes of those that are free.
pub(super) fn has_backlog<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    if !borrow::is_busy(shard) && site.idle.borrow().len() > usize::from(spare::is_kept(shard, site)) {
        return false;
    }
    let now = shard.seconds();
    let ready = shard.outbound.destinations.borrow().ready(key, now) + site.borrowed.waiting();
    ready > site.opening.get() + site.waking.get()
}

/// Pumps these sites: at once as long as this turn is short, the others in the turns of the inbox.
pub(super) fn pump_all<R: Runtime>(shard: &Rc<Shard<R>>, sites: Vec<SiteKey>) {
    let mut sites = sites.into_iter();
    while !shard.runtime.should_yield() {
        let Some(key) = sites.next() else { return };
        pump(shard, key);
    }
    sites::later(shard, sites);
}

/// Credits of a lane go home.
pub(in crate::shard) fn give_credit<R: Runtime>(shard: &Rc<Shard<R>>, home: usize, lane: u16, count: u32) {
    if home == shard.index {
        credited(shard, lane, count);
    } else {
        shard.mesh.send(home, ShardMessage::Credits { lane, count });
    }
}

/// Synced outcomes of a lane brought credits home.
pub(in crate::shard) fn credited<R: Runtime>(shard: &Rc<Shard<R>>, lane: u16, count: u32) {
    let starved = shard.outbound.destinations.borrow_mut().credit(lane, count);
    pump_all(shard, starved);
}

/// Whether a site may open a connection; else it waits and is asked again.
fn may_open<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    let most = shard.particulars.connections_outbound_max;
    let behalf = site.behalf.get();
    if shard.outbound.connections.get() < most
        && (site.proven.get() || shard.outbound.openings.has_room(behalf, most))
    {
        return true;
    }
    if !site.queued.replace(true) {
        shard.outbound.openings.wait(behalf, key);
    }
    false
}
