//! Stage 8: how an attempt ended, on both sides: the home shard reports, the shard of the lane writes it down.

use std::rc::Rc;

use crate::limits;
use crate::mail::dsn;
use crate::observe::accounting::{Event, Kind};
use crate::queue::Group;
use crate::queue::destinations::DomainKey;
use crate::runtime::Runtime;
use crate::shard::load::Source;
use crate::shard::mesh::{Failure, Fate, Letter, Outcomes, RangeOutcome, Settled};
use crate::shard::{Shard, dispatch};
use crate::spool::batch::{NewMessage, Outcome};
use crate::spool::record::{self, MessageView};

/// Synced outcomes of a lane brought credits home.
pub(super) fn credited<R: Runtime>(shard: &Rc<Shard<R>>, lane: u16, count: u32) {
    let effects = shard.destinations.borrow_mut().credit(lane, count);
    for effect in effects {
        dispatch::carry_out(shard, effect);
    }
}

/// One fate for a whole group, from the home shard. `view` tells the accounting about it, where there is one.
pub(super) fn whole<R: Runtime>(
    shard: &Rc<Shard<R>>,
    domain: DomainKey,
    group: &Group,
    fate: Fate,
    view: Option<(&MessageView<'_>, &str)>,
) {
    let outcome = RangeOutcome { first: group.first, count: group.count, fate };
    report(shard, domain, group, Outcomes::One(outcome), view);
}

/// A group nobody could deliver in time.
pub(super) fn expired<R: Runtime>(shard: &Rc<Shard<R>>, domain: DomainKey, group: &Group, last: &str) {
    let diagnostic = if last.is_empty() { "the message could not be delivered in time" } else { last };
    let failure = Failure {
        expired: true,
        status: "4.4.7".to_owned(),
        remote: None,
        diagnostic: diagnostic.to_owned(),
    };
    whole(shard, domain, group, Fate::Failed(Box::new(failure)), None);
}

/// The outcomes of an attempt, from the home shard: queues, counts, accounting, and on to the shard of the lane.
pub(super) fn report<R: Runtime>(
    shard: &Rc<Shard<R>>,
    domain: DomainKey,
    group: &Group,
    outcomes: Outcomes,
    view: Option<(&MessageView<'_>, &str)>,
) {
    let now = shard.runtime.wall();
    let counters = &shard.instruments.counters;
    let mut again = Vec::new();
    for outcome in outcomes.ranges() {
        let count = u64::from(outcome.count);
        match &outcome.fate {
            Fate::Delivered => counters.recipients_delivered.add(count),
            Fate::Failed(failure) if failure.expired => counters.recipients_expired.add(count),
            Fate::Failed(_) => counters.recipients_bounced.add(count),
            Fate::Deferred { attempts, next, .. } => {
                counters.recipients_deferred.add(count);
                again.push(Group {
                    first: outcome.first,
                    count: outcome.count,
                    attempts: *attempts,
                    not_before: *next,
                    resident: false,
                    ..*group
                });
            }
        }
        if let Some((view, hop)) = view {
            account(shard, view, hop, outcome);
        }
    }
    shard.destinations.borrow_mut().attempted(domain, group, &again, now.seconds());
    let settled = Settled { home: shard.index as u16, location: group.location, key: group.key, outcomes };
    let keeper = shard.mesh.keeper(group.location.lane);
    if keeper == shard.index {
        settle(shard, settled);
    } else {
        shard.mesh.send(keeper, Letter::Settled(settled));
    }
}

fn account<R: Runtime>(shard: &Shard<R>, view: &MessageView<'_>, hop: &str, outcome: &RangeOutcome) {
    let now = shard.runtime.wall();
    let (kind, reply, attempts) = match &outcome.fate {
        Fate::Delivered => (Kind::Delivered, None, 0),
        Fate::Deferred { attempts, reply, .. } => (Kind::Deferred, Some(&**reply), *attempts),
        Fate::Failed(failure) if failure.expired => (Kind::Expired, Some(&*failure.diagnostic), 0),
        Fate::Failed(failure) => (Kind::Bounced, Some(&*failure.diagnostic), 0),
    };
    let delay = now.0.saturating_sub(view.arrival.0);
    if kind == Kind::Delivered {
        let _ = shard.latencies.borrow_mut().delivered.record(delay.max(1) * 1000);
    }
    let event = |recipients: &[&[u8]]| {
        let event = Event {
            hop: (!hop.is_empty()).then_some(hop),
            reply,
            attempts,
            delay_ms: Some(delay),
            ..Event::new(kind, now, view.id, view.sender, recipients)
        };
        shard.journal.borrow_mut().record(&event);
    };
    let mut recipients = view
        .recipients()
        .skip(usize::from(outcome.first))
        .take(usize::from(outcome.count))
        .map(|(address, _)| address);
    if outcome.count == 1 {
        event(&[recipients.next().unwrap_or_default()]);
    } else {
        event(&recipients.collect::<Vec<_>>());
    }
}

/// The shard of the lane writes it down; failures are first returned to the sender.
pub(super) fn settle<R: Runtime>(shard: &Rc<Shard<R>>, settled: Settled) {
    if settled.outcomes.ranges().iter().any(|outcome| matches!(outcome.fate, Fate::Failed(_))) {
        shard.bouncing.set(shard.bouncing.get() + 1);
        shard.runtime.spawn_vital("bounce", bounce(shard.clone(), settled));
    } else {
        write_down(shard, &settled);
    }
}

fn write_down<R: Runtime>(shard: &Rc<Shard<R>>, settled: &Settled) {
    let outcomes = settled.outcomes.ranges().iter().map(|outcome| Outcome {
        key: settled.key,
        location: settled.location,
        first: outcome.first,
        count: outcome.count,
        fate: match &outcome.fate {
            Fate::Delivered => record::Fate::Delivered,
            Fate::Deferred { attempts, next, reply } => {
                record::Fate::Deferred { attempts: *attempts, next: *next, reply: reply.clone() }
            }
            Fate::Failed(failure) if failure.expired => record::Fate::Expired,
            Fate::Failed(_) => record::Fate::Bounced,
        },
    });
    let keeper = shard.keeper(settled.location.lane);
    shard.persist_outcomes(&keeper, settled.home, outcomes.collect());
}

/// Makes the DSN (unless none is owed) and queues it before the outcome: both go to the same lane in this order, so a crash
/// may repeat a bounce and never lose one.
async fn bounce<R: Runtime>(shard: Rc<Shard<R>>, settled: Settled) {
    match compose(&shard, &settled).await {
        Ok(Some(message)) => shard.persist_bounce(&shard.keeper(settled.location.lane), message),
        Ok(None) => {}
        Err(error) => {
            eprintln!(
                "relevo: lane {} segment {} offset {}: cannot read the message to return it: {error}",
                settled.location.lane, settled.location.slot, settled.location.offset
            );
        }
    }
    write_down(&shard, &settled);
    shard.bouncing.set(shard.bouncing.get() - 1);
}

async fn compose<R: Runtime>(shard: &Rc<Shard<R>>, settled: &Settled) -> std::io::Result<Option<NewMessage>> {
    let source = Source::read(shard, settled.location).await?;
    let view = source.view()?;
    if view.sender.is_empty() {
        return Ok(None);
    }
    let wanted = (view.header_length as usize).min(limits::HEADER_MAX);
    let headers = source.body_prefix(shard, &view, wanted).await.unwrap_or_default();
    // The text of the last deferral says more about an expiry than we do.
    let keeper = shard.keeper(settled.location.lane);
    let mut failures = Vec::new();
    for outcome in settled.outcomes.ranges() {
        let Fate::Failed(failure) = &outcome.fate else { continue };
        let recipients = view.recipients().skip(usize::from(outcome.first)).take(usize::from(outcome.count));
        for (place, (address, _)) in recipients.enumerate() {
            let last = failure
                .expired
                .then(|| last_reply(&keeper.lane.borrow(), settled.key, outcome.first + place as u16));
            failures.push(dsn::Failed {
                recipient: address,
                status: &failure.status,
                remote: failure.remote.as_deref(),
                diagnostic: last.flatten().unwrap_or_else(|| failure.diagnostic.clone()),
                expired: failure.expired,
            });
        }
    }
    let now = shard.runtime.wall();
    let notice = dsn::Notice {
        hostname: &shard.settings.node.hostname,
        now,
        boundary: shard.runtime.random(),
        original: &view,
        failures: &failures,
        headers: &headers,
        expiry: now.after(shard.settings.retry.expire),
    };
    Ok(Some(dsn::compose(&notice)))
}

fn last_reply(lane: &crate::spool::Lane, key: u32, ordinal: u16) -> Option<String> {
    let live = lane.entry(key)?.live();
    let range = live.iter().find(|range| (range.first..range.first + range.count).contains(&ordinal))?;
    let text = lane.reply(range.reply);
    (!text.is_empty()).then(|| text.to_owned())
}
