//! How an attempt ended, on both sides: the home shard reports, the shard of the lane writes it down.

use std::net::IpAddr;
use std::rc::Rc;

use crate::limits;
use crate::mail::classify::Class;
use crate::observe::event::{Attempt, Mail};
use crate::queue::outcome::{Deferral, Ended, Failure, Hold, Outcomes, RangeOutcome, Settled};
use crate::queue::{Group, GroupPhase};
use crate::route::{Hop, SitePolicy};
use crate::runtime::{Defect, Runtime};
use crate::shaping::answers::Answers;
use crate::shard::Shard;
use crate::shard::event;
use crate::shard::message::{Job, ShardMessage};
use crate::shard::outbound::asked::{self, Duty};
use crate::shard::outbound::{again, borrow, settled, sites, tally};
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::StoredRecord;
use crate::smtp::{client, reply};
use crate::spool::record::MessageView;

/// One end for a whole group that no connection worked on. Its record is read first, so that the accounting can tell of it.
pub(super) async fn whole_now<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job, disposition: Ended) {
    whole_by(shard, job, disposition, ("", Way::default(), || {})).await;
}

/// The same, for what a hop said of all mail; `told` is called when it is, so that until then a task that panics gives the group back.
pub(super) async fn whole_by<R: Runtime>(
    shard: &Rc<Shard<R>>,
    job: &Job,
    disposition: Ended,
    (hop, way, told): (&str, Way<'_>, impl FnOnce()),
) {
    let group = &job.group;
    let outcomes = Outcomes::One(RangeOutcome::new(group.first, group.count, disposition));
    let _counted = Settling::new(shard);
    let place = Pinned::new(shard, group.key, group.location);
    let stored = StoredRecord::read(shard, place.location).await;
    let view = stored.as_ref().ok().and_then(|stored| stored.view().ok());
    let scene = view.as_ref().map(|view| Scene { hop, way, ..Scene::without_hop(view) });
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
    (hop, way, answers): (&str, Way<'_>, Option<&Answers>),
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
    let news = asked::is_late(shard, group, None).then(|| asked::late(&outcome));
    hand_in(shard, job, Outcomes::One(outcome.clone()).with_news(news.into_iter().collect()));
    shard.outbound.settling.set(shard.outbound.settling.get() + 1);
    // Whoever delivers it meanwhile reads it behind this, and has a hop to speak to before there is more to tell.
    if let Ok(stored) = StoredRecord::read(shard, place.location).await
        && let Ok(view) = stored.view()
    {
        let _ = account(shard, job, &Scene { hop, way, answers, ..Scene::without_hop(&view) }, &outcome);
    }
    shard.outbound.settling.set(shard.outbound.settling.get() - 1);
}

/// Where an attempt leads, and by what.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shard) struct Way<'a> {
    /// The site; empty: there is none.
    pub site: &'a str,
    /// Whose it is; empty: nobody's that shaping files know.
    pub provider: &'a str,
    /// The source that it left by; empty: the node's own addresses.
    pub source: &'a str,
    /// Its address, where there is a connection.
    pub address: Option<IpAddr>,
}

impl<'a> Way<'a> {
    /// To this hop, as its policy has it.
    pub fn to(hop: &'a Hop, policy: &'a SitePolicy) -> Way<'a> {
        let provider = policy.provider.as_deref().unwrap_or_default();
        Way { site: &hop.site, provider, source: hop.source(), address: None }
    }
}

/// What the accounting says of an attempt besides its outcomes.
pub(in crate::shard) struct Scene<'a> {
    /// The message.
    pub view: &'a MessageView<'a>,
    /// The hop; empty: there was none.
    pub hop: &'a str,
    /// On which way.
    pub way: Way<'a>,
    /// Its TLS; empty: there was none.
    pub tls: &'a str,
    /// What it said when it took the message.
    pub reply: &'a str,
    /// What rules say of its replies.
    pub answers: Option<&'a Answers>,
    /// When its site wants mail given up, seconds after it came.
    pub max_age: Option<u32>,
    /// Whose part it is to tell the sender of what the hop took.
    pub duty: Duty,
}

