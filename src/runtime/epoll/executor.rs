//! Runs the tasks of one thread: those that are ready, a batch of them, then one look at the sockets.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::waker::{Queue, TASKS_MAX};
use crate::limits;
use crate::runtime::bell::{self, Bell};
use crate::runtime::os::Tally;
use crate::runtime::os::reactor::{Events, Reactor, Source};
use crate::runtime::os::rest::Rest;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The executor of one thread.
pub(super) struct Executor {
    queue: Queue,
    /// By slot; None while the task is being polled, or when there is none.
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<u32>>,
    reactor: Rc<Reactor>,
    /// The place of the eventfd in the set of sockets.
    _called: Rc<Source>,
    bell: Arc<Bell>,
    rest: Rest,
    tally: Rc<Tally>,
}

impl Executor {
    pub(super) fn new(
        reactor: Rc<Reactor>,
        bell: Arc<Bell>,
        rest: Rest,
        tally: Rc<Tally>,
    ) -> io::Result<Executor> {
        let queue = Queue::new()?;
        let called = reactor.register(queue.eventfd()?, EventFlags::IN, false)?;
        Ok(Executor {
            queue,
            tasks: RefCell::default(),
            free: RefCell::default(),
            reactor,
            _called: called,
            bell,
            rest,
            tally,
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

    /// Runs `main` to its end, and every other task meanwhile. What is left then is dropped.
    pub(super) fn run<T: 'static>(&self, main: impl Future<Output = T> + 'static) -> T {
        let entered = self.queue.enter();
        let result = Rc::new(Cell::new(None));
        let slot = result.clone();
        self.spawn(async move { slot.set(Some(main.await)) });
        let mut events = Events::new();
        self.bell.awake();
        bell::hold();
        let (mut turns, mut held) = (0, self.tally.ticks());
        let result = loop {
            let begun = self.tally.ticks();
            for _ in 0..limits::POLLS_AT_ONCE {
                let Some((slot, waker)) = self.queue.next() else { break };
                self.poll(slot, &waker);
                if self.tally.is_long_since(begun) {
                    break;
                }
            }
            if let Some(result) = result.take() {
                break result;
            }
            if self.bell.is_rung() {
                self.bell.wake();
            }
            self.queue.take_foreign();
            let (_, timeout) = self.rest.sleepers().fire();
            turns += 1;
            if self.queue.is_empty() || turns >= limits::RUNG_TURNS_MAX || self.tally.is_long_since(held) {
                turns = 0;
                held = self.tally.ticks();
                bell::let_go();
            }
            if self.queue.is_empty() {
                self.rest(&mut events, timeout);
                held = self.tally.ticks();
            } else {
                self.reactor.poll(&mut events, Some(Duration::ZERO));
            }
        };
        self.drop_tasks();
        bell::hold_no_more();
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

    /// There is nothing to run: looks for `spin`, then waits for a socket, the bell, another thread, or the time.
    fn rest(&self, events: &mut Events, timeout: Option<Duration>) {
        let mut found = || {
            self.reactor.poll(events, Some(Duration::ZERO)) > 0
                || self.bell.is_rung()
                || self.queue.is_called()
        };
        let spin = self.rest.spin();
        if spin.until(timeout, &mut found) || spin.give_way(found) {
            return;
        }
        if !self.bell.fall_asleep() && !self.queue.fall_asleep() {
            self.reactor.poll(events, timeout);
        }
        self.queue.awake();
        self.bell.awake();
    }

    /// Drops all tasks, and those that are spawned by that.
    fn drop_tasks(&self) {
        loop {
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            self.free.borrow_mut().clear();
            if tasks.iter().all(Option::is_none) {
                return;
            }
            drop(tasks);
        }
    }
}
