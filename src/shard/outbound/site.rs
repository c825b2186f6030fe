//! A site of this shard, as its connections see it: how many there are, which of them have nothing to do, and what it showed of late.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use crate::limits;
use crate::observe::families::NamePlace;
use crate::queue::fair::Behalf;
use crate::route::{Hop, SitePolicy};
use crate::shard::counts::{ConnectionCount, FarEnd};
use crate::shard::message::Job;
use crate::shard::outbound::bucket::{Bucket, RateKind};
use crate::shard::outbound::provider::{ConnectionPlaces, Share, WaitingSite};
use crate::shard::outbound::receiver::{Receiver, WaitingForHosts};
use crate::shard::outbound::shown::SiteHistory;
use crate::shard::warm::WarmCount;
use crate::time::Instant;

/// What a connection that asks for work gets.
pub enum Work {
    /// A group to deliver.
    Job(Job),
    /// A group that is past its expiry: settle it as expired.
    Expired(Job),
    /// Nothing may be started now.
    Nothing,
}

/// What tenants have at a site counts over the node, as far as this shard knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OverNode {
    /// When another shard was last known to wait.
    pub(super) wanted: Instant,
    /// The configuration that says what tenants weigh.
    pub(super) generation: u64,
}

/// A site of this shard, as its connections see it.
pub struct Site {
    /// Where it is.
    pub hop: RefCell<Rc<Hop>>,
    /// What holds for it.
    pub policy: RefCell<Arc<SitePolicy>>,
    /// What that is of: the generation of what is in force, how many domains have their say, and the generation of what is suspended.
    pub(super) shaped_by: Cell<(u64, usize, u64)>,
    /// Nothing is begun before this time, as a rule says.
    pub(super) held_until: Cell<Instant>,
    /// The hosts it leads to, of whose limits it has a part.
    pub(super) receiver: Rc<Receiver>,
    /// The node's connections to them.
    pub count: Arc<ConnectionCount>,
    /// Where attempts are counted by its route, once one was.
    pub(super) counted: Cell<Option<NamePlace>>,
    /// The same by its source.
    pub(super) counted_by: Cell<Option<NamePlace>>,
    /// The same by the provider that its policy names.
    pub(super) counted_at: Cell<Option<NamePlace>>,
    /// This shard's, connecting ones included.
    pub connections: Cell<usize>,
    /// Those that are still connecting.
    pub opening: Cell<usize>,
    /// Connections that were woken and have not looked yet.
    pub(super) waking: Cell<usize>,
    pub(super) idle: RefCell<Vec<Rc<IdleConnection>>>,
    pub(super) hold_until: Cell<Instant>,
    /// Its connections send the next message's commands behind a body.
    pub pipelines: Cell<bool>,
    /// Why the last connection failed: an RFC 3463 status, and words.
    pub last_error: RefCell<((u8, u16, u16), String)>,
    /// What it said, or what happened, when its window was narrowed last.
    pub narrowed_by: RefCell<Box<str>>,
    /// It rests as its source does not work, not as its hosts do not.
    pub(super) by_source: Cell<bool>,
    /// What its hop showed of late.
    pub shown: SiteHistory,
    /// The address it waits for a place at; until then it opens no connection.
    pub parked: Cell<Option<FarEnd>>,
    /// It waits to be let open one.
    pub queued: Cell<bool>,
    /// It is in the line of those to be pumped.
    pub(super) refused: Cell<bool>,
    /// It took mail, and no connection to it failed since.
    pub proven: Cell<bool>,
    /// On whose behalf it was last asked for.
    pub behalf: Cell<Behalf>,
    /// Connections that were begun in another than this end behind their transaction.
    pub(super) era: Cell<u32>,
    /// Jobs of other shards.
    pub borrowed: Borrowed,
    /// Its providers that have limits; nearly always none or one.
    pub(super) providers: RefCell<Option<Rc<[Share]>>>,
    /// What its source has left at its provider, where that is in warm-up.
    pub(super) warm: RefCell<Option<Arc<WarmCount>>>,
    /// The source, or the pool, that sends there in place of its own.
    pub(super) sent_by: RefCell<Option<Box<str>>>,
    /// Nobody else took its mail when its day was over: others are looked for again then.
    pub(super) overflows_at: Cell<Instant>,
    /// The provider of which it waits for a place.
    pub(super) waits_for: RefCell<Option<WaitingSite>>,
    /// It waits for a connection, as there are all that its hosts may have.
    pub(super) waits_here: RefCell<Option<WaitingForHosts>>,
    /// It is known to have connections with nothing to do.
    shows_idle: Cell<bool>,
    /// It gave a place to another site of a provider, or a connection to another of its hosts, and takes none yet.
    pub(super) yields: Cell<bool>,
    /// One of its buckets is that of its adaptive window.
    pub(super) paced: Cell<bool>,
    /// Those that each of [`RateKind`] takes of.
    buckets: RefCell<[Option<Rc<[Bucket]>>; 2]>,
    /// The shard has told others that it waits for a connection: its number.
    pub(super) waits_at: Cell<Option<usize>>,
    /// Until when one of its connections is kept free.
    pub(super) spare_until: Cell<Instant>,
    /// The shard has told others that it waits for the rate: its number.
    pub(super) waits_for_rate_at: Cell<Option<usize>>,
    /// How often it has left what its rate let begin to other shards, and until when it does so this time.
    pub(super) left_rate: Cell<(u32, Option<Instant>)>,
    /// What tenants have is counted over the node.
    pub(super) over_node: Cell<Option<OverNode>>,
    /// When it is pumped as its rate lets it begin something.
    pub(super) wakes_at: Cell<Option<Instant>>,
}

