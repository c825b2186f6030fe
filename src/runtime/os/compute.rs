//! The threads of a node that burn a core so that no shard has to: few, some for each urgency, with a bound on what waits.
//!
//! Shards give work to one queue that a dispatcher keeps; it passes each piece to a worker that is idle and what comes of it back to
//! the shard. Workers run below the shards, so that mail has the cores first. A thread that has to wait for a core may hold a
//! lock meanwhile, so none of a worker is ever waited for: the dispatcher, which runs as shards do, only tries them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::thread::{self, Thread};
use std::time::Duration;

use super::patience;
use super::promise::{Promised, lock};
use crate::limits;
use crate::runtime::{Priority, Uncomputed, Urgency, Workspace};

/// What tells a shard that one of its tasks was woken by another thread.
pub(in crate::runtime) type WakeShard = Arc<dyn Fn() + Send + Sync>;

/// The threads. They end when this is dropped; what they are at then, nobody waits for.
pub struct Compute(Arc<Shared>);

struct Shared {
    queues: Mutex<Queues>,
    workers: Vec<Worker>,
    dispatcher: OnceLock<Thread>,
    ending: AtomicBool,
}

/// Work that waits, by urgency.
struct Queues {
    waiting: [BTreeMap<QueueKey, QueuedWork>; Urgency::COUNT],
    serial: u64,
    calm: bool,
}

/// The rank, and which piece it was of all that ever came.
type QueueKey = (u32, u64);

struct QueuedWork {
    work: Box<dyn Work>,
    since: std::time::Instant,
}

/// What a shard wants done.
trait Work: Send {
    /// Does it, and brings what tells the shard.
    fn run(self: Box<Self>, workspace: &mut Workspace) -> Finish;
    /// Tells the shard that it will not be done.
    fn refuse(self: Box<Self>);
}

type Finish = Box<dyn FnOnce() + Send>;

struct Worker {
    urgency: Urgency,
    slot: Mutex<Slot>,
    thread: OnceLock<Thread>,
}

enum Slot {
    Idle,
    Given(Box<dyn Work>),
    Busy,
    Finished(Finish),
}

struct Piece<T, F> {
    work: F,
    promised: Arc<Promised<Result<T, Uncomputed>>>,
    done: WakeShard,
}

impl<T: Send + 'static, F: FnOnce(&mut Workspace) -> T + Send> Work for Piece<T, F> {
    fn run(self: Box<Self>, workspace: &mut Workspace) -> Finish {
        let Piece { work, promised, done } = *self;
        let brought = catch_unwind(AssertUnwindSafe(|| work(workspace))).map_err(|_| Uncomputed::Failed);
        Box::new(move || {
            promised.keep(Some(brought));
            done();
        })
    }

    fn refuse(self: Box<Self>) {
        self.promised.keep(Some(Err(Uncomputed::Full)));
        (self.done)();
    }
}

impl Compute {
    /// Starts the threads, for a machine with so many cores. They may run on the cores that their starter may.
    pub fn start(cores: usize) -> io::Result<Compute> {
        let mut workers = Vec::new();
        for (urgency, threads) in [
            (Urgency::Prompt, (cores / 4).clamp(1, limits::COMPUTE_THREADS_MAX)),
            (Urgency::Ordinary, (cores / 8).clamp(1, limits::COMPUTE_THREADS_MAX / 2)),
            (Urgency::Spare, 1),
        ] {
            for _ in 0..threads {
                workers.push(Worker { urgency, slot: Mutex::new(Slot::Idle), thread: OnceLock::new() });
            }
        }
        let queues = Queues { waiting: Default::default(), serial: 0, calm: true };
        let shared = Arc::new(Shared {
            queues: Mutex::new(queues),
            workers,
            dispatcher: OnceLock::new(),
            ending: AtomicBool::new(false),
        });
        // From here on dropping it ends what was started.
        let compute = Compute(shared.clone());
        let theirs = shared.clone();
        let dispatcher =
            thread::Builder::new().name("relevo-compute".into()).spawn(move || theirs.dispatch())?;
        let _ = shared.dispatcher.set(dispatcher.thread().clone());
        for number in 0..shared.workers.len() {
            let theirs = shared.clone();
            let name = format!("relevo-hash-{number}");
            let thread = thread::Builder::new().name(name).spawn(move || theirs.work(number))?;
            let _ = shared.workers[number].thread.set(thread.thread().clone());
        }
        Ok(compute)
    }

