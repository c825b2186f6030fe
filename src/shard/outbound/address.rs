//! Beside stage 7: connections of the node to one address, over all the sites that lead there.
//!
//! Whoever makes up domains can make as many sites as he likes, and each has its own limit; what he cannot make is addresses of others. So
//! each connection to an address out of the DNS takes a place of that address. A site that finds none waits here, with nothing
//! counted against it or its mail, and is asked to connect again when a place is free, in fair order. While others wait, a
//! connection there is given up when it has nothing to do, and after a turn when it has.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::queue::fair::FairQueue;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::counts::Slots;
use crate::shard::outbound::dispatch::{self, Site};

/// What a shard knows of the addresses it is connected to or waits for.
#[derive(Default)]
pub struct Addresses {
    known: RefCell<BTreeMap<IpAddr, Known>>,
    /// Sites that wait, at all addresses: nearly always none.
    waiting: Cell<usize>,
    /// The address of which sites were asked last.
    asked: Cell<Option<IpAddr>>,
    /// Sites are asked just now. A connection that is begun may run, and find its address full, before its spawn returns.
    asking: Cell<bool>,
}

struct Known {
    slots: Arc<Slots>,
    /// Connections of this shard, connecting ones included.
    connections: usize,
    /// The sites of those that have nothing to do, the longest first.
    idle: Vec<SiteKey>,
    /// Sites of this shard that wait for a place. Nobody waits at most addresses, and there may be thousands: none without.
    parked: Option<Box<FairQueue<SiteKey>>>,
}

impl Known {
    fn is_unused(&self) -> bool {
        self.connections == 0 && self.parked.is_none()
    }

    /// The next of those that wait.
    fn pop(&mut self) -> Option<SiteKey> {
        let line = self.parked.as_mut()?;
        let next = line.pop();
        if line.is_empty() {
            self.parked = None;
        }
        next.map(|(_, key)| key)
    }
}

/// A connection's place at its address, given back when it is dropped.
pub struct Place<R: Runtime> {
    shard: Rc<Shard<R>>,
    address: IpAddr,
    slots: Arc<Slots>,
}

impl<R: Runtime> Place<R> {
    /// Takes a place; None where all are taken.
    pub fn take(shard: &Rc<Shard<R>>, address: IpAddr) -> Option<Place<R>> {
        let uncounted = usize::from(shard.runtime.planted("connections to an address are not counted"));
        let limit = shard.settings.delivery.connections_per_address + 1000 * uncounted;
        let mut known = shard.addresses.known.borrow_mut();
        let entry = entry(shard, &mut known, address);
        if !entry.slots.try_take(limit) {
            if entry.is_unused() {
                known.remove(&address);
            }
            return None;
        }
        entry.connections += 1;
        let slots = entry.slots.clone();
        Some(Place { shard: shard.clone(), address, slots })
    }

    /// Where it is.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether another site waits for a place here.
    pub fn is_wanted(&self, site: &Site) -> bool {
        self.slots.is_wanted() && (self.slots.wanted_by_others(self.shard.index) || self.has_others(site))
    }

    /// Whether another site of this shard waits.
    fn has_others(&self, site: &Site) -> bool {
        let own = usize::from(site.parked.get() == Some(self.address));
        let known = self.shard.addresses.known.borrow();
        let line = known.get(&self.address).and_then(|entry| entry.parked.as_ref());
        line.is_some_and(|line| line.len() > own)
    }

    /// Gives the place back. Where another site waits for it, this one goes to the end of the line if it has more to send: to connect
    /// again at once would be to keep it.
    pub(in crate::shard) fn pass_on(self, key: SiteKey, site: &Site) {
        let Place { shard, address, .. } = &self;
        let (shard, address) = (shard.clone(), *address);
        let wanted =
            self.is_wanted(site) && !shard.runtime.planted("a place is taken again by who gave it back");
        let elsewhere = self.slots.wanted_by_others(shard.index);
        drop(self);
        if wanted && site.parked.get().is_none() && dispatch::needs_hands(&shard, key, site) {
            stand_in_line(&shard, key, site, address);
            // Who waits on another shard hears of it in a moment; this one looks again at the next tick.
            if !elsewhere {
                unpark_at(&shard, address);
            }
        }
    }

    /// The connection has nothing to do, or has again.
    pub fn set_idle(&self, key: SiteKey, idle: bool) {
        let addresses = &self.shard.addresses;
        if let Some(known) = addresses.known.borrow_mut().get_mut(&self.address) {
            if idle {
                known.idle.push(key);
            } else if let Some(place) = known.idle.iter().position(|other| *other == key) {
                known.idle.remove(place);
            }
            self.slots.set_idle(self.shard.index, !known.idle.is_empty());
        }
    }
}

impl<R: Runtime> Drop for Place<R> {
    fn drop(&mut self) {
        if let Ok(mut known) = self.shard.addresses.known.try_borrow_mut()
            && let Some(entry) = known.get_mut(&self.address)
        {
            entry.connections -= 1;
            if entry.is_unused() {
                known.remove(&self.address);
            }
        }
        self.shard.mesh.release(&self.slots);
    }
}

