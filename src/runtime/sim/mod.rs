//! The simulated runtime: whole nodes in virtual time, on one thread, repeatable from a seed.
//!
//! A [`World`] holds the clock, the tasks of every shard of every node, an in-memory network and a disk for each node. Nothing
//! in it asks the machine for anything, so a run is a function of its seed. Faults are dealt by [`Faults`]; a
//! crash takes a node's tasks and connections away and leaves its disk with what was synced and a part of what was not.

mod disk;
mod executor;
mod network;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::runtime::{Bell, Runtime, SegmentMap};
use crate::time::{Instant, UnixMillis};

pub use disk::SimSegment;
pub use network::{SimDatagram, SimListener, SimStream};

use executor::Executor;

/// Virtual time begins here on the wall clock: 2026-01-01T00:00:00Z.
const EPOCH: u64 = 1_767_225_600_000;

/// What may go wrong. All chances are in millionths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A send or receive moves fewer bytes than it could.
    pub short_transfer: u32,
    /// A connection is cut when bytes are sent on it.
    pub cut: u32,
    /// A datagram is lost.
    pub datagram_loss: u32,
    /// An append fails after a part of it was written.
    pub append_error: u32,
    /// A sync fails; what it should have synced may or may not be on disk.
    pub sync_error: u32,
    /// Bytes a node's disk holds; 0 is no bound.
    pub disk_quota: u64,
}

/// Everything there is.
#[derive(Clone)]
pub struct World(Rc<Inner>);

struct Inner {
    executor: Executor,
    network: RefCell<network::Network>,
    disks: RefCell<disk::Disks>,
    random: Cell<u64>,
    faults: Cell<Faults>,
    fingerprint: Cell<u64>,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> World {
        World(Rc::new(Inner {
            executor: Executor::default(),
            network: RefCell::default(),
            disks: RefCell::default(),
            random: Cell::new(seed),
            faults: Cell::default(),
            fingerprint: Cell::new(seed),
        }))
    }

    /// A runtime for one shard of a node (or for a peer, which is a node too).
    pub fn runtime(&self, node: u32) -> SimRuntime {
        self.runtime_with(node, Arc::new(Bell::new()))
    }

    /// The same with a bell that others know already.
    pub fn runtime_with(&self, node: u32, bell: Arc<Bell>) -> SimRuntime {
        SimRuntime(Rc::new(Core { world: self.clone(), node, bell, panics: Rc::default() }))
    }

    /// The virtual clock.
    pub fn now(&self) -> Instant {
        Instant(self.0.executor.now())
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.faults.set(faults);
    }

    /// Runs until the clock reaches `at`.
    pub fn run_until(&self, at: Instant) {
        while self.step(at) {}
    }

    /// Runs for a while.
    pub fn run_for(&self, span: Duration) {
        self.run_until(self.now() + span);
    }

    /// Runs until `done`, looking now and then; false if that did not come to pass before `limit`.
    pub fn run_until_true(&self, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
        let end = self.now() + limit;
        while self.now() < end {
            if done() {
                return true;
            }
            self.run_for(Duration::from_millis(10));
        }
        done()
    }

    /// Ends a node as a power cut does. Its disk keeps what was synced, and by chance sectors of what was not.
    pub fn crash(&self, node: u32) {
        let tasks = self.0.executor.take_node(node);
        // The tasks' own clean-up must not reach the peers in an orderly way: the network forgets the node first.
        let wakers = self.0.network.borrow_mut().crash(node);
        drop(tasks);
        for waker in wakers {
            waker.wake();
        }
        let mut sector = || self.chance(500_000);
        self.0.disks.borrow_mut().crash(node, &mut sector);
    }

    /// A server for datagrams sent to `address`: a question in, an answer or nothing out.
    pub fn serve_datagrams(
        &self,
        address: SocketAddr,
        server: impl FnMut(&[u8]) -> Option<Vec<u8>> + 'static,
    ) {
        self.0.network.borrow_mut().serve_datagrams(address, Box::new(server));
    }

    /// Flips bits of a synced byte of a file, where it lies.
    pub fn rot(&self, node: u32, path: &Path, offset: u64) {
        self.0.disks.borrow_mut().rot(node, path, offset);
    }

