//! What keeps the disk use of a lane near the bytes that are live in it: snapshots and moves.
//!
//! A *snapshot* sets segments free that hold nothing live, but outcomes about older mail. A *move* writes a live message again,
//! with all that is known of its recipients, so that the sparse segment it lies in can be freed.
//!
//! Call order of a compaction: `Compaction::begin` picks the segments to empty; `Compaction::scan` until it is
//! done; then for each of `Compaction::next` read the message, and queue an [`Item::Piece`](super::batch::Item::Piece)
//! for each `Compaction::takes` of its pieces, and an [`Item::Move`](super::batch::Item::Move);
//! `Compaction::end`. Whoever was told the old place of a message may still read there until the driver says with
//! `Compaction::left` that nobody does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::Location;
use crate::limits;
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::spool::batch::{Moved, RecordPlace, Snapshot};
use crate::spool::index::{self, Entry, Index, Part, Replies};
use crate::spool::record::{self, Extent, RecordKind};
use crate::spool::segments::Segments;
use crate::spool::slot::{SegmentState, Slot};

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

/// The lane takes much more room than what is live in it.
fn is_sparse(segments: &Segments) -> bool {
    let slack = limits::COMPACTION_SLACK * 10 * segments.shape().segment_size;
    segments.sealed_bytes() * 10 > segments.live_bytes() * limits::COMPACTION_TENTHS + slack
}

/// Sealed segments with something live in them that was not found immovable before, and their live bytes.
fn movable(segments: &Segments) -> impl Iterator<Item = (u64, u16)> {
    let sealed = segments.iter().filter(|(_, slot)| {
        slot.state == SegmentState::Sealed && slot.bytes > 0 && slot.stuck_at != Some(slot.live)
    });
    sealed.map(|(place, slot)| (slot.bytes, place))
}

/// The segment with the least live bytes that holds others and has too many messages for a snapshot: to move them frees
/// all it holds.
fn holder(segments: &Segments) -> Option<(u64, u16)> {
    let about = held_about(segments);
    let holds = |(_, slot): &(u64, u16)| {
        let slot = segments.slot(*slot);
        slot.large_at.is_some() && about.contains(&slot.sequence)
    };
    movable(segments).filter(holds).min()
}

/// Sequence numbers of the segments that hold others.
fn held_about(segments: &Segments) -> BTreeSet<u32> {
    let held = segments.iter().filter(|(_, slot)| slot.is_held());
    held.flat_map(|(_, slot)| slot.about.iter().copied()).collect()
}

fn lies<'a>(
    segments: &Segments,
    index: &'a Index,
    (key, location, sequence): (u32, Location, u32),
) -> Option<&'a Entry> {
    let entry = index.get(key).filter(|entry| entry.lies_at(location))?;
    (segments.slot(location.slot).sequence == sequence).then_some(entry)
}

/// Whether the message still lies where it was found: what was read there was read from its segment's own life.
pub(in crate::spool) fn is_still(segments: &Segments, index: &Index, candidate: &Candidate) -> bool {
    let Candidate { key, location, sequence } = *candidate;
    lies(segments, index, (key, location, sequence)).is_some()
}

/// The entry of a message that moves, if it is still live where it was read.
fn to_move<'a>(segments: &Segments, index: &'a Index, moved: &Moved) -> Option<&'a Entry> {
    lies(segments, index, (moved.key, moved.from, moved.sequence))
}

impl Compaction {
    /// Picks the segments to empty, those with the least live bytes first. False: nothing is to be done.
    pub fn begin(&mut self, segments: &Segments) -> bool {
        let sparse = is_sparse(segments);
        if !sparse && !segments.is_short() {
            return false;
        }
        // A victim is freed only when all of it is out, so its bytes must fit, and leave a segment for outcomes.
        let segment = segments.shape().segment_size;
        let mut room = (segments.free() as u64).saturating_sub(1) * segment + segments.room() as u64 / 2;
        room = room.min(segment);
        // More than this and next to nothing is gained.
        let most = if sparse { segment / 10 * 6 } else { segment / 10 * 8 };
        let mut candidates: Vec<(u64, u16)> = movable(segments).filter(|(bytes, _)| *bytes <= most).collect();
        candidates.sort_unstable();
        if candidates.is_empty() && sparse {
            candidates.extend(holder(segments));
        }
        self.victims.clear();
        for (bytes, slot) in candidates.into_iter().take(limits::COMPACTION_SEGMENTS_MAX) {
            let Some(rest) = room.checked_sub(bytes) else { break };
            room = rest;
            self.victims.insert(slot);
        }
        self.cursor = 0;
        self.found.clear();
        !self.victims.is_empty()
    }

