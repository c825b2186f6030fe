//! Sessions with hosts as shards counted them, until control takes that for its reports (RFC 8460). A shard locks its own part, for a session;
//! control does so once a second.

use std::sync::{Mutex, PoisonError};

use crate::limits;
use crate::policy::tls_rpt::{AppliedPolicy, Failure, Tally};

/// What was counted since control looked.
#[derive(Debug)]
pub struct Sessions(Box<[Mutex<Tally>]>);

impl Sessions {
    /// Of so many shards.
    pub fn new(shards: usize) -> Sessions {
        Sessions((0..shards).map(|_| Mutex::default()).collect())
    }

    /// A shard had a session for a domain, on a day.
    pub fn count(&self, shard: usize, of: (u32, &str), policy: &AppliedPolicy, failure: Option<Failure>) {
        let Some(own) = self.0.get(shard) else { return };
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        own.count(of, policy, failure, limits::TLS_RPT_SHARD_ENTRIES);
    }

    /// What each shard counted, which begins anew.
    pub fn take(&self) -> impl Iterator<Item = Tally> {
        self.0.iter().map(|own| std::mem::take(&mut *own.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
