//! What is asked, and what is answered.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::batch;
use super::compose::{self, Composed};
use super::gate::{Gate, Sender, Shut};
use super::hand::{Became, Hand, UNKNOWN, Whole};
use super::keep;
use super::once::{Keys, once};
use super::raw;
use super::shape::{Answer, Mail};
use super::template::{self, Unfilled};
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

/// All that may be asked.
pub(super) fn router(api: Arc<Api>, client: IpAddr) -> Router {
    Router::new()
        .route("/api/send", post(send))
        .route("/api/send/raw", post(raw::send))
        .route("/api/batch", post(batch::send))
        .merge(keep::routes())
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        .with_state(Asked { api, client })
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

async fn send(State(asked): State<Asked>, request: Request) -> Response {
    // Base64 and escapes: a message in JSON is longer than the message.
    let most =
        |live: &ApiInForce| usize::try_from(live.message_size_max).unwrap_or(usize::MAX).saturating_mul(2);
    match asked.read(request, most).await {
        Ok(read) => {
            once(asked, read, "send".to_owned(), |asked, read, _, name| Box::pin(send_one(asked, read, name)))
                .await
        }
        Err(refused) => refused,
    }
}

async fn send_one(asked: &Asked, read: &Read, name: &str) -> Response {
    let mail: Mail = match serde_json::from_slice(&read.body) {
        Ok(mail) => mail,
        Err(error) => {
            asked.count(Count::Invalid);
            return refusal(StatusCode::BAD_REQUEST, &format!("the body is no message as JSON: {error}"));
        }
    };
    let mail = match template::filled(&asked.api.templates, mail, &read.sender).await {
        Ok(mail) => mail,
        Err(Unfilled::Wrong(words)) => {
            asked.count(Count::Invalid);
            return refusal(StatusCode::BAD_REQUEST, &words);
        }
        Err(Unfilled::Later(words)) => return later(words),
    };
    match compose::compose(&mail, asked.origin(name)) {
        Ok(composed) => said(asked.hand_over(composed, (&read.sender, &read.live)).await),
        Err(errors) => {
            asked.count(Count::Invalid);
            answer(StatusCode::BAD_REQUEST, &Answer::refused(errors))
        }
    }
}

/// What became of one message, as its request is answered.
pub(super) fn said(became: Became) -> Response {
    match became {
        Became::Taken(_) => answer(StatusCode::OK, &became.answer()),
        Became::Refused(words) => refusal(refused_status(&words), &words),
        Became::Later(words) => later(&words),
        Became::Unknown => refusal(StatusCode::GATEWAY_TIMEOUT, UNKNOWN),
    }
}

/// What a session would refuse, as HTTP says it: who asks may not, or what he sends is too much.
fn refused_status(reply: &str) -> StatusCode {
    match reply.get(..3) {
        Some("552") => StatusCode::PAYLOAD_TOO_LARGE,
        Some("550" | "553" | "530" | "535") => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// It may be tried again. A rate or a quota is the client's doing, all else the relay's.
pub(super) fn later(words: &str) -> Response {
    let is_rate = words.starts_with("450") || words.starts_with("451 4.7.1") || words.starts_with("452 4.7");
    let status = if is_rate { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = refusal(status, words);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

pub(super) fn refusal(status: StatusCode, words: &str) -> Response {
    answer(status, &Answer::refused(vec![words.to_owned()]))
}

fn too_large(most: usize) -> Response {
    let mut response =
        refusal(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body has more than {most} bytes, or broke off"));
    // The rest of it is not read.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn shut(why: Shut, role: Role) -> Response {
    let forbidden = format!("Forbidden: the token has not the role {}", role.word());
    let (status, words) = match why {
        Shut::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
        Shut::Forbidden => (StatusCode::FORBIDDEN, forbidden.as_str()),
        Shut::TooMany => {
            (StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens come from there; wait before the next")
        }
    };
    let mut response = refusal(status, words);
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"relevo\""));
    }
    // Its body is not read.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(super) fn answer(status: StatusCode, what: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(what).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], Body::from(body)).into_response()
}
