//! Connections of applications: kept open between requests, bounded in number, memory and time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::control::http::Stalling;
use crate::control::reload::Reload;
use crate::limits;
use crate::policy::clients::Client;
use crate::runtime::files::Reserve;

/// Accepts for ever. A client with too many connections gets no other; where all are in use, nobody does.
pub(super) async fn serve(
    listener: TcpListener,
    router: impl Fn(IpAddr) -> Router,
    (reload, has_tls, reserve): (Arc<dyn Reload>, bool, Arc<Reserve>),
) {
    let mut open = Open::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let client = Client::from(peer.ip());
                if !open.enters(client) {
                    continue;
                }
                let _ = stream.set_nodelay(true);
                let tls = has_tls.then(|| reload.api().tls);
                let router = router(peer.ip());
                let task = tokio::spawn(async move { answer(stream, tls, router).await });
                open.0.entry(client).or_default().push(task);
            }
            Err(error) if reserve.helps(&error) => {}
            Err(_) => tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE).await,
        }
    }
}

/// Connections, by whose they are.
#[derive(Default)]
struct Open(HashMap<Client, Vec<tokio::task::JoinHandle<()>>>);

impl Open {
    /// Whether this client may have one more.
    fn enters(&mut self, client: Client) -> bool {
        let all: usize = self.0.values().map(Vec::len).sum();
        let own = self.0.get(&client).map_or(0, Vec::len);
        if all >= limits::SEND_CONNECTIONS_MAX || own >= limits::SEND_CONNECTIONS_PER_CLIENT {
            // Looked through only where that may help.
            self.0.retain(|_, tasks| {
                tasks.retain(|task| !task.is_finished());
                !tasks.is_empty()
            });
        } else if own > 0 && own.is_multiple_of(64) {
            self.0.entry(client).or_default().retain(|task| !task.is_finished());
        }
        let all: usize = self.0.values().map(Vec::len).sum();
        all < limits::SEND_CONNECTIONS_MAX
            && self.0.get(&client).map_or(0, Vec::len) < limits::SEND_CONNECTIONS_PER_CLIENT
    }
}

async fn answer(stream: TcpStream, tls: Option<Option<Arc<rustls::ServerConfig>>>, router: Router) {
    match tls {
        None => speak(stream, router).await,
        // Its certificate cannot be used.
        Some(None) => {}
        Some(Some(tls)) => {
            let greeted = tokio::time::timeout(limits::SEND_HANDSHAKE, TlsAcceptor::from(tls).accept(stream));
            if let Ok(Ok(stream)) = greeted.await {
                speak(stream, router).await;
            }
        }
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::SEND_IDLE)
        .max_buf_size(limits::HTTP_HEADER_BYTES)
        .keep_alive(true);
    // What a peer does wrong is answered by hyper, or not at all.
    let _ =
        http.serve_connection(TokioIo::new(Stalling::new(stream)), TowerToHyperService::new(router)).await;
}
