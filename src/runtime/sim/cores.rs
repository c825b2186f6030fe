//! What work costs: each shard of a node on a core of its own, that does one thing at a time.
//!
//! Without it a shard's work takes no time, which is right for finding what must never happen, and says nothing
//! about how fast a node is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::base::{Base, Event};
use super::executor::TaskWaker;
use super::random::nanos;

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
    node: u32,
    costs: Costs,
    shards: BTreeMap<u16, Core>,
    /// What the running task spent so far.
    spent: u64,
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
    pub fn new(node: u32, costs: Costs) -> Cores {
        Cores { node, costs, shards: BTreeMap::new(), spent: 0 }
    }

    /// Whose they are.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// A call that moves so many bytes.
    pub fn charge(&mut self, bytes: usize) {
        self.spent += nanos(self.costs.call) + nanos(self.costs.kibibyte) * bytes as u64 / 1024;
    }

    /// What the running task spent so far, nanoseconds.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// How long a shard has worked, if it is one of these.
    pub fn worked(&self, node: u32, shard: u16) -> Option<u64> {
        let worked = || self.shards.get(&shard).map_or(0, |core| core.worked);
        (self.node == node).then(worked)
    }

    /// A task of a shard is ready: it runs now, or after what its core is busy with. None: it has to wait.
    pub fn enter(&mut self, shard: u16, waker: Arc<TaskWaker>, base: &Base) -> Option<Arc<TaskWaker>> {
        let core = self.shards.entry(shard).or_default();
        if core.free_at <= base.now() && core.waiting.is_empty() {
            return Some(waker);
        }
        core.waiting.push_back(waker);
        if !std::mem::replace(&mut core.armed, true) {
            base.schedule(core.free_at.max(base.now()), Event::Core(shard));
        }
        None
    }

    /// A core is free for the next task.
    pub fn next(&mut self, shard: u16) -> Option<Arc<TaskWaker>> {
        let core = self.shards.get_mut(&shard)?;
        core.armed = false;
        core.waiting.pop_front()
    }

    /// A task begins to run.
    pub fn begin(&mut self) {
        self.spent = 0;
    }

    /// It ran: its core is busy for as long as that costs.
    pub fn leave(&mut self, shard: Option<u16>, base: &Base) {
        let cost = nanos(self.costs.poll) + std::mem::take(&mut self.spent);
        let Some(core) = shard.and_then(|shard| self.shards.get_mut(&shard)) else { return };
        core.free_at = base.now() + cost;
        core.worked += cost;
        if !core.waiting.is_empty() && !std::mem::replace(&mut core.armed, true) {
            base.schedule(core.free_at, Event::Core(shard.unwrap_or_default()));
        }
    }
}
