//! How commands speak to the running relay: HTTP over its socket.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use clap::Args;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use relevo::config::Config;
use relevo::control::api::shape::{Finding, Refusal, Reloaded};
use relevo::limits;
use relevo::runtime::remote::{Remote, Wire};
use relevo::runtime::{files, local};
use serde::de::DeserializeOwned;

use super::output::{Failure, NO, WRONG_USE, warn};

/// Which relay.
#[derive(Args, Clone, Debug)]
pub struct Relay {
    /// The configuration of the relay, which says where its socket is [default: /etc/relevo/relevo.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its socket.
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Its control.http, on whatever machine: https://HOST, or http://127.0.0.1:8025.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "socket"])]
    url: Option<String>,
    #[command(flatten)]
    by: By,
}

/// How it is asked over HTTP.
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = true)]
struct By {
    /// The file that has the token of `relevo token add`.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Ask without TLS, also where others may read the token on its way.
    #[arg(long, requires = "url")]
    plain_text: bool,
}

/// Where it answers.
enum Place {
    Socket(PathBuf),
    Remote(Remote, Option<String>),
}

/// Asks one question after the other.
pub struct Client {
    place: Place,
    /// Where that is was read in a file that may have been changed since the relay read it.
    by_file: bool,
    runtime: tokio::runtime::Runtime,
}

/// Who answers for a configuration, whatever its state.
pub enum ReloadTarget {
    /// The relay that runs with it.
    Relay(Client),
    /// Nobody needs be asked: it is no TOML, and this is what a relay would say.
    NoToml(Reloaded),
    /// The same: it cannot be read, and this is why.
    Unread(String),
}

impl Relay {
    /// Where it answers.
    pub fn client(&self) -> Result<Client, Failure> {
        let place = match (&self.url, &self.socket) {
            (Some(url), _) => self.remote(url)?,
            (None, Some(socket)) => Place::Socket(socket.clone()),
            (None, None) => Place::Socket(self.configured()?),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Client { place, by_file: false, runtime })
    }

    /// The same, also where its configuration is broken: which socket it has may be told all the same. Where it is no TOML nobody needs be asked.
    pub fn client_of_any(&self) -> Result<ReloadTarget, Failure> {
        let path = self.config.as_deref().unwrap_or(Path::new(relevo::check::DEFAULT_PATH));
        if self.socket.is_some() || self.url.is_some() {
            return self.client().map(ReloadTarget::Relay);
        }
        let text = match relevo::check::read(path) {
            Ok(text) => text,
            // Which relay is meant was not said at all.
            Err(_) if self.config.is_none() && !path.exists() => {
                return self.client().map(ReloadTarget::Relay);
            }
            Err(error) => return Ok(ReloadTarget::Unread(format!("{error}"))),
        };
        let (config, errors) = Config::examine(&text, path);
        let Some(config) = config else {
            let (file, errors) = (path.display().to_string(), errors.iter().map(Finding::from).collect());
            return Ok(ReloadTarget::NoToml(Reloaded { file, errors, ..Reloaded::default() }));
        };
        match config.control.socket {
            Some(socket) => Relay { socket: Some(socket), config: None, url: None, by: By::default() }
                .client()
                .map(|mut client| {
                    client.by_file = true;
                    client
                }),
            None => self.client(),
        }
        .map(ReloadTarget::Relay)
    }

    /// The file that is meant.
    pub fn file(&self) -> String {
        self.config.as_deref().unwrap_or(Path::new(relevo::check::DEFAULT_PATH)).display().to_string()
    }

