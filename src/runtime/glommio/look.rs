//! The task that turns what the epoll set holds into wakes, and sleeps for the whole thread.
//!
//! Parking an executor of glommio costs several entries into its rings and a membarrier. So this task waits in the epoll set
//! itself, with the thread: sockets, the bell, the next sleeper and glommio's rings all reach the set or its timeout. glommio gets a
//! turn with its rings when a sync is to be started, when a ring has something, and when the helper thread has finished something.
//! Where its rings are not known it parks for a sync, with the set as one poll entry of its ring.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_io::AsyncRead;
use rustix::event::EventfdFlags;
use rustix::event::epoll::EventFlags;

use crate::limits;
use crate::runtime::bell::{self, Bell};
use crate::runtime::os::reactor::{Events, Reactor, Source};
use crate::runtime::os::rest::Rest;
use crate::runtime::os::{Tally, YieldNow};

/// What the task looks at.
pub(super) struct ReactorTask {
    pub(super) reactor: Rc<Reactor>,
    pub(super) bell: Arc<Bell>,
    pub(super) rest: Rest,
    pub(super) tally: Rc<Tally>,
    pub(super) pending: Rc<PendingWork>,
    /// glommio's rings, if they are known.
    pub(super) rings: Vec<Rc<Source>>,
    pub(super) parked: Rc<Parked>,
}

/// What is under way in glommio.
#[derive(Default)]
pub(super) struct PendingWork {
    /// A sync was begun that glommio has not passed to the kernel yet.
    pub(super) begun: Cell<bool>,
    /// Syncs under way.
    pub(super) syncs: Cell<usize>,
    /// The shard has come to its end.
    pub(super) ended: Cell<bool>,
    /// The helper thread has woken tasks, which glommio does not know until it has a turn.
    pub(super) helped: Arc<AtomicBool>,
}

/// Whether glommio is parked while sleepers wait.
#[derive(Default)]
pub(super) struct Parked {
    now: Cell<bool>,
    /// The pulse, waiting to be needed.
    pulse: RefCell<Option<Waker>>,
}

impl ReactorTask {
    /// Adds to the set what calls from other threads, and glommio's rings.
    pub(super) fn prepare(&mut self, call: OwnedFd, rings: Vec<OwnedFd>) -> io::Result<()> {
        self.reactor.register(call, EventFlags::IN, false)?;
        for ring in rings {
            self.rings.push(self.reactor.register(ring, EventFlags::IN, false)?);
        }
        Ok(())
    }

    /// Lets the others run, looks, wakes; sleeps when nobody has anything to do. Ends with the shard.
    pub(super) async fn run(self) {
        let mut events = Events::new();
        self.bell.awake();
        bell::hold();
        let (mut rounds, mut turns, mut held) = (0, 0, self.tally.ticks());
        while !self.pending.ended.get() {
            let mut quiet = self.let_run().await;
            self.bell.beat();
            let (fired, next) = self.rest.sleepers().fire();
            if self.bell.is_rung() {
                self.bell.wake();
                quiet = false;
            }
            quiet &= fired == 0;
            turns += 1;
            if quiet || turns >= limits::RUNG_TURNS_MAX || self.tally.is_long_since(held) {
                turns = 0;
                held = self.tally.ticks();
                bell::let_go();
            }
            if self.must_park() {
                rounds += 1;
                let found = self.reactor.poll(&mut events, Some(Duration::ZERO)) > 0;
                if (quiet && !found) || rounds >= limits::RINGS_ROUNDS {
                    rounds = 0;
                    bell::let_go();
                    self.park().await;
                }
            } else if self.is_turn() {
                self.reactor.poll(&mut events, Some(Duration::ZERO));
                turn().await;
            } else if quiet {
                self.wait(&mut events, next);
                self.tally.rested();
                held = self.tally.ticks();
            } else {
                self.reactor.poll(&mut events, Some(Duration::ZERO));
            }
        }
        bell::hold_no_more();
        // Nobody need watch over it any more.
        self.bell.fall_asleep();
    }

    /// Something is under way whose end would not reach the set.
    fn must_park(&self) -> bool {
        self.rings.is_empty() && self.pending.syncs.get() > 0
    }

    /// A sync is to be started, a ring has something, or the helper.
    fn is_turn(&self) -> bool {
        let helped = &self.pending.helped;
        let helped = helped.load(Ordering::Relaxed) && helped.swap(false, Ordering::SeqCst);
        let finished = self.rings.iter().filter(|ring| ring.take_readable()).count() > 0;
        self.pending.begun.replace(false) || finished || helped
    }

    /// Lets the others run, for a few turns or some milliseconds; true if none of them is ready any more. The run queue is in order of wakes, so that if nobody
    /// else was polled between two turns of this task, it was alone in it.
    async fn let_run(&self) -> bool {
        let begun = self.tally.ticks();
        for _ in 0..limits::LOOK_TURNS {
            let before = self.tally.polls();
            YieldNow::default().await;
            // This task itself is one.
            if self.tally.polls() - before <= 1 {
                return true;
            }
            if self.tally.is_long_since(begun) {
                break;
            }
        }
        false
    }

    /// Sleeps with the thread.
    fn wait(&self, events: &mut Events, next: Option<Duration>) {
        let mut found = || self.reactor.poll(events, Some(Duration::ZERO)) > 0 || self.bell.is_rung();
        let spin = self.rest.spin();
        if spin.until(next, &mut found) || spin.give_way(found) {
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

/// Lets glommio enter its rings and come back: a timer of its own that is due by then keeps it from parking.
async fn turn() {
    let mut left = false;
    while !left {
        let mut timer = ::glommio::timer::Timer::new(limits::RINGS_TURN);
        poll_fn(|context| {
            let polled = Pin::new(&mut timer).poll(context);
            // One that was due before it was first polled has not let glommio in.
            left |= polled.is_pending();
            polled
        })
        .await;
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
        let (_, next) = rest.sleepers().fire();
        ::glommio::timer::Timer::new(next.unwrap_or(limits::PARKED_PULSE).min(limits::PARKED_PULSE)).await;
        rest.sleepers().fire();
    }
}

/// An eventfd for calls from other threads. Nobody reads it: the set is edge-triggered, so that each write makes an event.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
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
