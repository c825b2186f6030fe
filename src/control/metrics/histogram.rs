//! Times as histograms with the same buckets everywhere, made of what the shards measured when somebody asks: they count nothing more for it. What
//! lies within a hundredth above a bound may be in its bucket, and a sum is right to a hundredth.

use std::fmt;
use std::sync::Arc;

use hdrhistogram::Histogram;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::limits;
use crate::observe::Instruments;
use crate::observe::latency::Latencies;

type Of = fn(&Latencies) -> &Histogram<u64>;

const HISTOGRAMS: [(&str, &str, Of); 3] = [
    ("delivery", "From the end of the client's data to the next hop's 250", |times| &times.delivered),
    ("commit", "From the start of a commit to its sync", |times| &times.commit),
    ("accept", "From the end of the client's data to the sync behind which it hears 250", |times| {
        &times.accepted
    }),
];

const GAUGES: [(&str, &str, Of); 2] = [
    (
        "delivery_latency",
        "Deprecated, see delivery_seconds: from acceptance to the next hop's 250, since the start",
        |times| &times.delivered,
    ),
    (
        "commit_latency",
        "Deprecated, see commit_seconds: from the start of a commit to its sync, since the start",
        |times| &times.commit,
    ),
];

/// All of them: histograms over the shards, and what there was before each shard's.
pub(super) fn encode(
    shards: &[Arc<Instruments>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let published: Vec<_> = shards.iter().map(|shard| shard.latencies.read()).collect();
    for (name, help, of) in HISTOGRAMS {
        let mut metric =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        let Buckets { sum, count, each } = Buckets::of(published.iter().map(of));
        metric.encode_histogram::<NoLabelSet>(sum, count, &each, None)?;
    }
    for (name, help, of) in GAUGES {
        let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (shard, times) in published.iter().enumerate() {
            for quantile in ["0.5", "0.9", "0.99", "0.999"] {
                let labels = [("shard", shard.to_string()), ("quantile", quantile.to_owned())];
                let value = of(times).value_at_quantile(quantile.parse().unwrap_or(0.5)) as f64 / 1e6;
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
    }
    Ok(())
}

/// Times in seconds: how many in each bucket, by its upper bound; the last has none.
struct Buckets {
    sum: f64,
    count: u64,
    each: Vec<(f64, u64)>,
}

impl Buckets {
    fn of<'a>(all: impl Iterator<Item = &'a Histogram<u64>>) -> Buckets {
        let bounds = limits::METRIC_BUCKETS_US;
        let mut each: Vec<_> = bounds.iter().map(|bound| (*bound as f64 / 1e6, 0)).collect();
        each.push((f64::INFINITY, 0));
        let (mut sum, mut count) = (0.0, 0);
        for histogram in all {
            for value in histogram.iter_recorded() {
                let (highest, many) = (value.value_iterated_to(), value.count_since_last_iteration());
                // A bound that is measured exactly is in its own bucket.
                let lowest = histogram.lowest_equivalent(highest);
                each[bounds.partition_point(|bound| *bound < lowest)].1 += many;
                sum += histogram.median_equivalent(highest) as f64 / 1e6 * many as f64;
                count += many;
            }
        }
        Buckets { sum, count, each }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_their_buckets() {
        let mut times = Latencies::default();
        for micros in [1, 900, 1_100, 60_000, 2_000_000, 80_000_000_000] {
            times.delivered.record(micros).unwrap();
        }
        let other = times.clone();
        let Buckets { sum, count, each } = Buckets::of([&times.delivered, &other.delivered].into_iter());
        let many = |bound: f64| each.iter().find(|(of, _)| *of == bound).map(|(_, many)| *many);
        assert_eq!(
            [0.001, 0.0025, 0.1, 2.5, 86_400.0].map(many),
            [Some(4), Some(2), Some(2), Some(2), Some(2)]
        );
        assert_eq!(each.iter().map(|(_, many)| many).sum::<u64>(), count);
        assert_eq!((count, each.last().copied()), (12, Some((f64::INFINITY, 0))));
        let exact = 2.0 * (0.000_001 + 0.000_9 + 0.001_1 + 0.06 + 2.0 + 80_000.0);
        assert!((sum / exact - 1.0).abs() < 0.01, "{sum} of {exact}");
    }
}
