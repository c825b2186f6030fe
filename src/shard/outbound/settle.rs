//! How an attempt ended, on both sides: the home shard reports, the shard of the lane writes it down.

use std::rc::Rc;

use crate::id::MessageId;
use crate::limits;
use crate::mail::classify::Class;
use crate::mail::{dsn, trace};
use crate::observe::event::{Attempt, Event, Mail};
use crate::queue::outcome::{self, Deferral, Ended, Failure, Outcomes, RangeOutcome, Receipt, Settled};
use crate::queue::{Group, GroupPhase};
use crate::runtime::{Defect, Runtime};
use crate::shaping::answers::Answers;
use crate::shard::Shard;
use crate::shard::event;
use crate::shard::inbound::submission::Submission;
use crate::shard::message::{Job, ShardMessage};
use crate::shard::outbound::tally;
use crate::shard::outbound::{again, borrow, sites};
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::{self, StoredRecord};
use crate::shard::store::writer::NoticeSubject;
use crate::smtp::{client, reply};
use crate::spool::batch::Outcome;
use crate::spool::record::MessageView;

/// One end for a whole group that no connection worked on. Its record is read first, so that the accounting can tell of it.
pub(super) async fn whole_now<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job, disposition: Ended) {
    whole_by(shard, job, disposition, ("", "", || {})).await;
}

/// The same, for what a hop said of all mail; `told` is called when it is, so that until then a task that panics gives the group back.
pub(super) async fn whole_by<R: Runtime>(
    shard: &Rc<Shard<R>>,
    job: &Job,
    disposition: Ended,
    (hop, source, told): (&str, &str, impl FnOnce()),
) {
    let group = &job.group;
    let outcomes = Outcomes::One(RangeOutcome::new(group.first, group.count, disposition));
    let _counted = Settling::new(shard);
    let place = Pinned::new(shard, group.key, group.location);
    let stored = StoredRecord::read(shard, place.location).await;
    let view = stored.as_ref().ok().and_then(|stored| stored.view().ok());
    let scene = view.as_ref().map(|view| Scene { hop, source, ..Scene::without_hop(view) });
    told();
    report(shard, job, outcomes, Vec::new(), scene.as_ref());
}

/// What is being settled counts until it is, or its task panics: a drain waits for it.
pub(in crate::shard) struct Settling<'a, R: Runtime>(&'a Shard<R>);

impl<'a, R: Runtime> Settling<'a, R> {
    pub(in crate::shard) fn new(shard: &'a Shard<R>) -> Settling<'a, R> {
        shard.outbound.settling.set(shard.outbound.settling.get() + 1);
        Settling(shard)
    }
}

impl<R: Runtime> Drop for Settling<'_, R> {
    fn drop(&mut self) {
        self.0.outbound.settling.set(self.0.outbound.settling.get() - 1);
    }
}

/// The same, for who does not wait for it.
pub(super) fn whole<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job, disposition: Ended) {
    let (own, job) = (shard.clone(), *job);
    shard.outbound.settling.set(shard.outbound.settling.get() + 1);
    shard.runtime.spawn_vital("settle", async move {
        whole_now(&own, &job, disposition).await;
        own.outbound.settling.set(own.outbound.settling.get() - 1);
    });
}

/// RFC 3463 3.5: delivery time expired; each attempt failed for the time being only.
pub(super) const TIME_EXPIRED: (u8, u16, u16) = (4, 4, 7);

/// What becomes of a group nobody could deliver in time.
pub(super) fn too_late(last: &str) -> Ended {
    let diagnostic = if last.is_empty() { "the message could not be delivered in time" } else { last };
    Ended::Expired(Failure::ours(TIME_EXPIRED, diagnostic.to_owned()))
}

/// A group nobody could deliver in time.
pub(super) fn expired<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job) {
    whole(shard, job, too_late(""));
}

