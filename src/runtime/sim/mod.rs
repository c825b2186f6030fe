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

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::limits;
use crate::runtime::{Bell, Priority, Runtime, SegmentMap, Uncomputed, Workspace};
use crate::time::{Instant, UnixMillis};

mod cores;
mod disk;
mod executor;
mod network;
mod random;
mod socket;
mod trace;
mod world;

pub use cores::Costs;
pub use disk::{DiskFaults, SimSegment};
pub use network::Faults;
pub use socket::{SimDatagram, SimListener, SimStream};

use cores::Cores;
use disk::{Disks, Loss};
use executor::{Executor, Owner, Panicked, TaskWaker};
use network::{Network, NetworkEvent};
use random::Random;
use trace::Trace;

/// Wall-clock time at the start of every world: 2026-01-01T00:00:00Z.
pub const EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);
/// Virtual time after which [`World::block_on`] gives a future up for hung.
pub const BLOCK_ON_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// What one poll of a task costs, nanoseconds: least, and the span above it.
const POLL_COST: (u64, u64) = (200, 1000);
/// What it takes to compute something elsewhere.
const COMPUTE_COST: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(5));

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
    /// Shards say that they work all the time.
    busy: Cell<bool>,
    /// What work costs on one node.
    cores: RefCell<Option<Cores>>,
    /// What the running task spent so far.
    spent: Cell<u64>,
    /// Questions whether a task has lasted long.
    outstayed: Cell<u64>,
    /// A defect of the node's own that the test planted, and how often it shows.
    planted: Cell<Option<(&'static str, f64)>>,
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
    /// A core has done what it was busy with.
    Core(u16),
    Down(u32, Loss),
    /// The tasks of a node's former lives are to be dropped.
    Bury(u32),
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
                Event::Core(shard) => {
                    if let Some(waker) = self.next_on_core(shard) {
                        self.poll(&waker);
                    }
                }
                Event::Down(node, loss) => self.down(node, loss),
                Event::Bury(node) => self.bury(node),
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
        // Where cores are counted, work costs their time and not everybody's.
        let cost = if self.cores.borrow().is_some() {
            1
        } else {
            POLL_COST.0 + self.schedule.borrow_mut().below(POLL_COST.1)
        };
        self.clock.set(self.clock.get().saturating_add(cost));
        self.trace.borrow_mut().mix(waker.id);
        if !self.executor.has(waker.id) {
            return Turn::Outsider(waker.id);
        }
        if let Some(waker) = self.enter(waker) {
            self.poll(&waker);
        }
        Turn::Ran
    }

    fn poll(&self, waker: &Arc<TaskWaker>) {
        let shard = self.core_of(waker.id);
        self.spent.set(0);
        let ran = self.executor.run(waker);
        self.leave(shard);
        if let Err(panicked) = ran {
            self.panicked(&panicked);
        }
    }

    fn panicked(&self, panicked: &Panicked) {
        let Owner { node, shard, vital, .. } = panicked.owner;
        self.nodes.borrow_mut().entry(node).or_default().panics += 1;
        self.note("panic", u64::from(node), u64::from(shard));
        if let Some(name) = vital {
            panic!("the {name} task of shard {shard} of node {node} panicked: {}", panicked.words);
        }
    }

    /// Ends a node's life, and drops its tasks.
    fn down(&self, node: u32, loss: Loss) {
        self.end_life(node, loss);
        self.bury(node);
    }

    /// Ends a node's life from inside one of its tasks: it is cut off at once, its tasks are dropped before anything else
    /// runs (not now: they share state that the running one may have borrowed).
    fn fall(&self, node: u32) {
        self.end_life(node, Loss::PageCache);
        self.schedule(self.clock.get(), Event::Bury(node));
    }

    fn end_life(&self, node: u32, loss: Loss) {
        self.note("down", u64::from(node), u64::from(loss == Loss::Nothing));
        self.nodes.borrow_mut().entry(node).or_default().life += 1;
        self.disks.borrow_mut().down(node, loss, &mut self.random.borrow_mut());
        self.cut_node(node);
    }

    /// What these tasks hold is cut off already, so that dropping it sends nothing.
    fn bury(&self, node: u32) {
        let life = self.life(node);
        drop(self.executor.take_tasks(|owner| owner.node == node && owner.life != life));
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
            let owner = Owner {
                node: self.0.node,
                life: self.0.life,
                shard: self.0.shard,
                vital,
                panics: self.0.panics.clone(),
            };
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

    /// Where work costs nothing time stands still while a task runs: every few questions it has lasted long, so that every yield is played.
    fn outstays(&self) -> bool {
        const EVERY: u64 = 7;
        let state = &self.0.state;
        if state.counts_cores() {
            return u128::from(state.spent.get()) > limits::TURN.as_nanos();
        }
        let asked = &state.outstayed;
        asked.set(asked.get() + 1);
        asked.get().is_multiple_of(EVERY)
    }

    fn longest_turn(&self) -> Duration {
        Duration::ZERO
    }

    fn worked(&self) -> Duration {
        let state = &self.0.state;
        let pretended = if state.busy.get() { state.clock.get() } else { 0 };
        Duration::from_nanos(state.worked(self.0.node, self.0.shard).unwrap_or(pretended))
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> {
        Sleep::new(&self.0.state, at.0)
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        YieldNow { state: self.0.state.clone(), yielded: false }
    }

    async fn compute<T: Send + 'static>(
        &self,
        _: Priority,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Uncomputed> {
        self.sleep(COMPUTE_COST.0, COMPUTE_COST.1).await;
        catch_unwind(AssertUnwindSafe(|| work(&mut Workspace::default()))).map_err(|_| Uncomputed::Failed)
    }

    fn computing_later(&self) -> usize {
        0
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
        self.0.state.charge(0);
        SimStream::connect(&self.0.state, self.0.node, source, to)
    }

    fn connect_path(&self, path: &Path) -> io::Result<SimStream> {
        self.connect(None, World::socket(self.0.node, path))
    }

    fn datagram(&self, to: SocketAddr) -> io::Result<SimDatagram> {
        self.alive()?;
        Ok(SimDatagram::connect(&self.0.state, self.0.node, to))
    }

    async fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.alive()?;
        Ok(vec![World::address(self.0.node), IpAddr::from([127, 0, 0, 1])])
    }

    fn leads_here(&self, address: IpAddr) -> io::Result<bool> {
        self.alive()?;
        Ok(address == World::address(self.0.node) || address.is_loopback())
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

    fn planted(&self, defect: &'static str) -> bool {
        let Some((planted, probability)) = self.0.state.planted.get() else { return false };
        let shows = planted == defect && self.0.state.random.borrow_mut().chance(probability);
        if shows {
            self.0.state.note("planted", u64::from(self.0.node), u64::from(self.0.shard));
        }
        shows
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
