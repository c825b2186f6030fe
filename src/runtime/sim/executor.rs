//! Tasks, and what happens when: the one queue of events in virtual time.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::runtime::sim::network;

/// What a poll costs, nanoseconds: a task that spins still lets time pass.
const POLL: u64 = 200;

/// Something that happens at its time.
pub enum Event {
    /// A sleep ends.
    Wake(Waker),
    /// Bytes, connections and datagrams arrive.
    Network(network::Event),
}

type Body = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    node: u32,
    vital: Option<&'static str>,
    panics: Rc<Cell<u64>>,
    /// Taken out while it runs.
    body: Option<Body>,
    waker: Waker,
}

/// Ids of tasks that were woken. Wakers must be shareable, so this is, though all runs on one thread.
type Ready = Arc<Mutex<Vec<u64>>>;

struct TaskWaker {
    id: u64,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.contains(&self.id) {
            ready.push(self.id);
        }
    }
}

#[derive(Default)]
pub struct Executor {
    now: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    next_task: Cell<u64>,
    ready: Ready,
    /// (time, order of scheduling)
    agenda: RefCell<BinaryHeap<Reverse<(u64, u64)>>>,
    events: RefCell<BTreeMap<u64, Event>>,
    next_event: Cell<u64>,
}

impl Executor {
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    pub fn spawn(&self, node: u32, vital: Option<&'static str>, panics: Rc<Cell<u64>>, body: Body) {
        let id = self.next_task.get();
        self.next_task.set(id + 1);
        let waker = Waker::from(Arc::new(TaskWaker { id, ready: self.ready.clone() }));
        waker.wake_by_ref();
        self.tasks.borrow_mut().insert(id, Task { node, vital, panics, body: Some(body), waker });
    }

    pub fn schedule(&self, at: u64, event: Event) {
        let order = self.next_event.get();
        self.next_event.set(order + 1);
        self.agenda.borrow_mut().push(Reverse((at, order)));
        self.events.borrow_mut().insert(order, event);
    }

    /// A woken task, chosen by `choose`, and its node.
    pub fn pick(&self, choose: impl FnOnce(usize) -> usize) -> Option<(u64, u32)> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = self.tasks.borrow();
        ready.retain(|id| tasks.contains_key(id));
        if ready.is_empty() {
            return None;
        }
        let place = choose(ready.len());
        let id = ready.swap_remove(place);
        Some((id, tasks.get(&id)?.node))
    }

    /// Polls a task once.
    pub fn run(&self, id: u64, _node: u32) {
        self.now.set(self.now.get() + POLL);
        let taken = self
            .tasks
            .borrow_mut()
            .get_mut(&id)
            .and_then(|task| Some((task.body.take()?, task.waker.clone())));
        let Some((mut body, waker)) = taken else { return };
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(&mut context)));
        let mut tasks = self.tasks.borrow_mut();
        match polled {
            // A task that crashed its own node is gone by now.
            Ok(Poll::Pending) => {
                if let Some(task) = tasks.get_mut(&id) {
                    task.body = Some(body);
                    return;
                }
            }
            Ok(Poll::Ready(())) => {
                tasks.remove(&id);
            }
            Err(panic) => {
                let task = tasks.remove(&id);
                drop(tasks);
                self.panicked(task, panic);
                return;
            }
        }
        drop(tasks);
        drop(body);
    }

    fn panicked(&self, task: Option<Task>, panic: Box<dyn Any + Send>) {
        let Some(task) = task else { return };
        task.panics.set(task.panics.get() + 1);
        if let Some(name) = task.vital {
            eprintln!("the vital task {name:?} of node {} panicked", task.node);
            resume_unwind(panic);
        }
    }

    /// The next event up to `limit`; the clock goes there, or to `limit`.
    pub fn next_event(&self, limit: u64) -> Option<Event> {
        let mut agenda = self.agenda.borrow_mut();
        match agenda.peek() {
            Some(Reverse((at, order))) if *at <= limit => {
                let (at, order) = (*at, *order);
                agenda.pop();
                self.now.set(self.now.get().max(at));
                self.events.borrow_mut().remove(&order)
            }
            _ => {
                self.now.set(self.now.get().max(limit));
                None
            }
        }
    }

    /// Takes all tasks of a node away, to be dropped by the caller.
    pub fn take_node(&self, node: u32) -> Vec<Box<dyn Any>> {
        let mut tasks = self.tasks.borrow_mut();
        let ids: Vec<u64> = tasks.iter().filter(|(_, task)| task.node == node).map(|(id, _)| *id).collect();
        ids.iter()
            .filter_map(|id| tasks.remove(id)?.body)
            .map(|body| Box::new(body) as Box<dyn Any>)
            .collect()
    }
}
