//! The node is emptied: what waits goes to another relay, and nothing new is taken in.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::actor::Actor;
use super::answers::{Api, Problem, read};
use super::shape::drain::Drain;
use super::suspend::decide;
use super::told::{Body, Told, of};
use crate::config::RouteTarget;
use crate::queue::suspension::{Effect, Scope};

/// Begins it. It ends as suspensions do: by its number, or when its time is over.
pub(super) async fn drain(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: Drain = read(&body)?;
    let to = RouteTarget::host(&asked.to).map_err(|bad| Problem::Wrong(format!("to: {bad}")))?;
    decide(&api, actor, (Effect::Drain(to), Scope::default()), asked.seconds, &asked.reason).await
}

pub(super) fn told() -> Told {
    Told {
        body: Some(Body::Shape("Drain")),
        refusals: &[507],
        ..of("All mail goes to another relay, and none is taken in, until that is resumed.", "Suspensions")
    }
}
