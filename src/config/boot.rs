//! What is read once, at the start: what the process is made of. All else is policy, and may be replaced while it runs.

use std::net::SocketAddr;

use crate::config::fleet::FleetConfig;
use crate::config::{
    ClusterConfig, Config, Control, LogConfig, Node, PickupConfig, SandboxConfig, ShardConfig, SpoolConfig,
    StreamConfig, Tuning, WebhookConfig,
};

/// The sections that only a start reads.
#[derive(Clone, Debug)]
pub struct Boot {
    /// `[node]`
    pub node: Node,
    /// `[spool]`
    pub spool: SpoolConfig,
    /// `[log]`, or each `[[log]]`.
    pub logs: Vec<LogConfig>,
    /// Each `[[webhook]]`.
    pub webhooks: Vec<WebhookConfig>,
    /// Each `[[stream]]`.
    pub streams: Vec<StreamConfig>,
    /// `[pickup]`
    pub pickup: Option<PickupConfig>,
    /// `[sandbox]`
    pub sandbox: SandboxConfig,
    /// `[cluster]`
    pub cluster: Option<ClusterConfig>,
    /// Its keys by which nodes look at each other.
    pub fleet: Option<FleetConfig>,
    /// `[control]`
    pub control: Control,
    /// `https` and `http` of `[public]`, and `http` of `[api]`.
    pub public: [Option<SocketAddr>; 3],
    /// `[tuning]`
    pub tuning: Tuning,
    /// `[[shard]]`, but for `listeners`, which belongs to those.
    pub shards: Vec<ShardConfig>,
}

impl Boot {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Boot {
        Boot {
            node: config.node.clone(),
            spool: config.spool.clone(),
            logs: config.logs.clone(),
            webhooks: config.webhooks.clone(),
            streams: config.streams.clone(),
            pickup: config.pickup.clone(),
            sandbox: config.sandbox.clone(),
            cluster: config.cluster.clone(),
            fleet: config.fleet.clone(),
            control: config.control.clone(),
            public: [config.public.https, config.public.http, config.api.http],
            tuning: config.tuning.clone(),
            shards: config.shards.clone(),
        }
    }

    /// Puts these sections in place of what a configuration says, which waits for a restart. But `[[shard]]`: which listeners a shard opens does not.
    pub fn put_into(&self, config: &mut Config) {
        let Boot {
            node,
            spool,
            logs,
            webhooks,
            streams,
            pickup,
            sandbox,
            cluster,
            fleet,
            control,
            public,
            tuning,
            shards: _,
        } = self.clone();
        (config.streams, config.pickup, config.sandbox) = (streams, pickup, sandbox);
        (config.cluster, config.fleet) = (cluster, fleet);
        [config.public.https, config.public.http, config.api.http] = public;
        (config.node, config.spool, config.logs) = (node, spool, logs);
        (config.control, config.tuning, config.webhooks) = (control, tuning, webhooks);
    }

    /// The same of what files are read for: the node, and where its pages are.
    pub fn put_names_into(&self, config: &mut Config) {
        config.node = self.node.clone();
        [config.public.https, config.public.http, config.api.http] = self.public;
    }

