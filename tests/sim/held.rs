//! Mail that is held goes when its hour comes, not before and all of it, whatever crashes meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use relevo::runtime::Defect;
use relevo::runtime::sim::World;

use super::peers::{Client, Sink};
use super::relay::{Relay, run_until_true};
use super::story;

/// Its life, counted from its hour, is shorter than the time for which it is held.
const RULES: &str = "[retry]\nexpire = \"5m\"\n[[rule]]\nset = { send_at = \"+10m\" }\n";

#[test]
fn held_mail_goes_at_its_hour() {
    story(4, |seed| held(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| held(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}

fn held(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    let mut relay = Relay::start(&world, 1, 2, RULES);
    let client = Client::start(&world, "10.0.0.1:25", 4, 50);
    for life in 0..4 {
        world.run_for(Duration::from_millis(20_270 + seed * 7 + life * 31));
        world.crash(1);
        relay = Relay::start(&world, 1, 2, RULES);
    }
    assert!(run_until_true(&world, Duration::from_secs(120), || client.is_done()), "never got through");
    world.run_for(Duration::from_secs(300));
    assert_eq!(sink.received.borrow().len(), 0, "before its hour");
    world.run_for(Duration::from_secs(600));
    let received: BTreeSet<String> = sink.received.borrow().iter().cloned().collect();
    let acknowledged = client.acknowledged.borrow();
    assert!(acknowledged.len() > 50);
    assert_eq!(acknowledged.iter().find(|id| !received.contains(*id)), None, "its hour came");
    assert_eq!(relay.sum(|counters| &counters.recipients_expired), 0, "its life began at its hour");
    relay.drain();
}
