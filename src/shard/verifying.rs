//! Mail of strangers, on its way to the thread of control that finds out who sent it (SPF, DKIM, DMARC) and back to the shard that asked: name servers
//! may take seconds.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::limits;
use crate::mail::dkim::BodyHashes;
use crate::mail::results::Findings;

type Wake = Box<dyn Fn() + Send + Sync>;

/// What waits to be verified.
pub struct Verifying {
    waiting: ArrayQueue<Arc<Question>>,
    wake: OnceLock<Wake>,
}

/// What is to be known of a message.
#[derive(Debug)]
pub struct Unknown {
    /// Who brought it.
    pub client: IpAddr,
    /// What that called itself.
    pub helo: Box<str>,
    /// Its reverse path.
    pub sender: Box<[u8]>,
    /// The name of this host.
    pub hostname: Box<str>,
    /// Its header section as it came, without a line of a mailbox file.
    pub header: Vec<u8>,
    /// Of its body, in the forms that its signatures have.
    pub body: BodyHashes,
}

/// A message, and what was found out about it once somebody says so.
#[derive(Debug)]
pub struct Question {
    about: Unknown,
    is_answered: AtomicBool,
    found: Mutex<Option<Findings>>,
}

impl Default for Verifying {
    fn default() -> Verifying {
        Verifying { waiting: ArrayQueue::new(limits::VERIFY_WAITING), wake: OnceLock::new() }
    }
}

impl fmt::Debug for Verifying {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Verifying").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Verifying {
    /// Asks about a message. None: too much waits.
    pub fn ask(&self, about: Unknown) -> Option<Arc<Question>> {
        let question =
            Arc::new(Question { about, is_answered: AtomicBool::new(false), found: Mutex::new(None) });
        self.waiting.push(question.clone()).ok()?;
        self.wake.get().inspect(|wake| wake());
        Some(question)
    }

    /// Somebody verifies, and is to be woken like this for each.
    pub fn serve(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next one that somebody still waits for.
    pub fn next(&self) -> Option<Arc<Question>> {
        std::iter::from_fn(|| self.waiting.pop()).find(|question| Arc::strong_count(question) > 1)
    }
}

impl Question {
    /// The message.
    pub fn about(&self) -> &Unknown {
        &self.about
    }

    /// That is known of it.
    pub fn answer(&self, found: Findings) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        self.is_answered.store(true, Ordering::Release);
    }

    /// What is known, once anything is. No lock before.
    pub fn found(&self) -> Option<Findings> {
        if !self.is_answered.load(Ordering::Acquire) {
            return None;
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn unknown() -> Unknown {
        Unknown {
            client: "192.0.2.1".parse().unwrap(),
            helo: "x".into(),
            sender: (*b"a@b.example").into(),
            hostname: "relay.example".into(),
            header: Vec::new(),
            body: BodyHashes::default(),
        }
    }

    #[test]
    fn what_waits_is_bounded_and_who_is_gone_is_passed_by() {
        let (verifying, woken) = (Verifying::default(), Arc::new(AtomicUsize::new(0)));
        let theirs = woken.clone();
        verifying.serve(move || _ = theirs.fetch_add(1, Ordering::Relaxed));
        let mut asked: Vec<_> = std::iter::from_fn(|| verifying.ask(unknown())).take(10_000).collect();
        assert_eq!(
            (asked.len(), woken.load(Ordering::Relaxed)),
            (limits::VERIFY_WAITING, limits::VERIFY_WAITING)
        );
        let last = asked.pop().unwrap();
        drop(asked);
        let next = verifying.next().unwrap();
        assert!(Arc::ptr_eq(&next, &last) && verifying.next().is_none() && verifying.is_empty());
        assert_eq!(last.found(), None);
        next.answer(Findings::default());
        assert_eq!((last.found(), last.found()), (Some(Findings::default()), None), "once");
    }
}
