//! Questions to name servers: over UDP, or TCP where an answer is too long for that; one server after the other.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::config::DnsConfig;
use crate::dns::message::{self, Reading};
use crate::dns::servers::Servers;
use crate::dns::{LookupError, LookupResult, QueryType, ServerError};
use crate::limits;
use crate::runtime::{Datagram, Runtime};
use crate::shard::timers::Timers;
use crate::shard::wire::{Wire, WireError};
use crate::time::Instant;

/// The name servers, as one shard knows them.
pub struct NameServers<R: Runtime> {
    runtime: R,
    timers: Timers,
    list: RefCell<Servers>,
    timeout: Cell<Duration>,
    attempts: Cell<usize>,
    /// Those of them that are believed to validate.
    trusted: RefCell<Vec<SocketAddr>>,
    /// Questions without an answer since the last answer, and when that was.
    unanswered: Cell<u32>,
    heard_at: Cell<Instant>,
}

impl<R: Runtime> NameServers<R> {
    /// Those of a configuration.
    pub fn new(runtime: R, timers: Timers, settings: &DnsConfig) -> NameServers<R> {
        NameServers {
            runtime,
            timers,
            list: RefCell::new(Servers::new(&settings.servers)),
            timeout: Cell::new(settings.timeout),
            attempts: Cell::new(settings.attempts as usize),
            trusted: RefCell::default(),
            unanswered: Cell::new(0),
            heard_at: Cell::new(Instant(0)),
        }
    }

    /// How long and how often they are asked.
    pub fn configure(&self, settings: &DnsConfig) {
        self.timeout.set(settings.timeout);
        self.attempts.set(settings.attempts as usize);
    }

    /// What these call authentic is believed. Whether they are others than before.
    pub fn trust(&self, servers: &[SocketAddr]) -> bool {
        self.trusted.replace(servers.to_vec()) != servers
    }

    /// They are others now, of which nothing is known.
    pub fn replace(&self, servers: &[SocketAddr]) {
        *self.list.borrow_mut() = Servers::new(servers);
    }

    /// Questions since the last answer, and when the first of them was asked.
    pub fn silence(&self) -> (u32, Instant) {
        (self.unanswered.get(), self.heard_at.get())
    }

    /// Whether one of them is to be asked for the root, to see whether it hears.
    pub fn is_doubtful(&self) -> bool {
        self.list.borrow().is_doubtful(self.runtime.now())
    }

