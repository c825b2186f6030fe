//! Everything off the message path. Threads beside the shards: `relevo-control` serves HTTP and looks after the shards, `relevo-journal`
//! and `relevo-keep` look after the journal of events, each `relevo-log` writes a log of it and `relevo-words` standard error, because a disk or a
//! reader may keep each of these waiting. `relevo-decide` decides what is suspended, `relevo-lists` asks lists of others about our addresses, `relevo-service` answers
//! commands on a socket (`api`); it asks shards by their own bounded queues, not by way of `relevo-control`, so it cannot delay that
//! thread: metrics and health are answered there.
//! A thread of these that ends without being told to ends the process.

pub mod accounting;
pub mod acme;
mod admin;
pub mod analytics;
pub mod api;
mod asker;
mod askers;
mod blocklists;
mod certificates;
mod cluster;
mod cluster_gauges;
mod decisions;
pub mod erase;
mod error;
mod fleet;
mod guests;
pub mod edits;
mod health;
pub mod hook;
mod http;
pub(crate) mod journal;
mod log;
pub mod logged;
pub mod logins;
mod metrics;
pub mod outlet;
pub mod outward;
mod overview;
mod quota_gauges;
pub mod reload;
pub(crate) mod names;
pub(crate) mod notices;
mod page;
mod pickup;
mod say;
mod reader;
pub mod redis;
mod room;
pub mod sandbox;
mod search;
mod send;
mod service;
mod setup;
mod spare;
mod supervise;
mod templates;
mod public;
pub mod sts;
pub mod store;
pub mod stream;
pub mod streams;
pub mod suppression;
mod thread;
mod upgrade;
pub mod tls_rpt;
pub mod unsubscribe;
pub mod verifier;
mod watch;
pub mod webhook;
mod words;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::observe::families::Family;
use crate::runtime::files::Reserve;
use crate::runtime::given::{self, At, Listed};
use crate::runtime::{local, process};
use crate::time::Instant;

use accounting::Accounting;
pub use certificates::{Showing, ShownCertificate};
pub use error::StartError;
pub use health::Health;
pub use say::say;
pub use setup::{Public, Setup};
use thread::Worker;
pub use upgrade::Upgrade;
pub(crate) use watch::exact;
pub use words::tell_panics;

/// What came of fetching policies of domains, as it is counted.
pub fn fetches() -> Arc<Family> {
    Arc::new(Family::new(&sts::FETCHES))
}

/// What came of orders of certificates, as it is counted.
pub fn acme_orders() -> Arc<Family> {
    Arc::new(Family::new(&acme::ORDERS))
}

/// What rules for replies did, as it is counted.
pub fn fired() -> Arc<Family> {
    Arc::new(Family::new(&decisions::FIRED))
}

/// What came of questions to other nodes, as it is counted.
pub fn nodes_asked() -> Arc<Family> {
    Arc::new(Family::new(&fleet::ASKED))
}

/// What came of files that were dropped, as it is counted.
pub fn picked() -> Arc<Family> {
    Arc::new(Family::new(&pickup::PICKED))
}

/// What came of mail over HTTP, as it is counted.
pub fn handed_in() -> Arc<Family> {
    Arc::new(Family::new(&send::SENT))
}

/// Who unsubscribed, as it is counted.
pub fn unsubscribed() -> Arc<Family> {
    Arc::new(Family::new(&unsubscribe::UNSUBSCRIBED))
}

/// The running threads.
pub struct Control {
    control: Worker,
    service: Option<(Worker, Option<local::File>)>,
    decisions: Worker,
    blocklists: Option<Worker>,
    /// Who keeps what is captured, fetches policies, reports of TLS, orders certificates, asks others about mail that comes in, keeps leases, and tells others who is suppressed.
    askers: [Option<Worker>; 12],
    reader: Worker,
    pages: Option<Worker>,
    senders: Option<Worker>,
    log: Option<Accounting>,
    words: Words,
    reopen: Arc<AtomicU64>,
    /// What it listens on, so that it can be handed on. Last: threads that are left behind still have it.
    listed: Vec<Listed>,
    /// Where HTTP is served, port 0 resolved.
    pub http: Option<SocketAddr>,
}

/// The writer of standard error, which begins before all others and ends last.
pub struct Words(Worker);

