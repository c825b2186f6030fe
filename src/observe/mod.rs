//! What the relay tells about itself, as plain data: shards emit, `control` reads. Nothing here waits for anyone.

pub mod accounting;
pub mod counters;
pub mod diagnostics;
pub mod latency;

use std::sync::Arc;

/// One shard's instruments, shared between the shard (writes) and control (reads).
#[derive(Debug, Default)]
pub struct Instruments {
    /// Counts and levels.
    pub counters: counters::Counters,
    /// Times.
    pub latencies: latency::Published,
    /// Accounting records on their way to the log.
    pub chunks: Arc<accounting::Chunks>,
    /// Words to the operator.
    pub diagnostics: diagnostics::Diagnostics,
}