    /// Asks all of them for the root at one time, whatever they say to it. Whether any answers, and those of which that is new: they
    /// were deaf and hear, or the other way round. Where none answers it is no question of their order.
    pub async fn ask_for_the_root(&self) -> (bool, Vec<(SocketAddr, bool)>) {
        let until = self.runtime.now() + limits::DNS_ROOT_PATIENCE;
        let order = self.list.borrow().order();
        let ask = |server: SocketAddr| async move {
            let id = self.runtime.random() as u16;
            let Some(question) = message::write_question(id, ".", QueryType::A, false) else { return false };
            self.ask_udp(server, &question, (id, ".", QueryType::A), until).await.is_ok()
        };
        let mut asked: Vec<_> = order.iter().map(|server| (Box::pin(ask(*server)), None)).collect();
        poll_fn(|context| {
            for (answer, heard) in asked.iter_mut().filter(|(_, heard)| heard.is_none()) {
                if let Poll::Ready(some) = answer.as_mut().poll(context) {
                    *heard = Some(some);
                }
            }
            if asked.iter().all(|(_, heard)| heard.is_some()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let heard: Vec<bool> = asked.into_iter().map(|(_, heard)| heard == Some(true)).collect();
        let mut list = self.list.borrow_mut();
        let mut changes = Vec::new();
        let any = heard.contains(&true);
        for (server, heard) in order.into_iter().zip(heard) {
            let new = match (heard, any) {
                (true, _) => list.heard(server),
                (false, true) => list.deaf(server, self.runtime.now()),
                (false, false) => false,
            };
            if new {
                changes.push((server, heard));
            }
        }
        if any {
            self.unanswered.set(0);
        }
        (any, changes)
    }

    /// Asks one server after the other until one answers.
    pub async fn ask(&self, kind: QueryType, name: &str) -> Result<Reading, LookupError> {
        let order = self.list.borrow().order();
        if order.is_empty() {
            return Err(LookupError::NoServers);
        }
        let mut edns = true;
        let mut last = LookupError::NoServers;
        let (mut attempt, mut silences) = (0, 0);
        while attempt < self.attempts.get() {
            let server = order[attempt % order.len()];
            // Some name servers, and firewalls before them, drop questions with EDNS.
            if silences > 0 && silences + 1 == self.attempts.get() {
                edns = false;
            }
            let id = self.runtime.random() as u16;
            let Some(question) = message::write_question(id, name, kind, edns) else {
                return Err(LookupError::BadName);
            };
            if self.unanswered.get() == 0 {
                self.heard_at.set(self.runtime.now());
            }
            self.unanswered.set(self.unanswered.get().saturating_add(1));
            let until = self.runtime.now() + self.timeout.get();
            let mut reading = self.ask_udp(server, &question, (id, name, kind), until).await;
            if matches!(reading, Ok(Reading::Truncated)) {
                reading = self.ask_tcp(server, &question, id, name, kind).await;
            }
            match &reading {
                Ok(_) => {
                    self.unanswered.set(0);
                    self.list.borrow_mut().heard(server);
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    silences += 1;
                    self.list.borrow_mut().silent(server);
                }
                Err(_) => {}
            }
            let failed = match reading {
                // Once more without, which is no other try: the server did answer (RFC 6891 section 7).
                Ok(Reading::Plain) if edns => {
                    edns = false;
                    continue;
                }
                Ok(Reading::Plain) => ServerError::NotUnderstood,
                Ok(Reading::Failed(why)) => why,
                Ok(Reading::Truncated | Reading::NotOurs) => ServerError::NotWhole,
                Ok(Reading::Found(found)) => {
                    let secure = found.secure && self.trusted.borrow().contains(&server);
                    return Ok(Reading::Found(LookupResult { secure, ..found }));
                }
                Ok(reading) => return Ok(reading),
                Err(error) => error.into(),
            };
            last = LookupError::Server(server, failed);
            attempt += 1;
        }
        Err(last)
    }

    /// One question over UDP, from a fresh port each time: an answer must guess port and id.
    async fn ask_udp(
        &self,
        server: SocketAddr,
        question: &[u8],
        (id, name, kind): (u16, &str, QueryType),
        until: Instant,
    ) -> io::Result<Reading> {
        let socket = self.runtime.datagram(server)?;
        socket.try_send(question)?;
        let mut timeout = self.timers.sleep_until(until);
        loop {
            if let Some(reading) = received(&socket, (id, name, kind))? {
                return Ok(reading);
            }
            poll_fn(|context| {
                if socket.poll_readable(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                Pin::new(&mut timeout).poll(context).map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
            })
            .await?;
        }
    }

    /// The same over TCP (RFC 7766): the length goes before the message.
    async fn ask_tcp(
        &self,
        server: SocketAddr,
        question: &[u8],
        id: u16,
        name: &str,
        kind: QueryType,
    ) -> io::Result<Reading> {
        let stream = self.runtime.connect(None, server)?;
        let mut wire = Wire::<R>::new(stream, &self.timers);
        wire.limit(&self.timers, self.timeout.get());
        let exchanged = async {
            wire.writable().await?;
            let length = u16::try_from(question.len()).unwrap_or(0).to_be_bytes();
            wire.send(&[&length[..], question].concat()).await?;
            let mut answer = Vec::new();
            loop {
                if let Some((length, rest)) = answer.split_first_chunk::<2>() {
                    let length = usize::from(u16::from_be_bytes(*length));
                    if rest.len() >= length {
                        return Ok(rest[..length].to_vec());
                    }
                }
                if !received_more(&mut wire, &mut answer)? {
                    wire.readable().await?;
                }
            }
        }
        .await;
        let answer = exchanged.map_err(|error: WireError| io::Error::other(error.to_string()))?;
        Ok(message::read_answer(&answer, id, name, kind))
    }
}

// Buffers are on the stack of these two: in a future they would be copied wherever it goes.

/// The answer to a question, if it has come.
fn received<D: Datagram>(
    socket: &D,
    (id, name, kind): (u16, &str, QueryType),
) -> io::Result<Option<Reading>> {
    let mut buffer = [0; limits::DNS_READ];
    loop {
        match socket.try_recv(&mut buffer) {
            Ok(length) => match message::read_answer(&buffer[..length], id, name, kind) {
                Reading::NotOurs => continue,
                reading => return Ok(Some(reading)),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// More of an answer, if it has come.
fn received_more<R: Runtime>(wire: &mut Wire<R>, answer: &mut Vec<u8>) -> Result<bool, WireError> {
    let mut buffer = [0; limits::DNS_READ];
    match wire.try_recv(&mut buffer) {
        Ok(0) => Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into())),
        Ok(received) => {
            answer.extend_from_slice(&buffer[..received]);
            Ok(true)
        }
        Err(WireError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