impl Words {
    /// Starts it.
    pub fn start(instruments: Vec<Arc<Instruments>>, health: Arc<Health>) -> Result<Words, StartError> {
        let mut words = words::Words::new(health);
        let worker = Worker::start("relevo-words", move |turn| {
            let since = turn.clock();
            loop {
                let stop = turn.is_over();
                let empty = words.write(&instruments, since());
                if stop && (empty || turn.is_late()) {
                    words.finish();
                    return;
                }
                turn.pause(limits::CONTROL_ROUND);
            }
        });
        worker.map(Words).map_err(StartError::Thread)
    }

    fn stop(self) {
        self.0.stop(limits::LAST_WRITES);
    }
}

/// Starts what writes the log.
fn start_log(
    opened: accounting::Opened,
    setup: &Setup,
    (reserve, reopen): (&Arc<Reserve>, &Arc<AtomicU64>),
) -> io::Result<Accounting> {
    let webhooks = setup.webhooks.clone().map(|settings| (settings, setup.sent.clone()));
    opened.start(&setup.instruments, (reserve, webhooks), setup.section.journal_size_max, reopen)
}

/// Opens the log and the HTTP port, then starts the threads.
pub fn start(mut setup: Setup) -> Result<Control, StartError> {
    let reserve = Arc::new(Reserve::new(limits::DESCRIPTORS_RESERVED));
    // It keeps what it needs open.
    process::usage();
    let accounting = setup.accounting.take();
    let journal = accounting.as_ref().map(accounting::Opened::shared);
    let counted = accounting.as_ref().map(accounting::Opened::counted);
    let listener = setup.section.http.map(listen).transpose()?;
    let http = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let listeners = pages(&setup)?;
    let of_api = setup.api.map(|(address, _)| listen(address)).transpose()?;
    let network = listener.iter().chain(listeners.iter().map(|(listener, _)| listener)).chain(&of_api);
    let mut listed: Vec<Listed> = network.filter_map(listed).collect();
    let words = Words::start(setup.instruments.clone(), setup.health.clone())?;
    let decided = decisions::open(&setup.data_dir, &setup.mesh, journal.as_ref(), &setup.listed)?;
    let reopen = Arc::new(AtomicU64::new(0));
    let log = accounting.map(|opened| start_log(opened, &setup, (&reserve, &reopen)));
    let log = log.transpose().map_err(StartError::Thread)?;
    let writer = log.as_ref().map(Accounting::writer);
    let chunks = setup.instruments.first().map(|first| first.chunks.clone());
    let barrier = || {
        let (chunks, writer) = chunks.clone().zip(writer.clone())?;
        Some(admin::JournalBarrier::new(chunks, writer))
    };
    let start = decisions::Start {
        mesh: &setup.mesh,
        plans: &setup.warmups,
        teller: admin::Teller::new(&setup.instruments, setup.node, "decisions"),
        fired: setup.fired.clone(),
        suppression: setup.suppression,
        reload: setup.reload.clone(),
    };
    let (decisions, desk, lists, rows) = decisions::start(decided, start).map_err(StartError::Thread)?;
    let templates = templates::Templates::start(rows.clone()).map(Arc::new).map_err(StartError::Thread)?;
    let blocklists = watch_blocklists(&setup, &desk).map_err(StartError::Thread)?;
    let challenges = Arc::<acme::Challenges>::default();
    let unsubscriber = unsubscriber(&setup, (&lists, barrier()), &challenges);
    let reader = reader::start(&setup.mesh, unsubscriber.clone()).map_err(StartError::Thread)?;
    let pages = unsubscriber.filter(|_| !listeners.is_empty());
    let pages = pages.map(|by| public::start(listeners, by, reserve.clone()));
    let pages = pages.transpose().map_err(StartError::Thread)?;
    let senders = take_mail(&setup, of_api, (&templates, rows, &reserve), &counted);
    let senders = senders.map_err(StartError::Thread)?;
    let told = lists.clone();
    let orders = (desk, lists, barrier(), templates);
    let (passing, passed) = http.map(|_| mpsc::channel(limits::API_PASSED)).unzip();
    let service =
        serve_commands(&setup, (http, passed), (&reserve, (&journal, counted)), (orders, &mut listed))?;
    let askers = askers::start(&setup, (challenges, &told)).map_err(StartError::Thread)?;
    let control = Worker::start("relevo-control", move |turn| {
        run(setup, journal, listener.map(|listener| (listener, passing)), &reserve, turn)
    })
    .map_err(StartError::Thread)?;
    Ok(Control {
        control,
        service,
        decisions,
        blocklists,
        askers,
        reader,
        pages,
        senders,
        log,
        words,
        reopen,
        listed,
        http,
    })
}

