//! The simulated runtime: whole nodes on one thread, in virtual time, on an in-memory network and disk.
//!
//! A [`World`] is a pure function of its seed and of what the test does to it: it reads no clock, opens no socket, starts no
//! thread. The same seed gives the same interleaving of tasks, the same latencies and the same faults, which
//! [`World::fingerprint`] proves. Call order: [`World::new`], set [`World::faults`], take a [`SimRuntime`] for each shard
//! ([`World::shard`]), spawn tasks on it, drive the world ([`World::block_on`], [`World::run_until`]); at any point
//! [`World::crash`] a node and take shards of its next life.
//!
//! What a seed does not reach: `std` hash maps (iterate over none), and the random numbers inside rustls.
//!
//! Time passes in two ways: each poll of a task costs a little (so that a task which spins still meets its deadline), and when
//! nothing is ready the clock jumps to the next event.

use std::cell::{Cell, RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::runtime::{Bell, Runtime, SegmentMap};
use crate::time::{Instant, UnixMillis};

mod disk;
mod executor;
mod network;
mod random;
mod socket;
mod trace;

pub use disk::{DiskFaults, SimSegment};
pub use network::Faults;
pub use socket::{SimDatagram, SimListener, SimStream};

use disk::{Disks, Loss};
use executor::{Executor, Owner, Panicked};
use network::{Network, NetworkEvent};
use random::Random;
use trace::Trace;

/// Wall-clock time at the start of every world: 2026-01-01T00:00:00Z.
pub const EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);
/// Virtual time after which [`World::block_on`] gives a future up for hung.
pub const BLOCK_ON_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// What one poll of a task costs, nanoseconds: least, and the span above it.
const POLL_COST: (u64, u64) = (200, 1000);
/// What work on the helper thread costs.
const BLOCKING_COST: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(5));

/// A simulated world: any number of nodes, their network and their disks. Dropping it drops every task.
pub struct World {
    state: Rc<State>,
}

/// What all handles share. No borrow of a part is ever held while a task is polled or dropped.
struct State {
    seed: u64,
    clock: Cell<u64>,
    wall_shift: Cell<i64>,
    running: Cell<bool>,
    /// Choices of the scheduler, apart from those of the faults: turning a fault on does not reshuffle everything.
    schedule: RefCell<Random>,
    random: RefCell<Random>,
    executor: Executor,
    events: RefCell<Events>,
    network: RefCell<Network>,
    faults: RefCell<Faults>,
    disks: RefCell<Disks>,
    nodes: RefCell<BTreeMap<u32, Node>>,
    trace: RefCell<Trace>,
}

#[derive(Default)]
struct Node {
    life: u32,
    panics: u64,
}

#[derive(Default)]
struct Events {
    heap: BinaryHeap<Reverse<Scheduled>>,
    serial: u64,
}

struct Scheduled {
    at: u64,
    serial: u64,
    event: Event,
}

enum Event {
    Wake(Waker),
    Network(NetworkEvent),
    Down(u32, Loss),
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// What one turn of the world did.
enum Turn {
    /// Polled a task or fired events.
    Ran,
    /// The outsider with this id is to be polled by its owner.
    Outsider(u64),
    /// Nothing is ready and nothing is due in the given time.
    Idle,
}

impl World {
    /// A world at time zero, without nodes. Everything that follows is decided by `seed` and by what the test does.
    pub fn new(seed: u64) -> World {
        World {
            state: Rc::new(State {
                seed,
                clock: Cell::new(0),
                wall_shift: Cell::new(0),
                running: Cell::new(false),
                schedule: RefCell::new(Random::new(seed, 1)),
                random: RefCell::new(Random::new(seed, 2)),
                executor: Executor::new(),
                events: RefCell::default(),
                network: RefCell::new(Network::new()),
                faults: RefCell::default(),
                disks: RefCell::default(),
                nodes: RefCell::default(),
                trace: RefCell::new(Trace::new(seed)),
            }),
        }
    }

    /// The seed, for a test to print.
    pub fn seed(&self) -> u64 {
        self.state.seed
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        Instant(self.state.clock.get())
    }

