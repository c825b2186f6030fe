//! What keeps the disk use of a lane near the bytes that are live in it: censuses and moves.
//!
//! A *census* sets segments free that hold nothing live, but outcomes about older mail. A *move* writes a live message again,
//! with all that is known of its recipients, so that the sparse segment it lies in can be freed.
//!
//! Call order of a compaction: [`Lane::compaction_begin`] picks the segments to empty; [`Lane::compaction_scan`] until it is
//! done; then for each of [`Lane::compaction_next`] read the message, and queue an [`Item::Piece`](super::batch::Item::Piece)
//! for each [`Lane::compaction_takes`] of its pieces, and an [`Item::Move`](super::batch::Item::Move);
//! [`Lane::compaction_end`]. Whoever was told the old place of a message may still read there until the driver says with
//! [`Lane::left`] that nobody does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::Location;
use crate::limits;
use crate::spool::batch::{self, Census, Moved, Place};
use crate::spool::index::{Entry, Part};
use crate::spool::lane::{Done, Lane, Slot, State};
use crate::spool::record::{self, Extent};

/// Compaction starts when the sealed segments hold more than this many tenths of the live bytes, and two segments. Twice the live
/// bytes is what they may grow to; the rest is the time compaction has.
const TENTHS: u64 = 17;
/// Segments more than that: what was sealed a moment ago dies by itself.
const SLACK: u64 = 2;
/// Segments emptied in one go: one scan of the index serves all of them.
const VICTIMS_MAX: usize = 64;
/// Segments held by outcomes alone before a census is taken.
const CENSUS_AT: usize = 4;
/// Censuses of one round.
const CENSUSES_MAX: usize = 16;

/// A compaction under way, and what earlier ones left behind.
#[derive(Debug, Default)]
pub(in crate::spool) struct Compaction {
    victims: BTreeSet<u16>,
    /// The next key to look at.
    cursor: u32,
    /// Keys found in the victims.
    found: VecDeque<u32>,
    /// Places that moved messages were read from and may still be: the segment of the record, and of every part.
    leaving: Vec<(u16, Vec<u16>)>,
}

/// A message that is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its entry in the index.
    pub key: u32,
    /// Where its record lies.
    pub location: Location,
    /// Sequence number of that segment.
    pub sequence: u32,
}

/// Bytes of a message in the segment of its record, and elsewhere.
pub(in crate::spool) fn parts(
    slot: u16,
    record: u32,
    extents: impl Iterator<Item = Extent>,
) -> (u32, Vec<Part>) {
    let mut own = record;
    let mut elsewhere: BTreeMap<u16, u32> = BTreeMap::new();
    for extent in extents {
        let bytes = if extent.slot == slot { &mut own } else { elsewhere.entry(extent.slot).or_default() };
        *bytes = bytes.saturating_add(extent.length);
    }
    (own, elsewhere.into_iter().collect())
}

impl Slot {
    /// Nothing in it is live, but outcomes in it are about older mail that is.
    fn is_held(&self) -> bool {
        self.state == State::Sealed && self.live == 0 && !self.about.is_empty()
    }
}

