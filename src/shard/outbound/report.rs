//! What a sender is told of its message: what failed, what a hop took that does not tell, what is late. One notification for all that comes of an
//! attempt (RFC 3461 section 5, RFC 3464).

use std::rc::Rc;

use crate::id::MessageId;
use crate::limits;
use crate::mail::classify::Class;
use crate::mail::envelope::TlsWish;
use crate::mail::notify::{Asked, Ret};
use crate::mail::{dsn, trace};
use crate::observe::event::{Attempt, Event, Mail};
use crate::queue::outcome::{self, Deferral, Ended, Failure, RangeOutcome, Settled, Tidings};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::event;
use crate::shard::inbound::submission::Submission;
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::StoredRecord;
use crate::smtp::reply;
use crate::spool::Lane;
use crate::spool::record::MessageView;

/// A notification and the message it is about, if its sender is to be told; and what events tell.
type Made = (Option<(Submission, MessageId)>, Vec<u8>);

/// One recipient, as far as the attempt and the lane know it.
struct Told {
    ordinal: u16,
    cause: dsn::Cause,
    status: Option<(u8, u16, u16)>,
    remote: Option<String>,
    text: String,
}

/// Makes it. Of what was given up for age it is said what its event says.
pub(super) async fn compose<R: Runtime>(
    shard: &Rc<Shard<R>>,
    settled: &mut Settled,
) -> std::io::Result<Made> {
    let place = Pinned::new(shard, settled.key, settled.location);
    let source = StoredRecord::read(shard, place.location).await?;
    let view = source.view()?;
    tell_expired(shard, settled, &view);
    let mut records = failed_records(settled);
    tell_late(shard, settled, &view, &mut records);
    let live = shard.live.get();
    if !live.config.bounces.dsn || !dsn::owed(view.sender) {
        return Ok((None, records));
    }
    // Looked up once for all.
    let count = if view.asked().is_of_recipients() { view.count } else { 0 };
    let asked: Vec<Asked<'_>> = view.asked().from(0).take(count.into()).collect();
    let told = wanted(shard, settled, &asked);
    if told.is_empty() || !may_report(shard, view.sender, &told).await {
        return Ok((None, records));
    }
    let is_whole = is_returned_whole(&view, &told);
    let wanted = if is_whole { view.size } else { u64::from(view.header_length) };
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(limits::HEADER_MAX);
    let mut header =
        source.body_prefix(shard, settled.location.lane, &view, wanted).await.unwrap_or_default();
    let is_whole = is_whole && header.len() as u64 == view.size;
    if view.mailbox_line {
        header.splice(..0, trace::MAILBOX_FIELD.iter().copied());
    }
    let now = shard.runtime.wall();
    let mut recipients = Vec::with_capacity(told.len());
    for one in &told {
        let Some((recipient, _)) = view.recipients().nth(usize::from(one.ordinal)) else { continue };
        recipients.push(dsn::ReportedRecipient {
            recipient,
            original: asked.get(usize::from(one.ordinal)).and_then(|asked| asked.original),
            cause: one.cause,
            status: one.status,
            remote: one.remote.as_deref(),
            text: &one.text,
            last_attempt: one.remote.is_some().then_some(now),
        });
    }
    let notice = dsn::Notice {
        hostname: &shard.boot.node.hostname,
        sender: view.sender,
        id: view.id,
        envid: view.envid(),
        arrival: view.arrival,
        expiry: view.expiry,
        now,
        unique: shard.runtime.random(),
        recipients: &recipients,
        header: &header,
        is_whole,
        utf8: view.needs.utf8.is_asked(),
    };
    let Some(bounce) = dsn::compose(&notice) else { return Ok((None, records)) };
    let mut envelope = bounce.envelope(now, now.after(live.config.retry.expire));
    if view.needs.tls == TlsWish::Required {
        // RFC 8689 section 5
        envelope.needs.tls = TlsWish::Required;
    }
    Ok((Some((Submission::composed(envelope, bounce.body), view.id)), records))
}

