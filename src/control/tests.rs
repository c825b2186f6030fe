//! The threads together: questions, logs, and the end.

use super::*;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::config::{self, LogConfig};
use crate::id::MessageId;
use crate::observe::accounting::EventQueue;
use crate::observe::event::{Arrival, Encoder, Event, Mail};
use crate::observe::journaled::Readers;
use crate::shard::assignment::Assignment;
use crate::shard::mesh::Mesh;
use crate::time::UnixMillis;

#[expect(clippy::disallowed_methods, reason = "a test client")]
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn fetch(address: SocketAddr, path: &str) -> String {
    fetch_as(address, path, "")
}

/// With these further fields.
fn fetch_as(address: SocketAddr, path: &str, fields: &str) -> String {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn setup(instruments: Vec<Arc<Instruments>>, log: Option<(&Path, &Path)>, health: Arc<Health>) -> Setup {
    let data_dir = log.map_or(Path::new("/nowhere"), |(data_dir, _)| data_dir);
    let mut config = config::Config::embedded();
    config.node.data_dir = data_dir.into();
    config.logs = log.iter().map(|(_, path)| LogConfig::to(path.to_path_buf())).collect();
    config.suppression.auto = Default::default();
    let shards = instruments.len().max(1);
    let bells = (0..shards).map(|_| Arc::default()).collect();
    let section = config::Control {
        http: Some("127.0.0.1:0".parse().unwrap()),
        socket: None,
        ..config.control.clone()
    };
    Setup {
        warmups: Vec::new(),
        section,
        mesh: Arc::new(Mesh::new(bells, Assignment::in_turn(shards, shards))),
        instruments,
        accounting: accounting::open(&config).unwrap().0,
        health,
        runtime: "epoll",
        certificates: Showing::default(),
        node: 1,
        hostname: "mx1.example.net".into(),
        names: None,
        reload: None,
        fired: fired(),
        policies: None,
        acme: None,
        acme_orders: acme_orders(),
        verifies: None,
        hook: None,
        fetches: fetches(),
        public: Public { https: None, http: None, settings: None, counts: unsubscribed() },
        webhooks: None,
        sent: outward::Sent::default(),
        reporting: None,
        reported: tls_rpt::Counts::default(),
        pickup: None,
        sandbox: super::sandbox::Bounds::of(&crate::config::SandboxConfig::default()),
        picked: picked(),
        api: None,
        api_counts: handed_in(),
        cluster: None,
        fleet: None,
        nodes_asked: crate::control::nodes_asked(),
        logins: None,
        suppression: Default::default(),
        listed: Arc::default(),
        data_dir: data_dir.into(),
    }
}

fn record(instruments: &Instruments) {
    let mut events =
        EventQueue::new(instruments.chunks.clone(), Encoder::new(1, UnixMillis(0), "0"), Readers::Lossy);
    let id = MessageId { lane: 0, sequence: 0, offset: 0 };
    let mail = Mail::new(id, b"a    x", (0, &[b"b    y"]));
    events.record(UnixMillis(0), &Event::Received(mail, Arrival::default()));
    events.flush();
}

#[test]
fn metrics_health_and_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let data_dir = directory.path().join("spool");
    let instruments = Instruments::of(2, &Readers::default());
    instruments[1].counters.recipients_delivered.add(7);
    record(&instruments[0]);
    let health = Arc::new(Health::default());
    let control = start(setup(instruments.clone(), Some((&data_dir, &path)), health.clone())).unwrap();
    let address = control.http.unwrap();
    let metrics = fetch(address, "/metrics");
    assert!(metrics.contains("relevo_recipients_delivered_total{shard=\"1\"} 7\n"), "{metrics}");
    assert!(metrics.contains("relevo_runtime_info{name=\"epoll\"} 1\n"), "{metrics}");
    assert!(metrics.contains("relevo_process_resident_bytes"), "{metrics}");
    assert!(
        metrics.contains("content-type: text/plain; version=0.0.4"),
        "nobody asked for another: {metrics}"
    );
    let open =
        fetch_as(address, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
    assert!(fetch(address, "/healthz").starts_with("HTTP/1.1 503"), "nothing listens yet");
    health.open();
    assert!(fetch(address, "/healthz").ends_with("ok\n") && fetch(address, "/readyz").ends_with("ok\n"));
    health.drain();
    assert!(fetch(address, "/healthz").starts_with("HTTP/1.1 503"));
    let mut again = setup(Vec::new(), None, health);
    again.section.http = Some(address);
    assert!(start(again).err().unwrap().to_string().contains("control.http"));
    let mut looks = 0;
    while std::fs::metadata(&path).unwrap().len() == 0 {
        looks += 1;
        assert!(looks < 500, "it was not written");
        process::pause(Duration::from_millis(10));
    }
    // Moved away, and opened again at once.
    let moved = directory.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    control.reopen_logs();
    let mut looks = 0;
    while !path.exists() {
        looks += 1;
        assert!(looks < 1000, "it was not opened again");
        process::pause(Duration::from_millis(10));
    }
    record(&instruments[1]);
    control.stop();
    for path in [path, moved] {
        assert_eq!(std::fs::read_to_string(path).unwrap().matches("\"event\":\"received\"").count(), 1);
    }
}

#[test]
fn half_requests_are_bounded_and_hold_up_nobody() {
    let health = Arc::new(Health::default());
    health.open();
    let control = start(setup(vec![Arc::default()], None, health)).unwrap();
    let address = control.http.unwrap();
    let mut halves = Vec::new();
    for _ in 0..limits::HTTP_CONNECTIONS_MAX * 4 {
        let mut half = connect(address);
        half.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n").unwrap();
        halves.push(half);
    }
    assert!(fetch(address, "/readyz").ends_with("ok\n"));
    // The oldest were ended for the youngest.
    for half in &mut halves[..limits::HTTP_CONNECTIONS_MAX * 2] {
        let ended = half.read(&mut [0]);
        assert!(
            matches!(ended, Ok(0))
                || ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
        );
    }
    // The youngest are ended by their deadline.
    let mut youngest = halves.pop().unwrap();
    youngest.set_read_timeout(Some(limits::HTTP_HEADER + Duration::from_secs(5))).unwrap();
    let mut rest = Vec::new();
    let ended = youngest.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
    control.stop();
}

/// The directory of the socket of nobody's choice takes none: the relay starts, and says that commands reach it nowhere.
#[test]
fn only_a_socket_that_was_asked_for_stops_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for named in [true, false] {
        let mut setup = setup(Vec::new(), None, Arc::default());
        (setup.section.socket, setup.section.socket_named) = (Some(file.join("control.sock")), named);
        match start(setup) {
            Ok(control) => {
                assert!(!named);
                control.stop();
            }
            Err(problem) => {
                assert!(named && problem.to_string().contains("set control.socket to a path"), "{problem}")
            }
        }
    }
}
