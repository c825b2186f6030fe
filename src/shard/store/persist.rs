//! Stage 3: messages and outcomes reach stable storage, many in one commit.
//!
//! One task a lane writes; the others queue and wait. A commit starts as soon as the one before is synced and a
//! client waits, or its `commit_delay` later; outcomes ride along, or force a commit of their own after
//! [`limits::OUTCOME_DELAY_MAX`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::envelope::Envelope;
use crate::observe::accounting::{Event, Kind};
use crate::observe::diagnostics::Level;
use crate::runtime::{Runtime, Segment, Synced};
use crate::shard::Shard;
use crate::shard::inbound::reject;
use crate::shard::inbound::upload::Upload;
use crate::shard::outbound::{handoff, settle};
use crate::shard::promise::Fulfil;
use crate::shard::store::{grow, secure};
use crate::shard::timers::Sleep;
use crate::smtp::data::Summary;
use crate::smtp::server::NotStored;
use crate::spool::batch::{Batch, Item, NewMessage, Outcome};
use crate::spool::fold::Unsure;
use crate::spool::lane::{Begin, Done, Lane};
use crate::spool::record::Extent;
use crate::time::Instant;

/// A message that ended well and is to be stored.
pub struct Persisted {
    /// Its envelope.
    pub envelope: Box<Envelope>,
    /// What the scanner found.
    pub summary: Summary,
}

/// Who waits for an item.
pub(in crate::shard) enum Ticket {
    /// A session, for its 250.
    Message(Fulfil<Result<Durable<MessageId>, NotStored>>),
    /// A session in the middle of a large body.
    Chunk(Fulfil<Result<Extent, NotStored>>),
    /// Nobody: a notification.
    Bounce(Box<About>),
    /// The home shard that gets its credit back.
    Credit(u16),
    /// The compactor: these moves, the last of which this is, are done.
    Moves(Fulfil<()>),
    /// Nobody: a census, or one of several ranges that share a credit.
    Nobody,
}

/// What a notification is about.
pub(in crate::shard) struct About {
    /// The message.
    pub(in crate::shard) parent: MessageId,
    /// Records of what failed, which are to name the notification.
    pub(in crate::shard) records: Vec<u8>,
}

/// Outcomes that start a commit before their delay is over.
const OUTCOMES_AT: usize = 256;
/// Segments freed between two commits: each costs a sync.
const FREES_AT_ONCE: usize = 4;
/// How long a lane waits before it tries again to free segments, when it could not.
const FREE_PAUSE: Duration = Duration::from_secs(1);
/// A lane this shard writes.
pub struct Keeper<R: Runtime> {
    pub(in crate::shard) lane: RefCell<Lane>,
    pub(in crate::shard) directory: PathBuf,
    pub(in crate::shard) segment_size: u64,
    pub(in crate::shard) segments: RefCell<Vec<Option<R::Segment>>>,
    pub(in crate::shard) queue: RefCell<VecDeque<(Item, Ticket)>>,
    /// Items that wait for a segment which is being made.
    held: RefCell<Vec<(Item, Ticket)>>,
    /// Items a client waits for.
    pub(in crate::shard) urgent: Cell<usize>,
    /// When the oldest waiting outcome came.
    oldest: Cell<Option<Instant>>,
    stalled: Cell<bool>,
    /// What was found at start, until it is surely on the disk.
    pub(in crate::shard) unsure: RefCell<Unsure>,
    /// The node was not stopped in order: what the log was told last may not be in it.
    pub(in crate::shard) tells_again: Cell<bool>,
    /// When segments may be freed again.
    free_from: Cell<Instant>,
    writing: Cell<bool>,
    /// When the last commit began.
    committed: Cell<Instant>,
    /// Segments whose pages are in the memory of this process, and when they were written last.
    pub(in crate::shard) mapped: RefCell<BTreeMap<u16, Instant>>,
    /// A commit of nothing is wanted; true: the node stops.
    closing: Cell<Option<bool>>,
    /// More waited than the commit before could take.
    crowded: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Memory for the end of each commit.
    done: RefCell<Vec<(Done, Ticket)>>,
    credits: RefCell<Vec<u32>>,
}

