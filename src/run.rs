//! `relevo run`: from the configuration to the end of the process, with the signals in between.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use relevo::config::Config;
use relevo::config::value::show_duration;
use relevo::control::reload::Reload;
use relevo::control::{say, tell_panics};
use relevo::limits;
use relevo::node::handover::Predecessor;
use relevo::node::{Node, StartError};
use relevo::observe::diagnostics::{self, Level};
use relevo::runtime::given::{self, GivenError};
use relevo::runtime::notify;
use relevo::runtime::output::last_words;
use relevo::runtime::process::{self, Signal};

mod upgrade;

use upgrade::Upgraded;

/// What an end in the middle of a start, or a stop that is asked for twice, does: all that counts is on the disk.
const STARTING: u8 = 0;
const RUNNING: u8 = 1;
const STOPPING: u8 = 2;

/// Why a run ended otherwise than it was told to.
#[derive(Debug)]
pub enum RunError {
    /// No thread for signals could be started.
    NoThread(io::Error),
    /// What the supervisor gave is of no use.
    Given(GivenError),
    /// The node did not start: why, and what to do.
    Start(StartError),
    /// Nobody waits for signals any more.
    Deaf,
    /// A shard did not end, or ended with an error.
    Stop,
}

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::NoThread(error) => write!(formatter, "cannot start a thread: {error}"),
            RunError::Given(error) => write!(formatter, "{error}"),
            RunError::Start(error) => write!(formatter, "{error}"),
            RunError::Deaf => write!(formatter, "the thread that waits for signals ended"),
            RunError::Stop => write!(formatter, "a shard did not end, or ended with an error"),
        }
    }
}

/// Runs the relay until it is told to stop.
pub fn run(config: Config) -> Result<(), RunError> {
    process::hold_signals();
    tell_panics();
    for at in given::from_supervisor().map_err(RunError::Given)? {
        say(Level::Info, format_args!("the supervisor gave a socket for {at}"));
    }
    let stage = Arc::new(AtomicU8::new(STARTING));
    let signals = listen(stage.clone(), config.node.stop_grace + limits::STOP_MAX)?;
    let start = |config| {
        let mut predecessor = Predecessor::find()?;
        Ok((Node::start_after(config, predecessor.as_mut())?, predecessor))
    };
    let started = start(config).inspect_err(|_| say_what_is_left()).map_err(RunError::Start);
    let (mut node, predecessor) = started?;
    say_what_serves(&node);
    let reload = reload_on(node.reloader())?;
    stage.store(RUNNING, Ordering::SeqCst);
    if let Some(predecessor) = predecessor {
        let waited = predecessor.serving();
        let shown = waited.unwrap_or_default().as_secs_f64();
        match predecessor.failed() {
            Some(why) => node.upgrade().failed(why),
            None => node.upgrade().took_over(waited),
        }
        say(
            Level::Info,
            format_args!("sockets were handed over: who came meanwhile waited up to {shown:.2} s"),
        );
    }
    notify::supervisor().iter().for_each(|supervisor| supervisor.ready());
    loop {
        match signals.recv() {
            Ok(Signal::Stop) => break,
            Ok(Signal::Reload) => {
                say(Level::Info, format_args!("SIGHUP: the configuration is read again"));
                let _ = reload.try_send(());
            }
            Ok(Signal::Reopen) => {
                node.reopen_logs();
                say(Level::Info, format_args!("SIGUSR1: the log is opened again"));
            }
            Ok(Signal::Upgrade) => match upgrade::upgrade(node, &signals) {
                Upgraded::GoesOn(same) => node = *same,
                Upgraded::Stops(same) => {
                    node = *same;
                    break;
                }
                Upgraded::Over => return Ok(()),
            },
            Err(_) => return Err(RunError::Deaf),
        }
    }
    notify::supervisor().iter().for_each(|supervisor| supervisor.stopping());
    let grace = node.settings.node.stop_grace;
    if !grace.is_zero() {
        let shown = show_duration(grace);
        say(
            Level::Info,
            format_args!("told to stop: /readyz says so at once, mail is taken for {shown} more"),
        );
    }
    say(Level::Info, format_args!("draining"));
    if node.stop() { Ok(()) } else { Err(RunError::Stop) }
}

/// What runs, where it listens, and what it found.
fn say_what_serves(node: &Node) {
    say(Level::Info, format_args!("{} shards on {}", node.instruments.len(), node.runtime));
    for listener in &node.settings.listeners {
        say(Level::Info, format_args!("listening on {}", listener.address));
    }
    if node.recovered > 0 {
        say(Level::Info, format_args!("{} messages found in the spool", node.recovered));
    }
}

/// A thread that reads the configuration again when it is told to: whoever hears signals must not wait for files and shards. One order that
/// waits is enough: what is read then is what is there then.
fn reload_on(reloader: Arc<dyn Reload>) -> Result<SyncSender<()>, RunError> {
    let (tell, told) = sync_channel(1);
    thread::Builder::new()
        .name("relevo-reload".into())
        .spawn(move || told.iter().for_each(|()| reloader.reload_in_turn("SIGHUP")))
        .map_err(RunError::NoThread)?;
    Ok(tell)
}

/// Waits for signals on a thread of its own, so that one is heard whatever hangs: in a start, or in a stop. That also has its bound here.
fn listen(stage: Arc<AtomicU8>, stop_max: Duration) -> Result<Receiver<Signal>, RunError> {
    let (tell, told) = channel();
    thread::Builder::new()
        .name("relevo-signals".into())
        .spawn(move || hear(&stage, stop_max, &tell))
        .map_err(RunError::NoThread)?;
    Ok(told)
}

fn hear(stage: &AtomicU8, stop_max: Duration, tell: &Sender<Signal>) {
    let mut stop_at = None;
    loop {
        let looks = if stage.load(Ordering::SeqCst) == STOPPING {
            limits::STOP_LOOK
        } else {
            Duration::from_secs(60)
        };
        let signal = process::wait_for_signal(looks.as_millis() as u64);
        let stopping = stop_at.map_or(Duration::ZERO, |at| process::since_boot().saturating_sub(at));
        match (signal, stage.load(Ordering::SeqCst)) {
            (Some(Signal::Stop), STARTING) => {
                process::end(0, "relevo: stopped before the start was over");
            }
            (Some(Signal::Stop), STOPPING) if stopping < limits::STOP_REPEATED => {}
            (Some(Signal::Stop), STOPPING) => {
                process::end(1, "relevo: told to stop once more: ending at once, a start recovers");
            }
            (Some(signal), _) => {
                if signal == Signal::Stop {
                    stage.store(STOPPING, Ordering::SeqCst);
                    stop_at = Some(process::since_boot());
                }
                let _ = tell.send(signal);
            }
            (None, _) => {}
        }
        if stopping >= stop_max {
            let seconds = stop_max.as_secs();
            process::end(
                1,
                &format!("relevo: the stop took more than {seconds} s: ending at once, a start recovers"),
            );
        }
    }
}

/// What was said before there was anybody to write it.
fn say_what_is_left() {
    while let Some(said) = diagnostics::process().take() {
        last_words(&said.to_string());
    }
}
