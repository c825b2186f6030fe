//! What a route captures is in the sandbox, once, and nowhere else, whatever a kill cuts off between the spool and its file.

use std::collections::BTreeMap;
use std::time::Duration;

use relevo::control::sandbox::{Bounds, Keeper};
use relevo::names::ends::End;
use relevo::runtime::Defect;
use relevo::runtime::sim::World;

use super::day::dice::Dice;
use super::peers::{Sink, hand_in_from};
use super::relay::{Relay, run_until_true};
use super::story;

const MESSAGES: usize = 40;
const ROUTE: &str =
    "[retry]\nfirst = \"2s\"\nmax = \"3s\"\n[[route]]\ndomain = \"d3.example\"\nto = \"capture\"\n";
const BOUNDS: Bounds = Bounds { messages: 1000, bytes: 1 << 30 };

fn addresses(number: usize) -> Vec<String> {
    // Two of the same domain, and one that goes out.
    vec![format!("a{number}@d3.example"), format!("b{number}@d3.example"), format!("c{number}@d1.example")]
}

fn kills(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut dice = Dice::new(seed, 78);
    let sink = Sink::start(&world, "10.0.0.2:25");
    let mut keeper = Keeper::new(directory.path(), BOUNDS);
    let mut relay = Relay::start(&world, 1, 2, ROUTE);
    hand_in_from(&world, (0, None), 0..MESSAGES, addresses);
    let taken = || relay.sum(|of| &of.spool_messages) >= MESSAGES as u64;
    assert!(run_until_true(&world, Duration::from_secs(15), taken), "not all of it is taken");
    for life in 0..6 {
        for _ in 0..dice.below(12) {
            world.run_for(Duration::from_millis(5 + seed * 3 + life * 4));
            if dice.chance(0.4) {
                keeper.round(relay.capturing(), Duration::ZERO);
            }
        }
        // What is in the file outlasts the kill, be it told or not.
        world.kill(1);
        drop(relay);
        keeper = Keeper::new(directory.path(), BOUNDS);
        relay = Relay::start(&world, 1, 2, ROUTE);
    }
    let mut rounds = 0;
    let done = run_until_true(&world, Duration::from_secs(300), || {
        rounds += 1;
        keeper.round(relay.capturing(), Duration::ZERO);
        rounds > 50 && relay.sum(|of| &of.spool_messages) == 0
    });
    assert!(done, "something stays in the spool");
    drop(keeper);
    let file = rusqlite::Connection::open(directory.path().join("sandbox.db")).expect("the file");
    let sql = "SELECT r.address, count(*), count(DISTINCT r.message) FROM recipient r JOIN raw w ON w.message = r.message GROUP BY 1";
    let mut statement = file.prepare(sql).expect("a question");
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))));
    let kept: BTreeMap<String, (i64, i64)> = rows.expect("rows").map(|row| row.expect("a row")).collect();
    for number in 0..MESSAGES {
        for address in &addresses(number)[..2] {
            assert_eq!(kept.get(address), Some(&(1, 1)), "{address}");
        }
    }
    let went: Vec<String> = sink.received.borrow().iter().cloned().collect();
    assert_eq!(kept.len(), MESSAGES * 2, "only what a route captures");
    assert!(went.len() >= MESSAGES, "{} of the others went out", went.len());
    assert!(relay.sum(|of| of.ended(End::Captured)) <= 2 * MESSAGES as u64);
    relay.drain();
}

#[test]
fn what_is_captured_is_kept_once() {
    story(4, |seed| kills(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| kills(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}
