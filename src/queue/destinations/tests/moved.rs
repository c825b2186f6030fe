//! Domains that lead elsewhere while their mail is under way.

use super::*;

/// Hosts of a domain may change while its mail never pauses.
#[test]
fn a_busy_domain_is_asked_for_again_and_its_mail_goes_on() {
    let mut queue = Destinations::new(vec![10]);
    let old = push_resolved(&mut queue, "a.example", "mx", 1);
    for offset in 2..=4 {
        push_resolved(&mut queue, "a.example", "mx", offset);
    }
    push_resolved(&mut queue, "b.example", "mx", 5);
    let (key, first) = job(&mut queue, old, 10).unwrap();
    let later = 10 + crate::limits::RESOLVED_AGAIN;
    assert_eq!(queue.resolve_busy(later - 1, 0..9), []);
    let asked = |queue: &mut Destinations, now| {
        queue
            .resolve_busy(now, 0..9)
            .into_iter()
            .filter(|effect| matches!(effect, Effect::Resolve(..)))
            .count()
    };
    assert_eq!((asked(&mut queue, later), asked(&mut queue, later)), (2, 0), "each once");
    assert_eq!(queue.unanswered(later + 500, 15, &mut 100, |_| 0), None, "it waits for nothing");
    assert_eq!((queue.ready(old, later), queue.waiting_groups()), (4, 4));
    // Nobody could say, or it is the same: nothing changes, and it is asked for again in its time.
    assert!(queue.goes_on(key));
    assert_eq!(asked(&mut queue, later + 1), 0);
    let later = later + crate::limits::RESOLVED_AGAIN;
    assert_eq!(asked(&mut queue, later), 1);
    assert_eq!((queue.resolved(key, "mx"), queue.ready(old, later)), (None, 4));
    let later = later + crate::limits::RESOLVED_AGAIN;
    assert_eq!(asked(&mut queue, later), 1);
    let new = queue.resolved(key, "mx2").expect("a site");
    assert_eq!((queue.ready(old, later), queue.ready(new, later), queue.waiting_groups()), (1, 3, 4));
    queue.put_back_unheard(key, first);
    assert_eq!((queue.ready(old, later), queue.ready(new, later), queue.waiting_groups()), (1, 4, 5));
    assert_eq!(job(&mut queue, old, later).unwrap().1.key, 5);
    assert_eq!(queue.take(old, later), Take::Nothing, "its mail waits where it leads now");
    let keys: Vec<u32> = (0..4).map(|_| job(&mut queue, new, later).unwrap().1.key).collect();
    assert_eq!(keys, [1, 2, 3, 4]);
    // One that leads nowhere any more.
    let other = push_resolved(&mut queue, "c.example", "mx", 6);
    let key = queue.domains.find("c.example", 0).unwrap();
    assert_eq!((other, asked(&mut queue, later + 500)), (old, 2));
    queue.leave_site(key);
    assert_eq!((queue.ready(old, later + 500), queue.unrouted(key), queue.waiting_groups()), (0, 1, 0));
    assert_eq!(queue.take_unresolved(key).unwrap().key, 6);
}

/// A provider with many domains moves them all: each leaves the ring in a time of its own, however many there are.
#[test]
fn many_domains_leave_a_site_one_by_one() {
    const DOMAINS: u32 = 100_000;
    let mut queue = Destinations::new(vec![u32::MAX]);
    let mut old = None;
    for number in 0..DOMAINS {
        old = Some(push_resolved(&mut queue, &format!("d{number}.example"), "mx", number));
    }
    let old = old.unwrap();
    // From the last on: the whole ring stands before each of them.
    for number in (0..DOMAINS).rev() {
        let key = queue.domains.find(&format!("d{number}.example"), 0).unwrap();
        assert!(queue.resolved(key, "mx2").is_some());
        assert!(queue.sites.get(old).rings.places() <= 65 + 2 * number as usize);
    }
    // One by one it is 5,000,000,000.
    let looked_at = queue.sites.get(old).rings.looked_at();
    assert!(looked_at <= 2 * DOMAINS as usize, "{looked_at}");
    let new = queue.sites.named("mx2");
    assert_eq!(
        (queue.ready(old, 10), queue.ready(new, 10), queue.waiting_groups()),
        (0, DOMAINS as usize, DOMAINS as usize)
    );
    assert_eq!(queue.take(old, 10), Take::Nothing);
    assert_eq!(job(&mut queue, new, 10).unwrap().1.key, DOMAINS - 1);
}

