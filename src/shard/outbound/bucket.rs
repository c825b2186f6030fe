//! Beside rates: the node's buckets, and the right to begin what is taken out of them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::runtime::{Defect, Runtime};
use crate::shaping::pace::Pace;
use crate::shaping::rated::Rated;
use crate::shard::cluster_part::ClusterPart;
use crate::shard::counts::ConnectionCount;
use crate::shard::mesh::Mesh;
use crate::shard::rate_count::RateCount;
use crate::shard::warm::{Empty, WarmCount};
use crate::time::Instant;

/// What is begun at a site. It takes of all rates that bound it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    /// A connection: each time that a host is asked for one.
    Connections,
    /// A transaction.
    Messages,
}

impl RateKind {
    /// What a rate bounds.
    pub fn of(rated: Rated) -> RateKind {
        match rated {
            Rated::Connections => RateKind::Connections,
            Rated::Messages => RateKind::Messages,
        }
    }
}

/// A rate, and the node's bucket for it.
pub enum Bucket {
    /// That of a site or a provider; without a pace that of the adaptive window of a site, as far as it is narrow.
    Rate { count: Arc<ConnectionCount>, of: Rated, pace: Option<Pace> },
    /// What a source in warm-up has left of its day.
    Warm(Arc<Mesh>, Arc<WarmCount>),
    /// Another source sends in place of this one: there is nothing in it.
    Elsewhere,
}

impl Bucket {
    /// That of a site or a provider.
    pub fn new(count: &Arc<ConnectionCount>, of: Rated, pace: Pace) -> Bucket {
        Bucket::Rate { count: count.clone(), of, pace: Some(pace) }
    }

    /// That of the adaptive window of a site, as far as it is narrow.
    pub fn of_window(count: &Arc<ConnectionCount>) -> Bucket {
        Bucket::Rate { count: count.clone(), of: Rated::Messages, pace: None }
    }

    /// What is in it, and how it fills; None: it bounds nothing now.
    fn level(&self) -> Option<(&RateCount, Pace)> {
        let Bucket::Rate { count, of, pace } = self else { return None };
        match *pace {
            Some(pace) => {
                let part = self.part().and_then(|part| part.pace(*of, pace));
                Some((&count.rates[*of], part.unwrap_or(pace)))
            }
            None => {
                let window = count.window()?;
                Some((&window.messages, window.pace()?))
            }
        }
    }

    /// What this node has of it, where other nodes share it.
    fn part(&self) -> Option<&ClusterPart> {
        match self {
            Bucket::Rate { count, pace: Some(_), .. } => count.part().map(|part| &**part),
            _ => None,
        }
    }

    /// Other nodes have all of it.
    fn is_theirs(&self) -> bool {
        let Bucket::Rate { of, pace: Some(pace), .. } = self else { return false };
        self.part().is_some_and(|part| part.pace(*of, *pace).is_none())
    }

    /// It is empty until then: where other nodes share it the node may have more of it before that.
    fn empty_until(&self, (when, pace): (Instant, Pace), now: Instant) -> (Instant, Pace) {
        if self.part().is_none() {
            return (when, pace);
        }
        (when.min(now + limits::CLUSTER_LOOK), pace)
    }

    /// Whether nothing may be taken of what this node has of it.
    fn is_used_up(&self, now: Instant) -> bool {
        self.is_theirs() || self.level().is_some_and(|(level, pace)| level.free(pace, now) == 0)
    }

    /// One was taken of it.
    fn took(&self) {
        if let (Some(part), Bucket::Rate { of, .. }) = (self.part(), self) {
            part.took(*of);
        }
    }

    /// What a source in warm-up has left, if that is what it is.
    fn warm(&self) -> Option<(&Mesh, &Arc<WarmCount>)> {
        match self {
            Bucket::Warm(mesh, count) => Some((mesh, count)),
            Bucket::Rate { .. } | Bucket::Elsewhere => None,
        }
    }
}

/// The right to begin one. Dropped unspent, it goes back to its buckets.
pub struct Token<R: Runtime> {
    runtime: R,
    buckets: Rc<[Bucket]>,
    began: Instant,
    /// The day that it is of, where a source in warm-up has it.
    day: u32,
    spent: bool,
}

impl<R: Runtime> Token<R> {
    /// Of all of these buckets, or of none: when it may be, and by which rate.
    pub(super) fn take(runtime: &R, buckets: &Rc<[Bucket]>) -> Result<Token<R>, (Instant, Pace)> {
        let (began, day) = (runtime.now(), today(runtime, buckets));
        take_of(buckets, (began, day))?;
        Ok(Token { runtime: runtime.clone(), buckets: buckets.clone(), began, day, spent: false })
    }

    /// It is begun.
    pub fn spend(mut self) {
        self.spent = true;
    }
}

impl<R: Runtime> Drop for Token<R> {
    fn drop(&mut self) {
        if !self.spent {
            give_back(&self.buckets, (self.began, self.runtime.now()), self.day);
        } else if self.runtime.planted(Defect::WarmupForgotten) {
            warm(&self.buckets).for_each(|(_, count)| count.give_back(self.day));
        }
    }
}

