//! The two ends of a connection: what its handles ask for, and how parcels leave.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::task::Context;
use std::time::Duration;

use super::{BREAK_BITS, CONNECT_TIMEOUT, Connection, End, EndId, NetworkEvent, Parcel, gather, os};
use crate::runtime::sim::random::nanos;
use crate::runtime::sim::{Event, State, Waiter, World};

impl State {
    pub(in crate::runtime::sim) fn net_connect(
        &self,
        node: u32,
        source: Option<IpAddr>,
        to: SocketAddr,
    ) -> io::Result<EndId> {
        if source.is_some_and(|source| source.is_ipv4() != to.is_ipv4()) {
            return Err(os(libc::EINVAL));
        }
        let source = source.unwrap_or_else(|| source_towards(node, to.ip()));
        let network = &mut *self.network.borrow_mut();
        let random = &mut *self.random.borrow_mut();
        let faults = self.faults.borrow();
        let id = network.id();
        let latency = random.between(faults.latency_min, faults.latency_max);
        let from = SocketAddr::new(source, network.ephemeral());
        let mut ends = [End::new(node, from, false), End::new(node, to, true)];
        if random.chance(faults.cut) {
            ends[random.index(2)].cut_after = Some(random.magnitude(BREAK_BITS));
        }
        let deaf_after = random.chance(faults.half_open).then(|| random.magnitude(BREAK_BITS));
        let now = self.clock.get();
        let deadline = now.saturating_add(nanos(CONNECT_TIMEOUT));
        network.connections.insert(
            id,
            Connection { ends, to, latency, deadline, made: false, moved: 0, deaf_after, deaf: false },
        );
        network.look(node, to);
        self.note("connect", id, u64::from(node) << 16 | u64::from(to.port()));
        self.schedule(now + latency, Event::Network(NetworkEvent::Arrive(id)));
        Ok(EndId { connection: id, side: 0 })
    }

    /// Sends at most what the window takes.
    pub(in crate::runtime::sim) fn net_send(&self, id: EndId, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let network = &mut *self.network.borrow_mut();
        let connection = network.connections.get_mut(&id.connection).ok_or_else(|| os(libc::EPIPE))?;
        if !connection.made && id.side == 0 {
            return Err(os(libc::EAGAIN));
        }
        let room = connection.ends[1 - id.side].room();
        let end = &mut connection.ends[id.side];
        if let Some(error) = end.error.take() {
            return Err(os(error));
        }
        if end.dead || end.send_shut {
            return Err(os(libc::EPIPE));
        }
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total == 0 {
            return Ok(0);
        }
        if room == 0 {
            return Err(os(libc::EAGAIN));
        }
        let count = self.shorten(total.min(room));
        let before = end.sent;
        end.sent += count as u64;
        connection.moved += count as u64;
        // The sender is told that all was sent: what breaks, breaks behind its back.
        let cut = end.cut_after.filter(|after| end.sent > *after);
        let passed = cut.map_or(count, |after| (after - before) as usize);
        if passed > 0 {
            self.dispatch(connection, id.peer(), Parcel::Bytes(gather(parts, passed)));
        }
        if connection.deaf_after.is_some_and(|after| connection.moved > after) && !connection.deaf {
            connection.deaf = true;
            self.note("deaf", id.connection, connection.moved);
        }
        if cut.is_some() {
            self.note("cut", id.connection, connection.moved);
            self.dispatch(connection, id.peer(), Parcel::Reset);
            self.dispatch(connection, id, Parcel::Reset);
            connection.ends[id.side].cut_after = None;
        }
        self.note("send", id.connection << 1 | id.side as u64, count as u64);
        Ok(count)
    }

    pub(in crate::runtime::sim) fn net_recv(&self, id: EndId, buffer: &mut [u8]) -> io::Result<usize> {
        let network = &mut *self.network.borrow_mut();
        let connection = network.connections.get_mut(&id.connection).ok_or_else(|| os(libc::ENOTCONN))?;
        if buffer.is_empty() {
            return Ok(0);
        }
        if !connection.made && id.side == 0 {
            return Err(os(libc::EAGAIN));
        }
        let end = &mut connection.ends[id.side];
        if !end.received.is_empty() {
            let count = self.shorten(buffer.len().min(end.received.len()));
            for (to, from) in buffer.iter_mut().zip(end.received.drain(..count)) {
                *to = from;
            }
            connection.ends[1 - id.side].writer.wake();
            self.note("recv", id.connection << 1 | id.side as u64, count as u64);
            return Ok(count);
        }
        if end.ended {
            return Ok(0);
        }
        if let Some(error) = end.error.take() {
            return Err(os(error));
        }
        if end.dead || end.recv_shut { Ok(0) } else { Err(os(libc::EAGAIN)) }
    }

    fn shorten(&self, count: usize) -> usize {
        let random = &mut *self.random.borrow_mut();
        if random.chance(self.faults.borrow().short) { 1 + random.index(count) } else { count }
    }