/// A group heard that its site cannot be reached, or that nobody says where its domain leads (an RFC 3463 status and words). It stays in
/// its queue; what is recorded holds until that changes, or until this is said again.
pub(super) async fn told<R: Runtime>(
    shard: &Rc<Shard<R>>,
    job: &Job,
    (status, words): ((u8, u16, u16), &str),
    (hop, source, answers): (&str, &str, Option<&Answers>),
) {
    let group = &job.group;
    shard.instruments.counters.recipients_deferred.add(u64::from(group.count));
    let (attempts, next) = (group.attempts, group.not_before.min(group.expiry));
    let cut = words.char_indices().nth(limits::REPLY_TEXT_MAX).map_or(words.len(), |(at, _)| at);
    let words = &words[..cut];
    let reply = client::local(451, status, words).describe().into();
    let disposition = tally::deferred((attempts, next), reply, true);
    let mut outcome = RangeOutcome::new(group.first, group.count, disposition);
    date(shard, &mut outcome);
    let _untold = shard.say.handed.untold(shard.runtime.now());
    // Handed in before anything is waited for: who delivers it meanwhile hands in a later outcome.
    let place = Pinned::new(shard, group.key, group.location);
    hand_in(shard, job, Outcomes::One(outcome.clone()));
    shard.outbound.settling.set(shard.outbound.settling.get() + 1);
    // Whoever delivers it meanwhile reads it behind this, and has a hop to speak to before there is more to tell.
    if let Ok(stored) = StoredRecord::read(shard, place.location).await
        && let Ok(view) = stored.view()
    {
        let _ = account(shard, job, &Scene { hop, source, answers, ..Scene::without_hop(&view) }, &outcome);
    }
    shard.outbound.settling.set(shard.outbound.settling.get() - 1);
}

/// What the accounting says of an attempt besides its outcomes.
pub(in crate::shard) struct Scene<'a> {
    /// The message.
    pub view: &'a MessageView<'a>,
    /// The hop; empty: there was none.
    pub hop: &'a str,
    /// The source that it left by; empty: the node's own addresses.
    pub source: &'a str,
    /// Its TLS; empty: there was none.
    pub tls: &'a str,
    /// What it said when it took the message.
    pub reply: &'a str,
    /// What rules say of its replies.
    pub answers: Option<&'a Answers>,
    /// When its site wants mail given up, seconds after it came.
    pub max_age: Option<u32>,
}

impl<'a> Scene<'a> {
    /// There was none.
    pub fn without_hop(view: &'a MessageView<'a>) -> Scene<'a> {
        Scene { view, hop: "", source: "", tls: "", reply: "", answers: None, max_age: None }
    }
}

/// The outcomes of an attempt, from the shard that made it: the home shard's queues, counts, accounting, and on to the shard
/// of the lane. Those that are `left` were not attempted: they are to be, as soon as they may be.
pub(in crate::shard) fn report<R: Runtime>(
    shard: &Rc<Shard<R>>,
    job: &Job,
    mut outcomes: Outcomes,
    left: Vec<Group>,
    scene: Option<&Scene<'_>>,
) {
    let group = &job.group;
    let counters = &shard.instruments.counters;
    let mut again = Vec::new();
    for outcome in outcomes.ranges_mut() {
        if let (Some(scene), Ended::Deferred(deferral)) = (scene, &mut outcome.disposition) {
            again::by_its_own(shard, (scene.view, scene.max_age), (group, outcome.first), deferral);
        }
        date(shard, outcome);
        if let Some(ended) = counters.outcome(event::kind_of(&outcome.disposition)) {
            ended.add(outcome.count.into());
        }
        if let Ended::Deferred(Deferral { attempts, next, .. }) = &outcome.disposition {
            if shard.runtime.planted(Defect::RetryForgotten) {
                continue;
            }
            let late = 600 * u32::from(shard.runtime.planted(Defect::RetryLate));
            let mut left = Group {
                first: outcome.first,
                count: outcome.count,
                attempts: *attempts,
                not_before: *next + late,
                standing: GroupPhase::Usual,
                ..*group
            };
            // A last try that goes on, and a moment to be taken up.
            if group.is_last_try() && *next > group.expiry {
                left.lasts_until(next.saturating_add(limits::LAST_TRY_MAX));
            }
            again.push(left);
        }
        if let Some(scene) = scene {
            let record = account(shard, job, scene, outcome);
            let is_late = matches!(outcome.disposition, Ended::Expired(_));
            if let Some(failure) = outcome.disposition.returned_mut() {
                failure.record = record;
                failure.late = is_late.then(|| (group.attempts, age(shard, scene.view, group)));
            }
        }
    }
    again.extend(left);
    borrow::attempted(shard, job, again);
    if outcomes.ranges().is_empty() {
        // All it brought was told before, and the credit it had for more is of no use: nothing is written that would bring it home.
        return_credit(shard, usize::from(job.home), group.location.lane);
        return;
    }
    hand_in(shard, job, outcomes);
}

