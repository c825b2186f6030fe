//! Beside rates: the node's buckets, and the right to begin what is taken out of them.

use std::rc::Rc;
use std::sync::Arc;

use crate::runtime::Runtime;
use crate::shaping::pace::Pace;
use crate::shard::counts::{ConnectionCount, RateCount};
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
    pace: Pace,
}

impl Bucket {
    /// That of a site or a provider.
    pub fn new(count: &Arc<ConnectionCount>, what: What, pace: Pace) -> Bucket {
        Bucket { count: count.clone(), what, pace }
    }

    fn level(&self) -> &RateCount {
        match self.what {
            What::Connections => &self.count.opened,
            What::Messages => &self.count.messages,
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
    buckets.iter().for_each(|bucket| bucket.level().give_back(bucket.pace, times));
}

/// How many may begin now. If none may: when one may, and by which rate.
pub(super) fn free(buckets: &[Bucket], now: Instant) -> Result<usize, (Instant, Pace)> {
    let mut least = usize::MAX;
    for bucket in buckets {
        least = least.min(bucket.level().free(bucket.pace, now));
        if least == 0 {
            return Err((bucket.level().next(bucket.pace, now), bucket.pace));
        }
    }
    Ok(least)
}

fn take_of(buckets: &[Bucket], now: Instant) -> Result<(), (Instant, Pace)> {
    for (place, bucket) in buckets.iter().enumerate() {
        if let Err(when) = bucket.level().take(bucket.pace, now) {
            give_back(&buckets[..place], (now, now));
            return Err((when, bucket.pace));
        }
    }
    Ok(())
}
