//! What of a peer's TLS rustls keeps in memory: a record that came in part, and a handshake message of which more is to come. It does not say
//! how much that is, and a peer decides it, so the frames of the records are followed beside it.

use crate::limits;

/// Bytes of a record before its content: type, version, length (RFC 8446 5.1).
const HEADER: usize = 5;

/// Follows the records of one connection.
#[derive(Debug, Default)]
pub(super) struct Records {
    header: [u8; HEADER],
    /// Bytes that came of the record that is not complete; 0: none has begun.
    partial: u32,
    /// Bytes of complete records since the last that brought data.
    barren: u32,
    /// Complete records that nobody asked about yet.
    complete: u32,
}

impl Records {
    /// These came behind those before.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let have = self.partial as usize;
            let wanted = if have < HEADER { HEADER } else { self.length() };
            let (more, rest) = bytes.split_at(bytes.len().min(wanted - have));
            if have < HEADER {
                self.header[have..have + more.len()].copy_from_slice(more);
            }
            self.partial += more.len() as u32;
            bytes = rest;
            if self.partial as usize >= HEADER && self.partial as usize == self.length() {
                self.barren = self.barren.saturating_add(self.partial);
                self.complete += 1;
                self.partial = 0;
            }
        }
    }

    /// Of the record that has begun, with its header.
    fn length(&self) -> usize {
        HEADER + usize::from(u16::from_be_bytes([self.header[3], self.header[4]]))
    }

    /// What the records since the last call cost, in receives: each is decrypted by itself, and a peer may send a byte in each.
    pub(super) fn take_cost(&mut self) -> u32 {
        std::mem::take(&mut self.complete) / limits::RECORDS_OF_RECEIVE
    }

    /// What came was data.
    pub(super) fn brought(&mut self) {
        self.barren = 0;
    }

    /// Bytes that are kept, at the most.
    pub(super) fn held(&self) -> usize {
        let joining = (self.barren as usize).min(limits::TLS_MESSAGE_MAX);
        // One longer than a record may be is an error of the next look.
        joining + (self.partial as usize).min(limits::CIPHERTEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: usize) -> Vec<u8> {
        let mut bytes = vec![23, 3, 3];
        bytes.extend((length as u16).to_be_bytes());
        bytes.resize(HEADER + length, 0xaa);
        bytes
    }

    #[test]
    fn what_is_not_complete_is_held_however_it_comes() {
        let stream = [record(0), record(1), record(16_401), record(300)].concat();
        for step in [1, 2, 3, 5, 6, 4096, stream.len()] {
            let (mut records, mut came) = (Records::default(), 0);
            for piece in stream.chunks(step) {
                records.follow(piece);
                records.brought();
                came += piece.len();
                let ends = [5, 11, 11 + 16_406, stream.len()];
                let begun = ends.iter().rev().find(|end| **end <= came).copied().unwrap_or(0);
                assert_eq!(records.held(), came - begun, "{step}: {came}");
            }
            assert_eq!(records.held(), 0);
        }
    }

    #[test]
    fn small_records_cost_as_many_receives_as_they_take() {
        let mut records = Records::default();
        records.follow(&[record(16_401), record(16_401)].concat());
        assert_eq!(records.take_cost(), 0);
        let smallest = record(18);
        let most = limits::CIPHERTEXT / smallest.len();
        records.follow(&smallest.repeat(most));
        let cost = records.take_cost();
        assert!(cost >= limits::RECEIVES_AT_ONCE, "a turn ends with them: {cost}");
        assert_eq!(records.take_cost(), 0);
    }

    #[test]
    fn what_brings_no_data_is_held_up_to_what_rustls_keeps() {
        let mut records = Records::default();
        for _ in 0..10 {
            records.follow(&record(10_000));
        }
        records.follow(&record(100)[..50]);
        assert_eq!(records.held(), limits::TLS_MESSAGE_MAX + 50);
        records.brought();
        assert_eq!(records.held(), 50);
    }
}
