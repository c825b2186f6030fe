//! A whole file to [`Config`]: every error found at once, in the order of the lines, each with file, line, key, value, problem and fix.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::config::access::Access;
use crate::config::error::{ConfigError, KeyLines};
use crate::config::fleet::FleetConfig;
use crate::config::hook::HookConfig;
use crate::config::literal::path;
use crate::config::section::{Reader, Section};
use crate::config::shaping::ShapingConfig;
use crate::config::shard::{self, Particulars, ShardConfig};
use crate::config::shards::Shards;
use crate::config::tuning::{self, Tuning};
use crate::config::{
    AcmeConfig, ApiConfig, Blocklists, Bounces, ClusterConfig, Control, Credentials, Delivery, DkimConfig,
    DnsConfig, FeedbackConfig, ListenAddress, ListenerConfig, LogConfig, Node, PickupConfig, PoolConfig,
    PublicConfig, Retry, RouteConfig, RuleConfig, SandboxConfig, SourceConfig, SpoolConfig, StreamConfig,
    SuppressionConfig, TenantConfig, TlsConfig, WarmupConfig, WebhookConfig, acme, api, blocklists, bounces,
    cluster, credentials, dkim, feedback, hook, listener, log, outbound_tls, pickup, public, read, retry,
    rule, sandbox, shaping, sources, stream, suppression, syntax, tenant, warmup, webhook,
};
use crate::limits;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<ListenerConfig>,
    /// `[credentials]`, by name.
    pub credentials: Vec<Credentials>,
    /// `[[route]]`, most specific match wins; empty means every domain to its MX.
    pub routes: Vec<RouteConfig>,
    /// `[[rule]]`, in order.
    pub rules: Vec<RuleConfig>,
    /// `[[source]]`
    pub sources: Vec<SourceConfig>,
    /// `[[pool]]`
    pub pools: Vec<PoolConfig>,
    /// `[[warmup]]`
    pub warmups: Vec<WarmupConfig>,
    /// `[dns]`
    pub dns: DnsConfig,
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[retry]`
    pub retry: Retry,
    /// `[blocklists]`
    pub blocklists: Blocklists,
    /// `[bounces]`
    pub bounces: Bounces,
    /// `[feedback]`, and `bounces.verp_domain`.
    pub feedback: FeedbackConfig,
    /// `[hook]`
    pub hook: Option<HookConfig>,
    /// `[suppression]`
    pub suppression: SuppressionConfig,
    /// `[[tenant]]`
    pub tenants: Vec<TenantConfig>,
    /// `[shaping]`
    pub shaping: ShapingConfig,
    /// `[dkim]`
    pub dkim: DkimConfig,
    /// `[tls]`
    pub tls: TlsConfig,
    /// `[public]`
    pub public: PublicConfig,
    /// `[api]`
    pub api: ApiConfig,
    /// `[acme]`
    pub acme: AcmeConfig,
    /// `[spool]`
    pub spool: SpoolConfig,
    /// `[auth]`: file of `name:hash` lines, hashes in PHC form (`$argon2id$…`).
    pub accounts: Option<PathBuf>,
    /// `[log]`, or each `[[log]]`.
    pub logs: Vec<LogConfig>,
    /// Each `[[webhook]]`.
    pub webhooks: Vec<WebhookConfig>,
    /// Each `[[stream]]`.
    pub streams: Vec<StreamConfig>,
    /// `[pickup]`; None: no directory is watched.
    pub pickup: Option<PickupConfig>,
    /// `[sandbox]`
    pub sandbox: SandboxConfig,
    /// `[cluster]`; None: the node is on its own.
    pub cluster: Option<ClusterConfig>,
    /// Its keys by which nodes look at each other; None: the node is on its own.
    pub fleet: Option<FleetConfig>,
    /// `[control]`
    pub control: Control,
    /// `tokens`, `names` and `redact` of `[control]`, which a reload reads again.
    pub access: Access,
    /// `[tuning]`
    pub tuning: Tuning,
    /// `[[shard]]`
    pub shards: Vec<ShardConfig>,
    /// Where its keys stand in the file.
    pub places: KeyLines,
}

impl Config {
    /// Whether anything shows a certificate that an authority gives.
    pub fn uses_acme(&self) -> bool {
        self.public.acme || self.listeners.iter().any(|listener| listener.acme)
    }

    /// Reads a configuration. All errors are reported, not only the first.
    pub fn parse(text: &str, file: &Path) -> Result<Config, Vec<ConfigError>> {
        let (config, errors) = Config::examine(text, file);
        match config {
            Some(config) if errors.is_empty() => Ok(config),
            _ => Err(errors),
        }
    }

    /// Reads what can be read, with defaults in place of what is wrong: what else may be wrong can be looked for all the same.
    /// No configuration: the file is no TOML.
    pub fn examine(text: &str, file: &Path) -> (Option<Config>, Vec<ConfigError>) {
        let reader = Reader::new(text, file);
        let config = DeTable::parse(text).ok().map(|table| {
            let root = Section::new(&reader, Some(table.get_ref()), String::new(), 0);
            let mut config = read(&root);
            root.finish();
            reader.explain_unknown();
            config.places = root.places();
            config
        });
        if config.is_none() {
            for error in syntax::errors(text) {
                reader.fail(error.at, "", "", error.problem, error.fix);
            }
        }
        (config, reader.into_errors())
    }

    /// What an empty file means.
    pub fn embedded() -> Config {
        Config::parse("", Path::new("(built-in defaults)")).expect("an empty configuration is valid")
    }

    /// The shards there are on a machine where this process may use so many processors.
    pub fn shard_count(&self, cores: usize) -> usize {
        if self.node.shards == 0 { cores.clamp(1, limits::SHARDS_MAX) } else { self.node.shards }
    }

    /// Whether a journal of events is kept: for a log, a webhook, a stream, or the suppression list.
    pub fn keeps_journal(&self) -> bool {
        self.logs.iter().any(|log| !log.is_nowhere())
            || !self.webhooks.is_empty()
            || !self.streams.is_empty()
            || !self.suppression.auto.is_off()
    }

    /// Whether mail can leave by a pool or a source of this name.
    pub fn knows_pool(&self, name: &str) -> bool {
        self.pools.iter().any(|pool| *pool.name == *name) || self.sources.iter().any(|of| *of.name == *name)
    }

    /// The longest wait before a retry that it asks for anywhere.
    pub fn longest_wait(&self) -> Duration {
        let own = self.routes.iter().filter_map(|route| route.retry.as_deref());
        let own = own
            .chain(self.tenants.iter().filter_map(|tenant| tenant.retry.as_deref()))
            .map(|retry| retry.max);
        let by_rules = self.rules.iter().filter_map(|rule| rule.set.longest_wait());
        own.chain(by_rules).fold(self.retry.max, Duration::max)
    }

    /// What is wrong in `[[shard]]` when there are so many shards and, if they are known, the process may use these processors.
    pub fn judge_shards(&self, shards: usize, cores: Option<&[usize]>) -> Vec<ConfigError> {
        self.shards_together().judge(shards, cores)
    }

    /// What holds for each of so many shards.
    pub fn particulars(&self, shards: usize) -> Vec<Particulars> {
        self.shards_together().particulars(shards)
    }

    /// What is allowed and seldom meant: shards that share a core though a section pins one of them.
    pub fn shard_warnings(&self, cores: &[usize]) -> Vec<String> {
        self.shards_together().warnings(self.shard_count(cores.len()), cores)
    }

    fn shards_together(&self) -> Shards<'_> {
        Shards { sections: &self.shards, listeners: &self.listeners, tuning: &self.tuning }
    }
}

fn read(root: &Section<'_>) -> Config {
    let auth = root.section("auth");
    let accounts = auth.read("accounts", None, |value| path(value, "/etc/relevo/accounts"));
    auth.finish();
    let node = read::node(&root.section("node"));
    let (control, access) = read::control(&root.section("control"), &node.data_dir);
    let listeners = listener::listeners(root, accounts.is_some(), &node.data_dir);
    let addresses: Vec<ListenAddress> = listeners.iter().map(|listener| listener.address.clone()).collect();
    let retry = retry::read(&root.section("retry"));
    let sources = sources::sources(root);
    let pools = sources::pools(root, &sources);
    let credentials = credentials::read(root);
    let of_bounces = root.section("bounces");
    let public = public::read(&root.section("public"), &node.hostname, &node.data_dir);
    let uses_acme = public.acme || listeners.iter().any(|listener| listener.acme);
    let (cluster, fleet) = cluster::read(&root.section("cluster"));
    let config = Config {
        node,
        shards: shard::read(&root.sections("shard"), &addresses),
        rules: rule::read(root, &addresses),
        listeners,
        routes: read::routes(root, &retry, &credentials),
        credentials,
        dns: read::dns(&root.section("dns")),
        delivery: read::delivery(&root.section("delivery"), (&sources, &pools)),
        tenants: tenant::read(root, &retry, (&sources, &pools)),
        sources,
        pools,
        warmups: warmup::read(root),
        retry,
        blocklists: blocklists::read(&root.section("blocklists")),
        bounces: bounces::read(&of_bounces),
        feedback: feedback::read(&of_bounces, &root.section("feedback")),
        hook: hook::read(&root.section("hook")),
        suppression: suppression::read(&root.section("suppression")),
        shaping: shaping::read(&root.section("shaping")),
        dkim: dkim::read(&root.section("dkim")),
        tls: outbound_tls::read(&root.section("tls")),
        public,
        api: api::read(&root.section("api"), access.tokens.as_ref()),
        acme: acme::read(&root.section("acme"), uses_acme),
        spool: read::spool(&root.section("spool")),
        accounts,
        logs: log::read(root),
        webhooks: webhook::read(root),
        streams: stream::read(root),
        pickup: pickup::read(&root.section("pickup")),
        sandbox: sandbox::read(&root.section("sandbox")),
        cluster,
        fleet,
        control,
        access,
        tuning: tuning::read(&root.section("tuning")),
        places: KeyLines::default(),
    };
    of_bounces.finish();
    if config.node.shards > 0 && root.errors().borrow().is_empty() {
        // Else only the start knows how many there are; and one wrong key should not look like several.
        root.errors().borrow_mut().extend(config.judge_shards(config.node.shards, None));
    }
    config
}

#[cfg(test)]
mod tests;
