//! One thread of the sink: sockets, timers and the sessions on them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSlice};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};
use mio::{Events, Interest, Poll, Token, Waker};

use rustls::ServerConnection;

use super::context::Context;
use super::session::{Flow, Session};
use super::{Behaviour, Security, Shared, Tally};
use crate::journal::Journal;
use crate::ledger::{Ledger, locked};
use crate::random::Random;
use crate::stream::Stream;
use crate::sys;

const WAKER: Token = Token(0);
/// Listener tokens start here, connection tokens after them.
const LISTENERS: usize = 1;
const LISTENERS_MAX: usize = 65_536;
const CONNECTIONS: usize = LISTENERS + LISTENERS_MAX;

/// Bytes of one receive.
const BUFFER: usize = 128 * 1024;
/// Receives on one connection before the others get their turn.
const TURN: usize = 8;
/// The loop looks at the stop flag and publishes its processor time at least this often.
const TICK: Duration = Duration::from_millis(100);

/// A connection on its way to the thread that serves it: its site and its client.
type Handover = (mio::net::TcpStream, usize, IpAddr);

pub(super) struct Worker {
    poll: Poll,
    waker: Arc<Waker>,
    own: Own,
    /// With their sites.
    listeners: Vec<(mio::net::TcpListener, usize)>,
    incoming: Receiver<Handover>,
    /// Every thread's queue and waker, this one's included; connections go to them in turn.
    peers: Vec<(Sender<Handover>, Arc<Waker>)>,
    next_peer: usize,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Connections that had more to read when their turn was over.
    again: Vec<usize>,
    /// Ends of pauses: time, slot, serial.
    timers: BinaryHeap<Reverse<(u64, usize, u64)>>,
    serial: u64,
    cpu_read: u64,
}

/// What the sessions of this thread share.
struct Own {
    lane: usize,
    shared: Arc<Shared>,
    ledgers: Vec<Arc<Ledger>>,
    behaviours: Arc<[Behaviour]>,
    generation: u64,
    random: Random,
    journal: Option<Journal>,
}

struct Connection {
    stream: Stream,
    session: Session,
    site: usize,
    client: IpAddr,
    serial: u64,
    /// While a reply is being delayed; `held` is input not yet looked at.
    paused: bool,
    held: Vec<u8>,
    written: usize,
    /// The session is over: close when the last reply is out.
    closing: bool,
    /// TLS begins when the last reply is out.
    securing: bool,
}

