//! Many nodes and one store, in virtual time: counts are used up, and never exceeded by more than is said, whatever becomes of the store.

use std::time::Duration;

use super::count_script::{CountAnswer, CountAsk, CountKey, Marks};
use super::count_store::CountStore;
use super::counts::{Count, CountLedger, Then};
use crate::limits;
use crate::time::Instant;

const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600_000;
/// How often nodes ask, in milliseconds.
const STEP: u64 = 50;

struct Node {
    ledger: CountLedger,
    /// What it gave out of each hour: on disk.
    used: Vec<u32>,
    /// Messages that it gets in a step, of a thousand steps.
    demand: u64,
    owed: u64,
    refused: u64,
    coming: Vec<(u64, u64, Vec<CountAsk>, CountAnswer)>,
    asked: u64,
}

/// Nodes, one quota an hour, and the store between them.
struct Play {
    now: u64,
    most: u32,
    share: f64,
    nodes: Vec<Node>,
    store: CountStore,
    /// How long an answer takes; None: nobody answers.
    delay: Option<u64>,
    cut_off: Vec<usize>,
}

fn key(hour: u64) -> CountKey {
    ("qa shop h".into(), hour as u32)
}

fn ledger(share: f64, nodes: usize) -> CountLedger {
    let mut ledger = CountLedger::new(share);
    ledger.nodes(nodes);
    ledger
}

impl Play {
    fn new(nodes: usize, share: f64, most: u32, demand: u64) -> Play {
        let node = || Node {
            ledger: ledger(share, nodes),
            used: Vec::new(),
            demand,
            owed: 0,
            refused: 0,
            coming: Vec::new(),
            asked: 0,
        };
        let nodes = (0..nodes).map(|_| node()).collect();
        let store = CountStore::default();
        // The store has long been there.
        let mut play =
            Play { now: 100 * HOUR, most, share, nodes, store, delay: Some(2), cut_off: Vec::new() };
        play.store.ask(0, &[], play.now - HOUR);
        play
    }

    fn restart(&mut self, node: usize) {
        self.nodes[node].ledger = ledger(self.share, self.nodes.len());
        self.nodes[node].coming.clear();
    }

    fn count(&self, used: u32) -> Count {
        let block = (self.most / limits::QUOTA_BLOCK_PART).clamp(1, limits::QUOTA_BLOCK_MAX);
        let left = Duration::from_millis(HOUR - self.now % HOUR);
        Count { most: self.most, used, block, length: Duration::from_millis(HOUR), left, recurs: true }
    }

    fn step(&mut self) {
        let (now, at, hour) = (self.now, Instant(self.now * MS), self.now / HOUR);
        for place in 0..self.nodes.len() {
            let delay = self.delay.filter(|_| !self.cut_off.contains(&place));
            let mut node = std::mem::replace(
                &mut self.nodes[place],
                Node {
                    ledger: CountLedger::new(1.0),
                    used: Vec::new(),
                    demand: 0,
                    owed: 0,
                    refused: 0,
                    coming: Vec::new(),
                    asked: 0,
                },
            );
            let (come, coming): (Vec<_>, Vec<_>) =
                std::mem::take(&mut node.coming).into_iter().partition(|of| of.0 <= now);
            node.coming = coming;
            for (came, sent, asks, answer) in come {
                node.ledger.answer(&asks, &answer, (Instant(sent * MS), Instant(came * MS)));
            }
            node.used.resize(node.used.len().max(hour as usize + 1), 0);
            node.owed += node.demand;
            while node.owed >= 1_000 {
                let used = node.used[hour as usize];
                let (room, _) = node.ledger.room(&key(hour), self.count(used), 1, at);
                if room.left > 0 {
                    node.used[hour as usize] += 1;
                    node.ledger.gave(&key(hour), used + 1);
                } else if room.then == Then::Wait {
                    // It is looked for again in a moment.
                    break;
                } else {
                    node.refused += 1;
                }
                node.owed -= 1_000;
            }
            // A question at a time.
            if node.coming.is_empty() {
                let asks = node.ledger.ask(at, now);
                node.asked += asks.len() as u64;
                if let Some(delay) = delay {
                    let answer = self.store.ask(place as u64 + 1, &asks, now + delay / 2);
                    node.coming.push((now + delay, now, asks, answer));
                } else {
                    node.ledger.fails(at);
                }
            }
            self.nodes[place] = node;
        }
        self.now += STEP;
    }

