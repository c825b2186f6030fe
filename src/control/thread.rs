//! Control's threads: each is told when it is over, is waited for only so long, and does not end unnoticed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{Builder, Thread};
use std::time::{Duration, Instant};

use crate::limits;
use crate::runtime::ending::Ending;
use crate::runtime::process;

/// A thread.
pub(super) struct Worker {
    thread: Thread,
    turn: Turn,
    ended: Receiver<()>,
}

/// What the thread is told.
#[derive(Clone)]
pub(super) struct Turn {
    over: Arc<AtomicBool>,
    /// When it was told so, milliseconds since `began`.
    since: Arc<AtomicU64>,
    began: Instant,
}

impl Worker {
    /// Starts it. It is to return soon after [`Turn::is_over`], and not before: that would end the process.
    #[expect(clippy::disallowed_methods, reason = "control's own clock")]
    pub(super) fn start(name: &'static str, work: impl FnOnce(&Turn) + Send + 'static) -> io::Result<Worker> {
        let turn = Turn { over: Arc::default(), since: Arc::default(), began: Instant::now() };
        let (end, ended) = channel();
        let (theirs, over) = (turn.clone(), turn.over.clone());
        let ending = Ending::new(move || {
            if !over.load(Ordering::SeqCst) {
                process::end(
                    1,
                    &format!("relevo: the thread {name} ended; ending the process, recovery is the way back"),
                );
            }
            let _ = end.send(());
        });
        let started = Builder::new().name(name.into()).spawn(move || {
            ending.of_this_thread();
            work(&theirs);
        });
        let thread = started?.thread().clone();
        Ok(Worker { thread, turn, ended })
    }

    /// Wakes it by its `unpark`.
    pub(super) fn waker(&self) -> Thread {
        self.thread.clone()
    }

    pub(super) fn wake(&self) {
        self.thread.unpark();
    }

    /// Tells it that it is over, once.
    pub(super) fn end(&self) {
        if self.turn.is_over() {
            return;
        }
        let now = u64::try_from(self.turn.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turn.since.store(now, Ordering::SeqCst);
        self.turn.over.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// The same, and waits so long at most. Whether it ended.
    pub(super) fn stop(self, at_most: Duration) -> bool {
        self.end();
        self.ended.recv_timeout(at_most).is_ok()
    }
}

impl Turn {
    /// Whether it is to end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Whether it has been told so long ago that it is hardly waited for any more.
    pub(super) fn is_late(&self) -> bool {
        let since = Duration::from_millis(self.since.load(Ordering::SeqCst));
        self.began.elapsed() > since + limits::LAST_WRITES / 2
    }

    /// Sleeps, unless it is woken.
    pub(super) fn pause(&self, at_most: Duration) {
        if !self.is_over() {
            std::thread::park_timeout(at_most);
        } else if !self.is_late() {
            process::pause(at_most / 10);
        }
    }

    /// Time since it began.
    pub(super) fn clock(&self) -> impl Fn() -> Duration + Send + Sync + 'static {
        let began = self.began;
        move || began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_end_is_left_behind() {
        let quick = Worker::start("quick", |turn| {
            while !turn.is_over() {
                turn.pause(Duration::from_secs(10));
            }
        });
        assert!(quick.unwrap().stop(Duration::from_secs(5)), "it is woken");
        let slow = Worker::start("slow", |_| process::pause(Duration::from_secs(2)));
        assert!(!slow.unwrap().stop(Duration::from_millis(50)));
    }
}
