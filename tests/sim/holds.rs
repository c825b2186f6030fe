//! What operators hold waits until they let it go: through retries, kills, compaction and the end of suspensions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use relevo::queue::select::{Filter, ScanPosition};
use relevo::runtime::Defect;
use relevo::runtime::Runtime;
use relevo::runtime::sim::World;
use relevo::shard::ask::{Ask, Part, Reply};

use super::peers::{Client, Sink};
use super::relay::{Relay, run_until_true};
use super::{check, story};

const SHARDS: usize = 2;
const RETRY: &str = "[retry]\nfirst = \"2s\"\nmax = \"4s\"\n";
const NO_END: u32 = u32::MAX;

fn filter(pairs: &[(&str, &str)]) -> Arc<Filter> {
    let mut filter = Filter::default();
    pairs.iter().for_each(|(name, text)| filter.set(name, text).expect("a filter"));
    Arc::new(filter)
}

/// Changes what is meant on all shards: recipients. All of it is on disk.
fn change(relay: &Relay<'_>, ask: impl Fn(ScanPosition, Reply<Part>) -> Ask) -> u64 {
    let mut recipients = 0;
    for shard in 0..SHARDS {
        let mut from = Some(ScanPosition::default());
        while let Some(place) = from {
            let part = relay.ask(shard, |reply| ask(place, reply));
            assert_eq!(part.unwritten, 0);
            recipients += part.tally.recipients;
            from = part.next;
        }
    }
    recipients
}

fn hold(relay: &Relay<'_>, filter: &Arc<Filter>, until: u32) -> u64 {
    let words: Arc<str> = "by user 0: wrong prices".into();
    change(relay, |from, reply| Ask::Hold(filter.clone(), from, (until, words.clone()), reply))
}

fn release(relay: &Relay<'_>) -> u64 {
    change(relay, |from, reply| Ask::Release(filter(&[]), from, reply))
}

fn retry(relay: &Relay<'_>) -> u64 {
    change(relay, |from, reply| Ask::Retry(filter(&[]), from, reply))
}

fn held(relay: &Relay<'_>) -> u64 {
    change(relay, |from, reply| Ask::Count(filter(&[("state", "held")]), from, reply))
}

/// Old mail is held while segments fill up behind it and the process dies, again and again.
fn through_kills(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    sink.defer.set(true);
    let mut relay = Relay::start(&world, 1, SHARDS, RETRY);
    let first = Client::start_bulk(&world, "10.0.0.1:25", 4, 5, 1);
    assert!(run_until_true(&world, Duration::from_secs(60), || first.is_done()));
    world.run_for(Duration::from_secs(3));
    let all = first.acknowledged.borrow().len() as u64;
    let mut holding = 0;
    // What a connection has is left alone, and comes back.
    assert!(run_until_true(&world, Duration::from_secs(60), || {
        holding += hold(&relay, &filter(&[]), NO_END);
        world.run_for(Duration::from_secs(1));
        holding == all
    }));
    world.kill(1);
    relay = Relay::start(&world, 1, SHARDS, RETRY);
    // Some of it stays in each segment for a while, so that segments have to be cleared.
    let more = Client::start_bulk(&world, "10.0.0.1:25", 6, 42, 14);
    let mut moved = 0;
    for life in 0..4u32 {
        world.disk_faults(1).crash_in = Some(20 + (seed as u32 * 13 + life * 29) % 90);
        let over = run_until_true(&world, Duration::from_secs(60), || world.tasks(1) == 0 || more.is_done());
        assert!(over, "neither crashed nor done");
        world.disk_faults(1).crash_in = None;
        if world.tasks(1) > 0 {
            break;
        }
        moved += relay.sum(|counters| &counters.messages_moved);
        relay = Relay::start(&world, 1, SHARDS, RETRY);
        retry(&relay);
        assert_eq!(held(&relay), all, "none of what is held is tried");
    }
    assert!(run_until_true(&world, Duration::from_secs(300), || more.is_done()), "never got through");
    world.run_for(Duration::from_secs(30));
    sink.defer.set(false);
    world.run_for(Duration::from_secs(60));
    moved += relay.sum(|counters| &counters.messages_moved);
    assert!(moved > 0, "nothing moved");
    world.crash(1);
    relay = Relay::start(&world, 1, SHARDS, RETRY);
    world.run_for(Duration::from_secs(30));
    let received: BTreeSet<String> = sink.received.borrow().iter().cloned().collect();
    // The others count from the same number.
    let others = more.acknowledged.borrow().clone();
    let is_gone = |id: &&String| received.contains(*id) && !others.contains(*id);
    let gone = first.acknowledged.borrow().iter().filter(is_gone).count();
    assert_eq!((gone, held(&relay)), (0, all), "it is held");
    assert_eq!(hold(&relay, &filter(&[]), NO_END), 0, "it is already");
    assert_eq!(release(&relay), all);
    world.run_for(Duration::from_secs(30));
    check(&first, &sink, usize::MAX);
    assert_eq!((held(&relay), release(&relay)), (0, 0));
    relay.drain();
    // And stays so.
    let relay = Relay::start(&world, 1, SHARDS, RETRY);
    assert_eq!(relay.found, 0);
    relay.drain();
}

