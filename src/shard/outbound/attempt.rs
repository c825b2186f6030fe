//! An attempt on a group: its recipients in one transaction, or in as many as the hop wants.

use std::io;

use crate::id::Location;
use crate::observe::families::{NamePlace, Tried};
use crate::queue::outcome::{Ended, Outcomes};
use crate::queue::{Group, schedule};
use crate::route::{Hop, SitePolicy};
use crate::runtime::{Defect, Runtime};
use crate::shard::message::Job;
use crate::shard::outbound::asked::Duty;
use crate::shard::outbound::session::Connection;
use crate::shard::outbound::tally::{Part, Tally, deferred, ended};
use crate::shard::outbound::transact::transact;
use crate::shard::outbound::work::{After, GroupUnderWay, How, NextJob, Run, is_resident, recipients_max};
use crate::shard::outbound::{hand_over, return_path, settle, suppressed, suspended, utf8};
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::{self, StoredRecord};
use crate::smtp::client::{self, Verdict};
use crate::spool::record::MessageView;

/// One group over this connection.
pub(super) async fn attempt<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    NextJob { under_way, opened, at, token }: NextJob<'_, R>,
) -> After {
    let shard = run.shard;
    (run.token, run.begun_at) = (token, at);
    let job = &under_way.job.clone();
    let group = &job.group;
    let resident = is_resident(shard, group);
    let place = Pinned::new(shard, group.key, group.location);
    let source = if resident {
        StoredRecord::mapped(shard, place.location)
    } else {
        StoredRecord::read(shard, place.location).await
    };
    let view = source.as_ref().map(StoredRecord::view);
    let view = match view {
        Ok(Ok(view)) => view,
        Ok(Err(error)) => return unreadable(&under_way, place.location, &error).await,
        Err(error) => return unreadable(&under_way, place.location, error).await,
    };
    let mut tally = Tally::default();
    // What was opened is under way.
    if opened {
        tally.left.push((group.first, group.count));
    } else {
        suspended::sort_out(shard, Some(&run.site.hop.borrow().site), group, &view, &mut tally);
        if !resident {
            suppressed::sort_out(shard, &view, &mut tally);
        }
        hand_over::keep_back(run, connection, &view, group, &mut tally);
    }
    if tally.left.is_empty() {
        under_way.settled();
        settle::report(
            shard,
            job,
            tally.take_outcomes(),
            tally.waits,
            Some(&settle::Scene::without_hop(&view)),
        );
        return After::Keep;
    }
    let Some(after) = all(run, connection, &view, (job, resident), opened, &mut tally).await else {
        // Dropping `under_way` puts the group back.
        return After::Stale;
    };
    let outcomes = tally.take_outcomes();
    if shard.runtime.planted(Defect::FewForgotten) {
        tally.left.clear();
    }
    under_way.settled();
    count(run, &outcomes);
    let (hop, policy) = (run.site.hop.borrow().clone(), run.site.policy.borrow());
    let again = tally.left.iter().map(|(first, count)| Group {
        first: *first,
        count: *count,
        not_before: 0,
        ..*group
    });
    let again = again.chain(tally.waits).collect();
    settle::report(shard, job, outcomes, again, Some(&scene(&view, connection, (&hop, &policy))));
    after
}

/// Counts what an attempt brought, by the route it took.
fn count<R: Runtime>(run: &Run<'_, R>, outcomes: &Outcomes) {
    let (site, attempted) = (run.site, &run.shard.instruments.families.attempted);
    let place = site.counted.get().unwrap_or_else(|| attempted.place(site.hop.borrow().route()));
    site.counted.set(Some(place));
    let of_source = &run.shard.instruments.families.by_source;
    let hop = site.hop.borrow();
    let place_by =
        hop.by.as_ref().map(|by| site.counted_by.get().unwrap_or_else(|| of_source.place(by.name())));
    site.counted_by.set(place_by);
    let by_provider = &run.shard.instruments.families.by_provider;
    let place_at = site.counted_at.get().unwrap_or_else(|| {
        site.policy
            .borrow()
            .provider
            .as_deref()
            .map_or_else(NamePlace::default, |name| by_provider.place(name))
    });
    site.counted_at.set(Some(place_at));
    for outcome in outcomes.ranges() {
        let tried = match &outcome.disposition {
            Ended::Delivered => Tried::Delivered,
            Ended::Deferred(_) => Tried::Deferred,
            Ended::Bounced(_) | Ended::Expired(_) => Tried::Bounced,
            // It was not.
            Ended::Local(_) | Ended::Held(_) => continue,
        };
        attempted.add(place, tried as usize, outcome.count.into());
        by_provider.add(place_at, tried as usize, outcome.count.into());
        if let Some(place) = place_by {
            of_source.add(place, tried as usize, outcome.count.into());
        }
    }
}

