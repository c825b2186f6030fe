//! Who asks, and what he may.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::actor::Actor;
use super::answers::{Api, json};
use super::shape::me::Me;
use super::veil::Veil;

/// So that a page shows what there is to show.
pub(super) async fn me(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Extension(veil): Extension<Veil>,
) -> Response {
    let fleet = api.fleet.as_ref().filter(|_| actor.tenant().is_none());
    json(&Me {
        who: actor.to_string(),
        role: actor.role().word().to_owned(),
        tenant: actor.tenant().map(|tenant| tenant.to_string()),
        redacts: veil.is_on(),
        cluster: fleet.map(|fleet| fleet.name().to_owned()),
    })
}
