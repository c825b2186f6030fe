//! A relay under load hands over to the next process, or is emptied into another one, and dies at any step of either: nothing that was acknowledged is
//! lost, and nothing is refused but by 421.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use relevo::config::RouteTarget;
use relevo::limits;
use relevo::observe::Instruments;
use relevo::observe::journaled::Readers;
use relevo::queue::Group;
use relevo::queue::select::ScanPosition;
use relevo::queue::suspension::{Effect, Suspension, Suspensions};
use relevo::runtime::Defect;
use relevo::runtime::sim::World;
use relevo::shard::ask::{Ask, Row, StoredRecipients};
use relevo::shard::mesh::MeshLimits;

use super::ask::list;
use super::peers::{Client, Sink};
use super::relay::{Launch, Relay, configuration, run_until_true, suspension};
use super::{check, story};

const SHARDS: usize = 2;
/// Attempts that a kill may have repeated: credits of two lanes.
const OF_A_KILL: usize = 2 * 40;

/// What clients were told where a message was not taken is that they are to come again.
fn assert_refusals(client: &Client) {
    let refusals = client.refusals.borrow();
    assert!(refusals.iter().all(|words| words.starts_with("421 ")), "{refusals:?}");
}

/// One process after the other, each with the spool of the one before.
fn through_handovers(seed: u64) {
    let world = World::new(seed);
    let sink = Sink::start(&world, "10.0.0.2:25");
    let mut relay = Relay::start(&world, 1, SHARDS, "");
    let client = Client::start(&world, "10.0.0.1:25", 8, 60);
    let (mut kills, mut in_order) = (0, 0);
    // Every other time all goes in order.
    let dies = seed % 2 == 1;
    for life in 0..6u64 {
        let dice = seed * 37 + life * 101;
        world.run_for(Duration::from_millis(50 + dice % 200));
        if dies && dice.is_multiple_of(3) {
            world.disk_faults(1).crash_in = Some(1 + (dice % 9) as u32);
        }
        // Not until all has ended that is under way at next hops: as where they are slow.
        relay.stages().rest(true);
        world.run_for(Duration::from_millis(dice % 40));
        relay.stages().hand_over();
        let ended = relay.stop();
        let most = limits::UPGRADE_DRAIN + Duration::from_secs(5);
        assert!(run_until_true(&world, most, || ended() || world.tasks(1) == 0), "it lets go of nothing");
        if ended() {
            in_order += 1
        } else {
            kills += 1
        }
        // The process ends. What it wrote is on the disk.
        world.crash(1);
        world.disk_faults(1).crash_in = None;
        if dies && dice % 4 == 1 {
            // The next one dies as it begins.
            world.disk_faults(1).crash_in = Some(1 + (dice % 7) as u32);
            let configuration = &configuration("");
            let room = MeshLimits::of(SHARDS);
            let launch = Launch { node: 1, shards: SHARDS, lanes: 2, room, configuration };
            if Relay::launch(&world, &launch).is_some() {
                world.run_for(Duration::from_millis(100));
                world.kill(1);
            }
            world.disk_faults(1).crash_in = None;
            kills += 1;
        }
        relay = Relay::start(&world, 1, SHARDS, "");
        assert!(relay.damage.is_empty() || kills > 0, "{:?}", relay.damage);
    }
    assert!(in_order > 0, "nobody handed over in order");
    assert!(run_until_true(&world, Duration::from_secs(600), || client.is_done()), "never got through");
    world.run_for(Duration::from_secs(120));
    // In order nothing ends between what a hop said and the disk.
    let most = if dies { kills * OF_A_KILL + sink.unsure.get() } else { 0 };
    check(&client, &sink, most + client.unsure.get());
    assert_refusals(&client);
    relay.drain();
}

#[test]
fn one_process_hands_over_to_the_next_and_either_may_die() {
    story(8, through_handovers);
}

/// Tries what waits, as the command does.
fn retry(relay: &Relay<'_>) {
    for shard in 0..SHARDS {
        let mut from = Some(ScanPosition::default());
        while let Some(place) = from {
            from = relay.ask(shard, |reply| Ask::Retry(Default::default(), place, reply)).next;
        }
    }
}

const SLOW: &str = "[retry]\nfirst = \"1h\"\nmax = \"1h\"\n";

/// The next life of a relay that is being emptied: control tells it so before a shard starts.
fn emptied_again<'a>(world: &'a World, (drain, more): (&Suspension, &str)) -> Relay<'a> {
    let configuration = &configuration(more);
    let room = MeshLimits::of(SHARDS);
    let launch = Launch { node: 1, shards: SHARDS, lanes: 2, room, configuration };
    let instruments = Instruments::of(SHARDS, &Readers::Lossy);
    let relay = Relay::launch_prepared(world, &launch, (instruments, &|_| {}), |mesh| {
        mesh.suspend(std::sync::Arc::new(Suspensions::new(vec![drain.clone()])));
    });
    relay.expect("the node lives")
}

