//! The thread that makes files of the suppression list, and reads them into memory: it takes seconds to minutes, and nobody waits for it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use crate::control::suppression::{Job, ListFile, Made, Trouble};
use crate::control::thread::Worker;
use crate::limits;
use crate::policy::suppression::base::Base;
use crate::runtime::process;

/// What it is to do.
pub(super) enum Task {
    Make(Box<Job>),
    Load(Arc<ListFile>),
}

/// What came of it.
pub(super) enum Done {
    Made(Box<Result<Made, Trouble>>),
    Loaded(Result<Arc<Base>, Trouble>),
}

/// The thread, as who gives it work has it.
pub(super) struct Press {
    worker: Worker,
    tasks: SyncSender<Task>,
    done: Receiver<Done>,
    /// Tasks whose end was not taken yet.
    busy: std::cell::Cell<usize>,
}

impl Press {
    /// Starts it; what it does, it tells the thread that calls this.
    pub(super) fn start() -> io::Result<Press> {
        // A file that is made, and the one before it that is read: never more.
        let (tasks, given) = sync_channel::<Task>(limits::SUPPRESSION_TASKS);
        let (tell, done) = sync_channel(limits::SUPPRESSION_TASKS);
        let asker = std::thread::current();
        let worker = Worker::start("relevo-list", move |turn| {
            // Mail has the processors before it.
            process::stand_back();
            while !turn.is_over() {
                let done = match given.recv_timeout(limits::CONTROL_ROUND) {
                    Ok(Task::Make(job)) => Done::Made(Box::new(job.run())),
                    Ok(Task::Load(file)) => Done::Loaded(file.load()),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => {
                        turn.pause(limits::CONTROL_ROUND);
                        continue;
                    }
                };
                // Nobody takes it where the node stops.
                let _ = tell.send(done);
                asker.unpark();
            }
        })?;
        Ok(Press { worker, tasks, done, busy: std::cell::Cell::new(0) })
    }

    /// Whether it has something to do.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.get() > 0
    }

    /// Gives it something to do. Where it has too much that is left out: a file that is not in memory is read from the disk.
    pub(super) fn give(&self, task: Task) {
        if self.tasks.try_send(task).is_ok() {
            self.busy.set(self.busy.get() + 1);
        }
    }

    /// What it did.
    pub(super) fn take(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.busy.set(self.busy.get() - 1);
        Some(done)
    }

    /// It ends, or is left behind: what it was about to make a start throws away.
    pub(super) fn stop(self) {
        self.worker.stop(limits::CONTROL_ROUND);
    }
}
