//! The head of the list's file: one page that says what is where, how much of it, and what it sums up to (CRC-32C). docs/suppression.md has the table.

use std::fmt;

use super::fingerprint::Key;
use super::sorted::{index_bits, index_bytes};
use crate::limits;
use crate::time::UnixMillis;

/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"RLVOSUPP";
/// The one version there is.
const VERSION: u32 = 1;
/// Bytes of the head, and what its parts begin at a multiple of.
pub const PAGE: u64 = 4096;

/// What is where of the entries about addresses, or of those about domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How many there are.
    pub count: u64,
    /// By how many bits the index is.
    pub bits: u32,
    /// What the index sums up to.
    pub index_sum: u32,
    /// Where the index is.
    pub index_at: u64,
    /// Where the fingerprints are.
    pub values_at: u64,
    /// What they sum up to.
    pub values_sum: u32,
    /// What the places of the blocks sum up to.
    pub blocks_sum: u32,
    /// Where the places of the blocks in the book are, 8 bytes each.
    pub blocks_at: u64,
}

impl Part {
    /// Blocks of the book.
    pub fn blocks(&self) -> u64 {
        self.count.div_ceil(limits::SUPPRESSION_BLOCK as u64)
    }

    /// Bytes of the index.
    pub fn index_bytes(&self) -> u64 {
        index_bytes(self.bits)
    }

    /// Bytes of the fingerprints.
    pub fn values_bytes(&self) -> u64 {
        8 * self.count
    }

    /// Bytes of the places of the blocks.
    pub fn blocks_bytes(&self) -> u64 {
        8 * self.blocks()
    }
}

/// The head of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What fingerprints are made with.
    pub key: Key,
    /// The last change that is in it.
    pub change: u64,
    /// When it was made.
    pub made: UnixMillis,
    /// When the first of its entries ends; 0: none does.
    pub ends: UnixMillis,
    /// How many there are of each kind: of the node, then of tenants.
    pub kinds: [u64; 6],
    /// Addresses and domains.
    pub parts: [Part; 2],
    /// Where the book begins.
    pub book_at: u64,
    /// Where it ends, and with it the file.
    pub end: u64,
}

/// Why a file is not the list's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFile {
    /// It begins with something else.
    Foreign,
    /// A later version of relevo wrote it.
    Newer(u32),
    /// It is shorter, or longer, than it was made: bytes there are, and should be.
    Length(u64, u64),
    /// A part of it is not as it was written.
    Damaged(&'static str),
}

impl fmt::Display for BadFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFile::Foreign => formatter.write_str("it is no suppression list of relevo's"),
            BadFile::Newer(version) => {
                write!(formatter, "a later version of relevo wrote it (its format is {version})")
            }
            BadFile::Length(there, wanted) => {
                write!(
                    formatter,
                    "it has {there} bytes, and was written with {wanted}: it was cut or copied in part"
                )
            }
            BadFile::Damaged(what) => write!(formatter, "it is damaged: {what} is not as it was written"),
        }
    }
}

/// Up to the next page.
fn page(at: u64) -> u64 {
    at.next_multiple_of(PAGE)
}

impl Head {
    /// Where everything is, with room for so many addresses and domains. The book begins behind it.
    pub fn plan(key: Key, most: [u64; 2]) -> Head {
        let mut at = PAGE;
        let mut take = |bytes: u64| {
            let from = at;
            at = page(at + bytes);
            from
        };
        let mut parts = most.map(|count| Part { count, bits: index_bits(count), ..Part::default() });
        for part in &mut parts {
            part.index_at = take(part.index_bytes());
            part.values_at = take(part.values_bytes());
        }
        for part in &mut parts {
            part.blocks_at = take(part.blocks_bytes());
        }
        let (change, made, ends) = (0, UnixMillis(0), UnixMillis(0));
        Head { key, change, made, ends, kinds: [0; 6], parts, book_at: at, end: at }
    }

    /// The page.
    pub fn page(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(limits::SUPPRESSION_HEAD);
        body.extend_from_slice(&self.key.0);
        let mut long = |number: u64| body.extend_from_slice(&number.to_le_bytes());
        [self.change, self.made.0, self.ends.0].into_iter().for_each(&mut long);
        self.kinds.into_iter().for_each(&mut long);
        for part in &self.parts {
            let Part { count, bits, index_sum, index_at, values_at, values_sum, blocks_sum, blocks_at } =
                *part;
            let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
            let words =
                [count, pair(bits, index_sum), index_at, values_at, pair(values_sum, blocks_sum), blocks_at];
            words.into_iter().for_each(&mut long);
        }
        [self.book_at, self.end].into_iter().for_each(&mut long);
        body.resize(limits::SUPPRESSION_HEAD - 16, 0);
        let mut page = MAGIC.to_vec();
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        page.extend_from_slice(&body);
        page
    }

