//! An attempt on a group: its recipients in one transaction, or in as many as the hop wants.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::id::Location;
use crate::limits;
use crate::queue::outcome::{Failure, Fate, Outcomes, RangeOutcome};
use crate::queue::{Group, schedule};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::message::Job;
use crate::shard::outbound::connect::Connection;
use crate::shard::outbound::deliver::{After, Next, Run};
use crate::shard::outbound::dispatch::Site;
use crate::shard::outbound::transact::{How, Part, transact};
use crate::shard::outbound::{lend, settle};
use crate::shard::store::compact::Pinned;
use crate::shard::store::load::{self, Source};
use crate::smtp::client::{self, Verdict};
use crate::smtp::reply::Reply;
use crate::spool::record::MessageView;

/// Some recipients in a row: the first and how many.
pub(in crate::shard) type Span = (u16, u16);

/// What came of a group so far.
#[derive(Default)]
pub(in crate::shard) struct Tally {
    /// Outcomes; nearly always there is one.
    ranges: SmallVec<[RangeOutcome; 1]>,
    /// Recipients still to be asked for, the next at the end.
    left: SmallVec<[Span; 1]>,
    /// What ended the session for all mail, if a transaction told that nothing further goes over it.
    pub(in crate::shard) ended_by: Option<Box<Reply>>,
}

impl Tally {
    /// Adds a recipient's fate, to its neighbours' if it is the same.
    pub(in crate::shard) fn merge(&mut self, first: u16, count: u16, fate: Fate) {
        if let Some(last) = self.ranges.last_mut()
            && last.first + last.count == first
            && same(&last.fate, &fate)
        {
            last.count += count;
            return;
        }
        self.ranges.push(RangeOutcome { first, count, fate });
    }

    /// These are to be asked for in another transaction.
    pub(in crate::shard) fn later(&mut self, first: u16, count: u16) {
        if let Some((begin, length)) = self.left.last_mut()
            && *begin + *length == first
        {
            *length += count;
            return;
        }
        self.left.push((first, count));
    }

    /// Takes out what was delivered.
    fn take_delivered(&mut self) -> SmallVec<[RangeOutcome; 1]> {
        let mut delivered = SmallVec::new();
        self.ranges.retain(|range| {
            let stays = range.fate != Fate::Delivered;
            if !stays {
                delivered.push(range.clone());
            }
            stays
        });
        delivered
    }

    fn has_delivered(&self) -> bool {
        self.ranges.iter().any(|range| range.fate == Fate::Delivered)
    }
}

/// A group under way. If its task panics it goes back to its queue: a bug costs a connection, not mail.
pub(in crate::shard) struct UnderWay<'a, R: Runtime> {
    pub(in crate::shard) shard: Rc<Shard<R>>,
    site: &'a Rc<Site>,
    pub(in crate::shard) job: Job,
    is_settled: Cell<bool>,
}

impl<'a, R: Runtime> UnderWay<'a, R> {
    pub(in crate::shard) fn new(shard: &Rc<Shard<R>>, site: &'a Rc<Site>, job: Job) -> UnderWay<'a, R> {
        UnderWay { shard: shard.clone(), site, job, is_settled: Cell::new(false) }
    }

    /// What became of it is told now.
    pub(in crate::shard) fn settled(&self) {
        self.is_settled.set(true);
    }
}

impl<R: Runtime> Drop for UnderWay<'_, R> {
    fn drop(&mut self) {
        // The pump that follows the end of the connection finds it, or the next tick where its domain leads elsewhere by now.
        if self.is_settled.get() {
        } else if usize::from(self.job.home) != self.shard.index {
            lend::put_back(&self.shard, self.site, self.job);
        } else if let Ok(mut destinations) = self.shard.destinations.try_borrow_mut() {
            destinations.put_back_unheard(self.job.domain, self.job.group);
        }
    }
}

/// One group over this connection.
pub(in crate::shard) async fn attempt<R: Runtime>(
    run: &mut Run<'_, R>,
    connection: &mut Connection<R>,
    Next { under_way, opened }: Next<'_, R>,
) -> After {
    let shard = run.shard;
    let job = &under_way.job.clone();
    let group = &job.group;
    let resident = is_resident(shard, group);
    let place = Pinned::new(shard, group.key, group.location);
    let source = if resident {
        Source::mapped(shard, place.location)
    } else {
        Source::read(shard, place.location).await
    };
    let view = source.as_ref().map(Source::view);
    let view = match view {
        Ok(Ok(view)) => view,
        Ok(Err(error)) => return unreadable(&under_way, place.location, &error).await,
        Err(error) => return unreadable(&under_way, place.location, error).await,
    };
    let mut tally = Tally::default();
    tally.left.push((group.first, group.count));
    let Some(after) = all(run, connection, &view, (job, resident), opened, &mut tally).await else {
        // Dropping `under_way` puts the group back.
        return After::Stale;
    };
    let outcomes = outcomes(tally.ranges);
    if shard.runtime.planted("what a hop takes too few of is forgotten") {
        tally.left.clear();
    }
    under_way.settled();
    settle::report(shard, job, outcomes, &tally.left, Some(&scene(&view, connection)));
    after
}

