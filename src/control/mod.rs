//! Everything off the message path: one ordinary thread with the log writer, metrics and health.

mod log;
mod metrics;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;

use crate::observe::Instruments;

/// How often the log is written and the order to stop is looked at.
const ROUND: Duration = Duration::from_millis(100);

/// Whether the node takes mail, for load balancers and supervisors: not yet, yes, no more.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

const OPEN: u8 = 1;
const DRAINING: u8 = 2;

impl Health {
    /// All listeners are open.
    pub fn open(&self) {
        self.0.store(OPEN, Ordering::SeqCst);
    }

    /// The node stops.
    pub fn drain(&self) {
        self.0.store(DRAINING, Ordering::SeqCst);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        match self.0.load(Ordering::SeqCst) {
            OPEN => (StatusCode::OK, "ok\n"),
            DRAINING => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        }
    }
}

/// What control is given.
pub struct Setup {
    /// Instruments of each shard.
    pub instruments: Vec<Arc<Instruments>>,
    /// Where HTTP is served; None is nowhere.
    pub http: Option<SocketAddr>,
    /// The accounting log; None is standard output.
    pub log: Option<PathBuf>,
    /// What `/healthz` says.
    pub health: Arc<Health>,
    /// What the shards run on.
    pub runtime: &'static str,
}

/// The running thread.
pub struct Control {
    thread: std::thread::JoinHandle<()>,
    stop: Arc<AtomicBool>,
    /// Where HTTP is served, port 0 resolved.
    pub http: Option<SocketAddr>,
}

/// Opens the log and the HTTP port, then starts the thread. An error says what is wrong and what to do.
#[expect(clippy::disallowed_methods, reason = "control is an ordinary thread with ordinary sockets")]
pub fn start(setup: Setup) -> Result<Control, String> {
    let log = log::Log::open(setup.log.clone()).map_err(|error| {
        let path = setup.log.as_deref().unwrap_or("-".as_ref()).display();
        format!("cannot write the log {path}: {error}; make its directory writable or set log.path")
    })?;
    let listener = setup.http.map(std::net::TcpListener::bind).transpose().map_err(|error| {
        let address = setup.http.map(|address| address.to_string()).unwrap_or_default();
        format!("cannot serve HTTP on {address}: {error}; set control.http to a free address, or to \"\"")
    })?;
    let http = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let thread = std::thread::Builder::new()
        .name("relevo-control".into())
        .spawn(move || {
            if let Err(error) = run(setup, log, listener, &stopping) {
                eprintln!("relevo: control: {error}");
            }
        })
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    Ok(Control { thread, stop, http })
}

impl Control {
    /// Writes what is left of the log and ends.
    pub fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.join();
    }
}

fn run(
    setup: Setup,
    mut log: log::Log,
    listener: Option<std::net::TcpListener>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let instruments = setup.instruments;
    let health = setup.health;
    runtime.block_on(async {
        if let Some(listener) = listener {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let served = router(instruments.clone(), setup.runtime, health);
            tokio::spawn(async move { axum::serve(listener, served).await });
        }
        loop {
            let last = stop.load(Ordering::SeqCst);
            log.write(&instruments);
            for shard in &instruments {
                while let Some(said) = shard.diagnostics.take() {
                    // Nobody is told when standard error is closed: there is nowhere else.
                    let _ = writeln!(io::stderr(), "{said}");
                }
            }
            if last {
                return Ok(());
            }
            tokio::time::sleep(ROUND).await;
        }
    })
}

fn router(instruments: Vec<Arc<Instruments>>, runtime: &'static str, health: Arc<Health>) -> Router {
    let registry = Arc::new(metrics::registry(instruments, runtime));
    let metrics = move || {
        let registry = registry.clone();
        async move {
            let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            match metrics::render(&registry) {
                Ok(text) => (StatusCode::OK, kind, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, kind, error.to_string()),
            }
        }
    };
    let health = move || {
        let answer = health.answer();
        async move { answer }
    };
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(health))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[expect(clippy::disallowed_methods, reason = "a test client")]
    fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn metrics_health_and_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let instruments = vec![Arc::new(Instruments::default()), Arc::new(Instruments::default())];
        instruments[1].counters.recipients_delivered.add(7);
        let mut journal = crate::observe::accounting::Journal::new(instruments[0].chunks.clone());
        let id = crate::spool::MessageId { lane: 0, sequence: 0, offset: 0 };
        let event = crate::observe::accounting::Event::new(
            crate::observe::accounting::Kind::Received,
            crate::time::UnixMillis(0),
            id,
            b"a@x",
            &[b"b@y"],
        );
        journal.record(&event);
        journal.flush();
        let health = Arc::new(Health::default());
        let control = start(Setup {
            instruments,
            http: Some("127.0.0.1:0".parse().unwrap()),
            log: Some(path.clone()),
            health: health.clone(),
            runtime: "epoll",
        })
        .unwrap();
        let address = control.http.unwrap();
        let metrics = fetch(address, "/metrics");
        assert!(metrics.contains("relevo_recipients_delivered_total{shard=\"1\"} 7\n"), "{metrics}");
        assert!(metrics.contains("relevo_runtime_info{name=\"epoll\"} 1\n"), "{metrics}");
        assert!(metrics.contains("relevo_process_resident_bytes"), "{metrics}");
        assert!(fetch(address, "/healthz").starts_with("HTTP/1.1 503"), "nothing listens yet");
        health.open();
        assert!(fetch(address, "/healthz").ends_with("ok\n"));
        health.drain();
        assert!(fetch(address, "/healthz").starts_with("HTTP/1.1 503"));
        let taken =
            start(Setup { instruments: Vec::new(), http: Some(address), log: None, health, runtime: "none" });
        assert!(taken.err().unwrap().contains("control.http"));
        control.stop();
        assert!(std::fs::read_to_string(path).unwrap().contains("\"event\":\"received\""));
    }
}