/// Those that left are passed over wherever the ring is looked at, and one that comes back has one turn, at the end.
#[test]
fn who_left_a_ring_is_not_met_there() {
    let mut queue = Destinations::new(vec![100]);
    let names: Vec<_> = (0..6).map(|number| format!("d{number}.example")).collect();
    for (number, name) in names.iter().enumerate() {
        push_resolved(&mut queue, name, "mx", 1 + 2 * number as u32);
        push_resolved(&mut queue, name, "mx", 2 + 2 * number as u32);
    }
    let keys: Vec<_> = names.iter().map(|name| queue.domains.find(name, 0).unwrap()).collect();
    let site = queue.sites.named("mx");
    for key in [keys[0], keys[1], keys[3]] {
        assert!(queue.resolved(key, "mx2").is_some());
    }
    assert!(queue.resolved(keys[1], "mx").is_some());
    assert_eq!(queue.waiting_at(site), Some((&*names[2], 3)));
    assert!(!queue.is_starved(site));
    queue.close_site(site, 50);
    let told: Vec<_> =
        std::iter::from_fn(|| queue.tell(site, 20, &mut 100, |_| 900)).map(|(key, _)| key).collect();
    let each_twice: Vec<_> = [2, 4, 5, 1].into_iter().flat_map(|place| [keys[place]; 2]).collect();
    assert_eq!(told, each_twice);
    queue.open_site(site);
    let served: Vec<_> = std::iter::from_fn(|| job(&mut queue, site, 60)).map(|(key, _)| key).collect();
    let each_in_turn: Vec<_> = [2, 4, 5, 1, 2, 4, 5, 1].map(|place| keys[place]).to_vec();
    assert_eq!(served, each_in_turn);
    assert!(queue.sites.get(site).rings.is_empty());
    // What is too old is found behind one that left, too.
    let other = queue.sites.named("mx2");
    assert!(queue.resolved(keys[0], "mx3").is_some());
    assert_eq!(
        queue.expire(other, &mut 100, |group| group.is_expired(2_000)).map(|(key, _)| key),
        Some(keys[3])
    );
}

/// Routes are others: what waits goes by none of those before, be its site open, closed, or asked for work at once; what is under way goes
/// on.
#[test]
fn nothing_is_taken_by_routes_that_hold_no_more() {
    let mut queue = Destinations::new(vec![10]);
    let old = push_resolved(&mut queue, "a.example", "old", 1);
    push_resolved(&mut queue, "a.example", "old", 2);
    push_resolved(&mut queue, "b.example", "old", 3);
    let closed = push_resolved(&mut queue, "c.example", "down", 4);
    queue.close_site(closed, 1000);
    let (busy, under_way) = job(&mut queue, old, 10).unwrap();
    queue.reroute();
    assert_eq!(queue.take(old, 10), Take::Nothing);
    // The mail of a domain that was just taken from its site is not forgotten, nor is that of one that nobody looked at.
    let names = |effects: Vec<Effect>| -> Vec<String> {
        effects
            .into_iter()
            .map(|effect| match effect {
                Effect::Resolve(_, name) => name.to_string(),
                Effect::Pump(site) => panic!("{site:?} has nothing"),
            })
            .collect()
    };
    assert_eq!(names(queue.rerouted(10, 0..2)), ["a.example", "b.example"]);
    assert_eq!(names(queue.rerouted(10, 2..9)), ["c.example"]);
    assert_eq!(names(queue.rerouted(10, 0..9)), [""; 0], "each once");
    assert!(!queue.is_led_to(closed), "its connections are of no use");
    let new = queue.resolved(busy, "new").expect("its other mail waits");
    let key = queue.domains.find("c.example", 0).unwrap();
    assert_eq!(queue.resolved(key, "new"), Some(new));
    assert_eq!(names(queue.rerouted(10, 0..9)), [""; 0], "these are led by what holds");
    queue.attempted(busy, &under_way, &[], 10);
    let taken = [1, 2].map(|_| job(&mut queue, new, 10).unwrap().1.key);
    assert_eq!((taken, queue.take(new, 10)), ([2, 4], Take::Nothing));
    // One without mail that is remembered for a moment is led anew by its next mail.
    queue.reroute();
    assert_eq!(names(queue.rerouted(10, 0..9)), [""; 0]);
    let pushed = queue.push("a.example", group(7, 1), 10);
    assert!(matches!(pushed, Some(Effect::Resolve(..))), "{pushed:?}");
}

