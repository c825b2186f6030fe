//! Pages that anybody may open, on a thread of their own: by which a recipient unsubscribes with one click (RFC 8058), or with two. What a link says is
//! believed where a secret of this node sealed it; who asks is on the suppression list, on disk, before the answer says so.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::acme;
use super::http;
use super::thread::{Turn, Worker};
use super::unsubscribe::{By, NotListed, Unsubscriber};
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::clients::Client;
use crate::runtime::files::Reserve;
use crate::runtime::process;

/// Starts to serve these listeners, the first of which are under TLS.
pub(super) fn start(
    listeners: Vec<(std::net::TcpListener, bool)>,
    unsubscriber: Arc<Unsubscriber>,
    reserve: Arc<Reserve>,
) -> io::Result<Worker> {
    Worker::start("relevo-public", move |turn| {
        // What strangers cost is what mail leaves over.
        process::stand_back();
        run(listeners, unsubscriber, &reserve, turn);
    })
}

fn run(
    listeners: Vec<(std::net::TcpListener, bool)>,
    unsubscriber: Arc<Unsubscriber>,
    reserve: &Arc<Reserve>,
    turn: &Turn,
) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return say(Level::Error, format_args!("public pages cannot be served: {error}")),
    };
    let open = Arc::new(Mutex::new(Open::default()));
    let done = runtime.block_on(async {
        for (listener, has_tls) in listeners {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            tokio::spawn(serve(listener, (has_tls, open.clone()), unsubscriber.clone(), reserve.clone()));
        }
        while !turn.is_over() {
            tokio::time::sleep(limits::CONTROL_ROUND).await;
        }
        Ok::<(), io::Error>(())
    });
    if let Err(error) = done {
        say(Level::Error, format_args!("public pages are served no more: {error}"));
    }
    runtime.shutdown_background();
}

/// Accepts for ever. A client with too many connections gets no other; all together have so many, and then the oldest of all ends. What comes without TLS
/// comes by a web server, which is one client for all.
async fn serve(
    listener: TcpListener,
    (has_tls, open): (bool, Arc<Mutex<Open>>),
    unsubscriber: Arc<Unsubscriber>,
    reserve: Arc<Reserve>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let client = has_tls.then(|| Client::from(peer.ip()));
                let lock = || open.lock().unwrap_or_else(PoisonError::into_inner);
                if !lock().has_room(client) {
                    continue;
                }
                let unsubscriber = unsubscriber.clone();
                let served = async move {
                    let answered = answer(stream, has_tls, unsubscriber);
                    let _ = tokio::time::timeout(limits::PUBLIC_REQUEST, answered).await;
                };
                lock().0.push_back((client, tokio::spawn(served).abort_handle()));
                tokio::task::yield_now().await;
            }
            Err(error) if reserve.helps(&error) => {}
            Err(_) => tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE).await,
        }
    }
}

/// Connections, the oldest first, each with whose it is where that counts.
#[derive(Default)]
struct Open(VecDeque<(Option<Client>, AbortHandle)>);

impl Open {
    /// Whether this client may have one more.
    fn has_room(&mut self, client: Option<Client>) -> bool {
        self.0.retain(|(_, connection)| !connection.is_finished());
        let theirs = self.0.iter().filter(|(other, _)| *other == client).count();
        if client.is_some() && theirs >= limits::PUBLIC_PER_CLIENT {
            return false;
        }
        if self.0.len() >= limits::PUBLIC_CONNECTIONS_MAX
            && let Some((_, oldest)) = self.0.pop_front()
        {
            oldest.abort();
        }
        true
    }
}

async fn answer(stream: TcpStream, has_tls: bool, unsubscriber: Arc<Unsubscriber>) {
    let tls = has_tls.then(|| unsubscriber.settings().tls);
    let router = router(unsubscriber);
    match tls {
        None => http::answer(stream, router).await,
        Some(None) => {}
        Some(Some(tls)) => {
            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                http::answer(stream, router).await;
            }
        }
    }
}

fn router(unsubscriber: Arc<Unsubscriber>) -> Router {
    let challenges = acme::router(unsubscriber.challenges.clone());
    Router::new()
        .route("/u/{token}", get(ask).post(unsubscribe))
        .fallback(|| async { page(StatusCode::NOT_FOUND, "There is no such page.", "") })
        .layer(DefaultBodyLimit::max(limits::PUBLIC_BODY_MAX))
        .with_state(unsubscriber)
        .merge(challenges)
}

const UNKNOWN: &str =
    "This link is not complete, or not one of ours. Please open it as it stands in the message.";

/// Says what would be done. Programs that look at links open them, too: that changes nothing (RFC 8058 section 3.1).
async fn ask(State(unsubscriber): State<Arc<Unsubscriber>>, uri: Uri) -> Response {
    match unsubscriber.settings().links.and_then(|links| links.of_path(uri.path())) {
        Some(listed) => {
            let form = "<form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\
                        <button>Unsubscribe</button></form>";
            let words = format!("Unsubscribe {} from these messages?", listed.address);
            page(StatusCode::OK, &words, form)
        }
        None => page(StatusCode::NOT_FOUND, UNKNOWN, ""),
    }
}

