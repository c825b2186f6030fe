//! Streams, listeners and datagrams in memory. One network for all nodes: addresses are what tells them apart.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::runtime::sim::{World, executor};
use crate::runtime::{Datagram, Listener, Stream};

/// Bytes one direction of a connection holds, under way and arrived.
const PIPE: usize = 64 * 1024;

/// What arrives at its time.
pub enum Event {
    /// Bytes for the given side of a connection.
    Bytes(u64, usize, Vec<u8>),
    /// The end of what the other side sends.
    End(u64, usize),
    /// A connection attempt reaches its target.
    Connect(u64, SocketAddr, u64),
    /// An answer to a datagram.
    Datagram(u64, Vec<u8>),
}

type Server = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>>>;

#[derive(Default)]
pub struct Network {
    connections: BTreeMap<u64, Connection>,
    listeners: BTreeMap<u64, ListenerState>,
    sockets: BTreeMap<u64, SocketState>,
    servers: BTreeMap<SocketAddr, Server>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    Refused,
    Reset,
}

struct Connection {
    state: State,
    /// The connecting side, then the accepting one.
    sides: [Side; 2],
}

#[derive(Default)]
struct Side {
    node: Option<u32>,
    address: Option<SocketAddr>,
    arrived: VecDeque<u8>,
    under_way: usize,
    ended: bool,
    /// Nothing arrives before what was sent earlier.
    last_arrival: u64,
    /// This side was dropped.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct ListenerState {
    node: u32,
    address: SocketAddr,
    queue: VecDeque<(u64, SocketAddr)>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct SocketState {
    inbox: VecDeque<Vec<u8>>,
    waker: Option<Waker>,
}

impl Connection {
    fn reset(&mut self) -> Vec<Waker> {
        self.state = State::Reset;
        self.wakers()
    }

    fn wakers(&mut self) -> Vec<Waker> {
        self.sides.iter_mut().flat_map(|side| [side.reader.take(), side.writer.take()]).flatten().collect()
    }
}

impl Network {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn serve_datagrams(&mut self, address: SocketAddr, server: Server) {
        self.servers.insert(address, server);
    }

    /// Something arrives: who is to be woken.
    pub fn happen(&mut self, event: Event) -> Vec<Waker> {
        match event {
            Event::Bytes(id, side, bytes) => {
                let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
                if connection.state != State::Open {
                    return Vec::new();
                }
                let side = &mut connection.sides[side];
                side.under_way -= bytes.len();
                side.arrived.extend(bytes);
                side.reader.take().into_iter().collect()
            }
            Event::End(id, side) => {
                let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
                let side = &mut connection.sides[side];
                side.ended = true;
                side.reader.take().into_iter().collect()
            }
            Event::Connect(id, to, choice) => self.arrive(id, to, choice),
            Event::Datagram(id, bytes) => {
                let Some(socket) = self.sockets.get_mut(&id) else { return Vec::new() };
                socket.inbox.push_back(bytes);
                socket.waker.take().into_iter().collect()
            }
        }
    }

    fn arrive(&mut self, id: u64, to: SocketAddr, choice: u64) -> Vec<Waker> {
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        if connection.state != State::Connecting {
            return Vec::new();
        }
        let mut listeners: Vec<&mut ListenerState> =
            self.listeners.values_mut().filter(|listener| listener.address == to).collect();
        if listeners.is_empty() {
            connection.state = State::Refused;
            return connection.wakers();
        }
        let place = choice as usize % listeners.len();
        let listener = &mut listeners[place];
        connection.state = State::Open;
        connection.sides[1].node = Some(listener.node);
        connection.sides[1].address = Some(to);
        let peer = connection.sides[0].address.unwrap_or(to);
        listener.queue.push_back((id, peer));
        let mut wakers: Vec<Waker> = listener.waker.take().into_iter().collect();
        wakers.extend(connection.sides[0].writer.take());
        wakers
    }

