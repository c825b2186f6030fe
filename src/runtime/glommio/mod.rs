//! The runtime on io_uring: glommio's executor, timers and files, with sockets behind one epoll set a shard.
//!
//! glommio arms one io_uring poll for every wait on every socket, which costs about a quarter of a relayed message.
//! Here the sockets of a shard sit edge-triggered in an epoll set of their own (`os::reactor`), and glommio watches that
//! one descriptor: a burst of ready sockets costs one ring entry, and a busy shard none at all.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::glommio::io::BufferedFile;
use ::glommio::{LocalExecutorBuilder, Placement, PoolPlacement};

use crate::runtime::os::reactor::Reactor;
use crate::runtime::os::{Clock, Engine, OsRuntime, Settings, ShardThread, Syncer};
use crate::runtime::{Bell, Runtime};
use crate::time::Instant;

mod look;
mod watchdog;

pub use watchdog::Watchdog;

/// How long tasks may run before glommio looks at its rings again: the latency of a finished fdatasync on a busy shard.
const PREEMPT: Duration = Duration::from_millis(20);

/// One core's runtime on glommio.
pub type GlommioRuntime = OsRuntime<GlommioEngine>;

/// glommio's part of it.
pub struct GlommioEngine(());

/// Starts a thread pinned to its core and runs `body` on it.
pub fn start_shard<F>(
    settings: Settings,
    bell: Arc<Bell>,
    body: impl FnOnce(GlommioRuntime) -> F + Send + 'static,
) -> io::Result<ShardThread>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    LocalExecutorBuilder::new(Placement::Fixed(settings.core))
        .name("relevo-shard")
        .io_memory(0)
        .ring_depth(settings.ring_depth)
        .preempt_timer(PREEMPT)
        .spin_before_park(settings.spin)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .spawn(move || async move {
            let reactor = Rc::new(Reactor::new()?);
            let runtime = OsRuntime::new(GlommioEngine(()), reactor.clone(), bell.clone(), Clock::start());
            runtime.spawn_vital("reactor", look::look(reactor, bell));
            body(runtime).await
        })
        .map(|thread| {
            ShardThread::new(|| thread.join().map_err(|error| io::Error::other(error.to_string()))?)
        })
        .map_err(|error| io::Error::other(error.to_string()))
}

impl Engine for GlommioEngine {
    type Syncer = RingFile;

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        ::glommio::spawn_local(task).detach();
    }

    async fn sleep_until(&self, now: Instant, at: Instant) {
        ::glommio::timer::Timer::new(at.since(now)).await;
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        // A panic inside would hang the waiter for ever: caught on the other side.
        ::glommio::executor()
            .spawn_blocking(move || catch_unwind(AssertUnwindSafe(work)))
            .await
            .map_err(|_| io::Error::other("work on the helper thread panicked"))
    }

    fn syncer(&self, file: &File) -> io::Result<RingFile> {
        let duplicate = file.try_clone()?;
        // SAFETY: the duplicate descriptor is handed over; nothing else owns it.
        Ok(RingFile(unsafe { BufferedFile::from_raw_fd(duplicate.into_raw_fd()) }))
    }
}

/// A file as glommio's ring knows it.
pub struct RingFile(BufferedFile);

impl Syncer for RingFile {
    async fn fdatasync(&self) -> io::Result<()> {
        self.0.fdatasync().await.map_err(|error| io::Error::other(error.to_string()))
    }
}