impl<R: Runtime> Keeper<R> {
    /// A lane that was just folded, and its open files by slot.
    pub fn new(
        lane: Lane,
        directory: PathBuf,
        segment_size: u64,
        segments: Vec<Option<R::Segment>>,
        unsure: Unsure,
    ) -> Keeper<R> {
        Keeper {
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
            tells_again: Cell::new(false),
            free_from: Cell::new(Instant(0)),
            writing: Cell::new(false),
            committed: Cell::new(Instant(0)),
            mapped: RefCell::default(),
            closing: Cell::new(None),
            crowded: Cell::new(false),
            waker: RefCell::new(None),
            done: RefCell::default(),
            credits: RefCell::default(),
        }
    }

    /// Queues an item a client waits for.
    pub(in crate::shard) fn push_urgent(&self, item: Item, ticket: Ticket) {
        self.queue.borrow_mut().push_back((item, ticket));
        self.urgent.set(self.urgent.get() + 1);
        if self.urgent.get() == 1 {
            self.wake();
        }
    }

    /// Queues an item that may wait for others.
    pub(in crate::shard) fn push(&self, now: Instant, item: Item, ticket: Ticket) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back((item, ticket));
        if self.oldest.get().is_none() {
            self.oldest.set(Some(now));
            self.wake();
        } else if queue.len() == OUTCOMES_AT {
            self.wake();
        }
    }

    /// Queues an item before all that waits.
    pub(in crate::shard) fn push_first(&self, now: Instant, item: Item, ticket: Ticket) {
        self.queue.borrow_mut().push_front((item, ticket));
        if self.oldest.get().is_none() {
            self.oldest.set(Some(now));
            self.wake();
        }
    }

    /// Wakes the committer through a round in which it looks after its segments, whether anything is to be written or not.
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
    pub(in crate::shard) fn vouch(&self, now: Instant) {
        const REST: Duration = Duration::from_secs(1);
        if self.lane.borrow().may_free() && now >= self.free_from.get() {
            self.nudge();
        }
        if self.is_quiet() && self.lane.borrow().is_unvouched() && now > self.committed.get() + REST {
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
    pub(in crate::shard) fn resume(&self) {
        self.stalled.set(false);
        let mut queue = self.queue.borrow_mut();
        for item in self.held.borrow_mut().drain(..).rev() {
            queue.push_front(item);
        }
        drop(queue);
        // Whoever waits also asks for the next segment.
        self.nudge();
    }

    /// Waits until a commit is due.
    async fn due(&self, shard: &Shard<R>) {
        let mut delay: Option<Sleep> = None;
        poll_fn(|context| {
            let waiting = self.queue.borrow().len();
            if !self.stalled.get() {
                if self.urgent.get() > 0 || waiting >= OUTCOMES_AT || (waiting > 0 && shard.draining.get()) {
                    return Poll::Ready(());
                }
                if let Some(oldest) = self.oldest.get() {
                    let at = oldest + limits::OUTCOME_DELAY_MAX;
                    let delay = delay.get_or_insert_with(|| shard.timers.sleep_until(at));
                    if Pin::new(delay).poll(context).is_ready() {
                        return Poll::Ready(());
                    }
                }
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        // What did not fit into the commit before is more than enough for one: it waits no longer.
        let delay = shard.particulars.commit_delay;
        if !delay.is_zero() && self.urgent.get() > 0 && !self.crowded.get() && !shard.draining.get() {
            shard.runtime.sleep_until(shard.runtime.now() + delay).await;
        }
    }

    pub(in crate::shard) fn segment(&self, slot: u16) -> Option<R::Segment> {
        self.segments.borrow().get(usize::from(slot)).cloned().flatten()
    }
}

/// The committer: the one writer of a lane.
pub async fn persist<R: Runtime>(shard: Rc<Shard<R>>, keeper: Rc<Keeper<R>>) {
    secure::secure(&shard, &keeper).await;
    loop {
        housekeep(&shard, &keeper).await;
        keeper.due(&shard).await;
        let begin = {
            let mut queue = keeper.queue.borrow_mut();
            keeper.urgent.set(0);
            keeper.oldest.set(None);
            let begin = keeper.lane.borrow_mut().begin(&mut queue, shard.runtime.random());
            keeper.crowded.set(!queue.is_empty());
            if !queue.is_empty() {
                // What did not fit goes next.
                keeper.urgent.set(1);
            }
            begin
        };
        match begin {
            Begin::Nothing => rest(&shard, &keeper).await,
            Begin::Stalled => keeper.stalled.set(true),
            Begin::Refused(items) => {
                for (item, ticket) in items {
                    refuse(&shard, item, ticket, NotStored::NoSpace);
                }
            }
            Begin::Held(items) => keeper.held.borrow_mut().extend(items),
            Begin::Commit(batch) => {
                // Not at rest after all.
                keeper.closing.set(keeper.closing.get().filter(|clean| *clean));
                keeper.writing.set(true);
                commit(&shard, &keeper, batch).await;
                keeper.writing.set(false);
            }
        }
    }
}

/// Nothing is to be written; perhaps it is to be said that all is.
async fn rest<R: Runtime>(shard: &Rc<Shard<R>>, keeper: &Rc<Keeper<R>>) {
    let Some(clean) = keeper.closing.get() else { return };
    let batch = keeper.lane.borrow_mut().close(clean, shard.runtime.random());
    if let Some(batch) = batch {
        keeper.writing.set(true);
        commit(shard, keeper, batch).await;
        keeper.writing.set(false);
    }
    keeper.closing.set(None);
}

pub(in crate::shard) fn refuse<R: Runtime>(shard: &Shard<R>, item: Item, ticket: Ticket, why: NotStored) {
    match ticket {
        Ticket::Message(session) => {
            if let Item::Message(message) = item {
                reject::of_message(shard, &message.envelope, why);
            }
            session.fulfil(Err(why));
        }
        Ticket::Chunk(session) => session.fulfil(Err(why)),
        Ticket::Bounce(_) | Ticket::Credit(_) | Ticket::Moves(_) | Ticket::Nobody => {}
    }
}

async fn commit<R: Runtime>(shard: &Rc<Shard<R>>, keeper: &Rc<Keeper<R>>, batch: Batch<Ticket>) {
    let started = shard.runtime.now();
    keeper.committed.set(started);
    let counters = &shard.instruments.counters;
    match write(keeper, &batch).await {
        Ok(synced) => {
            counters.commits.add(1);
            keeper.mapped.borrow_mut().insert(batch.slot, started);
            counters.commit_items.add(batch.len() as u64);
            counters.commit_bytes.add(batch.bytes() as u64);
            let took = shard.runtime.now().since(started).as_micros();
            let _ = shard.latencies.borrow_mut().commit.record(took as u64);
            committed(shard, keeper, batch, synced);
        }
        Err(error) => {
            counters.commits_failed.add(1);
            let lane = keeper.lane.borrow().number();
            shard.say(
                Level::Error,
                format_args!(
                    "lane {lane}: a commit failed ({error}); its clients get 451, the lane goes on in a fresh segment"
                ),
            );
            let slot = batch.slot;
            let items = keeper.lane.borrow_mut().failed(batch);
            if shard.runtime.planted("a segment that failed is taken for a full one") {
                keeper.lane.borrow_mut().plant_sealed(slot);
            }
            let mut queue = keeper.queue.borrow_mut();
            for (item, ticket) in items.into_iter().rev() {
                match ticket {
                    Ticket::Message(_) | Ticket::Chunk(_) => refuse(shard, item, ticket, NotStored::Disk),
                    ticket => queue.push_front((item, ticket)),
                }
            }
            if !queue.is_empty() {
                keeper.oldest.set(Some(shard.runtime.now()));
            }
        }
    }
}

async fn write<R: Runtime>(keeper: &Keeper<R>, batch: &Batch<Ticket>) -> io::Result<Synced> {
    let segment =
        keeper.segment(batch.slot).ok_or_else(|| io::Error::other("the segment file is not open"))?;
    if let Some(header) = &batch.header {
        segment.append(0, &[io::IoSlice::new(header)])?;
    }
    segment.append(u64::from(batch.offset), &batch.parts())?;
    segment.sync().await
}

/// Everything in the batch is durable: answers, handoffs, credits.
fn committed<R: Runtime>(shard: &Rc<Shard<R>>, keeper: &Rc<Keeper<R>>, batch: Batch<Ticket>, synced: Synced) {
    let mut done = std::mem::take(&mut *keeper.done.borrow_mut());
    keeper.lane.borrow_mut().done(batch, synced, |_, item, ticket| done.push((item, ticket)));
    let lane = keeper.lane.borrow().number();
    let mut credits = keeper.credits.borrow_mut();
    credits.clear();
    credits.resize(shard.mesh.shards(), 0u32);
    for (item, ticket) in done.drain(..) {
        match (item, ticket) {
            (Done::Message { id, location, key, message }, ticket) => {
                received(shard, *id.get(), &message, &ticket);
                shard.ungather(message.body.capacity());
                shard.mesh.places(lane).born(key);
                if shard.runtime.planted("a segment is recycled early") {
                    let of_nobody = Extent { sequence: 0, slot: location.slot, offset: 0, length: 0, crc: 0 };
                    keeper.lane.borrow_mut().drop_chunks(&[of_nobody]);
                }
                handoff::stored(shard, location, key, &message.envelope);
                shard.give_body(message.body);
                shard.envelopes.give(message.envelope);
                if let Ticket::Message(session) = ticket {
                    session.fulfil(Ok(id));
                }
            }
            (Done::Chunk(extent), Ticket::Chunk(session)) => session.fulfil(Ok(*extent.get())),
            (Done::Outcome { .. }, Ticket::Credit(home)) => credits[usize::from(home)] += 1,
            (Done::Moved { key, to }, ticket) => {
                if let Some((location, bytes)) = to {
                    shard.mesh.places(lane).moved(key, location);
                    shard.instruments.counters.messages_moved.add(1);
                    shard.instruments.counters.bytes_moved.add(bytes);
                }
                if let Ticket::Moves(compactor) = ticket {
                    compactor.fulfil(());
                }
            }
            _ => {}
        }
    }
    *keeper.done.borrow_mut() = done;
    for (home, count) in credits.iter().copied().enumerate().filter(|(_, count)| *count > 0) {
        settle::give_credit(shard, home, lane, count);
    }
}

/// Counts and records a message that is on disk.
fn received<R: Runtime>(shard: &Shard<R>, id: MessageId, message: &NewMessage, ticket: &Ticket) {
    let about = if let Ticket::Bounce(about) = ticket { Some(about) } else { None };
    let parent = about.map(|about| about.parent);
    let counters = &shard.instruments.counters;
    let envelope = &message.envelope;
    if parent.is_some() {
        counters.bounces_made.add(1);
    } else {
        counters.messages_received.add(1);
        counters.recipients_received.add(envelope.recipients.len() as u64);
        counters.bytes_received.add(message.size);
    }
    let mut journal = shard.journal.borrow_mut();
    let parameters = envelope.parameters.as_deref().map(|of| of.message.named()).unwrap_or_default();
    if let [one] = &envelope.recipients[..] {
        journal.record(&Event { parameters: &parameters, ..event(id, message, parent, &[&one.address]) });
    } else {
        let recipients: Vec<&[u8]> = envelope.recipients.iter().map(|one| &one.address[..]).collect();
        journal.record(&Event { parameters: &parameters, ..event(id, message, parent, &recipients) });
    }
    if let Some(about) = about {
        journal.record_encoded(&about.records, Some(id));
    }
}

fn event<'a>(
    id: MessageId,
    message: &'a NewMessage,
    parent: Option<MessageId>,
    recipients: &'a [&'a [u8]],
) -> Event<'a> {
    let envelope = &message.envelope;
    Event {
        size: message.size,
        parent,
        client: envelope.origin.client,
        tls: envelope.origin.tls.as_deref(),
        account: envelope.account.as_deref(),
        ..Event::new(Kind::Received, envelope.arrival, id, &envelope.sender, recipients)
    }
}

/// Frees dead segments, asks for new ones, takes censuses.
async fn housekeep<R: Runtime>(shard: &Rc<Shard<R>>, keeper: &Rc<Keeper<R>>) {
    for round in 0.. {
        if round == FREES_AT_ONCE {
            // A commit that waits comes first.
            keeper.nudge();
            break;
        }
        if shard.runtime.now() < keeper.free_from.get() {
            break;
        }
        let next = keeper.lane.borrow_mut().next_to_free();
        let Some((slot, block)) = next else { break };
        let proof = match keeper.segment(slot) {
            Some(segment) => match segment.append(0, &[io::IoSlice::new(&block)]) {
                Ok(()) => segment.sync().await.ok(),
                Err(_) => None,
            },
            None => None,
        };
        if proof.is_none() {
            // The compactor's tick comes back to it.
            keeper.free_from.set(shard.runtime.now() + FREE_PAUSE);
        }
        shard.instruments.counters.segments_recycled.add(u64::from(proof.is_some()));
        keeper.lane.borrow_mut().freed(slot, proof);
        keeper.stalled.set(false);
        if !keeper.held.borrow().is_empty() {
            keeper.resume();
        }
    }
    let due = keeper.lane.borrow_mut().census_due();
    for slot in due {
        keeper.queue.borrow_mut().push_front((Item::Census(slot), Ticket::Nobody));
        keeper.oldest.set(Some(keeper.oldest.get().unwrap_or(shard.runtime.now())));
    }
    let wanted = keeper.lane.borrow_mut().wants_segment();
    if let Some(slot) = wanted {
        shard.runtime.spawn_vital("segment maker", grow::make_segment(shard.clone(), keeper.clone(), slot));
    }
}

impl<R: Runtime> Shard<R> {
    /// Stores a message: ends when it is on stable storage, or will not be.
    pub async fn persist(&self, message: Persisted, upload: Upload) -> Result<Durable<MessageId>, NotStored> {
        if let Some(why) = upload.failed {
            reject::of_message(self, &message.envelope, why);
            self.ungather(upload.body.capacity() + upload.places());
            self.own().lane.borrow_mut().drop_chunks(&upload.chunks);
            return Err(why);
        }
        let (fulfil, stored) = self.promises.make();
        let header_length = u32::try_from(message.summary.header_length).unwrap_or(u32::MAX);
        let size = message.summary.size;
        // The lane has them next, for a moment.
        self.ungather(upload.places());
        let length = upload.body.capacity();
        let chunks = upload.chunks.clone();
        let message = NewMessage {
            envelope: message.envelope,
            size,
            header_length,
            chunks: upload.chunks,
            body: upload.body,
        };
        self.own().push_urgent(Item::Message(message), Ticket::Message(fulfil));
        let result = self.promises.wait(stored).await;
        if result.is_err() {
            self.ungather(length);
            self.own().lane.borrow_mut().drop_chunks(&chunks);
        }
        result
    }

    /// Queues a bounce on the lane of the message it is about.
    pub(in crate::shard) fn persist_bounce(
        &self,
        keeper: &Keeper<R>,
        message: NewMessage,
        about: Box<About>,
    ) {
        self.gather(message.body.capacity());
        keeper.push(self.runtime.now(), Item::Message(message), Ticket::Bounce(about));
    }

    /// Queues outcomes of one attempt; the credit of `home` comes back with the last.
    pub(in crate::shard) fn persist_outcomes(
        &self,
        keeper: &Keeper<R>,
        home: u16,
        outcomes: impl ExactSizeIterator<Item = Outcome>,
    ) {
        let last = outcomes.len().saturating_sub(1);
        let now = self.runtime.now();
        for (place, outcome) in outcomes.enumerate() {
            let ticket = if place == last { Ticket::Credit(home) } else { Ticket::Nobody };
            keeper.push(now, Item::Outcome(outcome), ticket);
        }
    }
}
