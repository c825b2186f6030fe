//! What each account has open at the node, and what it brings in a time: counts that all shards share. Connections are counted when one logs in and when
//! its connection ends, the rest where the account has a rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::shard::counts::Forgettable;
use crate::shard::rates::Rates;
use crate::time::Instant;

/// Of one account, over all shards and listeners.
#[derive(Debug, Default)]
pub struct AccountCount {
    connections: AtomicU32,
    rates: Arc<Rates>,
}

impl Forgettable for AccountCount {
    fn is_empty(&self, now: Instant) -> bool {
        self.connections.load(Ordering::SeqCst) == 0 && self.rates.is_empty(now)
    }
}

impl AccountCount {
    /// What the account brings, by whatever way.
    pub fn rates(&self) -> &Arc<Rates> {
        &self.rates
    }

    /// Counts in a connection of an account that may have so many. None: it has them.
    pub fn enter(self: Arc<AccountCount>, most: Option<u32>) -> Option<AccountPermit> {
        let most = most.unwrap_or(u32::MAX);
        let more = |open: u32| (open < most).then_some(open + 1);
        self.connections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(AccountPermit(self))
    }
}

/// The right of a connection to be that of an account. It is counted out when that goes.
#[derive(Debug)]
pub struct AccountPermit(Arc<AccountCount>);

impl AccountPermit {
    /// What the account brings.
    pub fn rates(&self) -> &Arc<Rates> {
        &self.0.rates
    }
}

impl Drop for AccountPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_exact_and_what_ends_makes_room() {
        let count = Arc::new(AccountCount::default());
        let take = || (0..100).filter_map(|_| count.clone().enter(Some(7))).collect::<Vec<_>>();
        let permits: Vec<_> = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            shards.into_iter().flat_map(|shard| shard.join().expect("no panic")).collect()
        });
        assert!(permits.len() == 7 && !count.is_empty(Instant(0)));
        // A reload may leave it with more than it may have.
        assert!(count.clone().enter(Some(3)).is_none() && count.clone().enter(Some(8)).is_some());
        drop(permits);
        assert!(count.is_empty(Instant(0)) && count.enter(None).is_some());
    }
}
