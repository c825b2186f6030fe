//! Fingerprints in order, 8 bytes each, and an index by their first bits. Fingerprints are spread evenly, so between two places of the index one is
//! close to where its remaining bits say: a look-up reads one line of memory, seldom two, beside one of the index, which caches hold.
//!
//! Whatever the bytes are, a look-up ends, and reads nothing outside of them.

use crate::limits;

/// Such fingerprints as bytes: little-endian words.
#[derive(Clone, Copy)]
pub struct Sorted<'a> {
    /// For each value of the first bits, where fingerprints with it begin: 32 bits each, and one more for where the last ones end.
    pub starts: &'a [u8],
    /// The fingerprints.
    pub values: &'a [u8],
    /// How many bits the index is by.
    pub bits: u32,
}

impl Sorted<'_> {
    /// How many fingerprints there are.
    pub fn len(&self) -> usize {
        self.values.len() / 8
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.len() < 8
    }

    /// The fingerprint at a place.
    #[inline]
    pub fn at(&self, place: usize) -> Option<u64> {
        self.values.as_chunks::<8>().0.get(place).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Whether there is this one.
    #[inline]
    pub fn has(&self, fingerprint: u64) -> bool {
        let search = self.begin(fingerprint);
        let first = self.look(&search);
        self.ends(&search, first)
    }

    /// Begins a search: the index is read. Of several searches each step is taken for all of them, so that what they read from memory is read at one time.
    #[inline]
    pub fn begin(&self, fingerprint: u64) -> Search {
        let (from, to) = self.bucket(fingerprint);
        let length = to.min(self.len()).saturating_sub(from);
        let fraction = u128::from(fingerprint << self.bits);
        let guess = ((fraction * length as u128) >> 64) as usize;
        Search { fingerprint, from, length, guess }
    }

    /// Reads the fingerprint that is where this one should be.
    #[inline]
    pub fn look(&self, search: &Search) -> u64 {
        self.at(search.from + search.guess).unwrap_or_default()
    }

    /// Ends the search: whether it is there.
    #[inline]
    pub fn ends(&self, search: &Search, first: u64) -> bool {
        search.length > 0
            && (first == search.fingerprint || self.at(self.place(search)) == Some(search.fingerprint))
    }

    /// The first place whose fingerprint is not below this one.
    pub fn place_of(&self, fingerprint: u64) -> usize {
        self.place(&self.begin(fingerprint))
    }

    fn place(&self, search: &Search) -> usize {
        let Search { fingerprint, from, length, guess } = *search;
        let values = self.values.as_chunks::<8>().0.get(from..from + length).unwrap_or_default();
        if values.is_empty() {
            return from.min(self.len());
        }
        let at = |place: usize| u64::from_le_bytes(values[place]);
        // What is below it ends at `low`, and it or what is above begins at `high`.
        let (mut low, mut high) = (0, values.len());
        if at(guess) < fingerprint {
            low = guess + 1;
            for _ in 0..limits::SUPPRESSION_STEPS {
                if low == high || at(low) >= fingerprint {
                    return from + low;
                }
                low += 1;
            }
        } else {
            high = guess;
            for _ in 0..limits::SUPPRESSION_STEPS {
                if high == 0 || at(high - 1) < fingerprint {
                    return from + high;
                }
                high -= 1;
            }
        }
        from + low + values[low..high].partition_point(|bytes| u64::from_le_bytes(*bytes) < fingerprint)
    }

    /// Where fingerprints with the same first bits are.
    #[inline]
    fn bucket(&self, fingerprint: u64) -> (usize, usize) {
        let starts = self.starts.as_chunks::<4>().0;
        let bucket = fingerprint.checked_shr(64 - self.bits).unwrap_or(0) as usize;
        let start = |place: usize| starts.get(place).map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
        (start(bucket), start(bucket + 1))
    }
}

/// A look-up that is under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    fingerprint: u64,
    from: usize,
    length: usize,
    guess: usize,
}

