//! What an operator may say, as types that are valid by construction.
//!
//! [`Config::parse`] reads TOML once; everything after it works with these types and never meets a string that
//! still has to be understood. An error names file, line, key and the fix ([`ConfigError`]).

pub mod access;
pub mod acme;
mod api;
mod boot;
pub mod blocklists;
pub mod bounces;
mod choices;
mod cluster;
mod content;
pub mod credentials;
pub mod describe;
pub mod differences;
pub mod dkim;
mod duties;
pub(crate) mod error;
pub mod feedback;
pub mod gateway;
mod guess;
pub mod fleet;
pub mod hook;
pub mod judge;
mod listener;
pub(crate) mod literal;
#[cfg(test)]
mod labels;
mod log;
mod manner;
pub mod mechanisms;
pub(crate) mod nearest;
mod read;
mod outbound_tls;
mod pickup;
pub mod public;
pub mod quota;
pub mod retry;
pub mod rule;
mod section;
mod sandbox;
mod shaping;
mod shard;
mod shards;
pub mod sources;
pub mod suppression;
mod syntax;
mod tenant;
pub mod target;
pub mod tls;
pub mod tuning;
pub mod value;
pub mod warmup;
mod stream;
mod webhook;
mod whole;

pub use content::{Content, FinalNewline, LongLines, OddBytes};
pub use duties::{AuthorCheck, Duties};
pub use manner::Manner;

pub use acme::{AcmeConfig, acme_files};
pub use api::ApiConfig;
pub use blocklists::Blocklists;
pub use boot::Boot;
pub use bounces::Bounces;
pub use cluster::ClusterConfig;
pub use credentials::{BadPassword, Credentials, Password};
pub use dkim::DkimConfig;
pub use error::{ConfigError, KeyLines};
pub use feedback::FeedbackConfig;
pub use gateway::{GatewayConfig, Verify};
pub use listener::{Kind, ListenAddress, ListenerConfig, ProxyConfig, TlsFiles};
pub use log::{Keep, LogConfig, LogFormat, Redacted, Rotate};
pub use mechanisms::{AuthMechanism, AuthMechanisms};
pub use outbound_tls::{ReportsConfig, TlsConfig};
pub use pickup::PickupConfig;
pub use public::PublicConfig;
pub use retry::Retry;
pub use rule::{AddressPattern, RuleConfig};
pub use sandbox::SandboxConfig;
pub use shaping::ShapingConfig;
pub use shard::{Particulars, ShardConfig};
pub use sources::{PoolConfig, Proxy, ProxyKind, SourceConfig};
pub use stream::{NatsUrl, RedisUrl, StreamConfig, StreamUrl};
pub use suppression::SuppressionConfig;
pub use target::{Choice, RouteTarget, Scheme};
pub use tenant::TenantConfig;
pub use tls::TlsLevel;
pub use tuning::{RuntimeChoice, Tuning};
pub use value::{BareNewlines, DomainPattern, Network, PrivateNetworks};
pub use warmup::WarmupConfig;
pub use webhook::WebhookConfig;
pub use whole::Config;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dns::latest::Latest;

/// `[node]`
#[derive(Clone, Debug)]
pub struct Node {
    /// EHLO name, Received `by`, and the domain bounces come from. Default: the machine's host name.
    pub hostname: String,
    /// Where the spool lanes live.
    pub data_dir: PathBuf,
    /// Shards; 0 is one per core this process may use.
    pub shards: usize,
    /// How long a stop waits before it takes no more mail, while balancers are told that it is about to.
    pub stop_grace: Duration,
}

/// `[[route]]`
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// Which recipient domains.
    pub domain: DomainPattern,
    /// Where their mail goes: at least one, all of one protocol.
    pub to: Vec<Choice>,
    /// How TLS is used with the hosts, whatever else says so of their sites; as it is written.
    pub tls: Option<TlsLevel>,
    /// Who we are there: the name of one of `[credentials]`.
    pub credentials: Option<Box<str>>,
    /// When it is tried again.
    pub retry: Option<Arc<Retry>>,
}

impl RouteConfig {
    /// How TLS is used: a password is given to no host that has not proven who it is.
    pub fn tls(&self) -> Option<TlsLevel> {
        if self.credentials.is_some() { Some(TlsLevel::Verified) } else { self.tls }
    }
}

/// `[dns]`
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// Resolvers, asked in this order; empty in the file means those of /etc/resolv.conf, also when they change.
    pub servers: Vec<SocketAddr>,
    /// One try's timeout.
    pub timeout: Duration,
    /// Tries over all servers before a temporary failure.
    pub attempts: u32,
    /// `hosts`: addresses of hosts that routes name, looked at before the DNS; None: none.
    pub hosts: Option<PathBuf>,
    /// What that file says, by name in lower case; read at start.
    pub known: Arc<HashMap<Box<str>, Vec<IpAddr>>>,
    /// What that file and /etc/resolv.conf say when they change later.
    pub latest: Arc<Latest>,
}

/// `[delivery]`
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Connections of the whole node to one destination.
    pub connections_per_destination: usize,
    /// Connections of the whole node to one address that MX records lead to, over all destinations.
    pub connections_per_address: usize,
    /// Whether MX records may lead to private addresses (RFC 1918, RFC 4193, RFC 6598). Routes always may.
    pub private_networks: PrivateNetworks,
    /// Messages over one connection before it is closed; 0 is no bound.
    pub messages_per_connection: usize,
    /// Whether the next message's commands follow a body in one group (RFC 2920) where the hop offers PIPELINING.
    pub pipeline_messages: bool,
    /// Port of MX hosts; 25 but in tests.
    pub mx_port: u16,
    /// Whether STARTTLS is tried where it is offered (RFC 3207, opportunistic).
    pub starttls: bool,
    /// Whether MX hosts may resolve to loopback addresses; false but in tests.
    pub allow_loopback_mx: bool,
    /// The pool or source of mail that names none; None: the node's own addresses.
    pub pool: Option<Box<str>>,
}

/// `[spool]`
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Bytes of one segment, a multiple of 4096.
    pub segment_size: u64,
    /// Most bytes of segments over all lanes; 0 is as much as the disk has.
    pub size_max: u64,
}

/// `[control]`
#[derive(Clone, Debug)]
pub struct Control {
    /// `http`: metrics and health; None switches it off (`http = ""`).
    pub http: Option<SocketAddr>,
    /// `journal_size_max`: bytes of events that wait in `node.data_dir` until all logs have them.
    pub journal_size_max: u64,
    /// `socket`: where commands reach the running relay; None switches it off (`socket = ""`).
    pub socket: Option<PathBuf>,
    /// `analytics`: what becomes of mail is counted, where a journal of events is kept.
    pub analytics: bool,
    /// Somebody said where: it is no place that was chosen for want of another, and must be there.
    pub socket_named: bool,
    /// There is none only because nobody said where, and the path of `node.data_dir` is too long for one.
    pub socket_left_out: bool,
}