impl Worker {
    pub(super) fn family(
        count: usize,
        shared: &Arc<Shared>,
        seed: u64,
        journal: Option<&Journal>,
    ) -> io::Result<Vec<Worker>> {
        let mut made = Vec::with_capacity(count);
        for _ in 0..count {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
            let (sender, receiver) = unbounded();
            made.push((poll, waker, sender, receiver));
        }
        let peers: Vec<_> =
            made.iter().map(|(_, waker, sender, _)| (sender.clone(), Arc::clone(waker))).collect();
        let worker = |(lane, (poll, waker, _, incoming))| Worker {
            poll,
            waker,
            own: Own {
                lane,
                shared: Arc::clone(shared),
                ledgers: Vec::new(),
                behaviours: Arc::from([]),
                generation: 0,
                random: Random::for_item(seed, lane as u64),
                journal: journal.cloned(),
            },
            listeners: Vec::new(),
            incoming,
            peers: peers.clone(),
            next_peer: lane,
            connections: Vec::new(),
            free: Vec::new(),
            again: Vec::new(),
            timers: BinaryHeap::new(),
            serial: 0,
            cpu_read: 0,
        };
        Ok(made.into_iter().enumerate().map(worker).collect())
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(super) fn listen(&mut self, listener: TcpListener, site: usize) -> io::Result<()> {
        if self.listeners.len() >= LISTENERS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many addresses for one thread"));
        }
        let mut listener = mio::net::TcpListener::from_std(listener);
        let token = Token(LISTENERS + self.listeners.len());
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        self.listeners.push((listener, site));
        Ok(())
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        while !self.own.shared.stop.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, Some(self.timeout())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    crate::complain!("sink: poll: {error}");
                    break;
                }
                _ => {}
            }
            self.own.refresh();
            for slot in std::mem::take(&mut self.again) {
                self.serve(slot, true, &mut buffer);
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(token) if token < CONNECTIONS => self.accept(token - LISTENERS),
                    Token(token) => self.serve(token - CONNECTIONS, event.is_read_closed(), &mut buffer),
                }
            }
            while let Ok((stream, site, client)) = self.incoming.try_recv() {
                self.open(stream, site, client, &mut buffer);
            }
            self.fire_timers(&mut buffer);
            self.publish_cpu(false);
        }
        self.publish_cpu(true);
    }

    fn timeout(&self) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        let next =
            self.timers.peek().map(|Reverse((at, ..))| Duration::from_nanos(at.saturating_sub(sys::now())));
        next.map_or(TICK, |next| next.min(TICK))
    }

    fn publish_cpu(&mut self, last: bool) {
        let now = sys::now();
        if last || now.saturating_sub(self.cpu_read) > 5_000_000 {
            self.cpu_read = now;
            let used = sys::thread_cpu().as_nanos() as u64;
            self.own.shared.cpu_nanoseconds[self.own.lane].store(used, Ordering::Relaxed);
        }
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let Some((socket, site)) = self.listeners.get(listener) else { return };
            match socket.accept() {
                Ok((stream, client)) => {
                    let (queue, waker) = &self.peers[self.next_peer];
                    self.next_peer = (self.next_peer + 1) % self.peers.len();
                    // Neither fails while the peer lives; when it does not, the connection closes here.
                    let _ = queue.send((stream, *site, client.ip()));
                    let _ = waker.wake();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    // Edge-triggered: nothing would wake this listener again for those waiting, so come back.
                    crate::complain!("sink: accept: {error}; raise the limit on open files");
                    std::thread::sleep(Duration::from_millis(10));
                    let _ = self.waker.wake();
                    return;
                }
                // A connection that ended while it waited; the next may be fine.
                Err(_) => {}
            }
        }
    }

    fn open(&mut self, mut stream: mio::net::TcpStream, site: usize, client: IpAddr, buffer: &mut [u8]) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        // Without it the replies of one burst could wait for the acknowledgement of the last.
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(CONNECTIONS + slot), interest) {
            crate::complain!("sink: register: {error}");
            self.free.push(slot);
            return;
        }
        self.serial += 1;
        let tally = self.own.tally(site);
        Tally::add(&tally.connections, 1);
        Tally::add(&tally.open, 1);
        let mut stream = Stream::new(stream);
        let implicit = self.own.behaviours[site].security == Security::Implicit;
        let secured = !implicit || self.own.secure(&mut stream);
        let (session, flow) = self.own.call(site, client, Session::new);
        let mut connection = Connection {
            stream,
            session,
            site,
            client,
            serial: self.serial,
            paused: false,
            held: Vec::new(),
            written: 0,
            closing: !secured,
            securing: false,
        };
        self.own.obey(&mut connection, flow, &[], slot, &mut self.timers);
        self.connections[slot] = Some(connection);
        self.serve(slot, false, buffer);
    }

    fn close(&mut self, slot: usize) {
        if let Some(mut connection) = self.connections[slot].take() {
            connection.stream.shut_tls();
            let _ = self.poll.registry().deregister(connection.stream.socket());
            self.free.push(slot);
            let Connection { session, site, client, .. } = &mut connection;
            self.own.call(*site, *client, |context| session.closed(context));
            // Deliveries nobody was told of are no promise: the journal may fail to say so.
            let _ = self.own.write_journal();
            let open = &self.own.tally(*site).open;
            open.store(open.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        }
    }

    /// Does what the socket allows; `to_the_end` reads until nothing is left even after a short receive.
    fn serve(&mut self, slot: usize, to_the_end: bool, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        for turn in 0.. {
            if connection.flush().is_err() || (connection.closing && connection.is_flushed()) {
                return self.close(slot);
            }
            if connection.securing && connection.is_flushed() {
                connection.securing = false;
                if !self.own.secure(&mut connection.stream) {
                    return self.close(slot);
                }
                connection.session.secured();
            }
            // A peer that does not read its replies is not read either; a pause looks at nothing.
            if connection.closing || connection.paused || !connection.is_flushed() {
                return;
            }
            if turn == TURN {
                self.again.push(slot);
                return;
            }
            let received = match connection.stream.read(buffer) {
                Ok(0) => return self.close(slot),
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.close(slot),
            };
            let (site, client) = (connection.site, connection.client);
            let input = &buffer[..received];
            let flow = self.own.call(site, client, |context| connection.session.input(input, context));
            if !self.own.write_journal() {
                return self.close(slot);
            }
            self.own.obey(connection, flow, input, slot, &mut self.timers);
            // After a short receive the socket is empty, and new bytes bring a new event; this saves the receive
            // that would only say so. Not so with TLS, which holds bytes of its own.
            let plain = !connection.stream.is_secure();
            if flow == Flow::More && received < buffer.len() && !to_the_end && plain {
                if connection.flush().is_err() {
                    return self.close(slot);
                }
                return;
            }
        }
    }

    fn fire_timers(&mut self, buffer: &mut [u8]) {
        let now = sys::now();
        while let Some(Reverse((at, slot, serial))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(connection) = self.connections[slot].as_mut().filter(|found| found.serial == serial)
            else {
                continue;
            };
            if connection.stream.is_gone() {
                // A reply to nobody would count as given.
                self.close(slot);
                continue;
            }
            connection.session.resume();
            connection.paused = false;
            let held = std::mem::take(&mut connection.held);
            let (site, client) = (connection.site, connection.client);
            let flow = self.own.call(site, client, |context| connection.session.input(&held, context));
            if !self.own.write_journal() {
                self.close(slot);
                continue;
            }
            self.own.obey(connection, flow, &held, slot, &mut self.timers);
            self.serve(slot, true, buffer);
        }
    }
}

