//! All that the tasks of one shard share.
//!
//! It lies in cells that are borrowed between awaits only: no borrow is ever held across one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::{Boot, Particulars};
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::observe::room::Shut;
use crate::queue::destinations::DomainKey;
use crate::queue::{Clock, Group};
use crate::runtime::{Defect, Runtime, SegmentMap};
use crate::shard::inbound::state::Inbound;
use crate::shard::live::Swap;
use crate::shard::mesh::Mesh;
use crate::shard::message::Job;
use crate::shard::outbound::state::Outbound;
use crate::shard::say::Say;
use crate::shard::store::state::Store;
use crate::shard::store::writer::LaneWriter;
use crate::shard::suppression::SuppressionView;
use crate::shard::timers::Timers;
use crate::smtp::server::Intake;
use crate::time::UnixMillis;

/// All of one shard. Shared by its tasks, never by threads.
pub struct Shard<R: Runtime> {
    /// Its number.
    pub(super) index: usize,
    /// The machine.
    pub(super) runtime: R,
    /// Deadlines and delays.
    pub(super) timers: Timers,
    /// What the queues wait by.
    pub(super) clock: Clock,
    /// What was read once, at the start.
    pub(super) boot: Arc<Boot>,
    /// All else that the configuration says.
    pub(super) live: Swap,
    /// What it says of this shard.
    pub(super) particulars: Particulars,
    /// The other shards.
    pub(super) mesh: Arc<Mesh>,
    /// What control reads.
    pub(super) instruments: Arc<Instruments>,
    /// The one receive buffer; borrowed between awaits only.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// The node stops.
    pub(super) draining: Cell<bool>,
    /// The suppression list.
    pub(super) suppression: SuppressionView,
    /// The way in.
    pub(super) inbound: Inbound,
    /// Its lanes.
    pub(super) store: Store<R>,
    /// The way out.
    pub(super) outbound: Outbound<R>,
    /// What it tells.
    pub(super) say: Say,
}

impl<R: Runtime> Shard<R> {
    /// The lane new mail goes to.
    pub(super) fn own(&self) -> Rc<LaneWriter<R>> {
        self.store.writers[0].clone()
    }

    /// A lane this shard writes.
    pub(super) fn writer(&self, lane: u16) -> Rc<LaneWriter<R>> {
        self.store.writers[self.mesh.assignment().place(lane)].clone()
    }

