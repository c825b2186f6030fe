//! What shards have counted, read once a second, and what that is a second.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::history::{Point, rounded};
use crate::control::api::shape::overview::{Rates, ShardTotals};
use crate::limits;
use crate::observe::Instruments;
use crate::observe::counters::{Counter, Counters};

/// Kinds that grow.
const GROWING: usize = 5;

/// What was counted by a point of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    at: Duration,
    growing: [u64; GROWING],
}

/// The last few.
#[derive(Debug, Default)]
pub(super) struct Counts(VecDeque<Counted>);

fn sum(instruments: &[Arc<Instruments>], of: impl Fn(&Counters) -> &Counter) -> u64 {
    instruments.iter().map(|shard| of(&shard.counters).get()).sum()
}

/// Recipients queued now.
pub(super) fn queued(instruments: &[Arc<Instruments>]) -> u64 {
    sum(instruments, |of| &of.queued_recipients)
}

fn growing(instruments: &[Arc<Instruments>]) -> [u64; GROWING] {
    let of = |of: fn(&Counters) -> &Counter| sum(instruments, of);
    [
        of(|of| &of.recipients_received),
        of(|of| &of.recipients_delivered),
        of(|of| &of.recipients_deferred),
        of(|of| &of.recipients_bounced) + of(|of| &of.recipients_expired),
        of(|of| &of.rejections),
    ]
}

impl Counts {
    /// Reads all, at a time of control's clock. What this second adds to the history.
    pub(super) fn read(&mut self, instruments: &[Arc<Instruments>], at: Duration) -> Point {
        self.add(Counted { at, growing: growing(instruments) }, queued(instruments))
    }

    fn add(&mut self, now: Counted, queued: u64) -> Point {
        let last = self.0.back().map(|before| a_second(before, &now));
        self.0.push_back(now);
        while self.0.len() > limits::RATES_SECONDS + 1 {
            self.0.pop_front();
        }
        let of = |kind: usize| last.map(|rates| rates[kind] as f32);
        [of(0), of(1), of(2), of(3), of(4), Some(queued as f32)]
    }

    /// Rates over the last few seconds, and connections as they are now.
    pub(super) fn rates(&self, instruments: &[Arc<Instruments>]) -> Rates {
        let ends = self.0.front().zip(self.0.back()).filter(|(first, last)| first.at < last.at);
        let rates = ends.map(|(first, last)| a_second(first, last));
        let of = |kind: usize| rates.map(|rates| rounded(rates[kind] as f32));
        Rates {
            accepted: of(0),
            delivered: of(1),
            deferred: of(2),
            bounced: of(3),
            rejected: of(4),
            connections_in: sum(instruments, |of| &of.connections_inbound),
            connections_out: sum(instruments, |of| &of.connections_outbound),
        }
    }
}

fn a_second(from: &Counted, to: &Counted) -> [f64; GROWING] {
    let span = to.at.saturating_sub(from.at).as_secs_f64().max(0.001);
    std::array::from_fn(|kind| to.growing[kind].saturating_sub(from.growing[kind]) as f64 / span)
}

/// How shards are.
pub(super) fn shards(instruments: &[Arc<Instruments>]) -> Vec<ShardTotals> {
    let one = |(shard, instruments): (usize, &Arc<Instruments>)| {
        let of = &instruments.counters;
        ShardTotals {
            shard,
            busy_ratio: of.busy_percent.get() as f64 / 100.0,
            longest_turn_seconds: of.longest_turn_microseconds.get() as f64 / 1e6,
            connections_in: of.connections_inbound.get(),
            connections_out: of.connections_outbound.get(),
            queued: of.queued_recipients.get(),
            spool_bytes: of.spool_bytes_live.get(),
        }
    };
    instruments.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_that_passed() {
        let mut counts = Counts::default();
        let at = |second: u64, count: u64| Counted {
            at: Duration::from_millis(1_500 * second),
            growing: [count, 0, 0, 0, 7],
        };
        assert_eq!(counts.add(at(0, 1_000), 3), [None, None, None, None, None, Some(3.0)]);
        assert_eq!(counts.rates(&[]).accepted, None, "one number is no rate");
        assert_eq!(counts.add(at(1, 1_300), 4)[0], Some(200.0));
        assert_eq!((counts.rates(&[]).accepted, counts.rates(&[]).rejected), (Some(200.0), Some(0.0)));
        for second in 2..20 {
            counts.add(at(second, 1_300), 4);
        }
        assert_eq!(counts.rates(&[]).accepted, Some(0.0), "what was long ago is over");
        assert_eq!(counts.0.len(), limits::RATES_SECONDS + 1);
    }
}
