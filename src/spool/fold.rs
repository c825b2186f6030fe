//! Recovery: the records of a lane, oldest first, folded into its state.
//!
//! A valid commit header says that everything before it was synced, and so does a later segment that names the end of this one. Damage
//! before is rot: it is reported, what is whole around it counts, and the segment is kept out of use. Damage behind the last
//! commit header of the last segment is a torn tail: a commit nobody was told about. Headers are looked for on block boundaries only; their salt keeps the bytes of
//! bodies from passing for them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::id::{Location, MessageId, Position};
use crate::limits;
use crate::queue::outcome::Stored;
use crate::spool::commit::{Commit, NoCommit};
pub use crate::spool::files::Files;
use crate::spool::headed::Headed;
use crate::spool::index::{self, Entry, Index, Replies};
use crate::spool::lane::{Lane, Shape};
use crate::spool::missing::{MissingRecords, Spot};
use crate::spool::record::{self, Extent, MessageView, RecordError, RecordKind};
use crate::spool::salvage::{self, Piece};
use crate::spool::segment::{self, COMMIT_HEADER, FieldReader};
use crate::spool::segments::Segments;
use crate::spool::since::{Happened, Since};
use crate::spool::slot::{SegmentState, Slot};
use crate::spool::survey::{self, FileState, Lookout, MISSING, SegmentFile, UNKNOWN};
pub use crate::spool::trouble::{Damage, SpoolRefusal};

/// What the fold found.
#[derive(Debug)]
pub struct Folded {
    /// The lane, ready to go on in a fresh segment.
    pub lane: Lane,
    /// Damage in synced parts. Nothing of it is overwritten.
    pub damage: Vec<Damage>,
    /// Commits at the end that are not whole and were dropped: cut off before anybody was told about them, or damaged since.
    pub torn: u32,
    /// Messages in these, as far as they can be told.
    pub torn_messages: Vec<MessageId>,
    /// The node stopped in order the last time, or the lane never had anything in it.
    pub clean: bool,
    /// What is to be written again and synced before anything else is.
    pub unsure: Unsure,
    /// What was recorded since the position that was asked about.
    pub since: Since,
}

/// What a start reads, and what may be nowhere but in memory: after a failed sync the kernel keeps the bytes, calls them clean, and
/// writes them no more. Everything else was synced, or does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsure {
    /// The last commit, and the header of its segment.
    pub last: Option<Tail>,
    /// Segments whose header says that they are free.
    pub free: Vec<u16>,
}

/// The last commit of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Its file.
    pub slot: u16,
    /// Where the last valid commit begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// CRC32C of all of it, as it was read here; None: not all of it can be read.
    pub crc: Option<u32>,
}

/// What the headers say.
struct Survey {
    slots: Vec<Slot>,
    pool: Vec<u16>,
    found: Vec<Headed>,
    /// Sequence number.
    highest: u32,
}

#[derive(Default)]
struct Remains {
    slot: u16,
    messages: HashMap<u32, Entry>,
    /// Where messages stood that have moved.
    left: Vec<u32>,
    about: BTreeSet<u32>,
}

struct Fold<'a, F> {
    files: &'a F,
    shape: Shape,
    /// By sequence number.
    segments: BTreeMap<u32, Remains>,
    /// Where messages lie now that moved, by where they were first stored.
    moved: HashMap<Spot, Spot>,
    replies: Replies,
    missing: MissingRecords,
    found_damage: Vec<Damage>,
    quarantined: Vec<u16>,
    torn: u32,
    torn_messages: Vec<MessageId>,
    unsure: Unsure,
    since: Since,
}

/// Folds a lane.
pub fn fold(shape: Shape, files: &impl Files) -> Result<Folded, SpoolRefusal> {
    fold_since(shape, files, None, 0)
}

