//! What work costs: each shard of a node on a core of its own, that does one thing at a time.
//!
//! Without it a shard's work takes no time, which is right for finding what must never happen, and says nothing
//! about how fast a node is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::executor::TaskWaker;
use super::{Event, State};

/// What a shard's core spends.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// On each poll of a task.
    pub poll: Duration,
    /// On each send, receive, accept, connect, write.
    pub call: Duration,
    /// On each 1024 bytes of them.
    pub kibibyte: Duration,
}

/// The cores of a node.
pub(super) struct Cores {
    pub(super) node: u32,
    costs: Costs,
    shards: BTreeMap<u16, Core>,
}

#[derive(Default)]
struct Core {
    /// Until when it is busy with what it did last.
    free_at: u64,
    worked: u64,
    /// Tasks that are ready meanwhile, in their order.
    waiting: VecDeque<Arc<TaskWaker>>,
    /// An event takes the next of them.
    armed: bool,
}

impl Cores {
    pub(super) fn new(node: u32, costs: Costs) -> Cores {
        Cores { node, costs, shards: BTreeMap::new() }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl State {
    /// Whether work costs time.
    pub(super) fn counts_cores(&self) -> bool {
        self.cores.borrow().is_some()
    }

    /// A call that moves so many bytes.
    pub(super) fn charge(&self, bytes: usize) {
        if let Some(cores) = &*self.cores.borrow() {
            let cost = nanos(cores.costs.call) + nanos(cores.costs.kibibyte) * bytes as u64 / 1024;
            self.spent.set(self.spent.get() + cost);
        }
    }

    /// How long a shard has worked, if that is counted.
    pub(super) fn worked(&self, node: u32, shard: u16) -> Option<u64> {
        let cores = self.cores.borrow();
        let cores = cores.as_ref().filter(|cores| cores.node == node)?;
        Some(cores.shards.get(&shard).map_or(0, |core| core.worked))
    }

    /// A task is ready: it runs now, or after what its core is busy with. None: it has to wait.
    pub(super) fn enter(&self, waker: Arc<TaskWaker>) -> Option<Arc<TaskWaker>> {
        let mut cores = self.cores.borrow_mut();
        let Some(cores) = &mut *cores else { return Some(waker) };
        let Some(shard) = self.executor.shard_of(waker.id, cores.node) else { return Some(waker) };
        let core = cores.shards.entry(shard).or_default();
        if core.free_at <= self.clock.get() && core.waiting.is_empty() {
            return Some(waker);
        }
        core.waiting.push_back(waker);
        if !std::mem::replace(&mut core.armed, true) {
            self.schedule(core.free_at.max(self.clock.get()), Event::Core(shard));
        }
        None
    }

    /// A core is free for the next task.
    pub(super) fn next_on_core(&self, shard: u16) -> Option<Arc<TaskWaker>> {
        let mut cores = self.cores.borrow_mut();
        let core = cores.as_mut()?.shards.get_mut(&shard)?;
        core.armed = false;
        core.waiting.pop_front()
    }

    /// A task ran: its core is busy for as long as that costs.
    pub(super) fn leave(&self, shard: Option<u16>) {
        let spent = self.spent.replace(0);
        let mut cores = self.cores.borrow_mut();
        let (Some(cores), Some(shard)) = (&mut *cores, shard) else { return };
        let cost = nanos(cores.costs.poll) + spent;
        let Some(core) = cores.shards.get_mut(&shard) else { return };
        core.free_at = self.clock.get() + cost;
        core.worked += cost;
        if !core.waiting.is_empty() && !std::mem::replace(&mut core.armed, true) {
            self.schedule(core.free_at, Event::Core(shard));
        }
    }

    /// The shard whose core a task runs on, if cores are counted.
    pub(super) fn core_of(&self, id: u64) -> Option<u16> {
        let cores = self.cores.borrow();
        self.executor.shard_of(id, cores.as_ref()?.node)
    }
}
