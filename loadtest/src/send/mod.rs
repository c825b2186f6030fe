//! The client: many connections over a few `epoll` threads, in a closed or an open loop.
//!
//! Closed: each connection sends its next message as soon as the last was answered. Open: messages are due at fixed
//! moments whatever the relay does, and latency counts from the moment one was due, so that a stall of the relay is
//! seen by every message it held up. A message is sent once: one that was refused or cut off is not tried again, so
//! that whatever arrives twice was doubled by the relay.

mod session;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use hdrhistogram::Histogram;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::journal::Journal;
use crate::ledger::{Ledger, MESSAGES_MAX, locked, microseconds, run_number};
use crate::message::{self, Maker, Templates};
use crate::mix::{Domains, Recipients, Sizes};
use crate::unfit::Unfit;
use crate::units::Plan;
use crate::{sys, tls};

/// When a sender stops by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    /// After this many messages were begun.
    Count(u64),
    /// After this time.
    Time(Duration),
    /// Only when told to.
    Stopped,
}

/// How a sender secures its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    #[default]
    Off,
    /// By STARTTLS (RFC 3207); a server without it is not used.
    StartTls,
    /// From the first byte.
    Implicit,
}

/// Clients that send as over a thin line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slow {
    /// Their share of the connections, 0 to 1.
    pub share: f64,
    /// How fast they are.
    pub bytes_per_second: u32,
}

impl std::str::FromStr for Slow {
    type Err = Unfit;

    /// `SHARE@BYTES`, as in `0.2@5000`.
    fn from_str(text: &str) -> Result<Slow, Unfit> {
        let (share, bytes) = text.split_once('@').unwrap_or((text, ""));
        match (share.parse(), bytes.parse()) {
            (Ok(share), Ok(bytes_per_second)) if (0.0..=1.0).contains(&share) && bytes_per_second >= 20 => {
                Ok(Slow { share, bytes_per_second })
            }
            _ => Err(Unfit::new(format!(
                "`{text}`: write SHARE@BYTES a second, at least 20, as in `0.2@5000`"
            ))),
        }
    }
}

/// What to send where. Made with [`SendConfig::new`]; the rest has defaults.
#[derive(Clone)]
#[non_exhaustive]
pub struct SendConfig {
    /// Connections go to these in turn.
    pub targets: Vec<SocketAddr>,
    /// How many, at least 1.
    pub connections: usize,
    /// Threads, at least 1; connections are spread over them in turn.
    pub threads: usize,
    /// When messages of an open loop are due; None is a closed loop.
    pub rate: Option<Plan>,
    /// When to stop.
    pub until: Until,
    /// Of messages.
    pub sizes: Sizes,
    /// Of each message.
    pub recipients: Recipients,
    /// Where recipients are.
    pub domains: Domains,
    /// Whether to send the envelope at once where PIPELINING is offered.
    pub pipelining: bool,
    /// Whether to send content by BDAT (RFC 3030); a server without CHUNKING is not used.
    pub chunking: bool,
    /// Whether to speak TLS.
    pub tls: Tls,
    /// Authorities to trust, a PEM file; none: whatever certificate is shown.
    pub authorities: Option<PathBuf>,
    /// The name to ask for and to find in the certificate; none: the address.
    pub server_name: Option<String>,
    /// User and password for AUTH PLAIN (RFC 4616).
    pub account: Option<(String, String)>,
    /// A directory of `.eml` files to send in place of made messages; `sizes` is then not heeded.
    pub messages: Option<PathBuf>,
    /// Some connections are slow.
    pub slow: Option<Slow>,
    /// Addresses to send from, one after the other; none: what the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// Messages after which a connection is closed and made again.
    pub per_connection: Option<u64>,
    /// Longest wait for a server that says nothing, and for all to end after the last message was begun.
    pub timeout: Duration,
    /// What chance is drawn from.
    pub seed: u64,
    /// A file to write every acknowledgement to before it counts ([`crate::journal`]).
    pub journal: Option<PathBuf>,
    ledger: Option<Arc<Ledger>>,
}

impl SendConfig {
    /// Ten connections in a closed loop until stopped, with the mixes of bulk mail.
    pub fn new(targets: Vec<SocketAddr>) -> SendConfig {
        SendConfig {
            targets,
            connections: 10,
            threads: 1,
            rate: None,
            until: Until::Stopped,
            sizes: Sizes::Mix,
            recipients: Recipients::between(1, 1),
            domains: Domains::providers(),
            pipelining: true,
            chunking: false,
            tls: Tls::Off,
            authorities: None,
            server_name: None,
            account: None,
            messages: None,
            slow: None,
            sources: Vec::new(),
            per_connection: None,
            timeout: Duration::from_secs(60),
            seed: 1,
            journal: None,
            ledger: None,
        }
    }

