//! Opening a session to a next hop: addresses in order, connect, greeting, EHLO, STARTTLS where it is offered.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::limits;
use crate::route::gate::Admitted;
use crate::route::{Host, NextHop};
use crate::runtime::{Runtime, Stream};
use crate::shard::Shard;
use crate::shard::wire::{Wire, WireError};
use crate::smtp::client::Capabilities;
use crate::smtp::reply::{HostileReply, Reply, ReplyReader};
use crate::time::Instant;

/// A session that is ready for MAIL.
pub struct Connection<R: Runtime> {
    /// Its bytes.
    pub wire: Wire<R>,
    /// What the hop offered, after STARTTLS if that was done.
    pub capabilities: Capabilities,
    /// Name and address of the hop, for records.
    pub hop: String,
    /// Version and cipher suite of its TLS, for records; empty: there is none.
    pub tls: String,
    reader: ReplyReader,
    /// Bytes received behind the last reply.
    input: Vec<u8>,
    /// Memory for the next messages.
    pub spare: Spare,
    /// When the body was sent whose answer is awaited.
    body_at: Option<Instant>,
    /// How long the last one took to be answered.
    body_took: Duration,
}

/// Buffers that one message after the other uses.
#[derive(Debug, Default)]
pub struct Spare {
    /// The header fields that are added.
    pub headers: Vec<u8>,
    /// The same of a message whose commands are sent early.
    pub next: Vec<u8>,
    /// Commands.
    pub out: Vec<u8>,
}

/// Why no session came up, or an open one failed.
#[derive(Debug)]
pub enum HopError {
    /// No connection came up.
    Connect(SocketAddr, io::Error),
    /// The connection failed.
    Wire(WireError),
    /// The hop does not speak SMTP.
    Hostile(HostileReply),
    /// The hop refused the session.
    Refused(Reply),
    /// No host of the hop has an address.
    NoAddress(String),
    /// Not the hop's fault: the message cannot be read from our disk.
    Spool(io::Error),
}

impl std::fmt::Display for HopError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HopError::Connect(to, error) => write!(formatter, "cannot connect to {to}: {error}"),
            HopError::Wire(error) => write!(formatter, "{error}"),
            HopError::Hostile(error) => write!(formatter, "the next hop does not speak SMTP: {error:?}"),
            HopError::Refused(reply) => {
                write!(formatter, "the next hop refused the session: {}", reply.describe())
            }
            HopError::NoAddress(words) => formatter.write_str(words),
            HopError::Spool(error) => write!(formatter, "{error}"),
        }
    }
}

impl From<WireError> for HopError {
    fn from(error: WireError) -> HopError {
        HopError::Wire(error)
    }
}

