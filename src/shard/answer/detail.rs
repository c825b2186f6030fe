//! What the lanes know of messages: where one of an id is, and what a row or a whole message tells.

use std::rc::Rc;

use crate::id::{Location, MessageId};
use crate::limits;
use crate::mail::parameters::Key;
use crate::queue::suspension::Whose;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::answer::rest;
use crate::shard::ask::{Detail, MessageDetail, Reply, StoredRecipients, UnsettledRecipient, Untold};
use crate::shard::outbound::suspended;
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::StoredRecord;
use crate::shard::store::writer::LaneWriter;
use crate::spool::index::LiveRange;
use crate::spool::record::MessageView;

/// Lane and key of the messages of this id; those of adopted lanes may have one of ours. None: nobody waits for it.
pub(super) async fn find<R: Runtime, T>(
    shard: &Rc<Shard<R>>,
    id: MessageId,
    reply: &Reply<T>,
) -> Option<Vec<(u16, u32)>> {
    let mut found = Vec::new();
    for writer in &shard.store.writers {
        let end = writer.lane().keys();
        for from in (0..end).step_by(limits::ASK_LOOKS) {
            let begun = shard.runtime.now();
            if !reply.is_wanted() {
                return None;
            }
            {
                let lane = writer.lane();
                let keys = from..end.min(from + limits::ASK_LOOKS as u32);
                found.extend(keys.filter(|key| lane.id(*key) == Some(id)).map(|key| (lane.number(), key)));
            }
            rest::slice(shard, begun).await;
        }
    }
    Some(found)
}

/// What rows tell of these places. None: nobody waits for it.
pub(super) async fn details<R: Runtime, T>(
    shard: &Rc<Shard<R>>,
    places: &[StoredRecipients],
    reply: &Reply<T>,
) -> Option<Vec<Result<Detail, Untold>>> {
    let mut details = Vec::with_capacity(places.len().min(limits::PAGE_ROWS));
    for place in places.iter().take(limits::PAGE_ROWS) {
        if !reply.is_wanted() {
            return None;
        }
        details.push(detail(shard, place).await);
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
    }
    Some(details)
}

async fn detail<R: Runtime>(shard: &Rc<Shard<R>>, place: &StoredRecipients) -> Result<Detail, Untold> {
    let lane = place.location.lane;
    let (id, range) = range(shard, lane, place.key, place.first).ok_or(Untold::Gone)?;
    let pinned = Pinned::new(shard, place.key, place.location);
    let source = StoredRecord::read(shard, pinned.location).await;
    let view = source.as_ref().ok().and_then(|source| source.view().ok()).filter(|view| view.id == id);
    let said = || said(shard, lane, range);
    let Some(view) = view else {
        // Settled while it was read, and its key may be another message's by now.
        let still = own_lane(shard, lane).is_some_and(|writer| writer.lane().id(place.key) == Some(id));
        return Err(if still { Untold::Unreadable(id, said().0) } else { Untold::Gone });
    };
    let recipients = view.recipients().skip(place.first.into()).take(usize::from(place.count));
    let recipients = recipients.take(limits::ROW_RECIPIENTS).map(|(address, _)| text(address)).collect();
    Ok(Detail { recipients, whose: whose(&view, place.first), ..of(&view, said()) })
}

/// What was said last, and who holds it.
type Said = (String, Option<String>);

