//! Accounting: one JSON line for each thing that happens to a message, encoded on the shard, written elsewhere.
//!
//! A shard never waits for the log: when the writer is behind by [`limits::ACCOUNTING_QUEUE`] chunks a shard, records are dropped
//! and counted.
//!
//! In the file nothing stands before the `received` of its message, though another shard may have delivered it: all shards fill
//! one queue, and what one tells of a message that another received is passed on only when every shard has passed on what it told
//! before ([`Journal::turn`]). A message pays nothing for that.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::id::MessageId;
use crate::limits;
use crate::observe::journaled::Chunk;
use crate::time::{Instant, UnixMillis};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's message is on disk.
    Received,
    /// A next hop took it.
    Delivered,
    /// It will be tried again.
    Deferred,
    /// It was refused for good.
    Bounced,
    /// It was given up for age.
    Expired,
    /// It was thrown away, as the operator wants it.
    Discarded,
    /// A client was refused: a session, a login, a sender, a recipient or a body.
    Rejected,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Received => "received",
            Kind::Delivered => "delivered",
            Kind::Deferred => "deferred",
            Kind::Bounced => "bounced",
            Kind::Expired => "expired",
            Kind::Discarded => "discarded",
            Kind::Rejected => "rejected",
        }
    }
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// When.
    pub at: UnixMillis,
    /// To which message; None for what never was one.
    pub id: Option<MessageId>,
    /// The message that a notification of ours is about.
    pub parent: Option<MessageId>,
    /// Its reverse path.
    pub sender: Option<&'a [u8]>,
    /// The recipients it happened to.
    pub recipients: &'a [&'a [u8]],
    /// Canonical bytes; 0 leaves it out.
    pub size: u64,
    /// The client, for a received message.
    pub client: Option<SocketAddr>,
    /// What it called itself.
    pub helo: Option<&'a str>,
    /// The account that sent it, or that a login named.
    pub account: Option<&'a str>,
    /// The message's parameters, or those of these recipients: names and texts; `metadata` is JSON already.
    pub parameters: &'a [(&'a str, &'a str)],
    /// The next hop: name, address and port.
    pub hop: Option<&'a str>,
    /// Version and cipher suite, where TLS was on.
    pub tls: Option<&'a str>,
    /// Its reply, or our own words; for what is rejected, ours to the client.
    pub reply: Option<&'a str>,
    /// The RFC 3463 code of that.
    pub enhanced: Option<(u8, u16, u16)>,
    /// Why it was rejected, in one word.
    pub reason: Option<&'a str>,
    /// Attempts so far; 0 leaves it out, but of what expired: that was never tried then.
    pub attempts: u16,
    /// From arrival to now, for what happens later.
    pub delay_ms: Option<u64>,
    /// When it is tried again, at the latest.
    pub next: Option<UnixMillis>,
    /// Records like this that were left out since the last one; 0 leaves it out.
    pub left_out: u64,
    /// It may have been told before: the process was killed soon after.
    pub again: bool,
}

