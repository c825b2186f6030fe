//! Messages and outcomes reach stable storage, many in one commit.
//!
//! One task a lane writes; the others queue and wait. A commit starts as soon as the one before is synced and a
//! client waits, or its `commit_delay` later; outcomes ride along, or force a commit of their own after
//! [`limits::OUTCOME_DELAY_MAX`].

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use crate::id::{Durable, MessageId};
use crate::limits;
use crate::mail::results;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Arrival, Event, Mail};
use crate::observe::repeat;
use crate::queue::outcome::Receipt;
use crate::runtime::{Defect, Runtime, Segment, Synced};
use crate::shard::Shard;
use crate::shard::outbound::handoff;
use crate::shard::outbound::pump::give_credit;
use crate::shard::store::refuse::{refuse, refuse_or_keep};
use crate::shard::store::writer::{LaneWriter, NoticeSubject, Waiters};
use crate::shard::store::{at_once, grow, retell, secure};
use crate::shard::timers::Sleep;
use crate::smtp::server::NotStored;
use crate::spool::batch::{Batch, Item, NewMessage};
use crate::spool::lane::{Begin, DurableItem, StoredMessage};
use crate::spool::record::Extent;
use crate::time::Instant;

/// The lane writer: the one writer of a lane.
pub async fn persist<R: Runtime>(shard: Rc<Shard<R>>, writer: Rc<LaneWriter<R>>) {
    secure::secure(&shard, &writer).await;
    retell::retell(&shard, &writer).await;
    loop {
        housekeep(&shard, &writer).await;
        // There may be room again, or none any more.
        shard.gate();
        due(&shard, &writer).await;
        let begin = {
            let mut queue = writer.queue.borrow_mut();
            writer.urgent.set(0);
            writer.oldest.set(None);
            let begin = writer.lane_mut().begin(&mut queue, shard.runtime.random());
            writer.has_more.set(!queue.is_empty());
            if !queue.is_empty() {
                // What did not fit goes next.
                writer.urgent.set(1);
            }
            begin
        };
        match begin {
            Begin::Nothing => rest(&shard, &writer).await,
            Begin::Stalled => writer.stalled.set(true),
            Begin::Refused(refused) => {
                refused.into_iter().for_each(|one| refuse(&shard, one, NotStored::NoSpace));
            }
            Begin::Held(items) => writer.held.borrow_mut().extend(items),
            Begin::Commit(batch) => {
                // Not at rest after all.
                writer.closing.set(writer.closing.get().filter(|clean| *clean));
                writer.writing.set(true);
                commit(&shard, &writer, batch).await;
                writer.writing.set(false);
            }
        }
    }
}

/// Waits until a commit is due.
async fn due<R: Runtime>(shard: &Shard<R>, writer: &LaneWriter<R>) {
    let mut delay: Option<Sleep> = None;
    poll_fn(|context| {
        let waiting = writer.queue.borrow().len();
        if !writer.stalled.get() {
            if writer.urgent.get() > 0
                || waiting >= limits::OUTCOMES_AT
                || (waiting > 0 && shard.draining.get())
            {
                return Poll::Ready(());
            }
            if let Some(oldest) = writer.oldest.get() {
                let at = oldest + limits::OUTCOME_DELAY_MAX;
                let delay = delay.get_or_insert_with(|| shard.timers.sleep_until(at));
                if Pin::new(delay).poll(context).is_ready() {
                    return Poll::Ready(());
                }
            }
        }
        *writer.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    // What did not fit into the commit before is more than enough for one: it waits no longer.
    let delay = shard.particulars.commit_delay;
    if !delay.is_zero() && writer.urgent.get() > 0 && !writer.has_more.get() && !shard.draining.get() {
        shard.runtime.sleep_until(shard.runtime.now() + delay).await;
    }
}

/// Nothing is to be written; perhaps it is to be said that all is.
async fn rest<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) {
    let Some(clean) = writer.closing.get() else { return };
    let batch = writer.lane_mut().close(clean, shard.runtime.random());
    if let Some(batch) = batch {
        writer.writing.set(true);
        commit(shard, writer, batch).await;
        writer.writing.set(false);
    }
    writer.closing.set(None);
}

async fn commit<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>, batch: Batch<Waiters>) {
    let started = shard.runtime.now();
    writer.committed.set(started);
    let counters = &shard.instruments.counters;
    match write(writer, &batch).await {
        Ok(synced) => {
            counters.commits.add(1);
            writer.mapped.borrow_mut().insert(batch.slot, started);
            counters.commit_items.add(batch.len() as u64);
            counters.commit_bytes.add(batch.bytes() as u64);
            let took = shard.runtime.now().since(started).as_micros();
            let _ = shard.say.latencies.borrow_mut().commit.record(took as u64);
            committed(shard, writer, batch, synced);
        }
        Err(error) => {
            counters.commits_failed.add(1);
            say_failed(shard, writer, &error);
            let slot = batch.slot;
            let items = writer.lane_mut().failed(batch);
            if shard.runtime.planted(Defect::FailedSegmentSealed) {
                writer.lane_mut().plant_sealed(slot);
            }
            let mut queue = writer.queue.borrow_mut();
            for item in items.into_iter().rev() {
                if let Some(item) = refuse_or_keep(shard, item, NotStored::Disk) {
                    queue.push_front(item);
                }
            }
            if !queue.is_empty() {
                writer.oldest.set(Some(shard.runtime.now()));
            }
        }
    }
}

