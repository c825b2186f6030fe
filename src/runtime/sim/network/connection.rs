//! One connection: two ends, the parcels between them, and what its handles ask for.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::task::Context;
use std::time::Duration;

use super::event::{EndId, NetworkEvent};
use super::faults::Conditions;
use crate::runtime::sim::base::Event;
use crate::runtime::sim::random::nanos;
use crate::runtime::sim::waiter::Waiter;

/// Bytes one direction of a connection holds, under way and received together: the window.
const PIPE_BYTES: usize = 64 * 1024;
/// How long a connection attempt goes unanswered (Linux: six retries of a SYN).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);
/// A connection that breaks does so within 2^20 bytes.
const BREAK_BITS: u64 = 20;

/// One connection, and the attempt to make it.
pub(in crate::runtime::sim) struct Connection {
    id: u64,
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

impl Connection {
    /// An attempt of a node to connect.
    pub fn new(id: u64, node: u32, (from, to): (SocketAddr, SocketAddr), at: Conditions<'_>) -> Connection {
        let random = &mut *at.base.random();
        let latency = random.between(at.faults.latency_min, at.faults.latency_max);
        let mut ends = [End::new(node, from, false), End::new(node, to, true)];
        if random.chance(at.faults.cut) {
            ends[random.index(2)].cut_after = Some(random.magnitude(BREAK_BITS));
        }
        let deaf_after = random.chance(at.faults.half_open).then(|| random.magnitude(BREAK_BITS));
        let deadline = at.base.now().saturating_add(nanos(CONNECT_TIMEOUT));
        Connection { id, ends, to, latency, deadline, made: false, moved: 0, deaf_after, deaf: false }
    }

    /// Where it leads.
    pub fn to(&self) -> SocketAddr {
        self.to
    }

    /// Nanoseconds, one way, and when the attempt is given up.
    pub fn times(&self) -> (u64, u64) {
        (self.latency, self.deadline)
    }

    /// Whether a node has the connecting end of it, and open.
    pub fn is_open_from(&self, node: u32) -> bool {
        self.ends[0].node == node && !self.ends[0].closed
    }

