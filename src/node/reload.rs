//! The configuration is read again while the relay runs: what may change is replaced as a whole on all shards, or nothing is.
//!
//! All that can be wrong is found before anything changes: files are read and what they hold is built here, then each shard opens what it
//! is to listen on. What only a start reads stays as it was then, and is named: that keeps an operator from nothing else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crossbeam::channel::{Receiver, unbounded};

use crate::config::differences::differences;
use crate::config::judge::{clashes, judge};
use crate::config::{Boot, Config, ConfigError};
use crate::control::api::shape::{Finding, Reloaded, Standing};
use crate::control::names::{Current, Files, RESOLV_CONF};
use crate::control::reload::{RELOADS, Reload};
use crate::control::{Health, Showing, say};
use crate::limits;
use crate::node::{files, source};
use crate::observe::diagnostics::Level;
use crate::observe::families::Family;
use crate::policy::tls;
use crate::runtime::process;
use crate::shard::ask::{Ask, Reply};
use crate::shard::inbound::listener::ListenError;
use crate::shard::inbound::logins::Logins;
use crate::shard::mesh::Mesh;
use crate::shard::policy::Policy;

/// Reads it again.
pub(super) struct Reloader {
    /// Where it is.
    file: PathBuf,
    /// What was read at the start.
    boot: Arc<Boot>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) health: Arc<Health>,
    pub(super) names: Current,
    pub(super) shown: Showing,
    /// One reload at a time.
    state: Mutex<State>,
    standing: Mutex<Standing>,
    /// Whoever has the state counts.
    counts: Family,
}

/// What is in force.
struct State {
    policy: Arc<Policy>,
    config: Config,
    /// The addresses of listeners as the file has them, which may leave the port open.
    written: Vec<SocketAddr>,
    /// The last number that a policy had, be it in force or given up.
    last: u64,
    /// Accounts that were known last: who guesses passwords is known with them.
    logins: Option<Arc<Logins>>,
    /// Replaced, and perhaps still gone by.
    replaced: VecDeque<Arc<Policy>>,
}

/// What the start has.
pub(super) struct Started {
    pub boot: Arc<Boot>,
    pub policy: Arc<Policy>,
    /// Ports resolved.
    pub config: Config,
    pub written: Vec<SocketAddr>,
    pub mesh: Arc<Mesh>,
    pub health: Arc<Health>,
    /// The name servers are the machine's.
    pub own_servers: bool,
}

/// A configuration that was read, with what its files hold.
struct Found {
    config: Config,
    written: Vec<SocketAddr>,
    policy: Policy,
    /// The name servers are the machine's.
    own_servers: bool,
    changes: Vec<String>,
    needs_restart: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

impl Reloader {
    pub(super) fn new(started: Started) -> Reloader {
        let Started { boot, policy, config, written, mesh, health, own_servers } = started;
        let names = Current::new(names_of(&config, own_servers));
        let shown = Showing::new(files::shown(&config));
        let file = config.places.file();
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let logins = policy.accounts.clone();
        let state = State { policy, config, written, last: 0, logins, replaced: VecDeque::new() };
        let (state, standing) = (Mutex::new(state), Mutex::default());
        Reloader { file, boot, mesh, health, names, shown, state, standing, counts: Family::new(&RELOADS) }
    }

    /// Reads the file, and all that it names.
    fn read(&self, state: &State, by: &str) -> Result<Found, Vec<ConfigError>> {
        let text = source::read(&self.file).map_err(|error| vec![error.told()])?;
        let (config, mut errors) = Config::examine(&text, &self.file);
        let Some(mut config) = config else { return Err(errors) };
        errors.extend(clashes(&config));
        if !errors.is_empty() {
            return Err(errors);
        }
        let places = config.places.clone();
        let remark =
            |key: &&str| places.remark(key, "it is read at the start alone", "restart for it to take effect");
        let needs_restart = self.boot.differences(&Boot::of(&config)).iter().map(remark).collect();
        let shards = self.mesh.shards();
        let warnings = judge(&config, shards);
        config.node = self.boot.node.clone();
        errors.extend(config.judge_shards(shards, None));
        let written: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.address).collect();
        errors.extend(resolve_ports(&mut config, state));
        let mut certificates = Vec::new();
        for (at, listener) in config.listeners.iter().enumerate() {
            match listener.tls.as_ref().map(|files| tls::server(files, files::read_pem)).transpose() {
                Ok(certificate) => certificates.push(certificate),
                Err(unusable) => {
                    let key = if unusable.of_key { "tls_key" } else { "tls_certificate" };
                    errors.push(places.told(&format!("listener[{at}].{key}"), &unusable.to_string()));
                }
            }
        }
        let accounts = match config.accounts.as_deref().map(files::read_accounts).transpose() {
            Ok(accounts) => accounts,
            Err(words) => {
                errors.push(places.told("auth.accounts", &words.to_string()));
                None
            }
        };
        if let Err(words) = files::find_hosts(&mut config) {
            errors.push(places.told("dns.hosts", &words.to_string()));
        }
        if !errors.is_empty() {
            errors.sort_by_key(|error| error.line);
            return Err(errors);
        }
        let own_servers = files::find_name_servers(&mut config);
        let accounts = accounts.map(|accounts| {
            Arc::new(match &state.logins {
                Some(logins) => logins.again(accounts, &process::random_bytes()),
                None => Logins::new(accounts, &[process::random_bytes(), process::random_bytes()]),
            })
        });
        let policy = Policy::new(&config, certificates, accounts, shards);
        let changed = differences(&state.config, &config);
        let policy = policy.after(&state.policy, state.last + 1, (by, &changed));
        let changes = changes(&state.config, &config, &changed);
        Ok(Found { config, written, policy, own_servers, changes, needs_restart, warnings })
    }

