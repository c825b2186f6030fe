//! What a shard keeps for the way in.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::ListenAddress;
use crate::id::{Durable, MessageId};
use crate::mail::dkim::SignatureWriter;
use crate::mail::envelope::Envelopes;
use crate::shard::inbound::allowance::Allowance;
use crate::shard::inbound::listener::ListeningSocket;
use crate::shard::inbound::logins::Checks;
use crate::shard::inbound::turn::Turn;
use crate::shard::memory::Memory;
use crate::shard::promise::Promises;
use crate::smtp::server::NotStored;

/// Clients, and what they make this shard keep.
#[derive(Default)]
pub(in crate::shard) struct Inbound {
    /// Connections open now.
    pub connections: Rc<Cell<usize>>,
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
    /// What signatures are made with; borrowed between awaits only.
    pub signatures: RefCell<SignatureWriter>,
    /// Who may make one: between two of them all others of the shard have their turn.
    pub signing: Turn,
    /// The same of whose handshake begins.
    pub handshakes: Turn,
    /// Sockets that are open, by address.
    pub listening: RefCell<BTreeMap<ListenAddress, Rc<ListeningSocket>>>,
}
