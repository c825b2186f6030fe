//! `[[stream]]`: events for a stream of Redis, at least once and in order. A thread for each.
//!
//! What goes at once is one transaction (MULTI, an XADD each, EXEC): all of it is in the stream, or nothing. The cursor moves when the server has answered
//! that; where an answer is lost the same events are added again, so a consumer drops repeats by `id`.

mod resp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::StreamConfig;
use crate::control::journal::{Feed, Journal, LogLines, ReadPosition};
use crate::control::outlet::Shape;
use crate::control::outlet::line::Line;
use crate::control::say::say;
use crate::control::thread::{Turn, Worker};
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::repeat::Repeat;
use crate::runtime::exchange::wire::Wire;
use crate::runtime::process;
use resp::Replies;

/// One of them.
pub(super) struct Stream {
    config: StreamConfig,
    feed: Feed,
    held: Option<LogLines>,
    at: usize,
    batch: Batch,
    wire: Option<Wire>,
    failures: u32,
    /// Nothing is sent before.
    again_at: Duration,
    saved_at: Duration,
    trouble: Repeat,
}

/// Events that go together.
#[derive(Default)]
struct Batch {
    commands: Vec<u8>,
    count: usize,
    /// What is behind it; None: it is empty.
    end: Option<ReadPosition>,
}

impl Stream {
    /// Begins where it was, or with what is told from now on.
    pub fn open(config: &StreamConfig, journal: &Journal) -> io::Result<Stream> {
        let mut feed = Feed::open(&journal.shared, &config.name(), Shape::plain(config.events.clone()))?;
        if feed.saved().is_none() {
            // A disk without room has none for events either.
            let here = feed.settled(None, 0).0;
            let _ = feed.save(here, 0, 0);
        }
        Ok(Stream {
            config: config.clone(),
            feed,
            held: None,
            at: 0,
            batch: Batch::default(),
            wire: None,
            failures: 0,
            again_at: Duration::ZERO,
            saved_at: Duration::ZERO,
            trouble: Repeat::default(),
        })
    }

    /// The name of its cursor's file.
    pub fn cursor_name(&self) -> &str {
        self.feed.cursor_name()
    }

    /// Starts its thread.
    pub fn start(mut self, settings: Arc<dyn WebhookSettings>) -> io::Result<Worker> {
        Worker::start("relevo-stream", move |turn| {
            process::stand_back();
            let clock = turn.clock();
            while !turn.is_over() {
                if !self.round(clock(), |stream| stream.send(&*settings, turn)) {
                    turn.pause(limits::STREAM_OUT_ROUND);
                }
            }
        })
    }

    /// Gathers what there is and sends it. Whether there may be more at once.
    fn round(&mut self, now: Duration, send: impl FnOnce(&mut Stream) -> Result<(), String>) -> bool {
        if self.batch.end.is_none()
            && let Err(error) = self.gather()
        {
            self.complain(now, &format!("the journal cannot be read: {error}"));
            return false;
        }
        let Some(end) = self.batch.end else {
            self.save_idle(now);
            return false;
        };
        if now < self.again_at {
            return false;
        }
        match send(self) {
            Ok(()) => {
                self.failures = 0;
                if let Some(lasted) = self.trouble.ended(now) {
                    let (name, seconds) = (self.config.name(), lasted.as_secs());
                    say(Level::Info, format_args!("the {name} takes events again, after {seconds} s"));
                }
                self.batch = Batch::default();
                if let Err(error) = self.feed.save(end, 0, 0) {
                    self.complain(now, &format!("its cursor cannot be written: {error}"));
                }
                true
            }
            Err(why) => {
                self.wire = None;
                let wait = limits::STREAM_FAILED_AGAIN.saturating_mul(1 << self.failures.min(16));
                self.again_at = now + wait.min(limits::STREAM_AGAIN_MAX);
                self.failures = self.failures.saturating_add(1);
                self.complain(now, &why);
                false
            }
        }
    }

    fn complain(&mut self, now: Duration, why: &str) {
        if self.trouble.lasts(now) {
            let (behind, lost) = self.feed.behind();
            let lost =
                if lost > 0 { format!(", {lost} events went before it had them") } else { String::new() };
            say(
                Level::Error,
                format_args!(
                    "the {} takes no events: {why}; they wait in the journal, up to control.journal_size_max: {behind} bytes so far{lost}",
                    self.config.name()
                ),
            );
        }
    }

    /// Makes commands of events, as many as go at once.
    fn gather(&mut self) -> io::Result<()> {
        self.batch.commands.clear();
        resp::command(&[b"MULTI"], &mut self.batch.commands);
        while self.batch.count < limits::STREAM_EVENTS && self.batch.commands.len() < limits::STREAM_BYTES {
            if self.held.is_none() {
                self.at = 0;
                match self.feed.next()? {
                    None => break,
                    held => self.held = held,
                }
            }
            let Some(held) = &self.held else { break };
            let rest = &held.bytes()[self.at..];
            let Some(end) = memchr::memchr(b'\n', rest).map(|end| end + 1) else {
                self.held = None;
                continue;
            };
            add(&self.config, &rest[..end], &mut self.batch.commands);
            self.batch.count += 1;
            self.at += end;
        }
        if self.batch.count > 0 {
            resp::command(&[b"EXEC"], &mut self.batch.commands);
            self.batch.end = Some(self.feed.settled(self.held.as_ref(), self.at).0);
        }
        Ok(())
    }