    /// Has all shards prepare it. Nothing has changed when it comes back, be it with an error.
    fn prepare(&self, asker: &Arc<()>, policy: &Arc<Policy>) -> Result<(), NotPrepared> {
        let told = self.ask_all(asker, |reply| Ask::Prepare(policy.clone(), reply))?;
        let until = process::since_boot() + limits::RELOAD_PREPARED;
        for (shard, told) in told.iter().enumerate() {
            let left = until.saturating_sub(process::since_boot());
            match told.recv_timeout(left) {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => return Err(NotPrepared::Listener(refused)),
                Err(_) => return Err(NotPrepared::Late(shard)),
            }
        }
        Ok(())
    }

    /// The shards that do not say in time that they go by it.
    fn late(&self, asker: &Arc<()>, generation: u64) -> Vec<usize> {
        let until = process::since_boot() + limits::RELOAD_TAKEN_UP;
        let goes_by_it = |shard: usize| {
            while process::since_boot() < until {
                let (tell, told) = unbounded();
                let reply = Reply::new(asker, move |answer| {
                    let _ = tell.send(answer);
                });
                if self.mesh.asks().ask(shard, Ask::Generation(reply)).is_ok() {
                    let left = until.saturating_sub(process::since_boot());
                    if told.recv_timeout(left).is_ok_and(|taken_up| taken_up >= generation) {
                        return true;
                    }
                }
                process::pause(limits::RELOAD_LOOK);
            }
            false
        };
        (0..self.mesh.shards()).filter(|shard| !goes_by_it(*shard)).collect()
    }

    fn ask_all<T: Send + 'static>(
        &self,
        asker: &Arc<()>,
        ask: impl Fn(Reply<T>) -> Ask,
    ) -> Result<Vec<Receiver<T>>, NotPrepared> {
        let mut all = Vec::new();
        for shard in 0..self.mesh.shards() {
            if !self.health.is_open() || self.mesh.stopping() {
                return Err(NotPrepared::NotServing);
            }
            let (tell, told) = unbounded();
            let reply = Reply::new(asker, move |answer| drop(tell.send(answer)));
            self.mesh.asks().ask(shard, ask(reply)).map_err(|_| NotPrepared::Busy(shard))?;
            all.push(told);
        }
        Ok(all)
    }

    fn reload_now(&self, state: &mut State, dry_run: bool, by: &str) -> Reloaded {
        let done = self.replace(state, dry_run, by);
        if !dry_run {
            self.counts.add(usize::from(!done.ok), 1);
            tell(&done, by);
        }
        done
    }

    /// All of it, one at a time.
    fn replace(&self, state: &mut State, dry_run: bool, by: &str) -> Reloaded {
        let done = Reloaded {
            dry_run,
            file: self.file.display().to_string(),
            generation: state.policy.generation,
            ..Reloaded::default()
        };
        let tell = |findings: &[ConfigError]| findings.iter().map(Finding::from).collect();
        let found = match self.read(state, by) {
            Ok(found) => found,
            Err(errors) => return Reloaded { errors: tell(&errors), ..done },
        };
        let Found { config, written, policy, own_servers, changes, needs_restart, warnings } = found;
        let done =
            Reloaded { changes, needs_restart: tell(&needs_restart), warnings: tell(&warnings), ..done };
        if dry_run {
            return Reloaded { ok: true, ..done };
        }
        let (policy, asker) = (Arc::new(policy), Arc::new(()));
        state.last = policy.generation;
        if let Err(why) = self.prepare(&asker, &policy) {
            return Reloaded { errors: tell(&[why.told(&config)]), ..done };
        }
        // From here on it is in force, whatever happens: a process that is killed starts with it.
        self.mesh.put_in_force(policy.generation);
        let late = self.late(&asker, policy.generation);
        drop(asker);
        self.names.replace(names_of(&config, own_servers));
        self.shown.replace(files::shown(&config));
        let keys = needs_restart.into_iter().map(|waits| waits.key).collect();
        *lock(&self.standing) = Standing { generation: policy.generation, needs_restart: keys };
        let generation = policy.generation;
        state.logins = policy.accounts.clone().or(state.logins.take());
        state.replaced.push_back(std::mem::replace(&mut state.policy, policy));
        state.replaced.retain(|policy| Arc::strong_count(policy) > 1);
        while state.replaced.len() > limits::POLICIES_KEPT {
            state.replaced.pop_front();
        }
        (state.config, state.written) = (config, written);
        Reloaded { ok: true, generation, late, ..done }
    }
}

