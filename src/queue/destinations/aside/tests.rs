//! Mail of a domain that is tried at once, or taken out.

use std::sync::Arc;

use super::*;
use crate::id::Location;
use crate::queue::destinations::Take;
use crate::queue::lifetimes::Lifetimes;
use crate::queue::select::{FoundRecipients, Run};

static LIFETIMES: Lifetimes = Lifetimes::new();
static TIMES: Times<'static> = Times { now: 1_000, lifetimes: &LIFETIMES };
const SITE: &str = "mx:mx.example:25";

fn group(key: u32, not_before: u32) -> Group {
    Group { not_before, expiry: 100_000, ..Group::bare(Location { lane: 0, slot: 0, offset: 0 }, key) }
}

/// So many deferred groups, and three that are ready.
fn queues(deferred: u32, credits: u32) -> (Destinations, DomainKey) {
    let mut queues = Destinations::new(vec![credits]);
    for key in 0..deferred {
        queues.push("d.example", group(key, 2_000 + key), TIMES.now);
    }
    for key in 0..3 {
        queues.push("d.example", group(deferred + key, 0), TIMES.now);
    }
    let key = queues.domains.find("d.example", 0).unwrap();
    queues.resolved(key, SITE);
    (queues, key)
}

fn end(queues: &mut Destinations, mut aside: AsideGroups) {
    while !aside.end(queues, TIMES, 2).0 {}
}

/// What connections get, in its order.
fn taken(queues: &mut Destinations) -> Vec<u32> {
    let site = queues.site(SITE);
    let mut keys = Vec::new();
    while let Take::Job(key, group) = queues.take(site, TIMES.now) {
        queues.attempted(key, &group, &[], TIMES.now);
        keys.push(group.key);
    }
    keys
}

#[test]
fn what_is_hurried_is_due_and_the_rest_waits_as_before() {
    let (mut queues, key) = queues(10, 100);
    let mut filter = Filter::default();
    filter.set("id", "00000000G0000102").unwrap();
    filter.entries = (0..10).step_by(2).map(|key| (0, key)).collect();
    let (mut aside, under_way) = AsideGroups::take(&mut queues, key, false).unwrap();
    assert_eq!((under_way, queues.queued()), (0, 13), "it is queued all the while");
    let mut tally = Tally::default();
    let mut slices = 0;
    while !aside.hurry(&mut queues, &filter, TIMES, 3, &mut tally).0 {
        slices += 1;
    }
    end(&mut queues, aside);
    assert_eq!((tally.groups, tally.deferred, slices), (5, 5, 3));
    let mut tried = taken(&mut queues);
    tried.sort_unstable();
    assert_eq!(tried, [0, 2, 4, 6, 8, 10, 11, 12]);
    assert_eq!(queues.queued(), 5);
    // The others come when they would have.
    queues.tick(2_003, 100);
    queues.resolved(key, SITE);
    assert_eq!(taken(&mut queues), [1, 3]);
}

#[test]
fn a_closed_site_opens_for_what_is_hurried() {
    let (mut queues, key) = queues(2, 100);
    let site = queues.site(SITE);
    queues.close_site(site, TIMES.now + 500);
    let mut tally = Tally::default();
    let (mut aside, _) = AsideGroups::take(&mut queues, key, false).unwrap();
    let effect = aside.hurry_ready(&mut queues, &Filter::default(), TIMES, 0..100, &mut tally);
    assert_eq!((effect, tally.groups), (Some(Effect::Pump(site)), 3));
    end(&mut queues, aside);
    assert_eq!(taken(&mut queues), [2, 3, 4]);
    assert_eq!(queues.failures(site), 1, "the next pause is longer all the same");
}

/// A domain whose mail all waits has no site: that it leads to opens when it is known.
#[test]
fn the_site_opens_that_is_found_later() {
    let mut queues = Destinations::new(vec![100]);
    let site = queues.site(SITE);
    queues.close_site(site, TIMES.now + 500);
    queues.push("d.example", group(1, 2_000), TIMES.now);
    let key = queues.domains.find("d.example", 0).unwrap();
    let (mut aside, _) = AsideGroups::take(&mut queues, key, false).unwrap();
    let (all, effect) = aside.hurry(&mut queues, &Filter::default(), TIMES, 9, &mut Tally::default());
    assert!(all && matches!(effect, Some(Effect::Resolve(..))), "{effect:?}");
    end(&mut queues, aside);
    assert_eq!(queues.resolved(key, SITE), Some(site));
    assert_eq!(taken(&mut queues), [1]);
}

