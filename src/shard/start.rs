//! A shard's life: read its lanes, wait for the others, serve, drain.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam::channel::Sender;

use crate::config::value::show_size;
use crate::config::{Boot, Particulars};
use crate::id::{Location, MessageId};
use crate::limits;
use crate::observe::Instruments;
use crate::observe::accounting::EventQueue;
use crate::observe::diagnostics::Level;
use crate::observe::event::Encoder;
use crate::observe::journaled::Readers;
use crate::policy::tls;
use crate::runtime::{Defect, Runtime, Segment};
use crate::shard::Shard;
use crate::shard::answer;
use crate::shard::ask::Answering;
use crate::shard::handed::Handed;
use crate::shard::inbound::state::Inbound;
use crate::shard::live::{InForce, LiveConfig, Swap};
use crate::shard::mesh::Mesh;
use crate::shard::outbound::handoff;
use crate::shard::outbound::state::Outbound;
use crate::shard::pace::Pace;
use crate::shard::progress::Times;
use crate::shard::say::Say;
use crate::shard::store::load::{self, StoredRecord};
use crate::shard::store::state::Store;
use crate::shard::store::writer::LaneWriter;
use crate::shard::store::{compact, persist};
use crate::shard::suppression::SuppressionView;
use crate::shard::suspend;
use crate::shard::tell;
use crate::shard::timers::Timers;
use crate::shard::trace::TraceDesk;
use crate::shard::turns::Turns;
use crate::shard::{inbox, swap, tick};
use crate::smtp::server::Intake;
use crate::spool::allot;
use crate::spool::fold::{self, Damage, Files, Folded};
use crate::spool::index::Entry;
use crate::spool::lane::Shape;
use crate::spool::layout::{self, lane_directory, segment_path};
use crate::spool::segment::LaneOrigin;
use crate::spool::since::Since;
use crate::time::Instant;

mod error;

pub use error::StartError;
pub(crate) use error::unopened;

/// What a shard is given.
#[derive(Clone)]
pub struct ShardSetup {
    /// Its number.
    pub index: usize,
    /// What is read once, at the start.
    pub boot: Arc<Boot>,
    /// All else that the configuration says.
    pub live: Arc<LiveConfig>,
    /// What it says of this shard.
    pub particulars: Particulars,
    /// The node's id, which every segment carries.
    pub node: u64,
    /// Where adopted lanes were created; their segments say so.
    pub origins: Arc<BTreeMap<u16, LaneOrigin>>,
    /// The other shards.
    pub mesh: Arc<Mesh>,
    /// What control reads.
    pub instruments: Arc<Instruments>,
    /// TLS towards next hops.
    pub tls_client: tls::Client,
    /// Where it says how far it is.
    pub reports: Sender<Report>,
}

/// How far a shard is.
#[derive(Debug)]
pub enum Report {
    /// This lane is not as it was written.
    Damaged {
        /// Its number.
        lane: u16,
        /// What is wrong.
        damage: Vec<Damage>,
        /// Messages of a last commit that was dropped.
        dropped: Vec<MessageId>,
    },
    /// Its lanes are read: so many live messages.
    Read(usize),
    /// Its listeners are open.
    Listening,
    /// It cannot start.
    Failed(StartError),
}

/// Runs a shard from its start to the end of its drain.
pub async fn run<R: Runtime>(runtime: R, setup: ShardSetup) -> io::Result<()> {
    let reports = setup.reports.clone();
    let shard = match open(runtime, &setup) {
        Ok(shard) => shard,
        Err(error) => return Err(failed(&reports, error)),
    };
    let found = shard.store.writers.iter().map(|writer| writer.lane().messages()).sum();
    let _ = reports.send(Report::Read(found));
    // The bell has one listener for life, the inbox; here a look now and then is enough.
    while !setup.mesh.is_open() && !setup.mesh.stopping() {
        shard.runtime.sleep_until(shard.runtime.now() + limits::OPENED_LOOK).await;
    }
    if setup.mesh.stopping() {
        return Ok(());
    }
    tick::learn_own_addresses(shard.clone()).await;
    allot(&shard);
    serve(&shard);
    await_segments(&shard).await;
    // What was published before may say that there is no room.
    shard.publish();
    match swap::open(&shard) {
        Ok(()) => {
            let _ = reports.send(Report::Listening);
        }
        Err(error) => return Err(failed(&reports, StartError::Listen(error))),
    }
    drain(&shard).await;
    Ok(())
}

