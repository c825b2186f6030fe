//! Asking one node something over HTTP, with the token of `[cluster]`. Where that token may go is decided here: to nodes that the operator lists, and to
//! those that only Redis names at addresses of `networks` alone, as whoever can write to Redis can name any.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::config::fleet::FleetConfig;
use crate::config::hook::HookUrl;
use crate::control::api::shape::Refusal;
use crate::control::api::shape::cluster::tidy;
use crate::control::webhook::WebhookSettings;
use crate::limits;

/// Where a node is, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub url: HookUrl,
    /// The operator lists it.
    pub listed: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum Unreached {
    /// Not in time.
    Slow(Duration),
    /// Nobody answers there.
    Away(String),
    /// Not with this token.
    Refuses(String),
    /// It has nothing of that.
    Nothing,
    /// Something else is answered.
    Unfit(String),
    /// It may not be asked.
    Unasked(String),
}

impl Unreached {
    /// As answers and metrics have it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Unreached::Slow(_) => "slow",
            Unreached::Away(_) => "away",
            Unreached::Refuses(_) => "refuses",
            Unreached::Nothing | Unreached::Unfit(_) => "unfit",
            Unreached::Unasked(_) => "unasked",
        }
    }

    /// As a person reads it.
    pub(super) fn words(&self) -> String {
        let words = match self {
            Unreached::Slow(limit) => format!("no answer within {} s", limit.as_secs()),
            Unreached::Nothing => "it has nothing of that".to_owned(),
            Unreached::Away(words)
            | Unreached::Refuses(words)
            | Unreached::Unfit(words)
            | Unreached::Unasked(words) => words.clone(),
        };
        tidy(&words, limits::FLEET_WORDS_MAX)
    }
}

/// How nodes are asked.
pub(super) struct Wire {
    pub config: FleetConfig,
    pub settings: Arc<dyn WebhookSettings>,
    /// Held while a name is looked up.
    pub lookups: Arc<Semaphore>,
}

impl Wire {
    /// What a node answers to this path, of at most so many bytes.
    pub async fn get(
        &self,
        place: &Place,
        path: &str,
        (most, deadline): (usize, Duration),
    ) -> Result<Vec<u8>, Unreached> {
        if self.config.token.secret().is_empty() {
            return Err(Unreached::Unasked("cluster.token_file names no token".to_owned()));
        }
        match tokio::time::timeout(deadline, self.exchange(place, path, most)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unreached::Slow(deadline)),
        }
    }

    async fn exchange(&self, place: &Place, path: &str, most: usize) -> Result<Vec<u8>, Unreached> {
        let away = |error: &dyn std::fmt::Display| Unreached::Away(error.to_string());
        let stream = self.connect(place).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(limits::FLEET_HEAD_MAX);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| away(&error))?;
        // It ends with its sender.
        tokio::spawn(async move { _ = connection.await });
        let request = Request::get(path)
            .header(header::HOST, place.url.authority())
            .header(header::USER_AGENT, concat!("relevo/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.config.token.secret()))
            .body(Body::empty())
            .map_err(|error| Unreached::Unfit(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(|error| away(&error))?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), most).await;
        let body = body.map_err(|error| {
            Unreached::Unfit(format!("its answer broke off, or has more than {most} bytes: {error}"))
        })?;
        judge(status, &body).map_or(Ok(body.to_vec()), Err)
    }

    /// Connects to the first address that takes it, of those where the token may go.
    async fn connect(&self, place: &Place) -> Result<Box<dyn Stream>, Unreached> {
        let url = &place.url;
        let mut last = Unreached::Away(format!("{} has no address", url.host));
        for address in self.addresses(url).await?.into_iter().take(limits::FLEET_ADDRESSES_MAX) {
            if let Err(words) = may(&self.config, place, address) {
                last = Unreached::Unasked(words);
                continue;
            }
            match self.open(url, SocketAddr::new(address, url.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Unreached::Away(format!("[{address}]:{}: {error}", url.port)),
            }
        }
        Err(last)
    }

    async fn open(&self, url: &HookUrl, server: SocketAddr) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        if !url.tls {
            return Ok(Box::new(stream));
        }
        let tls = self.settings.tls().ok_or("this machine trusts no authority")?;
        let name = ServerName::try_from(url.host.to_string()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(tls.config().clone()).connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| format!("TLS: {error}"))?))
    }

    async fn addresses(&self, url: &HookUrl) -> Result<Vec<IpAddr>, Unreached> {
        if let Ok(address) = url.host.parse::<IpAddr>() {
            return Ok(vec![address.to_canonical()]);
        }
        let away =
            |error: &dyn std::fmt::Display| Unreached::Away(format!("{} has no address: {error}", url.host));
        // A name server that is silent has its thread for as long as it is.
        let turn = self.lookups.clone().acquire_owned().await.map_err(|error| away(&error))?;
        let named = (url.host.to_string(), url.port);
        let found = tokio::task::spawn_blocking(move || {
            let found = named.to_socket_addrs().map(|all| all.map(|one| one.ip().to_canonical()).collect());
            drop(turn);
            found
        });
        found.await.map_err(|error| away(&error))?.map_err(|error: std::io::Error| away(&error))
    }
}