/// Says when recipients are tried again, for whoever tells of it or writes it down.
fn date<R: Runtime>(shard: &Shard<R>, outcome: &mut RangeOutcome) {
    if let Some(deferral) = outcome.disposition.deferral() {
        outcome.due = shard.wall_of(deferral.next).seconds();
    }
}

/// A credit is not used. Who waited for it has it soon: nothing is begun from here.
fn return_credit<R: Runtime>(shard: &Shard<R>, home: usize, lane: u16) {
    if home == shard.index {
        let starved = shard.outbound.destinations.borrow_mut().credit(lane, 1);
        sites::later(shard, starved);
    } else {
        shard.mesh.send(home, ShardMessage::Credits { lane, count: 1 });
    }
}

/// What an attempt delivered that goes on, under a credit of its own: one of this shard's, whatever the home shard of the job.
pub(super) fn report_part<R: Runtime>(
    shard: &Rc<Shard<R>>,
    job: &Job,
    delivered: Outcomes,
    scene: &Scene<'_>,
) {
    for outcome in delivered.ranges() {
        shard.instruments.counters.recipients_delivered.add(u64::from(outcome.count));
        let _ = account(shard, job, scene, outcome);
    }
    hand_in(shard, &Job { home: shard.index as u16, ..*job }, delivered);
}

/// On to the shard of the lane.
fn hand_in<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job, outcomes: Outcomes) {
    let group = &job.group;
    let settled = Settled { home: job.home, location: group.location, key: group.key, outcomes };
    let writer = shard.mesh.writer(group.location.lane);
    if writer == shard.index {
        settle(shard, settled);
    } else {
        shard.mesh.send(writer, ShardMessage::Settled(settled));
    }
}

/// Records an outcome. What comes back of a failure is recorded by the shard of the lane, with the notification that is made of it.
fn account<R: Runtime>(shard: &Shard<R>, job: &Job, scene: &Scene<'_>, outcome: &RangeOutcome) -> Vec<u8> {
    let mut later = Vec::new();
    let wall = shard.runtime.wall();
    let Scene { view, hop, source, tls, reply, answers, max_age: _ } = *scene;
    let (reply, attempts) = outcome.disposition.told(reply, job.group.attempts);
    let status = outcome.disposition.returned().and_then(|failure| failure.status);
    let enhanced = status.or_else(|| reply::enhanced(reply));
    let delay = age(shard, view, &job.group);
    if outcome.disposition == Ended::Delivered {
        let _ = shard.say.latencies.borrow_mut().delivered.record(delay.max(1) * 1000);
    }
    let ours = match &outcome.disposition {
        Ended::Deferred(deferral) => deferral.ours,
        Ended::Bounced(failure) => failure.remote.is_none(),
        _ => false,
    };
    let class = event::class_of(shard, &outcome.disposition, ours, reply, (hop, enhanced), answers);
    if let Some(class) = class {
        shard.instruments.families.classified.add(class as usize, outcome.count.into());
    }
    // The shard of the lane tells of it: `tell_late`.
    if matches!(outcome.disposition, Ended::Expired(_)) {
        return later;
    }
    let class = class.map_or("", |class| class.word());
    let attempt = Attempt { hop, source, tls, reply, enhanced, class, attempts, delay_ms: Some(delay) };
    let record = |first: u16, recipients: &[&[u8]]| {
        let mail = Mail {
            account: view.account,
            parameters: &view.named_parameters(first),
            ..Mail::new(view.id, view.sender, (first, recipients))
        };
        let event = event::event_of(&outcome.disposition, mail, attempt, |_| outcome.due);
        let mut events = shard.say.events.borrow_mut();
        let received_here = shard.mesh.writer(job.group.location.lane) == shard.index;
        if outcome.disposition.returned().is_some() {
            events.encode(wall, &event, &mut later);
        } else if shard.runtime.planted(Defect::LogWithoutOrder) {
            events.record(wall, &event);
        } else {
            events.record_outcome(wall, &event, received_here);
        }
    };
    each_alike(view, (outcome.first, outcome.count), record);
    later
}

/// A call for each set of parameters of these recipients, however they take turns with others.
fn each_alike(view: &MessageView<'_>, (first, count): (u16, u16), mut record: impl FnMut(u16, &[&[u8]])) {
    let mut recipients =
        view.recipients().skip(usize::from(first)).take(usize::from(count)).map(|(address, _)| address);
    if count == 1 {
        return record(first, &[recipients.next().unwrap_or_default()]);
    }
    let recipients = recipients.collect::<Vec<_>>();
    let Some(alike) = view.alike(first, count) else { return record(first, &recipients) };
    for ordinals in alike {
        let place = |ordinal: &u16| recipients.get(usize::from(ordinal - first)).copied();
        let own: Vec<&[u8]> = ordinals.iter().filter_map(place).collect();
        record(ordinals[0], &own);
    }
}