/// Its hosts cannot be reached, or do not answer (RFC 3463 section 3.5).
pub(super) const NO_ANSWER: (u8, u16, u16) = (4, 4, 1);

impl Site {
    /// A site no connection goes to yet.
    pub fn new(hop: Rc<Hop>, policy: Arc<SitePolicy>, receiver: Rc<Receiver>) -> Site {
        Site {
            count: receiver.count.clone(),
            receiver,
            policy: RefCell::new(policy),
            shaped_by: Cell::new((0, 0, 0)),
            held_until: Cell::new(Instant(0)),
            hop: RefCell::new(hop),
            counted: Cell::new(None),
            counted_by: Cell::new(None),
            counted_at: Cell::new(None),
            connections: Cell::new(0),
            opening: Cell::new(0),
            waking: Cell::new(0),
            idle: RefCell::default(),
            hold_until: Cell::new(Instant(0)),
            pipelines: Cell::new(false),
            last_error: (NO_ANSWER, String::new()).into(),
            narrowed_by: RefCell::default(),
            by_source: Cell::new(false),
            shown: SiteHistory::default(),
            parked: Cell::new(None),
            queued: Cell::new(false),
            refused: Cell::new(false),
            proven: Cell::new(false),
            behalf: Cell::default(),
            era: Cell::new(0),
            borrowed: Borrowed::default(),
            providers: RefCell::default(),
            warm: RefCell::default(),
            sent_by: RefCell::default(),
            overflows_at: Cell::new(Instant(0)),
            waits_for: RefCell::default(),
            waits_here: RefCell::default(),
            shows_idle: Cell::new(false),
            yields: Cell::new(false),
            paced: Cell::new(false),
            buckets: RefCell::default(),
            waits_at: Cell::new(None),
            spare_until: Cell::new(Instant(0)),
            waits_for_rate_at: Cell::new(None),
            left_rate: Cell::default(),
            over_node: Cell::new(None),
            wakes_at: Cell::new(None),
        }
    }

    /// This holds for it from now on. Its connections end if it would not have opened them. False: it is as before.
    pub(super) fn take_up(&self, policy: &Arc<SitePolicy>) -> bool {
        if Arc::ptr_eq(policy, &self.policy.borrow()) {
            return false;
        }
        if !policy.same_connections_as(&self.policy.replace(policy.clone())) {
            self.end_connections();
        }
        self.counted_at.set(None);
        true
    }

    /// How many connections the node may have to it: what the operator allows, its part of that where other nodes share it, and no more than it has
    /// shown to take.
    pub(super) fn connections_max(&self) -> usize {
        let policy = self.policy.borrow();
        let most = self.count.on_node(policy.connections);
        if policy.adaptive { self.count.most(most) } else { most }
    }

    /// Whether there are more than that, since it was narrowed.
    pub(super) fn is_over(&self) -> bool {
        (self.count.window().is_some() || self.count.part().is_some())
            && self.count.exceeds(self.connections_max())
    }

    /// The buckets of the rates that bound this; None: there are none.
    pub(super) fn buckets(&self, what: RateKind) -> Option<Rc<[Bucket]>> {
        self.buckets.borrow()[what as usize].clone()
    }

    /// These are they.
    pub(super) fn set_buckets(&self, buckets: [Vec<Bucket>; 2]) {
        let some = |buckets: Vec<Bucket>| (!buckets.is_empty()).then(|| buckets.into());
        self.buckets.replace(buckets.map(some));
    }

    /// Its connections end, each behind its transaction; others are opened in their place.
    pub(super) fn end_connections(&self) {
        self.era.set(self.era.get().wrapping_add(1));
        while self.wake_one() {}
    }