    /// Looks through the next `most` entries for messages of the segments to empty; true when all are seen.
    pub fn scan(&mut self, index: &Index, most: u32) -> bool {
        let Compaction { victims, cursor, found, .. } = self;
        // Messages stored meanwhile lie in the open segment.
        let end = index.places();
        let stop = cursor.saturating_add(most).min(end);
        for key in *cursor..stop {
            let Some(entry) = index.get(key) else { continue };
            if key < limits::MOVABLE_KEYS && entry.parts().any(|(slot, _)| victims.contains(&slot)) {
                found.push_back(key);
            }
        }
        *cursor = stop;
        stop == end
    }

    /// The next message to move. It may be settled at any time from now on.
    pub fn next(&mut self, segments: &Segments, index: &Index) -> Option<Candidate> {
        loop {
            let key = self.found.pop_front()?;
            let Some(entry) = index.get(key) else { continue };
            if entry.parts().any(|(slot, _)| self.victims.contains(&slot)) {
                let lane = segments.shape().lane;
                let location = Location { lane, slot: entry.slot, offset: entry.offset };
                let sequence = segments.slot(entry.slot).sequence;
                return Some(Candidate { key, location, sequence });
            }
        }
    }

    /// Whether a piece of a message lies in a segment that is to be emptied.
    pub fn takes(&self, piece: &Extent) -> bool {
        self.victims.contains(&piece.slot)
    }

    /// Whether a message moves with all of its body in one piece, which then needs no
    /// [`Item::Piece`](super::batch::Item::Piece).
    pub fn takes_whole(&self, candidate: &Candidate, pieces: impl Iterator<Item = Extent>) -> bool {
        let mut bytes = 0;
        for piece in pieces {
            bytes += piece.length as usize;
            if piece.slot != candidate.location.slot && !self.takes(&piece) {
                return false;
            }
        }
        bytes <= limits::BODY_GATHER_MAX
    }

    /// All that was found has moved, or could not.
    pub fn end(&mut self, segments: &mut Segments) {
        for victim in std::mem::take(&mut self.victims) {
            // A piece of an upload under way, or what cannot be read: no use trying before something changes.
            segments.gave_up(victim);
        }
        self.found = VecDeque::new();
    }

    /// A message was written to a new place in `slot`: where it lies now, and the bytes that were written. None: it was settled meanwhile.
    pub fn moved(
        &mut self,
        segments: &mut Segments,
        index: &mut Index,
        (slot, place): (u16, RecordPlace),
        moved: &Moved,
    ) -> Option<(Location, u64)> {
        moved.fresh.iter().for_each(|piece| segments.unpin(piece.slot, piece.length));
        let entry = to_move(segments, index, moved).filter(|_| place.length > 0)?;
        let origin = segments.origin(entry);
        let extents = moved.pieces.iter().copied().chain(place.extent);
        let (bytes, elsewhere) = index::parts(slot, place.length, extents);
        let entry = index.get_mut(moved.key)?;
        let old: Vec<Part> = entry.parts().collect();
        entry.move_to((slot, place.offset), bytes, elsewhere, origin);
        entry.parts().for_each(|(slot, bytes)| segments.pin(slot, bytes));
        old.iter().for_each(|(slot, bytes)| segments.moves_out(*slot, *bytes));
        let from = moved.from.slot;
        self.leaving.push((from, old.into_iter().map(|(slot, _)| slot).collect()));
        // While the old record can be found by a fold, this one must be found too.
        segments.tells_about(slot, from);
        let location = Location { lane: segments.shape().lane, slot, offset: place.offset };
        let inline = place.extent.map_or(0, |extent| extent.length);
        Some((location, u64::from(place.length) + u64::from(inline)))
    }

    /// Segments whose records moved and may still be read there, each once.
    pub fn leaving(&self) -> BTreeSet<u16> {
        self.leaving.iter().map(|(slot, _)| *slot).collect()
    }

    /// Nobody reads the old places of messages that moved out of this segment any more.
    pub fn left(&mut self, segments: &mut Segments, slot: u16) {
        self.leaving.retain(|(from, parts)| {
            if *from == slot {
                parts.iter().for_each(|part| segments.unpin(*part, 0));
            }
            *from != slot
        });
    }
}

