//! One transaction with a next hop: what is sent, what is heard, and what that means for its recipients.

use std::rc::Rc;

use crate::limits;
use crate::mail::front::Front;
use crate::mail::results;
use crate::mail::seven_bit::Plan;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::eight_bit::{self, PreparedMessage};
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::session::{Choice, Connection, Starttls};
use crate::shard::outbound::site::NO_ANSWER;
use crate::shard::outbound::tally::{Part, Tally, ended};
use crate::shard::outbound::trouble::{self, host_failed};
use crate::shard::outbound::work::{After, GroupUnderWay, How, Run, is_resident, recipients_max};
use crate::shard::outbound::{
    adapt, asked, body, hand_over, manners, meanings, notice, pump, return_path, utf8,
};
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::{self, StoredRecord};
use crate::shard::wire::WireError;
use crate::smtp::client::{self, Body, MissingExtension, Transaction, Verdict};
use crate::smtp::reply::Reply;
use crate::spool::record::MessageView;

/// A message on its way out.
struct OutgoingMessage<'a> {
    view: &'a MessageView<'a>,
    part: &'a Part<'a>,
    /// The header fields that are added.
    headers: &'a [u8],
    /// What is encoded of it.
    plan: &'a Plan,
}

/// The transaction of a part; the header it adds is written to `headers`. `Err`: the reply of a failure that needs no question.
fn begin<'a, R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    (view, sender): (&MessageView<'a>, &'a [u8]),
    part: &Part<'_>,
    body: Body,
    headers: &mut Vec<u8>,
) -> Result<Transaction<'a>, Reply> {
    if !utf8::may_name(&connection.capabilities, view, (part.first, part.count)) {
        return Err(MissingExtension::Utf8.reply(true, ""));
    }
    let recipients: client::Recipients<'a> = view
        .recipients()
        .skip(usize::from(part.first))
        .take(usize::from(part.count))
        .map(|(address, _)| address)
        .collect();
    let single = if view.count == 1 { recipients.first().copied() } else { None };
    let front = view.front(&shard.boot.node.hostname, single);
    // Encoded here, it is not what was signed; what was found of it is as it was.
    let was_signed = body.encoded && !front.signatures.starts_with(results::FIELD.as_bytes());
    let signatures = if was_signed { b"" } else { front.signatures };
    Front { signatures, ..front }.write(headers);
    let size = view.size + headers.len() as u64;
    let mut begun = Transaction::new(&connection.capabilities, sender, recipients, size, body)?;
    if connection.capabilities.dsn
        && let Some(reports) = asked::of(view, (part.first, part.count))
    {
        begun = begun.with_reports(reports);
    }
    let answers = connection.lmtp && !shard.runtime.planted(Defect::OneAnswerForAll);
    Ok(if answers { begun.with_answers() } else { begun })
}

/// The same, with what is encoded of it; or the reply, and whether it is for good.
fn begin_ready<'a, R: Runtime>(
    shard: &Shard<R>,
    connection: &Connection<R>,
    (view, sender): (&MessageView<'a>, &'a [u8]),
    part: &Part<'_>,
    PreparedMessage { body, plan, withheld }: PreparedMessage,
    headers: &mut Vec<u8>,
) -> Result<(Transaction<'a>, Plan), (Reply, bool)> {
    if let Some((MissingExtension::Utf8, reply)) = withheld {
        let for_good = reply.code >= 500;
        return Err((reply, for_good));
    }
    let begun =
        begin(shard, connection, (view, sender), part, body, headers).map_err(|reply| (reply, true))?;
    Ok((if let Some((_, reply)) = withheld { begun.withhold(reply) } else { begun }, plan))
}

