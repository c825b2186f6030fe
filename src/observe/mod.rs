//! What the relay tells about itself, as plain data: shards emit, `control` reads. Nothing here waits for anyone.

pub mod accounting;
pub mod counters;
pub mod diagnostics;
mod admin;
pub mod event;
pub mod families;
pub mod journaled;
pub mod latency;
pub mod repeat;
pub mod room;

use std::sync::Arc;

/// One shard's instruments, shared between the shard (writes) and control (reads).
#[derive(Debug, Default)]
pub struct Instruments {
    /// Counts and levels.
    pub counters: counters::Counters,
    /// Counts with labels.
    pub families: families::Families,
    /// Times.
    pub latencies: latency::Published,
    /// Accounting records on their way to the log; the same for all shards of a node.
    pub chunks: Arc<accounting::Chunks>,
    /// Who reads these.
    pub readers: journaled::Readers,
    /// Words to the operator.
    pub diagnostics: diagnostics::Diagnostics,
    /// Moves four times a second while the shard runs; control looks whether it does.
    pub beat: counters::Counter,
    /// Whether new mail is taken, and what it would need.
    pub room: room::Room,
}

impl Instruments {
    /// Instruments of so many shards, of which this is read.
    pub fn of(shards: usize, readers: &journaled::Readers) -> Vec<Arc<Instruments>> {
        Instruments::with_room(shards, readers, accounting::Room::default())
    }

    /// The same with other bounds.
    pub fn with_room(
        shards: usize,
        readers: &journaled::Readers,
        room: accounting::Room,
    ) -> Vec<Arc<Instruments>> {
        let chunks = Arc::new(accounting::Chunks::of(shards, room));
        let one = || {
            let (chunks, readers) = (chunks.clone(), readers.clone());
            Arc::new(Instruments { chunks, readers, ..Instruments::default() })
        };
        (0..shards).map(|_| one()).collect()
    }
}