impl Reload for Reloader {
    fn reload(&self, dry_run: bool, by: &str) -> Reloaded {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let error = ConfigError {
                    file: self.file.clone(),
                    line: 0,
                    key: String::new(),
                    value: String::new(),
                    problem: "it is being read again already".to_owned(),
                    fix: "ask again in a moment".to_owned(),
                };
                let file = self.file.display().to_string();
                return Reloaded { file, errors: vec![Finding::from(&error)], ..Reloaded::default() };
            }
        };
        self.reload_now(&mut state, dry_run, by)
    }

    fn reload_in_turn(&self, by: &str) {
        self.reload_now(&mut lock(&self.state), false, by);
    }

    fn counts(&self) -> &Family {
        &self.counts
    }

    fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }
}

/// The files that are looked at for names.
fn names_of(config: &Config, own_servers: bool) -> Files {
    Files::new(&config.dns, own_servers.then_some(Path::new(RESOLV_CONF)))
}

/// What came of it, for the operator.
fn tell(done: &Reloaded, by: &str) {
    let Reloaded { ok, file, generation, changes, needs_restart, warnings, errors, late, dry_run: _ } = done;
    for warning in warnings.iter().chain(needs_restart) {
        say(Level::Warning, format_args!("{warning}"));
    }
    for error in errors {
        say(Level::Error, format_args!("{error}"));
    }
    if !late.is_empty() {
        let words =
            "have not confirmed the new configuration; they apply it before they start another transaction";
        say(Level::Warning, format_args!("{file}: shards {late:?} {words}"));
    }
    if *ok {
        let changes =
            if changes.is_empty() { "nothing changed in it".to_owned() } else { changes.join("; ") };
        say(Level::Info, format_args!("{file}: reloaded by {by}, generation {generation}: {changes}"));
    } else {
        say(Level::Error, format_args!("{file}: reload by {by} refused, nothing changed"));
    }
}

/// Why shards have not prepared it.
#[derive(Debug)]
enum NotPrepared {
    Listener(ListenError),
    Late(usize),
    Busy(usize),
    NotServing,
}

impl NotPrepared {
    fn told(&self, config: &Config) -> ConfigError {
        let places = &config.places;
        let again = "nothing changed; ask again, `relevo status` says how the shards are";
        match self {
            NotPrepared::Listener(refused) => {
                let here = |address: SocketAddr| address == refused.address;
                let at = config.listeners.iter().position(|listener| here(listener.address));
                let key = at.map(|at| format!("listener[{at}].address")).unwrap_or_default();
                places.told(&key, &refused.to_string())
            }
            NotPrepared::Late(shard) => {
                let seconds = limits::RELOAD_PREPARED.as_secs();
                places.remark("", format!("shard {shard} has not prepared it within {seconds} s"), again)
            }
            NotPrepared::Busy(shard) => {
                places.remark("", format!("too much is asked of shard {shard} already"), again)
            }
            NotPrepared::NotServing => {
                places.remark("", "the relay is starting or stopping", "ask again in a moment")
            }
        }
    }
}

/// Ports that the file leaves open are those that they were; new addresses must be free.
fn resolve_ports(config: &mut Config, state: &State) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let open = addresses(&state.config);
    let mut left: Vec<(SocketAddr, SocketAddr)> =
        state.written.iter().copied().zip(open.iter().copied()).collect();
    for (at, listener) in config.listeners.iter_mut().enumerate() {
        let address = listener.address;
        if let Some(place) = left.iter().position(|(written, _)| *written == address) {
            listener.address = left.remove(place).1;
            continue;
        }
        match process::probe_beside(address, &open) {
            Ok(address) => listener.address = address,
            Err(error) => {
                let refused = ListenError { address, error };
                errors.push(config.places.told(&format!("listener[{at}].address"), &refused.to_string()));
            }
        }
    }
    errors
}

fn addresses(config: &Config) -> Vec<SocketAddr> {
    config.listeners.iter().map(|listener| listener.address).collect()
}

/// What differs, in words.
fn changes(before: &Config, now: &Config, changed: &[&str]) -> Vec<String> {
    let (old, new) = (addresses(before), addresses(now));
    let words = |verb: &str, some: &[SocketAddr], without: &[SocketAddr]| {
        let left = some.iter().filter(|address| !without.contains(address));
        let list: Vec<String> = left.map(ToString::to_string).collect();
        (!list.is_empty()).then(|| format!("{verb} {}", list.join(", ")))
    };
    let sections = changed.iter().map(|section| format!("{section} changed"));
    let listens =
        words("listens on", &new, &old).into_iter().chain(words("no longer listens on", &old, &new));
    listens.chain(sections).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
