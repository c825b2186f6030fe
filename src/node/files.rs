//! What is read beside a configuration: certificates, accounts, shaping files, hosts and name servers. A start, a reload and `relevo check` read the same,
//! by [`fill`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::literal::quoted;
use crate::config::{
    Config, ConfigError, Credentials, ListenerConfig, Password, RouteTarget, TlsFiles, TlsLevel, value,
};
use crate::control::ShownCertificate;
use crate::limits;
use crate::lookup::machines_name_servers;
use crate::node::acme;
use crate::node::error::{AccountsFlaw, BadAccounts, BadFile, FileFlaw, PasswordFlaw, UnreadableHosts};
use crate::node::keys::{self, Keys};
use crate::node::logs;
use crate::node::offers;
use crate::node::secret;
use crate::node::shaping::{self, Shaped};
use crate::node::tokens;
use crate::policy::accounts::Accounts;
use crate::policy::certificate::Certificate;
use crate::policy::signing::Signing;
use crate::policy::tls::{self, ClientAuthorities, Renewed, Tickets};
use crate::policy::trust::{self, NoAuthority};
use crate::route::{Route, Table};
use crate::runtime::{authorities, files, process};
use crate::shaping::check;
use crate::shaping::layers::Shaping;
use crate::shard::inbound::logins::Logins;
use crate::shard::live::{Contents, LiveConfig};

/// What came of reading all files that a configuration names.
pub(crate) struct Filled {
    /// What they hold; nothing of those that cannot be used.
    pub contents: Contents,
    /// What the certificate of each listener says, where it has one that can be used; then that of the pages.
    pub shown: Vec<Option<ShownCertificate>>,
    /// The same of further certificates, each with the place of its listener.
    pub more_shown: Vec<(usize, ShownCertificate)>,
    /// The name servers are the machine's.
    pub own_servers: bool,
    /// Those that cannot be used, as they stand in the configuration.
    pub bad: Vec<BadFile>,
    /// What is said in them and has no effect, or seems to mean something else.
    pub doubts: Vec<ConfigError>,
}

impl Filled {
    /// All of it, or the first that cannot be used.
    pub fn whole(mut self) -> Result<Filled, Box<BadFile>> {
        if self.bad.is_empty() { Ok(self) } else { Err(Box::new(self.bad.swap_remove(0))) }
    }

    /// The certificates that are shown, one for each file.
    pub fn each_shown(&self) -> Vec<ShownCertificate> {
        let mut each: Vec<ShownCertificate> = Vec::new();
        for shown in self.shown.iter().flatten().chain(self.more_shown.iter().map(|(_, shown)| shown)) {
            if !each.iter().any(|other| other.file == shown.file) {
                each.push(shown.clone());
            }
        }
        each
    }
}

/// What was known before.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    /// The accounts; who guesses passwords is known with them.
    pub logins: Option<&'a Logins>,
    /// The keys: those whose files are as they were are not read again.
    pub signing: Option<&'a Signing>,
    /// What tickets of clients are sealed with.
    pub tickets: Option<&'a Arc<Tickets>>,
    /// The certificate that an authority gave.
    pub renewed: Option<&'a Arc<Renewed>>,
}

impl<'a> Known<'a> {
    /// By what is in force, and these accounts.
    pub fn of(live: &'a LiveConfig, logins: Option<&'a Logins>) -> Known<'a> {
        Known {
            logins,
            signing: live.signing.as_deref(),
            tickets: Some(&live.tickets),
            renewed: Some(&live.renewed),
        }
    }
}

