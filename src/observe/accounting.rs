//! Accounting: events ([`crate::observe::event`]) on their way from the shards, which encode them, to whoever writes them.
//!
//! A shard never waits for the log: when the writer is behind by [`limits::ACCOUNTING_QUEUE`] chunks a shard, records are dropped
//! and counted.
//!
//! In the file nothing stands before the `received` of its message, though another shard may have delivered it: all shards fill
//! one queue, and what one tells of a message that another received is passed on only when every shard has passed on what it told
//! before ([`Journal::turn`]). A message pays nothing for that.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::id::MessageId;
use crate::limits;
use crate::observe::event::{self, Encoder, Event, Notice};
use crate::observe::journaled::Chunk;
use crate::time::{Instant, UnixMillis};

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

    /// Adds lines from beside the shards. False: there is no room, and they are lost.
    pub fn pass_on(&self, lines: Vec<u8>) -> bool {
        self.full.push(Chunk { lines, recorded: None }).is_ok()
    }

    /// The writer takes a chunk.
    pub fn take(&self) -> Option<Chunk> {
        self.full.pop()
    }

    /// Passes one on. An error: there is no room for it.
    pub fn pass(&self, chunk: Chunk) -> Result<(), Chunk> {
        self.full.push(chunk)
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
    encoder: Encoder,
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
    pub fn new(chunks: Arc<Chunks>, encoder: Encoder) -> Journal {
        let (own, others) = (Piece::default(), Piece::default());
        Journal { encoder, own, others, waiting: VecDeque::new(), chunks, dropped: 0 }
    }

    /// Adds what happened now to a message that this shard received.
    pub fn record(&mut self, at: UnixMillis, event: &Event<'_>) {
        self.encoder.event(at, event, &mut self.own.buffer);
        self.recorded();
    }

    /// Adds what is of no message.
    pub fn notice(&mut self, at: UnixMillis, notice: &Notice<'_>) {
        self.encoder.notice(at, notice, &mut self.own.buffer);
        self.recorded();
    }

    fn recorded(&mut self) {
        self.own.records += 1;
        if self.own.buffer.len() >= limits::ACCOUNTING_CHUNK {
            self.flush();
        }
    }

    /// The record of an event, for [`Journal::record_encoded`] of the shard of its message.
    pub fn encode(&mut self, at: UnixMillis, event: &Event<'_>, out: &mut Vec<u8>) {
        self.encoder.event(at, event, out);
    }

    /// Adds records of [`Journal::encode`] of messages that this shard received, and to each the notification that was made of it.
    pub fn record_encoded(&mut self, records: &[u8], notification: Option<MessageId>) {
        for record in records.split_inclusive(|byte| *byte == b'\n') {
            self.own.buffer.extend_from_slice(record.strip_suffix(b"}\n").unwrap_or(record));
            if let Some(id) = notification {
                event::message("notification", id, &mut self.own.buffer);
            }
            self.own.buffer.extend_from_slice(b"}\n");
            self.own.records += 1;
        }
        if self.own.buffer.len() >= limits::ACCOUNTING_CHUNK {
            self.flush();
        }
    }

    /// Adds what happened now to a message that another shard received: it is held back until that shard has told so.
    pub fn record_of_another(&mut self, at: UnixMillis, event: &Event<'_>) {
        self.encoder.event(at, event, &mut self.others.buffer);
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
    use crate::observe::event::{Arrival, Attempt, Mail};

    const ID: MessageId = MessageId { lane: 1, sequence: 2, offset: 3 };

    const AT: UnixMillis = UnixMillis(1_700_000_000_123);

    fn journal(chunks: &Arc<Chunks>) -> Journal {
        Journal::new(chunks.clone(), Encoder::new(1, AT, "0"))
    }

    fn mail<'a>(recipients: &'a [&'a [u8]]) -> Mail<'a> {
        Mail::new(ID, b"a@x", (0, recipients))
    }

    #[test]
    fn a_record_names_the_notification_that_came_of_it() {
        let chunks = Arc::new(Chunks::default());
        let mut journal = journal(&chunks);
        let mut records = Vec::new();
        for recipient in [&b"b@y"[..], b"c@\n}y"] {
            let recipients = [recipient];
            let event = Event::Bounced(mail(&recipients), Attempt::default());
            journal.encode(AT, &event, &mut records);
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

    /// Two shards; the second delivers what the first received, and flushes more often.
    #[test]
    fn nothing_stands_before_its_received() {
        let chunks = Arc::new(Chunks::of(2));
        let (mut first, mut second) = (journal(&chunks), journal(&chunks));
        first.record(AT, &Event::Received(mail(&[b"b@y"]), Arrival::default()));
        second.record_of_another(AT, &Event::Delivered(mail(&[b"b@y"]), Attempt::default()));
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
        let event = Event::Delivered(mail(&[]), Attempt { reply: "x", ..Attempt::default() });
        while second.waiting.is_empty() {
            second.record_of_another(AT, &event);
        }
        second.turn(Instant(60), Instant(59));
        assert!(chunks.take().is_none());
        second.record_of_another(AT, &event);
        second.end();
        assert!(chunks.take().is_some() && chunks.take().is_some());
        assert_eq!((first.dropped(), second.dropped()), (0, 0));
    }

    #[test]
    fn a_writer_that_sleeps_costs_records_and_never_blocks() {
        let chunks = Arc::new(Chunks::default());
        let mut journal = journal(&chunks);
        let recipients: [&[u8]; 1] = [b"b@y"];
        let event = Event::Received(mail(&recipients), Arrival::default());
        for _ in 0..limits::ACCOUNTING_QUEUE + 3 {
            journal.record(AT, &event);
            journal.flush();
        }
        assert_eq!(journal.dropped(), 3);
        let chunk = chunks.take().unwrap().lines;
        chunks.give_back(chunk);
        journal.record(AT, &event);
        journal.flush();
        assert_eq!(journal.dropped(), 3);
    }
}
