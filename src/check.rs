//! `relevo check`: what `relevo run` would say of a configuration on this machine, up to the moment it opens for service. Files are read
//! as a start reads them, ports are tried and let go of again, the data directory is locked for a moment and given back as it was.
//!
//! A relay that runs already is not in the way: what it holds is told as such.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

use crate::config::describe::describe;
use crate::config::judge::{clashes, judge};
use crate::config::literal::quoted;
use crate::config::value::show_size;
use crate::config::warmup::written;
use crate::config::{Config, ConfigError, RuntimeChoice, TlsFiles};
use crate::control::{ShownCertificate, exact};
use crate::inspect::state;
use crate::limits;
use crate::node;
use crate::node::addresses;
use crate::node::files::{Filled, Known};
use crate::node::secret;
pub use crate::node::source::{DEFAULT_PATH, ReadError, read};
use crate::policy::accounts::Accounts;
use crate::runtime::files;
use crate::runtime::os::probe;
use crate::runtime::process;
use crate::shard::inbound::listener::ListenError;

mod findings;
mod places;

use findings::Findings;

/// What came of a check.
#[derive(Debug)]
pub struct Checked {
    /// What could be understood, defaults in place of what is wrong; None: the file is no TOML.
    pub config: Option<Config>,
    /// Why the relay would not start, in the order of the lines.
    pub errors: Vec<ConfigError>,
    /// With what it would start, and should not, in the order of the lines.
    pub warnings: Vec<ConfigError>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookedAt {
    /// The file alone.
    File,
    /// Also what it names and asks for on this machine.
    Machine,
    /// The same but where the relay listens: a supervisor may have that open for it.
    MachineButPorts,
}

/// Checks a configuration.
pub fn check(text: &str, file: &Path, looked_at: LookedAt) -> Checked {
    let (config, mut errors) = Config::examine(text, file);
    let Some(config) = config else { return Checked { config: None, errors, warnings: Vec::new() } };
    let cores = probe::cores();
    let shards = config.shard_count(cores.len());
    // What is wrong was replaced by a default; what that would do here is nobody's question.
    let wrong: Vec<String> = errors.iter().map(|error| error.key.clone()).collect();
    let mut findings = Findings { errors: Vec::new(), warnings: judge(&config, shards) };
    findings.errors.extend(clashes(&config));
    if looked_at != LookedAt::File {
        look(&config, (&cores, looked_at == LookedAt::Machine), &mut findings);
        if errors.is_empty() {
            findings.errors.extend(config.judge_shards(shards, Some(&cores)));
        }
    }
    let Findings { errors: mut found, mut warnings } = findings;
    found.retain(|error| !wrong.contains(&error.key));
    warnings.retain(|warning| !wrong.contains(&warning.key));
    errors.extend(found);
    // Those of the file first, then those of each that it names.
    let place = |one: &ConfigError| (one.file != file, one.file.clone(), one.line);
    errors.sort_by_key(place);
    errors.dedup();
    warnings.sort_by_key(place);
    Checked { config: Some(config), errors, warnings }
}

fn look(config: &Config, (cores, with_ports): (&[usize], bool), found: &mut Findings) {
    let places = &config.places;
    for words in config.shard_warnings(cores) {
        found.warnings.push(places.remark("shard", words, "pin each to a core of its own"));
    }
    limits_of_process(config, cores, found);
    let running = places::data_dir(config, found);
    if let Some(words) = state::room(config, config.shard_count(cores.len())) {
        found.warnings.push(config.places.told("node.data_dir", &words));
    }
    if let Some(words) = state::bound(config, config.shard_count(cores.len())) {
        found.warnings.push(config.places.told("spool.size_max", &words));
    }
    found.warnings.extend(more_than_the_disk(config));
    if with_ports {
        ports(config, running, found);
        places::socket(config, running, found);
    }
    sources(config, found);
    warmups(config, found);
    named_files(config, found);
    config.logs.iter().for_each(|one| places::log(config, one, found));
    places::pickup(config, found);
}

/// Bounds that are larger than the file system which they are to keep some of: they bound nothing.
fn more_than_the_disk(config: &Config) -> Vec<ConfigError> {
    let (spool, control) = (&config.spool, &config.control);
    let disk = files::size_bytes(&config.node.data_dir);
    let keys = [
        ("spool.size_max", spool.size_max, spool.segment_size * limits::SPOOL_SEGMENTS_LEAST),
        ("control.journal_size_max", control.journal_size_max, limits::JOURNAL_SIZE_MIN),
    ];
    let told = |(key, size, least): (&str, u64, u64)| {
        let problem = format!(
            "{} is more than the whole file system of {}, {}: it will be full before that",
            show_size(size),
            config.node.data_dir.display(),
            exact(disk)
        );
        let fitting = (1 << (disk / 2).max(1).ilog2()).max(least);
        config.places.propose(key, problem, &quoted(&show_size(fitting)), ", or less than it has")
    };
    let is_too_much = |(key, size, _): &(&str, u64, u64)| *size > disk && config.places.has(key);
    keys.into_iter().filter(is_too_much).map(told).collect()
}

/// Reads the files that the configuration names as a start does, and looks at what they hold.
fn named_files(config: &Config, found: &mut Findings) {
    let places = &config.places;
    let mut filled = config.clone();
    let Filled { contents, shown, more_shown, bad, doubts, own_servers: _ } =
        node::files::fill(&mut filled, Known::default());
    found.errors.extend(bad.iter().map(|bad| bad.told(places)));
    found.warnings.extend(doubts);
    let usable = contents.certificates.iter().map(Option::is_some);
    let listeners = config.listeners.iter().zip(usable.zip(&shown)).enumerate();
    for (at, (listener, (usable, shown))) in listeners {
        if let Some(files) = listener.tls.as_ref().filter(|_| usable) {
            certificate(config, at, (files, shown.as_ref()), found);
        }
    }
    further_certificates(config, &more_shown, found);
    let accounts = contents.accounts.as_ref().map(|logins| logins.accounts());
    accounts_of_rules(config, accounts, found);
    match (&config.accounts, accounts) {
        (Some(path), Some(accounts)) if accounts.is_empty() => {
            let problem = format!("{}: there is no account in it", path.display());
            let fix = "add [[account]] sections with name and password, a hash of `relevo hash-password`";
            found.warnings.push(places.remark("auth.accounts", problem, fix));
        }
        (Some(path), Some(_)) => secret(config, "auth.accounts", path, found),
        _ => {}
    }
    if let (Some(path), Some(tokens)) = (&config.access.tokens, &contents.tokens) {
        if tokens.all().is_empty() {
            let problem = format!("{}: there is no token in it, so nobody may ask over HTTP", path.display());
            let fix = "add one: relevo token add NAME --role read; or remove the key";
            found.warnings.push(places.remark("control.tokens", problem, fix));
        }
        secret(config, "control.tokens", path, found);
    }
    if filled.dns.servers.is_empty() {
        let problem = "there is no name server: /etc/resolv.conf names none";
        found.warnings.push(places.propose(
            "dns.servers",
            problem,
            "[\"127.0.0.1\"]",
            ", the address of a resolver",
        ));
    }
}

/// Rules about accounts that nobody has. Where the file cannot be read that is told, and nothing about the rules.
fn accounts_of_rules(config: &Config, accounts: Option<&Accounts>, found: &mut Findings) {
    for (at, rule) in config.rules.iter().enumerate() {
        let Some(account) = &rule.account else { continue };
        let problem = match (accounts, &config.accounts) {
            (Some(accounts), Some(path)) if !accounts.has(account) => {
                format!("no account is called {account} in {}", path.display())
            }
            (None, None) => format!("there is no account {account}: auth.accounts names no file"),
            _ => continue,
        };
        let fix = "name one that there is, or add it; until then the rule matches nothing";
        found.warnings.push(config.places.remark(&format!("rule[{at}].match.account"), problem, fix));
    }
}

fn limits_of_process(config: &Config, cores: &[usize], found: &mut Findings) {
    let places = &config.places;
    if let Err(refusal) = probe::check_files() {
        found.errors.push(places.remark("", refusal.problem, refusal.fix));
    } else {
        match node::room::fitting(config, config.shard_count(cores.len())) {
            Ok((_, Some(words))) => found.warnings.push(config.places.told("", &words)),
            Ok((_, None)) => {}
            Err(few) => found.errors.push(config.places.told("node.data_dir", &few.to_string())),
        }
    }
    if let Err(probe::MachineRefusal { problem, fix }) = probe::check_patience() {
        found.warnings.push(places.remark("", problem, fix));
    }
    if config.tuning.runtime == RuntimeChoice::Epoll {
        return;
    }
    if let Err(refusal) = probe::check_ring(config.shard_count(cores.len())) {
        let probe::MachineRefusal { problem, fix } = refusal;
        match config.tuning.runtime {
            RuntimeChoice::Auto => {
                found.warnings.push(places.remark(
                    "tuning.runtime",
                    format!("{problem}; it runs on epoll instead"),
                    fix,
                ));
            }
            _ => found.errors.push(places.remark("tuning.runtime", problem, fix)),
        }
    }
}

/// Tries each port. One that a running relay has is as it should be.
fn ports(config: &Config, running: bool, found: &mut Findings) {
    let listeners = config.listeners.iter().enumerate();
    let all = listeners.map(|(at, listener)| (format!("listener[{at}].address"), listener.address.clone()));
    let http = config.control.http.map(|http| ("control.http".to_owned(), http.into()));
    let mut held = 0;
    for (key, address) in all.chain(http) {
        let Err(error) = addresses::probe(&address, &[]) else { continue };
        if error.kind() == io::ErrorKind::AddrInUse && running {
            held += 1;
            continue;
        }
        let refused = ListenError { address, error };
        let address = &refused.address;
        let problem = format!("cannot listen on {address}: {}", refused.error);
        let mut told = config.places.remark(&key, problem, refused.fix());
        if told.value.is_empty() {
            // The default: a program that reads this wants to know which.
            told.value = quoted(&address.to_string());
        }
        found.errors.push(told);
    }
    if running {
        let which = if held > 0 { " and listens there" } else { "" };
        let problem = format!("a relay runs on {} now{which}", config.node.data_dir.display());
        let fix = "a second one would not start; what is checked here is for its next start";
        found.warnings.push(config.places.remark("node.data_dir", problem, fix));
    }
}

/// Addresses of sources that this machine has not. Those of a proxy are on another.
fn sources(config: &Config, found: &mut Findings) {
    for (at, source) in config.sources.iter().enumerate().filter(|(_, source)| source.proxy.is_none()) {
        for address in source.addresses() {
            let Err(error) = process::probe_port(SocketAddr::new(address, 0)) else { continue };
            if error.kind() != io::ErrorKind::AddrNotAvailable {
                continue;
            }
            let key = if address.is_ipv4() { "address" } else { "address6" };
            let problem =
                format!("{address} is no address of this machine: nothing leaves by source {}", source.name);
            let fix = "add it to an interface of this machine, or name one that it has";
            found.warnings.push(config.places.remark(&format!("source[{at}].{key}"), problem, fix));
        }
    }
}

/// Plans that have been over for long.
fn warmups(config: &Config, found: &mut Findings) {
    let today = process::wall().day();
    for (at, plan) in config.warmups.iter().enumerate() {
        let last = plan.start.saturating_add(plan.plan.last().map_or(0, |step| step.day.saturating_sub(1)));
        if today > last.saturating_add(limits::WARMUP_OVER_DAYS) {
            let problem = format!("the last day of this plan was {}: it does nothing", written(last));
            let fix = "remove it, or write the day on which the source was used first";
            found.warnings.push(config.places.remark(&format!("warmup[{at}].start"), problem, fix));
        }
    }
}

/// The same of those beside the first of a listener.
fn further_certificates(config: &Config, shown: &[(usize, ShownCertificate)], found: &mut Findings) {
    for (at, listener) in config.listeners.iter().enumerate() {
        let key = format!("listener[{at}].certificates");
        listener.more_tls.iter().for_each(|files| secret(config, &key, &files.key, found));
    }
    for (at, ShownCertificate { file, certificate, for_host, host }) in shown {
        for (problem, fix) in certificate.doubts(*for_host, host, process::wall()) {
            let key = format!("listener[{at}].certificates");
            found.warnings.push(config.places.remark(&key, format!("{file}: {problem}"), fix));
        }
    }
}

/// Looks at what a certificate says that can be used, and at who may read its key.
fn certificate(
    config: &Config,
    at: usize,
    (files, shown): (&TlsFiles, Option<&ShownCertificate>),
    found: &mut Findings,
) {
    secret(config, &format!("listener[{at}].tls_key"), &files.key, found);
    let Some(ShownCertificate { file, certificate, for_host, host }) = shown else { return };
    let key = format!("listener[{at}].tls_certificate");
    for (problem, fix) in certificate.doubts(*for_host, host, process::wall()) {
        found.warnings.push(config.places.remark(&key, format!("{file}: {problem}"), fix));
    }
}

/// A file that others should not read: keys, hashes.
fn secret(config: &Config, key: &str, path: &Path, found: &mut Findings) {
    let Ok(file) = std::fs::metadata(path) else { return };
    if !file.is_file() {
        return;
    }
    if let Some((problem, fix)) = secret::doubt(path, &file) {
        found.warnings.push(config.places.remark(key, problem, fix));
    }
}

/// One finding as JSON.
#[derive(Debug, Serialize)]
pub struct JsonFinding<'a> {
    file: String,
    /// None: about something the file does not say.
    line: Option<usize>,
    key: &'a str,
    value: &'a str,
    problem: &'a str,
    fix: &'a str,
}

