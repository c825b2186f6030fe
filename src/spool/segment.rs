//! What a segment looks like: one header block, then commits, each on a block boundary and opened by a commit header.
//!
//! ```text
//! 0      header block: who, which life, what came before        4096 bytes
//! 4096   [commit header][records …][bodies …][zeros to the next block]   one commit
//! …      the next commit
//! ```
//!
//! A commit is begun only when the one before is synced, so a valid commit header also says that all before it is on disk. A lane that comes to
//! rest writes a commit header without records, which says so of the last commit.

use crate::limits;

/// Bytes of a commit header.
pub const COMMIT_HEADER: usize = 48;
/// Where the first commit of a segment begins.
pub const FIRST_COMMIT: u64 = limits::BLOCK;

const MAGIC: [u8; 8] = *b"RELEVOSG";
const VERSION: u32 = 1;
pub(in crate::spool) const HEADER: usize = 64;
const MARK_MAGIC: [u8; 4] = *b"RVCM";

/// Reads little-endian numbers off the front of bytes that nobody vouches for.
#[derive(Clone, Copy, Debug)]
pub(in crate::spool) struct FieldReader<'a>(pub &'a [u8]);

impl<'a> FieldReader<'a> {
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Whether a segment holds anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nothing in it is live.
    Free,
    /// It holds commits of this life.
    Active,
}

/// Which lane of which node the segments of a lane say they are of: where it was created, wherever it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneOrigin {
    /// The node.
    pub node: u64,
    /// Its number there.
    pub lane: u16,
}

impl LaneOrigin {
    /// A number that other lanes do not have, and never 0.
    pub fn number(self) -> u64 {
        (self.node.rotate_left(16) ^ u64::from(self.lane)).max(1)
    }
}

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether it holds anything.
    pub life: Life,
    /// The lane this is of.
    pub origin: LaneOrigin,
    /// The file within the lane.
    pub slot: u16,
    /// Counts up over all segments of the lane, never reused.
    pub sequence: u32,
    /// Random for each life, in every commit header and record of it, never shown to anyone: old bytes cannot pass for new.
    pub salt: u64,
    /// Sequence number of the segment written before this one; 0 if there was none.
    pub predecessor: u32,
    /// Where that one validly ends; what it holds behind is void.
    pub predecessor_end: u32,
}

/// Why a header block is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// All zero: created and never used.
    Blank,
    /// Damaged.
    Damaged,
    /// Written by a later version of the format.
    Version(u32),
}

impl Header {
    /// The whole block.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(limits::BLOCK as usize);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&u32::from(self.life == Life::Active).to_le_bytes());
        block.extend_from_slice(&self.origin.node.to_le_bytes());
        block.extend_from_slice(&self.origin.lane.to_le_bytes());
        block.extend_from_slice(&self.slot.to_le_bytes());
        block.extend_from_slice(&self.sequence.to_le_bytes());
        block.extend_from_slice(&self.salt.to_le_bytes());
        block.extend_from_slice(&self.predecessor.to_le_bytes());
        block.extend_from_slice(&self.predecessor_end.to_le_bytes());
        block.resize(HEADER - 4, 0);
        let crc = crc32c::crc32c(&block);
        block.extend_from_slice(&crc.to_le_bytes());
        block.resize(limits::BLOCK as usize, 0);
        block
    }

    /// Reads a header block. Magic, version and the place of the CRC are the same in every version, so that a rotten version
    /// is not taken for a later one: that would keep the whole node from starting.
    pub fn decode(block: &[u8]) -> Result<Header, HeaderError> {
        if block.iter().all(|byte| *byte == 0) {
            return Err(HeaderError::Blank);
        }
        Header::parse(block).ok_or_else(|| match block.get(8..12).map(|version| FieldReader(version).u32()) {
            Some(Some(version)) if is_whole(block) && block.starts_with(&MAGIC) && version > VERSION => {
                HeaderError::Version(version)
            }
            _ => HeaderError::Damaged,
        })
    }

    /// What a damaged block said, if only one bit of it is wrong.
    pub(in crate::spool) fn mended(block: &[u8]) -> Option<Header> {
        let mut block = block.get(..HEADER)?.to_vec();
        (0..HEADER * 8).find_map(|bit| {
            block[bit / 8] ^= 1 << (bit % 8);
            let header = Header::parse(&block);
            block[bit / 8] ^= 1 << (bit % 8);
            header
        })
    }

    /// Whether what can be read of a damaged block is that of a segment of this node that holds nothing.
    pub(in crate::spool) fn seems_free(block: &[u8], node: u64) -> bool {
        let zero = |from: usize, to: usize| {
            block.get(from..to).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
        };
        block.get(16..24) == Some(&node.to_le_bytes()[..]) && zero(12, 16) && zero(32, 48)
    }

    /// Whether it was written to this file: one that was copied or moved about names others, and its mail would be sent
    /// twice or settled in the wrong place. Numbers count from 1 and never come near their end.
    pub fn belongs(&self, origin: LaneOrigin, slot: u16) -> bool {
        (self.origin, self.slot) == (origin, slot) && (1..u32::MAX / 2).contains(&self.sequence)
    }

    fn parse(block: &[u8]) -> Option<Header> {
        if !is_whole(block) {
            return None;
        }
        let mut fields = FieldReader(block);
        if fields.bytes(8)? != MAGIC || fields.u32()? != VERSION {
            return None;
        }
        Some(Header {
            life: if fields.u32()? == 1 { Life::Active } else { Life::Free },
            origin: LaneOrigin { node: fields.u64()?, lane: fields.u16()? },
            slot: fields.u16()?,
            sequence: fields.u32()?,
            salt: fields.u64()?,
            predecessor: fields.u32()?,
            predecessor_end: fields.u32()?,
        })
    }
}

