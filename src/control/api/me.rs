//! Who asks, and what he may.

use axum::Extension;
use axum::response::Response;

use super::actor::Actor;
use super::answers::json;
use super::shape::me::Me;
use super::veil::Veil;

/// So that a page shows what there is to show.
pub(super) async fn me(Extension(actor): Extension<Actor>, Extension(veil): Extension<Veil>) -> Response {
    json(&Me {
        who: actor.to_string(),
        role: actor.role().word().to_owned(),
        tenant: actor.tenant().map(|tenant| tenant.to_string()),
        redacts: veil.is_on(),
    })
}
