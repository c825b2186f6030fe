//! One relay process: checks, control, shards; started all or nothing, stopped in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};

use crate::config::{Config, Particulars, RuntimeChoice, value};
use crate::control::names::{Files, RESOLV_CONF};
use crate::control::{self, Control, Health, say};
use crate::inspect::{self, state};
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::policy::accounts::Accounts;
use crate::policy::certificate::Certificate;
use crate::policy::tls;
use crate::runtime::ending::Ending;
use crate::runtime::glommio::Watchdog;
use crate::runtime::os::{self, Compute, ShardThread, probe};
use crate::runtime::process::{self, DirectoryLock, LockError};
use crate::runtime::{Bell, epoll, files, glommio};
use crate::shard::assignment::Assignment;
use crate::shard::inbound::logins::Logins;
use crate::shard::mesh::{Mesh, Room};
use crate::shard::start::{self, Report, Setup};
use crate::spool::layout;
use crate::spool::segment::Birthplace;

pub mod room;

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
    lock: DirectoryLock,
}

impl Node {
    /// Starts everything, or nothing. The error is for the operator: what is wrong, and what to do.
    pub fn start(mut config: Config) -> Result<Node, String> {
        let cores = probe::cores();
        let shards = config.shard_count(cores.len());
        let engine = judge(&config, shards, &cores)?;
        let data_dir = config.node.data_dir.clone();
        let lock = take(&config, shards)?;
        let (id, birthplaces) = origins(&data_dir)?;
        let certificates = probe_listeners(&mut config)?;
        let accounts = config.accounts.as_deref().map(read_accounts).transpose()?;
        let keys = [process::random_bytes(), process::random_bytes()];
        let accounts = accounts.map(|accounts| Arc::new(Logins::new(accounts, &keys)));
        let own_servers = find_name_servers(&mut config);
        find_hosts(&mut config)?;
        let settings = Arc::new(config);
        let instruments = Instruments::of(shards);
        let bells: Vec<_> = (0..shards).map(|_| Arc::new(Bell::new())).collect();
        let particulars = fitted(&settings, shards)?;
        let machine = room::client_memory(process::memory_max());
        let room = Room { memory: machine, ..Room::of(shards) };
        let mesh = Arc::new(Mesh::with_room(bells.clone(), assignment(&particulars, &data_dir), room));
        let health = Arc::new(Health::default());
        let control = control::start(control_setup(&settings, &instruments, &health, engine, own_servers))?;
        let watchdog = engine.watch(&bells)?;
        let compute = accounts.is_some().then(|| Compute::start(cores.len())).transpose();
        let compute = compute.map_err(|error| format!("cannot start a thread: {error}"))?.map(Arc::new);
        let (reports, inbox) = unbounded();
        let tls_client = tls::Client::new().map_err(|error| error.to_string())?;
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
            lock,
        };
        for (index, (bell, particulars)) in bells.into_iter().zip(particulars).enumerate() {
            let core = particulars.core.unwrap_or(cores[index % cores.len()]);
            let setup = Setup {
                index,
                settings: settings.clone(),
                particulars,
                node: id,
                birthplaces: birthplaces.clone(),
                mesh: mesh.clone(),
                instruments: instruments[index].clone(),
                accounts: accounts.clone(),
                certificates: certificates.clone(),
                tls_client: tls_client.clone(),
                reports: reports.clone(),
            };
            let ending = node.ending(index, reports.clone());
            match engine.start_shard(core, bell, compute.clone(), setup, ending) {
                Ok(thread) => node.threads.push(thread),
                Err(error) => {
                    node.stop();
                    return Err(format!("cannot start shard {index}: {error}"));
                }
            }
        }
        if let Err(problem) = node.await_reports(&inbox, shards) {
            node.stop();
            return Err(problem);
        }
        Ok(node)
    }

    /// What is done when the thread of a shard ends, or does not begin. Nobody else can do its work: unless that was asked for, the
    /// process ends with it. Until the start is over it is the start that fails.
    fn ending(&self, index: usize, reports: Sender<Report>) -> Ending {
        let (mesh, started) = (self.mesh.clone(), self.started.clone());
        Ending::new(move || {
            if mesh.stopping() {
                return;
            }
            let _ = reports.send(Report::Failed(format!("shard {index} ended before it had started")));
            if started.load(Ordering::SeqCst) {
                let words = "ended though nobody stopped it; ending the process, recovery is the way back";
                process::end(1, &format!("relevo: shard {index} {words}"));
            }
        })
    }

    /// First all lanes are read, then all listeners open.
    fn await_reports(&mut self, inbox: &Receiver<Report>, shards: usize) -> Result<(), String> {
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
                    Ok(Report::Failed(problem)) => return Err(problem),
                    Err(_) => return Err("a shard did not start".to_owned()),
                }
                waiting -= 1;
            }
        }
        // From here on a shard that ends does not report to anybody; one that did so just before has.
        self.started.store(true, Ordering::SeqCst);
        match inbox.try_recv() {
            Ok(Report::Failed(problem)) => Err(problem),
            _ => {
                self.health.open();
                Ok(())
            }
        }
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
    /// hangs is left behind.
    pub fn stop(mut self) -> bool {
        self.health.drain();
        self.mesh.stop();
        let (mut well, mut left_behind) = (true, false);
        let ends = os::join_within(std::mem::take(&mut self.threads), limits::STOP_SHARDS_MAX);
        for (index, end) in ends.into_iter().enumerate() {
            well &= matches!(end, Some(Ok(())));
            match end {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    say(Level::Error, format_args!("shard {index} ended with an error: {error}"))
                }
                None => {
                    left_behind = true;
                    let seconds = limits::STOP_SHARDS_MAX.as_secs();
                    say(
                        Level::Error,
                        format_args!("shard {index} did not end within {seconds} s and is left behind"),
                    );
                }
            }
        }
        drop(self.watchdog.take());
        if let Some(control) = self.control.take() {
            control.stop();
        }
        if left_behind {
            // It may still write: nobody else may, as long as this process lives.
            std::mem::forget(self.lock);
        }
        well
    }
}

