//! How long one task kept a shard from all others.
//!
//! Two reads of the processor's own counter a poll: a clock would cost a message as much as a system call. Time in which the kernel gave the
//! core to somebody else is not the task's, so a long poll counts only if the thread was not put off its core meanwhile.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::limits;

/// The longest poll of a thread's tasks.
pub(super) struct Turns {
    longest: Cell<u64>,
    /// When the running poll began; 0: none runs. A task may be polled inside another's poll: it is the outer one's time.
    begun: Cell<u64>,
    /// Ticks of [`limits::TURN`], as far as that is known.
    turn: Cell<u64>,
    /// Times the thread was put off its core, when that was last looked at.
    switches: Cell<i64>,
    /// Ticks and time of the start, for the length of a tick.
    start: (u64, Instant),
}

/// A poll that began.
pub(super) struct PollStart {
    now: u64,
    outer: u64,
}

impl Default for Turns {
    #[expect(clippy::disallowed_methods, reason = "the runtime is where clocks come from")]
    fn default() -> Turns {
        Turns {
            longest: Cell::new(0),
            begun: Cell::new(0),
            turn: Cell::new(8 * limits::POLL_SHORT),
            switches: Cell::new(0),
            start: (ticks(), Instant::now()),
        }
    }
}

impl Turns {
    /// A poll begins. To be ended with [`Turns::over`], which is given what this returns.
    #[inline]
    pub(super) fn begin(&self) -> PollStart {
        let (now, outer) = (ticks(), self.begun.get());
        if outer == 0 {
            self.begun.set(now);
        }
        PollStart { now, outer }
    }

    /// Whether the running poll has lasted long.
    #[inline]
    pub(super) fn should_yield(&self) -> bool {
        let begun = self.begun.get();
        begun != 0 && ticks().saturating_sub(begun) > self.turn.get()
    }

    /// Whether five long turns would have passed since then.
    pub(super) fn is_long_since(&self, then: u64) -> bool {
        ticks().saturating_sub(then) > 5 * self.turn.get()
    }

    /// The thread slept: the turn begins now.
    pub(super) fn rested(&self) {
        self.begun.set(ticks());
    }

    /// A poll is over.
    #[inline]
    pub(super) fn over(&self, begun: PollStart) {
        let since = self.begun.replace(begun.outer).max(begun.now);
        let took = ticks().saturating_sub(since);
        if took > limits::POLL_SHORT && took > self.longest.get() {
            self.note(took);
        }
    }

    #[cold]
    fn note(&self, took: u64) {
        let switches = switches();
        if self.switches.replace(switches) == switches {
            self.longest.set(took);
        }
    }

    /// The longest since this was asked last.
    pub(super) fn take(&self) -> Duration {
        self.switches.set(switches());
        let (since, started) = self.start;
        let passed = ticks().saturating_sub(since).max(1);
        let took = self.longest.replace(0);
        let tick = started.elapsed().as_secs_f64() / passed as f64;
        self.turn.set((limits::TURN.as_secs_f64() / tick) as u64);
        Duration::from_secs_f64(tick * took as f64)
    }
}

/// The processor's counter of time, in a unit of its own.
#[inline]
pub(super) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction; it touches no memory.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}

/// Times this thread was put off its core, wanting it.
fn switches() -> i64 {
    // SAFETY: `usage` is a valid rusage for the whole call, which fills it and touches nothing else.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage.ru_nivcsw
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::process;

    fn spin(span: Duration, turns: &Turns) {
        let since = turns.start.1.elapsed();
        while turns.start.1.elapsed() - since < span {}
    }

    /// On a busy machine the thread may be put off its core at any point: then it is tried again.
    fn one_of_many(holds: impl Fn(&Turns) -> Result<(), &'static str>) {
        let turns = Turns::default();
        process::pause(Duration::from_millis(2));
        let tries = (0..2000)
            .take_while(|tried| *tried < 50 || turns.start.1.elapsed() < Duration::from_secs(20))
            .map(|_| {
                turns.take();
                turns.begun.set(0);
                holds(&turns)
            });
        let mut last = Ok(());
        for held in tries {
            if held.is_ok() {
                return;
            }
            last = held;
        }
        panic!("{last:?}");
    }

    #[test]
    fn the_longest_counts_once() {
        one_of_many(|turns| {
            turns.over(turns.begin());
            turns.take().is_zero().then_some(()).ok_or("a short one counts")?;
            let begun = turns.begin();
            spin(Duration::from_millis(2), turns);
            turns.over(begun);
            let found = turns.take();
            let right = found > Duration::from_micros(1_500) && found < Duration::from_millis(20);
            (right && turns.take().is_zero()).then_some(()).ok_or("it is not counted, or twice")
        });
    }

    /// A task polled inside another's poll has what is left of that one's turn.
    #[test]
    fn a_turn_is_that_of_the_outermost_poll() {
        one_of_many(|turns| {
            let mut stays = vec![turns.should_yield()];
            let outer = turns.begin();
            stays.push(turns.should_yield());
            spin(limits::TURN * 3 / 2, turns);
            let mut should_yield = vec![turns.should_yield()];
            let inner = turns.begin();
            should_yield.push(turns.should_yield());
            turns.over(inner);
            should_yield.push(turns.should_yield());
            turns.over(outer);
            stays.push(turns.should_yield());
            let next = turns.begin();
            stays.push(turns.should_yield());
            turns.over(next);
            let right = !stays.contains(&true) && !should_yield.contains(&false);
            right.then_some(()).ok_or("the outer poll's time is not the inner one's")
        });
    }

    #[test]
    fn nobody_waits_for_a_thread_that_sleeps() {
        one_of_many(|turns| {
            let begun = turns.begin();
            process::pause(Duration::from_millis(2));
            turns.rested();
            let should_yield = turns.should_yield();
            turns.over(begun);
            (!should_yield && turns.take().is_zero()).then_some(()).ok_or("its sleep is counted")
        });
    }
}
