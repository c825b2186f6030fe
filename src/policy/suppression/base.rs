//! The list's file as shards look into it: fingerprints in order, mapped. What else is known of entries is in the book behind them, which control reads.

use std::fmt;

use super::entry::Place;
use super::layout::{BadFile, Head, Part};
use super::sorted::{Search, Sorted};

/// Its first bytes, up to where the fingerprints end, wherever they are.
pub type Bytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// The file.
pub struct Base {
    head: Head,
    bytes: Bytes,
}

impl Base {
    /// One whose head was read, of its first bytes. Its indexes are looked at: so much is read at a start, and no more.
    pub fn new(head: Head, bytes: Bytes) -> Result<Base, BadFile> {
        let base = Base { head, bytes };
        let there = (*base.bytes).as_ref().len() as u64;
        if there < head.mapped() {
            return Err(BadFile::Length(there, head.mapped()));
        }
        for part in &base.head.parts {
            if crc32c::crc32c(base.slice(part.index_at, part.index_bytes())) != part.index_sum {
                return Err(BadFile::Damaged("the index of its fingerprints"));
            }
        }
        Ok(base)
    }

    /// What it says of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    #[inline]
    fn slice(&self, at: u64, length: u64) -> &[u8] {
        // Within the bytes: looked at above.
        (*self.bytes).as_ref().get(at as usize..(at + length) as usize).unwrap_or_default()
    }

    /// Fingerprints of addresses, or of domains.
    #[inline]
    pub fn sorted(&self, of_domains: bool) -> Sorted<'_> {
        let part: &Part = &self.head.parts[usize::from(of_domains)];
        Sorted {
            starts: self.slice(part.index_at, part.index_bytes()),
            values: self.slice(part.values_at, part.values_bytes()),
            bits: part.bits,
        }
    }

    /// Whether there is one at this place.
    #[inline]
    pub fn has(&self, place: Place) -> bool {
        self.sorted(place.of_domains).has(place.fingerprint)
    }

    /// Which of a few places, those that are asked for, has one: the first.
    #[inline]
    pub fn first_of<const N: usize>(&self, places: &[Option<Place>; N]) -> Option<usize> {
        let (mut searches, mut first) = ([Search::default(); N], [0; N]);
        let parts = [self.sorted(false), self.sorted(true)];
        let part = |place: &Place| &parts[usize::from(place.of_domains)];
        let asked =
            || places.iter().enumerate().filter_map(|(at, place)| place.as_ref().map(|place| (at, place)));
        asked().for_each(|(at, place)| searches[at] = part(place).begin(place.fingerprint));
        asked().for_each(|(at, place)| first[at] = part(place).look(&searches[at]));
        asked().find(|(at, place)| part(place).ends(&searches[*at], first[*at])).map(|(at, _)| at)
    }

    /// The kinds of its entries, a bit each.
    pub fn kinds(&self) -> u8 {
        (0..6).filter(|place| self.head.kinds[*place] > 0).fold(0, |all, place| all | 1 << place)
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Base({} entries)", self.head.entries())
    }
}