/// Does it.
async fn unsubscribe(State(unsubscriber): State<Arc<Unsubscriber>>, uri: Uri, body: Bytes) -> Response {
    let Some(listed) = unsubscriber.settings().links.and_then(|links| links.of_path(uri.path())) else {
        unsubscriber.count_unknown();
        return page(StatusCode::NOT_FOUND, UNKNOWN, "");
    };
    if !says_one_click(&body) {
        let words = "The request lacks List-Unsubscribe=One-Click (RFC 8058): nothing was changed.";
        return page(StatusCode::BAD_REQUEST, words, "");
    }
    match unsubscriber.take(&listed, By::OneClick).await {
        Ok(()) => {
            page(StatusCode::OK, &format!("{} will get no more of these messages.", listed.address), "")
        }
        Err(NotListed::Unlistable) => page(StatusCode::NOT_FOUND, UNKNOWN, ""),
        Err(NotListed::Later) => {
            let words = "This cannot be done just now. Please try again in a minute.";
            let mut response = page(StatusCode::SERVICE_UNAVAILABLE, words, "");
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("60"));
            response
        }
    }
}

/// As form data of either kind (RFC 8058 section 3.2).
fn says_one_click(body: &[u8]) -> bool {
    let is_form = form_urlencoded::parse(body)
        .any(|(name, value)| name == "List-Unsubscribe" && value.trim_end() == "One-Click");
    let has = |text: &[u8]| memchr::memmem::find(body, text).is_some();
    let is_parts = body.starts_with(b"--") && has(b"name=\"List-Unsubscribe\"") && has(b"\nOne-Click");
    is_form || is_parts
}

fn page(status: StatusCode, words: &str, form: &str) -> Response {
    let mut text = String::new();
    for letter in words.chars() {
        match letter {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            letter if letter.is_control() => text.push(' '),
            letter => text.push(letter),
        }
    }
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Unsubscribe</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
         <style>{STYLE}</style></head><body><main><p>{text}</p>{form}</main></body></html>\n"
    );
    let fields = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    (status, fields, Html(page)).into_response()
}

const STYLE: &str = "body{margin:0;font:18px/1.5 system-ui,sans-serif;color:#222;background:#f4f4f4}\
    main{max-width:32em;margin:12vh auto;padding:2em;background:#fff;border-radius:8px;overflow-wrap:anywhere}\
    p{margin:0 0 1em}p:last-child{margin:0}\
    button{font:inherit;padding:.6em 1.4em;border:0;border-radius:6px;background:#1a5fb4;color:#fff;cursor:pointer}\
    button:focus-visible{outline:3px solid #99c1f1}\
    @media(prefers-color-scheme:dark){body{color:#eee;background:#1e1e1e}main{background:#2b2b2b}}";

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_click_is_told_by_form_data_of_either_kind() {
        for body in [
            "List-Unsubscribe=One-Click",
            "a=b&List-Unsubscribe=One-Click\r\n",
            "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n",
        ] {
            assert!(says_one_click(body.as_bytes()), "{body}");
        }
        for body in ["", "List-Unsubscribe", "List-Unsubscribe=no", "One-Click", "--x\r\n\r\nOne-Click"] {
            assert!(!says_one_click(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn a_client_has_so_many_connections() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut open = Open::default();
            let connect = |open: &mut Open, peer: Option<&str>| {
                let client = peer.map(|peer| Client::from(peer.parse::<SocketAddr>().unwrap().ip()));
                if open.has_room(client) {
                    open.0.push_back((client, tokio::spawn(std::future::pending::<()>()).abort_handle()));
                }
            };
            for port in 1..100 {
                connect(&mut open, Some(&format!("[2001:db8::{port:x}]:{port}")));
            }
            assert_eq!(open.0.len(), limits::PUBLIC_PER_CLIENT, "of one network");
            connect(&mut open, Some("192.0.2.1:5"));
            assert_eq!(open.0.len(), limits::PUBLIC_PER_CLIENT + 1, "another has its own");
            for host in 0..2 * limits::PUBLIC_CONNECTIONS_MAX {
                connect(&mut open, Some(&format!("10.1.{}.{}:9", host / 250, host % 250 + 1)));
            }
            assert_eq!(open.0.len(), limits::PUBLIC_CONNECTIONS_MAX);
            for _ in 0..2 * limits::PUBLIC_PER_CLIENT {
                connect(&mut open, None);
            }
            let behind = open.0.iter().filter(|(client, _)| client.is_none()).count();
            assert_eq!(behind, 2 * limits::PUBLIC_PER_CLIENT, "a web server is one for all");
        });
    }
}
