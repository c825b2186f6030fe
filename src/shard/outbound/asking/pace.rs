//! How fast domains are asked for: whoever answers soon is asked as fast as he answers, and many that are silent do not take all places
//! at once.
//!
//! A look-up takes a token. One that is answered promptly brings it back; those of the others come back one by one, evenly. A few tokens
//! are kept for newcomers of whom nothing waits yet: these do not queue behind the silent ones. Each costs those a turn at most.

use std::cell::Cell;
use std::time::Duration;

use crate::limits;
use crate::time::Instant;

/// The tokens of a shard.
pub(in crate::shard::outbound) struct AskingPace {
    /// As many as may be asked for at once.
    burst: usize,
    /// One comes back so often.
    every: Duration,
    tokens: Cell<usize>,
    /// Until when what comes back was counted.
    counted: Cell<Instant>,
    /// Of the tokens, those for newcomers.
    kept: Cell<usize>,
}

impl AskingPace {
    /// For so many places of domains that were asked for just now.
    pub(in crate::shard::outbound) fn new(places: usize) -> AskingPace {
        let share = |part: usize| (places * part / limits::RESOLVES_PROMPT).max(1);
        let burst = share(limits::RESOLVES_BURST);
        AskingPace {
            burst,
            every: limits::RESOLVE_PROMPT / share(limits::RESOLVES_SILENT) as u32,
            tokens: Cell::new(burst),
            counted: Cell::new(Instant(0)),
            kept: Cell::new(limits::RESOLVES_NEWCOMERS.min(burst / 2)),
        }
    }

    fn kept_max(&self) -> usize {
        limits::RESOLVES_NEWCOMERS.min(self.burst / 2)
    }

    fn count(&self, now: Instant) {
        let came = now.since(self.counted.get()).as_nanos() / self.every.as_nanos();
        let missing = self.burst - self.tokens.get();
        if came >= missing as u128 {
            self.tokens.set(self.burst);
            self.counted.set(now);
        } else {
            self.tokens.set(self.tokens.get() + came as usize);
            self.counted.set(self.counted.get() + self.every * came as u32);
        }
    }

    /// Takes a token for the next in line.
    pub(super) fn take(&self, now: Instant) -> bool {
        self.count(now);
        if self.tokens.get() <= self.kept.get() {
            return false;
        }
        self.tokens.set(self.tokens.get() - 1);
        self.kept.set(self.kept_max().min(self.kept.get() + 1));
        true
    }

    /// Takes one for a newcomer who does not stand in line.
    pub(super) fn take_kept(&self, now: Instant) -> bool {
        self.count(now);
        if self.tokens.get() == 0 || self.kept.get() == 0 {
            return false;
        }
        self.tokens.set(self.tokens.get() - 1);
        self.kept.set(self.kept.get() - 1);
        true
    }

    /// A look-up was answered promptly.
    pub(super) fn give_back(&self) {
        self.tokens.set(self.burst.min(self.tokens.get() + 1));
    }

    /// How long it takes until the next one comes back.
    pub(super) fn every(&self) -> Duration {
        self.every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    /// How many of the line are asked for in a second, each 20 ms of it.
    fn second(pace: &AskingPace, from: u64, mut newcomer: impl FnMut(u64)) -> Vec<usize> {
        let taken = |step| {
            newcomer(step);
            std::iter::from_fn(|| pace.take(at(from + 20 * step)).then_some(())).count()
        };
        (0..50).map(taken).collect()
    }

    #[test]
    fn many_silent_domains_are_asked_for_evenly_and_leave_some_to_newcomers() {
        let pace = AskingPace::new(limits::RESOLVES_PROMPT);
        let first = second(&pace, 10_000, |_| ());
        assert_eq!(first[0], limits::RESOLVES_BURST - limits::RESOLVES_NEWCOMERS);
        assert!(first[1..].iter().all(|count| *count <= 7), "{first:?}");
        let all: usize = first.iter().sum();
        assert!(all < limits::RESOLVES_PROMPT, "{all} would fill all places");
        let mut refused = 0;
        let later =
            second(&pace, 11_000, |step| refused += usize::from(!pace.take_kept(at(11_000 + 20 * step))));
        let (all, most) = (later.iter().sum::<usize>(), limits::RESOLVES_SILENT);
        assert_eq!(refused, 0, "a newcomer waits");
        assert!(all <= most && all >= most * 3 / 4, "{all} in a second");
    }

    #[test]
    fn newcomers_without_end_leave_half_to_those_who_wait() {
        let pace = AskingPace::new(limits::RESOLVES_PROMPT);
        second(&pace, 10_000, |_| ());
        let mut newcomers = 0;
        let line: usize = second(&pace, 11_000, |step| {
            newcomers += std::iter::from_fn(|| pace.take_kept(at(11_000 + 20 * step)).then_some(())).count();
        })
        .iter()
        .sum();
        assert!(line * 3 >= limits::RESOLVES_SILENT, "{line} of the line, {newcomers} newcomers");
    }

    #[test]
    fn who_answers_is_asked_as_fast_as_he_answers() {
        let pace = AskingPace::new(limits::RESOLVES_PROMPT);
        for _ in 0..10_000 {
            assert!(pace.take(at(1)));
            pace.give_back();
        }
    }

    #[test]
    fn a_single_place_is_given_again_and_again() {
        let pace = AskingPace::new(1);
        assert!(pace.take(at(1)) && !pace.take(at(2)) && !pace.take_kept(at(3)));
        assert!(pace.take(at(1_002)));
    }
}
