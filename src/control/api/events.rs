//! `GET /events`: a stream of server-sent events.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::answers::{Api, Problem};
use super::veil::Veil;
use crate::config::literal::quoted;
use crate::control::streams::{Streaming, Wanted};
use crate::limits;

/// Where it is.
pub(super) const PATH: &str = "/events";

/// What is asked there.
pub(super) fn route() -> MethodRouter<Arc<Api>> {
    get(events)
}

async fn events(
    State(api): State<Arc<Api>>,
    Extension(streaming): Extension<Streaming>,
    Extension(veil): Extension<Veil>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let wanted = wanted(query)?.behind(veil);
    if wanted.is_some() && !api.streams.has_lines() {
        let words = "no journal of events is kept, as nothing reads one: a [[log]] or [suppression] auto does; leave events and domain out for the overview alone";
        return Err(Problem::Wrong(words.to_owned()));
    }
    match api.streams.open(wanted, streaming) {
        Some(body) => {
            let fields = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
            Ok((fields, Body::new(body)).into_response())
        }
        None => {
            let words = "there are as many streams as may be: end one, or come again in a moment";
            let mut refused = Problem::Busy(words).into_response();
            let again = axum::http::HeaderValue::from_static(limits::STREAM_AGAIN);
            refused.headers_mut().insert(header::RETRY_AFTER, again);
            debug_assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            Ok(refused)
        }
    }
}

fn wanted(query: Option<String>) -> Result<Wanted, Problem> {
    let (mut events, mut domain) = (None, None);
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "events" if !value.is_empty() => events = Some(value.into_owned()),
            "domain" if !value.is_empty() && value.len() <= limits::FILTER_TEXT_MAX => {
                domain = Some(value.into_owned());
            }
            "events" | "domain" => {}
            _ => return Err(Problem::Wrong("a stream takes events= and domain=".to_owned())),
        }
    }
    if events.is_none() && domain.is_none() {
        return Ok(Wanted::default());
    }
    Wanted::new(events.as_deref(), domain.as_deref()).map_err(|name| {
        Problem::Wrong(format!("{} is no kind of event: docs/log.md lists them", quoted(&name)))
    })
}
