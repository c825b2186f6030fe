//! The order of measurements: noise, one setting at a time, the winners together, the whole.

use std::time::Instant;

use super::decision::{self, Decision};
use super::setting::{Key, Settings};
use super::{Comparison, Effort, Failure, Goal, Measured, Outcome, Stage};

/// What measures.
pub trait Bench {
    /// Runs the relay once. Each side of a comparison has a spool of its own, as old as the other's.
    fn measure(&mut self, side: Side, settings: &Settings) -> Result<Measured, Failure>;
    /// The comparison is over; both spools go.
    fn forget(&mut self);
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is compared with.
    Base,
    /// What is tried.
    Tried,
}

/// What a search tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A round of a comparison begins.
    Round {
        /// What is tried.
        tried: &'a Settings,
        /// Which round, from 0.
        round: usize,
    },
    /// A comparison ended.
    Compared(&'a Comparison),
}

/// What to try.
#[derive(Clone, Debug)]
pub struct Candidates(pub Vec<(Key, String)>);

/// A search under way.
struct Search<'a> {
    bench: &'a mut dyn Bench,
    tell: &'a mut dyn FnMut(Event<'_>),
    effort: Effort,
    goal: Goal,
    floor: f64,
    give_up: Instant,
    outcome: Outcome,
}

