//! The tasks of all simulated shards, run one at a time in an order the seed chooses.
//!
//! Order is random within a round, and rounds are fair: a task woken during a round runs in the next, one that yields in
//! the one after, so that everything that was ready when it yielded runs before it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::random::Random;

/// Tasks that were woken. Behind a lock because a waker must be `Send`; in fact all of this is one thread.
type Woken = Mutex<Vec<Arc<TaskWaker>>>;

/// Wakes one task: the same waker for the whole life of the task.
pub(super) struct TaskWaker {
    pub(super) id: u64,
    /// Whether the task is in a round or in `woken` already.
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.clone());
        }
    }
}

impl TaskWaker {
    /// The task is about to be polled: wakes from now on count again.
    pub(super) fn start(&self) {
        self.queued.store(false, Ordering::Relaxed);
    }
}

pub(super) type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    /// None while the task is being polled.
    future: Option<BoxedTask>,
    owner: Owner,
}

/// Whose task it is.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) node: u32,
    pub(super) life: u32,
    pub(super) shard: u16,
    /// The name of a task the shard cannot live without.
    pub(super) vital: Option<&'static str>,
    /// The shard's count of caught panics.
    pub(super) panics: Rc<Cell<u64>>,
}

/// How one poll of a task ended badly.
pub(super) struct Panicked {
    pub(super) owner: Owner,
    pub(super) words: String,
}

pub(super) struct Executor {
    tasks: RefCell<BTreeMap<u64, Task>>,
    woken: Arc<Woken>,
    /// What runs in this round.
    round: RefCell<Vec<Arc<TaskWaker>>>,
    yielded: RefCell<Vec<Waker>>,
    ids: Cell<u64>,
    /// How many tasks are being polled one inside the other, and how many ever were.
    depth: Cell<(usize, usize)>,
}

impl Executor {
    pub(super) fn new() -> Executor {
        Executor {
            tasks: RefCell::default(),
            woken: Arc::default(),
            round: RefCell::default(),
            yielded: RefCell::default(),
            ids: Cell::new(0),
            depth: Cell::default(),
        }
    }

    /// A waker for something polled from outside ([`super::World::block_on`]), ready to run.
    pub(super) fn outsider(&self) -> Arc<TaskWaker> {
        let waker = self.waker();
        waker.wake_by_ref();
        waker
    }

    fn waker(&self) -> Arc<TaskWaker> {
        self.ids.set(self.ids.get() + 1);
        Arc::new(TaskWaker { id: self.ids.get(), queued: AtomicBool::new(false), woken: self.woken.clone() })
    }

    /// Adds a task. It is to be run, or woken.
    pub(super) fn spawn(&self, owner: Owner, future: BoxedTask) -> Arc<TaskWaker> {
        let waker = self.waker();
        self.tasks.borrow_mut().insert(waker.id, Task { future: Some(future), owner });
        waker
    }

    /// The most tasks that were polled one inside the other.
    pub(super) fn deepest(&self) -> usize {
        self.depth.get().1
    }

    /// Chooses what runs next, if anything is ready.
    pub(super) fn choose(&self, random: &mut Random) -> Option<Arc<TaskWaker>> {
        let mut round = self.round.borrow_mut();
        // Twice: the first new round may hold nothing but the wakes of those who yielded in the last.
        for _ in 0..2 {
            if round.is_empty() {
                round.append(&mut self.woken.lock().unwrap_or_else(PoisonError::into_inner));
                for waker in self.yielded.borrow_mut().drain(..) {
                    waker.wake();
                }
            }
        }
        if round.is_empty() {
            return None;
        }
        let index = random.index(round.len());
        Some(round.swap_remove(index))
    }

    /// The waker's task runs again after everything that is ready now.
    pub(super) fn defer(&self, waker: Waker) {
        self.yielded.borrow_mut().push(waker);
    }

    /// Polls a task once, if it still exists.
    pub(super) fn run(&self, waker: &Arc<TaskWaker>) -> Result<(), Panicked> {
        waker.start();
        let id = waker.id;
        let Some(mut future) = self.tasks.borrow_mut().get_mut(&id).and_then(|task| task.future.take())
        else {
            return Ok(());
        };
        let std_waker = Waker::from(waker.clone());
        let mut context = Context::from_waker(&std_waker);
        let (depth, deepest) = self.depth.get();
        self.depth.set((depth + 1, deepest.max(depth + 1)));
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        self.depth.set((depth, self.depth.get().1));
        let mut tasks = self.tasks.borrow_mut();
        match polled {
            Ok(Poll::Pending) => match tasks.get_mut(&id) {
                Some(task) => task.future = Some(future),
                // Its node crashed while it ran.
                None => {
                    drop(tasks);
                    drop(future);
                }
            },
            Ok(Poll::Ready(())) => {
                tasks.remove(&id);
                drop(tasks);
                drop(future);
            }
            Err(payload) => {
                let task = tasks.remove(&id);
                drop(tasks);
                drop(future);
                if let Some(Task { owner, .. }) = task {
                    owner.panics.set(owner.panics.get() + 1);
                    return Err(Panicked { owner, words: words_of(&*payload) });
                }
            }
        }
        Ok(())
    }

    /// Takes tasks out. The caller drops them when it holds no borrow: the streams in
    /// them close.
    #[must_use]
    pub(super) fn take_tasks(&self, whose: impl Fn(&Owner) -> bool) -> Vec<BoxedTask> {
        let mut tasks = self.tasks.borrow_mut();
        let gone: Vec<u64> = tasks.iter().filter(|(_, task)| whose(&task.owner)).map(|(id, _)| *id).collect();
        gone.iter().filter_map(|id| tasks.remove(id)?.future).collect()
    }

    /// Forgets every wake: a queued waker and the queue hold each other.
    pub(super) fn clear(&self) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.round.borrow_mut().clear();
        self.yielded.borrow_mut().clear();
    }

    /// The shard of a task, if it is one of this node.
    pub(super) fn shard_of(&self, id: u64, node: u32) -> Option<u16> {
        let tasks = self.tasks.borrow();
        tasks.get(&id).filter(|task| task.owner.node == node).map(|task| task.owner.shard)
    }

    /// Whether there is a task of this id.
    pub(super) fn has(&self, id: u64) -> bool {
        self.tasks.borrow().contains_key(&id)
    }

    /// How many tasks a node has.
    pub(super) fn count(&self, node: u32) -> usize {
        self.tasks.borrow().values().filter(|task| task.owner.node == node).count()
    }
}

fn words_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no words)".to_owned())
}
