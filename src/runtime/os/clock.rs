//! The monotonic clock.

use crate::time::Instant;

/// The monotonic clock, from an arbitrary start that all shards of the process share: what one noted another may compare with.
#[derive(Clone, Copy)]
pub(in crate::runtime) struct Clock(std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the runtime is where clocks come from")]
    pub(in crate::runtime) fn start() -> Clock {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        Clock(*START.get_or_init(std::time::Instant::now))
    }

    pub(in crate::runtime) fn now(self) -> Instant {
        Instant(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX - 1))
    }
}
