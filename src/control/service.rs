//! The thread that answers commands: HTTP on a socket of this machine. What is slow or hostile there moves no heartbeat and no mail.

use std::collections::VecDeque;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::control::api::import::{self, Working};
use crate::control::api::peer::Peer;
use crate::control::http;
use crate::control::overview::Overviews;
use crate::control::say::say;
use crate::control::streams::{Streaming, Streams};
use crate::control::thread::Turn;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::files::Reserve;

/// Serves until the node stops; `seen` and `streams` are looked after meanwhile.
pub(super) fn run(
    listener: UnixListener,
    router: Router,
    (seen, streams): (Arc<Overviews>, Arc<Streams>),
    reserve: Arc<Reserve>,
    turn: &Turn,
) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return say(Level::Error, format_args!("control's service cannot run: {error}")),
    };
    let done = runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        tokio::spawn(seen.run());
        tokio::spawn(streams.clone().run());
        tokio::spawn(serve(listener, router, reserve));
        while !turn.is_over() {
            tokio::time::sleep(limits::CONTROL_ROUND).await;
        }
        streams.end().await;
        Ok::<(), std::io::Error>(())
    });
    if let Err(error) = done {
        say(Level::Error, format_args!("control's service ends: {error}"));
    }
    runtime.shutdown_background();
}

/// Accepts for ever. Who may not ask takes no place of those who may.
async fn serve(listener: tokio::net::UnixListener, router: Router, reserve: Arc<Reserve>) {
    let (mut open, mut refused) = (Vec::new(), VecDeque::<AbortHandle>::new());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = Peer::of(&stream);
                let router = router.clone().layer(Extension(peer));
                if peer.may() {
                    make_place(&mut open).await;
                    let (working, streaming) = (Working::default(), Streaming::default());
                    let (begun, asked) = (Instant::now(), Arc::default());
                    let connection = Connection { begun, asked, streaming: streaming.clone() };
                    let router = router
                        .layer(middleware::from_fn_with_state(connection.asked.clone(), whole))
                        .layer(Extension(streaming.clone()))
                        .layer(Extension(working.clone()));
                    let served = http::answer(stream, router);
                    let served = async move { streaming.serve(served, || working.has_gone_on()).await };
                    open.push((connection, tokio::spawn(served).abort_handle()));
                } else {
                    let served = tokio::time::timeout(limits::HTTP_REQUEST, http::answer(stream, router));
                    refused.retain(|other| !other.is_finished());
                    if refused.len() >= limits::LOCAL_REFUSALS_MAX
                        && let Some(oldest) = refused.pop_front()
                    {
                        oldest.abort();
                    }
                    refused.push_back(tokio::spawn(served).abort_handle());
                }
            }
            Err(error) if reserve.helps(&error) => {}
            Err(_) => tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE).await,
        }
    }
}

/// A connection of one who may ask.
struct Connection {
    begun: Instant,
    /// A whole request came.
    asked: Arc<AtomicBool>,
    /// It is told what happens, and takes no place of those who ask.
    streaming: Streaming,
}

/// Waits until there is room for one more: one ends, or has been silent for so long that it is ended.
async fn make_place(open: &mut Vec<(Connection, AbortHandle)>) {
    loop {
        open.retain(|(_, task)| !task.is_finished());
        let asking = open.iter().filter(|(of, _)| !of.streaming.is_on()).count();
        if asking < limits::LOCAL_CONNECTIONS_MAX {
            return;
        }
        let is_silent =
            |of: &Connection| !of.asked.load(Ordering::Relaxed) && of.begun.elapsed() > limits::LOCAL_SILENCE;
        // The oldest comes first.
        if let Some(place) = open.iter().position(|(of, _)| is_silent(of)) {
            open.remove(place).1.abort();
            return;
        }
        tokio::time::sleep(limits::LOCAL_PLACE_LOOK).await;
    }
}

/// Takes the whole request before it is worked on, and notes that it came.
async fn whole(State(asked): State<Arc<AtomicBool>>, request: Request, next: Next) -> Response {
    if request.uri().path() == import::PATH {
        // It is read as it comes.
        asked.store(true, Ordering::Relaxed);
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    match to_bytes(body, limits::HTTP_BODY_MAX).await {
        Ok(body) => {
            asked.store(true, Ordering::Relaxed);
            next.run(Request::from_parts(head, Body::from(body))).await
        }
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    }
}
