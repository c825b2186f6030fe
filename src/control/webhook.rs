//! `[[webhook]]`: events in batches to somebody's web server, each signed, at least once and in order. A thread for each: one that hangs keeps nobody else
//! waiting, and mail never.
//!
//! The cursor moves when a batch was answered with 2xx. Until then the same batch is sent again, ever more seldom, and the rest waits in the journal; after
//! a kill what was not answered is sent again, perhaps in other batches, so a receiver drops repeats by `event_id`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{LogFormat, WebhookConfig};
use crate::control::journal::{Feed, Journal, LogLines, ReadPosition};
use crate::control::outlet::Shape;
use crate::control::say::say;
use crate::control::thread::{Turn, Worker};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::families::{Family, FamilyInfo};
use crate::observe::repeat::Repeat;
use crate::policy::tls;
use crate::runtime::exchange::https;
use crate::runtime::process;

pub mod batch;

use batch::{Batch, signature};

/// What came of batches.
pub const BATCHES: FamilyInfo = FamilyInfo {
    name: "webhook_batches",
    help: "Batches of events that were sent to webhooks, by what came of it",
    label: "result",
    values: &["ok", "failed"],
};

/// How the web is reached.
pub trait WebhookSettings: Send + Sync {
    /// The addresses of a host.
    fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String>;
    /// Whether that is on the public Internet, and no service of this machine.
    fn is_public(&self, address: SocketAddr) -> bool;
    /// TLS to one that has proven who it is; None: this machine trusts no authority.
    fn tls(&self) -> Option<tls::Client>;
}

/// What threads count together.
#[derive(Clone)]
pub(super) struct Counts(Arc<Mutex<Arc<Family>>>);

impl Counts {
    pub fn new(family: Arc<Family>) -> Counts {
        Counts(Arc::new(Mutex::new(family)))
    }

    fn add(&self, failed: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(usize::from(failed), 1);
    }
}

/// One of them.
pub(super) struct Webhook {
    config: WebhookConfig,
    feed: Feed,
    held: Option<LogLines>,
    at: usize,
    gathered: Gathered,
    failures: u32,
    /// Nothing is sent before.
    again_at: Duration,
    saved_at: Duration,
    trouble: Repeat,
}

/// What is gathered, or being sent.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    /// When the first of them came here.
    begun: Duration,
    /// It has all that fits, or waited for long enough: from here on it stays as it is, however often it is sent.
    closed: bool,
    /// What is behind it.
    end: Option<ReadPosition>,
}

impl Gathered {
    fn add(&mut self, event: &[u8], now: Duration) {
        if self.batch.count() == 0 {
            self.begun = now;
        }
        self.batch.add(event);
    }

    fn is_full(&self, most: usize) -> bool {
        self.batch.count() >= most || self.batch.body().len() >= limits::WEBHOOK_BODY
    }

    fn close(&mut self, end: ReadPosition) {
        self.batch.finish();
        (self.end, self.closed) = (Some(end), true);
    }
}