/// A relay of which some mail waits, and which clients go on to speak to, is emptied into another one.
fn emptied(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let (sink, peer) = (Sink::start(&world, "10.0.0.2:25"), Sink::start(&world, "10.0.0.3:25"));
    sink.defer.set(true);
    let mut relay = Relay::start(&world, 1, SHARDS, SLOW);
    let client = Client::start_bulk(&world, "10.0.0.1:25", 4, 24, 2);
    let half = || client.acknowledged.borrow().len() >= 40;
    assert!(run_until_true(&world, Duration::from_secs(60), half), "no mail came");
    let to = RouteTarget::host("smtp://10.0.0.3:25").expect("a host");
    let drain = suspension(&world, 1, Effect::Drain(to), "36000");
    relay.suspend(vec![drain.clone()]);
    // What clients were in the middle of is taken.
    world.run_for(Duration::from_secs(2));
    let mut taken = relay.sum(|of| &of.messages_received);
    let mut kills = 0;
    for life in 0..5u32 {
        world.disk_faults(1).crash_in = Some(1 + (seed as u32 * 5 + life * 17) % 30);
        retry(&relay);
        run_until_true(&world, Duration::from_secs(20), || world.tasks(1) == 0);
        world.disk_faults(1).crash_in = None;
        if world.tasks(1) > 0 {
            break;
        }
        kills += 1;
        relay = emptied_again(&world, (&drain, SLOW));
        taken = 0;
        world.run_for(Duration::from_secs(1));
    }
    retry(&relay);
    let empty = run_until_true(&world, Duration::from_secs(120), || {
        world.run_for(Duration::from_secs(1));
        relay.sum(|of| &of.spool_messages) == 0
    });
    assert!(empty, "{} messages are left", relay.sum(|of| &of.spool_messages));
    assert_eq!(relay.sum(|of| &of.messages_received), taken, "it takes nothing while it is emptied");
    assert!(!client.is_done(), "clients got through while it was emptied");
    let arrived: BTreeSet<String> =
        sink.received.borrow().iter().chain(peer.received.borrow().iter()).cloned().collect();
    let lost: Vec<_> = client.acknowledged.borrow().difference(&arrived).cloned().collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    let old = |id: &&String| id.ends_with("-10-998");
    let acknowledged = client.acknowledged.borrow().iter().filter(old).count();
    let moved: BTreeSet<String> = peer.received.borrow().iter().filter(old).cloned().collect();
    assert!(moved.len() >= acknowledged, "{} of {acknowledged} that waited went there", moved.len());
    assert_refusals(&client);
    // It is opened again.
    relay.suspend(Vec::new());
    sink.defer.set(false);
    assert!(run_until_true(&world, Duration::from_secs(300), || client.is_done()), "it stays shut");
    world.run_for(Duration::from_secs(30));
    sink.received.borrow_mut().extend(peer.received.borrow().iter().cloned());
    let unsure = client.unsure.get() + sink.unsure.get() + peer.unsure.get();
    check(&client, &sink, kills * OF_A_KILL + unsure);
    relay.drain();
}

#[test]
fn a_relay_is_emptied_into_another_through_kills() {
    story(6, |seed| emptied(seed, None));
}

/// The other node, into which the first is emptied: mail is its own for a day, and all of it is its campaign's.
const OTHER: &str = "[node]\nhostname = \"other.example\"\ndata_dir = \"/spool\"\n\
    [[listener]]\naddress = \"10.0.0.3:25\"\nrelay_from = [\"10.0.0.0/8\"]\nhandover_from = [\"10.0.0.1/32\"]\n\
    [[rule]]\nmatch = { sender = \"*\" }\nset = { campaign = \"other\", category = \"other\" }\n\
    [[route]]\ndomain = \"*\"\nto = \"smtp://10.0.0.2:25\"\n\
    [retry]\nfirst = \"1h\"\nmax = \"1h\"\nexpire = \"1d\"\n\
    [spool]\nsegment_size = \"4MiB\"\n";

/// What the first makes of the same mail.
const FIRST: &str = "[retry]\nfirst = \"1h\"\nmax = \"1h\"\nexpire = \"4d\"\n\
    [[rule]]\nmatch = { sender = \"*\" }\nset = { campaign = \"first\", tenant = \"shop\" }\n";

