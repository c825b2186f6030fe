//! Nodes of a cluster, whose quota holds for all of them: what each has on disk, and the store between them.

use std::sync::Arc;

use super::ledger::{Keeps, Ledger, QuotaRows};
use super::{Empty, QuotaDesk, QuotaTable};
use crate::config::Config;
use crate::policy::cluster::count_store::CountStore;
use crate::policy::quota::{Owner, Spent};
use crate::shard::cluster_counts::CountDesk;
use crate::time::{Civil, Instant, UnixMillis};

#[derive(Default)]
struct Disk(Vec<QuotaRows>);

impl Keeps for Disk {
    fn rows(&mut self, _: Owner, _: &str) -> Option<Vec<Spent>> {
        Some(self.0.last().map(|one| one.rows.clone()).unwrap_or_default())
    }

    fn keep(&mut self, all: &[QuotaRows]) -> bool {
        self.0 = all.to_vec();
        true
    }
}

struct Node {
    number: u64,
    desk: QuotaDesk,
    ledger: Ledger,
    counts: CountDesk,
    disk: Disk,
}

impl Node {
    fn new(number: u64, quota: &str, disk: Disk) -> Node {
        let text = format!("[[tenant]]\nname = \"shop\"\nquota = {quota}\n");
        let config = Config::parse(&text, std::path::Path::new("a.toml")).expect("it is valid");
        let (desk, ledger) = <(QuotaDesk, Ledger)>::default();
        desk.put_in_force(1, &Arc::new(QuotaTable::new(&config.tenants, None)));
        let counts = CountDesk::new(0.25);
        counts.ledger().nodes(4);
        Node { number, desk, ledger, counts, disk }
    }
}

struct Nodes {
    all: Vec<Node>,
    store: CountStore,
    now: UnixMillis,
    is_up: bool,
}

impl Nodes {
    fn new(quota: &str) -> Nodes {
        let now = Civil::time_named("2026-12-30T09:00:00Z").expect("a time");
        let mut store = CountStore::default();
        store.ask(9, &[], now.0 - 60_000);
        let all = (0..4).map(|number| Node::new(number, quota, Disk::default())).collect();
        Nodes { all, store, now, is_up: true }
    }

    /// What control and whoever asks do in a moment.
    fn turn(&mut self, node: usize) {
        let at = Instant(self.now.0 * 1_000_000);
        let Node { number, desk, ledger, counts, disk } = &mut self.all[node];
        assert!(ledger.serve_within(desk, (self.now, true), disk, &mut counts.at(at)).0);
        let mut known = counts.ledger();
        let asks = known.ask(at, self.now.0);
        match self.is_up {
            true => known.answer(&asks, &self.store.ask(*number, &asks, self.now.0), (at, at)),
            false => known.fails(at),
        }
    }

    /// One message to so many: whether it is taken, or why not.
    fn take(&mut self, node: usize, recipients: u32) -> Result<(), Empty> {
        let count = self.all[node].desk.in_force().get(Owner::Tenant, "shop").expect("it has one").clone();
        for look in 0..20 {
            match self.all[node].desk.take(&count, (recipients, look > 0), self.now) {
                Err(Empty::Asked) => self.turn(node),
                other => return other.map(drop),
            }
            self.now.0 += 10;
        }
        Err(Empty::Asked)
    }

    /// All that is taken, by nodes in turn, until none takes any more.
    fn drain(&mut self) -> (u32, Vec<Empty>) {
        let (mut taken, mut last) = (0, Vec::new());
        while last.len() < 4 {
            last.clear();
            for node in 0..4 {
                match self.take(node, 1) {
                    Ok(()) => taken += 1,
                    Err(why) => last.push(why),
                }
            }
        }
        (taken, last)
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 500 {
            self.now.0 += 500;
            (0..4).for_each(|node| self.turn(node));
        }
    }
}

use crate::config::quota::Period;

#[test]
fn a_quota_is_that_of_all_nodes() {
    let mut nodes = Nodes::new("[\"300/h\", \"500/d\"]");
    let (taken, why) = nodes.drain();
    assert_eq!((taken, why), (300, vec![Empty::Over(Period::Hour); 4]));
    nodes.now = Civil::time_named("2026-12-30T10:00:00Z").expect("a time");
    let (taken, why) = nodes.drain();
    // What a node holds of the day goes back when the hour has none for it.
    assert_eq!((taken, why), (200, vec![Empty::Over(Period::Day); 4]));
}

#[test]
fn what_a_node_gives_back_is_had_by_others() {
    let mut nodes = Nodes::new("[\"100/d\"]");
    // Node 0 has taken one, and more was granted.
    assert_eq!(nodes.take(0, 1), Ok(()));
    let mut taken = 1;
    while nodes.take(1, 1).is_ok() {
        taken += 1;
    }
    assert!(taken < 100, "{taken}");
    nodes.pass(40_000);
    while nodes.take(1, 1).is_ok() {
        taken += 1;
    }
    // The first has the rest of its block.
    while nodes.take(0, 1).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 100);
}

#[test]
fn messages_with_many_recipients_have_them() {
    let mut nodes = Nodes::new("[\"1000/d\"]");
    assert_eq!(nodes.take(0, 400), Ok(()));
    assert_eq!(nodes.take(1, 400), Ok(()));
    assert_eq!(nodes.take(2, 400), Err(Empty::Over(Period::Day)));
    assert!(nodes.take(2, 100).is_ok());
}

#[test]
fn a_node_alone_has_its_share_and_says_so() {
    let mut nodes = Nodes::new("[\"100/h\"]");
    nodes.is_up = false;
    nodes.pass(1_000);
    let (taken, why) = nodes.drain();
    assert_eq!((taken, why), (100, vec![Empty::Away; 4]), "four times 25");
    nodes.is_up = true;
    nodes.pass(10_000);
    let (taken, why) = nodes.drain();
    assert_eq!((taken, why), (0, vec![Empty::Over(Period::Hour); 4]));
}

/// Kills: what was granted and is not on disk as given out is for all again.
#[test]
fn kills_waste_a_block_each() {
    let mut nodes = Nodes::new("[\"400/h\"]");
    let mut taken = 0;
    for kill in 0..8 {
        (0..10).for_each(|_| taken += u32::from(nodes.take(kill % 4, 1).is_ok()));
        let disk = std::mem::take(&mut nodes.all[kill % 4].disk);
        nodes.all[kill % 4] = Node::new(kill as u64 % 4, "[\"400/h\"]", disk);
    }
    let (rest, _) = nodes.drain();
    taken += rest;
    assert!((400 - 8 * 8..=400).contains(&taken), "{taken}");
}