async fn write<R: Runtime>(writer: &LaneWriter<R>, batch: &Batch<Waiters>) -> io::Result<Synced> {
    let segment =
        writer.segment(batch.slot).ok_or_else(|| io::Error::other("the segment file is not open"))?;
    if let Some(header) = &batch.header {
        segment.append(0, &[io::IoSlice::new(header)])?;
    }
    segment.append(u64::from(batch.offset), &batch.parts())?;
    segment.sync().await
}

/// Everything in the batch is durable: answers, handoffs, credits.
fn committed<R: Runtime>(
    shard: &Rc<Shard<R>>,
    writer: &Rc<LaneWriter<R>>,
    batch: Batch<Waiters>,
    synced: Synced,
) {
    let mut done = std::mem::take(&mut *writer.done.borrow_mut());
    writer.lane_mut().done(batch, synced, |_, item| done.push(item));
    let lane = writer.lane().number();
    let mut credits = writer.credits.borrow_mut();
    credits.resize(shard.mesh.shards(), 0u32);
    let (mut outcomes, wall) = (0, shard.runtime.wall());
    for item in done.drain(..) {
        match item {
            DurableItem::Message(stored, session) => {
                let waited = wall.0.saturating_sub(stored.message.envelope.came().0);
                let _ = shard.say.latencies.borrow_mut().accepted.record(waited.max(1) * 1000);
                let id = message_committed(shard, writer, stored, None);
                session.fulfil(Ok(id));
            }
            DurableItem::Own(stored, about) => {
                message_committed(shard, writer, stored, Some(&about));
            }
            DurableItem::Chunk(extent, session) => session.fulfil(Ok(*extent.get())),
            DurableItem::Piece(extent, compactor) => compactor.fulfil(Ok(*extent.get())),
            DurableItem::Outcome { ticket, .. } => {
                outcomes += 1;
                if let Some((home, receipt)) = ticket {
                    credits[usize::from(home)] += 1;
                    receipt.iter().for_each(Receipt::written);
                }
            }
            DurableItem::Snapshot => {}
            DurableItem::Moved { key, to, ticket } => {
                if let Some((location, bytes)) = to {
                    shard.mesh.places(lane).moved(key, location);
                    shard.instruments.counters.messages_moved.add(1);
                    shard.instruments.counters.bytes_moved.add(bytes);
                }
                if let Some(compactor) = ticket {
                    compactor.fulfil(());
                }
            }
        }
    }
    *writer.done.borrow_mut() = done;
    writer.outcomes_written.set(writer.outcomes_written.get() + outcomes);
    drop(credits);
    // Nothing is begun while what is under way fills the journal's queue; a turn of the shard gives them then.
    if !shard.say.events.borrow().is_behind() {
        give_credits(shard, writer);
    }
}

/// Credits go home.
pub(in crate::shard) fn give_credits<R: Runtime>(shard: &Rc<Shard<R>>, writer: &LaneWriter<R>) {
    let lane = writer.lane().number();
    let mut credits = writer.credits.borrow_mut();
    for (home, count) in credits.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
        give_credit(shard, home, lane, std::mem::take(count));
    }
}

