//! Beside connect: connections of the node to one address, over all the sites that lead there.
//!
//! Whoever makes up domains can make as many sites as he likes, and each has its own limit; what he cannot make is addresses of others. So
//! each connection to an address out of the DNS takes a place of that address. A site that finds none waits here, with nothing
//! counted against it or its mail, and is asked to connect again when a place is free, in fair order. While others wait, a
//! connection there is given up when it has nothing to do, and after a turn when it has.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::queue::destinations::SiteKey;
use crate::queue::fair::{Behalf, FairQueue};
use crate::shard::counts::{ConnectionCount, FarEnd};
use crate::shard::mesh::Mesh;
use crate::shard::outbound::site::Site;

/// What a shard knows of the addresses it is connected to or waits for.
pub struct Addresses {
    mesh: Arc<Mesh>,
    shard: usize,
    /// Connections that the node may have to one address.
    limit: Cell<usize>,
    known: RefCell<BTreeMap<FarEnd, AddressState>>,
    /// Sites that wait, at all addresses: nearly always none.
    waiting: Cell<usize>,
    /// The address of which sites were asked last.
    asked: Cell<Option<FarEnd>>,
}

struct AddressState {
    count: Arc<ConnectionCount>,
    /// Connections of this shard, connecting ones included.
    connections: usize,
    /// The sites of those that have nothing to do, the longest first.
    idle: Vec<SiteKey>,
    /// Connections that were begun for a place that seemed free, and have not asked for it yet.
    coming: usize,
    /// Sites of this shard that wait for a place. Nobody waits at most addresses, and there may be thousands: none without.
    parked: Option<Box<FairQueue<SiteKey>>>,
}

impl AddressState {
    fn is_unused(&self) -> bool {
        self.connections == 0 && self.coming == 0 && self.parked.is_none()
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

impl Addresses {
    /// A shard that is connected to none. The node may have so many connections to each.
    pub fn new((mesh, shard): (Arc<Mesh>, usize), limit: usize) -> Addresses {
        let (known, limit) = (RefCell::default(), Cell::new(limit));
        Addresses { mesh, shard, limit, known, waiting: Cell::new(0), asked: Cell::new(None) }
    }

    /// It may have so many from now on. Those it has stay.
    pub fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
    }

    /// Takes a place, of `least` at least; None where all are taken.
    pub fn take(self: &Rc<Self>, address: FarEnd, least: usize) -> Option<AddressPermit> {
        let limit = self.limit.get().max(least);
        let mut known = self.known.borrow_mut();
        let entry = self.entry(&mut known, address);
        if !entry.count.try_take(limit) {
            if entry.is_unused() {
                known.remove(&address);
            }
            return None;
        }
        entry.connections += 1;
        let count = entry.count.clone();
        Some(AddressPermit { addresses: self.clone(), address, count })
    }

    /// The site is the last of its kind in the line of this address, and whoever gives a place back sees that. `secret` is what nobody
    /// outside can know.
    pub(super) fn stand_in_line(
        &self,
        address: FarEnd,
        (key, behalf): (SiteKey, Behalf),
        secret: impl FnOnce() -> u64,
    ) -> Arc<ConnectionCount> {
        let mut known = self.known.borrow_mut();
        let entry = self.entry(&mut known, address);
        entry.parked.get_or_insert_with(|| Box::new(FairQueue::small(secret()))).push(behalf, key);
        self.waiting.set(self.waiting.get() + 1);
        entry.count.want(self.limit.get(), self.shard);
        entry.count.clone()
    }

    /// Whether a place is free of those that are counted here.
    pub(super) fn has_room(&self, count: &ConnectionCount) -> bool {
        count.free(self.limit.get()) > 0
    }

    /// Addresses that sites wait for, from the one behind that of the last turn on: no turn is long, and each address has its own.
    pub(super) fn waited_for(&self) -> Vec<FarEnd> {
        if self.waiting.get() == 0 {
            return Vec::new();
        }
        let known = self.known.borrow();
        let mut waited: Vec<FarEnd> = {
            let waited = known.iter().filter(|(_, entry)| entry.parked.is_some());
            waited.map(|(address, _)| *address).collect()
        };
        let next = waited.partition_point(|address| Some(*address) <= self.asked.get());
        waited.rotate_left(next);
        waited
    }

    /// The sites that wait for this one have their turn.
    pub(super) fn asked(&self, address: FarEnd) {
        self.asked.set(Some(address));
    }

    /// The next site that waits for a place at an address and may have one: those who come have not taken theirs yet.
    pub(super) fn next(&self, address: FarEnd, should_yield: impl FnOnce() -> bool) -> Option<SiteKey> {
        let limit = self.limit.get();
        let mut known = self.known.borrow_mut();
        let entry = known.get_mut(&address)?;
        if entry.parked.is_none() {
            if entry.is_unused() {
                known.remove(&address);
            }
            return None;
        }
        let coming = entry.coming;
        if entry.count.free(limit) <= coming && entry.count.want(limit, self.shard) <= coming {
            return None;
        }
        // The others are asked in the next tick.
        if coming > 0 && should_yield() {
            return None;
        }
        let next = entry.pop()?;
        self.waiting.set(self.waiting.get() - 1);
        Some(next)
    }

    /// A connection was begun that will ask for a place at this address.
    pub(super) fn expect(self: &Rc<Self>, address: FarEnd) -> Coming {
        let mut known = self.known.borrow_mut();
        self.entry(&mut known, address).coming += 1;
        Coming { addresses: self.clone(), address }
    }

    /// Addresses others wait for, with a connection of this shard that has nothing to do.
    pub(super) fn idle_and_wanted(&self) -> Vec<FarEnd> {
        let known = self.known.borrow();
        let wanted = known.iter().filter(|(_, entry)| !entry.idle.is_empty() && entry.count.is_wanted());
        wanted.map(|(address, _)| *address).collect()
    }

    /// Whether this is so of one of the sites with a connection to this address that has nothing to do, the longest first.
    pub(super) fn any_idle(&self, address: FarEnd, is_so: impl FnMut(&SiteKey) -> bool) -> bool {
        self.known.borrow().get(&address).is_some_and(|entry| entry.idle.iter().any(is_so))
    }

    fn entry<'a>(
        &self,
        known: &'a mut BTreeMap<FarEnd, AddressState>,
        address: FarEnd,
    ) -> &'a mut AddressState {
        known.entry(address).or_insert_with(|| AddressState {
            count: self.mesh.address_count(address),
            connections: 0,
            coming: 0,
            idle: Vec::new(),
            parked: None,
        })
    }
}

