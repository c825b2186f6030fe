//! Recipients that a rule discards: they have their end as soon as their message is on disk, and nobody is handed them. The record says who
//! they are, so a start that finds them without an end gives them one.

use crate::id::{Location, MessageId};
use crate::mail::envelope::{Envelope, Recipient};
use crate::observe::event::{Attempt, Event, Mail};
use crate::queue::outcome::Stored;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::store::writer::LaneWriter;
use crate::spool::batch::Outcome;
use crate::spool::record::MessageView;

/// A message is on disk of which a rule discards some recipients: these have their end.
#[cold]
pub(super) fn stored<R: Runtime>(
    shard: &Shard<R>,
    writer: &LaneWriter<R>,
    place: (Location, u32),
    id: MessageId,
    envelope: &Envelope,
) {
    let alike = |one: &Recipient| (one.discarded, one.parameters);
    let mut first = 0;
    for some in envelope.recipients.chunk_by(|one, next| alike(one) == alike(next)) {
        let count = some.len() as u16;
        if some[0].discarded {
            let parameters =
                envelope.parameters.as_ref().map(|of| of.of(some[0].parameters)).unwrap_or_default();
            let recipients: Vec<&[u8]> = some.iter().map(|one| &one.address[..]).collect();
            let mail = Mail {
                account: envelope.account.as_deref(),
                parameters: &parameters.named(),
                ..Mail::new(id, &envelope.sender, (first, &recipients))
            };
            let event = Event::Discarded(mail, Attempt::default());
            shard.say.journal.borrow_mut().record_outcome(envelope.arrival, &event, true);
            end_of_discarded(shard, writer, place, (first, count));
        }
        first += count;
    }
}

/// The same of a message that was found at start, as far as that is not written down.
pub(in crate::shard) fn found<R: Runtime>(
    shard: &Shard<R>,
    (location, key): (Location, u32),
    view: &MessageView<'_>,
    (first, count): (u16, u16),
) {
    let writer = shard.writer(location.lane);
    let is_live = |ordinal: u16| {
        let lane = writer.lane.borrow();
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
                again: true,
                ..Mail::new(view.id, view.sender, (from, &addresses[at..at + live]))
            };
            let event = Event::Discarded(mail, Attempt::default());
            shard.say.journal.borrow_mut().record_outcome(shard.runtime.wall(), &event, true);
            end_of_discarded(shard, &writer, (location, key), (from, live as u16));
        }
        at += live.max(1);
    }
}

fn end_of_discarded<R: Runtime>(
    shard: &Shard<R>,
    writer: &LaneWriter<R>,
    (location, key): (Location, u32),
    (first, count): (u16, u16),
) {
    shard.instruments.counters.recipients_discarded.add(count.into());
    let outcome = Outcome { key, location, first, count, disposition: Stored::Discarded };
    writer.push_unasked(shard.runtime.now(), outcome);
}