impl<'a> Event<'a> {
    /// A record with what every kind has.
    pub fn new(
        kind: Kind,
        at: UnixMillis,
        id: MessageId,
        sender: &'a [u8],
        recipients: &'a [&'a [u8]],
    ) -> Event<'a> {
        Event { id: Some(id), sender: Some(sender), recipients, ..Event::of_nobody(kind, at) }
    }

    /// A record of what was no message yet.
    pub fn of_nobody(kind: Kind, at: UnixMillis) -> Event<'a> {
        Event {
            kind,
            at,
            id: None,
            parent: None,
            sender: None,
            recipients: &[],
            size: 0,
            client: None,
            helo: None,
            account: None,
            parameters: &[],
            hop: None,
            tls: None,
            reply: None,
            enhanced: None,
            reason: None,
            attempts: 0,
            delay_ms: None,
            next: None,
            left_out: 0,
            again: false,
        }
    }

    /// Appends the record as one line of JSON.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        self.at.write_iso(out);
        out.extend_from_slice(b"\",\"event\":\"");
        out.extend_from_slice(self.kind.word().as_bytes());
        out.push(b'"');
        for (name, id) in [("id", self.id), ("parent", self.parent)] {
            if let Some(id) = id {
                field(name, out);
                out.push(b'"');
                out.extend_from_slice(&id.to_text());
                out.push(b'"');
            }
        }
        if let Some(sender) = self.sender {
            field("sender", out);
            string(sender, out);
        }
        if self.id.is_some() || !self.recipients.is_empty() {
            self.encode_recipients(out);
        }
        if self.size > 0 {
            number("size", self.size, out);
        }
        if let Some(client) = self.client {
            // An address has no character that JSON would escape.
            out.extend_from_slice(b",\"client\":\"");
            let _ = write!(out, "{client}");
            out.push(b'"');
        }
        let words = [
            ("helo", self.helo),
            ("account", self.account),
            ("hop", self.hop),
            ("tls", self.tls),
            ("reply", self.reply),
            ("reason", self.reason),
        ];
        for (name, value) in words {
            if let Some(value) = value {
                field(name, out);
                string(value.as_bytes(), out);
            }
        }
        for (name, value) in self.parameters {
            field(name, out);
            if *name == "metadata" {
                out.extend_from_slice(value.as_bytes())
            } else {
                string(value.as_bytes(), out)
            }
        }
        if let Some((class, subject, detail)) = self.enhanced {
            field("enhanced", out);
            for (before, part) in [(b'"', class.into()), (b'.', subject), (b'.', detail)] {
                out.push(before);
                crate::time::write_decimal(part.into(), 1, out);
            }
            out.push(b'"');
        }
        self.encode_numbers(out);
        out.extend_from_slice(b"}\n");
    }

    fn encode_recipients(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"recipients\":[");
        for (place, recipient) in self.recipients.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            string(recipient, out);
        }
        out.push(b']');
    }

    fn encode_numbers(&self, out: &mut Vec<u8>) {
        if self.attempts > 0 || self.kind == Kind::Expired {
            number("attempts", u64::from(self.attempts), out);
        }
        if let Some(delay) = self.delay_ms {
            number("delay_ms", delay, out);
        }
        if let Some(next) = self.next {
            out.extend_from_slice(b",\"next\":\"");
            next.write_iso(out);
            out.push(b'"');
        }
        if self.left_out > 0 {
            number("left_out", self.left_out, out);
        }
        if self.again {
            out.extend_from_slice(b",\"again\":true");
        }
    }
}

fn field(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(name: &str, value: u64, out: &mut Vec<u8>) {
    field(name, out);
    crate::time::write_decimal(value, 1, out);
}

/// A JSON string of bytes nobody vouches for; what is not UTF-8 becomes U+FFFD.
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let plain = |byte: &u8| (0x20..0x7F).contains(byte) && *byte != b'"' && *byte != b'\\';
    if bytes.iter().all(plain) {
        out.extend_from_slice(bytes);
    } else {
        for character in String::from_utf8_lossy(bytes).chars() {
            match character {
                '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
                '\0'..='\x1F' | '\x7F' => {
                    out.extend_from_slice(format!("\\u{:04x}", character as u32).as_bytes())
                }
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    out.push(b'"');
}

/// Chunks of records between the shards and the log writer, first in, first out over all shards. Empty buffers go back the same way.
#[derive(Debug)]
pub struct Chunks {
    full: ArrayQueue<Chunk>,
    empty: ArrayQueue<Vec<u8>>,
}

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks::of(1)
    }
}

impl Chunks {
    /// Room for what so many shards have to say.
    pub fn of(shards: usize) -> Chunks {
        let most = limits::ACCOUNTING_QUEUE * shards.max(1);
        Chunks { full: ArrayQueue::new(most), empty: ArrayQueue::new(most) }
    }

    /// The writer takes a chunk.
    pub fn take(&self) -> Option<Chunk> {
        self.full.pop()
    }

    /// The writer gives its buffer back.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 {
            buffer.clear();
            let _ = self.empty.push(buffer);
        }
    }
}

/// A shard's end of the accounting.
#[derive(Debug)]
pub struct Journal {
    /// Of messages this shard received, and of what is no message.
    own: Piece,
    /// Of messages that other shards received.
    others: Piece,
    /// Such pieces that are full, and when they were: None is since the last turn.
    waiting: VecDeque<(Option<Instant>, Piece)>,
    chunks: Arc<Chunks>,
    dropped: u64,
}

/// Some records.
#[derive(Debug, Default)]
struct Piece {
    buffer: Vec<u8>,
    records: u64,
}

impl Journal {
    /// A journal that fills these chunks.
    pub fn new(chunks: Arc<Chunks>) -> Journal {
        let (own, others) = (Piece::default(), Piece::default());
        Journal { own, others, waiting: VecDeque::new(), chunks, dropped: 0 }
    }

    /// Adds a record of a message that this shard received, or of nobody's.
    pub fn record(&mut self, event: &Event<'_>) {
        event.encode(&mut self.own.buffer);
        self.own.records += 1;
        if self.own.buffer.len() >= limits::ACCOUNTING_CHUNK {
            self.flush();
        }
    }