/// Tries the hosts of a hop in order, each address of each, until one gives a session. `Err`: words on the last failure.
pub async fn connect<R: Runtime>(shard: &Rc<Shard<R>>, hop: &NextHop) -> Result<Connection<R>, HopError> {
    let mut last = HopError::NoAddress(format!("no host of {} has an address", hop.label));
    let mut tried = 0;
    let mut worst = u16::MAX;
    for host in hop.hosts.iter().take(limits::MX_HOSTS_MAX) {
        if host.rank > worst {
            break;
        }
        let addresses = match shard.resolver.addresses(host).await {
            Ok(addresses) => addresses,
            Err(error) => {
                if error.loops {
                    worst = host.rank;
                }
                last = HopError::NoAddress(error.to_string());
                continue;
            }
        };
        for address in addresses {
            if tried >= limits::MX_ADDRESSES_MAX {
                return Err(last);
            }
            tried += 1;
            match open(shard, host, address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

/// One address: with STARTTLS if offered; if the handshake fails, once more in plain text (RFC 3207 section 4.1 leaves that
/// to the client; opportunistic TLS asks for nothing better than what mail had before).
async fn open<R: Runtime>(
    shard: &Rc<Shard<R>>,
    host: &Host,
    to: Admitted,
) -> Result<Connection<R>, HopError> {
    match greet(shard, host, to, shard.settings.delivery.starttls).await {
        Err(HopError::Wire(WireError::Tls(_))) => {
            shard.instruments.counters.tls_fallbacks.add(1);
            greet(shard, host, to, false).await
        }
        result => result,
    }
}

async fn greet<R: Runtime>(
    shard: &Rc<Shard<R>>,
    host: &Host,
    to: Admitted,
    starttls: bool,
) -> Result<Connection<R>, HopError> {
    let to = to.address();
    let refused = |error| HopError::Connect(to, error);
    let stream = shard.runtime.connect(None, to).map_err(refused)?;
    let wire = Wire::<R>::new(stream, &shard.timers);
    wire.limit(&shard.timers, limits::client::CONNECT);
    wire.writable().await.map_err(|_| refused(io::ErrorKind::TimedOut.into()))?;
    wire.stream().take_error().map_err(refused)?;
    let hop = format!("{} [{}]:{}", host.name, to.ip(), to.port());
    let mut connection = Connection {
        wire,
        capabilities: Capabilities::default(),
        hop,
        tls: String::new(),
        reader: ReplyReader::default(),
        input: Vec::new(),
        spare: Spare::default(),
        body_at: None,
        body_took: Duration::ZERO,
    };
    match connection.introduce(shard, &host.name, starttls).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            connection.leave(shard).await;
            Err(error)
        }
    }
}

impl<R: Runtime> Connection<R> {
    /// From the greeting to the first MAIL.
    async fn introduce(&mut self, shard: &Rc<Shard<R>>, host: &str, starttls: bool) -> Result<(), HopError> {
        let greeting = self.reply(shard, limits::client::GREETING).await?;
        if greeting.code != 220 {
            return Err(HopError::Refused(greeting));
        }
        self.hello(shard).await?;
        if starttls && self.capabilities.starttls {
            self.protect(shard, host).await?;
        }
        self.reader.be_terse();
        Ok(())
    }

    /// EHLO, or HELO to a hop that refuses it (RFC 5321 3.2).
    async fn hello(&mut self, shard: &Rc<Shard<R>>) -> Result<(), HopError> {
        let ours = &shard.settings.node.hostname;
        self.send(shard, format!("EHLO {ours}\r\n").as_bytes(), limits::client::HELLO).await?;
        let reply = self.reply(shard, limits::client::HELLO).await?;
        if reply.is_positive() {
            self.capabilities = Capabilities::of_ehlo(&reply);
            return Ok(());
        }
        if !reply.is_permanent() {
            return Err(HopError::Refused(reply));
        }
        self.send(shard, format!("HELO {ours}\r\n").as_bytes(), limits::client::HELLO).await?;
        let reply = self.reply(shard, limits::client::HELLO).await?;
        if reply.is_positive() { Ok(()) } else { Err(HopError::Refused(reply)) }
    }

    /// STARTTLS. A refusal leaves the session in plain text.
    async fn protect(&mut self, shard: &Rc<Shard<R>>, name: &str) -> Result<(), HopError> {
        self.send(shard, b"STARTTLS\r\n", limits::client::HELLO).await?;
        let reply = self.reply(shard, limits::client::HELLO).await?;
        if reply.code != 220 {
            return Ok(());
        }
        // What came in plain text behind the 220 is not part of the protected session (CVE-2011-0411).
        self.input.clear();
        self.reader = ReplyReader::default();
        let connection = shard.tls_client.connection(name).map_err(WireError::Tls)?;
        self.wire.limit(&shard.timers, limits::client::HANDSHAKE);
        // Whatever breaks the handshake, plain text is tried next.
        self.wire.protect(connection).await.map_err(|error| match error {
            WireError::Lost(error) => WireError::Tls(rustls::Error::General(error.to_string())),
            error => error,
        })?;
        shard.instruments.counters.tls_outbound.add(1);
        self.tls = self.wire.describe_tls();
        self.hello(shard).await
    }

    /// A body is about to be sent.
    pub fn body_begins(&mut self, shard: &Shard<R>) {
        self.body_at = Some(shard.timers.recent());
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

    /// Sends, within a deadline.
    pub async fn send(&mut self, shard: &Shard<R>, bytes: &[u8], patience: Duration) -> Result<(), HopError> {
        self.wire.limit(&shard.timers, patience);
        Ok(self.wire.send_parts(&mut [IoSlice::new(bytes)]).await?)
    }

    /// The next reply, within a deadline.
    pub async fn reply(&mut self, shard: &Shard<R>, patience: Duration) -> Result<Reply, HopError> {
        self.wire.limit(&shard.timers, patience);
        loop {
            if !self.input.is_empty() {
                let (used, reply) = self.reader.read(&self.input).map_err(HopError::Hostile)?;
                self.input.drain(..used);
                if let Some(reply) = reply {
                    return Ok(reply);
                }
            }
            self.receive(shard).await?;
        }
    }

    async fn receive(&mut self, shard: &Shard<R>) -> Result<(), HopError> {
        loop {
            // A reply is hardly ever there when it is asked for.
            self.wire.readable().await?;
            {
                let mut scratch = shard.scratch.borrow_mut();
                match self.wire.try_recv(&mut scratch) {
                    Ok(0) => {
                        return Err(HopError::Wire(WireError::Lost(io::ErrorKind::UnexpectedEof.into())));
                    }
                    Ok(received) => {
                        self.input.extend_from_slice(&scratch[..received]);
                        return Ok(());
                    }
                    Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// Says QUIT and waits a moment for the hop to close, so that the hop never counts more connections of ours than
    /// we do. What it says changes nothing.
    pub async fn quit(&mut self, shard: &Shard<R>) {
        self.wire.limit(&shard.timers, limits::client::QUIT);
        let said = self.wire.send(b"QUIT\r\n").await;
        if said.is_ok() {
            self.outlast(shard).await;
        }
        self.wire.close();
    }

    /// Closes a conversation that went wrong, and waits a moment for the hop to close too, as [`Connection::quit`] does.
    pub async fn leave(&mut self, shard: &Shard<R>) {
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
