//! Bytes of a client become a message.
//!
//! What arrives is read into the shard's one receive buffer and handled there; a session owns bytes only of an incomplete
//! line and of the body it gathers, so an idle connection has no buffer at all.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::limits;
use crate::policy::admit::Submitter;
use crate::policy::reason::Refused;
use crate::policy::relay;
use crate::policy::rules::Facts;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::inbound::admit::Admission;
use crate::shard::inbound::authenticate::authenticate;
use crate::shard::inbound::listener::Listener;
use crate::shard::inbound::logins::Login;
use crate::shard::inbound::permit::Permit;
use crate::shard::inbound::upload::{Unwanted, Upload, Whole};
use crate::shard::inbound::{admit, reject, submit, suppress, verify};
use crate::shard::wire::{Wire, WireError};
use crate::smtp::reply::words;
use crate::smtp::server::{Answer, BodyEnd, Intake, OpenTransaction, Overdue, Question, Session, Step};
use crate::time::Instant;

struct Connection<R: Runtime> {
    shard: Rc<Shard<R>>,
    listener: Rc<Listener>,
    wire: Wire<R>,
    session: Session,
    /// Input received and not yet handled.
    input: Vec<u8>,
    /// Replies not yet sent.
    out: Vec<u8>,
    since: SessionActivity,
    /// What it is too late for when the deadline passes. None: the client does not read, so nothing is said to it.
    overdue: Option<Overdue>,
    /// Bytes of its transaction, but for the body, as they were counted.
    held: u32,
    /// Bytes of the session beside that.
    carried: u32,
    _permit: Permit,
}

/// Since when a session is in the middle of something.
struct SessionActivity {
    began: Instant,
    /// The last message, in seconds after that; 0: there was none.
    message: u32,
    /// The client has the word, to begin a line or to end the one it began; in the same seconds.
    line: u32,
    /// Lines handled then.
    lines: u32,
    /// The line had begun.
    within: bool,
}

/// Serves one connection, which may be open, to its end. No `async fn`: its arguments would lie in every session twice.
pub(super) fn receive<R: Runtime>(
    shard: Rc<Shard<R>>,
    stream: R::Stream,
    (peer, permit): (SocketAddr, Permit),
    listener: Rc<Listener>,
) -> impl Future<Output = ()> {
    let may_relay = relay::may_relay(&listener.config.relay_from, peer.ip());
    let wire = Wire::new(stream, &shard.timers);
    let mut session = Session::new(listener.session.clone(), peer, may_relay);
    session.begins(shard.runtime.wall());
    let now = shard.timers.recent();
    let since = SessionActivity { began: now, message: 0, line: 0, lines: 0, within: false };
    let (input, out) = (Vec::new(), Vec::new());
    let mut connection = Connection {
        shard,
        listener,
        wire,
        session,
        input,
        out,
        since,
        overdue: None,
        held: 0,
        carried: 0,
        _permit: permit,
    };
    async move { connection.run().await }
}

/// Counts out what the connection held, also when its task panics.
impl<R: Runtime> Drop for Connection<R> {
    fn drop(&mut self) {
        self.shard.instruments.counters.connections_closed.add(1);
        self.shard.inbound.memory.release(self.shard.mesh.memory(), self.held as usize);
        self.shard.inbound.session_memory.release(self.shard.mesh.session_memory(), self.carried as usize);
    }
}

impl<R: Runtime> Connection<R> {
    async fn run(&mut self) {
        let ended = self.serve().await;
        if let (Err(WireError::TimedOut), Some(overdue)) = (&ended, self.overdue) {
            self.out.clear();
            if self.shard.draining.get() {
                self.out.extend_from_slice(words::SHUTTING_DOWN.as_bytes());
            } else {
                self.session.overdue(overdue, &mut self.out);
                // Who brought mail and then was silent is no intruder, unless there was more to come.
                if self.since.message == 0 || self.session.transaction().0 {
                    self.session.refused(&self.out, None);
                    self.record_refusals();
                }
            }
            self.wire.send_last(&self.out);
        } else if let Err(error) = ended {
            self.broke(&error);
        }
        self.wire.close();
    }

