//! Answers that last longer than others: a table that is taken in, a stream of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answers::Problem;

/// That what a connection asked goes on, however long it takes. Each request has one among its extensions.
#[derive(Clone, Default)]
pub(in crate::control) struct Working(Arc<State>);

#[derive(Default)]
struct State {
    goes_on: AtomicBool,
    lasts: AtomicBool,
}

impl Working {
    /// It went on.
    pub(in crate::control) fn goes_on(&self) {
        self.0.goes_on.store(true, Ordering::Relaxed);
    }

    /// Whether it did since it was asked last.
    pub(in crate::control) fn has_gone_on(&self) -> bool {
        self.0.goes_on.swap(false, Ordering::Relaxed) || self.is_lasting()
    }

    /// Whether it is a stream: it ends when it ends, and has a place of its own.
    pub(in crate::control) fn is_lasting(&self) -> bool {
        self.0.lasts.load(Ordering::Relaxed)
    }

    /// The answer is a stream from here on, which ends by itself or where nobody reads it. The body keeps what this gives until then. An error: there
    /// are as many of these as there may be.
    #[allow(dead_code, reason = "the joint for streams")]
    pub(in crate::control) fn lasts(&self, places: &Places) -> Result<Lasting, Problem> {
        let taken = places.0.clone().try_acquire_owned();
        let place = taken.map_err(|_| {
            Problem::Busy("there are as many of these streams as there may be; try again later")
        })?;
        self.0.lasts.store(true, Ordering::Relaxed);
        Ok(Lasting { working: self.clone(), _place: place })
    }
}

/// How many streams of one kind there may be.
#[derive(Clone)]
pub(in crate::control) struct Places(Arc<Semaphore>);

impl Places {
    /// So many.
    #[allow(dead_code, reason = "the joint for streams")]
    pub(in crate::control) fn new(most: usize) -> Places {
        Places(Arc::new(Semaphore::new(most)))
    }
}

/// A stream's place, until it is dropped.
#[allow(dead_code, reason = "the joint for streams")]
pub(in crate::control) struct Lasting {
    working: Working,
    _place: OwnedSemaphorePermit,
}

impl Drop for Lasting {
    /// What is left of the answer is written within the bound of all others.
    fn drop(&mut self) {
        self.working.goes_on();
        self.working.0.lasts.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_places() {
        let (places, working) = (Places::new(2), Working::default());
        assert!(!working.has_gone_on() && !working.is_lasting());
        let one = working.lasts(&places);
        assert!(one.is_ok() && working.is_lasting() && working.has_gone_on() && working.has_gone_on());
        let other = Working::default().lasts(&places);
        assert!(other.is_ok() && Working::default().lasts(&places).is_err(), "there are two");
        drop(one);
        assert!(!working.is_lasting() && working.has_gone_on() && !working.has_gone_on());
        assert!(working.lasts(&places).is_ok());
    }
}
