//! A merge (`mail::merge`), from the last of its parts to the disk: each recipient's message is made and admitted as any other is, a few at a time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use crate::config::Duties;
use crate::limits;
use crate::mail::envelope::Envelope;
use crate::mail::merge::{Merge, Who};
use crate::mail::trace;
use crate::policy::admit::Submitter;
use crate::policy::reason::Reason;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::inbound::body;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::submit::{self, SubmittedMessage};
use crate::shard::parcel::NotTaken;
use crate::shard::wire::WireError;
use crate::smtp::server::{PartEnd, WholeMerge};
use crate::smtp::words;

/// Takes in a part and answers it; behind the last one takes in the messages. False: close.
pub(super) async fn take<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
    body::take_in_part(connection).await?;
    match connection.session.part_end(&mut connection.out) {
        PartEnd::More => Ok(true),
        PartEnd::Refused { close } => {
            connection.shard.instruments.counters.messages_refused.add(1);
            connection.record_refusals();
            Ok(!close)
        }
        PartEnd::Whole(whole) => {
            // Its parts are counted by what takes them in from now on.
            connection.count();
            let taken = all(connection, whole).await;
            connection.since.message = connection.seconds();
            connection.rates.iter_mut().for_each(|rates| rates.used());
            connection.out.extend_from_slice(taken.reply().as_bytes());
            Ok(true)
        }
    }
}

/// What became of the messages of a merge.
#[derive(Debug, Default)]
pub(super) struct Taken {
    all: usize,
    taken: usize,
    /// Those that were refused for good, and what the first was.
    refused: usize,
    first: Option<Box<str>>,
    /// Why the rest was not begun.
    closed: Option<Box<str>>,
}

impl Taken {
    fn note(&mut self, became: Result<(), NotTaken>) {
        match became {
            Ok(()) => self.taken += 1,
            Err(NotTaken::Refused(reply)) if reply.starts_with('5') => {
                self.refused += 1;
                self.first.get_or_insert(reply);
            }
            Err(why) => _ = self.closed.get_or_insert_with(|| why.reply().into()),
        }
    }

    /// What the client hears: 250 where all of them are on disk, and nothing else says that none is to be sent again.
    pub(super) fn reply(&self) -> String {
        let Taken { all, taken, refused, first, closed } = self;
        match (closed, first) {
            (Some(why), _) => words::merge_stopped((*taken, *all), why),
            (None, Some(first)) => words::merge_refused((*refused, *all), first),
            (None, None) => words::merge_taken(*taken),
        }
    }
}

/// Bytes of a merge that are counted while it is taken in.
struct Gathered<'a, R: Runtime>(&'a Shard<R>, usize);

impl<'a, R: Runtime> Gathered<'a, R> {
    fn new(shard: &'a Shard<R>, bytes: usize) -> Gathered<'a, R> {
        shard.gather(bytes);
        Gathered(shard, bytes)
    }
}

impl<R: Runtime> Drop for Gathered<'_, R> {
    fn drop(&mut self) {
        self.0.ungather(self.1);
    }
}

async fn all<R: Runtime>(connection: &Connection<R>, WholeMerge { envelope, merge }: WholeMerge) -> Taken {
    let (shard, listener) = (&*connection.shard, &connection.listener);
    let account = envelope.account.clone();
    let client = Submitter {
        account: account.as_deref(),
        listener: Some(listener.place.into()),
        address: Some(connection.session.peer().ip()),
        trusted: true,
    };
    let by = (client, listener.config.duties, listener.config.message_size_max);
    let taken = messages(shard, by, (&envelope, &merge)).await;
    shard.inbound.envelopes.give(envelope);
    taken
}

/// Takes in a message for each recipient.
pub(super) async fn messages<R: Runtime>(
    shard: &Shard<R>,
    (client, duties, size_max): (Submitter<'_>, Duties, u64),
    (envelope, merge): (&Envelope, &Merge),
) -> Taken {
    let _held = Gathered::new(shard, merge.held());
    let mut date = Vec::new();
    trace::write_date(&mut date, shard.runtime.wall());
    let date = String::from_utf8_lossy(&date);
    let mut taken = Taken { all: envelope.recipients.len(), ..Taken::default() };
    let mut under_way: Vec<UnderWay<'_>> = Vec::new();
    let (mut next, mut bytes) = (0, 0);
    let most = usize::try_from(size_max).unwrap_or(usize::MAX).min(limits::MERGE_MESSAGE_MAX);
    loop {
        while under_way.len() < limits::MERGE_AT_ONCE
            && bytes < limits::MERGE_RENDERED_MAX
            && taken.closed.is_none()
            && let Some(to) = envelope.recipients.get(next)
        {
            let who = Who { from: &envelope.sender, to, place: next, date: &date };
            let (own, made) = (of_one(shard, envelope, next), merge.render(who, most));
            next += 1;
            let Some(message) = made else {
                let refused = (words::TOO_LARGE, Some(Reason::TooLarge));
                taken.note(Err(submit::refuse(shard, &own, refused)));
                continue;
            };
            let length = message.capacity();
            bytes += length;
            under_way.push(Box::pin(async move {
                let _held = Gathered::new(shard, length);
                let incoming = SubmittedMessage {
                    envelope: own,
                    message: &message,
                    size_max,
                    trusted: client.trusted,
                    duties,
                    tenant: None,
                };
                let stored = submit::submit_of(shard, client, incoming).await;
                (length, stored.map(drop))
            }));
            if shard.runtime.should_yield() {
                shard.runtime.yield_now().await;
            }
        }
        if under_way.is_empty() {
            return taken;
        }
        let (at, (length, became)) = first_of(&mut under_way).await;
        drop(under_way.swap_remove(at));
        bytes -= length;
        taken.note(became);
        if shard.runtime.planted(Defect::MergeAnsweredEarly) {
            return Taken { taken: taken.all, ..taken };
        }
    }
}

/// A message on its way: at its end its bytes, and what became of it.
type UnderWay<'a> = Pin<Box<dyn Future<Output = (usize, Result<(), NotTaken>)> + 'a>>;

/// The first of these that is done.
async fn first_of<T>(all: &mut [Pin<Box<dyn Future<Output = T> + '_>>]) -> (usize, T) {
    poll_fn(|context| {
        for (at, one) in all.iter_mut().enumerate() {
            if let Poll::Ready(done) = one.as_mut().poll(context) {
                return Poll::Ready((at, done));
            }
        }
        Poll::Pending
    })
    .await
}

/// The envelope of one of them: what came for all, and what is known of this one.
fn of_one<R: Runtime>(shard: &Shard<R>, envelope: &Envelope, place: usize) -> Box<Envelope> {
    let mut own = shard.inbound.envelopes.take();
    own.sender.extend_from_slice(&envelope.sender);
    (own.account, own.origin, own.needs) =
        (envelope.account.clone(), envelope.origin.clone(), envelope.needs);
    let mut recipient = envelope.recipients[place].clone();
    if let Some(all) = &envelope.parameters {
        own.parameters = Some(Box::new(all.of_one(recipient.original)));
        recipient.original = u16::from(recipient.original > 0);
    }
    own.recipients.push(recipient);
    own
}
