//! The configuration is read again while the relay runs: what may change is replaced as a whole on all shards, or nothing is.
//!
//! All that can be wrong is found before anything changes: files are read and what they hold is built here, then each shard opens what it
//! is to listen on. What only a start reads stays as it was then, and is named: that keeps an operator from nothing else.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crossbeam::channel::{Receiver, unbounded};

use crate::config::differences::differences;
use crate::config::judge::{clashes, judge};
use crate::config::{Boot, Config, ConfigError, ListenAddress, LogConfig, SuppressionConfig};
use crate::control::api::shape::check::CheckReport;
use crate::control::api::shape::{ConfigStatus, Finding, Reloaded};
use crate::control::names::{Current, Files, RESOLV_CONF};
use crate::control::notices::Concern;
use crate::control::reload::{AccessInForce, ApiInForce, RELOADS, Reload, Watched};
use crate::control::{Health, Showing, ShownCertificate, say};
use crate::limits;
use crate::node::files::{self, Known};
use crate::node::room::ListenerRoom;
use crate::node::sts::InForce;
use crate::node::{auth, public, source, verp};
use crate::observe::diagnostics::Level;
use crate::observe::families::Family;
use crate::policy::tokens::Tokens;
use crate::queue::select::{BadFilter, Filter, PlacePredicate};
use crate::runtime::{notify, process};
use crate::shaping::layers::Shaping;
use crate::shard::ask::{Ask, Reply};
use crate::shard::inbound::listener::ListenError;
use crate::shard::inbound::logins::Logins;
use crate::shard::live::LiveConfig;
use crate::shard::mesh::Mesh;

mod changes;
mod checked;
mod edits;
mod elsewhere;
mod judge;
mod ports;
mod told;

use changes::addresses;
use ports::resolve_ports;

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
    state: Mutex<CurrentConfig>,
    standing: Mutex<ConfigStatus>,
    /// What is in force, for those who may not wait for a reload.
    in_force: Mutex<Arc<LiveConfig>>,
    /// Who is let in over HTTP: changed by reloads, and by itself.
    tokens: Mutex<Option<Arc<Tokens>>>,
    journaled: bool,
    room: ListenerRoom,
    /// Counted by [`Reloader::count`] alone.
    counts: Family,
    counting: Mutex<()>,
}

/// What is in force.
struct CurrentConfig {
    live: Arc<LiveConfig>,
    /// The addresses of listeners as the file has them, which may leave the port open.
    written: Vec<ListenAddress>,
    /// The last number that a configuration had, be it in force or given up.
    last: u64,
    /// Accounts that were known last: who guesses passwords is known with them.
    logins: Option<Arc<Logins>>,
    /// Replaced, and perhaps still gone by.
    replaced: VecDeque<Arc<LiveConfig>>,
}

/// What the start has.
pub(super) struct Started {
    pub boot: Arc<Boot>,
    pub live: Arc<LiveConfig>,
    pub written: Vec<ListenAddress>,
    pub mesh: Arc<Mesh>,
    pub health: Arc<Health>,
    /// The name servers are the machine's.
    pub own_servers: bool,
    /// What the certificates say.
    pub shown: Vec<ShownCertificate>,
    /// A journal of events is kept.
    pub journaled: bool,
    /// For listeners that a reload adds.
    pub room: ListenerRoom,
}

/// A configuration that was read, with what its files hold.
struct NewConfig {
    written: Vec<ListenAddress>,
    live: LiveConfig,
    /// What its certificates say.
    shown: Vec<ShownCertificate>,
    /// The name servers are the machine's.
    own_servers: bool,
    changes: Vec<String>,
    needs_restart: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

impl Reloader {
    pub(super) fn new(started: Started) -> Reloader {
        let Started { boot, live, written, mesh, health, own_servers, shown, journaled, room } = started;
        let config = &live.config;
        let names = Current::new(names_of(config, own_servers));
        let shown = Showing::new(shown);
        let file = config.places.file();
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let logins = live.accounts.clone();
        let in_force = Mutex::new(live.clone());
        let tokens = Mutex::new(live.tokens.clone());
        let state = CurrentConfig { live, written, last: 0, logins, replaced: VecDeque::new() };
        let (state, standing) = (Mutex::new(state), Mutex::default());
        Reloader {
            file,
            boot,
            mesh,
            health,
            names,
            shown,
            state,
            standing,
            in_force,
            tokens,
            journaled,
            room,
            counts: Family::new(&RELOADS),
            counting: Mutex::default(),
        }
    }

