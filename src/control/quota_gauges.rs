//! How full quotas are, as metrics: of those that are used the most.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use crate::limits;
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::shard::quota::{InUse, fullest};

/// Reads them when they are asked for.
#[derive(Debug)]
pub(super) struct OfQuotas(pub(super) Arc<Mesh>);

impl Collector for OfQuotas {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let table = self.0.quotas().in_force();
        if table.is_empty() {
            return Ok(());
        }
        let all = fullest(table.all(), process::wall(), limits::QUOTA_GAUGES_MAX);
        let mut gauge = |name: &str, help: &str, value: fn(&InUse) -> i64| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for one in &all {
                let (owner, name) = (one.count.owner.word().to_owned(), one.count.name.to_string());
                let labels = [("owner", owner), ("name", name), ("period", one.period.unit().to_owned())];
                metric.encode_family(&labels)?.encode_gauge(&value(one))?;
            }
            Ok::<_, fmt::Error>(())
        };
        gauge(
            "quota_used",
            "Recipients that count for a quota in its period, of the fullest quotas",
            |one| i64::try_from(one.used).unwrap_or(i64::MAX),
        )?;
        gauge("quota_limit", "Recipients that such a quota has in its period", |one| one.most.into())
    }
}
