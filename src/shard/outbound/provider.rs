//! Beside sites: providers. What holds for all of a provider's sites together, as far as this shard has a part in it.
//!
//! A connection to a site has a place of each of its providers that has a limit, over all shards. A site that finds none waits in the line of
//! those that were refused. While it does, connections to the provider's other sites are given up when they have nothing to do, and after a
//! turn when they have.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::limits;
use crate::shard::counts::ConnectionCount;
use crate::shard::mesh::Mesh;

/// A provider with limits, on this shard.
pub struct Provider {
    /// The node's.
    pub count: Arc<ConnectionCount>,
    /// Connections of this shard that have nothing to do.
    idle: Cell<usize>,
    /// Sites of this shard that wait for a place.
    waiting: Cell<usize>,
}

/// The providers that sites of this shard have.
#[derive(Default)]
pub struct Providers(RefCell<ProvidersByName>);

/// By source and name.
type ProvidersByName = HashMap<(Box<str>, Box<str>), Weak<Provider>>;

impl Providers {
    /// The provider of a name, as a source sees it, with the count of the node.
    pub fn get(
        &self,
        (source, name): (&str, &str),
        count: impl FnOnce() -> Arc<ConnectionCount>,
    ) -> Rc<Provider> {
        let mut known = self.0.borrow_mut();
        let key = (source.into(), name.into());
        if let Some(provider) = known.get(&key).and_then(Weak::upgrade) {
            return provider;
        }
        if known.len() >= limits::SHAPING_PROVIDERS_MAX {
            known.retain(|_, provider| provider.strong_count() > 0);
        }
        let (idle, waiting) = (Cell::new(0), Cell::new(0));
        let provider = Rc::new(Provider { count: count(), idle, waiting });
        known.insert(key, Rc::downgrade(&provider));
        provider
    }
}

/// What a site has of a provider.
pub struct Share {
    /// The provider.
    pub provider: Rc<Provider>,
    /// Connections to all of its sites; None: any number.
    pub connections: Option<usize>,
}

impl Share {
    /// Whether somebody else waits for a place: another shard, or another site of this one. `own`: what the asking site waits for.
    fn is_wanted(&self, own: Option<&WaitingSite>, shard: usize) -> bool {
        let own = own.is_some_and(|own| Rc::ptr_eq(&own.0, &self.provider));
        self.connections.is_some()
            && (self.provider.waiting.get() > usize::from(own) || self.provider.count.wanted_by_others(shard))
    }
}

/// A site waits for a place.
pub struct WaitingSite(Rc<Provider>);

impl Drop for WaitingSite {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// A connection's places, given back when it ends.
pub struct ConnectionPlaces {
    mesh: Arc<Mesh>,
    shares: Rc<[Share]>,
    /// In how many of them it has one.
    taken: usize,
}

impl ConnectionPlaces {
    /// Places for one more connection of a shard to a site that has these shares. `Err`: there is none, and the site waits for it.
    pub fn take(
        mesh: &Arc<Mesh>,
        shares: &Rc<[Share]>,
        shard: usize,
    ) -> Result<ConnectionPlaces, WaitingSite> {
        let mut places = ConnectionPlaces { mesh: mesh.clone(), shares: shares.clone(), taken: 0 };
        for Share { provider, connections } in shares.iter() {
            if connections.is_some_and(|most| !provider.count.take(provider.count.on_node(most), shard)) {
                provider.count.part().inspect(|part| part.wants(None));
                provider.waiting.set(provider.waiting.get() + 1);
                // Whoever holds one for nothing is asked for it.
                mesh.ask_for_connection(shard, &provider.count);
                return Err(WaitingSite(provider.clone()));
            }
            places.taken += 1;
        }
        Ok(places)
    }

    fn limited(&self) -> impl Iterator<Item = &Share> {
        self.shares[..self.taken].iter().filter(|share| share.connections.is_some())
    }

    /// Whether somebody else waits for one.
    pub fn are_wanted(&self, own: Option<&WaitingSite>, shard: usize) -> bool {
        self.limited().any(|share| share.is_wanted(own, shard))
    }

    /// The connection has nothing to do, or has again.
    pub fn set_idle(&self, shard: usize, idle: bool) {
        for Share { provider, .. } in self.limited() {
            let before = provider.idle.get();
            provider.idle.set(if idle { before + 1 } else { before - 1 });
            provider.count.set_idle(shard, provider.idle.get() > 0);
        }
    }
}

impl Drop for ConnectionPlaces {
    fn drop(&mut self) {
        self.limited().for_each(|share| self.mesh.release(&share.provider.count));
    }
}