#[test]
fn what_is_taken_out_has_a_credit_and_the_rest_stays() {
    let (mut queues, key) = queues(5, 3);
    let (mut aside, _) = AsideGroups::take(&mut queues, key, true).unwrap();
    let (mut gone, mut effect, filter) = (Vec::new(), None, Filter::default());
    loop {
        match aside.next(&mut queues, &filter, TIMES, 2, &mut effect) {
            NextGroup::Taken(domain, group) => gone.push((domain, group)),
            NextGroup::Starved => break,
            NextGroup::Unfinished => {}
            NextGroup::Nothing => panic!("there were three credits for eight"),
        }
    }
    assert_eq!((gone.len(), queues.queued()), (3, 8));
    assert!(taken(&mut queues).is_empty(), "nobody else gets what is set aside");
    for (domain, group) in &gone {
        queues.attempted(*domain, group, &[], TIMES.now);
    }
    queues.credit(0, 3);
    end(&mut queues, aside);
    assert_eq!((queues.queued(), queues.waiting_groups()), (5, 3));
    assert_eq!(taken(&mut queues), [5, 6, 7], "what was ready is, in its order");
    assert_eq!(queues.queued(), 2);
}

#[test]
fn a_filter_spares_what_it_does_not_want() {
    let (mut queues, key) = queues(4, 100);
    let mut filter = Filter::default();
    filter.set("state", "deferred").unwrap();
    let (mut aside, _) = AsideGroups::take(&mut queues, key, true).unwrap();
    let mut effect = None;
    let mut gone = 0;
    loop {
        match aside.next(&mut queues, &filter, TIMES, 2, &mut effect) {
            NextGroup::Taken(domain, group) => {
                queues.attempted(domain, &group, &[], TIMES.now);
                gone += 1;
            }
            NextGroup::Unfinished => {}
            NextGroup::Starved => panic!("there are credits"),
            NextGroup::Nothing => break,
        }
    }
    end(&mut queues, aside);
    assert!(matches!(effect, Some(Effect::Pump(_))));
    assert_eq!((gone, taken(&mut queues)), (4, vec![4, 5, 6]));
    // And a domain of which nothing is left is forgotten.
    queues.tick(TIMES.now + 100, 10);
    assert!(queues.domains.count() == 0);
}

#[test]
fn domains_are_found_in_their_places() {
    let mut queues = Destinations::new(vec![100]);
    for key in 0..10 {
        queues.push(&format!("d{key}.example"), group(key, 0), TIMES.now);
    }
    let mut filter = Filter::default();
    filter.set("domain", "d7.example").unwrap();
    let found = next_domain(&queues, &filter, 0, 1);
    assert_eq!(found, Some(Ok(DomainKey(7))));
    assert_eq!(next_domain(&queues, &filter, 8, 1), None);
    filter = Filter::default();
    filter.set("domain", "*.example").unwrap();
    assert_eq!(next_domain(&queues, &filter, 9, 1), Some(Ok(DomainKey(9))));
    assert_eq!(next_domain(&queues, &filter, 10, 1), None);
    filter = Filter::default();
    filter.set("site", "x.example").unwrap();
    assert_eq!(next_domain(&queues, &filter, 0, 4), Some(Err(4)), "it goes on later");
    assert_eq!(next_domain(&queues, &filter, 8, 4), None);
}

