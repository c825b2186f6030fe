//! A simulated world: what all handles of it share, and how it goes on.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use super::base::{Base, Event};
use super::cores::{Cores, Costs};
use super::disk::{Disks, Loss};
use super::executor::{BoxedTask, Executor, Owner, Panicked, TaskWaker};
use super::network::{DatagramTarget, Network, NetworkEvent};
use super::random::Random;
use crate::runtime::Defect;

/// What one poll of a task costs, nanoseconds: least, and the span above it.
const POLL_COST: (u64, u64) = (200, 1000);

/// What all handles share. No borrow of a part is ever held while a task is polled or dropped.
pub(super) struct WorldState {
    base: Base,
    wall_shift: Cell<i64>,
    running: Cell<bool>,
    /// Choices of the scheduler, apart from those of the faults: turning a fault on does not reshuffle everything.
    schedule: RefCell<Random>,
    executor: Executor,
    network: RefCell<Network>,
    disks: RefCell<Disks>,
    nodes: RefCell<BTreeMap<u32, Node>>,
    /// Shards say that they work all the time.
    busy: Cell<bool>,
    /// What work costs on one node.
    cores: RefCell<Option<Cores>>,
    /// Questions whether a task has lasted long.
    outstayed: Cell<u64>,
    /// How often a new task is polled before its maker goes on.
    eager: Cell<f64>,
    /// How long at most it has no core before that, in nanoseconds.
    lost_most: Cell<u64>,
    /// A defect of the node's own that the test planted, and how often it shows.
    planted: Cell<Option<(Defect, f64)>>,
}

#[derive(Default)]
struct Node {
    life: u32,
    panics: u64,
}

/// What one turn of the world did.
pub(super) enum Turn {
    /// Polled a task or fired events.
    Ran,
    /// The outsider with this id is to be polled by its owner.
    Outsider(u64),
    /// Nothing is ready and nothing is due in the given time.
    Idle,
}

impl WorldState {
    pub fn new(seed: u64) -> WorldState {
        WorldState {
            base: Base::new(seed),
            wall_shift: Cell::new(0),
            running: Cell::new(false),
            schedule: RefCell::new(Random::new(seed, 1)),
            executor: Executor::new(),
            network: RefCell::new(Network::new()),
            disks: RefCell::default(),
            nodes: RefCell::default(),
            busy: Cell::new(false),
            cores: RefCell::new(None),
            outstayed: Cell::new(0),
            eager: Cell::new(0.0),
            lost_most: Cell::new(0),
            planted: Cell::new(None),
        }
    }

