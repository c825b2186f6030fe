//! How events lie in a segment of the journal: a header, then frames. Numbers are little-endian; what is damaged or cut off anywhere is told from
//! what is whole by its CRC-32C.
//!
//! ```text
//! header   magic 8, version 4, sequence of the segment 8, CRC of these 4
//! frame    length of what it carries 4, kind 1, CRC of length, kind and what it carries 4; what it carries
//! ```

use std::collections::BTreeMap;

use crate::control::journal::place::LaneCheckpoint;
use crate::id::Position;
use crate::limits;

const MAGIC: [u8; 8] = *b"RELEVOJL";
const VERSION: u32 = 1;
/// Bytes of a segment's header.
pub(in crate::control) const HEADER: usize = 24;
/// Bytes of a frame in front of what it carries.
pub(super) const HEAD: usize = 9;
/// A lane and its position.
const POSITION: usize = 10;
/// A lane, which one it is, and its position.
const KNOWN: usize = 18;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole lines, an event each.
    Lines,
    /// Of some lanes, the position up to which the lines before tell of all that is recorded there. What comes later holds. It was written before
    /// there were [`Kind::Lanes`].
    Positions,
    /// The same, and which lanes these are: another one may get the number of one that was removed.
    Lanes,
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: Kind,
    /// Bytes that it carries.
    pub length: usize,
    crc: u32,
}

/// The header of a segment.
pub(super) fn header(sequence: u64) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..20].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32c::crc32c(&out[..20]);
    out[20..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Begins a frame at the end of `out`: what it carries is to be appended, and [`end`] called with what this returned.
pub(super) fn begin(kind: Kind, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; HEAD]);
    out[at + 4] = kind.number();
    at
}

/// Ends the frame that began there.
pub(super) fn end(at: usize, out: &mut [u8]) {
    let length = u32::try_from(out.len() - at - HEAD).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(&out[at..]);
    out[at + 5..at + HEAD].copy_from_slice(&crc.to_le_bytes());
}

/// A frame with these positions.
pub(super) fn positions(of: &BTreeMap<u16, LaneCheckpoint>, out: &mut Vec<u8>) {
    let at = begin(Kind::Lanes, out);
    for (lane, LaneCheckpoint { until, origin }) in of {
        out.extend_from_slice(&lane.to_le_bytes());
        out.extend_from_slice(&origin.to_le_bytes());
        out.extend_from_slice(&until.0.to_le_bytes());
    }
    end(at, out);
}

/// Takes over the positions that a frame carries, if it does.
pub(super) fn read_positions(kind: Kind, carried: &[u8], into: &mut BTreeMap<u16, LaneCheckpoint>) {
    match kind {
        Kind::Lines => {}
        Kind::Positions => {
            for one in carried.as_chunks::<POSITION>().0 {
                let [lane, lane_high, until @ ..] = *one;
                let known = LaneCheckpoint { until: Position(u64::from_le_bytes(until)), origin: 0 };
                into.insert(u16::from_le_bytes([lane, lane_high]), known);
            }
        }
        Kind::Lanes => {
            for one in carried.as_chunks::<KNOWN>().0 {
                let [lane, lane_high, o0, o1, o2, o3, o4, o5, o6, o7, until @ ..] = *one;
                let origin = u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
                let known = LaneCheckpoint { until: Position(u64::from_le_bytes(until)), origin };
                into.insert(u16::from_le_bytes([lane, lane_high]), known);
            }
        }
    }
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Lines => 1,
            Kind::Positions => 2,
            Kind::Lanes => 3,
        }
    }
}

impl Head {
    /// Reads it. None: these bytes begin no frame.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Option<Head> {
        let [l0, l1, l2, l3, kind, crc @ ..] = *bytes;
        let kind =
            [Kind::Lines, Kind::Positions, Kind::Lanes].into_iter().find(|known| known.number() == kind)?;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        (length <= limits::JOURNAL_FRAME_MAX).then_some(Head { kind, length, crc: u32::from_le_bytes(crc) })
    }

    /// Whether this is what the frame was given to carry.
    pub(super) fn carries(&self, carried: &[u8]) -> bool {
        let mut bytes = [0; 5];
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4] = self.kind.number();
        carried.len() == self.length && crc32c::crc32c_append(crc32c::crc32c(&bytes), carried) == self.crc
    }
}

/// Of a whole frame.
fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..5]), &frame[HEAD..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames at the beginning of some bytes that are whole, and where they end.
    fn whole(bytes: &[u8]) -> (Vec<(Kind, Vec<u8>)>, usize) {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(head) = bytes[at..].first_chunk().and_then(Head::read) {
            let Some(carried) = bytes.get(at + HEAD..at + HEAD + head.length) else { break };
            if !head.carries(carried) {
                break;
            }
            found.push((head.kind, carried.to_vec()));
            at += HEAD + head.length;
        }
        (found, at)
    }

    fn lines(text: &[u8], out: &mut Vec<u8>) {
        let at = begin(Kind::Lines, out);
        out.extend_from_slice(text);
        end(at, out);
    }

    #[test]
    fn frames_that_are_damaged_or_cut_anywhere_are_told_from_whole_ones() {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        lines(b"one\ntwo\n", &mut bytes);
        ends.push(bytes.len());
        let known = |until, origin| LaneCheckpoint { until: Position(until), origin };
        positions(&BTreeMap::from([(0, known(7, 9)), (3, known(u64::MAX, u64::MAX))]), &mut bytes);
        ends.push(bytes.len());
        lines(b"three\n", &mut bytes);
        ends.push(bytes.len());
        let (found, end) = whole(&bytes);
        assert_eq!((found.len(), end), (3, bytes.len()));
        assert_eq!(found[0], (Kind::Lines, b"one\ntwo\n".to_vec()));
        let mut table = BTreeMap::from([(0, known(1, 1)), (1, known(1, 1))]);
        read_positions(found[0].0, &found[0].1, &mut table);
        read_positions(found[1].0, &found[1].1, &mut table);
        let wanted = [(0, known(7, 9)), (1, known(1, 1)), (3, known(u64::MAX, u64::MAX))];
        assert_eq!(table, BTreeMap::from(wanted));
        // As it was written before lanes had origins.
        read_positions(Kind::Positions, &[1, 0, 5, 0, 0, 0, 0, 0, 0, 0], &mut table);
        assert_eq!(table.get(&1), Some(&known(5, 0)));
        // The frames before the one that is hit stay, and nothing behind it is believed.
        let before = |at: usize| ends.iter().filter(|end| **end <= at).count();
        for at in 0..bytes.len() {
            assert_eq!(whole(&bytes[..at]).0.len(), before(at), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(whole(&damaged).0.len(), before(at), "bit {bit} at {at}");
            }
        }
    }

    #[test]
    fn a_header_is_its_segments_alone() {
        let right = header(9);
        assert_ne!(right, header(10));
        assert_eq!(crc32c::crc32c(&right[..20]).to_le_bytes(), right[20..]);
        assert_eq!((&right[..8], &right[12..20]), (&MAGIC[..], &9u64.to_le_bytes()[..]));
    }
}