/// Milliseconds since the message came. Where the wall clock was set since, to the second by the queues' clock.
fn age<R: Runtime>(shard: &Shard<R>, view: &MessageView<'_>, group: &Group) -> u64 {
    let (read, wall) = (shard.clock.read(shard.runtime.now()), shard.runtime.wall());
    let by_wall = wall.0.saturating_sub(view.arrival.0);
    let left = (u64::from(group.expiry) * 1000).saturating_sub(read.0);
    let lives = view.expiry.0.saturating_sub(view.arrival.0);
    let by_queue = lives.saturating_sub(left);
    if left > 0 && by_wall.abs_diff(by_queue) > limits::CLOCK_APART_MS { by_queue } else { by_wall }
}

/// The shard of the lane writes it down; failures are first returned to the sender.
pub(in crate::shard) fn settle<R: Runtime>(shard: &Rc<Shard<R>>, settled: Settled) {
    if settled.outcomes.ranges().iter().any(|outcome| outcome.disposition.returned().is_some()) {
        shard.outbound.settling.set(shard.outbound.settling.get() + 1);
        shard.runtime.spawn_vital("bounce", bounce(shard.clone(), settled));
    } else {
        write_down(shard, &settled, None);
    }
}

fn write_down<R: Runtime>(shard: &Rc<Shard<R>>, settled: &Settled, receipt: Option<Receipt>) {
    if shard.runtime.planted(Defect::OutcomeLost) {
        return;
    }
    let astray = u16::from(shard.runtime.planted(Defect::OutcomeAstray));
    let outcomes = settled.outcomes.ranges().iter().map(|outcome| Outcome {
        key: settled.key,
        location: settled.location,
        first: outcome.first.saturating_sub(astray),
        count: outcome.count,
        disposition: outcome.stored(),
    });
    let writer = shard.writer(settled.location.lane);
    writer.push_outcomes(shard.runtime.now(), settled.home, receipt, outcomes);
}

/// Makes the DSN (unless none is owed) and queues it before the outcomes that it tells, in the same lane: they are one commit, so a crash
/// neither loses it nor repeats it.
async fn bounce<R: Runtime>(shard: Rc<Shard<R>>, mut settled: Settled) {
    let late = shard.runtime.planted(Defect::BounceAfterOutcome);
    let failures = settled.outcomes.ranges().iter().filter_map(|outcome| outcome.disposition.returned());
    let mut receipt = failures.filter_map(|failure| failure.receipt.clone()).next();
    if late {
        write_down(&shard, &settled, None);
        shard.timers.sleep_until(shard.runtime.now() + limits::OUTCOME_DELAY_MAX * 10).await;
    }
    match compose(&shard, &mut settled).await {
        Ok(Some((submission, parent))) => {
            let about = Box::new(NoticeSubject::new(parent, records(&mut settled)));
            submission.of_ours(&shard, settled.location.lane, about);
        }
        Ok(None) => shard.say.events.borrow_mut().record_encoded(&records(&mut settled), None),
        Err(error) => {
            let id = shard.writer(settled.location.lane).lane().id(settled.key);
            let words =
                format!("cannot be read to return it: {error}; it is kept, and the next start tries again");
            load::report_unreadable(&shard, id, settled.location, &words);
            keep(&shard, &mut settled);
            receipt = None;
        }
    }
    if !late {
        write_down(&shard, &settled, receipt);
    }
    shard.outbound.settling.set(shard.outbound.settling.get() - 1);
}

/// The records of what failed.
fn records(settled: &mut Settled) -> Vec<u8> {
    let mut records = Vec::new();
    for outcome in settled.outcomes.ranges_mut() {
        if let Some(failure) = outcome.disposition.returned_mut() {
            records.append(&mut failure.record);
        }
    }
    records
}

/// Its sender cannot be told now: what failed stays in the spool.
fn keep<R: Runtime>(shard: &Shard<R>, settled: &mut Settled) {
    let next = shard.seconds();
    for outcome in settled.outcomes.ranges_mut() {
        if outcome.disposition.returned().is_some() {
            let reply = "451 4.3.0 the message cannot be read to return it".into();
            outcome.disposition = tally::deferred((1, next), reply, true);
            date(shard, outcome);
        }
    }
}

