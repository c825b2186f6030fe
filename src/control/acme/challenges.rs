//! What proves to an authority that a name is ours (HTTP-01, RFC 8555 section 8.3): it asks for a token, and is told what belongs to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::control::http;
use crate::limits;
use crate::runtime::process;

/// Tokens that are asked for now, with their answers. Few, and for as long as an order takes.
#[derive(Debug, Default)]
pub struct Challenges(Mutex<BTreeMap<String, String>>);

impl Challenges {
    pub(super) fn put(&self, token: &str, answer: &str) {
        self.lock().insert(token.to_owned(), answer.to_owned());
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn get(&self, token: &str) -> Option<String> {
        self.lock().get(token).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers for them.
pub(in crate::control) fn router(challenges: Arc<Challenges>) -> Router {
    Router::new().route("/.well-known/acme-challenge/{token}", get(told)).with_state(challenges)
}

async fn told(State(challenges): State<Arc<Challenges>>, Path(token): Path<String>) -> Response {
    match challenges.get(&token) {
        Some(answer) => ([(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Where they are answered for the time of an order.
pub(super) struct Answering(Vec<String>);

impl Answering {
    /// Why nobody can ask there, if nobody can.
    pub(super) fn problem(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(", "))
    }
}

/// Answers at these addresses, as long as the runtime goes on.
pub(super) fn answer(addresses: &[SocketAddr], challenges: &Arc<Challenges>) -> Answering {
    let mut problems = Vec::new();
    for address in addresses {
        let listening = process::listen_alone(*address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        match listening {
            Ok(listener) => drop(tokio::spawn(serve(listener, challenges.clone()))),
            Err(error) => problems.push(format!("cannot listen on {address} (acme.http): {error}")),
        }
    }
    Answering(problems)
}

async fn serve(listener: TcpListener, challenges: Arc<Challenges>) {
    let places = Arc::new(Semaphore::new(limits::ACME_CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router(challenges.clone());
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(limits::HTTP_REQUEST, http::answer(stream, router)).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE).await,
        }
    }
}
