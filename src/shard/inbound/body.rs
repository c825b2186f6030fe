//! The body of a message, from the client to the disk, and its answer.

use std::io;
use std::time::Duration;

use crate::config::BareNewlines;
use crate::limits;
use crate::policy::admit::Submitter;
use crate::policy::reason::Refused;
use crate::runtime::Runtime;
use crate::shard::inbound::admit::Admission;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::quota::{self, MessageQuota};
use crate::shard::inbound::upload::{Upload, Whole};
use crate::shard::inbound::{duties, fold, handed_over, mend, verify};
use crate::shard::trace::Said;
use crate::shard::wire::WireError;
use crate::smtp::data::Scanner;
use crate::smtp::server::{BodyEnd, OpenTransaction, Overdue, PortionEnd, Session};

/// Takes in one body, or a portion of one (RFC 3030), and answers it. False: close.
pub(super) async fn take<R: Runtime>(connection: &mut Connection<R>) -> Result<bool, WireError> {
    // In memory of its own, as an idle session has no room for it.
    let mut upload = connection.upload.take().unwrap_or_else(|| {
        Box::new(match connection.session.is_binary() {
            // What is made text grows, as what is normalised does.
            true => Upload::new(BareNewlines::Normalise),
            false => Upload::new(connection.listener.session.bare_newlines),
        })
    });
    if let Err(error) = take_in(connection, &mut upload).await {
        upload.abandon(&connection.shard);
        return Err(error);
    }
    if connection.session.portion_left().is_some() {
        match connection.session.portion_end(&mut connection.out) {
            PortionEnd::Message(end) => upload.push(&connection.shard, end),
            other => return Ok(goes_on(connection, upload, other)),
        }
    }
    admit(connection, &mut upload, false).await;
    let now = connection.shard.runtime.wall();
    let expiry = upload.expires(now, &connection.listener.live.config.retry);
    match connection.session.body_end(now, expiry, &mut connection.out) {
        BodyEnd::Refused { close } => {
            connection.shard.instruments.counters.messages_refused.add(1);
            upload.abandon(&connection.shard);
            connection.record_refusals();
            Ok(!close)
        }
        BodyEnd::Accept(mut envelope, summary) => {
            let acceptance = &connection.listener.live.acceptance;
            let refused = match upload.is_unverified() {
                // In memory of its own, as what a session whose mail is trusted has no room for.
                true => Box::pin(upload.verify(&connection.shard, &mut envelope)).await,
                false => None,
            };
            let refused = refused.or_else(|| upload.refusal(acceptance, &summary));
            let live = &connection.listener.live;
            let counted = match refused {
                Some(refused) => Err(refused),
                None if live.quotas.is_empty() || upload.is_handed_over() => Ok(None),
                None => Box::pin(quota::take(&connection.shard, &live.quotas, &envelope)).await,
            };
            let counted = match counted {
                Ok(counted) => counted,
                Err((reply, reason)) => {
                    upload.abandon(&connection.shard);
                    let refused = Refused { reply: &reply, reason };
                    connection.session.not_admitted(refused, &envelope, &mut connection.out);
                    connection.shard.instruments.counters.messages_refused.add(1);
                    connection.record_refusals();
                    return Ok(true);
                }
            };
            let stored = upload.store(&connection.shard, Whole { envelope, summary }).await;
            counted.filter(|_| stored.is_err()).into_iter().for_each(MessageQuota::give_back);
            // What became of it on the disk is not the client's fault.
            connection.since.message = connection.seconds();
            match stored {
                Ok(id) => {
                    connection.rates.iter_mut().for_each(|rates| rates.used());
                    connection.session.accepted(&id, &mut connection.out);
                }
                Err(why) => connection.session.not_stored(why, &mut connection.out),
            }
            Ok(true)
        }
    }
}

/// A portion that is not the end of a message that may be taken was answered. False: close.
fn goes_on<R: Runtime>(connection: &mut Connection<R>, mut upload: Box<Upload>, end: PortionEnd) -> bool {
    let PortionEnd::Refused { close, message } = end else {
        connection.upload = Some(upload);
        return true;
    };
    connection.shard.instruments.counters.messages_refused.add(message.into());
    upload.abandon(&connection.shard);
    connection.record_refusals();
    !close
}

