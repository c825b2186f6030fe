//! What a shard keeps for the way in.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::id::{Durable, MessageId};
use crate::mail::envelope::Envelopes;
use crate::policy::clients::Full;
use crate::shard::inbound::allowance::Allowance;
use crate::shard::inbound::listener::{Listener, Listening};
use crate::shard::inbound::logins::Checks;
use crate::shard::memory::Memory;
use crate::shard::promise::Promises;
use crate::smtp::server::NotStored;

/// Clients, and what they make this shard keep.
#[derive(Default)]
pub(in crate::shard) struct Inbound {
    /// Connections open now.
    pub connections: Cell<usize>,
    /// Passwords that are being checked.
    pub checks: Checks,
    /// Refusals that may still be recorded.
    pub allowance: Allowance,
    /// Bytes of bodies in memory.
    pub gathered: Cell<usize>,
    /// All that clients make this shard keep, these bodies included.
    pub memory: Memory,
    /// What their sessions hold beside that.
    pub session_memory: Memory,
    /// Memory for the next messages.
    pub envelopes: Envelopes,
    /// The same, for their bodies.
    pub bodies: RefCell<Vec<Vec<u8>>>,
    /// The same, for waits until they are stored.
    pub promises: Promises<Result<Durable<MessageId>, NotStored>>,
    /// Sockets that are open, by address.
    pub listening: RefCell<BTreeMap<SocketAddr, Rc<Listening>>>,
}

impl Inbound {
    /// Counts a connection as open, of which there may be so many on this shard, or says why it is one too many.
    pub(super) fn enter(&self, listener: &Listener, peer: SocketAddr, most: usize) -> Result<(), Full> {
        if self.connections.get() >= most {
            return Err(Full::Listener);
        }
        listener.clients.enter(peer.ip(), listener.connections_max, listener.connections_per_client)?;
        self.connections.set(self.connections.get() + 1);
        Ok(())
    }

    /// Counts it out.
    pub(super) fn leave(&self, listener: &Listener, peer: SocketAddr) {
        self.connections.set(self.connections.get() - 1);
        listener.clients.leave(peer.ip());
    }
}
