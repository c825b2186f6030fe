//! Wakers that are numbers: no count to keep, nothing to allocate, a compare and a push when they wake at home.
//!
//! A [`Waker`] may go to any thread, so what it points to must outlive everything or be counted with atomics. Here it points to
//! nothing: the pointer itself says which executor, which slot, and which of the tasks that were in it. Woken on the thread of that
//! executor it goes into the run queue; from anywhere else into a list under a lock, and a sleeping executor gets an eventfd. A
//! waker that outlives its task finds another generation in the slot and does nothing; one that outlives its
//! executor may wake a task of a later one once for nothing, which every future has to bear.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{RawWaker, RawWakerVTable, Waker};

use rustix::event::EventfdFlags;

use crate::limits;

/// Executors of the process at one time.
const EXECUTORS: usize = 1 << EXECUTOR_BITS;
const EXECUTOR_BITS: u32 = 10;
const SLOT_BITS: u32 = 22;
/// Tasks of one executor at one time.
pub(super) const TASKS_MAX: usize = 1 << SLOT_BITS;

const _: () = {
    assert!(usize::BITS == 64, "a waker's pointer holds 64 bits");
    assert!(EXECUTORS > limits::SHARDS_MAX);
    assert!(TASKS_MAX > 4 * (limits::INBOUND_CONNECTIONS_MAX + limits::OUTBOUND_CONNECTIONS_MAX));
};

/// Where foreign wakes go, by executor.
static REMOTES: [RwLock<Option<Arc<Remote>>>; EXECUTORS] = [const { RwLock::new(None) }; EXECUTORS];

thread_local! {
    /// The run queue of the executor that runs on this thread.
    static HERE: Cell<*const Queue> = const { Cell::new(ptr::null()) };
}

/// Names a task: 32 bits of generation, then the executor, then the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token(u64);

impl Token {
    fn new(executor: usize, slot: u32, generation: u32) -> Token {
        Token(u64::from(generation) << 32 | (executor as u64) << SLOT_BITS | u64::from(slot))
    }

    fn slot(self) -> usize {
        (self.0 & (TASKS_MAX as u64 - 1)) as usize
    }

