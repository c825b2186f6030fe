//! Beside accept and receive: what is refused to clients is recorded, so many a second and no more, so that an attack fills no disk.

use std::io;
use std::net::SocketAddr;

use crate::config::Kind;
use crate::mail::envelope::Envelope;
use crate::observe::event::{Notice, Rejected};
use crate::observe::families::REJECTED;
use crate::policy::clients::{TOO_BUSY, TOO_MANY_OF_CLIENT};
use crate::policy::reason::{Reason, Refused};
use crate::runtime::{Runtime, Stream};
use crate::shard::Shard;
use crate::smtp::reply;
use crate::smtp::server::{NotStored, Refusal, Refusals, Session};

/// What a client that begins with TLS understands without a handshake: a fatal alert, internal_error (RFC 8446 section 6).
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Records what was refused in a session.
pub(super) fn of_session<R: Runtime>(shard: &Shard<R>, session: &Session, refusals: &Refusals) {
    let counters = &shard.instruments.counters;
    for refusal in &refusals.held {
        record(shard, session.peer(), session.helo(), session.account(), refusal);
    }
    counters.rejections.add(refusals.left_out);
    shard.instruments.families.rejected.add(REJECTED.len() - 1, refusals.left_out);
    counters.rejections_left_out.add(refusals.left_out);
    shard.inbound.allowance.leave_out(refusals.left_out);
}

/// Records a connection that was turned away.
pub(super) fn of_connection<R: Runtime>(shard: &Shard<R>, peer: SocketAddr, refused: Refused<'_>) {
    let (reply, given) = (refused.reply.trim_end().to_owned(), Some(refused.reason));
    record(shard, peer, None, None, &Refusal { reply, given, ..Refusal::default() });
}

/// Every connection that is refused for its client's sake is refused here: no session comes of it.
pub(super) fn turn_away<R: Runtime>(
    shard: &Shard<R>,
    stream: &R::Stream,
    (client, kind): (SocketAddr, Kind),
    refused: Refused<'_>,
) {
    count(shard, client, refused);
    say_last(stream, kind, refused.reply);
}

/// Counts and records one that is refused for its client's sake.
pub(super) fn count<R: Runtime>(shard: &Shard<R>, client: SocketAddr, refused: Refused<'_>) {
    let counters = &shard.instruments.counters;
    match refused {
        TOO_BUSY => counters.connections_refused.add(1),
        TOO_MANY_OF_CLIENT => counters.connections_refused_client.add(1),
        // Its reason counts it.
        _ => {}
    }
    of_connection(shard, client, refused);
}

/// What a connection hears of which no session comes. One that would begin with TLS cannot be told why without a handshake.
pub(super) fn say_last(stream: &impl Stream, kind: Kind, words: &str) {
    let last = if kind.is_tls_first() { &ALERT[..] } else { words.as_bytes() };
    let _ = stream.try_send(&[io::IoSlice::new(last)]);
}

/// Records a message that came whole and could not be stored.
#[cold]
pub(in crate::shard) fn of_message<R: Runtime>(shard: &Shard<R>, envelope: &Envelope, why: NotStored) {
    of_unsaid(shard, envelope, (why.words(), None));
}

/// Records a message that is refused with this reply outside of any session, and why, where the reply does not say.
#[cold]
pub(super) fn of_unsaid<R: Runtime>(
    shard: &Shard<R>,
    envelope: &Envelope,
    (reply, given): (&str, Option<Reason>),
) {
    if let Some(peer) = envelope.origin.client {
        let refusal = Refusal { given, ..Refusal::of_message(reply, envelope) };
        let (helo, account) = (&*envelope.origin.helo, envelope.account.as_deref());
        record(shard, peer, (!helo.is_empty()).then_some(helo), account, &refusal);
    }
}

fn record<R: Runtime>(
    shard: &Shard<R>,
    peer: SocketAddr,
    helo: Option<&str>,
    account: Option<&str>,
    refusal: &Refusal,
) {
    let counters = &shard.instruments.counters;
    let reason = refusal.reason();
    counters.rejections.add(1);
    shard.instruments.families.rejected.add(reason as usize, 1);
    let Some(left_out) = shard.inbound.allowance.take(shard.timers.recent()) else {
        counters.rejections_left_out.add(1);
        return;
    };
    let recipients: Vec<&[u8]> = refusal.recipients.iter().map(|path| &path[..]).collect();
    let rejected = Rejected {
        sender: refusal.sender.as_deref(),
        recipients: &recipients,
        client: peer,
        helo,
        account: refusal.account.as_deref().or(account),
        reply: &refusal.reply,
        reason: reason.word(),
        enhanced: reply::enhanced(&refusal.reply),
        left_out,
    };
    shard.say.events.borrow_mut().notice(shard.runtime.wall(), &Notice::Rejected(rejected));
}
