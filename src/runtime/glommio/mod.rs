//! The runtime on io_uring: glommio's executor and files, with sockets behind one epoll set a shard.
//!
//! glommio arms one io_uring poll for every wait on every socket, which costs about a quarter of a relayed message.
//! Here the sockets of a shard sit edge-triggered in an epoll set of their own (`os::reactor`), and one task (`look`) waits for
//! that: a burst of ready sockets costs one system call, and glommio's rings are entered only where there is a sync.

use std::cell::Cell;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::glommio::io::BufferedFile;
use ::glommio::{LocalExecutorBuilder, Placement, PoolPlacement};

use crate::runtime::os::reactor::Reactor;
use crate::runtime::os::rest::Rest;
use crate::runtime::os::{Clock, Engine, OsRuntime, Settings, ShardThread, Syncer, Tally};
use crate::runtime::{Bell, Runtime};

mod look;
mod watchdog;

use look::Look;
pub use watchdog::Watchdog;

/// How long tasks may run before glommio looks at its rings again: the latency of a finished fdatasync on a busy shard.
const PREEMPT: Duration = Duration::from_millis(20);

/// One core's runtime on glommio.
pub type GlommioRuntime = OsRuntime<GlommioEngine>;

/// glommio's part of it.
pub struct GlommioEngine {
    rest: Rest,
    pending: Rc<Cell<usize>>,
}

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
            let (reactor, clock, tally) = (Rc::new(Reactor::new()?), Clock::start(), Rc::<Tally>::default());
            let (rest, pending, parked) = (Rest::new(clock, settings.spin), Rc::default(), Rc::default());
            let look = Look {
                reactor: reactor.clone(),
                bell: bell.clone(),
                rest: rest.clone(),
                tally: tally.clone(),
                pending: Rc::clone(&pending),
                parked: Rc::clone(&parked),
            };
            look.prepare()?;
            let engine = GlommioEngine { rest: rest.clone(), pending: pending.clone() };
            let runtime = OsRuntime::new(engine, reactor, bell, clock, tally.clone());
            runtime.spawn_vital("reactor", look.run());
            runtime.spawn_vital("pulse", look::pulse(rest, parked));
            let mut body = pin!(body(runtime));
            let ended = poll_fn(|context| {
                tally.poll();
                body.as_mut().poll(context)
            });
            let result = ended.await;
            // glommio sees that this task has ended when it is about to park.
            pending.set(pending.get() + 1);
            result
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

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let _pending = Pending::of(&self.pending);
        // A panic inside would hang the waiter for ever: caught on the other side.
        ::glommio::executor()
            .spawn_blocking(move || catch_unwind(AssertUnwindSafe(work)))
            .await
            .map_err(|_| io::Error::other("work on the helper thread panicked"))
    }

    fn syncer(&self, file: &File) -> io::Result<RingFile> {
        let duplicate = file.try_clone()?;
        // SAFETY: the duplicate descriptor is handed over; nothing else owns it.
        let file = unsafe { BufferedFile::from_raw_fd(duplicate.into_raw_fd()) };
        Ok(RingFile { file, pending: self.pending.clone() })
    }

    fn rest(&self) -> &Rest {
        &self.rest
    }
}

/// While it lives, glommio has to look at its rings.
struct Pending(Rc<Cell<usize>>);

impl Pending {
    fn of(pending: &Rc<Cell<usize>>) -> Pending {
        pending.set(pending.get() + 1);
        Pending(pending.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A file as glommio's ring knows it.
pub struct RingFile {
    file: BufferedFile,
    pending: Rc<Cell<usize>>,
}

impl Syncer for RingFile {
    async fn fdatasync(&self) -> io::Result<()> {
        let _pending = Pending::of(&self.pending);
        self.file.fdatasync().await.map_err(|error| io::Error::other(error.to_string()))
    }
}
