//! One relay process: checks, control, shards; started all or nothing, stopped in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};

use crate::config::{Boot, Config, Particulars};
use crate::control::accounting;
use crate::control::reload::Reload;
use crate::control::sandbox;
use crate::control::{self, Control, Health, say};
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::policy::tls;
use crate::runtime::Bell;
use crate::runtime::ending::Ending;
use crate::runtime::given;
use crate::runtime::glommio::Watchdog;
use crate::runtime::os::{self, Compute, ShardThread, probe};
use crate::runtime::process::{self, DirectoryLock};
use crate::shard::assignment::Assignment;
use crate::shard::inbound::listener::ListenError;
use crate::shard::live::LiveConfig;
use crate::shard::mesh::{Mesh, MeshLimits};
use crate::shard::start::{self, Report, ShardSetup};
use crate::spool::layout;

mod acme;
pub(crate) mod addresses;
mod auth;
pub(crate) mod directory;
mod engine;
pub(crate) mod error;
pub(crate) mod files;
pub mod handover;
mod hook;
pub mod keygen;
pub mod keys;
mod logs;
mod offers;
mod public;
mod reload;
pub mod room;
pub(crate) mod secret;
mod secrets;
pub mod shaping;
pub(crate) mod source;
mod sts;
pub mod tokens;
mod verifier;
mod verp;
mod webhook;

use engine::{Engine, choose};
pub use error::StartError;
use files::{Filled, Known};
use handover::Predecessor;
use reload::{Reloader, Started};
use room::ListenerRoom;

/// A running relay.
pub struct Node {
    /// Its configuration, ports resolved.
    pub settings: Arc<Config>,
    /// What its shards count.
    pub instruments: Vec<Arc<Instruments>>,
    /// What the shards run on.
    pub runtime: &'static str,
    /// Live messages found in the spool at start.
    pub recovered: usize,
    mesh: Arc<Mesh>,
    threads: Vec<ShardThread>,
    control: Option<Control>,
    health: Arc<Health>,
    watchdog: Option<Watchdog>,
    started: Arc<AtomicBool>,
    reloader: Arc<Reloader>,
    lock: DirectoryLock,
}

impl Node {
    /// Starts everything, or nothing.
    pub fn start(config: Config) -> Result<Node, StartError> {
        Node::start_after(config, None)
    }

    /// The same where another process hands over to this one: what needs no lock is got ready while that one still serves.
    pub fn start_after(mut config: Config, before: Option<&mut Predecessor>) -> Result<Node, StartError> {
        let cores = probe::cores();
        let shards = config.shard_count(cores.len());
        let engine = judge(&config, shards, &cores)?;
        let data_dir = config.node.data_dir.clone();
        let written = config.listeners.iter().map(|listener| listener.address.clone()).collect();
        let boot = Arc::new(Boot::of(&config));
        let health = handover::health(before.is_some());
        let (filled, lock, (id, origins)) = filled_and_locked(&mut config, shards, before)?;
        let (shown, own_servers) = (filled.each_shown(), filled.own_servers);
        let settings = Arc::new(config);
        let live = Arc::new(LiveConfig::new(settings.clone(), filled.contents, shards));
        let (accounting, readers) = accounting::open(&settings)?;
        let instruments = Instruments::of(shards, &readers);
        let bells: Vec<_> = (0..shards).map(|_| Arc::new(Bell::new())).collect();
        let particulars = fitted(&settings, shards)?;
        let mesh = Arc::new(mesh(&bells, &particulars, &data_dir));
        settings.cluster.iter().for_each(|cluster| mesh.cluster.join(cluster.share));
        let reloader = Arc::new(Reloader::new(Started {
            boot: boot.clone(),
            live: live.clone(),
            written,
            mesh: mesh.clone(),
            health: health.clone(),
            own_servers,
            shown,
            journaled: accounting.is_some(),
            room: ListenerRoom::beside(&particulars, settings.listeners.len()),
        }));
        let control = control_setup(id, &settings, &instruments, engine, &reloader);
        let control = control::start(control::Setup { accounting, ..control })?;
        let watchdog = engine.watch(&bells).map_err(StartError::Thread)?;
        // Also where there are no accounts yet.
        let compute = Arc::new(Compute::start(cores.len()).map_err(StartError::Thread)?);
        let (reports, inbox) = unbounded();
        let mut node = Node {
            settings: settings.clone(),
            instruments: instruments.clone(),
            runtime: engine.name(),
            recovered: 0,
            mesh: mesh.clone(),
            threads: Vec::new(),
            control: Some(control),
            health,
            watchdog,
            started: Arc::default(),
            reloader,
            lock,
        };
        let setup = ShardSetup {
            index: 0,
            boot,
            live,
            particulars: particulars[0].clone(),
            node: id,
            origins,
            mesh,
            instruments: instruments[0].clone(),
            tls_client: tls::Client::new().map_err(StartError::TlsClient)?,
            reports,
        };
        let began = node.start_shards(&setup, (engine, &cores, &compute), bells.into_iter().zip(particulars));
        if let Err(problem) = began.and_then(|()| node.await_reports(&inbox, shards)) {
            node.stop();
            return Err(problem);
        }
        Ok(node)
    }