/// Reads every file that a configuration names, once each, and puts what it holds where it belongs: into the configuration, or beside it. No other
/// place does.
pub(crate) fn fill(config: &mut Config, known: Known<'_>) -> Filled {
    let mut bad = Vec::new();
    let mut fail = |key: &str, flaw| bad.push(BadFile { key: key.to_owned(), flaw });
    let tickets = known.tickets.cloned().unwrap_or_default();
    let renewed = acme::showing(config, known.renewed);
    let mut contents = Contents { tickets, renewed, ..Contents::default() };
    let pems = Pems::default();
    let (mut shown, more_shown) = of_listeners(config, &mut contents, &pems, &mut fail);
    let of_pages = config.public.tls.as_ref().map(|files| match config.public.acme {
        true => acme_config(files, &contents, None),
        false => tls::server(files, |path| pems.read(path)),
    });
    contents.public_tls = served(of_pages, "public", &mut fail);
    let of_api = config.api.tls.as_ref().map(|files| tls::server(files, |path| pems.read(path)));
    contents.api_tls = served(of_api, "api", &mut fail);
    let name = config.public.host(&config.node.hostname).split(':').next().unwrap_or_default();
    shown.extend(config.public.tls.as_ref().map(|files| match config.public.acme {
        true => acme::shown(config, &contents.renewed),
        false => pems.shown(&files.certificate, name),
    }));
    shown.extend(config.api.tls.as_ref().map(|files| pems.shown(&files.certificate, &config.node.hostname)));
    read_who(config, &mut contents, known.logins, &mut fail);
    for (key, flaw) in find_passwords(config) {
        fail(&key, flaw);
    }
    if let Err(unreadable) = find_hosts(config) {
        fail("dns.hosts", FileFlaw::Hosts(unreadable));
    }
    let Shaped { shaping, mut findings } = shaping::read(config.shaping.defaults, &config.shaping.files);
    match verifying(config, &shaping) {
        Ok(client) => contents.verifying = client,
        Err(doubt) => findings.warnings.push(*doubt),
    }
    let knows = |name: &str| {
        let (sources, pools) = (&config.sources, &config.pools);
        (sources.iter().any(|of| *of.name == *name), pools.iter().any(|of| *of.name == *name))
    };
    findings.warnings.extend(open_passwords(config));
    findings.warnings.extend(check::strangers(&shaping, knows));
    findings.warnings.extend(strange_pools(config, contents.accounts.as_deref()));
    let accounts = contents.accounts.iter().map(|logins| logins.accounts());
    findings.warnings.extend(accounts.flat_map(|accounts| offers::kept_out(config, accounts)));
    contents.shaping = Arc::new(shaping);
    if !config.routes.is_empty() {
        let table = Table::new(config, contents.shaping.clone());
        findings.warnings.extend(check::routed(&contents.shaping, |domain| led(config, &table, domain)));
    }
    findings.errors.into_iter().for_each(|error| fail("shaping.files", FileFlaw::Shaping(Box::new(error))));
    if config.dkim.keys.is_some() {
        let Keys { files, bad: unusable, doubts, .. } = keys::read(&config.dkim, known.signing);
        let doubts = doubts.into_iter().map(|(problem, fix)| config.places.remark("dkim.keys", problem, fix));
        findings.warnings.extend(doubts);
        let signing = Signing::new(&config.dkim, files);
        findings.warnings.extend(strange_relay(config, &signing));
        contents.signing = Some(Arc::new(signing));
        bad.extend(unusable);
    }
    bad.extend(logs::clashes(config));
    let own_servers = find_name_servers(config);
    Filled { contents, shown, more_shown, own_servers, bad, doubts: findings.warnings }
}

/// What a section serves TLS with.
fn served<S>(
    read: Option<Result<S, tls::Unusable>>,
    section: &str,
    fail: &mut impl FnMut(&str, FileFlaw),
) -> Option<S> {
    read.transpose().unwrap_or_else(|unusable| {
        let key = if unusable.of_key { "tls_key" } else { "tls_certificate" };
        fail(&format!("{section}.{key}"), FileFlaw::Tls(unusable));
        None
    })
}

/// Who may log in, and who may ask control over HTTP.
fn read_who(
    config: &Config,
    contents: &mut Contents,
    known: Option<&Logins>,
    fail: &mut impl FnMut(&str, FileFlaw),
) {
    match config.accounts.as_deref().map(read_accounts).transpose() {
        Ok(accounts) => contents.accounts = accounts.map(|accounts| Arc::new(logins(accounts, known))),
        Err(unusable) => fail("auth.accounts", FileFlaw::Accounts(unusable)),
    }
    match config.access.tokens.as_deref().map(tokens::read).transpose() {
        Ok(tokens) => contents.tokens = tokens.map(Arc::new),
        Err(unusable) => fail("control.tokens", FileFlaw::Tokens(unusable)),
    }
    match config.api.tokens.as_deref().map(tokens::read).transpose() {
        Ok(tokens) => contents.api_tokens = tokens.map(Arc::new),
        Err(unusable) => fail("api.tokens", FileFlaw::Tokens(unusable)),
    }
}

/// The host that a route leads a domain to, unless it is the name of one that a route leads to.
fn led(config: &Config, table: &Table, domain: &str) -> Option<String> {
    let mut targets = config.routes.iter().flat_map(|route| &route.to).map(|choice| &choice.target);
    let is_host = |target: &RouteTarget| matches!(target, RouteTarget::Host { host, .. } if host == domain);
    match table.route(domain) {
        Route::Fixed(hop) if !targets.any(is_host) => Some(hop.names().0).filter(|host| host != domain),
        _ => None,
    }
}

