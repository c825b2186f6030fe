//! Beside transact: the node is emptied into another one of its operator, which takes over what is known of the mail. The shard of the message's lane knows how
//! far delivery was; it is asked, as the body goes from any shard.

use crate::limits;
use crate::mail::handover::{Begun, Handover};
use crate::mail::origin;
use crate::mail::parameters::{Key, Parameters};
use crate::queue::{Group, GroupPhase};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::message::{Asked, Known, ShardMessage};
use crate::shard::outbound::session::Connection;
use crate::shard::outbound::tally::{Part, Tally};
use crate::shard::outbound::work::Run;
use crate::shard::promise::promise;
use crate::spool::record::MessageView;
use crate::time::UnixMillis;

/// What is to go later waits here until then, where the relay into which this node is emptied would have it go at once.
pub(super) fn keep_back<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    view: &MessageView<'_>,
    group: &Group,
    tally: &mut Tally,
) {
    let shard = run.shard;
    if connection.capabilities.handover || !run.site.hop.borrow().hands_over {
        return;
    }
    let hour = view.release().filter(|_| group.attempts == 0);
    let left = hour.map_or(0, |hour| hour.0.saturating_sub(shard.runtime.wall().0));
    if left > 0 {
        let not_before = shard.seconds().saturating_add(UnixMillis(left).seconds_up());
        let standing = GroupPhase::Held;
        let left = tally.left.drain(..);
        tally.waits.extend(left.map(|(first, count)| Group { first, count, standing, not_before, ..*group }));
    }
}

/// How many recipients from this one on go in one transaction: all are told of in the same words.
pub(super) fn alike<R: Runtime>(connection: &Connection<R>, view: &MessageView<'_>, first: u16) -> u16 {
    if connection.capabilities.handover { view.alike_from(first) } else { u16::MAX }
}

/// Begins the header with what the next node is to know, where it takes that. Whether it stands there.
pub(super) async fn begin<R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    view: &MessageView<'_>,
    part: &Part<'_>,
    headers: &mut Vec<u8>,
) -> bool {
    headers.clear();
    if !connection.capabilities.handover || connection.lmtp {
        return false;
    }
    let Some(Known { born, begun }) = known(shard, part).await else { return false };
    let mut parameters: Parameters = view.parameters_of(part.first).to_owned();
    if parameters.get(Key::Origin).is_none() {
        parameters.put(Key::Origin, origin::write(born, view.id).into());
    }
    let begun = Begun { attempts: part.group.attempts, ..begun };
    let handover = Handover {
        arrival: view.arrival,
        expiry: view.expiry,
        account: view.account.map(Into::into),
        hides_client: view.hides_client,
        parameters,
        begun,
    };
    // What is longer than what the next node may have in memory of it goes as it would to any relay.
    let most = limits::HANDOVER_SECTION_MAX.saturating_sub(view.header_length as usize);
    let written = handover.write(headers) && headers.len() + view.signatures.len() <= most;
    if !written {
        headers.clear();
    }
    written
}

/// A recipient was taken there: as it was, or as any mail is.
pub(super) fn count<R: Runtime>(shard: &Shard<R>, handed_over: bool) {
    let counters = &shard.instruments.counters;
    let counter =
        if handed_over { &counters.recipients_handed_over } else { &counters.recipients_handed_anew };
    counter.add(1);
}

/// How far delivery to these recipients is, as their lane has it. How often they were tried their queue knows best. None: they are gone.
async fn known<R: Runtime>(shard: &Shard<R>, part: &Part<'_>) -> Option<Known> {
    let Group { location, key, .. } = *part.group;
    let asked = Asked { location, key, first: part.first, count: part.count };
    let writer = shard.mesh.writer(location.lane);
    if writer == shard.index {
        return look(shard, asked);
    }
    let standings = &shard.outbound.standings;
    let number = standings.next.get();
    standings.next.set(number.wrapping_add(1));
    let (fulfil, answer) = promise();
    standings.asked.borrow_mut().insert(number, fulfil);
    let from = u16::try_from(shard.index).unwrap_or(u16::MAX);
    shard.mesh.send(writer, ShardMessage::Standing { from, number, asked });
    answer.await.map(|known| *known)
}

/// What this shard's lane has of some recipients of a message. None: it is gone.
fn look<R: Runtime>(shard: &Shard<R>, asked: Asked) -> Option<Known> {
    let Asked { location, key, first, count } = asked;
    let writer = shard.writer(location.lane);
    let lane = writer.lane();
    let entry = lane.entry(key).filter(|entry| entry.is_told(location))?;
    let end = first.saturating_add(count);
    let live = entry.live();
    let meant = live.iter().filter(|range| range.first < end && range.first + range.count > first);
    let begun = meant.map(|range| Begun {
        attempts: range.attempts,
        next: if range.held { 0 } else { range.next },
        late: range.late,
        reply: lane.said(range).0.into(),
    });
    // Each is tried when the first of them is, and where one was not told that they are late all are.
    let all = |one: Begun, other: Begun| Begun {
        next: one.next.min(other.next),
        late: one.late && other.late,
        ..one
    };
    Some(Known { born: lane.born(), begun: begun.reduce(all)? })
}

/// Another shard asks for what a lane of this one has.
pub(in crate::shard) fn answer<R: Runtime>(shard: &Shard<R>, (from, number): (u16, u32), asked: Asked) {
    let known = look(shard, asked).map(Box::new);
    shard.mesh.send(usize::from(from), ShardMessage::Stands { number, known });
}

/// The answer to such a question of this shard.
pub(in crate::shard) fn answered<R: Runtime>(shard: &Shard<R>, number: u32, known: Option<Box<Known>>) {
    let waiting = shard.outbound.standings.asked.borrow_mut().remove(&number);
    if let Some(waiting) = waiting {
        waiting.fulfil(known);
    }
}
