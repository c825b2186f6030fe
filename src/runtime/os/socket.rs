//! Sockets: nonblocking descriptors with a place in the shard's epoll set.

use std::cell::Cell;
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
use crate::runtime::given::{self, At, Listed, Taken};
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
    /// Its file goes with the last of them, where it is ours.
    shared: Option<Arc<Shared>>,
}

impl RegisteredHere {
    fn new(reactor: &Rc<Reactor>, fd: OwnedFd, shared: Option<Arc<Shared>>) -> io::Result<RegisteredHere> {
        // One of the shards that wait is woken for each connection, and not all.
        let source = reactor.register(fd, SHARED, false)?;
        Ok(RegisteredHere { source, reactor: reactor.clone(), shared })
    }
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

    fn listen(&self, on: bool) {
        self.0.reactor.listen(&self.0.source, if on { duplex() } else { EventFlags::empty() });
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

/// What is waited for at a socket that other shards have too.
const SHARED: EventFlags = EventFlags::IN.union(EventFlags::EXCLUSIVE);

/// A listener of this shard alone, among the SO_REUSEPORT group of its address; or its part of one that all shards have. Of those that were handed over
/// by a process of more shards it may be several.
pub struct SocketListener {
    places: Vec<Place>,
    /// Which is asked first: each has its turn.
    first: Cell<usize>,
}

/// A socket, which is taken off the list of those that are open before it closes.
enum Place {
    Own { _listed: Listed, registered: Registered },
    Shared(RegisteredHere),
}

impl Place {
    fn own(reactor: &Rc<Reactor>, fd: OwnedFd, at: &At) -> io::Result<Place> {
        let registered = Registered::new(reactor, fd, EventFlags::IN, false)?;
        Ok(Place::Own { _listed: given::listed(at.clone(), None, &registered.source.fd), registered })
    }

    fn source(&self) -> &Rc<Source> {
        match self {
            Place::Own { registered, .. } => &registered.source,
            Place::Shared(registered) => &registered.source,
        }
    }

    fn try_accept(&self) -> io::Result<(SocketStream, SocketAddr)> {
        let source = self.source();
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

    fn taken(&self, fd: OwnedFd, peer: Option<net::SocketAddrAny>) -> io::Result<(SocketStream, SocketAddr)> {
        let reactor = match self {
            Place::Own { registered, .. } => &registered.reactor,
            Place::Shared(registered) => {
                // The next one is another shard's, where several wait.
                registered.reactor.wait_behind(&registered.source, SHARED);
                &registered.reactor
            }
        };
        if matches!(self, Place::Shared(RegisteredHere { shared: Some(_), .. })) {
            return Ok((SocketStream(Registered::new(reactor, fd, duplex(), true)?), HERE));
        }
        match peer.map(SocketAddr::try_from) {
            Some(Ok(peer)) => Ok((SocketStream::accepted(reactor, fd)?, plain(peer))),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// A supervisor may have one socket for both families, where IPv4 comes in clothes of IPv6: networks of the configuration know it without.
fn plain(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(peer.ip().to_canonical(), peer.port())
        }
        peer => peer,
    }
}

impl SocketListener {
    fn of(places: Vec<Place>) -> SocketListener {
        SocketListener { places, first: Cell::new(0) }
    }

    pub(super) fn bind(reactor: &Rc<Reactor>, address: SocketAddr) -> io::Result<SocketListener> {
        let at = At::Network(address);
        match given::take(&at)? {
            Some(Taken::Shared(fd)) => {
                return Ok(SocketListener::of(vec![Place::Shared(RegisteredHere::new(reactor, fd, None)?)]));
            }
            Some(Taken::Own(all, _)) => {
                let places = all.into_iter().map(|fd| Place::own(reactor, fd, &at));
                return Ok(SocketListener::of(places.collect::<io::Result<_>>()?));
            }
            None => {}
        }
        let fd = new_socket(&address, net::SocketType::STREAM)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        sockopt::set_socket_reuseport(&fd, true)?;
        if address.is_ipv6() {
            // One address family a listener: `[::]:25` beside `0.0.0.0:25` is two listeners.
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        net::bind(&fd, &address)?;
        net::listen(&fd, limits::LISTEN_BACKLOG)?;
        Ok(SocketListener::of(vec![Place::own(reactor, fd, &at)?]))
    }

    pub(super) fn bind_path(reactor: &Rc<Reactor>, path: &Path) -> io::Result<SocketListener> {
        let (fd, shared) = paths::listen(path)?;
        let registered = RegisteredHere::new(reactor, fd, Some(shared))?;
        Ok(SocketListener::of(vec![Place::Shared(registered)]))
    }
}

impl Listener for SocketListener {
    type Stream = SocketStream;

    fn try_accept(&self) -> io::Result<(SocketStream, SocketAddr)> {
        let [only] = &self.places[..] else {
            let first = self.first.get();
            self.first.set((first + 1) % self.places.len().max(1));
            let in_turn = self.places.iter().cycle().skip(first).take(self.places.len());
            let mut accepted = in_turn.map(Place::try_accept);
            let nothing =
                |one: &io::Result<_>| matches!(one, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            return accepted.find(|one| !nothing(one)).unwrap_or(Err(io::ErrorKind::WouldBlock.into()));
        };
        only.try_accept()
    }

    fn poll_acceptable(&self, context: &mut Context<'_>) -> Poll<()> {
        // All are polled, so that each wakes.
        let ready = self.places.iter().filter(|place| place.source().poll_readable(context).is_ready());
        if ready.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        match self.places.first() {
            Some(Place::Shared(RegisteredHere { shared: Some(_), .. })) | None => Ok(HERE),
            Some(place) => address_of(place.source()),
        }
    }

    fn is_kept(&self) -> bool {
        let is_kept = |place: &Place| match place {
            Place::Own { .. } => false,
            Place::Shared(registered) => registered.shared.as_ref().is_none_or(|shared| shared.is_kept()),
        };
        self.places.iter().all(is_kept)
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