/// Tells the node, in whose words the operator hears of it.
fn failed(reports: &Sender<Report>, error: StartError) -> io::Error {
    let words = error.to_string();
    let _ = reports.send(Report::Failed(error));
    io::Error::other(words)
}

/// How large its lanes may grow. All lanes are read now, and none grows before all shards know.
fn allot<R: Runtime>(shard: &Shard<R>) {
    let most = shard.boot.spool.size_max;
    if most == 0 {
        return;
    }
    let there = shard.mesh.lane_bytes();
    let shares = allot::allot(most, shard.mesh.shards(), &there);
    for writer in shard.store.writers.iter() {
        let mut lane = writer.lane_mut();
        let share = shares[usize::from(lane.number())];
        lane.limit(share);
        let (least, aside) = lane.bytes_least();
        if aside > 0 && least > share {
            shard.say(
                Level::Warning,
                format_args!(
                    "lane {} needs {}, and spool.size_max leaves it {}: {} of that are damaged files; copy what `relevo spool verify` names of \
                     them, and raise spool.size_max",
                    lane.number(),
                    show_size(least),
                    show_size(share),
                    show_size(aside)
                ),
            );
        }
    }
}

/// Starts the tasks a shard cannot live without.
pub(super) fn serve<R: Runtime>(shard: &Rc<Shard<R>>) {
    let runtime = &shard.runtime;
    runtime.spawn_vital("timers", shard.timers.clone().run(runtime.clone()));
    for writer in shard.store.writers.iter() {
        runtime.spawn_vital("lane writer", persist::persist(shard.clone(), writer.clone()));
        runtime.spawn_vital("replay", replay(shard.clone(), writer.clone()));
        runtime.spawn_vital("compactor", compact::compact(shard.clone(), writer.clone()));
    }
    // Before anything of it is tried.
    suspend::hear(shard);
    runtime.spawn_vital("inbox", inbox::exchange(shard.clone()));
    runtime.spawn_vital("dispatcher", tick::tick(shard.clone()));
    runtime.spawn_vital("answers", answer::answer(shard.clone()));
}

/// Waits until there are segments to take mail into and lanes write, within a bound: without them every client would get 452, and mail that was found
/// would be in no queue. The second segment counts too, for the first message opens the first.
pub(super) async fn await_segments<R: Runtime>(shard: &Rc<Shard<R>>) {
    let give_up = shard.runtime.now() + limits::FIRST_SEGMENTS_WAIT;
    let writers = &shard.store.writers;
    let is_ready = || shard.own().lane().is_stocked() && writers.iter().all(|writer| writer.is_retold());
    while !is_ready() && shard.runtime.now() < give_up && !shard.mesh.stopping() {
        shard.runtime.sleep_until(shard.runtime.now() + limits::READY_LOOK).await;
    }
    // Whoever asks at once what waits is not told of half a queue, unless it is a large one.
    let give_up = shard.runtime.now() + limits::REPLAY_WAIT;
    let is_queued = || writers.iter().all(|writer| writer.is_replayed() || !writer.is_retold());
    while !is_queued() && shard.runtime.now() < give_up && !shard.mesh.stopping() {
        shard.runtime.sleep_until(shard.runtime.now() + limits::RETOLD_LOOK).await;
    }
}

