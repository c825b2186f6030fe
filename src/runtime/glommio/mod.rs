//! The runtime on io_uring: glommio's executor and files, with sockets behind one epoll set a shard.
//!
//! glommio arms one io_uring poll for every wait on every socket, which costs about a quarter of a relayed message.
//! Here the sockets of a shard sit edge-triggered in an epoll set of their own (`os::reactor`), and one task (`look`) waits for
//! that: a burst of ready sockets costs one system call, and glommio's rings are entered only where there is a sync.

use std::cell::Cell;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::glommio::io::BufferedFile;
use ::glommio::{LocalExecutorBuilder, Placement, PoolPlacement};

use crate::limits;
use crate::runtime::os::helper::Helpers;
use crate::runtime::os::patience::be_patient;
use crate::runtime::os::reactor::Reactor;
use crate::runtime::os::rest::Rest;
use crate::runtime::os::{Clock, Engine, OsRuntime, Settings, ShardThread, Syncer, Tally};
use crate::runtime::{Bell, Runtime};

mod look;
mod rings;
mod watchdog;

use look::{Parked, PendingWork, ReactorTask};
pub use watchdog::Watchdog;

/// One core's runtime on glommio.
pub type GlommioRuntime = OsRuntime<GlommioEngine>;

/// glommio's part of it.
pub struct GlommioEngine {
    rest: Rest,
    pending: Rc<PendingWork>,
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
    start(settings, bell, true, body)
}

/// The same where glommio's rings cannot be found.
#[cfg(test)]
pub(super) fn start_parking<F>(
    settings: Settings,
    bell: Arc<Bell>,
    body: impl FnOnce(GlommioRuntime) -> F + Send + 'static,
) -> io::Result<ShardThread>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    start(settings, bell, false, body)
}

fn start<F>(
    settings: Settings,
    bell: Arc<Bell>,
    rings: bool,
    body: impl FnOnce(GlommioRuntime) -> F + Send + 'static,
) -> io::Result<ShardThread>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let (call, helped) = (look::eventfd()?, Arc::new(AtomicBool::new(false)));
    bell.call_by(call.try_clone()?);
    let (helpers_call, helper_did) = (call.try_clone()?, helped.clone());
    // The helpers start here and not on the thread that is pinned: they run where a core is free.
    let done = Arc::new(move || {
        helper_did.store(true, Ordering::SeqCst);
        let _ = rustix::io::write(&helpers_call, &1u64.to_ne_bytes());
    });
    let helpers = Helpers::start(settings.compute.clone(), done)?;
    let one_at_a_time = rings::one_at_a_time();
    let before = rings::open();
    let (begun, made) = std::sync::mpsc::channel::<()>();
    let thread = LocalExecutorBuilder::new(Placement::Fixed(settings.core))
        .name("relevo-shard")
        .io_memory(0)
        .ring_depth(settings.ring_depth)
        .preempt_timer(limits::PREEMPT_AFTER)
        .spin_before_park(settings.spin)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .spawn(move || async move {
            let rings = if rings { rings::since(&before) } else { Ok(Vec::new()) };
            drop(begun);
            be_patient();
            run(settings, bell, helpers, Calls { call, helped, rings: rings? }, body).await
        })
        .map_err(|error| io::Error::other(error.to_string()))?;
    // It says so by dropping its end, or ends.
    let _ = made.recv();
    drop(one_at_a_time);
    Ok(ShardThread::new(|| thread.join().map_err(|error| io::Error::other(error.to_string()))?))
}

/// What reaches the shard's set from outside of its tasks.
struct Calls {
    /// For the bell and the helpers.
    call: OwnedFd,
    helped: Arc<AtomicBool>,
    rings: Vec<OwnedFd>,
}

async fn run<F>(
    settings: Settings,
    bell: Arc<Bell>,
    helpers: Helpers,
    calls: Calls,
    body: impl FnOnce(GlommioRuntime) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let (reactor, clock, tally) = (Rc::new(Reactor::new()?), Clock::start(), Rc::<Tally>::default());
    let (rest, parked) = (Rest::new(clock, settings.spin), Rc::<Parked>::default());
    let pending = Rc::new(PendingWork { helped: calls.helped, ..PendingWork::default() });
    let mut look = ReactorTask {
        reactor: reactor.clone(),
        bell: bell.clone(),
        rest: rest.clone(),
        tally: tally.clone(),
        pending: pending.clone(),
        parked: parked.clone(),
        rings: Vec::new(),
    };
    look.prepare(calls.call, calls.rings)?;
    let engine = GlommioEngine { rest: rest.clone(), pending: pending.clone() };
    let runtime = OsRuntime::new(engine, helpers, reactor, bell, clock, tally.clone());
    runtime.spawn_vital("reactor", look.run());
    runtime.spawn_vital("pulse", look::pulse(rest, parked));
    let mut body = pin!(body(runtime));
    let ended = poll_fn(|context| {
        tally.poll();
        body.as_mut().poll(context)
    });
    let result = ended.await;
    pending.ended.set(true);
    result
}

impl Engine for GlommioEngine {
    type Syncer = RingFile;

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        ::glommio::spawn_local(task).detach();
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

/// Counts something that is under way for as long as it lives.
struct SyncGuard<'a>(&'a Cell<usize>);

impl SyncGuard<'_> {
    fn new(count: &Cell<usize>) -> SyncGuard<'_> {
        count.set(count.get() + 1);
        SyncGuard(count)
    }
}

impl Drop for SyncGuard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A file as glommio's ring knows it.
pub struct RingFile {
    file: BufferedFile,
    pending: Rc<PendingWork>,
}

impl Syncer for RingFile {
    async fn fdatasync(&self) -> io::Result<()> {
        let _under_way = SyncGuard::new(&self.pending.syncs);
        self.pending.begun.set(true);
        self.file.fdatasync().await.map_err(|error| io::Error::other(error.to_string()))
    }
}
