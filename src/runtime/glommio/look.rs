//! The task that turns what the epoll set holds into wakes, and sleeps for the whole thread.
//!
//! Parking an executor of glommio costs six to seven entries into its rings and a membarrier. So this task waits in the epoll set
//! itself, with the thread, whenever nothing is under way that only glommio's rings would tell of: sockets, the bell and the
//! next sleeper all reach the set or its timeout. While a sync or blocking work is under way glommio parks, with the set as one
//! poll entry of its ring.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::FromRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_io::AsyncRead;
use rustix::event::EventfdFlags;
use rustix::event::epoll::EventFlags;

use crate::runtime::Bell;
use crate::runtime::os::reactor::{Events, Reactor};
use crate::runtime::os::rest::Rest;
use crate::runtime::os::{Tally, YieldNow};

/// Rounds of a busy shard before glommio's own rings get a turn (syncs to start, and finished ones).
const ROUNDS: u32 = 16;
/// Turns the other tasks get before the sockets are looked at again, if they still have something to do.
const TURNS: u32 = 16;
/// How late a sleeper may be while glommio is parked.
const PULSE: Duration = Duration::from_millis(10);

/// What the task looks at.
pub(super) struct Look {
    pub(super) reactor: Rc<Reactor>,
    pub(super) bell: Arc<Bell>,
    pub(super) rest: Rest,
    pub(super) tally: Rc<Tally>,
    /// What only glommio's rings would tell of: syncs and blocking work under way, and the end of the shard.
    pub(super) pending: Rc<Cell<usize>>,
    pub(super) parked: Rc<Parked>,
}

/// Whether glommio is parked while sleepers wait.
#[derive(Default)]
pub(super) struct Parked {
    now: Cell<bool>,
    /// The pulse, waiting to be needed.
    pulse: RefCell<Option<Waker>>,
}

impl Look {
    /// Lets the bell write into the set.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfd = rustix::event::eventfd(0, flags)?;
        self.reactor.register(eventfd.try_clone()?, EventFlags::IN, false)?;
        self.bell.call_by(eventfd);
        Ok(())
    }

    /// Never ends: lets the others run, looks, wakes; sleeps when nobody has anything to do.
    pub(super) async fn run(self) {
        let mut events = Events::new();
        self.bell.awake();
        let mut rounds = 0;
        loop {
            let mut quiet = self.let_run().await;
            self.bell.beat();
            let (fired, next) = self.rest.sleepers.fire();
            if self.bell.is_rung() {
                self.bell.wake();
                quiet = false;
            }
            quiet &= fired == 0;
            if self.pending.get() == 0 {
                rounds = 0;
                if quiet {
                    self.wait(&mut events, next);
                } else {
                    self.reactor.poll(&mut events, Some(Duration::ZERO));
                }
                continue;
            }
            rounds += 1;
            let found = self.reactor.poll(&mut events, Some(Duration::ZERO)) > 0;
            if (!quiet || found) && rounds < ROUNDS {
                continue;
            }
            rounds = 0;
            self.park().await;
        }
    }

    /// Lets the others run; true if none of them is ready any more. The run queue is in order of wakes, so that if nobody
    /// else was polled between two turns of this task, it was alone in it.
    async fn let_run(&self) -> bool {
        for _ in 0..TURNS {
            let before = self.tally.polls();
            YieldNow::default().await;
            // This task itself is one.
            if self.tally.polls() - before <= 1 {
                return true;
            }
        }
        false
    }

    /// Sleeps with the thread.
    fn wait(&self, events: &mut Events, next: Option<Duration>) {
        let found = self
            .rest
            .spin
            .until(next, || self.reactor.poll(events, Some(Duration::ZERO)) > 0 || self.bell.is_rung());
        if found {
            return;
        }
        if !self.bell.fall_asleep() {
            self.reactor.poll(events, next);
        }
        self.bell.awake();
    }

    /// Lets glommio look at its rings, and sleep until one of them or the set has something.
    async fn park(&self) {
        if self.bell.fall_asleep() {
            self.bell.awake();
            YieldNow::default().await;
            return;
        }
        self.parked.now.set(true);
        if let Some(pulse) = self.parked.pulse.take() {
            pulse.wake();
        }
        sleep(&self.reactor).await;
        self.parked.now.set(false);
        self.bell.awake();
    }
}

/// Wakes the sleepers that are due while glommio is parked. Never ends.
pub(super) async fn pulse(rest: Rest, parked: Rc<Parked>) {
    loop {
        poll_fn(|context| {
            if parked.now.get() {
                return Poll::Ready(());
            }
            *parked.pulse.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        let (_, next) = rest.sleepers.fire();
        ::glommio::timer::Timer::new(next.unwrap_or(PULSE).min(PULSE)).await;
        rest.sleepers.fire();
    }
}

/// Waits until the set has events, as one poll entry of glommio's ring. glommio has no public call for that, but a
/// stream made from any descriptor arms such a poll at once, and reports the failing recv that follows it.
async fn sleep(reactor: &Reactor) {
    // SAFETY: the descriptor is open as long as `reactor`. The stream is forgotten below, so it never closes it.
    let mut stream = unsafe { ::glommio::net::TcpStream::from_raw_fd(reactor.descriptor()) };
    poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut []).map(drop)).await;
    // By now the stream holds nothing but a weak count of the executor's reactor.
    std::mem::forget(stream);
}
