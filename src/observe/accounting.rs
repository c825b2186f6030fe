//! Accounting: events ([`crate::observe::event`]) on their way from the shards, which encode them, to whoever writes them.
//!
//! A shard never waits for a log: when the writer is behind by [`limits::ACCOUNTING_QUEUE`] chunks a shard, records are dropped and counted.
//! Where a journal is kept, none of accepted mail is: what finds no room is held, and nothing new is begun until there is room.
//!
//! Nothing stands before the `received` of its message, though another shard may have delivered it: all shards fill one queue, and what is told
//! of outcomes is passed on only when every shard has passed on what it told before ([`EventQueue::turn`]). For a journal it is held until the outcome
//! is on the disk as well: a kill would have it happen again. A message pays nothing for that.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::id::{MessageId, Position};
use crate::limits;
use crate::observe::event::{self, Encoder, Event, Notice};
use crate::observe::journaled::{Chunk, Journaled, LaneWatermark, Readers};
use crate::time::{Instant, UnixMillis};

/// Chunks of records between the shards and the log writer, first in, first out over all shards. Empty buffers go back the same way.
#[derive(Debug)]
pub struct Chunks {
    full: ArrayQueue<Chunk>,
    empty: ArrayQueue<Vec<u8>>,
    room: Room,
}

/// What shards may hold of what they tell; a test makes it small to see it full.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes that are gathered before they are passed on.
    pub chunk: usize,
    /// Chunks on their way, for each shard.
    pub queue: usize,
    /// Bytes that one shard holds for a journal before it begins nothing new.
    pub held: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            chunk: limits::ACCOUNTING_CHUNK,
            queue: limits::ACCOUNTING_QUEUE,
            held: limits::ACCOUNTING_BEHIND,
        }
    }
}

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks::of(1, Room::default())
    }
}

impl Chunks {
    /// Room for what so many shards have to say.
    pub fn of(shards: usize, room: Room) -> Chunks {
        let shards = shards.max(1);
        let kept = limits::ACCOUNTING_KEPT.min(room.queue);
        Chunks { full: ArrayQueue::new(room.queue * shards), empty: ArrayQueue::new(kept * shards), room }
    }

    /// Whether so many parts of four and more are taken.
    pub fn is_taken(&self, quarters: usize) -> bool {
        self.full.len() * 4 > self.full.capacity() * quarters
    }

    /// The writer takes a chunk.
    pub fn take(&self) -> Option<Chunk> {
        self.full.pop()
    }

    /// Passes one on. An error: there is no room for it.
    pub fn pass(&self, chunk: Chunk) -> Result<(), Chunk> {
        self.full.push(chunk)
    }

    /// The writer gives its buffer back. What is more than a few is freed: a burst is no reason to keep them.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 {
            buffer.clear();
            let _ = self.empty.push(buffer);
        }
    }
}

/// Events of a shard, on their way to control.
#[derive(Debug)]
pub struct EventQueue {
    encoder: Encoder,
    /// Of messages that this shard received: they are on the disk.
    own: Piece,
    /// Of what became of messages.
    outcomes: Piece,
    /// Of nobody's mail.
    notices: Piece,
    /// Such pieces of outcomes that are full, and when they were: None is since the last turn.
    waiting: VecDeque<(Option<Instant>, Piece)>,
    /// What found no room.
    overflow: VecDeque<Chunk>,
    chunks: Arc<Chunks>,
    readers: Readers,
    dropped: u64,
    /// Bytes that wait, and of what found no room.
    held: usize,
    /// What was told before this is in the queue, or in the overflow.
    settled: Instant,
    /// What was told before this is in the queue.
    passed: Instant,
    vouchers: Vec<Voucher>,
}

/// What is vouched for of a lane.
#[derive(Debug)]
struct Voucher {
    lane: u16,
    /// What was said last.
    said: Option<Position>,
    /// What is to be said, when all that was told before this is in the queue.
    next: Option<(Instant, Position)>,
}

/// Some records.
#[derive(Debug, Default)]
struct Piece {
    buffer: Vec<u8>,
    records: u64,
}

impl EventQueue {
    /// One that fills these chunks, for these readers.
    pub fn new(chunks: Arc<Chunks>, encoder: Encoder, readers: Readers) -> EventQueue {
        let (own, outcomes, notices) = (Piece::default(), Piece::default(), Piece::default());
        EventQueue {
            encoder,
            own,
            outcomes,
            notices,
            waiting: VecDeque::new(),
            overflow: VecDeque::new(),
            chunks,
            readers,
            dropped: 0,
            held: 0,
            settled: Instant(0),
            passed: Instant(0),
            vouchers: Vec::new(),
        }
    }

