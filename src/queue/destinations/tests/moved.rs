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
    assert_eq!((queue.ready(old, later), queue.crowd()), (4, 4));
    // Nobody could say, or it is the same: nothing changes, and it is asked for again in its time.
    assert!(queue.goes_on(key));
    assert_eq!(asked(&mut queue, later + 1), 0);
    let later = later + crate::limits::RESOLVED_AGAIN;
    assert_eq!(asked(&mut queue, later), 1);
    assert_eq!((queue.resolved(key, "mx"), queue.ready(old, later)), (None, 4));
    let later = later + crate::limits::RESOLVED_AGAIN;
    assert_eq!(asked(&mut queue, later), 1);
    let new = site_of(queue.resolved(key, "mx2"));
    assert_eq!((queue.ready(old, later), queue.ready(new, later), queue.crowd()), (1, 3, 4));
    queue.put_back_unheard(key, first);
    assert_eq!((queue.ready(old, later), queue.ready(new, later), queue.crowd()), (1, 4, 5));
    assert_eq!(job(&mut queue, old, later).unwrap().1.key, 5);
    assert_eq!(queue.take(old, later), Take::Nothing, "its mail waits where it leads now");
    let keys: Vec<u32> = (0..4).map(|_| job(&mut queue, new, later).unwrap().1.key).collect();
    assert_eq!(keys, [1, 2, 3, 4]);
    // One that leads nowhere any more.
    let other = push_resolved(&mut queue, "c.example", "mx", 6);
    let key = queue.by_name["c.example"];
    assert_eq!((other, asked(&mut queue, later + 500)), (old, 2));
    queue.leave_site(key);
    assert_eq!((queue.ready(old, later + 500), queue.unrouted(key), queue.crowd()), (0, 1, 0));
    assert_eq!(queue.take_unresolved(key).unwrap().key, 6);
}
