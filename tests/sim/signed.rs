//! Mail that is signed: whatever comes in pieces, moves in the spool or is sent again after a crash, what arrives is what was signed.

use std::time::Duration;

use relevo::runtime::Defect;
use relevo::runtime::sim::World;

use super::peers::{Client, Sink};
use super::relay::{Relay, run_until_true};
use super::story;

/// `#dkim` is read by the relay of these stories: the domain has a key of each kind.
const SIGNED: &str = "[retry]\nfirst = \"2s\"\nmax = \"4s\"\n#dkim origin.example\n";

#[test]
fn what_arrives_is_what_was_signed() {
    story(4, |seed| signed(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| signed(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}

fn signed(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    sink.signed.set(true);
    sink.defer.set(true);
    let mut relay = Relay::start(&world, 1, 2, SIGNED);
    let client = Client::start_bulk(&world, "10.0.0.1:25", 6, 42, 14);
    let mut moved = 0;
    for life in 0..3u32 {
        world.disk_faults(1).crash_in = Some(20 + (seed as u32 * 13 + life * 29) % 90);
        let over =
            run_until_true(&world, Duration::from_secs(60), || world.tasks(1) == 0 || client.is_done());
        assert!(over, "neither crashed nor done");
        world.disk_faults(1).crash_in = None;
        if world.tasks(1) > 0 {
            break;
        }
        moved += relay.sum(|counters| &counters.messages_moved);
        relay = Relay::start(&world, 1, 2, SIGNED);
    }
    assert!(run_until_true(&world, Duration::from_secs(300), || client.is_done()), "never got through");
    world.run_for(Duration::from_secs(20));
    moved += relay.sum(|counters| &counters.messages_moved);
    assert!(moved > 0, "nothing moved");
    sink.defer.set(false);
    world.run_for(Duration::from_secs(60));
    assert_eq!(relay.sum(|counters| &counters.spool_messages), 0, "mail is left");
    assert!(
        client.acknowledged.borrow().iter().all(|id| sink.received.borrow().contains(id)),
        "mail is lost"
    );
    relay.drain();
}