/// Writes the commands of a message whose record is surely in memory and that goes in one transaction, to be sent behind the body of
/// the one before.
fn write_ahead<R: Runtime>(
    run: &Run<'_, R>,
    under_way: &GroupUnderWay<'_, R>,
    connection: &mut Connection<R>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let (shard, group) = (&under_way.shard, &under_way.job.group);
    if group.count > recipients_max(run, connection) || !is_resident(shard, group) {
        return None;
    }
    let place = Pinned::new(shard, group.key, group.location);
    let source = StoredRecord::mapped(shard, place.location).ok()?;
    let view = source.view().ok().filter(|view| !utf8::is_doubtful(&connection.capabilities, view))?;
    let part = Part { first: group.first, count: group.count, group, resident: true };
    let own = return_path::ahead(shard, connection, &view, group)?;
    let by = (&view, own.as_deref().unwrap_or(view.sender));
    let mut headers = std::mem::take(&mut connection.spare.next);
    headers.clear();
    let begun = begin(shard, connection, by, &part, eight_bit::as_stored(&view), &mut headers);
    connection.spare.next = headers;
    let replies = begun.ok()?.write_commands(out);
    connection.owe(replies);
    Some(())
}

/// Writes the commands of the next message, to be sent behind the body of this one (RFC 2920 section 3.1 lets a body
/// be the first of a group): one round trip a message instead of two. Only where every hand is busy and more waits, and
/// while the hop answers bodies promptly, so that nothing waits behind a slow answer that could go elsewhere.
fn open_next<R: Runtime>(run: &mut Run<'_, R>, connection: &mut Connection<R>, out: &mut Vec<u8>) {
    let Run { shard, key, site, .. } = *run;
    site.pipelines.set(
        site.policy.borrow().pipeline
            && connection.capabilities.pipelining
            && !site.hop.borrow().hands_over
            && connection.is_prompt()
            && site.shown.takes_ahead(shard.timers.recent()),
    );
    if !(site.pipelines.get() && run.goes_on() && pump::has_backlog(shard, key, site)) {
        return;
    }
    // Which mail is meant only its record may tell.
    if shard.outbound.destinations.borrow().held().is_of_mail() {
        return;
    }
    let Some(mut next) = run.take() else { return };
    next.opened = write_ahead(run, &next.under_way, connection, out).is_some();
    run.ahead = Some(next);
}

/// One transaction. Whether it decided anything for good comes with what is to become of the connection.
pub(super) async fn transact<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    view: &MessageView<'_>,
    part: &Part<'_>,
    how: How,
    tally: &mut Tally,
) -> (After, bool) {
    let (shard, reused) = (run.shard, how.reused);
    if !how.opened && run.done > 0 && !manners::is_in_step(shard, connection).await {
        return (After::Stale, false);
    }
    let mut headers = std::mem::take(&mut connection.spare.headers);
    let prepared = eight_bit::prepare(run, connection, view, part).await;
    let withheld = prepared.as_ref().ok().and_then(|ready| ready.withheld.as_ref());
    if withheld.is_some_and(|(missing, _)| eight_bit::asks_another(run, connection, *missing)) {
        connection.spare.headers = headers;
        return (After::Stale, false);
    }
    let own = return_path::of(shard, connection, view, part.first);
    let by = (view, own.as_deref().unwrap_or(view.sender));
    let handed_over = hand_over::begin(shard, connection, view, part, &mut headers).await;
    let begun = prepared.and_then(|ready| begin_ready(shard, connection, by, part, ready, &mut headers));
    let (mut transaction, plan) = match begun {
        Ok(begun) => begun,
        Err((reply, for_good)) => {
            let verdict = if for_good { Verdict::Failed(0) } else { Verdict::Deferred(0) };
            let ended = ended(shard, run.site, &verdict, &reply, part, &connection.hop);
            tally.merge(part.first, part.count, ended);
            connection.spare.headers = headers;
            return (After::Keep, true);
        }
    };
    run.done += 1;
    let begun_at = shard.timers.recent();
    let message = OutgoingMessage { view, part, headers: &headers, plan: &plan };
    let ended = converse(run, connection, &message, how, &mut transaction).await;
    connection.spare.headers = headers;
    let mut broke = false;
    if let Err((error, heard)) = ended {
        if !heard && let Some(words) = manners::blame_tls(connection.starttls, &error) {
            manners::do_without_tls(shard, &connection.hop, &words);
            return (After::Stale, false);
        }
        // A hop may close an idle session at any time, just when we begin: that is not the message's fault. Nor is a stop.
        let closed = reused && !heard && matches!(error, HopError::Wire(_));
        if closed || matches!(error, HopError::Stopping(false)) {
            return (After::Stale, false);
        }
        broke = break_off(run, connection, (view, part), error, &mut transaction);
    }
    if transaction.is_cut_short() {
        manners::notice_lost_group(shard, &connection.hop, begun_at);
    }
    if moves_on(run, connection, (how, broke), &mut transaction).await {
        adapt::leaves(run, connection, reused || run.done > 1, &transaction);
        return (After::Stale, false);
    }
    understand(run, connection, &mut transaction).await;
    notice::of_transaction(run, (view, &connection.hop), part, &transaction);
    let got_on = count(run, connection, (part, handed_over), &transaction, tally);
    if got_on || !transaction.must_close() {
        run.site.shown.gets_on();
    } else if !reused && run.done == 1 {
        trouble::in_vain(run, &transaction);
    }
    (if transaction.must_close() { After::Close } else { After::Keep }, got_on)
}

