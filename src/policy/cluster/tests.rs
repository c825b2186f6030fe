//! Many nodes and one store, in virtual time: leases are used up, and never exceeded, whatever becomes of the store.

use std::collections::HashMap;

use super::Limit;
use super::ledger::{Ledger, Reading};
use super::script::{Ask, Grant};
use super::store::Store;
use crate::limits;
use crate::time::Instant;

const MS: u64 = 1_000_000;

/// An answer: when it comes, when it was asked, what, and for how long nobody gets more.
type Coming = (u64, u64, Vec<Ask>, u64, Vec<Grant>);

/// A node, and what it would use of each limit if it were let.
struct Node {
    ledger: Ledger,
    needs: HashMap<usize, u64>,
    used: HashMap<usize, u64>,
    taken: HashMap<usize, Instant>,
    /// Answers that are on their way, and when they come.
    coming: Vec<Coming>,
}

/// Nodes, limits, and the store between them.
struct Play {
    now: u64,
    nodes: Vec<Node>,
    limits: Vec<Limit>,
    names: Vec<String>,
    places: HashMap<String, usize>,
    store: Store,
    /// How long an answer takes; None: nobody answers.
    delay: Option<u64>,
    /// Nodes that are not answered, though others are.
    cut_off: Vec<usize>,
    random: u64,
    asked: usize,
}

impl Play {
    fn new(nodes: usize, share: f64, all: Vec<Limit>) -> Play {
        let node = || Node {
            ledger: Ledger::new(share),
            needs: HashMap::new(),
            used: HashMap::new(),
            taken: HashMap::new(),
            coming: Vec::new(),
        };
        let names: Vec<String> = (0..all.len()).map(|at| format!("ip{} mx:{at}", at % 7)).collect();
        Play {
            now: 1_000_000,
            places: names.iter().cloned().zip(0..).collect(),
            nodes: (0..nodes).map(|_| node()).collect(),
            names,
            limits: all,
            store: Store::default(),
            delay: Some(5),
            cut_off: Vec::new(),
            random: 7,
            asked: 0,
        }
    }

    fn random(&mut self, most: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % most
    }

    fn at(&self) -> Instant {
        Instant(self.now * MS)
    }

    /// One round of all nodes. What all use of each limit together.
    fn round(&mut self) -> Vec<u64> {
        let mut sums = vec![0; self.limits.len()];
        for place in 0..self.nodes.len() {
            let (now, at) = (self.now, self.at());
            let delay = self.delay.filter(|_| !self.cut_off.contains(&place));
            if delay.is_some() {
                self.store.here(now);
            }
            let nodes = self.nodes.len();
            let node = &mut self.nodes[place];
            if now == 1_000_000 {
                node.ledger.nodes(nodes);
            }
            let (come, coming): (Vec<_>, Vec<_>) =
                std::mem::take(&mut node.coming).into_iter().partition(|of| of.0 <= now);
            node.coming = coming;
            for (came, sent, asks, grace, grants) in come {
                node.ledger.answer(&asks, (grace, &grants), (Instant(sent * MS), Instant(came * MS)));
            }
            for (key, need) in node.needs.clone() {
                let (limit, name) = (self.limits[key], &self.names[key]);
                let before = node.used.get(&key).copied().unwrap_or(0);
                let part = node.ledger.part(name, limit, at);
                let slow = !limit.each.is_zero();
                let used = if slow { 0 } else { need.min(part) };
                let mut wanted = need > part;
                if slow {
                    let last = node.taken.get(&key).copied().unwrap_or(Instant(0));
                    if need > 0 && part == limit.most && (last == Instant(0) || at.since(last) >= limit.each)
                    {
                        node.taken.insert(key, at);
                        sums[key] += 1;
                    }
                    wanted = need > 0;
                }
                // A connection that is open ends some time later.
                let used = if limit.stays && used < before { before - 1 } else { used };
                let taken = node.taken.get(&key).copied().unwrap_or(Instant(0));
                let reading = Reading { used, wanted, taken };
                let part = node.ledger.observe(name, limit, reading, at);
                let used = if slow {
                    0
                } else if limit.stays {
                    used
                } else {
                    used.min(part)
                };
                node.used.insert(key, used);
                sums[key] += used;
            }
            let places = &self.places;
            let asks = node
                .ledger
                .ask(at, |key| places.get(key).and_then(|at| node.used.get(at)).copied().unwrap_or(0));
            if !asks.is_empty() {
                self.asked += 1;
                if let Some(delay) = delay {
                    let (grace, grants) = self.store.ask(place as u64 + 1, &asks, now + delay / 2);
                    node.coming.push((now + delay, now, asks, grace, grants));
                }
            }
        }
        self.now += limits::CLUSTER_ROUND.as_millis() as u64;
        sums
    }

