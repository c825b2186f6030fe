//! Beside rates: the node's buckets, and the right to begin what is taken out of them.

use std::rc::Rc;
use std::sync::Arc;

use crate::runtime::Runtime;
use crate::shaping::pace::Pace;
use crate::shard::counts::ConnectionCount;
use crate::shard::rate_count::RateCount;
use crate::time::Instant;

/// What a rate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Connections that are opened.
    Connections,
    /// Messages.
    Messages,
}

/// A rate, and the node's bucket for it.
pub struct Bucket {
    count: Arc<ConnectionCount>,
    what: What,
    pace: Option<Pace>,
}

impl Bucket {
    /// That of a site or a provider.
    pub fn new(count: &Arc<ConnectionCount>, what: What, pace: Pace) -> Bucket {
        Bucket { count: count.clone(), what, pace: Some(pace) }
    }

    /// That of the adaptive window of a site, as far as it is narrow.
    pub fn of_window(count: &Arc<ConnectionCount>) -> Bucket {
        Bucket { count: count.clone(), what: What::Messages, pace: None }
    }

    /// What is in it, and how it fills; None: it bounds nothing now.
    fn level(&self) -> Option<(&RateCount, Pace)> {
        match (self.pace, self.what) {
            (Some(pace), What::Connections) => Some((&self.count.opened, pace)),
            (Some(pace), What::Messages) => Some((&self.count.messages, pace)),
            (None, _) => {
                let window = self.count.window()?;
                Some((&window.messages, window.pace()?))
            }
        }
    }
}

/// The right to begin one. Dropped unspent, it goes back to its buckets.
pub struct Token<R: Runtime> {
    runtime: R,
    buckets: Rc<[Bucket]>,
    began: Instant,
    spent: bool,
}

impl<R: Runtime> Token<R> {
    /// Of all of these buckets, or of none: when it may be, and by which rate.
    pub(super) fn take(runtime: &R, buckets: &Rc<[Bucket]>) -> Result<Token<R>, (Instant, Pace)> {
        let began = runtime.now();
        take_of(buckets, began)?;
        Ok(Token { runtime: runtime.clone(), buckets: buckets.clone(), began, spent: false })
    }

    /// It is begun.
    pub fn spend(mut self) {
        self.spent = true;
    }
}

impl<R: Runtime> Drop for Token<R> {
    fn drop(&mut self) {
        if !self.spent {
            give_back(&self.buckets, (self.began, self.runtime.now()));
        }
    }
}

fn give_back(buckets: &[Bucket], times: (Instant, Instant)) {
    buckets.iter().filter_map(Bucket::level).for_each(|(level, pace)| level.give_back(pace, times));
}

/// How many may begin now. If none may: when one may, and by which rate.
pub(super) fn free(buckets: &[Bucket], now: Instant) -> Result<usize, (Instant, Pace)> {
    let mut least = usize::MAX;
    for (level, pace) in buckets.iter().filter_map(Bucket::level) {
        least = least.min(level.free(pace, now));
        if least == 0 {
            return Err((level.next(pace, now), pace));
        }
    }
    Ok(least)
}

fn take_of(buckets: &[Bucket], now: Instant) -> Result<(), (Instant, Pace)> {
    for (place, bucket) in buckets.iter().enumerate() {
        let Some((level, pace)) = bucket.level() else { continue };
        if let Err(when) = level.take(pace, now) {
            give_back(&buckets[..place], (now, now));
            return Err((when, pace));
        }
    }
    Ok(())
}
