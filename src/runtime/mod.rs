//! What a shard asks of the machine: clock, entropy, sockets, segments, tasks. It knows no mail.
//!
//! Every system call and every `unsafe` block of the relay lives below this module. There are three
//! implementations: [`glommio`] and [`epoll`], which run on a core and share all of [`os`], and [`sim`], which runs whole
//! nodes in virtual time on an in-memory network and disk. Shard code is generic over [`Runtime`] and cannot tell them
//! apart.
//!
//! Sockets are readiness-based: `try_*` never waits and answers `WouldBlock`; `poll_*` registers the task's waker
//! and returns `Ready` when a `try_*` may succeed (a spurious `Ready` is allowed). Each direction of a socket is
//! waited for by at most one task at a time.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::time::{Instant, UnixMillis};

pub mod authorities;
pub mod bell;
pub mod beside;
pub mod browser;
mod defect;
pub mod ending;
pub mod epoll;
pub mod exchange;
pub mod file_map;
pub mod files;
pub mod given;
pub mod glommio;
pub mod local;
pub mod map;
pub mod notify;
pub mod os;
pub mod output;
pub mod process;
pub mod remote;
pub mod replace;
pub mod sim;
pub mod succession;
pub mod terminal;
mod workspace;

pub use bell::Bell;
pub use defect::Defect;
pub use map::SegmentMap;
pub use workspace::Workspace;

use crate::limits;

/// Who comes to a Unix socket: this machine, from no port.
pub const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// One core's view of the machine. Cloning is cheap (a reference count).
pub trait Runtime: Clone + 'static {
    /// A connected (or connecting) byte stream.
    type Stream: Stream;
    /// A listening socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A connected datagram socket.
    type Datagram: Datagram;
    /// A preallocated spool file that this shard alone writes.
    type Segment: Segment;

    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock.
    fn wall(&self) -> UnixMillis;
    /// 64 unpredictable bits (seeded ones in the simulator).
    fn random(&self) -> u64;

    /// Starts a task on this shard. It runs to its end: nothing ever cancels it. A panic inside is caught,
    /// counted by [`Runtime::panics`] and ends that task alone.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
    /// Like [`Runtime::spawn`] for tasks the shard cannot live without (lane writer, inbox, dispatcher, timers): a
    /// panic inside ends the process, because recovery is the one path back.
    fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + 'static);
    /// Panics caught so far.
    fn panics(&self) -> u64;
    /// How long the shard's thread has worked so far, rather than waited for something to do.
    fn worked(&self) -> Duration;
    /// Whether the running task has kept the others waiting for long, some [`limits::TURN`]: where it can go on later, it yields. Costs
    /// next to nothing, so a loop may ask at each step.
    fn should_yield(&self) -> bool;
    /// The longest time one task kept the others waiting since this was asked last; zero where that is not measured.
    fn longest_turn(&self) -> Duration;
    /// Waits until `at`. For a few immortal tasks; everything else hangs on the shard's timer wheel.
    /// Must be awaited to its end, never dropped half way.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()>;
    /// Lets every other ready task run once.
    fn yield_now(&self) -> impl Future<Output = ()>;
    /// Runs work that burns a core for long (a password hash) on one of the node's few threads for that, when its turn comes.
    fn compute<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Uncomputed>>;
    /// Pieces of such work that wait, of the whole node.
    fn computing_later(&self) -> usize;
    /// The bell by which other threads wake this shard.
    fn bell(&self) -> &Arc<Bell>;

    /// Opens this shard's own SO_REUSEPORT listener.
    fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener>;
    /// Opens the node's socket at this path for this shard too. Who comes there is [`HERE`].
    fn listen_path(&self, path: &Path) -> io::Result<Self::Listener>;
    /// Begins a connection; it is made when [`Stream::poll_writable`] is ready and [`Stream::take_error`] is clean.
    fn connect(&self, source: Option<IpAddr>, to: SocketAddr) -> io::Result<Self::Stream>;
    /// Connects to the Unix socket at this path: at once, or not at all.
    fn connect_path(&self, path: &Path) -> io::Result<Self::Stream>;
    /// Opens a datagram socket connected to `to`.
    fn datagram(&self, to: SocketAddr) -> io::Result<Self::Datagram>;

    /// The addresses of this machine's interfaces, at most [`crate::limits::OWN_ADDRESSES_MAX`]. Asked away from this core.
    fn own_addresses(&self) -> impl Future<Output = io::Result<Vec<IpAddr>>>;
    /// Whether what is sent to an address stays on this machine. For where the list of its addresses cannot be had.
    fn leads_here(&self, address: IpAddr) -> io::Result<bool>;
    /// Whether this machine knows a way to an address, by its own table: nothing is sent, and what hosts and routers say does not count.
    fn knows_way(&self, to: IpAddr) -> bool;

    /// Whether connections may be made from an address: this machine has it.
    fn has_address(&self, address: IpAddr) -> io::Result<bool>;

    /// Names of the entries of a directory. Blocks: start-up only.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory (and its parents); syncs the names in it, and its own. Blocks: start-up only.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;
    /// Opens an existing segment file for writing. Blocks: start-up only.
    fn open_segment(&self, path: &Path) -> io::Result<Self::Segment>;
    /// Creates a segment of `size` zero bytes; ready when zeroes, size and directory entry are synced. Where `beside` is on the same file system,
    /// some room is left there for what is written to it (`files::spare_bytes`), else that counts as a full disk.
    fn create_segment(
        &self,
        path: &Path,
        size: u64,
        beside: Option<&Path>,
    ) -> impl Future<Output = io::Result<Self::Segment>>;
    /// Reads `length` bytes at `offset` of any lane's segment without touching the map (an unreadable page is an
    /// error here, and would be a SIGBUS there). For bytes that may not be resident.
    fn read(
        &self,
        segment: &SegmentMap,
        offset: u64,
        length: usize,
    ) -> impl Future<Output = io::Result<Vec<u8>>>;
    /// The same, blocking: start-up only.
    fn read_now(&self, segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Whether a test planted this defect, and it shows now. False wherever mail is real: a constant, of which the compiler
    /// leaves nothing. Only the simulator answers otherwise, to prove that its tests would find such a defect.
    #[inline(always)]
    fn planted(&self, _defect: Defect) -> bool {
        false
    }
}