    /// Reads it, of a file of so many bytes. What it says is then within the file, and fits together.
    pub fn read(page: &[u8], length: u64) -> Result<Head, BadFile> {
        if page.get(..8) != Some(&MAGIC) {
            return Err(BadFile::Foreign);
        }
        let number = |at: usize| page.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let short = BadFile::Length(length, PAGE);
        let version = number(8).ok_or(short)?;
        if version != VERSION {
            return Err(if version > VERSION {
                BadFile::Newer(version)
            } else {
                BadFile::Damaged("its head")
            });
        }
        let body = page.get(16..limits::SUPPRESSION_HEAD).ok_or(short)?;
        if number(12) != Some(crc32c::crc32c(body)) {
            return Err(BadFile::Damaged("its head"));
        }
        let (key, rest) = body.split_first_chunk().ok_or(short)?;
        let mut words = rest.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut long = || words.next().unwrap_or_default();
        let (change, made, ends) = (long(), UnixMillis(long()), UnixMillis(long()));
        let kinds = std::array::from_fn(|_| long());
        let parts = std::array::from_fn(|_| {
            let halves = |word: u64| (word as u32, (word >> 32) as u32);
            let (count, (bits, index_sum)) = (long(), halves(long()));
            let (index_at, values_at, (values_sum, blocks_sum)) = (long(), long(), halves(long()));
            Part { count, bits, index_sum, index_at, values_at, values_sum, blocks_sum, blocks_at: long() }
        });
        let head = Head { key: Key(*key), change, made, ends, kinds, parts, book_at: long(), end: long() };
        if !head.fits_together() {
            return Err(BadFile::Damaged("its head"));
        }
        if head.end != length {
            return Err(BadFile::Length(length, head.end));
        }
        Ok(head)
    }

    /// Its sum was right, so relevo wrote it: but whoever wants may make one.
    fn fits_together(&self) -> bool {
        let mut at = PAGE;
        let mut follows = |from: u64, bytes: u64| {
            let follows = from >= at && from.is_multiple_of(PAGE) && from <= self.book_at;
            at = from.saturating_add(bytes);
            follows
        };
        let [one, other] = &self.parts;
        let small = |part: &Part| {
            part.count <= limits::SUPPRESSION_ENTRIES_MAX
                && (1..=limits::SUPPRESSION_INDEX_BITS_MAX).contains(&part.bits)
        };
        small(one)
            && small(other)
            && follows(one.index_at, one.index_bytes())
            && follows(one.values_at, one.values_bytes())
            && follows(other.index_at, other.index_bytes())
            && follows(other.values_at, other.values_bytes())
            && follows(one.blocks_at, one.blocks_bytes())
            && follows(other.blocks_at, other.blocks_bytes())
            && follows(self.book_at, 0)
            && self.end >= self.book_at
            && self.kinds.iter().fold(0u64, |all, count| all.saturating_add(*count))
                == one.count + other.count
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.parts[0].count + self.parts[1].count
    }

    /// Bytes from the front that a look-up reads.
    pub fn mapped(&self) -> u64 {
        self.parts[1].values_at + self.parts[1].values_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let mut head = Head::plan(Key([7; 16]), [1_000_000, 70]);
        (head.change, head.made, head.ends) = (5, UnixMillis(6), UnixMillis(7));
        head.kinds = [900_000, 40, 0, 100_000, 20, 10];
        head.end += 12_345;
        head
    }

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let (head, page) = (head(), head().page());
        assert_eq!(page.len(), limits::SUPPRESSION_HEAD);
        assert_eq!(Head::read(&page, head.end), Ok(head));
        assert_eq!(head.entries(), 1_000_070);
        assert!(head.mapped() < head.book_at && head.mapped() > 8_000_000);
    }

    #[test]
    fn what_is_wrong_with_a_file_has_a_name() {
        let (head, page) = (head(), head().page());
        assert_eq!(Head::read(b"SQLite format 3\0", 16), Err(BadFile::Foreign));
        assert_eq!(Head::read(&[], 0), Err(BadFile::Foreign));
        assert_eq!(Head::read(&page[..100], 100), Err(BadFile::Length(100, PAGE)));
        assert_eq!(Head::read(&page, 5_000), Err(BadFile::Length(5_000, head.end)));
        let mut newer = page.clone();
        newer[8] = 2;
        assert_eq!(Head::read(&newer, head.end), Err(BadFile::Newer(2)));
        for place in (8..page.len()).filter(|place| !(8..12).contains(place)) {
            let mut bad = page.clone();
            bad[place] ^= 0x10;
            assert_eq!(Head::read(&bad, head.end), Err(BadFile::Damaged("its head")), "{place}");
        }
    }

    /// Sums that are right make no sense of what has none.
    #[test]
    fn what_does_not_fit_together_is_refused() {
        let bad = |change: fn(&mut Head)| {
            let mut head = head();
            change(&mut head);
            Head::read(&head.page(), head.end)
        };
        assert!(bad(|_| {}).is_ok());
        for change in [
            (|head| head.parts[0].count = u64::MAX) as fn(&mut Head),
            |head| head.parts[0].count += 1,
            |head| head.parts[0].bits = 60,
            |head| head.parts[1].bits = 0,
            |head| head.parts[0].index_at = 0,
            |head| head.parts[1].values_at = head.parts[0].values_at,
            |head| head.parts[1].blocks_at = u64::MAX - 4095,
            |head| head.book_at = PAGE,
            |head| head.end = head.book_at - 1,
            |head| head.kinds = [u64::MAX; 6],
        ] {
            assert_eq!(bad(change), Err(BadFile::Damaged("its head")));
        }
    }
}
