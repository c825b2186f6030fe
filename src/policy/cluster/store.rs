//! What the script does, in the same steps: for tests without a server.

use std::collections::HashMap;

use super::fair::Others;
use super::script::{Ask, Grant};
use crate::limits;

#[derive(Default)]
pub struct Store {
    /// When it began to remember.
    began: Option<u64>,
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

    /// A batch of a node, at this millisecond.
    pub fn ask(&mut self, node: u64, asks: &[Ask], now: u64) -> (u64, Vec<Grant>) {
        let began = *self.began.get_or_insert(now);
        let grace = (began + limits::CLUSTER_LEASE.as_millis() as u64).saturating_sub(now);
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
            if grace > 0 {
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
