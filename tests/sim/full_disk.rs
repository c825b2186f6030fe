//! A disk that mail fills, with the journal of events on it: that finds room, so that all leaves when the hop comes back.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use relevo::limits;
use relevo::observe::Instruments;
use relevo::observe::accounting::Room;
use relevo::observe::journaled::{Journaled, Readers};
use relevo::runtime::files;
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use relevo::shard::mesh::MeshLimits;
use relevo::time::Instant;

use super::peers::{Client, Sink};
use super::relay::{Launch, Relay, configuration, run_until_true};
use super::{check, story};

const NODE: u32 = 1;
const SEGMENT: u64 = 4 << 20;
/// Room for six segments, and little beside them.
const DISK: u64 = 6 * SEGMENT + (700 << 10);
/// Small enough that a journal without room stops deliveries within minutes.
const ROOM: Room = Room { chunk: 2_000, queue: 6, held: 20_000 };

/// Control's side of it: what it writes takes room, which it gives back a segment at a time, when that is read.
struct Journal<'a> {
    world: &'a World,
    journaled: Arc<Journaled>,
    there: Cell<u64>,
    written: Cell<u64>,
}

impl Journal<'_> {
    fn take(&self, instruments: &Instruments) {
        let segments = self.world.shard(NODE, 998).list("/spool/lane-000".as_ref());
        let spool = segments.map_or(0, |segments| segments.len() as u64) * SEGMENT;
        // What may come in one piece: nothing is put back.
        while spool + self.there.get() + 100_000 < DISK {
            let Some(chunk) = instruments.chunks.take() else { break };
            self.written.set(self.written.get() + chunk.lines.len() as u64);
            self.there.set(self.there.get() + chunk.lines.len() as u64);
            chunk.recorded.into_iter().for_each(|recorded| self.journaled.publish(recorded));
            instruments.chunks.give_back(chunk.lines);
            let segment = files::spare_of(DISK) / 4;
            if self.there.get() > 2 * segment {
                self.there.set(self.there.get() - segment);
            }
        }
        let mut disk = self.world.disk_faults(NODE);
        (disk.quota, disk.others) = (Some(DISK), self.there.get());
    }
}

#[test]
fn a_disk_full_of_mail_has_room_for_what_becomes_of_it() {
    story(2, |seed| fill_and_drain(seed, None));
}

/// Plants a defect in that story, which must fail.
pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| fill_and_drain(seed, Some(defect)));
    assert!((1..=3).any(|seed| told(seed).is_err()), "{defect:?}: not found in 3 stories");
}

fn fill_and_drain(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    sink.defer.set(true);
    let journaled = Arc::new(Journaled::new(1, |_| None));
    let instruments = Instruments::with_room(1, &Readers::Journal(journaled.clone()), ROOM);
    let journal = Journal { world: &world, journaled, there: Cell::new(0), written: Cell::new(0) };
    world.disk_faults(NODE).quota = Some(DISK);
    let configuration = &configuration("[retry]\nfirst = \"2s\"\nmax = \"3s\"\n");
    let launch = Launch { node: NODE, shards: 1, lanes: 1, room: MeshLimits::of(1), configuration };
    let relay = Relay::launch_with(&world, &launch, instruments, &|of| journal.take(of));
    let relay = relay.expect("it starts");
    let until = |limit, done: &dyn Fn() -> bool| {
        run_until_true(&world, Duration::from_secs(limit), || {
            journal.take(&relay.instruments[0]);
            done()
        })
    };
    // More than the disk holds.
    let client = Client::start_bulk(&world, "10.0.0.1:25", 6, 300, 1);
    assert!(!until(60, &|| client.is_done()), "it was not full");
    let written = journal.written.get();
    assert!(written > files::spare_of(DISK), "{written} bytes were told while it was full");
    sink.defer.set(false);
    assert!(until(300, &|| client.is_done()), "{} were taken", client.acknowledged.borrow().len());
    assert!(until(120, &|| sink.received.borrow().len() >= 6 * 300), "they did not leave");
    assert!(journal.written.get() > written);
    check(&client, &sink, client.unsure.get());
}

/// A lane that is written fast gets its segments back when the journal has what they hold: meanwhile what is told is passed on more often than at
/// the ticks of its shard, so that fewer segments have to be made.
#[test]
fn while_a_segment_waits_for_the_journal_more_is_passed_on() {
    story(1, |seed| {
        let world = World::new(seed);
        let sink = Sink::start(&world, "10.0.0.2:25");
        let journaled = Arc::new(Journaled::new(1, |_| None));
        let instruments = Instruments::with_room(1, &Readers::Journal(journaled.clone()), Room::default());
        let passed = RefCell::new(VecDeque::new());
        let seconds = RefCell::new(BTreeMap::<u64, BTreeSet<Instant>>::new());
        // A journal on a busy disk: it is a while behind.
        let take = |of: &Instruments, behind: Duration| {
            let now = world.now();
            while let Some(chunk) = of.chunks.take() {
                if let Some(recorded) = chunk.recorded {
                    passed.borrow_mut().push_back((now, recorded));
                    let second = now.since(Instant::default()).as_secs();
                    seconds.borrow_mut().entry(second).or_default().insert(now);
                }
                of.chunks.give_back(chunk.lines);
            }
            let mut passed = passed.borrow_mut();
            while let Some((_, recorded)) = passed.pop_front_if(|(at, _)| now >= *at + behind) {
                journaled.publish(recorded);
            }
        };
        let configuration = &configuration("");
        let launch = Launch { node: NODE, shards: 1, lanes: 1, room: MeshLimits::of(1), configuration };
        let relay = Relay::launch_with(&world, &launch, instruments, &|of| take(of, Duration::ZERO));
        let relay = relay.expect("it starts");
        let run = |limit, done: &dyn Fn() -> bool| {
            run_until_true(&world, Duration::from_secs(limit), || {
                take(&relay.instruments[0], Duration::from_secs(5));
                done()
            })
        };
        // Some segments of mail, and then little, one after the other.
        let client = Client::start_bulk(&world, "10.0.0.1:25", 6, 20, usize::MAX);
        assert!(run(120, &|| sink.received.borrow().len() >= 6 * 20), "they did not leave");
        let others = Client::start(&world, "10.0.0.1:25", 1, 2500);
        assert!(run(120, &|| sink.received.borrow().len() >= 6 * 20 + 2500), "they did not leave");
        let most = seconds.take().values().map(BTreeSet::len).max().unwrap_or(0);
        let ticks = (Duration::from_secs(1).as_nanos() / limits::DISPATCH_TICK.as_nanos()) as usize;
        assert!(most > ticks + 1, "{most} times in a second");
        run(30, &|| false);
        seconds.take();
        run(5, &|| false);
        let most = seconds.take().values().map(BTreeSet::len).max().unwrap_or(0);
        assert!(most <= ticks + 1, "{most} times in a second, of which nothing waits");
        assert!(client.is_done() && others.is_done());
    });
}
