//! `[[stream]]`: events for a stream of Redis, at least once and in order. A thread for each.
//!
//! What goes at once is one transaction (MULTI, an XADD each, EXEC): all of it is in the stream, or nothing. The cursor moves when the server has answered
//! that; where an answer is lost the same events are added again, so a consumer drops repeats by `id`.

pub mod resp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::StreamConfig;
use crate::control::journal::Journal;
use crate::control::outlet::Shape;
use crate::control::outlet::line::Line;
use crate::control::outward::{Addressee, Batch, Counts, Outward};
use crate::control::thread::{Turn, Worker};
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::runtime::exchange::wire::Wire;
use crate::runtime::process;
use resp::Replies;

/// One of them.
pub(super) struct Stream {
    out: Outward<Commands>,
    link: Link,
}

/// How its server is spoken to.
struct Link {
    config: StreamConfig,
    wire: Option<Wire>,
}

/// Events that go together, as commands.
#[derive(Debug)]
pub struct Commands {
    key: Box<str>,
    length: u64,
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    /// For this stream, which is to have about so many entries.
    pub fn new(key: &str, length: u64) -> Commands {
        Commands { key: key.into(), length, bytes: Vec::new(), count: 0 }
    }

    /// As they are sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Batch for Commands {
    fn add(&mut self, event: &[u8], _: Duration) {
        if self.count == 0 {
            resp::command(&[b"MULTI"], &mut self.bytes);
        }
        add((&self.key, self.length), event, &mut self.bytes);
        self.count += 1;
    }

    fn count(&self) -> usize {
        self.count
    }

    fn is_full(&self) -> bool {
        self.count >= limits::STREAM_EVENTS || self.bytes.len() >= limits::STREAM_BYTES
    }

    fn is_due(&self, _: Duration) -> bool {
        true
    }

    fn finish(&mut self) {
        resp::command(&[b"EXEC"], &mut self.bytes);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

impl Stream {
    /// Begins where it was, or with what is told from now on.
    pub fn open(config: &StreamConfig, journal: &Journal) -> io::Result<Stream> {
        let batch = Commands::new(&config.key, config.length);
        let addressee = Addressee {
            name: config.name(),
            again: limits::STREAM_FAILED_AGAIN,
            again_most: limits::STREAM_AGAIN_MAX,
        };
        let out = Outward::open(addressee, Shape::plain(config.events.clone()), batch, journal)?;
        Ok(Stream { out, link: Link { config: config.clone(), wire: None } })
    }

    /// The name of its cursor's file.
    pub fn cursor_name(&self) -> &str {
        self.out.cursor_name()
    }

    /// Starts its thread.
    pub fn start(self, settings: Arc<dyn WebhookSettings>, counts: Counts) -> io::Result<Worker> {
        let Stream { mut out, mut link } = self;
        Worker::start("relevo-stream", move |turn| {
            process::stand_back();
            let clock = turn.clock();
            while !turn.is_over() {
                if !out.round(clock(), &counts, |batch| link.send(batch, &*settings, turn)) {
                    turn.pause(limits::STREAM_OUT_ROUND);
                }
            }
        })
    }
}

impl Link {
    /// Sends a batch, over the connection that there is, or another. One that failed is not kept.
    fn send(&mut self, batch: &Commands, settings: &dyn WebhookSettings, turn: &Turn) -> Result<(), String> {
        let is_kept = self.wire.is_some();
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect(settings, turn)?,
        };
        // MULTI, each event, and EXEC.
        let wanted = batch.count + 2;
        match replies(&mut wire, &batch.bytes, wanted) {
            Ok(()) => {}
            // Many servers close what is quiet for long: nothing of it was taken where nothing came back.
            Err(Broken::Quiet(_)) if is_kept => {
                wire = self.connect(settings, turn)?;
                replies(&mut wire, &batch.bytes, wanted).map_err(|why| why.to_string())?;
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
fn add((key, most): (&str, u64), event: &[u8], out: &mut Vec<u8>) {
    let event = event.trim_ascii_end();
    let line = Line::read(event);
    let text = |name| line.as_ref().map(|line| line.text(name).into_owned()).unwrap_or_default();
    let (id, kind, length) = (text("event_id"), text("event"), most.to_string());
    let mut words: Vec<&[u8]> = vec![b"XADD", key.as_bytes()];
    if most > 0 {
        words.extend([&b"MAXLEN"[..], b"~", length.as_bytes()]);
    }
    words.extend([&b"*"[..], b"id", id.as_bytes(), b"event", kind.as_bytes(), b"json", event]);
    resp::command(&words, out);
}
