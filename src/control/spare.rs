//! Memory that clients filled and left is given back to the system.

use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::observe::Instruments;
use crate::runtime::process;

/// What clients held at the most since memory was given back last.
#[derive(Debug, Default)]
pub(super) struct Spare {
    most: u64,
    next: Duration,
}

impl Spare {
    /// Gives back what came free, if it was an excess; `now` is the time of this thread's clock.
    pub(super) fn look(&mut self, instruments: &[Arc<Instruments>], now: Duration) {
        let held = instruments.iter().map(|one| one.counters.client_memory.get()).sum();
        let most = instruments.iter().map(|one| one.room.memory_max.get()).max().unwrap_or(u64::MAX);
        if self.is_due(held, most / limits::MEMORY_EXCESS, now) {
            process::give_back_memory();
        }
    }

    fn is_due(&mut self, held: u64, excess: u64, now: Duration) -> bool {
        self.most = self.most.max(held);
        if now < self.next || self.most < excess || held > self.most / 2 {
            return false;
        }
        (self.most, self.next) = (held, now + limits::MEMORY_RETURN_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excess_that_came_free_is_given_back_now_and_then() {
        let mut spare = Spare::default();
        let mut is_due = |held: u64, second| spare.is_due(held << 20, 100 << 20, Duration::from_secs(second));
        assert!(!is_due(0, 1) && !is_due(90, 2) && !is_due(0, 3), "any bulk load does that");
        assert!(!is_due(100, 4) && !is_due(60, 5), "half of it is still there");
        assert!(is_due(40, 6) && !is_due(0, 7));
        assert!(!is_due(200, 20) && !is_due(0, 21), "too soon");
        assert!(is_due(0, 126) && !is_due(0, 300));
    }
}