impl Control {
    /// Opens the log again: it was moved away.
    pub fn reopen_logs(&self) {
        self.reopen.fetch_add(1, Ordering::SeqCst);
        self.log.iter().for_each(Accounting::wake);
    }

    /// Writes what is left of the logs, within a bound, and ends.
    pub fn stop(self) {
        drop(self.listed);
        if let Some((service, file)) = self.service {
            drop(file);
            service.stop(limits::LAST_WRITES);
        }
        self.blocklists.iter().for_each(Worker::end);
        self.decisions.stop(limits::LAST_WRITES);
        for worker in self.askers.into_iter().chain([self.pages, self.senders]).flatten() {
            worker.stop(limits::LAST_WRITES);
        }
        self.reader.stop(limits::LAST_WRITES);
        self.control.stop(limits::LAST_WRITES);
        if let Some(log) = self.log {
            log.stop();
        }
        self.words.stop();
    }
}

/// Starts the thread that asks lists of others about our addresses.
fn watch_blocklists(setup: &Setup, desk: &decisions::Desk) -> io::Result<Option<Worker>> {
    let Some(reload) = setup.reload.clone() else { return Ok(None) };
    let teller = admin::Teller::new(&setup.instruments, setup.node, "blocklists");
    let mut watch = blocklists::Watch::new(reload, desk.clone(), (teller, setup.health.clone()));
    Worker::start("relevo-lists", move |turn| watch.run(turn)).map(Some)
}

/// Starts the thread that takes mail over HTTP.
fn take_mail(
    setup: &Setup,
    listener: Option<TcpListener>,
    (templates, desk, reserve): (&Arc<templates::Templates>, decisions::StoreDesk, &Arc<Reserve>),
    counted: &Counted,
) -> io::Result<Option<Worker>> {
    let Some(((listener, (_, has_tls)), reload)) = listener.zip(setup.api).zip(setup.reload.clone()) else {
        return Ok(None);
    };
    let source = send::Source {
        reload,
        mesh: setup.mesh.clone(),
        health: setup.health.clone(),
        templates: templates.clone(),
        analytics: counted.as_ref().and_then(|(analytics, _)| analytics.clone()),
        desk,
        hostname: setup.hostname.clone(),
        has_tls,
        counts: setup.api_counts.clone(),
    };
    send::start(listener, source, reserve.clone()).map(Some)
}

/// Who puts on the suppression list whoever unsubscribes.
fn unsubscriber(
    setup: &Setup,
    (lists, journaled): (&decisions::ListDesk, Option<admin::JournalBarrier>),
    challenges: &Arc<acme::Challenges>,
) -> Option<Arc<unsubscribe::Unsubscriber>> {
    let settings = setup.public.settings.clone()?;
    let teller = admin::Teller::new(&setup.instruments, setup.node, "unsubscribe");
    let (lists, counts) = (lists.clone(), setup.public.counts.clone());
    let challenges = challenges.clone();
    Some(Arc::new(unsubscribe::Unsubscriber { settings, lists, teller, journaled, counts, challenges }))
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    process::listen_alone(address).map_err(|error| StartError::Http(address, error))
}

/// Says that it is open, so that it can be handed on. Without a descriptor for that it is not.
fn listed(listener: &TcpListener) -> Option<Listed> {
    given::listed_here(At::Network(listener.local_addr().ok()?), None, listener).ok()
}

/// Opens the ports of pages, each with whether TLS is spoken there.
fn pages(setup: &Setup) -> Result<Vec<(TcpListener, bool)>, StartError> {
    let wanted = [(setup.public.https, true), (setup.public.http, false)];
    let wanted = wanted.into_iter().filter_map(|(address, has_tls)| Some((address?, has_tls)));
    wanted.map(|(address, has_tls)| Ok((listen(address)?, has_tls))).collect()
}

