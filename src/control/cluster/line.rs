//! Beside cluster: a connection to its server, on which scripts are run.

use std::sync::Arc;
use std::time::Duration;

use crate::config::ClusterConfig;
use crate::control::redis::resp::{self, Reply};
use crate::control::redis::{Login, ask, connect};
use crate::control::thread::Turn;
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::runtime::exchange::wire::Wire;
use crate::runtime::process;
use crate::time::Instant;

/// All threads of a cluster count by this: it never stands at zero.
pub(super) fn now() -> Instant {
    Instant(1) + process::since_boot()
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

/// A connection, and the scripts that are run on it.
pub(super) struct Line {
    config: ClusterConfig,
    settings: Arc<dyn WebhookSettings>,
    scripts: &'static [&'static str],
    open: Option<Open>,
    /// Nothing is tried before.
    again: Instant,
    why: String,
}

struct Open {
    wire: Wire,
    /// Names of the scripts there.
    names: Vec<Vec<u8>>,
}

impl Line {
    pub fn new(
        config: ClusterConfig,
        settings: Arc<dyn WebhookSettings>,
        scripts: &'static [&'static str],
    ) -> Line {
        Line { config, settings, scripts, open: None, again: Instant(0), why: String::new() }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Runs a script with these words behind its name, over the connection that there is, or another.
    pub fn call(&mut self, turn: &Turn, script: usize, words: &[&[u8]]) -> Result<Reply, String> {
        if now() < self.again {
            return Err(self.why.clone());
        }
        let was_open = self.open.is_some();
        let first = self.try_call(turn, script, words);
        let answer = match first {
            // It was closed meanwhile, or was started again and knows no script: that is no trouble.
            Err((_, may_be_old)) if was_open && may_be_old => self.try_call(turn, script, words),
            other => other,
        };
        answer.map_err(|(why, _)| {
            self.again = now() + limits::CLUSTER_AGAIN;
            self.why.clone_from(&why);
            why
        })
    }

    /// The same once. `Err`: why not, and whether another connection may help.
    fn try_call(&mut self, turn: &Turn, script: usize, words: &[&[u8]]) -> Result<Reply, (String, bool)> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect(turn).map_err(|why| (why, false))?,
        };
        let mut all: Vec<&[u8]> = vec![b"EVALSHA", &open.names[script]];
        all.extend(words);
        let mut command = Vec::new();
        resp::command(&all, &mut command);
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
        let names = self.scripts.iter().map(|script| load(script)).collect::<Result<_, String>>()?;
        Ok(Open { wire, names })
    }
}