/// The notification, and the message it is about. Of what was given up for age it is said what its event says.
async fn compose<R: Runtime>(
    shard: &Rc<Shard<R>>,
    settled: &mut Settled,
) -> std::io::Result<Option<(Submission, MessageId)>> {
    let place = Pinned::new(shard, settled.key, settled.location);
    let source = StoredRecord::read(shard, place.location).await?;
    let view = source.view()?;
    tell_late(shard, settled, &view);
    if !dsn::owed(view.sender) {
        return Ok(None);
    }
    let wanted = (view.header_length as usize).min(limits::HEADER_MAX);
    let mut header =
        source.body_prefix(shard, settled.location.lane, &view, wanted).await.unwrap_or_default();
    if view.mailbox_line {
        header.splice(..0, trace::MAILBOX_FIELD.iter().copied());
    }
    let now = shard.runtime.wall();
    let texts = failure_texts(shard, settled);
    let mut failures = Vec::new();
    for ((ordinal, cause, failure), text) in failed_recipients(settled).zip(&texts) {
        let Some((recipient, _)) = view.recipients().nth(usize::from(ordinal)) else { continue };
        failures.push(dsn::FailedRecipient {
            recipient,
            cause,
            status: failure.status,
            remote: failure.remote.as_deref(),
            text,
            last_attempt: failure.remote.is_some().then_some(now),
        });
    }
    let notice = dsn::Notice {
        hostname: &shard.boot.node.hostname,
        sender: view.sender,
        id: view.id,
        arrival: view.arrival,
        now,
        unique: shard.runtime.random(),
        failures: &failures,
        header: &header,
    };
    let Some(bounce) = dsn::compose(&notice) else { return Ok(None) };
    let envelope = bounce.envelope(now, now.after(shard.live.get().config.retry.expire));
    Ok(Some((Submission::composed(envelope, bounce.body), view.id)))
}

/// Ordinals that are returned, and why.
fn failed_recipients(settled: &Settled) -> impl Iterator<Item = (u16, dsn::Cause, &Failure)> {
    let failed = settled.outcomes.ranges().iter().filter_map(|outcome| {
        let (cause, failure) = match &outcome.disposition {
            Ended::Bounced(failure) => (dsn::Cause::Refused, failure),
            Ended::Expired(failure) => (dsn::Cause::Expired, failure),
            Ended::Delivered | Ended::Deferred(_) | Ended::Local(_) => return None,
        };
        Some((outcome.first..outcome.first.saturating_add(outcome.count), cause, &**failure))
    });
    failed.flat_map(|(ordinals, cause, failure)| ordinals.map(move |ordinal| (ordinal, cause, failure)))
}

/// What was said last about each of them. For an expiry the text of the last deferral says more than we do.
fn failure_texts<R: Runtime>(shard: &Rc<Shard<R>>, settled: &Settled) -> Vec<String> {
    let writer = shard.writer(settled.location.lane);
    let lane = writer.lane();
    let text = |(ordinal, cause, failure): (u16, dsn::Cause, &Failure)| {
        let is_late = cause == dsn::Cause::Expired;
        let last = if is_late { last_reply(&lane, settled.key, ordinal) } else { None };
        last.unwrap_or_else(|| failure.diagnostic.clone())
    };
    failed_recipients(settled).map(text).collect()
}

/// Records of what was given up for age: with the last reply, which only the lane knows. One event tells of recipients that waited together, and
/// its id is by them, so that it quotes what was said to the first.
fn tell_late<R: Runtime>(shard: &Rc<Shard<R>>, settled: &mut Settled, view: &MessageView<'_>) {
    let writer = shard.writer(settled.location.lane);
    let (key, wall) = (settled.key, shard.runtime.wall());
    for outcome in settled.outcomes.ranges_mut() {
        let Ended::Expired(failure) = &outcome.disposition else { continue };
        let Some((attempts, delay)) = failure.late else { continue };
        let mut records = Vec::new();
        each_alike(view, (outcome.first, outcome.count), |first, recipients| {
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

fn last_reply(lane: &crate::spool::Lane, key: u32, ordinal: u16) -> Option<String> {
    let live = lane.entry(key)?.live();
    let range = live.iter().find(|range| (range.first..range.first + range.count).contains(&ordinal))?;
    let text = lane.reply(range.reply);
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
