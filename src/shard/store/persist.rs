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

use crate::id::MessageId;
use crate::limits;
use crate::observe::accounting::{Event, Kind};
use crate::observe::diagnostics::Level;
use crate::runtime::{Defect, Runtime, Segment, Synced};
use crate::shard::Shard;
use crate::shard::outbound::handoff;
use crate::shard::outbound::pump::give_credit;
use crate::shard::store::refuse::refuse;
use crate::shard::store::writer::{Keeper, Ticket};
use crate::shard::store::{discard, grow, secure};
use crate::shard::timers::Sleep;
use crate::smtp::server::NotStored;
use crate::spool::batch::{Batch, Item, NewMessage};
use crate::spool::lane::{Begin, Done};
use crate::spool::record::Extent;

/// The committer: the one writer of a lane.
pub async fn persist<R: Runtime>(shard: Rc<Shard<R>>, keeper: Rc<Keeper<R>>) {
    secure::secure(&shard, &keeper).await;
    loop {
        housekeep(&shard, &keeper).await;
        due(&shard, &keeper).await;
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

/// Waits until a commit is due.
async fn due<R: Runtime>(shard: &Shard<R>, keeper: &Keeper<R>) {
    let mut delay: Option<Sleep> = None;
    poll_fn(|context| {
        let waiting = keeper.queue.borrow().len();
        if !keeper.stalled.get() {
            if keeper.urgent.get() > 0
                || waiting >= limits::OUTCOMES_AT
                || (waiting > 0 && shard.draining.get())
            {
                return Poll::Ready(());
            }
            if let Some(oldest) = keeper.oldest.get() {
                let at = oldest + limits::OUTCOME_DELAY_MAX;
                let delay = delay.get_or_insert_with(|| shard.timers.sleep_until(at));
                if Pin::new(delay).poll(context).is_ready() {
                    return Poll::Ready(());
                }
            }
        }
        *keeper.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    // What did not fit into the commit before is more than enough for one: it waits no longer.
    let delay = shard.particulars.commit_delay;
    if !delay.is_zero() && keeper.urgent.get() > 0 && !keeper.crowded.get() && !shard.draining.get() {
        shard.runtime.sleep_until(shard.runtime.now() + delay).await;
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
            let _ = shard.say.latencies.borrow_mut().commit.record(took as u64);
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
            if shard.runtime.planted(Defect::FailedSegmentSealed) {
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
                if shard.runtime.planted(Defect::SegmentRecycledEarly) {
                    let of_nobody = Extent { sequence: 0, slot: location.slot, offset: 0, length: 0, crc: 0 };
                    keeper.lane.borrow_mut().drop_chunks(&[of_nobody]);
                }
                handoff::stored(shard, location, key, &message.envelope);
                if message.envelope.parameters.is_some() {
                    discard::stored(shard, keeper, (location, key), *id.get(), &message.envelope);
                }
                shard.give_body(message.body);
                shard.inbound.envelopes.give(message.envelope);
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
            // A census, or an outcome that shares its credit with others.
            (Done::Chunk(_) | Done::Outcome { .. } | Done::Census, _) => {}
        }
    }
    *keeper.done.borrow_mut() = done;
    for (home, count) in credits.iter().copied().enumerate().filter(|(_, count)| *count > 0) {
        give_credit(shard, home, lane, count);
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
    let mut journal = shard.say.journal.borrow_mut();
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
        if round == limits::FREES_AT_ONCE {
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
            keeper.free_from.set(shard.runtime.now() + limits::FREE_PAUSE);
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
