//! When to try again: back-off with jitter, for a recipient and for a site.
//!
//! Jitter is not politeness: mail that failed together (a full disk there, a cut cable here) would otherwise come back
//! together, for ever. Every wait is drawn uniformly from a window, so that no two failures stay in step.

use std::time::Duration;

use crate::config::Retry;
use crate::limits;

/// When a deferred recipient is tried next, in Unix seconds.
///
/// `attempts` counts those made, the one that just failed included; 0 is taken for 1. `now` is in Unix seconds, `random`
/// is 64 bits of entropy. The wait is [`Retry::wait`], give or take a fifth; it is never
/// under a second and never over `max`. Whether the answer lies past the expiry is for the caller to look at.
pub fn next_attempt(retry: &Retry, attempts: u16, now: u32, random: u64) -> u32 {
    let max = retry.max.as_secs_f64();
    let nominal = retry.wait(attempts);
    let wait = spread(nominal, 1.0, max, random);
    // A cast from f64 saturates, and rounds towards zero: never over the bound.
    now.saturating_add(wait as u32)
}

/// How long a site that takes no connection is left alone, however much mail waits for it.
///
/// `failures` counts its failed connections in a row, the last one included; 0 is taken for 1. Doubles from
/// SITE_PAUSE_MIN to SITE_PAUSE_MAX, give or take a fifth within these bounds.
pub fn site_pause(failures: u32, random: u64) -> Duration {
    let (min, max) = (limits::SITE_PAUSE_MIN.as_secs_f64(), limits::SITE_PAUSE_MAX.as_secs_f64());
    let exponent = i32::try_from(failures.max(1) - 1).unwrap_or(i32::MAX);
    let nominal = (min * 2f64.powi(exponent)).min(max);
    Duration::from_secs_f64(spread(nominal, min, max, random))
}

/// A point in the window around `nominal`. The window is cut at its bounds instead of moving what lies outside onto the
/// bounds themselves, where it would meet again. `min` beats `max`.
fn spread(nominal: f64, min: f64, max: f64, random: u64) -> f64 {
    let low = (nominal * (1.0 - limits::RETRY_JITTER)).max(min);
    let high = (nominal * (1.0 + limits::RETRY_JITTER)).min(max).max(low);
    // 53 bits make a number in [0, 1) without rounding.
    let share = (random >> 11) as f64 / (1u64 << 53) as f64;
    low + (high - low) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(first: u64, factor: f64, max: u64) -> Retry {
        Retry {
            first: Duration::from_secs(first),
            factor,
            max: Duration::from_secs(max),
            schedule: None,
            expire: Duration::from_secs(432_000),
        }
    }

    /// A fixed sequence of 64-bit numbers that look random (a linear congruence, its high half mixed in).
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 32
        })
    }

    #[test]
    fn waits_grow_to_the_bound() {
        let retry = retry(60, 2.0, 7200);
        for (attempts, low, high) in [
            (0, 48, 72),
            (1, 48, 72),
            (2, 96, 144),
            (3, 192, 288),
            (7, 3072, 4608),
            (8, 5760, 7200),
            (u16::MAX, 5760, 7200),
        ] {
            assert_eq!(next_attempt(&retry, attempts, 1000, 0), 1000 + low, "{attempts}");
            let last = next_attempt(&retry, attempts, 1000, u64::MAX);
            assert!((1000 + high - 1..=1000 + high).contains(&last), "{attempts}: {last}");
        }
        let shrinking = Retry { factor: 0.5, ..retry.clone() };
        assert_eq!(next_attempt(&shrinking, 9, 1000, 0), 1048, "waits never shrink");
    }

    /// Ten thousand recipients that failed in one second come back evenly over the window, at the bound as well.
    #[test]
    fn nothing_comes_back_together() {
        let retry = retry(60, 2.0, 7200);
        for attempts in [3, 20] {
            let mut slots = [0u32; 10];
            let (low, high) =
                (next_attempt(&retry, attempts, 0, 0), next_attempt(&retry, attempts, 0, u64::MAX));
            for random in numbers(7).take(10_000) {
                let at = next_attempt(&retry, attempts, 0, random);
                slots[((at - low) * 10 / (high - low + 1)) as usize] += 1;
            }
            assert!(slots.iter().all(|count| (800..1200).contains(count)), "{slots:?}");
        }
    }

    #[test]
    fn no_input_overflows_or_breaks_the_bounds() {
        let factors = [0.0, -1.0, 0.5, 1.0, 1.0001, 2.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let spans = [0, 1, 59, 7200, u32::MAX as u64, u64::MAX];
        let mut random = numbers(1);
        let mut draw = || random.next().unwrap_or_default();
        for _ in 0..20_000 {
            let first = spans[draw() as usize % spans.len()];
            let max = spans[draw() as usize % spans.len()];
            let retry = retry(first, factors[draw() as usize % factors.len()], max);
            let now = if draw() % 4 == 0 { u32::MAX - draw() as u32 % 9 } else { draw() as u32 };
            let attempts = if draw() % 4 == 0 { u16::MAX } else { draw() as u16 };
            let at = next_attempt(&retry, attempts, now, draw());
            let wait = u64::from(at - now);
            assert!(wait <= max.max(1), "{retry:?} {attempts} {now}: {wait}");
            assert!(wait >= 1 || now == u32::MAX, "{retry:?} {attempts} {now}");

            let pause = site_pause(draw() as u32 >> (draw() % 32), draw());
            assert!((limits::SITE_PAUSE_MIN..=limits::SITE_PAUSE_MAX).contains(&pause), "{pause:?}");
        }
    }

    #[test]
    fn a_dead_site_is_left_alone_for_longer_and_longer() {
        let middle = |failures| site_pause(failures, u64::MAX / 2).as_secs();
        assert_eq!([0, 1, 2, 3, 7].map(middle), [5, 5, 10, 20, 320]);
        assert!(site_pause(1, u64::MAX) > site_pause(1, u64::MAX / 2), "the first pause is spread, too");
        assert!(middle(8) > 480 && middle(u32::MAX) > 480);
        assert_eq!(site_pause(u32::MAX, 0), Duration::from_secs(480));
    }
}
