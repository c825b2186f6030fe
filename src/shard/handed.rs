//! How far a shard's lanes are with the outcomes that other shards hand in, and how far these are told.

use std::cell::{Cell, RefCell};

use crate::time::Instant;

/// What it takes to know until when all that was handed in is on the disk.
#[derive(Debug, Default)]
pub(super) struct Handed {
    /// Messages taken from the inbox.
    taken: Cell<u64>,
    stage: Cell<Stage>,
    /// Outcomes that each lane must have on the disk.
    wanted: RefCell<Vec<u64>>,
    /// What was handed in before this is on the disk.
    written: Cell<Instant>,
    /// Outcomes that were handed in and are not told yet, and since when there are any.
    untold: Cell<(u32, Instant)>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Nothing,
    /// What lay in the inbox then: so many messages are to be taken.
    Inbox(Instant, u64),
    /// What was in the queues of the lanes after that.
    Lanes(Instant),
}

impl Handed {
    /// A message was taken from the inbox.
    pub fn took(&self) {
        self.taken.set(self.taken.get() + 1);
    }

    /// The time before which all that was handed in is on the disk. So many messages are in the inbox; of each lane, outcomes that were ever
    /// queued, and those of them that are on the disk: they get there in the order in which they are queued.
    pub fn written<L>(&self, now: Instant, inbox: usize, lanes: impl Fn() -> L) -> Instant
    where
        L: Iterator<Item = (u64, u64)>,
    {
        loop {
            match self.stage.get() {
                Stage::Nothing => self.stage.set(Stage::Inbox(now, self.taken.get() + inbox as u64)),
                Stage::Inbox(since, upto) if self.taken.get() >= upto => {
                    let mut wanted = self.wanted.borrow_mut();
                    wanted.clear();
                    wanted.extend(lanes().map(|(queued, _)| queued));
                    self.stage.set(Stage::Lanes(since));
                }
                Stage::Lanes(since) if self.are_written(lanes()) => {
                    self.written.set(since);
                    self.stage.set(Stage::Nothing);
                    if since == now {
                        return since;
                    }
                }
                Stage::Inbox(..) | Stage::Lanes(_) => return self.written.get(),
            }
        }
    }

    fn are_written(&self, lanes: impl Iterator<Item = (u64, u64)>) -> bool {
        self.wanted.borrow().iter().zip(lanes).all(|(wanted, (_, written))| written >= *wanted)
    }

    /// An outcome is handed in now, and told only later: when this is dropped. Until then nothing is vouched for that was recorded since.
    pub fn untold(&self, now: Instant) -> HandedGuard<'_> {
        let (count, since) = self.untold.get();
        self.untold.set((count + 1, if count == 0 { now } else { since }));
        HandedGuard(self)
    }

    /// Since when there are any of these.
    pub fn untold_since(&self) -> Option<Instant> {
        let (count, since) = self.untold.get();
        (count > 0).then_some(since)
    }
}

/// An outcome that is handed in and not told yet.
pub(super) struct HandedGuard<'a>(&'a Handed);

impl Drop for HandedGuard<'_> {
    fn drop(&mut self) {
        let (count, since) = self.0.untold.get();
        self.0.untold.set((count.saturating_sub(1), since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_in_is_on_the_disk_when_it_went_through_inbox_and_lane() {
        let handed = Handed::default();
        let look = |now, inbox, lane| handed.written(Instant(now), inbox, || std::iter::once(lane));
        assert_eq!(look(10, 0, (4, 4)), Instant(10), "nothing is under way");
        assert_eq!(look(20, 2, (4, 4)), Instant(10));
        handed.took();
        assert_eq!(look(30, 5, (5, 5)), Instant(10), "one of the two is still in the inbox");
        handed.took();
        assert_eq!(look(40, 0, (6, 5)), Instant(10), "it is in the lane's queue");
        // What comes later is not waited for.
        assert_eq!(look(50, 0, (9, 6)), Instant(20));
        assert_eq!(look(60, 0, (9, 9)), Instant(60));
    }

    #[test]
    fn what_is_told_later_counts_from_the_first() {
        let handed = Handed::default();
        let one = handed.untold(Instant(5));
        let other = handed.untold(Instant(8));
        drop(one);
        assert_eq!(handed.untold_since(), Some(Instant(5)));
        drop(other);
        assert_eq!(handed.untold_since(), None);
    }
}
