//! Stage 2: bytes of a client become a message.
//!
//! What arrives is read into the shard's one receive buffer and handled there; a session owns bytes only of an incomplete
//! line and of the body it gathers, so an idle connection has no buffer at all.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Network;
use crate::limits;
use crate::policy::relay;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::authenticate::Login;
use crate::shard::persist::Persisted;
use crate::shard::upload::Upload;
use crate::shard::wire::{Wire, WireError};
use crate::smtp::server::{BodyEnd, Rules, Session, Step};

/// What one listener's sessions share.
pub struct Door {
    /// Protocol limits and offers.
    pub rules: Rc<Rules>,
    /// Networks that may relay.
    pub relay_from: Vec<Network>,
    /// The certificate, when STARTTLS is offered.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

struct Visit<R: Runtime> {
    shard: Rc<Shard<R>>,
    door: Rc<Door>,
    wire: Wire<R>,
    session: Session,
    /// Input received and not yet handled.
    input: Vec<u8>,
    /// Replies not yet sent.
    out: Vec<u8>,
}

/// Serves one connection to its end.
pub async fn receive<R: Runtime>(shard: Rc<Shard<R>>, stream: R::Stream, peer: SocketAddr, door: Rc<Door>) {
    let may_relay = relay::may_relay(&door.relay_from, peer.ip());
    let wire = Wire::new(stream, &shard.timers);
    let session = Session::new(door.rules.clone(), peer, may_relay);
    shard.inbound.set(shard.inbound.get() + 1);
    let open = OpenConnection(shard.clone());
    let mut visit = Visit { shard, door, wire, session, input: Vec::new(), out: Vec::new() };
    let ended = visit.serve().await;
    if let Err(WireError::TimedOut) = ended {
        visit.out.clear();
        if visit.shard.draining.get() {
            visit.session.drain(&mut visit.out);
        } else {
            visit.session.timed_out(&mut visit.out);
        }
        visit.wire.send_last(&visit.out);
    }
    visit.wire.close();
    drop(open);
}

/// Counts a connection as open, also when its task panics.
struct OpenConnection<R: Runtime>(Rc<Shard<R>>);

impl<R: Runtime> Drop for OpenConnection<R> {
    fn drop(&mut self) {
        self.0.inbound.set(self.0.inbound.get() - 1);
        self.0.instruments.counters.connections_closed.add(1);
    }
}

impl<R: Runtime> Visit<R> {
    async fn serve(&mut self) -> Result<(), WireError> {
        self.session.greet(&mut self.out);
        loop {
            self.flush().await?;
            self.await_input().await?;
            let Some(mut step) = self.handle_received()? else { return Ok(()) };
            while step != Step::NeedInput {
                if !self.act(step).await? {
                    return self.flush().await;
                }
                step = self.handle_pending();
            }
        }
    }

    /// Carries out a step. False: the session is over.
    async fn act(&mut self, step: Step) -> Result<bool, WireError> {
        match step {
            Step::NeedInput => {}
            Step::Flush => self.flush().await?,
            Step::StartTls => self.start_tls().await?,
            Step::Authenticate(credentials) => {
                self.flush().await?;
                let close = match self.shard.authenticate(&credentials).await {
                    Login::Right => {
                        self.session.authenticated(&credentials.name, &mut self.out);
                        false
                    }
                    Login::Wrong => self.session.authentication_failed(&mut self.out),
                    Login::Unavailable => self.session.authentication_unavailable(&mut self.out),
                };
                return Ok(!close);
            }
            Step::Body => {
                self.flush().await?;
                return self.body().await;
            }
            Step::Close => return Ok(false),
        }
        Ok(true)
    }

    async fn flush(&mut self) -> Result<(), WireError> {
        if !self.out.is_empty() {
            let out = std::mem::take(&mut self.out);
            self.wire.send(&out).await?;
            self.out = out;
            self.out.clear();
            if self.out.capacity() > 1024 {
                self.out = Vec::new();
            }
        }
        Ok(())
    }

    /// Waits for the client to go on.
    async fn await_input(&mut self) -> Result<(), WireError> {
        self.wire.limit_idle(&self.shard.timers, limits::server::COMMAND);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        self.wire.readable().await
    }

    /// Handles what is left from before.
    fn handle_pending(&mut self) -> Step {
        let (used, step) = self.session.handle(&self.input, self.shard.gate(), &mut self.out);
        self.input.drain(..used);
        step
    }