/// Opens the socket, and starts the thread that answers commands there and what is asked over HTTP. None: nobody can ask.
fn serve_commands(
    setup: &Setup,
    (http, passed): (Option<SocketAddr>, Option<mpsc::Receiver<http::Passed>>),
    (reserve, (journal, counted)): (&Arc<Reserve>, (&Option<Arc<journal::Shared>>, Counted)),
    (orders, listed): (Orders, &mut Vec<Listed>),
) -> Result<Option<(Worker, Option<local::File>)>, StartError> {
    let opened = setup.section.socket.as_deref().map(|path| {
        let opened = local::listen(path, limits::LOCAL_BACKLOG);
        opened.map_err(|error| StartError::Socket(path.to_owned(), error))
    });
    let opened = opened.transpose().or_else(|problem| {
        // Some file systems have no sockets. Mail does not wait for commands, where nobody asked for them.
        let told = (!setup.section.socket_named).then(|| say(Level::Warning, format_args!("{problem}")));
        told.map(|()| None).ok_or(problem)
    })?;
    // Without a descriptor for it, it is not handed on.
    listed.extend(opened.iter().filter_map(|opened| opened.listed().ok()));
    let (listener, file) = opened.map(local::Local::into_parts).unzip();
    let http = http.zip(passed);
    if listener.is_none() && http.is_none() {
        return Ok(None);
    }
    let hosts = http.as_ref().map(|(address, _)| hosts(setup, *address));
    let (make, reserve) = (maker(setup, (journal.clone(), counted), orders), reserve.clone());
    let worker = Worker::start("relevo-service", move |turn| {
        // Whoever asks without end asks for what mail leaves over.
        process::stand_back();
        let api = make(turn);
        let http = http.zip(hosts).map(|((_, passed), hosts)| {
            let clock = turn.clock();
            let gate = api::gate::Gate::new(api.reload.clone(), move || Instant::default() + clock());
            let searches = Arc::new(api.searches.beside(limits::API_SEARCHES_MAX));
            let open = page::router().merge(templates::frames::router(api.templates.frames.clone()));
            let router = api::guarded(api::answers::Api { searches, ..api.clone() }, Arc::new(gate), open);
            let guarded = axum::middleware::from_fn_with_state(Arc::new(hosts), http::check_host_of_api);
            (passed, router.layer(guarded))
        });
        let seen = (api.overviews.clone(), api.streams.clone());
        let socket = listener.map(|listener| (listener, api::router(api)));
        service::run(service::Serving { socket, http, seen }, reserve, turn);
    });
    Ok(Some((worker.map_err(StartError::Thread)?, file)))
}

/// Those who decide, and the journal that has it before that is answered.
type Orders =
    (decisions::Desk, decisions::ListDesk, Option<admin::JournalBarrier>, Arc<templates::Templates>);

/// What is counted of mail, and where people are named; None: no journal is kept.
type Counted = Option<(Option<Arc<analytics::Analytics>>, Arc<erase::Eraser>)>;

/// Makes on its thread what the handlers are given.
fn maker(
    setup: &Setup,
    (journal, counted): (Option<Arc<journal::Shared>>, Counted),
    (desk, lists, journaled, templates): Orders,
) -> impl FnOnce(&thread::Turn) -> api::answers::Api + Send + use<> {
    let (instruments, health, hostname) =
        (setup.instruments.clone(), setup.health.clone(), setup.hostname.clone());
    let (runtime, node) = (setup.runtime, setup.node);
    let (mesh, reload) = (setup.mesh.clone(), setup.reload.clone());
    let fleet = fleet(setup);
    let data_dir = setup.data_dir.clone();
    let start = u32::from_le_bytes(process::random_bytes());
    move |turn| {
        let clock: Arc<dyn Fn() -> Duration + Send + Sync> = Arc::new(turn.clock());
        let overviews = overview::Overviews::new(overview::Sources {
            asker: asker::Asker::new(mesh.clone(), health.clone(), start),
            instruments: instruments.clone(),
            health: health.clone(),
            reload: reload.clone(),
            journal: journal.clone(),
            hostname: hostname.clone(),
            clock: clock.clone(),
        });
        api::answers::Api {
            streams: streams::Streams::new(overviews.clone(), journal),
            overviews,
            analytics: counted.as_ref().and_then(|(analytics, _)| analytics.clone()),
            eraser: counted.map(|(_, eraser)| eraser),
            searches: Arc::new(search::Searches::new(data_dir.clone(), mesh.lanes())),
            sandbox: Arc::new(sandbox::desk::Desk::new(&data_dir)),
            data_dir,
            id: format!("{node:016x}"),
            room: Arc::default(),
            fleet,
            log_readers: Arc::new(Semaphore::new(limits::LOG_READERS)),
            file_readers: Arc::new(Semaphore::new(limits::FILE_READERS)),
            watchers: Arc::new(Semaphore::new(limits::TRACES_MAX)),
            asker: asker::Asker::new(mesh.clone(), health.clone(), start),
            mesh,
            desk,
            lists,
            templates,
            importing: Arc::default(),
            admin: admin::Teller::new(&instruments, node, "control").map(Arc::new),
            journaled,
            instruments,
            health,
            reload,
            runtime,
            hostname,
            second: Arc::new(move || clock().as_secs()),
        }
    }
}

