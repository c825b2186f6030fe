//! `GET /control/v1/queue/message/{id}/content`: a message that waits, byte for byte as it was accepted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::answers::{Api, Problem};
use super::lasting::Working;
use crate::control::search::content::Content;
use crate::limits;
use crate::queue::select::Filter;
use crate::shard::ask::{Ask, Keys};

/// Sends it.
pub(super) async fn content(
    State(api): State<Arc<Api>>,
    Extension(working): Extension<Working>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let mut filter = Filter::default();
    filter.set("id", &id)?;
    let gone = || Problem::NotFound(format!("message {id} is settled, or was never here"));
    let filter = api.asker.prepared(filter).await?.ok_or_else(gone)?;
    let (lane, key) = filter.entries.first().copied().ok_or_else(gone)?;
    let shard = api.asker.shard_of(lane);
    let page = api.asker.ask(shard, |reply| Ask::Index(lane, Keys::These(vec![key]), false, reply)).await?;
    let stored = page.entries.into_iter().find(|stored| Some(stored.id) == filter.id).ok_or_else(gone)?;
    let searches = api.searches.clone();
    let opened = tokio::task::spawn_blocking(move || Content::of(&searches, lane, &stored)).await;
    let content = opened.map_err(|_| Problem::Broken)?.map_err(|error| {
        Problem::Damaged(format!(
            "message {id}, in lane {lane}, cannot be read: {error}; ask again, it may just have moved"
        ))
    })?;
    let size = content.size;
    let (pieces, given) = mpsc::channel(limits::CONTENT_PIECES);
    // It ends with whoever takes the pieces.
    tokio::task::spawn_blocking(move || send(content, &pieces));
    let head =
        [(header::CONTENT_TYPE, "message/rfc822".to_owned()), (header::CONTENT_LENGTH, size.to_string())];
    Ok((head, Body::new(Pieces { given, working })).into_response())
}

fn send(mut content: Content, pieces: &mpsc::Sender<std::io::Result<Vec<u8>>>) {
    while let Some(piece) = content.next() {
        let failed = piece.is_err();
        if pieces.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}

/// The pieces on their way.
struct Pieces {
    given: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    /// The connection stays open while they go on.
    working: Working,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.given.poll_recv(context).map(|piece| {
            self.working.goes_on();
            piece.map(|piece| piece.map(|bytes| Frame::data(bytes.into())))
        })
    }
}
