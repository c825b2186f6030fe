//! Mailboxes that are refused for good come on the suppression list, whatever a kill cuts off between the refusal, its event and the list; and who is on
//! it gets nothing more, also of what waits.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use relevo::config::SuppressionConfig;
use relevo::control::store::Store;
use relevo::control::suppression::{Keeper, feed};
use relevo::id::MessageId;
use relevo::names::ends::End;
use relevo::observe::Instruments;
use relevo::policy::suppression::entry::{Entry, Reason};
use relevo::policy::suppression::shared::Taken;
use relevo::runtime::Defect;
use relevo::runtime::sim::World;
use relevo::shard::mesh::MeshLimits;
use relevo::time::UnixMillis;

use super::day::dice::Dice;
use super::day::journal::Journal;
use super::peers::{Sink, hand_in_from};
use super::relay::{Launch, Relay, configuration, run_until_true};
use super::story;

const SHARDS: usize = 2;
const RECIPIENTS: usize = 60;

fn settings(on_match: &str) -> String {
    configuration(&format!(
        "[retry]\nfirst = \"2s\"\nmax = \"3s\"\n[suppression]\non_match = \"{on_match}\"\n"
    ))
}

fn address(number: usize) -> String {
    format!("old{number}@d{}.example", number % 5)
}

/// Those that an operator names while their mail waits.
fn is_named(number: usize) -> bool {
    number.is_multiple_of(6)
}

/// Control, as far as the list goes: what it wrote outlasts a kill, all else does not.
pub struct Control {
    directory: tempfile::TempDir,
    journal: Journal,
    lines: RefCell<Vec<u8>>,
    running: Option<(Store, Keeper)>,
    dice: Dice,
}

impl Control {
    pub fn new(seed: u64) -> Control {
        let directory = tempfile::tempdir().expect("a directory");
        let dice = Dice::new(seed, 77);
        Control { directory, journal: Journal::new(seed), lines: RefCell::default(), running: None, dice }
    }

    pub fn start<'a>(&mut self, world: &'a World, configuration: &str) -> Relay<'a> {
        self.running = None;
        let (mut store, words) = Store::open(self.directory.path());
        assert_eq!(words, None);
        let room = MeshLimits::of(SHARDS);
        let launch = Launch { node: 1, shards: SHARDS, lanes: SHARDS, room, configuration };
        let instruments = self.journal.instruments(SHARDS, SHARDS);
        let keeper = RefCell::new(None);
        let (directory, lines, journal) = (self.directory.path(), &self.lines, &self.journal);
        let relay = Relay::launch_prepared(
            world,
            &launch,
            (instruments, &|instruments| take(journal, lines, instruments)),
            |mesh| {
                let opened = Keeper::open(directory, &mut store, mesh.suppression(), [9; 16]);
                *keeper.borrow_mut() = Some(opened.expect("a list").0);
            },
        );
        self.running = keeper.into_inner().map(|keeper| (store, keeper));
        relay.expect("it starts")
    }

    /// Now and then what the journal has comes on the list.
    fn serve(&mut self, relay: &Relay<'_>, often: f64) {
        take(&self.journal, &self.lines, &relay.instruments[0]);
        if !self.dice.chance(often) {
            return;
        }
        let lines = self.lines.borrow();
        let Some((store, keeper)) = &mut self.running else { return };
        let from = store.event_place().expect("it is read").map_or(0, |place| place[1] as usize);
        let told = feed::read(&lines[from..]);
        let at = [1, lines.len() as u64, 0];
        feed::take(store, keeper, &SuppressionConfig::default(), (&told, at), UnixMillis(1))
            .expect("it is kept");
    }

    fn name(&mut self, numbers: impl Iterator<Item = usize>) {
        let Some((store, keeper)) = &mut self.running else { return };
        for address in numbers.map(address) {
            let (reason, added) = (Reason::Manual, UnixMillis(1));
            let entry = Entry { tenant: None, address: &address, reason, added, expires: None, note: "" };
            keeper.add(store, &[entry]).expect("it is kept");
        }
    }

    /// Now and then, and perhaps not on to the list.
    pub fn sometimes(&mut self, relay: &Relay<'_>) {
        if self.dice.chance(0.6) {
            self.serve(relay, 0.3);
        }
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.dice.below(most)
    }

    /// All that is told comes on the list.
    pub fn finish(&mut self, world: &World, relay: &Relay<'_>) {
        self.serve(relay, 1.0);
        world.run_for(Duration::from_secs(2));
        self.serve(relay, 1.0);
    }

    /// Recipients of messages that came, and the ids of these.
    pub fn ids(&self) -> BTreeMap<String, MessageId> {
        let of = |line: serde_json::Value| {
            let id = line["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
            (line["recipients"][0].as_str().expect("a recipient").to_owned(), id)
        };
        self.events("received").into_iter().map(of).collect()
    }

    pub fn events(&self, event: &str) -> Vec<serde_json::Value> {
        let lines = self.lines.borrow();
        let all = serde_json::Deserializer::from_slice(&lines).into_iter::<serde_json::Value>();
        all.map(|line| line.expect("JSON")).filter(|line| line["event"] == event).collect()
    }

    pub fn is_listed(&self, relay: &Relay<'_>, address: &str) -> bool {
        let domain_at = address.find('@').expect("one") + 1;
        Taken::new(relay.suppression()).list().find(address.as_bytes(), domain_at, None).is_some()
    }

    fn told(&self, event: &str) -> BTreeSet<String> {
        let lines = self.lines.borrow();
        let mut told = BTreeSet::new();
        for line in serde_json::Deserializer::from_slice(&lines).into_iter::<serde_json::Value>() {
            let line = line.expect("JSON");
            if line["event"] == event {
                told.extend(
                    line["recipients"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|one| one.as_str().map(str::to_owned)),
                );
            }
        }
        told
    }
}