/// Which of the node's threads compute something: each urgency has some of its own, and a bound on what waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// For those who are known: first come, first served.
    Prompt,
    /// For those who are not. Threads of the above take it too when they are idle: while all is calm, or else now and then one of rank 0.
    Ordinary,
    /// For what is probably in vain: on cores that nobody else wants just now, or, now and then, by idle threads of the above.
    Spare,
}

impl Urgency {
    pub(in crate::runtime) const COUNT: usize = 3;

    pub(in crate::runtime) fn waiting_max(self, calm: bool) -> usize {
        match self {
            Urgency::Prompt => limits::COMPUTE_PROMPT_MAX,
            Urgency::Ordinary if calm => limits::COMPUTE_PROMPT_MAX,
            Urgency::Ordinary | Urgency::Spare => limits::COMPUTE_WAITING_MAX,
        }
    }

    /// Whose work its threads do when they have none of their own.
    pub(in crate::runtime) fn helps(self) -> Option<Urgency> {
        match self {
            Urgency::Prompt => Some(Urgency::Ordinary),
            Urgency::Ordinary => Some(Urgency::Spare),
            Urgency::Spare => None,
        }
    }
}

/// What is computed before what.
#[derive(Clone, Copy, Debug)]
pub struct Priority {
    /// By which threads.
    pub urgency: Urgency,
    /// The lowest that waits for these is next. Where too many do, the highest is refused.
    pub rank: u32,
    /// Nobody attacks: more may wait, for longer, and it is done in the order in which it came, whatever its rank. The latest word
    /// holds for all that waits.
    pub calm: bool,
}

/// Why something was not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncomputed {
    /// Too much waits, or it waited too long.
    Full,
    /// It panicked, or there is nobody to do it: our fault.
    Failed,
}

/// A byte stream.
pub trait Stream: 'static {
    /// Receives what is there, at most `buffer.len()` bytes. `Ok(0)` is the end of the stream.
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Sends a prefix of the concatenation of `parts` in one system call.
    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Ready when `try_recv` may bring bytes, the end, or an error.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()>;
    /// Ready when `try_send` may take bytes, or the connection attempt ended.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()>;
    /// Whether what comes is to wake anybody. What came while it was not is told when it is again.
    fn listen(&self, _on: bool) {}
    /// Takes the socket's pending error (the result of a connection attempt).
    fn take_error(&self) -> io::Result<()>;
    /// Closes one or both directions.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// Has what was sent and not taken yet thrown away, and the connection reset, when this is dropped.
    fn abort(&self) -> io::Result<()>;
    /// Bytes that were sent and that the peer's side has not acknowledged; None: nobody knows.
    fn unacknowledged(&self) -> Option<usize> {
        None
    }
    /// The address of this end.
    fn local_address(&self) -> io::Result<SocketAddr>;
}

/// A listening socket.
pub trait Listener: 'static {
    /// What it accepts.
    type Stream: Stream;
    /// Takes one connection from the queue, or `WouldBlock`.
    fn try_accept(&self) -> io::Result<(Self::Stream, SocketAddr)>;
    /// Ready when `try_accept` may bring one.
    fn poll_acceptable(&self, context: &mut Context<'_>) -> Poll<()>;
    /// The bound address (port 0 resolved).
    fn local_address(&self) -> io::Result<SocketAddr>;
    /// Whether a supervisor keeps it open when this process ends: who waits there is served by the next.
    fn is_kept(&self) -> bool {
        false
    }
}

/// A connected datagram socket.
pub trait Datagram: 'static {
    /// Sends one datagram.
    fn try_send(&self, datagram: &[u8]) -> io::Result<()>;
    /// Receives one datagram.
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Ready when `try_recv` may bring one.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()>;
}

/// Proof that everything appended to a segment before the call of [`Segment::sync`] is on stable storage.
/// Only a runtime makes one, and nothing else can mint a `Durable` (`spool`).
#[derive(Debug)]
#[must_use = "a sync nobody reads the result of protects nothing"]
pub struct Synced(pub(in crate::runtime) ());

#[cfg(test)]
impl Synced {
    /// For unit tests of what wants a proof and has no disk.
    pub(crate) fn pretended() -> Synced {
        Synced(())
    }
}

/// A preallocated file, appended to by one shard and mapped read-only by all.
pub trait Segment: Clone + 'static {
    /// The read-only map, shareable between shards.
    fn map(&self) -> &SegmentMap;
    /// Writes the concatenation of `parts` at `offset`, whole or not at all as far as the caller may rely on.
    fn append(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;
    /// Makes every append so far durable. Awaited to its end; at most one at a time for a segment. If it fails, no later one makes
    /// these durable: what is still wanted of them is to be appended again.
    fn sync(&self) -> impl Future<Output = io::Result<Synced>>;
}