/// Old segments whose few live messages keep newer ones from being freed, because outcomes about them lie there. A snapshot
/// of each sets these free.
pub(in crate::spool) fn snapshot_due(
    segments: &mut Segments,
    index: &Index,
    replies: &Replies,
) -> Vec<Snapshot> {
    let held = segments.iter().filter(|(_, slot)| slot.is_held()).count();
    // With few segments left there is no waiting for more to come together.
    let hurry = || segments.free() <= limits::SEGMENTS_RESERVED || is_sparse(segments);
    if held == 0 || (held < limits::SNAPSHOT_AT && !hurry()) {
        return Vec::new();
    }
    let about = held_about(segments);
    // What was too large is measured again when half of it is gone.
    let worth = |slot: &Slot| slot.large_at.is_none_or(|large| slot.live <= large / 2);
    let freeing = segments.may_free() || segments.awaits_journal();
    let mut lengths: BTreeMap<u16, usize> = segments
        .iter()
        .filter(|(_, slot)| {
            // One without live mail that is itself held, and by more than what is just being freed.
            let matters = slot.live > 0 || slot.settled.is_some() || (slot.is_held() && !freeing);
            !slot.is_asked && matters && about.contains(&slot.sequence) && worth(slot)
        })
        .take(limits::SNAPSHOTS_AT_ONCE)
        .map(|(slot, of)| (slot, 64 + 6 * of.settled.as_ref().map_or(0, Vec::len)))
        .collect();
    if lengths.is_empty() {
        return Vec::new();
    }
    for (_, entry) in index.iter() {
        if let Some(length) = lengths.get_mut(&entry.slot) {
            *length += 6 + state_length(entry, replies);
        }
    }
    for (slot, length) in &lengths {
        segments.measured(*slot, *length >= limits::SNAPSHOT_MAX);
    }
    lengths.retain(|_, length| *length < limits::SNAPSHOT_MAX);
    lengths.into_keys().map(|slot| Snapshot::new(slot, segments.snapshot_asked(slot))).collect()
}

fn state_length(entry: &Entry, replies: &Replies) -> usize {
    entry.live().iter().map(|range| record::DISPOSITION + replies.text(range.reply).len()).sum()
}

/// Writes a snapshot.
pub(in crate::spool) fn write_snapshot(
    segments: &Segments,
    index: &Index,
    replies: &Replies,
    of: Snapshot,
    out: &mut Vec<u8>,
) -> Option<RecordKind> {
    // It may have been freed meanwhile, and perhaps is in use again.
    let (of, sequence) = of.of();
    let segment = segments.get(of).filter(|slot| slot.sequence == sequence)?;
    let settled = segment.settled.as_deref();
    out.extend_from_slice(&sequence.to_le_bytes());
    let entries: Vec<_> = index.iter().filter(|(_, entry)| entry.slot == of).collect();
    let count = entries.len() + settled.map_or(0, <[u32]>::len);
    out.extend_from_slice(&(count as u32).to_le_bytes());
    for offset in settled.into_iter().flatten() {
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
    }
    let mut held = false;
    for (_, entry) in entries {
        let ranges = entry.live();
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&(ranges.len() as u16).to_le_bytes());
        for range in ranges.iter() {
            held |= range.held;
            record::write_disposition(out, range.first, range.count, &range.stored(replies));
        }
    }
    Some(RecordKind::of_snapshot(settled.is_some(), held))
}

/// Writes what is live of a message that moves, and whether some of it is held; None if it is not live any more where it was read.
pub(in crate::spool) fn write_state(
    segments: &Segments,
    index: &Index,
    replies: &Replies,
    moved: &Moved,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let live = to_move(segments, index, moved)?.live();
    for range in live.iter() {
        let mut stored = range.stored(replies);
        if let Stored::Deferred(StoredDeferral { reply, .. }) = &mut stored
            && reply.len() > limits::REPLY_MOVED_MAX
        {
            let end = (0..=limits::REPLY_MOVED_MAX).rev().find(|at| reply.is_char_boundary(*at));
            *reply = reply[..end.unwrap_or(0)].into();
        }
        record::write_disposition(out, range.first, range.count, &stored);
    }
    Some(live.iter().any(|range| range.held))
}