/// Folds a lane, and says what was recorded in it from a position on, so many records of it.
pub fn fold_since(
    shape: Shape,
    files: &impl Files,
    from: Option<Position>,
    most: usize,
) -> Result<Folded, SpoolRefusal> {
    let mut fold = Fold {
        files,
        shape,
        segments: BTreeMap::new(),
        moved: HashMap::new(),
        replies: Replies::default(),
        missing: MissingRecords::default(),
        found_damage: Vec::new(),
        quarantined: Vec::new(),
        torn: 0,
        torn_messages: Vec::new(),
        unsure: Unsure::default(),
        since: Since::new(from, most),
    };
    let Survey { mut slots, pool, mut found, highest } = fold.survey()?;
    found.sort_by_key(|found| found.header.sequence);
    let (last, mut tail) = fold.segments(&found, &mut slots)?;
    if let Some(tail) = &mut tail {
        let bytes = files.read(tail.slot, tail.from.into(), (tail.to - tail.from) as usize);
        tail.crc = bytes.ok().map(|bytes| crc32c::crc32c(&bytes));
    }
    // A header that cannot be read may hold a higher number, and none is used twice.
    let gap = if fold.quarantined.is_empty() { 0 } else { limits::UNREADABLE_GAP };
    let next_sequence = u32::saturating_add(highest, 1 + gap);
    fold.name_missing();
    let index = fold.finish(&mut slots);
    let (mut clean, mut loose) = (true, None);
    if let (Some(tail), Some(segment)) = (tail, found.last()) {
        clean = segment
            .commits(files)
            .commit_header(u64::from(tail.from))
            .is_some_and(|commit_header| commit_header.clean);
        // A commit that does not count: the next header will say so.
        let torn = segment.commits(files).has_traces(u64::from(tail.to));
        loose = torn.then_some(segment.header.sequence);
    }
    let segments = Segments::found(shape, slots, pool, next_sequence, last, loose);
    let lane = Lane::found(segments, index, fold.replies);
    Ok(Folded {
        lane,
        damage: fold.found_damage,
        torn: fold.torn,
        torn_messages: fold.torn_messages,
        clean,
        unsure: Unsure { last: tail, ..fold.unsure },
        since: fold.since,
    })
}

