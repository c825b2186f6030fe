//! Whether a change helps, from paired measurements on a machine that is never quiet.

use serde::{Deserialize, Serialize};

/// A gain below this is not worth a line in a configuration, whatever was measured.
pub const GAIN_MIN: f64 = 0.03;

/// What a comparison says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Median of the rounds' ratios, tried over base; above one is better.
    pub median: f64,
    /// How far the ratios lie apart: half of the range, without the highest and the lowest when there are five or more.
    pub spread: f64,
    /// Whether the gain is above the floor and above the spread.
    pub clear: bool,
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Decides over the ratios of all rounds. `floor` is the least gain that counts, as in 0.03.
pub fn decide(ratios: &[f64], floor: f64) -> Decision {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = median(&sorted);
    let trimmed = if sorted.len() >= 5 { &sorted[1..sorted.len() - 1] } else { &sorted[..] };
    let spread = match trimmed {
        [] => f64::NAN,
        [first, .., last] => (last - first) / 2.0,
        [_] => 0.0,
    };
    // One round says nothing of the spread.
    let clear = ratios.len() >= 2 && median - 1.0 > floor && median - 1.0 > spread;
    Decision { median, spread, clear }
}

/// The floor that follows from the default measured beside itself: what two equal relays differ by is no gain.
pub fn floor(noise: &Decision) -> f64 {
    GAIN_MIN.max(noise.spread).max((noise.median - 1.0).abs())
}

/// Whether no outcome of the rounds that are left can make the median a gain.
pub fn is_hopeless(ratios: &[f64], rounds: usize, floor: f64) -> bool {
    let losing = ratios.iter().filter(|ratio| **ratio <= 1.0 + floor).count();
    losing > rounds / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_out_is_clear() {
        for (ratios, clear) in [
            (&[1.10, 1.12, 1.08][..], true),
            (&[1.10, 1.12, 0.80], false), // the spread is as large as the gain
            (&[1.02, 1.02, 1.02], false), // steady, and not worth it
            (&[1.10, 1.12, 1.08, 1.11, 0.60], true), // one bad round of five is the machine's
            (&[1.10, 0.70, 1.08, 1.11, 0.60], false),
            (&[0.90, 0.91, 0.92], false),
            (&[2.0], false), // once is never
            (&[], false),
        ] {
            assert_eq!(decide(ratios, GAIN_MIN).clear, clear, "{ratios:?}: {:?}", decide(ratios, GAIN_MIN));
        }
        assert!(!decide(&[1.10, 1.12, 1.08], 0.12).clear, "below the noise of the machine");
        assert_eq!(decide(&[1.0, 3.0, 2.0, 4.0], 0.0).median, 2.5);
    }

    #[test]
    fn the_floor_is_what_equal_relays_differ_by() {
        let noise = |median, spread| floor(&Decision { median, spread, clear: false });
        assert_eq!([noise(1.0, 0.0), noise(1.0, 0.08), noise(1.0, 0.01)], [0.03, 0.08, 0.03]);
        assert!((noise(0.9, 0.02) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn hopeless_is_what_cannot_win_any_more() {
        assert!(!is_hopeless(&[0.9], 3, GAIN_MIN));
        assert!(is_hopeless(&[0.9, 1.01], 3, GAIN_MIN));
        assert!(!is_hopeless(&[0.9, 0.9, 1.5], 5, GAIN_MIN));
        for rest in [[9.0], [0.1]] {
            let ratios = [0.9, 1.01, rest[0]];
            assert!(!decide(&ratios, GAIN_MIN).clear, "what was hopeless is never clear");
        }
    }
}
