//! How long a request and its answer may take, and how much of it there may be.

use axum::body::{Body, to_bytes};
use axum::extract::Request;

use crate::control::api::answers::Problem;
use crate::control::api::import;
use crate::control::api::lasting::Working;
use crate::limits;

/// Serves a connection for as long as one may take, and for as much longer as what is asked there goes on.
pub(in crate::control) async fn patient(working: Working, answered: impl Future<Output = ()>) {
    let mut answered = std::pin::pin!(answered);
    while tokio::time::timeout(limits::HTTP_REQUEST, &mut answered).await.is_err() {
        if !working.has_gone_on() {
            return;
        }
    }
}

/// A request, of which all has come. But a table, which is read as it comes.
pub(in crate::control) async fn taken_in(request: Request) -> Result<Request, Problem> {
    if request.uri().path() == import::PATH {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, limits::HTTP_BODY_MAX).await.map_err(|_| Problem::TooLarge)?;
    Ok(Request::from_parts(head, Body::from(body)))
}
