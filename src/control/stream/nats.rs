//! A stream of NATS: JetStream, by its own client.
//!
//! Each event is published and waited for, up to [`limits::STREAM_EVENTS`] at a time. Its `Nats-Msg-Id` is its own, so that what is sent again because an
//! answer was lost is stored once, as long as the stream's duplicate window lasts.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{ContextBuilder, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use tokio::runtime::Runtime;

use crate::config::{NatsUrl, StreamConfig};
use crate::control::outlet::line::Line;
use crate::control::outward::Batch;
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::runtime::process;

/// Events that go together.
#[derive(Debug)]
pub struct Messages {
    /// What their subjects begin with.
    prefix: Box<str>,
    all: Vec<Message>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Message {
    subject: String,
    id: String,
    event: Vec<u8>,
}

impl Messages {
    /// None yet.
    pub fn new(prefix: &str) -> Messages {
        Messages { prefix: prefix.into(), all: Vec::new(), bytes: 0 }
    }
}

impl Batch for Messages {
    fn add(&mut self, event: &[u8], _: Duration) {
        let event = event.trim_ascii_end();
        let line = Line::read(event);
        let text = |name| line.as_ref().map(|line| line.text(name).into_owned()).unwrap_or_default();
        // What is no event of ours has a subject, too.
        let kind = Some(text("event")).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "other".to_owned());
        self.bytes += event.len();
        self.all.push(Message {
            subject: format!("{}.{kind}", self.prefix),
            id: text("event_id"),
            event: event.to_vec(),
        });
    }

    fn count(&self) -> usize {
        self.all.len()
    }

    fn is_full(&self) -> bool {
        self.all.len() >= limits::STREAM_EVENTS || self.bytes >= limits::STREAM_BYTES
    }

    fn is_due(&self, _: Duration) -> bool {
        true
    }

    fn finish(&mut self) {}

    fn clear(&mut self) {
        self.all.clear();
        self.bytes = 0;
    }
}

/// How its server is spoken to.
pub struct NatsLink {
    config: StreamConfig,
    url: NatsUrl,
    open: Option<Open>,
}

/// A connection. It has a runtime of its own, which runs while something is sent and no longer: so one that was quiet for a while is not used again.
struct Open {
    runtime: Runtime,
    context: Context,
    used: Duration,
}

impl NatsLink {
    /// Not connected yet.
    pub fn new(config: StreamConfig, url: NatsUrl) -> NatsLink {
        NatsLink { config, url, open: None }
    }

    /// Sends a batch, and waits until all of it is stored. A connection that failed is not kept.
    pub fn send(&mut self, batch: &Messages, settings: &dyn WebhookSettings) -> Result<(), String> {
        let kept = self.open.take().filter(|open| process::since_boot() < open.used + limits::NATS_IDLE);
        let mut open = match kept {
            Some(open) => open,
            None => self.connect(settings)?,
        };
        let stored = open.runtime.block_on(async {
            let published = publish(&open.context, batch);
            let late =
                || format!("it has not stored all of a batch after {} s", limits::STREAM_TIME.as_secs());
            tokio::time::timeout(limits::STREAM_TIME, published).await.unwrap_or_else(|_| Err(late()))
        });
        stored?;
        open.used = process::since_boot();
        self.open = Some(open);
        Ok(())
    }

