//! How fast asks are answered: a shard that has mail to move spends a small part of its time on them, one that has none all they want.

use std::cell::Cell;
use std::time::Duration;

use crate::limits;
use crate::time::Instant;

/// The time that a shard has for asks.
#[derive(Debug)]
pub(in crate::shard) struct Pace(Cell<State>);

#[derive(Clone, Copy, Debug)]
struct State {
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
        Pace(Cell::new(State { credit: nanos(limits::ASK_SAVED), at, since, worked, asked, busy: false }))
    }
}

impl Pace {
    /// So much more was spent on an ask, until now; the shard's thread has worked so long altogether. How long asks wait then.
    pub(in crate::shard) fn spend(&self, spent: Duration, now: Instant, worked: Duration) -> Duration {
        let mut state = self.0.get();
        state.asked += spent;
        let span = now.since(state.since);
        if span >= limits::ASK_MEASURED {
            let others = worked.saturating_sub(state.worked).saturating_sub(state.asked);
            // Of the time that asks left them: asks that are never paused leave little.
            state.busy = others >= span.saturating_sub(state.asked) / limits::ASK_BUSY;
            (state.since, state.worked, state.asked) = (now, worked, Duration::ZERO);
        }
        let earned = if state.busy { now.since(state.at) / limits::ASK_SHARE } else { limits::ASK_SAVED };
        let credit = state.credit.max(0 - nanos(limits::ASK_SAVED)).saturating_add(nanos(earned));
        state.credit = credit.min(nanos(limits::ASK_SAVED)).saturating_sub(nanos(spent));
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

    /// Asks without a pause for so long, beside other work that takes this share of the time that they leave. How much of it they had.
    fn asked(pace: &Pace, from: Instant, span: Duration, others: f64) -> Duration {
        let (mut now, mut worked, mut asked) = (from, Duration::from_nanos(from.0), Duration::ZERO);
        while now.since(from) < span {
            now = now + SLICE;
            (worked, asked) = (worked + SLICE, asked + SLICE);
            let pause = pace.spend(SLICE, now, worked);
            // Between two slices without a pause the shard looks around, and whoever has something to do has one turn.
            worked += if pause.is_zero() { LOOK } else { pause.mul_f64(others) };
            now = now + pause.max(LOOK);
        }
        asked
    }

    #[test]
    fn mail_keeps_its_time_and_what_was_saved_is_spent_at_once() {
        let (pace, second) = (Pace::default(), Duration::from_secs(1));
        let begin = Instant(1 << 40);
        let idle = asked(&pace, begin, second, 0.0);
        assert!(idle >= second * 3 / 5, "an idle shard answers nearly as fast as it can: {idle:?}");
        let busy = asked(&pace, begin + second, second * 10, 1.0);
        let share = second * 10 / limits::ASK_SHARE;
        assert!(busy >= share && busy <= share + limits::ASK_SAVED + limits::ASK_MEASURED, "{busy:?}");
        // Nobody asked for long: as much is saved as may be, and no more.
        let later = begin + second * 100;
        let worked = Duration::from_nanos(later.0);
        assert!(pace.spend(limits::ASK_SAVED, later, worked).is_zero());
        assert!(!pace.spend(SLICE, later, worked).is_zero());
        let least = asked(&pace, later + second, second, 0.05);
        assert!(least >= second * 3 / 5, "what works a twentieth of its time is idle: {least:?}");
    }
}
