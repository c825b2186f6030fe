//! The shard's timers: every wait with a deadline hangs here, on one runtime timer.
//!
//! Coarse on purpose ([`limits::TIMER_GRAIN`]): a deadline fires at the first tick after it. Two kinds: a [`Sleep`] is a future, and may be
//! dropped at any time; a [`Deadline`] belongs to a connection and is moved forward with one store for each
//! command, then found by a sweep once a second.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::limits;
use crate::runtime::Runtime;
use crate::time::Instant;

/// The timers of one shard. Cloning is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Timers(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// (due, slot, generation); entries of dropped sleeps stay until they are due and are skipped.
    heap: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    sleeps: Vec<SleepSlot>,
    free_sleeps: Vec<u32>,
    deadlines: Vec<Instant>,
    deadline_wakers: Vec<Option<Waker>>,
    /// What a stop may end of them.
    ends: Vec<EndedBy>,
    stopping: bool,
    free_deadlines: Vec<u32>,
    /// When the last of those whose peers drip has its turn.
    next_turn: Instant,
    next_sweep: Instant,
    now: Instant,
}

/// What ends the wait of a connection before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndedBy {
    /// Nothing: it is in the middle of something.
    Nothing,
    /// The begin of a drain: its peer is to begin something.
    Drain,
    /// A drain that has gone on for a while: its peer is in the middle of something, and may be about to go on.
    Pause,
    /// The end of a drain: a part of what it waits for has come, which is worth more written down than lost, or what it sent must not arrive.
    Stop,
}

#[derive(Debug, Default)]
struct SleepSlot {
    generation: u32,
    fired: bool,
    waker: Option<Waker>,
}

impl Timers {
    /// No timers yet.
    pub fn new() -> Timers {
        Timers::default()
    }

    /// The immortal task that drives the timers; spawned once a shard, as a vital task.
    pub async fn run<R: Runtime>(self, runtime: R) {
        loop {
            let now = runtime.now();
            self.fire(now);
            runtime.sleep_until(self.next(now)).await;
        }
    }

    /// When to look again: at once if something is due, at the latest at the next sweep.
    fn next(&self, now: Instant) -> Instant {
        let inner = self.0.borrow();
        let due = inner.heap.peek().map_or(Instant::FAR, |Reverse((due, ..))| *due);
        // A new timer that is due earlier than everything here is found within five grains.
        let soonest = now + limits::TIMER_GRAIN;
        if inner.heap.is_empty() && inner.deadlines.len() == inner.free_deadlines.len() {
            // Idle shard: few wake-ups.
            return now + limits::TIMER_GRAIN * 5;
        }
        due.max(soonest).min(now + limits::TIMER_GRAIN * 5)
    }

    fn fire(&self, now: Instant) {
        let mut ready: Vec<Waker> = Vec::new();
        {
            let mut inner = self.0.borrow_mut();
            let inner = &mut *inner;
            inner.now = now;
            while let Some(Reverse((due, slot, generation))) = inner.heap.peek().copied() {
                if due > now {
                    break;
                }
                inner.heap.pop();
                let sleep = &mut inner.sleeps[slot as usize];
                if sleep.generation == generation {
                    sleep.fired = true;
                    ready.extend(sleep.waker.take());
                }
            }
            if now >= inner.next_sweep {
                inner.next_sweep = now + limits::TIMER_SWEEP;
                for (deadline, waker) in inner.deadlines.iter().zip(&mut inner.deadline_wakers) {
                    if *deadline <= now {
                        ready.extend(waker.clone());
                    }
                }
            }
        }
        for waker in ready {
            waker.wake();
        }
    }

