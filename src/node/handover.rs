//! One process takes over from another: what the newer does before it has the spool, and how the older lets go of it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::control::{Health, say};
use crate::limits;
use crate::node::error::StartError;
use crate::observe::diagnostics::Level;
use crate::runtime::given::{self, At};
use crate::runtime::process;
use crate::runtime::succession::{self, Heard, Line, words};

/// The process that this one takes over from.
pub struct Predecessor {
    line: Line,
    /// Since when it takes nobody in.
    shut: Option<Duration>,
    /// It was this very process, to which the new one came to nothing: why.
    failed: Option<String>,
}

impl Predecessor {
    /// The one that started this process, if it did so to hand over to it; its sockets are given from then on.
    pub fn find() -> Result<Option<Predecessor>, StartError> {
        let Some(line) = succession::predecessor() else { return Ok(None) };
        let lost = |why: &dyn std::fmt::Display| StartError::Handover(format!("no sockets came: {why}"));
        let line = line.map_err(|error| lost(&error))?;
        given::hand_on();
        let until = process::since_boot() + limits::UPGRADE_PREPARED;
        loop {
            let left = until.saturating_sub(process::since_boot());
            match line.hear(left).map_err(|error| lost(&error))? {
                Heard::Sockets => {}
                Heard::Word(word) if word == words::ALL => {
                    return Ok(Some(Predecessor { line, shut: None, failed: None }));
                }
                Heard::Word(_) => {}
                Heard::Silence => return Err(lost(&"it says nothing")),
                Heard::Gone => return Err(lost(&"it has ended")),
            }
        }
    }

    /// Says that this process is ready but for the spool, and waits until it may have that. One that ended has let go of it as well.
    pub(super) fn wait(&mut self) -> Result<(), StartError> {
        // Who said all before has ended.
        let _ = self.line.say(words::PREPARED);
        let until = process::since_boot() + limits::UPGRADE_LET_GO;
        loop {
            let left = until.saturating_sub(process::since_boot());
            let heard = self.line.hear(left);
            match heard.map_err(|error| StartError::Handover(error.to_string()))? {
                Heard::Word(word) => {
                    let Some(micros) = word.strip_prefix(words::YOURS) else { continue };
                    let (micros, failed) = micros.trim().split_once(' ').unwrap_or((micros.trim(), ""));
                    self.shut = micros.parse().ok().map(Duration::from_micros);
                    self.failed = (!failed.is_empty()).then(|| failed.to_owned());
                    return Ok(());
                }
                Heard::Gone => {
                    say(
                        Level::Warning,
                        format_args!("the process that was to hand over has ended: going on without it"),
                    );
                    return Ok(());
                }
                Heard::Silence if left.is_zero() => {
                    let seconds = limits::UPGRADE_LET_GO.as_secs();
                    return Err(StartError::Handover(format!(
                        "the spool was not let go of within {seconds} s"
                    )));
                }
                Heard::Silence | Heard::Sockets => {}
            }
        }
    }

    /// Why this is no other process than before.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Says that mail is taken. For how long clients had to wait.
    pub fn serving(&self) -> Option<Duration> {
        let waited = self.shut.map(|shut| process::since_boot().saturating_sub(shut));
        let _ = self.line.say(words::SERVING);
        given::take_over();
        waited
    }
}

/// What tells how this node is. Whoever asks before it takes mail hears that taking over is not done yet.
pub(super) fn health(takes_over: bool) -> Arc<Health> {
    let health = Health::default();
    if takes_over {
        health.upgrade().stage("handing_over");
    }
    Arc::new(health)
}

/// Says which sockets of a supervisor nobody listens to.
pub(super) fn tell_left_over(config: &Config) {
    for (at, name) in given::left_over() {
        let like = config.listeners.iter().find(|listener| listener.address.port() == port(&at));
        let hint = like.filter(|_| port(&at).is_some()).map_or(String::new(), |listener| {
            format!(" (the configuration has {}: the two must be written alike)", listener.address)
        });
        say(
            Level::Warning,
            format_args!(
                "the supervisor gave a socket for {at} ({name}), and no listener has that address{hint}: who connects there waits for ever; add a \
                 [[listener]], or take it out of the socket unit"
            ),
        );
    }
}

fn port(at: &At) -> Option<u16> {
    if let At::Network(address) = at { Some(address.port()) } else { None }
}