fn other(world: &World) -> Relay<'_> {
    let launch =
        Launch { node: 3, shards: SHARDS, lanes: 2, room: MeshLimits::of(SHARDS), configuration: OTHER };
    Relay::launch(world, &launch).expect("the other node lives")
}

/// All that waits: its groups, with whose mail it is.
fn waiting(relay: &Relay<'_>) -> Vec<(Row, [String; 3])> {
    let rows = list(relay, &Arc::default(), 1_000, || {});
    let of = |row: Row| {
        let Group { location, key, first, count, .. } = row.seen.group;
        let place = StoredRecipients { location, key, first, count };
        let known = (0..SHARDS).find_map(|shard| {
            relay.ask(shard, |reply| Ask::Details(vec![place], reply)).into_iter().find_map(Result::ok)
        });
        (row, known.expect("it is in a lane").whose)
    };
    rows.into_iter().map(of).collect()
}

/// Mail that was put off twice is handed over, and either node dies in the middle of it: it goes on there as it stood.
fn taken_over(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    sink.defer.set(true);
    sink.relayed.set(true);
    let mut relay = Relay::start(&world, 1, SHARDS, FIRST);
    let mut second = other(&world);
    let client = Client::start_bulk(&world, "10.0.0.1:25", 4, 12, 1);
    assert!(run_until_true(&world, Duration::from_secs(120), || client.is_done()), "no mail came");
    world.run_for(Duration::from_secs(10));
    retry(&relay);
    // Long enough that a life which begins anew ends later than any of these.
    world.run_for(Duration::from_secs(900));
    let before = waiting(&relay);
    assert!(before.iter().all(|(row, _)| row.seen.group.attempts == 2), "it was put off twice");
    let lives = |rows: &[(Row, [String; 3])]| {
        let seconds = rows.iter().map(|(row, _)| row.expiry.seconds());
        (seconds.clone().min().unwrap_or_default(), seconds.max().unwrap_or_default())
    };
    let (soonest, latest) = lives(&before);
    let to = RouteTarget::host("smtp://10.0.0.3:25").expect("a host");
    let drain = suspension(&world, 1, Effect::Drain(to), "36000");
    relay.suspend(vec![drain.clone()]);
    let mut kills = 0;
    for life in 0..4u32 {
        let dies = if (seed as u32 + life).is_multiple_of(2) { 1 } else { 3 };
        world.disk_faults(dies).crash_in = Some(1 + (seed as u32 * 5 + life * 7) % 12);
        retry(&relay);
        run_until_true(&world, Duration::from_secs(20), || world.tasks(dies) == 0);
        world.disk_faults(dies).crash_in = None;
        if world.tasks(dies) > 0 {
            continue;
        }
        kills += 1;
        match dies {
            1 => relay = emptied_again(&world, (&drain, FIRST)),
            _ => second = other(&world),
        }
        world.run_for(Duration::from_secs(1));
    }
    let empty = run_until_true(&world, Duration::from_secs(600), || {
        retry(&relay);
        world.run_for(Duration::from_secs(5));
        relay.sum(|of| &of.spool_messages) == 0
    });
    assert!(empty, "{} messages are left", relay.sum(|of| &of.spool_messages));
    assert_eq!(relay.sum(|of| &of.recipients_handed_anew), 0, "the other takes mail as it was");
    let after = waiting(&second);
    assert!(after.len() >= before.len(), "{} of {} groups are there", after.len(), before.len());
    for (row, whose) in &after {
        let Group { attempts, .. } = row.seen.group;
        // The ways to the other node that failed count as well.
        assert!((2..40).contains(&attempts), "{attempts} attempts");
        assert_eq!(whose[..2], ["shop", "first"], "the other's rules have no say");
    }
    let (first, last) = lives(&after);
    assert!(first + 2 >= soonest && last <= latest + 2, "{soonest} to {latest} became {first} to {last}");
    sink.defer.set(false);
    retry(&second);
    let empty = run_until_true(&world, Duration::from_secs(600), || second.sum(|of| &of.spool_messages) == 0);
    assert!(empty, "{} messages are left there", second.sum(|of| &of.spool_messages));
    check(&client, &sink, kills * OF_A_KILL + client.unsure.get() + sink.unsure.get());
    relay.drain();
    second.drain();
}

#[test]
fn mail_goes_on_at_another_node_as_it_stood() {
    story(6, |seed| taken_over(seed, None));
}

/// Plants a defect: one of these stories must fail.
pub fn is_found(defect: Defect) {
    let play = if defect == Defect::DrainTakesMail { emptied } else { taken_over };
    let told = |seed| std::panic::catch_unwind(|| play(seed, Some(defect)));
    assert!((1..=6).any(|seed| told(seed).is_err()), "{defect:?}: not found in 6 stories");
}
