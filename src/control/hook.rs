//! The thread that asks the service of `[hook]` about messages, for the shards (`shard/hooking`). It keeps connections open, and leaves a service alone
//! that fails; a node that asks nobody has a thread that sleeps.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use ring::hmac;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use crate::config::hook::{HookConfig, HookFail};
use crate::control::say::say;
use crate::control::thread::{Turn, Worker};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::hook::{Breaker, Fault, HookAnswer, HookQuestion, Unanswered};
use crate::runtime::process;
use crate::shard::hooking::{AskedHook, Hooking};
use crate::shard::mesh::Mesh;

/// The service that is asked.
#[derive(Clone, Debug)]
pub struct InUse {
    /// Where and how.
    pub config: HookConfig,
    /// TLS to one that has proven who it is.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Whoever knows that.
pub trait HookSettings: Send + Sync {
    /// As it is now; None: nobody is asked.
    fn hook(&self) -> Option<InUse>;
}

/// Starts it.
pub(super) fn start(mesh: &Arc<Mesh>, settings: Arc<dyn HookSettings>) -> io::Result<Worker> {
    let mesh = mesh.clone();
    Worker::start("relevo-hook", move |turn| {
        let (thread, asked) = (std::thread::current(), Arc::new(Notify::new()));
        let bell = asked.clone();
        mesh.hooking().serve(move || {
            bell.notify_one();
            thread.unpark();
        });
        while !turn.is_over() {
            if !mesh.hooking().is_empty() {
                run(mesh.hooking(), &*settings, &asked, turn);
            }
            turn.pause(limits::HOOK_ROUND);
        }
    })
}

/// Asks until it is over.
fn run(hooking: &Hooking, settings: &dyn HookSettings, asked: &Arc<Notify>, turn: &Turn) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    match built {
        Ok(runtime) => {
            runtime.block_on(serve(hooking, settings, asked, turn));
            // Whoever still waits hears by his own clock that there is no answer.
            runtime.shutdown_background();
        }
        Err(error) => {
            say(Level::Error, format_args!("the service of [hook] cannot be asked: {error}"));
            std::iter::from_fn(|| hooking.next()).for_each(|one| one.answer(Err(Unanswered::Failed)));
        }
    }
}

async fn serve(hooking: &Hooking, settings: &dyn HookSettings, asked: &Arc<Notify>, turn: &Turn) {
    let mut client: Option<Arc<Client>> = None;
    while !turn.is_over() {
        let wanted = settings.hook();
        let is_known =
            client.as_ref().zip(wanted.as_ref()).is_some_and(|(known, wanted)| known.is_of(wanted));
        if !is_known {
            client = wanted.map(|used| Arc::new(Client::new(used, asked.clone())));
        }
        while client.as_ref().is_none_or(|client| client.has_room())
            && let Some(one) = hooking.next()
        {
            match &client {
                Some(client) if lock(&client.breaker).allows(process::since_boot()) => {
                    client.under_way.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(client.clone().answer(one));
                }
                Some(_) => one.answer(Err(Unanswered::Resting)),
                // A reload took it away.
                None => one.answer(Err(Unanswered::Failed)),
            }
        }
        // The wait is no shorter for a bell that rang: it is kept.
        let _ = tokio::time::timeout(limits::HOOK_ROUND, asked.notified()).await;
    }
}

/// What is known of one service.
struct Client {
    used: InUse,
    under_way: AtomicUsize,
    /// Connections that wait for the next question.
    idle: Mutex<Vec<SendRequest<Body>>>,
    breaker: Mutex<Breaker>,
    asked: Arc<Notify>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    fn new(used: InUse, asked: Arc<Notify>) -> Client {
        Client {
            used,
            under_way: AtomicUsize::new(0),
            idle: Mutex::default(),
            breaker: Mutex::default(),
            asked,
        }
    }

    fn is_of(&self, wanted: &InUse) -> bool {
        let same_tls = match (&self.used.tls, &wanted.tls) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.used.config == wanted.config && (same_tls || !wanted.config.url.tls)
    }

