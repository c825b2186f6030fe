//! One thread of the sink: sockets, timers and the sessions on them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};
use mio::{Events, Interest, Poll, Token, Waker};

use super::session::{Context, Flow, Session};
use super::{Behaviour, Shared, Tally};
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::random::Random;
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

/// A connection on its way to the thread that serves it, with the position of its listener.
type Handover = (mio::net::TcpStream, usize);

pub(super) struct Worker {
    poll: Poll,
    waker: Arc<Waker>,
    own: Own,
    behaviours: Arc<[Behaviour]>,
    listeners: Vec<(mio::net::TcpListener, usize)>,
    incoming: Receiver<Handover>,
    /// Every thread's queue and waker, this one's included; connections are dealt in turn.
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
    generation: u64,
    random: Random,
    journal: Option<Journal>,
}

struct Connection {
    stream: mio::net::TcpStream,
    session: Session,
    behaviour: usize,
    serial: u64,
    /// While a reply is being delayed; `held` is input not yet looked at.
    paused: bool,
    held: Vec<u8>,
    written: usize,
    /// The session is over: close when the last reply is out.
    closing: bool,
}

impl Worker {
    pub(super) fn family(
        count: usize,
        shared: &Arc<Shared>,
        behaviours: &Arc<[Behaviour]>,
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
                generation: 0,
                random: Random::for_item(seed, lane as u64),
                journal: journal.cloned(),
            },
            behaviours: Arc::clone(behaviours),
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

    pub(super) fn listen(&mut self, listener: TcpListener, position: usize) -> io::Result<()> {
        if self.listeners.len() >= LISTENERS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many addresses for one thread"));
        }
        let mut listener = mio::net::TcpListener::from_std(listener);
        let token = Token(LISTENERS + self.listeners.len());
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        self.listeners.push((listener, position));
        Ok(())
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        while !self.own.shared.stop.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, Some(self.timeout())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    eprintln!("sink: poll: {error}");
                    break;
                }
                _ => {}
            }
            self.own.copy_ledgers();
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
            while let Ok((stream, position)) = self.incoming.try_recv() {
                self.open(stream, position, &mut buffer);
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
            self.own.shared.tallies[self.own.lane].cpu_nanoseconds.store(used, Ordering::Relaxed);
        }
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let Some((socket, position)) = self.listeners.get(listener) else { return };
            match socket.accept() {
                Ok((stream, _)) => {
                    let (queue, waker) = &self.peers[self.next_peer];
                    self.next_peer = (self.next_peer + 1) % self.peers.len();
                    // Neither fails while the peer lives; when it does not, the connection closes here.
                    let _ = queue.send((stream, *position));
                    let _ = waker.wake();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    // Edge-triggered: nothing would wake this listener again for those waiting, so come back.
                    eprintln!("sink: accept: {error}; raise the limit on open files");
                    std::thread::sleep(Duration::from_millis(10));
                    let _ = self.waker.wake();
                    return;
                }
                // A connection that ended while it waited; the next may be fine.
                Err(_) => {}
            }
        }
    }

    fn open(&mut self, mut stream: mio::net::TcpStream, position: usize, buffer: &mut [u8]) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        // Without it the replies of one burst could wait for the acknowledgement of the last.
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(CONNECTIONS + slot), interest) {
            eprintln!("sink: register: {error}");
            self.free.push(slot);
            return;
        }
        self.serial += 1;
        let tally = &self.own.shared.tallies[self.own.lane];
        Tally::add(&tally.connections, 1);
        Tally::add(&tally.open, 1);
        let (session, closing) = self.own.call(&self.behaviours[position], Session::new);
        self.connections[slot] = Some(Connection {
            stream,
            session,
            behaviour: position,
            serial: self.serial,
            paused: false,
            held: Vec::new(),
            written: 0,
            closing,
        });
        self.serve(slot, false, buffer);
    }

    fn close(&mut self, slot: usize) {
        if let Some(mut connection) = self.connections[slot].take() {
            let _ = self.poll.registry().deregister(&mut connection.stream);
            self.free.push(slot);
            let open = &self.own.shared.tallies[self.own.lane].open;
            open.store(open.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        }
    }

    /// Does what the socket allows; `to_the_end` reads until nothing is left even after a short receive.
    fn serve(&mut self, slot: usize, to_the_end: bool, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        for turn in 0.. {
            if connection.flush().is_err() || (connection.closing && connection.session.out.is_empty()) {
                return self.close(slot);
            }
            // A peer that does not read its replies is not read either; a pause looks at nothing.
            if connection.closing || connection.paused || !connection.session.out.is_empty() {
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
            let behaviour = &self.behaviours[connection.behaviour];
            let flow =
                self.own.call(behaviour, |context| connection.session.input(&buffer[..received], context));
            if !self.own.write_journal() {
                return self.close(slot);
            }
            match flow {
                Flow::More => {}
                Flow::Close => connection.closing = true,
                Flow::Pause(nanoseconds, used) => {
                    connection.held.extend_from_slice(&buffer[used..received]);
                    connection.paused = true;
                    let at = sys::now().saturating_add(nanoseconds);
                    self.timers.push(Reverse((at, slot, connection.serial)));
                }
            }
            // After a short receive the socket is empty, and new bytes bring a new event; this saves the receive
            // that would only say so.
            if flow == Flow::More && received < buffer.len() && !to_the_end {
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
            connection.session.resume();
            connection.paused = false;
            let held = std::mem::take(&mut connection.held);
            let behaviour = &self.behaviours[connection.behaviour];
            let flow = self.own.call(behaviour, |context| connection.session.input(&held, context));
            if !self.own.write_journal() {
                return self.close(slot);
            }
            match flow {
                Flow::More => {}
                Flow::Close => connection.closing = true,
                Flow::Pause(nanoseconds, used) => {
                    connection.held = held[used..].to_vec();
                    connection.paused = true;
                    self.timers.push(Reverse((now.saturating_add(nanoseconds), slot, serial)));
                }
            }
            self.serve(slot, true, buffer);
        }
    }
}

impl Connection {
    /// Sends replies as far as the socket takes them.
    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.session.out.len() {
            match self.stream.write(&self.session.out[self.written..]) {
                Ok(sent) => self.written += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.session.out.clear();
        self.written = 0;
        Ok(())
    }
}

impl Own {
    fn copy_ledgers(&mut self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.ledgers = self.shared.lock().clone();
        }
    }

    /// Calls into a session with what it needs of this thread.
    fn call<T>(&mut self, behaviour: &Behaviour, call: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let Own { lane, shared, ledgers, random, journal, .. } = self;
        let mut find = |run: u64| {
            let known = ledgers.iter().find(|ledger| ledger.run() == run).cloned();
            known.or_else(|| {
                let made = shared.ledger(run)?;
                ledgers.push(Arc::clone(&made));
                Some(made)
            })
        };
        call(&mut Context {
            behaviour,
            random,
            tally: &shared.tallies[*lane],
            ledgers: &mut find,
            journal: journal.as_mut(),
            now: sys::now(),
            lane: *lane,
        })
    }

    /// Writes down what was received, before its 250 leaves. False when that is not possible: no 250 then.
    fn write_journal(&mut self) -> bool {
        let Some(journal) = &mut self.journal else { return true };
        let result = journal.flush();
        if let Err(error) = &result {
            eprintln!("sink: journal: {error}");
        }
        result.is_ok()
    }
}