/// Those among them of which a source in warm-up has its share.
fn warm(buckets: &[Bucket]) -> impl Iterator<Item = (&Mesh, &Arc<WarmCount>)> {
    buckets.iter().filter_map(Bucket::warm)
}

/// The day, where one of them is of a day.
fn today<R: Runtime>(runtime: &R, buckets: &[Bucket]) -> u32 {
    if warm(buckets).next().is_some() { runtime.wall().day() } else { 0 }
}

fn give_back(buckets: &[Bucket], times: (Instant, Instant), day: u32) {
    for bucket in buckets {
        let Some((level, pace)) = bucket.level() else { continue };
        level.give_back(pace, times);
        if let (Some(part), Bucket::Rate { of, .. }) = (bucket.part(), bucket) {
            part.gave_back(*of);
        }
    }
    warm(buckets).for_each(|(_, count)| count.give_back(day));
}

/// When to look again whether a source in warm-up has more of its day, or sends again.
fn again(empty: Empty, now: Instant) -> (Instant, Pace) {
    let span = match empty {
        Empty::Asked => limits::WARMUP_LOOK,
        Empty::Over => limits::WARMUP_OVER_LOOK,
    };
    (now + span, Pace::every(limits::WARMUP_LOOK.as_nanos() as u64))
}

/// When to look again whether other nodes have left something of a limit.
fn again_of_nodes(now: Instant) -> (Instant, Pace) {
    (now + limits::CLUSTER_LOOK, Pace::every(limits::CLUSTER_LOOK.as_nanos() as u64))
}

/// How late one may be taken of the slowest of these with none lost; None: nothing bounds it.
pub(super) fn late(buckets: &[Bucket]) -> Option<Duration> {
    let paces = buckets.iter().filter_map(|bucket| Some(bucket.level()?.1));
    let slowest = paces.min_by(|one, other| one.a_second().total_cmp(&other.a_second()))?;
    Some(Duration::from_nanos(slowest.late()))
}

/// Nothing may be taken of all of these: other nodes are to hear that more is wanted of those that are used up. Where `waiting` says how many wait
/// at this count, only if they are more than its part lets begin in a while: a message that comes a moment early wants no more than there is, and a
/// node that was said to want all for it would take from the others what it does not use.
pub(super) fn want(
    buckets: &[Bucket],
    now: Instant,
    waiting: impl Fn(&Arc<ConnectionCount>) -> Option<usize>,
) {
    for bucket in buckets {
        let (Some(part), Bucket::Rate { count, of, .. }) = (bucket.part(), bucket) else { continue };
        if !bucket.is_used_up(now) {
            continue;
        }
        let few = |waiting: usize| {
            let pace =
                bucket.level().filter(|_| !bucket.is_theirs()).map_or(0.0, |(_, pace)| pace.a_second());
            (waiting as f64) < pace * limits::CLUSTER_BEHIND.as_secs_f64()
        };
        if !waiting(count).is_some_and(few) {
            part.wants(Some(*of));
        }
    }
}

/// How many may begin now. If none may: when one may, and by which rate.
pub(super) fn free<R: Runtime>(runtime: &R, buckets: &[Bucket]) -> Result<usize, (Instant, Pace)> {
    let (now, day) = (runtime.now(), today(runtime, buckets));
    let mut least = usize::MAX;
    for bucket in buckets {
        if matches!(bucket, Bucket::Elsewhere) {
            return Err(again(Empty::Over, now));
        }
        if let Some((mesh, count)) = bucket.warm() {
            least = least.min(mesh.warm().free(count, day).map_err(|empty| again(empty, now))?);
        }
        let Some((level, pace)) = bucket.level() else { continue };
        if bucket.is_theirs() {
            return Err(bucket.empty_until(again_of_nodes(now), now));
        }
        least = least.min(level.free(pace, now));
        if least == 0 {
            return Err(bucket.empty_until((level.next(pace, now), pace), now));
        }
    }
    Ok(least)
}

fn take_of(buckets: &[Bucket], (now, day): (Instant, u32)) -> Result<(), (Instant, Pace)> {
    for (place, bucket) in buckets.iter().enumerate() {
        let taken = match (bucket.warm(), bucket.level()) {
            (Some((mesh, count)), _) => mesh.warm().take(count, day).map_err(|empty| again(empty, now)),
            (None, Some(_)) if bucket.is_theirs() => Err(bucket.empty_until(again_of_nodes(now), now)),
            (None, Some((level, pace))) => {
                let taken = level.take(pace, now).inspect(|()| bucket.took());
                taken.map_err(|when| bucket.empty_until((when, pace), now))
            }
            (None, None) if matches!(bucket, Bucket::Elsewhere) => Err(again(Empty::Over, now)),
            (None, None) => Ok(()),
        };
        if let Err(later) = taken {
            give_back(&buckets[..place], (now, now), day);
            return Err(later);
        }
    }
    Ok(())
}
