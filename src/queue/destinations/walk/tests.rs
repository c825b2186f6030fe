//! Walks over queues that change under them.

use std::collections::BTreeSet;

use super::*;
use crate::id::Location;
use crate::queue::destinations::Take;
use crate::queue::lifetimes::Lifetimes;
use crate::queue::select::PlacePredicate;

static LIFETIMES: Lifetimes = Lifetimes::new();
static TIMES: Times<'static> = Times { now: 1_000, lifetimes: &LIFETIMES };

fn group(key: u32, not_before: u32) -> Group {
    let location = Location { lane: (key % 2) as u16, slot: 0, offset: 0 };
    // It came just now.
    let life = LIFETIMES.number(999_000);
    Group { not_before, life, expiry: 1_000_000, ..Group::bare(location, key) }
}

/// Numbers that look random (a linear congruence, its high half mixed in).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 ^ self.0 >> 32) % u64::from(end.max(1))) as u32
    }
}

/// All pages; `between` slices the queues change.
fn pages(
    queues: &mut Destinations,
    filter: Filter,
    most: Option<usize>,
    looks: usize,
    mut between: impl FnMut(&mut Destinations),
) -> (Vec<WaitingGroup>, Tally) {
    let filter = Arc::new(filter);
    let (mut rows, mut tally, mut from) = (Vec::new(), Tally::default(), ScanPosition::default());
    for _ in 0..10_000 {
        let mut walk = Walk::new(filter.clone(), from, most, 50);
        let end = loop {
            match walk.step(queues, TIMES, looks) {
                Slice::Unfinished => between(queues),
                Slice::Over(end) => break end,
            }
        };
        assert!(walk.rows.len() <= most.unwrap_or(0), "a page has its bound");
        rows.extend(walk.rows);
        tally = tally.plus(walk.tally);
        match end {
            Some(place) => from = place,
            None => return (rows, tally),
        }
        between(queues);
    }
    panic!("the pages have no end");
}

fn filter(pairs: &[(&str, &str)]) -> Filter {
    let mut filter = Filter::default();
    pairs.iter().for_each(|(name, text)| filter.set(name, text).unwrap());
    filter
}

/// Ready and deferred groups in a large domain and small ones.
fn queues(large: u32) -> Destinations {
    let mut queues = Destinations::new(vec![1_000_000; 2]);
    for key in 0..large + 20 {
        let name = if key < large { "large.example".to_owned() } else { format!("d{}.example", key / 3) };
        let wait = if key % 3 == 0 { 0 } else { 1_001 + key.wrapping_mul(2_654_435_761) % 1_000 };
        queues.push(&name, group(key, wait), TIMES.now);
    }
    let large = queues.domains.find("large.example", 0).unwrap();
    queues.resolved(large, "mx:mx.example:25");
    queues
}

#[test]
fn every_page_is_told_once_and_all_of_them_are_everything() {
    for (most, looks) in [(1, 1), (3, 2), (7, 5), (50, 3), (256, 2_048)] {
        let mut queues = queues(90);
        let (rows, tally) = pages(&mut queues, Filter::default(), Some(most), looks, |_| {});
        let keys: Vec<u32> = rows.iter().map(|seen| seen.group.key).collect();
        assert_eq!(keys.len(), 110, "{most} {looks}");
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 110);
        assert_eq!((tally.groups, tally.recipients, tally.under_way), (110, 110, 0));
        assert_eq!(rows.iter().filter(|seen| seen.state == GroupState::Ready).count(), 37);
        let count = pages(&mut queues, Filter::default(), None, looks, |_| {}).1;
        assert_eq!(count, tally);
    }
}

#[test]
fn filters_leave_the_others_out() {
    let mut queues = queues(90);
    let mut count = |pairs: &[(&str, &str)]| pages(&mut queues, filter(pairs), None, 10, |_| {}).1.groups;
    assert_eq!(count(&[("domain", "large.example")]), 90);
    assert_eq!(count(&[("domain", "*.example")]), 110);
    assert_eq!(count(&[("domain", "nobody.example")]), 0);
    assert_eq!(count(&[("domain", "large.example"), ("state", "deferred")]), 60);
    assert_eq!(count(&[("site", "mx.example")]), 90);
    assert_eq!(count(&[("site", "other.example")]), 0);
    assert_eq!(count(&[("older", "0s")]), 110);
    assert_eq!(count(&[("older", "1s")]), 0, "all of it has its whole life before it");
}

