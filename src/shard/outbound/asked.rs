//! What a sender wants to be told of its message (RFC 3461): what goes on to the hop that is to tell it, and what is left to us.

use crate::mail::notify;
use crate::queue::Group;
use crate::queue::lifetimes::Times;
use crate::queue::outcome::{Ended, News, Outcomes, RangeOutcome, Tidings};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::session::Connection;
use crate::smtp::client::Reports;
use crate::spool::record::MessageView;

/// Whose part it is to tell the sender of what a hop takes (RFC 3461 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Duty {
    /// The hop's: it offers DSN and was told.
    Theirs,
    /// Ours: it went on to where nobody tells of it.
    Relayed,
    /// Ours: it is where it was to go, in a mail store.
    Delivered,
}

impl Duty {
    /// With the hop of a connection.
    pub(in crate::shard) fn of<R: Runtime>(connection: &Connection<R>) -> Duty {
        match (connection.capabilities.dsn, connection.lmtp) {
            (true, _) => Duty::Theirs,
            (false, true) => Duty::Delivered,
            (false, false) => Duty::Relayed,
        }
    }
}

/// What a hop that offers DSN is told with the commands for these recipients. None: the sender said nothing.
pub(super) fn of<'a>(view: &MessageView<'a>, (first, count): (u16, u16)) -> Option<Reports<'a>> {
    let (asked, envid) = (view.asked(), view.envid().and_then(notify::quote_envid));
    if asked.is_empty() && envid.is_none() {
        return None;
    }
    let of = if asked.is_of_recipients() {
        asked.from(first).take(usize::from(count)).collect()
    } else {
        Default::default()
    };
    Some(Reports { ret: asked.ret(), envid, of })
}

/// What there is to be told of the outcomes of an attempt beside failures: recipients that a hop took which does not tell, where their sender wants
/// to know; and those that wait for long. Of nearly all mail nothing is looked up.
pub(super) fn news<R: Runtime>(
    shard: &Shard<R>,
    group: &Group,
    outcomes: &Outcomes,
    (view, duty, hop, reply): (&MessageView<'_>, Duty, &str, &str),
) -> Vec<News> {
    let mut news = Vec::new();
    for outcome in outcomes.ranges() {
        match &outcome.disposition {
            Ended::Delivered if duty != Duty::Theirs && view.asked().is_of_recipients() => {
                taken(view, outcome, (duty, hop, reply), &mut news);
            }
            Ended::Deferred(_) if is_late(shard, group, Some(view)) => news.push(late(outcome)),
            _ => {}
        }
    }
    news
}

/// Those of whom the sender wants to know that they were delivered (RFC 3461 5.2.2 b, 5.2.3).
fn taken(
    view: &MessageView<'_>,
    outcome: &RangeOutcome,
    (duty, hop, reply): (Duty, &str, &str),
    news: &mut Vec<News>,
) {
    let end = outcome.first.saturating_add(outcome.count);
    for (ordinal, asked) in (outcome.first..end).zip(view.asked().from(outcome.first)) {
        if !asked.notify.wants_success() {
            continue;
        }
        if let Some(last) = news.last_mut()
            && last.first + last.count == ordinal
        {
            last.count += 1;
            continue;
        }
        let what =
            Tidings::Taken { delivered: duty == Duty::Delivered, hop: hop.into(), reply: reply.into() };
        news.push(News { first: ordinal, count: 1, what });
    }
}

/// That these recipients are late.
pub(super) fn late(outcome: &RangeOutcome) -> News {
    News { first: outcome.first, count: outcome.count, what: Tidings::Late }
}

/// Whether a group has waited for as long as the operator lets mail wait in silence. Without its record only where its lifetime is known.
pub(super) fn is_late<R: Runtime>(shard: &Shard<R>, group: &Group, view: Option<&MessageView<'_>>) -> bool {
    let Some(after) = shard.live.get().config.bounces.late_after() else { return false };
    let times = Times { now: shard.seconds(), lifetimes: shard.mesh.lifetimes() };
    let age = match view {
        Some(view) => times.age_by_record(group, view.lives().seconds()),
        None if times.lifetimes.seconds(group.life).is_some() => times.age(group),
        None => return false,
    };
    age >= after
}
