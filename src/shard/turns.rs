//! The longest turn of a shard: the longest time that one task kept all others waiting.

use std::cell::Cell;
use std::time::Duration;

use crate::limits;
use crate::runtime::Runtime;
use crate::time::Instant;

/// The longest turn of this span and of the one before.
#[derive(Debug)]
pub(super) struct Turns {
    since: Cell<Instant>,
    now: Cell<Duration>,
    before: Cell<Duration>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            since: Cell::new(Instant(0)),
            now: Cell::new(Duration::ZERO),
            before: Cell::new(Duration::ZERO),
        }
    }
}

impl Turns {
    /// The longest of late.
    pub(super) fn longest<R: Runtime>(&self, runtime: &R) -> Duration {
        let now = runtime.now();
        if now.since(self.since.get()) >= limits::TURNS_REMEMBERED {
            self.since.set(now);
            self.before.set(self.now.replace(Duration::ZERO));
        }
        self.now.set(self.now.get().max(runtime.longest_turn()));
        self.now.get().max(self.before.get())
    }
}
