//! One lane: its segments, what is live in them, and the commits that change that.
//!
//! The driver owns the files. Call order: [`Lane::begin`] lays out a commit; append its parts, sync, then [`Lane::done`] with the
//! proof, or [`Lane::failed`]. One commit at a time. Between commits: [`Lane::wants_segment`] → create →
//! [`Lane::segment_created`]; [`Lane::next_to_free`] → write the block, sync → [`Lane::freed`]. A compaction is called as
//! [`crate::spool::compact`] says.

use std::collections::{BTreeSet, VecDeque};

use crate::id::{Durable, Location, MessageId, Position};
use crate::limits;
use crate::runtime::Synced;
use crate::spool::batch::{
    self, Batch, ClientItem, CommitBuffers, Item, Moved, Names, NewMessage, Outcome, RecordPlace, Snapshot,
    Tickets,
};
use crate::spool::compact::{self, Candidate, Compaction};
use crate::spool::index::{self, Entry, Index, LiveRange, Replies};
use crate::spool::record::{self, Extent, RecordKind};
use crate::spool::segment;
use crate::spool::segments::Segments;
pub use crate::spool::segments::Shape;

/// The state of one lane.
#[derive(Debug)]
pub struct Lane {
    segments: Segments,
    index: Index,
    replies: Replies,
    compaction: Compaction,
    /// Memory of the next commit.
    spare: CommitBuffers,
}

/// What [`Lane::begin`] found.
#[derive(Debug)]
pub enum Begin<T: Tickets = ()> {
    /// Write this.
    Commit(Batch<T>),
    /// No segment is left for these: tell the clients; then begin again.
    Refused(Vec<ClientItem<T>>),
    /// No segment is left for these, and one is being made: they wait for that; begin again with the others.
    Held(Vec<ClientItem<T>>),
    /// Outcomes wait and even the reserve is used up: begin again when a segment was created or freed.
    Stalled,
    /// The queue is empty.
    Nothing,
}

/// A message that is on stable storage now.
#[derive(Debug)]
pub struct StoredMessage {
    /// Its id; the 250 is made from this.
    pub id: Durable<MessageId>,
    /// Where it lies.
    pub location: Location,
    /// Its entry in the index.
    pub key: u32,
    /// What was stored.
    pub message: NewMessage,
}

/// An item that is on stable storage now, and who waits for that.
#[derive(Debug)]
pub enum DurableItem<T: Tickets = ()> {
    /// A client's message.
    Message(StoredMessage, T::Message),
    /// A message of the relay's own.
    Own(StoredMessage, T::Notification),
    /// A piece of a body; it stays until [`Lane::drop_chunks`] or the end of its message.
    Chunk(Durable<Extent>, T::Chunk),
    /// The same of a message that is to move.
    Piece(Durable<Extent>, T::Piece),
    /// An outcome.
    Outcome {
        /// What it said.
        outcome: Outcome,
        /// Recipients that are settled for good by it.
        settled: u16,
        /// Who waits.
        ticket: T::Outcome,
    },
    /// A snapshot.
    Snapshot,
    /// A stored message lies in a new place, or was settled before it could move. The old place stays readable
    /// until [`Lane::left`].
    Moved {
        /// Its entry in the index.
        key: u32,
        /// Where it lies now, and the bytes that were written; None if it was settled meanwhile.
        to: Option<(Location, u64)>,
        /// Who waits.
        ticket: T::Move,
    },
}

impl Lane {
    /// A lane without segments.
    pub fn new(shape: Shape) -> Lane {
        Lane::found(Segments::new(shape), Index::default(), Replies::default())
    }

    /// What a start found.
    pub(in crate::spool) fn found(segments: Segments, index: Index, replies: Replies) -> Lane {
        Lane { segments, index, replies, compaction: Compaction::default(), spare: CommitBuffers::default() }
    }

    /// Its files may have so many bytes, those kept aside included; a few it has in any case ([`limits::SEGMENTS_LEAST`]).
    pub fn limit(&mut self, bytes_max: u64) {
        self.segments.limit(bytes_max);
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.segments.shape().lane
    }

    /// Live messages.
    pub fn messages(&self) -> usize {
        self.index.len()
    }

    /// Segments that exist, and those of them that are free.
    pub fn segments(&self) -> (usize, usize) {
        self.segments.count()
    }

    /// A live message.
    pub fn entry(&self, key: u32) -> Option<&Entry> {
        self.index.get(key)
    }

    /// The id of a live message, without reading it.
    pub fn id(&self, key: u32) -> Option<MessageId> {
        let (sequence, offset) = self.segments.origin(self.index.get(key)?);
        Some(MessageId { lane: self.segments.shape().origin.lane, sequence, offset })
    }

