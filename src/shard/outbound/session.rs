//! A session with a next hop: what is sent, and the replies to it. Each command has one reply (RFC 5321 4.2), and what the hop
//! says besides is noticed before it can be taken for an answer.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::route::egress::Source;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::address::AddressPermit;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::watch::Watch;
use crate::shard::trace::{About, Said, Side};
use crate::shard::wire::{Wire, WireError};
use crate::smtp::client::{Capabilities, Timeouts};
use crate::smtp::reply::{Reply, ReplyReader};
use crate::time::Instant;

/// A session that is ready for MAIL.
pub struct Connection<R: Runtime> {
    /// Its bytes.
    pub wire: Wire<R>,
    /// What the hop offered in its last EHLO; nothing if it knows only HELO.
    pub capabilities: Capabilities,
    /// LMTP is spoken, not SMTP.
    pub lmtp: bool,
    /// By which source it leaves.
    pub by: Option<Arc<Source>>,
    /// By which address, for records.
    pub address: Option<IpAddr>,
    /// How long each answer may take.
    pub timeouts: Timeouts,
    /// Its place at its address, where that is counted.
    pub place: Option<AddressPermit>,
    /// Name and address of the hop, for records.
    pub hop: String,
    /// The hop said something.
    pub greeted: bool,
    /// It greets with our own name: mail that goes there comes back.
    pub loops: bool,
    /// Which others there were to ask.
    pub choice: Choice,
    /// The operator named this host; else the DNS gave it.
    pub routed: bool,
    /// Version and cipher suite of its TLS, for records; empty: there is none.
    pub tls: String,
    /// Memory for the next messages.
    pub spare: SessionBuffers,
    /// What came of STARTTLS, until a command of a transaction was answered behind it.
    pub starttls: Starttls,
    /// Who counts what the session comes to, as it begins.
    pub watch: Option<Rc<Watch>>,
    reader: ReplyReader,
    /// Its number among those that are shown to who watches; 0: it has none.
    shown: u32,
    /// Bytes received behind the last reply.
    input: Vec<u8>,
    /// Replies that commands under way will have.
    owed: usize,
    /// A send failed, of which the receiving side is to be told when all is read that came before.
    broken: Option<WireError>,
    /// When the body was sent whose answer is awaited.
    body_at: Option<Instant>,
    /// Until when the hop may take it.
    body_until: Instant,
    /// It was sent, as far as the kernel takes it.
    body_sent: bool,
    /// How long the last one took to be answered.
    body_took: Duration,
}

/// Buffers that one message after the other uses.
#[derive(Debug, Default)]
pub struct SessionBuffers {
    /// The header fields that are added.
    pub headers: Vec<u8>,
    /// The same of a message whose commands are sent early.
    pub next: Vec<u8>,
    /// Commands.
    pub out: Vec<u8>,
}

/// How a session stands to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starttls {
    /// It was never said, or what came of it has carried a command.
    Settled,
    /// It was said, or TLS is up; a failure may be that of TLS.
    Begun,
    /// The hop refused it, and the session went on in plain text.
    Refused,
}

/// How an address that was connected to stands to the others of its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// There is no other.
    Only,
    /// There are others, that were not asked.
    First,
    /// There are others, and it comes behind them: each of them was tried, or it failed before.
    Last,
}

/// What lies behind the last reply that was awaited.
#[derive(Debug)]
pub enum Behind {
    /// As far as is known, nothing: the hop waits for a command.
    Nothing,
    /// Words that answer no command: the replies before may not have been to the commands they were taken for.
    Words,
    /// The hop closed or reset the connection, or said that it does (421: it may say that at any time, RFC 5321 3.8). What it answered
    /// before stands.
    End(HopError),
}

impl<R: Runtime> Connection<R> {
    /// Over a connection that just came up.
    pub fn new(wire: Wire<R>, hop: String, (lmtp, timeouts): (bool, Timeouts)) -> Connection<R> {
        Connection {
            wire,
            lmtp,
            timeouts,
            by: None,
            address: None,
            capabilities: Capabilities::default(),
            place: None,
            hop,
            greeted: false,
            loops: false,
            choice: Choice::Only,
            routed: false,
            tls: String::new(),
            spare: SessionBuffers::default(),
            starttls: Starttls::Settled,
            watch: None,
            reader: ReplyReader::default(),
            shown: 0,
            input: Vec::new(),
            owed: 0,
            broken: None,
            body_at: None,
            body_until: Instant(0),
            body_sent: false,
            body_took: Duration::ZERO,
        }
    }

