//! `POST /control/v1/check`: what is said of the configuration on disk. Nothing is put in force, and no port is tried: the relay has them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::answers::{Api, Problem, json};
use super::erase::patiently;
use super::lasting::Working;
use super::told::{Told, of};

/// Says it.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    Extension(working): Extension<Working>,
) -> Result<Response, Problem> {
    let Some(reload) = api.reload.clone() else {
        return Err(Problem::NotFound("this relay has no configuration file".to_owned()));
    };
    let busy = |_| Problem::Busy("as many read files as may; ask again in a moment");
    let place = api.file_readers.clone().try_acquire_owned().map_err(busy)?;
    let done = patiently(&working, move || {
        let _place = place;
        reload.check()
    });
    Ok(json(&done.await?))
}

pub(super) fn told() -> Told {
    let summary = "What `relevo check` says of the configuration on disk, which is not put in force.";
    Told { refusals: &[404], ..of(summary, "CheckReport") }
}
