//! Connections of HTTP that control passes on to the service: bounded in a list of their own, so that whatever comes by them takes no place of commands on
//! the socket.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Extension;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::control::api::answers::Problem;
use crate::control::api::gate::Guest;
use crate::control::api::lasting::Working;
use crate::control::http::{self, Passed};
use crate::control::streams::Streaming;
use crate::limits;
use crate::policy::clients::Client;

/// Serves for ever what is passed on.
pub(super) async fn serve(mut passed: mpsc::Receiver<Passed>, router: Router) {
    let (mut open, mut refused) = (Open::default(), VecDeque::<AbortHandle>::new());
    let busy = Router::new().fallback(busy);
    while let Some(passed) = passed.recv().await {
        let guest = passed.guest;
        let Ok(stream) = passed.open() else { continue };
        if open.has_room() {
            let connection = Connection::new(guest);
            let router = router
                .clone()
                .layer(middleware::from_fn_with_state(connection.clone(), whole))
                .layer(Extension(connection.working.clone()))
                .layer(Extension(connection.streaming.clone()))
                .layer(Extension(connection.guest.clone()));
            let (working, streaming) = (connection.working.clone(), connection.streaming.clone());
            let served = http::answer(stream, router);
            let served = async move { streaming.serve(served, || working.has_gone_on()).await };
            open.0.push((connection, tokio::spawn(served).abort_handle()));
        } else {
            let served = tokio::time::timeout(limits::API_REFUSAL, http::answer(stream, busy.clone()));
            refused.retain(|other| !other.is_finished());
            if refused.len() >= limits::API_REFUSALS_MAX
                && let Some(oldest) = refused.pop_front()
            {
                oldest.abort();
            }
            refused.push_back(tokio::spawn(served).abort_handle());
        }
        // It has its first turn before the next one comes.
        tokio::task::yield_now().await;
    }
}

async fn busy() -> Problem {
    Problem::Busy("too many ask over HTTP just now; try again in a moment")
}

/// One of them.
#[derive(Clone)]
struct Connection {
    client: Client,
    guest: Guest,
    begun: Instant,
    working: Working,
    streaming: Streaming,
    /// What he asked is answered, and he reads.
    answered: Arc<AtomicBool>,
}

impl Connection {
    fn new(guest: IpAddr) -> Connection {
        Connection {
            client: Client::from(guest),
            guest: Guest::new(guest),
            begun: Instant::now(),
            working: Working::default(),
            streaming: Streaming::default(),
            answered: Arc::default(),
        }
    }

    /// Whether others go first: it has asked nothing that it may, or had its answer a while ago.
    fn can_go(&self) -> bool {
        !self.guest.was_let_in()
            || self.answered.load(Ordering::Relaxed) && self.begun.elapsed() > limits::API_READ
    }
}

/// Those that are open, the oldest first. Streams are not among them: they have bounds of their own.
#[derive(Default)]
struct Open(Vec<(Connection, AbortHandle)>);

impl Open {
    /// Whether one more may come: where there are too many one ends of those that can, of the client with most of them.
    fn has_room(&mut self) -> bool {
        self.0.retain(|(of, task)| !task.is_finished() && !of.streaming.is_on());
        if self.0.len() < limits::API_CONNECTIONS_MAX {
            return true;
        }
        let of_client = |client: Client| self.0.iter().filter(|(other, _)| other.client == client).count();
        let can_go = self.0.iter().enumerate().filter(|(_, (of, _))| of.can_go());
        // The last of equals is the oldest.
        let first = can_go.rev().max_by_key(|(_, (of, _))| of_client(of.client)).map(|(place, _)| place);
        let Some(first) = first else { return false };
        self.0.remove(first).1.abort();
        true
    }
}

/// Takes the whole request before it is worked on, and notes how far it is.
async fn whole(State(connection): State<Connection>, request: Request, next: Next) -> Response {
    let response = match http::taken_in(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    connection.answered.store(true, Ordering::Relaxed);
    response
}