/// What its refusals mean: for whom they were refused, and whether that is final.
async fn understand<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    transaction: &mut Transaction<'_>,
) {
    if let Some((part, why)) = meanings::judge(run, &connection.hop, transaction).await {
        adapt::refused_by(run, part, &why);
    }
    manners::heed_call_for_tls(run.shard, connection, transaction);
    trouble::refused(run, connection.routed, transaction);
    // Some receivers' codes say the opposite of their words: a rate that was exceeded is no bad address. Behind that: words about us close
    // the connection and let the site rest, whatever else they mean.
    if !run.shard.runtime.planted(Defect::ClassIgnored) {
        transaction.correct();
    }
}

/// Whether the message goes over another connection at once, with nothing counted against it; else this one is made ready for the next.
async fn moves_on<R: Runtime>(
    run: &Run<'_, R>,
    connection: &mut Connection<R>,
    (how, broke): (How, bool),
    transaction: &mut Transaction<'_>,
) -> bool {
    if transaction.doubts_answers() {
        if transaction.must_close() {
            transaction.on_unconfirmed();
        } else {
            confirm(run.shard, connection, transaction).await;
        }
    }
    // It has carried recipients enough: each that follows takes some.
    if run.done > 1 && run.took.get() && transaction.is_turned_away() {
        return true;
    }
    let reused = how.reused;
    let put_off = transaction.is_put_off();
    let in_trouble = put_off || transaction.blames_host();
    // Many hops take so many messages on a connection and no more, and say so in whatever words before they go: whether it goes is known
    // behind RSET.
    let may_be_leaving = reused && put_off;
    if (broke || in_trouble)
        && !may_be_leaving
        && host_failed(run, connection, (reused, in_trouble), transaction)
    {
        return true;
    }
    if transaction.needs_reset() {
        reset(run.shard, connection, transaction).await;
    }
    // Nobody is returned for what may have been a second answer to the body before. At once it is asked for where none is before it; then
    // what is said stands.
    let doubts = how.opened && transaction.is_doubtful();
    if doubts && !run.shard.runtime.planted(Defect::RefusalOutOfStep) {
        run.site.shown.doubt(run.shard.timers.recent());
        return true;
    }
    may_be_leaving
        && (transaction.must_close() || host_failed(run, connection, (reused, in_trouble), transaction))
}

