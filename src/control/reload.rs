//! What may be asked about the configuration of the running node; the node answers.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::access::Access;
use crate::config::{Blocklists, Config, DnsConfig, SourceConfig, SuppressionConfig};
use crate::control::api::shape::check::CheckReport;
use crate::control::api::shape::{ConfigStatus, Reloaded};
use crate::control::edits::Edits;
use crate::observe::families::{Family, FamilyInfo};
use crate::policy::tokens::Tokens;
use crate::queue::select::{BadFilter, Filter, PlacePredicate};
use crate::shaping::layers::Shaping;

/// Reloads by what came of them; one that only asked what would change is none.
pub const RELOADS: FamilyInfo = FamilyInfo {
    name: "reloads",
    help: "Reloads of the configuration by what came of them",
    label: "result",
    values: &["ok", "refused"],
};

/// What is to be watched, as what is in force has it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// `[blocklists]`
    pub lists: Blocklists,
    /// Whom to ask.
    pub dns: DnsConfig,
    /// Whose addresses.
    pub sources: Vec<SourceConfig>,
}

impl Watched {
    /// As a configuration has it.
    pub fn new(config: &Config) -> Watched {
        let Config { blocklists, dns, sources, .. } = config;
        Watched { lists: blocklists.clone(), dns: dns.clone(), sources: sources.clone() }
    }

    /// Whether the same would be asked.
    pub(super) fn asks_as(&self, other: &Watched) -> bool {
        self.lists == other.lists && self.sources == other.sources
    }
}

/// Who may ask over HTTP, and what he is shown.
#[derive(Clone, Debug, Default)]
pub struct AccessInForce {
    /// As the configuration says.
    pub settings: Access,
    /// Whose tokens are good; None: no file of tokens is configured.
    pub tokens: Option<Arc<Tokens>>,
}

/// By what mail is taken over HTTP.
#[derive(Clone, Default)]
pub struct ApiInForce {
    /// Whose tokens are good; None: nobody's.
    pub tokens: Option<Arc<Tokens>>,
    /// The certificate that is shown; None: no TLS is spoken.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Bytes that a message may have.
    pub message_size_max: u64,
}

/// Whoever reads the configuration again.
pub trait Reload: Edits + Send + Sync {
    /// Reads it, and puts it in force on all shards or changes nothing. Takes as long as files and shards take, within a bound but for a file system
    /// that hangs; another that is asked for meanwhile is refused. `by`: who asks.
    fn reload(&self, dry_run: bool, by: &str) -> Reloaded;

    /// The same, when no other is under way: it waits for that.
    fn reload_in_turn(&self, by: &str);

    /// How many there were, as [`RELOADS`] says.
    fn counts(&self) -> &Family;

    /// What is in force.
    fn standing(&self) -> ConfigStatus;

    /// What is watched on lists of others.
    fn watched(&self) -> Watched;

    /// Whether a source that is in force is called so.
    fn has_source(&self, name: &str) -> bool;

    /// Whether a pool that is in force is called so, or a source.
    fn has_pool(&self, name: &str) -> bool;

    /// The tenants that are configured.
    fn tenants(&self) -> Vec<String>;

    /// Who may ask over HTTP by what is in force.
    fn access(&self) -> AccessInForce;

    /// By what mail is taken over HTTP by what is in force.
    fn api(&self) -> ApiInForce;

    /// Who comes on the suppression list by what is in force.
    fn suppression(&self) -> SuppressionConfig;

    /// The log that is asked what became of mail; None: no log has JSON in it.
    fn json_log(&self) -> Option<PathBuf>;

    /// What the shaping files say that are in force.
    fn shaping(&self) -> Arc<Shaping>;

    /// What is said of the configuration on disk. Nothing of it is put in force. Takes as long as files do.
    fn check(&self) -> CheckReport;

    /// Says which domains a filter means by its provider and its source, as what is in force knows them.
    fn judge(&self, filter: &Filter) -> Result<PlacePredicate, BadFilter>;
}
