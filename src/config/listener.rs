//! `[[listener]]`: where clients come in, and what holds for them.

mod address;
mod certificates;
mod kind;
mod proxy;

use std::path::{Path, PathBuf};

pub use address::ListenAddress;
pub use certificates::TlsFiles;
pub use kind::Kind;
pub use proxy::ProxyConfig;

use toml::de::DeValue;

use crate::config::literal::{Fix, Wrong, bytes, integer, list, path, quoted, word};
use crate::config::section::Section;
use crate::config::{
    AuthMechanisms, BareNewlines, Content, Duties, GatewayConfig, Manner, Network, acme, content, duties,
    gateway, guess, manner, mechanisms, value,
};
use crate::limits;
use crate::shaping::value::{Rate, read_rate};

/// `[[listener]]`
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Where it listens.
    pub address: ListenAddress,
    /// What it is for.
    pub kind: Kind,
    /// Networks that may relay. Default: loopback; none where clients log in.
    pub relay_from: Vec<Network>,
    /// `relay_to` and `verify`: what is taken from anybody.
    pub gateway: GatewayConfig,
    /// Largest message, bytes.
    pub message_size_max: u64,
    /// Recipients of one transaction.
    pub recipients_max: usize,
    /// Certificate chain and key, PEM; STARTTLS is offered when both are set, or TLS is there from the first byte.
    pub tls: Option<TlsFiles>,
    /// `acme`: an authority gives that certificate, and renews it.
    pub acme: bool,
    /// Further ones of `certificates`, for hosts that clients ask for by name.
    pub more_tls: Vec<TlsFiles>,
    /// `client_ca`: authorities whose certificates log clients in, PEM.
    pub client_ca: Option<PathBuf>,
    /// How accounts log in. None: by all that every account can.
    pub auth: Option<AuthMechanisms>,
    /// What becomes of a message with a bare CR or LF in it.
    pub bare_newlines: BareNewlines,
    /// What else is taken of messages that are not as they should be.
    pub content: Content,
    /// What is done for mail of clients that may relay.
    pub duties: Duties,
    /// What is said of the session itself.
    pub manner: Manner,
    /// Connections at one time, over all shards.
    pub connections_max: usize,
    /// Connections at one time of one client: an IPv4 address or an IPv6 /64.
    pub connections_per_client: usize,
    /// `proxy_from`, `proxy_tls`, `xclient_from` and `handover_from`: balancers and gateways in front of it, and other nodes.
    pub proxy: ProxyConfig,
    /// Messages of one client in a time.
    pub messages_per_client: Option<Rate>,
    /// Recipients of one client in a time.
    pub recipients_per_client: Option<Rate>,
}

impl ListenerConfig {
    /// What an address means with no other key.
    pub fn plain(address: impl Into<ListenAddress>) -> ListenerConfig {
        ListenerConfig {
            address: address.into(),
            kind: Kind::default(),
            relay_from: loopback(),
            gateway: GatewayConfig::default(),
            message_size_max: limits::MESSAGE_SIZE_DEFAULT,
            recipients_max: limits::RECIPIENTS_MAX,
            tls: None,
            acme: false,
            more_tls: Vec::new(),
            client_ca: None,
            auth: None,
            bare_newlines: BareNewlines::default(),
            content: Content::USUAL,
            duties: Duties::NONE,
            manner: Manner::default(),
            connections_max: limits::INBOUND_CONNECTIONS_MAX,
            connections_per_client: limits::CONNECTIONS_PER_CLIENT_DEFAULT as usize,
            proxy: ProxyConfig::default(),
            messages_per_client: None,
            recipients_per_client: None,
        }
    }

    /// All certificates, the first of which is shown to those who ask for no name.
    pub fn certificates(&self) -> impl Iterator<Item = &TlsFiles> {
        self.tls.iter().chain(&self.more_tls)
    }

    /// Whether clients can be under TLS, or their gateway cares for that, and so log in where there are accounts.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some() || self.proxy.tls || !self.proxy.xclient.is_empty()
    }
}

pub(super) fn listeners(root: &Section<'_>, accounts: bool, data_dir: &Path) -> Vec<ListenerConfig> {
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    let sections = root.sections("listener");
    for section in &sections {
        let listener = listener(section, accounts, data_dir);
        let taken = |address: &ListenAddress| listeners.iter().any(|other| other.address == *address);
        if taken(&listener.address) && !listener.address.is_any_port() {
            let problem = format!("{} is listened on twice", listener.address);
            let mut other = listener.address.clone();
            while taken(&other) {
                other = other.next();
            }
            let more = ", an address of its own";
            section.fail("address", "", &problem, Fix::Write(quoted(&other.to_string()), more.to_owned()));
        }
        listeners.push(listener);
    }
    if listeners.is_empty() {
        listeners.push(listener(&root.absent("listener[0]"), accounts, data_dir));
    }
    listeners
}

/// Who may relay unless said otherwise: this machine.
fn loopback() -> Vec<Network> {
    ["127.0.0.0/8", "::1"].iter().filter_map(|network| value::network(network).ok()).collect()
}

