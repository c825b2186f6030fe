//! Threads that compile and render, so that no template holds up who answers. What is begun cannot be ended: its cost was estimated before; a thread
//! that takes longer all the same is given up, and another takes its place.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread::Builder;

use crossbeam::channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use crate::limits;
use crate::runtime::process;

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum NoResult {
    /// Too much waits.
    Busy,
    /// It took too long.
    Late,
    /// It broke, by a fault of ours.
    Broken,
}

struct Job {
    work: Box<dyn FnOnce() + Send>,
    state: Arc<AtomicU8>,
}

/// How far a job is.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Stage {
    Waits,
    Runs,
    Done,
    /// Nobody waits for it any more.
    Late,
}

impl Stage {
    /// It is here now, and was there. Whether it was at this one.
    fn follows(self, before: Stage, state: &AtomicU8) -> bool {
        state.compare_exchange(before as u8, self as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// It is here now. Whether it was at this one before.
    fn ends(self, before: Stage, state: &AtomicU8) -> bool {
        state.swap(self as u8, Ordering::SeqCst) == before as u8
    }
}

/// The threads, as who gives them work has them.
pub(in crate::control) struct Pool {
    jobs: Sender<Job>,
    given: Receiver<Job>,
    /// Threads that were given up and have not ended yet.
    lost: Arc<AtomicUsize>,
}

impl Pool {
    /// Starts them. They end with this.
    pub(in crate::control) fn start() -> io::Result<Pool> {
        let (jobs, given) = bounded(limits::RENDER_QUEUE);
        let pool = Pool { jobs, given, lost: Arc::default() };
        (0..limits::RENDER_THREADS).try_for_each(|_| pool.thread())?;
        Ok(pool)
    }

    fn thread(&self) -> io::Result<()> {
        let (given, lost) = (self.given.clone(), self.lost.clone());
        let thread = Builder::new().name("relevo-render".into()).stack_size(limits::RENDER_STACK);
        thread.spawn(move || {
            // Mail has the processors before it.
            process::stand_back();
            for Job { work, state } in given {
                if !Stage::Runs.follows(Stage::Waits, &state) {
                    continue;
                }
                // What broke is told as such; whoever waits sees that nobody answers.
                let _ = catch_unwind(AssertUnwindSafe(work));
                if Stage::Done.ends(Stage::Late, &state) {
                    lost.fetch_sub(1, Ordering::SeqCst);
                    return;
                }
            }
        })?;
        Ok(())
    }

    /// Has this done there.
    pub(in crate::control) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        let (done, told) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(Stage::Waits as u8));
        // Who asked may have gone.
        let work = Box::new(move || drop(done.send(work())));
        self.jobs.try_send(Job { work, state: state.clone() }).map_err(|_| NoResult::Busy)?;
        match tokio::time::timeout(limits::RENDER_WAIT, told).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(NoResult::Broken),
            Err(_) => {
                if Stage::Late.ends(Stage::Runs, &state) {
                    self.give_up();
                }
                Err(NoResult::Late)
            }
        }
    }

    /// One does not come back in time: another is started, unless too many are away.
    fn give_up(&self) {
        let away = self.lost.fetch_add(1, Ordering::SeqCst);
        if away < limits::RENDER_THREADS_LOST {
            let _ = self.thread();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_answered_whatever_the_work_does() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let pool = Pool::start().unwrap();
            assert_eq!(pool.run(|| 7).await, Ok(7));
            assert_eq!(pool.run(|| panic!("a fault")).await.map(|(): ()| ()), Err(NoResult::Broken));
            assert_eq!(pool.run(|| 8).await, Ok(8), "the thread is still there");
        });
    }

    /// Threads that hang are replaced, so that others are served.
    #[test]
    fn threads_that_hang_are_given_up() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(false).build().unwrap();
        runtime.block_on(async {
            let pool = Pool::start().unwrap();
            let (hold, held) = bounded::<()>(0);
            let hang = || {
                let held = held.clone();
                pool.run(move || held.recv().is_ok())
            };
            let (one, two) = tokio::join!(hang(), hang());
            assert_eq!((one, two), (Err(NoResult::Late), Err(NoResult::Late)));
            assert_eq!(pool.run(|| 1).await, Ok(1));
            drop(hold);
            assert_eq!(pool.run(|| 2).await, Ok(2));
        });
    }
}
