//! Times, as histograms: recorded on the shard without a lock, published when nobody reads.

use std::sync::Mutex;

use hdrhistogram::Histogram;

use crate::limits;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, limits::LATENCY_MAX_US, 2).expect("the bounds are constants")
}

/// Times of one shard, microseconds.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// From the end of the client's data to the next hop's 250.
    pub delivered: Histogram<u64>,
    /// From the start of a commit to its sync.
    pub commit: Histogram<u64>,
    /// From the end of the client's data to the sync behind which it hears 250; to the millisecond.
    pub accepted: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { delivered: histogram(), commit: histogram(), accepted: histogram() }
    }
}

impl Latencies {
    /// Adds what was recorded since the last call to what is published, unless a reader is at it just now.
    pub fn publish(&mut self, to: &Published) {
        let Ok(mut all) = to.0.try_lock() else { return };
        let added = all.delivered.add(&self.delivered).and(all.commit.add(&self.commit));
        if added.and(all.accepted.add(&self.accepted)).is_ok() {
            self.delivered.reset();
            self.commit.reset();
            self.accepted.reset();
        }
    }
}

/// All that was published by one shard.
#[derive(Debug, Default)]
pub struct Published(Mutex<Latencies>);

impl Published {
    /// A copy.
    pub fn read(&self) -> Latencies {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