fn entry<'a, R: Runtime>(
    shard: &Shard<R>,
    known: &'a mut BTreeMap<IpAddr, Known>,
    address: IpAddr,
) -> &'a mut Known {
    known.entry(address).or_insert_with(|| Known {
        slots: shard.mesh.address_slots(address),
        connections: 0,
        idle: Vec::new(),
        parked: None,
    })
}

/// The site waits for a place at this address.
pub(in crate::shard) fn park<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Site, address: IpAddr) {
    // Another connection of it may have found another address full: it waits in one line only, the one it is in.
    if site.parked.get().is_some() {
        return;
    }
    let slots = stand_in_line(shard, key, site, address);
    // One may have been given back since it was refused.
    if slots.free(shard.settings.delivery.connections_per_address) > 0 {
        unpark_at(shard, address);
        return;
    }
    wake_idle(shard, address);
    shard.mesh.ask_for_slot(shard.index, &slots);
}

/// The site is the last of its kind in the line of this address, and whoever gives a place back sees that.
fn stand_in_line<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site, address: IpAddr) -> Arc<Slots> {
    site.parked.set(Some(address));
    shard.instruments.counters.address_waits.add(1);
    let mut known = shard.addresses.known.borrow_mut();
    let entry = entry(shard, &mut known, address);
    let line = entry.parked.get_or_insert_with(|| Box::new(FairQueue::small(shard.runtime.random())));
    line.push(site.behalf.get(), key);
    shard.addresses.waiting.set(shard.addresses.waiting.get() + 1);
    entry.slots.want(shard.settings.delivery.connections_per_address, shard.index);
    entry.slots.clone()
}

/// Places may be free again: whoever waits for one is asked to connect.
pub(in crate::shard) fn unpark<R: Runtime>(shard: &Rc<Shard<R>>) {
    if shard.addresses.waiting.get() == 0 {
        return;
    }
    let addresses = &shard.addresses;
    let mut waited: Vec<IpAddr> = {
        let known = addresses.known.borrow();
        let waited = known.iter().filter(|(_, entry)| entry.parked.is_some());
        waited.map(|(address, _)| *address).collect()
    };
    // On from where it ended: no turn is long, and each address has its own.
    let next = waited.partition_point(|address| Some(*address) <= addresses.asked.get());
    waited.rotate_left(next);
    for address in waited {
        if shard.runtime.outstays() {
            return;
        }
        addresses.asked.set(Some(address));
        unpark_at(shard, address);
    }
}

fn unpark_at<R: Runtime>(shard: &Rc<Shard<R>>, address: IpAddr) {
    // Who is passed over here is asked in the next tick.
    if !shard.addresses.asking.replace(true) {
        ask_parked(shard, address);
        shard.addresses.asking.set(false);
    }
}

fn ask_parked<R: Runtime>(shard: &Rc<Shard<R>>, address: IpAddr) {
    let limit = shard.settings.delivery.connections_per_address;
    let mut begun = 0;
    loop {
        let next = {
            let mut known = shard.addresses.known.borrow_mut();
            let Some(entry) = known.get_mut(&address) else { return };
            if entry.parked.is_none() {
                if entry.is_unused() {
                    known.remove(&address);
                }
                return;
            }
            // Those that were asked have not taken theirs yet.
            if entry.slots.free(limit) <= begun && entry.slots.want(limit, shard.index) <= begun {
                return;
            }
            // The others are asked in the next tick.
            if begun > 0 && shard.runtime.outstays() {
                return;
            }
            entry.pop()
        };
        let Some(key) = next else { return };
        shard.addresses.waiting.set(shard.addresses.waiting.get() - 1);
        let site = shard.sites.borrow().get(&key).cloned();
        if let Some(site) = site
            && site.parked.get() == Some(address)
        {
            site.parked.set(None);
            begun += usize::from(dispatch::pump(shard, key));
        }
    }
}

/// Connections to an address others wait for, and that have nothing to do, end.
pub(in crate::shard) fn give_up_idle<R: Runtime>(shard: &Shard<R>) {
    let wanted: Vec<IpAddr> = {
        let known = shard.addresses.known.borrow();
        let wanted = known.iter().filter(|(_, entry)| !entry.idle.is_empty() && entry.slots.is_wanted());
        wanted.map(|(address, _)| *address).collect()
    };
    for address in wanted {
        wake_idle(shard, address);
    }
}

/// Wakes a connection to this address that has nothing to do; it finds that others wait.
fn wake_idle<R: Runtime>(shard: &Shard<R>, address: IpAddr) {
    let known = shard.addresses.known.borrow();
    let Some(entry) = known.get(&address) else { return };
    let resting = shard.resting.borrow();
    // One that was woken already is in the list until it had its turn.
    entry.idle.iter().any(|key| resting.get(key).is_some_and(|site| site.wake_at(address)));
}

/// Whether a connection ends its turn, as another site waits for its place.
pub(in crate::shard) fn must_yield<R: Runtime>(place: Option<&Place<R>>, site: &Site, done: usize) -> bool {
    done >= limits::ADDRESS_TURN
        && place.is_some_and(|place| {
            place.is_wanted(site) && !place.shard.runtime.planted("a place is kept after its turn")
        })
}