/// A look at a domain of which whoever asks has to think is as dear as many at groups: a slice has few of them.
#[test]
fn domains_are_judged_few_at_a_time() {
    let mut queues = queues(90);
    let judged = |name| Filter {
        judged: Some(PlacePredicate::new(move |place, _| place.domain.starts_with(name))),
        ..Filter::default()
    };
    let mut slices = 0;
    assert_eq!(pages(&mut queues, judged("nobody"), None, 10, |_| slices += 1).1, Tally::default());
    assert!(slices >= 7, "there are eight domains: {slices}");
    let tally = pages(&mut queues, judged("large"), None, 10, |_| {}).1;
    assert_eq!((tally.groups, tally.recipients), (90, 90));
    assert_eq!(pages(&mut queues, judged("d"), None, 10, |_| {}).1.groups, 20);
    let (one, other) = (judged("d"), judged("d"));
    assert!(one == one.clone() && one != other && one.is_of_domains() && !one.is_empty());
}

#[test]
fn what_is_under_way_is_counted() {
    let mut queues = queues(90);
    let site = queues.site("mx:mx.example:25");
    for _ in 0..4 {
        assert!(matches!(queues.take(site, TIMES.now), Take::Job(..)));
    }
    let tally = pages(&mut queues, Filter::default(), None, 10, |_| {}).1;
    assert_eq!((tally.groups, tally.under_way), (106, 4));
    let tally = pages(&mut queues, filter(&[("state", "ready")]), None, 10, |_| {}).1;
    assert_eq!((tally.groups, tally.under_way), (33, 0), "only whole domains have them");
}

/// Mail comes, is tried, deferred, given back and becomes due between the slices of a walk with small pages. What nobody touched is told.
#[test]
fn what_waits_all_along_is_told_whatever_moves() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let large = 40 + dice.below(200);
        let mut queues = queues(large);
        let site = queues.site("mx:mx.example:25");
        let mut untouched: BTreeSet<u32> = (0..large + 20).collect();
        let (mut next, mut out, mut now) = (large + 20, Vec::new(), TIMES.now);
        let (most, looks) = (1 + dice.below(40) as usize, 1 + dice.below(12) as usize);
        let (rows, _) = pages(&mut queues, Filter::default(), Some(most), looks, |queues| {
            for _ in 0..dice.below(4) {
                match dice.below(6) {
                    // Or it would come faster than so small a slice goes through it.
                    0 | 1 if next > large + 200 => {}
                    0 => {
                        let wait = now + 1 + dice.below(1_000);
                        queues.push("large.example", group(next, wait), now);
                        next += 1;
                    }
                    1 => {
                        queues.push("large.example", group(next, 0), now);
                        next += 1;
                    }
                    2 => {
                        if let Take::Job(key, group) = queues.take(site, now) {
                            untouched.remove(&group.key);
                            out.push((key, group));
                        }
                    }
                    3 => {
                        if let Some((key, group)) = out.pop() {
                            let _ = queues.put_back(key, group);
                        }
                    }
                    4 => {
                        if let Some((key, group)) = out.pop() {
                            let again = Group { not_before: now + dice.below(900), ..group };
                            queues.attempted(key, &group, &[again], now);
                        }
                    }
                    _ => {
                        now += dice.below(3);
                        queues.tick(now, 3);
                    }
                }
            }
        });
        let told: BTreeSet<u32> = rows.iter().map(|seen| seen.group.key).collect();
        let missed: Vec<_> = untouched.difference(&told).collect();
        assert!(missed.is_empty(), "seed {seed}: {missed:?} of {}", untouched.len());
        assert!(told.iter().all(|key| *key < next), "nothing is made up");
    }
}

#[test]
fn a_domain_that_goes_leaves_no_trace_in_a_walk() {
    let mut queues = Destinations::new(vec![1_000; 2]);
    for key in 0..10 {
        queues.push("first.example", group(key, 0), TIMES.now);
    }
    let key = queues.domains.find("first.example", 0).unwrap();
    let site = queues.site("mx:mx.example:25");
    queues.resolved(key, "mx:mx.example:25");
    let mut walk = Walk::new(Arc::default(), ScanPosition::default(), Some(100), 1_000);
    assert_eq!(walk.step(&mut queues, TIMES, 4), Slice::Unfinished);
    while let Take::Job(key, group) = queues.take(site, TIMES.now) {
        queues.attempted(key, &group, &[], TIMES.now);
    }
    queues.tick(TIMES.now + 100, 10);
    assert!(queues.domains.count() == 0, "it is forgotten");
    queues.push("second.example", group(77, 0), TIMES.now);
    assert!(matches!(walk.step(&mut queues, TIMES, 100), Slice::Over(None)));
    let told: Vec<_> = walk.rows.iter().map(|seen| (&*seen.domain, seen.group.key)).collect();
    assert_eq!(told, [("second.example", 77)]);
}