    /// The ledger the run will be recorded in. A sink in the same process is to [`watch`](crate::Sink::watch) it
    /// before the run starts. `recipients` must not change afterwards.
    pub fn ledger(&mut self) -> Arc<Ledger> {
        let ledger = self.ledger.get_or_insert_with(|| {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
            let random = crate::random::Random::for_item(wall, u64::from(std::process::id())).bits();
            Arc::new(Ledger::new(run_number(random, self.recipients.most())))
        });
        Arc::clone(ledger)
    }
}

/// A running sender. Dropping it stops it.
pub struct Sender {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    started: u64,
}

/// What the threads of a sender have in common.
struct Shared {
    config: SendConfig,
    ledger: Arc<Ledger>,
    maker: Maker,
    wants: session::Wants,
    tls: Option<Arc<ClientConfig>>,
    server_name: Option<ServerName<'static>>,
    /// The next message of a closed loop.
    next: AtomicU64,
    /// Begin no more messages.
    stop: AtomicBool,
    started: u64,
    tallies: Vec<Tally>,
}

/// The counters of one thread, on cache lines of their own.
#[repr(align(128))]
struct Tally {
    open: AtomicU64,
    connects: AtomicU64,
    connects_failed: AtomicU64,
    tempfails: AtomicU64,
    rejects: AtomicU64,
    broken: AtomicU64,
    missed: AtomicU64,
    bytes: AtomicU64,
    cpu_nanoseconds: AtomicU64,
    ended: AtomicU64,
    latency: Mutex<Histogram<u64>>,
    connect: Mutex<Histogram<u64>>,
    answer: Mutex<Histogram<u64>>,
}

impl Tally {
    fn new() -> Tally {
        let zero = AtomicU64::default;
        Tally {
            open: zero(),
            connects: zero(),
            connects_failed: zero(),
            tempfails: zero(),
            rejects: zero(),
            broken: zero(),
            missed: zero(),
            bytes: zero(),
            cpu_nanoseconds: zero(),
            ended: zero(),
            latency: Mutex::new(microseconds()),
            connect: Mutex::new(microseconds()),
            answer: Mutex::new(microseconds()),
        }
    }

    /// Only its own thread writes a tally, so a load and a store do for an atomic addition.
    fn add(counter: &AtomicU64, more: u64) {
        counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }
}

/// What a sender did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Progress {
    /// Messages begun.
    pub sent: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Recipients acknowledged.
    pub recipients: u64,
    /// Messages answered 4xx.
    pub tempfails: u64,
    /// Messages answered 5xx.
    pub rejects: u64,
    /// Messages whose connection was lost before they were answered: they may or may not arrive.
    pub broken: u64,
    /// Messages of an open loop that were due, but for which no connection became free in time.
    pub missed: u64,
    /// Bytes of acknowledged messages, as on the wire.
    pub bytes: u64,
    /// Connections greeted by the server.
    pub connects: u64,
    /// Connections that could not be made, or were closed before a greeting.
    pub connects_failed: u64,
    /// Connections open now.
    pub open: u64,
}

/// What a sender did, all told.
#[derive(Clone)]
pub struct Outcome {
    /// The counters.
    pub progress: Progress,
    /// From the start to the end of the last thread.
    pub elapsed: Duration,
    /// From due to acknowledged, microseconds.
    pub latency: Histogram<u64>,
    /// From begun to acknowledged: what a client that only sends when it can would have seen.
    pub answer: Histogram<u64>,
    /// From the start of a connection until a transaction may begin: TCP, greeting, EHLO, TLS, AUTH.
    pub connect: Histogram<u64>,
    /// Processor time of the sender's threads.
    pub cpu: Duration,
}

