//! One shard: the stages a message passes on its core, in order. Each stage is a verb and a file.
//!
//! This is the only place where the pure core meets the runtime. Shard state lives in cells that are borrowed between awaits
//! only: no borrow is ever held across one.

pub mod start;

pub mod inbound;
pub mod store;
pub mod outbound;

pub mod message;
pub mod counts;
pub mod mesh;
pub mod inbox;
pub mod tick;
pub mod assignment;
pub mod wire;
mod records;
pub mod timers;
pub mod promise;
pub mod background;
pub mod memory;
mod turns;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::{Config, Particulars};
use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::envelope::Envelopes;
use crate::observe::Instruments;
use crate::observe::accounting::Journal;
use crate::observe::diagnostics::Level;
use crate::observe::latency::Latencies;
use crate::observe::room::Shut;
use crate::policy::failures::Failures;
use crate::policy::tls;
use crate::queue::destinations::{Destinations, DomainKey, SiteKey};
use crate::queue::{Clock, Group};
use crate::runtime::{Defect, Runtime, SegmentMap};
use crate::smtp::server::{Gate, NotStored};
use crate::time::UnixMillis;

use inbound::logins::Logins;
use memory::Memory;
use mesh::Mesh;
use message::Job;
use outbound::resolve::Resolver;
use outbound::site::Site;
use promise::Promises;
use store::writer::Keeper;
use timers::Timers;

/// All of one shard. Shared by its tasks, never by threads.
pub struct Shard<R: Runtime> {
    /// Its number.
    pub index: usize,
    /// The machine.
    pub runtime: R,
    /// Deadlines and delays.
    pub timers: Timers,
    /// The configuration.
    pub settings: Arc<Config>,
    /// What it says of this shard.
    pub particulars: Particulars,
    /// The other shards.
    pub mesh: Arc<Mesh>,
    /// What control reads.
    pub instruments: Arc<Instruments>,
    /// Times not yet published.
    pub latencies: RefCell<Latencies>,
    /// Refusals that may still be recorded.
    pub(self) allowance: inbound::allowance::Allowance,
    /// Accounting.
    pub journal: RefCell<Journal>,
    /// Where domains lead.
    pub resolver: Resolver<R>,
    /// TLS towards next hops.
    pub tls_client: tls::Client,
    /// Where that broke of late.
    pub tls_failures: RefCell<Failures>,
    /// Hosts that were too busy when TLS was up, or asked for.
    pub tls_loads: RefCell<Failures>,
    /// Hosts that took no message of late.
    pub hop_failures: RefCell<Failures>,
    /// Hosts that hang up on EHLO and know HELO.
    pub ehlo_failures: RefCell<Failures>,
    /// Hosts that lose commands which are sent together, though they offer PIPELINING.
    pub pipelining_failures: RefCell<Failures>,
    /// Accounts that may relay.
    pub accounts: Option<Arc<Logins>>,
    checks: inbound::logins::Checks,
    /// Client connections open now.
    pub inbound: Cell<usize>,
    /// Connections to next hops open now.
    pub outbound: Cell<usize>,
    /// Outcomes whose message is being read, for the accounting or for a bounce.
    pub settling: Cell<usize>,
    /// Bytes of bodies in memory.
    pub gathered: Cell<usize>,
    /// All that clients make this shard keep, these bodies included.
    pub memory: Memory,
    /// What their sessions hold beside that.
    pub session_memory: Memory,
    /// Memory for the next messages.
    pub envelopes: Envelopes,
    pub(self) bodies: RefCell<Vec<Vec<u8>>>,
    pub(self) promises: Promises<Result<Durable<MessageId>, NotStored>>,
    /// The node stops.
    pub draining: Cell<bool>,
    /// The one receive buffer; borrowed between awaits only.
    pub scratch: RefCell<Box<[u8]>>,
    /// Lanes this shard writes; its own first.
    keepers: RefCell<Vec<Rc<Keeper<R>>>>,
    /// What the queues wait by.
    pub clock: Clock,
    /// How far the wall clock was ahead of that when it was last compared, milliseconds.
    wall_ahead: Cell<i64>,
    /// The queues.
    pub destinations: RefCell<Destinations>,
    /// Sites of the queues.
    pub sites: RefCell<HashMap<SiteKey, Rc<Site>>>,
    /// Sites that found no free connection slot.
    pub refused: RefCell<VecDeque<SiteKey>>,
    /// How many of them were not asked yet since a slot may be free.
    pub refused_left: Cell<usize>,
    /// What is done between all else.
    pub background: background::Background,
    /// Sites with connections that have nothing to do.
    pub resting: RefCell<BTreeMap<SiteKey, Rc<Site>>>,
    /// What waits to be told, or given up.
    tending: outbound::state::Tending,
    /// Domains it resolves.
    pub asking: outbound::state::Asking,
    /// Connections that have carried nothing yet.
    pub openings: Rc<outbound::opening::Openings>,
    /// Connections that are to be opened.
    pub(self) begun: RefCell<VecDeque<outbound::opening::Begun>>,
    /// Addresses it is connected to, and who waits for one.
    pub addresses: Rc<outbound::address::Addresses>,
    /// Where it is looked next for domains that are asked for again while their mail goes on.
    pub(self) busy_looked: Cell<usize>,
    /// Others want slots that idle connections here hold.
    pub asked: Cell<bool>,
    /// Handoffs that found no room.
    pub backlog: RefCell<outbound::state::Backlog>,
    /// Work lent and borrowed.
    pub lending: outbound::state::Lending,
    /// How long tasks kept it.
    turns: turns::Turns,
    /// Copies of the maps, by lane and slot.
    maps: RefCell<Vec<Vec<Option<SegmentMap>>>>,
}