    /// How far the journal is, if one is kept: then no record of accepted mail is dropped, and none of an outcome is passed on before that is
    /// on the disk.
    pub fn kept(&self) -> Option<&Arc<Journaled>> {
        if let Readers::Journal(journaled) = &self.readers { Some(journaled) } else { None }
    }

    /// Adds what happened to a message that this shard has on the disk.
    pub fn record(&mut self, at: UnixMillis, event: &Event<'_>) {
        if matches!(self.readers, Readers::Nobody) {
            return;
        }
        self.encoder.event(at, event, &mut self.own.buffer);
        self.own.records += 1;
        if self.own.buffer.len() >= self.chunks.room.chunk {
            self.flush_own();
        }
    }

    /// Adds what became of a message. It is held back until the shard that received it has told so; and, where a journal is kept, until the
    /// outcome is on the disk.
    pub fn record_outcome(&mut self, at: UnixMillis, event: &Event<'_>, received_here: bool) {
        match self.readers {
            Readers::Nobody => {}
            Readers::Lossy if received_here => self.record(at, event),
            Readers::Lossy | Readers::Journal(_) => {
                self.encoder.event(at, event, &mut self.outcomes.buffer);
                self.outcomes.records += 1;
                if self.outcomes.buffer.len() >= self.chunks.room.chunk {
                    self.hold(None);
                }
            }
        }
    }

    /// Adds what is of no message. These are the first to be dropped.
    pub fn notice(&mut self, at: UnixMillis, notice: &Notice<'_>) {
        if matches!(self.readers, Readers::Nobody) {
            return;
        }
        self.encoder.notice(at, notice, &mut self.notices.buffer);
        self.notices.records += 1;
        if self.notices.buffer.len() >= self.chunks.room.chunk {
            self.flush_notices();
        }
    }

    /// Adds one that somebody waits for, as an operator does: it is passed on at once, and not dropped for a journal. These are few.
    pub fn notice_at_once(&mut self, at: UnixMillis, notice: &Notice<'_>) {
        if matches!(self.readers, Readers::Nobody) {
            return;
        }
        let mut buffer = Vec::new();
        self.encoder.notice(at, notice, &mut buffer);
        self.pass_on(Piece { buffer, records: 1 });
    }

    /// The record of an event, for [`EventQueue::record_encoded`] of the shard of its message.
    pub fn encode(&mut self, at: UnixMillis, event: &Event<'_>, out: &mut Vec<u8>) {
        if !matches!(self.readers, Readers::Nobody) {
            self.encoder.event(at, event, out);
        }
    }

    /// Adds records of [`EventQueue::encode`] of messages that this shard received, and to each the notification that was made of it.
    pub fn record_encoded(&mut self, records: &[u8], notification: Option<MessageId>) {
        let piece = match self.readers {
            Readers::Nobody => return,
            Readers::Lossy => &mut self.own,
            Readers::Journal(_) => &mut self.outcomes,
        };
        for record in records.split_inclusive(|byte| *byte == b'\n') {
            piece.buffer.extend_from_slice(record.strip_suffix(b"}\n").unwrap_or(record));
            if let Some(id) = notification {
                event::message("notification", id, &mut piece.buffer);
            }
            piece.buffer.extend_from_slice(b"}\n");
            piece.records += 1;
        }
        if self.own.buffer.len() >= self.chunks.room.chunk {
            self.flush_own();
        }
        if self.outcomes.buffer.len() >= self.chunks.room.chunk {
            self.hold(None);
        }
    }

    /// Passes on what was told of the shard's own messages, and what found no room before. Whether all of it found room.
    pub fn flush(&mut self) -> bool {
        while let Some(chunk) = self.overflow.pop_front() {
            let bytes = chunk.lines.len();
            if let Err(chunk) = self.chunks.pass(chunk) {
                self.overflow.push_front(chunk);
                break;
            }
            self.held -= bytes;
        }
        // A journal that is slow is given whole chunks: many small ones would fill its queue.
        if self.kept().is_none() || !self.chunks.is_taken(1) {
            self.flush_own();
            self.flush_notices();
        }
        self.own.buffer.is_empty() && self.overflow.is_empty()
    }