impl Webhook {
    /// Begins where it was, or with what is told from now on.
    pub fn open(config: &WebhookConfig, journal: &Journal) -> io::Result<Webhook> {
        let shape = Shape::new(config.events.clone(), (LogFormat::Json, None), None);
        let mut feed = Feed::open(&journal.shared, &format!("webhook {}", config.url), shape)?;
        if feed.saved().is_none() {
            // A disk without room has none for events either.
            let here = feed.settled(None, 0).0;
            let _ = feed.save(here, 0, 0);
        }
        Ok(Webhook {
            config: config.clone(),
            feed,
            held: None,
            at: 0,
            gathered: Gathered::default(),
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
    pub fn start(mut self, settings: Arc<dyn WebhookSettings>, counts: Counts) -> io::Result<Worker> {
        Worker::start("relevo-webhook", move |turn| {
            process::stand_back();
            let clock = turn.clock();
            while !turn.is_over() {
                if !self.round(clock(), |webhook, turn| webhook.send(&*settings, turn), (&counts, turn)) {
                    turn.pause(limits::WEBHOOK_ROUND);
                }
            }
        })
    }

    /// Gathers what there is, and sends it when it is time. Whether there may be more at once.
    fn round(
        &mut self,
        now: Duration,
        send: impl Fn(&Webhook, &Turn) -> Result<(), String>,
        (counts, turn): (&Counts, &Turn),
    ) -> bool {
        if !self.gathered.closed
            && let Err(error) = self.gather(now)
        {
            self.complain(now, &format!("the journal cannot be read: {error}"));
            return false;
        }
        if !self.gathered.closed {
            self.save_idle(now);
            return false;
        }
        if now < self.again_at {
            return false;
        }
        let sent = send(self, turn);
        counts.add(sent.is_err());
        match sent {
            Ok(()) => {
                self.failures = 0;
                if let Some(lasted) = self.trouble.ended(now) {
                    let (url, seconds) = (&self.config.url, lasted.as_secs());
                    say(Level::Info, format_args!("the webhook {url} takes events again, after {seconds} s"));
                }
                let end = self.gathered.end;
                self.gathered = Gathered::default();
                if let Some(Err(error)) = end.map(|end| self.feed.save(end, 0, 0)) {
                    self.complain(now, &format!("its cursor cannot be written: {error}"));
                }
                true
            }
            Err(why) => {
                let wait = limits::WEBHOOK_AGAIN.saturating_mul(1 << self.failures.min(16));
                self.again_at = now + wait.min(limits::WEBHOOK_AGAIN_MAX);
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
                    "the webhook {} takes no events: {why}; they wait in the journal, up to control.journal_size_max: {behind} bytes so far{lost}",
                    self.config.url
                ),
            );
        }
    }

    /// Adds events to the batch, and closes it when it is full or its time is over.
    fn gather(&mut self, now: Duration) -> io::Result<()> {
        while !self.gathered.is_full(self.config.most) {
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
            self.gathered.add(&rest[..end], now);
            self.at += end;
        }
        let is_full = self.gathered.is_full(self.config.most);
        if self.gathered.batch.count() > 0 && (is_full || now >= self.gathered.begun + self.config.span) {
            let end = self.feed.settled(self.held.as_ref(), self.at).0;
            self.gathered.close(end);
        }
        Ok(())
    }

    /// What it does not want is not kept for it.
    fn save_idle(&mut self, now: Duration) {
        if self.gathered.batch.count() == 0 && now >= self.saved_at + limits::CURSOR_SAVED {
            self.saved_at = now;
            let here = self.feed.settled(self.held.as_ref(), self.at).0;
            // Tried again each second; nothing waits for it but room in the journal.
            let _ = self.feed.save(here, 0, 0);
        }
    }

    /// Sends the batch, to the first address that takes a connection.
    fn send(&self, settings: &dyn WebhookSettings, turn: &Turn) -> Result<(), String> {
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
            let is_named = self.config.names(server.ip());
            if !is_named && (!url.tls || !settings.is_public(server)) {
                let key = format!("{}.networks", self.config.section);
                last = format!(
                    "{server} is not on the public Internet, or not under TLS: name its network in {key} to send there all the same"
                );
                continue;
            }
            match self.post(server, settings) {
                Ok(status) if status / 100 == 2 => return Ok(()),
                Ok(status) => return Err(format!("it answers {status}")),
                Err(error) => last = format!("[{server}] {error}"),
            }
        }
        Err(last)
    }

    /// The status that it answers with.
    fn post(&self, server: SocketAddr, settings: &dyn WebhookSettings) -> io::Result<u16> {
        let request = self.request(process::wall().0 / 1000);
        let until = process::since_boot() + limits::WEBHOOK_TIME;
        let mut answer = Vec::new();
        let mut take = |bytes: &[u8]| {
            answer.extend_from_slice(&bytes[..bytes.len().min(limits::WEBHOOK_STATUS - answer.len())]);
            answer.len() >= limits::WEBHOOK_STATUS || answer.windows(2).any(|two| two == b"\r\n")
        };
        match self.config.url.tls {
            true => {
                let tls =
                    settings.tls().ok_or_else(|| io::Error::other("this machine trusts no authority"))?;
                let connection = tls.waiting(&self.config.url.host).map_err(io::Error::other)?;
                https::request(server, connection, &request, until, &mut take)?;
            }
            false => https::request_plain(server, &request, until, &mut take)?,
        }
        status(&answer).ok_or_else(|| io::Error::other("what it answers is no HTTP"))
    }

    /// A request of this second.
    fn request(&self, second: u64) -> Vec<u8> {
        let (url, batch) = (&self.config.url, &self.gathered.batch);
        let signature = signature(self.config.secret.secret().as_bytes(), second, batch.body());
        let mut request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: relevo\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRelevo-Signature: {signature}\r\nIdempotency-Key: {}\r\nConnection: close\r\n\r\n",
            url.path,
            url.authority(),
            batch.body().len(),
            batch.key(),
        )
        .into_bytes();
        request.extend_from_slice(batch.body());
        request
    }
}

/// Of `HTTP/1.1 200 OK`.
fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let code = std::str::from_utf8(rest.get(2..5)?).ok()?;
    code.parse::<u16>().ok().filter(|code| code / 100 > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_begins_with_is_its_status() {
        for (answer, wanted) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
            (b"HTTP/1.0 503 x", Some(503)),
            (b"HTTP/1.1 099 x", None),
            (b"HTTP/2 200", None),
            (b"SSH-2.0", None),
            (b"", None),
        ] {
            assert_eq!(status(answer), wanted);
        }
    }
}
