//! The receiving internet: an SMTP server that takes mail as fast as it comes and remembers only what arrived.
//!
//! Each thread is one `epoll` loop with many connections. A thread listens on some of the addresses and gives the
//! connections it accepts to all threads in turn, so that few connections load the threads evenly.

mod behaviour;
mod content;
mod context;
mod receive;
mod replies;
mod session;
mod sites;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::Waker;
use rustls::ServerConfig;

pub use behaviour::{Action, Behaviour, Point, Rule, Security};
pub use replies::Texts;
pub use sites::{SITES_MAX, Site, Taken};

use crate::journal::Journal;
use crate::ledger::{Ledger, locked, microseconds};
use crate::tls::Authority;
use sites::{Gate, Responsible};

/// Runs a sink makes ledgers for on its own; mail of further ones counts as unknown.
pub const RUNS_MAX: usize = 64;
/// Connections waiting to be accepted, per address.
const BACKLOG: i32 = 4096;

/// Where and how a sink listens. Made with [`SinkConfig::new`]; the rest has defaults.
#[derive(Clone)]
#[non_exhaustive]
pub struct SinkConfig {
    /// What it pretends to be; at least one.
    pub sites: Vec<Site>,
    /// Threads, at least 1.
    pub threads: usize,
    /// Who vouches for the certificates of sites that speak TLS; made when needed.
    pub authority: Option<Arc<Authority>>,
    /// Names in those certificates, besides the addresses.
    pub names: Vec<String>,
    /// What chance is drawn from.
    pub seed: u64,
    /// Whether runs that nobody told the sink of get a ledger (see [`Sink::ledgers`]) or count as unknown.
    pub adopt: bool,
    /// A file to write every receipt to before it is acknowledged ([`crate::journal`]).
    pub journal: Option<PathBuf>,
}

impl SinkConfig {
    /// One thread, one site without misbehaviour.
    pub fn new(addresses: Vec<SocketAddr>) -> SinkConfig {
        SinkConfig::of_sites(vec![Site::new("sink", addresses)])
    }

    /// One thread, these sites.
    pub fn of_sites(sites: Vec<Site>) -> SinkConfig {
        SinkConfig {
            sites,
            threads: 1,
            authority: None,
            names: Vec::new(),
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
    /// Counts up when `ledgers` or `behaviours` changes; a thread then copies both.
    generation: AtomicU64,
    ledgers: Mutex<Vec<Arc<Ledger>>>,
    /// One a site.
    behaviours: Mutex<Arc<[Behaviour]>>,
    gates: Vec<Gate>,
    responsible: Responsible,
    tls: Option<Arc<ServerConfig>>,
    /// Those of one thread after those of another, one a site.
    tallies: Vec<Tally>,
    /// One a thread.
    cpu_nanoseconds: Vec<AtomicU64>,
    adopt: bool,
}

/// The counters of one thread for one site, on cache lines of their own.
#[derive(Debug)]
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
    unsure: AtomicU64,
    attempts: AtomicU64,
    throttled: AtomicU64,
    turned_away: AtomicU64,
    overlong: AtomicU64,
    /// From due to received, microseconds.
    latency: Mutex<Histogram<u64>>,
}

/// What a sink received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
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
    /// Recipients taken whose reply was lost: the client may rightly come again.
    pub unsure: u64,
    /// Messages begun: MAIL was said where it may be.
    #[serde(default)]
    pub attempts: u64,
    /// Those refused because too many came of that client in a time.
    #[serde(default)]
    pub throttled: u64,
    /// Connections refused because the client had too many.
    #[serde(default)]
    pub turned_away: u64,
    /// Messages refused because their connection had carried as many as one may.
    #[serde(default)]
    pub overlong: u64,
}

