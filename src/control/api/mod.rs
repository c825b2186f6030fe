//! `/control/v1`: what is asked of the running relay, by commands on its socket, and by all others over HTTP.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};

use crate::control::say::say;
use crate::observe::diagnostics::Level;
use crate::runtime::process;
use actor::Actor;
use answers::{Api, Problem};
use gate::Gate;
use peer::Peer;
use veil::Veil;

mod accounts;
pub(super) mod actor;
mod analytics;
pub(super) mod answers;
mod change;
mod cluster;
mod check;
mod content;
mod document;
mod drain;
mod erase;
mod events;
pub(super) mod gate;
pub(super) mod import;
pub(super) mod lasting;
mod logged;
mod me;
mod overview;
pub(super) mod peer;
mod queue;
mod quotas;
mod rebinding;
mod reload;
mod routes;
mod sandbox;
mod searching;
pub mod shape;
mod shaping;
mod status;
mod suppression;
mod suspend;
pub(super) mod templates;
mod trace;
mod upgrade;
mod tenancy;
mod told;
mod tokens;
pub(super) mod veil;
mod warmup;
mod why;

/// All questions, by whoever has the socket.
pub(super) fn router(api: Api) -> Router {
    routes::router(api)
        .layer(Extension(document::text()))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state((), check_peer))
}

/// All questions, by those who are let in over HTTP. Beside them `open`, which asks for no token, as it tells nothing: a page that asks by itself.
pub(super) fn guarded(api: Api, gate: Arc<Gate>, open: Router) -> Router {
    let sandbox = sandbox::router(api.sandbox.clone());
    routes::router(api)
        .layer(Extension(document::text()))
        .merge(sandbox)
        .layer(middleware::from_fn_with_state(gate, gate::let_in))
        .merge(open)
        .fallback(nothing)
        .layer(middleware::from_fn(gate::check_origin))
}

async fn nothing() -> Problem {
    Problem::NoSuchQuestion(StatusCode::NOT_FOUND)
}

/// The mode of the socket's file is the first wall. Where somebody opened that, this is the second.
async fn check_peer(
    State(()): State<()>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    if peer.may() {
        request.extensions_mut().insert(Actor::Local(peer));
        request.extensions_mut().insert(Veil::default());
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

#[cfg(test)]
mod tests;
