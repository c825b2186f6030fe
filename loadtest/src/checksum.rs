//! The checksum over a message body: 64 bits, streaming, eight bytes at a step.
//!
//! It guards against accidents of a relay (a cut, repeated, swapped or altered byte), not against an adversary.
//! Each step is a bijection of the state, so a single altered word always changes the result.

/// A checksum in progress. Splitting the input differently does not change the result.
#[derive(Clone, Debug)]
pub struct Checksum {
    state: u64,
    /// Bytes that do not fill a word yet, lowest byte first.
    partial: u64,
    length: u64,
}

const START: u64 = 0x5265_6C65_766F_4C44;
const FACTOR: u64 = 0x9FB2_1C65_1E98_DF25;

impl Default for Checksum {
    fn default() -> Checksum {
        Checksum { state: START, partial: 0, length: 0 }
    }
}

impl Checksum {
    /// Of the empty body.
    pub fn new() -> Checksum {
        Checksum::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let held = (self.length % 8) as usize;
        self.length += bytes.len() as u64;
        if held > 0 {
            let take = bytes.len().min(8 - held);
            for (at, byte) in bytes[..take].iter().enumerate() {
                self.partial |= u64::from(*byte) << (8 * (held + at));
            }
            bytes = &bytes[take..];
            if held + take < 8 {
                return;
            }
            self.state = step(self.state, self.partial);
            self.partial = 0;
        }
        let (words, rest) = bytes.as_chunks::<8>();
        let mut state = self.state;
        for word in words {
            state = step(state, u64::from_le_bytes(*word));
        }
        self.state = state;
        for (at, byte) in rest.iter().enumerate() {
            self.partial |= u64::from(*byte) << (8 * at);
        }
    }

    /// The result; more bytes may follow.
    pub fn value(&self) -> u64 {
        step(step(self.state, self.partial), self.length)
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }
}

#[inline]
fn step(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_mul(FACTOR);
    product ^ (product >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut sum = Checksum::new();
        sum.update(bytes);
        sum.value()
    }

    #[test]
    fn splits_do_not_matter() {
        let bytes: Vec<u8> = (0..61u8).collect();
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                let mut sum = Checksum::new();
                sum.update(&bytes[..first]);
                sum.update(&bytes[first..second]);
                sum.update(&bytes[second..]);
                assert_eq!(sum.value(), of(&bytes), "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn accidents_are_seen() {
        let bytes: Vec<u8> = (0..200u8).collect();
        let right = of(&bytes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                assert_ne!(of(&wrong), right, "bit {bit} of byte {at}");
            }
            assert_ne!(of(&bytes[..at]), right, "cut at {at}");
        }
        let mut swapped = bytes.clone();
        swapped.rotate_left(8);
        assert_ne!(of(&swapped), right, "order");
        assert_ne!(of(b"a\0"), of(b"a"), "a trailing zero is not nothing");
    }
}
