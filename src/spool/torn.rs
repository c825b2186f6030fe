//! A header block whose write was cut short: the first bytes are of the new header, the rest and the CRC still of the old one.
//!
//! The old header is proven by its CRC, so this is no guess. Two writes can be cut: the one that opens a free segment, and the one that
//! frees a segment.

use crate::spool::segment::{FieldReader, HEADER, Header, LaneOrigin, Life};

/// What a segment was before its header was written over in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spool) enum Before {
    /// Free, and nothing was written to it since: whatever it holds is of former lives.
    Free,
    /// This; all of it was settled, or it would not have been freed.
    Active(Header),
}

/// What a damaged block said before. `highest` is the highest sequence number of the lane, `salts` are those of the commits in the file.
pub(in crate::spool) fn before(
    block: &[u8],
    (origin, slot, highest): (LaneOrigin, u16, u32),
    salts: impl IntoIterator<Item = u64>,
) -> Option<Before> {
    if was_free(block, origin, slot, highest) {
        return Some(Before::Free);
    }
    let mut fields = FieldReader(block.get(28..48)?);
    let (sequence, salt) = (fields.u32()?, fields.u64()?);
    let (predecessor, predecessor_end) = (fields.u32()?, fields.u32()?);
    let header =
        |salt| Header { life: Life::Active, origin, slot, sequence, salt, predecessor, predecessor_end };
    let crc = block.get(HEADER - 4..HEADER)?;
    let was = |header: &Header| header.encode()[HEADER - 4..HEADER] == *crc;
    std::iter::once(salt).chain(salts).map(header).find(was).map(Before::Active)
}

/// Whether the CRC is that of a free segment. Its sequence number may be overwritten; as a CRC is linear, it can be computed, and is one
/// that the lane has had only where it was there: of 2^32 numbers, any damage but this gives one by chance.
fn was_free(block: &[u8], origin: LaneOrigin, slot: u16, highest: u32) -> bool {
    let Some(crc) = block.get(HEADER - 4..HEADER).and_then(|crc| FieldReader(crc).u32()) else {
        return false;
    };
    let crc_of = |sequence| {
        let header =
            Header { life: Life::Free, origin, slot, sequence, salt: 0, predecessor: 0, predecessor_end: 0 };
        FieldReader(&header.encode()[HEADER - 4..]).u32().expect("a header has a CRC")
    };
    let zero = crc_of(0);
    sum_of(crc ^ zero, |bit| crc_of(1 << bit) ^ zero)
        .is_some_and(|sequence| (1..=highest).contains(&sequence))
}

/// Which of 32 numbers, as bits, give `target` where they are added without carry.
fn sum_of(mut target: u32, number: impl Fn(u32) -> u32) -> Option<u32> {
    // By their highest bit: the rest of a number, and of which it is made.
    let mut rests = [(0, 0); 32];
    for bit in 0..32 {
        let (mut value, mut made_of) = (number(bit), 1 << bit);
        while value != 0 {
            let rest = &mut rests[value.ilog2() as usize];
            if rest.0 == 0 {
                *rest = (value, made_of);
                break;
            }
            (value, made_of) = (value ^ rest.0, made_of ^ rest.1);
        }
    }
    let mut found = 0;
    while target != 0 {
        let (value, made_of) = rests[target.ilog2() as usize];
        if value == 0 {
            return None;
        }
        (target, found) = (target ^ value, found ^ made_of);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    const ORIGIN: LaneOrigin = LaneOrigin { node: 0x0123_4567_89AB_CDEF, lane: 3 };
    const FREE: Header = Header {
        life: Life::Free,
        origin: ORIGIN,
        slot: 9,
        sequence: 12,
        salt: 0,
        predecessor: 0,
        predecessor_end: 0,
    };
    const ACTIVE: Header = Header {
        life: Life::Active,
        sequence: 0x0001_0302,
        salt: 0xFEDC_BA98_7654_3210,
        predecessor: 0x0001_0301,
        predecessor_end: 8192,
        ..FREE
    };

    /// So many bytes of `new` were written over `old`.
    fn cut(new: Header, old: Header, length: usize) -> Vec<u8> {
        [&new.encode()[..length], &old.encode()[length..]].concat()
    }

    #[test]
    fn a_free_segment_is_known_wherever_the_header_that_opens_it_was_cut() {
        for length in 13..=HEADER - 4 {
            let block = cut(ACTIVE, FREE, length);
            assert_eq!(Header::decode(&block).ok(), None);
            let old = [0x1111_2222_3333_4444];
            assert_eq!(before(&block, (ORIGIN, 9, ACTIVE.sequence), old), Some(Before::Free), "{length}");
        }
    }

    #[test]
    fn a_segment_that_was_being_freed_is_known_by_its_salt() {
        let free = Header { sequence: ACTIVE.sequence, ..FREE };
        for length in 13..=40 {
            let block = cut(free, ACTIVE, length);
            let found = before(&block, (ORIGIN, 9, ACTIVE.sequence), [7, ACTIVE.salt]);
            assert_eq!(found, Some(Before::Active(ACTIVE)), "{length}");
        }
    }

    #[test]
    fn other_damage_is_neither() {
        let mut block = ACTIVE.encode();
        for at in 0..HEADER {
            let was = std::mem::replace(&mut block[at], 0x5A);
            let lost = at < 28 || (48..HEADER - 4).contains(&at);
            let found = before(&block, (ORIGIN, 9, ACTIVE.sequence), [7]);
            // What everybody knows of a segment may be lost; what only its header said may not.
            assert_eq!(found, lost.then_some(Before::Active(ACTIVE)), "byte {at}");
            block[at] = was;
        }
        assert_eq!(before(&[0; limits::BLOCK as usize], (ORIGIN, 9, 12), []), None, "blank");
    }
}
