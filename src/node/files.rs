//! What is read beside a configuration: certificates, accounts, shaping files, hosts and name servers. A start, a reload and `relevo check` read the same,
//! by [`fill`].

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, ConfigError, value};
use crate::control;
use crate::control::names::RESOLV_CONF;
use crate::limits;
use crate::node::error::{AccountsFlaw, BadAccounts, BadFile, FileFlaw, UnreadableHosts};
use crate::node::shaping::{self, Shaped};
use crate::policy::accounts::Accounts;
use crate::policy::certificate::Certificate;
use crate::policy::tls;
use crate::runtime::{files, process};
use crate::shard::inbound::logins::Logins;
use crate::shard::live::Contents;

/// What came of reading all files that a configuration names.
pub(crate) struct Filled {
    /// What they hold; nothing of those that cannot be used.
    pub contents: Contents,
    /// The name servers are the machine's.
    pub own_servers: bool,
    /// Those that cannot be used, as they stand in the configuration.
    pub bad: Vec<BadFile>,
    /// What is said in them and has no effect, or seems to mean something else.
    pub doubts: Vec<ConfigError>,
}

impl Filled {
    /// All of it, or the first that cannot be used.
    pub fn whole(self) -> Result<(Contents, bool), Box<BadFile>> {
        match self.bad.into_iter().next() {
            Some(bad) => Err(Box::new(bad)),
            None => Ok((self.contents, self.own_servers)),
        }
    }
}

/// Reads every file that a configuration names, once each, and puts what it holds where it belongs: into the configuration, or beside it. No other
/// place does. `known`: the accounts that were known before; who guesses passwords is known with them.
pub(crate) fn fill(config: &mut Config, known: Option<&Logins>) -> Filled {
    let mut bad = Vec::new();
    let mut fail = |key: &str, flaw| bad.push(BadFile { key: key.to_owned(), flaw });
    let mut contents = Contents::default();
    for (at, listener) in config.listeners.iter().enumerate() {
        let read = listener.tls.as_ref().map(|files| tls::server(files, read_pem)).transpose();
        contents.certificates.push(read.unwrap_or_else(|unusable| {
            let key = if unusable.of_key { "tls_key" } else { "tls_certificate" };
            fail(&format!("listener[{at}].{key}"), FileFlaw::Tls(unusable));
            None
        }));
    }
    match config.accounts.as_deref().map(read_accounts).transpose() {
        Ok(accounts) => contents.accounts = accounts.map(|accounts| Arc::new(logins(accounts, known))),
        Err(unusable) => fail("auth.accounts", FileFlaw::Accounts(unusable)),
    }
    if let Err(unreadable) = find_hosts(config) {
        fail("dns.hosts", FileFlaw::Hosts(unreadable));
    }
    let Shaped { shaping, findings } = shaping::read(config.shaping.defaults, &config.shaping.files);
    contents.shaping = Arc::new(shaping);
    findings.errors.into_iter().for_each(|error| fail("shaping.files", FileFlaw::Shaping(Box::new(error))));
    let own_servers = find_name_servers(config);
    Filled { contents, own_servers, bad, doubts: findings.warnings }
}

fn logins(accounts: Accounts, known: Option<&Logins>) -> Logins {
    match known {
        Some(known) => known.again(accounts, &process::random_bytes()),
        None => Logins::new(accounts, &[process::random_bytes(), process::random_bytes()]),
    }
}

/// What the certificates say that listeners show, each file once. It was read a moment ago, and is no reason not to start.
pub(super) fn shown(config: &Config) -> Vec<control::ShownCertificate> {
    let mut shown: Vec<control::ShownCertificate> = Vec::new();
    let host = &config.node.hostname;
    for files in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        let file = files.certificate.display().to_string();
        if shown.iter().any(|other| other.file == file) {
            continue;
        }
        let chain = read_pem(&files.certificate).map(|text| tls::chain(&text)).unwrap_or_default();
        if let Some(certificate) = Certificate::of(&chain) {
            let for_host = Certificate::is_for(&chain, host);
            shown.push(control::ShownCertificate { file, certificate, for_host, host: host.clone() });
        }
    }
    shown
}

/// A file with certificates or a key.
pub(crate) fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    files::read_whole(path, limits::PEM_FILE_MAX)
}

fn read_accounts(path: &Path) -> Result<Accounts, BadAccounts> {
    let bad = |flaw| BadAccounts { path: path.to_owned(), flaw };
    let bytes = files::read_whole(path, limits::ACCOUNTS_FILE_MAX)
        .map_err(|error| bad(AccountsFlaw::Unreadable(error)))?;
    let text = String::from_utf8(bytes).map_err(|_| bad(AccountsFlaw::NotUtf8))?;
    Accounts::parse(&text).map_err(|error| bad(AccountsFlaw::Line(error)))
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
fn machines_name_servers() -> Vec<SocketAddr> {
    let bytes = files::read_whole(Path::new(RESOLV_CONF), limits::HOSTS_FILE_MAX).unwrap_or_default();
    value::name_servers(&String::from_utf8_lossy(&bytes), process::interface_number)
}

/// The hosts that the operator named by hand. The usual file need not be there; one that was asked for must.
fn find_hosts(config: &mut Config) -> Result<(), UnreadableHosts> {
    let Some(path) = config.dns.hosts.clone() else { return Ok(()) };
    match files::read_whole(&path, limits::HOSTS_FILE_MAX) {
        Ok(bytes) => config.dns.known = Arc::new(value::hosts(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new("/etc/hosts") => {}
        Err(error) => return Err(UnreadableHosts { path, error }),
    }
    Ok(())
}
