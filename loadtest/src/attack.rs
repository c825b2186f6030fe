//! Hostile clients beside the load: connections that cost a relay something and bring it nothing.
//!
//! Each attack is one thread with an `epoll` set of its own. What it does is bounded in connections, bytes a moment and time; a connection
//! that the relay closes is opened again after a tenth of a second, so a relay that defends itself is attacked for as long.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::sys;
use crate::unfit::Unfit;

/// Connections of one attack.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Addresses one attack comes from.
pub const SOURCES_MAX: usize = 10_000;
/// Before a lost connection is opened again.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections opened in one step of the loop.
const OPENED_AT_ONCE: usize = 200;
/// How often the loop looks at its clock.
const STEP: Duration = Duration::from_millis(20);
/// Between two bytes of a client that drips.
const DRIP: Duration = Duration::from_secs(1);
/// Commands of a loop that are sent at one time.
const LOOP_GROUP: usize = 50;
/// Recipients of an envelope that is never sent.
const RECIPIENTS: usize = 1000;
/// The second byte of the first attack's addresses.
const FIRST_NET: usize = 200;

/// What an attack does with its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing.
    #[default]
    Idle,
    /// A command, one byte a second.
    Drip,
    /// Commands without mail, as fast as they are answered.
    Loop,
    /// A line that never ends, as fast as it is taken.
    EndlessLine,
    /// An envelope with a thousand long recipients, and no more.
    Recipients,
    /// Commands whose replies are never read.
    Unread,
    /// A body, one byte a second.
    SlowBody,
    /// Connects, and goes away.
    Churn,
}

const KINDS: [(&str, Kind); 8] = [
    ("idle", Kind::Idle),
    ("drip", Kind::Drip),
    ("loop", Kind::Loop),
    ("endless-line", Kind::EndlessLine),
    ("recipients", Kind::Recipients),
    ("unread", Kind::Unread),
    ("slow-body", Kind::SlowBody),
    ("churn", Kind::Churn),
];

impl FromStr for Kind {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Kind, Unfit> {
        let found = KINDS.iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            Unfit::new(format!("there is no attack `{text}`: {}", names.join(", ")))
        })
    }
}

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// One attack, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// What it does.
    pub kind: Kind,
    /// Over how many connections.
    pub connections: usize,
    /// From how many addresses.
    pub sources: usize,
    /// When, since the start of the load.
    pub after: Duration,
    /// How long; None: until all is settled.
    pub time: Option<Duration>,
}

/// What came of an attack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Outcome {
    /// Its kind.
    pub kind: Kind,
    /// Connections it was to have at one time.
    pub connections: usize,
    /// Connections it opened.
    pub opened: u64,
    /// Of these, those the relay ended.
    pub ended: u64,
    /// Bytes it sent.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
}

/// A running attack; it ends when it is dropped.
pub struct Attack {
    spec: Spec,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// Starts the n-th attack of a run.
    pub fn start(number: usize, spec: Spec, target: SocketAddr) -> io::Result<Attack> {
        sys::raise_open_files()?;
        let (counts, stop) = (Arc::<Counts>::default(), Arc::new(AtomicBool::new(false)));
        let attacker = Attacker {
            spec,
            net: (FIRST_NET + number % 50) as u8,
            target,
            poll: Poll::new()?,
            connections: (0..spec.connections).map(|_| Connection::default()).collect(),
            counts: Arc::clone(&counts),
            stop: Arc::clone(&stop),
            buffer: vec![b'x'; 16 * 1024],
        };
        let thread = std::thread::Builder::new().name("attack".to_owned()).spawn(move || attacker.run())?;
        Ok(Attack { spec, counts, stop, thread: Some(thread) })
    }