    /// Whether a receive may bring something; if not, the task is woken when it may.
    pub(in crate::runtime::sim) fn net_poll_readable(&self, id: EndId, context: &Context<'_>) -> bool {
        let network = &mut *self.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&id.connection) else { return true };
        let end = &mut connection.ends[id.side];
        let ready = !end.received.is_empty() || end.ended || end.error.is_some() || end.dead || end.recv_shut;
        if ready || self.spurious() {
            return true;
        }
        end.reader.register(context);
        false
    }

    /// Whether a send may take something or the attempt has ended; if not, the task is woken when so.
    pub(in crate::runtime::sim) fn net_poll_writable(&self, id: EndId, context: &Context<'_>) -> bool {
        let network = &mut *self.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&id.connection) else { return true };
        let made = connection.made || id.side == 1;
        let room = connection.ends[1 - id.side].room();
        let end = &mut connection.ends[id.side];
        // Never spurious before the attempt has ended: readiness is how its end is told.
        let ready = room > 0 || end.error.is_some() || end.dead || end.send_shut || (made && self.spurious());
        if made && ready {
            return true;
        }
        end.writer.register(context);
        false
    }

    pub(super) fn spurious(&self) -> bool {
        let probability = self.faults.borrow().spurious;
        // Never certain, or nothing else would ever run the clock forward for long.
        self.random.borrow_mut().chance(probability.min(0.9))
    }

    pub(in crate::runtime::sim) fn net_take_error(&self, id: EndId) -> io::Result<()> {
        let network = &mut *self.network.borrow_mut();
        let connection = network.connections.get_mut(&id.connection).ok_or_else(|| os(libc::ENOTCONN))?;
        connection.ends[id.side].error.take().map_or(Ok(()), |error| Err(os(error)))
    }

    pub(in crate::runtime::sim) fn net_shutdown(&self, id: EndId, how: Shutdown) -> io::Result<()> {
        let network = &mut *self.network.borrow_mut();
        let connection = network.connections.get_mut(&id.connection).ok_or_else(|| os(libc::ENOTCONN))?;
        let end = &mut connection.ends[id.side];
        if end.dead || (id.side == 0 && !connection.made) {
            return Err(os(libc::ENOTCONN));
        }
        if how != Shutdown::Write {
            end.recv_shut = true;
            end.reader.wake();
        }
        if how != Shutdown::Read && !end.send_shut {
            end.send_shut = true;
            end.writer.wake();
            self.dispatch(connection, id.peer(), Parcel::End);
        }
        Ok(())
    }

    /// The handle is gone. Bytes nobody read turn the goodbye into a reset, as in Linux.
    pub(in crate::runtime::sim) fn net_close(&self, id: EndId) {
        let network = &mut *self.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&id.connection) else { return };
        let end = &mut connection.ends[id.side];
        if end.closed {
            return;
        }
        end.closed = true;
        end.reader = Waiter::default();
        end.writer = Waiter::default();
        if !end.dead {
            let unread = !end.received.is_empty();
            let said = std::mem::replace(&mut end.send_shut, true);
            if unread {
                end.dead = true;
                end.received.clear();
                self.dispatch(connection, id.peer(), Parcel::Reset);
            } else if !said {
                self.dispatch(connection, id.peer(), Parcel::End);
            }
        }
        self.note("close", id.connection << 1 | id.side as u64, 0);
        if connection.ends.iter().all(|end| end.closed) {
            network.connections.remove(&id.connection);
        }
    }

    pub(in crate::runtime::sim) fn net_address(&self, id: EndId) -> io::Result<SocketAddr> {
        let network = self.network.borrow();
        let connection = network.connections.get(&id.connection).ok_or_else(|| os(libc::ENOTCONN))?;
        Ok(connection.ends[id.side].address)
    }

    /// Puts a parcel on its way to an end. Parcels of one direction never overtake each other.
    pub(super) fn dispatch(&self, connection: &mut Connection, to: EndId, parcel: Parcel) {
        let deaf = connection.deaf;
        let latency = connection.latency;
        let end = &mut connection.ends[to.side];
        if end.dead {
            return;
        }
        if let Parcel::Bytes(bytes) = &parcel {
            end.flight_bytes += bytes.len();
        }
        if deaf {
            // Its bytes fill the window for ever.
            return;
        }
        let mut at = self.clock.get() + latency;
        let random = &mut *self.random.borrow_mut();
        let faults = self.faults.borrow();
        if random.chance(faults.delay) {
            at += random.between(Duration::ZERO, faults.delay_max);
        }
        at = at.max(end.flight_until);
        end.flight_until = at;
        end.flight.push_back(parcel);
        self.schedule(at, Event::Network(NetworkEvent::Deliver(to)));
    }

    /// Takes a crashed node off the network: its listeners are gone, its peers hear resets after some of what was under way.
    pub(in crate::runtime::sim) fn cut_node(&self, node: u32) {
        let network = &mut *self.network.borrow_mut();
        network.listeners.retain(|_, one| one.node != node);
        network.sockets.retain(|_, one| one.node != node);
        for (id, connection) in &mut network.connections {
            for side in 0..2 {
                let end = &mut connection.ends[side];
                if end.node != node || end.dead || end.closed {
                    continue;
                }
                // Whoever still holds a handle of this end is told.
                connection.made |= side == 0;
                end.closed = true;
                end.received.clear();
                end.die(libc::ECONNRESET);
                let peer = &mut connection.ends[1 - side];
                let kept = self.random.borrow_mut().index(peer.flight.len() + 1);
                for lost in peer.flight.drain(kept..) {
                    if let Parcel::Bytes(bytes) = lost {
                        peer.flight_bytes -= bytes.len();
                    }
                }
                self.dispatch(connection, EndId { connection: *id, side: 1 - side }, Parcel::Reset);
            }
        }
        network.connections.retain(|_, connection| !connection.ends.iter().all(|end| end.closed));
    }
}

/// The address a node uses towards another, if it is not told one.
fn source_towards(node: u32, to: IpAddr) -> IpAddr {
    match (to, to.is_loopback()) {
        (IpAddr::V4(_), true) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (IpAddr::V4(_), false) => World::address(node),
        (IpAddr::V6(_), true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (IpAddr::V6(_), false) => {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, (node >> 16) as u16, node as u16))
        }
    }
}
