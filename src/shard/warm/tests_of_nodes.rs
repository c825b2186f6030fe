//! Nodes of a cluster that send by one source in warm-up: its days are those of all of them.

use std::sync::Arc;

use super::ledger::{Keeps, Ledger};
use super::{Empty, WarmCounts};
use crate::config::WarmupConfig;
use crate::config::warmup::Step;
use crate::policy::cluster::count_store::CountStore;
use crate::shaping::warmup::{Complaint, Day, WarmDay, WarmupStage};
use crate::shard::cluster_counts::CountDesk;
use crate::time::{Instant, UnixMillis};

#[derive(Default)]
struct Disk(Vec<WarmDay>);

impl Keeps for Disk {
    fn days(&mut self, _: (&str, &str)) -> Option<Vec<Day>> {
        Some(self.0.iter().map(|one| one.day).collect())
    }

    fn keep(&mut self, days: &[WarmDay]) -> bool {
        for new in days {
            self.0.retain(|one| one.day.day != new.day.day);
            self.0.push(new.clone());
        }
        true
    }
}

struct Node {
    counts: WarmCounts,
    ledger: Ledger,
    desk: CountDesk,
    disk: Disk,
}

impl Node {
    fn new(disk: Disk) -> Node {
        let desk = CountDesk::new(0.33);
        desk.ledger().nodes(3);
        Node { counts: WarmCounts::default(), ledger: Ledger::default(), desk, disk }
    }
}

struct Nodes {
    all: Vec<Node>,
    store: CountStore,
    now: UnixMillis,
}

fn plan() -> Arc<WarmupConfig> {
    let plan = [(1, 50), (2, 100), (3, 200), (9, 400)].map(|(day, volume)| Step { day, volume }).to_vec();
    Arc::new(WarmupConfig { source: "ip9".into(), start: 100, plan, overflow: None })
}

impl Nodes {
    fn new() -> Nodes {
        let mut store = CountStore::default();
        let now = UnixMillis::of_day(100);
        store.ask(9, &[], now.0 - 60_000);
        Nodes { all: (0..3).map(|_| Node::new(Disk::default())).collect(), store, now }
    }

    fn turn(&mut self, node: usize) {
        let at = Instant(self.now.0 * 1_000_000);
        let Node { counts, ledger, desk, disk } = &mut self.all[node];
        assert!(ledger.serve_within(counts, (self.now, true), disk, &mut desk.at(at)));
        ledger.note_within(counts, self.now, disk, &mut desk.at(at));
        let mut known = desk.ledger();
        let asks = known.ask(at, self.now.0);
        known.answer(&asks, &self.store.ask(node as u64, &asks, self.now.0), (at, at));
    }

    /// So many messages of a node at most: how many left.
    fn take(&mut self, node: usize, most: usize) -> usize {
        let count = self.all[node].counts.get(("ip9", "a"), &plan());
        for taken in 0..most {
            let mut looks = 0;
            while let Err(empty) = self.all[node].counts.take(&count, self.now.day()) {
                looks += 1;
                if empty == Empty::Over && looks > 1 || looks > 20 {
                    return taken;
                }
                self.now.0 += 100;
                self.turn(node);
            }
        }
        most
    }

    fn stage(&self, node: usize) -> Option<WarmupStage> {
        self.all[node].counts.find(("ip9", "a")).and_then(|count| count.told().standing)
    }
}

#[test]
fn a_day_is_that_of_all_nodes() {
    let mut nodes = Nodes::new();
    let mut taken = 0;
    for turn in 0..30 {
        taken += nodes.take(turn % 3, 4);
    }
    // What one holds and does not use goes back within half a minute.
    for _ in 0..80 {
        nodes.now.0 += 500;
        (0..3).for_each(|node| nodes.turn(node));
    }
    (0..3).for_each(|node| taken += nodes.take(node, 99));
    assert_eq!(taken, 50);
    // A kill wastes what is left of a block.
    nodes.now = UnixMillis::of_day(101);
    let mut taken = nodes.take(0, 3);
    nodes.all[0] = Node::new(std::mem::take(&mut nodes.all[0].disk));
    for turn in 0..60 {
        taken += nodes.take(turn % 3, 10);
    }
    assert!((80..=100).contains(&taken), "{taken}");
}

/// What a provider says to one node slows the plan of all, also of one that had nothing to do that day.
#[test]
fn a_complaint_to_one_counts_for_all() {
    let mut nodes = Nodes::new();
    assert_eq!(nodes.take(0, 3), 3);
    nodes.now = UnixMillis::of_day(101);
    assert_eq!((nodes.take(0, 3), nodes.take(1, 3)), (3, 3));
    nodes.all[0].counts.get(("ip9", "a"), &plan()).complains(Complaint::Throttled);
    nodes.turn(0);
    nodes.turn(0);
    nodes.now = UnixMillis::of_day(102);
    for node in [2, 1, 0] {
        assert_eq!(nodes.take(node, 3), 3);
        assert_eq!(nodes.stage(node), Some(WarmupStage::Day(2, 100)), "node {node}");
    }
    // It is on disk: the day after goes on from there.
    nodes.now = UnixMillis::of_day(103);
    for node in 0..3 {
        nodes.all[node] = Node::new(std::mem::take(&mut nodes.all[node].disk));
        assert_eq!(nodes.take(node, 3), 3);
        assert_eq!(nodes.stage(node), Some(WarmupStage::Day(3, 200)), "node {node}");
    }
}
