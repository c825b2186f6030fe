//! The handles of the simulated network, and a few words of comfort for scripted peers.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::network::{Conditions, Connection, EndId};
use super::state::WorldState;
use crate::runtime::{Datagram, Listener, Stream};

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// One end of a simulated connection.
pub struct SimStream {
    state: Rc<WorldState>,
    end: EndId,
    /// It listens to nobody.
    deaf: Cell<bool>,
}

impl SimStream {
    pub(super) fn connect(
        state: &Rc<WorldState>,
        node: u32,
        source: Option<IpAddr>,
        to: SocketAddr,
    ) -> io::Result<SimStream> {
        let end = state.network().connect(node, source, to, state.base())?;
        Ok(SimStream { end, state: state.clone(), deaf: Cell::new(false) })
    }

    /// Asks the connection something, if it is still known.
    fn on_connection<T>(&self, ask: impl FnOnce(&mut Connection, usize, Conditions<'_>) -> T) -> Option<T> {
        let mut network = self.state.network();
        let (connection, at) = network.connection(self.end.connection, self.state.base())?;
        Some(ask(connection, self.end.side, at))
    }

    /// Waits until the connection attempt has ended, and tells how.
    pub async fn connected(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_writable(context)).await;
        self.take_error()
    }

    /// Waits for bytes. Ok(0) is the end.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.try_recv(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| self.poll_readable(context)).await;
                }
                result => return result,
            }
        }
    }

    /// Receives up to and including `end`, at most `limit` bytes; fewer if the stream ends first.
    pub async fn recv_until(&self, end: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(end) && bytes.len() < limit && self.recv(&mut byte).await? == 1 {
            bytes.extend(byte);
        }
        Ok(bytes)
    }

    /// Sends everything.
    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_send(&[IoSlice::new(bytes)]) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| self.poll_writable(context)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.state.network().close(self.end, self.state.base());
    }
}

impl Stream for SimStream {
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = self
            .on_connection(|one, side, at| one.recv(side, buffer, at))
            .unwrap_or_else(|| Err(os(libc::ENOTCONN)));
        self.state.charge(*received.as_ref().unwrap_or(&0));
        received
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self
            .on_connection(|one, side, at| one.send(side, parts, at))
            .unwrap_or_else(|| Err(os(libc::EPIPE)));
        self.state.charge(*sent.as_ref().unwrap_or(&0));
        sent
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.deaf.get() {
            return Poll::Pending;
        }
        ready(self.on_connection(|one, side, at| one.poll_readable(side, context, at)).unwrap_or(true))
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        ready(self.on_connection(|one, side, at| one.poll_writable(side, context, at)).unwrap_or(true))
    }

    fn listen(&self, on: bool) {
        self.deaf.set(!on);
    }

    fn take_error(&self) -> io::Result<()> {
        self.on_connection(|one, side, _| one.take_error(side)).unwrap_or_else(|| Err(os(libc::ENOTCONN)))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.on_connection(|one, side, at| one.shutdown(side, how, at))
            .unwrap_or_else(|| Err(os(libc::ENOTCONN)))
    }

    fn abort(&self) -> io::Result<()> {
        self.on_connection(|one, side, at| one.abort(side, at)).ok_or_else(|| os(libc::ENOTCONN))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.on_connection(|one, side, _| one.address(side)).ok_or_else(|| os(libc::ENOTCONN))
    }
}

/// A simulated listener. Several of one node on one address share its connections by the seed's choice.
pub struct SimListener {
    state: Rc<WorldState>,
    id: u64,
}

impl SimListener {
    pub(super) fn bind(state: &Rc<WorldState>, node: u32, address: SocketAddr) -> io::Result<SimListener> {
        Ok(SimListener { id: state.network().listen(node, address, state.base())?, state: state.clone() })
    }

    /// Waits for a connection.
    pub async fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        loop {
            match self.try_accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| self.poll_acceptable(context)).await;
                }
                result => return result,
            }
        }
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.state.network().close_listener(self.id, self.state.base());
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    fn try_accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        self.state.charge(0);
        let (end, peer) = self.state.network().accept(self.id, self.state.base())?;
        Ok((SimStream { state: self.state.clone(), end, deaf: Cell::new(false) }, peer))
    }

    fn poll_acceptable(&self, context: &mut Context<'_>) -> Poll<()> {
        ready(self.state.network().poll_acceptable(self.id, context, self.state.base()))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.state.network().listener_address(self.id)
    }
}

/// A simulated connected datagram socket.
pub struct SimDatagram {
    state: Rc<WorldState>,
    id: u64,
}

impl SimDatagram {
    pub(super) fn connect(state: &Rc<WorldState>, node: u32, to: SocketAddr) -> SimDatagram {
        SimDatagram { id: state.network().open_datagram(node, to), state: state.clone() }
    }
}

impl Drop for SimDatagram {
    fn drop(&mut self) {
        self.state.network().datagrams(self.state.base()).0.close(self.id);
    }
}

impl Datagram for SimDatagram {
    fn try_send(&self, datagram: &[u8]) -> io::Result<()> {
        let mut network = self.state.network();
        let (datagrams, at) = network.datagrams(self.state.base());
        datagrams.send(self.id, datagram, at)
    }

    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.state.network().datagrams(self.state.base()).0.recv(self.id, buffer)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut network = self.state.network();
        let (datagrams, at) = network.datagrams(self.state.base());
        ready(datagrams.poll(self.id, context, at))
    }
}

fn ready(is_ready: bool) -> Poll<()> {
    if is_ready { Poll::Ready(()) } else { Poll::Pending }
}