/// A domain of the relay without a key.
fn strange_relay(config: &Config, signing: &Signing) -> Option<ConfigError> {
    let relay = config.dkim.relay_domain.as_deref()?;
    if signing.is_empty() || signing.has_keys(relay) {
        return None;
    }
    let problem = format!("{relay} has no key: no mail is signed by it");
    let fix = format!("make one: relevo dkim keygen {relay}");
    Some(config.places.remark("dkim.relay_domain", problem, fix))
}

/// Pools of accounts that nobody knows, each told once.
fn strange_pools(config: &Config, logins: Option<&Logins>) -> Vec<ConfigError> {
    // As with rules: where there is no source at all, nobody has set them up yet.
    let logins = logins.filter(|_| !config.sources.is_empty());
    let (Some(path), Some(logins)) = (&config.accounts, logins) else { return Vec::new() };
    let mut strange: BTreeMap<&str, usize> = BTreeMap::new();
    for (pool, line) in logins.accounts().pools() {
        if !config.knows_pool(pool) {
            let first = strange.entry(pool).or_insert(line);
            *first = line.min(*first);
        }
    }
    let told = strange.into_iter().take(limits::CONFIG_ERRORS_TOLD).map(|(pool, line)| ConfigError {
        file: path.clone(),
        line,
        key: "account.pool".to_owned(),
        value: String::new(),
        problem: format!(
            "no [[pool]] and no [[source]] is called {}: this mail leaves by the default",
            quoted(pool)
        ),
        fix: "name one that there is, or add it".to_owned(),
    });
    told.collect()
}

/// TLS to hosts that show a certificate of an authority that this machine trusts, where a route or a shaping file asks for that, or a client may
/// (RFC 8689). The authorities of a usual machine are read in some milliseconds, which nobody spends who needs none.
fn verifying(config: &Config, shaping: &Shaping) -> Result<Option<tls::Client>, Box<ConfigError>> {
    let route = config.routes.iter().position(|route| route.tls() == Some(TlsLevel::Verified));
    let line = shaping.asks_to_verify();
    let hook = config.hook.as_ref().is_some_and(|hook| hook.url.tls)
        || config.webhooks.iter().any(|webhook| webhook.url.tls)
        || config.streams.iter().any(|stream| stream.url.tls())
        || config.cluster.as_ref().is_some_and(|cluster| cluster.redis.tls)
        || config.fleet.as_ref().is_some_and(|fleet| fleet.nodes.iter().any(|url| url.tls));
    let asked = route.is_some() || line.is_some() || hook;
    // Who brings mail under TLS may say REQUIRETLS.
    let may_be_asked = config.listeners.iter().any(|one| one.tls.is_some() || one.acme || one.proxy.tls)
        || config.tls.reports.is_some();
    if !asked && !config.tls.mta_sts && !may_be_asked {
        return Ok(None);
    }
    let client = authorities::trusted()
        .map_err(|none| none.to_string())
        .and_then(|all| trust::verifying(all).map_err(|NoAuthority| "none of them can be used".to_owned()));
    if !asked && (!config.tls.mta_sts || !config.places.has("tls.mta_sts")) {
        // Nobody said that there are to be any.
        return Ok(client.ok());
    }
    client.map(Some).map_err(|why| {
        let problem = format!(
            "it asks for valid certificates, and this machine trusts no authority: {why}; mail for these sites waits"
        );
        let fix = "install the package ca-certificates, or name a PEM file in the environment's SSL_CERT_FILE";
        Box::new(match (line, route) {
            (Some(line), _) => line.remark("enable_tls", problem, fix),
            (None, Some(route)) => config.places.remark(&format!("route[{route}].tls"), problem, fix),
            (None, None) if hook => {
                let problem = format!("it cannot be asked, as this machine trusts no authority: {why}");
                let key = match (&config.hook, config.webhooks.is_empty()) {
                    (Some(_), _) => "hook.url",
                    (None, false) => "webhook[0].url",
                    (None, true) if !config.streams.is_empty() => "stream[0].url",
                    (None, true) if config.cluster.as_ref().is_some_and(|of| of.redis.tls) => "cluster.redis",
                    (None, true) => "cluster.nodes",
                };
                config.places.remark(key, problem, fix)
            }
            (None, None) => {
                let problem = format!("no policy can be fetched, as this machine trusts no authority: {why}");
                config.places.remark("tls.mta_sts", problem, fix)
            }
        })
    })
}

