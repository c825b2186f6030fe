//! HTML of previews, each under an address of its own that nobody guesses, for a frame of the page: sealed off from the page and from everybody else. A
//! browser cannot show a token there, so the address is the right to look, once made, for a short time.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::limits;
use crate::runtime::process;

/// Where they are.
const PATH: &str = "/preview/{ticket}";

/// Nothing runs, nothing is fetched, nothing is sent, and the page alone may hold it. Colours and sizes in elements are what mail is made of.
const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

/// All that may still be fetched.
#[derive(Default)]
pub(in crate::control) struct Frames(Mutex<VecDeque<Frame>>);

struct Frame {
    ticket: String,
    html: Arc<str>,
    until: Duration,
}

impl Frames {
    /// Keeps this HTML. Where it is found.
    pub(in crate::control) fn put(&self, html: &str) -> String {
        let mut ticket = String::new();
        for byte in process::random_bytes::<16>() {
            // Writing to a String cannot fail.
            let _ = write!(ticket, "{byte:02x}");
        }
        let now = process::since_boot();
        let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frames.retain(|frame| frame.until > now);
        if frames.len() >= limits::PREVIEWS_MAX {
            frames.pop_front();
        }
        let address = PATH.replace("{ticket}", &ticket);
        frames.push_back(Frame { ticket, html: html.into(), until: now + limits::PREVIEW_TIME });
        address
    }

    fn get(&self, ticket: &str) -> Option<Arc<str>> {
        let now = process::since_boot();
        let frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = frames.iter().filter(|frame| frame.until > now);
        live.find(|frame| frame.ticket == ticket).map(|frame| frame.html.clone())
    }
}

/// Serves them.
pub(in crate::control) fn router(frames: Arc<Frames>) -> Router {
    Router::new().route(PATH, get(frame)).with_state(frames)
}

async fn frame(State(frames): State<Arc<Frames>>, Path(ticket): Path<String>) -> Response {
    let Some(html) = frames.get(&ticket) else {
        return (StatusCode::NOT_FOUND, "this preview is over").into_response();
    };
    let head = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (head, html.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_sealed_and_found_by_its_address_alone() {
        let frames = Arc::new(Frames::default());
        let address = frames.put("<script>x</script>");
        let ticket = address.rsplit('/').next().expect("a ticket").to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ask = |ticket: &str| runtime.block_on(frame(State(frames.clone()), Path(ticket.to_owned())));
        let answer = ask(&ticket);
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("sandbox;")
                && policy.contains("default-src 'none'")
                && !policy.contains("allow-")
        );
        assert_eq!(ask("0").status(), StatusCode::NOT_FOUND);
        for _ in 0..limits::PREVIEWS_MAX {
            frames.put("x");
        }
        assert_eq!(ask(&ticket).status(), StatusCode::NOT_FOUND, "others came");
    }
}
