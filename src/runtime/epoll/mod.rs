//! The runtime on plain epoll, for machines that refuse io_uring: an executor of its own, and threads beside each shard that block.
//!
//! A busy shard makes one epoll_wait for a batch of ready sockets and nothing else; wakes on the shard's own thread are a compare
//! and a push (`waker`). What blocks has threads of its own kind (`os::helper`): a sync must not wait until a segment was filled with
//! zeroes.

use std::fs::File;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use rustix::thread::CpuSet;

use crate::runtime::Bell;
use crate::runtime::os::helper::{Helper, Helpers};
use crate::runtime::os::patience::be_patient;
use crate::runtime::os::reactor::Reactor;
use crate::runtime::os::rest::Rest;
use crate::runtime::os::{Clock, Engine, OsRuntime, Settings, ShardThread, Syncer};

mod executor;
#[cfg(test)]
mod tests;
mod waker;

use executor::Executor;

/// One core's runtime on plain epoll.
pub type EpollRuntime = OsRuntime<EpollEngine>;

/// The part of it that is not shared with other runtimes.
pub struct EpollEngine {
    executor: Rc<Executor>,
    rest: Rest,
    syncs: Rc<Helper>,
}

/// Starts a thread pinned to its core and runs `body` on it.
pub fn start_shard<F>(
    settings: Settings,
    bell: Arc<Bell>,
    body: impl FnOnce(EpollRuntime) -> F + Send + 'static,
) -> io::Result<ShardThread>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let thread =
        thread::Builder::new().name("relevo-shard".into()).spawn(move || run_shard(settings, bell, body))?;
    Ok(ShardThread::new(|| thread.join().map_err(|_| io::Error::other("the shard panicked"))?))
}

fn run_shard<F>(
    settings: Settings,
    bell: Arc<Bell>,
    body: impl FnOnce(EpollRuntime) -> F + 'static,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    // The helpers start before the thread is pinned: they mostly sleep, and wake where a core is free.
    // A segment has one sync at a time, and segments are bounded: none is ever refused.
    let syncs = Rc::new(Helper::start("relevo-sync", usize::MAX, Arc::new(|| ()))?);
    let helpers = Helpers::start(settings.compute, Arc::new(|| ()))?;
    let mut core = CpuSet::new();
    core.set(settings.core);
    rustix::thread::sched_setaffinity(None, &core)?;
    be_patient();
    let clock = Clock::start();
    let reactor = Rc::new(Reactor::new()?);
    let rest = Rest::new(clock, settings.spin);
    let tally = Rc::default();
    let executor = Rc::new(Executor::new(reactor.clone(), bell.clone(), rest.clone(), Rc::clone(&tally))?);
    let engine = EpollEngine { executor: executor.clone(), rest, syncs };
    let runtime = OsRuntime::new(engine, helpers, reactor, bell, clock, tally);
    executor.run(async move { body(runtime).await })
}

impl Engine for EpollEngine {
    type Syncer = ThreadFile;

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task);
    }

    fn syncer(&self, file: &File) -> io::Result<ThreadFile> {
        Ok(ThreadFile { file: Arc::new(file.try_clone()?), syncs: self.syncs.clone() })
    }

    fn rest(&self) -> &Rest {
        &self.rest
    }
}

/// A file that a helper thread syncs.
pub struct ThreadFile {
    file: Arc<File>,
    syncs: Rc<Helper>,
}

impl Syncer for ThreadFile {
    async fn fdatasync(&self) -> io::Result<()> {
        let file = self.file.clone();
        self.syncs.run(move || rustix::fs::fdatasync(&*file)).await?.map_err(Into::into)
    }
}
