//! After a start: what lanes recorded and a journal does not have is told again, before a lane writes anything.

use std::io;
use std::rc::Rc;

use crate::id::Location;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Arrival, Attempt, Event, Mail};
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::store::load::{self, Source};
use crate::shard::store::writer::LaneWriter;
use crate::smtp::reply;
use crate::spool::record::MessageView;
use crate::spool::since::Happened;
use crate::time::UnixMillis;

/// Tells it, a little at a time, and no faster than it is taken.
pub(super) async fn retell<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) {
    let since = writer.since.take();
    if since.cut {
        let lane = writer.lane.borrow().number();
        shard.say(
            Level::Error,
            format_args!(
                "lane {lane}: more than {} records are not in the journal; events behind these are not told again",
                limits::RECORDED_SINCE_MAX
            ),
        );
    }
    let mut last: Option<(Location, Source)> = None;
    for some in since.found.chunks(limits::REPLAYED_AT_ONCE) {
        for one in some {
            let (Happened::Message(of) | Happened::Outcome { of, .. }) = one;
            if last.as_ref().is_none_or(|(location, _)| location != of) {
                last = Source::read_now(shard, *of).ok().map(|source| (*of, source));
            }
            let source = last.as_ref().ok_or_else(load::damaged);
            if let Err(error) = source.and_then(|(_, source)| tell(shard, &source.view()?, one)) {
                let words = format!("cannot be read: {error}; what happened to it is not told again");
                load::report_unreadable(shard, None, *of, &words);
            }
        }
        shard.runtime.yield_now().await;
        // Not until nothing is held back: that waits for the lane, which waits for this.
        while shard.say.journal.borrow().is_stuck() && !shard.draining.get() {
            shard.timers.sleep_until(shard.runtime.now() + limits::DISPATCH_TICK).await;
        }
    }
    begin(shard, writer).await;
    writer.retold.set(true);
}

/// A journal that knows nothing of a lane learns where it stands now, before anything is written: the next start is to tell what comes.
/// What shards do meanwhile with mail that was found waits for the lane, so this waits for none of it.
async fn begin<R: Runtime>(shard: &Rc<Shard<R>>, writer: &Rc<LaneWriter<R>>) {
    let Some(journaled) = shard.say.journal.borrow().kept().cloned() else { return };
    let (lane, until) = (writer.lane.borrow().number(), writer.lane.borrow().position());
    if journaled.of(lane).is_none() {
        shard.say.journal.borrow_mut().begin_lane(lane, until);
    }
    while journaled.of(lane).is_none() && !shard.draining.get() {
        shard.timers.sleep_until(shard.runtime.now() + limits::FIRST_JOURNALED_LOOK).await;
    }
}

fn tell<R: Runtime>(shard: &Shard<R>, view: &MessageView<'_>, one: &Happened) -> io::Result<()> {
    match one {
        Happened::Message(_) => received(shard, view),
        Happened::Outcome { first, count, disposition, .. } => {
            outcome(shard, view, (*first, *count), disposition)
        }
    }
    Ok(())
}

/// That a message came.
pub(in crate::shard) fn received<R: Runtime>(shard: &Shard<R>, view: &MessageView<'_>) {
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
    let arrival = Arrival { parent: None, size: view.size, client: view.client, tls: view.tls };
    shard.say.journal.borrow_mut().record(view.arrival, &Event::Received(mail, arrival));
}

/// What became of some recipients, as the record has it.
fn outcome<R: Runtime>(
    shard: &Shard<R>,
    view: &MessageView<'_>,
    (first, count): (u16, u16),
    disposition: &Stored,
) {
    if shard.runtime.planted(Defect::OutcomesUntold) {
        return;
    }
    let recipients: Vec<&[u8]> =
        view.recipients().skip(first.into()).take(count.into()).map(|(address, _)| address).collect();
    let mut at = 0;
    // In the pieces in which it was told the first time: recipients with parameters of their own have events of their own.
    while at < recipients.len() {
        let from = first + at as u16;
        let alike = usize::from(view.alike_from(from)).min(recipients.len() - at);
        let mail = Mail {
            account: view.account,
            parameters: &view.named_parameters(from),
            again: true,
            ..Mail::new(view.id, view.sender, (from, &recipients[at..at + alike]))
        };
        let event = match disposition {
            Stored::Delivered => Event::Delivered(mail, Attempt::default()),
            Stored::Bounced(()) => Event::Bounced(mail, Attempt::default()),
            Stored::Expired(()) => Event::Expired(mail, Attempt::default()),
            Stored::Discarded => Event::Discarded(mail, Attempt::default()),
            Stored::Deferred(StoredDeferral { attempts, next, reply }) => {
                let (attempts, enhanced) = (*attempts, reply::enhanced(reply));
                let attempt = Attempt { attempts, reply, enhanced, ..Attempt::default() };
                Event::Deferred(mail, attempt, UnixMillis(u64::from(*next) * 1000))
            }
        };
        shard.say.journal.borrow_mut().record(shard.runtime.wall(), &event);
        at += alike;
    }
}
