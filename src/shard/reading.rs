//! Mail that came back, on its way to the thread of control that reads such mail and to the shard that asked: it may take milliseconds, and is by
//! strangers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use crossbeam::queue::ArrayQueue;

use crate::limits;
use crate::mail::bounce::Incoming;

/// What waits to be read.
#[derive(Debug)]
pub struct Reading {
    waiting: ArrayQueue<Arc<Question>>,
    reader: OnceLock<Thread>,
}

/// A message, and what it is once somebody says so.
#[derive(Debug)]
pub struct Question {
    message: Arc<[u8]>,
    to: Vec<u8>,
    is_answered: AtomicBool,
    found: Mutex<Option<Incoming>>,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading { waiting: ArrayQueue::new(limits::FEEDBACK_WAITING), reader: OnceLock::new() }
    }
}

impl Reading {
    /// Asks what a message is that came to this address. None: too much waits.
    pub fn ask(&self, message: Arc<[u8]>, to: &[u8]) -> Option<Arc<Question>> {
        let (is_answered, found) = (AtomicBool::new(false), Mutex::new(None));
        let question = Arc::new(Question { message, to: to.to_vec(), is_answered, found });
        self.waiting.push(question.clone()).ok()?;
        self.reader.get().inspect(|reader| reader.unpark());
        Some(question)
    }

    /// This thread reads: it is woken for each.
    pub fn reads(&self, reader: Thread) {
        let _ = self.reader.set(reader);
    }

    /// The next one whom somebody still waits for.
    pub fn next(&self) -> Option<Arc<Question>> {
        std::iter::from_fn(|| self.waiting.pop()).find(|question| Arc::strong_count(question) > 1)
    }
}

impl Question {
    /// The front of the message, and the address that it came to.
    pub fn about(&self) -> (&[u8], &[u8]) {
        (&self.message, &self.to)
    }

    /// It is that.
    pub fn answer(&self, found: Incoming) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        self.is_answered.store(true, Ordering::Release);
    }

    /// What it is, once that is known. No lock before.
    pub fn found(&self) -> Option<Incoming> {
        if !self.is_answered.load(Ordering::Acquire) {
            return None;
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
