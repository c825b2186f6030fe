//! Messages that the service of `[hook]` is asked about, on their way to the thread of control that asks it and back to the shard.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::limits;
use crate::policy::hook::{HookAnswer, HookQuestion, Unanswered};

/// What waits to be asked.
pub struct Hooking {
    waiting: ArrayQueue<Arc<AskedHook>>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// What the service said, or why it did not.
pub type HookResult = Result<HookAnswer, Unanswered>;

/// A message, and what was said of it once somebody knows.
#[derive(Debug)]
pub struct AskedHook {
    about: HookQuestion,
    is_answered: AtomicBool,
    result: Mutex<Option<HookResult>>,
}

impl Default for Hooking {
    fn default() -> Hooking {
        Hooking { waiting: ArrayQueue::new(limits::HOOK_WAITING), wake: OnceLock::new() }
    }
}

impl fmt::Debug for Hooking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hooking").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Hooking {
    /// Asks about a message. None: too much waits.
    pub fn ask(&self, about: HookQuestion) -> Option<Arc<AskedHook>> {
        let (is_answered, result) = (AtomicBool::new(false), Mutex::new(None));
        let asked = Arc::new(AskedHook { about, is_answered, result });
        self.waiting.push(asked.clone()).ok()?;
        self.wake.get().inspect(|wake| wake());
        Some(asked)
    }

    /// Somebody asks the service, and is to be woken like this for each message.
    pub fn serve(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next one that somebody still waits for.
    pub fn next(&self) -> Option<Arc<AskedHook>> {
        std::iter::from_fn(|| self.waiting.pop()).find(|asked| Arc::strong_count(asked) > 1)
    }
}

impl AskedHook {
    /// The message.
    pub fn about(&self) -> &HookQuestion {
        &self.about
    }

    /// That was said of it.
    pub fn answer(&self, result: HookResult) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.is_answered.store(true, Ordering::Release);
    }

    /// What was said, once anything was. No lock before.
    pub fn answered(&self) -> Option<HookResult> {
        if !self.is_answered.load(Ordering::Acquire) {
            return None;
        }
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_who_is_gone_is_passed_by() {
        let hooking = Hooking::default();
        let ask = || hooking.ask(HookQuestion::default());
        let mut asked: Vec<_> = std::iter::from_fn(ask).take(10_000).collect();
        assert_eq!(asked.len(), limits::HOOK_WAITING);
        let last = asked.pop().expect("some");
        drop(asked);
        let next = hooking.next().expect("the last");
        assert!(Arc::ptr_eq(&next, &last) && hooking.next().is_none() && hooking.is_empty());
        assert_eq!(last.answered(), None);
        next.answer(Err(Unanswered::Resting));
        assert_eq!((last.answered(), last.answered()), (Some(Err(Unanswered::Resting)), None), "once");
    }
}