fn listener(section: &Section<'_>, accounts: bool, data_dir: &Path) -> ListenerConfig {
    const HERE: &str = "127.0.0.1:2525";
    let default = value::socket(HERE, None).expect("a constant").into();
    let address = section.read("address", default, |value| address::read(value, HERE));
    let kind = kind::read(section);
    let usual = if kind.needs_login() { Vec::new() } else { loopback() };
    let relay_from =
        section.read("relay_from", usual, |value| list(value, value::network, guess::network, "10.0.0.0/8"));
    let gateway = gateway::read(section);
    let message_size_max = section.read("message_size_max", limits::MESSAGE_SIZE_DEFAULT, |value| {
        bytes(value, limits::MESSAGE_SIZE_LEAST..=limits::MESSAGE_SIZE_MOST, limits::MESSAGE_SIZE_DEFAULT)
    });
    let recipients = limits::RECIPIENTS_MAX as u64;
    let recipients_max = section.read("recipients_max", recipients, |value| {
        integer(value, limits::RECIPIENTS_LEAST..=recipients, recipients)
    });
    let bare_newlines = section.read("bare_newlines", BareNewlines::Refuse, |value| {
        word(value, [("refuse", BareNewlines::Refuse), ("normalise", BareNewlines::Normalise)])
    });
    let inbound = 1..=limits::INBOUND_CONNECTIONS_LIMIT;
    let most = limits::INBOUND_CONNECTIONS_MAX as u64;
    let connections_max =
        section.read("connections_max", most, |value| integer(value, inbound.clone(), most));
    let most = limits::CONNECTIONS_PER_CLIENT_DEFAULT;
    let connections_per_client =
        section.read("connections_per_client", most, |value| integer(value, inbound, most));
    let (tls, more_tls) = certificates::read(section, tls_files(section));
    let (acme, tls) = acme::read_use(section, tls, data_dir);
    let client_ca = certificates::read_authorities(section, tls.is_some(), accounts);
    let proxy = proxy::read(section);
    kind::check(section, kind, &gateway, (tls.as_ref(), proxy.tls));
    let messages_per_client = section.read("messages_per_client", None, in_a_time);
    let recipients_per_client = section.read("recipients_per_client", None, in_a_time);
    let auth = section.read("auth", None, |value| mechanisms::read(value).map(Some));
    let secure = tls.is_some() || proxy.tls || !proxy.xclient.is_empty();
    let logs_in = accounts && auth.is_none_or(|auth| !auth.is_empty()) && secure;
    if relay_from.is_empty() && gateway.domains.is_empty() && !logs_in {
        fail_shut(section, kind);
    }
    let (content, manner) = (content::read(section), manner::read(section));
    let duties = duties::read(section, if kind.needs_login() { Duties::SUBMISSION } else { Duties::NONE });
    section.finish();
    ListenerConfig {
        address,
        kind,
        relay_from,
        gateway,
        message_size_max,
        recipients_max: recipients_max as usize,
        tls,
        acme,
        more_tls,
        client_ca,
        auth,
        bare_newlines,
        content,
        duties,
        manner,
        connections_max: connections_max as usize,
        connections_per_client: connections_per_client as usize,
        proxy,
        messages_per_client,
        recipients_per_client,
    }
}

/// Nobody could ever send here: surely not what was meant.
fn fail_shut(section: &Section<'_>, kind: Kind) {
    if kind.needs_login() {
        let fix = "set auth.accounts, tls_certificate and tls_key, so that accounts may, or name networks in relay_from";
        section.fail("kind", "", "nobody may send here: clients cannot log in", Fix::Do(fix.to_owned()));
        return;
    }
    let more = ", or set auth.accounts and a certificate so that accounts may";
    let fix = Fix::Write("[\"127.0.0.0/8\", \"::1\"]".to_owned(), more.to_owned());
    section.fail("relay_from", "", "nobody may relay here", fix);
}

/// So many in a time, and no more to it: there is no even pace that a burst would be an exception to.
fn in_a_time(value: &DeValue<'_>) -> Result<Option<Rate>, Wrong> {
    let rate = read_rate(value)?;
    if rate.burst.is_none() && !rate.local {
        return Ok(Some(rate));
    }
    let plain = Rate { burst: None, local: false, ..rate };
    Err(Wrong::write("this rate has no max_burst and no local:", quoted(&plain.to_string()), ""))
}

/// Both or neither.
pub(super) fn tls_files(section: &Section<'_>) -> Option<TlsFiles> {
    let certificate: Option<PathBuf> =
        section.read("tls_certificate", None, |value| path(value, "/etc/relevo/chain.pem"));
    let key: Option<PathBuf> = section.read("tls_key", None, |value| path(value, "/etc/relevo/key.pem"));
    let missing = |key: &str, beside: &str, what: &str, usual: &str| {
        let problem = format!("the {what} of {beside} is missing");
        let more = ", the path of a PEM file";
        section.fail(key, beside, &problem, Fix::Write(quoted(usual), more.to_owned()));
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => return Some(TlsFiles { certificate, key }),
        (None, None) => {}
        (Some(_), None) => missing("tls_key", "tls_certificate", "key", "/etc/relevo/key.pem"),
        (None, Some(_)) => missing("tls_certificate", "tls_key", "certificate", "/etc/relevo/chain.pem"),
    }
    None
}