impl Default for Tally {
    fn default() -> Tally {
        let zero = AtomicU64::default;
        Tally {
            connections: zero(),
            open: zero(),
            messages: zero(),
            recipients: zero(),
            bytes: zero(),
            unknown: zero(),
            bounces: zero(),
            tempfails: zero(),
            rejects: zero(),
            disconnects: zero(),
            protocol_errors: zero(),
            unsure: zero(),
            attempts: zero(),
            throttled: zero(),
            turned_away: zero(),
            overlong: zero(),
            latency: Mutex::new(microseconds()),
        }
    }
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
            unsure: read(&self.unsure),
            attempts: read(&self.attempts),
            throttled: read(&self.throttled),
            turned_away: read(&self.turned_away),
            overlong: read(&self.overlong),
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
            unsure: self.unsure + other.unsure,
            attempts: self.attempts + other.attempts,
            throttled: self.throttled + other.throttled,
            turned_away: self.turned_away + other.turned_away,
            overlong: self.overlong + other.overlong,
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
        let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if config.sites.iter().all(|site| site.addresses.is_empty()) {
            return invalid("a sink needs an address".to_owned());
        }
        if config.sites.len() > SITES_MAX {
            return invalid(format!("a sink has at most {SITES_MAX} sites"));
        }
        let mut listeners = Vec::new();
        for (site, address) in config
            .sites
            .iter()
            .enumerate()
            .flat_map(|(at, site)| site.addresses.iter().map(move |one| (at, one)))
        {
            let listener = listen(*address)
                .map_err(|error| io::Error::new(error.kind(), format!("listen on {address}: {error}")))?;
            listeners.push((site, listener));
        }
        let addresses =
            listeners.iter().map(|(_, listener)| listener.local_addr()).collect::<io::Result<Vec<_>>>()?;
        let count = config.threads.max(1);
        let behaviours: Arc<[Behaviour]> = config.sites.iter().map(|site| site.behaviour.clone()).collect();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            generation: AtomicU64::new(1),
            ledgers: Mutex::new(Vec::new()),
            gates: config.sites.iter().map(|_| Gate::default()).collect(),
            responsible: Responsible::new(&config.sites),
            tls: server(&config, &addresses)?,
            tallies: (0..count * config.sites.len()).map(|_| Tally::default()).collect(),
            cpu_nanoseconds: (0..count).map(|_| AtomicU64::default()).collect(),
            behaviours: Mutex::new(behaviours),
            adopt: config.adopt,
        });
        let journal = config.journal.as_deref().map(Journal::open).transpose()?;
        let mut workers = worker::Worker::family(count, &shared, config.seed, journal.as_ref())?;
        for (at, (site, listener)) in listeners.into_iter().enumerate() {
            workers[at % count].listen(listener, site)?;
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

    /// Changes how a site, by its position, behaves from now on. Whether it speaks TLS at all was decided at the start.
    pub fn behave(&self, site: usize, behaviour: Behaviour) {
        let mut behaviours = locked(&self.shared.behaviours);
        let mut changed = behaviours.to_vec();
        if let Some(old) = changed.get_mut(site) {
            *old = behaviour;
        }
        *behaviours = changed.into();
        self.shared.generation.fetch_add(1, Ordering::Release);
        for (_, waker) in &self.threads {
            // If it fails, the thread looks within 100 ms.
            let _ = waker.wake();
        }
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

    /// What one site, by its position, received so far.
    pub fn site_counters(&self, site: usize) -> Counts {
        self.site_tallies(site).map(Tally::counts).fold(Counts::default(), |sum, counts| sum + counts)
    }

    /// From due to received at one site, microseconds.
    pub fn site_latency(&self, site: usize) -> Histogram<u64> {
        let mut sum = microseconds();
        for tally in self.site_tallies(site) {
            // Cannot fail: all have the same bounds.
            let _ = sum.add(&*locked(&tally.latency));
        }
        sum
    }

    /// When one site took its messages.
    pub fn site_taken(&self, site: usize) -> Taken {
        self.shared.gates.get(site).map_or_else(Taken::default, Gate::taken)
    }

    /// The most connections one site had at one time.
    pub fn site_connections_peak(&self, site: usize) -> u64 {
        self.shared.gates.get(site).map_or(0, Gate::peak)
    }

    fn site_tallies(&self, site: usize) -> impl Iterator<Item = &Tally> {
        self.shared.tallies.iter().skip(site).step_by(self.shared.gates.len().max(1))
    }

    /// Recipients reached so far.
    pub fn received(&self) -> u64 {
        self.counters().recipients
    }

    /// Processor time its threads used, as of at most 100 ms ago.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(
            self.shared.cpu_nanoseconds.iter().map(|used| used.load(Ordering::Relaxed)).sum(),
        )
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

/// The TLS side of the sites, if one of them has it.
fn server(config: &SinkConfig, addresses: &[SocketAddr]) -> io::Result<Option<Arc<ServerConfig>>> {
    if config.authority.is_none() && config.sites.iter().all(|site| site.behaviour.security == Security::None)
    {
        return Ok(None);
    }
    let authority = match &config.authority {
        Some(authority) => Arc::clone(authority),
        None => Arc::new(Authority::new()?),
    };
    let mut names = config.names.clone();
    names.push("localhost".to_owned());
    let mut hosts: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    hosts.sort_unstable();
    hosts.dedup();
    names.extend(hosts.iter().map(IpAddr::to_string));
    authority.server(&names).map(Some)
}