    /// What came of it so far.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            kind: self.spec.kind,
            connections: self.spec.connections,
            opened: self.counts.opened.load(Ordering::Relaxed),
            ended: self.counts.ended.load(Ordering::Relaxed),
            bytes: self.counts.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Connection {
    stream: Option<TcpStream>,
    /// Not opened again before this.
    rests_until: Option<Instant>,
    /// When the next byte of a drip is due.
    due: Option<Instant>,
    /// Bytes to send before anything else.
    pending: Vec<u8>,
    /// Places in what is dripped.
    place: usize,
    /// The relay spoke, and was not answered.
    spoken_to: bool,
    greeted: bool,
}

struct Attacker {
    spec: Spec,
    net: u8,
    target: SocketAddr,
    poll: Poll,
    connections: Vec<Connection>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    buffer: Vec<u8>,
}

impl Attacker {
    fn run(mut self) {
        let begun = Instant::now();
        let mut events = Events::with_capacity(1024);
        while !self.stop.load(Ordering::Relaxed) && self.spec.time.is_none_or(|time| begun.elapsed() < time) {
            self.open();
            if self.poll.poll(&mut events, Some(STEP)).is_err() {
                continue;
            }
            for event in &events {
                let Token(number) = event.token();
                let outcome = if event.is_readable() { self.receive(number) } else { Ok(()) };
                if outcome.is_err() || (event.is_writable() && self.push(number).is_err()) {
                    self.lost(number);
                }
            }
            if matches!(self.spec.kind, Kind::Drip | Kind::SlowBody) {
                self.drip();
            }
        }
    }

    /// Opens what is not open.
    fn open(&mut self) {
        let now = Instant::now();
        let mut left = OPENED_AT_ONCE;
        for number in 0..self.connections.len() {
            let connection = &self.connections[number];
            let rests = connection.rests_until.is_some_and(|until| until > now);
            if connection.stream.is_some() || rests || left == 0 {
                continue;
            }
            left -= 1;
            let rest = Some(now + PAUSE);
            match self.connect(number) {
                Ok(stream) => {
                    self.counts.opened.fetch_add(1, Ordering::Relaxed);
                    self.connections[number] =
                        Connection { stream: Some(stream), rests_until: rest, ..Connection::default() };
                }
                Err(_) => self.connections[number].rests_until = rest,
            }
        }
    }

    fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let source = number % self.spec.sources.max(1);
        let socket =
            Socket::new(Domain::for_address(self.target), Type::STREAM.nonblocking().cloexec(), None)?;
        if self.target.ip().is_loopback() && self.target.is_ipv4() {
            sys::bind_address_without_port(&socket)?;
            let address = Ipv4Addr::new(127, self.net, (source / 250) as u8, (source % 250 + 1) as u8);
            socket.bind(&SocketAddr::new(IpAddr::V4(address), 0).into())?;
        }
        if self.spec.kind == Kind::Unread {
            // The less it takes, the sooner the relay has to hold the rest.
            let _ = socket.set_recv_buffer_size(2048);
        }
        match socket.connect(&self.target.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    fn lost(&mut self, number: usize) {
        self.counts.ended.fetch_add(1, Ordering::Relaxed);
        let rests_until = Some(Instant::now() + PAUSE);
        self.connections[number] = Connection { rests_until, ..Connection::default() };
    }

    /// Takes what the relay says.
    fn receive(&mut self, number: usize) -> io::Result<()> {
        let kind = self.spec.kind;
        let connection = &mut self.connections[number];
        let Some(stream) = &mut connection.stream else { return Ok(()) };
        if kind == Kind::Unread && connection.greeted {
            return Ok(());
        }
        let mut words = [0; 16 * 1024];
        loop {
            match stream.read(&mut words) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => connection.spoken_to = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if kind == Kind::Unread {
                break;
            }
        }
        if std::mem::take(&mut connection.spoken_to) {
            let first = !std::mem::replace(&mut connection.greeted, true);
            if kind == Kind::Churn {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            connection.pending.extend_from_slice(&said(kind, first, number));
        }
        self.push(number)
    }

    /// Sends what there is to send, as far as the relay takes it.
    fn push(&mut self, number: usize) -> io::Result<()> {
        let kind = self.spec.kind;
        let connection = &mut self.connections[number];
        let Some(stream) = &mut connection.stream else { return Ok(()) };
        loop {
            let endless = kind == Kind::EndlessLine && connection.greeted;
            if kind == Kind::Unread && connection.greeted && connection.pending.is_empty() {
                connection.pending = b"HELP\r\n".repeat(200);
            }
            let bytes = if endless { &self.buffer[..] } else { &connection.pending[..] };
            if bytes.is_empty() {
                return Ok(());
            }
            match stream.write(bytes) {
                Ok(sent) => {
                    self.counts.bytes.fetch_add(sent as u64, Ordering::Relaxed);
                    if !endless {
                        connection.pending.drain(..sent);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Still connecting.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// One more byte of each that is due.
    fn drip(&mut self) {
        const COMMAND: &[u8] = b"EHLO a-name-that-takes-its-time.attack.example";
        let now = Instant::now();
        for number in 0..self.connections.len() {
            let connection = &mut self.connections[number];
            let due = connection.due.is_none_or(|due| due <= now);
            if !connection.greeted || !connection.pending.is_empty() || !due {
                continue;
            }
            connection.due = Some(now + DRIP);
            connection.pending.push(COMMAND[connection.place % COMMAND.len()]);
            connection.place += 1;
            if self.push(number).is_err() {
                self.lost(number);
            }
        }
    }
}

/// What is said to a greeting, and to what comes later.
fn said(kind: Kind, first: bool, number: usize) -> Vec<u8> {
    const LOOP: [&[u8]; 6] = [
        b"NOOP\r\n",
        b"RSET\r\n",
        b"VRFY <a@attack.example>\r\n",
        b"HELP\r\n",
        b"EHLO attack.example\r\n",
        b"EHLO attack.example\r\nMAIL FROM:<a@attack.example>\r\nRSET\r\n",
    ];
    match kind {
        Kind::Loop => LOOP[number % LOOP.len()].repeat(LOOP_GROUP),
        Kind::Recipients if first => {
            let mut text = b"EHLO attack.example\r\nMAIL FROM:<a@attack.example>\r\n".to_vec();
            for recipient in 0..RECIPIENTS {
                let line = format!("RCPT TO:<{}{recipient:05}@attack.example>\r\n", "r".repeat(55));
                text.extend_from_slice(line.as_bytes());
            }
            text
        }
        Kind::SlowBody if first => {
            b"EHLO attack.example\r\nMAIL FROM:<a@attack.example>\r\nRCPT TO:<b@attack.example>\r\nDATA\r\n"
                .to_vec()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn spec(kind: Kind, connections: usize) -> Spec {
        Spec { kind, connections, sources: 3, after: Duration::ZERO, time: Some(Duration::from_secs(20)) }
    }

    fn wait(what: &str, mut ready: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !ready() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn names() {
        for (name, kind) in KINDS {
            assert_eq!(name.parse(), Ok(kind));
            assert_eq!(kind.name(), name);
        }
        assert!("flood".parse::<Kind>().unwrap_err().to_string().contains("endless-line"));
    }

    #[test]
    fn connections_come_from_several_addresses_and_come_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let attack = Attack::start(0, spec(Kind::Idle, 6), listener.local_addr().unwrap()).unwrap();
        let mut sources = std::collections::BTreeSet::new();
        let mut held = Vec::new();
        for _ in 0..6 {
            let (stream, from) = listener.accept().unwrap();
            sources.insert(from.ip());
            held.push(stream);
        }
        assert_eq!(sources.len(), 3, "{sources:?}");
        drop(held);
        wait("they come again", || attack.outcome().opened >= 12);
        assert!(attack.outcome().ended >= 6);
    }

    #[test]
    fn a_loop_goes_on_when_it_is_answered_and_a_drip_by_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let attack = Attack::start(1, spec(Kind::Loop, 1), target).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..3 {
            stream.write_all(b"250 ok\r\n").unwrap();
            let mut group = [0; 6 * LOOP_GROUP];
            stream.read_exact(&mut group).unwrap();
            assert!(group.starts_with(b"NOOP\r\nNOOP\r\n"));
        }
        drop(attack);
        let _attack = Attack::start(1, spec(Kind::Drip, 1), target).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 hello\r\n").unwrap();
        let mut bytes = [0; 2];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"EH");
    }
}
