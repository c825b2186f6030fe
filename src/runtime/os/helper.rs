//! A thread that blocks so that the shard need not.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// A helper thread and what waits for it: as many jobs at most as the shard has tasks. It ends when this is dropped, after the
/// jobs it was given.
pub(in crate::runtime) struct Helper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    called: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    ending: bool,
}

impl Helper {
    /// Starts the thread, which may run on the cores its starter may. It calls `done` after each job.
    pub(in crate::runtime) fn start(name: &str, done: impl Fn() + Send + 'static) -> io::Result<Helper> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || theirs.work(done))?;
        Ok(Helper { shared, thread: Some(thread) })
    }

    /// Runs `work` there, after what was given before. An error: it panicked.
    pub(in crate::runtime) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let promised = Arc::new(Promised(Mutex::new(Stage::Open(None))));
        let theirs = promised.clone();
        self.shared.give(Box::new(move || theirs.keep(catch_unwind(AssertUnwindSafe(work)).ok())));
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
    fn give(&self, job: Job) {
        lock(&self.state).jobs.push_back(job);
        self.called.notify_one();
    }

    fn work(&self, done: impl Fn()) {
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

/// What a job will bring; None if it panicked.
struct Promised<T>(Mutex<Stage<T>>);

enum Stage<T> {
    Open(Option<Waker>),
    Kept(Option<T>),
    Taken,
}

impl<T> Promised<T> {
    fn keep(&self, brought: Option<T>) {
        let before = std::mem::replace(&mut *lock(&self.0), Stage::Kept(brought));
        if let Stage::Open(Some(waker)) = before {
            waker.wake();
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut stage = lock(&self.0);
        match std::mem::replace(&mut *stage, Stage::Taken) {
            Stage::Kept(brought) => Poll::Ready(brought),
            Stage::Open(_) => {
                *stage = Stage::Open(Some(context.waker().clone()));
                Poll::Pending
            }
            Stage::Taken => Poll::Ready(None),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