    /// Runs `work` when its turn comes.
    pub(in crate::runtime) async fn run<T: Send + 'static>(
        &self,
        priority: Priority,
        done: WakeShard,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Uncomputed> {
        let promised = Arc::new(Promised::open());
        let piece = Piece { work, promised: promised.clone(), done };
        let displaced = lock(&self.0.queues).give(priority, Box::new(piece));
        displaced.into_iter().for_each(|work| work.refuse());
        self.0.call_dispatcher();
        poll_fn(|context| promised.poll(context)).await.unwrap_or(Err(Uncomputed::Failed))
    }

    /// Pieces of work that wait for a thread.
    pub(in crate::runtime) fn waiting(&self) -> usize {
        lock(&self.0.queues).waiting.iter().map(BTreeMap::len).sum()
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.0.ending.store(true, Ordering::SeqCst);
        self.0.call_dispatcher();
        self.0.workers.iter().filter_map(|worker| worker.thread.get()).for_each(Thread::unpark);
    }
}

impl Queues {
    /// Takes work in. What has to go for it: itself or the last of its kind, if that is one too many; more when the calm ends.
    fn give(&mut self, priority: Priority, work: Box<dyn Work>) -> Vec<Box<dyn Work>> {
        self.serial += 1;
        self.calm = priority.calm;
        let urgency = priority.urgency;
        let since = now();
        let place = (priority.rank, self.serial);
        self.waiting[urgency as usize].insert(place, QueuedWork { work, since });
        let mut displaced = Vec::new();
        while self.waiting[urgency as usize].len() > urgency.waiting_max(self.calm) {
            displaced.extend(self.take(urgency, false));
        }
        displaced
    }

    /// Work nobody vouches for is taken newest first where more comes than can be done: some then waits hardly at all, and the other way
    /// round all of it would wait for as long as it may. In the calm it all gets done.
    fn newest_first(&self, urgency: Urgency) -> bool {
        !self.calm && urgency != Urgency::Prompt
    }

    /// The first piece of that urgency, or the last.
    fn take(&mut self, urgency: Urgency, first: bool) -> Option<Box<dyn Work>> {
        let newest_first = self.newest_first(urgency);
        let line = &mut self.waiting[urgency as usize];
        let place = if self.calm {
            let arrivals = line.keys().copied();
            if first { arrivals.min_by_key(|place| place.1) } else { arrivals.max_by_key(|place| place.1) }
        } else {
            let end = if first { line.first_key_value() } else { line.last_key_value() };
            let rank = end?.0.0;
            let mut equals = line.range((rank, 0)..=(rank, u64::MAX));
            let end = if first != newest_first { equals.next() } else { equals.next_back() };
            end.map(|(place, _)| *place)
        };
        line.remove(&place?).map(|waiting| waiting.work)
    }

    /// What a worker does next, and whether that is aid for others while somebody attacks.
    fn next(&mut self, urgency: Urgency, may_aid: bool) -> Option<(Box<dyn Work>, bool)> {
        if let Some(work) = self.take(urgency, true) {
            return Some((work, false));
        }
        let others = urgency.helps()?;
        if self.calm {
            return self.take(others, true).map(|work| (work, false));
        }
        let first = self.waiting[others as usize].first_key_value()?.0.0;
        // Those who are known wait only for one whom nothing speaks against.
        let worthy = urgency != Urgency::Prompt || first == 0;
        if may_aid && worthy { self.take(others, true).map(|work| (work, true)) } else { None }
    }

    /// What has waited too long.
    fn take_stale(&mut self) -> Vec<Box<dyn Work>> {
        let mut stale = Vec::new();
        let most = if self.calm { limits::COMPUTE_PATIENCE } else { limits::COMPUTE_WAIT_MAX };
        for line in &mut self.waiting {
            let old = |(place, waiting): (&QueueKey, &QueuedWork)| {
                (waiting.since.elapsed() > most).then_some(*place)
            };
            let places: Vec<QueueKey> = line.iter().filter_map(old).collect();
            stale.extend(places.iter().filter_map(|place| line.remove(place)).map(|waiting| waiting.work));
        }
        stale
    }
}

/// What a thread does for others than its own while somebody attacks.
#[derive(Clone, Copy)]
enum Aid {
    /// It may.
    Ready,
    /// It does, since then.
    Since(std::time::Instant),
    /// It did, and does no more until then.
    Until(std::time::Instant),
}