/// Whether a header block's CRC is right.
fn is_whole(block: &[u8]) -> bool {
    let fields = block.get(..HEADER - 4);
    let crc = block.get(HEADER - 4..).and_then(|crc| FieldReader(crc).u32());
    fields.is_some() && fields.map(crc32c::crc32c) == crc
}

/// What opens a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitHeader {
    /// The segment's salt.
    pub salt: u64,
    /// Where this commit header stands.
    pub offset: u32,
    /// Records that follow.
    pub records: u32,
    /// Bytes of these records.
    pub records_length: u32,
    /// Bytes of the bodies behind them.
    pub bodies_length: u32,
    /// The last one before the node stopped in order: nothing was under way.
    pub clean: bool,
}

impl CommitHeader {
    /// Writes the commit header into the first [`COMMIT_HEADER`] bytes of `out`.
    pub fn write(&self, out: &mut [u8]) {
        out[..4].copy_from_slice(&MARK_MAGIC);
        out[4..8].copy_from_slice(&VERSION.to_le_bytes());
        out[8..16].copy_from_slice(&self.salt.to_le_bytes());
        out[16..20].copy_from_slice(&self.offset.to_le_bytes());
        out[20..24].copy_from_slice(&self.records.to_le_bytes());
        out[24..28].copy_from_slice(&self.records_length.to_le_bytes());
        out[28..32].copy_from_slice(&self.bodies_length.to_le_bytes());
        out[32..44].fill(0);
        out[32] = u8::from(self.clean);
        let crc = crc32c::crc32c(&out[..44]);
        out[44..48].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a commit header that must stand at `offset` of a segment with this salt.
    pub fn read(bytes: &[u8], salt: u64, offset: u64) -> Option<CommitHeader> {
        let bytes = bytes.get(..COMMIT_HEADER)?;
        let mut fields = FieldReader(bytes);
        if fields.bytes(4)? != MARK_MAGIC || fields.u32()? != VERSION {
            return None;
        }
        let commit_header = CommitHeader {
            salt: fields.u64()?,
            offset: fields.u32()?,
            records: fields.u32()?,
            records_length: fields.u32()?,
            bodies_length: fields.u32()?,
            clean: fields.u8()? == 1,
        };
        fields.bytes(11)?;
        let whole = fields.u32()? == crc32c::crc32c(&bytes[..44]);
        (whole && commit_header.salt == salt && u64::from(commit_header.offset) == offset)
            .then_some(commit_header)
    }

    /// The version of a whole commit header that a later version of the format put there: magic, version, salt, offset and the place of
    /// the CRC are the same in every version.
    pub(in crate::spool) fn later(bytes: &[u8], salt: u64, offset: u64) -> Option<u32> {
        let bytes = bytes.get(..COMMIT_HEADER)?;
        let mut fields = FieldReader(bytes);
        let magic = fields.bytes(4)? == MARK_MAGIC;
        let (version, found, place) = (fields.u32()?, fields.u64()?, fields.u32()?);
        let whole = FieldReader(&bytes[44..]).u32()? == crc32c::crc32c(&bytes[..44]);
        let here = found == salt && u64::from(place) == offset;
        (magic && whole && here && version > VERSION).then_some(version)
    }

    /// Where the next commit begins.
    pub fn end(&self) -> u64 {
        let end = u64::from(self.offset)
            + COMMIT_HEADER as u64
            + u64::from(self.records_length)
            + u64::from(self.bodies_length);
        end.next_multiple_of(limits::BLOCK)
    }

    /// Where the bodies begin.
    pub fn bodies_at(&self) -> u64 {
        u64::from(self.offset) + COMMIT_HEADER as u64 + u64::from(self.records_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_survives_its_block_and_no_damage() {
        let header = Header {
            life: Life::Active,
            origin: LaneOrigin { node: 7, lane: 3 },
            slot: 9,
            sequence: 12,
            salt: 0x0123_4567_89AB_CDEF,
            predecessor: 11,
            predecessor_end: 8192,
        };
        let block = header.encode();
        assert_eq!(block.len() as u64, limits::BLOCK);
        assert_eq!(Header::decode(&block), Ok(header));
        for at in 0..HEADER {
            let mut damaged = block.clone();
            damaged[at] ^= 1;
            assert_ne!(Header::decode(&damaged), Ok(header), "byte {at}");
        }
        assert_eq!(Header::decode(&[0; 4096]), Err(HeaderError::Blank));
        let mut later = block;
        later[8] = 2;
        assert_eq!(
            Header::decode(&later),
            Err(HeaderError::Damaged),
            "a bit that flipped is no later version"
        );
        let crc = crc32c::crc32c(&later[..HEADER - 4]);
        later[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&later), Err(HeaderError::Version(2)));
    }

    #[test]
    fn mark_counts_only_in_its_place_and_life() {
        let commit_header = CommitHeader {
            salt: 5,
            offset: 8192,
            records: 1,
            records_length: 100,
            bodies_length: 4000,
            clean: false,
        };
        let mut bytes = [0; COMMIT_HEADER];
        commit_header.write(&mut bytes);
        assert_eq!(CommitHeader::read(&bytes, 5, 8192), Some(commit_header));
        assert_eq!(CommitHeader::read(&bytes, 6, 8192), None, "another life");
        assert_eq!(CommitHeader::read(&bytes, 5, 4096), None, "another place");
        assert_eq!(CommitHeader::read(&bytes[..40], 5, 8192), None);
        assert_eq!(commit_header.end(), 16384);
        for at in 0..COMMIT_HEADER {
            let mut damaged = bytes;
            damaged[at] ^= 0x40;
            assert_eq!(CommitHeader::read(&damaged, 5, 8192), None, "byte {at}");
        }
    }
}
