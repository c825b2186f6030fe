//! The wall clock is set, by years and in both directions, while mail waits in each of the ways there are: nothing is given up for it, and
//! nothing is stranded.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use relevo::runtime::sim::World;

use super::floods::{flood, launch, names};
use super::peers::{Sink, hand_in};
use super::relay::{Relay, run_until_true};
use super::story;

const DAY: i64 = 86_400_000;
/// From the first second of 1970 to the worlds' own time, milliseconds.
const SINCE_1970: i64 = 1_767_225_600_000;
/// From there to a minute before seconds do not fit into 31 bits.
const TO_2038: i64 = ((1 << 31) - 60) * 1000 - SINCE_1970;

/// When the clock is set, by how many milliseconds.
#[derive(Clone, Copy, Debug)]
enum Set {
    /// While the relay runs.
    Running(i64),
    /// Between two of its lives.
    Stopped(i64),
}
use Set::{Running, Stopped};

/// A day on which the clock is set so: all mail arrives, however much of it waited for what.
fn passes(seed: u64, first: i64, steps: &[Set]) {
    let world = World::new(seed);
    world.move_wall(first);
    let deaf = Rc::new(Cell::new(false));
    // Taken, put off, closed, and one that swallows connections.
    let sink = Sink::start(&world, "10.0.0.2:25");
    sink.defer.set(true);
    let hole = "10.0.0.8:25".parse().expect("an address");
    world.faults().blackhole.insert(hole);
    names(&world, &deaf, |host| {
        let place = [("good", 2), ("late", 2), ("closed", 7), ("hole", 8)];
        let found = place.into_iter().find(|(name, _)| host.starts_with(name));
        found.map(|(_, place)| [10, 0, 0, place])
    });
    let start = || launch(&world, 2, "[retry]\nfirst = \"1m\"\nmax = \"10m\"\n");
    let mut relay: Relay<'_> = start();
    for (number, to) in ["old@late.test", "u@closed.test", "u@hole.test"].into_iter().enumerate() {
        hand_in(&world, 10 + number as u16, 9_000 + number, vec![to.to_owned()]);
    }
    world.run_for(Duration::from_secs(3));
    deaf.set(true);
    flood(&world, 1, |number| format!("good{number}.test"));
    world.run_for(Duration::from_secs(17));
    assert!(relay.sum(|of| &of.domains_waiting) > 400, "{}", relay.sum(|of| &of.domains_waiting));
    let check = |relay: &Relay<'_>| {
        let (expired, bounced) =
            (relay.sum(|of| &of.recipients_expired), relay.sum(|of| &of.recipients_bounced));
        assert_eq!((expired, bounced), (0, 0), "given up for the clock: {steps:?} from {first}");
    };
    for step in steps {
        match step {
            Running(milliseconds) => world.move_wall(*milliseconds),
            Stopped(milliseconds) => {
                check(&relay);
                world.kill(1);
                drop(relay);
                world.move_wall(*milliseconds);
                // Whoever answers for the time being was asked: of what is past its time that is the last try.
                sink.defer.set(false);
                relay = start();
            }
        }
        // No longer than the shortest wait: a last try goes on for one.
        world.run_for(Duration::from_secs(40));
    }
    check(&relay);
    deaf.set(false);
    sink.defer.set(false);
    world.faults().blackhole.remove(&hole);
    let others = [Sink::start(&world, "10.0.0.7:25"), Sink::start(&world, "10.0.0.8:25")];
    let all =
        || sink.received.borrow().len() + others.iter().map(|one| one.received.borrow().len()).sum::<usize>();
    // The flood is one message to each of its domains.
    let arrived = run_until_true(&world, Duration::from_secs(1_500), || all() >= 1_003);
    check(&relay);
    assert!(arrived, "{} of 1003 came: {steps:?} from {first}", all());
    relay.drain();
}

#[test]
fn no_clock_strands_mail_or_gives_it_up_while_the_relay_runs() {
    story(1, |seed| {
        passes(seed, 0, &[Running(-400 * DAY)]);
        passes(seed, 0, &[Running(400 * DAY)]);
        passes(seed, 0, &[Running(400 * DAY), Running(-400 * DAY)]);
        passes(seed, TO_2038, &[Running(0)]);
        // A boot without a clock of its own, then the time is found.
        passes(seed, -SINCE_1970, &[Running(SINCE_1970)]);
    });
}

#[test]
fn no_clock_strands_mail_or_gives_it_up_over_a_restart() {
    story(1, |seed| {
        passes(seed, 0, &[Stopped(-400 * DAY)]);
        passes(seed, 0, &[Stopped(400 * DAY)]);
        passes(seed, 0, &[Running(400 * DAY), Stopped(-400 * DAY)]);
        passes(seed, 0, &[Stopped(400 * DAY), Stopped(-400 * DAY)]);
        passes(seed, TO_2038 - 60_000, &[Stopped(60_000)]);
        // What came in 1970 meets the right time at the next start; and the other way round.
        passes(seed, -SINCE_1970, &[Running(SINCE_1970), Stopped(0)]);
        passes(seed, -SINCE_1970, &[Stopped(SINCE_1970)]);
        passes(seed, 0, &[Stopped(-SINCE_1970), Running(SINCE_1970)]);
    });
}
