//! One thread of the sender: its connections, its share of the arrivals, its timers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::session::{Event, Session};
use super::{Shared, Tally, Tls};
use crate::journal::Journal;
use crate::ledger::locked;
use crate::stream::Stream;
use crate::sys::{self, Timer};
use crate::units::Plan;

const TIMER: Token = Token(0);
/// Connection tokens start here.
const CONNECTIONS: usize = 1;
/// Bytes of one receive: replies are short.
const BUFFER: usize = 16 * 1024;
/// The loop looks at the stop flag at least this often.
const TICK: Duration = Duration::from_millis(50);
const MILLISECOND: u64 = 1_000_000;
/// Before the first try to make a lost connection again; doubles up to the last.
const RETRY_FIRST: u64 = 20 * MILLISECOND;
const RETRY_LAST: u64 = 1000 * MILLISECOND;
/// What a connection waits after a 4xx: a relay that asks for patience gets some.
const PATIENCE: u64 = 50 * MILLISECOND;
/// How often a slow client sends a little.
const SLOW_STEP: u64 = 50 * MILLISECOND;
/// How often connections are looked at for servers that fell silent.
const SCAN: u64 = 500 * MILLISECOND;

pub(super) struct Worker {
    lane: usize,
    lanes: usize,
    shared: Arc<Shared>,
    journal: Option<Journal>,
    poll: Poll,
    timer: Timer,
    connections: Vec<Connection>,
    /// Slots ready for a transaction, longest idle first, each with the serial it had.
    idle: VecDeque<(usize, u64)>,
    /// When to connect or to settle a slot: time, slot, serial.
    wakes: BinaryHeap<Reverse<(u64, usize, u64)>>,
    /// Of this thread's arrivals in an open loop, the next.
    arrival: u64,
    /// No more messages are begun since then.
    draining: Option<u64>,
    scanned: u64,
    /// When a session last came so far that a message could be sent, or was answered.
    progress: u64,
}

struct Connection {
    stream: Option<Stream>,
    session: Session,
    target: usize,
    source: Option<IpAddr>,
    /// A slow client's bytes in each [`SLOW_STEP`].
    pace: Option<usize>,
    /// Until then a slow client sends nothing.
    paused: u64,
    /// When the connection, then when the message was begun.
    begun: u64,
    /// Counts up with every connection made or lost, so that stale timers are noticed.
    serial: u64,
    greeted: bool,
    messages: u64,
    retry: u64,
    /// Until then nothing new is begun on it, because the server asked for patience.
    rest: u64,
    active: u64,
}

impl Worker {
    pub(super) fn new(
        lane: usize,
        lanes: usize,
        shared: &Arc<Shared>,
        journal: Option<Journal>,
    ) -> io::Result<Worker> {
        let (poll, timer) = (Poll::new()?, Timer::new()?);
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let config = &shared.config;
        let connections: Vec<_> = (lane..config.connections)
            .step_by(lanes)
            .map(|at| Connection {
                stream: None,
                session: Session::new(shared.wants.clone()),
                target: at % config.targets.len(),
                source: config.sources.get(at % config.sources.len().max(1)).copied(),
                pace: config
                    .slow
                    .filter(|slow| (at as f64) < slow.share * config.connections as f64)
                    .map(|slow| (u64::from(slow.bytes_per_second) * SLOW_STEP / 1_000_000_000) as usize),
                paused: 0,
                begun: 0,
                serial: 0,
                greeted: false,
                messages: 0,
                retry: RETRY_FIRST,
                rest: 0,
                active: 0,
            })
            .collect();
        let now = sys::now();
        Ok(Worker {
            lane,
            lanes,
            shared: Arc::clone(shared),
            journal,
            poll,
            timer,
            wakes: (0..connections.len()).map(|slot| Reverse((now, slot, 0))).collect(),
            connections,
            idle: VecDeque::new(),
            arrival: 0,
            draining: None,
            scanned: now,
            progress: now,
        })
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let result = self.work();
        self.tally().ended.store(sys::now(), Ordering::Relaxed);
        self.tally().cpu_nanoseconds.store(sys::thread_cpu().as_nanos() as u64, Ordering::Relaxed);
        self.tally().open.store(0, Ordering::Relaxed);
        result
    }

