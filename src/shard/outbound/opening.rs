//! Beside stage 5: which sites may open a connection now.
//!
//! A connection that has carried nothing yet may be a hole: an address nobody answers at, a host that never greets. Such connections
//! have a part of the shard's places only, of which one message, one zone and one client get a part again; a site that took mail
//! before opens connections from all that are left. Sites that find none wait in fair order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::queue::destinations::SiteKey;
use crate::queue::fair::{Behalf, FairQueue, Tally};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::dispatch::{self, Site};

/// Sites looked at when a place is free, and in a tick.
const LOOKED_AT: usize = 16;
const LOOKED_AT_TICK: usize = 256;

/// Connections that have carried nothing yet, and sites that wait to open one.
pub struct Openings {
    unproven: Cell<usize>,
    /// Who has how many of them, by message and zone, and by client.
    of: RefCell<(Tally, Tally)>,
    waiting: RefCell<FairQueue<SiteKey>>,
    admitting: Cell<bool>,
}

impl Openings {
    /// None. `secret` is what nobody outside can know.
    pub fn new(secret: u64) -> Openings {
        Openings {
            unproven: Cell::new(0),
            of: RefCell::new((Tally::new(secret), Tally::new(!secret))),
            waiting: RefCell::new(FairQueue::new(secret)),
            admitting: Cell::new(false),
        }
    }
}

/// Whether a site may open a connection; else it waits and is asked again.
pub(in crate::shard) fn may_open<R: Runtime>(shard: &Shard<R>, key: SiteKey, site: &Site) -> bool {
    let most = shard.particulars.connections_outbound_max;
    let openings = &shard.openings;
    let behalf = site.behalf.get();
    let fair = || {
        let of = openings.of.borrow();
        openings.unproven.get() < (most * 3 / 4).max(1)
            && (of.0.most(behalf) as usize) < (most / 8).max(1)
            && (of.1.most(client(behalf)) as usize) < (most / 2).max(1)
    };
    if shard.outbound.get() < most && (site.proven.get() || fair()) {
        return true;
    }
    if !site.queued.replace(true) {
        openings.waiting.borrow_mut().push(behalf, key);
    }
    false
}

fn client(behalf: Behalf) -> Behalf {
    Behalf { message: 0, zone: 0, ..behalf }
}

/// A connection that has carried nothing yet; counted until it has, or is gone.
pub struct Unproven<R: Runtime> {
    shard: Rc<Shard<R>>,
    behalf: Behalf,
}

impl<R: Runtime> Unproven<R> {
    /// One more.
    pub fn new(shard: &Rc<Shard<R>>, behalf: Behalf) -> Unproven<R> {
        let openings = &shard.openings;
        openings.unproven.set(openings.unproven.get() + 1);
        let of = &mut *openings.of.borrow_mut();
        of.0.add(behalf);
        of.1.add(client(behalf));
        Unproven { shard: shard.clone(), behalf }
    }
}

impl<R: Runtime> Drop for Unproven<R> {
    fn drop(&mut self) {
        let openings = &self.shard.openings;
        openings.unproven.set(openings.unproven.get() - 1);
        if let Ok(mut of) = openings.of.try_borrow_mut() {
            of.0.remove(self.behalf);
            of.1.remove(client(self.behalf));
        }
    }
}

/// A place may be free: sites that wait are asked.
pub(in crate::shard) fn admit<R: Runtime>(shard: &Rc<Shard<R>>) {
    look(shard, LOOKED_AT);
}

/// The same, four times a second, for whoever was passed over.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    look(shard, LOOKED_AT_TICK);
}

fn look<R: Runtime>(shard: &Rc<Shard<R>>, most: usize) {
    let openings = &shard.openings;
    if openings.waiting.borrow().is_empty() || openings.admitting.replace(true) {
        return;
    }
    let most = most.min(openings.waiting.borrow().len());
    for number in 0..most {
        // The others are asked in the next tick at the latest.
        if number > 0 && shard.runtime.outstays() {
            break;
        }
        if shard.outbound.get() >= shard.particulars.connections_outbound_max {
            break;
        }
        let next = openings.waiting.borrow_mut().pop();
        let Some((_, key)) = next else { break };
        let site = shard.sites.borrow().get(&key).cloned();
        if let Some(site) = site
            && site.queued.replace(false)
        {
            dispatch::pump(shard, key);
        }
    }
    openings.admitting.set(false);
}
