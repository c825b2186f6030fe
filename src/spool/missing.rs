//! Messages of damaged segments that only their outcomes still know of.

use crate::queue::outcome::Stored;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::limits;

/// Where a record of a message lies: sequence number of its segment and offset.
pub(in crate::spool) type Spot = (u32, u32);

/// What outcomes and snapshots say of messages whose records are not there, though their segments are.
#[derive(Debug, Default)]
pub(in crate::spool) struct MissingRecords {
    /// Where each was stored: which of its recipients are left.
    left: BTreeMap<Spot, BTreeSet<u16>>,
}

impl MissingRecords {
    /// An outcome of one.
    pub fn outcome(&mut self, origin: Spot, first: u16, count: u16, disposition: &Stored) {
        let recipients = first..first.saturating_add(count.min(limits::RECIPIENTS_MAX as u16));
        if disposition.is_end() {
            if let Some(left) = self.left.get_mut(&origin) {
                left.retain(|recipient| !recipients.contains(recipient));
            }
        } else if !self.is_full() || self.left.contains_key(&origin) {
            self.left.entry(origin).or_default().extend(recipients);
        }
    }

    /// A snapshot of a damaged segment says better than the outcomes before it what of it is live. `is_gone`: whether nothing is found at
    /// an offset of it.
    pub fn snapshot(
        &mut self,
        about: u32,
        listed: &HashMap<u32, Vec<(u16, u16, Stored)>>,
        partial: bool,
        is_gone: impl Fn(u32) -> bool,
    ) {
        let before = self.left.range((about, 0)..=(about, u32::MAX));
        let before: Vec<Spot> = before.map(|(spot, _)| *spot).collect();
        for spot in before {
            if !partial || listed.contains_key(&spot.1) {
                self.left.remove(&spot);
            }
        }
        for (offset, ranges) in listed.iter().filter(|(_, ranges)| !ranges.is_empty()) {
            let live = ranges.iter().flat_map(|(first, count, _)| *first..first.saturating_add(*count));
            if !self.is_full() && is_gone(*offset) {
                self.left.insert((about, *offset), live.take(limits::RECIPIENTS_MAX).collect());
            }
        }
    }

    /// One was found after all.
    pub fn found(&mut self, origin: Spot) {
        self.left.remove(&origin);
    }

    /// Whether there may be more than are counted.
    pub fn is_full(&self) -> bool {
        self.left.len() >= limits::MISSING_MAX
    }

    /// Where each that has recipients left was stored, and how many these are.
    pub fn all(&self) -> impl Iterator<Item = (Spot, usize)> {
        let left = self.left.iter().filter(|(_, left)| !left.is_empty());
        left.map(|(origin, left)| (*origin, left.len()))
    }
}