    /// What it does not want is not kept for it.
    fn save_idle(&mut self, now: Duration) {
        if now >= self.saved_at + limits::CURSOR_SAVED {
            self.saved_at = now;
            let here = self.feed.settled(self.held.as_ref(), self.at).0;
            // Tried again each second; nothing waits for it but room in the journal.
            let _ = self.feed.save(here, 0, 0);
        }
    }

    /// Sends the batch, over the connection that there is, or another.
    fn send(&mut self, settings: &dyn WebhookSettings, turn: &Turn) -> Result<(), String> {
        let is_kept = self.wire.is_some();
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect(settings, turn)?,
        };
        // MULTI, each event, and EXEC.
        let wanted = self.batch.count + 2;
        match replies(&mut wire, &self.batch.commands, wanted) {
            Ok(()) => {}
            // Many servers close what is quiet for long: nothing of it was taken where nothing came back.
            Err(Broken::Quiet(_)) if is_kept => {
                wire = self.connect(settings, turn)?;
                replies(&mut wire, &self.batch.commands, wanted).map_err(|why| why.to_string())?;
            }
            Err(why) => return Err(why.to_string()),
        }
        self.wire = Some(wire);
        Ok(())
    }

    /// Connects to the first address that takes it, and logs in.
    fn connect(&self, settings: &dyn WebhookSettings, turn: &Turn) -> Result<Wire, String> {
        let url = &self.config.url;
        let addresses = match url.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => settings.addresses(&url.host)?,
        };
        let mut last = format!("{} has no address", url.host);
        for address in addresses.into_iter().take(limits::WEBHOOK_ADDRESSES_MAX) {
            if turn.is_over() {
                break;
            }
            let server = SocketAddr::new(address.to_canonical(), url.port);
            if !url.tls && settings.is_public(server) {
                last = format!(
                    "{server} is on the public Internet, and events name people: write rediss:// in {}.url",
                    self.config.section
                );
                continue;
            }
            match self.log_in(server, settings) {
                Ok(wire) => return Ok(wire),
                Err(error) => last = format!("[{server}] {error}"),
            }
        }
        Err(last)
    }

    fn log_in(&self, server: SocketAddr, settings: &dyn WebhookSettings) -> Result<Wire, String> {
        let url = &self.config.url;
        let tls = match url.tls {
            true => {
                let tls = settings.tls().ok_or("this machine trusts no authority")?;
                Some(tls.waiting(&url.host).map_err(|error| error.to_string())?)
            }
            false => None,
        };
        let until = process::since_boot() + limits::STREAM_TIME;
        let mut wire = Wire::open(server, tls, until).map_err(|error| error.to_string())?;
        let (mut commands, mut wanted) = (Vec::new(), 0);
        if self.config.password_file.is_some() {
            let password = self.config.password.secret().as_bytes();
            match &self.config.user {
                Some(user) => resp::command(&[b"AUTH", user.as_bytes(), password], &mut commands),
                None => resp::command(&[b"AUTH", password], &mut commands),
            }
            wanted += 1;
        }
        if url.database > 0 {
            resp::command(&[b"SELECT", url.database.to_string().as_bytes()], &mut commands);
            wanted += 1;
        }
        if wanted > 0 {
            replies(&mut wire, &commands, wanted).map_err(|why| why.to_string())?;
        }
        Ok(wire)
    }
}

/// Why something was not answered.
enum Broken {
    /// Nothing came back at all.
    Quiet(io::Error),
    /// Not all did, or it is no answer.
    Half(io::Error),
    /// It is refused, in the server's words.
    Refused(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Quiet(error) | Broken::Half(error) => write!(formatter, "{error}"),
            Broken::Refused(words) => write!(formatter, "it says {words:?}"),
        }
    }
}

/// Sends commands, and waits for so many replies: none of them a refusal.
fn replies(wire: &mut Wire, commands: &[u8], wanted: usize) -> Result<(), Broken> {
    let until = process::since_boot() + limits::STREAM_TIME;
    let mut replies = Replies::new(wanted);
    let mut heard = false;
    let asked = wire.ask(commands, until, &mut |bytes| {
        heard = true;
        replies.take(bytes)
    });
    match (asked, replies.refused()) {
        // What it says of it tells more than that it hung up.
        (_, Some(words)) => Err(Broken::Refused(words.to_owned())),
        (Ok(()), None) => Ok(()),
        (Err(error), None) if heard => Err(Broken::Half(error)),
        (Err(error), None) => Err(Broken::Quiet(error)),
    }
}

/// The command that adds an event.
fn add(config: &StreamConfig, event: &[u8], out: &mut Vec<u8>) {
    let event = event.trim_ascii_end();
    let line = Line::read(event);
    let text = |name| line.as_ref().map(|line| line.text(name).into_owned()).unwrap_or_default();
    let (id, kind, length) = (text("event_id"), text("event"), config.length.to_string());
    let mut words: Vec<&[u8]> = vec![b"XADD", config.key.as_bytes()];
    if config.length > 0 {
        words.extend([&b"MAXLEN"[..], b"~", length.as_bytes()]);
    }
    words.extend([&b"*"[..], b"id", id.as_bytes(), b"event", kind.as_bytes(), b"json", event]);
    resp::command(&words, out);
}
