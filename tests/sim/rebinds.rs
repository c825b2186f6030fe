//! Mail that is rebound leaves by its new source, once, however often the process dies meanwhile; recipients of the same message that were not meant
//! leave by the old one.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use relevo::mail::parameters::Key;
use relevo::queue::select::{Filter, ScanPosition};
use relevo::runtime::Defect;
use relevo::runtime::sim::World;
use relevo::shard::ask::{Ask, Part, Reply};
use relevo::spool::rebind::Changes;

use super::floods::{launch, names};
use super::relay::{Relay, run_until_true};
use super::sources::{Hop, SOURCES, configuration, hand_in};
use super::story;

const SHARDS: usize = 3;
/// Domains whose mail is rebound, of five.
const MEANT: [&str; 3] = ["d0.test", "d1.test", "d2.test"];

fn filter(domain: &str) -> Arc<Filter> {
    let mut filter = Filter::default();
    filter.set("domain", domain).expect("a filter");
    Arc::new(filter)
}

fn set() -> Arc<Changes> {
    [(Key::Pool, "ip2".into()), (Key::Tenant, "other".into())].into()
}

/// Rebinds the mail of a domain: recipients, and groups under way that were left alone. All of it is on disk.
fn rebind(relay: &Relay<'_>, domain: &str) -> (u64, u64) {
    let (mut rebound, mut under_way) = (0, 0);
    for shard in 0..SHARDS {
        let mut from = Some(ScanPosition::default());
        while let Some(place) = from {
            let part = relay.ask(shard, |reply| Ask::Rebind(filter(domain), place, set(), reply));
            assert_eq!(part.unwritten, 0);
            (rebound, under_way) = (rebound + part.tally.recipients, under_way + part.tally.under_way);
            from = part.next;
        }
    }
    (rebound, under_way)
}

fn through_kills(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    names(&world, &Rc::default(), |_| Some([10, 0, 0, 2]));
    let hop = Hop::start(&world);
    hop.puts_off.set(true);
    let mut relay = launch(&world, SHARDS, &configuration());
    hand_in(&world, 0..40);
    let asked = run_until_true(&world, Duration::from_secs(60), || hop.asked.borrow().len() == 200);
    assert!(asked, "{} of 200 were asked for", hop.asked.borrow().len());
    for life in 0..5u32 {
        // In the middle of it.
        world.disk_faults(1).crash_in = Some(1 + (seed as u32 * 7 + life * 11) % 40);
        let asker = Arc::new(());
        for domain in MEANT {
            for shard in 0..SHARDS {
                let reply = Reply::new(&asker, |part: Part| drop(part));
                relay.begin(shard, Ask::Rebind(filter(domain), ScanPosition::default(), set(), reply));
            }
            world.run_for(Duration::from_millis(500));
        }
        world.disk_faults(1).crash_in = None;
        if world.tasks(1) == 0 {
            relay = launch(&world, SHARDS, &configuration());
            world.run_for(Duration::from_secs(2));
        }
    }
    // What a connection has is left alone, and comes back.
    for domain in MEANT {
        let done = run_until_true(&world, Duration::from_secs(120), || {
            let (rebound, under_way) = rebind(&relay, domain);
            world.run_for(Duration::from_millis(300));
            (rebound, under_way) == (0, 0)
        });
        assert!(done, "{domain} is rebound again and again");
    }
    if seed.is_multiple_of(2) {
        world.crash(1);
        relay = launch(&world, SHARDS, &configuration());
        for domain in MEANT {
            assert_eq!(rebind(&relay, domain).0, 0, "{domain}: it is on disk");
        }
    }
    hop.puts_off.set(false);
    let taken = run_until_true(&world, Duration::from_secs(180), || hop.taken.borrow().len() == 200);
    assert!(taken, "{} of 200 came", hop.taken.borrow().len());
    relay.drain();
    let to: IpAddr = SOURCES[2].parse().expect("an address");
    let mut others = 0;
    for (recipient, from) in hop.taken.borrow().iter() {
        assert_eq!(from.len(), 1, "{recipient} once");
        match MEANT.iter().any(|domain| recipient.contains(domain)) {
            true => assert_eq!(from[0], to, "{recipient}"),
            false => others += usize::from(from[0] != to),
        }
    }
    assert!(others > 20, "of 80 who were not meant {others} leave by the first two");
    let relay = launch(&world, SHARDS, &configuration());
    assert_eq!(relay.found, 0);
    relay.drain();
}

#[test]
fn what_is_rebound_leaves_by_its_new_source_through_kills() {
    story(4, |seed| through_kills(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| through_kills(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}