    /// A number that is the same for two runs that went the same way.
    pub fn fingerprint(&self) -> u64 {
        self.0.fingerprint.get()
    }

    fn note(&self, what: u64) {
        let mixed = (self.0.fingerprint.get() ^ what).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(17);
        self.0.fingerprint.set(mixed);
    }

    /// splitmix64
    fn random(&self) -> u64 {
        let state = self.0.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn chance(&self, millionths: u32) -> bool {
        millionths > 0 && self.random() % 1_000_000 < u64::from(millionths)
    }

    fn between(&self, least: u64, most: u64) -> u64 {
        least + self.random() % (most - least + 1)
    }

    /// Runs one task, or goes on to the next event. False: nothing happens before `limit`, and the clock stands there.
    fn step(&self, limit: Instant) -> bool {
        if let Some((task, node)) = self.0.executor.pick(|bound| self.random() as usize % bound) {
            self.note(task);
            self.0.executor.run(task, node);
            return true;
        }
        match self.0.executor.next_event(limit.0) {
            Some(event) => {
                let wakers = match event {
                    executor::Event::Wake(waker) => vec![waker],
                    executor::Event::Network(event) => {
                        let mut network = self.0.network.borrow_mut();
                        network.happen(event)
                    }
                };
                for waker in wakers {
                    waker.wake();
                }
                true
            }
            None => false,
        }
    }

    fn later(&self, span: Duration, event: executor::Event) {
        let at = self.now() + span;
        self.0.executor.schedule(at.0, event);
    }
}

struct Core {
    world: World,
    node: u32,
    bell: Arc<Bell>,
    panics: Rc<Cell<u64>>,
}

/// One shard's view of the world.
#[derive(Clone)]
pub struct SimRuntime(Rc<Core>);

impl SimRuntime {
    fn world(&self) -> &World {
        &self.0.world
    }

    /// Waits in virtual time.
    pub async fn pause(&self, span: Duration) {
        self.sleep_until(self.now() + span).await;
    }
}

impl Runtime for SimRuntime {
    type Stream = SimStream;
    type Listener = SimListener;
    type Datagram = SimDatagram;
    type Segment = SimSegment;

    fn now(&self) -> Instant {
        self.world().now()
    }

    fn wall(&self) -> UnixMillis {
        UnixMillis(EPOCH + self.now().0 / 1_000_000)
    }

    fn random(&self) -> u64 {
        self.world().random()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.world().0.executor.spawn(self.0.node, None, self.0.panics.clone(), Box::pin(task));
    }

    fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        self.world().0.executor.spawn(self.0.node, Some(name), self.0.panics.clone(), Box::pin(task));
    }

    fn panics(&self) -> u64 {
        self.0.panics.get()
    }

    async fn sleep_until(&self, at: Instant) {
        poll_fn(|context| {
            if self.now() >= at {
                return Poll::Ready(());
            }
            self.world().0.executor.schedule(at.0, executor::Event::Wake(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        self.pause(Duration::from_micros(self.world().between(50, 5_000))).await;
        Ok(work())
    }

    fn bell(&self) -> &Arc<Bell> {
        &self.0.bell
    }

    fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        Ok(network::listen(self.world(), self.0.node, address))
    }

    fn connect(&self, source: Option<IpAddr>, to: SocketAddr) -> io::Result<SimStream> {
        Ok(network::connect(self.world(), self.0.node, source, to))
    }

    fn datagram(&self, to: SocketAddr) -> io::Result<SimDatagram> {
        Ok(network::datagram(self.world(), to))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        Ok(self.world().0.disks.borrow().list(self.0.node, directory))
    }

    fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open_segment(&self, path: &Path) -> io::Result<SimSegment> {
        disk::open(self.world(), self.0.node, path)
    }

    async fn create_segment(&self, path: &Path, size: u64) -> io::Result<SimSegment> {
        self.pause(Duration::from_micros(self.world().between(500, 50_000))).await;
        disk::create(self.world(), self.0.node, path, size)
    }

    async fn read(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.pause(Duration::from_micros(self.world().between(1, 300))).await;
        self.read_now(segment, offset, length)
    }

    fn read_now(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.world().note(segment.tag() ^ offset);
        segment.slice(offset, length).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests;
