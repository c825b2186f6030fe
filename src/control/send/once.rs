//! Requests with an `Idempotency-Key`: what was answered is answered again, and nothing is sent a second time.
//!
//! The key is on disk before a message is, with the name that the messages get (in Message-ID), and its answer before the client hears it. A kill between the two
//! leaves a key of which nobody knows: the same request then sends again, under the same Message-ID.

use std::pin::Pin;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};

use super::answers::{later, refusal};
use super::asked::{Asked, Read};
use crate::control::store::{KeyedRequest, KnownAnswer};
use crate::limits;
use crate::runtime::process;

/// What a request asks, done by the name that its messages get: what was asked with its path, then that name.
type Work =
    for<'a> fn(&'a Asked, &'a Read, &'a str, &'a str) -> Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// Does it; with a key once. It goes on where the client hangs up meanwhile, so that the key knows what came of it.
pub(super) async fn once(asked: Asked, read: Read, what: String, work: Work) -> Response {
    let name = asked.name();
    let Some(key) = read.key.clone() else { return work(&asked, &read, &what, &name).await };
    let done = tokio::spawn(async move { keyed(&asked, &read, (&what, key, name), work).await });
    done.await
        .unwrap_or_else(|_| later("that ended in the middle, by a fault of the relay's: its log says more"))
}

async fn keyed(
    asked: &Asked,
    read: &Read,
    (what, key, name): (&str, String, String),
    work: Work,
) -> Response {
    let keys = &asked.api.keys;
    let whose = (read.sender.name.to_string(), key);
    let Some(_under_way) = keys.begin(whose.clone()) else {
        return refusal(StatusCode::CONFLICT, "a request with this Idempotency-Key is worked on now");
    };
    let digest = digest(&SHA256, &[what.as_bytes(), b"\0", &read.body].concat()).as_ref().to_vec();
    let request = KeyedRequest { token: whose.0.clone(), key: whose.1.clone(), digest, name: name.clone() };
    let now = process::wall();
    let known = keys.desk.with(move |store| store.begin_request(&request, now)).await;
    let (name, is_new) = match known {
        Some(Ok(KnownAnswer::New)) => (name, true),
        Some(Ok(KnownAnswer::Unfinished(name))) => (name, false),
        Some(Ok(KnownAnswer::Other)) => {
            let words = "this Idempotency-Key was used for another request within the last 24 hours";
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, words);
        }
        Some(Ok(KnownAnswer::Answered(status, body))) => return again(status, body),
        Some(Err(_)) | None => {
            return later("keys cannot be kept now: the disk of control.db is slow, or full");
        }
    };
    let response = work(asked, read, what, &name).await;
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let status = head.status;
    // What was refused may be tried again, mended. Where an earlier try may have sent it the name stays, whatever comes of this one.
    if status == StatusCode::OK || is_new && status != StatusCode::GATEWAY_TIMEOUT {
        let answer = (status == StatusCode::OK).then(|| (status.as_u16(), packed(&body)));
        let kept = keys.desk.with(move |store| {
            let answer = answer.as_ref().map(|(status, body)| (*status, &body[..]));
            store.end_request((&whose.0, &whose.1), answer)
        });
        // It is on disk all the same: the client hears so.
        let _ = kept.await;
    }
    Response::from_parts(head, Body::from(body))
}

/// An answer as it is kept: ids of a batch are alike.
fn packed(body: &[u8]) -> Vec<u8> {
    match body.len() > limits::SEND_ANSWER_SMALL {
        true => zstd::bulk::compress(body, 3).unwrap_or_default(),
        false => body.to_vec(),
    }
}

/// The same as it was.
fn unpacked(kept: Vec<u8>) -> Vec<u8> {
    match kept.starts_with(&zstd::zstd_safe::MAGICNUMBER.to_le_bytes()) {
        true => zstd::bulk::decompress(&kept, limits::SEND_BATCH_MAX).unwrap_or_default(),
        false => kept,
    }
}

fn again(status: u16, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
        (header::HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true")),
    ];
    (status, fields, Body::from(unpacked(body))).into_response()
}