/// A transaction ends early. Whether that is the host's doing.
fn break_off<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    (view, part): (&MessageView<'_>, &Part<'_>),
    error: HopError,
    transaction: &mut Transaction<'_>,
) -> bool {
    let Run { shard, site, .. } = *run;
    if let HopError::Spool(error) = error {
        load::report_unreadable(
            shard,
            Some(view.id),
            part.group.location,
            &format!("cannot be delivered: {error}"),
        );
        transaction.on_trouble(&format!("the spool: {error}"));
        return false;
    }
    if matches!(error, HopError::Unasked) {
        manners::unasked(shard);
        transaction.on_stray();
        *site.last_error.borrow_mut() = (NO_ANSWER, error.to_string());
        return true;
    }
    let words = if connection.is_body_under_way() {
        format!("{error} (sending the body)")
    } else {
        format!("{error} (waiting for the answer to {})", transaction.awaiting())
    };
    *site.last_error.borrow_mut() = (NO_ANSWER, words.clone());
    // One that answered for every recipient and goes has no trouble.
    let answered = transaction.is_decided() && matches!(error, HopError::Wire(_));
    transaction.on_failure(&words);
    !answered && matches!(error, HopError::Wire(_) | HopError::Hostile(_) | HopError::Halting)
}

/// Notes what became of each recipient. Whether the transaction brought something: an end for somebody, or how many are to be named at once.
fn count<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    (part, handed_over): (&Part<'_>, bool),
    transaction: &Transaction<'_>,
    tally: &mut Tally,
) -> bool {
    let (shard, shown) = (run.shard, &run.site.shown);
    let now = shard.timers.recent();
    // Each time fewer are named; a hop that goes meanwhile is asked over many connections, and these are bounded.
    let names_fewer = transaction.names_fewer() && (!transaction.must_close() || shown.may_move(now));
    let got_on = transaction.made_progress() || names_fewer;
    if transaction.must_close() && !got_on {
        tally.ended_by = transaction.ended_by().cloned().map(Box::new);
    }
    if transaction.mixes_up() {
        // Until those who were put off for it have been named again.
        let kept = limits::client::FEW_RECIPIENTS.max(run.site.policy.borrow().retry.max * 2);
        shown.recipients.set((1, now + kept));
    } else if let Some(taken) = transaction.recipients_taken() {
        let known = if transaction.names_fewer() { shown.recipients(now) } else { usize::MAX };
        let taken = taken.min(known);
        shown.recipients.set((taken, now + limits::client::FEW_RECIPIENTS));
    }
    for place in 0..part.count {
        let Some((verdict, reply)) = transaction.verdict(usize::from(place)) else { continue };
        match verdict {
            Verdict::Later(_) if got_on => {
                tally.later(part.first + place, 1);
                continue;
            }
            Verdict::Delivered(_) => {
                shown.took_at.set(Some(now));
                run.took.set(true);
                if run.site.hop.borrow().hands_over {
                    hand_over::count(shard, handed_over);
                }
                run.site.count.window().inspect(|window| window.took(run.begun_at));
                // What one takes that was opened before the trouble began does not end it.
                let mut failures = shard.outbound.hosts.hop_failures.borrow_mut();
                if !failures.is_empty() && connection.choice != Choice::First {
                    failures.forget(&connection.hop);
                }
            }
            _ => {}
        }
        tally.merge(part.first + place, 1, ended(shard, run.site, verdict, reply, part, &connection.hop));
    }
    got_on
}

/// RSET, before anybody is told what the transaction brought: an answer that is none to RSET shows that those before were not in step.
async fn reset<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    transaction: &mut Transaction<'_>,
) {
    let patience = connection.timeouts.reset;
    let reply = match connection.send(shard, b"RSET\r\n", 1, patience).await {
        Ok(()) => connection.reply(shard, patience).await,
        Err(error) => Err(error),
    };
    match reply {
        Ok(reply)
            if reply.code / 100 == 3 || (reply.is_positive() && !reply.is_done() && reply.code != 221) =>
        {
            manners::unasked(shard);
            transaction.on_surplus();
        }
        Ok(reply) => {
            // It knows no RSET, or has had enough of us: what it said before was said in step.
            if reply.is_done() {
                transaction.on_reset();
            } else {
                transaction.close();
            }
            manners::look_behind(shard, connection, transaction).await;
        }
        Err(_) => transaction.close(),
    }
}

