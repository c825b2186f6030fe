//! Beside counts: what this node has of a limit that it shares with other nodes, as all shards see it.
//!
//! Numbers that control sets as leases come and go, and that shards read where they look at the limit. No shard asks another node, and none waits
//! for control. Without `[cluster]` there are no such parts.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::limits;
use crate::shaping::pace::Pace;
use crate::shaping::rated::{EachRate, Rated};

/// What the node has of the limits of a site, a provider or a tenant.
#[derive(Debug)]
pub struct ClusterPart {
    /// Connections, or what is taken in a window of time; [`usize::MAX`]: the limit is not shared.
    connections: AtomicUsize,
    /// Of each rate so many of [`limits::CLUSTER_PARTS`]; [`u64::MAX`]: it is not shared.
    rates: EachRate<AtomicU64>,
    /// How many were taken of each rate.
    taken: EachRate<AtomicU64>,
    /// More was to be done than it lets: of connections, and of each rate.
    wanted: [AtomicBool; 1 + Rated::ALL.len()],
}

impl Default for ClusterPart {
    fn default() -> ClusterPart {
        ClusterPart {
            connections: AtomicUsize::new(usize::MAX),
            rates: EachRate::of(|_| AtomicU64::new(u64::MAX)),
            taken: EachRate::of(|_| AtomicU64::new(0)),
            wanted: Default::default(),
        }
    }
}

impl ClusterPart {
    /// How many connections there may be, of so many.
    pub fn connections(&self, most: usize) -> usize {
        self.connections.load(Ordering::Acquire).min(most)
    }

    /// The same of what is counted otherwise.
    pub fn units(&self, most: u64) -> u64 {
        (self.connections.load(Ordering::Acquire) as u64).min(most)
    }

    /// How fast it may be, of this; None: not at all.
    pub fn pace(&self, of: Rated, pace: Pace) -> Option<Pace> {
        match self.rates[of].load(Ordering::Acquire) {
            u64::MAX => Some(pace),
            parts => pace.part(parts, limits::CLUSTER_PARTS),
        }
    }

    /// One was taken of a rate.
    pub fn took(&self, of: Rated) {
        self.taken[of].fetch_add(1, Ordering::Relaxed);
    }

    /// One that was taken was not used.
    pub fn gave_back(&self, of: Rated) {
        self.taken[of].fetch_sub(1, Ordering::Relaxed);
    }

    /// Somebody waits for more; None: for connections.
    pub fn wants(&self, of: Option<Rated>) {
        let wanted = &self.wanted[of.map_or(0, |of| 1 + of as usize)];
        if !wanted.load(Ordering::Relaxed) {
            wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody did since this was asked last.
    pub fn take_wanted(&self, of: Option<Rated>) -> bool {
        self.wanted[of.map_or(0, |of| 1 + of as usize)].swap(false, Ordering::Relaxed)
    }

    /// How many were taken of a rate.
    pub fn taken(&self, of: Rated) -> u64 {
        self.taken[of].load(Ordering::Relaxed)
    }

    /// So many units of it are this node's.
    pub fn set(&self, of: Option<Rated>, units: u64) {
        match of {
            None => self.connections.store(usize::try_from(units).unwrap_or(usize::MAX), Ordering::Release),
            Some(of) => self.rates[of].store(units, Ordering::Release),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::value::rate;

    #[test]
    fn a_limit_that_is_not_shared_is_whole() {
        let (part, pace) = (ClusterPart::default(), Pace::of(&rate("9/s").expect("a rate")));
        assert_eq!((part.connections(9), part.pace(Rated::Messages, pace)), (9, Some(pace)));
        part.set(Some(Rated::Messages), 0);
        assert_eq!(part.pace(Rated::Messages, pace), None);
    }
}
