//! The right of a connection to be open.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::policy::clients::{Client, TOO_BUSY};
use crate::policy::reason::Refused;
use crate::shard::counts::ClientCounts;
use crate::shard::inbound::listener::Listener;

/// One open connection, counted on its shard and for its client at its listener. It remembers for whom, so that it gives back what it took,
/// whatever address its session goes by meanwhile.
#[derive(Debug)]
pub(in crate::shard) struct Permit {
    open: Rc<Cell<usize>>,
    clients: Arc<ClientCounts>,
    client: Client,
}

impl Permit {
    /// Counts a connection as `open` on a shard, which may have so many, or refuses it.
    pub(super) fn take(
        open: &Rc<Cell<usize>>,
        most: usize,
        listener: &Listener,
        client: IpAddr,
    ) -> Result<Permit, Refused<'static>> {
        if open.get() >= most {
            return Err(TOO_BUSY);
        }
        let (client, config) = (Client::from(client), &listener.config);
        listener.clients.enter(client, config.connections_max, config.connections_per_client)?;
        open.set(open.get() + 1);
        Ok(Permit { open: open.clone(), clients: listener.clients.clone(), client })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
        self.clients.leave(self.client);
    }
}
