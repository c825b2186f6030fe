//! Looks at a run while it lasts.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Live;
use super::internet::Internet;
use super::relay::{Relay, Usage};
use crate::ledger::{Sums, microseconds};
use crate::report::Sample;
use crate::send::Sender;

/// Samples of one run. A longer run keeps every second one, so that it always fits.
const SAMPLES_MAX: usize = 4000;

/// The samples of a run, and what the next is compared with.
pub(super) struct Watch {
    pub(super) samples: Vec<Sample>,
    at: f64,
    sums: Sums,
    cpu: f64,
    accept: Histogram<u64>,
    skip: usize,
    skipped: usize,
}

impl Watch {
    pub(super) fn new(used: Usage) -> Watch {
        Watch {
            samples: Vec::new(),
            at: 0.0,
            sums: Sums::default(),
            cpu: used.cpu,
            accept: microseconds(),
            skip: 0,
            skipped: 0,
        }
    }

    /// Takes a sample.
    pub(super) fn look(&mut self, elapsed: Duration, sender: &Sender, internet: &Internet, relay: &Relay) {
        let at = elapsed.as_secs_f64();
        if self.skipped < self.skip || at - self.at < 0.01 {
            self.skipped += 1;
            return;
        }
        self.skipped = 0;
        let (span, sums) = (at - self.at, sender.ledger().sums());
        let latency = sender.latency();
        let mut fresh = latency.clone();
        // Fails only when the earlier counts are not all in it, and they are.
        let _ = fresh.subtract(&self.accept);
        let usage = relay.usage().unwrap_or_default();
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / span;
        // Who was refused is bounced too, a little later.
        let settled = sums.delivered + sums.refused.max(sums.bounced);
        self.samples.push(Sample {
            at,
            accepted: per_second(sums.acknowledged, self.sums.acknowledged),
            delivered: per_second(sums.delivered, self.sums.delivered),
            queue: sums.acknowledged_recipients.saturating_sub(settled),
            accept_p50: if fresh.is_empty() { 0 } else { fresh.value_at_quantile(0.5) },
            accept_p99: if fresh.is_empty() { 0 } else { fresh.value_at_quantile(0.99) },
            cores: (usage.cpu - self.cpu).max(0.0) / span,
            anonymous: usage.anonymous,
            resident: usage.resident,
            connections: internet.sink.counters().open,
        });
        (self.at, self.sums, self.cpu, self.accept) = (at, sums, usage.cpu, latency);
        if self.samples.len() >= SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.skip = self.skip * 2 + 1;
        }
    }

    pub(super) fn live(&self, stage: &'static str, elapsed: Duration, kills: usize) -> Live {
        let last = self.samples.last().copied().unwrap_or_default();
        Live {
            stage,
            internet: None,
            elapsed,
            accepted: self.sums.acknowledged,
            accepted_rate: last.accepted,
            delivered_rate: last.delivered,
            queue: last.queue,
            kills,
        }
    }
}