/// Messages found at start go to their queues, a few at a time.
async fn replay<R: Runtime>(shard: Rc<Shard<R>>, writer: Rc<LaneWriter<R>>) {
    let lane = writer.lane().number();
    // Places as they are now: outcomes will name them, wherever the messages move meanwhile.
    let found: Vec<(u32, Location)> = writer
        .lane()
        .entries()
        .map(|(key, entry)| (key, Location { lane, slot: entry.slot, offset: entry.offset }))
        .collect();
    // Not before the lane writes again: what became of it could not be recorded, and a kill would repeat it all; and nothing that becomes of it
    // is told before what is told again.
    while !writer.is_retold() {
        if shard.draining.get() {
            return;
        }
        shard.runtime.sleep_until(shard.runtime.now() + limits::RETOLD_LOOK).await;
    }
    for (key, location) in &found {
        let read = StoredRecord::read_now(&shard, shard.mesh.places(lane).now(*key, *location));
        let queued = read.and_then(|source| {
            handoff::recovered(&shard, *location, *key, &source.view()?);
            Ok(())
        });
        if let Err(error) = queued {
            load::report_unreadable(
                &shard,
                writer.lane().id(*key),
                *location,
                &format!("cannot be read: {error}; it stays in the spool"),
            );
        }
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
        // The spool holds it in less room than a queue on the way to another shard that is busy with the same.
        while shard.outbound.backlog.borrow().len() >= limits::HANDOFF_INBOX {
            if shard.draining.get() {
                // The next start finds it again.
                return;
            }
            shard.timers.sleep_until(shard.runtime.now() + limits::RETOLD_LOOK).await;
        }
    }
    writer.set_replayed();
}

/// Reads the lanes and builds the shard.
pub(super) fn open<R: Runtime>(runtime: R, setup: &ShardSetup) -> Result<Rc<Shard<R>>, StartError> {
    let live = InForce::new(setup.live.clone());
    let mesh = setup.mesh.clone();
    mesh.cluster.desk().into_iter().for_each(|desk| live.tenant_rates.share_with_nodes(desk));
    let mut writers = Vec::new();
    for lane in mesh.assignment().kept(setup.index) {
        writers.push(Rc::new(open_lane(&runtime, setup, lane)?));
    }
    let timers = Timers::new();
    let (wall, now) = (runtime.wall(), runtime.now());
    let clock = mesh.clock(wall, now);
    let outbound = Outbound::new(
        &runtime,
        &timers,
        (&setup.boot, &setup.particulars),
        live.clone(),
        (&mesh, setup.index),
        setup.tls_client.clone(),
    );
    let say = Say {
        gate: Cell::new(Intake::Open),
        events: RefCell::new(EventQueue::new(
            setup.instruments.chunks.clone(),
            Encoder::new(setup.node, wall, &setup.index.to_string()),
            setup.instruments.readers.clone(),
        )),
        handed: Handed::default(),
        latencies: RefCell::default(),
        turns: Turns::default(),
        answering: Answering::default(),
        trace: TraceDesk::default(),
        dialogues: RefCell::default(),
        pace: Pace::default(),
        wall_ahead: Cell::new(clock.wall_ahead(now, wall)),
        addressless: RefCell::default(),
    };
    Ok(Rc::new(Shard {
        index: setup.index,
        runtime,
        timers,
        clock,
        boot: setup.boot.clone(),
        live: Swap::new(live),
        particulars: setup.particulars.clone(),
        instruments: setup.instruments.clone(),
        scratch: RefCell::new(vec![0; limits::SCRATCH].into_boxed_slice()),
        draining: Cell::new(false),
        suppression: SuppressionView::new(mesh.suppression()),
        inbound: Inbound::default(),
        store: Store::new(writers, mesh.lanes()),
        outbound,
        say,
        mesh,
    }))
}

/// The open files of a lane while it is folded.
struct OpenFiles<'a, R: Runtime> {
    runtime: &'a R,
    segments: Vec<Option<R::Segment>>,
}