    /// Records a connection that broke, where TLS did or mail with a recipient was on its way. Who just goes is nobody's concern.
    #[cold]
    fn broke(&mut self, error: &WireError) {
        let tls = matches!(error, WireError::Tls(_));
        self.shard.instruments.counters.tls_failed.add(tls.into());
        if tls || self.session.transaction().1 {
            self.session.broke(&error.to_string());
            self.record_refusals();
        }
    }

    async fn serve(&mut self) -> Result<(), WireError> {
        self.session.greet(&mut self.out);
        loop {
            self.flush().await?;
            self.await_input().await?;
            if !self.goes_by_policy().await {
                return self.flush().await;
            }
            let Some(mut step) = self.handle_received()? else {
                return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into()));
            };
            while step != Step::NeedInput {
                if !self.act(step).await? {
                    return self.flush().await;
                }
                // It was our turn meanwhile.
                self.since.line = self.seconds();
                if !self.goes_by_policy().await {
                    return self.flush().await;
                }
                step = self.handle_pending();
            }
        }
    }

    /// Between transactions: the next one goes by what is in force by now. False: this client is not served any more.
    async fn goes_by_policy(&mut self) -> bool {
        let mut generation = self.shard.mesh.generation();
        if self.listener.live.generation == generation {
            return true;
        }
        if self.session.transaction().0 && !self.shard.runtime.planted(Defect::PolicyMixed) {
            return true;
        }
        // Somebody else on this shard is about to take it up.
        for _ in 0..limits::TAKEN_UP_WITHIN {
            if self.shard.live.generation() == generation {
                break;
            }
            self.shard.runtime.yield_now().await;
            generation = self.shard.mesh.generation();
        }
        self.renew()
    }

    #[cold]
    fn renew(&mut self) -> bool {
        let listening = self.shard.inbound.listening.borrow().get(&self.listener.config.address).cloned();
        let Some(listening) = listening else {
            self.out.extend_from_slice(words::CONNECT_AGAIN.as_bytes());
            return false;
        };
        let before = std::mem::replace(&mut self.listener, listening.listener());
        let listener = &self.listener;
        // Whose account is gone, or has another password, is not who he was.
        let proven = self.session.account().is_none_or(|account| {
            let hash = |listener: &Listener| {
                listener.live.accounts.as_ref().map(|logins| logins.hash(account).map(str::to_owned))
            };
            hash(listener) == hash(&before)
        });
        let may_relay = relay::may_relay(&listener.config.relay_from, self.session.peer().ip());
        self.session.renew(listener.session.clone(), may_relay);
        if !proven {
            self.out.extend_from_slice(words::CONNECT_AGAIN.as_bytes());
        }
        proven
    }

    /// Carries out a step. False: the session is over.
    async fn act(&mut self, step: Step) -> Result<bool, WireError> {
        match step {
            Step::NeedInput => {}
            Step::Flush => self.flush().await?,
            Step::StartTls => self.start_tls().await?,
            Step::Authenticate(credentials) => {
                self.flush().await?;
                // Here, and where they are checked.
                self.count_with(self.wire.held() + 2 * credentials.held());
                let close = match authenticate(&self.shard, &credentials, self.session.peer().ip()).await {
                    Login::Right => {
                        self.session.authenticated(&credentials.name, &mut self.out);
                        false
                    }
                    Login::Wrong => self.session.authentication_failed(&mut self.out),
                    Login::Unavailable => self.session.authentication_unavailable(&mut self.out),
                    Login::Postponed => {
                        self.session.authentication_postponed(&mut self.out);
                        false
                    }
                    Login::Cut => {
                        self.session.authentication_cut(&mut self.out);
                        true
                    }
                };
                if matches!(self.out.first(), Some(b'4' | b'5')) {
                    self.session.refused(&self.out, Some(&credentials.name));
                    self.record_refusals();
                }
                return Ok(!close);
            }
            Step::Ask(question) => {
                let close = self.answer(question);
                self.record_refusals();
                // One client's burst of RCPT is neither one turn nor one reply without end.
                if self.out.len() >= limits::REPLY_BACKLOG_MAX {
                    self.flush().await?;
                }
                if self.shard.runtime.should_yield() {
                    self.shard.runtime.yield_now().await;
                }
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
            self.overdue = None;
            self.wire.limit(&self.shard.timers, limits::server::SEND);
            if self.wire.is_protected() && out.len() > limits::REPLIES_SMALL {
                // Once as they are, and once encrypted.
                self.count_with(self.wire.held() + out.capacity() + out.len());
            }
            self.wire.send(&out).await?;
            self.out = out;
            self.out.clear();
            if self.out.capacity() > limits::REPLIES_KEPT_ROOM {
                self.out = Vec::new();
            }
        }
        Ok(())
    }

    /// Waits for the client to go on.
    async fn await_input(&mut self) -> Result<(), WireError> {
        let (at, overdue) = self.deadline();
        self.wire.limit_idle_at(at);
        self.overdue = Some(overdue);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        self.count();
        self.wire.readable().await
    }

    /// When the patience with this client ends, and with what.
    fn deadline(&self) -> (Instant, Overdue) {
        use limits::server;
        let SessionActivity { began, message, line, .. } = self.since;
        let after = |seconds: u32| began + Duration::from_secs(seconds.into());
        if self.shard.runtime.planted(Defect::SessionWithoutEnd) {
            return (self.shard.timers.recent() + server::COMMAND, Overdue::Command);
        }
        let (open, has_recipients) = self.session.transaction();
        let patience = if has_recipients { server::TRANSACTION } else { server::WITHOUT_MAIL };
        let whole = if open { Instant::FAR } else { began + server::SESSION };
        let deadlines = [
            (after(line) + server::COMMAND, Overdue::Command),
            (after(message) + patience, Overdue::Message),
            (whole, Overdue::Session),
        ];
        deadlines.into_iter().min_by_key(|(at, _)| *at).unwrap_or(deadlines[0])
    }

    /// Seconds of the session so far, rounded up: no patience is shorter than it should be.
    fn seconds(&self) -> u32 {
        let age = self.shard.timers.recent().since(self.since.began).as_millis().div_ceil(1000);
        u32::try_from(age).unwrap_or(u32::MAX)
    }

    /// Whether new mail may come in over this connection.
    fn gate(&self) -> Intake {
        let shard = &self.shard;
        match submit::gate(shard) {
            Intake::Open if shard.timers.recent() > self.since.began + limits::server::SESSION => {
                Intake::Aged
            }
            gate => gate,
        }
    }

    /// After input was handled: a line that ended gives the client its time anew, and one that begins does once.
    fn mark(&mut self) {
        let (lines, within) = (self.session.lines(), !self.input.is_empty() || self.session.is_skipping());
        if lines != self.since.lines || (within && !self.since.within) {
            self.since.line = self.seconds();
        }
        (self.since.lines, self.since.within) = (lines, within);
        self.count();
    }

    /// Counts what this connection holds.
    fn count(&mut self) {
        self.count_with(self.wire.held());
    }

    fn count_with(&mut self, tls: usize) {
        let carried = self.session.carried() + self.input.capacity() + self.out.capacity() + tls;
        let shard = &self.shard;
        shard.inbound.memory.change(shard.mesh.memory(), &mut self.held, self.session.held());
        shard.inbound.session_memory.change(shard.mesh.session_memory(), &mut self.carried, carried);
    }

    /// Before input is handled: no TLS begins while sessions hold all they may, and recipients are asked about while anybody is suppressed.
    fn look_around(&mut self) {
        let shard = &self.shard;
        let later = shard.inbound.session_memory.is_full(shard.mesh.session_memory());
        self.session.put_off_tls(later && !self.wire.is_protected());
        self.session.ask_of_recipients(suppress::asks(shard, &self.listener.live));
    }

    /// Handles what is left from before.
    fn handle_pending(&mut self) -> Step {
        self.look_around();
        let (used, step) = self.session.handle(&self.input, self.gate(), &mut self.out);
        self.input.drain(..used);
        self.mark();
        self.record_refusals();
        step
    }

    fn record_refusals(&mut self) {
        if let Some(refusals) = self.session.take_refusals() {
            reject::of_session(&self.shard, &self.session, &refusals);
        }
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
        self.look_around();
        let (used, step) = self.session.handle(&scratch[..received], self.gate(), &mut self.out);
        self.input.extend_from_slice(&scratch[used..received]);
        self.mark();
        self.record_refusals();
        Ok(Some(step))
    }

    async fn start_tls(&mut self) -> Result<(), WireError> {
        self.flush().await?;
        // What was pipelined in plain text behind STARTTLS is never read as part of the protected session.
        self.input = Vec::new();
        let Some(config) = self.listener.tls.clone() else {
            return Err(WireError::Lost(io::ErrorKind::Unsupported.into()));
        };
        let connection = rustls::ServerConnection::new(config).map_err(WireError::Tls)?;
        self.overdue = None;
        self.wire.limit(&self.shard.timers, limits::server::HANDSHAKE);
        self.count_with(limits::TLS_SESSION_MEMORY + limits::HANDSHAKE_MAX);
        // However a handshake ends early, it is TLS that failed.
        let shaken = self.wire.protect(connection.into(), limits::HANDSHAKE_MAX).await;
        shaken.map_err(|error| match error {
            WireError::Tls(_) => error,
            other => WireError::Tls(rustls::Error::General(other.to_string())),
        })?;
        self.session.tls_established(self.wire.describe_tls());
        self.shard.instruments.counters.tls_sessions.add(1);
        self.count();
        Ok(())
    }

    /// Takes in one body and answers it. False: close.
    async fn body(&mut self) -> Result<bool, WireError> {
        let mut upload = Upload::new(self.listener.session.bare_newlines);
        if let Err(error) = self.take_in(&mut upload).await {
            upload.abandon(&self.shard);
            return Err(error);
        }
        self.admit(&mut upload, false).await;
        let now = self.shard.runtime.wall();
        let expiry = upload.expires(now, &self.listener.live.config.retry);
        match self.session.body_end(now, expiry, &mut self.out) {
            BodyEnd::Refused { close } => {
                self.shard.instruments.counters.messages_refused.add(1);
                upload.abandon(&self.shard);
                self.record_refusals();
                Ok(!close)
            }
            BodyEnd::Accept(mut envelope, summary) => {
                let acceptance = &self.listener.live.acceptance;
                let refused = match upload.is_unverified() {
                    // In memory of its own, as what a session whose mail is trusted has no room for.
                    true => Box::pin(upload.verify(&self.shard, &mut envelope)).await,
                    false => None,
                };
                let stored = match refused {
                    Some((reply, reason)) => {
                        upload.abandon(&self.shard);
                        Err(Unwanted { reply, reason, envelope })
                    }
                    None => match upload.store(&self.shard, acceptance, Whole { envelope, summary }) {
                        Ok(stored) => Ok(stored.await),
                        Err(unwanted) => Err(unwanted),
                    },
                };
                let stored = match stored {
                    Ok(stored) => stored,
                    Err(Unwanted { reply, reason, envelope }) => {
                        let refused = Refused { reply: &reply, reason };
                        self.session.not_admitted(refused, &envelope, &mut self.out);
                        self.shard.instruments.counters.messages_refused.add(1);
                        self.record_refusals();
                        return Ok(true);
                    }
                };
                // What became of it on the disk is not the client's fault.
                self.since.message = self.seconds();
                match stored {
                    Ok(id) => self.session.accepted(&id, &mut self.out),
                    Err(why) => self.session.not_stored(why, &mut self.out),
                }
                Ok(true)
            }
        }
    }

    /// Rules and instructions, unless they had their say. `goes_on`: before the first of the message is stored, with more to come.
    async fn admit(&mut self, upload: &mut Upload, goes_on: bool) {
        if upload.admission.is_some() {
            return;
        }
        let section =
            self.session.scanner().map(|scanner| (scanner.summary(), !goes_on || !scanner.is_in_header()));
        let (shard, listener) = (&self.shard, &self.listener);
        let admission = match (section, self.session.open()) {
            (Some((mut summary, is_whole)), Some(OpenTransaction { account, trusted, envelope })) => {
                let client = Submitter { account, listener: Some(listener.place.into()), trusted };
                let by = (&listener.live.acceptance, client);
                let (before, body) = (summary.header_length, &mut upload.body);
                let begun = (!trusted && verify::is_wanted(listener, envelope))
                    .then(|| is_whole.then(|| verify::begin(shard, listener, body, &mut summary)).flatten());
                let mut admission =
                    Admission::decide(shard, by, envelope, (summary, is_whole), &mut upload.body).await;
                if let Some(begun) = begun {
                    admission.verify(shard, begun, before);
                }
                admission
            }
            _ => Admission::default(),
        };
        upload.admission = Some(admission);
    }

    /// Answers a session that asks whether a sender or a recipient is wanted. True: it is to be closed.
    fn answer(&mut self, question: Question) -> bool {
        let (account, listener) = (self.session.account(), Some(self.listener.place.into()));
        let (sender, recipient) = self.session.asked();
        let asked = recipient.filter(|_| question == Question::Recipient);
        let recipient = asked.map(|(address, _)| address);
        let facts = Facts { account, listener, sender, recipient, fields: None };
        let live = &self.listener.live;
        let refused = live.acceptance.refuses(&facts);
        let refused =
            refused.or_else(|| asked.and_then(|asked| suppress::refuses(&self.shard, live, account, asked)));
        let refused =
            refused.or_else(|| admit::foreign(live, account, sender).filter(|_| recipient.is_none()));
        let answer = refused.map_or(Answer::Proceed, Answer::Refuse);
        self.session.answered(answer, &mut self.out)
    }

    /// Reads a body to its end, in bounded memory.
    async fn take_in(&mut self, upload: &mut Upload) -> Result<(), WireError> {
        let most = self.shard.timers.recent() + limits::server::DATA;
        self.overdue = Some(Overdue::Command);
        loop {
            let now = self.shard.timers.recent();
            let whole = most + Duration::from_secs(upload.size / limits::server::DATA_RATE);
            self.wire.limit_at(whole.min(now + limits::server::DATA_BLOCK));
            let done = if self.input.is_empty() {
                if self.wire.is_protected() {
                    self.count();
                }
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
                self.admit(upload, !done).await;
                upload.store_chunk(&self.shard).await;
            }
            if done {
                return Ok(());
            }
            if now > whole {
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
        upload.push(&self.shard, scanned.body(&scratch[..]));
        self.input.extend_from_slice(&scratch[scanned.consumed..received]);
        Ok(Some(scanned.done))
    }

    /// The same for input that came in one burst with DATA.
    fn scan_pending(&mut self, upload: &mut Upload) -> bool {
        let Some(scanner) = self.session.scanner() else { return true };
        let scanned = scanner.scan(&mut self.input);
        upload.push(&self.shard, scanned.body(&self.input));
        self.input.drain(..scanned.consumed);
        scanned.done
    }
}