    /// Adds records of [`Event::encode`] of messages that this shard received, and to each the notification that was made of it.
    pub fn record_encoded(&mut self, records: &[u8], notification: Option<MessageId>) {
        for record in records.split_inclusive(|byte| *byte == b'\n') {
            self.own.buffer.extend_from_slice(record.strip_suffix(b"}\n").unwrap_or(record));
            if let Some(id) = notification {
                field("notification", &mut self.own.buffer);
                self.own.buffer.push(b'"');
                self.own.buffer.extend_from_slice(&id.to_text());
                self.own.buffer.push(b'"');
            }
            self.own.buffer.extend_from_slice(b"}\n");
            self.own.records += 1;
        }
        if self.own.buffer.len() >= limits::ACCOUNTING_CHUNK {
            self.flush();
        }
    }

    /// Adds a record of a message that another shard received: it is held back until that shard has told so.
    pub fn record_of_another(&mut self, event: &Event<'_>) {
        event.encode(&mut self.others.buffer);
        self.others.records += 1;
        if self.others.buffer.len() >= limits::ACCOUNTING_CHUNK {
            self.hold(None);
        }
    }

    /// Passes on what was told of the shard's own messages.
    pub fn flush(&mut self) {
        let piece = self.exchange(|journal| &mut journal.own);
        self.pass_on(piece);
    }

    /// A few times a second, after [`Journal::flush`]: what was told of others' messages before `all` is passed on, where `all` is a
    /// time up to which every shard has flushed.
    pub fn turn(&mut self, now: Instant, all: Instant) {
        while self.waiting.front().is_some_and(|(at, _)| at.is_some_and(|at| at < all)) {
            let Some((_, piece)) = self.waiting.pop_front() else { break };
            self.pass_on(piece);
        }
        self.waiting.iter_mut().for_each(|(at, _)| *at = at.or(Some(now)));
        self.hold(Some(now));
    }

    /// Passes on everything: all shards have flushed for the last time.
    pub fn end(&mut self) {
        self.flush();
        self.hold(None);
        while let Some((_, piece)) = self.waiting.pop_front() {
            self.pass_on(piece);
        }
    }

    fn hold(&mut self, at: Option<Instant>) {
        let piece = self.exchange(|journal| &mut journal.others);
        if piece.buffer.is_empty() {
            return;
        }
        if self.waiting.len() < limits::ACCOUNTING_QUEUE {
            self.waiting.push_back((at, piece));
        } else {
            // A shard that does not flush hangs; its watchdog has more to say than a log.
            self.dropped += piece.records;
            self.chunks.give_back(piece.buffer);
        }
    }

    fn exchange(&mut self, which: fn(&mut Journal) -> &mut Piece) -> Piece {
        if which(self).buffer.is_empty() {
            return Piece::default();
        }
        let buffer = self.chunks.empty.pop().unwrap_or_default();
        std::mem::replace(which(self), Piece { buffer, records: 0 })
    }

    fn pass_on(&mut self, Piece { buffer, records }: Piece) {
        if buffer.is_empty() {
            return;
        }
        if let Err(chunk) = self.chunks.full.push(Chunk { lines: buffer, recorded: None }) {
            self.dropped += records;
            self.chunks.give_back(chunk.lines);
        }
    }

    /// Records dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId { lane: 1, sequence: 2, offset: 3 };

