//! Who speaks for the client of a session (XCLIENT), and who may.

use std::net::IpAddr;

use crate::policy::relay::Way;
use crate::shard::inbound::listener::Listener;

/// Who does. What it may is asked of its own address, whomever it speaks for.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) address: IpAddr,
    /// How those come that it speaks for.
    pub(super) way: Way,
}

/// Whether a client that came this way may say for whom it is there.
pub(super) fn may_introduce(listener: &Listener, way: Way, client: IpAddr) -> bool {
    let networks = &listener.config.proxy.xclient;
    // For most, an empty list is all there is to look at.
    !networks.is_empty() && way.is_in(networks, client)
}

/// Whether a client that came this way is a node of the operator: one that connects itself, and that nobody else speaks for.
pub(super) fn is_node(listener: &Listener, way: Way, client: IpAddr) -> bool {
    let networks = &listener.config.proxy.handover;
    !networks.is_empty() && way == Way::Direct && way.is_in(networks, client)
}

impl Gateway {
    /// Whether it still may.
    pub(super) fn is_at(&self, listener: &Listener) -> bool {
        listener.config.proxy.may_introduce(self.address)
    }
}
