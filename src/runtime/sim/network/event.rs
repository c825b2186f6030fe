//! What the network does later.

/// One end of one connection. Side 0 connected, side 1 was accepted.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime::sim) struct EndId {
    pub connection: u64,
    pub side: usize,
}

/// What the network does later.
pub(in crate::runtime::sim) enum NetworkEvent {
    /// A connection attempt reaches its address.
    Arrive(u64),
    /// Its confirmation reaches the connecting end.
    Made(u64),
    /// Its failure does.
    Failed(u64, i32),
    /// The next parcel reaches an end.
    Deliver(EndId),
    /// A datagram reaches the address its socket is connected to.
    DatagramThere(u64, Vec<u8>),
    /// An answer reaches the socket.
    DatagramBack(u64, Vec<u8>),
    /// An ICMP port unreachable reaches the socket.
    Unreachable(u64),
}
