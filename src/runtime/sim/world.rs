//! The test's side of a simulated world: making it, driving it, breaking it.

use std::cell::{Cell, RefCell, RefMut};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::cores::{Cores, Costs};
use super::disk::{DiskFaults, Loss};
use super::executor::Executor;
use super::network::{Faults, Network};
use super::random::Random;
use super::trace::Trace;
use super::{BLOCK_ON_MAX, Core, Event, SimRuntime, State, Turn, World};
use crate::runtime::Bell;
use crate::time::Instant;

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
                busy: Cell::new(false),
                cores: RefCell::new(None),
                spent: Cell::new(0),
                outstayed: Cell::new(0),
                planted: Cell::new(None),
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

    /// Where whoever listens on a Unix socket of a node does so: paths have addresses of their own, which nothing else has.
    pub fn socket(node: u32, path: &Path) -> SocketAddr {
        let hash = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
        let [a, b] = [node, hash].map(|word| [(word >> 16) as u16, word as u16]);
        SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfdff, 0, 0, 0, a[0], a[1], b[0], b[1])), 1)
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

    /// Makes the page that holds `offset` unreadable for good: [`crate::runtime::Runtime::read`] of it fails.
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

    /// Plants a defect in every node: [`crate::runtime::Runtime::planted`] answers true for this name with this probability.
    pub fn plant(&self, defect: &'static str, probability: f64) {
        self.state.planted.set(Some((defect, probability)));
    }

    /// From now on the work of this node's shards takes time, on a core for each.
    pub fn count_cores(&self, node: u32, costs: Costs) {
        *self.state.cores.borrow_mut() = Some(Cores::new(node, costs));
    }

    /// From now on every shard says that it works all the time ([`crate::runtime::Runtime::worked`]).
    pub fn pretend_busy(&self) {
        self.state.busy.set(true);
    }

    /// From now on, counts the connections a node has open (or opens) to any of these addresses at one time. Gives the
    /// number to ask [`World::connections_peak`] with.
    pub fn watch_connections(&self, node: u32, to: impl IntoIterator<Item = SocketAddr>) -> usize {
        self.state.network.borrow_mut().watch(node, to.into_iter().collect())
    }

    /// The most connections a watch saw at one time.
    pub fn connections_peak(&self, watch: usize) -> usize {
        self.state.network.borrow().peak(watch)
    }

    /// Moves the wall clock (not the monotonic one), as a time daemon would.
    pub fn move_wall(&self, milliseconds: i64) {
        self.state.wall_shift.set(self.state.wall_shift.get().saturating_add(milliseconds));
    }

    /// A hash over everything that happened so far: equal for equal seeds and equal tests.
    pub fn fingerprint(&self) -> u64 {
        self.state.trace.borrow().fingerprint()
    }

    /// How often something happened so far: `connect`, `arrive`, `accept`, `send`, `recv`, `reset`, `cut`, `deaf`, `close`,
    /// `datagram`, `append`, `sync`, `segment`, `down`, `panic` ... (the words of [`World::recent_events`]).
    pub fn count(&self, what: &str) -> u64 {
        self.state.trace.borrow().count(what)
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
        drop(self.state.executor.take_tasks(|_| true));
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
