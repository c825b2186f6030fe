//! After a start: what lanes recorded and a journal does not have is told again, before a lane writes anything.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use crate::id::Location;
use crate::limits;
use crate::mail::results;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Arrival, Attempt, Event, Mail};
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::event;
use crate::shard::store::load::{self, StoredRecord};
use crate::shard::store::writer::LaneWriter;
use crate::smtp::reply;
use crate::spool::record::MessageView;
use crate::spool::since::Happened;

/// Tells it, a little at a time, and no faster than it is taken. A stop that nobody takes it from leaves it to the next start.
pub(super) async fn retell<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) {
    let since = writer.since.take();
    if since.cut {
        let lane = writer.lane().number();
        shard.say(
            Level::Error,
            format_args!(
                "lane {lane}: more than {} records are not in the journal; events behind these are not told again",
                since.most
            ),
        );
    }
    for some in since.found.chunks(limits::RETOLD_TOGETHER) {
        for of_one in by_message(some) {
            if !tell(shard, &of_one).await {
                return;
            }
        }
    }
    begin(shard, writer).await;
    writer.retold.set(true);
}

/// The same, what is of one message together. In the order of the first of each, so that nothing comes before its message, wherever that moved.
fn by_message(some: &[Happened]) -> Vec<Vec<&Happened>> {
    let mut places: HashMap<Location, usize> = HashMap::new();
    let mut grouped: Vec<Vec<&Happened>> = Vec::new();
    for one in some {
        let place = *places.entry(one.of()).or_insert(grouped.len());
        match grouped.get_mut(place) {
            Some(group) => group.push(one),
            None => grouped.push(vec![one]),
        }
    }
    grouped
}

/// Tells what happened to one message. False: the shard stops, and it is not taken.
async fn tell<R: Runtime>(shard: &Rc<Shard<R>>, of_one: &[&Happened]) -> bool {
    let Some(of) = of_one.first().map(|one| one.of()) else { return true };
    let source = StoredRecord::read(shard, of).await;
    let view = match source.as_ref().map(StoredRecord::view) {
        Ok(Ok(view)) => view,
        Ok(Err(error)) => return cannot_be_read(shard, of, &error),
        Err(error) => return cannot_be_read(shard, of, error),
    };
    let mut recipients: Vec<&[u8]> = Vec::new();
    for one in of_one {
        match one {
            Happened::Message(_) => received(shard, &view),
            Happened::Outcome { first, count, disposition, .. } => {
                if recipients.is_empty() {
                    recipients.extend(view.recipients().map(|(address, _)| address));
                }
                let (from, to) = (usize::from(*first), usize::from(*first) + usize::from(*count));
                let some = recipients.get(from..to.min(recipients.len())).unwrap_or_default();
                outcome(shard, &view, (*first, some), disposition);
            }
        }
        if shard.runtime.should_yield() {
            shard.runtime.yield_now().await;
        }
        // Not until nothing is held back: that waits for the lane, which waits for this.
        while shard.say.events.borrow().is_stuck() {
            if shard.draining.get() {
                return false;
            }
            shard.timers.sleep_until(shard.runtime.now() + limits::DISPATCH_TICK).await;
        }
    }
    true
}

fn cannot_be_read<R: Runtime>(shard: &Shard<R>, of: Location, error: &io::Error) -> bool {
    let words = format!("cannot be read: {error}; what happened to it is not told again");
    load::report_unreadable(shard, None, of, &words);
    true
}

/// A journal that knows nothing of a lane learns where it stands now, before anything is written: the next start is to tell what comes.
/// What shards do meanwhile with mail that was found waits for the lane, so this waits for none of it.
async fn begin<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) {
    let Some(journaled) = shard.say.events.borrow().kept().cloned() else { return };
    let (lane, until) = (writer.lane().number(), writer.lane().position());
    if journaled.of(lane).is_none() {
        shard.say.events.borrow_mut().begin_lane(lane, until);
    }
    while journaled.of(lane).is_none() && !shard.draining.get() {
        shard.timers.sleep_until(shard.runtime.now() + limits::FIRST_JOURNALED_LOOK).await;
    }
}

