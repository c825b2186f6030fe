//! The shard's sockets: one edge-triggered epoll set, and how its events become wakes.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::limits;

/// Room for what one system call brings.
pub(in crate::runtime) struct Events([MaybeUninit<Event>; limits::EVENTS_AT_ONCE]);

impl Events {
    pub(in crate::runtime) fn new() -> Events {
        Events([const { MaybeUninit::uninit() }; limits::EVENTS_AT_ONCE])
    }
}

/// The epoll set of one shard.
pub(in crate::runtime) struct Reactor {
    epoll: OwnedFd,
    sources: RefCell<Vec<Option<Rc<Source>>>>,
    free: RefCell<Vec<usize>>,
}

/// One socket in the set.
pub(in crate::runtime) struct Source {
    pub fd: OwnedFd,
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
        // Who was told already has nothing to learn.
        if !self.ready.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

impl Source {
    pub(in crate::runtime) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.readable.poll(context)
    }

    pub(in crate::runtime) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.writable.poll(context)
    }

    /// Whether it became readable since the last time: for what nobody reads.
    pub(in crate::runtime) fn take_readable(&self) -> bool {
        self.readable.ready.replace(false)
    }

    /// The socket had nothing more to read: the next edge says when.
    pub(in crate::runtime) fn drained(&self) {
        if !self.ended.get() {
            self.readable.ready.set(false);
        }
    }

    /// The socket took nothing more: the next edge says when.
    pub(in crate::runtime) fn filled(&self) {
        self.writable.ready.set(false);
    }
}

impl Reactor {
    pub(in crate::runtime) fn new() -> io::Result<Reactor> {
        Ok(Reactor {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sources: RefCell::default(),
            free: RefCell::default(),
        })
    }

    /// Adds a nonblocking socket. `writable` is what is known: an accepted one is, a connecting one is not.
    pub(in crate::runtime) fn register(
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
    pub(in crate::runtime) fn forget(&self, source: &Source) {
        let slot = source.slot.get();
        self.sources.borrow_mut()[slot] = None;
        self.free.borrow_mut().push(slot);
    }

    /// The same for one whose socket others hold too, so that nothing else takes it out of the set.
    pub(in crate::runtime) fn leave(&self, source: &Source) {
        let _ = epoll::delete(&self.epoll, &source.fd);
        self.forget(source);
    }

    /// Has others that wait for this socket be woken before this one is again: who waits longest is woken. What is ready meanwhile is told at once.
    pub(in crate::runtime) fn wait_behind(&self, source: &Source, interest: EventFlags) {
        let data = EventData::new_u64(source.slot.get() as u64);
        // It was in the set a moment ago, so that there is room for it.
        if epoll::delete(&self.epoll, &source.fd).is_ok() {
            let _ = epoll::add(&self.epoll, &source.fd, data, interest | EventFlags::ET);
        }
    }

    /// What is told of a socket from now on. What is ready is told at once.
    pub(in crate::runtime) fn listen(&self, source: &Source, interest: EventFlags) {
        let data = EventData::new_u64(source.slot.get() as u64);
        // It is in the set, so that there is room for it.
        let _ = epoll::modify(&self.epoll, &source.fd, data, interest | EventFlags::ET);
    }

    /// Takes what is ready and wakes its tasks; waits for it no longer than `timeout`, without one for ever.
    pub(in crate::runtime) fn poll(&self, events: &mut Events, timeout: Option<Duration>) -> usize {
        if timeout.is_some_and(|timeout| !timeout.is_zero() && timeout < Duration::from_millis(1)) {
            self.wait_briefly(timeout.unwrap_or_default());
        }
        let timeout = match timeout {
            Some(timeout) if timeout >= Duration::from_millis(1) => Some(timespec(timeout)),
            Some(_) => Some(timespec(Duration::ZERO)),
            None => None,
        };
        let Ok((ready, _)) = epoll::wait(&self.epoll, &mut events.0, timeout.as_ref()) else { return 0 };
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

    /// Waits less than the millisecond that epoll_wait counts in. poll(2) of the set does not take its edges.
    fn wait_briefly(&self, timeout: Duration) {
        let mut set = [rustix::event::PollFd::new(&self.epoll, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut set, Some(&timespec(timeout)));
    }

    /// The set itself, readable while it has events.
    pub(in crate::runtime) fn descriptor(&self) -> std::os::fd::RawFd {
        self.epoll.as_raw_fd()
    }
}

fn timespec(span: Duration) -> Timespec {
    // A wait that does not fit is as good as one of a year.
    let span = span.min(Duration::from_secs(366 * 86_400));
    Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) }
}
