//! The test's side of a simulated world: making it, driving it, breaking it.

use std::cell::{RefCell, RefMut};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::base::Event;
use super::cores::Costs;
use super::disk::{DiskFaults, Loss};
use super::handle::SimRuntime;
use super::network::{self, Faults, Network};
use super::shard::Shard;
use super::state::{Turn, WorldState};
use crate::runtime::{Bell, Defect};
use crate::time::Instant;

/// Virtual time after which [`World::block_on`] gives a future up for hung.
pub const BLOCK_ON_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A simulated world: any number of nodes, their network and their disks. Dropping it drops every task.
pub struct World {
    state: Rc<WorldState>,
}

impl World {
    /// A world at time zero, without nodes. Everything that follows is decided by `seed` and by what the test does.
    pub fn new(seed: u64) -> World {
        World { state: Rc::new(WorldState::new(seed)) }
    }

    /// The seed, for a test to print.
    pub fn seed(&self) -> u64 {
        self.state.base().seed()
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        Instant(self.state.base().now())
    }

    /// 64 bits for the test's own choices, from the world's seed.
    pub fn random(&self) -> u64 {
        self.state.base().random().next()
    }

    /// A shard of the present life of a node, with a bell of its own. Taken once for each shard and life.
    pub fn shard(&self, node: u32, shard: u16) -> SimRuntime {
        self.shard_with_bell(node, shard, Arc::new(Bell::new()))
    }

    /// The same with a bell that was made before.
    pub fn shard_with_bell(&self, node: u32, shard: u16, bell: Arc<Bell>) -> SimRuntime {
        SimRuntime::new(Shard::new(&self.state, node, shard, bell))
    }

    /// The address a node connects from, and what it means by listening on 0.0.0.0.
    pub fn address(node: u32) -> IpAddr {
        network::address(node)
    }

    /// Where whoever listens on a Unix socket of a node does so: paths have addresses of their own, which nothing else has.
    pub fn socket(node: u32, path: &Path) -> SocketAddr {
        network::socket(node, path)
    }

