//! Suspensions and the queues, driven by hand.

use std::sync::Arc;

use super::*;
use crate::id::Location;
use crate::queue::destinations::aside::AsideGroups;
use crate::queue::destinations::{Destinations, Take};
use crate::queue::suspension::{Scope, Suspensions};
use crate::time::UnixMillis;

fn group(offset: u32) -> Group {
    let location = Location { lane: 0, slot: 0, offset };
    Group { expiry: 1000, standing: GroupPhase::Usual, ..Group::bare(location, offset) }
}

/// What holds by these filters, each until then.
fn held(all: &[(&str, &str, suspension::Effect, u32)]) -> ActiveSuspensions {
    let one = |(id, (name, value, effect, until)): (u64, &(&str, &str, suspension::Effect, u32))| {
        let mut scope = Scope::default();
        scope.set(name, value).unwrap();
        let (since, until) = (UnixMillis(0), UnixMillis(u64::from(*until) * 1000));
        let (by, reason) = ("user 0".into(), "test".into());
        Suspension { id, effect: effect.clone(), scope, since, until, by, reason }
    };
    ActiveSuspensions::new(Arc::new(Suspensions::new((1..).zip(all).map(one).collect())), UnixMillis::seconds)
}

fn wait(name: &str, value: &str, until: u32) -> ActiveSuspensions {
    held(&[(name, value, suspension::Effect::Wait, until)])
}