    /// The keys that say something else in `other`: they wait for a restart.
    pub fn differences(&self, other: &Boot) -> Vec<&'static str> {
        // Whatever is added to one of these sections must be named here.
        let Boot {
            node,
            spool,
            logs,
            webhooks,
            streams,
            pickup,
            sandbox,
            cluster,
            fleet,
            control,
            public: [https, http_page, http_api],
            tuning,
            shards,
        } = self;
        let Node { hostname, data_dir, shards: count, stop_grace } = node;
        let SpoolConfig { segment_size, size_max } = spool;
        let Control { http, journal_size_max, socket, analytics, socket_named: _, socket_left_out: _ } =
            control;
        let Tuning { runtime, spin, ring_depth, commit_delay } = tuning;
        let alike = |(one, other): (&ShardConfig, &ShardConfig)| one.is_like(other);
        let shards_alike = shards.len() == other.shards.len() && shards.iter().zip(&other.shards).all(alike);
        let all = [
            ("node.hostname", *hostname == other.node.hostname),
            ("node.data_dir", *data_dir == other.node.data_dir),
            ("node.shards", *count == other.node.shards),
            ("node.stop_grace", *stop_grace == other.node.stop_grace),
            ("spool.segment_size", *segment_size == other.spool.segment_size),
            ("spool.size_max", *size_max == other.spool.size_max),
            ("log", *logs == other.logs),
            // A secret that was read is none of what the file says.
            ("webhook", format!("{webhooks:?}") == format!("{:?}", other.webhooks)),
            ("stream", format!("{streams:?}") == format!("{:?}", other.streams)),
            ("pickup", *pickup == other.pickup),
            ("sandbox", *sandbox == other.sandbox),
            ("cluster", format!("{cluster:?}{fleet:?}") == format!("{:?}{:?}", other.cluster, other.fleet)),
            ("control.journal_size_max", *journal_size_max == other.control.journal_size_max),
            ("control.analytics", *analytics == other.control.analytics),
            ("control.http", *http == other.control.http),
            ("control.socket", *socket == other.control.socket),
            ("public.https", *https == other.public[0]),
            ("public.http", *http_page == other.public[1]),
            ("api.http", *http_api == other.public[2]),
            ("tuning.runtime", *runtime == other.tuning.runtime),
            ("tuning.spin", *spin == other.tuning.spin),
            ("tuning.ring_depth", *ring_depth == other.tuning.ring_depth),
            ("tuning.commit_delay", *commit_delay == other.tuning.commit_delay),
            ("shard", shards_alike),
        ];
        all.into_iter().filter(|(_, alike)| !alike).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn differences(before: &str, after: &str) -> Vec<&'static str> {
        let [before, after] = [before, after].map(|text| {
            let text = format!("node.hostname = \"mx1.example.net\"\n{text}");
            Boot::of(&Config::parse(&text, Path::new("relevo.toml")).expect("a configuration"))
        });
        before.differences(&after)
    }

    #[test]
    fn what_waits_for_a_restart_is_not_in_force() {
        let read = |text: &str| Config::parse(text, Path::new("relevo.toml")).expect("a configuration");
        let boot = Boot::of(&read("node.hostname = \"mx1.example.net\"\n"));
        let mut config = read(
            "node = { hostname = \"mx2.example.net\", shards = 2 }\nspool.size_max = \"1GiB\"\nlog.path = \"-\"\n\
             control.http = \"\"\ntuning.spin = \"10us\"\nretry.first = \"1m\"\n",
        );
        assert_eq!(boot.differences(&Boot::of(&config)).len(), 6);
        boot.put_into(&mut config);
        assert_eq!(boot.differences(&Boot::of(&config)), [""; 0]);
        assert_eq!(config.retry.first.as_secs(), 60);
    }

    #[test]
    fn what_waits_for_a_restart_is_named() {
        assert_eq!(differences("", ""), Vec::<&str>::new());
        assert_eq!(
            differences("", "[retry]\nfirst = \"1m\"\n[[listener]]\naddress = \"127.0.0.1:26\"\n"),
            [""; 0]
        );
        assert_eq!(
            differences(
                "",
                "[spool]\nsize_max = \"1GiB\"\n[tuning]\nspin = \"10us\"\n[public]\nhttp = \"127.0.0.1:81\"\n"
            ),
            ["spool.size_max", "public.http", "tuning.spin"]
        );
        assert_eq!(differences("node.shards = 2\n", "node.shards = 4\n"), ["node.shards"]);
        assert_eq!(differences("", "[pickup]\ndirectory = \"/drop\"\n"), ["pickup"]);
        assert_eq!(differences("", "[control]\nhttp = \"\"\n[log]\npath = \"-\"\n"), ["log", "control.http"]);
        let shard = |more: &str| format!("node.shards = 2\n[[shard]]\nindex = 1\n{more}");
        assert_eq!(differences(&shard(""), &shard("core = 1\n")), ["shard"]);
        // Which listeners a shard opens belongs to the listeners.
        let listeners = "listeners = [\"127.0.0.1:2525\"]\n";
        assert_eq!(differences(&shard(""), &shard(listeners)), [""; 0]);
    }
}