    fn work(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        loop {
            let now = sys::now();
            self.fire(now)?;
            self.dispatch()?;
            if self.is_over(now) {
                return Ok(());
            }
            self.scan(now)?;
            self.arm()?;
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    TIMER => self.timer.fired(),
                    Token(token) => self.serve(token - CONNECTIONS, &mut buffer)?,
                }
            }
        }
    }

    fn tally(&self) -> &Tally {
        &self.shared.tallies[self.lane]
    }

    /// Due time of this thread's next arrival and its number; None when there are no more.
    fn next_arrival(&self, plan: &Plan) -> Option<(u64, u64)> {
        let n = self.arrival * self.lanes as u64 + self.lane as u64;
        let due = self.shared.started.saturating_add(plan.due(n));
        (n < self.shared.count_max() && due < self.shared.end()).then_some((due, n))
    }

    /// Begins messages on idle connections, as far as the plan and the connections go.
    fn dispatch(&mut self) -> io::Result<()> {
        while self.draining.is_none() && !self.idle.is_empty() {
            let now = sys::now();
            if self.shared.stop.load(Ordering::Acquire) || now >= self.shared.end() {
                return Ok(());
            }
            if let Some(rate) = &self.shared.config.rate {
                let Some((due, n)) = self.next_arrival(rate).filter(|(due, _)| *due <= now) else {
                    return Ok(());
                };
                let Some(slot) = self.idle_slot() else { return Ok(()) };
                self.arrival += 1;
                self.begin(slot, n, due)?;
            } else {
                let Some(slot) = self.idle_slot() else { return Ok(()) };
                let n = self.shared.next.fetch_add(1, Ordering::Relaxed);
                if n >= self.shared.count_max() {
                    self.drain(now);
                    return self.settle(slot);
                }
                self.begin(slot, n, now)?;
            }
        }
        Ok(())
    }

    fn idle_slot(&mut self) -> Option<usize> {
        while let Some((slot, serial)) = self.idle.pop_front() {
            let connection = &self.connections[slot];
            if connection.serial == serial && connection.session.is_idle() {
                return Some(slot);
            }
        }
        None
    }

    fn begin(&mut self, slot: usize, n: u64, due: u64) -> io::Result<()> {
        let connection = &mut self.connections[slot];
        self.shared.maker.make(n, due, &mut connection.session.draft);
        connection.session.begin(n, due);
        connection.messages += 1;
        connection.active = sys::now();
        connection.begun = connection.active;
        self.shared.ledger.send();
        self.flush(slot)
    }

    /// Writes as far as the socket and the pace of a slow client allow.
    fn flush(&mut self, slot: usize) -> io::Result<()> {
        let connection = &mut self.connections[slot];
        let before = connection.paused;
        if connection.flush().is_err() {
            return self.lose(slot);
        }
        if connection.paused > before {
            // Not silence of the server: it waits for us.
            connection.active = sys::now();
            self.wakes.push(Reverse((connection.paused, slot, connection.serial)));
        }
        Ok(())
    }

    /// Begins the end, if it is time, and says whether all is over.
    fn is_over(&mut self, now: u64) -> bool {
        if self.draining.is_none() {
            let exhausted = match &self.shared.config.rate {
                Some(rate) => self.next_arrival(rate).is_none(),
                None => self.shared.next.load(Ordering::Relaxed) >= self.shared.count_max(),
            };
            if exhausted || now >= self.shared.end() || self.shared.stop.load(Ordering::Acquire) {
                self.count_missed(now);
                self.drain(now);
            }
        }
        let Some(since) = self.draining else { return false };
        let grace = self.shared.config.timeout.as_nanos() as u64;
        if self.connections.iter().all(|connection| connection.stream.is_none()) {
            return true;
        }
        if now.saturating_sub(since) <= grace {
            return false;
        }
        let cut_off =
            self.connections.iter().filter(|connection| connection.session.in_transaction()).count();
        Tally::add(&self.tally().broken, cut_off as u64);
        true
    }

    /// Arrivals that were due before the end and found no connection.
    fn count_missed(&mut self, now: u64) {
        let shared = Arc::clone(&self.shared);
        let Some(rate) = &shared.config.rate else { return };
        let mut missed = 0;
        while self.next_arrival(rate).is_some_and(|(due, _)| due <= now) {
            self.arrival += 1;
            missed += 1;
        }
        Tally::add(&self.tally().missed, missed);
    }

    fn drain(&mut self, now: u64) {
        self.draining = Some(now);
        self.idle.clear();
        for slot in 0..self.connections.len() {
            let connection = &mut self.connections[slot];
            if connection.session.is_idle() {
                connection.session.quit();
                // If it fails, the connection is closed by the event that says so, or when the time is over.
                let _ = connection.flush();
            } else if connection.stream.is_some() && !connection.greeted {
                connection.stream = None;
            }
        }
    }

    /// A session is idle: it goes on, or sends QUIT.
    fn settle(&mut self, slot: usize) -> io::Result<()> {
        let connection = &mut self.connections[slot];
        if !connection.session.is_idle() {
            return Ok(());
        }
        if connection.rest > sys::now() && self.draining.is_none() {
            self.wakes.push(Reverse((connection.rest, slot, connection.serial)));
            return Ok(());
        }
        let used_up = self.shared.config.per_connection.is_some_and(|most| connection.messages >= most);
        if self.draining.is_none() && !used_up {
            self.idle.push_back((slot, connection.serial));
            return Ok(());
        }
        connection.session.quit();
        self.flush(slot)
    }

    /// Fires what is due: connecting, or the end of a wait.
    fn fire(&mut self, now: u64) -> io::Result<()> {
        while let Some(Reverse((at, slot, serial))) = self.wakes.peek().copied() {
            if at > now {
                break;
            }
            self.wakes.pop();
            if self.connections[slot].serial != serial {
                continue;
            }
            if self.connections[slot].stream.is_some() {
                if self.connections[slot].session.has_output() {
                    self.flush(slot)?;
                } else {
                    self.settle(slot)?;
                }
            } else if self.draining.is_none() {
                self.connect(slot)?;
            }
        }
        Ok(())
    }

    fn connect(&mut self, slot: usize) -> io::Result<()> {
        let connection = &mut self.connections[slot];
        connection.session.restart();
        (connection.greeted, connection.messages, connection.active) = (false, 0, sys::now());
        (connection.begun, connection.paused) = (connection.active, 0);
        let config = &self.shared.config;
        let made = connect(config.targets[connection.target], connection.source).and_then(|mut socket| {
            // Without it the last part of a message could wait for the acknowledgement of the part before.
            socket.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(CONNECTIONS + slot), interest)?;
            let mut stream = Stream::new(socket);
            if config.tls == Tls::Implicit {
                self.shared.secure(&mut stream, config.targets[connection.target])?;
            }
            Ok(stream)
        });
        match made {
            Ok(stream) => {
                connection.stream = Some(stream);
                Tally::add(&self.shared.tallies[self.lane].open, 1);
                Ok(())
            }
            Err(_) => self.lose(slot),
        }
    }

    /// The connection is gone, as planned or not.
    fn lose(&mut self, slot: usize) -> io::Result<()> {
        let now = sys::now();
        let tally = &self.shared.tallies[self.lane];
        let connection = &mut self.connections[slot];
        if let Some(mut stream) = connection.stream.take() {
            stream.shut_tls();
            tally.open.store(tally.open.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        }
        if connection.session.in_transaction() {
            Tally::add(&tally.broken, 1);
            note_untaken(&mut self.journal, &self.shared)?;
        }
        let mut wait = connection.rest.saturating_sub(now);
        if !connection.greeted {
            Tally::add(&tally.connects_failed, 1);
        }
        if !connection.greeted || connection.messages == 0 {
            wait = connection.retry;
            connection.retry = (connection.retry * 2).min(RETRY_LAST);
        }
        connection.session.restart();
        connection.serial += 1;
        let silent = now.saturating_sub(self.progress) > self.shared.config.timeout.as_nanos() as u64;
        if silent && self.draining.is_none() {
            let target = self.shared.config.targets[connection.target];
            let text = format!(
                "nothing listens at {target}, or it is no SMTP server that offers what was asked for"
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        self.wakes.push(Reverse((now + wait, slot, connection.serial)));
        Ok(())
    }

    fn scan(&mut self, now: u64) -> io::Result<()> {
        if now.saturating_sub(self.scanned) < SCAN {
            return Ok(());
        }
        self.scanned = now;
        let cpu = sys::thread_cpu().as_nanos() as u64;
        self.tally().cpu_nanoseconds.store(cpu, Ordering::Relaxed);
        let timeout = self.shared.config.timeout.as_nanos() as u64;
        for slot in 0..self.connections.len() {
            let connection = &self.connections[slot];
            let waiting = connection.stream.is_some() && !connection.session.is_idle();
            if waiting && now.saturating_sub(connection.active) > timeout {
                self.lose(slot)?;
            }
        }
        Ok(())
    }

    /// Sets the timer to the next thing that happens without a socket.
    fn arm(&mut self) -> io::Result<()> {
        let wake = self.wakes.peek().map(|Reverse((at, ..))| *at);
        let arrival = match &self.shared.config.rate {
            Some(rate) if !self.idle.is_empty() => self.next_arrival(rate).map(|(due, _)| due),
            _ => None,
        };
        match wake.into_iter().chain(arrival).min() {
            Some(at) => self.timer.arm(at),
            None => Ok(()),
        }
    }

    /// Does what the socket allows.
    fn serve(&mut self, slot: usize, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            self.flush(slot)?;
            let connection = &mut self.connections[slot];
            let Some(stream) = &mut connection.stream else { return Ok(()) };
            let received = match stream.read(buffer) {
                Ok(0) => return self.lose(slot),
                Ok(received) => received,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.lose(slot),
            };
            let serial = connection.serial;
            self.read(slot, &buffer[..received])?;
            if self.connections[slot].serial != serial {
                return Ok(());
            }
        }
    }

    fn read(&mut self, slot: usize, mut input: &[u8]) -> io::Result<()> {
        let now = sys::now();
        self.connections[slot].active = now;
        let serial = self.connections[slot].serial;
        while !input.is_empty() && self.connections[slot].serial == serial {
            let Ok((used, event)) = self.connections[slot].session.input(input) else {
                return self.lose(slot);
            };
            input = &input[used..];
            if let Some(event) = event {
                self.happened(slot, event, now)?;
            }
        }
        Ok(())
    }

    fn happened(&mut self, slot: usize, event: Event, now: u64) -> io::Result<()> {
        if !matches!(event, Event::Over | Event::Secure) {
            self.progress = now;
        }
        let tally = &self.shared.tallies[self.lane];
        let connection = &mut self.connections[slot];
        match event {
            Event::Over => return self.lose(slot),
            Event::Secure => {
                let target = self.shared.config.targets[connection.target];
                let stream = connection.stream.as_mut();
                if stream.is_none_or(|stream| self.shared.secure(stream, target).is_err()) {
                    return self.lose(slot);
                }
                connection.session.secured();
                return Ok(());
            }
            Event::Ready => {
                if !connection.greeted {
                    connection.greeted = true;
                    Tally::add(&tally.connects, 1);
                    locked(&tally.connect).saturating_record(now.saturating_sub(connection.begun) / 1000);
                }
            }
            Event::Taken => {
                connection.retry = RETRY_FIRST;
                let session = &connection.session;
                if let Some(journal) = &mut self.journal {
                    journal.sent(self.shared.ledger.run(), session.n, &session.accepted);
                    journal.flush()?;
                }
                locked(&tally.latency).saturating_record(now.saturating_sub(session.due) / 1000);
                locked(&tally.answer).saturating_record(now.saturating_sub(connection.begun) / 1000);
                Tally::add(&tally.bytes, session.draft.wire_length() as u64);
                self.shared.ledger.acknowledge(session.n, session.accepted.iter().copied());
            }
            Event::Refused(code) => {
                note_untaken(&mut self.journal, &self.shared)?;
                Tally::add(if code < 500 { &tally.tempfails } else { &tally.rejects }, 1);
                if code < 500 {
                    connection.rest = now + PATIENCE;
                }
                if code == 421 {
                    return self.lose(slot);
                }
            }
        }
        self.settle(slot)
    }
}

impl Shared {
    fn secure(&self, stream: &mut Stream, target: SocketAddr) -> io::Result<()> {
        let config = self.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
        let name = self.server_name.clone().unwrap_or_else(|| ServerName::from(target.ip()));
        stream.secure(ClientConnection::new(config, name).map_err(io::Error::other)?);
        Ok(())
    }
}

/// Begins to connect, from this address if one is given.
fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    use socket2::{Domain, Protocol, Socket, Type};
    let Some(source) = source else { return TcpStream::connect(target) };
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // The port is chosen when the target is known, so that each address has all ports for each target.
    sys::bind_address_without_port(&socket)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

impl Connection {
    /// Writes as far as the socket takes it; a slow client only a little, and then sets `paused`.
    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.session.has_output() {
            let parts = self.session.output();
            let written = match self.pace {
                None => stream.write_vectored(&parts),
                Some(pace) => {
                    let now = sys::now();
                    if now < self.paused {
                        return Ok(());
                    }
                    self.paused = now + SLOW_STEP;
                    let part = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
                    stream.write_vectored(&[IoSlice::new(&part[..part.len().min(pace.max(1))])])
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.session.wrote(sent),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        stream.flush().map(|_| ())
    }
}

/// For the verdict on its file: that mail was sent is to be known also where none was taken.
fn note_untaken(journal: &mut Option<Journal>, shared: &Shared) -> io::Result<()> {
    let Some(journal) = journal else { return Ok(()) };
    journal.untaken(shared.ledger.run());
    journal.flush()
}
