//! A lane this shard writes: what waits for its next commit, and who waits for that.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::task::Waker;

use crate::id::{Durable, MessageId};
use crate::limits;
use crate::observe::repeat::Repeat;
use crate::queue::outcome::Receipt;
use crate::runtime::Runtime;
use crate::shard::promise::Fulfil;
use crate::smtp::server::NotStored;
use crate::spool::batch::{ClientItem, Item, Moved, NewMessage, Outcome, Tickets};
use crate::spool::fold::Unsure;
use crate::spool::lane::{DurableItem, Lane};
use crate::spool::record::Extent;
use crate::spool::since::Since;
use crate::time::Instant;

/// Who waits for each item of a lane.
#[derive(Debug)]
pub struct Waiters;

impl Tickets for Waiters {
    /// A session, for its 250.
    type Message = Fulfil<Result<Durable<MessageId>, NotStored>>;
    /// Nobody: a notification. What it is about is told with it.
    type Notification = Box<NoticeSubject>;
    /// A session in the middle of a large body.
    type Chunk = Fulfil<Result<Extent, NotStored>>;
    /// The compactor.
    type Piece = Fulfil<Result<Extent, NotStored>>;
    /// The home shard that gets its credit back; None: nobody, or another outcome that shares the credit brings it.
    /// With it, who waits until it is on disk.
    type Outcome = Option<(u16, Option<Receipt>)>;
    /// The compactor, with the last of several moves.
    type Move = Option<Fulfil<()>>;
}

/// What a notification is about.
#[derive(Debug)]
pub struct NoticeSubject {
    /// The message.
    pub(super) parent: MessageId,
    /// Records of what failed, which are to name the notification.
    pub(super) records: Vec<u8>,
}

impl NoticeSubject {
    /// A message, and the records of what failed of it.
    pub fn new(parent: MessageId, records: Vec<u8>) -> NoticeSubject {
        NoticeSubject { parent, records }
    }
}

/// A lane this shard writes.
pub struct LaneWriter<R: Runtime> {
    lane: RefCell<Lane>,
    pub(super) directory: PathBuf,
    pub(super) segment_size: u64,
    pub(super) segments: RefCell<Vec<Option<R::Segment>>>,
    pub(super) queue: RefCell<VecDeque<Item<Waiters>>>,
    /// Items that wait for a segment which is being made.
    pub(super) held: RefCell<Vec<ClientItem<Waiters>>>,
    /// Items a client waits for.
    pub(super) urgent: Cell<usize>,
    /// When the oldest waiting outcome came.
    pub(super) oldest: Cell<Option<Instant>>,
    pub(super) stalled: Cell<bool>,
    /// What was found at start, until it is surely on the disk.
    pub(super) unsure: RefCell<Unsure>,
    /// What is to be told again, as a journal does not have it.
    pub(super) since: RefCell<Since>,
    /// That was done.
    pub(super) retold: Cell<bool>,
    replayed: Cell<bool>,
    outcomes_queued: Cell<u64>,
    pub(super) outcomes_written: Cell<u64>,
    /// When segments may be freed again.
    pub(super) free_from: Cell<Instant>,
    pub(super) writing: Cell<bool>,
    /// When the last commit began.
    pub(super) committed: Cell<Instant>,
    /// Segments whose pages are in the memory of this process, and when they were written last.
    pub(super) mapped: RefCell<BTreeMap<u16, Instant>>,
    /// A commit of nothing is wanted; true: the node stops.
    pub(super) closing: Cell<Option<bool>>,
    /// More waited than the commit before could take.
    pub(super) has_more: Cell<bool>,
    pub(super) waker: RefCell<Option<Waker>>,
    /// Memory for the end of each commit.
    pub(super) done: RefCell<Vec<DurableItem<Waiters>>>,
    /// Credits to be given home, by home.
    pub(super) credits: RefCell<Vec<u32>>,
    /// Commits that failed, and messages that could not be moved: a disk that fails does so all the time.
    pub(super) failing: RefCell<Repeat>,
    pub(super) unmoved: RefCell<Repeat>,
}

impl<R: Runtime> LaneWriter<R> {
    /// A lane that was just folded, and its open files by slot.
    pub fn new(
        lane: Lane,
        directory: PathBuf,
        segment_size: u64,
        segments: Vec<Option<R::Segment>>,
        (unsure, since): (Unsure, Since),
    ) -> LaneWriter<R> {
        LaneWriter {
            lane: RefCell::new(lane),
            directory,
            segment_size,
            segments: RefCell::new(segments),
            queue: RefCell::default(),
            held: RefCell::default(),
            urgent: Cell::new(0),
            oldest: Cell::new(None),
            stalled: Cell::new(false),
            unsure: RefCell::new(unsure),
            since: RefCell::new(since),
            retold: Cell::new(false),
            replayed: Cell::new(false),
            outcomes_queued: Cell::new(0),
            outcomes_written: Cell::new(0),
            free_from: Cell::new(Instant(0)),
            writing: Cell::new(false),
            committed: Cell::new(Instant(0)),
            mapped: RefCell::default(),
            closing: Cell::new(None),
            has_more: Cell::new(false),
            waker: RefCell::new(None),
            done: RefCell::default(),
            credits: RefCell::default(),
            failing: RefCell::default(),
            unmoved: RefCell::default(),
        }
    }

