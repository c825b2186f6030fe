//! Another process takes over from this one.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::actor::Actor;
use super::answers::{Api, Problem, json};
use super::told::{Told, of};
use crate::observe::event::Admin;
use crate::runtime::succession;

/// How far it is.
pub(super) async fn show(State(api): State<Arc<Api>>) -> Response {
    json(&api.health.upgrade().status())
}

/// Begins it, and does not wait for its end: who answers then is another.
pub(super) async fn upgrade(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
) -> Result<Response, Problem> {
    if !api.health.is_open() {
        return Err(Problem::Busy("the relay is starting or stopping; ask again in a moment"));
    }
    let upgrade = api.health.upgrade();
    if !upgrade.ask(&actor.to_string()) {
        return Err(Problem::Busy("an upgrade is under way; GET /control/v1/upgrade says how far it is"));
    }
    if let Some(admin) = &api.admin {
        admin.tell(Admin::Upgrade { by: &actor.to_string() });
    }
    api.journal().await;
    if let Err(error) = succession::ask_for() {
        upgrade.failed(&error.to_string());
        return Err(Problem::Broken);
    }
    Ok(json(&upgrade.status()))
}

pub(super) fn told() -> Told {
    of("How far another process is that takes over from this one.", "UpgradeStatus")
}

pub(super) fn told_begun() -> Told {
    of("The binary that is installed now takes over: no connection is refused.", "UpgradeStatus")
}
