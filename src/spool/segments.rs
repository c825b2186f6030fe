//! The segments of one lane: what each file is doing, where the next commit goes, what may be freed.
//!
//! Numbers and states only: of messages it knows how many are live in a file, and how many bytes they are.

use std::collections::{BTreeSet, VecDeque};

use crate::id::Position;
use crate::limits;
use crate::spool::batch::Target;
use crate::spool::index::Entry;
use crate::spool::segment::{self, Header, LaneOrigin, Life};
use crate::spool::slot::{SegmentState, Slot};

/// What a lane is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its number.
    pub lane: u16,
    /// What its segments say it is.
    pub origin: LaneOrigin,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// Most segments.
    pub segments_max: usize,
}

/// The segments of one lane.
#[derive(Debug)]
pub(in crate::spool) struct Segments {
    shape: Shape,
    slots: Vec<Slot>,
    pool: VecDeque<u16>,
    open: Option<u16>,
    tail: u32,
    /// The last commit had something in it.
    unvouched: bool,
    next_sequence: u32,
    /// Sequence number and valid end of the segment written last.
    last: (u32, u32),
    /// The segment found last at start, if a commit that does not count stands behind its valid end.
    loose: Option<u32>,
    /// Something died since the last look for segments to free.
    look: bool,
    /// A segment could not be created the last time.
    cramped: bool,
    /// Bytes that the files may have, those kept aside included.
    bytes_max: u64,
    /// How far a journal has what was recorded. None: none is kept, and nothing waits for it.
    journaled: Option<Position>,
}

impl Segments {
    /// None.
    pub fn new(shape: Shape) -> Segments {
        Segments::found(shape, Vec::new(), Vec::new(), 1, (0, 0), None)
    }

    /// Those that a start found: the free ones in `pool`, none open. `last` and `loose` as in the fields.
    pub fn found(
        shape: Shape,
        slots: Vec<Slot>,
        pool: Vec<u16>,
        next_sequence: u32,
        last: (u32, u32),
        loose: Option<u32>,
    ) -> Segments {
        let mut slots = slots;
        slots.iter_mut().for_each(|slot| slot.free_from = Position::new(last.0, last.1));
        Segments {
            shape,
            slots,
            pool: pool.into(),
            open: None,
            tail: 0,
            unvouched: false,
            next_sequence,
            last,
            loose,
            look: true,
            cramped: false,
            bytes_max: u64::MAX,
            journaled: None,
        }
    }

    /// Where all that was recorded ends. What a commit that failed left stands behind it: that may be found at the next start, until
    /// the header of a later segment is on the disk.
    pub fn position(&self) -> Position {
        let (sequence, end) = match self.open {
            Some(open) if u64::from(self.tail) > segment::FIRST_COMMIT => {
                (self.slot(open).sequence, self.tail)
            }
            _ => self.last,
        };
        Position::new(sequence, end)
    }