fn control_setup(
    settings: &Config,
    instruments: &[Arc<Instruments>],
    health: &Arc<Health>,
    engine: Engine,
    own_servers: bool,
) -> control::Setup {
    control::Setup {
        instruments: instruments.to_vec(),
        http: settings.control.http,
        log: settings.log.clone(),
        health: health.clone(),
        runtime: engine.name(),
        certificates: shown(settings).into(),
        hostname: settings.node.hostname.clone(),
        data_dir: settings.node.data_dir.clone(),
        names: Some(Files::new(&settings.dns, own_servers.then_some(Path::new(RESOLV_CONF)))),
    }
}

/// Whether the configuration fits the machine, and what the machine lets shards run on.
fn judge(config: &Config, shards: usize, cores: &[usize]) -> Result<Engine, String> {
    if let Some(error) = config.judge_shards(shards, Some(cores)).first() {
        return Err(error.to_string());
    }
    probe::check_files().map_err(in_words)?;
    if let Err(refusal) = probe::check_patience() {
        say(Level::Warning, format_args!("{}", in_words(refusal)));
    }
    choose(config.tuning.runtime, shards)
}

/// What holds for each shard, as far as there are open files for it.
fn fitted(config: &Config, shards: usize) -> Result<Vec<Particulars>, String> {
    let (particulars, words) = fitting(config, shards)?;
    if let Some(words) = words {
        say(Level::Warning, format_args!("{words}"));
    }
    Ok(particulars)
}

/// The same, with words about what had to be made smaller.
pub(crate) fn fitting(config: &Config, shards: usize) -> Result<(Vec<Particulars>, Option<String>), String> {
    let allowed = room::files_allowed();
    let shares = room::share(&config.node.data_dir, shards, allowed)?;
    let mut particulars = config.particulars(shards);
    let words = room::fit(&mut particulars, shares, allowed);
    Ok((particulars, words))
}

/// Which shard keeps which of the lanes there are.
fn assignment(particulars: &[Particulars], data_dir: &Path) -> Assignment {
    let chosen: Vec<_> = particulars.iter().map(|one| one.lanes.clone()).collect();
    Assignment::chosen(&chosen, lanes(data_dir))
}

