//! Sockets: nonblocking descriptors with a place in the shard's epoll set.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, sockopt};

use super::options;
use super::paths::{self, Shared};
use super::reactor::{Reactor, Source};
use crate::limits;
use crate::runtime::{Datagram, HERE, Listener, Stream};

/// A place in the epoll set that is given back when the socket goes.
struct Registered {
    source: Rc<Source>,
    reactor: Rc<Reactor>,
}

impl Registered {
    fn new(
        reactor: &Rc<Reactor>,
        fd: OwnedFd,
        interest: EventFlags,
        writable: bool,
    ) -> io::Result<Registered> {
        Ok(Registered { source: reactor.register(fd, interest, writable)?, reactor: reactor.clone() })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.reactor.forget(&self.source);
    }
}

/// The same for a socket that other shards have too.
struct RegisteredHere {
    source: Rc<Source>,
    reactor: Rc<Reactor>,
    /// Its file goes with the last of them.
    _shared: Arc<Shared>,
}

impl Drop for RegisteredHere {
    fn drop(&mut self) {
        self.reactor.leave(&self.source);
    }
}

fn duplex() -> EventFlags {
    EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP
}

fn new_socket(address: &SocketAddr, kind: net::SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { net::AddressFamily::INET } else { net::AddressFamily::INET6 };
    Ok(net::socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?)
}

/// A connection over TCP or a Unix socket.
pub struct SocketStream(Registered);

impl SocketStream {
    pub(super) fn connect(
        reactor: &Rc<Reactor>,
        source: Option<IpAddr>,
        to: SocketAddr,
    ) -> io::Result<SocketStream> {
        let fd = new_socket(&to, net::SocketType::STREAM)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        if let Some(source) = source {
            options::choose_port_late(&fd)?;
            net::bind(&fd, &SocketAddr::new(source, 0))?;
        }
        match net::connect(&fd, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(SocketStream(Registered::new(reactor, fd, duplex(), false)?))
    }

    pub(super) fn connect_path(reactor: &Rc<Reactor>, path: &Path) -> io::Result<SocketStream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = net::socket_with(net::AddressFamily::UNIX, net::SocketType::STREAM, flags, None)?;
        match net::connect(&fd, &net::SocketAddrUnix::new(path)?) {
            Ok(()) => {}
            // unix(7): it would have to wait for a place in the queue, and nothing tells when there is one.
            Err(Errno::AGAIN) => return Err(io::Error::other("too many connections wait to be accepted")),
            Err(error) => return Err(error.into()),
        }
        Ok(SocketStream(Registered::new(reactor, fd, duplex(), false)?))
    }

    fn accepted(reactor: &Rc<Reactor>, fd: OwnedFd) -> io::Result<SocketStream> {
        sockopt::set_tcp_nodelay(&fd, true)?;
        Ok(SocketStream(Registered::new(reactor, fd, duplex(), true)?))
    }
}

impl Stream for SocketStream {
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let source = &self.0.source;
        let length = buffer.len();
        match net::recv(&source.fd, buffer, RecvFlags::empty()) {
            Ok((_, received)) => {
                // A short read has drained the socket (epoll(7)): the next byte makes an edge. The end of the
                // stream stays readable.
                if received > 0 && received < length {
                    source.drained();
                }
                Ok(received)
            }
            Err(error) => {
                if error == Errno::AGAIN {
                    source.drained();
                }
                Err(error.into())
            }
        }
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let source = &self.0.source;
        match net::sendmsg(&source.fd, parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(error) => {
                if error == Errno::AGAIN {
                    source.filled();
                }
                Err(error.into())
            }
        }
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.source.poll_readable(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.source.poll_writable(context)
    }

    fn take_error(&self) -> io::Result<()> {
        match sockopt::socket_error(&self.0.source.fd)? {
            Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => net::Shutdown::Read,
            Shutdown::Write => net::Shutdown::Write,
            Shutdown::Both => net::Shutdown::Both,
        };
        Ok(net::shutdown(&self.0.source.fd, how)?)
    }