    /// Rounds of so many seconds. Of each limit the most that was used, and the mean.
    fn seconds(&mut self, seconds: u64) -> Vec<(u64, f64)> {
        let rounds = seconds * 1_000 / limits::CLUSTER_ROUND.as_millis() as u64;
        let (mut most, mut sum) = (vec![0; self.limits.len()], vec![0u64; self.limits.len()]);
        for _ in 0..rounds {
            for (key, used) in self.round().into_iter().enumerate() {
                most[key] = used.max(most[key]);
                sum[key] += used;
            }
        }
        most.into_iter().zip(sum).map(|(most, sum)| (most, sum as f64 / rounds as f64)).collect()
    }

    fn need(&mut self, node: usize, key: usize, need: u64) {
        self.nodes[node].needs.insert(key, need);
    }

    /// What each needs and uses of a limit.
    fn told(&self, key: usize) -> String {
        let told = |node: &Node| Some((*node.needs.get(&key)?, node.used.get(&key).copied()?));
        format!("{:?}", self.nodes.iter().filter_map(told).collect::<Vec<_>>())
    }

    fn used(&self, node: usize, key: usize) -> u64 {
        self.nodes[node].used.get(&key).copied().unwrap_or(0)
    }
}

#[test]
fn nodes_share_a_rate_and_it_is_used_up() {
    let mut play = Play::new(5, 0.2, vec![Limit::rate(1_000_000)]);
    (0..5).for_each(|node| play.need(node, 0, 10_000));
    // Nobody knows who had what before.
    let (most, _) = play.seconds(17)[0];
    assert!(most <= 10_000, "{most}");
    let (most, mean) = play.seconds(30)[0];
    assert!(most <= 10_000 && mean >= 9_700.0, "{most} {mean}");
    // Two have little to do: the others have the rest at once.
    play.need(0, 0, 300);
    play.need(1, 0, 500);
    play.seconds(12);
    let (most, mean) = play.seconds(20)[0];
    assert!(most <= 10_000 && mean >= 9_500.0, "{most} {mean}");
    assert_eq!((play.used(0, 0), play.used(1, 0)), (300, 500));
    assert!(play.used(2, 0) >= 2_900, "{}", play.used(2, 0));
    // One of them has much again.
    play.need(0, 0, 10_000);
    play.seconds(12);
    assert!(play.used(0, 0) >= 2_200, "{}", play.used(0, 0));
}

/// A node that needs little leaves the rest to others; one that needs all hears of them soon.
#[test]
fn who_begins_waits_for_nobody() {
    for (most, little, limit) in [(10_000, 500, Limit::rate(1_000_000)), (20, 1, Limit::connections(20))] {
        for first in [little, most] {
            let mut play = Play::new(5, 0.2, vec![limit]);
            play.need(0, 0, first);
            play.seconds(40);
            assert_eq!(play.used(0, 0), first, "alone it has what it needs");
            (1..5).for_each(|node| play.need(node, 0, little));
            // They have begun, have asked, and were answered; of what is in use somebody has to hear first, and to let go of it: of one connection a round.
            play.seconds(match (first == little, limit.stays) {
                (true, _) => 1,
                (false, false) => 4,
                (false, true) => 8,
            });
            for node in 1..5 {
                assert!(play.used(node, 0) >= little, "{most}, {first}: {}", play.told(0));
            }
            play.seconds(6);
            let (used, mean) = play.seconds(10)[0];
            let wanted = (first + 4 * little).min(most);
            assert!(used <= most && mean >= 0.97 * wanted as f64, "{most}, {first}: {mean}");
        }
    }
}

