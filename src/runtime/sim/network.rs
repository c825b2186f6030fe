//! The simulated network: connections as pairs of bounded pipes, listeners, datagrams, and what goes wrong with them.
//!
//! One flat address space for all nodes: whoever listens on an address is reached there, 127.0.0.1 included. A listener on
//! 0.0.0.0 or :: is reached at its node's own address and at loopback.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

mod connection;
mod datagram;

use super::random::nanos;
use super::{Event, State, Waiter, World};

/// Bytes one direction of a connection holds, under way and received together: the window.
pub(super) const PIPE_BYTES: usize = 64 * 1024;
/// Connections a listener queues before attempts are silently retried.
const BACKLOG: usize = 4096;
/// How long a connection attempt goes unanswered (Linux: six retries of a SYN).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);
/// A SYN that found no room comes again.
const SYN_RETRY: Duration = Duration::from_secs(1);
/// Datagrams a socket queues; more are lost.
const DATAGRAMS: usize = 128;
/// Largest UDP payload over IPv4.
const DATAGRAM_BYTES: usize = 65_507;
/// A connection that breaks does so within 2^20 bytes.
const BREAK_BITS: u64 = 20;
/// Ports given to connecting ends.
const EPHEMERAL: std::ops::Range<u16> = 32_768..61_000;

/// What goes wrong on the network. Probabilities are between 0 and 1, and 0 in a new world.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Least latency of a connection, one way; each connection keeps the one it draws. Default 50 us.
    pub latency_min: Duration,
    /// Most latency of a connection. Default 500 us.
    pub latency_max: Duration,
    /// That a new connection is reset after a random number of bytes of one of its directions.
    pub cut: f64,
    /// That a new connection goes deaf after a random number of bytes: nothing arrives any more, and nobody is told.
    pub half_open: f64,
    /// That a piece of data (and all that follows it) is late by up to `delay_max`.
    pub delay: f64,
    /// See `delay`. Default 2 s.
    pub delay_max: Duration,
    /// That a send or a receive takes fewer bytes than it could.
    pub short: f64,
    /// That a wait for readiness ends though nothing is ready.
    pub spurious: f64,
    /// That a datagram is lost, in each direction.
    pub datagram_loss: f64,
    /// That a datagram is late by up to `delay_max`, and others overtake it.
    pub datagram_reorder: f64,
    /// That a datagram arrives twice.
    pub datagram_duplicate: f64,
    /// Addresses that refuse connections and datagrams, whoever listens there.
    pub refuse: BTreeSet<SocketAddr>,
    /// Addresses that never answer a connection attempt or a datagram.
    pub blackhole: BTreeSet<SocketAddr>,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            latency_min: Duration::from_micros(50),
            latency_max: Duration::from_micros(500),
            cut: 0.0,
            half_open: 0.0,
            delay: 0.0,
            delay_max: Duration::from_secs(2),
            short: 0.0,
            spurious: 0.0,
            datagram_loss: 0.0,
            datagram_reorder: 0.0,
            datagram_duplicate: 0.0,
            refuse: BTreeSet::new(),
            blackhole: BTreeSet::new(),
        }
    }
}

/// One end of one connection. Side 0 connected, side 1 was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndId {
    connection: u64,
    side: usize,
}

impl EndId {
    fn peer(self) -> EndId {
        EndId { connection: self.connection, side: 1 - self.side }
    }
}

