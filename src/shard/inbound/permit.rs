//! The right of a connection to be open.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::policy::clients::{Client, TOO_BUSY};
use crate::policy::reason::Refused;
use crate::shard::counts::ClientCounts;
use crate::shard::inbound::listener::Listener;

/// One open connection, counted on its shard and, once it is known whose it is, for its client at its listener. It remembers for whom, so that it
/// gives back what it took, whatever address its session goes by meanwhile.
#[derive(Debug)]
pub(in crate::shard) struct Permit {
    open: Rc<Cell<usize>>,
    counted: Option<(Arc<ClientCounts>, Client)>,
}

impl Permit {
    /// Counts a connection as `open` on a shard, which may have so many, or refuses it. It is nobody's yet.
    pub(super) fn of_shard(open: &Rc<Cell<usize>>, most: usize) -> Result<Permit, Refused<'static>> {
        if open.get() >= most {
            return Err(TOO_BUSY);
        }
        open.set(open.get() + 1);
        Ok(Permit { open: open.clone(), counted: None })
    }

    /// Counts it as one of this client's at a listener, over all shards, or refuses it as one too many: of all there, or of this client.
    pub(super) fn of_client(&mut self, listener: &Listener, address: IpAddr) -> Result<(), Refused<'static>> {
        let (client, config) = (Client::from(address), &listener.config);
        self.leave();
        // Whose they are, a gateway says later.
        let most = if config.proxy.may_introduce(address) {
            config.connections_max
        } else {
            config.connections_per_client
        };
        listener.clients.enter(client, config.connections_max, most)?;
        self.counted = Some((listener.clients.clone(), client));
        Ok(())
    }

    /// It is nobody's any more.
    pub(super) fn of_nobody(&mut self) {
        self.leave();
    }

    fn leave(&mut self) {
        if let Some((clients, client)) = self.counted.take() {
            clients.leave(client);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
        self.leave();
    }
}