/// Accounts as those who log in meet them. Who guesses passwords is known as before.
pub(crate) fn logins(accounts: Accounts, known: Option<&Logins>) -> Logins {
    match known {
        Some(known) => known.again(accounts, &process::random_bytes()),
        None => Logins::new(accounts, &[process::random_bytes(), process::random_bytes()]),
    }
}

/// What clients of the listeners are shown, and may show. What the certificates say: the first of each listener, then further ones.
fn of_listeners(
    config: &Config,
    contents: &mut Contents,
    pems: &Pems,
    fail: &mut impl FnMut(&str, FileFlaw),
) -> (Vec<Option<ShownCertificate>>, Vec<(usize, ShownCertificate)>) {
    let (mut shown, mut more_shown) = (Vec::new(), Vec::new());
    for (at, listener) in config.listeners.iter().enumerate() {
        let clients = listener.client_ca.as_ref().map(|path| tls::authorities(path, pems.read(path)));
        let clients = clients.transpose().unwrap_or_else(|unusable| {
            fail(&format!("listener[{at}].client_ca"), FileFlaw::Tls(unusable));
            None
        });
        let usable = match &listener.tls {
            Some(files) if listener.acme => acme_config(files, contents, clients.as_ref()).map(Some),
            _ => certificates(listener, (&contents.tickets, clients.as_ref()), pems),
        };
        contents.clients.push(clients.map(Arc::new));
        let usable = usable.unwrap_or_else(|unusable| {
            let key = match unusable.of_key {
                _ if !config.places.has(&format!("listener[{at}].tls_certificate")) => "certificates",
                true => "tls_key",
                false => "tls_certificate",
            };
            fail(&format!("listener[{at}].{key}"), FileFlaw::Tls(unusable));
            None
        });
        let all = match listener.acme {
            true => vec![acme::shown(config, &contents.renewed)],
            false => pems.all_shown(listener, usable.is_some(), &config.node.hostname),
        };
        let mut all = all.into_iter();
        shown.push(all.next().flatten());
        more_shown.extend(all.flatten().map(|shown| (at, shown)));
        contents.certificates.push(usable);
    }
    (shown, more_shown)
}

/// What clients are shown where an authority gives the certificate.
fn acme_config(
    files: &TlsFiles,
    contents: &Contents,
    clients: Option<&ClientAuthorities>,
) -> Result<Arc<rustls::ServerConfig>, tls::Unusable> {
    tls::renewed(&contents.renewed, &contents.tickets, clients).map_err(|flaw| tls::Unusable {
        path: files.certificate.clone(),
        of_key: false,
        flaw,
    })
}

/// What the clients of a listener are shown; None: nothing, as it has no TLS.
fn certificates(
    listener: &ListenerConfig,
    (tickets, clients): (&Tickets, Option<&ClientAuthorities>),
    pems: &Pems,
) -> Result<Option<Arc<rustls::ServerConfig>>, tls::Unusable> {
    let all: Vec<_> = listener.certificates().collect();
    let several = || tls::several(&all, tickets, clients, |path| pems.read(path));
    (!all.is_empty()).then(several).transpose()
}

/// Files with certificates or keys, each read once: what is in use is what is told, whoever writes them meanwhile, and listeners that share one agree.
#[derive(Default)]
struct Pems(RefCell<BTreeMap<PathBuf, Vec<u8>>>);

impl Pems {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(text) = self.0.borrow().get(path) {
            return Ok(text.clone());
        }
        let text = files::read_whole(path, limits::PEM_FILE_MAX)?;
        self.0.borrow_mut().insert(path.to_owned(), text.clone());
        Ok(text)
    }

    /// What the certificates of a listener say, where they can be used. Of several one is for the host, and the others are for others.
    fn all_shown(
        &self,
        listener: &ListenerConfig,
        usable: bool,
        host: &str,
    ) -> Vec<Option<ShownCertificate>> {
        let of = |files: &TlsFiles| self.shown(&files.certificate, host).filter(|_| usable);
        let mut all: Vec<_> = listener.certificates().map(of).collect();
        if all.iter().flatten().any(|shown| shown.for_host) {
            all.iter_mut().flatten().for_each(|shown| shown.for_host = true);
        }
        all
    }

    /// What a certificate says, of which the file was read.
    fn shown(&self, path: &Path, host: &str) -> Option<ShownCertificate> {
        let chain = tls::chain(self.0.borrow().get(path)?);
        let certificate = Certificate::of(&chain)?;
        let (file, for_host) = (path.display().to_string(), Certificate::is_for(&chain, host));
        Some(ShownCertificate { file, certificate, for_host, host: host.to_owned() })
    }
}