impl Sender {
    /// Starts sending.
    pub fn start(mut config: SendConfig) -> io::Result<Sender> {
        let invalid = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what.to_owned()));
        if config.targets.is_empty() || config.connections == 0 {
            return invalid("a sender needs a target and at least one connection");
        }
        let ledger = config.ledger();
        if ledger.recipients() < config.recipients.most() {
            return invalid("the number of recipients grew after the ledger was made");
        }
        let count = config.threads.clamp(1, config.connections);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let templates = match &config.messages {
            Some(directory) => Templates::from_directory(directory)?,
            None => Templates::new(&config.sizes, config.seed),
        };
        let maker = Maker {
            run: ledger.run(),
            recipients: config.recipients.clone(),
            seed: config.seed,
            templates,
            domains: config.domains.clone(),
            date: message::date(wall),
            chunking: config.chunking,
        };
        let journal = config.journal.as_deref().map(Journal::open).transpose()?;
        let started = sys::now();
        let shared = Arc::new(Shared {
            wants: wants(&config),
            tls: client(&config)?,
            server_name: config.server_name.as_deref().map(tls::server_name).transpose()?,
            config,
            ledger,
            maker,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            started,
            tallies: (0..count).map(|_| Tally::new()).collect(),
        });
        let workers = (0..count)
            .map(|lane| worker::Worker::new(lane, count, &shared, journal.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let mut sender = Sender { shared, threads: Vec::with_capacity(count), started };
        for (lane, worker) in workers.into_iter().enumerate() {
            let name = format!("load-send-{lane}");
            sender.threads.push(std::thread::Builder::new().name(name).spawn(move || worker.run())?);
        }
        Ok(sender)
    }

    /// The record of the run.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.shared.ledger
    }

    /// What it did so far.
    pub fn progress(&self) -> Progress {
        let sum = |counter: fn(&Tally) -> &AtomicU64| {
            self.shared.tallies.iter().map(|tally| counter(tally).load(Ordering::Relaxed)).sum()
        };
        let sums = self.shared.ledger.sums();
        Progress {
            sent: sums.sent,
            acknowledged: sums.acknowledged,
            recipients: sums.acknowledged_recipients,
            tempfails: sum(|tally| &tally.tempfails),
            rejects: sum(|tally| &tally.rejects),
            broken: sum(|tally| &tally.broken),
            missed: sum(|tally| &tally.missed),
            bytes: sum(|tally| &tally.bytes),
            connects: sum(|tally| &tally.connects),
            connects_failed: sum(|tally| &tally.connects_failed),
            open: sum(|tally| &tally.open),
        }
    }

    /// From due to acknowledged so far, microseconds.
    pub fn latency(&self) -> Histogram<u64> {
        self.histogram(|tally| &tally.latency)
    }

    fn histogram(&self, of: impl Fn(&Tally) -> &Mutex<Histogram<u64>>) -> Histogram<u64> {
        let mut sum = microseconds();
        for tally in &self.shared.tallies {
            // Cannot fail: all have the same bounds.
            let _ = sum.add(&*locked(of(tally)));
        }
        sum
    }

    /// Files of the directory of messages that could not be used.
    pub fn messages_skipped(&self) -> usize {
        self.shared.maker.templates.skipped
    }

    /// When it started, on the clock of [`crate::sys::now`].
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(sys::now().saturating_sub(self.started))
    }

    /// Whether all its threads ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Begins no more messages. Those under way are finished; [`Sender::finish`] waits for them.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }

    /// Waits until it stops by itself, or after [`Sender::stop`]. The error is of the journal, of `epoll`, or of a
    /// server nobody could talk to for the configured timeout.
    pub fn finish(mut self) -> io::Result<Outcome> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let panicked = |_| Err(io::Error::other("a thread of the sender panicked"));
            result = result.and(thread.join().unwrap_or_else(panicked));
        }
        result?;
        let sum = |counter: fn(&Tally) -> &AtomicU64| {
            self.shared.tallies.iter().map(move |tally| counter(tally).load(Ordering::Relaxed))
        };
        let ended = sum(|tally| &tally.ended).max().unwrap_or(0);
        Ok(Outcome {
            progress: self.progress(),
            elapsed: Duration::from_nanos(ended.saturating_sub(self.started)),
            latency: self.latency(),
            answer: self.histogram(|tally| &tally.answer),
            connect: self.histogram(|tally| &tally.connect),
            cpu: Duration::from_nanos(sum(|tally| &tally.cpu_nanoseconds).sum()),
        })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// The most messages this run may begin.
    fn count_max(&self) -> u64 {
        match self.config.until {
            Until::Count(count) => count.min(MESSAGES_MAX),
            _ => MESSAGES_MAX,
        }
    }

    /// When no more are begun.
    fn end(&self) -> u64 {
        match self.config.until {
            Until::Time(time) => {
                self.started.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
            }
            _ => u64::MAX,
        }
    }
}

fn wants(config: &SendConfig) -> session::Wants {
    let auth = config.account.as_ref().map(|(user, password)| {
        let initial = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"));
        Arc::from(format!("AUTH PLAIN {initial}\r\n").into_bytes())
    });
    session::Wants {
        pipelining: config.pipelining,
        starttls: config.tls == Tls::StartTls,
        chunking: config.chunking,
        auth,
    }
}

fn client(config: &SendConfig) -> io::Result<Option<Arc<ClientConfig>>> {
    match (&config.authorities, config.tls) {
        (_, Tls::Off) => Ok(None),
        (Some(authorities), _) => tls::strict_client(authorities).map(Some),
        (None, _) => tls::trusting_client().map(Some),
    }
}