    /// A future that is ready at the first tick after `at`.
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        let mut inner = self.0.borrow_mut();
        let slot = inner.free_sleeps.pop().unwrap_or_else(|| {
            inner.sleeps.push(SleepSlot::default());
            u32::try_from(inner.sleeps.len() - 1).expect("fewer than 2^32 timers")
        });
        let generation = inner.sleeps[slot as usize].generation;
        inner.heap.push(Reverse((at, slot, generation)));
        Sleep { timers: self.clone(), slot }
    }

    /// Until when one more connection whose peer drips is not read from: they have turns, one after the other.
    pub fn rest(&self) -> Sleep {
        let (soon, late) = (limits::server::DRIP_WAIT.start, limits::server::DRIP_WAIT.end);
        let at = {
            let mut inner = self.0.borrow_mut();
            let next = inner.next_turn + Duration::from_micros(1_000_000 / limits::server::DRIPS_READ);
            inner.next_turn = next.clamp(inner.now + soon, inner.now + late);
            inner.next_turn
        };
        self.sleep_until(at)
    }

    /// A deadline for one connection, far away at first.
    pub fn deadline(&self) -> Deadline {
        let mut inner = self.0.borrow_mut();
        let slot = inner.free_deadlines.pop().unwrap_or_else(|| {
            inner.deadlines.push(Instant::FAR);
            inner.deadline_wakers.push(None);
            inner.ends.push(EndedBy::Nothing);
            u32::try_from(inner.deadlines.len() - 1).expect("fewer than 2^32 connections")
        });
        inner.deadlines[slot as usize] = Instant::FAR;
        Deadline { timers: self.clone(), slot }
    }

    /// Ends the wait of every idle connection: the node drains.
    pub fn expire_idle(&self) {
        self.expire(EndedBy::Drain);
    }

    /// Ends the wait of every connection whose peer pauses in the middle of something: it had time to go on since the drain began.
    pub fn expire_paused(&self) {
        self.expire(EndedBy::Pause);
    }

    /// Ends the wait of every connection that is in the middle of what must not just be dropped: the node is about to stop.
    pub fn expire_partial(&self) {
        self.0.borrow_mut().stopping = true;
        self.expire(EndedBy::Stop);
    }

    /// Whether [`Timers::expire_partial`] has ended waits.
    pub fn is_stopping(&self) -> bool {
        self.0.borrow().stopping
    }

    fn expire(&self, by: EndedBy) {
        let mut inner = self.0.borrow_mut();
        let inner = &mut *inner;
        for (deadline, ends) in inner.deadlines.iter_mut().zip(&inner.ends) {
            if *ends == by {
                *deadline = inner.now;
            }
        }
        inner.next_sweep = Instant(0);
    }

    /// The time of the last tick: cheap, and at most a few grains old while anything is timed.
    pub fn recent(&self) -> Instant {
        self.0.borrow().now
    }
}

/// See [`Timers::sleep_until`].
#[derive(Debug)]
pub struct Sleep {
    timers: Timers,
    slot: u32,
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.timers.0.borrow_mut();
        let sleep = &mut inner.sleeps[self.slot as usize];
        if sleep.fired {
            return Poll::Ready(());
        }
        match &mut sleep.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let mut inner = self.timers.0.borrow_mut();
        let sleep = &mut inner.sleeps[self.slot as usize];
        sleep.generation = sleep.generation.wrapping_add(1);
        sleep.fired = false;
        sleep.waker = None;
        inner.free_sleeps.push(self.slot);
    }
}

/// The deadline of one connection: see [`Timers::deadline`].
#[derive(Debug)]
pub struct Deadline {
    timers: Timers,
    slot: u32,
}

impl Deadline {
    /// Where it hangs.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Moves the deadline.
    pub fn set(&self, at: Instant) {
        self.put(at, EndedBy::Nothing);
    }

    /// Moves the deadline of a connection that is in the middle of nothing: [`Timers::expire_idle`] may end it.
    pub fn set_idle(&self, at: Instant) {
        self.put(at, EndedBy::Drain);
    }

    /// Moves the deadline of a connection whose peer is to go on with what it began: [`Timers::expire_paused`] may end it.
    pub fn set_paused(&self, at: Instant) {
        self.put(at, EndedBy::Pause);
    }

    /// Moves the deadline of a connection that is in the middle of what must not just be dropped: [`Timers::expire_partial`] may end it.
    pub fn set_partial(&self, at: Instant) {
        self.put(at, EndedBy::Stop);
    }

    fn put(&self, at: Instant, ends: EndedBy) {
        let mut inner = self.timers.0.borrow_mut();
        inner.deadlines[self.slot as usize] = at;
        inner.ends[self.slot as usize] = ends;
    }

    /// Ready when the deadline has passed. Registers the task's waker, which is taken to be always the same.
    pub fn poll_passed(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.timers.0.borrow_mut();
        if inner.deadlines[self.slot as usize] <= inner.now {
            return Poll::Ready(());
        }
        let waker = &mut inner.deadline_wakers[self.slot as usize];
        if waker.is_none() {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut inner = self.timers.0.borrow_mut();
        inner.deadlines[self.slot as usize] = Instant::FAR;
        inner.ends[self.slot as usize] = EndedBy::Nothing;
        inner.deadline_wakers[self.slot as usize] = None;
        inner.free_deadlines.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_drips_has_a_turn_after_the_others() {
        let timers = Timers::new();
        timers.0.borrow_mut().now = Instant(7_000_000_000);
        let due = |sleep: &Sleep| {
            let inner = timers.0.borrow();
            let own = inner.heap.iter().find(|Reverse((_, slot, _))| *slot == sleep.slot);
            own.map(|Reverse((due, ..))| due.since(inner.now))
        };
        let most = limits::server::DRIP_WAIT;
        let rests: Vec<Sleep> = (0..70_000).map(|_| timers.rest()).collect();
        assert_eq!(due(&rests[0]), Some(most.start));
        let second = rests[limits::server::DRIPS_READ as usize..].first().and_then(due);
        assert_eq!(second, Some(most.start + Duration::from_secs(1)));
        assert_eq!(due(&rests[69_999]), Some(most.end), "nobody waits longer than that");
        drop(rests);
        timers.0.borrow_mut().heap.clear();
        timers.0.borrow_mut().now = Instant(900_000_000_000);
        assert_eq!(due(&timers.rest()), Some(most.start), "turns that are over are nobody's");
    }
}