    /// 64 bits for the test's own choices, from the world's seed.
    pub fn random(&self) -> u64 {
        self.state.random.borrow_mut().next()
    }

    /// A shard of the present life of a node, with a bell of its own. Taken once for each shard and life.
    pub fn shard(&self, node: u32, shard: u16) -> SimRuntime {
        self.shard_with_bell(node, shard, Arc::new(Bell::new()))
    }

    /// The same with a bell that was made before.
    pub fn shard_with_bell(&self, node: u32, shard: u16, bell: Arc<Bell>) -> SimRuntime {
        let life = self.state.life(node);
        self.state.note("shard", u64::from(node), u64::from(shard));
        let label = u64::from(node) << 48 | u64::from(shard) << 32 | u64::from(life) << 8 | 0xff;
        SimRuntime(Rc::new(Core {
            state: self.state.clone(),
            node,
            shard,
            life,
            bell,
            random: RefCell::new(Random::new(self.state.seed, label)),
            panics: Rc::default(),
        }))
    }

    /// The address a node connects from, and what it means by listening on 0.0.0.0.
    pub fn address(node: u32) -> IpAddr {
        let [_, a, b, c] = node.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, a, b, c))
    }

    /// Runs until virtual time `at`.
    pub fn run_until(&self, at: Instant) {
        let _running = Running::start(&self.state);
        while self.state.clock.get() < at.0 {
            if let Turn::Idle = self.state.turn(at.0) {
                self.state.clock.set(at.0);
            }
        }
    }

    /// Runs for a span of virtual time.
    pub fn run_for(&self, span: Duration) {
        self.run_until(self.now() + span);
    }

    /// Runs until nothing is ready and nothing is scheduled, at most for `limit`. False: the limit was reached (as it always
    /// is while a task sleeps again and again, like a shard's timers).
    pub fn run_until_idle(&self, limit: Duration) -> bool {
        let _running = Running::start(&self.state);
        let end = (self.now() + limit).0;
        while self.state.clock.get() < end {
            if let Turn::Idle = self.state.turn(end) {
                if self.state.events.borrow().heap.is_empty() {
                    return true;
                }
                self.state.clock.set(end);
            }
        }
        false
    }

    /// The smallest step: fires what is due and polls one task, or jumps to the next event. False if nothing is left to do.
    /// For a test that crashes a node at any point of its work.
    pub fn step(&self) -> bool {
        let _running = Running::start(&self.state);
        !matches!(self.state.turn(u64::MAX), Turn::Idle)
    }

    /// Runs the world until `future` is done. It belongs to no node, and may itself crash nodes.
    ///
    /// # Panics
    /// If nothing can ever wake it, or [`BLOCK_ON_MAX`] of virtual time has passed.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.block_on_within(BLOCK_ON_MAX, future)
            .unwrap_or_else(|| panic!("the future hangs (seed {}, {:?})", self.state.seed, self.now()))
    }

    /// The same for a span of virtual time at most; None if it passed, or nothing could wake the future any more.
    pub fn block_on_within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let end = (self.now() + limit).0;
        let mut future = pin!(future);
        let outsider = self.state.executor.outsider();
        let waker = Waker::from(outsider.clone());
        let mut context = Context::from_waker(&waker);
        let _running = Running::start(&self.state);
        while self.state.clock.get() < end {
            match self.state.turn(end) {
                Turn::Outsider(id) if id == outsider.id => {
                    outsider.start();
                    if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                        return Some(value);
                    }
                }
                Turn::Ran | Turn::Outsider(_) => {}
                Turn::Idle if self.state.events.borrow().heap.is_empty() => return None,
                Turn::Idle => self.state.clock.set(end),
            }
        }
        None
    }

    /// Power failure of a node: its tasks are gone, its peers see resets, and its disk keeps every synced byte and an
    /// arbitrary part of what was appended but not synced (whole, torn or lost pages of 4 KiB, in sectors of 512 bytes).
    pub fn crash(&self, node: u32) {
        self.state.down(node, Loss::PageCache);
    }

    /// The death of a node's process alone: the page cache survives, so its next life reads all appends, synced or not.
    pub fn kill(&self, node: u32) {
        self.state.down(node, Loss::Nothing);
    }

    /// [`World::crash`] at a point in virtual time.
    pub fn crash_at(&self, node: u32, at: Instant) {
        self.state.schedule(at.0, Event::Down(node, Loss::PageCache));
    }

    /// Panics caught in tasks of a node, all its lives together.
    pub fn panics(&self, node: u32) -> u64 {
        self.state.nodes.borrow().get(&node).map_or(0, |node| node.panics)
    }

    /// Tasks a node has at this moment.
    pub fn tasks(&self, node: u32) -> usize {
        self.state.executor.count(node)
    }

    /// What goes wrong on the network. Changes count from now on; not to be held while the world runs.
    pub fn faults(&self) -> RefMut<'_, Faults> {
        self.state.faults.borrow_mut()
    }

    /// What goes wrong on a node's disk. Changes count from now on; not to be held while the world runs.
    pub fn disk_faults(&self, node: u32) -> RefMut<'_, DiskFaults> {
        RefMut::map(self.state.disks.borrow_mut(), |disks| disks.faults(node))
    }

    /// Flips a bit of a byte on a node's disk, as media decay does. Readers see it too.
    pub fn rot(&self, node: u32, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        let bit = self.state.random.borrow_mut().below(8);
        self.state.note("rot", u64::from(node), offset);
        self.state.disks.borrow_mut().rot(node, path.as_ref(), offset, 1 << bit)
    }

    /// Makes the page that holds `offset` unreadable for good: [`Runtime::read`] of it fails.
    pub fn spoil(&self, node: u32, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        self.state.note("spoil", u64::from(node), offset);
        self.state.disks.borrow_mut().spoil(node, path.as_ref(), offset)
    }

    /// What a crash could not take away: bytes on stable storage, zero where nothing was ever written back.
    pub fn stable(
        &self,
        node: u32,
        path: impl AsRef<Path>,
        offset: u64,
        length: usize,
    ) -> io::Result<Vec<u8>> {
        self.state.disks.borrow().stable(node, path.as_ref(), offset, length)
    }

    /// Registers what answers datagrams sent to `address`; None is silence. Without a handler the sender gets an ICMP error.
    pub fn serve_datagrams(
        &self,
        address: SocketAddr,
        handler: impl FnMut(&[u8]) -> Option<Vec<u8>> + 'static,
    ) {
        self.state.network.borrow_mut().serve(address, Rc::new(RefCell::new(handler)));
    }

    /// Moves the wall clock (not the monotonic one), as a time daemon would.
    pub fn move_wall(&self, milliseconds: i64) {
        self.state.wall_shift.set(self.state.wall_shift.get().saturating_add(milliseconds));
    }

    /// A hash over everything that happened so far: equal for equal seeds and equal tests.
    pub fn fingerprint(&self) -> u64 {
        self.state.trace.borrow().fingerprint()
    }

    /// The last few hundred events in words, oldest first.
    pub fn recent_events(&self) -> Vec<String> {
        self.state.trace.borrow().recent()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The one thing a failed test of a seeded world must say.
            eprintln!(
                "simulated world: seed {}, virtual time {} ns",
                self.state.seed,
                self.state.clock.get()
            );
            if let Ok(trace) = self.state.trace.try_borrow() {
                let recent = trace.recent();
                recent[recent.len().saturating_sub(20)..].iter().for_each(|line| eprintln!("{line}"));
            }
        }
        // Tasks hold handles, and handles hold the state: taken apart here, or nothing would ever be freed.
        drop(self.state.executor.take_tasks(None));
        let events = std::mem::take(&mut *self.state.events.borrow_mut());
        drop(events);
        let handlers = self.state.network.borrow_mut().take_handlers();
        drop(handlers);
        self.state.executor.clear();
    }
}

