//! Sites that found no place to connect, and are asked again when one is free: for a connection of their own, at an address, or among the
//! connections that have carried nothing yet.

use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::counts::{ConnectionCount, FarEnd};
use crate::shard::outbound::address::AddressPermit;
use crate::shard::outbound::pump::{needs_connection, pump};
use crate::shard::outbound::site::Site;
use crate::shard::outbound::{node_order, spare};

/// A connection may be free again somewhere. True: not all that wait were asked, as this turn is long enough.
pub(in crate::shard) fn retry_refused<R: Runtime>(shard: &Rc<Shard<R>>) -> bool {
    // Each once, in however many turns: those that find no connection again are last in the line.
    let left = &shard.outbound.refused_left;
    if left.get() == 0 {
        left.set(shard.outbound.refused.borrow().len());
    }
    let mut asked = 0;
    while left.get() > 0 {
        if asked > 0 && shard.runtime.should_yield() {
            return true;
        }
        asked += 1;
        left.set(left.get() - 1);
        let Some(key) = shard.outbound.refused.borrow_mut().pop_front() else { break };
        let site = shard.outbound.sites.borrow().get(&key).cloned();
        if let Some(site) = site
            && site.refused.replace(false)
        {
            pump(shard, key);
            was_asked(shard, &site);
        }
    }
    unpark(shard);
    false
}

/// Who waited and was asked waits no more, unless it was refused again: others would go on to make room for it.
fn was_asked<R: Runtime>(shard: &Rc<Shard<R>>, site: &Site) {
    if !site.refused.get() {
        site.waits_no_more();
        node_order::served(shard, site);
    }
}

/// Another shard wants a connection: connections that have been without work for a while give theirs back. Asked again at every tick
/// until none is wanted.
pub(in crate::shard) fn give_up_idle<R: Runtime>(shard: &Shard<R>) {
    for address in shard.outbound.addresses.idle_and_wanted() {
        wake_idle(shard, address);
    }
    let resting = shard.outbound.resting.borrow();
    let mut asked = false;
    let wanted =
        |site: &&Rc<Site>| site.count.wanted_by_others(shard.index) || site.holds_wanted(shard.index);
    for site in resting.values().filter(wanted) {
        // It finds no work, and then that somebody waits.
        asked |= site.wake_one();
    }
    shard.outbound.asked.set(asked);
}

/// The site waits for a place at this address.
pub(super) fn park<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Site, address: FarEnd) {
    // Another connection of it may have found another address full: it waits in one line only, the one it is in.
    if site.parked.get().is_some() {
        return;
    }
    let count = stand_in_line(shard, key, site, address);
    // One may have been given back since it was refused.
    if shard.outbound.addresses.has_room(&count) {
        unpark_at(shard, address);
        return;
    }
    wake_idle(shard, address);
    shard.mesh.ask_for_connection(shard.index, &count);
}

/// The site is the last of its kind in the line of this address, and whoever gives a place back sees that.
fn stand_in_line<R: Runtime>(
    shard: &Shard<R>,
    key: SiteKey,
    site: &Site,
    address: FarEnd,
) -> Arc<ConnectionCount> {
    site.parked.set(Some(address));
    shard.instruments.counters.address_waits.add(1);
    shard.outbound.addresses.stand_in_line(address, (key, site.behalf.get()), || shard.runtime.random())
}

/// A connection gives its place back. Where another site waits for it, this one goes to the end of the line if it has more to send: to
/// connect again at once would be to keep it.
pub(super) fn pass_on<R: Runtime>(shard: &Rc<Shard<R>>, place: AddressPermit, key: SiteKey, site: &Site) {
    let address = place.address();
    let wanted = place.is_wanted(site) && !shard.runtime.planted(Defect::PlaceTakenBack);
    let elsewhere = place.is_wanted_elsewhere();
    drop(place);
    if wanted && site.parked.get().is_none() && needs_connection(shard, key, site) {
        stand_in_line(shard, key, site, address);
        // Who waits on another shard hears of it in a moment; this one looks again at the next tick.
        if !elsewhere {
            unpark_at(shard, address);
        }
    }
}

/// Places may be free again: whoever waits for one is asked to connect.
pub(in crate::shard) fn unpark<R: Runtime>(shard: &Rc<Shard<R>>) {
    for address in shard.outbound.addresses.waited_for() {
        if shard.runtime.should_yield() {
            return;
        }
        shard.outbound.addresses.asked(address);
        unpark_at(shard, address);
    }
}

fn unpark_at<R: Runtime>(shard: &Rc<Shard<R>>, address: FarEnd) {
    while let Some(key) = shard.outbound.addresses.next(address, || shard.runtime.should_yield()) {
        let site = shard.outbound.sites.borrow().get(&key).cloned();
        if let Some(site) = site
            && site.parked.get() == Some(address)
        {
            site.parked.set(None);
            if pump(shard, key)
                && let Some(begun) = shard.outbound.begun.borrow_mut().back_mut()
            {
                begun.coming = Some(shard.outbound.addresses.expect(address));
            }
        }
    }
}

/// Wakes a connection to this address that has nothing to do; it finds that others wait.
fn wake_idle<R: Runtime>(shard: &Shard<R>, address: FarEnd) {
    let resting = shard.outbound.resting.borrow();
    // One that was woken already is in the list until it had its turn.
    shard
        .outbound
        .addresses
        .any_idle(address, |key| resting.get(key).is_some_and(|site| site.wake_at(address)));
}

/// A place may be free: sites that wait are asked.
pub(super) fn admit<R: Runtime>(shard: &Rc<Shard<R>>) {
    look(shard, limits::SITES_LOOKED_AT);
}

/// The same, four times a second, for whoever was passed over.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    look(shard, limits::SITES_LOOKED_AT_TICK);
    for key in spare::over(shard) {
        pump(shard, key);
    }
}

fn look<R: Runtime>(shard: &Rc<Shard<R>>, most: usize) {
    let openings = &shard.outbound.openings;
    for number in 0..most.min(openings.waiting()) {
        // The others are asked in the next tick at the latest.
        if number > 0 && shard.runtime.should_yield() {
            break;
        }
        if shard.outbound.connections.get() >= shard.particulars.connections_outbound_max {
            break;
        }
        let Some(key) = openings.next() else { break };
        let site = shard.outbound.sites.borrow().get(&key).cloned();
        if let Some(site) = site
            && site.queued.replace(false)
        {
            pump(shard, key);
        }
    }
}