    /// Starts the thread of each shard.
    fn start_shards(
        &mut self,
        setup: &ShardSetup,
        (engine, cores, compute): (Engine, &[usize], &Arc<Compute>),
        shards: impl Iterator<Item = (Arc<Bell>, Particulars)>,
    ) -> Result<(), StartError> {
        for (index, (bell, particulars)) in shards.enumerate() {
            let core = particulars.core.unwrap_or(cores[index % cores.len()]);
            let instruments = self.instruments[index].clone();
            let setup = ShardSetup { index, particulars, instruments, ..setup.clone() };
            let ending = self.ending(index, setup.reports.clone());
            let started = engine.start_shard(core, bell, Some(compute.clone()), setup, ending);
            self.threads.push(started.map_err(|error| StartError::Shard(index, error))?);
        }
        Ok(())
    }

    /// What is done when the thread of a shard ends, or does not begin. Nobody else can do its work: unless that was asked for, the
    /// process ends with it. Until the start is over it is the start that fails.
    fn ending(&self, index: usize, reports: Sender<Report>) -> Ending {
        let (mesh, started) = (self.mesh.clone(), self.started.clone());
        Ending::new(move || {
            if mesh.stopping() {
                return;
            }
            let _ = reports.send(Report::Failed(start::StartError::Ended(index)));
            if started.load(Ordering::SeqCst) {
                let words = "ended though nobody stopped it; ending the process, recovery is the way back";
                process::end(1, &format!("relevo: shard {index} {words}"));
            }
        })
    }

    /// First all lanes are read, then all listeners open.
    fn await_reports(&mut self, inbox: &Receiver<Report>, shards: usize) -> Result<(), StartError> {
        for open in [false, true] {
            if open {
                self.mesh.open();
            }
            let mut waiting = shards;
            while waiting > 0 {
                match inbox.recv_timeout(limits::START_MAX) {
                    // It was said already.
                    Ok(Report::Damaged { .. }) => continue,
                    Ok(Report::Read(messages)) => self.recovered += messages,
                    Ok(Report::Listening) => {}
                    Ok(Report::Failed(error)) => return Err(StartError::Refused(error)),
                    Err(_) => return Err(StartError::Silent),
                }
                waiting -= 1;
            }
        }
        // From here on a shard that ends does not report to anybody; one that did so just before has.
        self.started.store(true, Ordering::SeqCst);
        match inbox.try_recv() {
            Ok(Report::Failed(error)) => Err(StartError::Refused(error)),
            _ => {
                handover::tell_left_over(&self.settings);
                self.health.open();
                Ok(())
            }
        }
    }

    /// What reads the configuration again.
    pub fn reloader(&self) -> Arc<dyn Reload> {
        self.reloader.clone()
    }

    /// Opens the log again: it was moved away.
    pub fn reopen_logs(&self) {
        if let Some(control) = &self.control {
            control.reopen_logs();
        }
    }

    /// Where HTTP is served.
    pub fn http(&self) -> Option<std::net::SocketAddr> {
        self.control.as_ref().and_then(|control| control.http)
    }

    /// Drains: no new mail, what is in flight ends within a bound, everything is committed. True if every shard ended well. One that
    /// hangs is left behind. Balancers have `node.stop_grace` to see it coming: until that is over mail is taken as before.
    pub fn stop(self) -> bool {
        self.end(End::Stop).0
    }

    /// Begins nothing more with next hops, or goes on with them. Mail is taken as before.
    pub fn rest(&self, rests: bool) {
        self.mesh.stages().rest(rests);
    }

    /// Attempts that are under way at next hops, a second ago at most.
    pub fn under_way(&self) -> u64 {
        self.instruments.iter().map(|shard| shard.counters.attempts_unsynced.get()).sum()
    }