impl Connection {
    /// Sends replies as far as the socket takes them.
    fn flush(&mut self) -> io::Result<()> {
        if self.session.out.is_empty() {
            return self.stream.flush().map(|_| ());
        }
        while self.written < self.session.out.len() {
            match self.stream.write_vectored(&[IoSlice::new(&self.session.out[self.written..])]) {
                Ok(sent) => self.written += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.session.out.clear();
        self.session.sent();
        self.written = 0;
        Ok(())
    }

    /// Whether every reply was handed over.
    fn is_flushed(&self) -> bool {
        self.session.out.is_empty()
    }
}

impl Own {
    fn tally(&self, site: usize) -> &Tally {
        &self.shared.tallies[self.lane * self.behaviours.len() + site]
    }

    fn refresh(&mut self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.ledgers = self.shared.lock().clone();
            self.behaviours = Arc::clone(&locked(&self.shared.behaviours));
        }
    }

    /// Begins TLS. False when that is not possible.
    fn secure(&self, stream: &mut Stream) -> bool {
        let made = self.shared.tls.as_ref().and_then(|tls| ServerConnection::new(Arc::clone(tls)).ok());
        made.map(|tls| stream.secure(tls)).is_some()
    }

    /// Does what a session asks for after `input`.
    fn obey(
        &self,
        connection: &mut Connection,
        flow: Flow,
        input: &[u8],
        slot: usize,
        timers: &mut BinaryHeap<Reverse<(u64, usize, u64)>>,
    ) {
        match flow {
            Flow::More => {}
            Flow::Close => connection.closing = true,
            Flow::Secure => connection.securing = true,
            Flow::Pause(nanoseconds, used) => {
                connection.held = input.get(used..).unwrap_or_default().to_vec();
                connection.paused = true;
                timers.push(Reverse((sys::now().saturating_add(nanoseconds), slot, connection.serial)));
            }
        }
    }

    /// Calls into a session with what it needs of this thread.
    fn call<T>(&mut self, site: usize, client: IpAddr, call: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let Own { lane, shared, ledgers, behaviours, random, journal, .. } = self;
        let mut find = |run: u64| {
            let known = ledgers.iter().find(|ledger| ledger.run() == run).cloned();
            known.or_else(|| {
                let made = shared.ledger(run)?;
                ledgers.push(Arc::clone(&made));
                Some(made)
            })
        };
        call(&mut Context {
            behaviour: &behaviours[site],
            random,
            tally: &shared.tallies[*lane * behaviours.len() + site],
            ledgers: &mut find,
            journal: journal.as_mut(),
            gate: &shared.gates[site],
            responsible: &shared.responsible,
            site,
            client,
            now: sys::now(),
            lane: *lane,
        })
    }

    /// Writes down what was received, before its 250 leaves. False when that is not possible: no 250 then.
    fn write_journal(&mut self) -> bool {
        let Some(journal) = &mut self.journal else { return true };
        let result = journal.flush();
        if let Err(error) = &result {
            crate::complain!("sink: journal: {error}");
        }
        result.is_ok()
    }
}