    /// A node is gone: its listeners are, and its connections are reset.
    pub fn crash(&mut self, node: u32) -> Vec<Waker> {
        self.listeners.retain(|_, listener| listener.node != node);
        let mut wakers = Vec::new();
        for connection in self.connections.values_mut() {
            if connection.sides.iter().any(|side| side.node == Some(node)) {
                wakers.extend(connection.reset());
            }
        }
        wakers
    }
}

/// A connection's end.
pub struct SimStream {
    world: World,
    id: u64,
    side: usize,
}

pub fn connect(world: &World, node: u32, source: Option<IpAddr>, to: SocketAddr) -> SimStream {
    let port = world.between(10_000, 60_000) as u16;
    let own = SocketAddr::new(source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port);
    let mut network = world.0.network.borrow_mut();
    let id = network.id();
    let side = Side { node: Some(node), address: Some(own), ..Side::default() };
    network.connections.insert(id, Connection { state: State::Connecting, sides: [side, Side::default()] });
    drop(network);
    let arrival = Duration::from_micros(world.between(20, 2_000));
    world.later(arrival, executor::Event::Network(Event::Connect(id, to, world.random())));
    SimStream { world: world.clone(), id, side: 0 }
}

fn error(state: State) -> io::Error {
    match state {
        State::Refused => io::ErrorKind::ConnectionRefused.into(),
        _ => io::ErrorKind::ConnectionReset.into(),
    }
}

impl Stream for SimStream {
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let short = self.world.chance(self.world.0.faults.get().short_transfer);
        let cut = if short { self.world.between(1, 20) as usize } else { usize::MAX };
        let mut network = self.world.0.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&self.id) else { return Err(error(State::Reset)) };
        match connection.state {
            State::Open => {}
            State::Connecting => return Err(io::ErrorKind::WouldBlock.into()),
            state => return Err(error(state)),
        }
        let [one, two] = &mut connection.sides;
        let (own, other) = if self.side == 0 { (one, two) } else { (two, one) };
        if own.arrived.is_empty() {
            return if own.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let length = buffer.len().min(own.arrived.len()).min(cut);
        for (to, from) in buffer.iter_mut().zip(own.arrived.drain(..length)) {
            *to = from;
        }
        let writer = other.writer.take();
        drop(network);
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(length)
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let faults = self.world.0.faults.get();
        let cut = self.world.chance(faults.cut);
        let short = self.world.chance(faults.short_transfer);
        let most = if short { self.world.between(1, 200) as usize } else { usize::MAX };
        let latency = self.world.between(10, 500) * 1000;
        let now = self.world.now().0;
        let mut network = self.world.0.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&self.id) else { return Err(error(State::Reset)) };
        match connection.state {
            State::Open => {}
            State::Connecting => return Err(io::ErrorKind::WouldBlock.into()),
            state => return Err(error(state)),
        }
        let other = &mut connection.sides[1 - self.side];
        if cut || other.gone {
            let wakers = connection.reset();
            drop(network);
            wakers.into_iter().for_each(Waker::wake);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let room = PIPE - other.arrived.len() - other.under_way;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let length = total.min(room).min(most);
        if length == 0 && total > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).take(length).collect();
        other.under_way += length;
        other.last_arrival = other.last_arrival.max(now + latency);
        let at = other.last_arrival;
        drop(network);
        let event = Event::Bytes(self.id, 1 - self.side, bytes);
        self.world.0.executor.schedule(at, executor::Event::Network(event));
        Ok(length)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut network = self.world.0.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&self.id) else { return Poll::Ready(()) };
        let open = matches!(connection.state, State::Open | State::Connecting);
        let side = &mut connection.sides[self.side];
        if !open || side.ended || !side.arrived.is_empty() {
            return Poll::Ready(());
        }
        side.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut network = self.world.0.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&self.id) else { return Poll::Ready(()) };
        let other = &connection.sides[1 - self.side];
        let room = PIPE > other.arrived.len() + other.under_way;
        match connection.state {
            State::Open if !room => {}
            State::Connecting => {}
            _ => return Poll::Ready(()),
        }
        // The side that writes is woken when the other one reads.
        connection.sides[self.side].writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn take_error(&self) -> io::Result<()> {
        match self.world.0.network.borrow().connections.get(&self.id).map(|connection| connection.state) {
            Some(State::Open | State::Connecting) => Ok(()),
            Some(state) => Err(error(state)),
            None => Err(error(State::Reset)),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            let now = self.world.now().0;
            let mut network = self.world.0.network.borrow_mut();
            let Some(connection) = network.connections.get_mut(&self.id) else { return Ok(()) };
            let at = connection.sides[1 - self.side].last_arrival.max(now) + 1000;
            drop(network);
            let event = Event::End(self.id, 1 - self.side);
            self.world.0.executor.schedule(at, executor::Event::Network(event));
        }
        Ok(())
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        let network = self.world.0.network.borrow();
        let side =
            network.connections.get(&self.id).and_then(|connection| connection.sides[self.side].address);
        side.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
        let mut network = self.world.0.network.borrow_mut();
        if let Some(connection) = network.connections.get_mut(&self.id) {
            connection.sides[self.side].gone = true;
            if connection.sides.iter().all(|side| side.gone) {
                network.connections.remove(&self.id);
            }
        }
    }
}