/// By how many bits so many fingerprints are looked up.
pub fn index_bits(count: u64) -> u32 {
    (count / limits::SUPPRESSION_BUCKET).max(2).ilog2().min(limits::SUPPRESSION_INDEX_BITS_MAX)
}

/// Bytes of an index by so many bits.
pub fn index_bytes(bits: u32) -> u64 {
    4 * ((1 << bits) + 1)
}

/// Makes the index while fingerprints are written in order.
#[derive(Debug)]
pub struct Starts {
    bits: u32,
    next: u64,
}

impl Starts {
    /// One by so many bits.
    pub fn new(bits: u32) -> Starts {
        Starts { bits, next: 0 }
    }

    /// A fingerprint is written at this place: what of the index is known by that.
    pub fn on(&mut self, fingerprint: u64, place: u32, out: &mut Vec<u8>) {
        let bucket = fingerprint.checked_shr(64 - self.bits).unwrap_or(0);
        self.up_to(bucket, place, out);
    }

    /// There are no more: the rest of it.
    pub fn finish(mut self, count: u32, out: &mut Vec<u8>) {
        self.up_to(1 << self.bits, count, out);
    }

    fn up_to(&mut self, bucket: u64, place: u32, out: &mut Vec<u8>) {
        while self.next <= bucket {
            out.extend_from_slice(&place.to_le_bytes());
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(values: &[u64], bits: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut starts, mut index) = (Starts::new(bits), Vec::new());
        for (place, value) in values.iter().enumerate() {
            starts.on(*value, place as u32, &mut index);
        }
        starts.finish(values.len() as u32, &mut index);
        assert_eq!(index.len() as u64, index_bytes(bits));
        (index, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn spread(count: u64) -> Vec<u64> {
        let mixed = |number: u64| (number ^ number >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15) & !1;
        let mut values: Vec<u64> = (1..=count).map(|number| mixed(number).rotate_left(17) & !1).collect();
        values.sort_unstable();
        values
    }

    #[test]
    fn each_is_found_where_it_is_and_nothing_else() {
        let close: Vec<u64> = (0..300).map(|number| 1 << 63 | number << 1).collect();
        for values in [vec![], vec![4], vec![0, u64::MAX], spread(10_000), close, vec![8, 8, 8, u64::MAX - 1]]
        {
            for bits in [1, 4, index_bits(values.len() as u64)] {
                let (index, bytes) = made(&values, bits);
                let sorted = Sorted { starts: &index, values: &bytes, bits };
                assert_eq!((sorted.len(), sorted.is_empty()), (values.len(), values.is_empty()));
                let near =
                    values.iter().flat_map(|value| [*value, value.wrapping_add(1), value.wrapping_sub(1)]);
                for asked in near.chain([0, 1, 2, u64::MAX, 1 << 63]) {
                    assert_eq!(sorted.has(asked), values.contains(&asked), "{asked:x} of {}", values.len());
                    let place = values.partition_point(|value| *value < asked);
                    assert_eq!(sorted.place_of(asked), place, "{asked:x}");
                }
            }
        }
    }

    /// A file that rots, or that somebody made.
    #[test]
    fn no_bytes_do_harm() {
        let (index, bytes) = made(&spread(1_000), 4);
        for place in 0..index.len() {
            let mut bad = index.clone();
            bad[place] ^= 0xff;
            for asked in [0, 1 << 40, 1 << 61, 1 << 63, u64::MAX] {
                for (starts, values) in
                    [(&bad[..], &bytes[..]), (&bad[..place], &bytes[..]), (&index[..], &bytes[..8 * place])]
                {
                    let _ = Sorted { starts, values, bits: 4 }.has(asked);
                }
            }
        }
        assert!(!Sorted { starts: &[], values: &[], bits: 0 }.has(2));
    }

    #[test]
    fn the_index_grows_with_the_list() {
        assert_eq!([0, 1_000, 50_000_000, u64::MAX].map(index_bits), [1, 3, 19, 24]);
    }
}