/// Measures until everything is decided or `give_up` is past; then what is known by then counts.
pub fn search(
    bench: &mut dyn Bench,
    candidates: &Candidates,
    (goal, effort): (Goal, Effort),
    give_up: Instant,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Failure> {
    let outcome = Outcome { goal, ..Outcome::default() };
    let mut search = Search { bench, tell, effort, goal, floor: decision::GAIN_MIN, give_up, outcome };
    let default = Settings::default();
    let noise = search.compare(Stage::Noise, None, &default, &default)?;
    search.floor = decision::floor(&noise);
    let winners = search.singles(candidates)?;
    search.combine(winners)?;
    Ok(search.outcome)
}

impl Search<'_> {
    /// Measures two settings alternating; who comes first alternates too.
    fn compare(
        &mut self,
        stage: Stage,
        key: Option<Key>,
        base: &Settings,
        tried: &Settings,
    ) -> Result<Decision, Failure> {
        let (mut pairs, mut ratios) = (Vec::new(), Vec::new());
        for round in 0..self.effort.rounds {
            (self.tell)(Event::Round { tried, round });
            let pair = if round % 2 == 0 {
                let base = self.bench.measure(Side::Base, base)?;
                (base, self.bench.measure(Side::Tried, tried)?)
            } else {
                let tried = self.bench.measure(Side::Tried, tried)?;
                (self.bench.measure(Side::Base, base)?, tried)
            };
            ratios.push(self.goal.score(&pair.1) / self.goal.score(&pair.0).max(1e-9));
            pairs.push(pair);
            let searching = matches!(stage, Stage::Single | Stage::Combined);
            if searching && decision::is_hopeless(&ratios, self.effort.rounds, self.floor) {
                break;
            }
        }
        self.bench.forget();
        let decision = decision::decide(&ratios, self.floor);
        let comparison = Comparison { stage, key, base: base.clone(), tried: tried.clone(), pairs, decision };
        (self.tell)(Event::Compared(&comparison));
        self.outcome.comparisons.push(comparison);
        Ok(decision)
    }

    /// The best clear value of each setting, the largest gain first.
    fn singles(&mut self, candidates: &Candidates) -> Result<Vec<(Key, String, Decision)>, Failure> {
        let mut winners: Vec<(Key, String, Decision)> = Vec::new();
        for (key, value) in &candidates.0 {
            if self.is_late() {
                break;
            }
            let tried = Settings::default().with(*key, value);
            let decision = self.compare(Stage::Single, Some(*key), &Settings::default(), &tried)?;
            if !decision.clear {
                continue;
            }
            match winners.iter_mut().find(|(other, ..)| other == key) {
                Some(winner) if winner.2.median >= decision.median => {}
                Some(winner) => *winner = (*key, value.clone(), decision),
                None => winners.push((*key, value.clone(), decision)),
            }
        }
        winners.sort_by(|one, other| other.2.median.total_cmp(&one.2.median));
        Ok(winners)
    }

    /// Lays the winners over each other as long as each clearly adds to the others.
    fn combine(&mut self, winners: Vec<(Key, String, Decision)>) -> Result<(), Failure> {
        let mut best = Settings::default();
        for (at, (key, value, _)) in winners.iter().enumerate() {
            let tried = best.with(*key, value);
            if at == 0 {
                best = tried;
                continue;
            }
            if self.is_late() {
                break;
            }
            if self.compare(Stage::Combined, Some(*key), &best.clone(), &tried)?.clear {
                best = tried;
            }
        }
        if best.iter().count() > 1 && !self.is_late() {
            let whole = self.compare(Stage::Whole, None, &Settings::default(), &best)?;
            let (key, value, alone) = &winners[0];
            if !whole.clear || whole.median < alone.median {
                // Together they are no better than the first alone, which is easier to explain.
                best = Settings::default().with(*key, value);
            }
        }
        self.outcome.best = best;
        Ok(())
    }

    fn is_late(&mut self) -> bool {
        let late = Instant::now() > self.give_up;
        self.outcome.unfinished |= late;
        late
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A machine whose relay is made faster or slower by factors, and which is a few percent off each time.
    struct Made {
        factors: Vec<(Key, &'static str, f64)>,
        noise: f64,
        runs: usize,
        forgotten: usize,
        fail_at: usize,
    }

    impl Bench for Made {
        fn measure(&mut self, _: Side, settings: &Settings) -> Result<Measured, Failure> {
            self.runs += 1;
            if self.runs == self.fail_at {
                return Err(Failure::Interrupted);
            }
            let sign = if self.runs.is_multiple_of(3) { -1.0 } else { 1.0 };
            let mut rate = 1000.0 * (1.0 + sign * self.noise);
            for (key, value, factor) in &self.factors {
                if settings.get(*key) == Some(value) {
                    rate *= factor;
                }
            }
            Ok(Measured { rate, accepted: rate, cpu_us: 1e6 / rate, p50_ms: 1.0, p99_ms: 5.0 })
        }

        fn forget(&mut self) {
            self.forgotten += 1;
        }
    }

    fn made(noise: f64, factors: &[(Key, &'static str, f64)]) -> Made {
        Made { factors: factors.to_vec(), noise, runs: 0, forgotten: 0, fail_at: usize::MAX }
    }

    fn run(bench: &mut Made, give_up: Instant) -> Result<Outcome, Failure> {
        let candidates = Candidates(
            [(Key::Shards, "1"), (Key::Shards, "3"), (Key::Spin, "20us"), (Key::CommitDelay, "5ms")]
                .map(|(key, value)| (key, value.to_owned()))
                .to_vec(),
        );
        let effort = Effort { step: Duration::from_secs(1), rounds: 5 };
        search(bench, &candidates, (Goal::Rate, effort), give_up, &mut |_| {})
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[test]
    fn what_clearly_helps_is_combined() {
        let mut bench = made(
            0.01,
            &[
                (Key::Shards, "1", 1.2),
                (Key::Shards, "3", 1.5),
                (Key::Spin, "20us", 1.3),
                (Key::CommitDelay, "5ms", 0.8),
            ],
        );
        let outcome = run(&mut bench, far()).unwrap();
        assert_eq!(outcome.best.to_string(), "shards = 3, spin = 20us");
        let whole = outcome.whole().unwrap();
        assert!((1.8..2.1).contains(&whole.decision.median), "{whole:?}");
        assert!(outcome.reason(Key::Spin).unwrap().decision.clear);
        assert_eq!(outcome.reason(Key::CommitDelay), None);
        let rounds = |key| {
            let of = outcome.comparisons.iter().filter(move |one| one.key == Some(key));
            of.map(|one| one.pairs.len()).collect::<Vec<_>>()
        };
        assert_eq!(rounds(Key::CommitDelay), [3], "no time for what cannot win");
        assert_eq!(bench.forgotten, outcome.comparisons.len());
    }

    #[test]
    fn a_noisy_machine_keeps_its_defaults() {
        let mut bench = made(0.2, &[(Key::Shards, "3", 1.08)]);
        let outcome = run(&mut bench, far()).unwrap();
        assert!(outcome.best.is_empty() && !outcome.unfinished, "{outcome:?}");
        assert_eq!(outcome.comparisons[0].stage, Stage::Noise);
    }

    #[test]
    fn time_is_bounded_and_an_interrupt_ends_it() {
        let outcome = run(&mut made(0.0, &[(Key::Shards, "1", 2.0)]), Instant::now()).unwrap();
        assert!(outcome.unfinished && outcome.best.is_empty() && outcome.comparisons.len() == 1);
        let mut bench = made(0.0, &[]);
        bench.fail_at = 13;
        assert!(matches!(run(&mut bench, far()), Err(Failure::Interrupted)));
        assert_eq!(bench.runs, 13);
    }
}
