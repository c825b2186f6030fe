//! How large the list is, and what came on it, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::families::{Family, FamilyInfo};
use crate::policy::suppression::entry::Reason;

/// Entries that came on the list since the start, by why.
pub const ADDED: FamilyInfo = FamilyInfo {
    name: "suppression_added",
    help: "Entries that came on the suppression list since the start, by why",
    label: "reason",
    values: &["hard_bounce", "complaint", "unsubscribe", "manual", "imported"],
};

/// The numbers.
#[derive(Debug)]
pub struct ListNumbers {
    entries: AtomicU64,
    changes: AtomicU64,
    added: Family,
}

impl Default for ListNumbers {
    fn default() -> ListNumbers {
        ListNumbers { entries: AtomicU64::new(0), changes: AtomicU64::new(0), added: Family::new(&ADDED) }
    }
}

impl ListNumbers {
    /// Entries of its file, and changes since that.
    pub fn set(&self, entries: u64, changes: u64) {
        self.entries.store(entries, Ordering::Relaxed);
        self.changes.store(changes, Ordering::Relaxed);
    }

    /// So many came on it. Told by one thread.
    pub fn added(&self, reason: Reason, count: u64) {
        self.added.add(reason as usize, count);
    }

    /// Entries of its file, and changes since that.
    pub fn sizes(&self) -> (u64, u64) {
        (self.entries.load(Ordering::Relaxed), self.changes.load(Ordering::Relaxed))
    }

    /// What came on it.
    pub fn family(&self) -> &Family {
        &self.added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_by_their_names() {
        assert_eq!(Reason::ALL.map(Reason::word).as_slice(), ADDED.values);
    }
}
