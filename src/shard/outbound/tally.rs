//! What came of the recipients of a group so far, transaction by transaction.

use smallvec::SmallVec;

use crate::queue::lifetimes::Times;
use crate::queue::outcome::{Deferral, Disposition, Ended, Outcomes, RangeOutcome};
use crate::queue::{Group, schedule};
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::site::Site;
use crate::smtp::client::Verdict;
use crate::smtp::reply::Reply;

/// Some recipients in a row: the first and how many.
pub(super) type Span = (u16, u16);

/// What came of a group so far.
#[derive(Default)]
pub(in crate::shard) struct Tally {
    /// Outcomes; nearly always there is one.
    ranges: SmallVec<[RangeOutcome; 1]>,
    /// Recipients still to be asked for, the next at the end.
    pub(super) left: SmallVec<[Span; 1]>,
    /// Recipients that wait for a suspension to end.
    pub(super) waits: Vec<Group>,
    /// What ended the session for all mail, if a transaction told that nothing further goes over it.
    pub(super) ended_by: Option<Box<Reply>>,
}

impl Tally {
    /// Adds what became of recipients, to their neighbours' if it is the same.
    pub(super) fn merge(&mut self, first: u16, count: u16, disposition: Ended) {
        if let Some(last) = self.ranges.last_mut()
            && last.first + last.count == first
            && same(&last.disposition, &disposition)
        {
            last.count += count;
            return;
        }
        self.ranges.push(RangeOutcome::new(first, count, disposition));
    }

    /// These are to be asked for in another transaction.
    pub(super) fn later(&mut self, first: u16, count: u16) {
        if let Some((begin, length)) = self.left.last_mut()
            && *begin + *length == first
        {
            *length += count;
            return;
        }
        self.left.push((first, count));
    }

    /// Those that are left of a group and those that wait, as groups of the queue.
    pub(in crate::shard) fn again(&self, group: &Group) -> Vec<Group> {
        let left = self.left.iter().map(|(first, count)| Group { first: *first, count: *count, ..*group });
        left.chain(self.waits.iter().copied()).collect()
    }

    /// Takes out all outcomes.
    pub(in crate::shard) fn take_outcomes(&mut self) -> Outcomes {
        outcomes(std::mem::take(&mut self.ranges))
    }

    /// Takes out what was delivered.
    pub(super) fn take_delivered(&mut self) -> Outcomes {
        let mut delivered = SmallVec::new();
        self.ranges.retain(|range| {
            let stays = range.disposition != Disposition::Delivered;
            if !stays {
                delivered.push(range.clone());
            }
            stays
        });
        outcomes(delivered)
    }

    pub(super) fn has_delivered(&self) -> bool {
        self.ranges.iter().any(|range| range.disposition == Disposition::Delivered)
    }
}

/// Outcomes in a row.
fn outcomes(mut ranges: SmallVec<[RangeOutcome; 1]>) -> Outcomes {
    if ranges.len() == 1 {
        Outcomes::One(ranges.remove(0))
    } else {
        Outcomes::Many(ranges.into_vec().into_boxed_slice())
    }
}

/// The recipients of one transaction.
pub(super) struct Part<'a> {
    pub(super) first: u16,
    pub(super) count: u16,
    pub(super) group: &'a Group,
    pub(super) resident: bool,
}

/// What a verdict means for the queue, and if it is to be tried again, when.
pub(super) fn ended<R: Runtime>(
    shard: &Shard<R>,
    site: &Site,
    verdict: &Verdict,
    reply: &Reply,
    part: &Part<'_>,
    hop: &str,
) -> Ended {
    Ended::of_verdict(verdict, reply, hop, || {
        let attempts = part.group.attempts.saturating_add(1);
        let now = shard.seconds_up();
        let retry = &site.policy.borrow().retry;
        let next = schedule::next_attempt(retry, attempts, now, shard.runtime.random());
        (attempts, next.min(given_up_at(shard, site.policy.borrow().max_age, part.group, now)))
    })
}

/// When a group is given up that was tried and is deferred now: at its end or as its site wants it, and at the next whole second where that was before.
pub(super) fn given_up_at<R: Runtime>(
    shard: &Shard<R>,
    max_age: Option<u32>,
    group: &Group,
    now: u32,
) -> u32 {
    let times = Times { now: shard.seconds(), lifetimes: shard.mesh.lifetimes() };
    end_of(max_age.and_then(|most| times.end_at(group, most)), group.expiry, now)
}

/// The same: `now` is rounded up, so that an end in the second that runs is not put off to the one behind the next.
fn end_of(too_old_at: Option<u32>, expiry: u32, now: u32) -> u32 {
    too_old_at.map_or(expiry, |end| end.max(now).min(expiry))
}

/// When a group is given up as its site wants it, if it does.
fn too_old_at<R: Runtime>(shard: &Shard<R>, max_age: Option<u32>, group: &Group) -> Option<u32> {
    let times = Times { now: shard.seconds(), lifetimes: shard.mesh.lifetimes() };
    max_age.and_then(|most| times.too_old_at(group, most, shard.clock.begun()))
}

/// Whether a site wants it given up.
pub(super) fn is_too_old<R: Runtime>(shard: &Shard<R>, max_age: Option<u32>, group: &Group) -> bool {
    too_old_at(shard, max_age, group).is_some_and(|at| at <= shard.seconds())
}

/// What is tried again at this time of the queues: attempts so far, the last reply or error, and whether that is ours and no hop's.
pub(super) fn deferred((attempts, next): (u16, u32), reply: Box<str>, ours: bool) -> Ended {
    Ended::Deferred(Deferral { attempts, next, reply, ours })
}

/// Jitter apart, deferrals with one reply are the same.
fn same(one: &Ended, other: &Ended) -> bool {
    match (one, other) {
        (
            Ended::Deferred(Deferral { attempts: a, reply: x, .. }),
            Ended::Deferred(Deferral { attempts: b, reply: y, .. }),
        ) => a == b && x == y,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_given_up_in_the_second_in_which_it_is_too_old() {
        // Deferred in the second before it, in its second, and long after it: `now` is that moment, rounded up.
        assert_eq!([25, 26, 40].map(|now| end_of(Some(26), 900, now)), [26, 26, 40]);
        assert_eq!((end_of(Some(26), 20, 15), end_of(None, 900, 15)), (20, 900), "its own end is sooner");
    }
}
