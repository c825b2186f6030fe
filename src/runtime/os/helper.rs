//! Threads that block so that the shard need not: one for each kind of work, so that none waits behind another kind.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::compute::{Compute, WakeShard};
use super::promise::{Promised, lock};
use crate::limits;

type Job = Box<dyn FnOnce() + Send>;

/// What a shard has beside its own thread: two for its files, and a share in those of the node that compute.
pub(in crate::runtime) struct Helpers {
    /// Makes segments: a second or more of zeroes each.
    pub fills: Helper,
    /// Reads what is not in memory, for a delivery that waits.
    pub reads: Helper,
    /// The node's threads that compute, if it has any.
    pub compute: Option<Arc<Compute>>,
    /// Called by another thread when it has woken a task.
    pub done: WakeShard,
}

impl Helpers {
    /// Starts the threads, which may run on the cores that their starter may.
    pub(in crate::runtime) fn start(compute: Option<Arc<Compute>>, done: WakeShard) -> io::Result<Helpers> {
        let fills = Helper::start("relevo-fill", limits::FILLS_WAITING_MAX, done.clone())?;
        // Each read is waited for by a task, and tasks are bounded: none is ever refused.
        let reads = Helper::start("relevo-read", usize::MAX, done.clone())?;
        Ok(Helpers { fills, reads, compute, done })
    }
}

/// A helper thread and what waits for it, in order. It ends when this is dropped, after the jobs it was given.
pub(in crate::runtime) struct Helper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    waiting_max: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<HelperQueue>,
    called: Condvar,
}

#[derive(Default)]
struct HelperQueue {
    jobs: VecDeque<Job>,
    ending: bool,
}

impl Helper {
    /// Starts the thread, which may run on the cores its starter may. It calls `done` after each job.
    pub(in crate::runtime) fn start(name: &str, waiting_max: usize, done: WakeShard) -> io::Result<Helper> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || theirs.work(&*done))?;
        Ok(Helper { shared, thread: Some(thread), waiting_max })
    }

    /// Runs `work` there, after what was given before. An error: it panicked, or (`WouldBlock`) too much waits there.
    pub(in crate::runtime) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let promised = Arc::new(Promised::open());
        let theirs = promised.clone();
        let job: Job = Box::new(move || theirs.keep(catch_unwind(AssertUnwindSafe(work)).ok()));
        if !self.shared.give(job, self.waiting_max) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "too much waits for the helper thread"));
        }
        let done = poll_fn(|context| promised.poll(context)).await;
        done.ok_or_else(|| io::Error::other("work on the helper thread panicked"))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        lock(&self.shared.state).ending = true;
        self.shared.called.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// False: too many wait.
    fn give(&self, job: Job, waiting_max: usize) -> bool {
        let mut state = lock(&self.state);
        if state.jobs.len() >= waiting_max {
            return false;
        }
        state.jobs.push_back(job);
        drop(state);
        self.called.notify_one();
        true
    }

    fn work(&self, done: &dyn Fn()) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                done();
                state = lock(&self.state);
            } else if state.ending {
                return;
            } else {
                state = self.called.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}
