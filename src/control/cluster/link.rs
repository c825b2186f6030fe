//! Beside cluster: the thread that asks the server, and may wait for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use crate::config::ClusterConfig;
use crate::control::health::Health;
use crate::control::redis::resp::{self, Reply};
use crate::control::redis::{Login, ask, connect};
use crate::control::thread::Turn;
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::policy::cluster::nodes::RegisteredNode;
use crate::policy::cluster::script::{self, Ask, Grant, LEASES, NODES};
use crate::runtime::exchange::wire::Wire;
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
    /// This node, as the server knows it, and what it says of itself.
    node: (String, String),
    settings: Arc<dyn WebhookSettings>,
    /// Whether another process takes over.
    health: Arc<Health>,
    open: Option<Open>,
    /// Nothing is tried before.
    again: Instant,
    why: String,
    /// Where the look through the leases goes on.
    cursor: String,
}

struct Open {
    wire: Wire,
    /// Names of the scripts there.
    leases: Vec<u8>,
    nodes: Vec<u8>,
}

/// Both threads count by this: it never stands at zero.
pub(super) fn now() -> Instant {
    Instant(1) + process::since_boot()
}

/// The name there of what a cluster keeps.
pub(super) fn key(config: &ClusterConfig, what: &str) -> String {
    // The braces keep all of a cluster on one server, where there are several.
    format!("relevo:{{{}}}:{what}", config.name)
}

/// Connects to the server.
pub(super) fn reach(
    config: &ClusterConfig,
    settings: &dyn WebhookSettings,
    turn: &Turn,
) -> Result<Wire, String> {
    let password = config.password.secret();
    let login = Login {
        url: &config.redis,
        user: config.user.as_deref(),
        password: (!password.is_empty()).then_some(password),
        key: "cluster.redis",
    };
    connect(&login, settings, turn)
}

impl Link {
    pub fn new(
        config: ClusterConfig,
        (node, said): (u64, String),
        (settings, health): (Arc<dyn WebhookSettings>, Arc<Health>),
    ) -> Link {
        Link {
            config,
            node: (format!("{node:016x}"), said),
            settings,
            health,
            open: None,
            again: Instant(0),
            why: String::new(),
            cursor: "0".to_owned(),
        }
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
        if self.open.is_some() && !self.health.upgrade().is_under_way() {
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
        let node = self.node.0.clone();
        let reply = self.call(turn, |open| {
            let mut all: Vec<&[u8]> = vec![b"EVALSHA", &open.leases, b"1", key.as_bytes(), node.as_bytes()];
            all.push(lease.as_bytes());
            all.extend(words.iter().flatten().map(Vec::as_slice));
            let mut command = Vec::new();
            resp::command(&all, &mut command);
            command
        })?;
        let read = reply.numbers().and_then(|numbers| script::read(&numbers, batch.len()));
        read.ok_or_else(|| "its answer is none that was asked for".to_owned())
    }

    fn nodes(&mut self, turn: &Turn) -> Result<Vec<RegisteredNode>, String> {
        let keys = [self.key("nodes"), self.key("leases")];
        let gone = (limits::CLUSTER_HERE * 3).as_millis().to_string();
        let ((node, said), cursor) = (self.node.clone(), self.cursor.clone());
        let reply = self.call(turn, |open| {
            let words: [&[u8]; 9] = [
                b"EVALSHA",
                &open.nodes,
                b"2",
                keys[0].as_bytes(),
                keys[1].as_bytes(),
                node.as_bytes(),
                gone.as_bytes(),
                said.as_bytes(),
                cursor.as_bytes(),
            ];
            let mut command = Vec::new();
            resp::command(&words, &mut command);
            command
        })?;
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

    /// Sends a command, over the connection that there is, or another.
    fn call(&mut self, turn: &Turn, command: impl Fn(&Open) -> Vec<u8>) -> Result<Reply, String> {
        if now() < self.again {
            return Err(self.why.clone());
        }
        let was_open = self.open.is_some();
        let first = self.try_call(turn, &command);
        let answer = match first {
            // It was closed meanwhile, or was started again and knows no script: that is no trouble.
            Err((_, may_be_old)) if was_open && may_be_old => self.try_call(turn, &command),
            other => other,
        };
        answer.map_err(|(why, _)| {
            self.again = now() + limits::CLUSTER_AGAIN;
            self.why.clone_from(&why);
            why
        })
    }

    /// The same once. `Err`: why not, and whether another connection may help.
    fn try_call(
        &mut self,
        turn: &Turn,
        command: &impl Fn(&Open) -> Vec<u8>,
    ) -> Result<Reply, (String, bool)> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect(turn).map_err(|why| (why, false))?,
        };
        let command = command(&open);
        let began = process::since_boot();
        match ask(&mut open.wire, &command) {
            Ok(Reply::Refused(words)) => {
                let is_old = ["NOSCRIPT", "READONLY", "MOVED"].iter().any(|word| words.starts_with(word));
                if !is_old {
                    self.open = Some(open);
                }
                Err((format!("it says {words:?}"), is_old))
            }
            Ok(reply) => {
                self.open = Some(open);
                Ok(reply)
            }
            Err(error) => {
                let at_once = process::since_boot().saturating_sub(began) < Duration::from_millis(500);
                Err((error.to_string(), at_once))
            }
        }
    }

    fn connect(&self, turn: &Turn) -> Result<Open, String> {
        let mut wire = reach(&self.config, &*self.settings, turn)?;
        let mut load = |script: &str| {
            let mut command = Vec::new();
            resp::command(&[b"SCRIPT", b"LOAD", script.as_bytes()], &mut command);
            match ask(&mut wire, &command).map_err(|error| error.to_string())? {
                Reply::Text(Some(name)) => Ok(name),
                Reply::Refused(words) => Err(format!("it says {words:?}")),
                _ => Err("it takes no script".to_owned()),
            }
        };
        let (leases, nodes) = (load(LEASES)?, load(NODES)?);
        Ok(Open { wire, leases, nodes })
    }
}
