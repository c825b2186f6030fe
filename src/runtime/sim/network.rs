//! The simulated network: connections as pairs of bounded pipes, listeners, datagrams, and what goes wrong with them.
//!
//! One flat address space for all nodes: whoever listens on an address is reached there, 127.0.0.1 included. A listener on
//! 0.0.0.0 or :: is reached at its node's own address and at loopback.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::task::Context;
use std::time::Duration;

mod connection;
mod datagram;
mod event;
mod faults;

pub(super) use connection::{Connection, gather};
pub(super) use datagram::{DatagramTarget, Datagrams};
pub(super) use event::{EndId, NetworkEvent};
pub(super) use faults::Conditions;
pub use faults::Faults;

use super::base::{Base, Event};
use super::random::nanos;
use super::waiter::Waiter;
use crate::runtime::HERE;

/// Connections a listener queues before attempts are silently retried.
const BACKLOG: usize = 4096;
/// A SYN that found no room comes again.
const SYN_RETRY: Duration = Duration::from_secs(1);
/// Ports given to connecting ends.
const EPHEMERAL: std::ops::Range<u16> = 32_768..61_000;

/// All nodes' network.
pub(super) struct Network {
    faults: Faults,
    connections: BTreeMap<u64, Connection>,
    listeners: BTreeMap<u64, SimSocket>,
    datagrams: Datagrams,
    watches: Vec<Watch>,
    serial: u64,
    port: u16,
}

/// Connections of a node to some addresses, counted.
struct Watch {
    node: u32,
    to: BTreeSet<SocketAddr>,
    peak: usize,
}

struct SimSocket {
    node: u32,
    address: SocketAddr,
    queue: VecDeque<u64>,
    waiter: Waiter,
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Network {
    pub fn new() -> Network {
        Network {
            faults: Faults::default(),
            connections: BTreeMap::new(),
            listeners: BTreeMap::new(),
            datagrams: Datagrams::default(),
            watches: Vec::new(),
            serial: 0,
            port: EPHEMERAL.start,
        }
    }

    pub fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The datagrams, and what they go under.
    pub fn datagrams<'a>(&'a mut self, base: &'a Base) -> (&'a mut Datagrams, Conditions<'a>) {
        (&mut self.datagrams, Conditions { base, faults: &self.faults })
    }