    fn seconds(&mut self, seconds: u64) {
        (0..seconds * 1_000 / STEP).for_each(|_| self.step());
    }

    /// What all nodes gave out in an hour.
    fn used(&self, hour: u64) -> u32 {
        self.nodes.iter().map(|node| node.used.get(hour as usize).copied().unwrap_or(0)).sum()
    }
}

#[test]
fn nodes_use_up_a_quota_together_and_no_more() {
    for (nodes, most, demand) in
        [(1, 300, 900), (3, 300, 400), (3, 300, 20_000), (50, 7_000, 3_000), (50, 40, 500)]
    {
        let mut play = Play::new(nodes, 1.0 / nodes as f64, most, demand);
        play.seconds(200);
        assert_eq!(play.used(100), most, "{nodes} nodes, {demand}");
        assert!(play.nodes.iter().all(|node| node.refused > 0));
        play.now = 101 * HOUR - 10_000;
        play.seconds(200);
        assert_eq!(play.used(101), most, "the next hour");
    }
}

/// Who has nothing to do holds nothing that others need, and is given some when he has.
#[test]
fn what_is_not_used_is_used_by_others() {
    let mut play = Play::new(4, 0.25, 1_000, 0);
    (0..4).for_each(|node| play.nodes[node].demand = 500);
    play.seconds(5);
    (1..4).for_each(|node| play.nodes[node].demand = 0);
    play.nodes[0].demand = 2_000;
    play.seconds(60);
    assert_eq!((play.used(100), play.store.total(&key(100))), (1_000, 1_000));
    // Few questions: an idle node asks nothing.
    let asked = play.nodes[2].asked;
    play.seconds(600);
    assert_eq!(play.nodes[2].asked, asked);
}

/// A node that is killed begins with what it has on disk: what it had not used is others'.
#[test]
fn kills_exceed_nothing_and_waste_nothing() {
    let mut play = Play::new(3, 0.33, 300, 300);
    for kill in 0..12 {
        play.seconds(3);
        play.restart(kill % 3);
        assert!(play.used(100) <= 300);
    }
    play.seconds(60);
    assert_eq!(play.used(100), 300);
}

/// Nobody answers: each has what it was granted and its share of the rest, once. It is told to all when somebody answers again.
#[test]
fn a_store_that_is_gone_leaves_each_its_share() {
    let mut play = Play::new(4, 0.2, 1_000, 2_000);
    play.seconds(4);
    let before = play.used(100);
    play.delay = None;
    play.seconds(300);
    let used = play.used(100);
    assert!(used <= 1_000 && used >= before + (1_000 - before) * 7 / 10, "{used} of 1000, {before} before");
    let refused: u64 = play.nodes.iter().map(|node| node.refused).sum();
    assert!(refused > 0);
    // Restarts give nothing more.
    (0..4).for_each(|node| play.restart(node));
    play.seconds(60);
    assert_eq!(play.used(100), used);
    play.delay = Some(2);
    play.seconds(60);
    assert_eq!(play.used(100), 1_000, "what is left is for all again");
}

/// One cannot ask, and others use up all: on top comes its share of what was left when it heard last.
#[test]
fn who_is_cut_off_exceeds_by_its_share() {
    let mut play = Play::new(4, 0.25, 1_000, 2_000);
    play.seconds(1);
    play.cut_off = vec![3];
    play.seconds(120);
    let used = play.used(100);
    assert!(used > 1_000 && used <= 1_250, "{used}");
    play.cut_off.clear();
    play.seconds(120);
    assert_eq!(play.used(100), used, "it is told, and nobody has more");
    assert_eq!(play.store.total(&key(100)), used);
}

/// It forgets, at once or for a while gone: what was used before counts, also that of who has nothing to do.
#[test]
fn a_store_that_forgot_is_told() {
    for gone in [0, 1, 30] {
        let mut play = Play::new(4, 0.25, 1_000, 2_000);
        play.nodes[3].demand = 8_000;
        play.seconds(2);
        play.nodes[3].demand = 0;
        play.seconds(2);
        if gone > 0 {
            play.delay = None;
            play.seconds(gone);
        }
        play.store.forget();
        play.delay = Some(2);
        play.seconds(120);
        let used = play.used(100);
        assert!((1_000..=1_250).contains(&used), "{used} after {gone} s");
    }
}

