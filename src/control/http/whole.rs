//! How much of a request there may be.

use axum::body::{Body, to_bytes};
use axum::extract::Request;

use crate::control::api::answers::Problem;
use crate::control::api::{import, templates};
use crate::limits;

/// A request, of which all has come. But a table, which is read as it comes.
pub(in crate::control) async fn taken_in(request: Request) -> Result<Request, Problem> {
    if request.uri().path() == import::PATH {
        return Ok(request);
    }
    // What mail says is longer than what is asked of it.
    let of_templates = request.uri().path().starts_with(templates::PATH);
    let most = if of_templates { limits::TEMPLATE_BODY_MAX } else { limits::HTTP_BODY_MAX };
    let (head, body) = request.into_parts();
    let body = to_bytes(body, most).await.map_err(|_| Problem::TooLarge)?;
    Ok(Request::from_parts(head, Body::from(body)))
}