/// That a message came.
fn received<R: Runtime>(shard: &Shard<R>, view: &MessageView<'_>) {
    if shard.runtime.planted(Defect::LogCutByKill) {
        return;
    }
    let recipients: Vec<&[u8]> = view.recipients().map(|(address, _)| address).collect();
    let mail = Mail {
        account: view.account,
        parameters: &view.parameters().to_named(),
        again: true,
        ..Mail::new(view.id, view.sender, (0, &recipients))
    };
    // Of a notification the record does not say what it is about.
    let (client, tls, verified) = (view.client, view.tls, results::verdicts(view.signatures));
    let arrival = Arrival { parent: None, size: view.size, client, tls, verified };
    shard.say.events.borrow_mut().record(view.came(), &Event::Received(mail, arrival));
}

/// What became of some recipients, as the record has it.
fn outcome<R: Runtime>(
    shard: &Shard<R>,
    view: &MessageView<'_>,
    (first, recipients): (u16, &[&[u8]]),
    disposition: &Stored,
) {
    if shard.runtime.planted(Defect::OutcomesUntold) {
        return;
    }
    // Of other ends a record says no more than that they are, and of those that are returned what the reply was about.
    let deferral = disposition.deferral();
    let reply = deferral.map(StoredDeferral::described).unwrap_or_default();
    let enhanced = reply::enhanced(&reply);
    let ours = deferral.is_some_and(StoredDeferral::is_ours);
    let recorded =
        disposition.returned().copied().flatten().filter(|_| !shard.runtime.planted(Defect::ClassUntold));
    let class = recorded.or_else(|| event::class_of(shard, disposition, ours, &reply, ("", enhanced), None));
    let attempt = Attempt {
        attempts: deferral.map_or(0, |deferral| deferral.attempts),
        enhanced,
        class: class.map_or("", |class| class.word()),
        reply: &reply,
        ..Attempt::default()
    };
    let mut at = 0;
    // In the pieces in which it was told the first time: recipients with parameters of their own have events of their own.
    while at < recipients.len() {
        let from = first + at as u16;
        let alike = usize::from(view.alike_from(from)).min(recipients.len() - at);
        let mail = Mail {
            account: view.account,
            parameters: &view.named_parameters(from),
            came: Some((view.arrival, view.size)),
            again: true,
            ..Mail::new(view.id, view.sender, (from, &recipients[at..at + alike]))
        };
        let event = event::event_of(disposition, mail, attempt, |deferral| deferral.next);
        shard.say.events.borrow_mut().record(shard.runtime.wall(), &event);
        if deferral.is_some_and(|deferral| deferral.late) {
            let attempt = Attempt { class: "", ..attempt };
            shard.say.events.borrow_mut().record(shard.runtime.wall(), &Event::Delayed(mail, attempt));
        }
        at += alike;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_once_for_all_that_happened_to_it() {
        let place = |slot| Location { lane: 0, slot, offset: 4096 };
        let outcome = |slot, first| {
            let disposition = Stored::Delivered;
            Happened::Outcome { of: place(slot), first, count: 1, disposition }
        };
        // The message of slot 5 moves to slot 1 in the middle of it.
        let mut some = vec![Happened::Message(place(5)), Happened::Message(place(3))];
        some.extend((0..1000).flat_map(|first| [outcome(5, first), outcome(3, first)]));
        some.push(outcome(1, 1000));
        let groups = by_message(&some);
        let found: Vec<(Location, usize)> = groups.iter().map(|group| (group[0].of(), group.len())).collect();
        assert_eq!(found, [(place(5), 1001), (place(3), 1001), (place(1), 1)]);
        for group in groups {
            let of_one: Vec<&Happened> = some.iter().filter(|one| one.of() == group[0].of()).collect();
            assert_eq!(group, of_one, "in its order");
        }
    }
}
