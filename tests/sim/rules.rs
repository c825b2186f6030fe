//! What rules discard is taken, told, and delivered to nobody, whatever a crash cuts off.

use std::collections::BTreeSet;
use std::time::Duration;

use relevo::runtime::Defect;
use relevo::runtime::sim::World;

use super::peers::{Client, Sink};
use super::relay::{Relay, run_until_true};
use super::story;

const RULES: &str = "[[rule]]\nmatch = { recipient = \"@d3.example\" }\nset = { campaign = \"gone\" }\naction = \"discard\"\n\
                     [[rule]]\nset = { tenant = \"all\" }\n";

#[test]
fn what_is_discarded_is_told_and_goes_nowhere() {
    story(4, |seed| discarded(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| discarded(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}

fn discarded(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    let mut relay = Relay::start(&world, 1, 2, RULES);
    let client = Client::start(&world, "10.0.0.1:25", 4, 250);
    let mut log = Vec::new();
    for life in 0..5 {
        // Records are passed on four times a second; what a kill takes of them is told again only where it has no end yet.
        world.run_for(Duration::from_millis(270 + seed * 7 + life * 31));
        log.extend(relay.log());
        world.crash(1);
        relay = Relay::start(&world, 1, 2, RULES);
    }
    assert!(run_until_true(&world, Duration::from_secs(120), || client.is_done()), "never got through");
    world.run_for(Duration::from_secs(30));
    log.extend(relay.log());
    // The second number of an id and the first say which domain it went to.
    let is_discarded = |id: &&String| {
        let numbers: Vec<usize> = id.split('-').filter_map(|number| number.parse().ok()).collect();
        (numbers[0] * 31 + numbers[1]) % 7 == 3
    };
    let received: BTreeSet<String> = sink.received.borrow().iter().cloned().collect();
    let acknowledged = client.acknowledged.borrow();
    assert_eq!(received.iter().find(is_discarded), None, "what a rule discards was delivered");
    let lost = acknowledged.iter().filter(|id| !is_discarded(id)).find(|id| !received.contains(*id));
    assert_eq!(lost, None, "what no rule discards was not");
    assert!(acknowledged.iter().filter(is_discarded).count() > 10);
    let of = |event: &'static str| log.iter().filter(move |record| record["event"] == event);
    assert!(of("discarded").count() > 10);
    for record in of("discarded") {
        let domain = record["recipients"][0].as_str().is_some_and(|one| one.ends_with("@d3.example"));
        assert!(domain && record["campaign"] == "gone" && record["tenant"] == "all", "{record}");
    }
    for record in of("delivered").chain(of("received")) {
        assert_eq!(
            (&record["tenant"], &record["campaign"]),
            (&"all".into(), &serde_json::Value::Null),
            "{record}"
        );
    }
    assert_eq!(relay.sum(|counters| &counters.spool_messages), 0, "discarded mail stays in the spool");
    relay.drain();
}