/// A credit that was not used is for a site that found none, though nothing was settled.
#[test]
fn what_is_put_back_lets_others_begin() {
    let mut queue = Destinations::new(vec![1]);
    let first = push_resolved(&mut queue, "a.example", "mx.a.example", 1);
    let other = push_resolved(&mut queue, "b.example", "mx.b.example", 2);
    let (key, group) = job(&mut queue, first, 10).expect("there is a credit");
    assert_eq!(job(&mut queue, other, 10), None, "there is none");
    assert_eq!(queue.tick(11, 10), []);
    assert_eq!(queue.put_back(key, group), Some(Effect::Pump(first)));
    assert_eq!(queue.tick(12, 10), [Effect::Pump(other)]);
    assert_eq!(queue.tick(13, 10), [], "it was told");
}

/// Domains whose mail was taken out have their turns until these come: they say nothing of credits.
#[test]
fn domains_without_mail_starve_no_site() {
    use crate::queue::destinations::aside::AsideGroups;

    let mut queue = Destinations::new(vec![10]);
    let mut site = None;
    for number in 0..crate::limits::STARVED_LOOKED_AT as u32 + 9 {
        site = Some(push_resolved(&mut queue, &format!("d{number}.example"), "mx", number));
    }
    let site = site.expect("there are some");
    for number in 0..crate::limits::STARVED_LOOKED_AT as u32 + 8 {
        let key = queue.domains.find(&format!("d{number}.example"), 0).expect("it has mail");
        let taken = AsideGroups::take(&mut queue, key, true);
        assert!(taken.is_some());
    }
    assert_eq!(queue.ready(site, 10), 1);
    assert!(!queue.is_starved(site));
    assert!(job(&mut queue, site, 10).is_some());
}

/// Whose time is over is given up wherever it stands.
#[test]
fn what_is_too_old_behind_others_is_found() {
    let mut queue = Destinations::new(vec![10]);
    let mut site = None;
    for offset in 1..=5 {
        let expiry = if offset % 2 == 0 { 50 } else { 1000 };
        let effect = queue.push("a.example", Group { expiry, ..group(offset, 1) }, 10);
        site = match effect {
            Some(Effect::Resolve(key, _)) => queue.resolved(key, "mx"),
            effect => Some(site_of(effect)),
        };
    }
    let site = site.expect("it is resolved");
    let gone = std::iter::from_fn(|| queue.expire(site, &mut 2, |group| group.is_expired(60)));
    let gone: Vec<u32> = gone.map(|(_, group)| group.location.offset).collect();
    assert_eq!((gone, queue.ready(site, 60)), (vec![2, 4], 3));
    let left: Vec<u32> =
        std::iter::from_fn(|| job(&mut queue, site, 60)).map(|(_, group)| group.location.offset).collect();
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|offset| offset % 2 == 1), "{left:?}");
}
