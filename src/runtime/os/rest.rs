//! What a thread with nothing to run waits for: the next sleeper, and for a while anything at all.

use std::cell::{Cell, RefCell};
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::clock::Clock;
use crate::limits;
use crate::time::Instant;

/// What a thread with nothing to run waits for. Cloning is two reference counts.
#[derive(Clone)]
pub struct Rest {
    sleepers: Rc<Sleepers>,
    spin: Rc<Spin>,
}

impl Rest {
    /// No sleepers yet; `spin` is how long it looks before it sleeps.
    pub(in crate::runtime) fn new(clock: Clock, spin: Duration) -> Rest {
        Rest {
            sleepers: Rc::new(Sleepers { clock, waiting: RefCell::default() }),
            spin: Rc::new(Spin { clock, most: spin, spent: Cell::default() }),
        }
    }

    pub(in crate::runtime) fn sleepers(&self) -> &Rc<Sleepers> {
        &self.sleepers
    }

    pub(in crate::runtime) fn spin(&self) -> &Spin {
        &self.spin
    }
}

/// The tasks of a thread that wait for a point in time. Few: everything else hangs on the shard's timers.
pub(in crate::runtime) struct Sleepers {
    clock: Clock,
    waiting: RefCell<BinaryHeap<Sleeper>>,
}

/// The soonest is the greatest.
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

impl Sleepers {
    /// Waits until `at`.
    pub(in crate::runtime) fn until(self: &Rc<Sleepers>, at: Instant) -> SleepUntil {
        SleepUntil { sleepers: self.clone(), at, waiting: None }
    }

    /// Wakes those that are due: how many, and how long until the next is.
    pub(in crate::runtime) fn fire(&self) -> (usize, Option<Duration>) {
        let mut fired = 0;
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return (0, None);
        }
        let now = self.clock.now();
        while waiting.peek().is_some_and(|first| first.at <= now) {
            if let Some(sleeper) = waiting.pop() {
                sleeper.waker.wake();
                fired += 1;
            }
        }
        (fired, waiting.peek().map(|first| first.at.since(now)))
    }
}

/// See [`Sleepers::until`].
pub(in crate::runtime) struct SleepUntil {
    sleepers: Rc<Sleepers>,
    at: Instant,
    /// The waker that is among the sleepers.
    waiting: Option<Waker>,
}

impl Future for SleepUntil {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.sleepers.clock.now() >= self.at {
            return Poll::Ready(());
        }
        let waker = context.waker();
        if self.waiting.as_ref().is_none_or(|waiting| !waiting.will_wake(waker)) {
            self.waiting = Some(waker.clone());
            let sleeper = Sleeper { at: self.at, waker: waker.clone() };
            self.sleepers.waiting.borrow_mut().push(sleeper);
        }
        Poll::Pending
    }
}

/// Looks for work before a sleep, for a bounded time.
pub(in crate::runtime) struct Spin {
    clock: Clock,
    most: Duration,
    spent: Cell<Duration>,
}

impl Spin {
    /// Asks `found` again and again; false if it said no until it was time to sleep, or there is no time for it.
    pub(in crate::runtime) fn until(
        &self,
        timeout: Option<Duration>,
        mut found: impl FnMut() -> bool,
    ) -> bool {
        if self.most.is_zero() {
            return false;
        }
        let begun = self.clock.now();
        let most = timeout.map_or(self.most, |timeout| timeout.min(self.most));
        loop {
            let found = found();
            let spent = self.clock.now().since(begun);
            if found || spent >= most {
                self.spent.set(self.spent.get() + spent);
                return found;
            }
            std::hint::spin_loop();
        }
    }

    /// Looks once more when others had the core, if any wanted it: those that are awake need no waking, and a thread that comes back to
    /// its core finds more to do. True if `found` says so.
    pub(in crate::runtime) fn give_way(&self, found: impl FnOnce() -> bool) -> bool {
        let begun = self.clock.now();
        rustix::thread::sched_yield();
        self.clock.now().since(begun) > limits::YIELD_TO_NOBODY && found()
    }

    /// How long it looked so far.
    pub(in crate::runtime) fn spent(&self) -> Duration {
        self.spent.get()
    }
}