    /// Reads the file, and all that it names.
    fn read(&self, state: &CurrentConfig, by: &str) -> Result<NewConfig, Vec<ConfigError>> {
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
        let mut waits = self.boot.differences(&Boot::of(&config));
        waits.extend((!self.journaled && !config.suppression.auto.is_off()).then_some("suppression.auto"));
        let needs_restart = waits.iter().map(remark).collect();
        let shards = self.mesh.shards();
        let mut warnings = judge(&config, shards);
        self.boot.put_names_into(&mut config);
        errors.extend(config.judge_shards(shards, None));
        let written = addresses(&config);
        errors.extend(resolve_ports(&mut config, &state.live.config, &state.written));
        errors.extend(self.too_many(&state.live.config, &config));
        let known = Known::of(&state.live, state.logins.as_deref());
        let mut filled = files::fill(&mut config, known);
        let secrets = [verp::put_into, public::put_into, auth::put_into];
        errors.extend(secrets.iter().filter_map(|put| put(&mut filled, &config)));
        let (shown, own_servers) = (filled.each_shown(), filled.own_servers);
        errors.extend(filled.bad.iter().map(|bad| bad.told(&places)));
        warnings.extend(filled.doubts);
        if !errors.is_empty() {
            errors.sort_by_key(|error| (error.file != self.file, error.file.clone(), error.line));
            return Err(errors);
        }
        // Only now: a log that waits for a restart must not clash with a file either.
        self.boot.put_into(&mut config);
        let config = Arc::new(config);
        let live = LiveConfig::new(config.clone(), filled.contents, shards);
        if !live.egresses.after(&state.live.egresses).are_numbered() {
            let problem = "this process has known more pairs of pool and source than it can number";
            return Err(vec![places.remark(
                "pool",
                problem,
                "restart it: then it knows those of this file alone",
            )]);
        }
        let changed = differences(&state.live.config, &config);
        let live = live.after(&state.live, state.last + 1, (by, &changed));
        let changes = changes::told(&state.live, &live, &changed);
        Ok(NewConfig { written, live, shown, own_servers, changes, needs_restart, warnings })
    }

    /// More listeners than there are open files for. Those that go are open until the new ones are.
    fn too_many(&self, before: &Config, now: &Config) -> Option<ConfigError> {
        let (old, new) = (addresses(before), addresses(now));
        let added: Vec<usize> = (0..new.len()).filter(|at| !old.contains(&new[*at])).collect();
        let last = added.last()?;
        let open = old.len() + added.len();
        let many = self.room.holds(&self.boot.node.data_dir, open, process::open_files_max()).err()?;
        Some(now.places.told(&format!("listener[{last}].address"), &many.to_string()))
    }