/// What the network does later.
pub(super) enum NetworkEvent {
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

pub(super) type DatagramHandler = Rc<RefCell<dyn FnMut(&[u8]) -> Option<Vec<u8>>>>;

pub(super) struct Network {
    connections: BTreeMap<u64, Connection>,
    listeners: BTreeMap<u64, Listening>,
    sockets: BTreeMap<u64, Socket>,
    handlers: BTreeMap<SocketAddr, DatagramHandler>,
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

struct Connection {
    ends: [End; 2],
    to: SocketAddr,
    /// Nanoseconds, one way.
    latency: u64,
    /// When the attempt is given up.
    deadline: u64,
    /// Whether the attempt has ended, as the connecting end knows it.
    made: bool,
    /// Bytes sent in both directions, and after how many the connection goes deaf.
    moved: u64,
    deaf_after: Option<u64>,
    deaf: bool,
}

enum Parcel {
    Bytes(Vec<u8>),
    End,
    Reset,
}

struct End {
    node: u32,
    address: SocketAddr,
    /// Parcels on their way here, when the last of them arrives, and their bytes.
    flight: VecDeque<Parcel>,
    flight_until: u64,
    flight_bytes: usize,
    received: VecDeque<u8>,
    /// The peer's end of stream has arrived.
    ended: bool,
    /// The pending error of the socket.
    error: Option<i32>,
    /// Nothing is sent or received any more: reset, or never connected.
    dead: bool,
    send_shut: bool,
    recv_shut: bool,
    /// The handle was dropped (or not made yet).
    closed: bool,
    sent: u64,
    cut_after: Option<u64>,
    reader: Waiter,
    writer: Waiter,
}

struct Listening {
    node: u32,
    address: SocketAddr,
    queue: VecDeque<u64>,
    waiter: Waiter,
}

struct Socket {
    node: u32,
    to: SocketAddr,
    received: VecDeque<Vec<u8>>,
    error: Option<i32>,
    waiter: Waiter,
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl End {
    fn new(node: u32, address: SocketAddr, closed: bool) -> End {
        End {
            node,
            address,
            flight: VecDeque::new(),
            flight_until: 0,
            flight_bytes: 0,
            received: VecDeque::new(),
            ended: false,
            error: None,
            dead: false,
            send_shut: false,
            recv_shut: false,
            closed,
            sent: 0,
            cut_after: None,
            reader: Waiter::default(),
            writer: Waiter::default(),
        }
    }

    /// Bytes the peer may send.
    fn room(&self) -> usize {
        PIPE_BYTES.saturating_sub(self.flight_bytes + self.received.len())
    }

    fn die(&mut self, error: i32) {
        // As in Linux: what was received stays readable, then comes the error once, then the end.
        self.error = Some(error);
        self.dead = true;
        self.flight.clear();
        self.flight_bytes = 0;
        self.reader.wake();
        self.writer.wake();
    }
}

impl Network {
    pub(super) fn new() -> Network {
        Network {
            connections: BTreeMap::new(),
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
            handlers: BTreeMap::new(),
            watches: Vec::new(),
            serial: 0,
            port: EPHEMERAL.start,
        }
    }

    pub(super) fn serve(&mut self, address: SocketAddr, handler: DatagramHandler) {
        self.handlers.insert(address, handler);
    }

    pub(super) fn take_handlers(&mut self) -> BTreeMap<SocketAddr, DatagramHandler> {
        std::mem::take(&mut self.handlers)
    }

    pub(super) fn watch(&mut self, node: u32, to: BTreeSet<SocketAddr>) -> usize {
        self.watches.push(Watch { node, to, peak: 0 });
        self.watches.len() - 1
    }

    pub(super) fn peak(&self, watch: usize) -> usize {
        self.watches.get(watch).map_or(0, |watch| watch.peak)
    }

    /// A node begins a connection: is it more than ever before?
    fn look(&mut self, node: u32, to: SocketAddr) {
        for watch in self.watches.iter_mut().filter(|watch| watch.node == node && watch.to.contains(&to)) {
            let counted = |one: &&Connection| {
                one.ends[0].node == node && !one.ends[0].closed && watch.to.contains(&one.to)
            };
            watch.peak = watch.peak.max(self.connections.values().filter(counted).count());
        }
    }

    /// Whether no connection is left.
    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
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
        let wild = |one: &Listening| {
            one.address.ip().is_unspecified()
                && one.address.port() == to.port()
                && one.address.is_ipv4() == to.is_ipv4()
                && (to.ip().is_loopback() || to.ip() == World::address(one.node))
        };
        self.listeners.iter().filter(|(_, one)| wild(one)).map(|(id, _)| *id).collect()
    }
}

/// Listeners.
impl State {
    pub(super) fn net_listen(&self, node: u32, mut address: SocketAddr) -> io::Result<u64> {
        let network = &mut *self.network.borrow_mut();
        if address.port() == 0 {
            address.set_port(network.ephemeral());
        }
        if network.listeners.values().any(|one| one.address == address && one.node != node) {
            return Err(os(libc::EADDRINUSE));
        }
        let id = network.id();
        let listening = Listening { node, address, queue: VecDeque::new(), waiter: Waiter::default() };
        network.listeners.insert(id, listening);
        self.note("listen", id, u64::from(address.port()));
        Ok(id)
    }

    pub(super) fn net_accept(&self, listener: u64) -> io::Result<(EndId, SocketAddr)> {
        let network = &mut *self.network.borrow_mut();
        let listening = network.listeners.get_mut(&listener).ok_or_else(|| os(libc::EINVAL))?;
        let id = listening.queue.pop_front().ok_or_else(|| os(libc::EAGAIN))?;
        let connection = network.connections.get(&id).ok_or_else(|| os(libc::ECONNABORTED))?;
        self.note("accept", listener, id);
        Ok((EndId { connection: id, side: 1 }, connection.ends[0].address))
    }

    pub(super) fn net_poll_acceptable(&self, listener: u64, context: &std::task::Context<'_>) -> bool {
        let network = &mut *self.network.borrow_mut();
        let Some(listening) = network.listeners.get_mut(&listener) else { return true };
        if !listening.queue.is_empty() || self.spurious() {
            return true;
        }
        listening.waiter.register(context);
        false
    }

