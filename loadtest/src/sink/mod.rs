//! The receiving internet: an SMTP server that takes mail as fast as it comes and remembers only what arrived.
//!
//! Each thread is one `epoll` loop with many connections. A thread listens on some of the addresses and deals the
//! connections it accepts to all threads in turn, so that few connections load the threads evenly.

mod behaviour;
mod session;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;

pub use behaviour::{Action, Behaviour, Point, Rule};

use crate::journal::Journal;
use crate::ledger::{Ledger, locked};

/// Runs a sink makes ledgers for on its own; mail of further ones counts as unknown.
pub const RUNS_MAX: usize = 64;
/// Connections waiting to be accepted, per address.
const BACKLOG: i32 = 4096;

/// Where and how a sink listens. Made with [`SinkConfig::new`]; the rest has defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkConfig {
    /// Addresses; port 0 lets the kernel choose.
    pub addresses: Vec<SocketAddr>,
    /// Threads, at least 1.
    pub threads: usize,
    /// Of every address without one of its own.
    pub behaviour: Behaviour,
    /// Behaviours of single addresses, by position in `addresses`.
    pub exceptions: Vec<(usize, Behaviour)>,
    /// What chance is drawn from.
    pub seed: u64,
    /// Whether runs that nobody told the sink of get a ledger (see [`Sink::ledgers`]) or count as unknown.
    pub adopt: bool,
    /// A file to write every receipt to before it is acknowledged ([`crate::journal`]).
    pub journal: Option<PathBuf>,
}

impl SinkConfig {
    /// One thread, no misbehaviour.
    pub fn new(addresses: Vec<SocketAddr>) -> SinkConfig {
        SinkConfig {
            addresses,
            threads: 1,
            behaviour: Behaviour::default(),
            exceptions: Vec::new(),
            seed: 1,
            adopt: true,
            journal: None,
        }
    }
}

/// A running sink. Dropping it stops it.
pub struct Sink {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    threads: Vec<(JoinHandle<()>, Arc<Waker>)>,
}

/// What the threads of a sink have in common.
struct Shared {
    stop: AtomicBool,
    /// Counts up when `ledgers` changes; a thread then copies the list.
    generation: AtomicU64,
    ledgers: Mutex<Vec<Arc<Ledger>>>,
    tallies: Vec<Tally>,
    adopt: bool,
}

/// The counters of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Tally {
    connections: AtomicU64,
    open: AtomicU64,
    messages: AtomicU64,
    recipients: AtomicU64,
    bytes: AtomicU64,
    unknown: AtomicU64,
    bounces: AtomicU64,
    tempfails: AtomicU64,
    rejects: AtomicU64,
    disconnects: AtomicU64,
    protocol_errors: AtomicU64,
    cpu_nanoseconds: AtomicU64,
}

/// What a sink received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Messages taken (transactions answered 250 after the dot).
    pub messages: u64,
    /// Recipients of those.
    pub recipients: u64,
    /// Bytes of their content, dot-stuffing removed.
    pub bytes: u64,
    /// Messages among them without a usable id of ours.
    pub unknown: u64,
    /// Messages among them addressed to the sender of one of ours.
    pub bounces: u64,
    /// 4xx replies given on purpose.
    pub tempfails: u64,
    /// 5xx replies given on purpose.
    pub rejects: u64,
    /// Connections closed on purpose.
    pub disconnects: u64,
    /// Commands not understood.
    pub protocol_errors: u64,
}

