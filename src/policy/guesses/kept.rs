//! What is kept of those who have logged in: which account was it from which address, as keyed hashes, and their key. No password is in it, nor what
//! was made of one. Whoever gets hold of it can ask of an account and an address that he thinks of whether that is one of them.

use ring::digest;

use super::Guesses;
use crate::limits;
use crate::time::Instant;

const BEGIN: &[u8] = b"relevo logins 1\n";

/// Pairs of account and address, and the key of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPairs {
    key: [u8; 32],
    /// That which has logged in last is at the end.
    names: Vec<u64>,
}

impl KnownPairs {
    /// None yet. `key`: bytes nobody knows.
    pub fn none(key: [u8; 32]) -> KnownPairs {
        KnownPairs { key, names: Vec::new() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Of a file; None: it is not as it was written.
    pub fn read(file: &[u8]) -> Option<KnownPairs> {
        let (text, sum) = file.split_at_checked(file.len().checked_sub(digest::SHA256_OUTPUT_LEN)?)?;
        if digest::digest(&digest::SHA256, text).as_ref() != sum {
            return None;
        }
        let (key, names) = text.strip_prefix(BEGIN)?.split_first_chunk()?;
        let (names, rest) = names.as_chunks();
        let is_whole = rest.is_empty() && names.len() <= limits::KNOWN_CLIENTS_MAX;
        is_whole.then(|| KnownPairs {
            key: *key,
            names: names.iter().map(|name| u64::from_be_bytes(*name)).collect(),
        })
    }

    /// As a file has it.
    pub fn write(&self) -> Vec<u8> {
        let mut file = [BEGIN, &self.key].concat();
        self.names.iter().for_each(|name| file.extend_from_slice(&name.to_be_bytes()));
        let sum = digest::digest(&digest::SHA256, &file);
        file.extend_from_slice(sum.as_ref());
        file
    }
}

impl Guesses {
    /// With what was kept: these are known, and longer ago than whoever logs in now.
    pub fn with(known: &KnownPairs) -> Guesses {
        let mut guesses = Guesses::new(&known.key);
        guesses.is_kept = true;
        for (at, name) in known.names.iter().enumerate().filter(|(_, name)| **name != 0) {
            guesses.pairs.place(*name).succeeded = Instant(1 + at as u64);
        }
        guesses
    }

    /// Whether what is known here is what was kept, and is to be kept.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether there is more to be kept than when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed) && self.is_kept
    }

    /// It could not be kept.
    pub fn not_kept(&mut self) {
        self.changed = true;
    }

    /// Some of the pairs, with when they logged in last; for all of them it is asked for one part after the other, so that nobody who logs in waits
    /// for it. None: there are no more.
    pub fn pairs_of(&self, part: usize) -> Option<Vec<(Instant, u64)>> {
        let rows = self.pairs.0.chunks(limits::KNOWN_ROWS_AT_ONCE).nth(part)?;
        let known = rows.iter().flatten().filter(|entry| entry.name != 0);
        Some(known.map(|entry| (entry.succeeded, entry.name)).collect())
    }

    /// All of these, to be kept.
    pub fn known_pairs(&self, mut all: Vec<(Instant, u64)>) -> KnownPairs {
        all.sort_unstable();
        KnownPairs { key: self.secret, names: all.into_iter().map(|(_, name)| name).collect() }
    }

    /// A pair has logged in.
    pub(super) fn known(&mut self, pair: u64, now: Instant) {
        let entry = self.pairs.place(pair);
        // In which order they did is kept no more exactly than this.
        self.changed |= now.since(entry.succeeded) > limits::KNOWN_ORDER || entry.succeeded == Instant(0);
        entry.succeeded = now;
    }
}
