//! Where a piece of a body lies.

use crate::spool::segment::FieldReader;

/// A piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The segment's sequence number.
    pub sequence: u32,
    /// Its file.
    pub slot: u16,
    /// Offset, bytes.
    pub offset: u32,
    /// Length, bytes.
    pub length: u32,
    /// CRC32C.
    pub crc: u32,
}

/// Bytes of it in a record.
pub(super) const EXTENT: usize = 18;

/// As it is written.
pub(super) fn encode_extent(extent: &Extent) -> [u8; EXTENT] {
    let mut bytes = [0; EXTENT];
    bytes[..4].copy_from_slice(&extent.sequence.to_le_bytes());
    bytes[4..6].copy_from_slice(&extent.slot.to_le_bytes());
    bytes[6..10].copy_from_slice(&extent.offset.to_le_bytes());
    bytes[10..14].copy_from_slice(&extent.length.to_le_bytes());
    bytes[14..].copy_from_slice(&extent.crc.to_le_bytes());
    bytes
}

/// Reads what is an extent in messages and chunks.
pub(in crate::spool) fn read_extent(value: &mut FieldReader<'_>) -> Option<Extent> {
    Some(Extent {
        sequence: value.u32()?,
        slot: value.u16()?,
        offset: value.u32()?,
        length: value.u32()?,
        crc: value.u32()?,
    })
}

/// Puts an extent where [`write_message`] left room.
pub(in crate::spool) fn patch_extent(out: &mut [u8], at: usize, extent: &Extent) {
    out[at..at + EXTENT].copy_from_slice(&encode_extent(extent));
}