    fn executor(self) -> usize {
        (self.0 >> SLOT_BITS) as usize & (EXECUTORS - 1)
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn raw(self) -> RawWaker {
        RawWaker::new(ptr::without_provenance(self.0 as usize), &VTABLE)
    }

    fn of(data: *const ()) -> Token {
        Token(data.addr() as u64)
    }

    fn wake(self) {
        let here = HERE.get();
        // SAFETY: HERE is null or points to the queue that an `Entered` on this thread's stack borrows; that clears it before
        // the queue goes.
        match unsafe { here.as_ref() } {
            Some(queue) if queue.executor == self.executor() => queue.wake(self),
            _ => self.wake_from_afar(),
        }
    }

    #[cold]
    fn wake_from_afar(self) {
        let remote = REMOTES[self.executor()].read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(remote) = remote {
            remote.wake(self);
        }
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| Token::of(data).raw(),
    |data| Token::of(data).wake(),
    |data| Token::of(data).wake(),
    |_| {},
);

/// What other threads may touch of an executor.
pub(super) struct Remote {
    woken: Mutex<Vec<Token>>,
    /// There is something in `woken`.
    pending: AtomicBool,
    /// The executor's thread is about to wait, or waits: the next wake writes to the eventfd.
    asleep: AtomicBool,
    eventfd: OwnedFd,
}

impl Remote {
    fn wake(&self, token: Token) {
        {
            let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
            if woken.len() < limits::FOREIGN_WAKES_MAX {
                woken.push(token);
            }
            self.pending.store(true, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            // The set is edge-triggered, so that each write makes an event and the counter need not be read. It
            // overflows after 2^64 wakes.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }
}

/// The run queue of an executor: which slots are to be polled, and who is in them.
pub(super) struct Queue {
    executor: usize,
    ready: RefCell<VecDeque<u32>>,
    states: RefCell<Vec<TaskSlot>>,
    remote: Arc<Remote>,
}

#[derive(Clone, Copy, Default)]
struct TaskSlot {
    generation: u32,
    /// Somebody is in it.
    taken: bool,
    /// It is in `ready`.
    queued: bool,
}

impl Queue {
    /// Takes a free place among the executors of the process.
    pub(super) fn new() -> io::Result<Queue> {
        let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let remote = Arc::new(Remote {
            woken: Mutex::default(),
            pending: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            eventfd,
        });
        for (executor, place) in REMOTES.iter().enumerate() {
            let mut place = place.write().unwrap_or_else(PoisonError::into_inner);
            if place.is_none() {
                *place = Some(remote.clone());
                return Ok(Queue { executor, ready: RefCell::default(), states: RefCell::default(), remote });
            }
        }
        Err(io::Error::other("too many executors in one process"))
    }

    /// A descriptor that becomes readable, by an edge, when a sleeping executor is woken from afar.
    pub(super) fn eventfd(&self) -> io::Result<OwnedFd> {
        self.remote.eventfd.try_clone()
    }

    /// A new task has its place in `slot`; it is to be polled.
    pub(super) fn occupy(&self, slot: u32) {
        let mut states = self.states.borrow_mut();
        if states.len() <= slot as usize {
            states.resize(slot as usize + 1, TaskSlot::default());
        }
        let state = &mut states[slot as usize];
        state.taken = true;
        if !state.queued {
            state.queued = true;
            self.ready.borrow_mut().push_back(slot);
        }
    }

    /// The task in `slot` has ended: its wakers do nothing any more.
    pub(super) fn vacate(&self, slot: u32) {
        let state = &mut self.states.borrow_mut()[slot as usize];
        state.generation = state.generation.wrapping_add(1);
        state.taken = false;
    }

    /// The next slot to poll, and the waker of its task. From here on it may be woken again.
    pub(super) fn next(&self) -> Option<(u32, Waker)> {
        let slot = self.ready.borrow_mut().pop_front()?;
        let state = &mut self.states.borrow_mut()[slot as usize];
        state.queued = false;
        let token = Token::new(self.executor, slot, state.generation);
        // SAFETY: the functions of VTABLE use the pointer as a number only; any number is safe, on any thread.
        Some((slot, unsafe { Waker::from_raw(token.raw()) }))
    }

    /// Nothing is to be polled.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.borrow().is_empty()
    }

    fn wake(&self, token: Token) {
        if let Some(state) = self.states.borrow_mut().get_mut(token.slot())
            && state.generation == token.generation()
            && state.taken
            && !state.queued
        {
            state.queued = true;
            self.ready.borrow_mut().push_back(token.slot() as u32);
        }
    }

    /// Whether other threads have woken tasks that [`Queue::take_foreign`] would find.
    pub(super) fn is_called(&self) -> bool {
        self.remote.pending.load(Ordering::Relaxed)
    }

    /// Queues what other threads have woken.
    pub(super) fn take_foreign(&self) {
        if !self.is_called() {
            return;
        }
        let woken = {
            let mut woken = self.remote.woken.lock().unwrap_or_else(PoisonError::into_inner);
            self.remote.pending.store(false, Ordering::Relaxed);
            std::mem::take(&mut *woken)
        };
        if woken.len() < limits::FOREIGN_WAKES_MAX {
            woken.into_iter().for_each(|token| self.wake(token));
            return;
        }
        let tokens: Vec<Token> = {
            let states = self.states.borrow();
            let slots = (0u32..).zip(states.iter());
            slots.map(|(slot, state)| Token::new(self.executor, slot, state.generation)).collect()
        };
        tokens.into_iter().for_each(|token| self.wake(token));
    }

    /// The thread is about to wait: true if it must not, because it was woken meanwhile.
    pub(super) fn fall_asleep(&self) -> bool {
        self.remote.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.remote.pending.load(Ordering::SeqCst)
    }

    /// The thread waits no more.
    pub(super) fn awake(&self) {
        self.remote.asleep.store(false, Ordering::Relaxed);
    }

    /// Makes this the queue of the calling thread.
    pub(super) fn enter(&self) -> Entered<'_> {
        let before = HERE.replace(ptr::from_ref(self));
        assert!(before.is_null(), "one executor a thread");
        Entered(self)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        *REMOTES[self.executor].write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// While it lives, wakes on this thread find their queue.
pub(super) struct Entered<'a>(#[expect(dead_code, reason = "keeps the queue alive")] &'a Queue);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        HERE.set(ptr::null());
    }
}