/// A listening socket.
pub struct SimListener {
    world: World,
    id: u64,
    address: SocketAddr,
}

pub fn listen(world: &World, node: u32, address: SocketAddr) -> SimListener {
    let mut network = world.0.network.borrow_mut();
    let id = network.id();
    network.listeners.insert(id, ListenerState { node, address, queue: VecDeque::new(), waker: None });
    SimListener { world: world.clone(), id, address }
}

impl Listener for SimListener {
    type Stream = SimStream;

    fn try_accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        let mut network = self.world.0.network.borrow_mut();
        let listener = network.listeners.get_mut(&self.id).ok_or(io::ErrorKind::NotConnected)?;
        let (id, peer) = listener.queue.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((SimStream { world: self.world.clone(), id, side: 1 }, peer))
    }

    fn poll_acceptable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut network = self.world.0.network.borrow_mut();
        match network.listeners.get_mut(&self.id) {
            Some(listener) if listener.queue.is_empty() => {
                listener.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut network = self.world.0.network.borrow_mut();
        let Some(listener) = network.listeners.remove(&self.id) else { return };
        let mut wakers = Vec::new();
        for (id, _) in listener.queue {
            if let Some(connection) = network.connections.get_mut(&id) {
                wakers.extend(connection.reset());
            }
        }
        drop(network);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A connected datagram socket.
pub struct SimDatagram {
    world: World,
    id: u64,
    to: SocketAddr,
}

pub fn datagram(world: &World, to: SocketAddr) -> SimDatagram {
    let mut network = world.0.network.borrow_mut();
    let id = network.id();
    network.sockets.insert(id, SocketState::default());
    SimDatagram { world: world.clone(), id, to }
}

impl Datagram for SimDatagram {
    fn try_send(&self, datagram: &[u8]) -> io::Result<()> {
        let lost = self.world.chance(self.world.0.faults.get().datagram_loss);
        let mut network = self.world.0.network.borrow_mut();
        let answer = network.servers.get_mut(&self.to).and_then(|server| server(datagram));
        drop(network);
        if let Some(answer) = answer.filter(|_| !lost) {
            let latency = Duration::from_micros(self.world.between(100, 20_000));
            self.world.later(latency, executor::Event::Network(Event::Datagram(self.id, answer)));
        }
        Ok(())
    }

    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut network = self.world.0.network.borrow_mut();
        let socket = network.sockets.get_mut(&self.id).ok_or(io::ErrorKind::NotConnected)?;
        let datagram = socket.inbox.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut network = self.world.0.network.borrow_mut();
        match network.sockets.get_mut(&self.id) {
            Some(socket) if socket.inbox.is_empty() => {
                socket.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for SimDatagram {
    fn drop(&mut self) {
        self.world.0.network.borrow_mut().sockets.remove(&self.id);
    }
}
