//! What is asked, by whom, and what is needed to do it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answers::{later, refusal, shut, too_large};
use super::compose::Composed;
use super::gate::{Gate, Sender};
use super::hand::{Became, Hand, Whole};
use super::keys::Keys;
use crate::control::analytics::Analytics;
use crate::control::reload::{ApiInForce, Reload};
use crate::control::templates::Templates;
use crate::limits;
use crate::observe::families::Family;
use crate::policy::tokens::Role;
use crate::runtime::process;

/// What the handlers are given.
pub(super) struct Api {
    pub reload: Arc<dyn Reload>,
    pub gate: Gate,
    pub hand: Hand,
    pub templates: Arc<Templates>,
    pub analytics: Option<Arc<Analytics>>,
    pub keys: Keys,
    pub hostname: String,
    /// Bytes in memory.
    pub memory: Arc<Semaphore>,
    pub counts: Arc<Family>,
}

/// One connection's.
#[derive(Clone)]
pub(super) struct Asked {
    pub api: Arc<Api>,
    pub client: IpAddr,
}

/// A request that was let in: whose it is, and its body, which is counted in memory as long as this lives.
pub(super) struct Read {
    pub sender: Sender,
    pub live: ApiInForce,
    pub body: Bytes,
    /// What it is known by, if it is tried again.
    pub key: Option<String>,
    _memory: OwnedSemaphorePermit,
}

impl Asked {
    /// Lets it in, and reads its body of so many bytes at the most.
    pub async fn read(
        &self,
        request: Request,
        most: impl FnOnce(&ApiInForce) -> usize,
    ) -> Result<Read, Response> {
        self.read_as(Role::Send, request, most).await
    }

    /// The same of who has a token of this role.
    pub async fn read_as(
        &self,
        role: Role,
        request: Request,
        most: impl FnOnce(&ApiInForce) -> usize,
    ) -> Result<Read, Response> {
        let live = self.api.reload.api();
        let (head, body) = request.into_parts();
        let sender = self.api.gate.sender(role, live.tokens.as_deref(), (self.client, &head.headers));
        let sender = sender.map_err(|why| shut(why, role))?;
        let most = most(&live);
        let key = key(&head.headers).map_err(|words| refusal(StatusCode::BAD_REQUEST, &words))?;
        let length = head
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(too_large(most));
        }
        // It is there as bytes, as what they say, and as a message.
        let held = length.unwrap_or(most).saturating_mul(3).clamp(1, limits::SEND_MEMORY);
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        let memory = self.api.memory.clone().acquire_many_owned(held);
        let Ok(Ok(memory)) = tokio::time::timeout(limits::SEND_TIME, memory).await else {
            return Err(later("the relay has too many large messages in memory"));
        };
        match tokio::time::timeout(limits::SEND_BODY_TIME, to_bytes(body, most)).await {
            Ok(Ok(body)) => Ok(Read { sender, live, body, key, _memory: memory }),
            Ok(Err(_)) => Err(too_large(most)),
            Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
        }
    }

    /// Has a message stored.
    pub async fn hand_over(&self, composed: Composed, (sender, live): (&Sender, &ApiInForce)) -> Became {
        let Composed { sender: path, recipients, parameters, message } = composed;
        let whole = Whole { sender: path, recipients, parameters, message };
        let became = self.api.hand.over(whole, (sender, self.client, live.message_size_max)).await;
        self.count(match became {
            Became::Taken(_) => Count::Taken,
            Became::Refused(_) => Count::Refused,
            Became::Later(_) | Became::Unknown => Count::Deferred,
        });
        became
    }

    pub fn count(&self, count: Count) {
        self.api.counts.add(count as usize, 1);
    }

    /// A name for what a request sends.
    pub fn name(&self) -> String {
        format!("{:032x}", u128::from_le_bytes(process::random_bytes()))
    }

    /// By what a message is written that is called so: host and second.
    pub fn origin<'a>(&'a self, name: &'a str) -> (&'a str, &'a str, i64) {
        (name, &self.api.hostname, i64::try_from(process::wall().0 / 1000).unwrap_or(i64::MAX))
    }
}

/// The key of a request.
fn key(fields: &HeaderMap) -> Result<Option<String>, String> {
    let Some(key) = fields.get("idempotency-key") else { return Ok(None) };
    let sound = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= limits::SEND_KEY_MAX);
    let words = || format!("Idempotency-Key has 1 to {} printable letters", limits::SEND_KEY_MAX);
    sound.map(|key| Some(key.to_owned())).ok_or_else(words)
}

/// The places of [`super::SENT`].
#[derive(Clone, Copy)]
pub(super) enum Count {
    Taken,
    Refused,
    Deferred,
    Invalid,
}
