//! The shard's sockets: one edge-triggered epoll set, and the task that turns its events into wakes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_io::AsyncRead;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::YieldNow;
use crate::runtime::Bell;

/// Events taken in one system call.
const EVENTS: usize = 256;
/// Rounds of a busy shard before glommio's own rings get a turn (finished fdatasyncs, timers).
const ROUNDS: u32 = 16;

/// The epoll set of one shard.
pub(super) struct Reactor {
    epoll: OwnedFd,
    sources: RefCell<Vec<Option<Rc<Source>>>>,
    free: RefCell<Vec<usize>>,
}

/// One socket in the set.
pub(super) struct Source {
    pub(super) fd: OwnedFd,
    slot: Cell<usize>,
    readable: Direction,
    writable: Direction,
    /// The peer sends no more, or the socket failed: no edge will tell of that again.
    ended: Cell<bool>,
}

#[derive(Default)]
struct Direction {
    ready: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Direction {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.ready.get() {
            return Poll::Ready(());
        }
        match &mut *self.waker.borrow_mut() {
            Some(waker) if waker.will_wake(context.waker()) => {}
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    fn set(&self) {
        self.ready.set(true);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Source {
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.readable.poll(context)
    }

    pub(super) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.writable.poll(context)
    }

    /// The socket had nothing more to read: the next edge says when.
    pub(super) fn drained(&self) {
        if !self.ended.get() {
            self.readable.ready.set(false);
        }
    }

    /// The socket took nothing more: the next edge says when.
    pub(super) fn filled(&self) {
        self.writable.ready.set(false);
    }
}

impl Reactor {
    pub(super) fn new() -> io::Result<Reactor> {
        Ok(Reactor {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sources: RefCell::default(),
            free: RefCell::default(),
        })
    }

    /// Adds a nonblocking socket. `writable` is what is known: an accepted one is, a connecting one is not.
    pub(super) fn register(
        &self,
        fd: OwnedFd,
        interest: EventFlags,
        writable: bool,
    ) -> io::Result<Rc<Source>> {
        let source = Rc::new(Source {
            fd,
            slot: Cell::new(0),
            readable: Direction::default(),
            writable: Direction::default(),
            ended: Cell::new(false),
        });
        source.writable.ready.set(writable);
        let mut sources = self.sources.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            sources.push(None);
            sources.len() - 1
        });
        source.slot.set(slot);
        match epoll::add(&self.epoll, &source.fd, EventData::new_u64(slot as u64), interest | EventFlags::ET)
        {
            Ok(()) => {
                sources[slot] = Some(source.clone());
                Ok(source)
            }
            Err(error) => {
                self.free.borrow_mut().push(slot);
                Err(error.into())
            }
        }
    }

    /// Forgets a socket. Its descriptor closes with the last reference, which takes it out of the set.
    pub(super) fn forget(&self, source: &Source) {
        let slot = source.slot.get();
        self.sources.borrow_mut()[slot] = None;
        self.free.borrow_mut().push(slot);
    }

    /// Takes what is ready and wakes its tasks. Never waits.
    fn poll(&self, events: &mut [MaybeUninit<Event>]) -> usize {
        let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok((ready, _)) = epoll::wait(&self.epoll, events, Some(&zero)) else { return 0 };
        let sources = self.sources.borrow();
        for event in ready.iter() {
            let Some(Some(source)) = sources.get(usize::try_from(event.data.u64()).unwrap_or(usize::MAX))
            else {
                continue;
            };
            let flags = event.flags;
            if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
                source.ended.set(true);
            }
            if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
                source.readable.set();
            }
            if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
                source.writable.set();
            }
        }
        ready.len()
    }

    /// The task that never ends: looks, wakes, lets the woken run, looks again; sleeps in glommio when nothing is ready.
    pub(super) async fn run(self: Rc<Reactor>, bell: Arc<Bell>) {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS];
        bell.awake();
        let mut rounds = 0;
        loop {
            bell.beat();
            let mut busy = self.poll(&mut events) > 0;
            if bell.is_rung() {
                bell.wake();
                busy = true;
            }
            rounds += 1;
            if busy && rounds < ROUNDS {
                YieldNow(false).await;
                continue;
            }
            rounds = 0;
            if bell.fall_asleep() {
                bell.awake();
                YieldNow(false).await;
                continue;
            }
            self.sleep().await;
            bell.awake();
        }
    }

    /// Waits until the set has events, as one poll entry of glommio's ring. glommio has no public call for that, but a
    /// stream made from any descriptor arms such a poll at once, and reports the failing recv that follows it.
    async fn sleep(&self) {
        // SAFETY: the descriptor is open as long as `self`. The stream is forgotten below, so it never closes it.
        let mut stream = unsafe { ::glommio::net::TcpStream::from_raw_fd(self.epoll.as_raw_fd()) };
        poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut []).map(drop)).await;
        // By now the stream holds nothing but a weak count of the executor's reactor.
        std::mem::forget(stream);
    }
}