/// A connection that will ask for a place at an address; until then nobody else is asked to come for it.
pub struct Coming {
    addresses: Rc<Addresses>,
    address: FarEnd,
}

impl Drop for Coming {
    fn drop(&mut self) {
        if let Ok(mut known) = self.addresses.known.try_borrow_mut()
            && let Some(entry) = known.get_mut(&self.address)
        {
            entry.coming -= 1;
            if entry.is_unused() {
                known.remove(&self.address);
            }
        }
    }
}

/// A connection's place at its address, given back when it is dropped.
pub struct AddressPermit {
    addresses: Rc<Addresses>,
    address: FarEnd,
    count: Arc<ConnectionCount>,
}

impl AddressPermit {
    /// Where it is.
    pub fn address(&self) -> FarEnd {
        self.address
    }

    /// Whether another site waits for a place here.
    pub fn is_wanted(&self, site: &Site) -> bool {
        self.count.is_wanted() && (self.is_wanted_elsewhere() || self.has_others(site))
    }

    /// Whether another shard waits.
    pub(super) fn is_wanted_elsewhere(&self) -> bool {
        self.count.wanted_by_others(self.addresses.shard)
    }

    /// Whether another site of this shard waits.
    fn has_others(&self, site: &Site) -> bool {
        let own = usize::from(site.parked.get() == Some(self.address));
        let known = self.addresses.known.borrow();
        let line = known.get(&self.address).and_then(|entry| entry.parked.as_ref());
        line.is_some_and(|line| line.len() > own)
    }

    /// The connection has nothing to do, or has again.
    pub fn set_idle(&self, key: SiteKey, idle: bool) {
        if let Some(known) = self.addresses.known.borrow_mut().get_mut(&self.address) {
            if idle {
                known.idle.push(key);
            } else if let Some(place) = known.idle.iter().position(|other| *other == key) {
                known.idle.remove(place);
            }
            self.count.set_idle(self.addresses.shard, !known.idle.is_empty());
        }
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        if let Ok(mut known) = self.addresses.known.try_borrow_mut()
            && let Some(entry) = known.get_mut(&self.address)
        {
            entry.connections -= 1;
            if entry.is_unused() {
                known.remove(&self.address);
            }
        }
        self.addresses.mesh.release(&self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::destinations::Destinations;
    use crate::runtime::Bell;
    use crate::shard::assignment::Assignment;

    /// A place that is free wakes one site, however often it is looked at before that has taken it.
    #[test]
    fn a_place_is_given_away_once() {
        let mesh = Mesh::new(vec![Arc::new(Bell::new())], Assignment::chosen(&[None], 1));
        let addresses = Rc::new(Addresses::new((Arc::new(mesh), 0), 1));
        let mut names = Destinations::new(vec![1]);
        let sites = ["a", "b", "c"].map(|name| names.site(name));
        let at = FarEnd { ip: "192.0.2.1".parse().unwrap(), source: 0 };
        for site in sites {
            addresses.stand_in_line(at, (site, Behalf::default()), || 7);
        }
        let first = addresses.next(at, || false).expect("one may come");
        let coming = addresses.expect(at);
        assert_eq!((addresses.next(at, || false), addresses.next(at, || true)), (None, None));
        drop(coming);
        let place = addresses.take(at, 0).expect("nobody took it");
        assert_eq!(addresses.next(at, || false), None);
        drop(place);
        let second = addresses.next(at, || false).expect("the next may come");
        // Who came found no way there: the place is another's.
        drop(addresses.expect(at));
        let third = addresses.next(at, || false).expect("and the last");
        assert_eq!(BTreeMap::from([(first, ()), (second, ()), (third, ())]).len(), 3);
        assert_eq!((addresses.next(at, || false), addresses.known.borrow().len()), (None, 0));
    }
}
