//! Limits that several nodes share: each holds a lease of a part of each, for a time, and keeps to that without asking anybody.
//!
//! What is leased is a number of connections, or parts of a rate, never single messages: so nothing on the way of a message waits for whoever
//! keeps the leases, and whoever keeps them hears once for many messages. Who keeps them ([`script`]) gives nobody more than what others have
//! left: the sum never exceeds the limit. What a node asks for is decided here ([`ledger`], [`fair`]), with no clock and no IO.

pub mod count_script;
pub mod counts;
pub mod fair;
pub mod ledger;
pub mod nodes;
pub mod script;
#[cfg(test)]
pub(crate) mod count_store;
#[cfg(test)]
mod tests_of_counts;
#[cfg(test)]
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::limits;
use crate::shaping::pace::Pace;
use crate::shaping::rated::EachRate;

/// A limit that is leased, in its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// All of it.
    pub most: u64,
    /// What is of use at the least. Where there is less for each node they take turns.
    pub least: u64,
    /// What belongs to one, of a rate that is so slow that a lease lasts no longer than that.
    pub each: Duration,
    /// What is used of it is let go of later: a connection that is open stays open for its transaction.
    pub stays: bool,
    /// Who begins has all of the node's share at once: what is refused meanwhile is a client's mail.
    pub eager: bool,
}

impl Limit {
    /// So many connections.
    pub fn connections(most: usize) -> Limit {
        Limit { most: most as u64, least: 1, each: Duration::ZERO, stays: true, eager: false }
    }

    /// So many in any window of a time. What was taken is let go of when it is out of the window.
    pub fn window(most: u64) -> Limit {
        Limit { most, least: 1, each: Duration::ZERO, stays: true, eager: true }
    }

    /// A rate of one each of so many nanoseconds, in [`limits::CLUSTER_PARTS`].
    pub fn rate(each: u64) -> Limit {
        let lease = limits::CLUSTER_LEASE.as_nanos() as u64;
        let least = limits::CLUSTER_PARTS.saturating_mul(each).div_ceil(lease);
        let slow = least >= limits::CLUSTER_PARTS;
        let each = if slow { Duration::from_nanos(each) } else { Duration::ZERO };
        let least = least.clamp(1, limits::CLUSTER_PARTS);
        Limit { most: limits::CLUSTER_PARTS, least, each, stays: false, eager: false }
    }
}

/// Limits that are shared with other nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedLimits {
    /// Connections.
    pub connections: Option<usize>,
    /// Rates.
    pub rates: EachRate<Option<Pace>>,
}
