//! A machine that has nothing but a clock that is set by hand and sockets that are buffers: what `shard::wire` and
//! `shard::timers` need of one, and no cost of its own worth mentioning.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice, Read};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use relevo::runtime::{
    Bell, Datagram, Listener, Priority, Runtime, Segment, SegmentMap, Stream, Synced, Uncomputed, Workspace,
};
use relevo::time::{Instant, UnixMillis};

/// See the module.
#[derive(Clone, Default)]
pub struct PipeRuntime(Rc<Cell<Instant>>);

impl PipeRuntime {
    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        self.0.set(self.0.get() + span);
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.0.get()
    }
}

/// One end of a connection whose buffers have no bound.
pub struct Pipe {
    incoming: Rc<RefCell<VecDeque<u8>>>,
    outgoing: Rc<RefCell<VecDeque<u8>>>,
}

impl Pipe {
    /// Both ends.
    pub fn pair() -> (Pipe, Pipe) {
        let (one, other) = (Rc::<RefCell<VecDeque<u8>>>::default(), Rc::<RefCell<VecDeque<u8>>>::default());
        (Pipe { incoming: one.clone(), outgoing: other.clone() }, Pipe { incoming: other, outgoing: one })
    }
}

impl Stream for Pipe {
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { incoming.read(buffer) }
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut outgoing = self.outgoing.borrow_mut();
        parts.iter().for_each(|part| outgoing.extend(part.iter()));
        Ok(parts.iter().map(|part| part.len()).sum())
    }

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        if self.incoming.borrow().is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn take_error(&self) -> io::Result<()> {
        Ok(())
    }

    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }

    fn abort(&self) -> io::Result<()> {
        Ok(())
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Err(absent())
    }
}

/// What this machine does not have.
#[derive(Clone)]
pub struct Absent(Infallible);

fn absent() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

impl Listener for Absent {
    type Stream = Pipe;
    fn try_accept(&self) -> io::Result<(Pipe, SocketAddr)> {
        match self.0 {}
    }
    fn poll_acceptable(&self, _: &mut Context<'_>) -> Poll<()> {
        match self.0 {}
    }
    fn local_address(&self) -> io::Result<SocketAddr> {
        match self.0 {}
    }
}

impl Datagram for Absent {
    fn try_send(&self, _: &[u8]) -> io::Result<()> {
        match self.0 {}
    }
    fn try_recv(&self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        match self.0 {}
    }
}

impl Segment for Absent {
    fn map(&self) -> &SegmentMap {
        match self.0 {}
    }
    fn append(&self, _: u64, _: &[IoSlice<'_>]) -> io::Result<()> {
        match self.0 {}
    }
    async fn sync(&self) -> io::Result<Synced> {
        match self.0 {}
    }
}

impl Runtime for PipeRuntime {
    type Stream = Pipe;
    type Listener = Absent;
    type Datagram = Absent;
    type Segment = Absent;

    fn now(&self) -> Instant {
        self.0.get()
    }
    fn wall(&self) -> UnixMillis {
        UnixMillis(self.0.get().0 / 1_000_000)
    }
    fn random(&self) -> u64 {
        4
    }
    fn spawn(&self, _: impl Future<Output = ()> + 'static) {
        unreachable!("nothing is spawned here")
    }
    fn spawn_vital(&self, _: &'static str, _: impl Future<Output = ()> + 'static) {
        unreachable!("nothing is spawned here")
    }
    fn panics(&self) -> u64 {
        0
    }
    fn should_yield(&self) -> bool {
        false
    }

    fn longest_turn(&self) -> Duration {
        Duration::ZERO
    }

    fn worked(&self) -> Duration {
        Duration::ZERO
    }
    /// Looks at the clock whenever it is polled, and wakes nobody.
    async fn sleep_until(&self, at: Instant) {
        std::future::poll_fn(|_| if self.0.get() < at { Poll::Pending } else { Poll::Ready(()) }).await;
    }
    async fn yield_now(&self) {}
    async fn compute<T: Send + 'static>(
        &self,
        _: Priority,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Uncomputed> {
        Ok(work(&mut Workspace::default()))
    }
    fn computing_later(&self) -> usize {
        0
    }
    fn bell(&self) -> &Arc<Bell> {
        unreachable!("there is one shard")
    }
    fn listen(&self, _: SocketAddr) -> io::Result<Absent> {
        Err(absent())
    }
    fn listen_path(&self, _: &Path) -> io::Result<Absent> {
        Err(absent())
    }
    fn connect(&self, _: Option<IpAddr>, _: SocketAddr) -> io::Result<Pipe> {
        Err(absent())
    }
    fn connect_path(&self, _: &Path) -> io::Result<Pipe> {
        Err(absent())
    }
    fn datagram(&self, _: SocketAddr) -> io::Result<Absent> {
        Err(absent())
    }
    async fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }
    fn leads_here(&self, _: IpAddr) -> io::Result<bool> {
        Ok(false)
    }

    fn knows_way(&self, _: IpAddr) -> bool {
        true
    }

    fn has_address(&self, _: IpAddr) -> io::Result<bool> {
        Ok(false)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(absent())
    }
    fn create_directory(&self, _: &Path) -> io::Result<()> {
        Err(absent())
    }
    fn open_segment(&self, _: &Path) -> io::Result<Absent> {
        Err(absent())
    }
    async fn create_segment(&self, _: &Path, _: u64, _: Option<&Path>) -> io::Result<Absent> {
        Err(absent())
    }
    async fn read(&self, _: &SegmentMap, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Err(absent())
    }
    fn read_now(&self, _: &SegmentMap, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Err(absent())
    }
}