    fn has_room(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) < limits::HOOK_AT_ONCE
    }

    /// Answered in any case.
    async fn answer(self: Arc<Client>, one: Arc<AskedHook>) {
        let deadline = self.used.config.deadline;
        let result = match tokio::time::timeout(deadline, self.ask(one.about())).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer in {} ms", deadline.as_millis())),
        };
        match &result {
            Ok(_) => self.works(),
            Err(why) => self.fails(why),
        }
        one.answer(result.map_err(|_| Unanswered::Failed));
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.asked.notify_one();
    }

    fn works(&self) {
        if lock(&self.breaker).succeeded() {
            say(Level::Info, format_args!("hook {} answers again", self.used.config.url));
        }
    }

    fn fails(&self, why: &str) {
        let fault = lock(&self.breaker).failed(process::since_boot());
        let url = &self.used.config.url;
        let mail = match self.used.config.fail {
            HookFail::Accept => "taken unasked",
            HookFail::Defer => "put off (451)",
        };
        match fault {
            Fault::First => say(Level::Warning, format_args!("hook {url}: {why}; the mail is {mail}")),
            Fault::Rests => {
                let (times, rest) = (limits::HOOK_FAILURES, limits::HOOK_REST.as_secs());
                let words = format_args!(
                    "hook {url} failed {times} times in a row, the last time: {why}; it is tried again each {rest} s, and until it answers mail is {mail}"
                );
                say(Level::Error, words);
            }
            Fault::Known => {}
        }
    }

    /// One question. Over a connection that was idle it may be lost, as its server closes it in the same moment: then it is asked again over a new one.
    async fn ask(&self, about: &HookQuestion) -> Result<HookAnswer, String> {
        let body = about.json();
        let kept = lock(&self.idle).pop();
        if let Some(mut kept) = kept
            && kept.ready().await.is_ok()
            && let Ok(response) = kept.send_request(self.request(&body)?).await
        {
            return self.read(kept, response).await;
        }
        let mut fresh = self.connect().await?;
        let response = fresh.send_request(self.request(&body)?).await.map_err(|error| words(&error))?;
        self.read(fresh, response).await
    }

    fn request(&self, body: &[u8]) -> Result<Request<Body>, String> {
        let HookConfig { url, secret, .. } = &self.used.config;
        let mut request = Request::post(&*url.path)
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, concat!("relevo/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json");
        if !secret.secret().is_empty() {
            let signature = signature(secret.secret().as_bytes(), process::wall().0 / 1000, body);
            request = request.header("X-Relevo-Signature", signature);
        }
        request.body(Body::from(body.to_vec())).map_err(|error| error.to_string())
    }

    /// Reads an answer, and keeps the connection where there may be another.
    async fn read(
        &self,
        sender: SendRequest<Body>,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<HookAnswer, String> {
        let status = response.status();
        if status.is_redirection() {
            return Err(format!("it answers {}, and redirects are not followed", status.as_u16()));
        }
        if status != StatusCode::OK {
            return Err(format!("it answers {}, not 200", status.as_u16()));
        }
        let body = to_bytes(Body::new(response.into_body()), limits::HOOK_ANSWER_MAX).await;
        let body = body.map_err(|error| {
            format!("its answer cannot be read, or has more than {} bytes: {error}", limits::HOOK_ANSWER_MAX)
        })?;
        let answer = HookAnswer::parse(&body)?;
        let mut idle = lock(&self.idle);
        if idle.len() < limits::HOOK_AT_ONCE && !sender.is_closed() {
            idle.push(sender);
        }
        Ok(answer)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, String> {
        let url = &self.used.config.url;
        let addresses = tokio::net::lookup_host((&*url.host, url.port)).await;
        let addresses = addresses.map_err(|error| format!("{} has no address: {error}", url.host))?;
        let mut last = format!("{} has no address", url.host);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return self.speak(stream).await;
                }
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        Err(last)
    }

    async fn speak(&self, stream: TcpStream) -> Result<SendRequest<Body>, String> {
        let url = &self.used.config.url;
        if !url.tls {
            return shake(stream).await;
        }
        let config = self.used.tls.clone().ok_or("this machine trusts no authority")?;
        let name = ServerName::try_from(url.host.to_string()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        shake(stream.map_err(|error| format!("TLS: {error}"))?).await
    }
}

async fn shake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Body>, String> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits::HOOK_HEAD_MAX);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
    // It ends with its sender.
    tokio::spawn(async move { _ = connection.await });
    Ok(sender)
}

fn words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 of the time, a dot and the body, so that nobody plays an old question again.
fn signature(key: &[u8], seconds: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let hex: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1796083200.{}' | openssl dgst -sha256 -hmac secret`
    #[test]
    fn a_question_is_signed() {
        let signed = signature(b"secret", 1_796_083_200, b"{}");
        let wanted = "c4e67afe24529a8e293af0907ac65f39837f0a09c0b03062f65528cb140b04bd";
        assert_eq!(signed, format!("t=1796083200,v1={wanted}"));
    }
}