/// Rules and instructions, unless they had their say. `goes_on`: before the first of the message is stored, with more to come.
async fn admit<R: Runtime>(connection: &mut Connection<R>, upload: &mut Upload, goes_on: bool) {
    if upload.admission.is_some() {
        return;
    }
    if let Some(admission) = handed_over::admit(connection, upload, goes_on) {
        upload.admission = Some(admission);
        return;
    }
    let header_is_whole = |scanner: &&Scanner| !goes_on || !scanner.is_in_header();
    if connection.listener.session.content.is_some()
        && let Some(summary) = connection.session.scanner().filter(header_is_whole).map(Scanner::summary)
        && (summary.long_header > 0 || summary.long_body > 0)
    {
        // In memory of its own, as what few messages need.
        Box::pin(fold::fold(connection, upload, summary, !goes_on)).await;
    }
    let mut unfit = None;
    let has_duties = mend::are_any(connection.listener.config.duties);
    if has_duties
        && let Some(summary) = connection.session.scanner().filter(header_is_whole).map(Scanner::summary)
    {
        unfit = duties::fulfil(connection, upload, summary).err();
    }
    if connection.shard.live.get().config.hook.is_some() {
        connection.session.name_client();
    }
    let section =
        connection.session.scanner().map(|scanner| (scanner.summary(), !goes_on || !scanner.is_in_header()));
    let (shard, listener) = (&connection.shard, &connection.listener);
    let address = Some(connection.session.peer().ip());
    let admission = match (section, connection.session.open()) {
        (Some((mut summary, is_whole)), Some(OpenTransaction { account, trusted, envelope })) => {
            let client = Submitter { account, listener: Some(listener.place.into()), address, trusted };
            let by = (&listener.live.acceptance, client);
            let (before, body) = (summary.header_length, &mut upload.body);
            let begun = (!trusted && verify::is_wanted(listener, envelope))
                .then(|| is_whole.then(|| verify::begin(shard, listener, body, &mut summary)).flatten());
            let mut admission =
                Admission::decide(shard, by, envelope, (summary, is_whole), &mut upload.body).await;
            if let Some(begun) = begun {
                admission.verify(shard, begun, before);
            }
            if has_duties && trusted {
                admission.has_duties(unfit);
            }
            admission
        }
        _ => Admission::default(),
    };
    upload.admission = Some(admission);
}

/// Reads a part of a merge to its end: what of it is kept has its bound, and is counted with the session.
pub(super) async fn take_in_part<R: Runtime>(connection: &mut Connection<R>) -> Result<(), WireError> {
    let most = connection.shard.timers.recent() + limits::server::DATA;
    connection.overdue = Some(Overdue::Command);
    loop {
        let now = connection.shard.timers.recent();
        connection.wire.limit_at(most.min(now + limits::server::DATA_BLOCK));
        let mut keep = |session: &mut Session, bytes: &[u8]| session.part(bytes);
        let done = if connection.input.is_empty() {
            connection.wire.readable().await?;
            scan_received(connection, &mut keep)?
        } else {
            Some(scan_pending(connection, &mut keep))
        };
        connection.count();
        if done == Some(true) {
            return Ok(());
        }
        if now > most {
            return Err(WireError::TimedOut);
        }
        if connection.shard.runtime.should_yield() {
            connection.shard.runtime.yield_now().await;
        }
    }
}

/// Reads a body to its end, in bounded memory.
async fn take_in<R: Runtime>(connection: &mut Connection<R>, upload: &mut Upload) -> Result<(), WireError> {
    let most = connection.shard.timers.recent() + limits::server::DATA;
    connection.overdue = Some(Overdue::Command);
    loop {
        let now = connection.shard.timers.recent();
        let whole = most + Duration::from_secs(upload.size / limits::server::DATA_RATE);
        connection.wire.limit_at(whole.min(now + limits::server::DATA_BLOCK));
        let shard = connection.shard.clone();
        let mut keep = |_: &mut Session, bytes: &[u8]| upload.push(&shard, bytes);
        let done = if connection.input.is_empty() && connection.session.portion_left() != Some(0) {
            if connection.wire.is_protected() {
                connection.count();
            }
            // Mostly nothing is there yet, and a look at what is known costs no system call.
            connection.wire.readable().await?;
            match scan_received(connection, &mut keep)? {
                Some(done) => done,
                None => continue,
            }
        } else {
            scan_pending(connection, &mut keep)
        };
        if upload.wants_chunk(&connection.shard) {
            admit(connection, upload, !done || connection.session.goes_on()).await;
            upload.store_chunk(&connection.shard).await;
        }
        if done {
            return Ok(());
        }
        if now > whole {
            return Err(WireError::TimedOut);
        }
        // Whoever sends faster than that is read must not have the shard to itself.
        if connection.shard.runtime.should_yield() {
            connection.shard.runtime.yield_now().await;
        }
    }
}

/// Receives body bytes, scans them where they are and moves them to the upload: their one copy. None: nothing was there.
fn scan_received<R: Runtime>(
    connection: &mut Connection<R>,
    keep: &mut impl FnMut(&mut Session, &[u8]),
) -> Result<Option<bool>, WireError> {
    let shard = connection.shard.clone();
    let mut scratch = shard.scratch.borrow_mut();
    let received = match connection.wire.try_recv(&mut scratch) {
        Ok(0) => return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into())),
        Ok(received) => received,
        Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    let traced = shard.say.trace.is_on().then(|| scratch[..received].to_vec());
    let scanned = connection.session.scan(&mut scratch[..received]);
    if let Some(bytes) = traced {
        connection.show(Said::Body(&bytes[..scanned.consumed.min(bytes.len())]));
    }
    keep(&mut connection.session, scanned.body(&scratch[..]));
    connection.input.extend_from_slice(&scratch[scanned.consumed..received]);
    Ok(Some(scanned.done))
}

/// The same for input that came in one burst with DATA, or BDAT.
fn scan_pending<R: Runtime>(
    connection: &mut Connection<R>,
    keep: &mut impl FnMut(&mut Session, &[u8]),
) -> bool {
    let traced = connection.shard.say.trace.is_on().then(|| connection.input.clone());
    let scanned = connection.session.scan(&mut connection.input);
    if let Some(bytes) = traced {
        connection.show(Said::Body(&bytes[..scanned.consumed.min(bytes.len())]));
    }
    let Connection { session, input, .. } = connection;
    keep(session, scanned.body(input));
    connection.input.drain(..scanned.consumed);
    scanned.done
}
