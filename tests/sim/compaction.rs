//! Old mail in every segment: the disk use stays near what is live, through crashes, and nothing is lost or sent twice.

use std::time::Duration;

use super::peers::{Client, Sink};
use super::relay::{Relay, run_until_true};
use super::{check, story};
use relevo::runtime::Defect;
use relevo::runtime::sim::World;

const SEGMENT: u64 = 4 * 1024 * 1024;
const RETRY: &str = "[retry]\nfirst = \"2s\"\nmax = \"4s\"\n";

/// Bytes of the segments in use and of what is live, of the fullest lane; and messages moved.
fn levels(relay: &Relay<'_>) -> (u64, u64, u64) {
    let levels = relay.instruments.iter().map(|instruments| {
        let counters = &instruments.counters;
        let used = counters.spool_segments.get() - counters.spool_segments_free.get();
        (used * SEGMENT, counters.spool_bytes_live.get(), counters.messages_moved.get())
    });
    levels.fold((0, 0, 0), |most, lane| {
        let fullest = if lane.0 > most.0 { lane } else { most };
        (fullest.0, fullest.1, most.2 + lane.2)
    })
}

/// Twice what is live, two segments that were just sealed, and the one that is written.
fn is_bounded((used, live, _): (u64, u64, u64)) -> bool {
    used <= 2 * live + 3 * SEGMENT
}

#[test]
fn one_old_message_in_each_segment_does_not_hold_the_disk() {
    story(6, |seed| old_mail_in_every_segment(seed, None));
}

/// Plants a defect in these stories: one of them must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| old_mail_in_every_segment(seed, Some(defect)));
    assert!((1..=6).any(|seed| told(seed).is_err()), "{defect:?}: not found in 6 stories");
}

fn old_mail_in_every_segment(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    sink.defer.set(true);
    let mut relay = Relay::start(&world, 1, 2, RETRY);
    // 55 MB of mail that leaves at once, and a 10 KB message in every third megabyte that does not.
    let client = Client::start_bulk(&world, "10.0.0.1:25", 6, 42, 14);
    let (mut moved, mut lives) = (0, 1);
    for life in 0..5u32 {
        world.disk_faults(1).crash_in = Some(20 + (seed as u32 * 13 + life * 29) % 90);
        let over =
            run_until_true(&world, Duration::from_secs(60), || world.tasks(1) == 0 || client.is_done());
        assert!(over, "neither crashed nor done");
        world.disk_faults(1).crash_in = None;
        if world.tasks(1) > 0 {
            break;
        }
        moved += levels(&relay).2;
        relay = Relay::start(&world, 1, 2, RETRY);
        lives += 1;
    }
    assert!(run_until_true(&world, Duration::from_secs(300), || client.is_done()), "never got through");
    // The old mail is still there, and its segments are not.
    world.run_for(Duration::from_secs(10));
    let settled = run_until_true(&world, Duration::from_secs(30), || is_bounded(levels(&relay)));
    assert!(settled, "{:?}", levels(&relay));
    let waiting: u64 = relay.instruments.iter().map(|shard| shard.counters.spool_messages.get()).sum();
    assert!(waiting >= 18, "only {waiting} wait");
    moved += levels(&relay).2;
    assert!(moved > 0, "nothing moved");
    // A crash in the middle of what is left to do, and after all of it.
    world.crash(1);
    relay = Relay::start(&world, 1, 2, RETRY);
    world.run_for(Duration::from_secs(10));
    assert!(is_bounded(levels(&relay)), "{:?}", levels(&relay));
    sink.defer.set(false);
    world.run_for(Duration::from_secs(60));
    check(&client, &sink, lives * 2 * 40 + client.unsure.get());
    let waiting: u64 = relay.instruments.iter().map(|shard| shard.counters.spool_messages.get()).sum();
    assert_eq!(waiting, 0);
    for record in relay.log().iter().filter(|record| record["event"] == "delivered") {
        let waited = record["recipients"][0].as_str().is_some_and(|one| one.starts_with("old@"));
        let expected = if waited { "old".into() } else { serde_json::Value::Null };
        assert_eq!(record["tenant"], expected, "{record}");
    }
    relay.drain();
}

#[test]
fn mail_that_moves_is_delivered_once() {
    // Without a crash there is no excuse: each message arrives exactly once, moved or not, also while it moves.
    story(4, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        sink.defer.set(true);
        let relay = Relay::start(&world, 1, 2, RETRY);
        let client = Client::start_bulk(&world, "10.0.0.1:25", 6, 42, 7);
        assert!(run_until_true(&world, Duration::from_secs(300), || client.is_done() || levels(&relay).2 > 4));
        // From here on some are delivered just when they move.
        for round in 0..40 {
            sink.defer.set(round % 2 == 0);
            world.run_for(Duration::from_millis(170 + seed * 10));
        }
        assert!(run_until_true(&world, Duration::from_secs(300), || client.is_done()));
        assert!(levels(&relay).2 > 0, "nothing moved");
        sink.defer.set(false);
        world.run_for(Duration::from_secs(60));
        check(&client, &sink, 0);
        assert_eq!(sink.received.borrow().len(), 6 * 42);
        relay.drain();
    });
}