    /// Whether it has connections or other shards' mail, or may be promised a connection, which would be for nobody if it were forgotten.
    pub fn is_busy(&self) -> bool {
        self.connections.get() > 0 || self.borrowed.waiting() > 0 || self.waits_at.get().is_some()
    }

    /// Whether it waits to be let connect, or send.
    pub fn is_waiting(&self) -> bool {
        self.parked.get().is_some()
            || self.queued.get()
            || self.wakes_at.get().is_some()
            || self.waits_for.borrow().is_some()
            || self.yields.get()
    }

    /// Wakes a connection to this address that has nothing to do. False: there is none.
    pub fn wake_at(&self, address: FarEnd) -> bool {
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().position(|connection| connection.address.get() == Some(address));
        let Some(connection) = place.map(|place| idle.remove(place)) else { return false };
        self.wake(&connection);
        true
    }

    /// Whether a connection that has nothing to do holds a place of a provider that others wait for, or another site of this shard waits for one to
    /// the same hosts.
    pub(super) fn holds_wanted(&self, shard: usize) -> bool {
        let held = |idle: &Rc<IdleConnection>| self.must_share(idle.places.as_deref(), shard);
        self.idle.borrow().iter().any(held)
    }

    /// Whether others than this site wait for a connection with these places, or to the same hosts.
    pub(super) fn must_share(&self, places: Option<&ConnectionPlaces>, shard: usize) -> bool {
        self.receiver.is_wanted(self.waits_here.borrow().as_ref())
            || places.is_some_and(|places| places.are_wanted(self.waits_for.borrow().as_ref(), shard))
    }

    /// It has what it waited for, or needs it no more.
    pub(super) fn waits_no_more(&self) {
        self.waits_for.take();
        self.waits_here.take();
    }

    /// It has connections with nothing to do that others may ask for, or has none any more.
    pub(super) fn set_idle(&self, shard: usize, idle: bool) {
        if self.shows_idle.replace(idle) != idle {
            self.receiver.set_idle(shard, idle);
        }
    }

    /// Whether another site of this shard has such connections to the same hosts.
    pub(super) fn has_idle_beside(&self) -> bool {
        !self.shows_idle.get() && self.receiver.has_idle()
    }

    pub(super) fn wake_one(&self) -> bool {
        let Some(connection) = self.idle.borrow_mut().pop() else { return false };
        self.wake(&connection);
        true
    }

    fn wake(&self, connection: &IdleConnection) {
        connection.woken.set(true);
        self.waking.set(self.waking.get() + 1);
        if let Some(waker) = connection.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Jobs that will be taken without anybody being woken for them.
    pub(super) fn free_connections(&self, busy: bool) -> usize {
        // Those on their way will take one each at least.
        let coming = self.opening.get() + self.waking.get();
        if !busy || !self.pipelines.get() {
            return coming;
        }
        let working = self.connections.get().saturating_sub(coming + self.idle.borrow().len());
        coming * limits::JOBS_A_CONNECTION + working * (limits::JOBS_A_CONNECTION - 1)
    }

    /// No wider for a while.
    pub fn hold(&self, now: Instant) {
        self.hold_until.set(now + limits::WIDEN_PAUSE);
    }
}

impl Drop for Site {
    /// It waits for nothing any more.
    fn drop(&mut self) {
        if let (Some(shard), Some(shares)) = (self.waits_at.get(), self.count.shares()) {
            shares.leave(shard);
        }
        if let (Some(shard), Some(shares)) = (self.waits_for_rate_at.get(), self.count.shares()) {
            shares.wait_for_rate(shard, None);
        }
    }
}

/// An idle connection's sleep.
#[derive(Default)]
pub struct IdleConnection {
    /// Woken for work.
    pub woken: Cell<bool>,
    /// Who sleeps.
    pub waker: RefCell<Option<Waker>>,
    /// The address of the connection, where that is counted.
    pub address: Cell<Option<FarEnd>>,
    /// Its places at providers.
    pub(super) places: Option<Rc<ConnectionPlaces>>,
}

/// Jobs of other shards for one site, in the order they came.
pub struct Borrowed {
    pub(super) jobs: RefCell<VecDeque<Job>>,
    /// Whether a borrowed job is next, or one of the shard's own.
    turn: Cell<bool>,
    /// When one was last taken, or came to an empty queue.
    pub(super) touched: Cell<Instant>,
}

impl Default for Borrowed {
    fn default() -> Borrowed {
        Borrowed { jobs: RefCell::default(), turn: Cell::new(false), touched: Cell::new(Instant(0)) }
    }
}

impl Borrowed {
    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.jobs.borrow().len()
    }

    /// Borrowed jobs and the shard's own are served in turn.
    pub fn is_next(&self) -> bool {
        !self.turn.replace(!self.turn.get())
    }
}