    #[test]
    fn records_are_json_whatever_is_in_them() {
        let nasty: &[u8] = b"a\"\\\x01\xff\r\n@x";
        let recipients: [&[u8]; 2] = [b"b@y", nasty];
        let event = Event {
            size: 10,
            client: Some("[::1]:25".parse().unwrap()),
            reply: Some("250 \u{e4} \"ok\""),
            enhanced: Some((2, 1, 50)),
            tls: Some("TLSv1.3 X"),
            parent: Some(MessageId { offset: 4, ..ID }),
            parameters: &[("tenant", "sh\"op"), ("metadata", "{\"a\": [1]}")],
            attempts: 2,
            delay_ms: Some(0),
            next: Some(UnixMillis(1_700_000_001_000)),
            ..Event::new(Kind::Deferred, UnixMillis(1_700_000_000_123), ID, nasty, &recipients)
        };
        let mut out = Vec::new();
        event.encode(&mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(value["event"], "deferred");
        assert_eq!(value["sender"], "a\"\\\u{1}\u{fffd}\r\n@x");
        assert_eq!(value["recipients"][0], "b@y");
        assert_eq!(value["reply"], "250 \u{e4} \"ok\"");
        assert_eq!((&value["tenant"], &value["metadata"]["a"][0]), (&"sh\"op".into(), &1.into()));
        assert_eq!((value["size"].as_u64(), value["delay_ms"].as_u64()), (Some(10), Some(0)));
        assert_eq!((&value["enhanced"], &value["tls"]), (&"2.1.50".into(), &"TLSv1.3 X".into()));
        assert_eq!(value["next"], "2023-11-14T22:13:21.000Z");
        assert_ne!(value["parent"], value["id"]);
    }

    #[test]
    fn a_record_names_the_notification_that_came_of_it() {
        let chunks = Arc::new(Chunks::default());
        let mut journal = Journal::new(chunks.clone());
        let mut records = Vec::new();
        for recipient in [&b"b@y"[..], b"c@\n}y"] {
            Event::new(Kind::Bounced, UnixMillis(0), ID, b"a@x", &[recipient]).encode(&mut records);
        }
        journal.record_encoded(&records, Some(MessageId { offset: 4, ..ID }));
        journal.record_encoded(&records, None);
        journal.record_encoded(b"", Some(ID));
        journal.flush();
        let text = String::from_utf8(chunks.take().unwrap().lines).unwrap();
        let values: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(values.len(), 4);
        let named: Vec<_> = values.iter().map(|value| value.get("notification").is_some()).collect();
        assert_eq!(named, [true, true, false, false]);
        assert_ne!(values[0]["notification"], values[0]["id"]);
        assert_eq!(values[1]["recipients"][0], "c@\n}y");
    }

    #[test]
    fn a_rejection_has_no_message() {
        let reply = Some("550 5.7.1 Relay access denied");
        let event = Event {
            reply,
            reason: Some("relay_denied"),
            left_out: 3,
            recipients: &[b"b@y"],
            ..Event::of_nobody(Kind::Rejected, UnixMillis(0))
        };
        let mut out = Vec::new();
        event.encode(&mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert!(value.get("id").is_none() && value.get("sender").is_none());
        assert_eq!((&value["reason"], &value["left_out"]), (&"relay_denied".into(), &3.into()));
        assert_eq!(value["recipients"][0], "b@y");
    }

    /// Two shards; the second delivers what the first received, and flushes more often.
    #[test]
    fn nothing_stands_before_its_received() {
        let chunks = Arc::new(Chunks::of(2));
        let (mut first, mut second) = (Journal::new(chunks.clone()), Journal::new(chunks.clone()));
        first.record(&Event::new(Kind::Received, UnixMillis(0), ID, b"a@x", &[b"b@y"]));
        second.record_of_another(&Event::new(Kind::Delivered, UnixMillis(0), ID, b"a@x", &[b"b@y"]));
        // What was told before 20 is passed on by all only then.
        for (now, all) in [(10, 5), (20, 5), (30, 9), (40, 10)] {
            second.flush();
            second.turn(Instant(now), Instant(all));
            assert!(chunks.take().is_none(), "at {now}");
        }
        first.flush();
        second.turn(Instant(50), Instant(45));
        for kind in ["received", "delivered"] {
            let text = String::from_utf8(chunks.take().unwrap().lines).unwrap();
            assert!(text.contains(kind), "{text}");
        }
        // What was told since the last turn is not taken for older than it is.
        let event = Event { reply: Some("x"), ..Event::new(Kind::Delivered, UnixMillis(0), ID, b"a@x", &[]) };
        while second.waiting.is_empty() {
            second.record_of_another(&event);
        }
        second.turn(Instant(60), Instant(59));
        assert!(chunks.take().is_none());
        second.record_of_another(&event);
        second.end();
        assert!(chunks.take().is_some() && chunks.take().is_some());
        assert_eq!((first.dropped(), second.dropped()), (0, 0));
    }

    #[test]
    fn a_writer_that_sleeps_costs_records_and_never_blocks() {
        let chunks = Arc::new(Chunks::default());
        let mut journal = Journal::new(chunks.clone());
        let event = Event::new(Kind::Received, UnixMillis(0), ID, b"a@x", &[b"b@y"]);
        for _ in 0..limits::ACCOUNTING_QUEUE + 3 {
            journal.record(&event);
            journal.flush();
        }
        assert_eq!(journal.dropped(), 3);
        let chunk = chunks.take().unwrap().lines;
        chunks.give_back(chunk);
        journal.record(&event);
        journal.flush();
        assert_eq!(journal.dropped(), 3);
    }
}
