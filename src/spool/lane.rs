//! One lane: its segments, what is live in them, and the commits that change that.
//!
//! The driver owns the files. Call order: [`Lane::begin`] lays out a commit; append its parts, sync, then [`Lane::done`] with the
//! proof, or [`Lane::failed`]. One commit at a time. Between commits: [`Lane::wants_segment`] → create →
//! [`Lane::segment_created`]; [`Lane::next_to_free`] → write the block, sync → [`Lane::freed`].

use std::collections::{BTreeSet, VecDeque};

use crate::id::{Durable, Location, MessageId};
use crate::limits;
use crate::runtime::Synced;
use crate::spool::batch::{
    self, Batch, Census, Item, Moved, Names, NewMessage, Outcome, Place, Spare, Target,
};
use crate::spool::compact::{self, Compaction};
use crate::spool::index::{Entry, Index, Replies};
use crate::spool::record::{self, Extent, Fate, Kind};
use crate::spool::segment::{self, Birthplace, Header, Life};
pub(in crate::spool) use crate::spool::slot::{Slot, State};

/// What a lane is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its number.
    pub lane: u16,
    /// What its segments say it is.
    pub birthplace: Birthplace,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// Most segments.
    pub segments_max: usize,
}

/// Segments that a lane may have whatever the bound on its bytes: the reserve, the one it writes, and the next.
pub const LEAST: usize = limits::SEGMENTS_RESERVED + 2;

/// How often a segment is tried to be freed in one life of the process.
const FREE_TRIES: u8 = 8;

/// The state of one lane.
#[derive(Debug)]
pub struct Lane {
    pub(in crate::spool) shape: Shape,
    pub(in crate::spool) slots: Vec<Slot>,
    pub(in crate::spool) pool: VecDeque<u16>,
    open: Option<u16>,
    tail: u32,
    /// The last commit had something in it.
    unvouched: bool,
    pub(in crate::spool) next_sequence: u32,
    /// Sequence number and valid end of the segment written last.
    pub(in crate::spool) last: (u32, u32),
    /// The segment found last at start, if a commit that does not count stands behind its valid end.
    pub(in crate::spool) loose: Option<u32>,
    pub(in crate::spool) index: Index,
    pub(in crate::spool) replies: Replies,
    /// Something died since the last look for segments to free.
    pub(in crate::spool) look: bool,
    /// A segment could not be created the last time.
    pub(in crate::spool) cramped: bool,
    pub(in crate::spool) compaction: Compaction,
    /// Memory of the next commit.
    spare: Spare,
    /// Bytes that its files may have, those kept aside included.
    bytes_max: u64,
}

/// What [`Lane::begin`] found.
#[derive(Debug)]
pub enum Begin<T> {
    /// Write this.
    Commit(Batch<T>),
    /// No segment is left for these: tell the clients; then begin again.
    Refused(Vec<(Item, T)>),
    /// No segment is left for these, and one is being made: they wait for that; begin again with the others.
    Held(Vec<(Item, T)>),
    /// Outcomes wait and even the reserve is used up: begin again when a segment was created or freed.
    Stalled,
    /// The queue is empty.
    Nothing,
}

/// An item that is on stable storage now.
#[derive(Debug)]
pub enum Done {
    /// A message.
    Message {
        /// Its id; the 250 is made from this.
        id: Durable<MessageId>,
        /// Where it lies.
        location: Location,
        /// Its entry in the index.
        key: u32,
        /// What was stored.
        message: NewMessage,
    },
    /// A piece of a body; it stays until [`Lane::drop_chunks`] or the end of its message.
    Chunk(Durable<Extent>),
    /// An outcome.
    Outcome {
        /// What it said.
        outcome: Outcome,
        /// Recipients that are settled for good by it.
        settled: u16,
    },
    /// A census.
    Census,
    /// A stored message lies in a new place, or was settled before it could move. The old place stays readable
    /// until [`Lane::left`].
    Moved {
        /// Its entry in the index.
        key: u32,
        /// Where it lies now, and the bytes that were written; None if it was settled meanwhile.
        to: Option<(Location, u64)>,
    },
}

impl Lane {
    /// A lane without segments.
    pub fn new(shape: Shape) -> Lane {
        Lane {
            shape,
            slots: Vec::new(),
            pool: VecDeque::new(),
            open: None,
            tail: 0,
            unvouched: false,
            next_sequence: 1,
            last: (0, 0),
            loose: None,
            index: Index::default(),
            replies: Replies::default(),
            look: true,
            cramped: false,
            compaction: Compaction::default(),
            spare: Spare::default(),
            bytes_max: u64::MAX,
        }
    }

