//! What a start reads beside its configuration: certificates, accounts, hosts and name servers. And what ports it can have.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, value};
use crate::control;
use crate::control::names::RESOLV_CONF;
use crate::limits;
use crate::node::error::{AccountsFlaw, BadAccounts, StartError, UnreadableHosts};
use crate::policy::accounts::Accounts;
use crate::policy::certificate::Certificate;
use crate::policy::tls;
use crate::runtime::{files, process};
use crate::shard::inbound::listener::ListenError;

/// Resolves port 0, finds ports that are taken, reads certificates.
pub(super) fn probe_listeners(
    config: &mut Config,
) -> Result<Vec<Option<Arc<rustls::ServerConfig>>>, StartError> {
    for listener in &mut config.listeners {
        let address = listener.address;
        listener.address =
            process::probe_port(address).map_err(|error| StartError::Port(ListenError { address, error }))?;
    }
    config
        .listeners
        .iter()
        .map(|listener| listener.tls.as_ref().map(|files| tls::server(files, read_pem)).transpose())
        .collect::<Result<_, _>>()
        .map_err(StartError::Certificate)
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
pub(crate) fn read_pem(path: &Path) -> std::io::Result<Vec<u8>> {
    files::read_whole(path, limits::PEM_FILE_MAX)
}

pub(crate) fn read_accounts(path: &Path) -> Result<Accounts, BadAccounts> {
    let bad = |flaw| BadAccounts { path: path.to_owned(), flaw };
    let bytes = files::read_whole(path, limits::ACCOUNTS_FILE_MAX)
        .map_err(|error| bad(AccountsFlaw::Unreadable(error)))?;
    let text = String::from_utf8(bytes).map_err(|_| bad(AccountsFlaw::NotUtf8))?;
    Accounts::parse(&text).map_err(|error| bad(AccountsFlaw::Line(error)))
}

/// The machine's name servers, unless others are configured. Whether they are the machine's.
pub(super) fn find_name_servers(config: &mut Config) -> bool {
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
pub(crate) fn find_hosts(config: &mut Config) -> Result<(), UnreadableHosts> {
    let Some(path) = config.dns.hosts.clone() else { return Ok(()) };
    match files::read_whole(&path, limits::HOSTS_FILE_MAX) {
        Ok(bytes) => config.dns.known = Arc::new(value::hosts(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path == Path::new("/etc/hosts") => {}
        Err(error) => return Err(UnreadableHosts { path, error }),
    }
    Ok(())
}