impl<R: Runtime> Files for OpenFiles<'_, R> {
    fn slots(&self) -> Vec<(u16, u64)> {
        let segments = self.segments.iter().enumerate();
        segments.filter_map(|(slot, file)| Some((slot as u16, file.as_ref()?.map().len() as u64))).collect()
    }

    fn read(&self, slot: u16, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let segment = self.segments.get(usize::from(slot)).and_then(Option::as_ref);
        self.runtime.read_now(segment.ok_or(io::ErrorKind::NotFound)?.map(), offset, length)
    }
}

fn open_lane<R: Runtime>(runtime: &R, setup: &ShardSetup, lane: u16) -> Result<LaneWriter<R>, StartError> {
    let spool = &setup.boot.spool;
    let directory = lane_directory(&setup.boot.node.data_dir, lane);
    let fail = |error| StartError::Lane(directory.clone(), error);
    runtime.create_directory(&directory).map_err(fail)?;
    let mut segments: Vec<Option<R::Segment>> = Vec::new();
    for slot in layout::segments(&runtime.list(&directory).map_err(fail)?) {
        let path = segment_path(&directory, slot);
        if segments.len() <= usize::from(slot) {
            segments.resize(usize::from(slot) + 1, None);
        }
        // Without one of its segments a lane would forget mail, and what became of other mail.
        let segment = runtime.open_segment(&path).map_err(|error| StartError::Unopened(path, error))?;
        setup.mesh.publish_map(lane, slot, segment.map().clone());
        segments[usize::from(slot)] = Some(segment);
    }
    let shape = Shape {
        lane,
        origin: setup.origins.get(&lane).copied().unwrap_or(LaneOrigin { node: setup.node, lane }),
        segment_size: spool.segment_size,
        segments_max: limits::SEGMENTS_MAX,
    };
    let files = OpenFiles { runtime, segments };
    let journaled =
        if let Readers::Journal(journaled) = &setup.instruments.readers { Some(journaled) } else { None };
    let origin = shape.origin.number();
    let known = journaled.and_then(|journaled| journaled.of(lane));
    let most = (limits::RECORDED_SINCE_MAX / setup.mesh.lanes().max(1)).max(limits::RECORDED_SINCE_LEAST);
    let folded = fold::fold_since(shape, &files, known, most);
    let mut folded = folded.map_err(|refusal| StartError::Refused(directory.clone(), refusal))?;
    if let Some(journaled) = journaled {
        let end = folded.lane.position();
        let known = journaled.opened(lane, origin, end);
        if known.is_none() {
            // Of another lane than this. What this one recorded nobody asked to be told.
            folded.since = Since::default();
        }
        folded.lane.set_journaled(known.unwrap_or(end));
    }
    if runtime.planted(Defect::AboutForgotten) {
        folded.lane.plant_forgetful();
    }
    report(runtime, setup, lane, &folded);
    let found = (folded.unsure, folded.since);
    Ok(LaneWriter::new(folded.lane, directory, spool.segment_size, files.segments, found))
}

/// What recovery found, for the operator.
fn report<R: Runtime>(runtime: &R, setup: &ShardSetup, lane: u16, folded: &Folded) {
    let say = |level, words: std::fmt::Arguments<'_>| {
        setup.instruments.diagnostics.say(runtime.wall(), level, words);
    };
    for damage in &folded.damage {
        say(Level::Error, format_args!("lane {lane}: {damage}"));
    }
    if folded.torn > 0 {
        let names: Vec<String> = folded.torn_messages.iter().map(ToString::to_string).collect();
        say(
            Level::Warning,
            format_args!(
                "lane {lane}: the last commit is not whole and was dropped; a stop in the middle of it leaves that, and then no \
             client had its answer; so does a damaged disk; messages in it: {}",
                if names.is_empty() { "none that can be told".to_owned() } else { names.join(" ") }
            ),
        );
    }
    if !folded.damage.is_empty() || folded.torn > 0 {
        let (damage, dropped) = (folded.damage.clone(), folded.torn_messages.clone());
        let _ = setup.reports.send(Report::Damaged { lane, damage, dropped });
    }
    let repeats = if folded.clean { 0 } else { repeats(folded, setup.mesh.credits() as usize) };
    if repeats > 0 {
        say(
            Level::Warning,
            format_args!(
                "lane {lane}: unclean shutdown: up to {repeats} recipients may have been delivered twice"
            ),
        );
    }
}