fn scene<'a, R: Runtime>(
    view: &'a MessageView<'a>,
    connection: &'a Connection<R>,
    (hop, policy): (&'a Hop, &'a SitePolicy),
) -> settle::Scene<'a> {
    // The site may have another hop by now.
    let source = connection.by.as_ref().map_or("", |source| source.name());
    let way = settle::Way { source, address: connection.address, ..settle::Way::to(hop, policy) };
    let (hop, tls, answers) = (&connection.hop, &connection.tls, policy.answers.as_ref());
    let (reply, max_age, duty) = (connection.said(), policy.max_age, Duty::of(connection));
    settle::Scene { view, hop, way, tls, reply, answers, max_age, duty }
}

/// What was delivered so far is written down before the next transaction, which may hang for minutes: a node that ends meanwhile
/// would deliver it again. That takes a credit more, of this shard's own also where another one's domain is delivered for it. False: there is
/// none here, and the attempt is to end with what it has.
fn report_delivered<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    view: &MessageView<'_>,
    job: &Job,
    tally: &mut Tally,
) -> bool {
    let shard = run.shard;
    if !tally.has_delivered() || shard.runtime.planted(Defect::PartsToldLate) {
        return true;
    }
    let lane = job.group.location.lane;
    if !shard.outbound.destinations.borrow_mut().take_credit(lane) {
        return false;
    }
    let delivered = tally.take_delivered();
    count(run, &delivered);
    let hop = run.site.hop.borrow().clone();
    let policy = run.site.policy.borrow();
    settle::report_part(shard, job, delivered, &scene(view, connection, (&hop, &policy)));
    true
}

/// As many transactions as the group takes. None: nothing was attempted, for the connection had ended. Recipients that are left are to
/// be tried again without a wait: each attempt leaves fewer.
async fn all<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    view: &MessageView<'_>,
    (job, resident): (&Job, bool),
    mut opened: bool,
    tally: &mut Tally,
) -> Option<After> {
    let group = &job.group;
    let reused = run.done > 0;
    let mut begun = false;
    let (mut after, mut got_on) = (After::Keep, true);
    while let Some((first, count)) = tally.left.pop() {
        if begun {
            let token = if after == After::Keep && run.goes_on() { run.next_token() } else { None };
            let Some(token) = token.filter(|_| report_delivered(run, connection, view, job, tally)) else {
                tally.left.push((first, count));
                break;
            };
            (run.token, run.begun_at) = (token, run.shard.timers.recent());
        }
        // What went ahead names all of the group, however few the site has shown to take since then on another connection.
        let alone = !opened && return_path::applies(run.shard, connection, view);
        let most = if opened { count } else { recipients_max(run, connection) };
        let most = if alone { 1 } else { most };
        let most = if opened { most } else { utf8::alike(&connection.capabilities, view, (first, most)) };
        let most = most.min(hand_over::alike(connection, view, first)).max(1);
        if count > most {
            tally.left.push((first + most, count - most));
        }
        let part = Part { first, count: count.min(most), group, resident };
        let how = How {
            reused: reused && !begun,
            last: tally.left.is_empty(),
            opened: std::mem::take(&mut opened),
        };
        (after, got_on) = transact(run, connection, view, &part, how, tally).await;
        if after == After::Stale {
            if !begun {
                return None;
            }
            tally.later(first, part.count);
            return Some(After::Close);
        }
        begun = true;
    }
    if after == After::Close && !got_on {
        // Nobody knows whether the rest would fare better.
        let reply = tally.ended_by.take().unwrap_or_else(|| {
            let words = "the session with the next hop ended before this recipient was asked for";
            Box::new(client::local(451, (4, 4, 2), words))
        });
        for (first, count) in std::mem::take(&mut tally.left) {
            let part = Part { first, count, group, resident };
            let ended = ended(run.shard, run.site, &Verdict::Deferred(0), &reply, &part, &connection.hop);
            tally.merge(first, count, ended);
        }
    }
    Some(after)
}

/// The spool cannot give the message back: it is kept, and tried again.
async fn unreadable<R: Runtime>(
    under_way: &GroupUnderWay<'_, R>,
    place: Location,
    error: &io::Error,
) -> After {
    let shard = &under_way.shard;
    load::report_unreadable(
        shard,
        load::name(shard, place).await,
        place,
        &format!("cannot be delivered: {error}"),
    );
    let attempts = under_way.job.group.attempts.saturating_add(1);
    let now = shard.seconds_up();
    let retry = &under_way.site.policy.borrow().retry.clone();
    let next = schedule::next_attempt(retry, attempts, now, shard.runtime.random());
    let reply = format!("451 4.3.0 {error}").into();
    under_way.settled();
    settle::whole(shard, &under_way.job, deferred((attempts, next), reply, true));
    After::Keep
}