/// What the shards run on.
#[derive(Clone, Copy)]
enum Engine {
    Glommio,
    Epoll,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Engine::Glommio => "glommio",
            Engine::Epoll => "epoll",
        }
    }

    /// Watches over the shards where that is needed.
    fn watch(self, bells: &[Arc<Bell>]) -> Result<Option<Watchdog>, String> {
        match self {
            Engine::Glommio => Watchdog::start(bells.to_vec()).map(Some),
            Engine::Epoll => Ok(None),
        }
        .map_err(|error| format!("cannot start a thread: {error}"))
    }

    fn start_shard(
        self,
        core: usize,
        bell: Arc<Bell>,
        compute: Option<Arc<Compute>>,
        setup: Setup,
        ending: Ending,
    ) -> std::io::Result<ShardThread> {
        let (spin, ring_depth) = (setup.particulars.spin, setup.settings.tuning.ring_depth);
        let settings = os::Settings { core, spin, ring_depth, compute };
        match self {
            Engine::Glommio => glommio::start_shard(settings, bell, move |runtime| {
                ending.of_this_thread();
                start::run(runtime, setup)
            }),
            Engine::Epoll => epoll::start_shard(settings, bell, move |runtime| {
                ending.of_this_thread();
                start::run(runtime, setup)
            }),
        }
    }
}

/// What is configured, or what this machine allows.
fn choose(choice: RuntimeChoice, shards: usize) -> Result<Engine, String> {
    if choice == RuntimeChoice::Epoll {
        return Ok(Engine::Epoll);
    }
    match probe::check_ring(shards) {
        Ok(()) => Ok(Engine::Glommio),
        Err(refusal) if choice == RuntimeChoice::Auto => {
            say(Level::Warning, format_args!("{}; running on epoll instead", refusal.problem));
            Ok(Engine::Epoll)
        }
        Err(refusal) => Err(in_words(refusal)),
    }
}

fn in_words(refusal: probe::Refusal) -> String {
    format!("{}; {}", refusal.problem, refusal.fix)
}

/// Resolves port 0, finds ports that are taken, reads certificates.
fn probe_listeners(config: &mut Config) -> Result<Vec<Option<Arc<rustls::ServerConfig>>>, String> {
    for listener in &mut config.listeners {
        listener.address = process::probe_port(listener.address).map_err(|error| {
            format!("cannot listen on {}: {error}; {}", listener.address, port_fix(&error))
        })?;
    }
    config
        .listeners
        .iter()
        .map(|listener| listener.tls.as_ref().map(|files| tls::server(files, read_pem)).transpose())
        .collect::<Result<_, _>>()
        .map_err(|unusable| unusable.to_string())
}

/// What the certificates say that listeners show, each file once. It was read a moment ago, and is no reason not to start.
fn shown(config: &Config) -> Vec<control::Shown> {
    let mut shown: Vec<control::Shown> = Vec::new();
    let host = &config.node.hostname;
    for files in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        let file = files.certificate.display().to_string();
        if shown.iter().any(|other| other.file == file) {
            continue;
        }
        let chain = read_pem(&files.certificate).map(|text| tls::chain(&text)).unwrap_or_default();
        if let Some(certificate) = Certificate::of(&chain) {
            let for_host = Certificate::is_for(&chain, host);
            shown.push(control::Shown { file, certificate, for_host, host: host.clone() });
        }
    }
    shown
}

/// Locks the data directory, and closes it to others.
fn take(config: &Config, shards: usize) -> Result<DirectoryLock, String> {
    let data_dir = &config.node.data_dir;
    let lock = lock(data_dir)?;
    let modes = state::modes(data_dir, true).words(data_dir, true);
    for words in modes.into_iter().chain(state::bound(config, shards)) {
        say(Level::Warning, format_args!("{words}"));
    }
    Ok(lock)
}

/// Locks the data directory. A process that was just killed may take a moment to let go of it.
fn lock(data_dir: &Path) -> Result<DirectoryLock, String> {
    let mut waited = Duration::ZERO;
    loop {
        match process::lock_directory(data_dir) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Taken) if waited < limits::LOCK_PATIENCE => {
                process::pause(limits::LOCK_PATIENCE / 100);
                waited += limits::LOCK_PATIENCE / 100;
            }
            Err(LockError::Taken) => {
                return Err(format!(
                    "{} is in use by another relevo process; stop that one, or set node.data_dir to another directory",
                    data_dir.display()
                ));
            }
            Err(LockError::Io(error)) => {
                return Err(format!(
                    "{}: {error}; make node.data_dir a directory that this user may write",
                    data_dir.display()
                ));
            }
        }
    }
}

