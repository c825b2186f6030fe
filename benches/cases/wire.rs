//! A protected connection, both ends of it.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use relevo::config::TlsFiles;
use relevo::limits;
use relevo::policy::tls;
use relevo::shard::timers::Timers;
use relevo::shard::wire::{Wire, WireError};

use super::Routine;
use super::inputs::{self, BODY, poll};
use super::pipe::{Pipe, PipeRuntime};

struct Tls {
    client: Wire<PipeRuntime>,
    server: Wire<PipeRuntime>,
    body: Vec<u8>,
    scratch: Vec<u8>,
}

impl Routine for Tls {
    fn run(&mut self) {
        for _ in 0..16 {
            poll(self.client.send(&self.body)).expect("a pipe takes all").expect("a sound connection");
            let mut received = 0;
            while received < self.body.len() {
                received += self.server.try_recv(&mut self.scratch).expect("a sound connection");
            }
            black_box(&self.scratch);
        }
    }
}

/// Bodies through TLS: one end seals and sends them, the other receives and opens them.
pub fn tls() -> Box<dyn Routine> {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let made = rcgen::generate_simple_self_signed(["mx.example".to_owned()]).expect("a certificate");
    let files =
        TlsFiles { certificate: directory.path().join("certificate"), key: directory.path().join("key") };
    std::fs::write(&files.certificate, made.cert.pem()).expect("a scratch file");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("a scratch file");
    let config = tls::server(&files, |path| std::fs::read(path)).expect("a sound certificate");
    let server = rustls::ServerConnection::new(config).expect("a sound configuration");
    let client = tls::Client::new().and_then(|client| client.connection("mx.example"));
    let timers = Timers::new();
    let (here, there) = Pipe::pair();
    let mut tls = Tls {
        client: Wire::new(here, &timers),
        server: Wire::new(there, &timers),
        body: inputs::body(BODY),
        scratch: vec![0; limits::SCRATCH],
    };
    shake_hands(&mut tls, client.expect("a sound configuration"), server.into());
    // The server's session tickets.
    let early = tls.client.try_recv(&mut tls.scratch);
    assert!(matches!(early, Err(WireError::Lost(error)) if error.kind() == std::io::ErrorKind::WouldBlock));
    Box::new(tls)
}

fn shake_hands(tls: &mut Tls, client: rustls::Connection, server: rustls::Connection) {
    let mut client = pin!(tls.client.protect(client, usize::MAX));
    let mut server = pin!(tls.server.protect(server, usize::MAX));
    let mut context = Context::from_waker(Waker::noop());
    let (mut one, mut other) = (Poll::Pending, Poll::Pending);
    while one.is_pending() || other.is_pending() {
        if one.is_pending() {
            one = client.as_mut().poll(&mut context).map(|ended| ended.expect("a sound handshake"));
        }
        if other.is_pending() {
            other = server.as_mut().poll(&mut context).map(|ended| ended.expect("a sound handshake"));
        }
    }
}
