//! The randomness of a simulated world: every choice comes from its seed.

use std::time::Duration;

/// xoshiro256**, seeded through splitmix64.
#[derive(Clone, Debug)]
pub(super) struct Random([u64; 4]);

impl Random {
    /// A stream of its own for each (seed, label).
    pub(super) fn new(seed: u64, label: u64) -> Random {
        let mut state = seed ^ label.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Random([(); 4].map(|()| splitmix(&mut state)))
    }

    /// 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Less than `bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is unbiased enough for choosing faults, and needs no loop.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into something of `length` elements.
    pub(super) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True with a probability. Zero costs no draw: a fault that is off does not move the other choices.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// Nanoseconds between two spans, both included.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> u64 {
        let (least, most) = (nanos(least), nanos(most));
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// A number of bytes of any order of magnitude below 2^`bits`: small ones are as likely as large ones.
    pub(super) fn magnitude(&mut self, bits: u64) -> u64 {
        let bound = 1 << self.below(bits + 1);
        self.below(bound)
    }
}

/// A span in nanoseconds.
pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |label| {
            let mut random = Random::new(7, label);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn chances_come_about_as_often_as_they_say() {
        let mut random = Random::new(1, 1);
        let hits = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!random.chance(0.0));
        assert!(random.chance(1.0));
        assert!((0..1000).all(|_| random.below(3) < 3 && random.magnitude(4) < 16));
    }
}
