//! The runtime that runs on a core: glommio's executor, timers and files, with sockets behind one epoll set a shard.
//!
//! glommio arms one io_uring poll for every wait on every socket, which costs about a quarter of a relayed message.
//! Here the sockets of a shard sit edge-triggered in an epoll set of their own (`reactor`), and glommio watches that
//! one descriptor: a burst of ready sockets costs one ring entry, and a busy shard none at all.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::glommio::{LocalExecutorBuilder, Placement, PoolPlacement};

use crate::runtime::{Bell, Runtime, SegmentMap};
use crate::time::{Instant, UnixMillis};

mod effort;
pub mod probe;
mod reactor;
mod segment;
mod socket;
mod watchdog;

pub use segment::FileSegment;
pub use socket::{SocketDatagram, SocketListener, SocketStream};
pub use watchdog::Watchdog;

use effort::Effort;
use reactor::Reactor;

/// Entries of a shard's io_uring. Only files, timers and one poll use the ring.
const RING_DEPTH: usize = 128;
/// How long tasks may run before glommio looks at its rings again: the latency of a finished fdatasync on a busy shard.
const PREEMPT: Duration = Duration::from_millis(20);

/// One core's runtime. Cloning is a reference count.
#[derive(Clone)]
pub struct GlommioRuntime(Rc<Core>);

struct Core {
    reactor: Rc<Reactor>,
    bell: Arc<Bell>,
    entropy: RefCell<Entropy>,
    panics: Rc<Cell<u64>>,
    effort: Effort,
    epoch: std::time::Instant,
}

/// A shard's thread.
pub struct ShardThread(::glommio::ExecutorJoinHandle<io::Result<()>>);

impl ShardThread {
    /// Waits for the shard to end.
    pub fn join(self) -> io::Result<()> {
        self.0.join().map_err(|error| io::Error::other(error.to_string()))?
    }
}

/// Starts a thread pinned to `core` and runs `body` on it.
pub fn start_shard<F>(
    index: usize,
    core: usize,
    bell: Arc<Bell>,
    body: impl FnOnce(GlommioRuntime) -> F + Send + 'static,
) -> io::Result<ShardThread>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let _ = index;
    LocalExecutorBuilder::new(Placement::Fixed(core))
        .name("relevo-shard")
        .io_memory(0)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .spawn(move || async move {
            let runtime = GlommioRuntime::new(bell)?;
            let reactor = runtime.0.reactor.clone();
            let watched = runtime.0.bell.clone();
            runtime.spawn_vital("reactor", async move { reactor.run(watched).await });
            body(runtime).await
        })
        .map(ShardThread)
        .map_err(|error| io::Error::other(error.to_string()))
}

impl GlommioRuntime {
    fn new(bell: Arc<Bell>) -> io::Result<GlommioRuntime> {
        Ok(GlommioRuntime(Rc::new(Core {
            reactor: Rc::new(Reactor::new()?),
            bell,
            entropy: RefCell::new(Entropy { pool: [0; 256], left: 0 }),
            panics: Rc::default(),
            effort: Effort::new(),
            #[expect(clippy::disallowed_methods, reason = "the runtime is where clocks come from")]
            epoch: std::time::Instant::now(),
        })))
    }
}

/// Random numbers of the kernel, a pool at a time.
struct Entropy {
    pool: [u64; 256],
    left: usize,
}

impl Entropy {
    fn next(&mut self) -> u64 {
        if self.left == 0 {
            for word in &mut self.pool {
                let mut bytes = [0; 8];
                // getrandom of 8 bytes is never short and never fails once the kernel's pool is ready.
                let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
                *word = u64::from_ne_bytes(bytes);
            }
            self.left = self.pool.len();
        }
        self.left -= 1;
        self.pool[self.left]
    }
}

/// Polls a task with its panics caught.
struct Guarded<F> {
    task: F,
    panics: Rc<Cell<u64>>,
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
        match catch_unwind(AssertUnwindSafe(|| task.poll(context))) {
            Ok(poll) => poll,
            Err(_) => {
                this.panics.set(this.panics.get() + 1);
                if let Some(name) = this.vital {
                    eprintln!(
                        "relevo: the {name} task panicked; ending the process, recovery is the way back"
                    );
                    std::process::abort();
                }
                Poll::Ready(())
            }
        }
    }
}

impl Runtime for GlommioRuntime {
    type Stream = SocketStream;
    type Listener = SocketListener;
    type Datagram = SocketDatagram;
    type Segment = FileSegment;

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.0.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX - 1))
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
        let panics = self.0.panics.clone();
        ::glommio::spawn_local(Guarded { task, panics, vital: None }).detach();
    }

    fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        let panics = self.0.panics.clone();
        ::glommio::spawn_local(Guarded { task, panics, vital: Some(name) }).detach();
    }

    fn panics(&self) -> u64 {
        self.0.panics.get()
    }

    fn worked(&self) -> Duration {
        self.0.effort.total()
    }

    async fn sleep_until(&self, at: Instant) {
        let now = self.now();
        if at > now {
            ::glommio::timer::Timer::new(at.since(now)).await;
        }
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        YieldNow(false)
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

    fn bell(&self) -> &Arc<Bell> {
        &self.0.bell
    }

    fn listen(&self, address: SocketAddr) -> io::Result<SocketListener> {
        SocketListener::bind(&self.0.reactor, address)
    }

    fn connect(&self, source: Option<IpAddr>, to: SocketAddr) -> io::Result<SocketStream> {
        SocketStream::connect(&self.0.reactor, source, to)
    }

    fn datagram(&self, to: SocketAddr) -> io::Result<SocketDatagram> {
        SocketDatagram::connect(&self.0.reactor, to)
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
        std::fs::create_dir_all(directory)?;
        match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn open_segment(&self, path: &Path) -> io::Result<FileSegment> {
        FileSegment::open(path)
    }

    async fn create_segment(&self, path: &Path, size: u64) -> io::Result<FileSegment> {
        let owned = path.to_owned();
        self.run_blocking(move || segment::create(&owned, size)).await??;
        // One that cannot be opened (too many open files) would stay, and so would the next one.
        FileSegment::open(path).inspect_err(|_| drop(std::fs::remove_file(path)))
    }

    async fn read(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if let Some(bytes) = segment::read_cached(segment, offset, length) {
            return Ok(bytes);
        }
        let segment = segment.clone();
        self.run_blocking(move || segment::read_at(&segment, offset, length)).await?
    }

    fn read_now(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        segment::read_at(segment, offset, length)
    }
}

/// Wakes itself once.
struct YieldNow(bool);

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

/// Closes nothing: a borrowed descriptor for calls that want an owner.
fn borrowed<T: AsFd>(fd: &T) -> std::os::fd::BorrowedFd<'_> {
    fd.as_fd()
}
