//! Another process takes over from this one: the binary that is installed now, with this configuration.
//!
//! Until the new one has said that it is ready nothing changes here, and until it serves this process stays: where the new one fails, this one goes on,
//! or, when it has let go of the spool already, begins anew. The listening sockets are open all the while.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::{Receiver, TryRecvError};

use relevo::control::say;
use relevo::limits;
use relevo::node::Node;
use relevo::observe::diagnostics::Level;
use relevo::runtime::given::{self, Socket};
use relevo::runtime::notify;
use relevo::runtime::output::last_words;
use relevo::runtime::process::{self, Signal};
use relevo::runtime::succession::{self, Heard, Line, words};

/// What came of it.
pub enum Upgraded {
    /// Nothing: this process goes on, and has said why.
    GoesOn(Box<Node>),
    /// Nothing: it was told to stop.
    Stops(Box<Node>),
    /// Nothing is left to do here.
    Over,
}

/// Signals that come meanwhile.
struct Watch<'a> {
    signals: &'a Receiver<Signal>,
    stop: bool,
}

impl Watch<'_> {
    /// Whether this process is to stop.
    fn look(&mut self, node: Option<&Node>) -> bool {
        loop {
            match self.signals.try_recv() {
                Ok(Signal::Stop) => self.stop = true,
                Ok(Signal::Reopen) => node.iter().for_each(|node| node.reopen_logs()),
                Ok(Signal::Reload) => {
                    say(
                        Level::Warning,
                        format_args!("SIGHUP: an upgrade is under way, which reads the configuration anyway"),
                    );
                }
                Ok(Signal::Upgrade) => say(Level::Warning, format_args!("SIGUSR2: an upgrade is under way")),
                Err(nothing) => {
                    self.stop |= nothing == TryRecvError::Disconnected;
                    return self.stop;
                }
            }
        }
    }
}

/// The process that is to take over.
struct Heir {
    child: Child,
    line: Line,
    sockets: Vec<Socket>,
    version: String,
}

/// Has another process take over.
pub fn upgrade(node: Node, signals: &Receiver<Signal>) -> Upgraded {
    let by = node.upgrade().begin();
    say(Level::Info, format_args!("{by}: the binary that is installed now is to take over"));
    let mut watch = Watch { signals, stop: false };
    let heir = match prepare(&node, &mut watch) {
        Ok(heir) => heir,
        Err(why) => return gave_up(node, &watch, &why),
    };
    let Heir { mut child, line, sockets, version } = heir;
    if let Err(why) = rest(&node, &line, &mut watch) {
        node.rest(false);
        succession::end(&mut child);
        return gave_up(node, &watch, &why);
    }
    node.upgrade().stage("handing_over");
    say(
        Level::Info,
        format_args!(
            "process {} ({version}) takes over: sessions end, and who comes waits for it",
            child.id()
        ),
    );
    let since = process::since_boot();
    let is_free = node.hand_over();
    if watch.look(None) {
        // Told to stop in the middle: nobody takes over.
        succession::end(&mut child);
        return Upgraded::Over;
    }
    let told = format!("{} {}", words::YOURS, since.as_micros());
    if is_free && line.say(&told).is_ok() && await_serving(&line, &child, &mut watch) {
        return Upgraded::Over;
    }
    succession::end(&mut child);
    let why = format!("process {} did not take over, and this one began anew", child.id());
    last_words(&format!("relevo: {why}"));
    let error = succession::begin_anew(&sockets, since, &why);
    process::end(1, &format!("relevo: cannot begin anew: {error}; ending, a start recovers"))
}

/// This process goes on as if nothing had been.
fn gave_up(node: Node, watch: &Watch<'_>, why: &str) -> Upgraded {
    node.upgrade().failed(why);
    say(Level::Error, format_args!("nobody takes over, and this process goes on: {why}"));
    if watch.stop { Upgraded::Stops(Box::new(node)) } else { Upgraded::GoesOn(Box::new(node)) }
}

fn shown(error: impl fmt::Display) -> String {
    error.to_string()
}

