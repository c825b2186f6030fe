//! How limits that are shared with other nodes are held, as metrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::shard::mesh::Mesh;

/// Reads them when they are asked for.
#[derive(Debug)]
pub(super) struct OfCluster(pub(super) Arc<Mesh>);

impl Collector for OfCluster {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(desk) = self.0.cluster.desk() else { return Ok(()) };
        let news = desk.told();
        let mut gauge = |name: &str, help: &str, values: &[(Option<&str>, usize)]| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (held, value) in values {
                let value = i64::try_from(*value).unwrap_or(i64::MAX);
                match held {
                    Some(held) => metric.encode_family(&[("held", *held)])?.encode_gauge(&value)?,
                    None => metric.encode_gauge(&value)?,
                }
            }
            Ok::<_, fmt::Error>(())
        };
        let here = news.nodes.iter().filter(|node| node.is_here).count();
        let up = usize::from(news.trouble.is_none() && here > 0);
        gauge("cluster_up", "Whether the server that keeps the leases of [cluster] answers", &[(None, up)])?;
        gauge("cluster_nodes", "Nodes of the cluster that are there", &[(None, here)])?;
        gauge(
            "cluster_nodes_silent",
            "Nodes of the cluster that said within a day that they are there, and have not for 15 s",
            &[(None, news.nodes.len() - here)],
        )?;
        let of = news.standing;
        let held = [(Some("lease"), of.leased), (Some("share"), of.shared), (Some("nothing"), of.closed)];
        gauge(
            "cluster_limits",
            "Limits in use that are shared with other nodes: by a lease, by the share while nobody can be asked, or, too small for that, not at all",
            &held,
        )?;
        let (name, help) = ("cluster_questions", "Batches of questions to the server that keeps the leases");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (result, count) in ["answered", "failed"].into_iter().zip(news.commands) {
            metric
                .encode_family(&[("result", result)])?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}
