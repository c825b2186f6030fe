//! One connection's bytes: plain or under TLS, with a deadline on every wait.
//!
//! TLS is a layer here, not a stream type: the session above sees bytes either way and decides when the layer goes on.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::limits;
use crate::runtime::{Runtime, Stream};
use crate::shard::records::Records;
use crate::shard::timers::{Deadline, Timers};
use crate::time::Instant;

/// Why a connection cannot go on.
#[derive(Debug)]
pub enum WireError {
    /// The deadline passed; the peer was silent or slow.
    TimedOut,
    /// The peer closed where it must not, or the network failed.
    Lost(io::Error),
    /// The peer's TLS is broken.
    Tls(rustls::Error),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::TimedOut => formatter.write_str("timed out waiting for the peer"),
            WireError::Lost(error) => write!(formatter, "connection lost: {error}"),
            WireError::Tls(error) => write!(formatter, "TLS: {error}"),
        }
    }
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> WireError {
        WireError::Lost(error)
    }
}

/// A connection.
pub struct Wire<R: Runtime> {
    stream: R::Stream,
    tls: Option<Box<Tls>>,
    /// The peer said the end of TLS; its own end may never come.
    ended: bool,
    deadline: Deadline,
    /// Times in a row that something was there at once.
    streak: u32,
    /// Reads in a row that brought next to nothing, where that counts.
    drips: Option<u8>,
}

/// The layer of TLS.
struct Tls {
    connection: rustls::Connection,
    records: Records,
    /// Nothing follows what is sent next.
    is_last: bool,
}

impl Deref for Tls {
    type Target = rustls::Connection;
    fn deref(&self) -> &rustls::Connection {
        &self.connection
    }
}

impl DerefMut for Tls {
    fn deref_mut(&mut self) -> &mut rustls::Connection {
        &mut self.connection
    }
}

impl<R: Runtime> Wire<R> {
    /// A plain connection without a deadline yet.
    pub fn new(stream: R::Stream, timers: &Timers) -> Wire<R> {
        Wire { stream, tls: None, ended: false, deadline: timers.deadline(), streak: 0, drips: None }
    }

    /// A peer that sends its bytes one by one is read from less often, the less the more of them there are.
    pub fn slows_who_drips(&mut self) {
        self.drips = Some(0);
    }

    /// What came made sense by itself: its peer does not drip.
    pub fn went_on(&mut self) {
        self.drips = self.drips.and(Some(0));
    }