/// Whether one more may be made now: what tells of a failure waits until it may, and what tells of none is left out instead.
async fn may_report<R: Runtime>(shard: &Shard<R>, sender: &[u8], told: &[Told]) -> bool {
    let domain = sender.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    let is_failure = told.iter().any(|one| one.cause.is_failure());
    for _ in 0..limits::REPORT_WAITS_MAX {
        let second = shard.runtime.now().0 / 1_000_000_000;
        if shard.outbound.reports.borrow_mut().may(second, domain, is_failure) {
            return true;
        }
        if !is_failure {
            shard.instruments.counters.reports_left_out.add(1);
            return false;
        }
        shard.timers.sleep_until(shard.runtime.now() + limits::REPORT_WAIT).await;
    }
    true
}

/// All of a message goes back where its sender asked for that, something failed, and it is not too large (RFC 3461 4.3).
fn is_returned_whole(view: &MessageView<'_>, told: &[Told]) -> bool {
    // RFC 8689 section 5: of what requires TLS nothing goes back but its header section.
    view.asked().ret() == Some(Ret::Full)
        && view.needs.tls != TlsWish::Required
        && told.iter().any(|one| one.cause.is_failure())
        && view.size <= limits::HEADER_MAX as u64
}

/// Of whom the sender wants to hear, in the order in which they are told.
fn wanted<R: Runtime>(shard: &Shard<R>, settled: &Settled, asked: &[Asked<'_>]) -> Vec<Told> {
    let ignored = shard.runtime.planted(Defect::NotifyIgnored);
    let notify = |ordinal: u16| asked.get(usize::from(ordinal)).copied().unwrap_or_default().notify;
    let failures = failed_recipients(settled)
        .filter(|(ordinal, ..)| ignored || notify(*ordinal).wants_failure())
        .map(|(ordinal, cause, failure)| Told {
            ordinal,
            cause,
            status: failure.status,
            remote: failure.remote.clone(),
            text: failure_text(shard, settled, (ordinal, cause, failure)),
        });
    let mut told: Vec<Told> = failures.collect();
    for one in settled.outcomes.news() {
        for ordinal in one.first..one.first.saturating_add(one.count) {
            let notify = notify(ordinal);
            match &one.what {
                Tidings::Taken { delivered, hop, reply } if notify.wants_success() => told.push(Told {
                    ordinal,
                    cause: if *delivered { dsn::Cause::Delivered } else { dsn::Cause::Relayed },
                    status: reply::enhanced(reply),
                    remote: Some(hop.to_string()),
                    text: reply.to_string(),
                }),
                Tidings::Late if ignored || notify.wants_delay() => {
                    let Some(deferral) = deferral_of(settled, ordinal) else { continue };
                    let said = &*deferral.reply;
                    let text = if deferral.ours { outcome::without_code(said) } else { said };
                    // The hop that said so is not known any more by now.
                    told.push(Told {
                        ordinal,
                        cause: dsn::Cause::Late,
                        status: reply::enhanced(said),
                        remote: None,
                        text: text.to_owned(),
                    });
                }
                Tidings::Taken { .. } | Tidings::Late => {}
            }
        }
    }
    told
}

fn deferral_of(settled: &Settled, ordinal: u16) -> Option<&Deferral> {
    outcome_of(settled, ordinal)?.disposition.deferral()
}

fn outcome_of(settled: &Settled, ordinal: u16) -> Option<&RangeOutcome> {
    let holds = |one: &&RangeOutcome| (one.first..one.first.saturating_add(one.count)).contains(&ordinal);
    settled.outcomes.ranges().iter().find(holds)
}

/// The records of what failed.
fn failed_records(settled: &mut Settled) -> Vec<u8> {
    let mut records = Vec::new();
    for outcome in settled.outcomes.ranges_mut() {
        if let Some(failure) = outcome.disposition.returned_mut() {
            records.append(&mut failure.record);
        }
    }
    records
}

/// Ordinals that are returned, and why.
fn failed_recipients(settled: &Settled) -> impl Iterator<Item = (u16, dsn::Cause, &Failure)> {
    let failed = settled.outcomes.ranges().iter().filter_map(|outcome| {
        let (cause, failure) = match &outcome.disposition {
            Ended::Bounced(failure) => (dsn::Cause::Refused, failure),
            Ended::Expired(failure) => (dsn::Cause::Expired, failure),
            Ended::Delivered | Ended::Deferred(_) | Ended::Local(_) | Ended::Held(_) => return None,
        };
        Some((outcome.first..outcome.first.saturating_add(outcome.count), cause, &**failure))
    });
    failed.flat_map(|(ordinals, cause, failure)| ordinals.map(move |ordinal| (ordinal, cause, failure)))
}

/// What was said last about one of them. For an expiry the text of the last deferral says more than we do.
fn failure_text<R: Runtime>(
    shard: &Shard<R>,
    settled: &Settled,
    (ordinal, cause, failure): (u16, dsn::Cause, &Failure),
) -> String {
    let writer = shard.writer(settled.location.lane);
    let is_late = cause == dsn::Cause::Expired;
    let last = if is_late { last_reply(&writer.lane(), settled.key, ordinal) } else { None };
    last.unwrap_or_else(|| failure.diagnostic.clone())
}

/// Records of what is late: told once, whoever hears of it.
fn tell_late<R: Runtime>(shard: &Shard<R>, settled: &Settled, view: &MessageView<'_>, records: &mut Vec<u8>) {
    let wall = shard.runtime.wall();
    let delay = wall.0.saturating_sub(view.arrival.0);
    for one in settled.outcomes.news().iter().filter(|one| one.what == Tidings::Late) {
        let Some(deferral) = deferral_of(settled, one.first) else { continue };
        let attempt = Attempt {
            reply: &deferral.reply,
            enhanced: reply::enhanced(&deferral.reply),
            attempts: deferral.attempts,
            delay_ms: Some(delay),
            ..Attempt::default()
        };
        event::each_alike(view, (one.first, one.count), |first, recipients| {
            let mail = Mail {
                account: view.account,
                parameters: &view.named_parameters(first),
                came: Some((view.arrival, view.size)),
                ..Mail::new(view.id, view.sender, (first, recipients))
            };
            shard.say.events.borrow_mut().encode(wall, &Event::Delayed(mail, attempt), records);
        });
    }
}

/// Records of what was given up for age: with the last reply, which only the lane knows. One event tells of recipients that waited together, and
/// its id is by them, so that it quotes what was said to the first.
fn tell_expired<R: Runtime>(shard: &Rc<Shard<R>>, settled: &mut Settled, view: &MessageView<'_>) {
    let writer = shard.writer(settled.location.lane);
    let (key, wall) = (settled.key, shard.runtime.wall());
    for outcome in settled.outcomes.ranges_mut() {
        let Ended::Expired(failure) = &outcome.disposition else { continue };
        let Some((attempts, delay)) = failure.late else { continue };
        let mut records = Vec::new();
        event::each_alike(view, (outcome.first, outcome.count), |first, recipients| {
            let last = last_reply(&writer.lane(), key, first);
            let reply = &late_words(&failure.diagnostic, last.as_deref());
            let attempt = Attempt {
                reply,
                enhanced: failure.status,
                class: Class::Expired.word(),
                attempts,
                delay_ms: Some(delay),
                ..Attempt::default()
            };
            let mail = Mail {
                account: view.account,
                parameters: &view.named_parameters(first),
                came: Some((view.arrival, view.size)),
                ..Mail::new(view.id, view.sender, (first, recipients))
            };
            let event = Event::Expired(mail, attempt);
            shard.say.events.borrow_mut().encode(wall, &event, &mut records);
        });
        if let Some(failure) = outcome.disposition.returned_mut() {
            failure.record = records;
        }
    }
}

/// Why it was given up, and what was said last, unless that is the same.
fn late_words(why: &str, last: Option<&str>) -> String {
    let is_told = |last: &&str| !why.contains(*last) && !last.contains(why);
    let Some(last) = last.filter(is_told) else { return why.to_owned() };
    let what = if outcome::is_ours(last) { "error" } else { "reply" };
    format!("{why}; the last {what} was: {last}")
}

fn last_reply(lane: &Lane, key: u32, ordinal: u16) -> Option<String> {
    let live = lane.entry(key)?.live();
    let range = live.iter().find(|range| (range.first..range.first + range.count).contains(&ordinal))?;
    let (text, _) = lane.said(range);
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_for_age_quotes_the_last_reply() {
        for (why, last, told) in [
            ("too late", Some("451 4.7.1 greylisted"), "too late; the last reply was: 451 4.7.1 greylisted"),
            ("too late", Some("4.4.1 no route"), "too late; the last error was: 4.4.1 no route"),
            ("too late", None, "too late"),
            ("connection refused", Some("4.4.1 connection refused"), "connection refused"),
        ] {
            assert_eq!(late_words(why, last), told);
        }
    }
}