    /// Receives into the shard's buffer and handles it there. None: the client closed.
    fn handle_received(&mut self) -> Result<Option<Step>, WireError> {
        let shard = self.shard.clone();
        let mut scratch = shard.scratch.borrow_mut();
        let received = match self.wire.try_recv(&mut scratch) {
            Ok(0) => return Ok(None),
            Ok(received) => received,
            Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Some(Step::NeedInput));
            }
            Err(error) => return Err(error),
        };
        if !self.input.is_empty() {
            self.input.extend_from_slice(&scratch[..received]);
            return Ok(Some(self.handle_pending()));
        }
        let (used, step) = self.session.handle(&scratch[..received], shard.gate(), &mut self.out);
        self.input.extend_from_slice(&scratch[used..received]);
        Ok(Some(step))
    }

    async fn start_tls(&mut self) -> Result<(), WireError> {
        self.flush().await?;
        // What was pipelined in plain text behind STARTTLS is never read as part of the protected session.
        self.input.clear();
        let Some(config) = self.door.tls.clone() else {
            return Err(WireError::Lost(io::ErrorKind::Unsupported.into()));
        };
        let connection = rustls::ServerConnection::new(config).map_err(WireError::Tls)?;
        self.wire.limit(&self.shard.timers, limits::server::HANDSHAKE);
        self.wire.protect(connection.into()).await?;
        self.session.tls_established(self.wire.describe_tls());
        self.shard.instruments.counters.tls_sessions.add(1);
        Ok(())
    }

    /// Takes in one body and answers it. False: close.
    async fn body(&mut self) -> Result<bool, WireError> {
        let mut upload = Upload::default();
        if let Err(error) = self.take_in(&mut upload).await {
            upload.abandon(&self.shard);
            return Err(error);
        }
        let now = self.shard.runtime.wall();
        let expiry = now.after(self.shard.settings.retry.expire);
        match self.session.body_end(now, expiry, &mut self.out) {
            BodyEnd::Refused { close } => {
                self.shard.instruments.counters.messages_refused.add(1);
                upload.abandon(&self.shard);
                Ok(!close)
            }
            BodyEnd::Accept(envelope, summary) => {
                match self.shard.persist(Persisted { envelope, summary }, upload).await {
                    Ok(id) => self.session.accepted(&id, &mut self.out),
                    Err(_) => self.session.not_stored(&mut self.out),
                }
                Ok(true)
            }
        }
    }

    /// Reads a body to its end, in bounded memory.
    async fn take_in(&mut self, upload: &mut Upload) -> Result<(), WireError> {
        let started = self.shard.timers.recent();
        loop {
            self.wire.limit(&self.shard.timers, limits::server::DATA_BLOCK);
            let done = if self.input.is_empty() {
                // Mostly nothing is there yet, and a look at what is known costs no system call.
                self.wire.readable().await?;
                match self.scan_received(upload)? {
                    Some(done) => done,
                    None => continue,
                }
            } else {
                self.scan_pending(upload)
            };
            if upload.wants_chunk(&self.shard) {
                upload.store_chunk(&self.shard).await;
            }
            if done {
                return Ok(());
            }
            if self.shard.timers.recent().since(started) > limits::server::DATA {
                return Err(WireError::TimedOut);
            }
        }
    }

    /// Receives body bytes, scans them where they are and moves them to the upload: their one copy. None: nothing was there.
    fn scan_received(&mut self, upload: &mut Upload) -> Result<Option<bool>, WireError> {
        let shard = self.shard.clone();
        let mut scratch = shard.scratch.borrow_mut();
        let received = match self.wire.try_recv(&mut scratch) {
            Ok(0) => return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(received) => received,
            Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(scanner) = self.session.scanner() else { return Ok(Some(true)) };
        let scanned = scanner.scan(&mut scratch[..received]);
        upload.push(&self.shard, &scratch[..scanned.kept]);
        self.input.extend_from_slice(&scratch[scanned.consumed..received]);
        Ok(Some(scanned.done))
    }

    /// The same for input that came in one burst with DATA.
    fn scan_pending(&mut self, upload: &mut Upload) -> bool {
        let Some(scanner) = self.session.scanner() else { return true };
        let scanned = scanner.scan(&mut self.input);
        upload.push(&self.shard, &self.input[..scanned.kept]);
        self.input.drain(..scanned.consumed);
        scanned.done
    }
}
