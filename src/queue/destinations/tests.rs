//! The queues of a shard, driven by hand.

use super::*;
use crate::id::Location;
use crate::queue::GroupPhase;

mod flows;
mod moved;

fn group(offset: u32, count: u16) -> Group {
    Group {
        location: Location { lane: 0, slot: 0, offset },
        key: offset,
        first: 0,
        count,
        attempts: 0,
        standing: GroupPhase::Resident,
        life: 0,
        not_before: 0,
        expiry: 1000,
    }
}

fn site_of(effect: Option<Effect>) -> SiteKey {
    match effect {
        Some(Effect::Pump(site)) => site,
        other => panic!("expected a pump, got {other:?}"),
    }
}

fn push_resolved(queue: &mut Destinations, name: &str, site: &str, offset: u32) -> SiteKey {
    match queue.push(name, group(offset, 1), 10) {
        Some(Effect::Resolve(key, _)) => queue.resolved(key, site).expect("a site"),
        effect => site_of(effect),
    }
}

fn job(queue: &mut Destinations, site: SiteKey, now: u32) -> Option<(DomainKey, Group)> {
    match queue.take(site, now) {
        Take::Job(key, group) | Take::Last(key, group) => Some((key, group)),
        _ => None,
    }
}

#[test]
fn what_is_tried_again_is_its_clients() {
    let mut queue = Destinations::new(vec![10]);
    let Some(Effect::Resolve(key, _)) = queue.push_for(("a.example", Strand::default()), group(1, 1), 10, 7)
    else {
        panic!()
    };
    let failed = unresolved(&mut queue, key, 10);
    queue.attempted(key, &failed[0], &[Group { not_before: 20, attempts: 1, ..failed[0] }], 10);
    assert!(matches!(queue.tick(20, 10)[..], [Effect::Resolve(again, _)] if again == key));
    assert_eq!(queue.client(key), 7);
}

#[test]
fn a_domain_is_resolved_once_and_served() {
    let mut queue = Destinations::new(vec![10]);
    let Some(Effect::Resolve(key, name)) = queue.push("a.example", group(1, 2), 10) else { panic!() };
    assert_eq!(&*name, "a.example");
    assert_eq!(queue.push("a.example", group(2, 1), 10), None);
    let site = queue.resolved(key, "mx").expect("a site");
    assert_eq!((queue.queued(), queue.ready(site, 10)), (3, 2));
    let (key, first) = job(&mut queue, site, 10).unwrap();
    assert_eq!(first.key, 1);
    queue.attempted(key, &first, &[], 10);
    assert_eq!(queue.queued(), 1);
    let (key, second) = job(&mut queue, site, 10).unwrap();
    queue.attempted(key, &second, &[], 10);
    assert_eq!((queue.queued(), queue.take(site, 10)), (0, Take::Nothing));
    // Mail of the next moment finds the site; mail of a later one asks for it.
    assert_eq!(queue.push("a.example", group(3, 1), 12), Some(Effect::Pump(site)));
    let (key, third) = job(&mut queue, site, 12).unwrap();
    queue.attempted(key, &third, &[], 12);
    assert!(matches!(queue.push("a.example", group(4, 1), 15), Some(Effect::Resolve(..))));
    queue.resolved(key, "mx");
    let (key, fourth) = job(&mut queue, site, 15).unwrap();
    queue.attempted(key, &fourth, &[], 15);
    queue.tick(20, 10);
    assert!(queue.domains.count() == 0, "an empty domain is forgotten");
}

#[test]
fn domains_without_mail_are_kept_in_bounded_number() {
    let mut queue = Destinations::new(vec![u32::MAX]);
    for number in 0..limits::DOMAINS_LEAVING_MAX as u32 + 100 {
        let site = push_resolved(&mut queue, &format!("d{number}.example"), "mx", number);
        let (key, one) = job(&mut queue, site, 10).unwrap();
        queue.attempted(key, &one, &[], 10);
    }
    assert_eq!(queue.domains.count(), limits::DOMAINS_LEAVING_MAX);
}

