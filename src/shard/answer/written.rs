//! How much of a change that control asked for is on disk.

use std::cell::Cell;

use crate::limits;
use crate::queue::outcome::Receipt;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;

/// How much of a change is on disk.
#[derive(Default)]
pub(super) struct Written {
    /// Groups whose outcome was handed in.
    handed: Cell<usize>,
    receipt: Receipt,
}

impl Written {
    /// One more is handed in, with this.
    pub(super) fn receipt(&self) -> Receipt {
        self.handed.set(self.handed.get() + 1);
        self.receipt.clone()
    }

    /// Waits until all of it is on disk, for a while. How many groups are not.
    pub(super) async fn unwritten<R: Runtime>(&self, shard: &Shard<R>, is_wanted: impl Fn() -> bool) -> u64 {
        let until = shard.runtime.now() + limits::RETURNED_WAIT;
        let left = || self.handed.get().saturating_sub(self.receipt.count());
        if shard.runtime.planted(Defect::ReturnedTooEarly) {
            return 0;
        }
        while left() > 0 && is_wanted() && shard.runtime.now() < until {
            shard.timers.sleep_until(shard.runtime.now() + limits::CHANGE_PAUSE).await;
        }
        left() as u64
    }
}