/// Four that had much to do for a moment have little again: the fifth has the rest of the limit.
#[test]
fn what_is_not_needed_any_more_is_used_by_others() {
    let mut play = Play::new(5, 0.2, vec![Limit::rate(1_000_000)]);
    (0..5).for_each(|node| play.need(node, 0, 10_000));
    play.seconds(40);
    (1..5).for_each(|node| play.need(node, 0, 500));
    play.seconds(7);
    let (most, mean) = play.seconds(10)[0];
    assert!(most <= 10_000 && mean >= 9_700.0, "{most} {mean}: {}", play.told(0));
}

/// While a store that was started anew gives nobody more than he had, as that ends, and where it is gone before.
#[test]
fn a_store_that_forgot_stops_nothing() {
    for gone_after in [u64::MAX, 1, 8, 14] {
        let mut play = Play::new(3, 0.34, vec![Limit::rate(1_000_000)]);
        (0..3).for_each(|node| play.need(node, 0, 10_000));
        // Who is new begins with little.
        play.seconds(1);
        for round in 2..100 {
            if round == gone_after.saturating_mul(2) {
                play.delay = None;
            }
            let used = play.round()[0];
            assert!((9_900..=10_000).contains(&used), "{used} in round {round}, gone after {gone_after} s");
        }
    }
}

/// All are cut off from a store that goes on: who is back first finds that no lease is left, and has not all of it.
#[test]
fn who_is_back_first_has_no_more_than_he_had() {
    let mut play = Play::new(3, 0.34, vec![Limit::rate(1_000_000)]);
    (0..3).for_each(|node| play.need(node, 0, 10_000));
    play.seconds(30);
    play.cut_off = vec![0, 1, 2];
    for round in 0..200 {
        if round > 40 && round % 3 == 0 {
            play.cut_off.pop();
        }
        let used = play.round()[0];
        assert!((9_900..=10_000).contains(&used), "{used} in round {round}");
    }
}

#[test]
fn connections_are_divided_and_what_is_open_counts() {
    let mut play = Play::new(3, 0.3, vec![Limit::connections(10)]);
    play.need(0, 0, 10);
    play.seconds(17);
    assert_eq!(play.used(0, 0), 10, "alone");
    play.need(1, 0, 10);
    play.need(2, 0, 10);
    for _ in 0..40 {
        let used = play.round()[0];
        // Who is new begins with one before he has heard.
        assert!(used <= 12, "{used}");
    }
    let (most, mean) = play.seconds(20)[0];
    assert!(most <= 10 && mean >= 9.5, "{most} {mean}");
    assert!((0..3).all(|node| (3..=4).contains(&play.used(node, 0))));
}

#[test]
fn what_is_too_small_for_all_goes_round() {
    let mut play = Play::new(5, 0.2, vec![Limit::connections(2)]);
    (0..5).for_each(|node| play.need(node, 0, 2));
    play.seconds(16);
    let mut had = [0; 5];
    for _ in 0..240 {
        let used = play.round()[0];
        assert!(used <= 2, "{used}");
        (0..5).for_each(|node| had[node] += play.used(node, 0));
    }
    assert!(had.iter().all(|had| *had >= 30), "each had its turn: {had:?}");
    // Nobody answers: who has it goes on until his lease ends, and nobody else begins.
    play.delay = None;
    let (most, _) = play.seconds(14)[0];
    assert!(most <= 2, "{most}");
    play.seconds(4);
    assert_eq!(play.seconds(10)[0].0, 0);
    play.delay = Some(5);
    let (most, mean) = play.seconds(20)[0];
    assert!(most <= 2 && mean > 1.0, "{most} {mean}");
}

