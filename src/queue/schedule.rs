//! When to try again: exponential back-off with jitter, so that what failed together does not come back together.

use crate::config::Retry;

/// The time (Unix seconds) of the next try after `attempts` failed ones. `random` spreads it by a tenth either way.
pub fn next_attempt(retry: &Retry, attempts: u16, now: u32, random: u64) -> u32 {
    let exponent = i32::from(attempts.saturating_sub(1).min(1000));
    let wait = retry.first.as_secs_f64() * retry.factor.max(1.0).powi(exponent);
    now.saturating_add(spread(wait.min(retry.max.as_secs_f64()), random))
}

/// How long (seconds) a site that takes no connection is left alone after `failures` in a row.
pub fn site_pause(retry: &Retry, failures: u32, random: u64) -> u32 {
    let first = retry.first.as_secs_f64().min(5.0);
    let wait = first * 2f64.powi(i32::try_from(failures.min(16)).unwrap_or(16));
    spread(wait.min(retry.max.as_secs_f64()).min(600.0), random)
}

fn spread(wait: f64, random: u64) -> u32 {
    let unit = (random >> 11) as f64 / (1u64 << 53) as f64;
    let spread = wait * (0.9 + 0.2 * unit);
    // Seconds are rounded up: a retry never comes early, and never at once.
    (spread.ceil() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn retry() -> Retry {
        Retry {
            first: Duration::from_secs(60),
            factor: 2.0,
            max: Duration::from_secs(7200),
            expire: Duration::from_secs(432_000),
        }
    }

    #[test]
    fn waits_grow_to_their_bound_and_are_spread() {
        let at = |attempts, random| next_attempt(&retry(), attempts, 1000, random) - 1000;
        assert_eq!((at(1, 0), at(1, u64::MAX)), (54, 66));
        assert_eq!(at(2, 1 << 63), 120);
        assert_eq!((at(8, 0), at(8, u64::MAX)), (6480, 7920));
        assert_eq!(at(u16::MAX, 1 << 63), 7200);
        assert_eq!(next_attempt(&retry(), 1, u32::MAX - 1, 0), u32::MAX);
        assert!(site_pause(&retry(), 0, 0) >= 4 && site_pause(&retry(), u32::MAX, u64::MAX) <= 660);
    }
}