impl<'a> Scene<'a> {
    /// There was none.
    pub fn without_hop(view: &'a MessageView<'a>) -> Scene<'a> {
        Scene {
            view,
            hop: "",
            way: Way::default(),
            tls: "",
            reply: "",
            answers: None,
            max_age: None,
            duty: Duty::Theirs,
        }
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
            let (record, class) = account(shard, job, scene, outcome);
            let is_late = matches!(outcome.disposition, Ended::Expired(_));
            if let Some(failure) = outcome.disposition.returned_mut() {
                (failure.record, failure.class) = (record, class);
                failure.late = is_late.then(|| (group.attempts, age(shard, scene.view, group)));
            }
        }
    }
    let outcomes = with_news(shard, group, outcomes, scene);
    again.extend(left);
    borrow::attempted(shard, job, again);
    if outcomes.ranges().is_empty() {
        // All it brought was told before, and the credit it had for more is of no use: nothing is written that would bring it home.
        return_credit(shard, usize::from(job.home), group.location.lane);
        return;
    }
    hand_in(shard, job, outcomes);
}

/// A group waits from now on as an operator wants it, and that is recorded.
pub(in crate::shard) fn kept<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job, hold: Hold, waits: Group) {
    let outcome = RangeOutcome::new(job.group.first, job.group.count, Ended::Held(Box::new(hold)));
    borrow::attempted(shard, job, vec![waits]);
    hand_in(shard, job, Outcomes::One(outcome));
}

/// The same outcomes, with what their sender is to be told beside failures.
fn with_news<R: Runtime>(
    shard: &Shard<R>,
    group: &Group,
    outcomes: Outcomes,
    scene: Option<&Scene<'_>>,
) -> Outcomes {
    let Some(scene) = scene else { return outcomes };
    let news = asked::news(shard, group, &outcomes, (scene.view, scene.duty, scene.hop, scene.reply));
    outcomes.with_news(news)
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
    let delivered = with_news(shard, &job.group, delivered, Some(scene));
    hand_in(shard, &Job { home: shard.index as u16, ..*job }, delivered);
}

/// On to the shard of the lane.
fn hand_in<R: Runtime>(shard: &Rc<Shard<R>>, job: &Job, outcomes: Outcomes) {
    let group = &job.group;
    let outcomes = Settled { home: job.home, location: group.location, key: group.key, outcomes };
    let writer = shard.mesh.writer(group.location.lane);
    if writer == shard.index {
        settled::settle(shard, outcomes);
    } else {
        shard.mesh.send(writer, ShardMessage::Settled(outcomes));
    }
}

/// Records an outcome. What comes back of a failure is recorded by the shard of the lane, with the notification that is made of it. Also what it is
/// about.
fn account<R: Runtime>(
    shard: &Shard<R>,
    job: &Job,
    scene: &Scene<'_>,
    outcome: &RangeOutcome,
) -> (Vec<u8>, Option<Class>) {
    let mut later = Vec::new();
    let wall = shard.runtime.wall();
    let Scene { view, hop, way, tls, reply, answers, max_age: _, duty: _ } = *scene;
    let Way { site, provider, source, address } = way;
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
    let (tenants, families) = (&shard.outbound.tenants, &shard.instruments.families);
    // The shard of the lane tells of it: `tell_late`.
    if matches!(outcome.disposition, Ended::Expired(_)) {
        let parameters = view.named_parameters(outcome.first);
        tenants.count(families, &parameters, (&outcome.disposition, outcome.count.into()));
        return (later, class);
    }
    let named = class;
    let class = class.map_or("", |class| class.word());
    let delay_ms = Some(delay);
    let attempt =
        Attempt { hop, site, provider, source, address, tls, reply, enhanced, class, attempts, delay_ms };
    let record = |first: u16, recipients: &[&[u8]]| {
        let parameters = view.named_parameters(first);
        tenants.count(families, &parameters, (&outcome.disposition, recipients.len()));
        let mail = Mail {
            account: view.account,
            parameters: &parameters,
            came: Some((view.arrival, view.size)),
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
    event::each_alike(view, (outcome.first, outcome.count), record);
    (later, named)
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