    /// Memory for a body.
    pub(super) fn body_buffer(&self) -> Vec<u8> {
        self.inbound.bodies.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives it back. One that grew large goes to the system.
    pub(super) fn give_body(&self, mut body: Vec<u8>) {
        let mut bodies = self.inbound.bodies.borrow_mut();
        let capacity = body.capacity();
        if capacity > 0 && capacity <= limits::SPARE_BODY_MAX && bodies.len() < limits::SPARE_BUFFERS {
            body.clear();
            bodies.push(body);
        }
    }

    /// The time of the queues' clock.
    pub(super) fn seconds(&self) -> u32 {
        if self.runtime.planted(Defect::WaitByWallClock) {
            return self.runtime.wall().seconds();
        }
        self.clock.read(self.runtime.now()).seconds()
    }

    /// The same, rounded up: what a wait is counted from that must not end early.
    pub(super) fn seconds_up(&self) -> u32 {
        if self.runtime.planted(Defect::WaitByWallClock) {
            return self.runtime.wall().seconds_up();
        }
        self.clock.read(self.runtime.now()).seconds_up()
    }

    /// The wall-clock time of a point of the queues' clock.
    pub(super) fn wall_of(&self, at: u32) -> UnixMillis {
        self.clock.to_wall(at, self.runtime.now(), self.runtime.wall())
    }

    /// So many bytes of a body more are in memory.
    pub(super) fn gather(&self, bytes: usize) {
        self.inbound.gathered.set(self.inbound.gathered.get() + bytes);
        self.inbound.memory.hold(self.mesh.memory(), bytes);
    }

    /// So many less.
    pub(super) fn ungather(&self, bytes: usize) {
        self.inbound.gathered.set(self.inbound.gathered.get().saturating_sub(bytes));
        self.inbound.memory.release(self.mesh.memory(), bytes);
    }

    /// A word to the operator.
    #[track_caller]
    pub(super) fn say(&self, level: Level, words: std::fmt::Arguments<'_>) {
        self.instruments.diagnostics.say(self.runtime.wall(), level, words);
    }

    pub(super) fn wake_writers(&self) {
        for writer in self.store.writers.iter() {
            writer.wake();
        }
    }

    /// A job of this shard's own queues.
    pub(super) fn own_job(&self, domain: DomainKey, group: Group) -> Job {
        Job { home: self.index as u16, domain, group }
    }

    /// The map of a segment. Maps are never replaced: a slot's file stays the same for the life of the process.
    pub(super) fn map(&self, lane: u16, slot: u16) -> Option<SegmentMap> {
        let (lane_at, slot_at) = (usize::from(lane), usize::from(slot));
        if let Some(Some(map)) = self.store.maps.borrow().get(lane_at).and_then(|slots| slots.get(slot_at)) {
            return Some(map.clone());
        }
        let map = self.mesh.map(lane, slot)?;
        let mut maps = self.store.maps.borrow_mut();
        let slots = maps.get_mut(lane_at)?;
        if slots.len() <= slot_at {
            slots.resize(slot_at + 1, None);
        }
        slots[slot_at] = Some(map.clone());
        Some(map)
    }

    /// The node stops, or is emptied: sessions end between two messages.
    pub(super) fn takes_nobody(&self) -> bool {
        let drains = self.outbound.suspending.drains.get() && !self.runtime.planted(Defect::DrainTakesMail);
        self.draining.get() || drains
    }

    /// Whether new mail may come in. Control is told before a client is, and as soon as it is looked when that is over.
    pub(super) fn gate(&self) -> Intake {
        let gate = self.judge_gate();
        if self.say.gate.replace(gate) != gate {
            self.publish_gate(gate);
        }
        gate
    }

    fn judge_gate(&self) -> Intake {
        let writer = self.own();
        let lane = writer.lane();
        if self.takes_nobody() {
            // A client that never pauses is never idle; without this it would keep the node from stopping.
            Intake::Closing
        } else if !lane.may_accept() {
            Intake::NoSpace
        } else if self.say.events.borrow().is_behind() {
            Intake::NoJournal
        } else if lane.messages().max(self.outbound.destinations.borrow().queued())
            >= limits::QUEUED_RECIPIENTS_MAX
            || self.outbound.backlog.borrow().len() >= limits::QUEUED_RECIPIENTS_MAX / 4
        {
            Intake::QueueFull
        } else {
            Intake::Open
        }
    }

    /// Levels, times and counts that are kept elsewhere, for control to read.
    pub(super) fn publish(&self) {
        let counters = &self.instruments.counters;
        counters.connections_inbound.set(self.inbound.connections.get() as u64);
        counters.connections_outbound.set(self.outbound.connections.get() as u64);
        counters.queued_recipients.set(self.outbound.destinations.borrow().queued() as u64);
        counters.policy_generation.set(self.live.generation());
        counters.panics.set(self.runtime.panics());
        counters.accounting_dropped.set(self.say.events.borrow().dropped());
        let sessions = self.inbound.session_memory.held();
        counters.client_memory.set((self.inbound.memory.held() + sessions) as u64);
        counters.session_memory.set(sessions as u64);
        counters.tls_put_off.set(self.inbound.session_memory.is_full(self.mesh.session_memory()).into());
        let (waiting, resolving) = self.outbound.asking.levels();
        counters.domains_waiting.set(waiting as u64);
        counters.domains_resolving.set(resolving as u64);
        counters.bodies_gathered.set(self.inbound.gathered.get() as u64);
        counters
            .attempts_unsynced
            .set(self.outbound.destinations.borrow().credits_out(self.mesh.credits()).into());
        let (mut messages, mut segments, mut free, mut live) = (0, 0, 0, 0);
        for writer in self.store.writers.iter() {
            let lane = writer.lane();
            messages += lane.messages();
            segments += lane.segments().0;
            free += lane.segments().1;
            live += lane.live_bytes();
        }
        counters.spool_messages.set(messages as u64);
        counters.spool_segments.set(segments as u64);
        counters.spool_segments_free.set(free as u64);
        counters.spool_bytes_live.set(live);
        counters.longest_turn_microseconds.set(self.say.turns.longest(&self.runtime).as_micros() as u64);
        if self.index == 0 {
            counters.hashes_waiting.set(self.runtime.computing_later() as u64);
        }
        self.publish_gate(self.gate());
        self.say.latencies.borrow_mut().publish(&self.instruments.latencies);
    }

    /// Whether mail is taken, and what that would need, for control to say.
    fn publish_gate(&self, gate: Intake) {
        self.instruments.counters.takes_mail.set(u64::from(gate == Intake::Open));
        let (writer, room) = (self.own(), &self.instruments.room);
        let lane = writer.lane();
        room.lane.set(lane.number().into());
        room.wanted.set(self.boot.spool.segment_size);
        room.bytes.set(lane.bytes());
        room.memory_max.set(self.mesh.memory().most() as u64);
        room.set(match gate {
            Intake::NoSpace if lane.is_bounded() => Shut::SizeMax,
            Intake::NoSpace => Shut::NoSegment,
            Intake::QueueFull => Shut::QueueFull,
            Intake::NoJournal => Shut::NoJournal,
            Intake::Closing if !self.draining.get() => Shut::Drained,
            Intake::Open if self.inbound.memory.is_full(self.mesh.memory()) => Shut::NoMemory,
            // The others are of one session, or pass at once.
            Intake::Open | Intake::Closing | Intake::NoMemory | Intake::Aged | Intake::NoClient => Shut::No,
        });
    }

    /// Nothing is in flight: every attempt is settled and every record is on disk.
    pub(super) fn is_quiet(&self) -> bool {
        self.outbound.connections.get() == 0
            && self.outbound.settling.get() == 0
            && self.store.writers.iter().all(|writer| writer.is_quiet())
    }
}
