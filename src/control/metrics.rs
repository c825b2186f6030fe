//! The shards' instruments as OpenMetrics text.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::control::Shown;
use crate::observe::Instruments;
use crate::runtime::process;

#[derive(Debug)]
struct Shards(Vec<Arc<Instruments>>);

#[derive(Debug)]
struct Certificates(Arc<[Shown]>);

/// Everything under the prefix `relevo`.
pub fn registry(
    instruments: Vec<Arc<Instruments>>,
    runtime: &'static str,
    certificates: Arc<[Shown]>,
) -> Registry {
    let mut registry = Registry::with_prefix("relevo");
    registry.register("runtime", "What the shards run on", Info::new(vec![("name", runtime)]));
    registry.register_collector(Box::new(Shards(instruments)));
    if !certificates.is_empty() {
        registry.register_collector(Box::new(Certificates(certificates)));
    }
    registry
}

/// The text.
pub fn render(registry: &Registry) -> Result<String, fmt::Error> {
    let mut out = String::new();
    text::encode(&mut out, registry)?;
    Ok(out)
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let days = Unit::Other("days".into());
        let mut metric = encoder.encode_descriptor(
            "certificate_left",
            "How long the certificate that was read from a file still holds; negative where it has ended",
            Some(&days),
            MetricType::Gauge,
        )?;
        for shown in self.0.iter() {
            let labels = [("file", shown.file.clone())];
            metric.encode_family(&labels)?.encode_gauge(&shown.certificate.days_left(process::wall()))?;
        }
        Ok(())
    }
}

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let counts: Vec<_> = self.0.iter().map(|shard| shard.counters.counts()).collect();
        for (place, (name, help, _)) in first.counters.counts().into_iter().enumerate() {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (shard, counts) in counts.iter().enumerate() {
                let labels = [("shard", shard.to_string())];
                metric
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&counts[place].2, None)?;
            }
        }
        let levels: Vec<_> = self.0.iter().map(|shard| shard.counters.levels()).collect();
        for (place, (name, help, _)) in first.counters.levels().into_iter().enumerate() {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (shard, levels) in levels.iter().enumerate() {
                let labels = [("shard", shard.to_string())];
                metric.encode_family(&labels)?.encode_gauge(&(levels[place].2 as i64))?;
            }
        }
        self.encode_latencies(&mut encoder)?;
        let usage = process::usage();
        let mut metric = encoder.encode_descriptor(
            "process_cpu",
            "CPU time of the process",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        metric.encode_counter::<NoLabelSet, _, u64>(&usage.cpu, None)?;
        let mut metric = encoder.encode_descriptor(
            "process_resident",
            "Memory of the process",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?;
        metric.encode_gauge(&(usage.resident as i64))?;
        let mut metric = encoder.encode_descriptor(
            "process_anonymous",
            "Memory of the process without mapped files (the spool)",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?;
        metric.encode_gauge(&(usage.anonymous as i64))
    }
}

impl Shards {
    fn encode_latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let published: Vec<_> = self.0.iter().map(|shard| shard.latencies.read()).collect();
        for (name, help, delivered) in [
            ("delivery_latency", "From acceptance to the next hop's 250", true),
            ("commit_latency", "From the start of a commit to its sync", false),
        ] {
            let mut metric =
                encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
            for (shard, times) in published.iter().enumerate() {
                let times = if delivered { &times.delivered } else { &times.commit };
                for quantile in ["0.5", "0.9", "0.99", "0.999"] {
                    let labels = [("shard", shard.to_string()), ("quantile", quantile.to_owned())];
                    let value = times.value_at_quantile(quantile.parse().unwrap_or(0.5)) as f64 / 1e6;
                    metric.encode_family(&labels)?.encode_gauge(&value)?;
                }
            }
        }
        Ok(())
    }
}