    /// The node whose ids its messages have.
    pub fn born(&self) -> u64 {
        self.segments.shape().origin.node
    }

    /// Where all that is recorded in it ends.
    pub fn position(&self) -> Position {
        self.segments.position()
    }

    /// A journal is kept, and has what is recorded before this: no segment is freed sooner. Whether one that waited for that may be free now.
    pub fn set_journaled(&mut self, until: Position) -> bool {
        self.segments.set_journaled(until)
    }

    /// Whether a segment would be free, were it not for the journal.
    pub fn awaits_journal(&self) -> bool {
        self.segments.awaits_journal()
    }

    /// Keys of live messages are below this.
    pub fn keys(&self) -> u32 {
        self.index.places()
    }

    /// All live messages: key and entry.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.index.iter()
    }

    /// The text of a last reply.
    pub fn reply(&self, key: u16) -> &str {
        self.replies.text(key)
    }

    /// What was said last of a range, and the words of who holds it, if an operator does.
    pub fn said(&self, range: &LiveRange) -> (&str, Option<&str>) {
        (range.said(&self.replies), range.held_by(&self.replies))
    }

    /// The salt and sequence number of a segment, to read its records with.
    pub fn segment(&self, slot: u16) -> Option<(u64, u32)> {
        self.segments.get(slot).map(|slot| (slot.salt, slot.sequence))
    }

    /// Whether there is a segment to go on in when the one that is opened first is full, or no more are to be had.
    pub fn is_stocked(&self) -> bool {
        self.segments.is_stocked()
    }

    /// Bytes that its files have or will have whatever it is limited to, and those of them that are kept aside.
    pub fn bytes_least(&self) -> (u64, u64) {
        self.segments.bytes_least()
    }

    /// Bytes of its files, those kept aside and those being made included.
    pub fn bytes(&self) -> u64 {
        self.segments.bytes()
    }

    /// Bytes of all that is live.
    pub fn live_bytes(&self) -> u64 {
        self.segments.live_bytes()
    }

    /// Bytes of the segments that are full and matter to anyone.
    pub fn sealed_bytes(&self) -> u64 {
        self.segments.sealed_bytes()
    }

    /// Whether it has all the segments it may have, and not because one cannot be made.
    pub fn is_bounded(&self) -> bool {
        self.segments.is_bounded()
    }

    /// Whether new mail fits without touching the reserve, or will in a moment.
    pub fn may_accept(&self) -> bool {
        self.segments.may_accept()
    }

    /// A file to be created, if the pool is low and the bound allows it. Marks it as under way.
    pub fn wants_segment(&mut self) -> Option<u16> {
        self.segments.wanted()
    }

    /// The file asked for by [`Lane::wants_segment`] could not be made; it is not asked for again until
    /// [`Lane::segment_created`] was told too.
    pub fn segment_failed(&mut self) {
        self.segments.not_made();
    }

    /// A file asked for by [`Lane::wants_segment`] exists, or could not be made.
    pub fn segment_created(&mut self, slot: u16, made: bool) {
        self.segments.made(slot, made);
    }

    /// A file of that name exists that nobody knows: it is left alone, and the next one is asked for under another name.
    pub fn segment_taken(&mut self, slot: u16) {
        self.segments.taken(slot);
    }

    /// Lays out the next commit from the front of `queue`. `salt` is fresh and random; it is used if a segment begins.
    pub fn begin<T: Tickets>(&mut self, queue: &mut VecDeque<Item<T>>, salt: u64) -> Begin<T> {
        let Some(first) = queue.front() else { return Begin::Nothing };
        let (_, bound) = batch::together(queue).unwrap_or_default();
        let need = bound + segment::COMMIT_HEADER + 2 * limits::BLOCK as usize;
        let mut header = None;
        if self.segments.room() < need {
            let left = if first.may_use_reserve() { 0 } else { limits::SEGMENTS_RESERVED };
            if self.segments.free() <= left {
                return self.refuse(queue);
            }
            header = self.segments.open(salt);
        }
        let Some(target) = self.segments.target() else { return Begin::Stalled };
        let spare = std::mem::take(&mut self.spare);
        Begin::Commit(batch::build(queue, target, self, header, spare))
    }

    /// Whether nothing on the disk says yet that the last commit was synced.
    pub fn is_unvouched(&self) -> bool {
        self.segments.is_unvouched()
    }

    /// A commit of nothing, which vouches for the one before; `clean`: the node stops, and nothing is under way. It goes like one of
    /// [`Lane::begin`]. None: it would say nothing. `salt` is as there.
    pub fn close<T: Tickets>(&mut self, clean: bool, salt: u64) -> Option<Batch<T>> {
        let mut header = None;
        if !self.segments.has_open() {
            if !clean || self.index.is_empty() {
                return None;
            }
            header = Some(self.segments.open(salt)?);
        } else if !self.segments.is_unvouched() && !clean {
            return None;
        }
        let target = self.segments.target().filter(|target| target.room >= limits::BLOCK as usize)?;
        Some(batch::closing(target, header, clean, std::mem::take(&mut self.spare)))
    }

    fn refuse<T: Tickets>(&self, queue: &mut VecDeque<Item<T>>) -> Begin<T> {
        let mut refused = Vec::new();
        for _ in 0..queue.len() {
            let Some(item) = queue.pop_front() else { break };
            match item.unless_incoming() {
                Ok(item) => queue.push_back(item),
                Err(incoming) => refused.push(incoming),
            }
        }
        if refused.is_empty() {
            Begin::Stalled
        } else if self.segments.is_growing() {
            Begin::Held(refused)
        } else {
            Begin::Refused(refused)
        }
    }

    /// The commit is synced: everything in it is durable now.
    pub fn done<T: Tickets>(
        &mut self,
        batch: Batch<T>,
        _proof: Synced,
        mut each: impl FnMut(&mut Lane, DurableItem<T>),
    ) {
        let (slot, sequence) = (batch.slot, batch.sequence);
        let (end, items, spare) = batch.into_parts();
        self.segments.committed(end, items.is_empty());
        self.spare = spare;
        for (item, place) in items {
            let done = match item {
                Item::Message(message, ticket) => {
                    DurableItem::Message(self.message_done(slot, sequence, place, message), ticket)
                }
                Item::Own(message, ticket) => {
                    DurableItem::Own(self.message_done(slot, sequence, place, message), ticket)
                }
                Item::Chunk(_, ticket) => DurableItem::Chunk(self.chunk_done(slot, place), ticket),
                Item::Piece(_, ticket) => DurableItem::Piece(self.chunk_done(slot, place), ticket),
                Item::Move(moved, ticket) => {
                    let Lane { segments, index, compaction, .. } = self;
                    let to = compaction.moved(segments, index, (slot, place), &moved);
                    DurableItem::Moved { key: moved.key, to, ticket }
                }
                Item::Outcome(outcome, ticket) => {
                    let settled = self.outcome_done(slot, &outcome);
                    DurableItem::Outcome { outcome, settled, ticket }
                }
                Item::Snapshot(of) => {
                    self.segments.snapshot_done(slot, of.of(), place.length > 0);
                    DurableItem::Snapshot
                }
            };
            each(self, done);
        }
    }

    fn chunk_done(&mut self, slot: u16, place: RecordPlace) -> Durable<Extent> {
        let extent = place.extent.expect("a piece of a body is written with its record");
        self.segments.pin(slot, extent.length);
        Durable::mint(extent)
    }

    fn message_done(
        &mut self,
        slot: u16,
        sequence: u32,
        place: RecordPlace,
        message: NewMessage,
    ) -> StoredMessage {
        // Each stored chunk pinned its segment; from here on the message does, once for each segment.
        self.drop_chunks(&message.chunks);
        let extents = message.chunks.iter().copied().chain(place.extent);
        let (bytes, elsewhere) = index::parts(slot, place.length, extents);
        let total = u16::try_from(message.envelope.recipients.len()).expect("recipients are bounded");
        let offset = place.offset;
        let mut entry = Entry::new(slot, offset, total, bytes, elsewhere);
        if let Some(begun) = record::begun(&message.envelope) {
            entry.apply(0, total, &begun, &mut self.replies);
        }
        entry.parts().for_each(|(slot, bytes)| self.segments.pin(slot, bytes));
        let key = self.index.insert(entry);
        let lane = self.segments.shape().lane;
        StoredMessage {
            id: Durable::mint(MessageId { lane, sequence, offset }),
            location: Location { lane, slot, offset },
            key,
            message,
        }
    }

    /// How many recipients are settled for good by it.
    fn outcome_done(&mut self, slot: u16, outcome: &Outcome) -> u16 {
        let entry = self.index.get_mut(outcome.key).filter(|entry| entry.is_told(outcome.location));
        let Some(entry) = entry else { return 0 };
        let home = entry.slot;
        let settled = entry.apply(outcome.first, outcome.count, &outcome.disposition, &mut self.replies);
        let dead = entry.is_dead();
        self.segments.tells_about(slot, home);
        if dead {
            self.bury(outcome.key);
        }
        settled
    }

    fn bury(&mut self, key: u32) {
        if let Some(mut entry) = self.index.remove(key) {
            entry.forget(&mut self.replies);
            self.segments.settled(entry.slot, entry.offset);
            entry.parts().for_each(|(slot, bytes)| self.segments.unpin(slot, bytes));
        }
    }

    /// Chunks of an upload that was given up.
    pub fn drop_chunks(&mut self, chunks: &[Extent]) {
        for chunk in chunks {
            self.segments.unpin(chunk.slot, chunk.length);
        }
    }

    /// The write or the sync failed: nothing of the batch counts, its segment is never touched again. The items come back;
    /// outcomes are to be queued again, messages and chunks to be refused.
    pub fn failed<T: Tickets>(&mut self, batch: Batch<T>) -> Vec<Item<T>> {
        self.segments.failed();
        batch.into_parts().1.into_iter().map(|(item, _)| item).collect()
    }

    /// Whether [`Lane::next_to_free`] may find one.
    pub fn may_free(&self) -> bool {
        self.segments.may_free()
    }

    /// A segment in which nothing is live: its slot and the block to write at offset 0 and sync.
    pub fn next_to_free(&mut self) -> Option<(u16, Vec<u8>)> {
        self.segments.next_to_free()
    }

    /// The free header is synced, or could not be: outcomes about the segment do not matter any more.
    pub fn freed(&mut self, slot: u16, proof: Option<Synced>) {
        self.segments.freed(slot, proof.is_some());
    }

    /// Picks the segments to empty, those with the least live bytes first. False: nothing is to be done.
    pub fn compaction_begin(&mut self) -> bool {
        self.compaction.begin(&self.segments)
    }

    /// Looks through the next `most` entries for messages of the segments to empty; true when all are seen.
    pub fn compaction_scan(&mut self, most: u32) -> bool {
        self.compaction.scan(&self.index, most)
    }

    /// The next message to move. It may be settled at any time from now on.
    pub fn compaction_next(&mut self) -> Option<Candidate> {
        self.compaction.next(&self.segments, &self.index)
    }

    /// Whether a piece of a message lies in a segment that is to be emptied.
    pub fn compaction_takes(&self, piece: &Extent) -> bool {
        self.compaction.takes(piece)
    }

    /// Whether a message moves with all of its body in one piece, which then needs no [`Item::Piece`].
    pub fn compaction_takes_whole(
        &self,
        candidate: &Candidate,
        pieces: impl Iterator<Item = Extent>,
    ) -> bool {
        self.compaction.takes_whole(candidate, pieces)
    }

    /// Whether the message still lies where it was found: what was read there was read from its segment's own life.
    pub fn is_still(&self, candidate: &Candidate) -> bool {
        compact::is_still(&self.segments, &self.index, candidate)
    }

    /// All that was found has moved, or could not.
    pub fn compaction_end(&mut self) {
        self.compaction.end(&mut self.segments);
    }

    /// Segments whose records moved and may still be read there, each once.
    pub fn leaving(&self) -> BTreeSet<u16> {
        self.compaction.leaving()
    }

    /// Nobody reads the old places of messages that moved out of this segment any more.
    pub fn left(&mut self, slot: u16) {
        self.compaction.left(&mut self.segments, slot);
    }

    /// Old segments whose few live messages keep newer ones from being freed, because outcomes about them lie there. A snapshot
    /// of each sets these free.
    pub fn snapshot_due(&mut self) -> Vec<Snapshot> {
        compact::snapshot_due(&mut self.segments, &self.index, &self.replies)
    }

    /// A defect that the simulator plants: a segment whose commit failed is taken for a full one.
    pub fn plant_sealed(&mut self, slot: u16) {
        self.segments.plant_sealed(slot);
    }

    /// Another: what outcomes are about is forgotten, so that they may go before the messages do.
    pub fn plant_forgetful(&mut self) {
        self.segments.plant_forgetful();
    }
}

#[cfg(test)]
impl Lane {
    pub(in crate::spool) fn inner(&mut self) -> &mut Segments {
        &mut self.segments
    }
}

impl Names for Lane {
    fn name(&self, outcome: &Outcome) -> Option<(u32, u32)> {
        let entry = self.index.get(outcome.key).filter(|entry| entry.is_told(outcome.location))?;
        Some(self.segments.origin(entry))
    }

    fn state(&self, moved: &Moved, out: &mut Vec<u8>) -> Option<bool> {
        compact::write_state(&self.segments, &self.index, &self.replies, moved, out)
    }

    fn snapshot(&self, of: Snapshot, out: &mut Vec<u8>) -> Option<RecordKind> {
        compact::write_snapshot(&self.segments, &self.index, &self.replies, of, out)
    }
}