impl<F: Files> Fold<'_, F> {
    /// Reads all headers.
    fn survey(&mut self) -> Result<Survey, SpoolRefusal> {
        let least = self.shape.segment_size.min(limits::SEGMENT_SIZE_MIN);
        let Lookout { seen, missing } = survey::look(self.files, self.shape.origin, least)?;
        let last = seen.iter().map(|one| usize::from(one.slot)).max();
        let mut survey = Survey {
            slots: vec![Slot::ABSENT; last.map_or(0, |last| last + 1)],
            pool: Vec::new(),
            found: Vec::new(),
            highest: 0,
        };
        for slot in missing {
            self.damage(slot, 0, None, MISSING);
            self.quarantined.push(slot);
        }
        for one in &seen {
            self.file(one, &mut survey);
        }
        // With a later segment, it failed, and its clients were told so.
        let last = |one: &SegmentFile| matches!(one.said, FileState::Torn(Some(sequence)) if sequence > survey.highest);
        self.torn += seen.iter().filter(|one| last(one)).count() as u32;
        Ok(survey)
    }

    /// What becomes of one file.
    fn file(&mut self, one: &SegmentFile, survey: &mut Survey) {
        let SegmentFile { slot, size, ref said } = *one;
        survey.highest = survey.highest.max(said.header().map_or(0, |header| header.sequence));
        let place = &mut survey.slots[usize::from(slot)];
        place.size = size;
        match said {
            FileState::Unused | FileState::Torn(_) => {
                place.state = SegmentState::Free;
                survey.pool.push(slot);
            }
            FileState::Free(_) => {
                place.state = SegmentState::Free;
                survey.pool.push(slot);
                self.unsure.free.push(slot);
            }
            FileState::Active(header) => {
                (place.state, place.sequence, place.salt) =
                    (SegmentState::Sealed, header.sequence, header.salt);
                survey.found.push(Headed { slot, header: *header, size });
            }
            FileState::Damaged { what, header, messages } => {
                if let Some(header) = *header {
                    (place.sequence, place.salt) = (header.sequence, header.salt);
                    survey.found.push(Headed { slot, header, size });
                }
                self.damage(slot, 0, None, &**what);
                self.quarantined.push(slot);
                for message in messages {
                    self.damage(slot, 0, Some(*message), format!("message {message} is out of reach"));
                }
            }
        }
    }

    /// The file of a segment.
    fn slot_of(&self, sequence: u32) -> Option<u16> {
        self.segments.get(&sequence).map(|segment| segment.slot)
    }

    /// Damage is never passed over in silence.
    fn damage(&mut self, slot: u16, offset: u64, message: Option<MessageId>, what: impl Into<String>) {
        self.found_damage.push(Damage { slot, offset, message, what: what.into() });
    }

    /// Folds all segments, which stand in the order of their numbers; returns number, valid end and file of the last one.
    fn segments(
        &mut self,
        found: &[Headed],
        slots: &mut [Slot],
    ) -> Result<((u32, u32), Option<Tail>), SpoolRefusal> {
        let mut last = (0, 0);
        let mut tail = None;
        for (place, segment) in found.iter().enumerate() {
            // A header that was lost and found out states nothing.
            let next = found[place + 1..].iter().find(|next| next.header.predecessor != UNKNOWN);
            let end = next.and_then(|next| segment.stated_end(&next.header));
            // A commit that failed left its traces behind the valid end. Or the header is lost, and the next one may be all that
            // tells its number.
            if let Some(end) = end
                && (segment.header.predecessor == UNKNOWN
                    || segment.commits(self.files).has_traces(u64::from(end)))
            {
                // Each later header that says so: any one of them may stand in memory only.
                let own = segment.header.sequence;
                for next in found[place + 1..].iter().filter(|next| next.header.predecessor <= own) {
                    slots[usize::from(next.slot)].cuts.insert(own);
                }
            }
            let (from, to) = self.segment(segment, end, place + 1 < found.len())?;
            last = (segment.header.sequence, to);
            tail = Some(Tail { slot: segment.slot, from, to, crc: None });
        }
        Ok((last, tail))
    }

    /// Folds one segment; returns where its last valid commit begins and ends. `end` is what the next one says of that, `sealed` whether any later one
    /// was begun.
    fn segment(
        &mut self,
        found: &Headed,
        end: Option<u32>,
        sealed: bool,
    ) -> Result<(u32, u32), SpoolRefusal> {
        let sequence = found.header.sequence;
        self.segments.insert(sequence, Remains { slot: found.slot, ..Remains::default() });
        let stated = end.is_some();
        if end.is_some_and(|end| u64::from(end) > found.size) {
            self.damage(
                found.slot,
                found.size,
                None,
                format!("the file is cut off at {}; some mail is lost", found.size),
            );
            self.quarantined.push(found.slot);
        }
        let end = end.map_or(found.size, u64::from).min(found.size);
        let mut at = segment::FIRST_COMMIT;
        let (mut from, mut valid) = (at, at);
        let commits = found.commits(self.files);
        while at < end {
            match commits.whole(at, end, sealed) {
                Ok(commit) => {
                    let next = commit.next;
                    self.commit(found, at, commit)?;
                    (from, valid) = (at, next);
                    at = next;
                }
                Err(why) => {
                    // A later commit header says that all of this was synced, and so does the next segment's header, up to the end it states.
                    // If that segment was recycled, no commit had failed here, or it would have been kept: so traces of a commit
                    // are rot too.
                    let was_there = why != NoCommit::Absent || commits.has_traces(at);
                    let vouched = stated || (sealed && was_there);
                    let proof = commits.next_mark(at + limits::BLOCK, end).or(vouched.then_some(end));
                    if why == NoCommit::Absent
                        && let Some(newer) = found.newer(self.files, at)
                    {
                        return Err(newer);
                    }
                    let Some(next) = proof else {
                        let length = limits::BLOCK.min(end - at);
                        if let Err(error) = self.files.read(found.slot, at, length as usize) {
                            let words =
                                format!("cannot be read at {at}: {error}; some mail there may be lost");
                            self.damage(found.slot, at, None, words);
                            self.quarantined.push(found.slot);
                        } else if was_there {
                            self.torn += 1;
                            let lane = self.shape.origin.lane;
                            let (slot, header) = (found.slot, &found.header);
                            let names = salvage::torn_messages(self.files, slot, header, lane, (at, end));
                            self.torn_messages.extend(names);
                        }
                        break;
                    };
                    at = self.salvage(found, at, next)?;
                    // Rot is not written again.
                    (from, valid) = (at, at);
                }
            }
        }
        let offset = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
        Ok((offset(from), offset(valid)))
    }

    /// Rot in the commit at `at`, which was synced: what is whole of it counts, what is not is named. Returns where to go on, at most `next`.
    fn salvage(&mut self, found: &Headed, at: u64, next: u64) -> Result<u64, SpoolRefusal> {
        let slot = found.slot;
        self.quarantined.push(slot);
        salvage::salvage(self.files, (slot, found.header.salt), (at, next), |piece| match piece {
            Piece::Unknown => {
                let what = format!("damaged between {at} and {next}; some mail there may be lost");
                self.damage(slot, at, None, what);
                Ok(())
            }
            Piece::Whole { bytes, offset } => self.record(found, bytes, offset),
            Piece::Damaged { bytes, offset } => {
                let lane = self.shape.origin.lane;
                let (message, what) = salvage::lost(&found.header, lane, bytes, offset);
                let what = format!("the record at {offset} is damaged: {what}");
                self.damage(slot, offset.into(), message, what);
                Ok(())
            }
        })
    }

    /// Folds the whole commit at `at`.
    fn commit(&mut self, found: &Headed, at: u64, commit: Commit) -> Result<(), SpoolRefusal> {
        for place in commit.offsets {
            let offset = u32::try_from(at + (COMMIT_HEADER + place) as u64).unwrap_or(u32::MAX);
            self.record(found, &commit.records[place..], offset)?;
        }
        Ok(())
    }

    /// One whole record counts.
    fn record(&mut self, found: &Headed, bytes: &[u8], offset: u32) -> Result<(), SpoolRefusal> {
        let Ok(record) = record::read(bytes, found.header.salt, u64::from(offset)) else { return Ok(()) };
        let (slot, sequence) = (found.slot, found.header.sequence);
        let damaged = match record.kind {
            kind if kind == RecordKind::Message as u8 => match MessageView::parse(record.payload) {
                Ok(view) => self.message(found, &view, record.length as u32, offset).is_err(),
                Err(RecordError::Unknown(tag)) => {
                    return Err(SpoolRefusal::Newer(format!(
                        "segment {slot} has a message with the unknown field {tag}"
                    )));
                }
                Err(RecordError::Damaged) => true,
            },
            kind if RecordKind::is_outcome(kind) => {
                let read = self.outcome((sequence, offset), FieldReader(record.payload));
                if read.is_none()
                    && let Some(code) = RecordKind::unknown_end(kind, record.payload)
                {
                    return Err(SpoolRefusal::Newer(format!(
                        "segment {slot} has an outcome of the unknown kind {code}"
                    )));
                }
                read.is_none()
            }
            kind if RecordKind::snapshot(kind).is_some() => {
                let partial = RecordKind::snapshot(kind) == Some(true);
                self.snapshot(sequence, FieldReader(record.payload), partial).is_none()
            }
            kind if kind == RecordKind::Chunk as u8 => false,
            kind if kind & record::CRITICAL != 0 => {
                return Err(SpoolRefusal::Newer(format!(
                    "segment {slot} has a record of the unknown type {kind}"
                )));
            }
            _ => false,
        };
        if damaged {
            self.damage(
                slot,
                offset.into(),
                None,
                format!("the record at {offset} is whole but makes no sense"),
            );
            self.quarantined.push(slot);
        }
        Ok(())
    }

    /// A message, new or moved.
    fn message(
        &mut self,
        found: &Headed,
        view: &MessageView<'_>,
        length: u32,
        offset: u32,
    ) -> Result<(), RecordError> {
        let (slot, sequence) = (found.slot, found.header.sequence);
        // A piece whose segment is gone pins nothing: its file is another's now, or nobody's.
        let known = |extent: &Extent| {
            (extent.sequence, extent.slot) == (sequence, slot)
                || self.segments.get(&extent.sequence).is_some_and(|other| other.slot == extent.slot)
        };
        let (bytes, elsewhere) = index::parts(slot, length, view.extents().filter(known));
        let mut entry = Entry::new(slot, offset, view.count, bytes, elsewhere);
        if let Some(state) = view.state()? {
            if !in_order(&state, view.count) {
                return Err(RecordError::Damaged);
            }
            entry.replace(&state, &mut self.replies);
            let origin = (view.id.sequence, view.id.offset);
            entry.set_origin(origin);
            // The record it was moved from does not count any more. Where that one is gone and an older one is still found,
            // a snapshot has it dead; this record brings it back.
            let (from, at) = self.moved.insert(origin, (sequence, offset)).unwrap_or(origin);
            self.missing.found(origin);
            if let Some(old) = self.segments.get_mut(&from) {
                old.left.push(at);
                if let Some(mut entry) = old.messages.remove(&at) {
                    entry.forget(&mut self.replies);
                }
            }
            if from != sequence && self.segments.contains_key(&from) {
                self.segments.entry(sequence).or_default().about.insert(from);
            }
        } else {
            for (first, count, begun) in view.begun() {
                entry.apply(first, count, &begun, &mut self.replies);
            }
            let lane = self.shape.lane;
            self.since.note((sequence, offset), || Happened::Message(Location { lane, slot, offset }));
        }
        self.segments.entry(sequence).or_default().messages.insert(offset, entry);
        Ok(())
    }

    fn outcome(&mut self, (sequence, place): (u32, u32), mut payload: FieldReader<'_>) -> Option<()> {
        let origin = (payload.u32()?, payload.u32()?);
        let (first, count, disposition) = record::read_disposition(&mut payload)?;
        let (about, offset) = self.moved.get(&origin).copied().unwrap_or(origin);
        // A segment that is gone was free, and nothing of it was live.
        let Some(segment) = self.segments.get_mut(&about) else { return Some(()) };
        if let Some(entry) = segment.messages.get_mut(&offset) {
            let settled = entry.apply(first, count, &disposition, &mut self.replies);
            // One that is read twice counts once.
            if settled > 0 || matches!(disposition, Stored::Deferred(_)) {
                let of = Location { lane: self.shape.lane, slot: segment.slot, offset };
                self.since.note((sequence, place), || Happened::Outcome { of, first, count, disposition });
            }
        } else if self.quarantined.contains(&segment.slot) {
            self.missing.outcome(origin, first, count, &disposition);
        }
        if about != sequence {
            self.segments.entry(sequence).or_default().about.insert(about);
        }
        Some(())
    }

    fn snapshot(&mut self, sequence: u32, mut payload: FieldReader<'_>, partial: bool) -> Option<()> {
        let (about, count) = (payload.u32()?, payload.u32()?);
        let mut listed = HashMap::new();
        for _ in 0..count {
            let (offset, ranges) = (payload.u32()?, payload.u16()?);
            let ranges: Option<Vec<_>> =
                (0..ranges).map(|_| record::read_disposition(&mut payload)).collect();
            listed.insert(offset, ranges?);
        }
        // None is ever written of its own segment.
        let Some(segment) = self.segments.get_mut(&about).filter(|_| about != sequence) else {
            return Some(());
        };
        let sound =
            |entry: &Entry| listed.get(&entry.offset).is_none_or(|ranges| in_order(ranges, entry.total));
        if !segment.messages.values().all(sound) {
            return None;
        }
        for (offset, entry) in &mut segment.messages {
            match listed.get(offset) {
                Some(ranges) => entry.replace(ranges, &mut self.replies),
                None if partial => {}
                None => entry.replace(&[], &mut self.replies),
            }
        }
        if self.quarantined.contains(&segment.slot) {
            let is_there = |at: &u32| segment.messages.contains_key(at) || segment.left.contains(at);
            self.missing.snapshot(about, &listed, partial, |offset| !is_there(&offset));
        }
        for other in self.segments.values_mut() {
            other.about.remove(&about);
        }
        self.segments.entry(sequence).or_default().about.insert(about);
        Some(())
    }

    /// Names the messages that only their outcomes still know of.
    fn name_missing(&mut self) {
        let lane = self.shape.origin.lane;
        let named: HashSet<MessageId> =
            self.found_damage.iter().filter_map(|damage| damage.message).collect();
        let missing = std::mem::take(&mut self.missing);
        let more = if missing.is_full() { "; there may be more like it than are counted" } else { "" };
        for ((sequence, offset), count) in missing.all() {
            let id = MessageId { lane, sequence, offset };
            let Some(slot) = self.slot_of(sequence).filter(|_| !named.contains(&id)) else { continue };
            let what = format!(
                "message {id} had {count} recipients left and its record is gone: it cannot be delivered{more}"
            );
            self.damage(slot, offset.into(), Some(id), what);
        }
    }

    /// The entries of what is live, which pin its segments.
    fn finish(&mut self, slots: &mut [Slot]) -> Index {
        let mut index = Index::default();
        for slot in &self.quarantined {
            slots[usize::from(*slot)].state = SegmentState::Quarantined;
        }
        let known: BTreeSet<u32> = self.segments.keys().copied().collect();
        for segment in std::mem::take(&mut self.segments).into_values() {
            let slot = &mut slots[usize::from(segment.slot)];
            slot.about = segment.about.intersection(&known).copied().collect();
            let mut messages: Vec<_> = segment.messages.into_iter().collect();
            messages.sort_unstable_by_key(|(offset, _)| *offset);
            if slot.state == SegmentState::Quarantined {
                let dead = messages.iter().filter(|(_, entry)| entry.is_dead()).map(|(offset, _)| *offset);
                slot.settled = Some(segment.left.into_iter().chain(dead).collect());
            }
            for (_, mut entry) in messages {
                if entry.is_dead() {
                    entry.forget(&mut self.replies);
                    continue;
                }
                for (part, bytes) in entry.parts() {
                    // A slot without a file is damage that was reported, or will be when the body is read.
                    if let Some(slot) = slots.get_mut(usize::from(part)) {
                        slot.pin(bytes);
                    }
                }
                index.insert(entry);
            }
        }
        index
    }
}

/// Whether ranges are apart from each other, ascending and of ordinals that a message with `total` recipients has.
fn in_order(ranges: &[(u16, u16, Stored)], total: u16) -> bool {
    let mut next = 0;
    ranges.iter().all(|(first, count, _)| {
        let sound = *first >= next && *count > 0 && first.checked_add(*count).is_some_and(|end| end <= total);
        next = first.saturating_add(*count);
        sound
    })
}