    /// The state of an upgrade, which who asks is told.
    pub fn upgrade(&self) -> &control::Upgrade {
        self.health.upgrade()
    }

    /// Lets go of everything, for another process that has the listening sockets too: nobody is taken in from now on, sessions end between two
    /// messages. Whether the spool is free; else only the end of this process frees it.
    pub fn hand_over(self) -> bool {
        self.mesh.stages().hand_over();
        given::hand_on();
        self.end(End::HandOver).1
    }

    /// Whether every shard ended well, and whether nobody is left that may write to the spool.
    fn end(mut self, end: End) -> (bool, bool) {
        self.health.drain();
        self.mesh.stages().leave();
        let grace = self.settings.node.stop_grace;
        if self.started.load(Ordering::SeqCst) && !grace.is_zero() && end == End::Stop {
            process::pause(grace);
        }
        self.mesh.stop();
        let most = match end {
            End::Stop => limits::STOP_SHARDS_MAX,
            End::HandOver => limits::UPGRADE_DRAIN + (limits::STOP_SHARDS_MAX - limits::DRAIN_MAX),
        };
        let (well, left_behind) = self.join_shards(most);
        os::paths::take_away();
        drop(self.watchdog.take());
        if let Some(control) = self.control.take() {
            control.stop();
        }
        if left_behind {
            // It may still write: nobody else may, as long as this process lives.
            std::mem::forget(self.lock);
        }
        (well, !left_behind)
    }

    /// Waits for the shards: whether all ended well, and whether one still runs.
    fn join_shards(&mut self, most: Duration) -> (bool, bool) {
        let (mut well, mut left_behind) = (true, false);
        let ends = os::join_within(std::mem::take(&mut self.threads), most);
        for (index, end) in ends.into_iter().enumerate() {
            well &= matches!(end, Some(Ok(())));
            match end {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    say(Level::Error, format_args!("shard {index} ended with an error: {error}"))
                }
                None => {
                    left_behind = true;
                    let seconds = most.as_secs();
                    say(
                        Level::Error,
                        format_args!("shard {index} did not end within {seconds} s and is left behind"),
                    );
                }
            }
        }
        (well, left_behind)
    }
}

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stop,
    /// Another process goes on, and clients wait for it.
    HandOver,
}

/// What the configuration names, and the data directory with what it is known by: that first, as return paths have the node's id in them, unless
/// another process still has it, which lets go of it when all else is ready.
fn filled_and_locked(
    config: &mut Config,
    shards: usize,
    before: Option<&mut Predecessor>,
) -> Result<(Filled, DirectoryLock, directory::KnownBy), StartError> {
    given::share_among(shards);
    let data_dir = config.node.data_dir.clone();
    let Some(before) = before else {
        let lock = directory::take(config, shards)?;
        let known = directory::origins(&data_dir)?;
        return Ok((complete(config)?, lock, known));
    };
    let filled = complete(config)?;
    before.wait()?;
    let lock = directory::take(config, shards)?;
    Ok((filled, lock, directory::origins(&data_dir)?))
}

/// Resolves ports, none of which may be taken, and reads what the configuration names.
fn complete(config: &mut Config) -> Result<Filled, StartError> {
    for listener in &mut config.listeners {
        let address = listener.address.clone();
        listener.address = addresses::probe(&address, &[])
            .map_err(|error| StartError::Port(ListenError { address, error }))?;
    }
    let filled = files::fill(config, Known::default());
    filled.doubts.iter().for_each(|doubt| say(Level::Warning, format_args!("{doubt}")));
    let mut filled = filled.whole()?;
    let unusable = |key, file| {
        let path = config.node.data_dir.join(file);
        move |error| StartError::Secret(key, path, error)
    };
    filled.contents.verp =
        verp::load(config, true).map_err(unusable("bounces.verp_domain", layout::VERP_SECRET))?;
    filled.contents.links = public::load(config).map_err(unusable("[public]", layout::UNSUBSCRIBE_SECRET))?;
    auth::fill(&mut filled, config).map_err(unusable("auth.accounts", layout::SALTS_SECRET))?;
    Ok(filled)
}