impl Tally {
    /// Only its own thread writes a tally, so a load and a store do for an atomic addition.
    fn add(counter: &AtomicU64, more: u64) {
        counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connections: read(&self.connections),
            open: read(&self.open),
            messages: read(&self.messages),
            recipients: read(&self.recipients),
            bytes: read(&self.bytes),
            unknown: read(&self.unknown),
            bounces: read(&self.bounces),
            tempfails: read(&self.tempfails),
            rejects: read(&self.rejects),
            disconnects: read(&self.disconnects),
            protocol_errors: read(&self.protocol_errors),
        }
    }
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            connections: self.connections + other.connections,
            open: self.open + other.open,
            messages: self.messages + other.messages,
            recipients: self.recipients + other.recipients,
            bytes: self.bytes + other.bytes,
            unknown: self.unknown + other.unknown,
            bounces: self.bounces + other.bounces,
            tempfails: self.tempfails + other.tempfails,
            rejects: self.rejects + other.rejects,
            disconnects: self.disconnects + other.disconnects,
            protocol_errors: self.protocol_errors + other.protocol_errors,
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Ledger>>> {
        locked(&self.ledgers)
    }

    /// The ledger of a run, a new one if the sink adopts runs.
    fn ledger(&self, run: u64) -> Option<Arc<Ledger>> {
        let mut ledgers = self.lock();
        if let Some(found) = ledgers.iter().find(|ledger| ledger.run() == run) {
            return Some(Arc::clone(found));
        }
        if !self.adopt || ledgers.len() >= RUNS_MAX {
            return None;
        }
        let ledger = Arc::new(Ledger::new(run));
        ledgers.push(Arc::clone(&ledger));
        self.generation.fetch_add(1, Ordering::Release);
        Some(ledger)
    }
}

impl Sink {
    /// Binds the addresses and starts the threads. The error of a bind names its address.
    pub fn start(config: SinkConfig) -> io::Result<Sink> {
        if config.addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a sink needs an address"));
        }
        let listeners = config
            .addresses
            .iter()
            .map(|address| {
                listen(*address)
                    .map_err(|error| io::Error::new(error.kind(), format!("listen on {address}: {error}")))
            })
            .collect::<io::Result<Vec<TcpListener>>>()?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;

        let count = config.threads.max(1);
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            ledgers: Mutex::new(Vec::new()),
            tallies: (0..count).map(|_| Tally::default()).collect(),
            adopt: config.adopt,
        });
        let behaviours: Arc<[Behaviour]> = (0..listeners.len())
            .map(|at| {
                let own = config.exceptions.iter().find(|(address, _)| *address == at);
                own.map_or(&config.behaviour, |(_, behaviour)| behaviour).clone()
            })
            .collect();
        let journal = config.journal.as_deref().map(Journal::open).transpose()?;
        let mut workers = worker::Worker::family(count, &shared, &behaviours, config.seed, journal.as_ref())?;
        for (at, listener) in listeners.into_iter().enumerate() {
            workers[at % count].listen(listener, at)?;
        }
        let mut sink = Sink { addresses, shared, threads: Vec::with_capacity(count) };
        for (at, worker) in workers.into_iter().enumerate() {
            let waker = worker.waker();
            let thread =
                std::thread::Builder::new().name(format!("load-sink-{at}")).spawn(move || worker.run())?;
            sink.threads.push((thread, waker));
        }
        Ok(sink)
    }

    /// The addresses it listens on, in the order given, ports resolved.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Records the mail of this ledger's run in it. To be called before that mail arrives.
    pub fn watch(&self, ledger: Arc<Ledger>) {
        self.shared.lock().push(ledger);
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    /// The ledgers of all runs it knows, adopted ones included.
    pub fn ledgers(&self) -> Vec<Arc<Ledger>> {
        self.shared.lock().clone()
    }

    /// What it received so far.
    pub fn counters(&self) -> Counts {
        self.shared.tallies.iter().map(Tally::counts).fold(Counts::default(), |sum, counts| sum + counts)
    }

    /// Recipients reached so far.
    pub fn received(&self) -> u64 {
        self.counters().recipients
    }

    /// Processor time its threads used, as of at most 100 ms ago.
    pub fn cpu(&self) -> Duration {
        let sum = self.shared.tallies.iter().map(|tally| tally.cpu_nanoseconds.load(Ordering::Relaxed)).sum();
        Duration::from_nanos(sum)
    }

    /// Closes everything, joins the threads, and returns the last counts.
    pub fn stop(mut self) -> Counts {
        self.end();
        self.counters()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for (thread, waker) in self.threads.drain(..) {
            // If the wake-up fails the thread still looks at the flag within 100 ms.
            let _ = waker.wake();
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
