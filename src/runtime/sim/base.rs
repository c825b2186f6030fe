//! What every part of a simulated world stands on: its clock, what is scheduled, its randomness, its trace.

use std::cell::{BorrowError, Cell, Ref, RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

use super::disk::Loss;
use super::network::NetworkEvent;
use super::random::Random;
use super::trace::Trace;

/// What happens later.
pub(super) enum Event {
    Wake(Waker),
    Network(NetworkEvent),
    /// A core has done what it was busy with.
    Core(u16),
    Down(u32, Loss),
    /// The tasks of a node's former lives are to be dropped.
    Bury(u32),
}

struct Scheduled {
    at: u64,
    serial: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

#[derive(Default)]
struct Events {
    heap: BinaryHeap<Reverse<Scheduled>>,
    serial: u64,
}

/// See the module.
pub(super) struct Base {
    seed: u64,
    clock: Cell<u64>,
    random: RefCell<Random>,
    events: RefCell<Events>,
    trace: RefCell<Trace>,
}

impl Base {
    pub fn new(seed: u64) -> Base {
        Base {
            seed,
            clock: Cell::new(0),
            random: RefCell::new(Random::new(seed, 2)),
            events: RefCell::default(),
            trace: RefCell::new(Trace::new(seed)),
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Virtual time, nanoseconds.
    pub fn now(&self) -> u64 {
        self.clock.get()
    }

    /// Time passes; it may have passed already.
    pub fn set_now(&self, at: u64) {
        self.clock.set(self.clock.get().max(at));
    }

    /// The choices of what goes wrong.
    pub fn random(&self) -> RefMut<'_, Random> {
        self.random.borrow_mut()
    }

    /// Something happened.
    pub fn note(&self, what: &'static str, subject: u64, detail: u64) {
        self.trace.borrow_mut().note(self.clock.get(), what, subject, detail);
    }

    /// Something that is too frequent for words.
    pub fn mix(&self, word: u64) {
        self.trace.borrow_mut().mix(word);
    }

    pub fn trace(&self) -> Ref<'_, Trace> {
        self.trace.borrow()
    }

    /// The trace, unless whoever notes something panicked over it.
    pub fn trace_if_free(&self) -> Result<Ref<'_, Trace>, BorrowError> {
        self.trace.try_borrow()
    }

    pub fn schedule(&self, at: u64, event: Event) {
        let mut events = self.events.borrow_mut();
        events.serial += 1;
        let serial = events.serial;
        events.heap.push(Reverse(Scheduled { at, serial, event }));
    }

    /// The next event, if its time has come.
    pub fn take_due(&self) -> Option<Event> {
        let mut events = self.events.borrow_mut();
        let now = self.clock.get();
        let due = events.heap.peek().is_some_and(|Reverse(next)| next.at <= now);
        if due { events.heap.pop().map(|Reverse(next)| next.event) } else { None }
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<u64> {
        self.events.borrow().heap.peek().map(|Reverse(next)| next.at)
    }

    /// Drops all that is scheduled, when no part of it is borrowed.
    pub fn clear(&self) {
        let events = std::mem::take(&mut *self.events.borrow_mut());
        drop(events);
    }
}