/// Refuses a run inside a run.
struct Running<'a>(&'a Cell<bool>);

impl Running<'_> {
    fn start(state: &State) -> Running<'_> {
        assert!(!state.running.replace(true), "a world is driven from one place at a time");
        Running(&state.running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl State {
    fn life(&self, node: u32) -> u32 {
        self.nodes.borrow_mut().entry(node).or_default().life
    }

    fn note(&self, what: &'static str, subject: u64, detail: u64) {
        self.trace.borrow_mut().note(self.clock.get(), what, subject, detail);
    }

    fn schedule(&self, at: u64, event: Event) {
        let mut events = self.events.borrow_mut();
        events.serial += 1;
        let serial = events.serial;
        events.heap.push(Reverse(Scheduled { at, serial, event }));
    }

    fn take_due(&self) -> Option<Event> {
        let mut events = self.events.borrow_mut();
        let now = self.clock.get();
        let due = events.heap.peek().is_some_and(|Reverse(next)| next.at <= now);
        if due { events.heap.pop().map(|Reverse(next)| next.event) } else { None }
    }

    /// Fires what is due, then polls one ready task or jumps to the next event, if that is not after `until`.
    fn turn(&self, until: u64) -> Turn {
        while let Some(event) = self.take_due() {
            match event {
                Event::Wake(waker) => waker.wake(),
                Event::Network(event) => self.network_event(event),
                Event::Down(node, loss) => self.down(node, loss),
            }
        }
        let chosen = self.executor.choose(&mut self.schedule.borrow_mut());
        let Some(waker) = chosen else {
            let next = self.events.borrow().heap.peek().map(|Reverse(next)| next.at);
            return match next {
                Some(at) if at <= until => {
                    self.clock.set(at);
                    Turn::Ran
                }
                _ => Turn::Idle,
            };
        };
        let cost = POLL_COST.0 + self.schedule.borrow_mut().below(POLL_COST.1);
        self.clock.set(self.clock.get().saturating_add(cost));
        self.trace.borrow_mut().mix(waker.id);
        if !self.executor.has(waker.id) {
            return Turn::Outsider(waker.id);
        }
        if let Err(panicked) = self.executor.run(&waker) {
            self.panicked(&panicked);
        }
        Turn::Ran
    }

    fn panicked(&self, panicked: &Panicked) {
        let Owner { node, shard, vital, .. } = panicked.owner;
        self.nodes.borrow_mut().entry(node).or_default().panics += 1;
        self.note("panic", u64::from(node), u64::from(shard));
        if let Some(name) = vital {
            panic!("the {name} task of shard {shard} of node {node} panicked: {}", panicked.words);
        }
    }

    /// Ends a node's life.
    fn down(&self, node: u32, loss: Loss) {
        self.note("down", u64::from(node), u64::from(loss == Loss::Nothing));
        self.nodes.borrow_mut().entry(node).or_default().life += 1;
        self.disks.borrow_mut().down(node, loss, &mut self.random.borrow_mut());
        self.cut_node(node);
        // Last: what these tasks hold is cut off already, so that dropping it sends nothing.
        drop(self.executor.take_tasks(Some(node)));
    }
}

/// One shard of one life of a simulated node. Cloning is a reference count.
#[derive(Clone)]
pub struct SimRuntime(Rc<Core>);

struct Core {
    state: Rc<State>,
    node: u32,
    shard: u16,
    life: u32,
    bell: Arc<Bell>,
    random: RefCell<Random>,
    panics: Rc<Cell<u64>>,
}

impl SimRuntime {
    /// The node this shard belongs to.
    pub fn node(&self) -> u32 {
        self.0.node
    }

    /// Whether the node still lives the life this shard belongs to.
    pub fn is_alive(&self) -> bool {
        self.0.state.life(self.0.node) == self.0.life
    }

    fn alive(&self) -> io::Result<()> {
        if self.is_alive() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENETDOWN)) }
    }

    fn start(&self, vital: Option<&'static str>, task: impl Future<Output = ()> + 'static) {
        // A handle that outlived its node starts nothing: the task is dropped.
        if self.is_alive() {
            let owner =
                Owner { node: self.0.node, shard: self.0.shard, vital, panics: self.0.panics.clone() };
            let id = self.0.state.executor.spawn(owner, Box::pin(task));
            self.0.state.trace.borrow_mut().mix(id);
        }
    }

    fn sleep(&self, least: Duration, most: Duration) -> Sleep {
        let span = self.0.state.random.borrow_mut().between(least, most);
        Sleep::new(&self.0.state, self.0.state.clock.get().saturating_add(span))
    }
}

