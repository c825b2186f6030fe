//! Beside cluster: the thread that asks the server, and may wait for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::line::{Line, now};
use crate::config::ClusterConfig;
use crate::control::health::Health;
use crate::control::redis::resp::Reply;
use crate::control::thread::Turn;
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::policy::cluster::nodes::RegisteredNode;
use crate::policy::cluster::script::{self, Ask, Grant, LEASES, NODES};
use crate::runtime::process;
use crate::time::Instant;

/// What is to be asked.
pub(super) struct Job {
    /// Leases.
    pub batches: Vec<Vec<Ask>>,
    /// It is said that the node is there.
    pub here: bool,
}

/// What came of it.
pub(super) enum Answered {
    /// Of a batch that was sent then.
    Leases(Vec<Ask>, Instant, Result<(u64, Vec<Grant>), String>),
    /// Nodes that are there, or were a day ago.
    Nodes(Result<Vec<RegisteredNode>, String>),
    /// That was all.
    All,
}

/// The way to the server.
pub(super) struct Link {
    config: ClusterConfig,
    line: Line,
    /// This node, as the server knows it, and what it says of itself.
    node: (String, String),
    /// Whether another process takes over.
    health: Arc<Health>,
    /// Where the look through the leases goes on.
    cursor: String,
}

/// The name there of what a cluster keeps.
pub(super) fn key(config: &ClusterConfig, what: &str) -> String {
    // The braces keep all of a cluster on one server, where there are several.
    format!("relevo:{{{}}}:{what}", config.name)
}

impl Link {
    pub fn new(
        config: ClusterConfig,
        (node, said): (u64, String),
        (settings, health): (Arc<dyn WebhookSettings>, Arc<Health>),
    ) -> Link {
        let line = Line::new(config.clone(), settings, &[LEASES, NODES]);
        Link { config, line, node: (format!("{node:016x}"), said), health, cursor: "0".to_owned() }
    }

    /// Asks what is to be asked, until nobody has anything more to ask. A node that stops leaves, unless another process of it goes on.
    pub fn run(mut self, todo: &Receiver<Job>, done: &SyncSender<Answered>, turn: &Turn) {
        process::stand_back();
        while !turn.is_over() {
            let Ok(Job { batches, here }) = todo.recv_timeout(limits::CLUSTER_ROUND) else { continue };
            for batch in batches {
                let sent = now();
                let answer = self.leases(&batch, turn);
                let _ = done.send(Answered::Leases(batch, sent, answer));
            }
            if here {
                let answer = self.nodes(turn);
                let _ = done.send(Answered::Nodes(answer));
            }
            let _ = done.send(Answered::All);
        }
        if self.line.is_open() && !self.health.upgrade().is_under_way() {
            self.node.1.clear();
            // If nobody hears it, others see by themselves that it is silent.
            let _ = self.nodes(turn);
        }
    }

    fn key(&self, what: &str) -> String {
        key(&self.config, what)
    }

    fn leases(&mut self, batch: &[Ask], turn: &Turn) -> Result<(u64, Vec<Grant>), String> {
        let key = self.key("leases");
        let lease = limits::CLUSTER_LEASE.as_millis().to_string();
        let words: Vec<[Vec<u8>; 7]> = batch.iter().map(Ask::words).collect();
        let mut all: Vec<&[u8]> = vec![b"1", key.as_bytes(), self.node.0.as_bytes(), lease.as_bytes()];
        all.extend(words.iter().flatten().map(Vec::as_slice));
        let reply = self.line.call(turn, 0, &all)?;
        let read = reply.numbers().and_then(|numbers| script::read(&numbers, batch.len()));
        read.ok_or_else(|| "its answer is none that was asked for".to_owned())
    }

    fn nodes(&mut self, turn: &Turn) -> Result<Vec<RegisteredNode>, String> {
        let keys = [self.key("nodes"), self.key("leases")];
        let gone = (limits::CLUSTER_HERE * 3).as_millis().to_string();
        let words: [&[u8]; 7] = [
            b"2",
            keys[0].as_bytes(),
            keys[1].as_bytes(),
            self.node.0.as_bytes(),
            gone.as_bytes(),
            self.node.1.as_bytes(),
            self.cursor.as_bytes(),
        ];
        let reply = self.line.call(turn, 1, &words)?;
        let Reply::List(parts) = reply else { return Err("it names no nodes".to_owned()) };
        let (Some(cursor), Some(Reply::List(all))) = (parts.first().and_then(Reply::text), parts.get(1))
        else {
            return Err("it names no nodes".to_owned());
        };
        self.cursor = cursor.to_owned();
        let now = process::wall();
        let read = |three: &[Reply]| {
            let [id, ago, said] = three else { return None };
            let ago = ago.text()?.parse().unwrap_or(u64::MAX);
            RegisteredNode::read(id.text()?, ago, said.text()?, now)
        };
        Ok(all.chunks_exact(3).filter_map(read).take(limits::CLUSTER_NODES_MAX).collect())
    }
}
