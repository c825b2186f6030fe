//! The handles of the simulated network, and a few words of comfort for scripted peers.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::State;
use super::network::EndId;
use crate::runtime::{Datagram, Listener, Stream};

/// One end of a simulated connection.
pub struct SimStream {
    state: Rc<State>,
    end: EndId,
}

impl SimStream {
    pub(super) fn connect(
        state: &Rc<State>,
        node: u32,
        source: Option<IpAddr>,
        to: SocketAddr,
    ) -> io::Result<SimStream> {
        Ok(SimStream { end: state.net_connect(node, source, to)?, state: state.clone() })
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
        self.state.net_close(self.end);
    }
}

impl Stream for SimStream {
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = self.state.net_recv(self.end, buffer);
        self.state.charge(*received.as_ref().unwrap_or(&0));
        received
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.state.net_send(self.end, parts);
        self.state.charge(*sent.as_ref().unwrap_or(&0));
        sent
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        ready(self.state.net_poll_readable(self.end, context))
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        ready(self.state.net_poll_writable(self.end, context))
    }

    fn take_error(&self) -> io::Result<()> {
        self.state.net_take_error(self.end)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.state.net_shutdown(self.end, how)
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.state.net_address(self.end)
    }
}

/// A simulated listener. Several of one node on one address share its connections by the seed's choice.
pub struct SimListener {
    state: Rc<State>,
    id: u64,
}

impl SimListener {
    pub(super) fn bind(state: &Rc<State>, node: u32, address: SocketAddr) -> io::Result<SimListener> {
        Ok(SimListener { id: state.net_listen(node, address)?, state: state.clone() })
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
        self.state.net_close_listener(self.id);
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    fn try_accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        self.state.charge(0);
        let (end, peer) = self.state.net_accept(self.id)?;
        Ok((SimStream { state: self.state.clone(), end }, peer))
    }

    fn poll_acceptable(&self, context: &mut Context<'_>) -> Poll<()> {
        ready(self.state.net_poll_acceptable(self.id, context))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.state.net_listener_address(self.id)
    }
}

/// A simulated connected datagram socket.
pub struct SimDatagram {
    state: Rc<State>,
    id: u64,
}

impl SimDatagram {
    pub(super) fn connect(state: &Rc<State>, node: u32, to: SocketAddr) -> SimDatagram {
        SimDatagram { id: state.net_datagram(node, to), state: state.clone() }
    }
}

impl Drop for SimDatagram {
    fn drop(&mut self) {
        self.state.net_close_datagram(self.id);
    }
}

impl Datagram for SimDatagram {
    fn try_send(&self, datagram: &[u8]) -> io::Result<()> {
        self.state.net_send_datagram(self.id, datagram)
    }

    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.state.net_recv_datagram(self.id, buffer)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        ready(self.state.net_poll_datagram(self.id, context))
    }
}

fn ready(is_ready: bool) -> Poll<()> {
    if is_ready { Poll::Ready(()) } else { Poll::Pending }
}
