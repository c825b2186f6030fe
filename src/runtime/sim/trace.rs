//! What happened in a simulated world: a hash over everything, and the last events in words.

use std::collections::{BTreeMap, VecDeque};

/// Events kept for a failing test to show.
const KEPT: usize = 512;

/// The event log.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    recent: VecDeque<Entry>,
    counts: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    what: &'static str,
    subject: u64,
    detail: u64,
}

impl Trace {
    pub(super) fn new(seed: u64) -> Trace {
        Trace {
            hash: seed ^ 0xcbf2_9ce4_8422_2325,
            recent: VecDeque::with_capacity(KEPT),
            counts: BTreeMap::new(),
        }
    }

    /// Records an event.
    pub(super) fn note(&mut self, at: u64, what: &'static str, subject: u64, detail: u64) {
        self.mix(digest(what.as_bytes()));
        self.mix(at);
        self.mix(subject);
        self.mix(detail);
        *self.counts.entry(what).or_default() += 1;
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(Entry { at, what, subject, detail });
    }

    /// Records what is too frequent to be kept in words.
    pub(super) fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash ^= self.hash >> 29;
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.hash
    }

    pub(super) fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// The last events, oldest first.
    pub(super) fn recent(&self) -> Vec<String> {
        self.recent
            .iter()
            .map(|Entry { at, what, subject, detail }| {
                format!("{at:>16} ns  {what} {subject:#x} {detail:#x}")
            })
            .collect()
    }
}

/// FNV-1a.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
