//! Control's HTTP: one request a connection, each with a deadline, and only so many connections: whoever sends half a request
//! costs little, and not for long.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::control::Showing;
use crate::control::api::answers::Problem;
use crate::control::cluster_gauges::OfCluster;
use crate::control::health::Health;
use crate::control::journal::Shared;
use crate::control::metrics::{self, Form};
use crate::control::quota_gauges::OfQuotas;
use crate::control::reload::Reload;
use crate::control::suppression::ListNumbers;
use crate::limits;
use crate::observe::Instruments;
use crate::observe::families::Family;
use crate::runtime::files::Reserve;
use crate::runtime::process;
use crate::shard::mesh::Mesh;
use crate::time::UnixMillis;

mod pass;
mod whole;

pub(super) use pass::Stalling;
use pass::{Begun, LIVES, METRICS, READY};
pub(super) use pass::{Passed, Passing};
pub(super) use whole::taken_in;

/// What is asked by which name.
pub(super) struct Served {
    pub instruments: Vec<Arc<Instruments>>,
    pub journal: Option<Arc<Shared>>,
    pub runtime: &'static str,
    pub certificates: Showing,
    pub reload: Option<Arc<dyn Reload>>,
    /// What rules for replies did.
    pub counted: Vec<Arc<Family>>,
    /// What the suppression list holds.
    pub listed: Arc<ListNumbers>,
    /// Quotas are read there.
    pub mesh: Arc<Mesh>,
    pub health: Arc<Health>,
    pub hosts: Hosts,
    /// The second of control's clock.
    pub second: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Accepts for ever. A connection over the bound ends the oldest one: that had its time, and a question takes a millisecond.
pub(super) async fn serve(
    listener: TcpListener,
    served: Served,
    (reserve, passing): (Arc<Reserve>, Option<Passing>),
) {
    let router = router(served);
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, guest)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= limits::HTTP_CONNECTIONS_MAX
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let begun = begin((stream, guest.ip()), router.clone(), passing.clone());
                let served = tokio::time::timeout(limits::HTTP_REQUEST, begun);
                open.push_back(tokio::spawn(served).abort_handle());
                // It has its first turn before the next one comes.
                tokio::task::yield_now().await;
            }
            Err(error) if reserve.helps(&error) => {}
            Err(_) => tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE).await,
        }
    }
}

/// Answers what is control's own; all else is passed on.
async fn begin((stream, guest): (TcpStream, IpAddr), router: Router, passing: Option<Passing>) {
    let heard = tokio::time::timeout(limits::HTTP_HEADER, Begun::hear(stream)).await;
    let Ok(Ok(begun)) = heard else { return };
    let Some(passing) = passing.filter(|_| !begun.is_for_control()) else {
        return answer(begun, router).await;
    };
    if let Some(begun) = begun.pass(guest, &passing) {
        let busy = || async { Problem::Busy("too many ask just now; try again in a moment") };
        answer(begun, Router::new().fallback(busy)).await;
    }
}

pub(super) async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEADER)
        .max_buf_size(limits::HTTP_HEADER_BYTES)
        .auto_date_header(can_be_dated(process::wall()))
        .keep_alive(false);
    // What a peer does wrong is answered by hyper, or not at all.
    let _ =
        http.serve_connection(TokioIo::new(Stalling::new(stream)), TowerToHyperService::new(router)).await;
}

/// Whether hyper can write this date: it panics before 1970, where our clock stands still, and from the year 10000 on.
fn can_be_dated(now: UnixMillis) -> bool {
    (1..limits::HTTP_DATE_END).contains(&now.0)
}