fn outcomes(mut ranges: SmallVec<[RangeOutcome; 1]>) -> Outcomes {
    if ranges.len() == 1 {
        Outcomes::One(ranges.remove(0))
    } else {
        Outcomes::Many(ranges.into_vec().into_boxed_slice())
    }
}

fn scene<'a, R: Runtime>(view: &'a MessageView<'a>, connection: &'a Connection<R>) -> settle::Scene<'a> {
    settle::Scene { view, hop: &connection.hop, tls: &connection.tls, reply: connection.said() }
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
    if !tally.has_delivered() || shard.runtime.planted("what was delivered is told when all is over") {
        return true;
    }
    let lane = job.group.location.lane;
    if !shard.destinations.borrow_mut().take_credit(lane) {
        return false;
    }
    let delivered = outcomes(tally.take_delivered());
    settle::report_part(shard, job, delivered, &scene(view, connection));
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
        let goes_on = |tally: &mut Tally| {
            after == After::Keep && run.goes_on() && report_delivered(run, connection, view, job, tally)
        };
        if begun && !goes_on(tally) {
            tally.left.push((first, count));
            break;
        }
        // What went ahead names all of the group, however few the site has shown to take since then on another connection.
        let most = if opened { count } else { recipients_max(run, connection) };
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
            let fate = fate(run.shard, &Verdict::Deferred(0), &reply, &part, &connection.hop);
            tally.merge(first, count, fate);
        }
    }
    Some(after)
}

/// Recipients of one transaction with a hop: what it offers (RFC 9422 RCPTMAX), or what it took when it was asked for more.
pub(in crate::shard) fn recipients_max<R: Runtime>(run: &Run<'_, R>, connection: &Connection<R>) -> u16 {
    let offered = connection.capabilities.recipients_max.unwrap_or(u32::MAX);
    let offered = usize::try_from(offered).unwrap_or(usize::MAX);
    let taken = run.site.shown.recipients(run.shard.timers.recent());
    offered.min(taken).clamp(1, limits::TRANSACTION_RECIPIENTS_MAX) as u16
}

/// Whether the message's pages are surely still in memory: it came in a moment ago. A page that is not would stall the shard.
pub(in crate::shard) fn is_resident<R: Runtime>(shard: &Shard<R>, group: &Group) -> bool {
    const FRESH: u32 = 60;
    let expire = u32::try_from(shard.settings.retry.expire.as_secs()).unwrap_or(u32::MAX);
    let arrival = group.expiry.saturating_sub(expire);
    group.resident && shard.seconds().saturating_sub(arrival) < FRESH
}

/// The spool cannot give the message back: it is kept, and tried again.
async fn unreadable<R: Runtime>(under_way: &UnderWay<'_, R>, place: Location, error: &io::Error) -> After {
    let shard = &under_way.shard;
    load::lament(shard, load::name(shard, place).await, place, &format!("cannot be delivered: {error}"));
    let attempts = under_way.job.group.attempts.saturating_add(1);
    let now = shard.seconds_up();
    let next = schedule::next_attempt(&shard.settings.retry, attempts, now, shard.runtime.random());
    let reply = format!("451 4.3.0 {error}").into();
    under_way.settled();
    settle::whole(shard, &under_way.job, Fate::Deferred { attempts, next, reply, ours: true });
    After::Keep
}

/// What a verdict means for the queue.
pub(in crate::shard) fn fate<R: Runtime>(
    shard: &Shard<R>,
    verdict: &Verdict,
    reply: &Reply,
    part: &Part<'_>,
    hop: &str,
) -> Fate {
    match verdict {
        Verdict::Delivered(_) => Fate::Delivered,
        Verdict::Deferred(_) | Verdict::Later(_) => {
            let attempts = part.group.attempts.saturating_add(1);
            let now = shard.seconds_up();
            let next = schedule::next_attempt(&shard.settings.retry, attempts, now, shard.runtime.random());
            let (next, ours) = (next.min(part.group.expiry), reply.ours);
            Fate::Deferred { attempts, next, reply: reply.describe().into(), ours }
        }
        Verdict::Failed(_) => Fate::Failed(Box::new(Failure {
            expired: false,
            status: reply.enhanced,
            // RFC 3464 2.3.5: a host that said nothing of it is not reported.
            remote: (!reply.ours).then(|| hop.to_owned()),
            diagnostic: reply.describe(),
            record: Vec::new(),
        })),
    }
}

/// Jitter apart, deferrals with one reply are the same.
fn same(one: &Fate, other: &Fate) -> bool {
    match (one, other) {
        (Fate::Deferred { attempts: a, reply: x, .. }, Fate::Deferred { attempts: b, reply: y, .. }) => {
            a == b && x == y
        }
        _ => one == other,
    }
}