    /// A journal has what was recorded before this. Whether a segment that waited for that may be free now.
    pub fn set_journaled(&mut self, until: Position) -> bool {
        let before = self.journaled.replace(until);
        let waited = |slot: &Slot| {
            slot.state == SegmentState::Sealed
                && slot.is_needless()
                && slot.free_from <= until
                && before.is_none_or(|before| slot.free_from > before)
        };
        let some = before != Some(until) && self.slots.iter().any(waited);
        self.look |= some;
        some
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The files may have so many bytes, those kept aside included; a few there are in any case ([`limits::SEGMENTS_LEAST`]).
    pub fn limit(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// One of them.
    pub fn slot(&self, slot: u16) -> &Slot {
        &self.slots[usize::from(slot)]
    }

    /// One of them, if there is such a file.
    pub fn get(&self, slot: u16) -> Option<&Slot> {
        self.slots.get(usize::from(slot))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Slot)> {
        self.slots.iter().enumerate().map(|(place, slot)| (place as u16, slot))
    }

    /// How many exist, and how many of them are free.
    pub fn count(&self) -> (usize, usize) {
        let exists = |slot: &&Slot| !matches!(slot.state, SegmentState::Absent | SegmentState::Creating);
        (self.slots.iter().filter(exists).count(), self.pool.len())
    }

    /// Free ones.
    pub fn free(&self) -> usize {
        self.pool.len()
    }

    /// Whether there is one to go on in when the one that is opened first is full, or no more are to be had.
    pub fn is_stocked(&self) -> bool {
        self.pool.len() > limits::SEGMENTS_RESERVED + 1 || self.is_at_bound()
    }

    /// Bytes that the files have or will have whatever they are limited to, and those of them that are kept aside.
    pub fn bytes_least(&self) -> (u64, u64) {
        let aside = self.slots.iter().filter(|slot| slot.state == SegmentState::Quarantined);
        let aside = aside.map(|slot| slot.size).sum();
        (self.bytes().max(aside + limits::SEGMENTS_LEAST as u64 * self.shape.segment_size), aside)
    }

    /// Bytes of the files, those kept aside and those being made included.
    pub fn bytes(&self) -> u64 {
        let size = |slot: &Slot| {
            if slot.state == SegmentState::Creating { self.shape.segment_size } else { slot.size }
        };
        self.slots.iter().filter(|slot| slot.state != SegmentState::Absent).map(size).sum()
    }

    /// Bytes of all that is live.
    pub fn live_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }

    /// Bytes of the segments that are full and matter to anyone.
    pub fn sealed_bytes(&self) -> u64 {
        let sealed =
            self.slots.iter().filter(|slot| slot.state == SegmentState::Sealed && !slot.is_needless());
        sealed.map(|slot| slot.size).sum()
    }

    /// Whether there are all that there may be, and not because one cannot be made.
    pub fn is_bounded(&self) -> bool {
        !self.cramped && self.is_at_bound()
    }

    fn is_at_bound(&self) -> bool {
        let exist = self.slots.iter().filter(|slot| slot.state != SegmentState::Absent);
        let (count, usable) = exist.fold((0, 0), |(count, usable), slot| {
            (count + 1, usable + usize::from(slot.state != SegmentState::Quarantined))
        });
        // A few damaged files must not stop a bounded lane for ever.
        count >= self.shape.segments_max
            || (usable >= limits::SEGMENTS_LEAST && self.bytes() + self.shape.segment_size > self.bytes_max)
    }

    /// Whether a segment is being made or about to be asked for, and nothing says that it will not be. Mail that comes faster than that
    /// waits for it.
    pub fn is_growing(&self) -> bool {
        let is_creating = || self.slots.iter().any(|slot| slot.state == SegmentState::Creating);
        // The writer asks for the next one only between commits.
        !self.cramped && (!self.is_at_bound() || is_creating())
    }

    /// The reserve is all that is left, and no file can be made.
    pub fn is_short(&self) -> bool {
        self.pool.len() <= limits::SEGMENTS_RESERVED && (self.cramped || self.is_at_bound())
    }

    /// Whether new mail fits without touching the reserve, or will in a moment.
    pub fn may_accept(&self) -> bool {
        self.pool.len() > limits::SEGMENTS_RESERVED
            || self.is_growing()
            || (self.pool.len() == limits::SEGMENTS_RESERVED && self.room() > limits::COMMIT_BYTES_MAX * 2)
    }

    /// Bytes left in the open one.
    pub fn room(&self) -> usize {
        let size = self.open.map(|open| self.slot(open).size);
        size.map_or(0, |size| size.saturating_sub(u64::from(self.tail)) as usize)
    }

    /// A file to be created, if the pool is low and the bound allows it. Marks it as under way.
    pub fn wanted(&mut self) -> Option<u16> {
        let creating = self.slots.iter().filter(|slot| slot.state == SegmentState::Creating).count();
        if creating > 0 || self.pool.len() > limits::SEGMENTS_RESERVED + 1 || self.is_at_bound() {
            return None;
        }
        let slot = match self.slots.iter().position(|slot| slot.state == SegmentState::Absent) {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot::ABSENT);
                self.slots.len() - 1
            }
        };
        self.slots[slot].state = SegmentState::Creating;
        u16::try_from(slot).ok()
    }

    /// The one asked for could not be made.
    pub fn not_made(&mut self) {
        self.cramped = true;
    }

    /// The one asked for exists, or could not be made.
    pub fn made(&mut self, slot: u16, made: bool) {
        self.cramped = !made;
        let place = &mut self.slots[usize::from(slot)];
        if made {
            (place.state, place.size) = (SegmentState::Free, self.shape.segment_size);
            self.pool.push_back(slot);
        } else {
            place.state = SegmentState::Absent;
        }
    }

    /// A file of that name exists that nobody knows.
    pub fn taken(&mut self, slot: u16) {
        self.slots[usize::from(slot)].state = SegmentState::Quarantined;
    }

    /// Where the next commit goes.
    pub fn target(&self) -> Option<Target> {
        let slot = self.open?;
        let Slot { sequence, salt, .. } = *self.slot(slot);
        Some(Target { lane: self.shape.lane, slot, sequence, salt, offset: self.tail, room: self.room() })
    }

    /// Whether commits go to one.
    pub fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether nothing on the disk says yet that the last commit was synced.
    pub fn is_unvouched(&self) -> bool {
        self.unvouched && self.open.is_some()
    }

    /// A commit is synced; `vouches`: there was nothing in it.
    pub fn committed(&mut self, end: u32, vouches: bool) {
        self.tail = end;
        self.unvouched = !vouches;
    }

    /// Seals the open one and begins the life of one from the pool; returns its header block.
    pub fn open(&mut self, salt: u64) -> Option<Vec<u8>> {
        self.seal(SegmentState::Sealed);
        let slot = self.pool.pop_front()?;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let cuts = self.failed_since_last();
        let size = self.slot(slot).size;
        self.slots[usize::from(slot)] =
            Slot { state: SegmentState::Open, sequence, salt, cuts, size, ..Slot::ABSENT };
        self.open = Some(slot);
        self.tail = segment::FIRST_COMMIT as u32;
        let (predecessor, predecessor_end) = self.last;
        let header = Header {
            life: Life::Active,
            origin: self.shape.origin,
            slot,
            sequence,
            salt,
            predecessor,
            predecessor_end,
        };
        Some(header.encode())
    }

    /// Those in which a commit failed or was torn since one last succeeded, that one's included.
    fn failed_since_last(&self) -> BTreeSet<u32> {
        let (last, _) = self.last;
        let failed = self.slots.iter().filter(|slot| slot.state == SegmentState::Quarantined);
        let failed = failed.map(|slot| slot.sequence).chain(self.loose);
        failed.filter(|sequence| *sequence > 0 && *sequence >= last).collect()
    }

    /// A commit failed: the open one is never touched again.
    pub fn failed(&mut self) {
        // The tail did not move: it validly ends before that commit, and the next header will say so.
        self.seal(SegmentState::Quarantined);
    }

    fn seal(&mut self, state: SegmentState) {
        if let Some(open) = self.open.take() {
            let slot = &mut self.slots[usize::from(open)];
            slot.state = state;
            // One whose first commit failed may not even have its header on disk, so nobody can count on what that says: the next
            // one names the same predecessor, and by that makes all between them void.
            if u64::from(self.tail) > segment::FIRST_COMMIT {
                self.last = (slot.sequence, self.tail);
            }
            slot.free_from = Position::new(self.last.0, self.last.1);
            self.look = true;
        }
    }

    /// Something in one is live.
    pub fn pin(&mut self, slot: u16, bytes: u32) {
        self.slots[usize::from(slot)].pin(bytes);
    }

    /// It is not any more.
    pub fn unpin(&mut self, slot: u16, bytes: u32) {
        let now = self.position();
        let slot = &mut self.slots[usize::from(slot)];
        slot.live = slot.live.saturating_sub(1);
        slot.bytes = slot.bytes.saturating_sub(u64::from(bytes));
        if slot.live == 0 {
            slot.free_from = now;
            self.look = true;
        }
    }

    /// It is not live there any more, but perhaps being read: it is counted until [`Segments::unpin`].
    pub fn moves_out(&mut self, slot: u16, bytes: u32) {
        let slot = &mut self.slots[usize::from(slot)];
        slot.bytes = slot.bytes.saturating_sub(u64::from(bytes));
    }

    /// A message whose record stands there is settled.
    pub fn settled(&mut self, slot: u16, offset: u32) {
        if let Some(settled) = &mut self.slots[usize::from(slot)].settled {
            settled.push(offset);
        }
    }

    /// What was written to one speaks about another.
    pub fn tells_about(&mut self, slot: u16, other: u16) {
        if slot != other {
            let about = self.slot(other).sequence;
            self.slots[usize::from(slot)].about.insert(about);
        }
    }

    /// Nothing more can be moved out of one, until something changes.
    pub fn gave_up(&mut self, slot: u16) {
        let slot = &mut self.slots[usize::from(slot)];
        if slot.bytes > 0 {
            slot.stuck_at = Some(slot.live);
        }
    }

    /// A snapshot of one would be too large, or not.
    pub fn measured(&mut self, slot: u16, large: bool) {
        let slot = &mut self.slots[usize::from(slot)];
        slot.large_at = large.then_some(slot.live);
    }

    /// A snapshot of one waits to be written; returns its number.
    pub fn snapshot_asked(&mut self, slot: u16) -> u32 {
        let slot = &mut self.slots[usize::from(slot)];
        slot.is_asked = true;
        slot.sequence
    }

    /// A snapshot of one was written to `slot`, or there was nothing to write.
    pub fn snapshot_done(&mut self, slot: u16, (of, sequence): (u16, u32), written: bool) {
        let segment = &mut self.slots[usize::from(of)];
        if segment.sequence == sequence {
            segment.is_asked = false;
        }
        if written {
            for other in &mut self.slots {
                other.about.remove(&sequence);
            }
            self.slots[usize::from(slot)].about.insert(sequence);
            self.look = true;
        }
    }

    /// Sequence number and offset of the record a message was stored with: its name in outcome records.
    pub fn origin(&self, entry: &Entry) -> (u32, u32) {
        entry.origin().unwrap_or((self.slot(entry.slot).sequence, entry.offset))
    }

    /// Whether [`Segments::next_to_free`] may find one.
    pub fn may_free(&self) -> bool {
        self.look
    }

    /// Whether one would be free, were it not for the journal.
    pub fn awaits_journal(&self) -> bool {
        let waits = |slot: &Slot| self.journaled.is_some_and(|journaled| slot.free_from > journaled);
        self.slots.iter().any(|slot| slot.state == SegmentState::Sealed && slot.is_needless() && waits(slot))
    }

    /// One in which nothing is live: its slot and the block to write at offset 0 and sync.
    pub fn next_to_free(&mut self) -> Option<(u16, Vec<u8>)> {
        if !std::mem::take(&mut self.look) {
            return None;
        }
        let is_journaled = |slot: &Slot| self.journaled.is_none_or(|journaled| slot.free_from <= journaled);
        let may_go =
            |slot: &Slot| slot.state == SegmentState::Sealed && slot.is_needless() && is_journaled(slot);
        let place = self.slots.iter().position(may_go)?;
        self.look = true;
        let slot = &mut self.slots[place];
        slot.state = SegmentState::Freeing;
        let header = Header {
            life: Life::Free,
            origin: self.shape.origin,
            slot: place as u16,
            sequence: slot.sequence,
            salt: 0,
            predecessor: 0,
            predecessor_end: 0,
        };
        Some((place as u16, header.encode()))
    }

    /// The free header is synced, or could not be: outcomes about the segment do not matter any more.
    pub fn freed(&mut self, slot: u16, synced: bool) {
        let sequence = self.slot(slot).sequence;
        self.loose = self.loose.filter(|loose| !synced || *loose != sequence);
        self.look = true;
        if !synced {
            let segment = &mut self.slots[usize::from(slot)];
            segment.failures += 1;
            // Its header is written whole each time. What was freed in memory only must stay as if it were not.
            segment.state = if segment.failures < limits::FREE_TRIES {
                SegmentState::Sealed
            } else {
                SegmentState::Quarantined
            };
            return;
        }
        for other in &mut self.slots {
            other.about.remove(&sequence);
            other.cuts.remove(&sequence);
        }
        let size = self.slot(slot).size;
        self.slots[usize::from(slot)] = Slot { state: SegmentState::Free, size, ..Slot::ABSENT };
        self.pool.push_back(slot);
    }

    /// A planted defect: one whose commit failed is taken for a full one.
    pub fn plant_sealed(&mut self, slot: u16) {
        self.slots[usize::from(slot)].state = SegmentState::Sealed;
    }

    /// A planted defect: what outcomes are about is forgotten.
    pub fn plant_forgetful(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.about.clear());
    }
}

#[cfg(test)]
impl Segments {
    pub fn next_sequence(&self) -> u32 {
        self.next_sequence
    }

    pub fn is_in_pool(&self, slot: u16) -> bool {
        self.pool.contains(&slot)
    }

    pub fn reshape(&mut self, segments_max: usize) {
        self.shape.segments_max = segments_max;
    }
}