/// What records say is meant of some recipients of a group: these leave, the others wait as before.
#[test]
fn a_group_is_cut_to_those_who_are_meant() {
    for state in [GroupState::Deferred, GroupState::Ready] {
        let not_before = if state == GroupState::Deferred { 2_000 } else { 0 };
        let mut queues = Destinations::new(vec![100]);
        for key in 0..3 {
            queues.push("d.example", Group { count: 10, ..group(key, not_before) }, TIMES.now);
        }
        let key = queues.domains.find("d.example", 0).unwrap();
        let (mut filter, mut found) = (Filter::default(), FoundRecipients::default());
        filter.set("sender", "a@b.example").unwrap();
        let run = |key, first, count| Run { key, slot: 0, offset: 0, first, count };
        found.add(0, vec![run(0, 0, 10), run(1, 2, 3), run(1, 9, 1), run(7, 0, 10)]);
        let none = filter.clone();
        filter.found = Some(Arc::new(found));
        let take = |queues: &mut Destinations, filter: &Filter| {
            let (mut aside, _) = AsideGroups::take(queues, key, true).unwrap();
            let (mut taken, mut effect) = (Vec::new(), None);
            loop {
                match aside.next(queues, filter, TIMES, 2, &mut effect) {
                    NextGroup::Taken(domain, group) => {
                        queues.attempted(domain, &group, &[], TIMES.now);
                        taken.push((group.key, group.first, group.count));
                    }
                    NextGroup::Unfinished => {}
                    NextGroup::Nothing => break,
                    NextGroup::Starved => panic!("there are credits"),
                }
            }
            end(queues, aside);
            taken.sort_unstable();
            taken
        };
        assert_eq!(take(&mut queues, &none), [], "nobody has looked for them");
        assert_eq!(take(&mut queues, &filter), [(0, 0, 10), (1, 2, 3), (1, 9, 1)]);
        assert_eq!(queues.queued(), 16);
        assert_eq!(take(&mut queues, &filter), [], "they are gone");
        let left = take(&mut queues, &Filter::default());
        assert_eq!(left, [(1, 0, 2), (1, 5, 4), (2, 0, 10)], "{state:?}");
        assert_eq!(queues.queued(), 0);
    }
}

/// A retry, the end of a suspension and a task that ends in the middle leave an operator's hold alone.
#[test]
fn what_an_operator_holds_only_he_lets_go() {
    let mut queues = Destinations::new(vec![100]);
    let kept = |key, until| Group { standing: GroupPhase::Kept, ..group(key, until) };
    queues.push("d.example", kept(1, u32::MAX), TIMES.now);
    queues.push("d.example", kept(2, 3_000), TIMES.now);
    queues.push("d.example", group(3, 2_000), TIMES.now);
    let key = queues.domains.find("d.example", 0).unwrap();
    queues.resolved(key, SITE);
    let (mut aside, _) = AsideGroups::take(&mut queues, key, false).unwrap();
    let mut tally = Tally::default();
    assert!(aside.hurry(&mut queues, &Filter::default(), TIMES, 9, &mut tally).0);
    assert_eq!((tally.groups, aside.resume(&mut queues, TIMES.now, 9).0), (1, true));
    end(&mut queues, aside);
    queues.resolved(key, SITE);
    assert_eq!(taken(&mut queues), [3]);
    // Taken out, and nothing came of it.
    let (mut aside, _) = AsideGroups::take(&mut queues, key, true).unwrap();
    let (filter, mut effect) = (Filter::default(), None);
    let meant = |group: &Group| group.key == 1;
    let NextGroup::Taken(domain, group) = aside.next_of(&mut queues, (&filter, meant), TIMES, 9, &mut effect)
    else {
        panic!("it is there")
    };
    queues.put_back_unheard(domain, group);
    end(&mut queues, aside);
    queues.tick(2_999, 100);
    queues.resolved(key, SITE);
    assert_eq!((taken(&mut queues), queues.queued()), (vec![], 2));
    // The one is held for so long, the other until it is given up.
    queues.tick(3_000, 100);
    let site = queues.site(SITE);
    queues.resolved(key, SITE);
    let (Take::Job(_, group) | Take::Last(_, group)) = queues.take(site, 3_000) else {
        panic!("its time is over")
    };
    assert_eq!((group.key, group.standing), (2, GroupPhase::Usual));
    queues.attempted(key, &group, &[], 3_000);
    queues.tick(100_000, 100);
    queues.resolved(key, SITE);
    assert!(matches!(queues.take(site, 100_000), Take::Expired(_, group) if group.key == 1));
}
