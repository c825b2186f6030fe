//! What the script does, in the same steps: for tests without a server.

use std::collections::HashMap;

use super::fair::Others;
use super::script::{Ask, Grant};
use crate::limits;

#[derive(Default)]
pub struct Store {
    /// When it began to remember.
    began: Option<u64>,
    /// When somebody came last.
    last: Option<u64>,
    /// When somebody came again after all leases had ended.
    ended: Option<u64>,
    held: HashMap<Box<str>, Vec<Entry>>,
}

struct Entry {
    node: u64,
    units: u64,
    needs: u64,
    ends: u64,
}

impl Store {
    /// It forgets all, as a server does that keeps nothing on disk and is started again.
    pub fn forget(&mut self) {
        *self = Store::default();
    }

    /// A node says that it is there. For how long nobody gets more than he had, as leases were forgotten, and as all had ended or were.
    pub fn here(&mut self, now: u64) -> (u64, u64) {
        let lease = limits::CLUSTER_LEASE.as_millis() as u64;
        if self.last.replace(now).is_some_and(|last| last + lease < now) {
            self.ended = Some(now);
        }
        let forgot = (*self.began.get_or_insert(now) + lease).saturating_sub(now);
        (forgot, forgot.max((self.ended.unwrap_or(0) + lease / 3).saturating_sub(now)))
    }

    /// A batch of a node, at this millisecond.
    pub fn ask(&mut self, node: u64, asks: &[Ask], now: u64) -> (u64, Vec<Grant>) {
        let (forgot, grace) = self.here(now);
        let grant = |ask: &Ask| {
            let entries = self.held.entry(ask.key.clone()).or_default();
            entries.retain(|entry| entry.node != node && entry.ends > now);
            let mut others = Others { nodes: entries.len() as u64, ..Others::default() };
            for entry in entries.iter() {
                others.leased += entry.units;
                if entry.needs <= ask.level {
                    others.small += entry.needs;
                } else {
                    others.large += 1;
                }
            }
            let mut units = ask.want.min(ask.limit.most.saturating_sub(others.leased));
            if forgot > 0 || grace > 0 && ask.held > 0 {
                units = units.min(ask.held);
            }
            if ask.want > 0 || ask.need > 0 {
                entries.push(Entry { node, units, needs: ask.need, ends: now + ask.lasts });
            }
            Grant { units, others }
        };
        (grace, asks.iter().map(grant).collect())
    }
}
