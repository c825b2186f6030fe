//! Memory that clients filled and left is given back to the system.

use std::sync::Arc;
use std::time::Duration;

use crate::observe::Instruments;
use crate::runtime::process;

/// Bytes that came free before it is worth the work, which stops the shards' allocators for a moment each.
const WORTH: u64 = 16 * 1024 * 1024;
/// Shortest time between two times.
const PAUSE: Duration = Duration::from_secs(5);

/// What clients held at the most since memory was given back last.
#[derive(Debug, Default)]
pub(super) struct Spare {
    most: u64,
    next: Duration,
}

impl Spare {
    /// Gives back what came free, if it is much; `now` is the time of this thread's clock.
    pub(super) fn look(&mut self, instruments: &[Arc<Instruments>], now: Duration) {
        let held = instruments.iter().map(|one| one.counters.client_memory.get()).sum();
        if self.is_due(held, now) {
            process::give_back_memory();
        }
    }

    fn is_due(&mut self, held: u64, now: Duration) -> bool {
        self.most = self.most.max(held);
        if now < self.next || self.most - held < WORTH {
            return false;
        }
        (self.most, self.next) = (held, now + PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_that_came_free_is_given_back_now_and_then() {
        let mut spare = Spare::default();
        let at = Duration::from_secs;
        assert!(!spare.is_due(0, at(1)) && !spare.is_due(100 << 20, at(2)));
        assert!(!spare.is_due(90 << 20, at(3)), "not worth it");
        assert!(spare.is_due(80 << 20, at(4)));
        assert!(!spare.is_due(0, at(5)), "too soon");
        assert!(spare.is_due(0, at(10)) && !spare.is_due(0, at(20)));
    }
}