#[test]
fn domains_of_a_site_take_turns() {
    let mut queue = Destinations::new(vec![10]);
    for offset in [1, 2, 3] {
        push_resolved(&mut queue, "big.example", "mx", offset);
    }
    let site = push_resolved(&mut queue, "small.example", "mx", 4);
    let order: Vec<u32> = (0..4).map(|_| job(&mut queue, site, 10).unwrap().1.key).collect();
    assert_eq!(order, [1, 4, 2, 3]);
}

#[test]
fn without_a_credit_nothing_starts() {
    let mut queue = Destinations::new(vec![1]);
    push_resolved(&mut queue, "a.example", "mx", 1);
    let site = push_resolved(&mut queue, "b.example", "mx", 2);
    assert!(job(&mut queue, site, 10).is_some());
    assert_eq!(queue.take(site, 10), Take::Nothing);
    assert_eq!(queue.credits_out(1), 1);
    assert_eq!(queue.credit(0, 1), [site]);
    assert!(job(&mut queue, site, 10).is_some());
}

#[test]
fn deferred_groups_come_back_in_their_time() {
    let mut queue = Destinations::new(vec![10]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    let (key, first) = job(&mut queue, site, 10).unwrap();
    queue.attempted(key, &first, &[Group { not_before: 70, attempts: 1, ..first }], 10);
    assert_eq!((queue.queued(), queue.next_due()), (1, Some(70)));
    assert_eq!(queue.tick(69, 10), []);
    // It asks for its domain again: the mail may go elsewhere by now.
    assert_eq!(queue.tick(70, 10), [Effect::Resolve(key, "a.example".into())]);
    let site = queue.resolved(key, "mx2").expect("a site");
    assert_eq!(job(&mut queue, site, 70).unwrap().1.attempts, 1);
}

#[test]
fn expiry_comes_before_a_later_retry() {
    let mut queue = Destinations::new(vec![10]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    let (key, first) = job(&mut queue, site, 10).unwrap();
    queue.attempted(key, &first, &[Group { not_before: 5000, ..first }], 10);
    assert_eq!(queue.next_due(), Some(1000));
    queue.tick(1000, 10);
    let site = queue.resolved(key, "mx").expect("a site");
    assert!(matches!(queue.take(site, 1000), Take::Expired(..)));
}

#[test]
fn a_closed_site_waits_and_expires_its_mail() {
    let mut queue = Destinations::new(vec![10]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    assert_eq!(queue.forget_idle_sites(0, 0..usize::MAX, |_| false), []);
    queue.close_site(site, 100);
    assert_eq!((queue.take(site, 10), queue.ready(site, 10)), (Take::Nothing, 0));
    assert_eq!(queue.expire(site, &mut 10, |group| group.is_expired(999)), None);
    let effects = queue.tick(100, 10);
    let [Effect::Resolve(key, _), Effect::Pump(_)] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(queue.ready(site, 100), 0);
    let again = queue.resolved(key, "mx").expect("a site");
    assert_eq!((again, queue.ready(site, 100)), (site, 1));
    queue.close_site(site, 2000);
    assert_eq!(expire(&mut queue, site, 1000).len(), 1);
    assert_eq!(queue.failures(site), 2);
}

#[test]
fn what_waits_for_a_closed_site_is_told_once_and_goes_out_when_it_opens() {
    let mut queue = Destinations::new(vec![4]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    for offset in 2..=6 {
        push_resolved(&mut queue, if offset % 2 == 0 { "b.example" } else { "a.example" }, "mx", offset);
    }
    queue.close_site(site, 70);
    let next = |attempts: u16| 40 * u32::from(attempts);
    let told = |queue: &mut Destinations, now: u32, looks: usize, told: usize| -> Vec<u32> {
        let (mut looks, mut keys) = (looks, Vec::new());
        while keys.len() < told {
            let Some((_, group)) = queue.tell(site, now, &mut looks, next) else { break };
            keys.push(group.key);
        }
        keys
    };
    // Round by round it goes on where it was, in looks and in records.
    assert_eq!(told(&mut queue, 10, 2, 9), [1, 3]);
    assert_eq!(told(&mut queue, 11, 9, 1), [5]);
    // One credit is left, and comes home.
    assert_eq!(told(&mut queue, 12, 99, 9), [2]);
    assert_eq!(told(&mut queue, 12, 99, 9), Vec::<u32>::new());
    queue.credit(0, 4);
    assert_eq!(told(&mut queue, 13, 99, 9), [4, 6]);
    assert_eq!(told(&mut queue, 14, 99, 9), Vec::<u32>::new(), "nobody twice");
    queue.credit(0, 2);
    // Who comes late is told behind all others; those that are given up are not.
    push_resolved(&mut queue, "a.example", "mx", 7);
    assert_eq!(told(&mut queue, 15, 99, 9), [7]);
    queue.credit(0, 1);
    // Not before the site is tried, and then by its own schedule; the site is still closed by then.
    queue.close_site(site, 500);
    assert_eq!(told(&mut queue, 69, 99, 9), Vec::<u32>::new());
    assert_eq!(told(&mut queue, 70, 99, 3).len(), 3);
    // Whatever was said: when the site opens all of it may go.
    queue.open_site(site);
    assert_eq!(queue.ready(site, 71), 7);
    let (_, group) = job(&mut queue, site, 71).unwrap();
    assert_eq!(group.attempts, 2);
}

#[test]
fn what_was_found_past_its_time_is_tried_once() {
    let mut queue = Destinations::new(vec![9]);
    let late = |offset| Group { standing: GroupPhase::LastTry, expiry: 5, ..group(offset, 1) };
    let Some(Effect::Resolve(key, _)) = queue.push("a.example", late(1), 10) else { panic!() };
    let site = queue.resolved(key, "mx").expect("a site");
    let (key, tried) = job(&mut queue, site, 10).expect("a last try");
    queue.attempted(key, &tried, &[Group { standing: GroupPhase::Usual, not_before: 5, ..tried }], 10);
    queue.tick(12, 9);
    let _ = queue.resolved(key, "mx");
    assert!(matches!(queue.take(site, 12), Take::Expired(..)));
    // A site that takes no connection: the last try goes on until it is told so again, after the site was tried.
    queue.push("a.example", late(2), 12);
    queue.close_site(site, 70);
    assert_eq!(queue.expire(site, &mut 9, |group| group.is_expired(13)), None);
    assert!(queue.tell(site, 13, &mut 9, |_| 20).is_some());
    assert_eq!(expire(&mut queue, site, 69).len(), 0);
    assert_eq!(expire(&mut queue, site, 70).len(), 1);
}

#[test]
fn what_waits_for_an_answer_is_told_and_given_up_in_time() {
    let mut queue = Destinations::new(vec![6]);
    let mut of = |name: &str, group| queue.push(name, group, 10).is_some();
    assert!(of("a.example", group(1, 1)) && of("b.example", Group { expiry: 50, ..group(2, 1) }));
    assert!(!of("b.example", group(3, 1)) && !of("b.example", Group { expiry: 60, ..group(4, 1) }));
    // One that waits for its time, and one whose site is known, wait for no answer.
    of("c.example", Group { not_before: 900, ..group(5, 1) });
    push_resolved(&mut queue, "d.example", "mx", 6);
    let all = |queue: &mut Destinations, now: u32, mut looks: usize| {
        let mut told = Vec::new();
        while let Some(what) =
            queue.unanswered(now, 30, &mut looks, |attempts| now + 100 * u32::from(attempts))
        {
            told.push(match what {
                Unanswered::Waits(_, group) => (group.key, group.attempts),
                Unanswered::Expired(key, group) => {
                    queue.attempted(key, &group, &[], now);
                    (group.key, 1000)
                }
            });
        }
        told
    };
    assert_eq!(all(&mut queue, 39, 99), [], "it takes a while to look a name up");
    // Where the looks end it goes on the next time.
    assert_eq!(all(&mut queue, 40, 2), [(1, 1)]);
    assert_eq!(all(&mut queue, 40, 99), [(2, 1), (3, 1), (4, 1)]);
    assert_eq!(all(&mut queue, 50, 99), [(2, 1000)], "and nobody is told twice");
    assert_eq!(all(&mut queue, 60, 99), [(4, 1000)], "behind one that has time left");
    assert_eq!(all(&mut queue, 140, 99), [], "all credits are out");
    queue.credit(0, 9);
    assert_eq!(all(&mut queue, 141, 99), [(1, 2), (3, 2)], "again by their own schedule");
    // A last try goes on until it is told again.
    queue.push("e.example", Group { standing: GroupPhase::LastTry, expiry: 5, ..group(7, 1) }, 141);
    assert_eq!(all(&mut queue, 180, 99), [(7, 1)]);
    assert_eq!(all(&mut queue, 279, 99), []);
    assert_eq!(all(&mut queue, 280, 99), [(7, 1000)]);
    // With the answer all of it may go, whatever was told; a domain that lost its last mail meanwhile is forgotten.
    let key = queue.domains.find("b.example", 0).unwrap();
    let site = queue.resolved(key, "mx").expect("a site");
    assert_eq!(queue.ready(site, 281), 2);
    let key = queue.domains.find("e.example", 0).unwrap();
    assert_eq!(queue.resolved(key, "mx"), None);
    queue.tick(281 + limits::RESOLVED_FOR, 9);
    assert!(queue.domains.find("e.example", 0).is_none());
}

/// None of those that are too old is passed over, though the last takes the place of each that goes.
#[test]
fn all_that_wait_in_vain_are_given_up_in_one_pass() {
    let mut queue = Destinations::new(vec![9]);
    for key in 0..5 {
        queue.push("a.example", Group { expiry: if key == 1 { 900 } else { 50 }, ..group(key, 1) }, 10);
    }
    let (mut told, mut looks) = (Vec::new(), 6);
    while let Some(what) = queue.unanswered(60, 30, &mut looks, |_| 200) {
        told.push(match what {
            Unanswered::Waits(_, group) => (group.key, false),
            Unanswered::Expired(_, group) => (group.key, true),
        });
    }
    told.sort_unstable();
    assert_eq!(told, [(0, true), (1, false), (2, true), (3, true), (4, true)]);
}

/// A domain with much that is due, and that nobody answers for, keeps no site closed.
#[test]
fn sites_open_whatever_is_due() {
    let mut queue = Destinations::new(vec![9]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    queue.close_site(site, 20);
    let silent = queue.push("b.example", group(2, 1), 10);
    assert!(matches!(silent, Some(Effect::Resolve(..))));
    for key in 3..30 {
        queue.push("b.example", Group { not_before: 12, ..group(key, 1) }, 10);
    }
    assert!(queue.tick(20, 9).contains(&Effect::Pump(site)));
}

/// With the 32 bytes that the lane keeps of a message (`spool::index`): what a deferred recipient costs, at ten a domain.
#[test]
fn a_deferred_recipient_takes_few_bytes() {
    const DOMAINS: usize = 20_000;
    let mut queue = Destinations::new(vec![10]);
    for number in 0..10 * DOMAINS {
        let name = format!("domain{}.example", number % DOMAINS);
        queue.push(&name, Group { not_before: 500, ..group(number as u32, 1) }, 10);
    }
    let each = queue.domains.bytes() / (10 * DOMAINS);
    assert!(each <= 60, "{each} bytes");
}

#[test]
fn a_tick_is_bounded() {
    let mut queue = Destinations::new(vec![10]);
    for offset in 0..20 {
        queue.push("a.example", Group { not_before: 50, ..group(offset, 1) }, 10);
    }
    let Some(Effect::Resolve(key, _)) = queue.tick(60, 5).pop() else { panic!() };
    let site = queue.resolved(key, "mx").expect("a site");
    assert_eq!(queue.ready(site, 60), 5);
    queue.tick(60, 100);
    assert_eq!(queue.ready(site, 60), 20);
}

#[test]
fn what_never_began_goes_back_to_the_front() {
    let mut queue = Destinations::new(vec![1]);
    push_resolved(&mut queue, "a.example", "mx", 1);
    let site = push_resolved(&mut queue, "a.example", "mx", 2);
    let (key, first) = job(&mut queue, site, 10).unwrap();
    assert_eq!(queue.put_back(key, first), Some(Effect::Pump(site)));
    assert_eq!(job(&mut queue, site, 10).unwrap().1.key, 1);
}

#[test]
fn an_attempt_that_reports_in_parts_has_a_credit_for_each() {
    let mut queue = Destinations::new(vec![2]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    push_resolved(&mut queue, "a.example", "mx", 2);
    let (key, first) = job(&mut queue, site, 10).unwrap();
    assert!(queue.take_credit(0));
    assert!(!queue.take_credit(0) && !queue.take_credit(1), "none is left, and there is no such lane");
    assert_eq!((queue.credits_out(2), queue.take(site, 10)), (2, Take::Nothing));
    queue.attempted(key, &first, &[], 10);
    assert_eq!(queue.credit(0, 1), [site]);
    assert_eq!(job(&mut queue, site, 10).unwrap().1.key, 2);
}

#[test]
fn unresolved_groups_are_handed_over_as_far_as_credits_go() {
    let mut queue = Destinations::new(vec![1]);
    let Some(Effect::Resolve(key, _)) = queue.push("x.example", group(1, 1), 10) else { panic!() };
    queue.push("x.example", group(2, 1), 10);
    let taken = unresolved(&mut queue, key, 10);
    assert_eq!(taken.len(), 1);
    queue.attempted(key, &taken[0], &[], 10);
    queue.credit(0, 1);
    assert!(matches!(queue.tick(15, 10)[..], [Effect::Resolve(..)]));
}

#[test]
fn sites_without_mail_are_forgotten_and_their_keys_used_again() {
    let mut queue = Destinations::new(vec![10]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    let (key, first) = job(&mut queue, site, 10).unwrap();
    assert_eq!(
        queue.forget_idle_sites(10, 0..usize::MAX, |_| false),
        [],
        "its domain is still being worked on"
    );
    queue.attempted(key, &first, &[], 10);
    assert_eq!(
        queue.forget_idle_sites(10, 0..usize::MAX, |_| false),
        [],
        "more of its mail may come in a moment"
    );
    queue.tick(10 + limits::RESOLVED_FOR, 10);
    assert_eq!(queue.forget_idle_sites(10, 0..usize::MAX, |_| true), [], "a connection is open");
    assert_eq!(queue.forget_idle_sites(10, 0..usize::MAX, |_| false), [site]);
    assert_eq!(queue.forget_idle_sites(10, 0..usize::MAX, |_| false), []);
    assert_eq!(push_resolved(&mut queue, "b.example", "other", 2), site);
}

#[test]
fn a_retry_that_is_due_at_once_is_not_forgotten() {
    let mut queue = Destinations::new(vec![10]);
    let Some(Effect::Resolve(key, _)) = queue.push("a.example", group(1, 1), 10) else { panic!() };
    let taken = unresolved(&mut queue, key, 999);
    // Deferred until its expiry, and reported when that has come.
    let again = Group { not_before: 1000, attempts: 1, ..taken[0] };
    queue.attempted(key, &taken[0], &[again], 1000);
    let effects = queue.tick(1001, 100);
    assert!(matches!(effects[..], [Effect::Resolve(..)]), "{effects:?}");
}

#[test]
fn an_attempt_put_back_while_its_site_is_tried_again_is_found_by_the_pump() {
    let mut queue = Destinations::new(vec![10]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    push_resolved(&mut queue, "a.example", "mx", 2);
    let (key, first) = job(&mut queue, site, 10).unwrap();
    queue.close_site(site, 1001);
    // The domain is still in the ring, with nothing ready in it.
    assert_eq!(expire(&mut queue, site, 1000).len(), 1);
    queue.tick(1001, 100);
    assert_eq!(queue.put_back(key, first), Some(Effect::Pump(site)));
    assert_eq!(queue.ready(site, 1001), 1);
}

#[test]
fn wake_ups_do_not_pile_up() {
    let mut queue = Destinations::new(vec![10]);
    // Each comes due before all that wait already.
    for offset in 0..10_000 {
        queue.push("a.example", Group { not_before: 500_000 - offset, ..late(offset) }, 10);
    }
    assert!(queue.domains.entries() <= 1026, "{} entries for one domain", queue.domains.entries());
    assert_eq!(queue.next_due(), Some(490_001));
    // And it is looked at whenever something is due.
    for now in 490_001..490_011 {
        queue.tick(now, 100);
        let key = queue.domains.find("a.example", 0).unwrap();
        assert_eq!(queue.domains.get(key).unwrap().ready.len() as u32, now - 490_000);
    }
}

#[test]
fn a_domain_that_waits_holds_no_site_and_no_room() {
    let mut queue = Destinations::new(vec![10]);
    let site = push_resolved(&mut queue, "a.example", "mx", 1);
    let (key, first) = job(&mut queue, site, 10).unwrap();
    queue.attempted(key, &first, &[Group { not_before: 70, attempts: 1, ..first }], 10);
    let domain = queue.domains.get(key).unwrap();
    assert_eq!((domain.ready.capacity(), domain.deferred.capacity()), (0, 1));
    assert_eq!(queue.forget_idle_sites(10, 0..usize::MAX, |_| false), [site]);
    // One that failed is remembered, or its pauses would never grow.
    let site = push_resolved(&mut queue, "b.example", "dead", 2);
    queue.close_site(site, 100);
    let (key, group) = expire(&mut queue, site, 1000)[0];
    queue.attempted(key, &group, &[], 1000);
    queue.tick(1000, 10);
    queue.tick(1000 + limits::RESOLVED_FOR, 10);
    assert_eq!(queue.forget_idle_sites(999, 0..usize::MAX, |_| false), []);
    assert_eq!(queue.failures(site), 1);
    assert_eq!(queue.forget_idle_sites(1000, 0..usize::MAX, |_| false), [site]);
}

fn late(offset: u32) -> Group {
    Group { expiry: 1_000_000, ..group(offset, 1) }
}

/// All that is too old at a site.
fn expire(queue: &mut Destinations, site: SiteKey, now: u32) -> Vec<(DomainKey, Group)> {
    std::iter::from_fn(|| queue.expire(site, &mut 99, |group| group.is_expired(now))).collect()
}

/// All that can be settled of a domain that leads nowhere.
fn unresolved(queue: &mut Destinations, key: DomainKey, now: u32) -> Vec<Group> {
    let taken = std::iter::from_fn(|| queue.take_unresolved(key)).collect();
    queue.unresolved(key, now, 5);
    taken
}

#[test]
fn no_look_at_a_closed_site_is_long() {
    let mut queue = Destinations::new(vec![2000]);
    let domains =
        (0..1000).map(|number| push_resolved(&mut queue, &format!("d{number}.example"), "mx", number + 1));
    let site = domains.last().unwrap();
    queue.close_site(site, 5000);
    // Ten looks at a time, all of the ring is looked at, by each from where it was.
    for now in [10, 1000] {
        let (mut found, mut calls) = (0, 0);
        while found < 1000 {
            let mut looks = 10;
            let one = if now == 10 {
                queue.tell(site, now, &mut looks, |_| 2000)
            } else {
                queue.expire(site, &mut looks, |group| group.is_expired(now))
            };
            found += usize::from(one.is_some());
            calls += 1;
            assert!(calls <= 2_100, "{found} found");
        }
        let mut looks = 10;
        assert_eq!(queue.expire(site, &mut looks, |group| group.is_expired(11)), None);
    }
    // Domains with nothing ready count as well: nothing is taken out of the ring meanwhile.
    let mut looks = 10;
    assert_eq!((queue.expire(site, &mut looks, |group| group.is_expired(1000)), looks), (None, 0));
    assert_eq!(queue.tell(site, 1000, &mut looks, |_| 2000), None);
    let mut looks = 10;
    assert_eq!((queue.tell(site, 1000, &mut looks, |_| 2000), looks), (None, 0));
}

/// The mail that was to go was given up before the answer came; what is left waits for a later time.
#[test]
fn an_answer_that_comes_too_late_holds_no_site() {
    let mut queue = Destinations::new(vec![9]);
    let late = Group { expiry: 50, ..group(1, 1) };
    let Some(Effect::Resolve(key, _)) = queue.push("a.example", late, 10) else { panic!() };
    queue.push("a.example", Group { not_before: 500, ..group(2, 1) }, 10);
    let Some(Unanswered::Expired(_, late)) = queue.unanswered(60, 30, &mut 9, |_| 0) else { panic!() };
    queue.attempted(key, &late, &[], 60);
    assert_eq!((queue.resolved(key, "mx"), queue.site_of(key)), (None, None));
    assert_eq!(queue.forget_idle_sites(60, 0..usize::MAX, |_| false).len(), 1);
}

#[test]
fn a_domain_that_led_nowhere_is_forgotten_when_its_mail_was_settled_first() {
    let mut queue = Destinations::new(vec![1]);
    let Some(Effect::Resolve(key, _)) = queue.push("x.example", group(1, 1), 10) else { panic!() };
    let taken = queue.take_unresolved(key).unwrap();
    queue.attempted(key, &taken, &[], 10);
    queue.unresolved(key, 10, 5);
    queue.tick(10 + limits::RESOLVED_FOR, 10);
    assert!(queue.domains.get(key).is_none());
}

/// A group is under way when its site rests and its domain is asked for again; then its connection turns out stale. Whatever came of the
/// question, somebody works on the group or asks where it goes.
#[test]
fn what_is_put_back_unheard_is_seen_to_by_the_next_tick() {
    enum Came {
        Nowhere,
        To(&'static str),
        Later(&'static str),
    }
    for came in [Came::Nowhere, Came::To("two"), Came::To("one"), Came::Later("two"), Came::Later("one")] {
        let mut queue = Destinations::new(vec![10]);
        let one = push_resolved(&mut queue, "a.example", "one", 1);
        push_resolved(&mut queue, "a.example", "one", 2);
        let (key, under_way) = job(&mut queue, one, 10).expect("a job");
        queue.close_site(one, 20);
        let effects = queue.tick(20, 99);
        assert!(matches!(effects[..], [Effect::Resolve(again, _), Effect::Pump(_)] if again == key));
        let mut settled = 0;
        match came {
            Came::Nowhere => {
                for group in unresolved(&mut queue, key, 20) {
                    queue.attempted(key, &group, &[], 20);
                    settled += 1;
                }
                queue.put_back_unheard(key, under_way);
            }
            Came::To(site) => {
                queue.resolved(key, site).expect("a site");
                queue.put_back_unheard(key, under_way);
            }
            Came::Later(site) => {
                queue.put_back_unheard(key, under_way);
                queue.resolved(key, site).expect("a site");
            }
        }
        let site = match &queue.tick(21, 99)[..] {
            [Effect::Resolve(again, _)] if *again == key => queue.resolved(key, "three").expect("a site"),
            [Effect::Pump(site)] => *site,
            other => panic!("nobody sees to it: {other:?}"),
        };
        let taken: Vec<_> =
            std::iter::from_fn(|| job(&mut queue, site, 21)).map(|(_, group)| group.key).collect();
        assert_eq!(taken, if settled == 1 { vec![1] } else { vec![1, 2] });
        assert_eq!((queue.ready(site, 21), queue.waiting_groups(), queue.credits_out(10)), (0, 0, 2));
    }
}