/// Reads a file of accounts.
pub(crate) fn read_accounts(path: &Path) -> Result<Accounts, BadAccounts> {
    let bad = |flaw| BadAccounts { path: path.to_owned(), flaw };
    let bytes = files::read_whole(path, limits::ACCOUNTS_FILE_MAX)
        .map_err(|error| bad(AccountsFlaw::Unreadable(error)))?;
    let text = String::from_utf8(bytes).map_err(|_| bad(AccountsFlaw::NotUtf8))?;
    Accounts::parse(&text).map_err(|error| bad(AccountsFlaw::Line(error)))
}

/// The passwords of credentials, and the key that questions of `[hook]` are signed with. Those that cannot be read, by their keys.
fn find_passwords(config: &mut Config) -> Vec<(String, FileFlaw)> {
    let mut bad = Vec::new();
    let of_credentials = config.credentials.iter_mut().map(|credentials| {
        let key = format!("credentials.{}.password_file", credentials.name);
        (key, &credentials.password_file, &mut credentials.password)
    });
    let of_hook = config.hook.iter_mut().filter_map(|hook| {
        Some(("hook.secret_file".to_owned(), hook.secret_file.as_ref()?, &mut hook.secret))
    });
    let of_webhooks = config.webhooks.iter_mut().map(|webhook| {
        (format!("{}.secret_file", webhook.section), &webhook.secret_file, &mut webhook.secret)
    });
    let of_streams = config.streams.iter_mut().filter_map(|stream| {
        let key = format!("{}.password_file", stream.section);
        Some((key, stream.password_file.as_ref()?, &mut stream.password))
    });
    let of_cluster = config.cluster.iter_mut().filter_map(|cluster| {
        let file = cluster.password_file.as_ref()?;
        Some(("cluster.password_file".to_owned(), file, &mut cluster.password))
    });
    let of_fleet = config.fleet.iter_mut().filter_map(|fleet| {
        Some(("cluster.token_file".to_owned(), fleet.token_file.as_ref()?, &mut fleet.token))
    });
    let all = of_credentials.chain(of_hook).chain(of_webhooks).chain(of_streams);
    for (key, file, place) in all.chain(of_cluster).chain(of_fleet) {
        let read = files::read_whole(file, limits::PASSWORD_FILE_MAX)
            .map_err(PasswordFlaw::Unreadable)
            .and_then(|bytes| Password::of_file(bytes).map_err(PasswordFlaw::Bad));
        match read {
            Ok(password) => *place = password,
            Err(flaw) => bad.push((key, FileFlaw::Password(file.clone(), flaw))),
        }
    }
    bad
}

/// Passwords that others may read.
fn open_passwords(config: &Config) -> Vec<ConfigError> {
    let doubt = |(key, path): (String, &PathBuf)| {
        let (problem, fix) = secret::doubt(path, &std::fs::metadata(path).ok()?)?;
        Some(config.places.remark(&key, problem, fix))
    };
    let of_credentials =
        |credentials: &Credentials| format!("credentials.{}.password_file", credentials.name);
    let all = config.credentials.iter().map(|one| (of_credentials(one), &one.password_file));
    let of_hook = config.hook.as_ref().and_then(|hook| hook.secret_file.as_ref());
    let of_webhooks = config
        .webhooks
        .iter()
        .map(|webhook| (format!("{}.secret_file", webhook.section), &webhook.secret_file));
    let of_hook = of_hook.map(|file| ("hook.secret_file".to_owned(), file));
    let of_streams = config.streams.iter().filter_map(|stream| {
        Some((format!("{}.password_file", stream.section), stream.password_file.as_ref()?))
    });
    let of_cluster = config
        .cluster
        .iter()
        .filter_map(|cluster| Some(("cluster.password_file".to_owned(), cluster.password_file.as_ref()?)));
    let of_fleet = config
        .fleet
        .iter()
        .filter_map(|fleet| Some(("cluster.token_file".to_owned(), fleet.token_file.as_ref()?)));
    let all = all.chain(of_hook).chain(of_webhooks).chain(of_streams);
    all.chain(of_cluster).chain(of_fleet).filter_map(doubt).collect()
}

/// The machine's name servers, unless others are configured. Whether they are the machine's.
fn find_name_servers(config: &mut Config) -> bool {
    let none = config.dns.servers.is_empty();
    if none {
        config.dns.servers = machines_name_servers();
    }
    none
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