    /// Whether nobody has an end of it any more.
    pub fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.closed)
    }

    /// The attempt reached a listener of a node.
    pub fn arrived(&mut self, node: u32, now: u64) {
        self.ends[1].node = node;
        self.ends[1].closed = false;
        // Nothing of the acceptor's overtakes the confirmation.
        self.ends[0].flight_until = now + self.latency;
    }

    /// The attempt succeeded, as the connecting end hears now.
    pub fn made(&mut self) {
        self.made = true;
        self.ends[0].writer.wake();
    }

    /// The attempt failed, as the connecting end hears now.
    pub fn failed(&mut self, error: i32) {
        self.made = true;
        self.ends[0].die(error);
    }

    /// The listener is gone that never accepted it.
    pub fn never_accepted(&mut self, at: Conditions<'_>) {
        self.ends[1].closed = true;
        self.ends[1].dead = true;
        self.dispatch(0, Parcel::Reset, at);
    }

    /// Sends at most what the window takes.
    pub fn send(&mut self, side: usize, parts: &[IoSlice<'_>], at: Conditions<'_>) -> io::Result<usize> {
        if !self.made && side == 0 {
            return Err(os(libc::EAGAIN));
        }
        let room = self.ends[1 - side].room();
        let end = &mut self.ends[side];
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
        let count = at.shorten(total.min(room));
        let before = end.sent;
        end.sent += count as u64;
        self.moved += count as u64;
        // The sender is told that all was sent: what breaks, breaks behind its back.
        let cut = end.cut_after.filter(|after| end.sent > *after);
        let passed = cut.map_or(count, |after| (after - before) as usize);
        if passed > 0 {
            self.dispatch(1 - side, Parcel::Bytes(gather(parts, passed)), at);
        }
        if self.deaf_after.is_some_and(|after| self.moved > after) && !self.deaf {
            self.deaf = true;
            at.base.note("deaf", self.id, self.moved);
        }
        if cut.is_some() {
            at.base.note("cut", self.id, self.moved);
            self.dispatch(1 - side, Parcel::Reset, at);
            self.dispatch(side, Parcel::Reset, at);
            self.ends[side].cut_after = None;
        }
        at.base.note("send", self.id << 1 | side as u64, count as u64);
        Ok(count)
    }

    pub fn recv(&mut self, side: usize, buffer: &mut [u8], at: Conditions<'_>) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if !self.made && side == 0 {
            return Err(os(libc::EAGAIN));
        }
        let end = &mut self.ends[side];
        if !end.received.is_empty() {
            let count = at.shorten(buffer.len().min(end.received.len()));
            for (to, from) in buffer.iter_mut().zip(end.received.drain(..count)) {
                *to = from;
            }
            self.ends[1 - side].writer.wake();
            at.base.note("recv", self.id << 1 | side as u64, count as u64);
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

    /// Whether a receive may bring something; if not, the task is woken when it may.
    pub fn poll_readable(&mut self, side: usize, context: &Context<'_>, at: Conditions<'_>) -> bool {
        let end = &mut self.ends[side];
        let ready = !end.received.is_empty() || end.ended || end.error.is_some() || end.dead || end.recv_shut;
        if ready || at.spurious() {
            return true;
        }
        end.reader.register(context);
        false
    }

    /// Whether a send may take something or the attempt has ended; if not, the task is woken when so.
    pub fn poll_writable(&mut self, side: usize, context: &Context<'_>, at: Conditions<'_>) -> bool {
        let made = self.made || side == 1;
        let room = self.ends[1 - side].room();
        let end = &mut self.ends[side];
        // Never spurious before the attempt has ended: readiness is how its end is told.
        let ready = room > 0 || end.error.is_some() || end.dead || end.send_shut || (made && at.spurious());
        if made && ready {
            return true;
        }
        end.writer.register(context);
        false
    }

    pub fn take_error(&mut self, side: usize) -> io::Result<()> {
        self.ends[side].error.take().map_or(Ok(()), |error| Err(os(error)))
    }

    pub fn shutdown(&mut self, side: usize, how: Shutdown, at: Conditions<'_>) -> io::Result<()> {
        let end = &mut self.ends[side];
        if end.dead || (side == 0 && !self.made) {
            return Err(os(libc::ENOTCONN));
        }
        if how != Shutdown::Write {
            end.recv_shut = true;
            end.reader.wake();
        }
        if how != Shutdown::Read && !end.send_shut {
            end.send_shut = true;
            end.writer.wake();
            self.dispatch(1 - side, Parcel::End, at);
        }
        Ok(())
    }

    /// The other end hears a reset, after some of what is under way.
    pub fn abort(&mut self, side: usize, at: Conditions<'_>) {
        let end = &mut self.ends[side];
        if !std::mem::replace(&mut end.dead, true) {
            end.received.clear();
            self.reset_peer(side, at);
        }
    }

    /// What was sent and has not arrived is lost in part; behind the rest comes a reset.
    fn reset_peer(&mut self, side: usize, at: Conditions<'_>) {
        let peer = &mut self.ends[1 - side];
        let kept = at.base.random().index(peer.flight.len() + 1);
        for lost in peer.flight.drain(kept..) {
            if let Parcel::Bytes(bytes) = lost {
                peer.flight_bytes -= bytes.len();
            }
        }
        self.dispatch(1 - side, Parcel::Reset, at);
    }

    /// The handle is gone. Bytes nobody read turn the end of the stream into a reset, as in Linux.
    pub fn close(&mut self, side: usize, at: Conditions<'_>) {
        let end = &mut self.ends[side];
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
                self.dispatch(1 - side, Parcel::Reset, at);
            } else if !said {
                self.dispatch(1 - side, Parcel::End, at);
            }
        }
        at.base.note("close", self.id << 1 | side as u64, 0);
    }

    pub fn address(&self, side: usize) -> SocketAddr {
        self.ends[side].address
    }

    /// The next parcel reaches an end.
    pub fn deliver(&mut self, side: usize, at: Conditions<'_>) {
        let end = &mut self.ends[side];
        match end.flight.pop_front() {
            None => {}
            Some(Parcel::Bytes(bytes)) => {
                end.flight_bytes -= bytes.len();
                if end.closed {
                    end.dead = true;
                    self.dispatch(1 - side, Parcel::Reset, at);
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
                at.base.note("reset", self.id << 1 | side as u64, 0);
            }
        }
    }

    /// Puts a parcel on its way to an end. Parcels of one direction never overtake each other.
    fn dispatch(&mut self, side: usize, parcel: Parcel, at: Conditions<'_>) {
        let end = &mut self.ends[side];
        if end.dead {
            return;
        }
        if let Parcel::Bytes(bytes) = &parcel {
            end.flight_bytes += bytes.len();
        }
        if self.deaf {
            // Its bytes fill the window for ever.
            return;
        }
        let mut arrival = at.base.now() + self.latency;
        let random = &mut *at.base.random();
        if random.chance(at.faults.delay) {
            arrival += random.between(Duration::ZERO, at.faults.delay_max);
        }
        arrival = arrival.max(end.flight_until);
        end.flight_until = arrival;
        end.flight.push_back(parcel);
        let to = EndId { connection: self.id, side };
        at.base.schedule(arrival, Event::Network(NetworkEvent::Deliver(to)));
    }

    /// A node crashed that may have an end of it: the other one hears a reset after some of what was under way.
    pub fn cut_off(&mut self, node: u32, at: Conditions<'_>) {
        for side in 0..2 {
            let end = &mut self.ends[side];
            if end.node != node || end.dead || end.closed {
                continue;
            }
            // Whoever still holds a handle of this end is told.
            self.made |= side == 0;
            end.closed = true;
            end.received.clear();
            end.die(libc::ECONNRESET);
            self.reset_peer(side, at);
        }
    }
}

/// The first `count` bytes of the concatenation of `parts`.
pub(in crate::runtime::sim) fn gather(parts: &[IoSlice<'_>], count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    for part in parts {
        let take = part.len().min(count - bytes.len());
        bytes.extend_from_slice(&part[..take]);
    }
    bytes
}
