//! The configuration is read again.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::actor::Actor;
use super::answers::{Api, Problem, json, read};
use super::shape::Reload;

/// Replaces the configuration, or says why not.
pub(super) async fn reload(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: Reload = match &body[..] {
        [] => Reload::default(),
        body => read(body)?,
    };
    let Some(reload) = api.reload.clone() else {
        return Err(Problem::NotFound("this relay has no configuration file".to_owned()));
    };
    // Files are read, and a file system may hang.
    let wanted = Arc::new(());
    let asks = Arc::downgrade(&wanted);
    let done = tokio::task::spawn_blocking(move || {
        // Whoever asked may have gone while it waited for its turn.
        asks.upgrade().map(|_asks| reload.reload(asked.dry_run, &actor.to_string()))
    });
    match done.await {
        Ok(Some(done)) => {
            if done.ok && !done.dry_run {
                api.journal().await;
            }
            Ok(json(&done))
        }
        _ => Err(Problem::Broken),
    }
}