fn take(journal: &Journal, lines: &RefCell<Vec<u8>>, instruments: &Instruments) {
    for line in journal.take(instruments) {
        lines.borrow_mut().extend_from_slice(format!("{line}\n").as_bytes());
    }
}

/// Runs the world with control beside it, until `done`; at most for so many tenths of a second.
pub fn run(
    world: &World,
    control: &mut Control,
    relay: &Relay<'_>,
    tenths: u64,
    done: impl Fn() -> bool,
) -> bool {
    for _ in 0..tenths {
        if done() {
            return true;
        }
        world.run_for(Duration::from_millis(100));
        control.serve(relay, 0.3);
    }
    done()
}

fn kills(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    sink.defer.set(true);
    let mut control = Control::new(seed);
    let drops = settings("drop");
    let mut relay = control.start(&world, &drops);
    hand_in_from(&world, (0, None), 0..RECIPIENTS, |number| vec![address(number)]);
    let deferred = || relay.sum(|of| &of.recipients_deferred) >= RECIPIENTS as u64;
    assert!(run(&world, &mut control, &relay, 300, deferred), "not all of it waits");
    control.name((0..RECIPIENTS).filter(|number| is_named(*number)));
    sink.defer.set(false);
    sink.refuse.set(true);
    for life in 0..6 {
        for _ in 0..control.dice.below(12) {
            world.run_for(Duration::from_millis(60 + seed * 7 + life * 11));
            // What was told may be in the journal and not on the list, or not even there.
            if control.dice.chance(0.6) {
                control.serve(&relay, 0.3);
            }
        }
        world.kill(1);
        drop(relay);
        relay = control.start(&world, &drops);
    }
    let empty = || relay.sum(|of| &of.spool_messages) == 0;
    assert!(run(&world, &mut control, &relay, 900, empty), "something stays in the spool");
    control.serve(&relay, 1.0);
    world.run_for(Duration::from_secs(2));
    control.serve(&relay, 1.0);
    let (bounced, suppressed) = (control.told("bounced"), control.told("suppressed"));
    for number in 0..RECIPIENTS {
        let ended = (bounced.contains(&address(number)), suppressed.contains(&address(number)));
        assert_eq!(ended, (!is_named(number), is_named(number)), "{}", address(number));
    }
    // From now on nobody is refused there: who was is on the list, and gets nothing.
    sink.refuse.set(false);
    hand_in_from(&world, (9, None), 0..RECIPIENTS, |number| vec![address(number)]);
    let all = || relay.sum(|of| of.ended(End::Suppressed)) >= RECIPIENTS as u64;
    run(&world, &mut control, &relay, 300, all);
    assert_eq!(*sink.received.borrow(), [""; 0], "who is on the list was sent mail");
    relay.drain();
}

#[test]
fn who_is_refused_for_good_gets_nothing_more() {
    story(6, |seed| kills(seed, None));
}

/// RCPT is refused, and nothing else of the session.
#[test]
fn who_is_listed_is_refused() {
    story(2, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let mut control = Control::new(seed);
        let relay = control.start(&world, &settings("reject"));
        control.name((0..RECIPIENTS).filter(|number| is_named(*number)));
        let listed = Taken::new(relay.suppression());
        let is_listed = |number| {
            let address: String = address(number);
            listed.list().find(address.as_bytes(), address.find('@').expect("one") + 1, None).is_some()
        };
        assert!((0..RECIPIENTS).all(|number| is_listed(number) == is_named(number)));
        let told = super::peers::rcpt(&world, address(6), address(7));
        assert!(run_until_true(&world, Duration::from_secs(20), || told.borrow().len() == 3));
        assert_eq!(*told.borrow(), ['5', '2', '2'], "refused, taken, and a message for who is left");
        relay.drain();
        assert!(!sink.received.borrow().is_empty());
    });
}

pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| kills(seed, Some(defect)));
    assert!((1..=6).any(|seed| told(seed).is_err()), "{defect:?}: not found in 6 stories");
}