    /// Runs until virtual time `at`.
    pub fn run_until(&self, at: Instant) {
        let _running = self.state.start();
        while self.state.base().now() < at.0 {
            if let Turn::Idle = self.state.turn(at.0) {
                self.state.base().set_now(at.0);
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
        let _running = self.state.start();
        let end = (self.now() + limit).0;
        while self.state.base().now() < end {
            if let Turn::Idle = self.state.turn(end) {
                if self.state.base().next_at().is_none() {
                    return true;
                }
                self.state.base().set_now(end);
            }
        }
        false
    }

    /// The smallest step: fires what is due and polls one task, or jumps to the next event. False if nothing is left to do.
    /// For a test that crashes a node at any point of its work.
    pub fn step(&self) -> bool {
        let _running = self.state.start();
        !matches!(self.state.turn(u64::MAX), Turn::Idle)
    }

    /// Runs the world until `future` is done. It belongs to no node, and may itself crash nodes.
    ///
    /// # Panics
    /// If nothing can ever wake it, or [`BLOCK_ON_MAX`] of virtual time has passed.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.block_on_within(BLOCK_ON_MAX, future).unwrap_or_else(|| {
            panic!("the future hangs (seed {}, {:?})", self.state.base().seed(), self.now())
        })
    }

    /// The same for a span of virtual time at most; None if it passed, or nothing could wake the future any more.
    pub fn block_on_within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let end = (self.now() + limit).0;
        let mut future = pin!(future);
        let outsider = self.state.executor().outsider();
        let waker = Waker::from(outsider.clone());
        let mut context = Context::from_waker(&waker);
        let _running = self.state.start();
        while self.state.base().now() < end {
            match self.state.turn(end) {
                Turn::Outsider(id) if id == outsider.id => {
                    outsider.start();
                    if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                        return Some(value);
                    }
                }
                Turn::Ran | Turn::Outsider(_) => {}
                Turn::Idle if self.state.base().next_at().is_none() => return None,
                Turn::Idle => self.state.base().set_now(end),
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
        self.state.base().schedule(at.0, Event::Down(node, Loss::PageCache));
    }

    /// Panics caught in tasks of a node, all its lives together.
    pub fn panics(&self, node: u32) -> u64 {
        self.state.panics(node)
    }

    /// Tasks a node has at this moment.
    pub fn tasks(&self, node: u32) -> usize {
        self.state.executor().count(node)
    }

    /// What goes wrong on the network. Changes count from now on; not to be held while the world runs.
    pub fn faults(&self) -> RefMut<'_, Faults> {
        RefMut::map(self.state.network(), Network::faults)
    }

    /// What goes wrong on a node's disk. Changes count from now on; not to be held while the world runs.
    pub fn disk_faults(&self, node: u32) -> RefMut<'_, DiskFaults> {
        RefMut::map(self.state.disks(), |disks| disks.faults(node))
    }

    /// Flips a bit of a byte on a node's disk, as media decay does. Readers see it too.
    pub fn rot(&self, node: u32, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        let bit = self.state.base().random().below(8);
        self.state.base().note("rot", u64::from(node), offset);
        self.state.disks().rot(node, path.as_ref(), offset, 1 << bit)
    }

    /// Makes the page that holds `offset` unreadable for good: [`crate::runtime::Runtime::read`] of it fails.
    pub fn spoil(&self, node: u32, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        self.state.base().note("spoil", u64::from(node), offset);
        self.state.disks().spoil(node, path.as_ref(), offset)
    }

    /// What a crash could not take away: bytes on stable storage, zero where nothing was ever written back.
    pub fn stable(
        &self,
        node: u32,
        path: impl AsRef<Path>,
        offset: u64,
        length: usize,
    ) -> io::Result<Vec<u8>> {
        self.state.disks().stable(node, path.as_ref(), offset, length)
    }

    /// Registers what answers datagrams sent to `address`; None is silence. Without a handler the sender gets an ICMP error.
    pub fn serve_datagrams(
        &self,
        address: SocketAddr,
        handler: impl FnMut(&[u8]) -> Option<Vec<u8>> + 'static,
    ) {
        let handler = Rc::new(RefCell::new(handler));
        self.state.network().datagrams(self.state.base()).0.serve(address, handler);
    }

    /// Plants a defect in every node: [`crate::runtime::Runtime::planted`] answers true for it with this probability.
    pub fn plant(&self, defect: Defect, probability: f64) {
        self.state.plant(defect, probability);
    }

    /// From now on a new task is polled with this probability before its maker goes on, as a real runtime does; else it waits its turn.
    pub fn run_new_tasks(&self, probability: f64) {
        self.state.run_new_tasks(probability);
    }

    /// From now on a thread may have no core for so long before it polls a new task before its maker goes on: what has just been looked at is
    /// true no more.
    pub fn lose_core(&self, most: Duration) {
        self.state.lose_core(most);
    }

    /// The most tasks that were polled one inside the other so far: 1, where none is run by its maker.
    pub fn deepest(&self) -> usize {
        self.state.executor().deepest()
    }

    /// From now on the work of this node's shards takes time, on a core for each.
    pub fn count_cores(&self, node: u32, costs: Costs) {
        self.state.count_cores(node, costs);
    }

    /// From now on every shard says that it works all the time ([`crate::runtime::Runtime::worked`]).
    pub fn pretend_busy(&self) {
        self.state.pretend_busy();
    }

    /// From now on, counts the connections a node has open (or opens) to any of these addresses at one time. Gives the
    /// number to ask [`World::connections_peak`] with.
    pub fn watch_connections(&self, node: u32, to: impl IntoIterator<Item = SocketAddr>) -> usize {
        self.state.network().watch(node, to.into_iter().collect())
    }

    /// The most connections a watch saw at one time.
    pub fn connections_peak(&self, watch: usize) -> usize {
        self.state.network().peak(watch)
    }

    /// Moves the wall clock (not the monotonic one), as a time daemon would.
    pub fn move_wall(&self, milliseconds: i64) {
        self.state.move_wall(milliseconds);
    }

    /// A hash over everything that happened so far: equal for equal seeds and equal tests.
    pub fn fingerprint(&self) -> u64 {
        self.state.base().trace().fingerprint()
    }

    /// How often something happened so far: `connect`, `arrive`, `accept`, `send`, `recv`, `reset`, `cut`, `deaf`, `close`,
    /// `datagram`, `append`, `sync`, `segment`, `down`, `panic` ... (the words of [`World::recent_events`]).
    pub fn count(&self, what: &str) -> u64 {
        self.state.base().trace().count(what)
    }

    /// The last few hundred events in words, oldest first.
    pub fn recent_events(&self) -> Vec<String> {
        self.state.base().trace().recent()
    }
}

#[cfg(test)]
impl World {
    pub(super) fn state(&self) -> &Rc<WorldState> {
        &self.state
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The one thing a failed test of a seeded world must say.
            eprintln!(
                "simulated world: seed {}, virtual time {} ns",
                self.state.base().seed(),
                self.state.base().now()
            );
            if let Ok(trace) = self.state.base().trace_if_free() {
                let recent = trace.recent();
                recent[recent.len().saturating_sub(20)..].iter().for_each(|line| eprintln!("{line}"));
            }
        }
        // Tasks hold handles, and handles hold the state: taken apart here, or nothing would ever be freed.
        drop(self.state.executor().take_tasks(|_| true));
        self.state.base().clear();
        let handlers = self.state.network().datagrams(self.state.base()).0.take_handlers();
        drop(handlers);
        self.state.executor().clear();
    }
}