    fn remote(&self, url: &str) -> Result<Place, Failure> {
        let wrong = |words: String| Failure(WRONG_USE, words);
        let remote = Remote::parse(url).ok_or_else(|| {
            wrong(format!("{url:?} is no URL of a relay; write https://HOST or http://127.0.0.1:8025"))
        })?;
        if remote.is_open() && !self.by.plain_text {
            let words = "is asked in plain text: others may read the token on its way. Ask by https, or through a tunnel at 127.0.0.1, or say --plain-text";
            return Err(wrong(format!("{url} {words}")));
        }
        let Some(path) = &self.by.token_file else { return Ok(Place::Remote(remote, None)) };
        let at = |words: &dyn std::fmt::Display| wrong(format!("{}: {words}", path.display()));
        let bytes = files::read_whole(path, limits::PASSWORD_FILE_MAX).map_err(|error| at(&error))?;
        let token = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
        let token =
            token.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        let token = token.ok_or_else(|| at(&"there is no token in it, which is one word"))?;
        Ok(Place::Remote(remote, Some(token)))
    }

    fn configured(&self) -> Result<PathBuf, Failure> {
        let default = Path::new(relevo::check::DEFAULT_PATH);
        let path = self.config.as_deref().unwrap_or(default);
        let hint = if self.config.is_none() { "; or give --config FILE or --socket PATH" } else { "" };
        let config = match super::check::load(path) {
            Ok(config) => config,
            // The relay that runs does not mind what is wrong in the file by now: whoever mends it looks at that relay meanwhile.
            Err(error) => {
                let config = broken(path).ok_or_else(|| Failure(WRONG_USE, format!("{error}{hint}")))?;
                let file = path.display();
                warn(format_args!(
                    "{file} has errors, which `relevo check` tells; its control.socket is asked"
                ));
                config
            }
        };
        let words =
            || format!("{}: there is no control.socket, so no command reaches this relay", path.display());
        config.control.socket.ok_or_else(|| Failure(WRONG_USE, words()))
    }
}

/// What is right in a file that is not right; None: it is no TOML, cannot be read, or says nothing of where the relay is.
fn broken(path: &Path) -> Option<Config> {
    let text = relevo::check::read(path).ok()?;
    let (config, errors) = Config::examine(&text, path);
    let says_where = |key: &str| errors.iter().any(|error| error.key == key);
    config.filter(|_| !says_where("node.data_dir") && !says_where("control.socket"))
}

/// Why it has no answer.
fn refused(status: StatusCode, text: &[u8]) -> Failure {
    let refusal: Refusal = serde_json::from_slice(text)
        .unwrap_or_else(|_| Refusal { error: format!("it answered {status}"), code: String::new() });
    // What the asker can mend, and what is just not so.
    let wrong = matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::METHOD_NOT_ALLOWED
    );
    Failure(if wrong { WRONG_USE } else { NO }, refusal.error)
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(path) => write!(formatter, "{}", path.display()),
            Place::Remote(remote, _) => formatter.write_str(remote.authority()),
        }
    }
}