    pub fn base(&self) -> &Base {
        &self.base
    }

    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    pub fn network(&self) -> RefMut<'_, Network> {
        self.network.borrow_mut()
    }

    pub fn disks(&self) -> RefMut<'_, Disks> {
        self.disks.borrow_mut()
    }

    /// How far the wall clock is off, milliseconds.
    pub fn wall_shift(&self) -> i64 {
        self.wall_shift.get()
    }

    pub fn move_wall(&self, milliseconds: i64) {
        self.wall_shift.set(self.wall_shift.get().saturating_add(milliseconds));
    }

    /// Which life a node lives.
    pub fn life(&self, node: u32) -> u32 {
        self.nodes.borrow_mut().entry(node).or_default().life
    }

    /// Panics caught in tasks of a node.
    pub fn panics(&self, node: u32) -> u64 {
        self.nodes.borrow().get(&node).map_or(0, |node| node.panics)
    }

    pub fn run_new_tasks(&self, probability: f64) {
        self.eager.set(probability);
    }

    pub fn lose_core(&self, most: Duration) {
        self.lost_most.set(most.as_nanos() as u64);
    }

    /// The thread has no core for a while.
    fn maybe_lose_core(&self) {
        let most = self.lost_most.get();
        if most > 0 {
            let lost = self.schedule.borrow_mut().below(most);
            self.base.set_now(self.base.now().saturating_add(lost));
        }
    }

    /// A new task is ready; or it runs right now, inside the one that makes it.
    pub fn spawn(&self, owner: Owner, task: BoxedTask) {
        let waker = self.executor.spawn(owner, task);
        self.base.mix(waker.id);
        if self.eager.get() > 0.0 && self.schedule.borrow_mut().chance(self.eager.get()) {
            self.maybe_lose_core();
            if let Err(panicked) = self.executor.run(&waker) {
                self.panicked(&panicked);
            }
        } else {
            waker.wake_by_ref();
        }
    }

    pub fn plant(&self, defect: Defect, probability: f64) {
        self.planted.set(Some((defect, probability)));
    }

    /// Whether a planted defect shows now, in a shard of a node.
    pub fn shows(&self, defect: Defect, node: u32, shard: u16) -> bool {
        let Some((planted, probability)) = self.planted.get() else { return false };
        let shows = planted == defect && self.base.random().chance(probability);
        if shows {
            self.base.note("planted", u64::from(node), u64::from(shard));
        }
        shows
    }

    pub fn pretend_busy(&self) {
        self.busy.set(true);
    }

    pub fn count_cores(&self, node: u32, costs: Costs) {
        *self.cores.borrow_mut() = Some(Cores::new(node, costs));
    }

    /// A call that moves so many bytes, where work costs time.
    pub fn charge(&self, bytes: usize) {
        if let Some(cores) = &mut *self.cores.borrow_mut() {
            cores.charge(bytes);
        }
    }

    /// What the running task spent so far, where work costs time.
    pub fn spent(&self) -> Option<u64> {
        self.cores.borrow().as_ref().map(Cores::spent)
    }

    /// How long a shard has worked.
    pub fn worked(&self, node: u32, shard: u16) -> u64 {
        let counted = self.cores.borrow().as_ref().and_then(|cores| cores.worked(node, shard));
        let pretended = || if self.busy.get() { self.base.now() } else { 0 };
        counted.unwrap_or_else(pretended)
    }

    /// How often it was asked whether a task has lasted long.
    pub fn asked_again(&self) -> u64 {
        self.outstayed.set(self.outstayed.get() + 1);
        self.outstayed.get()
    }

    /// Fires what is due, then polls one ready task or jumps to the next event, if that is not after `until`.
    pub fn turn(&self, until: u64) -> Turn {
        while let Some(event) = self.base.take_due() {
            match event {
                Event::Wake(waker) => waker.wake(),
                Event::Network(event) => self.network_event(event),
                Event::Core(shard) => {
                    let next = self.cores.borrow_mut().as_mut().and_then(|cores| cores.next(shard));
                    if let Some(waker) = next {
                        self.poll(&waker);
                    }
                }
                Event::Down(node, loss) => self.down(node, loss),
                Event::Bury(node) => self.bury(node),
            }
        }
        let chosen = self.executor.choose(&mut self.schedule.borrow_mut());
        let Some(waker) = chosen else {
            return match self.base.next_at() {
                Some(at) if at <= until => {
                    self.base.set_now(at);
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
        self.base.set_now(self.base.now().saturating_add(cost));
        self.base.mix(waker.id);
        if !self.executor.has(waker.id) {
            return Turn::Outsider(waker.id);
        }
        if let Some(waker) = self.enter(waker) {
            self.poll(&waker);
        }
        Turn::Ran
    }

    /// A task is ready: it runs now, or when its core is free.
    fn enter(&self, waker: Arc<TaskWaker>) -> Option<Arc<TaskWaker>> {
        let shard = self.core_of(waker.id);
        match (&mut *self.cores.borrow_mut(), shard) {
            (Some(cores), Some(shard)) => cores.enter(shard, waker, &self.base),
            _ => Some(waker),
        }
    }

    /// The shard whose core a task runs on, if cores are counted.
    fn core_of(&self, id: u64) -> Option<u16> {
        let node = self.cores.borrow().as_ref().map(Cores::node)?;
        self.executor.shard_of(id, node)
    }

    fn poll(&self, waker: &Arc<TaskWaker>) {
        let shard = self.core_of(waker.id);
        if let Some(cores) = &mut *self.cores.borrow_mut() {
            cores.begin();
        }
        let ran = self.executor.run(waker);
        if let Some(cores) = &mut *self.cores.borrow_mut() {
            cores.leave(shard, &self.base);
        }
        if let Err(panicked) = ran {
            self.panicked(&panicked);
        }
    }

    fn panicked(&self, panicked: &Panicked) {
        let Owner { node, shard, vital, .. } = panicked.owner;
        self.nodes.borrow_mut().entry(node).or_default().panics += 1;
        self.base.note("panic", u64::from(node), u64::from(shard));
        if let Some(name) = vital {
            panic!("the {name} task of shard {shard} of node {node} panicked: {}", panicked.words);
        }
    }

    fn network_event(&self, event: NetworkEvent) {
        let NetworkEvent::DatagramThere(socket, bytes) = event else {
            return self.network().event(event, &self.base);
        };
        let reached = self.network().reached(socket);
        match reached {
            DatagramTarget::Nothing => {}
            DatagramTarget::Nobody => self.network().answer(socket, None, &self.base),
            // The handler is the test's: no part of the world is borrowed while it runs.
            DatagramTarget::Handler(handler) => {
                let answer = (handler.borrow_mut())(&bytes);
                if let Some(answer) = answer {
                    self.network().answer(socket, Some(&answer), &self.base);
                }
            }
        }
    }

    /// Ends a node's life, and drops its tasks.
    pub fn down(&self, node: u32, loss: Loss) {
        self.end_life(node, loss);
        self.bury(node);
    }

    /// Ends a node's life from inside one of its tasks: it is cut off at once, its tasks are dropped before anything else
    /// runs (not now: they share state that the running one may have borrowed).
    pub fn fall(&self, node: u32) {
        self.end_life(node, Loss::PageCache);
        self.base.schedule(self.base.now(), Event::Bury(node));
    }

    fn end_life(&self, node: u32, loss: Loss) {
        self.base.note("down", u64::from(node), u64::from(loss == Loss::Nothing));
        self.nodes.borrow_mut().entry(node).or_default().life += 1;
        self.disks().down(node, loss, &mut self.base.random());
        self.network().cut_off(node, &self.base);
    }

    /// What these tasks hold is cut off already, so that dropping it sends nothing.
    fn bury(&self, node: u32) {
        let life = self.life(node);
        drop(self.executor.take_tasks(|owner| owner.node == node && owner.life != life));
    }

    /// Refuses a run inside a run.
    pub fn start(&self) -> Running<'_> {
        assert!(!self.running.replace(true), "a world is driven from one place at a time");
        Running(&self.running)
    }
}

/// The world is being driven.
pub(super) struct Running<'a>(&'a Cell<bool>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