    /// A few times a second, after [`EventQueue::flush`]: what was told of outcomes before `all` is passed on, where `all` is a time up to which
    /// every shard has flushed, and has on the disk what was handed to it. Returns the time up to which all that was told is passed on.
    pub fn turn(&mut self, now: Instant, all: Instant) -> Instant {
        while self.waiting.front().is_some_and(|(at, _)| at.is_some_and(|at| at < all)) {
            let Some((at, piece)) = self.waiting.pop_front() else { break };
            self.settled = at.unwrap_or(self.settled);
            self.held -= piece.buffer.len();
            self.pass_on(piece);
        }
        self.waiting.iter_mut().for_each(|(at, _)| *at = at.or(Some(now)));
        self.hold(Some(now));
        if self.waiting.is_empty() {
            self.settled = now;
        }
        // What is of the shard's own mail may be kept back as well.
        if self.overflow.is_empty() && self.own.buffer.is_empty() {
            self.passed = self.settled;
        }
        self.passed
    }

    /// After [`EventQueue::turn`]: all that is recorded in a lane of this shard's before `until` was told before now. Where `all` is a time up to which
    /// every shard has passed on all that it told, what was so before that is vouched for, behind it.
    pub fn vouch(&mut self, now: Instant, (lane, until): (u16, Position), all: Instant) {
        let place = self.vouchers.iter().position(|voucher| voucher.lane == lane);
        let place = place.unwrap_or_else(|| {
            self.vouchers.push(Voucher { lane, said: None, next: None });
            self.vouchers.len() - 1
        });
        let voucher = &mut self.vouchers[place];
        if let Some((_, until)) = voucher.next.take_if(|(at, _)| *at < all) {
            voucher.said = Some(until);
            self.push(Chunk { recorded: Some(LaneWatermark { lane, until }), ..Chunk::default() });
        }
        let voucher = &mut self.vouchers[place];
        if voucher.next.is_none() && voucher.said != Some(until) {
            voucher.next = Some((now, until));
        }
    }

    /// A lane that the journal knows nothing of: where it stands is vouched for at once, as nothing of it is recorded behind that yet.
    pub fn begin_lane(&mut self, lane: u16, until: Position) {
        self.vouchers.push(Voucher { lane, said: Some(until), next: None });
        self.push(Chunk { recorded: Some(LaneWatermark { lane, until }), ..Chunk::default() });
    }

    /// Whether the queue to the journal has no room for what is told now.
    pub fn is_stuck(&self) -> bool {
        !self.overflow.is_empty()
    }

    /// Whether nothing is left to be passed on.
    pub fn is_done(&self) -> bool {
        let pieces = [&self.own, &self.outcomes, &self.notices];
        pieces.iter().all(|piece| piece.buffer.is_empty())
            && self.waiting.is_empty()
            && self.overflow.is_empty()
            && self.vouchers.iter().all(|voucher| voucher.next.is_none())
    }

    /// Passes on everything: all shards have flushed for the last time.
    pub fn end(&mut self) {
        self.flush();
        self.hold(None);
        while let Some((_, piece)) = self.waiting.pop_front() {
            self.held -= piece.buffer.len();
            self.pass_on(piece);
        }
    }

    /// So much waits for a journal that nothing new is to be begun. What comes all the same is of transactions that began before, whose envelopes
    /// are in the bounds on clients' memory, and of attempts that have a credit.
    pub fn is_behind(&self) -> bool {
        self.held > self.chunks.room.held
    }

    fn flush_own(&mut self) {
        let piece = self.exchange(|events| &mut events.own);
        self.pass_on(piece);
    }

    fn flush_notices(&mut self) {
        let piece = self.exchange(|events| &mut events.notices);
        if self.kept().is_some() && self.chunks.is_taken(2) {
            self.drop(piece);
        } else if !piece.buffer.is_empty()
            && let Err(chunk) = self.chunks.pass(Chunk { lines: piece.buffer, ..Chunk::default() })
        {
            self.drop(Piece { buffer: chunk.lines, records: piece.records });
        }
    }

    fn drop(&mut self, piece: Piece) {
        self.dropped += piece.records;
        self.chunks.give_back(piece.buffer);
    }

    fn hold(&mut self, at: Option<Instant>) {
        let piece = self.exchange(|events| &mut events.outcomes);
        if piece.buffer.is_empty() {
            return;
        }
        // Of a journal's there are as many as attempts can be under way: each took a credit, which comes home when its outcome is on the disk.
        if self.kept().is_some() || self.waiting.len() < self.chunks.room.queue {
            self.held += piece.buffer.len();
            self.waiting.push_back((at, piece));
        } else {
            // A shard that does not flush hangs; its watchdog has more to say than a log.
            self.drop(piece);
        }
    }

