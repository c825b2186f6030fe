//! Datagram sockets, and the handlers that answer them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use super::event::NetworkEvent;
use super::faults::{Conditions, Faults};
use crate::runtime::sim::base::Event;
use crate::runtime::sim::waiter::Waiter;

/// Datagrams a socket queues; more are lost.
const DATAGRAMS: usize = 128;
/// Largest UDP payload over IPv4.
const DATAGRAM_BYTES: usize = 65_507;

/// What answers datagrams.
pub(in crate::runtime::sim) type DatagramHandler = Rc<RefCell<dyn FnMut(&[u8]) -> Option<Vec<u8>>>>;

/// All datagram sockets, and who answers them.
#[derive(Default)]
pub(in crate::runtime::sim) struct Datagrams {
    sockets: BTreeMap<u64, Socket>,
    handlers: BTreeMap<SocketAddr, DatagramHandler>,
}

struct Socket {
    node: u32,
    to: SocketAddr,
    received: VecDeque<Vec<u8>>,
    error: Option<i32>,
    waiter: Waiter,
}

/// Where a datagram comes to.
pub(in crate::runtime::sim) enum DatagramTarget {
    /// Nowhere: nobody is told.
    Nothing,
    /// Nobody listens there: an ICMP error.
    Nobody,
    /// This one answers it, while no part of the world is borrowed.
    Handler(DatagramHandler),
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Datagrams {
    pub fn serve(&mut self, address: SocketAddr, handler: DatagramHandler) {
        self.handlers.insert(address, handler);
    }

    pub fn take_handlers(&mut self) -> BTreeMap<SocketAddr, DatagramHandler> {
        std::mem::take(&mut self.handlers)
    }

    pub fn open(&mut self, id: u64, node: u32, to: SocketAddr) {
        let socket = Socket { node, to, received: VecDeque::new(), error: None, waiter: Waiter::default() };
        self.sockets.insert(id, socket);
    }

    pub fn close(&mut self, socket: u64) {
        self.sockets.remove(&socket);
    }

    /// A node crashed.
    pub fn cut_off(&mut self, node: u32) {
        self.sockets.retain(|_, one| one.node != node);
    }

    pub fn send(&mut self, socket: u64, datagram: &[u8], at: Conditions<'_>) -> io::Result<()> {
        let state = self.sockets.get_mut(&socket).ok_or_else(|| os(libc::ENETDOWN))?;
        if let Some(error) = state.error.take() {
            return Err(os(error));
        }
        if datagram.len() > DATAGRAM_BYTES {
            return Err(os(libc::EMSGSIZE));
        }
        at.base.note("datagram", socket, datagram.len() as u64);
        launch(at, || NetworkEvent::DatagramThere(socket, datagram.to_vec()));
        Ok(())
    }

    pub fn recv(&mut self, socket: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = self.sockets.get_mut(&socket).ok_or_else(|| os(libc::ENETDOWN))?;
        if let Some(error) = socket.error.take() {
            return Err(os(error));
        }
        let datagram = socket.received.pop_front().ok_or_else(|| os(libc::EAGAIN))?;
        let count = datagram.len().min(buffer.len());
        buffer[..count].copy_from_slice(&datagram[..count]);
        Ok(count)
    }

    pub fn poll(&mut self, socket: u64, context: &Context<'_>, at: Conditions<'_>) -> bool {
        let Some(socket) = self.sockets.get_mut(&socket) else { return true };
        if !socket.received.is_empty() || socket.error.is_some() || at.spurious() {
            return true;
        }
        socket.waiter.register(context);
        false
    }

    /// Where a datagram of this socket comes to.
    pub fn reached(&self, socket: u64, faults: &Faults) -> DatagramTarget {
        let Some(state) = self.sockets.get(&socket) else { return DatagramTarget::Nothing };
        if faults.blackhole.contains(&state.to) {
            return DatagramTarget::Nothing;
        }
        let handler = self.handlers.get(&state.to).filter(|_| !faults.refuse.contains(&state.to));
        handler.cloned().map_or(DatagramTarget::Nobody, DatagramTarget::Handler)
    }

    /// A datagram or an ICMP error reaches the socket.
    pub fn back(&mut self, socket: u64, what: Result<Vec<u8>, i32>) {
        let Some(socket) = self.sockets.get_mut(&socket) else { return };
        match what {
            Ok(bytes) if socket.received.len() < DATAGRAMS => socket.received.push_back(bytes),
            Ok(_) => {}
            Err(error) => socket.error = Some(error),
        }
        socket.waiter.wake();
    }
}

/// Schedules the arrival of a datagram: once, twice or never.
pub(super) fn launch(at: Conditions<'_>, event: impl Fn() -> NetworkEvent) {
    let random = &mut *at.base.random();
    let faults = at.faults;
    let copies = if random.chance(faults.datagram_duplicate) { 2 } else { 1 };
    for _ in 0..copies {
        if random.chance(faults.datagram_loss) {
            at.base.note("datagram lost", 0, 0);
            continue;
        }
        let mut arrival = at.base.now() + random.between(faults.latency_min, faults.latency_max);
        if random.chance(faults.datagram_reorder) {
            arrival += random.between(Duration::ZERO, faults.delay_max);
        }
        at.base.schedule(arrival, Event::Network(event()));
    }
}
