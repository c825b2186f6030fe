//! Datagram sockets, and the handlers that answer them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Context;
use std::time::Duration;

use super::{DATAGRAM_BYTES, DATAGRAMS, NetworkEvent, Socket, os};
use crate::runtime::sim::{Event, State, Waiter};

impl State {
    pub(in crate::runtime::sim) fn net_datagram(&self, node: u32, to: SocketAddr) -> u64 {
        let network = &mut *self.network.borrow_mut();
        let id = network.id();
        let socket = Socket { node, to, received: VecDeque::new(), error: None, waiter: Waiter::default() };
        network.sockets.insert(id, socket);
        id
    }

    pub(in crate::runtime::sim) fn net_close_datagram(&self, socket: u64) {
        self.network.borrow_mut().sockets.remove(&socket);
    }

    pub(in crate::runtime::sim) fn net_send_datagram(&self, socket: u64, datagram: &[u8]) -> io::Result<()> {
        let network = &mut *self.network.borrow_mut();
        let state = network.sockets.get_mut(&socket).ok_or_else(|| os(libc::ENETDOWN))?;
        if let Some(error) = state.error.take() {
            return Err(os(error));
        }
        if datagram.len() > DATAGRAM_BYTES {
            return Err(os(libc::EMSGSIZE));
        }
        self.note("datagram", socket, datagram.len() as u64);
        self.launch(|| NetworkEvent::DatagramThere(socket, datagram.to_vec()));
        Ok(())
    }

    pub(in crate::runtime::sim) fn net_recv_datagram(
        &self,
        socket: u64,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let network = &mut *self.network.borrow_mut();
        let socket = network.sockets.get_mut(&socket).ok_or_else(|| os(libc::ENETDOWN))?;
        if let Some(error) = socket.error.take() {
            return Err(os(error));
        }
        let datagram = socket.received.pop_front().ok_or_else(|| os(libc::EAGAIN))?;
        let count = datagram.len().min(buffer.len());
        buffer[..count].copy_from_slice(&datagram[..count]);
        Ok(count)
    }

    pub(in crate::runtime::sim) fn net_poll_datagram(&self, socket: u64, context: &Context<'_>) -> bool {
        let network = &mut *self.network.borrow_mut();
        let Some(socket) = network.sockets.get_mut(&socket) else { return true };
        if !socket.received.is_empty() || socket.error.is_some() || self.spurious() {
            return true;
        }
        socket.waiter.register(context);
        false
    }

    pub(super) fn datagram_there(&self, socket: u64, bytes: &[u8]) {
        let (refused, handler) = {
            let network = self.network.borrow();
            let Some(state) = network.sockets.get(&socket) else { return };
            let faults = self.faults.borrow();
            if faults.blackhole.contains(&state.to) {
                return;
            }
            (faults.refuse.contains(&state.to), network.handlers.get(&state.to).cloned())
        };
        // The handler is the test's: no part of the world is borrowed while it runs.
        match handler {
            Some(handler) if !refused => {
                let answer = (handler.borrow_mut())(bytes);
                if let Some(answer) = answer {
                    self.launch(|| NetworkEvent::DatagramBack(socket, answer.clone()));
                }
            }
            _ => self.launch(|| NetworkEvent::Unreachable(socket)),
        }
    }

    /// A datagram or an ICMP error reaches the socket.
    pub(super) fn datagram_back(&self, socket: u64, what: Result<Vec<u8>, i32>) {
        let network = &mut *self.network.borrow_mut();
        let Some(socket) = network.sockets.get_mut(&socket) else { return };
        match what {
            Ok(bytes) if socket.received.len() < DATAGRAMS => socket.received.push_back(bytes),
            Ok(_) => {}
            Err(error) => socket.error = Some(error),
        }
        socket.waiter.wake();
    }

    /// Schedules the arrival of a datagram: once, twice or never.
    fn launch(&self, event: impl Fn() -> NetworkEvent) {
        let random = &mut *self.random.borrow_mut();
        let faults = self.faults.borrow();
        let copies = if random.chance(faults.datagram_duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            if random.chance(faults.datagram_loss) {
                self.note("datagram lost", 0, 0);
                continue;
            }
            let mut at = self.clock.get() + random.between(faults.latency_min, faults.latency_max);
            if random.chance(faults.datagram_reorder) {
                at += random.between(Duration::ZERO, faults.delay_max);
            }
            self.schedule(at, Event::Network(event()));
        }
    }
}