    fn exchange(&mut self, which: fn(&mut EventQueue) -> &mut Piece) -> Piece {
        if which(self).buffer.is_empty() {
            return Piece::default();
        }
        // As large as it gets: a buffer that grows to it leaves holes of all sizes behind.
        let full = self.chunks.room.chunk + limits::ACCOUNTING_RECORD;
        let buffer = self.chunks.empty.pop().unwrap_or_else(|| Vec::with_capacity(full));
        std::mem::replace(which(self), Piece { buffer, records: 0 })
    }

    fn pass_on(&mut self, Piece { buffer, records }: Piece) {
        if buffer.is_empty() {
            return;
        }
        let chunk = Chunk { lines: buffer, ..Chunk::default() };
        if self.kept().is_some() {
            self.push(chunk);
        } else if let Err(chunk) = self.chunks.pass(chunk) {
            self.drop(Piece { buffer: chunk.lines, records });
        }
    }

    /// Behind all that was passed on before.
    fn push(&mut self, chunk: Chunk) {
        let left = if self.overflow.is_empty() { self.chunks.pass(chunk).err() } else { Some(chunk) };
        self.held += left.as_ref().map_or(0, |chunk| chunk.lines.len());
        self.overflow.extend(left);
    }

    /// A defect that the simulator plants: what found no room is dropped.
    pub fn plant_no_overflow(&mut self) {
        while let Some(chunk) = self.overflow.pop_front() {
            self.held -= chunk.lines.len();
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
    use crate::observe::event::{Admin, Arrival, Attempt, Mail};

    const ID: MessageId = MessageId { lane: 1, sequence: 2, offset: 3 };

    const AT: UnixMillis = UnixMillis(1_700_000_000_123);

    fn queue(chunks: &Arc<Chunks>) -> EventQueue {
        EventQueue::new(chunks.clone(), Encoder::new(1, AT, "0"), Readers::Lossy)
    }

    fn mail<'a>(recipients: &'a [&'a [u8]]) -> Mail<'a> {
        Mail::new(ID, b"a@x", (0, recipients))
    }

    #[test]
    fn a_record_names_the_notification_that_came_of_it() {
        let chunks = Arc::new(Chunks::default());
        let mut events = queue(&chunks);
        let mut records = Vec::new();
        for recipient in [&b"b@y"[..], b"c@\n}y"] {
            let recipients = [recipient];
            let event = Event::Bounced(mail(&recipients), Attempt::default());
            events.encode(AT, &event, &mut records);
        }
        events.record_encoded(&records, Some(MessageId { offset: 4, ..ID }));
        events.record_encoded(&records, None);
        events.record_encoded(b"", Some(ID));
        events.flush();
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
        let chunks = Arc::new(Chunks::of(2, Room::default()));
        let (mut first, mut second) = (queue(&chunks), queue(&chunks));
        first.record(AT, &Event::Received(mail(&[b"b@y"]), Arrival::default()));
        second.record_outcome(AT, &Event::Delivered(mail(&[b"b@y"]), Attempt::default()), false);
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
            second.record_outcome(AT, &event, false);
        }
        second.turn(Instant(60), Instant(59));
        assert!(chunks.take().is_none());
        second.record_outcome(AT, &event, false);
        second.end();
        assert!(chunks.take().is_some() && chunks.take().is_some());
        assert_eq!((first.dropped(), second.dropped()), (0, 0));
    }

    #[test]
    fn a_writer_that_sleeps_costs_records_and_never_blocks() {
        let chunks = Arc::new(Chunks::default());
        let mut events = queue(&chunks);
        let recipients: [&[u8]; 1] = [b"b@y"];
        let event = Event::Received(mail(&recipients), Arrival::default());
        for _ in 0..limits::ACCOUNTING_QUEUE + 3 {
            events.record(AT, &event);
            events.flush();
        }
        assert_eq!(events.dropped(), 3);
        let chunk = chunks.take().unwrap().lines;
        chunks.give_back(chunk);
        events.record(AT, &event);
        events.flush();
        assert_eq!(events.dropped(), 3);
    }

    fn kept() -> (Arc<Chunks>, EventQueue) {
        let room = Room { chunk: 300, queue: 2, held: 400 };
        let chunks = Arc::new(Chunks::of(1, room));
        let journaled = Arc::new(Journaled::new(2, |_| None));
        (chunks.clone(), EventQueue::new(chunks, Encoder::new(1, AT, "0"), Readers::Journal(journaled)))
    }

    fn texts(chunks: &Chunks) -> String {
        let chunks = std::iter::from_fn(|| chunks.take());
        chunks
            .map(|chunk| {
                String::from_utf8(chunk.lines).unwrap() + if chunk.recorded.is_some() { "!" } else { "" }
            })
            .collect()
    }

    /// What became of a message goes out when it is on the disk, and what is recorded is vouched for behind that.
    #[test]
    fn what_is_recorded_is_vouched_for_behind_all_that_was_told() {
        let (chunks, mut events) = kept();
        events.record_outcome(AT, &Event::Delivered(mail(&[b"b@y"]), Attempt::default()), true);
        let end = Position::new(2, 4096);
        let mut turn = |now, all, passed| {
            assert!(events.flush());
            let own = events.turn(Instant(now), Instant(all));
            events.vouch(Instant(now), (1, end), Instant(passed));
            own
        };
        assert_eq!(turn(10, 5, 5), Instant(0));
        assert_eq!(turn(20, 10, 10), Instant(0), "not on the disk: only what was handed in before 10 is");
        assert!(chunks.take().is_none());
        assert_eq!(turn(30, 11, 10), Instant(30));
        assert!(
            chunks.take().is_some_and(|chunk| chunk.recorded.is_none()),
            "no shard has passed all on to 10"
        );
        assert_eq!(turn(40, 40, 30), Instant(40));
        assert_eq!(
            chunks.take().and_then(|chunk| chunk.recorded),
            Some(LaneWatermark { lane: 1, until: end })
        );
        assert_eq!(turn(50, 50, 50), Instant(50));
        assert!(chunks.take().is_none() && events.is_done(), "once is enough");
    }

    #[test]
    fn nothing_that_happened_to_mail_is_dropped_for_a_journal() {
        let (chunks, mut events) = kept();
        let refusal = Notice::Admin(Admin::Reload { by: "x", changed: &[] });
        let recipients: Vec<String> = (0..40).map(|number| format!("r{number}@y")).collect();
        for recipient in &recipients {
            let recipients = [recipient.as_bytes()];
            events.record(AT, &Event::Received(mail(&recipients), Arrival::default()));
            events.notice(AT, &refusal);
        }
        events.vouch(Instant(10), (1, Position(9)), Instant(0));
        assert!(events.is_behind() && !events.flush() && events.turn(Instant(10), Instant(9)) < Instant(10));
        events.vouch(Instant(20), (1, Position(9)), Instant(20));
        let mut told = String::new();
        for now in 30..60 {
            told += &texts(&chunks);
            events.flush();
            events.turn(Instant(now), Instant(now));
        }
        told += &texts(&chunks);
        let places: Vec<_> =
            recipients.iter().map(|name| told.find(&format!("\"{name}\"")).unwrap()).collect();
        assert!(
            places.is_sorted() && told.ends_with('!'),
            "in order, and vouched for behind all of it: {told}"
        );
        assert!(events.is_done() && !events.is_behind() && events.dropped() > 0, "notices are dropped");
    }

    #[test]
    fn what_somebody_waits_for_is_passed_on_at_once_and_not_dropped() {
        let (chunks, mut events) = kept();
        let done = Notice::Admin(Admin::Reload { by: "x", changed: &[] });
        (0..5).for_each(|_| events.notice_at_once(AT, &done));
        assert_eq!(texts(&chunks).lines().count(), 2, "all that there is room for");
        events.flush();
        assert_eq!(texts(&chunks).lines().count(), 2);
        events.flush();
        assert_eq!((texts(&chunks).lines().count(), events.dropped()), (1, 0));
    }

    #[test]
    fn what_nobody_reads_is_not_written() {
        let chunks = Arc::new(Chunks::default());
        let mut events = EventQueue::new(chunks.clone(), Encoder::new(1, AT, "0"), Readers::Nobody);
        let recipients: [&[u8]; 1] = [b"b@y"];
        let event = Event::Received(mail(&recipients), Arrival::default());
        events.record(AT, &event);
        events.record_outcome(AT, &event, true);
        events.record_encoded(b"{}\n", None);
        events.end();
        assert!(chunks.take().is_none() && events.dropped() == 0);
    }
}