    /// Its files may have so many bytes, those kept aside included; a few it has in any case ([`LEAST`]).
    pub fn limit(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.shape.lane
    }

    /// Live messages.
    pub fn messages(&self) -> usize {
        self.index.len()
    }

    /// Segments that exist, and those of them that are free.
    pub fn segments(&self) -> (usize, usize) {
        let exists = |slot: &&Slot| !matches!(slot.state, State::Absent | State::Creating);
        (self.slots.iter().filter(exists).count(), self.pool.len())
    }

    /// A live message.
    pub fn entry(&self, key: u32) -> Option<&Entry> {
        self.index.get(key)
    }

    /// The id of a live message, without reading it.
    pub fn id(&self, key: u32) -> Option<MessageId> {
        let (sequence, offset) = self.birth(self.index.get(key)?);
        Some(MessageId { lane: self.shape.birthplace.lane, sequence, offset })
    }

    /// All live messages: key and entry.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.index.iter()
    }

    /// The text of a last reply.
    pub fn reply(&self, key: u16) -> &str {
        self.replies.text(key)
    }

    /// The salt and sequence number of a segment, to read its records with.
    pub fn segment(&self, slot: u16) -> Option<(u64, u32)> {
        self.slots.get(usize::from(slot)).map(|slot| (slot.salt, slot.sequence))
    }

    /// Whether there is a segment to go on in when the one that is opened first is full, or no more are to be had.
    pub fn is_stocked(&self) -> bool {
        self.pool.len() > limits::SEGMENTS_RESERVED + 1 || self.is_at_bound()
    }

    /// Bytes that its files have or will have whatever it is limited to, and those of them that are kept aside.
    pub fn bytes_least(&self) -> (u64, u64) {
        let aside = self.slots.iter().filter(|slot| slot.state == State::Quarantined);
        let aside = aside.map(|slot| slot.size).sum();
        (self.bytes().max(aside + LEAST as u64 * self.shape.segment_size), aside)
    }

    /// Bytes of its files, those kept aside and those being made included.
    pub fn bytes(&self) -> u64 {
        let size =
            |slot: &Slot| if slot.state == State::Creating { self.shape.segment_size } else { slot.size };
        self.slots.iter().filter(|slot| slot.state != State::Absent).map(size).sum()
    }

    /// Whether it has all the segments it may have, and not because one cannot be made.
    pub fn is_bounded(&self) -> bool {
        !self.cramped && self.is_at_bound()
    }

    pub(in crate::spool) fn is_at_bound(&self) -> bool {
        let exist = self.slots.iter().filter(|slot| slot.state != State::Absent);
        let (count, usable) = exist.fold((0, 0), |(count, usable), slot| {
            (count + 1, usable + usize::from(slot.state != State::Quarantined))
        });
        // A few damaged files must not stop a bounded lane for ever.
        count >= self.shape.segments_max
            || (usable >= LEAST && self.bytes() + self.shape.segment_size > self.bytes_max)
    }

    /// Whether a segment is being made, and nothing says that it will not be. Mail that comes faster than that waits for it.
    fn is_growing(&self) -> bool {
        !self.cramped && self.slots.iter().any(|slot| slot.state == State::Creating)
    }

    /// Whether new mail fits without touching the reserve, or will in a moment.
    pub fn may_accept(&self) -> bool {
        self.pool.len() > limits::SEGMENTS_RESERVED
            || self.is_growing()
            || (self.pool.len() == limits::SEGMENTS_RESERVED && self.room() > limits::COMMIT_BYTES_MAX * 2)
    }

    pub(in crate::spool) fn room(&self) -> usize {
        let size = self.open.map(|open| self.slots[usize::from(open)].size);
        size.map_or(0, |size| size.saturating_sub(u64::from(self.tail)) as usize)
    }

    /// A file to be created, if the pool is low and the bound allows it. Marks it as under way.
    pub fn wants_segment(&mut self) -> Option<u16> {
        let creating = self.slots.iter().filter(|slot| slot.state == State::Creating).count();
        if creating > 0 || self.pool.len() > limits::SEGMENTS_RESERVED + 1 || self.is_at_bound() {
            return None;
        }
        let slot = match self.slots.iter().position(|slot| slot.state == State::Absent) {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot::ABSENT);
                self.slots.len() - 1
            }
        };
        self.slots[slot].state = State::Creating;
        u16::try_from(slot).ok()
    }

    /// The file asked for by [`Lane::wants_segment`] could not be made; it is not asked for again until
    /// [`Lane::segment_created`] was told too.
    pub fn segment_failed(&mut self) {
        self.cramped = true;
    }

    /// A file asked for by [`Lane::wants_segment`] exists, or could not be made.
    pub fn segment_created(&mut self, slot: u16, made: bool) {
        self.cramped = !made;
        let place = &mut self.slots[usize::from(slot)];
        if made {
            (place.state, place.size) = (State::Free, self.shape.segment_size);
            self.pool.push_back(slot);
        } else {
            place.state = State::Absent;
        }
    }

    /// A file of that name exists that nobody knows: it is left alone, and the next one is asked for under another name.
    pub fn segment_taken(&mut self, slot: u16) {
        self.slots[usize::from(slot)].state = State::Quarantined;
    }

    /// Lays out the next commit from the front of `queue`. `salt` is fresh and random; it is used if a segment begins.
    pub fn begin<T>(&mut self, queue: &mut VecDeque<(Item, T)>, salt: u64) -> Begin<T> {
        let Some((first, _)) = queue.front() else { return Begin::Nothing };
        let need = first.bound() + segment::MARK + 2 * limits::BLOCK as usize;
        let mut header = None;
        if self.room() < need {
            let left = if first.may_use_reserve() { 0 } else { limits::SEGMENTS_RESERVED };
            if self.pool.len() <= left {
                return self.refuse(queue);
            }
            header = self.open_segment(salt);
        }
        let Some(target) = self.target() else { return Begin::Stalled };
        let spare = std::mem::take(&mut self.spare);
        Begin::Commit(batch::build(queue, target, self, header, spare))
    }

    fn target(&self) -> Option<Target> {
        let slot = self.open?;
        let Slot { sequence, salt, .. } = self.slots[usize::from(slot)];
        Some(Target { lane: self.shape.lane, slot, sequence, salt, offset: self.tail, room: self.room() })
    }

    /// Whether nothing on the disk says yet that the last commit was synced.
    pub fn is_unvouched(&self) -> bool {
        self.unvouched && self.open.is_some()
    }

    /// A commit of nothing, which vouches for the one before; `clean`: the node stops, and nothing is under way. It goes like one of
    /// [`Lane::begin`]. None: it would say nothing. `salt` is as there.
    pub fn close<T>(&mut self, clean: bool, salt: u64) -> Option<Batch<T>> {
        let mut header = None;
        if self.open.is_none() {
            if !clean || self.index.is_empty() {
                return None;
            }
            header = Some(self.open_segment(salt)?);
        } else if !self.unvouched && !clean {
            return None;
        }
        let target = self.target().filter(|target| target.room >= limits::BLOCK as usize)?;
        Some(batch::closing(target, header, clean, std::mem::take(&mut self.spare)))
    }

    fn refuse<T>(&self, queue: &mut VecDeque<(Item, T)>) -> Begin<T> {
        let mut refused = Vec::new();
        for _ in 0..queue.len() {
            let Some((item, ticket)) = queue.pop_front() else { break };
            if item.may_use_reserve() {
                queue.push_back((item, ticket));
            } else {
                refused.push((item, ticket));
            }
        }
        if refused.is_empty() {
            Begin::Stalled
        } else if self.is_growing() {
            Begin::Held(refused)
        } else {
            Begin::Refused(refused)
        }
    }

    /// Seals the open segment and begins the life of one from the pool; returns its header block.
    fn open_segment(&mut self, salt: u64) -> Option<Vec<u8>> {
        self.seal(State::Sealed);
        let slot = self.pool.pop_front()?;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let cuts = self.failed_since_last();
        let size = self.slots[usize::from(slot)].size;
        self.slots[usize::from(slot)] =
            Slot { state: State::Open, sequence, salt, cuts, size, ..Slot::ABSENT };
        self.open = Some(slot);
        self.tail = segment::FIRST_COMMIT as u32;
        let (predecessor, predecessor_end) = self.last;
        let header = Header {
            life: Life::Active,
            birthplace: self.shape.birthplace,
            slot,
            sequence,
            salt,
            predecessor,
            predecessor_end,
        };
        Some(header.encode())
    }

    /// The segments in which a commit failed or was torn since one last succeeded, that one's included.
    fn failed_since_last(&self) -> BTreeSet<u32> {
        let (last, _) = self.last;
        let failed = self.slots.iter().filter(|slot| slot.state == State::Quarantined);
        let failed = failed.map(|slot| slot.sequence).chain(self.loose);
        failed.filter(|sequence| *sequence > 0 && *sequence >= last).collect()
    }

    fn seal(&mut self, state: State) {
        if let Some(open) = self.open.take() {
            let slot = &mut self.slots[usize::from(open)];
            slot.state = state;
            // One whose first commit failed may not even have its header on disk, so nobody can count on what that says: the next
            // one names the same predecessor, and by that makes all between them void.
            if u64::from(self.tail) > segment::FIRST_COMMIT {
                self.last = (slot.sequence, self.tail);
            }
            self.look = true;
        }
    }

    /// The commit is synced: everything in it is durable now.
    pub fn done<T>(&mut self, batch: Batch<T>, _proof: Synced, mut each: impl FnMut(&mut Lane, Done, T)) {
        self.tail = batch.end;
        self.unvouched = !batch.items.is_empty();
        let (slot, sequence) = (batch.slot, batch.sequence);
        self.spare = batch.spare;
        for (item, place, ticket) in batch.items {
            let done = match item {
                Item::Message(message) => self.message_done(slot, sequence, place, message),
                Item::Chunk(_) | Item::Piece(_) => {
                    let Some(extent) = place.extent else { continue };
                    self.pin(slot, extent.length);
                    Done::Chunk(Durable::mint(extent))
                }
                Item::Move(moved) => self.move_done(slot, place, moved),
                Item::Outcome(outcome) => self.outcome_done(slot, outcome),
                Item::Census(of) => {
                    self.census_done(slot, of, place.length > 0);
                    Done::Census
                }
            };
            each(self, done, ticket);
        }
    }

    fn message_done(&mut self, slot: u16, sequence: u32, place: Place, message: NewMessage) -> Done {
        // Each stored chunk pinned its segment; from here on the message does, once for each segment.
        self.drop_chunks(&message.chunks);
        let extents = message.chunks.iter().copied().chain(place.extent);
        let (bytes, elsewhere) = compact::parts(slot, place.length, extents);
        let total = u16::try_from(message.envelope.recipients.len()).expect("recipients are bounded");
        let offset = place.offset;
        let entry = Entry::new(slot, offset, total, bytes, elsewhere);
        entry.parts().for_each(|(slot, bytes)| self.pin(slot, bytes));
        let key = self.index.insert(entry);
        let lane = self.shape.lane;
        Done::Message {
            id: Durable::mint(MessageId { lane, sequence, offset }),
            location: Location { lane, slot, offset },
            key,
            message,
        }
    }

    fn outcome_done(&mut self, slot: u16, outcome: Outcome) -> Done {
        let entry = self.index.get_mut(outcome.key).filter(|entry| entry.is_told(outcome.location));
        let Some(entry) = entry else { return Done::Outcome { outcome, settled: 0 } };
        let home = entry.slot;
        let settled = entry.apply(outcome.first, outcome.count, &outcome.fate, &mut self.replies);
        let dead = entry.is_dead();
        if home != slot {
            let about = self.slots[usize::from(home)].sequence;
            self.slots[usize::from(slot)].about.insert(about);
        }
        if dead {
            self.bury(outcome.key);
        }
        Done::Outcome { outcome, settled }
    }

    fn bury(&mut self, key: u32) {
        if let Some(mut entry) = self.index.remove(key) {
            entry.forget(&mut self.replies);
            if let Some(settled) = &mut self.slots[usize::from(entry.slot)].settled {
                settled.push(entry.offset);
            }
            entry.parts().for_each(|(slot, bytes)| self.unpin(slot, bytes));
        }
    }

    /// Something in this segment is live.
    pub(in crate::spool) fn pin(&mut self, slot: u16, bytes: u32) {
        let slot = &mut self.slots[usize::from(slot)];
        slot.live += 1;
        slot.bytes += u64::from(bytes);
    }

    /// It is not any more.
    pub(in crate::spool) fn unpin(&mut self, slot: u16, bytes: u32) {
        let slot = &mut self.slots[usize::from(slot)];
        slot.live = slot.live.saturating_sub(1);
        slot.bytes = slot.bytes.saturating_sub(u64::from(bytes));
        self.look |= slot.live == 0;
    }

    /// Chunks of an upload that was given up.
    pub fn drop_chunks(&mut self, chunks: &[Extent]) {
        for chunk in chunks {
            self.unpin(chunk.slot, chunk.length);
        }
    }

    /// The write or the sync failed: nothing of the batch counts, its segment is never touched again. The items come back;
    /// outcomes are to be queued again, messages and chunks to be refused.
    pub fn failed<T>(&mut self, batch: Batch<T>) -> Vec<(Item, T)> {
        // The tail did not move: the segment validly ends before this batch, and the next header will say so.
        self.seal(State::Quarantined);
        batch.items.into_iter().map(|(item, _, ticket)| (item, ticket)).collect()
    }

    /// Whether [`Lane::next_to_free`] may find one.
    pub fn may_free(&self) -> bool {
        self.look
    }

    /// A segment in which nothing is live: its slot and the block to write at offset 0 and sync.
    pub fn next_to_free(&mut self) -> Option<(u16, Vec<u8>)> {
        if !std::mem::take(&mut self.look) {
            return None;
        }
        let place = self.slots.iter().position(|slot| slot.state == State::Sealed && slot.is_needless())?;
        self.look = true;
        let slot = &mut self.slots[place];
        slot.state = State::Freeing;
        let header = Header {
            life: Life::Free,
            birthplace: self.shape.birthplace,
            slot: place as u16,
            sequence: slot.sequence,
            salt: 0,
            predecessor: 0,
            predecessor_end: 0,
        };
        Some((place as u16, header.encode()))
    }

    /// The free header is synced, or could not be: outcomes about the segment do not matter any more.
    pub fn freed(&mut self, slot: u16, proof: Option<Synced>) {
        let sequence = self.slots[usize::from(slot)].sequence;
        self.loose = self.loose.filter(|loose| proof.is_none() || *loose != sequence);
        if proof.is_none() {
            let segment = &mut self.slots[usize::from(slot)];
            segment.failures += 1;
            // Its header is written whole each time. What was freed in memory only must stay as if it were not.
            segment.state = if segment.failures < FREE_TRIES { State::Sealed } else { State::Quarantined };
            self.look = true;
            return;
        }
        for other in &mut self.slots {
            other.about.remove(&sequence);
            other.cuts.remove(&sequence);
        }
        self.look = true;
        let size = self.slots[usize::from(slot)].size;
        self.slots[usize::from(slot)] = Slot { state: State::Free, size, ..Slot::ABSENT };
        self.pool.push_back(slot);
    }

    fn census_done(&mut self, slot: u16, of: Census, written: bool) {
        let segment = &mut self.slots[usize::from(of.slot)];
        if segment.sequence == of.sequence {
            segment.is_asked = false;
        }
        if written {
            for other in &mut self.slots {
                other.about.remove(&of.sequence);
            }
            self.slots[usize::from(slot)].about.insert(of.sequence);
            self.look = true;
        }
    }
}

