//! The node is emptied: what waits goes to another relay, and nothing new is taken in.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::actor::Actor;
use super::answers::{Api, Problem, json, read};
use super::shape::drain::{Drain, DrainState};
use super::suspend::{self, decide};
use super::told::{Body, Told, of};
use super::veil::Veil;
use crate::config::RouteTarget;
use crate::observe::counters::Counters;
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

/// How far it is.
pub(super) async fn show(State(api): State<Arc<Api>>, Extension(veil): Extension<Veil>) -> Response {
    let suspensions = api.mesh.suspensions();
    let of_node = suspensions.all().iter().filter(|one| matches!(one.effect, Effect::Drain(_)));
    let mut drains: Vec<_> = of_node.map(suspend::told).collect();
    drains.iter_mut().for_each(|one| veil.words(&mut one.reason));
    let sum = |of: fn(&Counters) -> u64| api.instruments.iter().map(|shard| of(&shard.counters)).sum();
    json(&DrainState {
        drains,
        starting: api.health.is_starting(),
        messages: sum(|of| of.spool_messages.get()),
        recipients: sum(|of| of.queued_recipients.get()),
    })
}

pub(super) fn told_state() -> Told {
    of("Who drains the node, and what is left.", "DrainState")
}

pub(super) fn told() -> Told {
    Told {
        body: Some(Body::Shape("Drain")),
        refusals: &[507],
        ..of("All mail goes to another relay, and none is taken in, until that is resumed.", "Suspensions")
    }
}
