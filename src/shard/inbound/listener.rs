//! A listener of the node: what its sessions share, and the count of its connections.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Network;
use crate::policy::clients::{Client, Full};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::policy::InForce;
use crate::smtp::server::Rules;

/// What one listener's sessions share.
pub struct Listener {
    /// Protocol limits and offers.
    pub rules: Rc<Rules>,
    /// What its sessions go by until they hear of another.
    pub policy: Rc<InForce>,
    /// Its number among the listeners.
    pub number: u16,
    /// Connections at one time, over all shards.
    pub connections_max: usize,
    /// Of them, those of one client.
    pub connections_per_client: usize,
    /// Networks that may relay.
    pub relay_from: Vec<Network>,
    /// The certificate, when STARTTLS is offered.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Counts a connection as open, or says why it is one too many.
pub(super) fn enter<R: Runtime>(shard: &Shard<R>, listener: &Listener, peer: SocketAddr) -> Result<(), Full> {
    if shard.inbound.connections.get() >= shard.particulars.connections_inbound_max {
        return Err(Full::Listener);
    }
    let client = Client::from(peer.ip());
    let (most, most_each) = (listener.connections_max, listener.connections_per_client);
    shard.mesh.clients().enter(listener.number, client, most, most_each)?;
    shard.inbound.connections.set(shard.inbound.connections.get() + 1);
    Ok(())
}

/// Counts it out.
pub(super) fn leave<R: Runtime>(shard: &Shard<R>, listener: &Listener, peer: SocketAddr) {
    shard.inbound.connections.set(shard.inbound.connections.get() - 1);
    shard.instruments.counters.connections_closed.add(1);
    shard.mesh.clients().leave(listener.number, Client::from(peer.ip()));
}