/// Answers come late: nobody waits for them but the first, and little is exceeded.
#[test]
fn a_slow_store_holds_nobody_up() {
    let mut play = Play::new(4, 0.25, 10_000, 2_000);
    play.seconds(4);
    play.delay = Some(1_500);
    play.seconds(2);
    let owed: u64 = play.nodes.iter().map(|node| node.owed).max().unwrap_or(0);
    let used = play.used(100);
    play.seconds(10);
    assert!(play.nodes.iter().all(|node| node.owed <= owed.max(2_000)));
    assert!(play.used(100) >= used + 10 * 20 * 8 - 50, "{} after {used}", play.used(100));
    play.seconds(120);
    let used = play.used(100);
    assert!((10_000..=12_500).contains(&used), "{used}");
}

/// A quota that is too small to be divided waits while nobody can be asked.
#[test]
fn what_is_too_small_for_a_share_waits() {
    let mut play = Play::new(5, 0.2, 3, 400);
    play.delay = None;
    play.seconds(60);
    assert_eq!(play.used(100), 0);
    play.delay = Some(2);
    play.seconds(60);
    assert_eq!(play.used(100), 3);
}

#[test]
fn an_overtaken_question_takes_nothing_back() {
    let mut store = CountStore::default();
    store.ask(1, &[], 0);
    let ask = |want: u32, held: u32, turn: u64| {
        let marks = Marks::default();
        vec![CountAsk { key: key(1), most: 100, want, held, turn, kept: 1, marks }]
    };
    let later = 20_000;
    assert_eq!(store.ask(1, &ask(60, 50, 2), later).grants[0].granted, 60);
    assert_eq!(store.ask(1, &ask(50, 50, 1), later).grants[0].granted, 60);
    assert_eq!(store.ask(2, &ask(60, 0, 1), later).grants[0].granted, 40);
}

/// The worst that any node knows holds for all.
#[test]
fn marks_are_those_of_all() {
    let (mut one, mut other, mut store) = (ledger(0.5, 2), ledger(0.5, 2), CountStore::default());
    store.ask(0, &[], 0);
    let at = Instant(20_000 * MS);
    let count = Play::new(2, 0.5, 100, 0).count(0);
    let said = Marks { behind: 1, said: 2 };
    assert_eq!(one.marks(&key(1), count, said, at), (None, true));
    let asks = one.ask(at, 1);
    one.answer(&asks, &store.ask(1, &asks, 20_000), (at, at));
    assert_eq!(one.marks(&key(1), count, said, at).0, Some((said, true)));
    assert_eq!(other.marks(&key(1), count, Marks::default(), at), (None, true));
    let asks = other.ask(at, 1);
    other.answer(&asks, &store.ask(2, &asks, 20_000), (at, at));
    assert_eq!(other.marks(&key(1), count, Marks::default(), at).0, Some((said, true)));
    let mut alone = ledger(0.5, 2);
    alone.fails(at);
    assert_eq!(alone.marks(&key(1), count, Marks::default(), at).0, Some((Marks::default(), false)));
}

/// A store that does not remember what others have lets the quota be exceeded: that is seen.
#[test]
fn a_forgetful_store_is_found() {
    let mut play = Play::new(3, 0.33, 300, 2_000);
    play.store.forgetful = true;
    play.seconds(120);
    assert!(play.used(100) > 330, "{}", play.used(100));
}

#[test]
fn what_is_known_of_counts_is_bounded() {
    let mut ledger = ledger(0.5, 2);
    let count = Play::new(2, 0.5, 100, 0).count(0);
    let at = Instant(20_000 * MS);
    for number in 0..limits::COUNTS_MAX as u32 {
        ledger.note(&("qa shop h".into(), number), count, at);
    }
    let (room, asks) = ledger.room(&("qt shop h".into(), 1), count, 1, at);
    assert_eq!((room.left, room.then, asks), (50, Then::Away, false));
    assert_eq!(ledger.ask(at, 1).len(), limits::CLUSTER_BATCH);
    let over = at + count.left + limits::COUNT_IDLE;
    assert!(ledger.ask(over, 1).is_empty() && ledger.standing(over).counts == 0);
}