/// Somebody is to be returned for one of several answers to a body. The answer to QUIT has a code of its own (RFC 5321 4.2.3): where
/// another comes first, there were more of them than recipients, and whose each was nobody knows.
async fn confirm<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &mut Connection<R>,
    transaction: &mut Transaction<'_>,
) {
    let said = match connection.send(shard, b"QUIT\r\n", 1, limits::client::HELLO).await {
        Ok(()) => connection.partial_reply(shard, limits::client::HELLO, true).await,
        Err(error) => Err(error),
    };
    match said {
        Ok(reply) if matches!(reply.code, 221 | 421) => transaction.close(),
        Ok(_) => {
            manners::unasked(shard);
            transaction.on_surplus();
        }
        Err(_) => transaction.on_unconfirmed(),
    }
}

/// Drives a transaction to its end. An error comes with whether the hop had said anything in it.
async fn converse<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    message: &OutgoingMessage<'_>,
    how: How,
    transaction: &mut Transaction<'_>,
) -> Result<(), (HopError, bool)> {
    let shard = run.shard;
    let (mut heard, mut answers_end) = (false, None);
    let mut out = std::mem::take(&mut connection.spare.out);
    out.clear();
    let replies = transaction.write_commands(&mut out);
    if !how.opened {
        let patience = transaction.patience(&connection.timeouts);
        connection.send(shard, &out, replies, patience).await.map_err(|error| (error, heard))?;
    }
    loop {
        let patience = transaction.patience(&connection.timeouts);
        let further = answers_end.is_some();
        let reply = connection.reply_to(shard, patience, further).await.map_err(|error| (error, heard))?;
        heard = true;
        run.spend_token();
        connection.starttls = Starttls::Settled;
        match transaction.on_reply(reply) {
            client::NextStep::AwaitReply => {}
            client::NextStep::AwaitAnswer => {
                connection.another_answer();
                let now = shard.timers.recent();
                if now >= *answers_end.get_or_insert(now + limits::client::ANSWERS) {
                    return Err((WireError::TimedOut.into(), heard));
                }
            }
            client::NextStep::WriteCommands => {
                out.clear();
                let replies = transaction.write_commands(&mut out);
                let patience = transaction.patience(&connection.timeouts);
                connection.send(shard, &out, replies, patience).await.map_err(|error| (error, heard))?;
            }
            client::NextStep::SendBody => {
                out.clear();
                out.extend_from_slice(b".\r\n");
                // Behind replies of which each counts for another recipient nothing else is awaited.
                let alone = !how.last || transaction.has_later() || connection.lmtp;
                let answers = transaction.replies_due();
                match send_body(run, connection, message, (alone, answers), &mut out).await {
                    Err(HopError::Early(reply)) => {
                        shard.instruments.counters.replies_early.add(1);
                        transaction.on_early(reply);
                        connection.spare.out = out;
                        return Ok(());
                    }
                    sent => sent.map_err(|error| (error, heard))?,
                }
            }
            client::NextStep::SendDot => connection
                .send(shard, b".\r\n", 1, limits::client::BLOCK)
                .await
                .map_err(|error| (error, heard))?,
            client::NextStep::Done => {
                connection.body_answered(shard);
                connection.spare.out = out;
                if !transaction.must_close() {
                    manners::look_behind(shard, connection, transaction).await;
                }
                return Ok(());
            }
        }
    }
}

/// The body, which has so many answers, and behind it, unless it is to go alone, perhaps the commands of the next message.
async fn send_body<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    message: &OutgoingMessage<'_>,
    (alone, answers): (bool, usize),
    out: &mut Vec<u8>,
) -> Result<(), HopError> {
    let shard = run.shard;
    let OutgoingMessage { view, part, headers, plan } = message;
    connection.hear_early(shard).await?;
    if !alone {
        open_next(run, connection, out);
    }
    connection.owe(answers);
    connection.body_begins(shard);
    let from = (part.group.location.lane, part.resident);
    if plan.is_empty() {
        body::send(shard, connection, view, from, headers, out).await?;
    } else {
        body::send_encoded(shard, connection, view, from, headers, (out, plan)).await?;
    }
    connection.body_ends();
    Ok(())
}