    /// What the lane holds.
    pub(in crate::shard) fn lane(&self) -> Ref<'_, Lane> {
        self.lane.borrow()
    }

    pub(in crate::shard) fn lane_mut(&self) -> RefMut<'_, Lane> {
        self.lane.borrow_mut()
    }

    /// What is to be told again was told.
    pub(in crate::shard) fn is_retold(&self) -> bool {
        self.retold.get()
    }

    /// The mail that a start found is on its way to its queues.
    pub(in crate::shard) fn is_replayed(&self) -> bool {
        self.replayed.get()
    }

    /// From now on it is.
    pub(in crate::shard) fn set_replayed(&self) {
        self.replayed.set(true);
    }

    /// It has no room to write, and the segment that it needs waits for the journal.
    pub(in crate::shard) fn is_stuck(&self) -> bool {
        self.stalled.get() && self.lane().awaits_journal()
    }

    /// How many outcomes were queued, and how many of these are on the disk: they get there in the order in which they were queued.
    pub(in crate::shard) fn outcomes(&self) -> (u64, u64) {
        (self.outcomes_queued.get(), self.outcomes_written.get())
    }

    /// Queues a message a client waits for.
    pub(in crate::shard) fn push_message(
        &self,
        message: NewMessage,
        session: Fulfil<Result<Durable<MessageId>, NotStored>>,
    ) {
        self.push_urgent(Item::Message(message, session));
    }

    /// Queues a piece of a body on its way in.
    pub(in crate::shard) fn push_chunk(&self, bytes: Vec<u8>, session: Fulfil<Result<Extent, NotStored>>) {
        self.push_urgent(Item::Chunk(bytes, session));
    }

    /// Queues a piece of a body that moves.
    pub(super) fn push_piece(
        &self,
        now: Instant,
        bytes: Vec<u8>,
        compactor: Fulfil<Result<Extent, NotStored>>,
    ) {
        self.push(now, Item::Piece(bytes, compactor));
    }

    /// Queues moves before all that waits: outcomes that are under way count in their new place.
    pub(super) fn push_moves(&self, now: Instant, moves: Vec<Moved>, compactor: Fulfil<()>) {
        let mut last = Some(compactor);
        for moved in moves.into_iter().rev() {
            self.push_first(now, Item::Move(moved, last.take()));
        }
    }

    /// Queues a message of our own, to the lane of the message it is about.
    pub(in crate::shard) fn push_own(&self, now: Instant, message: NewMessage, about: Box<NoticeSubject>) {
        self.push(now, Item::Own(message, about));
    }

    /// Queues outcomes of one attempt; the credit of `home` comes back with the last, and with the receipt, if somebody waits.
    pub(in crate::shard) fn push_outcomes(
        &self,
        now: Instant,
        home: u16,
        receipt: Option<Receipt>,
        outcomes: impl ExactSizeIterator<Item = Outcome>,
    ) {
        self.outcomes_queued.set(self.outcomes_queued.get() + outcomes.len() as u64);
        let last = outcomes.len().saturating_sub(1);
        for (place, outcome) in outcomes.enumerate() {
            self.push(now, Item::Outcome(outcome, (place == last).then(|| (home, receipt.clone()))));
        }
    }

    /// Queues an outcome that no home shard waits for.
    pub(super) fn push_unasked(&self, now: Instant, outcome: Outcome) {
        self.outcomes_queued.set(self.outcomes_queued.get() + 1);
        self.push(now, Item::Outcome(outcome, None));
    }

    /// Queues an item a client waits for.
    fn push_urgent(&self, item: Item<Waiters>) {
        self.queue.borrow_mut().push_back(item);
        self.urgent.set(self.urgent.get() + 1);
        if self.urgent.get() == 1 {
            self.wake();
        }
    }

    /// Queues an item that may wait for others.
    fn push(&self, now: Instant, item: Item<Waiters>) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back(item);
        if self.oldest.get().is_none() {
            self.oldest.set(Some(now));
            self.wake();
        } else if queue.len() == limits::OUTCOMES_AT {
            self.wake();
        }
    }

    /// Queues an item before all that waits.
    fn push_first(&self, now: Instant, item: Item<Waiters>) {
        self.queue.borrow_mut().push_front(item);
        if self.oldest.get().is_none() {
            self.oldest.set(Some(now));
            self.wake();
        }
    }

    /// Wakes the lane writer through a round in which it looks after its segments, whether anything is to be written or not.
    pub(in crate::shard) fn nudge(&self) {
        self.stalled.set(false);
        self.urgent.set(self.urgent.get().max(1));
        self.wake();
    }

    pub(in crate::shard) fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Nothing waits and nothing is being written.
    pub fn is_quiet(&self) -> bool {
        self.waiting() == 0 && !self.writing.get()
    }

    /// A lane that came to rest says on the disk that its last commit was synced: whatever is found damaged later was not cut off.
    pub(super) fn vouch(&self, now: Instant) {
        if self.lane().may_free() && now >= self.free_from.get() {
            self.nudge();
        }
        if self.is_quiet() && self.lane().is_unvouched() && now > self.committed.get() + limits::LANE_REST {
            self.closing.set(Some(false));
            self.nudge();
        }
    }

    /// The node stops: the next commit says so.
    pub(in crate::shard) fn close(&self) {
        self.closing.set(Some(true));
        self.nudge();
    }

    /// That was done, or cannot be.
    pub(in crate::shard) fn is_closed(&self) -> bool {
        self.closing.get().is_none() && self.is_quiet()
    }

    /// Items waiting.
    pub fn waiting(&self) -> usize {
        self.queue.borrow().len() + self.held.borrow().len()
    }

    /// The segment that items waited for was made, or could not be: they are first in the queue again.
    pub(super) fn resume(&self) {
        self.stalled.set(false);
        let mut queue = self.queue.borrow_mut();
        for item in self.held.borrow_mut().drain(..).rev() {
            queue.push_front(item.into());
        }
        drop(queue);
        // Whoever waits also asks for the next segment.
        self.nudge();
    }

    pub(super) fn segment(&self, slot: u16) -> Option<R::Segment> {
        self.segments.borrow().get(usize::from(slot)).cloned().flatten()
    }
}