#[test]
fn the_only_connection_goes_round() {
    let mut play = Play::new(2, 0.5, vec![Limit::connections(1)]);
    (0..2).for_each(|node| play.need(node, 0, 1));
    play.seconds(16);
    let mut had = [0; 2];
    for _ in 0..240 {
        assert!(play.round()[0] <= 1);
        (0..2).for_each(|node| had[node] += play.used(node, 0));
    }
    assert!(had.iter().all(|had| *had >= 60), "{had:?}");
}

#[test]
fn a_limit_that_is_gone_is_leased_no_more() {
    let mut play = Play::new(2, 0.5, vec![Limit::connections(10)]);
    (0..2).for_each(|node| play.need(node, 0, 10));
    play.seconds(30);
    assert_eq!((play.used(0, 0), play.used(1, 0)), (5, 5));
    play.nodes[0].needs.clear();
    play.seconds(50);
    assert_eq!(play.nodes[0].ledger.standing(play.at()).keys, 0);
    assert_eq!(play.used(1, 0), 10);
    // Nothing to do: the lease is given back.
    play.need(1, 0, 0);
    play.seconds(40);
    assert_eq!(play.nodes[1].ledger.standing(play.at()).keys, 0);
}

/// One a minute over five nodes is one a minute.
#[test]
fn a_slow_rate_is_kept_to_over_all_nodes() {
    let minute = 60_000_000_000;
    let mut play = Play::new(5, 0.2, vec![Limit::rate(minute)]);
    (0..5).for_each(|node| play.need(node, 0, 1));
    let (mut begun, mut count) = (Vec::new(), 0);
    for _ in 0..2 * 3_600 {
        for _ in 0..play.round()[0] {
            begun.push(play.now);
            count += 1;
        }
    }
    assert!(begun.windows(2).all(|two| two[1] - two[0] >= 59_500), "{begun:?}");
    assert!((45..=61).contains(&count), "{count}");
}

/// The store is slow, does not answer, and forgets: 2,400 limits in use at some of fifty nodes each.
#[test]
fn fifty_nodes_and_a_failing_store() {
    let limit = |at: usize| match at % 3 {
        0 => Limit::connections(100),
        1 => Limit::rate(1_000_000),
        _ => Limit::connections(7),
    };
    let mut play = Play::new(50, 0.02, (0..2_400).map(limit).collect());
    for key in 0..2_400 {
        for _ in 0..4 {
            let (node, need) = (play.random(50) as usize, 1 + play.random(2 * play.limits[key].most));
            play.need(node, key, need);
        }
    }
    play.seconds(40);
    let over = |all: &[(u64, f64)], play: &Play, by: f64| {
        all.iter()
            .zip(&play.limits)
            .filter(|((most, _), limit)| *most as f64 > limit.most as f64 * by)
            .count()
    };
    let all = play.seconds(10);
    assert_eq!(over(&all, &play, 1.0), 0);
    for (key, ((_, mean), limit)) in all.iter().zip(&play.limits).enumerate() {
        let needs: u64 = play.nodes.iter().filter_map(|node| node.needs.get(&key)).sum();
        let wanted = needs.min(limit.most) as f64;
        assert!(
            *mean >= 0.95 * wanted.min(limit.most as f64) - 1.0,
            "{key}: {mean} of {wanted}: {}",
            play.told(key)
        );
    }
    // Slow: answers come a second and a half later.
    play.delay = Some(1_500);
    assert_eq!(over(&play.seconds(8), &play, 1.0), 0);
    // It forgets, and is there at once: nobody gets what others may still have.
    play.delay = Some(5);
    play.store.forget();
    let all = play.seconds(17);
    assert_eq!(over(&all, &play, 1.2), 0);
    // It is gone: leases end, and each has its share.
    play.delay = None;
    assert_eq!(over(&play.seconds(25), &play, 1.0), 0);
    play.delay = Some(5);
    play.store.forget();
    assert_eq!(over(&play.seconds(45), &play, 1.0), 0);
    let all = play.seconds(5);
    let used: f64 = all.iter().zip(&play.limits).map(|((_, mean), limit)| mean / limit.most as f64).sum();
    assert!(used >= 0.9 * 2_400.0, "{used}");
}
