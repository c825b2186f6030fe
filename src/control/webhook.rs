//! `[[webhook]]`: events in batches to somebody's web server, each signed, at least once and in order. A thread for each: one that hangs keeps nobody else
//! waiting, and mail never.
//!
//! The cursor moves when a batch was answered with 2xx. Until then the same batch is sent again, ever more seldom, and the rest waits in the journal; after
//! a kill what was not answered is sent again, perhaps in other batches, so a receiver drops repeats by `event_id`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::{LogFormat, WebhookConfig};
use crate::control::journal::Journal;
use crate::control::outlet::Shape;
use crate::control::outward::{Addressee, Counts, Outward};
use crate::control::thread::{Turn, Worker};
use crate::limits;
use crate::policy::tls;
use crate::runtime::exchange::https;
use crate::runtime::process;

pub mod batch;

use batch::{Events, signature};

/// How the web is reached.
pub trait WebhookSettings: Send + Sync {
    /// The addresses of a host.
    fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String>;
    /// Whether that is on the public Internet, and no service of this machine.
    fn is_public(&self, address: SocketAddr) -> bool;
    /// TLS to one that has proven who it is; None: this machine trusts no authority.
    fn tls(&self) -> Option<tls::Client>;
}

/// One of them.
pub(super) struct Webhook {
    out: Outward<Events>,
    config: WebhookConfig,
}

impl Webhook {
    /// Begins where it was, or with what is told from now on.
    pub fn open(config: &WebhookConfig, journal: &Journal) -> io::Result<Webhook> {
        let shape = Shape::new(config.events.clone(), (LogFormat::Json, None), None);
        let addressee = Addressee {
            name: format!("webhook {}", config.url),
            again: limits::WEBHOOK_AGAIN,
            again_most: limits::WEBHOOK_AGAIN_MAX,
        };
        let batch = Events::new(config.most, config.span);
        Ok(Webhook { out: Outward::open(addressee, shape, batch, journal)?, config: config.clone() })
    }

    /// The name of its cursor's file.
    pub fn cursor_name(&self) -> &str {
        self.out.cursor_name()
    }

    /// Starts its thread.
    pub fn start(self, settings: Arc<dyn WebhookSettings>, counts: Counts) -> io::Result<Worker> {
        let Webhook { mut out, config } = self;
        Worker::start("relevo-webhook", move |turn| {
            process::stand_back();
            let clock = turn.clock();
            while !turn.is_over() {
                let post = Post { config: &config, settings: &*settings };
                if !out.round(clock(), &counts, |batch| post.send(batch, turn)) {
                    turn.pause(limits::WEBHOOK_ROUND);
                }
            }
        })
    }
}

/// How its server is reached.
struct Post<'a> {
    config: &'a WebhookConfig,
    settings: &'a dyn WebhookSettings,
}

impl Post<'_> {
    /// Sends a batch, to the first address that takes a connection.
    fn send(&self, batch: &Events, turn: &Turn) -> Result<(), String> {
        let settings = self.settings;
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
            match self.post(server, batch) {
                Ok(status) if status / 100 == 2 => return Ok(()),
                Ok(status) => return Err(format!("it answers {status}")),
                Err(error) => last = format!("[{server}] {error}"),
            }
        }
        Err(last)
    }

    /// The status that it answers with.
    fn post(&self, server: SocketAddr, batch: &Events) -> io::Result<u16> {
        let request = self.request(batch, process::wall().0 / 1000);
        let until = process::since_boot() + limits::WEBHOOK_TIME;
        let mut answer = Vec::new();
        let mut take = |bytes: &[u8]| {
            answer.extend_from_slice(&bytes[..bytes.len().min(limits::WEBHOOK_STATUS - answer.len())]);
            answer.len() >= limits::WEBHOOK_STATUS || answer.windows(2).any(|two| two == b"\r\n")
        };
        match self.config.url.tls {
            true => {
                let tls = self
                    .settings
                    .tls()
                    .ok_or_else(|| io::Error::other("this machine trusts no authority"))?;
                let connection = tls.waiting(&self.config.url.host).map_err(io::Error::other)?;
                https::request(server, connection, &request, until, &mut take)?;
            }
            false => https::request_plain(server, &request, until, &mut take)?,
        }
        status(&answer).ok_or_else(|| io::Error::other("what it answers is no HTTP"))
    }

    /// A request of this second.
    fn request(&self, batch: &Events, second: u64) -> Vec<u8> {
        let url = &self.config.url;
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