    /// Listens to nobody for a while, or until the deadline passes.
    async fn rest(stream: &R::Stream, deadline: &Deadline) {
        let mut rest = deadline.timers().rest();
        stream.listen(false);
        poll_fn(|context| {
            // Both are polled, so that either wakes.
            let rested = Pin::new(&mut rest).poll(context).is_ready();
            let passed = deadline.poll_passed(context).is_ready();
            if rested || passed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        stream.listen(true);
    }

    /// Every wait from now on ends `span` after the last tick.
    pub fn limit(&self, timers: &Timers, span: Duration) {
        self.deadline.set(timers.recent() + span);
    }

    /// Every wait from now on ends at `at`.
    pub fn limit_at(&self, at: Instant) {
        self.deadline.set(at);
    }

    /// The same for waits in which the peer may begin something or not.
    pub fn limit_idle_at(&self, at: Instant) {
        self.deadline.set_idle(at);
    }

    /// The same for a wait in which the peer may begin something or not.
    pub fn limit_idle(&self, timers: &Timers, span: Duration) {
        self.deadline.set_idle(timers.recent() + span);
    }

    /// The same for a wait in which the peer is to go on with what it began.
    pub fn limit_paused_at(&self, at: Instant) {
        self.deadline.set_paused(at);
    }

    /// The same for a wait that a stop ends in time to see to what it leaves.
    pub fn limit_partial_at(&self, at: Instant) {
        self.deadline.set_partial(at);
    }

    /// The stream below.
    pub fn stream(&self) -> &R::Stream {
        &self.stream
    }

    /// Whether TLS is on.
    pub fn is_protected(&self) -> bool {
        self.tls.is_some()
    }

    /// What is there now, at most `buffer.len()` bytes; Ok(0) is the end. `WouldBlock`: wait for [`Wire::readable`]. Under TLS the buffer
    /// must be of [`limits::SCRATCH`] bytes at least.
    pub fn try_recv(&mut self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let received = match &mut self.tls {
            None => self.stream.try_recv(buffer).map_err(WireError::Lost),
            Some(tls) => {
                let received = CIPHERTEXT
                    .with_borrow_mut(|scratch| recv_tls(tls, &self.stream, &mut self.ended, scratch, buffer));
                self.streak += tls.records.take_cost();
                received
            }
        };
        count_drip(&mut self.drips, *received.as_ref().unwrap_or(&0));
        received
    }

    /// Bytes that TLS holds, as far as the peer decides it.
    pub fn held(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| limits::TLS_SESSION_MEMORY + tls.records.held())
    }

    /// Waits until [`Wire::try_recv`] may bring something, or the deadline passes.
    pub async fn readable(&mut self) -> Result<(), WireError> {
        // Replies to a renegotiation or key update are owed before waiting.
        if self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            match self.flush_tls().await {
                // What the peer said before it went away is still to be received.
                Ok(()) | Err(WireError::Lost(_)) => {}
                Err(error) => return Err(error),
            }
        }
        // What came with the last record of a handshake is decrypted already, and no edge will tell of it; nor of what was wrong
        // behind the last bytes that were good, nor of an end that came with them.
        if let Some(tls) = &mut self.tls
            && tls
                .process_new_packets()
                .map_or(true, |state| state.plaintext_bytes_to_read() > 0 || self.ended)
        {
            return Ok(());
        }
        if self.drips.is_some_and(|drips| drips >= limits::server::DRIPS_AT_ONCE) {
            // In memory of its own, as few do.
            Box::pin(Wire::<R>::rest(&self.stream, &self.deadline)).await;
        }
        poll_fn(|context| {
            if self.stream.poll_readable(context).is_ready() {
                self.streak += 1;
                // A peer must not have the shard to itself.
                if self.streak <= limits::RECEIVES_AT_ONCE {
                    return Poll::Ready(Ok(()));
                }
                context.waker().wake_by_ref();
            }
            self.streak = 0;
            self.deadline.poll_passed(context).map(|()| Err(WireError::TimedOut))
        })
        .await
    }