    /// A connection, and what it goes under.
    pub fn connection<'a>(
        &'a mut self,
        id: u64,
        base: &'a Base,
    ) -> Option<(&'a mut Connection, Conditions<'a>)> {
        let connection = self.connections.get_mut(&id)?;
        Some((connection, Conditions { base, faults: &self.faults }))
    }

    pub fn watch(&mut self, node: u32, to: BTreeSet<SocketAddr>) -> usize {
        self.watches.push(Watch { node, to, peak: 0 });
        self.watches.len() - 1
    }

    pub fn peak(&self, watch: usize) -> usize {
        self.watches.get(watch).map_or(0, |watch| watch.peak)
    }

    /// A node begins a connection: is it more than ever before?
    fn look(&mut self, node: u32, to: SocketAddr) {
        for watch in self.watches.iter_mut().filter(|watch| watch.node == node && watch.to.contains(&to)) {
            let counted = |one: &&Connection| one.is_open_from(node) && watch.to.contains(&one.to());
            watch.peak = watch.peak.max(self.connections.values().filter(counted).count());
        }
    }

    /// Whether no connection is left.
    #[cfg(test)]
    pub fn is_quiet(&self) -> bool {
        self.connections.is_empty()
    }

    fn id(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn ephemeral(&mut self) -> u16 {
        let port = self.port;
        self.port = if port + 1 < EPHEMERAL.end { port + 1 } else { EPHEMERAL.start };
        port
    }

    /// The listeners a connection to `to` may reach: those on the very address, or else those on the wildcard.
    fn group(&self, to: SocketAddr) -> Vec<u64> {
        let exact: Vec<u64> =
            self.listeners.iter().filter(|(_, one)| one.address == to).map(|(id, _)| *id).collect();
        if !exact.is_empty() {
            return exact;
        }
        let wild = |one: &SimSocket| {
            one.address.ip().is_unspecified()
                && one.address.port() == to.port()
                && one.address.is_ipv4() == to.is_ipv4()
                && (to.ip().is_loopback() || to.ip() == address(one.node))
        };
        self.listeners.iter().filter(|(_, one)| wild(one)).map(|(id, _)| *id).collect()
    }

    pub fn listen(&mut self, node: u32, mut address: SocketAddr, base: &Base) -> io::Result<u64> {
        if address.port() == 0 {
            address.set_port(self.ephemeral());
        }
        if self.listeners.values().any(|one| one.address == address && one.node != node) {
            return Err(os(libc::EADDRINUSE));
        }
        let id = self.id();
        let listening = SimSocket { node, address, queue: VecDeque::new(), waiter: Waiter::default() };
        self.listeners.insert(id, listening);
        base.note("listen", id, u64::from(address.port()));
        Ok(id)
    }

    pub fn accept(&mut self, listener: u64, base: &Base) -> io::Result<(EndId, SocketAddr)> {
        let listening = self.listeners.get_mut(&listener).ok_or_else(|| os(libc::EINVAL))?;
        let id = listening.queue.pop_front().ok_or_else(|| os(libc::EAGAIN))?;
        let connection = self.connections.get(&id).ok_or_else(|| os(libc::ECONNABORTED))?;
        base.note("accept", listener, id);
        let peer = if is_path(listening.address) { HERE } else { connection.address(0) };
        Ok((EndId { connection: id, side: 1 }, peer))
    }

    pub fn poll_acceptable(&mut self, listener: u64, context: &Context<'_>, base: &Base) -> bool {
        let Some(listening) = self.listeners.get_mut(&listener) else { return true };
        if !listening.queue.is_empty() || (Conditions { base, faults: &self.faults }).spurious() {
            return true;
        }
        listening.waiter.register(context);
        false
    }

    pub fn listener_address(&self, listener: u64) -> io::Result<SocketAddr> {
        self.listeners.get(&listener).map(|one| one.address).ok_or_else(|| os(libc::EBADF))
    }

    /// Connections nobody accepted are reset, as in Linux.
    pub fn close_listener(&mut self, listener: u64, base: &Base) {
        let Some(listening) = self.listeners.remove(&listener) else { return };
        for id in listening.queue {
            let Some((connection, at)) = self.connection(id, base) else { continue };
            connection.never_accepted(at);
            self.forget(id);
        }
    }

    /// A node begins a connection.
    pub fn connect(
        &mut self,
        node: u32,
        source: Option<IpAddr>,
        to: SocketAddr,
        base: &Base,
    ) -> io::Result<EndId> {
        if source.is_some_and(|source| source.is_ipv4() != to.is_ipv4()) {
            return Err(os(libc::EINVAL));
        }
        if source.is_some_and(|source| self.faults.absent.contains(&source)) {
            return Err(os(libc::EADDRNOTAVAIL));
        }
        if self.faults.absent.contains(&to.ip()) {
            return Err(os(libc::ENETUNREACH));
        }
        if let Some(asked) = self.faults.no_ipv6.as_mut().filter(|_| to.is_ipv6()) {
            *asked += 1;
            return Err(os(libc::ENETUNREACH));
        }
        let source = source.unwrap_or_else(|| source_towards(node, to.ip()));
        let id = self.id();
        let from = SocketAddr::new(source, self.ephemeral());
        let connection = Connection::new(id, node, (from, to), Conditions { base, faults: &self.faults });
        let (latency, _) = connection.times();
        self.connections.insert(id, connection);
        self.look(node, to);
        base.note("connect", id, u64::from(node) << 16 | u64::from(to.port()));
        base.schedule(base.now() + latency, Event::Network(NetworkEvent::Arrive(id)));
        Ok(EndId { connection: id, side: 0 })
    }

    /// A handle of a connection is gone.
    pub fn close(&mut self, end: EndId, base: &Base) {
        if let Some((connection, at)) = self.connection(end.connection, base) {
            connection.close(end.side, at);
            self.forget(end.connection);
        }
    }

    /// Forgets a connection that nobody has an end of.
    fn forget(&mut self, id: u64) {
        if self.connections.get(&id).is_some_and(Connection::is_over) {
            self.connections.remove(&id);
        }
    }

    pub fn open_datagram(&mut self, node: u32, to: SocketAddr) -> u64 {
        let id = self.id();
        self.datagrams.open(id, node, to);
        id
    }

    /// What arrives, but datagrams at those who answer them: see [`Network::reached`].
    pub fn event(&mut self, event: NetworkEvent, base: &Base) {
        match event {
            NetworkEvent::Arrive(id) => self.arrive(id, base),
            NetworkEvent::Made(id) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.made();
                }
            }
            NetworkEvent::Failed(id, error) => {
                base.note("connect failed", id, error as u64);
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.failed(error);
                }
            }
            NetworkEvent::Deliver(to) => {
                if let Some((connection, at)) = self.connection(to.connection, base) {
                    connection.deliver(to.side, at);
                }
            }
            NetworkEvent::DatagramThere(..) => {}
            NetworkEvent::DatagramBack(socket, bytes) => self.datagrams.back(socket, Ok(bytes)),
            NetworkEvent::Unreachable(socket) => self.datagrams.back(socket, Err(libc::ECONNREFUSED)),
        }
    }

    /// Where a datagram comes to that arrives.
    pub fn reached(&self, socket: u64) -> DatagramTarget {
        self.datagrams.reached(socket, &self.faults)
    }

    /// What answers a datagram begins its way back. None: an ICMP error.
    pub fn answer(&self, socket: u64, answer: Option<&[u8]>, base: &Base) {
        let at = Conditions { base, faults: &self.faults };
        match answer {
            Some(bytes) => datagram::launch(at, || NetworkEvent::DatagramBack(socket, bytes.to_vec())),
            None => datagram::launch(at, || NetworkEvent::Unreachable(socket)),
        }
    }

    fn arrive(&mut self, id: u64, base: &Base) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (to, (latency, deadline)) = (connection.to(), connection.times());
        let now = base.now();
        let failed = |at, error| base.schedule(at, Event::Network(NetworkEvent::Failed(id, error)));
        if self.faults.blackhole.contains(&to) {
            return failed(deadline, libc::ETIMEDOUT);
        }
        let group = if self.faults.refuse.contains(&to) { Vec::new() } else { self.group(to) };
        if group.is_empty() {
            return failed(now + latency, libc::ECONNREFUSED);
        }
        let chosen = group[base.random().index(group.len())];
        let (Some(listening), Some(connection)) =
            (self.listeners.get_mut(&chosen), self.connections.get_mut(&id))
        else {
            return;
        };
        if listening.queue.len() >= BACKLOG {
            let again = now + nanos(SYN_RETRY);
            return if again < deadline {
                base.schedule(again, Event::Network(NetworkEvent::Arrive(id)));
            } else {
                failed(deadline, libc::ETIMEDOUT);
            };
        }
        connection.arrived(listening.node, now);
        base.schedule(now + latency, Event::Network(NetworkEvent::Made(id)));
        listening.queue.push_back(id);
        listening.waiter.wake();
        base.note("arrive", id, chosen);
    }

    /// Takes a crashed node off: its listeners are gone, its peers hear resets after some of what was under way.
    pub fn cut_off(&mut self, node: u32, base: &Base) {
        self.listeners.retain(|_, one| one.node != node);
        self.datagrams.cut_off(node);
        let at = Conditions { base, faults: &self.faults };
        self.connections.values_mut().for_each(|connection| connection.cut_off(node, at));
        self.connections.retain(|_, connection| !connection.is_over());
    }
}

/// The address of a node.
pub(super) fn address(node: u32) -> IpAddr {
    let [_, a, b, c] = node.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, a, b, c))
}

/// The address of a path of a node.
pub(super) fn socket(node: u32, path: &Path) -> SocketAddr {
    let hash = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
    let [a, b] = [node, hash].map(|word| [(word >> 16) as u16, word as u16]);
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfdff, 0, 0, 0, a[0], a[1], b[0], b[1])), 1)
}

/// Whether an address is that of a path.
fn is_path(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.segments()[0] == 0xfdff)
}

/// The address a node uses towards another, if it is not told one.
fn source_towards(node: u32, to: IpAddr) -> IpAddr {
    match (to, to.is_loopback()) {
        (IpAddr::V4(_), true) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (IpAddr::V4(_), false) => address(node),
        (IpAddr::V6(_), true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (IpAddr::V6(_), false) => {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, (node >> 16) as u16, node as u16))
        }
    }
}
