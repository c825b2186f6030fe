//! Runs the tasks of one thread: those that are ready, a batch of them, then one look at the sockets.

use std::cell::{Cell, RefCell};
use std::collections::BinaryHeap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::waker::{Queue, TASKS_MAX};
use crate::runtime::Bell;
use crate::runtime::os::Clock;
use crate::runtime::os::reactor::{Events, Reactor, Source};
use crate::time::Instant;

/// Tasks polled before the sockets and the clock are looked at again.
const BATCH: usize = 128;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The executor of one thread.
pub(super) struct Executor {
    queue: Queue,
    /// By slot; None while the task is being polled, or when there is none.
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<u32>>,
    sleepers: RefCell<BinaryHeap<Sleeper>>,
    reactor: Rc<Reactor>,
    /// The place of the eventfd in the set of sockets.
    _called: Rc<Source>,
    bell: Arc<Bell>,
    clock: Clock,
    spin: Duration,
    spun: Cell<Duration>,
}

/// A task that waits for a point in time; the soonest is the greatest.
struct Sleeper {
    at: Instant,
    waker: Waker,
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Sleeper) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Sleeper) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Sleeper) -> bool {
        self.at == other.at
    }
}

impl Eq for Sleeper {}

impl Executor {
    pub(super) fn new(
        reactor: Rc<Reactor>,
        bell: Arc<Bell>,
        clock: Clock,
        spin: Duration,
    ) -> io::Result<Executor> {
        let queue = Queue::new()?;
        let called = reactor.register(queue.eventfd()?, EventFlags::IN, false)?;
        Ok(Executor {
            queue,
            tasks: RefCell::default(),
            free: RefCell::default(),
            sleepers: RefCell::default(),
            reactor,
            _called: called,
            bell,
            clock,
            spin,
            spun: Cell::default(),
        })
    }

    /// Starts a task; it is polled when its turn comes.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let task: Task = Box::pin(task);
        let mut tasks = self.tasks.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            assert!(tasks.len() < TASKS_MAX, "connections are bounded far below the tasks there may be");
            tasks.push(None);
            tasks.len() as u32 - 1
        });
        tasks[slot as usize] = Some(task);
        self.queue.occupy(slot);
    }

    /// Waits until `at`.
    pub(super) fn sleep_until(self: &Rc<Executor>, at: Instant) -> SleepUntil {
        SleepUntil { executor: self.clone(), at, waiting: None }
    }

    /// How long the thread has looked for work and found none.
    pub(super) fn spun(&self) -> Duration {
        self.spun.get()
    }

    /// Runs `main` to its end, and every other task meanwhile. What is left then is dropped.
    pub(super) fn run<T: 'static>(&self, main: impl Future<Output = T> + 'static) -> T {
        let entered = self.queue.enter();
        let result = Rc::new(Cell::new(None));
        let slot = result.clone();
        self.spawn(async move { slot.set(Some(main.await)) });
        let mut events = Events::new();
        self.bell.awake();
        let result = loop {
            for _ in 0..BATCH {
                let Some((slot, waker)) = self.queue.next() else { break };
                self.poll(slot, &waker);
            }
            if let Some(result) = result.take() {
                break result;
            }
            if self.bell.is_rung() {
                self.bell.wake();
            }
            self.queue.take_foreign();
            let timeout = self.fire();
            if self.queue.is_empty() {
                self.rest(&mut events, timeout);
            } else {
                self.reactor.poll(&mut events, Some(Duration::ZERO));
            }
        };
        self.drop_tasks();
        drop(entered);
        result
    }

    fn poll(&self, slot: u32, waker: &Waker) {
        // No borrow lasts while a task runs: it may spawn, wake and sleep.
        let Some(mut task) = self.tasks.borrow_mut()[slot as usize].take() else { return };
        if task.as_mut().poll(&mut Context::from_waker(waker)).is_pending() {
            self.tasks.borrow_mut()[slot as usize] = Some(task);
            return;
        }
        self.queue.vacate(slot);
        drop(task);
        self.free.borrow_mut().push(slot);
    }

    /// Wakes the sleepers that are due; says how long until the next is.
    fn fire(&self) -> Option<Duration> {
        let mut sleepers = self.sleepers.borrow_mut();
        let first = sleepers.peek()?.at;
        let now = self.clock.now();
        if first > now {
            return Some(first.since(now));
        }
        while let Some(sleeper) = sleepers.pop() {
            if sleeper.at > now {
                let left = sleeper.at.since(now);
                sleepers.push(sleeper);
                return Some(left);
            }
            sleeper.waker.wake();
        }
        None
    }

    /// There is nothing to run: looks for `spin`, then waits for a socket, the bell, another thread, or the time.
    fn rest(&self, events: &mut Events, timeout: Option<Duration>) {
        if !self.spin.is_zero() && self.look_around(events, timeout) {
            return;
        }
        if !self.bell.fall_asleep() && !self.queue.fall_asleep() {
            self.reactor.poll(events, timeout);
        }
        self.queue.awake();
        self.bell.awake();
    }

    /// Looks for work without sleeping; true if there is some.
    fn look_around(&self, events: &mut Events, timeout: Option<Duration>) -> bool {
        let begun = self.clock.now();
        let most = timeout.map_or(self.spin, |timeout| timeout.min(self.spin));
        loop {
            let found = self.reactor.poll(events, Some(Duration::ZERO)) > 0
                || self.bell.is_rung()
                || self.queue.is_called();
            let spent = self.clock.now().since(begun);
            if found || spent >= most {
                self.spun.set(self.spun.get() + spent);
                return found;
            }
            std::hint::spin_loop();
        }
    }

    /// Drops all tasks, and those that are spawned by that.
    fn drop_tasks(&self) {
        loop {
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            self.free.borrow_mut().clear();
            self.sleepers.borrow_mut().clear();
            if tasks.iter().all(Option::is_none) {
                return;
            }
            drop(tasks);
        }
    }
}

/// See [`Executor::sleep_until`].
pub(super) struct SleepUntil {
    executor: Rc<Executor>,
    at: Instant,
    /// The waker that is among the sleepers.
    waiting: Option<Waker>,
}

impl Future for SleepUntil {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.executor.clock.now() >= self.at {
            return Poll::Ready(());
        }
        let waker = context.waker();
        if self.waiting.as_ref().is_none_or(|waiting| !waiting.will_wake(waker)) {
            self.waiting = Some(waker.clone());
            let sleeper = Sleeper { at: self.at, waker: waker.clone() };
            self.executor.sleepers.borrow_mut().push(sleeper);
        }
        Poll::Pending
    }
}
