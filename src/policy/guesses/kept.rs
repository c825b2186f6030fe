//! What is kept of those who have logged in: which account was it from which address, as keyed hashes, and their key. No password is in it, nor what
//! was made of one. Whoever gets hold of it can ask of an account and an address that he thinks of whether that is one of them.

use ring::digest;

use crate::limits;

const BEGIN: &[u8] = b"relevo logins 1\n";

/// Pairs of account and address, and the key of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPairs {
    pub(super) key: [u8; 32],
    /// That which has logged in last is at the end.
    pub(super) names: Vec<u64>,
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
