//! How many refusals a shard may record, so that an attack fills no disk.

use std::cell::Cell;

use crate::limits;
use crate::time::Instant;

/// How many records of refusals may still be made, and how many were left out since the last.
pub struct Allowance {
    /// Milli-records.
    left: Cell<u64>,
    at: Cell<Instant>,
    left_out: Cell<u64>,
}

impl Default for Allowance {
    fn default() -> Allowance {
        let left = Cell::new(limits::REJECTED_BURST * 1000);
        Allowance { left, at: Cell::new(Instant(0)), left_out: Cell::new(0) }
    }
}

impl Allowance {
    /// Whether one more may be recorded; then, how many were left out before it.
    pub(super) fn take(&self, now: Instant) -> Option<u64> {
        let grown = now.since(self.at.get()).as_millis() as u64 * limits::REJECTED_A_SECOND;
        if grown > 0 {
            self.at.set(now);
        }
        let left = self.left.get().saturating_add(grown).min(limits::REJECTED_BURST * 1000);
        let takes = left >= 1000;
        self.left.set(if takes { left - 1000 } else { left });
        if takes {
            return Some(self.left_out.take());
        }
        self.left_out.set(self.left_out.get() + 1);
        None
    }

    /// So many were left out that nobody asked for.
    pub(super) fn leave_out(&self, records: u64) {
        self.left_out.set(self.left_out.get() + records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_so_many_a_second_and_the_rest_is_counted() {
        let allowance = Allowance::default();
        let at = |millis: u64| Instant(10_000_000_000 + millis * 1_000_000);
        assert_eq!(allowance.take(at(0)), Some(0));
        let more = (0..5000).filter(|_| allowance.take(at(0)).is_some()).count() as u64;
        assert_eq!(more, limits::REJECTED_BURST - 1);
        // A look more often than a record grows loses nothing.
        let later = (1..=1000).filter_map(|millis| allowance.take(at(millis))).collect::<Vec<_>>();
        assert_eq!(later.len() as u64, limits::REJECTED_A_SECOND);
        assert_eq!(later[0], 5000 - more + 9, "what was left out is said with the next");
        assert_eq!(
            (0..5000).filter(|_| allowance.take(at(100_000)).is_some()).count() as u64,
            limits::REJECTED_BURST
        );
    }
}