/// Looks whether the new binary would start, starts it, and waits until it has got ready what it can.
fn prepare(node: &Node, watch: &mut Watch<'_>) -> Result<Heir, String> {
    let program = succession::program().map_err(shown)?;
    let file: PathBuf = node.settings.places.file().to_owned();
    let mut over = || watch.look(Some(node));
    let version = succession::ask(&program, &["--version".into()], limits::UPGRADE_CHECK, &mut over)?;
    let check = [OsString::from("check"), "--config".into(), file.into()];
    succession::ask(&program, &check, limits::UPGRADE_CHECK, &mut over)?;
    node.upgrade().stage("preparing");
    let sockets = given::all_open().map_err(shown)?;
    let (mut child, line) = succession::start(&program).map_err(shown)?;
    node.upgrade().next(child.id(), &version);
    let gone = || format!("process {} ended before it was ready", child.id());
    // One that ends at once is told by whatever is tried with it first.
    let of_line =
        |error: io::Error| if error.kind() == io::ErrorKind::BrokenPipe { gone() } else { shown(error) };
    let ready = line.hand(&sockets).and_then(|()| line.say(words::ALL)).map_err(of_line);
    let ready = ready.and_then(|()| {
        let until = process::since_boot() + limits::UPGRADE_PREPARED;
        loop {
            match line.hear(limits::SUCCESSION_LOOK).map_err(shown)? {
                Heard::Word(word) if word == words::PREPARED => return Ok(()),
                Heard::Gone => return Err(gone()),
                _ if over() => return Err("told to stop".to_owned()),
                _ if process::since_boot() >= until => {
                    return Err(format!("process {} got not ready in time", child.id()));
                }
                _ => {}
            }
        }
    });
    match ready {
        Ok(()) => Ok(Heir { child, line, sockets, version }),
        Err(why) => {
            succession::end(&mut child);
            Err(why)
        }
    }
}

/// Waits until nothing is under way at next hops, within a bound, while mail is taken as before.
fn rest(node: &Node, line: &Line, watch: &mut Watch<'_>) -> Result<(), String> {
    node.upgrade().stage("resting");
    node.rest(true);
    let began = process::since_boot();
    loop {
        match line.hear(limits::SUCCESSION_LOOK).map_err(shown)? {
            Heard::Gone => return Err("the new process ended before it could take over".to_owned()),
            _ if watch.look(Some(node)) => return Err("told to stop".to_owned()),
            _ => {}
        }
        let waited = process::since_boot().saturating_sub(began);
        // What is under way is told once a second.
        let is_quiet = node.under_way() == 0 && waited >= limits::UPGRADE_REST_LEAST;
        if is_quiet || waited >= limits::UPGRADE_REST {
            return Ok(());
        }
    }
}

/// Waits until the new process takes mail, as long as a start may take; the supervisor is told meanwhile that all is well, and then who it is. False:
/// it ended.
fn await_serving(line: &Line, child: &Child, watch: &mut Watch<'_>) -> bool {
    let until = process::since_boot() + limits::START_MAX;
    while process::since_boot() < until {
        let details = format!(": process {} reads the spool", child.id());
        notify::supervisor()
            .iter()
            .for_each(|supervisor| supervisor.look(process::since_boot(), true, "hands over", &details));
        match line.hear(limits::SUCCESSION_LOOK) {
            Ok(Heard::Word(word)) if word == words::SERVING => {
                notify::supervisor().iter().for_each(|supervisor| supervisor.succeeded_by(child.id()));
                return true;
            }
            Ok(Heard::Gone) | Err(_) => return false,
            Ok(_) => {}
        }
        if watch.look(None) {
            succession::ask_to_end(child);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stop_is_heard_and_the_rest_is_not() {
        let (tell, signals) = std::sync::mpsc::channel();
        let mut watch = Watch { signals: &signals, stop: false };
        for signal in [Signal::Reload, Signal::Upgrade, Signal::Reopen] {
            tell.send(signal).unwrap();
        }
        assert!(!watch.look(None));
        tell.send(Signal::Stop).unwrap();
        assert!(watch.look(None) && watch.look(None), "for good");
        let mut watch = Watch { signals: &signals, stop: false };
        drop(tell);
        assert!(watch.look(None), "nobody hears signals any more");
    }

    #[test]
    fn waits_are_bounded_and_fit() {
        let most = limits::UPGRADE_REST + limits::UPGRADE_DRAIN + limits::STOP_MAX;
        assert!(most < limits::UPGRADE_LET_GO, "who waits for the spool waits long enough");
        assert!(limits::UPGRADE_REST_LEAST > Duration::from_secs(1), "levels are told once a second");
    }
}
