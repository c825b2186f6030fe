//! How fast asks are answered: a shard that has mail to move spends a small part of its time on them, one that has none all they want.

use std::cell::Cell;
use std::time::Duration;

use crate::limits;
use crate::time::Instant;

/// The time that a shard has for asks.
#[derive(Debug)]
pub(in crate::shard) struct Pace(Cell<Budget>);

#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Nanoseconds saved up; below zero: owed.
    credit: i64,
    /// When that was so.
    at: Instant,
    /// The measurement: since when, how long the shard had worked until then, and how much of it on asks meanwhile.
    since: Instant,
    worked: Duration,
    asked: Duration,
    busy: bool,
}

impl Default for Pace {
    fn default() -> Pace {
        let (at, since) = (Instant(0), Instant(0));
        let (worked, asked) = Default::default();
        Pace(Cell::new(Budget { credit: nanos(limits::ASK_SAVED), at, since, worked, asked, busy: false }))
    }
}

impl Pace {
    /// So much more of the shard's time went into an ask, until now, and it is charged with so much; the shard's thread has worked so long
    /// altogether. How long asks wait then.
    pub(in crate::shard) fn spend(
        &self,
        (spent, charged): (Duration, Duration),
        now: Instant,
        worked: Duration,
    ) -> Duration {
        let mut state = self.0.get();
        state.asked += spent;
        let span = now.since(state.since);
        if span >= limits::ASK_MEASURED {
            let others = worked.saturating_sub(state.worked).saturating_sub(state.asked);
            state.busy = others >= span / limits::ASK_BUSY;
            (state.since, state.worked, state.asked) = (now, worked, Duration::ZERO);
        }
        let earned = if state.busy { now.since(state.at) / limits::ASK_SHARE } else { limits::ASK_SAVED };
        let credit = state.credit.max(0 - nanos(limits::ASK_SAVED)).saturating_add(nanos(earned));
        state.credit = credit.min(nanos(limits::ASK_SAVED)).saturating_sub(nanos(charged));
        state.at = now;
        self.0.set(state);
        let owed = u64::try_from(0i64.saturating_sub(state.credit)).unwrap_or(0);
        Duration::from_nanos(owed) * limits::ASK_SHARE
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_micros(200);
    const LOOK: Duration = Duration::from_micros(20);
    const SECOND: Duration = Duration::from_secs(1);

    /// A shard whose thread has other work for this share of the time that asks leave it, and what asks had.
    struct Played {
        pace: Pace,
        now: Instant,
        worked: Duration,
        others: f64,
        asked: Duration,
        answers: u32,
    }

    impl Played {
        fn new(others: f64) -> Played {
            let pace = Pace::default();
            Played { pace, now: Instant(1 << 40), worked: SECOND, others, asked: Duration::ZERO, answers: 0 }
        }

        fn wait(&mut self, pause: Duration) {
            // Between two slices without a pause the thread looks around, which is work, and whoever has something to do has a turn.
            let left = pause.max(LOOK);
            let turns = if pause.is_zero() { SLICE.mul_f64(self.others) } else { Duration::ZERO };
            self.worked += turns + if pause.is_zero() { LOOK } else { left.mul_f64(self.others) };
            self.now = self.now + left + turns;
        }

        /// One ask after the other for a second, of so many slices each.
        fn ask(&mut self, slices: u32) {
            let begun = self.now;
            (self.asked, self.answers) = (Duration::ZERO, 0);
            while self.now.since(begun) < SECOND {
                for _ in 0..slices {
                    (self.now, self.worked, self.asked) =
                        (self.now + SLICE, self.worked + SLICE, self.asked + SLICE);
                    let pause = self.pace.spend((SLICE, SLICE), self.now, self.worked);
                    self.wait(pause);
                }
                self.answers += 1;
                let pause = self.pace.spend((Duration::ZERO, limits::ASK_LEAST), self.now, self.worked);
                self.wait(pause);
            }
        }
    }

    #[test]
    fn an_idle_shard_answers_as_fast_as_it_can() {
        for others in [0.0, 0.05] {
            for slices in [1, 5, 100] {
                let mut shard = Played::new(others);
                shard.ask(slices);
                let all = SECOND.as_micros() as u32 / (220 * slices + 30);
                assert!(shard.answers * 5 >= all * 4, "{others} {slices}: {} of {all}", shard.answers);
            }
        }
    }

    #[test]
    fn mail_keeps_its_time() {
        for others in [0.5, 1.0] {
            for slices in [1, 5, 100] {
                let mut shard = Played::new(others);
                shard.ask(slices);
                shard.ask(slices);
                let share = SECOND / limits::ASK_SHARE;
                assert!(shard.asked <= share + SLICE, "{others} {slices}: {:?}", shard.asked);
                let least = SECOND.div_duration_f64(limits::ASK_LEAST * limits::ASK_SHARE) as u32;
                assert!(shard.answers <= least + 1, "{others} {slices}: {}", shard.answers);
            }
        }
    }

    #[test]
    fn what_was_saved_is_spent_at_once() {
        let mut shard = Played::new(1.0);
        shard.ask(5);
        // Nobody asked for long: as much is saved as may be, and no more.
        (shard.now, shard.worked) = (shard.now + SECOND * 100, shard.worked + SECOND * 100);
        let saved = limits::ASK_SAVED;
        assert!(shard.pace.spend((saved, saved), shard.now + saved, shard.worked + saved).is_zero());
        let (now, worked) = (shard.now + saved + SLICE, shard.worked + saved + SLICE);
        assert!(shard.pace.spend((SLICE, SLICE), now, worked) >= SLICE);
    }
}
