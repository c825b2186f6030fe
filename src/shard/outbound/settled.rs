//! What outcomes come to on the shard of the lane: senders are told of them, and they are written down.

use std::rc::Rc;

use crate::limits;
use crate::queue::outcome::{Ended, News, Outcomes, RangeOutcome, Receipt, Settled, Stored, Tidings};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::inbound::sign;
use crate::shard::outbound::{report, tally};
use crate::shard::store::load;
use crate::shard::store::writer::NoticeSubject;
use crate::spool::Lane;
use crate::spool::batch::Outcome;

/// Some recipients in a row: the first and how many.
type Span = (u16, u16);

/// They are written down. What their sender is told goes before them.
pub(in crate::shard) fn settle<R: Runtime>(shard: &Rc<Shard<R>>, mut settled: Settled) {
    if !settled.outcomes.news().is_empty() {
        sort_out_late(shard, &mut settled);
    }
    let returned = settled.outcomes.ranges().iter().any(|outcome| outcome.disposition.returned().is_some());
    if returned || !settled.outcomes.news().is_empty() {
        shard.outbound.settling.set(shard.outbound.settling.get() + 1);
        shard.runtime.spawn_vital("bounce", tell(shard.clone(), settled));
    } else {
        let receipt = match &settled.outcomes {
            Outcomes::One(RangeOutcome { disposition: Ended::Held(hold), .. }) => hold.receipt.clone(),
            _ => None,
        };
        write_down(shard, &settled, receipt);
    }
}

/// Of recipients that are late that is told once: leaves in the news whom it was not told of, as outcomes of their own.
fn sort_out_late<R: Runtime>(shard: &Shard<R>, settled: &mut Settled) {
    let writer = shard.writer(settled.location.lane);
    let again = shard.runtime.planted(Defect::LateToldAgain);
    let Outcomes::Told(told) = &mut settled.outcomes else { return };
    let mut news = Vec::new();
    let mut spans: Vec<Span> = Vec::new();
    for one in std::mem::take(&mut told.news) {
        if one.what != Tidings::Late || again {
            news.push(one);
            continue;
        }
        let fresh = not_late(&writer.lane(), settled.key, (one.first, one.count));
        news.extend(fresh.iter().map(|(first, count)| News {
            first: *first,
            count: *count,
            what: Tidings::Late,
        }));
        spans.extend(fresh);
    }
    told.news = news;
    if !spans.is_empty() {
        told.ranges =
            std::mem::take(&mut told.ranges).into_iter().flat_map(|one| split(one, &spans)).collect();
    }
}

/// Of these recipients, those of whom it was not told yet that they are late.
fn not_late(lane: &Lane, key: u32, (first, count): Span) -> Vec<Span> {
    let end = first.saturating_add(count);
    let mut fresh: Vec<Span> = Vec::new();
    for range in lane.entry(key).iter().flat_map(|entry| entry.live().to_vec()).filter(|range| !range.late) {
        let (from, to) = (range.first.max(first), (range.first + range.count).min(end));
        match fresh.last_mut() {
            _ if from >= to => {}
            Some((last, length)) if *last + *length == from => *length += to - from,
            _ => fresh.push((from, to - from)),
        }
    }
    fresh
}

/// An outcome in pieces, so that each of these spans, which are in order, is one.
fn split(outcome: RangeOutcome, spans: &[Span]) -> Vec<RangeOutcome> {
    let end = outcome.first + outcome.count;
    let mut at = outcome.first;
    let mut pieces = Vec::new();
    let mut piece = |from: u16, to: u16| {
        if from < to {
            pieces.push(RangeOutcome { first: from, count: to - from, ..outcome.clone() });
        }
    };
    for (first, count) in spans.iter().filter(|(first, count)| *first < end && first + count > outcome.first)
    {
        let (from, to) = ((*first).max(at), (first + count).min(end));
        piece(at, from);
        piece(from, to);
        at = to;
    }
    piece(at, end);
    pieces
}

fn write_down<R: Runtime>(shard: &Rc<Shard<R>>, settled: &Settled, receipt: Option<Receipt>) {
    if shard.runtime.planted(Defect::OutcomeLost) {
        return;
    }
    let astray = u16::from(shard.runtime.planted(Defect::OutcomeAstray));
    let late: Vec<Span> = spans(settled, &Tidings::Late).collect();
    let outcomes = settled.outcomes.ranges().iter().map(|outcome| {
        let mut disposition = outcome.stored();
        if let Stored::Deferred(deferral) = &mut disposition {
            deferral.late = late.contains(&(outcome.first, outcome.count));
        }
        let first = outcome.first.saturating_sub(astray);
        Outcome { key: settled.key, location: settled.location, first, count: outcome.count, disposition }
    });
    let writer = shard.writer(settled.location.lane);
    writer.push_outcomes(shard.runtime.now(), settled.home, receipt, outcomes);
}

fn spans<'a>(settled: &'a Settled, what: &'a Tidings) -> impl Iterator<Item = Span> + use<'a> {
    settled.outcomes.news().iter().filter(move |one| one.what == *what).map(|one| (one.first, one.count))
}

/// Makes the notification (unless none is owed) and queues it before the outcomes that it tells, in the same lane: they are one commit, so a crash
/// neither loses it nor repeats it.
async fn tell<R: Runtime>(shard: Rc<Shard<R>>, mut settled: Settled) {
    let late = shard.runtime.planted(Defect::BounceAfterOutcome);
    let failures = settled.outcomes.ranges().iter().filter_map(|outcome| outcome.disposition.returned());
    let mut receipt = failures.filter_map(|failure| failure.receipt.clone()).next();
    if late {
        write_down(&shard, &settled, None);
        shard.timers.sleep_until(shard.runtime.now() + limits::OUTCOME_DELAY_MAX * 10).await;
    }
    match report::compose(&shard, &mut settled).await {
        Ok((Some((mut submission, parent)), records)) => {
            sign::own(&shard, &mut submission).await;
            let about = Box::new(NoticeSubject::new(parent, records));
            submission.of_ours(&shard, settled.location.lane, about);
        }
        Ok((None, records)) => shard.say.events.borrow_mut().record_encoded(&records, None),
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

/// Its sender cannot be told now: what failed stays in the spool, and what is late is told of the next time.
fn keep<R: Runtime>(shard: &Shard<R>, settled: &mut Settled) {
    let next = shard.seconds();
    for outcome in settled.outcomes.ranges_mut() {
        if outcome.disposition.returned().is_some() {
            let reply = "451 4.3.0 the message cannot be read to return it".into();
            outcome.disposition = tally::deferred((1, next), reply, true);
            outcome.due = shard.wall_of(next).seconds();
        }
    }
    if let Outcomes::Told(told) = &mut settled.outcomes {
        told.news.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_split_where_only_some_are_told_of() {
        let split = |first, count, spans: &[Span]| -> Vec<Span> {
            let outcome = RangeOutcome::new(first, count, Ended::Delivered);
            super::split(outcome, spans).iter().map(|one| (one.first, one.count)).collect()
        };
        assert_eq!(split(3, 5, &[]), [(3, 5)]);
        assert_eq!(split(3, 5, &[(3, 5)]), [(3, 5)]);
        assert_eq!(split(3, 5, &[(0, 2), (4, 1), (6, 9)]), [(3, 1), (4, 1), (5, 1), (6, 2)]);
        assert_eq!(split(3, 5, &[(8, 4)]), [(3, 5)]);
    }
}
