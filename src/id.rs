//! What everybody may know of a stored message: its id, which is forever, its location, which is where it lies now, and the proof that
//! something is on stable storage.

use std::fmt;
use std::str::FromStr;

/// A message's origin: lane, segment sequence number, offset of its record. Never changes, never reused.
/// Printed as 16 characters of Crockford's base 32 (80 bits), fixed width, sortable by lane and age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The lane that accepted it.
    pub lane: u16,
    /// Sequence number of the segment it was first stored in; counts up over the life of the lane.
    pub sequence: u32,
    /// Offset of its commit record in that segment, bytes.
    pub offset: u32,
}

/// Where a message's record lies now. `slot` names the segment file and its map, which never move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The lane.
    pub lane: u16,
    /// The segment file within the lane.
    pub slot: u16,
    /// Offset of the commit record, bytes.
    pub offset: u32,
}

/// Where in a lane a record stands, or where it ends: the order in which its records were written. Larger is later, and no place is used
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// An offset of the segment with this sequence number.
    pub const fn new(sequence: u32, offset: u32) -> Position {
        Position((sequence as u64) << 32 | offset as u64)
    }

    /// The sequence number.
    pub const fn sequence(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl MessageId {
    /// The 16 characters.
    pub fn to_text(self) -> [u8; 16] {
        let bits =
            (u128::from(self.lane) << 64) | (u128::from(self.sequence) << 32) | u128::from(self.offset);
        let mut text = [0; 16];
        for (place, character) in text.iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (75 - 5 * place)) as usize & 31];
        }
        text
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::str::from_utf8(&self.to_text()).expect("the alphabet is ASCII"))
    }
}

/// A text that is not a message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a message id has 16 letters and digits, like 00000000G0000102")
    }
}

impl std::error::Error for NotAnId {}

impl FromStr for MessageId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<MessageId, NotAnId> {
        if text.len() != 16 {
            return Err(NotAnId);
        }
        let mut bits = 0u128;
        for character in text.bytes() {
            let digit = ALPHABET.iter().position(|c| *c == character.to_ascii_uppercase()).ok_or(NotAnId)?;
            bits = bits << 5 | digit as u128;
        }
        Ok(MessageId { lane: (bits >> 64) as u16, sequence: (bits >> 32) as u32, offset: bits as u32 })
    }
}

/// A value whose record is synced. Only `spool::lane` makes one, and only from a runtime's `Synced`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// For `spool::lane` alone, which has the runtime's `Synced` in hand; tests/tidy looks.
    pub(crate) fn mint(value: T) -> Durable<T> {
        Durable(value)
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_survives_its_text() {
        for id in [
            MessageId { lane: 0, sequence: 0, offset: 0 },
            MessageId { lane: 7, sequence: 1234, offset: 4096 },
            MessageId { lane: u16::MAX, sequence: u32::MAX, offset: u32::MAX },
        ] {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), 16);
        }
        assert_eq!("U000000000000000".parse::<MessageId>(), Err(NotAnId));
        assert_eq!("".parse::<MessageId>(), Err(NotAnId));
    }
}
