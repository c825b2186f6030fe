//! Beside cluster: the thread that asks what this node may give out of quotas and of volumes of warm-up, which hold for all nodes together. What is asked
//! for is decided in `policy::cluster::counts`; whoever gives out blocks never waits for this one longer than it says.

use std::sync::Arc;

use super::line::{Line, now};
use super::link::key;
use crate::config::ClusterConfig;
use crate::control::health::Health;
use crate::control::say::say;
use crate::control::thread::Turn;
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::cluster::count_script::{self, COUNTS, CountAnswer, CountAsk};
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::time::Instant;

/// Whoever asks.
pub(super) struct Counted {
    config: ClusterConfig,
    mesh: Arc<Mesh>,
    line: Line,
    /// Whether another process takes over.
    health: Arc<Health>,
    node: String,
    /// When it is asked at the latest, so that it shows that all was forgotten.
    heard: Instant,
    /// Since when nobody answers.
    silent: Option<Instant>,
    /// That was said.
    said: bool,
}

impl Counted {
    pub fn new(
        config: ClusterConfig,
        (node, mesh): (u64, Arc<Mesh>),
        (settings, health): (Arc<dyn WebhookSettings>, Arc<Health>),
    ) -> Counted {
        let line = Line::new(config.clone(), settings, &[COUNTS]);
        let (node, heard) = (format!("{node:016x}"), Instant(0));
        Counted { config, mesh, line, health, node, heard, silent: None, said: false }
    }

    /// Until it is over.
    pub fn run(mut self, turn: &Turn) {
        process::stand_back();
        let mesh = self.mesh.clone();
        let Some(desk) = mesh.cluster.desk() else { return };
        while !turn.is_over() {
            if self.health.upgrade().is_under_way() {
                // Another process of this node asks, and what it was granted is not taken back here.
                turn.pause(limits::CLUSTER_ROUND);
                continue;
            }
            let (batch, in_doubt) = {
                let mut ledger = desk.counts.ledger();
                (ledger.ask(now(), process::wall().0), ledger.is_in_doubt())
            };
            if batch.is_empty() && now() < self.heard && !in_doubt {
                turn.pause(limits::CLUSTER_ROUND);
                continue;
            }
            let sent = now();
            match self.ask(&batch, turn) {
                Ok(answer) => {
                    desk.counts.ledger().answer(&batch, &answer, (sent, now()));
                    self.heard = now() + limits::CLUSTER_HERE;
                    self.well();
                    if batch.is_empty() {
                        turn.pause(limits::CLUSTER_ROUND);
                    }
                }
                Err(why) => {
                    desk.counts.ledger().fails(now());
                    self.fails(&why);
                    turn.pause(limits::CLUSTER_ROUND);
                }
            }
        }
    }

    fn ask(&mut self, batch: &[CountAsk], turn: &Turn) -> Result<CountAnswer, String> {
        let lasts = limits::CLUSTER_LEASE.as_millis().to_string();
        let keys: Vec<String> = std::iter::once(key(&self.config, "counts"))
            .chain(batch.iter().map(|ask| key(&self.config, &ask.name())))
            .collect();
        let (many, arguments) = (keys.len().to_string(), batch.iter().flat_map(CountAsk::words));
        let all: Vec<String> =
            std::iter::once(many).chain(keys).chain([self.node.clone(), lasts]).chain(arguments).collect();
        let words: Vec<&[u8]> = all.iter().map(String::as_bytes).collect();
        let reply = self.line.call(turn, 0, &words)?;
        let read = reply.numbers().and_then(|numbers| count_script::read(&numbers, batch.len()));
        read.ok_or_else(|| "its answer is none that was asked for".to_owned())
    }

    fn well(&mut self) {
        self.silent = None;
        if std::mem::take(&mut self.said) {
            let name = &self.config.name;
            say(Level::Info, format_args!("quotas and warm-up of cluster {name} are counted together again"));
        }
    }

    fn fails(&mut self, why: &str) {
        let since = *self.silent.get_or_insert(now());
        if now().since(since) > limits::CLUSTER_SILENCE && !std::mem::replace(&mut self.said, true) {
            let (name, share) = (&self.config.name, self.config.share);
            say(
                Level::Warning,
                format_args!(
                    "quotas and warm-up of cluster {name} are not counted together: {why}; this node gives out what it was granted of each, and at most {share} of \
                     what was left"
                ),
            );
        }
    }
}
