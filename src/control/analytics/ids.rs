//! Which events were counted: what a start tells again counts once.

use std::collections::{HashSet, VecDeque};

use crate::limits;

/// Ids of events, of so many the latest: by hashes, as nothing is read of them.
#[derive(Debug, Default)]
pub(super) struct Ids {
    latest: VecDeque<u64>,
    /// So many of them, the last, are not written.
    news: usize,
    /// The same to be looked into, while something is told again.
    set: Option<HashSet<u64>>,
}

impl Ids {
    /// Remembers one. Whether it is new: that is asked of what is told again alone.
    pub fn add(&mut self, id: &[u8], again: bool) -> bool {
        let hash = hash(id);
        if again {
            let set = self.set.get_or_insert_with(|| self.latest.iter().copied().collect());
            if !set.insert(hash) {
                return false;
            }
        } else if let Some(set) = &mut self.set {
            set.insert(hash);
        }
        self.latest.push_back(hash);
        self.news += 1;
        self.cut();
        true
    }

    /// Those that were remembered before this process was.
    pub fn know(&mut self, ids: Vec<u64>) {
        self.latest.extend(ids);
        self.cut();
    }

    /// Those since they were written last.
    pub fn news(&self) -> Vec<u64> {
        let latest = &self.latest;
        latest.iter().skip(latest.len().saturating_sub(self.news)).copied().collect()
    }

    /// They are written.
    pub fn written(&mut self) {
        self.news = 0;
    }

    fn cut(&mut self) {
        let surplus = self.latest.len().saturating_sub(limits::ANALYTICS_REPEATED);
        self.latest.drain(..surplus);
        self.news = self.news.min(self.latest.len());
        // Made anew where something is told again then.
        if self.set.as_ref().is_some_and(|set| set.len() > 2 * limits::ANALYTICS_REPEATED) {
            self.set = None;
        }
    }
}

/// FNV-1a, the same whatever builds it.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
