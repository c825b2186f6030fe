//! Beside dispatch: which sites may open a connection now.
//!
//! A connection that has carried nothing yet may be a hole: an address nobody answers at, a host that never greets. Such connections
//! have a part of the shard's places only, of which one message, one zone and one client get a part again; a site that took mail
//! before opens connections from all that are left. Sites that find none wait in fair order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::queue::destinations::SiteKey;
use crate::queue::fair::{Behalf, FairCounts, FairQueue};
use crate::runtime::Runtime;
use crate::shard::outbound::address::Coming;
use crate::shard::outbound::bucket::Token;
use crate::shard::outbound::provider::ConnectionPlaces;
use crate::shard::outbound::site::Site;

/// A connection that is to be opened: it has its connection and is counted.
pub struct OpeningConnection<R: Runtime> {
    /// Of which site.
    pub key: SiteKey,
    /// The same.
    pub site: Rc<Site>,
    /// Where the site took no mail of late.
    pub unproven: Option<Unproven>,
    /// Where it waited for a place at an address that may be free.
    pub coming: Option<Coming>,
    /// Its places at the providers of the site.
    pub places: Option<ConnectionPlaces>,
    /// Where there is a rate for it.
    pub token: Option<Token<R>>,
}

/// Connections that have carried nothing yet, and sites that wait to open one.
pub struct Openings {
    unproven: Cell<usize>,
    /// Who has how many of them, by message and zone, and by client.
    of: RefCell<(FairCounts, FairCounts)>,
    waiting: RefCell<FairQueue<SiteKey>>,
}

impl Openings {
    /// None. `secret` is what nobody outside can know.
    pub fn new(secret: u64) -> Openings {
        Openings {
            unproven: Cell::new(0),
            of: RefCell::new((FairCounts::new(secret), FairCounts::new(!secret))),
            waiting: RefCell::new(FairQueue::new(secret)),
        }
    }

    /// Whether one more that has carried nothing yet may be opened on this behalf, of so many connections in all.
    pub(super) fn has_room(&self, behalf: Behalf, most: usize) -> bool {
        let of = self.of.borrow();
        self.unproven.get() < (most * 3 / 4).max(1)
            && (of.0.most(behalf) as usize) < (most / 8).max(1)
            && (of.1.most(client(behalf)) as usize) < (most / 2).max(1)
    }

    /// A connection that has carried nothing yet.
    pub(super) fn begin(self: &Rc<Self>, behalf: Behalf) -> Unproven {
        self.unproven.set(self.unproven.get() + 1);
        let of = &mut *self.of.borrow_mut();
        of.0.add(behalf);
        of.1.add(client(behalf));
        Unproven { openings: self.clone(), behalf }
    }

    /// The site waits.
    pub(super) fn wait(&self, behalf: Behalf, key: SiteKey) {
        self.waiting.borrow_mut().push(behalf, key);
    }

    /// Sites that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// The next of them.
    pub(super) fn next(&self) -> Option<SiteKey> {
        self.waiting.borrow_mut().pop().map(|(_, key)| key)
    }
}

fn client(behalf: Behalf) -> Behalf {
    Behalf { message: 0, zone: 0, ..behalf }
}

/// A connection that has carried nothing yet; counted until it has, or is gone.
pub struct Unproven {
    openings: Rc<Openings>,
    behalf: Behalf,
}

impl Drop for Unproven {
    fn drop(&mut self) {
        self.openings.unproven.set(self.openings.unproven.get() - 1);
        if let Ok(mut of) = self.openings.of.try_borrow_mut() {
            of.0.remove(self.behalf);
            of.1.remove(client(self.behalf));
        }
    }
}
