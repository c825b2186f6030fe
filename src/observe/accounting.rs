//! Accounting: one JSON line for each thing that happens to a message, encoded on the shard, written elsewhere.
//!
//! A shard never waits for the log: when the writer is behind by [`limits::ACCOUNTING_QUEUE`] chunks, records are dropped and
//! counted.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::limits;
use crate::spool::MessageId;
use crate::time::UnixMillis;

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
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Received => "received",
            Kind::Delivered => "delivered",
            Kind::Deferred => "deferred",
            Kind::Bounced => "bounced",
            Kind::Expired => "expired",
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
    /// To which message.
    pub id: MessageId,
    /// Its reverse path.
    pub sender: &'a [u8],
    /// The recipients it happened to.
    pub recipients: &'a [&'a [u8]],
    /// Canonical bytes; 0 leaves it out.
    pub size: u64,
    /// The client, for a received message.
    pub client: Option<SocketAddr>,
    /// The account that sent it.
    pub account: Option<&'a str>,
    /// The next hop: name, address and port.
    pub hop: Option<&'a str>,
    /// Its reply, or our own words.
    pub reply: Option<&'a str>,
    /// Attempts so far; 0 leaves it out.
    pub attempts: u16,
    /// From arrival to now, for what happens later.
    pub delay_ms: Option<u64>,
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
        Event {
            kind,
            at,
            id,
            sender,
            recipients,
            size: 0,
            client: None,
            account: None,
            hop: None,
            reply: None,
            attempts: 0,
            delay_ms: None,
        }
    }

    /// Appends the record as one line of JSON.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        self.at.write_iso(out);
        out.extend_from_slice(b"\",\"event\":\"");
        out.extend_from_slice(self.kind.word().as_bytes());
        out.extend_from_slice(b"\",\"id\":\"");
        out.extend_from_slice(&self.id.to_text());
        out.extend_from_slice(b"\",\"sender\":");
        string(self.sender, out);
        out.extend_from_slice(b",\"recipients\":[");
        for (place, recipient) in self.recipients.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            string(recipient, out);
        }
        out.push(b']');
        if self.size > 0 {
            number("size", self.size, out);
        }
        if let Some(client) = self.client {
            // An address has no character that JSON would escape.
            out.extend_from_slice(b",\"client\":\"");
            let _ = write!(out, "{client}");
            out.push(b'"');
        }
        for (name, value) in [("account", self.account), ("hop", self.hop), ("reply", self.reply)] {
            if let Some(value) = value {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                string(value.as_bytes(), out);
            }
        }
        if self.attempts > 0 {
            number("attempts", u64::from(self.attempts), out);
        }
        if let Some(delay) = self.delay_ms {
            number("delay_ms", delay, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn number(name: &str, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
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

/// Chunks of records between a shard and the log writer. Empty buffers go back the same way.
#[derive(Debug)]
pub struct Chunks {
    full: ArrayQueue<Vec<u8>>,
    empty: ArrayQueue<Vec<u8>>,
}

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks {
            full: ArrayQueue::new(limits::ACCOUNTING_QUEUE),
            empty: ArrayQueue::new(limits::ACCOUNTING_QUEUE),
        }
    }
}

impl Chunks {
    /// The writer takes a chunk.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.full.pop()
    }

    /// The writer gives its buffer back.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let _ = self.empty.push(buffer);
    }
}

/// A shard's end of the accounting.
#[derive(Debug)]
pub struct Journal {
    buffer: Vec<u8>,
    records: u64,
    chunks: Arc<Chunks>,
    dropped: u64,
}

impl Journal {
    /// A journal that fills these chunks.
    pub fn new(chunks: Arc<Chunks>) -> Journal {
        Journal { buffer: Vec::new(), records: 0, chunks, dropped: 0 }
    }

    /// Adds a record.
    pub fn record(&mut self, event: &Event<'_>) {
        event.encode(&mut self.buffer);
        self.records += 1;
        if self.buffer.len() >= limits::ACCOUNTING_CHUNK {
            self.flush();
        }
    }

    /// Passes on what there is.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let next = self.chunks.empty.pop().unwrap_or_default();
        let chunk = std::mem::replace(&mut self.buffer, next);
        let records = std::mem::take(&mut self.records);
        if let Err(chunk) = self.chunks.full.push(chunk) {
            self.dropped += records;
            self.chunks.give_back(chunk);
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
            attempts: 2,
            delay_ms: Some(0),
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
        assert_eq!((value["size"].as_u64(), value["delay_ms"].as_u64()), (Some(10), Some(0)));
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
        let chunk = chunks.take().unwrap();
        chunks.give_back(chunk);
        journal.record(&event);
        journal.flush();
        assert_eq!(journal.dropped(), 3);
    }
}
