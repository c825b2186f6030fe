//! What the script of counts does, in the same steps: for tests without a server.

use std::collections::HashMap;

use super::count_script::{CountAnswer, CountAsk, CountGrant, CountKey, Marks};
use crate::limits;

#[derive(Default)]
pub struct CountStore {
    /// Since when it remembers.
    began: Option<u64>,
    counts: HashMap<CountKey, Kept>,
    /// A defect: what a node was granted before is forgotten when it asks again.
    pub forgetful: bool,
}

#[derive(Default)]
struct Kept {
    nodes: HashMap<u64, (u32, u64)>,
    marks: Marks,
}

impl CountStore {
    /// It forgets all.
    pub fn forget(&mut self) {
        *self = CountStore::default();
    }

    /// What all nodes were granted of a count.
    pub fn total(&self, key: &CountKey) -> u32 {
        self.counts.get(key).map_or(0, |kept| kept.nodes.values().map(|(granted, _)| granted).sum())
    }

    /// A batch of a node, at this millisecond.
    pub fn ask(&mut self, node: u64, asks: &[CountAsk], now: u64) -> CountAnswer {
        let began = *self.began.get_or_insert(now);
        let grace = (began + limits::CLUSTER_LEASE.as_millis() as u64).saturating_sub(now);
        let grant = |ask: &CountAsk| {
            let kept = self.counts.entry(ask.key.clone()).or_default();
            kept.marks = kept.marks.join(ask.marks);
            let (mine, last) = kept.nodes.get(&node).copied().unwrap_or_default();
            let all: u32 = kept.nodes.values().map(|(granted, _)| granted).sum();
            let others = all - mine;
            let mut granted = ask.held;
            if grace == 0 {
                let seen = if self.forgetful { 0 } else { others };
                granted = ask.held.max(ask.want.min(ask.most.saturating_sub(seen)));
            }
            if ask.turn < last {
                granted = granted.max(mine);
            }
            kept.nodes.insert(node, (granted, ask.turn.max(last)));
            CountGrant { granted, total: others + granted, marks: kept.marks }
        };
        CountAnswer { grace, began, grants: asks.iter().map(grant).collect() }
    }
}