impl Aid {
    /// Whether it may. `finished`: it has just done what it was given.
    fn is_ready(&mut self, finished: bool) -> bool {
        match *self {
            Aid::Since(since) if finished => {
                *self = Aid::Until(now() + since.elapsed() * limits::COMPUTE_AID_REST)
            }
            Aid::Until(until) if until <= now() => *self = Aid::Ready,
            _ => {}
        }
        matches!(self, Aid::Ready)
    }

    /// How long it rests still.
    fn rest(&self) -> Option<Duration> {
        let Aid::Until(until) = self else { return None };
        // Whose rest is over and who is busy is asked again when it is done, not over and over until then.
        Some(until.saturating_duration_since(now())).filter(|left| !left.is_zero())
    }
}

fn now() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "the runtime is where clocks come from")]
    std::time::Instant::now()
}

impl Shared {
    fn call_dispatcher(&self) {
        if let Some(dispatcher) = self.dispatcher.get() {
            dispatcher.unpark();
        }
    }

    /// The life of the dispatcher.
    fn dispatch(&self) {
        let mut aids: Vec<Aid> = self.workers.iter().map(|_| Aid::Ready).collect();
        while !self.ending.load(Ordering::SeqCst) {
            let mut sure = true;
            for (worker, aid) in self.workers.iter().zip(&mut aids) {
                sure &= self.serve(worker, aid);
            }
            let (stale, empty) = {
                let mut queues = lock(&self.queues);
                (queues.take_stale(), queues.waiting.iter().all(BTreeMap::is_empty))
            };
            stale.into_iter().for_each(|work| work.refuse());
            match (sure, empty) {
                (false, _) => thread::park_timeout(limits::COMPUTE_LOOK_AGAIN),
                (true, false) => thread::park_timeout(
                    aids.iter().filter_map(Aid::rest).fold(limits::COMPUTE_LOOK, Duration::min),
                ),
                (true, true) => thread::park(),
            }
        }
        let queues = std::mem::take(&mut lock(&self.queues).waiting);
        queues.into_iter().flat_map(BTreeMap::into_values).for_each(|waiting| waiting.work.refuse());
    }

    /// Passes on what the worker has done, and gives it more. False: it could not be looked at just now.
    fn serve(&self, worker: &Worker, aid: &mut Aid) -> bool {
        let mut slot = match worker.slot.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let mut finish = None;
        match std::mem::replace(&mut *slot, Slot::Idle) {
            Slot::Idle => {}
            Slot::Finished(finished) => finish = Some(finished),
            busy => {
                *slot = busy;
                return true;
            }
        }
        let may_aid = aid.is_ready(finish.is_some());
        if let Some((next, aids)) = lock(&self.queues).next(worker.urgency, may_aid) {
            *slot = Slot::Given(next);
            if aids {
                *aid = Aid::Since(now());
            }
        }
        let given = matches!(*slot, Slot::Given(_));
        drop(slot);
        if let (true, Some(thread)) = (given, worker.thread.get()) {
            thread.unpark();
        }
        if let Some(finish) = finish {
            finish();
        }
        true
    }

    /// The life of a worker.
    fn work(&self, number: usize) {
        let worker = &self.workers[number];
        match worker.urgency {
            Urgency::Prompt => {}
            Urgency::Ordinary => patience::stand_back(),
            Urgency::Spare => patience::be_idle(),
        }
        let mut workspace = Workspace::default();
        while !self.ending.load(Ordering::SeqCst) {
            let given = {
                let mut slot = lock(&worker.slot);
                match std::mem::replace(&mut *slot, Slot::Busy) {
                    Slot::Given(work) => Some(work),
                    other => {
                        *slot = other;
                        None
                    }
                }
            };
            match given {
                Some(work) => {
                    let finish = work.run(&mut workspace);
                    *lock(&worker.slot) = Slot::Finished(finish);
                    self.call_dispatcher();
                }
                None if workspace.held() == 0 => thread::park(),
                None => {
                    let parked = now();
                    thread::park_timeout(limits::COMPUTE_MEMORY_KEPT);
                    if parked.elapsed() >= limits::COMPUTE_MEMORY_KEPT {
                        workspace.give_back();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rest that is over is nothing to wake for: whoever is busy calls when he is done.
    #[test]
    fn who_rested_long_enough_is_not_waited_for() {
        let (before, later) = (now() - Duration::from_secs(1), now() + Duration::from_secs(60));
        assert_eq!(Aid::Until(before).rest(), None);
        assert!(Aid::Until(later).rest().is_some_and(|rest| rest > Duration::from_secs(50)));
        assert_eq!(Aid::Since(before).rest(), None);
    }
}