    pub(super) fn net_listener_address(&self, listener: u64) -> io::Result<SocketAddr> {
        let network = self.network.borrow();
        network.listeners.get(&listener).map(|one| one.address).ok_or_else(|| os(libc::EBADF))
    }

    /// Connections nobody accepted are reset, as in Linux.
    pub(super) fn net_close_listener(&self, listener: u64) {
        let network = &mut *self.network.borrow_mut();
        let Some(listening) = network.listeners.remove(&listener) else { return };
        for id in listening.queue {
            if let Some(connection) = network.connections.get_mut(&id) {
                connection.ends[1].closed = true;
                connection.ends[1].dead = true;
                self.dispatch(connection, EndId { connection: id, side: 0 }, Parcel::Reset);
                if connection.ends[0].closed {
                    network.connections.remove(&id);
                }
            }
        }
    }
}

/// What arrives.
impl State {
    pub(super) fn network_event(&self, event: NetworkEvent) {
        match event {
            NetworkEvent::Arrive(id) => self.arrive(id),
            NetworkEvent::Made(id) => {
                if let Some(connection) = self.network.borrow_mut().connections.get_mut(&id) {
                    connection.made = true;
                    connection.ends[0].writer.wake();
                }
            }
            NetworkEvent::Failed(id, error) => {
                self.note("connect failed", id, error as u64);
                let network = &mut *self.network.borrow_mut();
                if let Some(connection) = network.connections.get_mut(&id) {
                    connection.made = true;
                    connection.ends[0].die(error);
                }
            }
            NetworkEvent::Deliver(to) => self.deliver(to),
            NetworkEvent::DatagramThere(socket, bytes) => self.datagram_there(socket, &bytes),
            NetworkEvent::DatagramBack(socket, bytes) => self.datagram_back(socket, Ok(bytes)),
            NetworkEvent::Unreachable(socket) => self.datagram_back(socket, Err(libc::ECONNREFUSED)),
        }
    }

    fn arrive(&self, id: u64) {
        let network = &mut *self.network.borrow_mut();
        let Some((to, latency, deadline)) =
            network.connections.get(&id).map(|one| (one.to, one.latency, one.deadline))
        else {
            return;
        };
        let now = self.clock.get();
        let failed = |at, error| self.schedule(at, Event::Network(NetworkEvent::Failed(id, error)));
        let faults = self.faults.borrow();
        if faults.blackhole.contains(&to) {
            return failed(deadline, libc::ETIMEDOUT);
        }
        let group = if faults.refuse.contains(&to) { Vec::new() } else { network.group(to) };
        if group.is_empty() {
            return failed(now + latency, libc::ECONNREFUSED);
        }
        let chosen = group[self.random.borrow_mut().index(group.len())];
        let (Some(listening), Some(connection)) =
            (network.listeners.get_mut(&chosen), network.connections.get_mut(&id))
        else {
            return;
        };
        if listening.queue.len() >= BACKLOG {
            let again = now + nanos(SYN_RETRY);
            return if again < deadline {
                self.schedule(again, Event::Network(NetworkEvent::Arrive(id)));
            } else {
                failed(deadline, libc::ETIMEDOUT);
            };
        }
        connection.ends[1].node = listening.node;
        connection.ends[1].closed = false;
        // Nothing of the acceptor's overtakes the confirmation.
        connection.ends[0].flight_until = now + latency;
        self.schedule(now + latency, Event::Network(NetworkEvent::Made(id)));
        listening.queue.push_back(id);
        listening.waiter.wake();
        self.note("arrive", id, chosen);
    }

    fn deliver(&self, to: EndId) {
        let network = &mut *self.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&to.connection) else { return };
        let end = &mut connection.ends[to.side];
        match end.flight.pop_front() {
            None => {}
            Some(Parcel::Bytes(bytes)) => {
                end.flight_bytes -= bytes.len();
                if end.closed {
                    end.dead = true;
                    self.dispatch(connection, to.peer(), Parcel::Reset);
                } else {
                    end.received.extend(bytes);
                    end.reader.wake();
                }
            }
            Some(Parcel::End) => {
                end.ended = true;
                end.reader.wake();
            }
            Some(Parcel::Reset) => {
                let error = if end.ended { libc::EPIPE } else { libc::ECONNRESET };
                end.die(error);
                self.note("reset", to.connection << 1 | to.side as u64, 0);
            }
        }
    }
}

/// The first `count` bytes of the concatenation of `parts`.
pub(super) fn gather(parts: &[IoSlice<'_>], count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    for part in parts {
        let take = part.len().min(count - bytes.len());
        bytes.extend_from_slice(&part[..take]);
    }
    bytes
}
