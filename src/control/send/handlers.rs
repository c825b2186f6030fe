//! All that may be asked, and one message as JSON.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;

use super::answers::{answer, later, refusal, said};
use super::asked::{Api, Asked, Count, Read};
use super::once::once;
use super::shape::{Answer, Mail};
use super::template::{self, Unfilled};
use super::{batch, compose, keep, raw, stats};
use crate::control::reload::ApiInForce;

/// All that may be asked.
pub(super) fn router(api: Arc<Api>, client: IpAddr) -> Router {
    Router::new()
        .route("/api/send", post(send))
        .route("/api/send/raw", post(raw::send))
        .route("/api/batch", post(batch::send))
        .merge(keep::routes())
        .merge(stats::routes())
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        .with_state(Asked { api, client })
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