/// Recipients whose delivery may have been under way: each attempt takes a credit, and is of one message.
fn repeats(folded: &Folded, credits: usize) -> u64 {
    let live = |entry: &Entry| entry.live().iter().map(|range| u64::from(range.count)).sum();
    let mut counts: Vec<u64> = folded.lane.entries().map(|(_, entry)| live(entry)).collect();
    if counts.len() > credits {
        counts.select_nth_unstable_by(credits, |one, other| other.cmp(one));
        counts.truncate(credits);
    }
    counts.iter().sum()
}

/// Waits for the order to stop, then until nothing is in flight, or for [`limits::DRAIN_MAX`]; where clients wait for another process, for less.
async fn drain<R: Runtime>(shard: &Rc<Shard<R>>) {
    while !shard.draining.get() {
        shard.timers.sleep_until(shard.runtime.now() + limits::STOP_ASKED_LOOK).await;
    }
    let hands_over = shard.mesh.stages().hands_over();
    let most = if hands_over { limits::UPGRADE_DRAIN } else { limits::DRAIN_MAX };
    let began = shard.runtime.now();
    let give_up = began + most;
    while shard.runtime.now() < give_up {
        // What this shard received is told before what others say of it, which they say when all are quiet.
        shard.say.events.borrow_mut().flush();
        // Sessions that became idle meanwhile, and connections to next hops that wait for work.
        shard.timers.expire_idle();
        if shard.runtime.now() >= began + limits::STOP_PAUSE {
            shard.timers.expire_paused();
        }
        if shard.runtime.now() + limits::STOP_PARTIAL >= give_up {
            shard.timers.expire_partial();
        }
        shard.wake_writers();
        shard.mesh.set_quiet(shard.index, shard.inbound.connections.get() == 0 && shard.is_quiet());
        // First that nobody sends any more, then that nothing sent is left: in this order nothing slips through.
        if shard.mesh.all_quiet() && shard.mesh.has_no_messages(shard.index) && shard.is_quiet() {
            break;
        }
        shard.timers.sleep_until(shard.runtime.now() + limits::STOP_ASKED_LOOK / 4).await;
    }
    let writers = shard.store.writers.clone();
    if shard.is_quiet() {
        writers.iter().for_each(|writer| writer.close());
    }
    while !writers.iter().all(|writer| writer.is_closed()) && shard.runtime.now() < give_up {
        shard.timers.sleep_until(shard.runtime.now() + limits::CLOSED_LOOK).await;
        shard.wake_writers();
    }
    tell_the_rest(shard, give_up).await;
    shard.publish();
}

/// All that this shard told is passed on, and vouched for: then the next start tells nothing again.
async fn tell_the_rest<R: Runtime>(shard: &Rc<Shard<R>>, give_up: Instant) {
    if shard.say.events.borrow().kept().is_none() {
        shard.say.events.borrow_mut().end();
        return;
    }
    loop {
        tell::turn(shard);
        if shard.say.events.borrow().is_done() && shard.is_quiet() {
            // The others need not wait for more.
            shard.mesh.progress().set(shard.index, Times::OVER);
            return;
        }
        if shard.runtime.now() >= give_up {
            return;
        }
        shard.timers.sleep_until(shard.runtime.now() + limits::CLOSED_LOOK).await;
    }
}