    /// Shows something to who watches.
    #[cold]
    fn show(&mut self, shard: &Shard<R>, said: Said<'_>) {
        let hop = &self.hop;
        let host = || hop.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        let about = || About { side: Side::Out, peer: hop.clone(), client: None, host: Some(host()) };
        shard.say.trace.tell(shard.index, &mut self.shown, about, shard.runtime.wall(), said);
    }

    /// The same of a body, with as many bytes of commands behind it.
    #[cold]
    fn show_body(&mut self, shard: &Shard<R>, parts: &[IoSlice<'_>], behind: usize) {
        let mut left = parts.iter().map(|part| part.len()).sum::<usize>().saturating_sub(behind);
        for part in parts {
            let (body, commands) = part.split_at(left.min(part.len()));
            left -= body.len();
            for said in [Said::Body(body), Said::Commands(commands)] {
                self.show(shard, said);
            }
        }
    }

    /// The name that we go by, where the node's is this.
    pub fn own_name<'a>(&'a self, of_node: &'a str) -> &'a str {
        self.by.as_ref().and_then(|source| source.config.ehlo.as_deref()).unwrap_or(of_node)
    }

    /// From now on replies are those of transactions: of the good ones only the code is kept.
    pub fn be_terse(&mut self) {
        self.reader.be_terse();
    }

    /// Forgets what came so far: it is not part of what follows.
    pub fn discard(&mut self) {
        self.input.clear();
        self.reader = ReplyReader::default();
    }

    /// A body is about to be sent.
    pub fn body_begins(&mut self, shard: &Shard<R>) {
        (self.body_at, self.body_sent) = (Some(shard.timers.recent()), false);
        self.reader.body_begins();
    }

    /// All of it was sent.
    pub fn body_ends(&mut self) {
        self.body_sent = true;
    }

    /// Whether the hop has not all of the body yet that it is to answer.
    pub fn is_body_under_way(&self) -> bool {
        self.body_at.is_some() && !(self.body_sent && self.wire.unacknowledged().unwrap_or_default() == 0)
    }

    /// A body has another reply (RFC 2033 section 4.2).
    pub fn another_answer(&mut self) {
        self.reader.body_goes_on();
    }

    /// What the hop said when it took the last body.
    pub fn said(&self) -> &str {
        self.reader.said()
    }

    /// It was answered, or the transaction ended before.
    pub fn body_answered(&mut self, shard: &Shard<R>) {
        if let Some(begun) = self.body_at.take() {
            self.body_took = shard.timers.recent().since(begun);
        }
    }

    /// Whether the hop answered the last body soon enough for a message to wait behind the next one.
    pub fn is_prompt(&self) -> bool {
        self.body_took < limits::client::PROMPT
    }

    /// So many more replies are awaited.
    pub fn owe(&mut self, replies: usize) {
        self.owed += replies;
    }

    /// Whether commands are to be answered yet.
    pub fn is_owed(&self) -> bool {
        self.owed > 0
    }

    /// Sends commands that have so many replies, within a deadline. Where that fails but the hop said something before, the replies are
    /// read first, and then the failure is told. What was said before the commands would be taken for the answer to them: then nothing is
    /// sent ([`HopError::Unasked`]).
    pub async fn send(
        &mut self,
        shard: &Shard<R>,
        bytes: &[u8],
        replies: usize,
        patience: Duration,
    ) -> Result<(), HopError> {
        if let Some(error) = self.broken.take() {
            return Err(error.into());
        }
        let planted = [Defect::StrayBeforeCommand, Defect::StrayReplyKept];
        if self.has_stray() && !planted.into_iter().any(|defect| shard.runtime.planted(defect)) {
            return Err(HopError::Unasked);
        }
        self.owed += replies;
        if shard.say.trace.is_on() {
            self.show(shard, Said::Commands(bytes));
        }
        self.wire.limit(&shard.timers, patience);
        match self.wire.send_parts(&mut [IoSlice::new(bytes)]).await {
            Err(error @ WireError::Lost(_)) => {
                self.collect(shard);
                self.broken = Some(error);
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Sends a piece of a body, or all of it. The last `behind` bytes are behind the final dot. Each wait ends when nothing is taken for
    /// too long, and all of them at `until`. A reply that is there before the dot is sent is an error: [`HopError::Early`].
    pub async fn send_body(
        &mut self,
        shard: &Shard<R>,
        mut parts: &mut [IoSlice<'_>],
        behind: usize,
        until: Instant,
    ) -> Result<(), HopError> {
        self.hear_early(shard).await?;
        self.body_until = until;
        if shard.say.trace.is_on() {
            self.show_body(shard, parts, behind);
        }
        let (mut queued, mut left) = (None, usize::MAX);
        loop {
            match self.wire.try_send_parts(&mut parts) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    self.collect(shard);
                    return match self.next_reply() {
                        Ok(Some(reply)) => Err(HopError::Early(reply)),
                        _ => Err(error.into()),
                    };
                }
            }
            self.wire.limit_partial_at(until.min(shard.timers.recent() + limits::client::BLOCK / 2));
            // When the dot is out the hop may answer. Under TLS nobody knows when that is, once rustls has it and something behind it.
            let before = std::mem::replace(&mut left, parts.iter().map(|part| part.len()).sum());
            if left < before {
                queued = None;
            }
            let dot_is_out = behind > 0 && left <= behind;
            let woken = match dot_is_out {
                true => self.wire.writable().await.map(|()| false),
                false => self.wire.writable_or_disturbed().await,
            };
            match woken {
                Ok(true) => self.hear_early(shard).await?,
                Ok(false) => {}
                Err(WireError::TimedOut) if shard.timers.is_stopping() => {
                    return Err(HopError::Stopping(false));
                }
                Err(WireError::TimedOut) if shard.timers.recent() < until && self.is_taken(&mut queued) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The kernel holds megabytes of a body for a hop that takes it slowly: whether it has taken some of these since this was asked last. True when
    /// it is asked for the first time.
    fn is_taken(&self, queued: &mut Option<usize>) -> bool {
        let now = self.wire.unacknowledged().unwrap_or(usize::MAX);
        queued.replace(now).is_none_or(|before| now < before)
    }

    /// What the hop has said, or begun to say, before it was given the end of the data: an error. What it has begun it is to end soon: nobody
    /// waits for it, and a stop least of all.
    pub async fn hear_early(&mut self, shard: &Shard<R>) -> Result<(), HopError> {
        if shard.runtime.planted(Defect::EarlyReplyBelieved) {
            return Ok(());
        }
        if self.is_surplus() || (self.wire.is_disturbed().await && self.take_waiting(shard)?) {
            let until = shard.timers.recent() + limits::client::EARLY;
            loop {
                if let Some(reply) = self.next_reply()? {
                    self.owed = self.owed.saturating_sub(1);
                    return Err(HopError::Early(reply));
                }
                let now = shard.timers.recent();
                if now >= until || shard.draining.get() {
                    return Err(HopError::Halting);
                }
                self.wire.limit_at(until.min(now + limits::client::EARLY_LOOK));
                match self.receive(shard).await {
                    Err(HopError::Wire(WireError::TimedOut)) => {}
                    result => result?,
                }
            }
        }
        Ok(())
    }

    /// The next reply, within a deadline.
    pub async fn reply(&mut self, shard: &Shard<R>, patience: Duration) -> Result<Reply, HopError> {
        self.wire.limit(&shard.timers, patience);
        self.awaited(shard).await
    }

    /// The same for a transaction. `further`: behind the first of several answers to a body, where a stop does not lose those that came.
    pub async fn reply_to(
        &mut self,
        shard: &Shard<R>,
        patience: Duration,
        further: bool,
    ) -> Result<Reply, HopError> {
        match (further, self.body_at) {
            (true, _) => self.partial_reply(shard, patience, true).await,
            (false, Some(_)) => self.first_reply(shard, patience).await,
            (false, None) => self.reply(shard, patience).await,
        }
    }

    /// The next reply, where a stop does not just drop the wait. `answered`: what it would lose are answers that came.
    pub async fn partial_reply(
        &mut self,
        shard: &Shard<R>,
        patience: Duration,
        answered: bool,
    ) -> Result<Reply, HopError> {
        self.wire.limit_partial_at(shard.timers.recent() + patience);
        match self.awaited(shard).await {
            Err(HopError::Wire(WireError::TimedOut)) if shard.timers.is_stopping() => {
                Err(HopError::Stopping(answered))
            }
            said => said,
        }
    }

    /// The first behind a body: a hop that still takes that, from the kernel, cannot answer yet.
    async fn first_reply(&mut self, shard: &Shard<R>, patience: Duration) -> Result<Reply, HopError> {
        let mut queued = None;
        let mut said = self.partial_reply(shard, patience, false).await;
        while matches!(said, Err(HopError::Wire(WireError::TimedOut)))
            && shard.timers.recent() < self.body_until
        {
            let left = self.wire.unacknowledged().unwrap_or_default();
            if (left == 0 && queued.is_none()) || !self.is_taken(&mut queued) {
                break;
            }
            // It has all of it now, and the time for its answer.
            let wait = if left == 0 { patience } else { patience.min(limits::client::BLOCK / 2) };
            said = self.partial_reply(shard, wait, false).await;
        }
        said
    }

    async fn awaited(&mut self, shard: &Shard<R>) -> Result<Reply, HopError> {
        loop {
            if let Some(reply) = self.next_reply()? {
                self.owed = self.owed.saturating_sub(1);
                return Ok(reply);
            }
            self.receive(shard).await?;
        }
    }
    /// One that came already.
    fn next_reply(&mut self) -> Result<Option<Reply>, HopError> {
        if self.input.is_empty() {
            return Ok(None);
        }
        let (used, reply) = self.reader.read(&self.input).map_err(HopError::Hostile)?;
        self.input.drain(..used);
        Ok(reply)
    }

    fn is_surplus(&self) -> bool {
        !self.input.is_empty() || self.reader.is_midway()
    }

    /// Whether something came behind the last reply that was owed: as far as it was received, for a command costs no look at the socket. A hop
    /// may say at any time that it closes (421, RFC 5321 3.8), and that is heard in place of the answer.
    fn has_stray(&self) -> bool {
        self.owed == 0 && self.is_surplus() && !self.input.starts_with(b"421")
    }

    /// What came, as far as is known without asking the kernel, that is no reply to any command. If anything did, the session is over.
    pub async fn behind(&mut self, shard: &Shard<R>) -> Behind {
        if self.owed > 0 || shard.runtime.planted(Defect::StrayReplyKept) {
            return Behind::Nothing;
        }
        if !self.is_surplus() {
            if !self.wire.is_disturbed().await {
                return Behind::Nothing;
            }
            match self.take_waiting(shard) {
                Ok(false) => return Behind::Nothing,
                Ok(true) => {}
                Err(error) => return Behind::End(error),
            }
        }
        match self.next_reply() {
            Ok(Some(last)) if last.code == 421 => Behind::End(HopError::Refused(last)),
            _ => Behind::Words,
        }
    }

    /// Receives what is there, without a wait: whether anything was.
    fn take_waiting(&mut self, shard: &Shard<R>) -> Result<bool, HopError> {
        let mut scratch = shard.scratch.borrow_mut();
        match self.wire.try_recv(&mut scratch) {
            Ok(0) => Err(HopError::Wire(WireError::Lost(io::ErrorKind::UnexpectedEof.into()))),
            Ok(received) => {
                if shard.say.trace.is_on() {
                    self.show(shard, Said::Replies(&scratch[..received]));
                }
                self.input.extend_from_slice(&scratch[..received]);
                Ok(true)
            }
            Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A send failed: what the hop said before that lies in the socket, also behind a reset.
    fn collect(&mut self, shard: &Shard<R>) {
        for _ in 0..limits::LAST_WORDS_MAX {
            if !self.take_waiting(shard).unwrap_or(false) {
                break;
            }
        }
    }

    async fn receive(&mut self, shard: &Shard<R>) -> Result<(), HopError> {
        if let Some(error) = self.broken.take() {
            return Err(error.into());
        }
        loop {
            // A reply is hardly ever there when it is asked for.
            self.wire.readable().await?;
            if self.take_waiting(shard)? {
                return Ok(());
            }
        }
    }

    /// Says QUIT and waits a moment for the hop to close, so that the hop never counts more connections of ours than
    /// we do. What it says changes nothing; one that has answered and does not close keeps nobody from the connection's place.
    pub async fn quit(&mut self, shard: &Shard<R>) {
        self.wire.limit(&shard.timers, limits::client::QUIT);
        if shard.say.trace.is_on() {
            self.show(shard, Said::Commands(b"QUIT\r\n"));
        }
        let said = self.wire.send(b"QUIT\r\n").await;
        if said.is_ok() && self.reply(shard, limits::client::QUIT).await.is_ok() {
            self.wire.limit(&shard.timers, limits::client::QUIT_CLOSE);
            self.outlast(shard).await;
        }
        self.wire.close();
    }

    /// Closes a conversation that went wrong, and waits a moment for the hop to close too, as [`Connection::quit`] does. In the middle of a body
    /// there is nothing to wait for.
    pub async fn leave(&mut self, shard: &Shard<R>) {
        if self.body_at.is_some() {
            return;
        }
        self.wire.limit(&shard.timers, limits::client::QUIT);
        self.wire.close();
        self.outlast(shard).await;
    }

    /// Waits for the hop's end, through what little it may still say.
    async fn outlast(&mut self, shard: &Shard<R>) {
        for _ in 0..limits::LAST_WORDS_MAX {
            self.input.clear();
            if self.receive(shard).await.is_err() {
                break;
            }
        }
        self.input.clear();
    }
}

/// In the middle of a body the connection is reset, whatever ends it: a hop that reads slowly would else have the rest of it from the kernel, and take
/// the message while it is sent again.
impl<R: Runtime> Drop for Connection<R> {
    fn drop(&mut self) {
        if self.body_at.is_some() {
            self.wire.abort();
        }
    }
}
