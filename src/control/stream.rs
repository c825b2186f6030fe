//! `[[stream]]`: events for a stream of Redis or of NATS ([`nats`]), at least once and in order. A thread for each.
//!
//! What goes to Redis at once is one transaction (MULTI, an XADD each, EXEC): all of it is in the stream, or nothing. The cursor moves when the server has answered
//! that; where an answer is lost the same events are added again, so a consumer drops repeats by `id`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{RedisUrl, StreamConfig, StreamUrl};
use crate::control::journal::Journal;
use crate::control::outlet::Shape;
use crate::control::outlet::line::Line;
use crate::control::outward::{Addressee, Batch, Counts, Outward};
use crate::control::redis::{Broken, Login, connect, replies, resp};
use crate::control::thread::{Turn, Worker};
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::runtime::exchange::wire::Wire;
use crate::runtime::process;
use nats::{Messages, NatsLink};

pub mod nats;

/// One of them.
pub(super) enum Stream {
    /// Of Redis.
    Redis(Box<Outward<Commands>>, Box<Link>),
    /// Of NATS.
    Nats(Box<Outward<Messages>>, Box<NatsLink>),
}

/// How a Redis is spoken to.
pub(super) struct Link {
    config: StreamConfig,
    url: RedisUrl,
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
        let addressee = Addressee {
            name: config.name(),
            again: limits::STREAM_FAILED_AGAIN,
            again_most: limits::STREAM_AGAIN_MAX,
        };
        let (shape, config) = (Shape::plain(config.events.clone()), config.clone());
        Ok(match config.url.clone() {
            StreamUrl::Redis(url) => {
                let batch = Commands::new(&config.key, config.length);
                let out = Outward::open(addressee, shape, batch, journal)?;
                Stream::Redis(Box::new(out), Box::new(Link { config, url, wire: None }))
            }
            StreamUrl::Nats(url) => {
                let out = Outward::open(addressee, shape, Messages::new(&config.key), journal)?;
                Stream::Nats(Box::new(out), Box::new(NatsLink::new(config, url)))
            }
        })
    }

    /// The name of its cursor's file.
    pub fn cursor_name(&self) -> &str {
        match self {
            Stream::Redis(out, _) => out.cursor_name(),
            Stream::Nats(out, _) => out.cursor_name(),
        }
    }

    /// Starts its thread.
    pub fn start(self, settings: Arc<dyn WebhookSettings>, counts: Counts) -> io::Result<Worker> {
        Worker::start("relevo-stream", move |turn| {
            process::stand_back();
            match self {
                Stream::Redis(out, mut link) => {
                    run(*out, &counts, turn, |batch| link.send(batch, &*settings, turn));
                }
                Stream::Nats(out, mut link) => run(*out, &counts, turn, |batch| link.send(batch, &*settings)),
            }
        })
    }
}

fn run<B: Batch>(
    mut out: Outward<B>,
    counts: &Counts,
    turn: &Turn,
    mut send: impl FnMut(&B) -> Result<(), String>,
) {
    let clock = turn.clock();
    while !turn.is_over() {
        if !out.round(clock(), counts, &mut send) {
            turn.pause(limits::STREAM_OUT_ROUND);
        }
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

    fn connect(&self, settings: &dyn WebhookSettings, turn: &Turn) -> Result<Wire, String> {
        let config = &self.config;
        let login = Login {
            url: &self.url,
            user: config.user.as_deref(),
            password: config.password_file.is_some().then(|| config.password.secret()),
            key: &format!("{}.url", config.section),
        };
        connect(&login, settings, turn)
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
