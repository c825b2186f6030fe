//! A message on its way to a shard, and what becomes of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::gate::Sender;
use super::shape::Answer;
use crate::config::Duties;
use crate::control::health::Health;
use crate::id::MessageId;
use crate::limits;
use crate::mail::envelope::Recipient;
use crate::mail::parameters::{Key, Parameters};
use crate::shard::ask::{Ask, Reply};
use crate::shard::mesh::Mesh;
use crate::shard::parcel::{NotTaken, Parcel};
use crate::smtp::server::Intake;

/// The way to the shards.
pub(super) struct Hand {
    mesh: Arc<Mesh>,
    health: Arc<Health>,
    /// The shard that has the next one.
    next: AtomicUsize,
}

/// A message that is whole.
pub(super) struct Whole {
    /// The reverse path.
    pub sender: Vec<u8>,
    /// To whom.
    pub recipients: Vec<Recipient>,
    /// What it is treated by.
    pub parameters: Parameters,
    /// Header and body.
    pub message: Vec<u8>,
}

/// What became of one.
#[derive(Debug)]
pub(super) enum Became {
    /// It is on disk.
    Taken(MessageId),
    /// It is refused for good, in these words.
    Refused(String),
    /// It is not taken now.
    Later(String),
    /// Nobody knows: the answer did not come in time.
    Unknown,
}

impl Became {
    /// As a client hears it in a batch.
    pub fn answer(self) -> Answer {
        match self {
            Became::Taken(id) => Answer::taken(id.to_string()),
            Became::Refused(words) | Became::Later(words) => Answer::refused(vec![words]),
            Became::Unknown => Answer::refused(vec![UNKNOWN.to_owned()]),
        }
    }
}

/// What is said where nobody knows.
pub(super) const UNKNOWN: &str = "the message may be on disk or not: the relay did not say so in time";

impl Hand {
    /// To these shards.
    pub fn new(mesh: Arc<Mesh>, health: Arc<Health>) -> Hand {
        Hand { mesh, health, next: AtomicUsize::new(0) }
    }

    /// Hands one over, and waits until it is on disk or refused.
    pub async fn over(&self, whole: Whole, (by, client, size_max): (&Sender, IpAddr, u64)) -> Became {
        if !self.health.is_open() {
            return Became::Later("the relay takes no mail now".to_owned());
        }
        let Whole { sender, recipients, mut parameters, message } = whole;
        if let Some(tenant) = &by.tenant {
            parameters.put(Key::Tenant, (**tenant).into());
        }
        let parcel = Parcel {
            sender,
            recipients,
            account: Some((*by.name).into()),
            message,
            size_max,
            duties: Duties::SUBMISSION,
            by: "api",
            client: Some(client),
            parameters: Some(Box::new(parameters)),
            tenant: by.tenant.as_deref().map(Box::from),
        };
        let (tell, told) = oneshot::channel();
        // Whoever hangs up is not asked for: a message that a shard has begun with is stored.
        let asker = Arc::new(());
        let reply = Reply::new(&asker, move |taken| drop(tell.send(taken)));
        let mut ask = Ask::Submit(Box::new(parcel), reply);
        let shards = self.mesh.shards().max(1);
        for _ in 0..limits::SEND_TRIES {
            let shard = self.next.fetch_add(1, Ordering::Relaxed) % shards;
            match self.mesh.asks().ask(shard, ask) {
                Ok(()) => return wait(told).await,
                Err(back) => ask = back,
            }
            tokio::time::sleep(limits::SEND_AGAIN).await;
        }
        Became::Later("the relay has too much to do now".to_owned())
    }
}

async fn wait(told: oneshot::Receiver<Result<MessageId, NotTaken>>) -> Became {
    match tokio::time::timeout(limits::SEND_TIME, told).await {
        Ok(Ok(Ok(id))) => Became::Taken(id),
        Ok(Ok(Err(why))) => {
            let words = why.reply().trim_end().to_owned();
            match why {
                NotTaken::Refused(reply) if reply.starts_with('5') => Became::Refused(words),
                NotTaken::Closed(Intake::Closing) => Became::Later("the relay stops".to_owned()),
                _ => Became::Later(words),
            }
        }
        Ok(Err(_)) | Err(_) => Became::Unknown,
    }
}