impl Names for Lane {
    fn name(&self, outcome: &Outcome) -> Option<(u32, u32)> {
        let entry = self.index.get(outcome.key).filter(|entry| entry.is_told(outcome.location))?;
        Some(self.birth(entry))
    }

    fn state(&self, moved: &Moved, out: &mut Vec<u8>) -> bool {
        let Some(entry) = self.to_move(moved) else { return false };
        for range in entry.live().iter() {
            let mut reply = self.replies.text(range.reply);
            while reply.len() > batch::REPLY_MOVED_MAX {
                let end = reply.char_indices().next_back().map_or(0, |(at, _)| at);
                reply = &reply[..end];
            }
            let fate = Fate::Deferred { attempts: range.attempts, next: range.next, reply: reply.into() };
            record::write_fate(out, range.first, range.count, &fate);
        }
        true
    }

    fn census(&self, of: Census, out: &mut Vec<u8>) -> Option<Kind> {
        // It may have been freed meanwhile, and perhaps is in use again.
        let segment = self.slots.get(usize::from(of.slot)).filter(|slot| slot.sequence == of.sequence)?;
        let settled = segment.settled.as_deref();
        out.extend_from_slice(&of.sequence.to_le_bytes());
        let entries: Vec<_> = self.index.iter().filter(|(_, entry)| entry.slot == of.slot).collect();
        let count = entries.len() + settled.map_or(0, <[u32]>::len);
        out.extend_from_slice(&(count as u32).to_le_bytes());
        for offset in settled.into_iter().flatten() {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&[0; 2]);
        }
        for (_, entry) in entries {
            let ranges = entry.live();
            out.extend_from_slice(&entry.offset.to_le_bytes());
            out.extend_from_slice(&(ranges.len() as u16).to_le_bytes());
            for range in ranges.iter() {
                let reply = self.replies.text(range.reply).into();
                let fate = Fate::Deferred { attempts: range.attempts, next: range.next, reply };
                record::write_fate(out, range.first, range.count, &fate);
            }
        }
        Some(if settled.is_some() { Kind::PartialCensus } else { Kind::Census })
    }
}