    fn abort(&self) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(&self.0.source.fd, Some(Duration::ZERO))?)
    }

    fn unacknowledged(&self) -> Option<usize> {
        options::unacknowledged(&self.0.source.fd)
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        address_of(&self.0.source)
    }
}

fn address_of(source: &Source) -> io::Result<SocketAddr> {
    let any = net::getsockname(&source.fd)?;
    SocketAddr::try_from(any).map_err(Into::into)
}

/// A listener of this shard alone, among the SO_REUSEPORT group of its address; or its part of the node's at a path.
pub struct SocketListener(Place);

enum Place {
    Network(Registered),
    Path(RegisteredHere),
}

impl Place {
    fn source(&self) -> &Rc<Source> {
        match self {
            Place::Network(registered) => &registered.source,
            Place::Path(registered) => &registered.source,
        }
    }
}

impl SocketListener {
    pub(super) fn bind(reactor: &Rc<Reactor>, address: SocketAddr) -> io::Result<SocketListener> {
        let fd = new_socket(&address, net::SocketType::STREAM)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        sockopt::set_socket_reuseport(&fd, true)?;
        if address.is_ipv6() {
            // One address family a listener: `[::]:25` beside `0.0.0.0:25` is two listeners.
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        net::bind(&fd, &address)?;
        net::listen(&fd, limits::LISTEN_BACKLOG)?;
        Ok(SocketListener(Place::Network(Registered::new(reactor, fd, EventFlags::IN, false)?)))
    }

    pub(super) fn bind_path(reactor: &Rc<Reactor>, path: &Path) -> io::Result<SocketListener> {
        let (fd, shared) = paths::listen(path)?;
        // One of the shards that wait is woken for each connection, and not all.
        let source = reactor.register(fd, EventFlags::IN | EventFlags::EXCLUSIVE, false)?;
        let registered = RegisteredHere { source, reactor: reactor.clone(), _shared: shared };
        Ok(SocketListener(Place::Path(registered)))
    }

    fn taken(&self, fd: OwnedFd, peer: Option<net::SocketAddrAny>) -> io::Result<(SocketStream, SocketAddr)> {
        match &self.0 {
            Place::Network(registered) => {
                let peer = peer
                    .and_then(|peer| SocketAddr::try_from(peer).ok())
                    .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))?;
                Ok((SocketStream::accepted(&registered.reactor, fd)?, peer))
            }
            Place::Path(registered) => {
                Ok((SocketStream(Registered::new(&registered.reactor, fd, duplex(), true)?), HERE))
            }
        }
    }
}

impl Listener for SocketListener {
    type Stream = SocketStream;

    fn try_accept(&self) -> io::Result<(SocketStream, SocketAddr)> {
        let source = self.0.source();
        match net::acceptfrom_with(source.fd.as_fd(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok((fd, peer)) => self.taken(fd, peer),
            Err(error) => {
                if error == Errno::AGAIN {
                    source.drained();
                }
                Err(error.into())
            }
        }
    }

    fn poll_acceptable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.source().poll_readable(context)
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Place::Network(registered) => address_of(&registered.source),
            Place::Path(_) => Ok(HERE),
        }
    }
}

/// A connected UDP socket.
pub struct SocketDatagram(Registered);

impl SocketDatagram {
    pub(super) fn connect(reactor: &Rc<Reactor>, to: SocketAddr) -> io::Result<SocketDatagram> {
        let fd = new_socket(&to, net::SocketType::DGRAM)?;
        net::connect(&fd, &to)?;
        Ok(SocketDatagram(Registered::new(reactor, fd, EventFlags::IN, true)?))
    }
}

impl Datagram for SocketDatagram {
    fn try_send(&self, datagram: &[u8]) -> io::Result<()> {
        net::send(&self.0.source.fd, datagram, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match net::recv(&self.0.source.fd, buffer, RecvFlags::empty()) {
            Ok((_, received)) => Ok(received),
            Err(error) => {
                if error == Errno::AGAIN {
                    self.0.source.drained();
                }
                Err(error.into())
            }
        }
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.source.poll_readable(context)
    }
}
