//! What is answered.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::gate::Shut;
use super::hand::{Became, UNKNOWN};
use super::shape::Answer;
use crate::policy::tokens::Role;

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

pub(super) fn too_large(most: usize) -> Response {
    let mut response =
        refusal(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body has more than {most} bytes, or broke off"));
    // The rest of it is not read.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(super) fn shut(why: Shut, role: Role) -> Response {
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