/// All that is to be put aside is: what is given up, and what is returned, by offset; what is to be carried out.
fn put_aside(queue: &mut Destinations, now: u32) -> (Vec<u32>, Vec<u32>, Vec<Effect>) {
    let (mut expired, mut returned, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..100 {
        let mut looks = 3;
        match queue.put_aside(now, &mut looks) {
            PutAside::Expired(key, group, _) => {
                expired.push(group.location.offset);
                queue.attempted(key, &group, &[], now);
                queue.credit(0, 1);
            }
            PutAside::Returned(key, group, suspension) => {
                assert_eq!(&*suspension.reason, "test");
                returned.push(group.location.offset);
                queue.attempted(key, &group, &[], now);
                queue.credit(0, 1);
            }
            PutAside::Over(effect) => effects.extend(effect),
            PutAside::Unfinished => {}
            PutAside::Starved | PutAside::Nothing => return (expired, returned, effects),
        }
    }
    panic!("there is no end");
}

/// A domain led to a site, with these groups ready there.
fn led(queue: &mut Destinations, offsets: Range<u32>) -> (DomainKey, SiteKey) {
    let mut found = None;
    for offset in offsets {
        if let Some(Effect::Resolve(key, _)) = queue.push("a.example", group(offset), 10) {
            found = Some((key, queue.resolved(key, "mx:10 mx.example:25,").expect("a site")));
        }
    }
    found.expect("it was asked for")
}

#[test]
fn a_suspended_domain_is_not_asked_for_and_goes_on_when_that_ends() {
    let mut queue = Destinations::new(vec![10]);
    queue.suspend(wait("domain", "a.example", 50));
    for offset in 0..7 {
        assert_eq!(queue.push("a.example", group(offset), 10), None);
    }
    assert_eq!(put_aside(&mut queue, 10), (vec![], vec![], vec![]));
    assert_eq!((queue.queued(), queue.waiting_groups(), queue.next_due()), (7, 0, Some(50)));
    assert!(queue.tick(49, 100).is_empty() && put_aside(&mut queue, 49).2.is_empty());
    assert!(matches!(queue.tick(50, 100)[..], [Effect::Resolve(..)]));
    let other = queue.push("b.example", group(9), 20);
    assert!(matches!(other, Some(Effect::Resolve(..))), "others go on");
}

#[test]
fn what_is_ready_leaves_its_site_and_nothing_is_taken_before_that() {
    for (name, value) in [("domain", "a.example"), ("site", "mx.example"), ("domain", "*.example")] {
        let mut queue = Destinations::new(vec![10]);
        let (key, site) = led(&mut queue, 0..5);
        let Take::Job(_, under_way) = queue.take(site, 10) else { panic!("it is ready") };
        queue.suspend(wait(name, value, 50));
        assert_eq!(queue.take(site, 10), Take::Nothing, "{name}");
        queue.look_at_suspended(10, 0..9);
        assert_eq!(put_aside(&mut queue, 10), (vec![], vec![], vec![]));
        assert_eq!((queue.queued(), queue.ready(site, 10)), (5, 0));
        // What was under way fails, and waits as well.
        queue.attempted(key, &under_way, &[Group { not_before: 20, attempts: 1, ..under_way }], 10);
        let effects = queue.tick(20, 100);
        if let [Effect::Resolve(key, _)] = effects[..] {
            assert_eq!((name, queue.resolved(key, "mx:10 mx.example:25,")), ("site", None));
        }
        assert_eq!(put_aside(&mut queue, 20), (vec![], vec![], vec![]), "{name}");
        assert_eq!(queue.next_due(), Some(50), "{name}");
        assert_eq!(queue.site_of(key), None, "it needs none");
    }
}

#[test]
fn what_waits_is_given_up_to_the_second() {
    let mut queue = Destinations::new(vec![10]);
    led(&mut queue, 0..2);
    queue.push("a.example", Group { expiry: 30, ..group(7) }, 10);
    let overdue = Group { expiry: 5, standing: GroupPhase::LastTry, ..group(8) };
    queue.push("a.example", overdue, 10);
    queue.suspend(wait("domain", "a.example", 2000));
    queue.look_at_suspended(10, 0..9);
    assert_eq!(put_aside(&mut queue, 10).0, [8], "it is not tried once more");
    assert!(queue.tick(29, 100).is_empty());
    assert!(put_aside(&mut queue, 29).0.is_empty());
    assert!(queue.tick(30, 100).is_empty(), "nobody is asked");
    assert_eq!(put_aside(&mut queue, 30).0, [7]);
    queue.tick(1000, 100);
    assert_eq!(put_aside(&mut queue, 1000).0.len(), 2);
    assert_eq!(queue.queued(), 0);
}

#[test]
fn what_is_to_go_back_does_also_what_is_not_due_and_what_comes_later() {
    let mut queue = Destinations::new(vec![2]);
    led(&mut queue, 0..3);
    queue.push("a.example", Group { not_before: 500, ..group(7) }, 10);
    queue.suspend(held(&[("domain", "a.example", suspension::Effect::Return, 50)]));
    queue.look_at_suspended(10, 0..9);
    assert_eq!(put_aside(&mut queue, 10).1, [0, 1, 2, 7]);
    queue.push("a.example", Group { not_before: 500, ..group(8) }, 10);
    assert_eq!(put_aside(&mut queue, 10).1, [8]);
    assert!(queue.push("a.example", group(9), 60).is_some(), "it is over");
}

#[test]
fn what_finds_no_credit_goes_back_later() {
    let mut queue = Destinations::new(vec![1]);
    let (_, site) = led(&mut queue, 0..3);
    let Take::Job(key, group) = queue.take(site, 10) else { panic!("it is ready") };
    queue.suspend(held(&[("domain", "a.example", suspension::Effect::Return, 50)]));
    queue.look_at_suspended(10, 0..9);
    assert!(put_aside(&mut queue, 10).1.is_empty());
    assert!(queue.is_to_put_aside());
    queue.attempted(key, &group, &[], 10);
    queue.credit(0, 1);
    assert_eq!(put_aside(&mut queue, 10).1, [1, 2]);
}

#[test]
fn what_was_put_aside_goes_on_when_an_operator_says_so() {
    let mut queue = Destinations::new(vec![10]);
    let (key, _) = led(&mut queue, 0..3);
    queue.push("a.example", Group { not_before: 400, ..group(7) }, 10);
    queue.suspend(wait("domain", "a.example", 900));
    queue.look_at_suspended(10, 0..9);
    put_aside(&mut queue, 10);
    assert!(!queue.has_resumed(key, 20, 9), "it is suspended");
    queue.suspend(ActiveSuspensions::default());
    assert!(queue.has_resumed(key, 20, 9));
    let (mut aside, _) = AsideGroups::take(&mut queue, key, false).expect("it has mail");
    let (all, effect) = aside.resume(&mut queue, 20, 9);
    assert!(all && matches!(effect, Some(Effect::Resolve(..)) | None), "{effect:?}");
    let times =
        crate::queue::lifetimes::Times { now: 20, lifetimes: &crate::queue::lifetimes::Lifetimes::new() };
    assert!(aside.end(&mut queue, times, 9).0);
    let site = queue.resolved(key, "mx:10 mx.example:25,").expect("a site");
    assert_eq!((queue.ready(site, 20), queue.next_due()), (3, Some(400)));
    assert!(!queue.has_resumed(key, 20, 9), "what is not due waits as it did");
}

/// The suspension ends between being noticed and being carried out.
#[test]
fn what_is_noted_in_vain_goes_on() {
    let mut queue = Destinations::new(vec![10]);
    let (_, site) = led(&mut queue, 0..3);
    queue.suspend(wait("site", "mx.example", 900));
    assert_eq!(queue.take(site, 10), Take::Nothing);
    queue.suspend(ActiveSuspensions::default());
    let (_, _, effects) = put_aside(&mut queue, 10);
    assert_eq!(effects, [Effect::Pump(site)]);
    assert_eq!(queue.ready(site, 10), 3);
    assert!(matches!(queue.take(site, 10), Take::Job(..)));
}

/// What comes between a suspension and the look at all domains counts like all else while its domain has its turn: nothing is counted twice, and
/// what is resumed before that is found.
#[test]
fn what_comes_before_the_look_is_counted() {
    let mut queue = Destinations::new(vec![10]);
    let (_, site) = led(&mut queue, 1..3);
    queue.suspend(wait("domain", "a.example", 500));
    assert_eq!(queue.push("a.example", group(3), 20), None);
    assert_eq!(queue.ready(site, 20), 3);
    // It ends again before anybody looked.
    queue.suspend(ActiveSuspensions::default());
    for offset in 1..=3 {
        let Take::Job(_, taken) = queue.take(site, 20) else { panic!("{offset} is not taken") };
        assert_eq!(taken.location.offset, offset);
    }
    assert_eq!(queue.ready(site, 20), 0);
    assert_eq!(queue.push("a.example", group(4), 20), Some(Effect::Pump(site)));
    queue.suspend(wait("domain", "a.example", 500));
    assert_eq!(queue.push("a.example", group(6), 20), None);
    queue.look_at_suspended(20, 0..9);
    assert_eq!(queue.ready(site, 20), 0);
}