fn control_setup(
    node: u64,
    settings: &Config,
    instruments: &[Arc<Instruments>],
    engine: Engine,
    reloader: &Arc<Reloader>,
) -> control::Setup {
    control::Setup {
        section: settings.control.clone(),
        mesh: reloader.mesh.clone(),
        instruments: instruments.to_vec(),
        accounting: None,
        health: reloader.health.clone(),
        warmups: settings.warmups.clone(),
        suppression: settings.suppression,
        listed: Arc::default(),
        runtime: engine.name(),
        certificates: reloader.shown.clone(),
        node,
        hostname: settings.node.hostname.clone(),
        data_dir: settings.node.data_dir.clone(),
        names: Some(reloader.names.clone()),
        reload: Some(reloader.clone()),
        fired: control::fired(),
        policies: Some(Arc::new(sts::Settings(reloader.clone()))),
        verifies: Some(Arc::new(sts::Settings(reloader.clone()))),
        hook: Some(Arc::new(sts::Settings(reloader.clone()))),
        fetches: control::fetches(),
        public: control::Public {
            https: settings.public.https,
            http: settings.public.http,
            settings: Some(Arc::new(sts::Settings(reloader.clone()))),
            counts: control::unsubscribed(),
        },
        acme: Some(Arc::new(sts::Settings(reloader.clone()))),
        acme_orders: control::acme_orders(),
        webhooks: Some(Arc::new(sts::Settings(reloader.clone()))),
        sent: control::outward::Sent::default(),
        reporting: Some(Arc::new(sts::Settings(reloader.clone()))),
        reported: control::tls_rpt::Counts::default(),
        pickup: settings.pickup.clone(),
        sandbox: sandbox::Bounds::of(&settings.sandbox),
        picked: control::picked(),
        api: settings.api.http.map(|address| (address, settings.api.tls.is_some())),
        api_counts: control::handed_in(),
        cluster: settings.cluster.clone(),
        fleet: settings.fleet.clone(),
        nodes_asked: control::nodes_asked(),
        logins: Some(Arc::new(sts::Settings(reloader.clone()))),
    }
}

/// Whether the configuration fits the machine, and what the machine lets shards run on.
fn judge(config: &Config, shards: usize, cores: &[usize]) -> Result<Engine, StartError> {
    if let Some(error) = config.judge_shards(shards, Some(cores)).first() {
        return Err(StartError::Config(Box::new(error.clone())));
    }
    probe::check_files()?;
    if let Err(refusal) = probe::check_patience() {
        say(Level::Warning, format_args!("{refusal}"));
    }
    Ok(choose(config.tuning.runtime, shards)?)
}

/// What holds for each shard, as far as there are open files for it.
fn fitted(config: &Config, shards: usize) -> Result<Vec<Particulars>, StartError> {
    let (particulars, words) = room::fitting(config, shards)?;
    if let Some(words) = words {
        say(Level::Warning, format_args!("{words}"));
    }
    Ok(particulars)
}

/// What shards share, and what may wait between them.
fn mesh(bells: &[Arc<Bell>], particulars: &[Particulars], data_dir: &Path) -> Mesh {
    let memory = room::client_memory(process::memory_max());
    let room = MeshLimits { memory, ..MeshLimits::of(particulars.len()) };
    Mesh::with_room(bells.to_vec(), assignment(particulars, data_dir), room)
}

/// Which shard keeps which of the lanes there are.
fn assignment(particulars: &[Particulars], data_dir: &Path) -> Assignment {
    let chosen: Vec<_> = particulars.iter().map(|one| one.lanes.clone()).collect();
    Assignment::chosen(&chosen, directory::lanes(data_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays the process that ends; started by the test below.
    #[test]
    #[ignore = "ends the process"]
    fn shard_victim() {
        let scratch = tempfile::tempdir().unwrap();
        let text = format!(
            "[node]\nhostname = \"mx1.example.net\"\ndata_dir = \"{0}\"\nshards = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [spool]\nsegment_size = \"4MiB\"\n[log]\npath = \"{0}.log\"\n[control]\nhttp = \"\"\n[tuning]\nruntime = \"epoll\"\n",
            scratch.path().join("spool").display()
        );
        let node = Node::start(Config::parse(&text, Path::new("relevo.toml")).unwrap()).unwrap();
        let (reports, inbox) = unbounded();
        node.started.store(false, Ordering::SeqCst);
        drop(node.ending(0, reports.clone()));
        assert!(matches!(inbox.try_recv(), Ok(Report::Failed(_))), "the start fails, and says why");
        node.started.store(true, Ordering::SeqCst);
        // `runtime::ending` has the ways in which it comes to this.
        drop(node.ending(7, reports));
        node.stop();
    }

    #[test]
    fn a_shard_that_ends_ends_the_process() {
        let done = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "node::tests::shard_victim", "--nocapture"])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{words}");
        assert!(words.contains("relevo: shard 7 ended though nobody stopped it"), "{words}");
    }
}