/// A connection.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Whether the token may go to this address of a node; if not, why.
fn may(config: &FleetConfig, place: &Place, address: IpAddr) -> Result<(), String> {
    let is_named = config.names(address);
    match (place.listed, place.url.tls) {
        (true, true) => Ok(()),
        (true, false) if is_named || address.is_loopback() => Ok(()),
        (false, _) if is_named => Ok(()),
        (true, false) => {
            Err(format!("{address} is in no network of cluster.networks, and not asked without TLS"))
        }
        (false, _) => Err(format!(
            "Redis alone says that it is there, and {address} is in no network of cluster.networks: name its network, or list it in cluster.nodes"
        )),
    }
}

/// What its status means; None: it is an answer.
fn judge(status: StatusCode, body: &[u8]) -> Option<Unreached> {
    if status == StatusCode::OK {
        return None;
    }
    let refusal = serde_json::from_slice::<Refusal>(body).ok();
    let said = refusal.as_ref().map_or(String::new(), |refusal| format!(": {}", refusal.error));
    let code = refusal.as_ref().map_or("", |refusal| &refusal.code);
    Some(match status.as_u16() {
        401 | 403 | 429 => Unreached::Refuses(format!("it refuses the token ({}){said}", status.as_u16())),
        404 if code == "not_found" => Unreached::Nothing,
        404 => Unreached::Unfit("it does not know the question: its version is another".to_owned()),
        code if status.is_redirection() => {
            Unreached::Unfit(format!("it answers {code}, and redirects are not followed"))
        }
        status => Unreached::Unfit(format!("it answers {status}{said}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Password;
    use crate::config::fleet::place;
    use crate::config::value::network;

    #[test]
    fn the_token_goes_where_the_operator_says() {
        let config = FleetConfig {
            name: "relays".into(),
            advertise: None,
            nodes: Vec::new(),
            networks: vec![network("10.0.0.0/24").unwrap()],
            token_file: None,
            token: Password::default(),
        };
        let goes = |url: &str, listed, address: &str| {
            may(&config, &Place { url: place(url).unwrap(), listed }, address.parse().unwrap()).is_ok()
        };
        for (url, listed, address, wanted) in [
            ("https://mx2.example.net", true, "192.0.2.1", true),
            ("http://mx2.example.net", true, "192.0.2.1", false),
            ("http://mx2.example.net", true, "10.0.0.7", true),
            ("http://127.0.0.1:8025", true, "127.0.0.1", true),
            // What Redis alone says: a name of the web, the services of this machine, those of a cloud.
            ("https://evil.example", false, "192.0.2.1", false),
            ("http://127.0.0.1:8025", false, "127.0.0.1", false),
            ("http://169.254.169.254", false, "169.254.169.254", false),
            ("https://evil.example", false, "10.0.0.7", true),
            ("http://10.0.0.7:8025", false, "10.0.0.7", true),
        ] {
            assert_eq!(goes(url, listed, address), wanted, "{url} {listed} {address}");
        }
    }

    #[test]
    fn what_it_answers_is_judged() {
        let judged = |status: u16, body: &str| {
            judge(StatusCode::from_u16(status).unwrap(), body.as_bytes()).map(|why| why.word())
        };
        let gone = r#"{"error":"nothing of that waits","code":"not_found"}"#;
        for (status, body, wanted) in [
            (200, "", None),
            (401, "{}", Some("refuses")),
            (403, r#"{"error":"not this tenant","code":"tenant"}"#, Some("refuses")),
            (429, "", Some("refuses")),
            (302, "", Some("unfit")),
            (404, r#"{"error":"there is nothing to ask here","code":"no_such_question"}"#, Some("unfit")),
            (500, "<html>", Some("unfit")),
        ] {
            assert_eq!(judged(status, body), wanted, "{status} {body}");
        }
        assert_eq!(judge(StatusCode::NOT_FOUND, gone.as_bytes()), Some(Unreached::Nothing));
        let long = Unreached::Away("x\u{1b}".repeat(10_000)).words();
        assert!(long.len() <= limits::FLEET_WORDS_MAX && !long.contains('\u{1b}'));
    }
}