impl<'a> From<&'a ConfigError> for JsonFinding<'a> {
    fn from(error: &'a ConfigError) -> JsonFinding<'a> {
        let ConfigError { file, line, key, value, problem, fix } = error;
        let line = Some(*line).filter(|line| *line > 0);
        JsonFinding { file: file.to_string_lossy().into_owned(), line, key, value, problem, fix }
    }
}

/// A whole check as JSON.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    /// Whether the relay would start.
    pub ok: bool,
    /// Why not.
    pub errors: Vec<JsonFinding<'a>>,
    /// What should not be so.
    pub warnings: Vec<JsonFinding<'a>>,
    /// What the configuration means, a sentence each; empty where it has errors.
    pub summary: Vec<String>,
}

impl Checked {
    /// Whether the relay would start.
    pub fn is_fine(&self) -> bool {
        self.errors.is_empty()
    }

    /// The configuration in sentences; nothing where it has errors.
    pub fn description(&self) -> String {
        self.config.as_ref().filter(|_| self.is_fine()).map(describe).unwrap_or_default()
    }

    /// All of it, to be written as JSON.
    pub fn summary(&self) -> Summary<'_> {
        Summary {
            ok: self.is_fine(),
            errors: self.errors.iter().map(JsonFinding::from).collect(),
            warnings: self.warnings.iter().map(JsonFinding::from).collect(),
            summary: self.description().lines().map(|line| line.trim().to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
