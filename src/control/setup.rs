//! What control is given at the start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config;
use crate::control::certificates::Showing;
use crate::control::health::Health;
use crate::control::{
    accounting, acme, hook, logins, names, outward, reload, sandbox, sts, suppression, tls_rpt, unsubscribe,
    verifier, webhook,
};
use crate::observe::Instruments;
use crate::observe::families::Family;
use crate::shard::mesh::Mesh;

/// Pages for anybody.
#[derive(Clone)]
pub struct Public {
    /// Where they are served.
    pub https: Option<SocketAddr>,
    /// The same without TLS.
    pub http: Option<SocketAddr>,
    /// By what; None: by nothing.
    pub settings: Option<Arc<dyn unsubscribe::PublicSettings>>,
    /// Who unsubscribed.
    pub counts: Arc<Family>,
}

/// What control is given.
pub struct Setup {
    /// `[control]`
    pub section: config::Control,
    /// The way to the shards.
    pub mesh: Arc<Mesh>,
    /// Instruments of each shard.
    pub instruments: Vec<Arc<Instruments>>,
    /// The accounting logs and their journal, opened. None: nobody reads what shards tell.
    pub accounting: Option<accounting::Opened>,
    /// The certificates that listeners show, one for each file.
    pub certificates: Showing,
    /// What `/healthz` and `/readyz` say.
    pub health: Arc<Health>,
    /// What the shards run on.
    pub runtime: &'static str,
    /// Plans of sources in warm-up, as they are at the start.
    pub warmups: Vec<config::WarmupConfig>,
    /// `[suppression]`, as it is at the start.
    pub suppression: config::SuppressionConfig,
    /// How large the suppression list is.
    pub listed: Arc<suppression::ListNumbers>,
    /// The node's id.
    pub node: u64,
    /// The node's name.
    pub hostname: String,
    /// Where its lanes are.
    pub data_dir: PathBuf,
    /// The machine's files of names, where they are looked at.
    pub names: Option<names::Current>,
    /// How often rules for replies did something.
    pub fired: Arc<Family>,
    /// Reads the configuration again.
    pub reload: Option<Arc<dyn reload::Reload>>,
    /// By what policies of domains are fetched; None: they are not.
    pub policies: Option<Arc<dyn sts::FetchSettings>>,
    /// By what mail of strangers is verified; None: it is not.
    pub verifies: Option<Arc<dyn verifier::ResolveSettings>>,
    /// Which service is asked about messages; None: nobody asks one.
    pub hook: Option<Arc<dyn hook::HookSettings>>,
    /// What came of policies.
    pub fetches: Arc<Family>,
    /// Pages for anybody.
    pub public: Public,
    /// By what certificates are asked for; None: they are not.
    pub acme: Option<Arc<dyn acme::AcmeSettings>>,
    /// What came of that.
    pub acme_orders: Arc<Family>,
    /// How webhooks are reached; None: there are none.
    pub webhooks: Option<Arc<dyn webhook::WebhookSettings>>,
    /// What came of their batches.
    pub sent: outward::Sent,
    /// By what domains are told of TLS to their hosts; None: they are not.
    pub reporting: Option<Arc<dyn tls_rpt::ReportSettings>>,
    /// What came of that.
    pub reported: tls_rpt::Counts,
    /// Which directory mail is taken out of; None: none is.
    pub pickup: Option<config::PickupConfig>,
    /// What an inbox of the sandbox may have.
    pub sandbox: sandbox::Bounds,
    /// What came of its files.
    pub picked: Arc<Family>,
    /// Where mail is taken over HTTP, and whether TLS is spoken there; None: nowhere.
    pub api: Option<(SocketAddr, bool)>,
    /// What came of it.
    pub api_counts: Arc<Family>,
    /// Nodes that limits are shared with; None: there are none.
    pub cluster: Option<config::ClusterConfig>,
    /// How they are looked at; None: they are not.
    pub fleet: Option<config::fleet::FleetConfig>,
    /// What came of that.
    pub nodes_asked: Arc<Family>,
    /// Who can log in; None: nobody is kept.
    pub logins: Option<Arc<dyn logins::LoginsInForce>>,
}
