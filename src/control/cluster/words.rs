//! What an operator is told of the server that keeps the leases.

use crate::config::ClusterConfig;
use crate::policy::cluster::ledger::Standing;

/// The cluster, and where its leases are.
pub(super) fn place(config: &ClusterConfig) -> String {
    format!("the server of cluster {}, {}", config.name, config.redis)
}

/// It cannot be asked.
pub(super) fn trouble(config: &ClusterConfig, why: &str, standing: Standing) -> String {
    let Standing { leased, shared, closed, .. } = standing;
    let share = config.share;
    let closed = match closed {
        0 => String::new(),
        some => {
            format!("; {some} that are too small for that are left to whoever had them last, and mail waits")
        }
    };
    format!(
        "{} cannot be asked: {why}; leases of {leased} limits go on until they end, and of {shared} this node has its share, at most {share} of \
         each{closed}",
        place(config)
    )
}