    /// Has all shards prepare it. Nothing has changed when it comes back, be it with an error.
    fn prepare(&self, asker: &Arc<()>, live: &Arc<LiveConfig>) -> Result<(), NotPrepared> {
        let told = self.ask_all(asker, |reply| Ask::Prepare(live.clone(), reply))?;
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
    fn late(&self, asker: Arc<()>, generation: u64) -> Vec<usize> {
        let until = process::since_boot() + limits::RELOAD_TAKEN_UP;
        let goes_by_it = |shard: usize| {
            while process::since_boot() < until {
                let (tell, told) = unbounded();
                let reply = Reply::new(&asker, move |answer| {
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
            if !self.health.is_open() || self.mesh.stopping() || self.health.upgrade().is_under_way() {
                return Err(NotPrepared::NotServing);
            }
            let (tell, told) = unbounded();
            let reply = Reply::new(asker, move |answer| drop(tell.send(answer)));
            self.mesh.asks().ask(shard, ask(reply)).map_err(|_| NotPrepared::Busy(shard))?;
            all.push(told);
        }
        Ok(all)
    }

    /// All of it, one at a time.
    fn reload_now(&self, state: &mut CurrentConfig, by: &str) -> Reloaded {
        let _told = notify::supervisor().map(notify::Supervisor::reloading);
        let done = self.replace(state, by);
        self.count(done.ok);
        tell(&done, by);
        self.health.notices.stand(Concern::Reload, told::standing(&done, by));
        done
    }

    /// One more. A counter has one writer at a time; a reload that is refused has no turn.
    fn count(&self, ok: bool) {
        let _turn = lock(&self.counting);
        self.counts.add(usize::from(!ok), 1);
    }

    /// Reads it, and what is to be told of that; an error: it is refused.
    fn look(
        &self,
        state: &CurrentConfig,
        (dry_run, by): (bool, &str),
    ) -> Result<(NewConfig, Reloaded), Box<Reloaded>> {
        let done = Reloaded {
            dry_run,
            file: self.file.display().to_string(),
            generation: state.live.generation,
            ..Reloaded::default()
        };
        match self.read(state, by) {
            Err(errors) => Err(Box::new(Reloaded { errors: told(&errors), ..done })),
            Ok(mut found) => {
                let changes = std::mem::take(&mut found.changes);
                let (needs_restart, warnings) = (told(&found.needs_restart), told(&found.warnings));
                Ok((found, Reloaded { changes, needs_restart, warnings, ..done }))
            }
        }
    }

    /// What would come of it. Nothing is changed.
    fn try_out(&self, state: MutexGuard<'_, CurrentConfig>, by: &str) -> Reloaded {
        let (found, done) = match self.look(&state, (true, by)) {
            Ok(looked) => looked,
            Err(refused) => return *refused,
        };
        let before = state.live.clone();
        // Mail is counted for seconds: whoever means to reload does not wait for that.
        drop(state);
        let routes = !found.live.same_routes_as(&before);
        let led_elsewhere =
            routes.then(|| elsewhere::count(&self.mesh, self.health.is_open(), (before, found.live)));
        Reloaded { ok: true, led_elsewhere, ..done }
    }

    fn replace(&self, state: &mut CurrentConfig, by: &str) -> Reloaded {
        let (found, done) = match self.look(state, (false, by)) {
            Ok(looked) => looked,
            Err(refused) => return *refused,
        };
        let NewConfig { written, live, shown, own_servers, needs_restart, .. } = found;
        let (config, generation, tokens) = (live.config.clone(), live.generation, live.tokens.clone());
        let late = match self.put_in_force(state, Arc::new(live)) {
            Ok(late) => late,
            Err(why) => return Reloaded { errors: told(&[why.told(&config)]), ..done },
        };
        self.names.replace(names_of(&config, own_servers));
        self.shown.replace(shown);
        let keys = needs_restart.into_iter().map(|waits| waits.key).collect();
        *lock(&self.standing) = ConfigStatus { generation, needs_restart: keys, ..ConfigStatus::default() };
        *lock(&self.tokens) = tokens;
        state.written = written;
        Reloaded { ok: true, generation, late, ..done }
    }

    /// Has all shards prepare it, and go by it. Those that do not say in time that they do; an error: nothing has changed.
    fn put_in_force(
        &self,
        state: &mut CurrentConfig,
        live: Arc<LiveConfig>,
    ) -> Result<Vec<usize>, NotPrepared> {
        let asker = Arc::new(());
        state.last = live.generation;
        self.prepare(&asker, &live)?;
        // From here on it is in force, whatever happens: a process that is killed starts with it.
        self.mesh.quotas().put_in_force(live.generation, &live.quotas);
        self.mesh.put_in_force(live.generation);
        let late = self.late(asker, live.generation);
        lock(&self.standing).generation = live.generation;
        lock(&self.in_force).clone_from(&live);
        state.logins = live.accounts.clone().or(state.logins.take());
        state.replaced.push_back(std::mem::replace(&mut state.live, live));
        state.replaced.retain(|live| Arc::strong_count(live) > 1);
        while state.replaced.len() > limits::POLICIES_KEPT {
            state.replaced.pop_front();
        }
        Ok(late)
    }
}

impl InForce for Reloader {
    fn in_force(&self) -> Arc<LiveConfig> {
        lock(&self.in_force).clone()
    }
}

impl Reload for Reloader {
    fn reload(&self, dry_run: bool, by: &str) -> Reloaded {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let error = told::under_way(&self.file);
                if !dry_run {
                    self.count(false);
                }
                let file = self.file.display().to_string();
                return Reloaded {
                    dry_run,
                    file,
                    errors: vec![Finding::from(&error)],
                    ..Reloaded::default()
                };
            }
        };
        if dry_run { self.try_out(state, by) } else { self.reload_now(&mut state, by) }
    }

    fn reload_in_turn(&self, by: &str) {
        self.reload_now(&mut lock(&self.state), by);
    }

    fn counts(&self) -> &Family {
        &self.counts
    }

    fn standing(&self) -> ConfigStatus {
        let live = lock(&self.in_force).clone();
        ConfigStatus { suspended_sources: told::suspended(&live), ..lock(&self.standing).clone() }
    }

    fn watched(&self) -> Watched {
        Watched::new(&lock(&self.in_force).clone().config)
    }

    fn tenants(&self) -> Vec<String> {
        lock(&self.in_force).config.tenants.iter().map(|tenant| String::from(&*tenant.name)).collect()
    }

    fn access(&self) -> AccessInForce {
        let live = lock(&self.in_force).clone();
        AccessInForce { settings: live.config.access.clone(), tokens: lock(&self.tokens).clone() }
    }

    fn api(&self) -> ApiInForce {
        let live = lock(&self.in_force).clone();
        let own = live.config.api.tokens.as_ref().map(|_| live.api_tokens.clone());
        ApiInForce {
            tokens: own.unwrap_or_else(|| lock(&self.tokens).clone()),
            tls: live.api_tls.clone(),
            message_size_max: live.config.api.message_size_max,
        }
    }

    fn suppression(&self) -> SuppressionConfig {
        lock(&self.in_force).config.suppression
    }

    fn has_source(&self, name: &str) -> bool {
        lock(&self.in_force).egresses.sources().any(|source| source.name() == name)
    }

    fn has_pool(&self, name: &str) -> bool {
        lock(&self.in_force).egresses.knows(name)
    }

    fn json_log(&self) -> Option<PathBuf> {
        LogConfig::first_json(&lock(&self.in_force).config.logs).map(PathBuf::from)
    }

    fn shaping(&self) -> Arc<Shaping> {
        lock(&self.in_force).table.shaping().clone()
    }

    fn check(&self) -> CheckReport {
        checked::report(&self.file)
    }

    fn judge(&self, filter: &Filter) -> Result<PlacePredicate, BadFilter> {
        judge::domains(&lock(&self.in_force), filter)
    }
}

/// The files that are looked at for names.
fn names_of(config: &Config, own_servers: bool) -> Files {
    Files::new(&config.dns, own_servers.then_some(Path::new(RESOLV_CONF)))
}

fn told(findings: &[ConfigError]) -> Vec<Finding> {
    findings.iter().map(Finding::from).collect()
}

/// What came of it, for the operator.
fn tell(done: &Reloaded, by: &str) {
    let Reloaded { ok, file, generation, changes, needs_restart, warnings, errors, late, .. } = done;
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
                let at = config.listeners.iter().position(|listener| listener.address == refused.address);
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
                places.remark("", "the relay is starting, stopping or handing over", "ask again in a moment")
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
