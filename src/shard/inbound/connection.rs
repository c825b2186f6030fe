//! What the task of one inbound connection has, and how it reads, answers and counts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::limits;
use crate::policy::reason::Refused;
use crate::policy::relay::Way;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::account_counts::AccountPermit;
use crate::shard::inbound::gateway::{self, Gateway};
use crate::shard::inbound::listener::Listener;
use crate::shard::inbound::permit::Permit;
use crate::shard::inbound::rates::SessionRates;
use crate::shard::inbound::upload::Upload;
use crate::shard::inbound::{certified, reject, submit, suppress};
use crate::shard::trace::{About, Said, Side};
use crate::shard::wire::{Wire, WireError};
use crate::smtp::server::{Intake, Overdue, Session, Step};
use crate::smtp::words;
use crate::time::Instant;

/// A connection and its session.
pub(super) struct Connection<R: Runtime> {
    pub(super) shard: Rc<Shard<R>>,
    pub(super) listener: Rc<Listener>,
    pub(super) wire: Wire<R>,
    pub(super) session: Session,
    /// Input received and not yet handled.
    pub(super) input: Vec<u8>,
    /// Replies not yet sent.
    pub(super) out: Vec<u8>,
    pub(super) since: SessionActivity,
    /// What it is too late for when the deadline passes. None: the client does not read, so nothing is said to it.
    pub(super) overdue: Option<Overdue>,
    /// What came by BDAT of a message that goes on.
    pub(super) upload: Option<Box<Upload>>,
    /// Bytes of its transaction, but for the body, as they were counted.
    held: u32,
    /// Bytes of the session beside that.
    carried: u32,
    /// It is its account by a certificate, without a password.
    pub(super) is_certified: bool,
    /// How it came, and whether it is known whose it is.
    pub(super) way: Way,
    /// Who speaks for its client. Behind a box: most come themselves.
    pub(super) gateway: Option<Box<Gateway>>,
    permit: Permit,
    /// The account that it is of, once one logged in.
    pub(super) account: Option<AccountPermit>,
    /// Its number among those that are shown to who watches; 0: it has none.
    shown: u32,
    /// What it counts for, where there are rates.
    pub(super) rates: Option<Box<SessionRates>>,
}

/// Since when a session is in the middle of something.
pub(super) struct SessionActivity {
    began: Instant,
    /// The last message, in seconds after that; 0: there was none.
    pub(super) message: u32,
    /// The client has the word, to begin a line or to end the one it began; in the same seconds.
    pub(super) line: u32,
    /// Lines handled then.
    lines: u32,
    /// The line had begun.
    within: bool,
}

/// Counts out what the connection held, also when its task panics.
impl<R: Runtime> Drop for Connection<R> {
    fn drop(&mut self) {
        self.upload.take().into_iter().for_each(|mut upload| upload.abandon(&self.shard));
        self.shard.instruments.counters.connections_closed.add(1);
        self.rates.iter_mut().for_each(|rates| rates.give_back());
        self.shard.inbound.memory.release(self.shard.mesh.memory(), self.held as usize);
        self.shard.inbound.session_memory.release(self.shard.mesh.session_memory(), self.carried as usize);
    }
}