    fn connect(&self, settings: &dyn WebhookSettings) -> Result<Open, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let servers = self.servers(settings)?;
        let mut last = format!("{} has no address", self.url.host);
        // Timers and tasks of the client are made within it.
        let within = runtime.enter();
        for server in servers {
            let connected = self.options(settings)?.connect(&server);
            match runtime.block_on(tokio::time::timeout(limits::STREAM_TIME, connected)) {
                Ok(Ok(client)) => {
                    let context = ContextBuilder::new()
                        .timeout(limits::STREAM_TIME)
                        .max_ack_inflight(limits::STREAM_EVENTS)
                        .build(client);
                    drop(within);
                    return Ok(Open { runtime, context, used: Duration::ZERO });
                }
                Ok(Err(error)) => last = format!("[{server}] {}", whole(&error)),
                Err(_) => last = format!("[{server}] it does not answer"),
            }
        }
        Err(last)
    }

    /// Where it may be. Under TLS it is asked for by its name, which its certificate has.
    fn servers(&self, settings: &dyn WebhookSettings) -> Result<Vec<String>, String> {
        let NatsUrl { tls, host, port } = &self.url;
        if *tls {
            return Ok(vec![self.url.to_string()]);
        }
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => settings.addresses(host)?,
        };
        let mut servers = Vec::new();
        for address in addresses.into_iter().take(limits::WEBHOOK_ADDRESSES_MAX) {
            let server = SocketAddr::new(address.to_canonical(), *port);
            if settings.is_public(server) {
                return Err(format!(
                    "{server} is on the public Internet, and what goes there names people: write tls:// in {}.url",
                    self.config.section
                ));
            }
            servers.push(format!("nats://{server}"));
        }
        Ok(servers)
    }

    fn options(&self, settings: &dyn WebhookSettings) -> Result<ConnectOptions, String> {
        // Whom its cluster names besides, nobody has looked at; and who fails is asked again by us, a little later.
        let mut options = ConnectOptions::new()
            .name("relevo")
            .connection_timeout(limits::STREAM_TIME)
            .ignore_discovered_servers()
            .max_reconnects(1);
        if self.url.tls {
            let tls = settings.tls().ok_or("this machine trusts no authority")?;
            options = options.require_tls(true).tls_client_config((**tls.config()).clone());
        }
        if self.config.password_file.is_some() {
            let secret = self.config.password.secret().to_owned();
            options = match &self.config.user {
                Some(user) => options.user_and_password(user.to_string(), secret),
                None => options.token(secret),
            };
        }
        Ok(options)
    }
}

/// Publishes all of it, and waits for each answer.
async fn publish(context: &Context, batch: &Messages) -> Result<(), String> {
    let mut answers = Vec::with_capacity(batch.all.len());
    for Message { subject, id, event } in &batch.all {
        let message = PublishMessage::build().payload(event.clone().into()).message_id(id);
        let sent = context.send_publish(subject.clone(), message).await;
        answers.push((subject, sent.map_err(|error| refused(subject, &error))?));
    }
    for (subject, answer) in answers {
        answer.await.map_err(|error| refused(subject, &error))?;
    }
    Ok(())
}

fn refused(subject: &str, error: &PublishError) -> String {
    match error.kind() {
        PublishErrorKind::StreamNotFound => {
            let prefix = subject.rsplit_once('.').map_or(subject, |(prefix, _)| prefix);
            format!(
                "no stream of JetStream there takes the subject {subject}: make one, as by nats stream add relevo --subjects '{prefix}.>'"
            )
        }
        _ => whole(error),
    }
}

/// An error and what it comes from.
fn whole(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut from = error.source();
    while let Some(error) = from {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        from = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_subject_and_its_id() {
        let mut batch = Messages::new("mail.relays");
        let mut add = |line: &[u8]| batch.add(line, Duration::ZERO);
        add(b"{\"time\":\"2026-12-01T08:00:00.000Z\",\"event\":\"bounced\",\"event_id\":\"A-1\"}\n");
        add(b"nonsense\n");
        let told: Vec<_> = batch.all.iter().map(|one| (&*one.subject, &*one.id, one.event.len())).collect();
        assert_eq!(told, [("mail.relays.bounced", "A-1", 70), ("mail.relays.other", "", 8)]);
        assert!(!batch.is_full());
        batch.add(&vec![b'x'; limits::STREAM_BYTES], Duration::ZERO);
        assert!(batch.is_full());
        batch.clear();
        assert_eq!((batch.count(), batch.bytes), (0, 0));
    }
}