impl Runtime for SimRuntime {
    type Stream = SimStream;
    type Listener = SimListener;
    type Datagram = SimDatagram;
    type Segment = SimSegment;

    fn now(&self) -> Instant {
        Instant(self.0.state.clock.get())
    }

    fn wall(&self) -> UnixMillis {
        let shifted = EPOCH.0.saturating_add_signed(self.0.state.wall_shift.get());
        UnixMillis(shifted).after(Duration::from_nanos(self.0.state.clock.get()))
    }

    fn random(&self) -> u64 {
        self.0.random.borrow_mut().next()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.start(None, task);
    }

    fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        self.start(Some(name), task);
    }

    fn panics(&self) -> u64 {
        self.0.panics.get()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> {
        Sleep::new(&self.0.state, at.0)
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        YieldNow { state: self.0.state.clone(), yielded: false }
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        self.sleep(BLOCKING_COST.0, BLOCKING_COST.1).await;
        catch_unwind(AssertUnwindSafe(work))
            .map_err(|_| io::Error::other("work on the helper thread panicked"))
    }

    fn bell(&self) -> &Arc<Bell> {
        &self.0.bell
    }

    fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        self.alive()?;
        SimListener::bind(&self.0.state, self.0.node, address)
    }

    fn connect(&self, source: Option<IpAddr>, to: SocketAddr) -> io::Result<SimStream> {
        self.alive()?;
        SimStream::connect(&self.0.state, self.0.node, source, to)
    }

    fn datagram(&self, to: SocketAddr) -> io::Result<SimDatagram> {
        self.alive()?;
        Ok(SimDatagram::connect(&self.0.state, self.0.node, to))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.alive()?;
        self.0.state.disks.borrow_mut().list(self.0.node, directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.alive()?;
        self.0.state.disks.borrow_mut().create_directory(self.0.node, directory)
    }

    fn open_segment(&self, path: &Path) -> io::Result<SimSegment> {
        self.alive()?;
        SimSegment::open(self, path)
    }

    async fn create_segment(&self, path: &Path, size: u64) -> io::Result<SimSegment> {
        self.alive()?;
        SimSegment::create(self, path, size).await
    }

    async fn read(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.sleep(disk::READ_COST.0, disk::READ_COST.1).await;
        self.read_now(segment, offset, length)
    }

    fn read_now(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.state.disks.borrow().read(segment, offset, length)
    }
}

/// Ready at a point in virtual time.
struct Sleep {
    state: Rc<State>,
    at: u64,
    /// The waker the event holds.
    armed: Option<Waker>,
}

impl Sleep {
    fn new(state: &Rc<State>, at: u64) -> Sleep {
        Sleep { state: state.clone(), at, armed: None }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.state.clock.get() >= self.at {
            return Poll::Ready(());
        }
        let waker = context.waker();
        // An instant at the end of time is never reached, and needs no event.
        if self.at < Instant::FAR.0 && self.armed.as_ref().is_none_or(|armed| !armed.will_wake(waker)) {
            self.state.schedule(self.at, Event::Wake(waker.clone()));
            self.armed = Some(waker.clone());
        }
        Poll::Pending
    }
}

/// Pending once.
struct YieldNow {
    state: Rc<State>,
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        self.state.executor.defer(context.waker().clone());
        Poll::Pending
    }
}

/// The readiness of one direction of a socket: the waker of the task that waits for it.
#[derive(Debug, Default)]
struct Waiter(Option<Waker>);

impl Waiter {
    fn register(&mut self, context: &Context<'_>) {
        match &mut self.0 {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