/// The node's id. A new one is made only where there is no mail: segments of another node would be refused for ever.
fn node_id(data_dir: &Path) -> Result<u64, String> {
    let fail = |error| format!("{}: {error}", data_dir.display());
    if process::read_node_id(data_dir).map_err(fail)?.is_none()
        && let Some(words) = inspect::lost_node(data_dir).map_err(|error| error.to_string())?
    {
        return Err(words);
    }
    process::node_id(data_dir).map_err(fail)
}

pub(crate) fn port_fix(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another process listens there: stop it, or change the listener's address"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE (see deploy/relevo.service)"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: change the listener's address"
        }
        _ => "change the listener's address",
    }
}

/// A file with certificates or a key.
pub(crate) fn read_pem(path: &Path) -> std::io::Result<Vec<u8>> {
    files::read_whole(path, limits::PEM_FILE_MAX)
}

pub(crate) fn read_accounts(path: &Path) -> Result<Accounts, String> {
    let fix = "set auth.accounts to a readable file";
    let bytes = files::read_whole(path, limits::ACCOUNTS_FILE_MAX)
        .map_err(|error| format!("{}: {error}; {fix}", path.display()))?;
    let text =
        String::from_utf8(bytes).map_err(|_| format!("{}: this is not UTF-8; {fix}", path.display()))?;
    Accounts::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The machine's name servers, unless others are configured. Whether they are the machine's.
fn find_name_servers(config: &mut Config) -> bool {
    let none = config.dns.servers.is_empty();
    if none {
        config.dns.servers = machines_name_servers();
    }
    none
}

/// What the machine says about its name servers.
pub(crate) fn machines_name_servers() -> Vec<SocketAddr> {
    let bytes = files::read_whole(Path::new(RESOLV_CONF), limits::HOSTS_FILE_MAX).unwrap_or_default();
    value::name_servers(&String::from_utf8_lossy(&bytes), process::interface_number)
}

/// The hosts that the operator named by hand. The usual file need not be there; one that was asked for must.
pub(crate) fn find_hosts(config: &mut Config) -> Result<(), String> {
    let Some(path) = config.dns.hosts.clone() else { return Ok(()) };
    match files::read_whole(&path, limits::HOSTS_FILE_MAX) {
        Ok(bytes) => config.dns.known = Arc::new(value::hosts(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path == Path::new("/etc/hosts") => {}
        Err(error) => {
            return Err(format!(
                "{}: {error}; set dns.hosts to a readable file of at most {}, or to \"\" for none",
                path.display(),
                value::show_size(limits::HOSTS_FILE_MAX)
            ));
        }
    }
    Ok(())
}

/// Where adopted lanes were born, by lane; a lane of this node's own says nothing.
fn lane_birthplaces(data_dir: &Path) -> Result<BTreeMap<u16, Birthplace>, String> {
    let mut birthplaces = BTreeMap::new();
    for lane in 0..lanes(data_dir) {
        let lane = u16::try_from(lane).map_err(|_| "too many lanes".to_owned())?;
        let directory = layout::lane_directory(data_dir, lane);
        let birthplace = process::read_birthplace(&directory);
        if let Some((node, lane_there)) = birthplace.map_err(|error| start::unopened(&directory, &error))? {
            birthplaces.insert(lane, Birthplace { node, lane: lane_there });
        }
    }
    Ok(birthplaces)
}

/// The node's id and where its lanes were born, if all of them can be opened.
fn origins(data_dir: &Path) -> Result<(u64, Arc<BTreeMap<u16, Birthplace>>), String> {
    let id = node_id(data_dir)?;
    let birthplaces = Arc::new(lane_birthplaces(data_dir)?);
    Ok((id, birthplaces))
}

/// Lanes there are on disk: the highest number plus one.
pub(crate) fn lanes(data_dir: &Path) -> usize {
    let names = files::list(data_dir).unwrap_or_default();
    layout::lanes(&names).last().map_or(0, |highest| usize::from(*highest) + 1)
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