    /// Ready when anything came from the peer, its end included, or the deadline passed.
    pub fn poll_disturbed(&self, context: &mut Context<'_>) -> Poll<()> {
        // Both are polled, so that either wakes.
        let passed = self.deadline.poll_passed(context).is_ready();
        let came = self.stream.poll_readable(context).is_ready();
        if came || passed || self.ended { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits until the stream takes bytes or its connection attempt ended.
    pub async fn writable(&self) -> Result<(), WireError> {
        poll_fn(|context| {
            if self.stream.poll_writable(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.deadline.poll_passed(context).map(|()| Err(WireError::TimedOut))
        })
        .await
    }

    /// Waits until the stream takes bytes. Ready with true when something came from the peer before that.
    pub async fn writable_or_disturbed(&self) -> Result<bool, WireError> {
        poll_fn(|context| {
            if self.stream.poll_readable(context).is_ready() {
                return Poll::Ready(Ok(true));
            }
            if self.stream.poll_writable(context).is_ready() {
                return Poll::Ready(Ok(false));
            }
            self.deadline.poll_passed(context).map(|()| Err(WireError::TimedOut))
        })
        .await
    }

    /// Whether something came from the peer that was not received, as far as is known without asking the kernel.
    pub async fn is_disturbed(&self) -> bool {
        poll_fn(|context| Poll::Ready(self.stream.poll_readable(context).is_ready())).await
    }

    /// Sends everything.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.send_parts(&mut [IoSlice::new(bytes)]).await
    }

    /// Sends the concatenation of `parts`, in one system call where the socket takes it.
    pub async fn send_parts(&mut self, mut parts: &mut [IoSlice<'_>]) -> Result<(), WireError> {
        while !self.try_send_parts(&mut parts)? {
            self.writable().await?;
        }
        Ok(())
    }

    /// Sends what the socket takes now: true when that was all. `parts` is left with what rustls (or the socket) has not taken.
    pub fn try_send_parts(&mut self, parts: &mut &mut [IoSlice<'_>]) -> Result<bool, WireError> {
        if let Some(tls) = &mut self.tls {
            return send_tls(tls, &self.stream, parts);
        }
        while parts.iter().any(|part| !part.is_empty()) {
            match self.stream.try_send(parts) {
                Ok(sent) => IoSlice::advance_slices(parts, sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    async fn flush_tls(&mut self) -> Result<(), WireError> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(()) };
            if !tls.wants_write() {
                return Ok(());
            }
            match tls.write_tls(&mut RecordWriter(&self.stream)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Puts TLS on and shakes hands, for which the peer may send `most` bytes: rustls keeps an incomplete message of a handshake. What
    /// the peer sent in plain text before is the caller's to discard.
    pub async fn protect(&mut self, connection: rustls::Connection, most: usize) -> Result<(), WireError> {
        self.begin_tls(connection, Vec::new())?;
        self.shake_hands(most, async || ()).await
    }

    /// Puts TLS on, of which this came already. A server does most of its work here: it signs.
    pub fn begin_tls(&mut self, connection: rustls::Connection, begun: Vec<u8>) -> Result<(), WireError> {
        let tls = self.tls.insert(Box::new(Tls { connection, records: Records::default(), is_last: false }));
        tls.records.follow(&begun);
        let mut rest = &begun[..];
        while !rest.is_empty() && tls.read_tls(&mut rest)? > 0 {
            shake(tls, &self.stream)?;
        }
        Ok(())
    }

    /// The rest of a handshake, as [`Wire::protect`] has it. What came is looked at while `turn` is held, which may be waited for. What a server owes its
    /// client at the end goes with what is said next, or before the next wait.
    pub async fn shake_hands<Turn>(
        &mut self,
        most: usize,
        turn: impl AsyncFn() -> Turn,
    ) -> Result<(), WireError> {
        let mut left = most;
        loop {
            let ended = self.tls.as_ref().filter(|tls| !tls.is_handshaking());
            match ended.map(|tls| &tls.connection) {
                Some(rustls::Connection::Server(_)) => return Ok(()),
                // The server waits for the end of a client's.
                Some(rustls::Connection::Client(_)) => return self.flush_tls().await,
                None => {}
            }
            self.flush_tls().await?;
            let Some(tls) = &mut self.tls else { return Ok(()) };
            let Tls { connection, records, .. } = &mut **tls;
            match connection.read_tls(&mut RecordReader(&self.stream, records)) {
                Ok(0) => return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(came) => {
                    count_drip(&mut self.drips, came);
                    let turn = turn().await;
                    shake(tls, &self.stream)?;
                    drop(turn);
                    left = left.saturating_sub(came);
                    if !tls.is_handshaking() {
                        tls.records.brought();
                    }
                    if left == 0 && tls.is_handshaking() {
                        return Err(WireError::Tls(rustls::Error::General("an endless handshake".into())));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Version and cipher suite, for the Received field.
    pub fn describe_tls(&self) -> String {
        let Some(tls) = &self.tls else { return String::new() };
        let version = match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite().as_str().unwrap_or("unknown"));
        format!("{version} {}", suite.unwrap_or("unknown"))
    }

    /// What a login is bound to this connection by (RFC 9266), where TLS has that: from 1.3 on.
    pub fn exporter(&self) -> Option<[u8; 32]> {
        let tls = self.tls.as_ref()?;
        let is_new = tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        let export = || tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).ok();
        is_new.then(export).flatten()
    }

    /// The certificates that the peer showed.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.as_ref().and_then(|tls| tls.peer_certificates()).unwrap_or_default()
    }

    /// The address of this end.
    pub fn own_address(&self) -> Option<IpAddr> {
        self.stream.local_address().ok().map(|address| address.ip())
    }

    /// Behind what is sent next the end of TLS follows, in the same packet.
    pub fn is_last(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.is_last = true;
        }
    }

    /// Sends what the socket takes at once of a few last words.
    pub fn send_last(&mut self, words: &[u8]) {
        match &mut self.tls {
            None => drop(self.stream.try_send(&[IoSlice::new(words)])),
            // What ends TLS follows at once, and takes them along.
            Some(tls) => drop(tls.writer().write_all(words)),
        }
    }

    /// Sends close_notify and closes the sending side.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut RecordWriter(&self.stream));
        }
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Bytes that were sent and that the peer's side has not acknowledged; None: nobody knows.
    pub fn unacknowledged(&self) -> Option<usize> {
        self.stream.unacknowledged()
    }

    /// Has it closed by a reset: what the peer has not taken yet never reaches it.
    pub fn abort(&mut self) {
        let _ = self.stream.abort();
    }
}

// With what is left of a record that came in part before, it fits in the buffer it is decrypted into.
const _: () = assert!(limits::CIPHERTEXT + 17 * 1024 <= limits::SCRATCH);

thread_local! {
    /// Where it lies until rustls has taken it, a few kilobytes at a time: to ask the socket for these would be a system call each.
    static CIPHERTEXT: RefCell<Box<[u8]>> = RefCell::new(vec![0; limits::CIPHERTEXT].into_boxed_slice());
}

fn count_drip(drips: &mut Option<u8>, came: usize) {
    if let Some(drips) = drips {
        *drips = if came > limits::server::DRIP { 0 } else { drips.saturating_add(1) };
    }
}

fn recv_tls(
    tls: &mut Tls,
    stream: &impl Stream,
    ended: &mut bool,
    scratch: &mut [u8],
    buffer: &mut [u8],
) -> Result<usize, WireError> {
    let mut barren = 0;
    loop {
        match tls.reader().read(buffer) {
            Ok(received) => {
                tls.records.brought();
                return Ok(received);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The peer vanished without close_notify. SMTP frames its own messages, so this is a plain end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let came = match stream.try_recv(scratch) {
            Ok(0) => return Ok(0),
            Ok(came) => came,
            // What was wrong behind the last good bytes is said when these were taken.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(tls.process_new_packets().map_or_else(WireError::Tls, |_| error.into()));
            }
            Err(error) => return Err(error.into()),
        };
        tls.records.follow(&scratch[..came]);
        let (mut rest, mut filled) = (&scratch[..came], 0);
        while !rest.is_empty() {
            // Behind a close_notify nothing counts, and rustls takes nothing.
            if tls.read_tls(&mut rest)? == 0 {
                break;
            }
            let state = tls.process_new_packets();
            // At once: rustls takes no more while it holds more than a record.
            filled += tls.reader().read(&mut buffer[filled..]).unwrap_or(0);
            match state {
                Ok(state) => *ended |= state.peer_has_closed(),
                Err(error) => {
                    // The alert that names the reason is owed to the peer; whether it arrives changes nothing.
                    let _ = tls.write_tls(&mut RecordWriter(stream));
                    return if filled > 0 { Ok(filled) } else { Err(WireError::Tls(error)) };
                }
            }
        }
        if filled > 0 {
            tls.records.brought();
            return Ok(filled);
        }
        // Key updates and empty records without end would hold the shard.
        barren += came;
        if barren > limits::BARREN_MAX {
            return Err(WireError::Tls(rustls::Error::General(
                "records without end and without data".into(),
            )));
        }
    }
}

/// The parts share records, and all that rustls takes at once (64 KiB) goes out in one system call, with what it owed the peer before: a large body is
/// never held twice.
fn send_tls(tls: &mut Tls, stream: &impl Stream, parts: &mut &mut [IoSlice<'_>]) -> Result<bool, WireError> {
    loop {
        let mut is_all = parts.iter().all(|part| part.is_empty());
        if !is_all {
            let taken = tls.writer().write_vectored(parts)?;
            IoSlice::advance_slices(parts, taken);
            is_all = parts.iter().all(|part| part.is_empty());
            if is_all && tls.is_last {
                tls.send_close_notify();
            }
        }
        if !tls.wants_write() {
            return Ok(is_all);
        }
        match tls.write_tls(&mut RecordWriter(stream)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What came of a handshake is understood. Where it is not, the peer is owed the alert that says why.
fn shake(tls: &mut Tls, stream: &impl Stream) -> Result<(), WireError> {
    tls.process_new_packets().map(|_| ()).map_err(|error| {
        let _ = tls.write_tls(&mut RecordWriter(stream));
        WireError::Tls(error)
    })
}

struct RecordReader<'a, S>(&'a S, &'a mut Records);

impl<S: Stream> Read for RecordReader<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let came = self.0.try_recv(buffer)?;
        self.1.follow(&buffer[..came]);
        Ok(came)
    }
}

struct RecordWriter<'a, S>(&'a S);

impl<S: Stream> Write for RecordWriter<'_, S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.try_send(&[IoSlice::new(buffer)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_send(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