impl Lane {
    /// Bytes of all that is live.
    pub fn live_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }

    /// Bytes of the segments that are full and matter to anyone.
    pub fn sealed_bytes(&self) -> u64 {
        let sealed = self.slots.iter().filter(|slot| slot.state == State::Sealed && !slot.is_needless());
        sealed.map(|slot| slot.size).sum()
    }

    /// The lane takes much more room than what is live in it.
    fn is_sparse(&self) -> bool {
        self.sealed_bytes() * 10 > self.live_bytes() * TENTHS + SLACK * 10 * self.shape.segment_size
    }

    /// The reserve is all that is left, and no file can be made.
    fn is_short(&self) -> bool {
        self.pool.len() <= limits::SEGMENTS_RESERVED && (self.cramped || self.is_at_bound())
    }

    /// Picks the segments to empty, those with the least live bytes first. False: nothing is to be done.
    pub fn compaction_begin(&mut self) -> bool {
        let sparse = self.is_sparse();
        if !sparse && !self.is_short() {
            return false;
        }
        // A victim is freed only when all of it is out, so its bytes must fit, and leave a segment for outcomes.
        let segment = self.shape.segment_size;
        let mut room = (self.pool.len() as u64).saturating_sub(1) * segment + self.room() as u64 / 2;
        room = room.min(segment);
        // More than this and next to nothing is gained.
        let most = if sparse { segment / 10 * 6 } else { segment / 10 * 8 };
        let mut candidates: Vec<(u64, u16)> = self.movable().filter(|(bytes, _)| *bytes <= most).collect();
        candidates.sort_unstable();
        if candidates.is_empty() && sparse {
            candidates.extend(self.holder());
        }
        let victims = &mut self.compaction.victims;
        victims.clear();
        for (bytes, slot) in candidates.into_iter().take(VICTIMS_MAX) {
            let Some(rest) = room.checked_sub(bytes) else { break };
            room = rest;
            victims.insert(slot);
        }
        self.compaction.cursor = 0;
        self.compaction.found.clear();
        !self.compaction.victims.is_empty()
    }

    /// Sealed segments with something live in them that was not found immovable before, and their live bytes.
    fn movable(&self) -> impl Iterator<Item = (u64, u16)> + '_ {
        let sealed = self.slots.iter().enumerate().filter(|(_, slot)| {
            slot.state == State::Sealed && slot.bytes > 0 && slot.stuck_at != Some(slot.live)
        });
        sealed.map(|(place, slot)| (slot.bytes, place as u16))
    }

    /// The segment with the least live bytes that holds others and has too many messages for a census: to move them frees
    /// all it holds.
    fn holder(&self) -> Option<(u64, u16)> {
        let about = self.held_about();
        let holds = |(_, slot): &(u64, u16)| {
            let slot = &self.slots[usize::from(*slot)];
            slot.large_at.is_some() && about.contains(&slot.sequence)
        };
        self.movable().filter(holds).min()
    }

    /// Sequence numbers of the segments that hold others.
    fn held_about(&self) -> BTreeSet<u32> {
        let held = self.slots.iter().filter(|slot| slot.is_held());
        held.flat_map(|slot| slot.about.iter().copied()).collect()
    }

    /// Looks through the next `most` entries for messages of the segments to empty; true when all are seen.
    pub fn compaction_scan(&mut self, most: u32) -> bool {
        let Compaction { victims, cursor, found, .. } = &mut self.compaction;
        // Messages stored meanwhile lie in the open segment.
        let end = self.index.places();
        let stop = cursor.saturating_add(most).min(end);
        for key in *cursor..stop {
            let Some(entry) = self.index.get(key) else { continue };
            if key < limits::MOVABLE_KEYS && entry.parts().any(|(slot, _)| victims.contains(&slot)) {
                found.push_back(key);
            }
        }
        *cursor = stop;
        stop == end
    }

    /// The next message to move. It may be settled at any time from now on.
    pub fn compaction_next(&mut self) -> Option<Candidate> {
        loop {
            let key = self.compaction.found.pop_front()?;
            let Some(entry) = self.index.get(key) else { continue };
            if entry.parts().any(|(slot, _)| self.compaction.victims.contains(&slot)) {
                let location = Location { lane: self.number(), slot: entry.slot, offset: entry.offset };
                let sequence = self.slots[usize::from(entry.slot)].sequence;
                return Some(Candidate { key, location, sequence });
            }
        }
    }

    /// Whether a piece of a message lies in a segment that is to be emptied.
    pub fn compaction_takes(&self, piece: &Extent) -> bool {
        self.compaction.victims.contains(&piece.slot)
    }

    /// Whether a message moves with all of its body in one piece, which then needs no
    /// [`Item::Piece`](super::batch::Item::Piece).
    pub fn compaction_takes_whole(
        &self,
        candidate: &Candidate,
        pieces: impl Iterator<Item = Extent>,
    ) -> bool {
        let mut bytes = 0;
        for piece in pieces {
            bytes += piece.length as usize;
            if piece.slot != candidate.location.slot && !self.compaction_takes(&piece) {
                return false;
            }
        }
        bytes <= limits::BODY_GATHER_MAX
    }

    /// Whether the message still lies where it was found: what was read there was read from its segment's own life.
    pub fn is_still(&self, candidate: &Candidate) -> bool {
        let Candidate { key, location, sequence } = candidate;
        self.lies(*key, *location, *sequence).is_some()
    }

    fn lies(&self, key: u32, location: Location, sequence: u32) -> Option<&Entry> {
        let entry = self.index.get(key).filter(|entry| entry.lies_at(location))?;
        (self.slots[usize::from(location.slot)].sequence == sequence).then_some(entry)
    }

    /// The entry of a message that moves, if it is still live where it was read.
    pub(in crate::spool) fn to_move(&self, moved: &Moved) -> Option<&Entry> {
        self.lies(moved.key, moved.from, moved.sequence)
    }

    /// All that was found has moved, or could not.
    pub fn compaction_end(&mut self) {
        for victim in std::mem::take(&mut self.compaction.victims) {
            let slot = &mut self.slots[usize::from(victim)];
            if slot.bytes > 0 {
                // A piece of an upload under way, or what cannot be read: no use trying before something changes.
                slot.stuck_at = Some(slot.live);
            }
        }
        self.compaction.found = VecDeque::new();
    }

    /// Where a message was born: its name in outcome records.
    pub(in crate::spool) fn birth(&self, entry: &Entry) -> (u32, u32) {
        entry.birth().unwrap_or((self.slots[usize::from(entry.slot)].sequence, entry.offset))
    }

    pub(in crate::spool) fn move_done(&mut self, slot: u16, place: Place, moved: Moved) -> Done {
        self.drop_chunks(&moved.fresh);
        let key = moved.key;
        let birth = match self.to_move(&moved) {
            Some(entry) if place.length > 0 => self.birth(entry),
            _ => return Done::Moved { key, to: None },
        };
        let extents = moved.pieces.iter().copied().chain(place.extent);
        let (bytes, elsewhere) = parts(slot, place.length, extents);
        let Some(entry) = self.index.get_mut(key) else { return Done::Moved { key, to: None } };
        let old: Vec<Part> = entry.parts().collect();
        entry.move_to((slot, place.offset), bytes, elsewhere, birth);
        let new: Vec<Part> = entry.parts().collect();
        new.into_iter().for_each(|(slot, bytes)| self.pin(slot, bytes));
        for (slot, bytes) in &old {
            // Not live there any more, but perhaps being read: `live` counts it until it is left.
            let slot = &mut self.slots[usize::from(*slot)];
            slot.bytes = slot.bytes.saturating_sub(u64::from(*bytes));
        }
        let from = moved.from.slot;
        self.compaction.leaving.push((from, old.into_iter().map(|(slot, _)| slot).collect()));
        if from != slot {
            // While the old record can be found by a fold, this one must be found too.
            let about = self.slots[usize::from(from)].sequence;
            self.slots[usize::from(slot)].about.insert(about);
        }
        let location = Location { lane: self.number(), slot, offset: place.offset };
        let inline = place.extent.map_or(0, |extent| extent.length);
        Done::Moved { key, to: Some((location, u64::from(place.length) + u64::from(inline))) }
    }

    /// Segments whose records moved and may still be read there, each once.
    pub fn leaving(&self) -> BTreeSet<u16> {
        self.compaction.leaving.iter().map(|(slot, _)| *slot).collect()
    }

    /// Nobody reads the old places of messages that moved out of this segment any more.
    pub fn left(&mut self, slot: u16) {
        let mut leaving = std::mem::take(&mut self.compaction.leaving);
        leaving.retain(|(from, parts)| {
            if *from == slot {
                parts.iter().for_each(|part| self.unpin(*part, 0));
            }
            *from != slot
        });
        self.compaction.leaving = leaving;
    }

    /// Old segments whose few live messages keep newer ones from being freed, because outcomes about them lie there. A census
    /// of each sets these free.
    pub fn census_due(&mut self) -> Vec<Census> {
        let held = self.slots.iter().filter(|slot| slot.is_held()).count();
        // With few segments left there is no waiting for more to come together.
        let hurry = || self.pool.len() <= limits::SEGMENTS_RESERVED || self.is_sparse();
        if held == 0 || (held < CENSUS_AT && !hurry()) {
            return Vec::new();
        }
        let about = self.held_about();
        // What was too large is measured again when half of it is gone.
        let worth = |slot: &Slot| slot.large_at.is_none_or(|large| slot.live <= large / 2);
        let mut lengths: BTreeMap<u16, usize> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| {
                // One without live mail that is itself held, and by more than what is just being freed.
                let matters = slot.live > 0 || slot.settled.is_some() || (slot.is_held() && !self.look);
                !slot.is_asked && matters && about.contains(&slot.sequence) && worth(slot)
            })
            .take(CENSUSES_MAX)
            .map(|(slot, of)| (slot as u16, 64 + 6 * of.settled.as_ref().map_or(0, Vec::len)))
            .collect();
        if lengths.is_empty() {
            return Vec::new();
        }
        for (_, entry) in self.index.iter() {
            if let Some(length) = lengths.get_mut(&entry.slot) {
                *length += 6 + self.state_length(entry);
            }
        }
        for (slot, length) in &lengths {
            let slot = &mut self.slots[usize::from(*slot)];
            slot.large_at = (*length >= batch::CENSUS_MAX).then_some(slot.live);
        }
        lengths.retain(|_, length| *length < batch::CENSUS_MAX);
        let mut due = Vec::new();
        for slot in lengths.into_keys() {
            let of = &mut self.slots[usize::from(slot)];
            of.is_asked = true;
            due.push(Census { slot, sequence: of.sequence });
        }
        due
    }

    fn state_length(&self, entry: &Entry) -> usize {
        entry.live().iter().map(|range| record::FATE + self.replies.text(range.reply).len()).sum()
    }
}