/// The way to the other nodes.
fn fleet(setup: &Setup) -> Option<Arc<fleet::Fleet>> {
    let (config, settings) = (setup.fleet.clone()?, setup.webhooks.clone()?);
    let own = fleet::Own { id: format!("{:016x}", setup.node), name: setup.hostname.clone() };
    let fleet = fleet::Fleet::new(own, config, (settings, setup.mesh.clone(), setup.nodes_asked.clone()));
    Some(Arc::new(fleet))
}

fn run(
    mut setup: Setup,
    journal: Option<Arc<journal::Shared>>,
    listener: Option<(std::net::TcpListener, Option<http::Passing>)>,
    reserve: &Arc<Reserve>,
    turn: &thread::Turn,
) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return say(Level::Error, format_args!("control cannot run: {error}")),
    };
    let done = runtime.block_on(async {
        if let Some((listener, passing)) = listener {
            let hosts = hosts(&setup, listener.local_addr()?);
            listener.set_nonblocking(true)?;
            let clock = turn.clock();
            let served = http::Served {
                instruments: setup.instruments.clone(),
                journal: journal.clone(),
                runtime: setup.runtime,
                certificates: setup.certificates.clone(),
                reload: setup.reload.clone(),
                counted: [
                    setup.fired.clone(),
                    setup.fetches.clone(),
                    setup.public.counts.clone(),
                    setup.acme_orders.clone(),
                    setup.picked.clone(),
                    setup.api_counts.clone(),
                    setup.sent.webhooks.clone(),
                    setup.sent.streams.clone(),
                    setup.nodes_asked.clone(),
                ]
                .into_iter()
                .chain(setup.reported.families())
                .collect(),
                listed: setup.listed.clone(),
                mesh: setup.mesh.clone(),
                health: setup.health.clone(),
                hosts,
                second: Arc::new(move || clock().as_secs()),
            };
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(http::serve(listener, served, (reserve.clone(), passing)));
        }
        let names = setup.names.take().map(names::Looks::new);
        look_after(&setup, journal.as_deref(), names, reserve, turn).await;
        Ok::<(), io::Error>(())
    });
    if let Err(error) = done {
        say(Level::Error, format_args!("control ends: {error}"));
    }
    // What hangs in the file system is left to itself.
    runtime.shutdown_background();
}

/// By which names the node is asked over HTTP.
fn hosts(setup: &Setup, http: SocketAddr) -> http::Hosts {
    let loopback = http.ip().to_canonical().is_loopback();
    http::Hosts { own: vec![setup.hostname.clone()], reload: setup.reload.clone(), loopback }
}

/// Looks after the shards until the node stops.
async fn look_after(
    setup: &Setup,
    journal: Option<&journal::Shared>,
    mut names: Option<names::Looks>,
    reserve: &Reserve,
    turn: &thread::Turn,
) {
    let clock = turn.clock();
    let (mut pulse, mut refusals) = (watch::Pulse::new(setup.instruments.len()), watch::Refusals::default());
    let (free, mut spare) = (Arc::new(room::RoomProbe::default()), spare::Spare::default());
    let (shards, data_dir, room) = (setup.instruments.clone(), setup.data_dir.clone(), free.clone());
    setup.health.ask_for_shut(Box::new(move || watch::shut_now(&shards, &data_dir, |_| room.there())));
    let mut certificates = certificates::Certificates::new(setup.certificates.clone(), setup.health.clone());
    let mut next = Duration::ZERO;
    while !turn.is_over() {
        if clock() >= next {
            next = clock() + limits::CONTROL_LOOK;
            let (mut standstill, mut shut) = (String::new(), <(String, String)>::default());
            if setup.health.is_open() {
                standstill = pulse.look(&setup.instruments);
                free.ask(&setup.data_dir, journal.map(journal::Shared::directory), &setup.instruments).await;
                let now = watch::shut_now(&setup.instruments, &setup.data_dir, |_| free.there());
                let failed = journal.and_then(journal::Shared::problem).unwrap_or_default();
                shut = (refusals.look(&setup.instruments, &now), failed);
            }
            let lives = standstill.is_empty();
            setup.health.look(clock().as_secs(), standstill, shut);
            supervise::tell((&setup.health, &setup.instruments), clock(), lives);
            names.iter_mut().for_each(|names| names.look(clock()));
            reserve.refill();
            spare.look(&setup.instruments, clock());
            certificates.look(clock(), process::wall());
        }
        tokio::time::sleep(limits::CONTROL_ROUND).await;
    }
}

#[cfg(test)]
mod tests;