/// A message is on disk: it is recorded and handed on.
fn message_committed<R: Runtime>(
    shard: &Rc<Shard<R>>,
    writer: &LaneWriter<R>,
    stored: StoredMessage,
    about: Option<&NoticeSubject>,
) -> Durable<MessageId> {
    let StoredMessage { id, location, key, message } = stored;
    received(shard, *id.get(), &message, about);
    shard.ungather(message.body.capacity());
    shard.mesh.places(location.lane).first_stored(key);
    if shard.runtime.planted(Defect::SegmentRecycledEarly) {
        let of_nobody = Extent { sequence: 0, slot: location.slot, offset: 0, length: 0, crc: 0 };
        writer.lane_mut().drop_chunks(&[of_nobody]);
    }
    handoff::stored(shard, location, key, &message.envelope);
    if message.envelope.parameters.is_some() {
        at_once::stored(shard, writer, (location, key), *id.get(), &message.envelope);
    }
    shard.give_body(message.body);
    shard.inbound.envelopes.give(message.envelope);
    id
}

/// Counts and records a message that is on disk.
fn received<R: Runtime>(
    shard: &Shard<R>,
    id: MessageId,
    message: &NewMessage,
    about: Option<&NoticeSubject>,
) {
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
    let arrival = Arrival {
        parent,
        size: message.size,
        client: envelope.origin.client,
        tls: envelope.origin.tls.as_deref(),
        verified: envelope.signatures.as_deref().and_then(results::verdicts),
    };
    let parameters = envelope.parameters.as_deref().map(|of| of.message.named()).unwrap_or_default();
    let mut events = shard.say.events.borrow_mut();
    let mut record = |recipients: &[&[u8]]| {
        let mail = Mail {
            account: envelope.account.as_deref(),
            parameters: &parameters,
            ..Mail::new(id, &envelope.sender, (0, recipients))
        };
        events.record(envelope.came(), &Event::Received(mail, arrival));
    };
    if let [one] = &envelope.recipients[..] {
        record(&[&one.address]);
    } else {
        let recipients: Vec<&[u8]> = envelope.recipients.iter().map(|one| &one.address[..]).collect();
        record(&recipients);
    }
    if let Some(about) = about {
        events.record_encoded(&about.records, Some(id));
    }
}

/// Frees dead segments, asks for new ones, takes snapshots.
async fn housekeep<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) {
    for round in 0.. {
        if round == limits::FREES_AT_ONCE {
            // A commit that waits comes first.
            writer.nudge();
            break;
        }
        if shard.runtime.now() < writer.free_from.get() {
            break;
        }
        let next = writer.lane_mut().next_to_free();
        let Some((slot, block)) = next else { break };
        let proof = match writer.segment(slot) {
            Some(segment) => match segment.append(0, &[io::IoSlice::new(&block)]) {
                Ok(()) => segment.sync().await.ok(),
                Err(_) => None,
            },
            None => None,
        };
        if proof.is_none() {
            // The compactor's tick comes back to it.
            writer.free_from.set(shard.runtime.now() + limits::FREE_PAUSE);
        }
        shard.instruments.counters.segments_recycled.add(u64::from(proof.is_some()));
        writer.lane_mut().freed(slot, proof);
        writer.stalled.set(false);
        if !writer.held.borrow().is_empty() {
            writer.resume();
        }
    }
    let due = writer.lane_mut().snapshot_due();
    for slot in due {
        writer.queue.borrow_mut().push_front(Item::Snapshot(slot));
        writer.oldest.set(Some(writer.oldest.get().unwrap_or(shard.runtime.now())));
    }
    let wanted = writer.lane_mut().wants_segment();
    if let Some(slot) = wanted {
        shard.runtime.spawn_vital("segment maker", grow::make_segment(shard.clone(), writer.clone(), slot));
    }
}

/// The first is said at once; a disk that goes on failing is told as a number now and then.
fn say_failed<R: Runtime>(shard: &Shard<R>, writer: &LaneWriter<R>, error: &io::Error) {
    let now = shard.runtime.now().since(Instant::default());
    let Some(times) = writer.failing.borrow_mut().happened(now) else { return };
    let (lane, more) = (writer.lane().number(), repeat::more(times));
    shard.say(
        Level::Error,
        format_args!(
            "lane {lane}: a commit failed ({error}); its clients get 451, the lane goes on in a fresh segment{more}"
        ),
    );
}
