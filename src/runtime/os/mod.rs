//! What every runtime on a real core shares: clocks, entropy, sockets in one epoll set a shard, segment files, panics that are
//! caught, threads to block on. An [`Engine`] brings what differs: tasks, timers, and how a sync is waited for.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::limits;
use crate::runtime::{Bell, Priority, Runtime, SegmentMap, Uncomputed, Workspace, ending, files, output};
use crate::time::{Instant, UnixMillis};

pub(in crate::runtime) mod clock;
mod compute;
mod effort;
mod engine;
pub(super) mod helper;
mod interfaces;
mod options;
pub mod paths;
pub(super) mod patience;
pub mod probe;
mod promise;
pub(super) mod reactor;
pub(super) mod rest;
mod segment;
mod socket;
#[cfg(test)]
mod tests;
mod turn;

pub(super) use clock::Clock;
pub use compute::Compute;
pub use engine::{Engine, Syncer};
pub use segment::FileSegment;
pub use socket::{SocketDatagram, SocketListener, SocketStream};

use effort::Effort;
use helper::Helpers;
use reactor::Reactor;

/// What a shard's thread is told.
#[derive(Clone)]
pub struct Settings {
    /// The core it is pinned to.
    pub core: usize,
    /// How long it looks for work before it sleeps.
    pub spin: Duration,
    /// Entries of its io_uring, if it has one.
    pub ring_depth: usize,
    /// The node's threads that compute, if it has any.
    pub compute: Option<Arc<Compute>>,
}

/// A shard's thread.
pub struct ShardThread(Box<dyn FnOnce() -> io::Result<()> + Send>);

impl ShardThread {
    pub(super) fn new(join: impl FnOnce() -> io::Result<()> + Send + 'static) -> ShardThread {
        ShardThread(Box::new(join))
    }

    /// Waits for the shard to end.
    pub fn join(self) -> io::Result<()> {
        (self.0)()
    }
}

/// Waits for all of them, for so long at most together. None: it still runs, and is left to itself.
pub fn join_within(threads: Vec<ShardThread>, at_most: Duration) -> Vec<Option<io::Result<()>>> {
    let clock = Clock::start();
    let wait = |thread: ShardThread| {
        let (joined, ended) = std::sync::mpsc::channel();
        let joiner = std::thread::Builder::new().name("relevo-join".into()).spawn(move || {
            let _ = joined.send(thread.join());
        });
        joiner.map(|_| ended)
    };
    let waits: Vec<_> = threads.into_iter().map(wait).collect();
    let end = clock.now() + at_most;
    waits
        .into_iter()
        .map(|wait| match wait {
            Ok(ended) => ended.recv_timeout(end.since(clock.now())).ok(),
            Err(error) => Some(Err(error)),
        })
        .collect()
}

/// One core's runtime. Cloning is a reference count.
pub struct OsRuntime<E: Engine>(Rc<Core<E>>);

impl<E: Engine> Clone for OsRuntime<E> {
    fn clone(&self) -> Self {
        OsRuntime(self.0.clone())
    }
}

struct Core<E> {
    engine: E,
    helpers: Helpers,
    reactor: Rc<Reactor>,
    bell: Arc<Bell>,
    entropy: RefCell<Entropy>,
    tally: Rc<Tally>,
    effort: Effort,
    clock: Clock,
}

impl<E: Engine> OsRuntime<E> {
    pub(super) fn new(
        engine: E,
        helpers: Helpers,
        reactor: Rc<Reactor>,
        bell: Arc<Bell>,
        clock: Clock,
        tally: Rc<Tally>,
    ) -> OsRuntime<E> {
        OsRuntime(Rc::new(Core {
            engine,
            helpers,
            reactor,
            bell,
            entropy: RefCell::new(Entropy { pool: [0; limits::RANDOM_POOL], left: 0 }),
            tally,
            effort: Effort::new(),
            clock,
        }))
    }

    /// The threads beside its own.
    #[cfg(test)]
    pub(super) fn helpers(&self) -> &Helpers {
        &self.0.helpers
    }
}

/// Bytes that one getrandom(2) brings whole, whatever signals arrive.
const GETRANDOM_WHOLE: usize = 256;

/// Random numbers of the kernel, a pool at a time.
struct Entropy {
    pool: [u64; limits::RANDOM_POOL],
    left: usize,
}

impl Entropy {
    fn next(&mut self) -> u64 {
        if self.left == 0 {
            for words in self.pool.chunks_exact_mut(GETRANDOM_WHOLE / 8) {
                let mut bytes = [0; GETRANDOM_WHOLE];
                // So much is never short and never fails once the kernel's pool is ready.
                let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
                for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
                    *word = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
                }
            }
            self.left = self.pool.len();
        }
        self.left -= 1;
        self.pool[self.left]
    }
}

/// What is counted of the tasks of a shard.
#[derive(Default)]
pub(super) struct Tally {
    panics: Cell<u64>,
    polls: Cell<u64>,
    turns: turn::Turns,
}

impl Tally {
    /// How often tasks were polled so far.
    pub(super) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// The processor's counter of time.
    pub(super) fn ticks(&self) -> u64 {
        turn::ticks()
    }

    /// Whether a few long turns would have passed since then.
    pub(super) fn is_long_since(&self, then: u64) -> bool {
        self.turns.is_long_since(then)
    }

    /// The thread slept within a poll: that kept nobody waiting.
    pub(super) fn rested(&self) {
        self.turns.rested();
    }

