//! Memory that clients and mail filled and left is given back to the system.

use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::observe::Instruments;
use crate::runtime::process;

/// What clients held at the most, and what was queued, since memory was given back last.
#[derive(Debug, Default)]
pub(super) struct Spare {
    most: u64,
    /// Recipients queued then, and at the last look.
    queued_then: u64,
    queued_before: u64,
    next: Duration,
}

impl Spare {
    /// Gives back what came free, if it was an excess; `now` is the time of this thread's clock.
    pub(super) fn look(&mut self, instruments: &[Arc<Instruments>], now: Duration) {
        let held = instruments.iter().map(|one| one.counters.client_memory.get()).sum();
        let most = instruments.iter().map(|one| one.room.memory_max.get()).max().unwrap_or(u64::MAX);
        let queued = instruments.iter().map(|one| one.counters.queued_recipients.get()).sum();
        if self.is_due((held, most / limits::MEMORY_EXCESS), queued, now) {
            process::give_back_memory();
        }
    }

    fn is_due(&mut self, (held, excess): (u64, u64), queued: u64, now: Duration) -> bool {
        self.most = self.most.max(held);
        let moved = queued.abs_diff(std::mem::replace(&mut self.queued_before, queued));
        // At a start no shard has said yet how much there may be.
        let of_clients = excess > 0 && self.most >= excess && held <= self.most / 2;
        // What a backlog came or went with lies between what stays of it.
        let of_mail = queued.abs_diff(self.queued_then) >= limits::MEMORY_QUEUE_CHANGE
            && moved < limits::MEMORY_QUEUE_SETTLED;
        if now < self.next || !(of_clients || of_mail) {
            return false;
        }
        (self.most, self.queued_then, self.next) = (held, queued, now + limits::MEMORY_RETURN_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excess_that_came_free_is_given_back_now_and_then() {
        let mut spare = Spare::default();
        let mut is_due =
            |held: u64, second| spare.is_due((held << 20, 100 << 20), 0, Duration::from_secs(second));
        assert!(!is_due(0, 1) && !is_due(90, 2) && !is_due(0, 3), "any bulk load does that");
        assert!(!is_due(100, 4) && !is_due(60, 5), "half of it is still there");
        assert!(is_due(40, 6) && !is_due(0, 7));
        assert!(!is_due(200, 20) && !is_due(0, 21), "too soon");
        assert!(is_due(0, 126) && !is_due(0, 300));
        assert!(!Spare::default().is_due((0, 0), 0, Duration::ZERO), "it begins");
    }

    #[test]
    fn what_a_backlog_came_or_went_with_is_given_back_when_it_stands() {
        let mut spare = Spare::default();
        let mut is_due = |queued, second| spare.is_due((0, 1), queued, Duration::from_secs(second));
        assert!(!is_due(90_000, 1) && !is_due(90_000, 2), "that is little");
        assert!(!is_due(400_000, 3) && !is_due(800_000, 4), "it grows");
        assert!(is_due(800_900, 5) && !is_due(800_900, 6));
        assert!(!is_due(600_000, 7) && !is_due(600_000, 8), "too soon");
        assert!(is_due(600_000, 130));
        assert!(!is_due(20_000, 300) && is_due(20_000, 301) && !is_due(0, 500));
    }
}