fn router(served: Served) -> Router {
    let Served {
        instruments,
        journal,
        runtime,
        certificates,
        reload,
        counted,
        listed,
        mesh,
        health,
        hosts,
        second,
    } = served;
    let mut registry =
        metrics::registry((instruments, counted, listed), journal, runtime, certificates, reload);
    registry.register_collector(Box::new(OfCluster(mesh.clone())));
    registry.register_collector(Box::new(OfQuotas(mesh)));
    let registry = Arc::new(registry);
    let metrics = move |fields: HeaderMap| {
        let registry = registry.clone();
        async move {
            let accepts = fields.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let form = Form::asked_for(&accepts.collect::<Vec<_>>().join(","));
            let (status, text) = match metrics::render(&registry, form) {
                Ok(text) => (StatusCode::OK, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            };
            (status, [(header::CONTENT_TYPE, form.media_type()), (header::VARY, "accept")], text)
        }
    };
    let (lives, now) = (health.clone(), second.clone());
    let lives = move || {
        let answer = lives.lives(now());
        async move { answer }
    };
    let ready = move || {
        let answer = health.takes_mail(second());
        async move { answer }
    };
    Router::new()
        .route(METRICS, get(metrics))
        .route(LIVES, get(lives))
        .route(READY, get(ready))
        .layer(DefaultBodyLimit::max(limits::HTTP_BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(hosts), check_host))
}

/// By which names this node may be asked. A page of another site can make a browser ask us by that site's name (DNS rebinding), and
/// would be given the answer; by an address, or by our own name, it cannot.
#[derive(Clone)]
pub(super) struct Hosts {
    /// Names of this node.
    pub own: Vec<String>,
    /// Where other names of it are configured.
    pub reload: Option<Arc<dyn Reload>>,
    /// Only this machine reaches us. Where others do, they may know us by names that we do not, and may read by them what all may
    /// read; nothing else.
    pub loopback: bool,
}

impl Hosts {
    fn knows(&self, authority: &str) -> bool {
        let host = match authority.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
                _ => return false,
            },
            None => authority.split_once(':').map_or(authority, |(host, _)| host),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        host.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.own.iter().any(|own| own.eq_ignore_ascii_case(host))
            || self.is_named(host)
    }

    fn is_named(&self, host: &str) -> bool {
        let names = self.reload.as_ref().map(|reload| reload.access().settings.names);
        names.is_some_and(|names| names.iter().any(|name| name.eq_ignore_ascii_case(host)))
    }

    /// The status of a refusal, if it is one.
    fn refuse(&self, request: &Request) -> Option<(StatusCode, &'static str)> {
        let fields: Vec<_> = fields(request.headers());
        let named = request.uri().authority().map(|authority| authority.as_str());
        match (fields.as_slice(), named) {
            // RFC 9112 section 3.2: one Host field, no more, and none only in HTTP/1.0.
            ([], _) if request.version() >= Version::HTTP_11 => {
                return Some((StatusCode::BAD_REQUEST, "a request needs a Host field\n"));
            }
            ([_, _, ..], _) => return Some((StatusCode::BAD_REQUEST, "a request has one Host field\n")),
            _ => {}
        }
        // RFC 9112 section 3.2: so is one that cannot be right. What stands behind the colon is no name that could be known.
        let whole = |host: Option<&str>| host.is_none_or(has_port);
        if !fields.iter().copied().chain(named.map(Some)).all(whole) {
            return Some((StatusCode::BAD_REQUEST, "the port in the Host field is no number\n"));
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if reads && !self.loopback {
            return None;
        }
        let known = fields
            .iter()
            .copied()
            .chain(named.map(Some))
            .all(|host| host.is_some_and(|host| self.knows(host)));
        let words = "this node does not go by that name: ask by its address, by node.hostname, or by a name in control.names\n";
        (!known).then_some((StatusCode::MISDIRECTED_REQUEST, words))
    }
}

/// Whether what stands behind the host is a port, or nothing (RFC 3986 section 3.2).
fn has_port(authority: &str) -> bool {
    let host = authority.rfind(']').map_or(0, |end| end + 1);
    let port = authority[host..].split_once(':').map_or("", |(_, port)| port);
    port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn fields(headers: &HeaderMap) -> Vec<Option<&str>> {
    headers.get_all(header::HOST).iter().map(|value| value.to_str().ok()).collect()
}

async fn check_host(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    match hosts.refuse(&request) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

/// The same for what the API is asked.
pub(super) async fn check_host_of_api(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    match hosts.refuse(&request) {
        Some((status, words)) => Problem::Host(status, words).into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn asked(loopback: bool, method: &str, version: Version, hosts: &[&str]) -> u16 {
        let mut request = Request::builder().method(method).version(version).uri("/metrics");
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let hosts = Hosts { own: vec!["mx1.example.net".into()], reload: None, loopback };
        hosts.refuse(&request.body(Body::empty()).unwrap()).map_or(200, |(status, _)| status.as_u16())
    }

    #[test]
    fn others_names_are_refused() {
        let get = |host: &str| asked(true, "GET", Version::HTTP_11, &[host]);
        for host in [
            "127.0.0.1:8025",
            "127.0.0.1",
            "[::1]:8025",
            "[::1]",
            "localhost:1",
            "LOCALHOST.",
            "MX1.example.net:8025",
            "192.0.2.7",
        ] {
            assert_eq!(get(host), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8025",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            ":8025",
            "[::1]x",
            "xmx1.example.net",
            "127.0.0.1@evil.example",
            "[evil.example]",
        ] {
            assert_eq!(get(host), 421, "{host}");
        }
    }

    #[test]
    fn behind_a_host_stands_a_port_or_nothing() {
        for host in [
            "[::1",
            "localhost:80@evil.example",
            "localhost:evil",
            "[::1]:x.evil",
            "localhost:65536",
            "localhost:+1",
            "127.0.0.1:80:1",
        ] {
            for loopback in [true, false] {
                assert_eq!(asked(loopback, "GET", Version::HTTP_11, &[host]), 400, "{host}");
            }
        }
        assert_eq!(asked(true, "GET", Version::HTTP_11, &["localhost:"]), 200);
    }

    #[test]
    fn there_is_one_host_field() {
        assert_eq!(asked(true, "GET", Version::HTTP_11, &[]), 400);
        assert_eq!(asked(true, "GET", Version::HTTP_11, &["localhost", "localhost"]), 400);
        assert_eq!(
            asked(true, "GET", Version::HTTP_10, &[]),
            200,
            "a balancer's probe; no browser speaks so"
        );
    }

    #[test]
    fn who_is_reached_from_elsewhere_is_read_by_any_name_and_written_by_none() {
        assert_eq!(asked(false, "GET", Version::HTTP_11, &["relay.mail.svc"]), 200);
        assert_eq!(asked(false, "POST", Version::HTTP_11, &["relay.mail.svc"]), 421);
        assert_eq!(asked(false, "DELETE", Version::HTTP_11, &["mx1.example.net"]), 200);
    }

    /// What hyper would panic at is left out.
    #[test]
    fn dates_that_http_has_are_written() {
        let last = limits::HTTP_DATE_END - 1;
        for (millis, has) in [
            (0, false),
            (1, true),
            (1_700_000_000_000, true),
            (last, true),
            (last + 1, false),
            (u64::MAX, false),
        ] {
            assert_eq!(can_be_dated(UnixMillis(millis)), has, "{millis}");
        }
    }
}