    /// A task is polled.
    pub(super) fn poll(&self) {
        self.polls.set(self.polls.get() + 1);
    }
}

/// Polls a task with its panics caught.
struct Guarded<F> {
    task: F,
    tally: Rc<Tally>,
    /// The name of a task the shard cannot live without.
    vital: Option<&'static str>,
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `task` is structurally pinned: never moved out, and `Guarded` has no Drop and is not Unpin unless F is.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let task = unsafe { Pin::new_unchecked(&mut this.task) };
        this.tally.poll();
        let begun = this.tally.turns.begin();
        let polled = catch_unwind(AssertUnwindSafe(|| task.poll(context)));
        this.tally.turns.over(begun);
        match polled {
            Ok(poll) => poll,
            Err(panic) => {
                this.tally.panics.set(this.tally.panics.get() + 1);
                if let Some(name) = this.vital {
                    output::last_words(&format!(
                        "relevo: the {name} task panicked ({}); ending the process, recovery is the way back",
                        ending::words_of(&*panic)
                    ));
                    std::process::abort();
                }
                Poll::Ready(())
            }
        }
    }
}

impl<E: Engine> Runtime for OsRuntime<E> {
    type Stream = SocketStream;
    type Listener = SocketListener;
    type Datagram = SocketDatagram;
    type Segment = FileSegment<E::Syncer>;

    fn now(&self) -> Instant {
        self.0.clock.now()
    }

    fn wall(&self) -> UnixMillis {
        #[expect(clippy::disallowed_methods, reason = "the runtime is where clocks come from")]
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn random(&self) -> u64 {
        self.0.entropy.borrow_mut().next()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let tally = self.0.tally.clone();
        self.0.engine.spawn(Guarded { task, tally, vital: None });
    }

    fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        let tally = self.0.tally.clone();
        self.0.engine.spawn(Guarded { task, tally, vital: Some(name) });
    }

    fn panics(&self) -> u64 {
        self.0.tally.panics.get()
    }

    #[inline]
    fn should_yield(&self) -> bool {
        self.0.tally.turns.should_yield()
    }

    fn longest_turn(&self) -> Duration {
        self.0.tally.turns.take()
    }

    fn worked(&self) -> Duration {
        self.0.effort.total().saturating_sub(self.0.engine.rest().spin().spent())
    }

    async fn sleep_until(&self, at: Instant) {
        self.0.engine.rest().sleepers().until(at).await;
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        YieldNow::default()
    }

    async fn compute<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T, Uncomputed> {
        let helpers = &self.0.helpers;
        let Some(compute) = &helpers.compute else { return Err(Uncomputed::Failed) };
        compute.run(priority, helpers.done.clone(), work).await
    }

    fn computing_later(&self) -> usize {
        self.0.helpers.compute.as_ref().map_or(0, |compute| compute.waiting())
    }

    fn bell(&self) -> &Arc<Bell> {
        &self.0.bell
    }

    fn listen(&self, address: SocketAddr) -> io::Result<SocketListener> {
        SocketListener::bind(&self.0.reactor, address)
    }

    fn listen_path(&self, path: &Path) -> io::Result<SocketListener> {
        SocketListener::bind_path(&self.0.reactor, path)
    }

    fn connect(&self, source: Option<IpAddr>, to: SocketAddr) -> io::Result<SocketStream> {
        SocketStream::connect(&self.0.reactor, source, to)
    }

    fn connect_path(&self, path: &Path) -> io::Result<SocketStream> {
        SocketStream::connect_path(&self.0.reactor, path)
    }

    fn datagram(&self, to: SocketAddr) -> io::Result<SocketDatagram> {
        SocketDatagram::connect(&self.0.reactor, to)
    }

    async fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.0.helpers.reads.run(interfaces::addresses).await?
    }

    fn leads_here(&self, address: IpAddr) -> io::Result<bool> {
        interfaces::leads_here(address)
    }

    fn knows_way(&self, to: IpAddr) -> bool {
        interfaces::knows_way(to)
    }

    fn has_address(&self, address: IpAddr) -> io::Result<bool> {
        interfaces::may_be_bound(address)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        files::make_directories(directory)?;
        // A process that was killed may not have come to it: the names in it and its own.
        std::fs::File::open(directory)?.sync_all()?;
        match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn open_segment(&self, path: &Path) -> io::Result<Self::Segment> {
        FileSegment::open(&self.0.engine, path)
    }

    async fn create_segment(
        &self,
        path: &Path,
        size: u64,
        beside: Option<&Path>,
    ) -> io::Result<Self::Segment> {
        let (owned, beside) = (path.to_owned(), beside.map(Path::to_owned));
        self.0.helpers.fills.run(move || segment::create(&owned, size, beside.as_deref())).await??;
        // One that cannot be opened (too many open files) would stay, and so would the next one.
        FileSegment::open(&self.0.engine, path).inspect_err(|_| drop(std::fs::remove_file(path)))
    }

    async fn read(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if let Some(bytes) = segment::read_cached(segment, offset, length) {
            return Ok(bytes);
        }
        let segment = segment.clone();
        self.0.helpers.reads.run(move || segment::read_at(&segment, offset, length)).await?
    }

    fn read_now(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        segment::read_at(segment, offset, length)
    }
}

/// Wakes itself once.
#[derive(Default)]
pub(super) struct YieldNow(bool);

impl Future for YieldNow {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
