//! Recipients that have their end as soon as their message is on disk, as those that a rule discards: nobody is handed them. The record says who
//! they are, so a start that finds them without an end gives them one.

use crate::id::{Location, MessageId};
use crate::mail::envelope::{Envelope, Recipient};
use crate::names::ends::End;
use crate::observe::event::{Attempt, Mail};
use crate::queue::outcome::Stored;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::event;
use crate::shard::store::writer::LaneWriter;
use crate::spool::batch::Outcome;
use crate::spool::record::MessageView;
use crate::time::UnixMillis;

/// A message is on disk of which some recipients may have their end at once.
#[cold]
pub(super) fn stored<R: Runtime>(
    shard: &Shard<R>,
    writer: &LaneWriter<R>,
    place: (Location, u32),
    id: MessageId,
    envelope: &Envelope,
) {
    let alike = |one: &Recipient| (one.at_once, one.parameters);
    let mut first = 0;
    for some in envelope.recipients.chunk_by(|one, next| alike(one) == alike(next)) {
        let count = some.len() as u16;
        if let Some(end) = some[0].at_once {
            let parameters =
                envelope.parameters.as_ref().map(|of| of.of(some[0].parameters)).unwrap_or_default();
            let recipients: Vec<&[u8]> = some.iter().map(|one| &one.address[..]).collect();
            let mail = Mail {
                account: envelope.account.as_deref(),
                parameters: &parameters.named(),
                ..Mail::new(id, &envelope.sender, (first, &recipients))
            };
            ended(shard, writer, place, (end, envelope.arrival, mail));
        }
        first += count;
    }
}

/// The same of a message that was found at start, as far as that is not written down.
pub(in crate::shard) fn found<R: Runtime>(
    shard: &Shard<R>,
    (location, key): (Location, u32),
    view: &MessageView<'_>,
    (end, first, count): (End, u16, u16),
) {
    let writer = shard.writer(location.lane);
    let is_live = |ordinal: u16| {
        let lane = writer.lane();
        let Some(entry) = lane.entry(key) else { return false };
        entry.live().iter().any(|range| (range.first..range.first + range.count).contains(&ordinal))
    };
    let addresses: Vec<&[u8]> =
        view.recipients().skip(first.into()).take(count.into()).map(|(address, _)| address).collect();
    let mut at = 0;
    // In the pieces in which it was told, if it was.
    while at < addresses.len() {
        let from = first + at as u16;
        let alike = view.alike_from(from).min((addresses.len() - at) as u16);
        let live = (from..from + alike).take_while(|ordinal| is_live(*ordinal)).count();
        if live > 0 {
            let mail = Mail {
                account: view.account,
                parameters: &view.named_parameters(from),
                came: Some((view.arrival, view.size)),
                again: true,
                ..Mail::new(view.id, view.sender, (from, &addresses[at..at + live]))
            };
            ended(shard, &writer, (location, key), (end, shard.runtime.wall(), mail));
        }
        at += live.max(1);
    }
}

/// It is told, counted, and written down.
fn ended<R: Runtime>(
    shard: &Shard<R>,
    writer: &LaneWriter<R>,
    (location, key): (Location, u32),
    (end, at, mail): (End, UnixMillis, Mail<'_>),
) {
    let (first, count) = (mail.first, mail.recipients.len() as u16);
    let disposition = match end {
        // Nothing is done with it; what a route captures has its end later.
        End::Discarded | End::Suppressed | End::Captured => Stored::Local(end),
    };
    let event = event::event_of(&disposition, mail, Attempt::default(), |deferral| deferral.next);
    shard.say.events.borrow_mut().record_outcome(at, &event, true);
    if let Some(counter) = shard.instruments.counters.outcome(event.kind()) {
        counter.add(count.into());
    }
    let outcome = Outcome { key, location, first, count, disposition };
    writer.push_unasked(shard.runtime.now(), outcome);
}