impl<R: Runtime> Shard<R> {
    /// The lane new mail goes to.
    pub(self) fn own(&self) -> Rc<Keeper<R>> {
        self.keepers.borrow()[0].clone()
    }

    /// A lane this shard writes.
    pub(self) fn keeper(&self, lane: u16) -> Rc<Keeper<R>> {
        self.keepers.borrow()[self.mesh.assignment().place(lane)].clone()
    }

    /// Memory for a body.
    pub(self) fn body_buffer(&self) -> Vec<u8> {
        self.bodies.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives it back. One that grew large goes to the system.
    pub(self) fn give_body(&self, mut body: Vec<u8>) {
        let mut bodies = self.bodies.borrow_mut();
        let capacity = body.capacity();
        if capacity > 0 && capacity <= limits::SPARE_BODY_MAX && bodies.len() < limits::SPARE_BUFFERS {
            body.clear();
            bodies.push(body);
        }
    }

    /// The time of the queues' clock.
    pub(self) fn seconds(&self) -> u32 {
        if self.runtime.planted(Defect::WaitByWallClock) {
            return self.runtime.wall().seconds();
        }
        self.clock.read(self.runtime.now()).seconds()
    }

    /// The same, rounded up: what a wait is counted from that must not end early.
    pub(self) fn seconds_up(&self) -> u32 {
        if self.runtime.planted(Defect::WaitByWallClock) {
            return self.runtime.wall().seconds_up();
        }
        self.clock.read(self.runtime.now()).seconds_up()
    }

    /// The wall-clock time of a point of the queues' clock.
    pub(self) fn wall_of(&self, at: u32) -> UnixMillis {
        self.clock.to_wall(at, self.runtime.now(), self.runtime.wall())
    }

    /// So many bytes of a body more are in memory.
    pub(self) fn gather(&self, bytes: usize) {
        self.gathered.set(self.gathered.get() + bytes);
        self.memory.hold(self.mesh.memory(), bytes);
    }

    /// So many less.
    pub(self) fn ungather(&self, bytes: usize) {
        self.gathered.set(self.gathered.get().saturating_sub(bytes));
        self.memory.release(self.mesh.memory(), bytes);
    }

    /// A word to the operator.
    #[track_caller]
    pub(self) fn say(&self, level: Level, words: std::fmt::Arguments<'_>) {
        self.instruments.diagnostics.say(self.runtime.wall(), level, words);
    }

    fn wake_keepers(&self) {
        for keeper in self.keepers.borrow().iter() {
            keeper.wake();
        }
    }

    /// A job of this shard's own queues.
    pub(self) fn own_job(&self, domain: DomainKey, group: Group) -> Job {
        Job { home: self.index as u16, domain, group }
    }

    /// The map of a segment. Maps are never replaced: a slot's file stays the same for the life of the process.
    pub fn map(&self, lane: u16, slot: u16) -> Option<SegmentMap> {
        let (lane_at, slot_at) = (usize::from(lane), usize::from(slot));
        if let Some(Some(map)) = self.maps.borrow().get(lane_at).and_then(|slots| slots.get(slot_at)) {
            return Some(map.clone());
        }
        let map = self.mesh.map(lane, slot)?;
        let mut maps = self.maps.borrow_mut();
        let slots = maps.get_mut(lane_at)?;
        if slots.len() <= slot_at {
            slots.resize(slot_at + 1, None);
        }
        slots[slot_at] = Some(map.clone());
        Some(map)
    }

    /// Whether new mail may come in.
    pub fn gate(&self) -> Gate {
        let keeper = self.own();
        let lane = keeper.lane.borrow();
        if self.draining.get() {
            // A client that never pauses is never idle; without this it would keep the node from stopping.
            Gate::Closing
        } else if !lane.may_accept() {
            Gate::NoSpace
        } else if lane.messages().max(self.destinations.borrow().queued()) >= limits::QUEUED_RECIPIENTS_MAX
            || self.backlog.borrow().len() >= limits::QUEUED_RECIPIENTS_MAX / 4
        {
            Gate::QueueFull
        } else {
            Gate::Open
        }
    }

    /// Levels, times and counts that are kept elsewhere, for control to read.
    pub fn publish(&self) {
        let counters = &self.instruments.counters;
        counters.connections_inbound.set(self.inbound.get() as u64);
        counters.connections_outbound.set(self.outbound.get() as u64);
        counters.queued_recipients.set(self.destinations.borrow().queued() as u64);
        counters.panics.set(self.runtime.panics());
        counters.accounting_dropped.set(self.journal.borrow().dropped());
        let sessions = self.session_memory.held();
        counters.client_memory.set((self.memory.held() + sessions) as u64);
        counters.session_memory.set(sessions as u64);
        counters.tls_put_off.set(self.session_memory.is_full(self.mesh.session_memory()).into());
        let (waiting, resolving) = self.asking.levels();
        counters.domains_waiting.set(waiting as u64);
        counters.domains_resolving.set(resolving as u64);
        counters.bodies_gathered.set(self.gathered.get() as u64);
        counters.credits_out.set(self.destinations.borrow().credits_out(self.mesh.credits()).into());
        let (mut messages, mut segments, mut free, mut live) = (0, 0, 0, 0);
        for keeper in self.keepers.borrow().iter() {
            let lane = keeper.lane.borrow();
            messages += lane.messages();
            segments += lane.segments().0;
            free += lane.segments().1;
            live += lane.live_bytes();
        }
        counters.spool_messages.set(messages as u64);
        counters.spool_segments.set(segments as u64);
        counters.spool_segments_free.set(free as u64);
        counters.spool_bytes_live.set(live);
        counters.longest_turn_microseconds.set(self.turns.longest(&self.runtime).as_micros() as u64);
        if self.index == 0 {
            counters.hashes_waiting.set(self.runtime.computing_later() as u64);
        }
        let gate = self.gate();
        counters.spool_open.set(u64::from(gate == Gate::Open));
        self.publish_room(gate);
        self.latencies.borrow_mut().publish(&self.instruments.latencies);
    }

    /// Whether mail is taken, and what that would need, for control to say.
    fn publish_room(&self, gate: Gate) {
        let (keeper, room) = (self.own(), &self.instruments.room);
        let lane = keeper.lane.borrow();
        room.lane.set(lane.number().into());
        room.wanted.set(self.settings.spool.segment_size);
        room.bytes.set(lane.bytes());
        room.memory_max.set(self.mesh.memory().most() as u64);
        room.set(match gate {
            Gate::NoSpace if lane.is_bounded() => Shut::SizeMax,
            Gate::NoSpace => Shut::NoSegment,
            Gate::QueueFull => Shut::QueueFull,
            Gate::Open if self.memory.is_full(self.mesh.memory()) => Shut::NoMemory,
            // The others are of one session, or pass at once.
            Gate::Open | Gate::Closing | Gate::NoMemory | Gate::Aged => Shut::No,
        });
    }

    /// Nothing is in flight: every attempt is settled and every record is on disk.
    fn is_quiet(&self) -> bool {
        self.outbound.get() == 0
            && self.settling.get() == 0
            && self.keepers.borrow().iter().all(|keeper| keeper.is_quiet())
    }
}