/// All of a message.
pub(super) async fn show<R: Runtime>(
    shard: &Rc<Shard<R>>,
    lane: u16,
    key: u32,
    id: MessageId,
) -> Result<MessageDetail, Untold> {
    let writer = own_lane(shard, lane).ok_or(Untold::Gone)?;
    let location = {
        let lane = writer.lane();
        let entry = lane.entry(key).filter(|_| lane.id(key) == Some(id)).ok_or(Untold::Gone)?;
        Location { lane: lane.number(), slot: entry.slot, offset: entry.offset }
    };
    let pinned = Pinned::new(shard, key, location);
    let source = StoredRecord::read(shard, pinned.location).await;
    let ranges = {
        let lane = writer.lane();
        lane.entry(key).filter(|_| lane.id(key) == Some(id)).ok_or(Untold::Gone)?.live().to_vec()
    };
    let view = source.as_ref().ok().and_then(|source| source.view().ok()).filter(|view| view.id == id);
    let first = || ranges.first().map(|range| said(shard, lane, *range)).unwrap_or_default();
    let view = view.ok_or_else(|| Untold::Unreadable(id, first().0))?;
    let left = ranges.iter().map(|range| u32::from(range.count)).sum();
    let mut live = Vec::new();
    let mut last = Default::default();
    for (ordinal, (address, _)) in (0u16..).zip(view.recipients()) {
        let holds = |range: &&LiveRange| (range.first..range.first + range.count).contains(&ordinal);
        let Some(range) = ranges.iter().find(holds) else { continue };
        if live.len() == limits::PAGE_ROWS {
            break;
        }
        last = said(shard, lane, *range);
        live.push(UnsettledRecipient {
            ordinal,
            address: text(address),
            attempts: range.attempts,
            next: range.next,
            reply: last.0.clone(),
            hold: last.1.clone(),
        });
    }
    let first = live.iter().take(limits::ROW_RECIPIENTS).map(|live| live.address.clone()).collect();
    let detail = Detail { recipients: first, ..of(&view, last) };
    let origin = view.parameters().value(Key::Origin).map(str::to_owned);
    Ok(MessageDetail { detail, origin, expiry: view.expiry, recipients: view.count, live, left })
}

fn of(view: &MessageView<'_>, (reply, hold): Said) -> Detail {
    Detail {
        id: view.id,
        sender: text(view.sender),
        arrival: view.arrival,
        lives: view.lives().seconds(),
        size: view.size,
        whose: Default::default(),
        recipients: Vec::new(),
        reply,
        hold,
    }
}

/// Whose mail this recipient's is.
fn whose(view: &MessageView<'_>, ordinal: u16) -> [String; 3] {
    let parameters = view.parameters_of(ordinal);
    let Whose { tenant, campaign, pool } = suspended::whose(&parameters);
    [tenant, campaign, pool].map(str::to_owned)
}

/// The id of a message of one of these lanes, and what is live of it at this ordinal.
fn range<R: Runtime>(shard: &Shard<R>, lane: u16, key: u32, ordinal: u16) -> Option<(MessageId, LiveRange)> {
    let writer = own_lane(shard, lane)?;
    let lane = writer.lane();
    let live = lane.entry(key)?.live().to_vec();
    let holds = |range: &LiveRange| (range.first..range.first + range.count).contains(&ordinal);
    Some((lane.id(key)?, live.into_iter().find(holds)?))
}

/// What was said last of a range, and the words of who holds it, as long as he does.
fn said<R: Runtime>(shard: &Shard<R>, lane: u16, range: LiveRange) -> Said {
    let Some(writer) = own_lane(shard, lane) else { return Said::default() };
    let lane = writer.lane();
    let (reply, hold) = lane.said(&range);
    let hold = hold.filter(|_| range.next > shard.runtime.wall().seconds());
    (text(reply.as_bytes()), hold.map(|words| text(words.as_bytes())))
}

/// A lane that this shard writes.
pub(super) fn own_lane<R: Runtime>(shard: &Shard<R>, lane: u16) -> Option<Rc<LaneWriter<R>>> {
    let known = usize::from(lane) < shard.mesh.lanes() && shard.mesh.writer(lane) == shard.index;
    known.then(|| shard.writer(lane))
}

/// For eyes, and bounded.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(limits::ROW_TEXT_MAX)]).into_owned();
    text.retain(|letter| !letter.is_control());
    text
}