impl<R: Runtime> Connection<R> {
    /// One that begins now.
    pub(super) fn new(
        shard: Rc<Shard<R>>,
        stream: R::Stream,
        (peer, permit): (SocketAddr, Permit),
        listener: Rc<Listener>,
    ) -> Connection<R> {
        let way = if listener.config.proxy.is_at(peer.ip()) { Way::Unnamed } else { Way::Direct };
        let may_relay = way.may_relay(&listener.config.relay_from, peer.ip());
        let mut wire = Wire::new(stream, &shard.timers);
        wire.slows_who_drips();
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
            upload: None,
            held: 0,
            carried: 0,
            is_certified: false,
            way,
            gateway: None,
            permit,
            account: None,
            shown: 0,
            rates: None,
        };
        let may = gateway::may_introduce(&connection.listener, way, peer.ip());
        connection.session.may_introduce(may);
        connection.session.is_node(gateway::is_node(&connection.listener, way, peer.ip()));
        connection
    }

    /// A proxy said whose it is. False: this client may not have it, and was told so.
    pub(super) fn is_of(&mut self, client: SocketAddr) -> bool {
        self.way = Way::through(self.session.peer().ip());
        if let Err(refused) = self.counts_for(self.way, Some(client.ip())) {
            let kind = self.listener.config.kind;
            reject::turn_away(&self.shard, self.wire.stream(), (client, kind), refused);
            return false;
        }
        let may_relay = self.way.may_relay(&self.listener.config.relay_from, client.ip());
        self.session.is_of(client, may_relay);
        self.session.may_introduce(gateway::may_introduce(&self.listener, self.way, client.ip()));
        true
    }

    /// It is counted for this client from now on, if that may have one more; None: for whom it is. One that is nobody's is counted on its shard alone.
    pub(super) fn counts_for(&mut self, way: Way, client: Option<IpAddr>) -> Result<(), Refused<'static>> {
        match client {
            None => Ok(()),
            Some(_) if self.shard.runtime.planted(Defect::ProxyUncounted) => Ok(()),
            Some(_) if way == Way::Unnamed => {
                self.permit.of_nobody();
                Ok(())
            }
            Some(client) => self.permit.of_client(&self.listener, client),
        }
    }

    /// Sends the replies.
    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        if !self.out.is_empty() {
            let out = std::mem::take(&mut self.out);
            if self.shard.say.trace.is_on() {
                self.show(Said::Replies(&out));
            }
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

    /// Shows something to who watches.
    #[cold]
    pub(super) fn show(&mut self, said: Said<'_>) {
        let peer = self.session.peer();
        let about = || About { side: Side::In, peer: peer.to_string(), client: Some(peer.ip()), host: None };
        let shard = &self.shard;
        shard.say.trace.tell(shard.index, &mut self.shown, about, shard.runtime.wall(), said);
    }

    /// The same where nothing follows.
    pub(super) async fn flush_last(&mut self) -> Result<(), WireError> {
        self.wire.is_last();
        self.flush().await
    }

    /// Waits for the client to go on.
    pub(super) async fn await_input(&mut self) -> Result<(), WireError> {
        let (at, overdue) = self.deadline();
        if self.session.transaction().0 {
            self.wire.limit_paused_at(at);
        } else {
            self.wire.limit_idle_at(at);
        }
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
        // A message that comes by BDAT has the time that its bytes need, as one by DATA.
        let came = self.upload.as_ref().map_or(0, |upload| upload.size / server::DATA_RATE);
        let portions = Duration::from_secs(came);
        let whole = if open { Instant::FAR } else { began + server::SESSION };
        let deadlines = [
            (after(line) + server::COMMAND, Overdue::Command),
            (after(message) + patience + portions, Overdue::Message),
            (whole, Overdue::Session),
        ];
        deadlines.into_iter().min_by_key(|(at, _)| *at).unwrap_or(deadlines[0])
    }

    /// Seconds of the session so far, rounded up: no patience is shorter than it should be.
    pub(super) fn seconds(&self) -> u32 {
        let age = self.shard.timers.recent().since(self.since.began).as_millis().div_ceil(1000);
        u32::try_from(age).unwrap_or(u32::MAX)
    }

    /// Whether new mail may come in over this connection.
    fn gate(&self) -> Intake {
        let shard = &self.shard;
        match submit::gate(shard) {
            Intake::Open if self.way == Way::Unnamed => Intake::NoClient,
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
        if lines != self.since.lines {
            self.wire.went_on();
        }
        (self.since.lines, self.since.within) = (lines, within);
        if self.upload.is_some()
            && !self.session.keeps_portions()
            && !self.shard.runtime.planted(Defect::PortionsKept)
        {
            self.upload.take().into_iter().for_each(|mut upload| upload.abandon(&self.shard));
        }
        self.count();
    }

    /// Counts what this connection holds.
    pub(super) fn count(&mut self) {
        self.count_with(self.wire.held());
    }

    pub(super) fn count_with(&mut self, tls: usize) {
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
    pub(super) fn handle_pending(&mut self) -> Step {
        self.look_around();
        let (used, step) = self.session.handle(&self.input, self.gate(), &mut self.out);
        if self.shard.say.trace.is_on() {
            let handled = self.input[..used].to_vec();
            self.show(Said::Commands(&handled));
        }
        self.input.drain(..used);
        self.mark();
        self.record_refusals();
        step
    }

    /// Receives into the shard's buffer and handles it there. None: the client closed.
    pub(super) fn handle_received(&mut self) -> Result<Option<Step>, WireError> {
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
        if shard.say.trace.is_on() {
            self.show(Said::Commands(&scratch[..used]));
        }
        self.input.extend_from_slice(&scratch[used..received]);
        self.mark();
        self.record_refusals();
        Ok(Some(step))
    }

    pub(super) fn record_refusals(&mut self) {
        if let Some(refusals) = self.session.take_refusals() {
            reject::of_session(&self.shard, &self.session, &refusals);
        }
    }

    /// Between transactions: the next one goes by what is in force by now. False: this client is not served any more.
    pub(super) async fn goes_by_policy(&mut self) -> bool {
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
        // Whose account is gone, or has another password, or may not come from there any more, is not who he was.
        let client = self.session.peer().ip();
        let proven = self.session.known_as().is_none_or(|account| {
            let both = listener.live.accounts.as_ref().zip(before.live.accounts.as_ref());
            both.is_some_and(|(now, before)| now.keeps(before, account, client))
        });
        let proven = proven
            && (!self.is_certified
                || certified::account(&self.shard, listener, (client, self.wire.certificates())).as_deref()
                    == self.session.account());
        let may_relay = self.way.may_relay(&listener.config.relay_from, self.session.peer().ip());
        self.session.renew(listener.session.clone(), may_relay);
        let speaks = self.gateway.as_ref().map(|gateway| gateway.is_at(&self.listener));
        let may = speaks.is_none() && gateway::may_introduce(&self.listener, self.way, client);
        self.session.may_introduce(may);
        let is_node = speaks.is_none() && gateway::is_node(&self.listener, self.way, client);
        self.session.is_node(is_node);
        let proven = proven && speaks != Some(false);
        if !proven {
            self.out.extend_from_slice(words::CONNECT_AGAIN.as_bytes());
        }
        proven
    }
}
