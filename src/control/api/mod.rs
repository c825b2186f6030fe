//! `/control/v1`: what commands ask of the running relay, on its socket.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::process;
use answers::{Api, Problem};
use peer::Peer;

pub(super) mod answers;
mod change;
mod events;
pub(super) mod import;
mod overview;
pub(super) mod peer;
mod queue;
mod quotas;
mod reload;
mod searching;
pub mod shape;
mod status;
mod suppression;
mod suspend;
mod warmup;
mod why;

/// All questions.
pub(super) fn router(api: Api) -> Router {
    let none = || async { Problem::NoSuchQuestion(StatusCode::NOT_FOUND) };
    let not_so = || async { Problem::NoSuchQuestion(StatusCode::METHOD_NOT_ALLOWED) };
    Router::new()
        .route("/control/v1/status", get(status::status).fallback(not_so))
        .route("/control/v1/reload", post(reload::reload).fallback(not_so))
        .route("/control/v1/queue", get(queue::list).fallback(not_so))
        .route("/control/v1/queue/count", get(queue::count).fallback(not_so))
        .route("/control/v1/queue/message/{id}", get(queue::show).fallback(not_so))
        .route("/control/v1/why", get(why::why).fallback(not_so))
        .route("/control/v1/queue/retry", post(change::retry).fallback(not_so))
        .route("/control/v1/queue/bounce", post(change::bounce).fallback(not_so))
        .route("/control/v1/suspensions", get(suspend::list).fallback(not_so))
        .route("/control/v1/warmup", get(warmup::show).fallback(not_so))
        .route("/control/v1/quotas", get(quotas::show).fallback(not_so))
        .route("/control/v1/suspend", post(suspend::suspend).fallback(not_so))
        .route("/control/v1/resume", post(suspend::resume).fallback(not_so))
        .route("/control/v1/suppressions", get(suppression::list).post(suppression::add).fallback(not_so))
        .route("/control/v1/suppressions/remove", post(suppression::remove).fallback(not_so))
        .route("/control/v1/suppressions/check", get(suppression::check).fallback(not_so))
        .route(import::PATH, post(import::import).fallback(not_so))
        .route("/control/v1/overview", get(overview::overview).fallback(not_so))
        .route("/control/v1/history", get(overview::history).fallback(not_so))
        .route("/control/v1/sites", get(overview::sites).fallback(not_so))
        .route(events::PATH, events::route().fallback(not_so))
        .fallback(none)
        .with_state(Arc::new(api))
        .layer(DefaultBodyLimit::max(limits::HTTP_BODY_MAX))
        .layer(middleware::from_fn_with_state((), check_peer))
}

/// The mode of the socket's file is the first wall. Where somebody opened that, this is the second.
async fn check_peer(
    State(()): State<()>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if peer.may() {
        return next.run(request).await;
    }
    let own = process::user().0;
    say(
        Level::Warning,
        format_args!("a command of {peer} was refused: only user {own} and root may give them"),
    );
    Problem::Forbidden(format!("only root and user {own}, which the relay runs as, may ask; you are {peer}"))
        .into_response()
}