#[test]
fn what_is_held_waits_through_kills_and_compaction() {
    story(4, |seed| through_kills(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| through_kills(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}

/// A hold for so long ends by itself, also where its end came while nothing ran; and expiry goes on.
#[test]
fn a_hold_ends_and_mail_is_given_up_meanwhile() {
    story(3, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        sink.defer.set(true);
        let more = "[retry]\nfirst = \"10m\"\nmax = \"10m\"\nexpire = \"2h\"\n";
        let relay = Relay::start(&world, 1, SHARDS, more);
        let client = Client::start_bulk(&world, "10.0.0.1:25", 4, 10, 1);
        assert!(run_until_true(&world, Duration::from_secs(60), || client.is_done()));
        world.run_for(Duration::from_secs(3));
        sink.defer.set(false);
        let wall = |seconds: u32| world.shard(1, 0).wall().seconds() + seconds;
        let short = filter(&[("domain", "d1.example")]);
        let some = hold(&relay, &short, wall(1_800));
        assert!(some > 0);
        assert_eq!(hold(&relay, &short, wall(1_000)), 0, "a shorter one changes nothing");
        assert_eq!(hold(&relay, &short, wall(3_600)), some, "a longer one does");
        assert_eq!(
            hold(&relay, &filter(&[]), wall(1_500)),
            40 - some,
            "those that are held for longer stay so"
        );
        world.run_for(Duration::from_secs(1_200));
        world.kill(1);
        let relay = Relay::start(&world, 1, SHARDS, more);
        assert_eq!((held(&relay), sink.received.borrow().len()), (40, 0));
        world.run_for(Duration::from_secs(400));
        assert_eq!((held(&relay), sink.received.borrow().len() as u64), (some, 40 - some));
        world.run_for(Duration::from_secs(2_200));
        check(&client, &sink, 0);
        // Without an end, until it is given up.
        sink.defer.set(true);
        let client = Client::start_bulk(&world, "10.0.0.1:25", 4, 10, 1);
        assert!(run_until_true(&world, Duration::from_secs(60), || client.is_done()));
        world.run_for(Duration::from_secs(3));
        sink.defer.set(false);
        let received = sink.received.borrow().len();
        assert_eq!(hold(&relay, &filter(&[]), NO_END), 40);
        world.run_for(Duration::from_secs(7_000));
        assert_eq!(held(&relay), 40);
        world.run_for(Duration::from_secs(300));
        assert_eq!((held(&relay), sink.received.borrow().len()), (0, received));
        assert_eq!(relay.sum(|counters| &counters.recipients_expired), 40, "its time went on");
        relay.drain();
    });
}
