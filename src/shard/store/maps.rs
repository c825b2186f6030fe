//! The maps of all lanes' segments, for every shard to read from.

use std::sync::{Mutex, PoisonError};

use crate::runtime::SegmentMap;

/// The maps of one lane's segments, by slot. Shards keep copies; this is where they get them.
#[derive(Debug, Default)]
pub(in crate::shard) struct LaneMaps(Mutex<Vec<Option<SegmentMap>>>);

impl LaneMaps {
    pub(in crate::shard) fn publish(&self, slot: u16, map: SegmentMap) {
        let mut maps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if maps.len() <= usize::from(slot) {
            maps.resize(usize::from(slot) + 1, None);
        }
        maps[usize::from(slot)] = Some(map);
    }

    pub(in crate::shard) fn of(&self, slot: u16) -> Option<SegmentMap> {
        let maps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        maps.get(usize::from(slot)).cloned().flatten()
    }

    /// Bytes of all segments.
    pub(in crate::shard) fn bytes(&self) -> u64 {
        let maps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        maps.iter().flatten().map(|map| map.len() as u64).sum()
    }
}