impl Client {
    /// Asks for something.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, Vec::new())
    }

    /// Has something done.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
        self.ask(Method::POST, path, body)
    }

    /// Has something removed.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::DELETE, path, Vec::new())
    }

    /// Sends something large, which takes as long as it takes.
    pub fn send<T: DeserializeOwned>(&self, path: &str, kind: &str, body: Body) -> Result<T, Failure> {
        self.asked((Method::POST, path, kind), body, limits::SUPPRESSION_IMPORT_WAIT)
    }

    /// Asks for something that is no JSON, of at most so many bytes.
    pub fn fetch(&self, path: &str, most: usize) -> Result<Vec<u8>, Failure> {
        let asked = async {
            let answer = self.answered((Method::GET, path, "application/json"), Body::empty()).await?;
            let status = answer.status();
            let text = to_bytes(Body::new(answer.into_body()), most).await;
            let text = text.map_err(|error| self.unusable(&format!("its answer broke off: {error}")))?;
            if status.is_success() { Ok(text.to_vec()) } else { Err(refused(status, &text)) }
        };
        self.runtime.block_on(async {
            let answered = tokio::time::timeout(limits::SUPPRESSION_IMPORT_WAIT, asked).await;
            answered.unwrap_or_else(|_| Err(self.unusable("it does not answer in time")))
        })
    }

    /// Asks for something that has no end: each line of it, until it ends or the connection does.
    pub fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let asked = self.answered((Method::GET, path, "application/json"), Body::empty());
            let answered = tokio::time::timeout(limits::ANSWER_WAIT, asked).await;
            let answer = answered.unwrap_or_else(|_| Err(self.unusable("it does not answer in time")))?;
            let status = answer.status();
            let mut body = Body::new(answer.into_body());
            if !status.is_success() {
                let text = to_bytes(body, limits::ANSWER_MAX).await.unwrap_or_default();
                return Err(refused(status, &text));
            }
            let mut held = Vec::new();
            loop {
                let frame =
                    poll_fn(|context| hyper::body::Body::poll_frame(Pin::new(&mut body), context)).await;
                let Some(frame) = frame else { return Ok(()) };
                let frame =
                    frame.map_err(|error| self.unusable(&format!("its answer broke off: {error}")))?;
                held.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
                while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = held.drain(..=end).collect();
                    each(&line[..end])?;
                }
                if held.len() > limits::ANSWER_MAX {
                    return Err(self.unusable("a line of its answer has no end"));
                }
            }
        })
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Result<T, Failure> {
        self.asked((method, path, "application/json"), Body::from(body), limits::ANSWER_WAIT)
    }

    fn asked<T: DeserializeOwned>(
        &self,
        request: (Method, &str, &str),
        body: Body,
        patience: Duration,
    ) -> Result<T, Failure> {
        let asked = async {
            let answered = tokio::time::timeout(patience, self.exchange(request, body)).await;
            answered.unwrap_or_else(|_| Err(self.unusable("it does not answer in time")))
        };
        let (status, text) = self.runtime.block_on(asked)?;
        if status.is_success() {
            return serde_json::from_slice(&text).map_err(|error| {
                self.unusable(&format!("its answer is not understood: {error}; is it of another version?"))
            });
        }
        Err(refused(status, &text))
    }

    async fn exchange(
        &self,
        request: (Method, &str, &str),
        body: Body,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let answer = self.answered(request, body).await?;
        let status = answer.status();
        let text = to_bytes(Body::new(answer.into_body()), limits::ANSWER_MAX).await;
        let text = text.map_err(|error| self.unusable(&format!("its answer broke off: {error}")))?;
        Ok((status, text.to_vec()))
    }

    async fn answered(
        &self,
        (method, path, kind): (Method, &str, &str),
        body: Body,
    ) -> Result<Response<Incoming>, Failure> {
        let unreached = |error: io::Error| self.unreached(&error);
        let (stream, host, token): (Box<dyn Wire>, _, _) = match &self.place {
            Place::Socket(path) => {
                (Box::new(local::connect(path).await.map_err(unreached)?), "localhost", None)
            }
            Place::Remote(remote, token) => {
                (remote.connect().await.map_err(unreached)?, remote.authority(), token.as_ref())
            }
        };
        let broken = |error: hyper::Error| self.unusable(&format!("the connection broke: {error}"));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, kind);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(body)
            .map_err(|error| Failure(WRONG_USE, format!("this cannot be asked: {error}")))?;
        sender.send_request(request).await.map_err(broken)
    }

    fn unusable(&self, words: &str) -> Failure {
        Failure(NO, format!("the relay at {}: {words}", self.place))
    }

    fn unreached(&self, error: &io::Error) -> Failure {
        let socket = &self.place;
        if let Place::Remote(..) = socket {
            return Failure(NO, format!("no relay answers at {socket}: {error}"));
        }
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure(
                NO,
                format!(
                    "no relay answers at {socket} ({error}); is it running, and is this its configuration?{}",
                    if self.by_file {
                        " If node.data_dir or control.socket was changed in it since the relay started, --socket PATH with the path of before \
                         reaches it, or SIGHUP"
                    } else {
                        ""
                    }
                ),
            ),
            io::ErrorKind::PermissionDenied => Failure(
                WRONG_USE,
                format!(
                    "{socket}: {error}; only the user that the relay runs as and root may give it commands"
                ),
            ),
            _ => Failure(WRONG_USE, format!("{socket}: {error}")),
        }
    }
}
