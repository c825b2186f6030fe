//! Seeded pseudo-random numbers (SplitMix64), so that a run can be repeated. Not for secrets.

/// A generator. Two with the same seed give the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed; close seeds give unrelated numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A generator for one item of a numbered family: the same item gets the same numbers on every thread.
    pub fn for_item(seed: u64, item: u64) -> Random {
        Random(mix(seed ^ mix(item)))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// From the standard normal distribution (Box and Muller's way).
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// True with this probability; 0 and below never, 1 and above always.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_keeps_its_probability() {
        let mut random = Random::new(7);
        let hits = (0..100_000).filter(|_| random.chance(0.2)).count();
        assert!((19_000..21_000).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| random.chance(0.0)));
        assert!((0..1000).all(|_| random.chance(1.0)));
    }

    #[test]
    fn items_are_unrelated_and_repeatable() {
        assert_eq!(Random::for_item(1, 2).bits(), Random::for_item(1, 2).bits());
        assert_ne!(Random::for_item(1, 2).bits(), Random::for_item(1, 3).bits());
        assert_ne!(Random::for_item(1, 2).bits(), Random::for_item(2, 2).bits());
    }
}
