//! Is a lane sound? Every header, commit header, record and body is read, and everything that names something else is looked up.

use crate::id::MessageId;
use crate::limits;
use crate::spool::fold::{self, Damage, Files, SpoolRefusal};
use crate::spool::inspect::message::{self, Fault};
use crate::spool::inspect::walk::{self, Salvage, Step};
use crate::spool::inspect::{FoundSegment, Survey, Unsound, survey};
use crate::spool::lane::Shape;
use crate::spool::record::{self, Extent, MessageView, Record, RecordKind};
use crate::spool::segment::{FIRST_COMMIT, FieldReader, LaneOrigin};

/// Damage in a part that was synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rot {
    /// The file.
    pub slot: u16,
    /// Sequence number of its segment; 0 if its header is damaged.
    pub sequence: u32,
    /// Where, bytes.
    pub offset: u64,
    /// The message it hits, if it hits one that can be named.
    pub message: Option<MessageId>,
    /// Whether that message still has recipients to be delivered; None where the damage hides it.
    pub live: Option<bool>,
    /// What is wrong.
    pub what: String,
}

/// A commit that was under way when the writer stopped, or is under way now. Nobody was told that its mail is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub slot: u16,
    /// Where the commit begins, bytes.
    pub offset: u64,
    /// Messages in it, as far as they can be told.
    pub messages: Vec<MessageId>,
}

/// What a lane holds and whether it is sound.
#[derive(Clone, Debug, Default)]
pub struct LaneReport {
    /// Segments in use.
    pub active: usize,
    /// Segments emptied or never used.
    pub free: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of bodies that were read and checked.
    pub bodies: u64,
    /// Messages with recipients to be delivered.
    pub messages: usize,
    /// These recipients.
    pub recipients: u64,
    /// Torn tails: no fault.
    pub torn: Vec<TornTail>,
    /// Damage, at most ten thousand.
    pub rot: Vec<Rot>,
    /// More damage than that.
    pub rot_more: u64,
}

impl LaneReport {
    /// Whether nothing that was synced is damaged.
    pub fn is_sound(&self) -> bool {
        self.rot.is_empty() && self.rot_more == 0
    }

    /// Leaves only the damage that `other`, a second look, has seen too: what the first took for damage may have been a
    /// commit that was just being written.
    pub fn confirm(&mut self, other: &LaneReport) {
        if self.rot_more == 0 && other.rot_more == 0 {
            self.rot.retain(|rot| other.rot.contains(rot));
        }
    }
}

struct Verifier<'a, F> {
    files: &'a F,
    survey: &'a Survey,
    /// File and offset of every live message, sorted.
    live: Vec<(u16, u32)>,
    /// Sequence, offset and recipients of every message met, in order.
    met: Vec<(u32, u32, u16)>,
    /// Segments whose records are not all known.
    holes: Vec<u32>,
    report: LaneReport,
}

/// Verifies a lane. Holds one commit at a time, and a few bytes for each message.
pub fn verify(files: &impl Files, lane: u16, origin: LaneOrigin) -> Result<LaneReport, SpoolRefusal> {
    let survey = survey(files, origin)?;
    let segment_size = limits::SEGMENT_SIZE_DEFAULT;
    let folded = fold::fold(Shape { lane, origin, segment_size, segments_max: limits::SEGMENTS_MAX }, files)?;
    let mut live: Vec<_> = folded.lane.entries().map(|(_, entry)| (entry.slot, entry.offset)).collect();
    live.sort_unstable();
    let ranges = folded.lane.entries().flat_map(|(_, entry)| entry.live().to_vec());
    let report = LaneReport {
        active: survey.active.len(),
        free: survey.free,
        bytes: survey.bytes,
        messages: live.len(),
        recipients: ranges.map(|range| u64::from(range.count)).sum(),
        ..LaneReport::default()
    };
    let (met, holes) = (Vec::new(), Vec::new());
    let mut verifier = Verifier { files, survey: &survey, live, met, holes, report };
    verifier.headers();
    for found in &survey.active {
        walk::walk(files, found, |step| verifier.step(found, step));
    }
    let mut report = verifier.report;
    // The fold has its own eyes; what it alone sees is not left out.
    for Damage { slot, offset, message, what } in folded.damage {
        let same = |rot: &Rot| {
            rot.slot == slot && (rot.offset == offset || (message.is_some() && rot.message == message))
        };
        let seen = report.rot.iter_mut().find(|rot| same(rot));
        if let Some(seen) = seen {
            // Perhaps it can name the message. A header has none of its own.
            seen.message = seen.message.or(message.filter(|_| offset > 0));
        } else if report.rot.len() < limits::ROT_TOLD_MAX {
            let sequence = survey.at(slot).map_or(0, |found| found.header.sequence);
            report.rot.push(Rot { slot, sequence, offset, message, live: None, what });
        }
    }
    Ok(report)
}

impl<F: Files> Verifier<'_, F> {
    fn rot(&mut self, found: &FoundSegment, offset: u64, what: impl Into<String>) {
        let (slot, sequence) = (found.slot, found.header.sequence);
        self.push(Rot { slot, sequence, offset, message: None, live: None, what: what.into() });
    }

    fn push(&mut self, rot: Rot) {
        if self.report.rot.len() < limits::ROT_TOLD_MAX {
            self.report.rot.push(rot);
        } else {
            self.report.rot_more += 1;
        }
    }

    /// A record's id, which is where it was first stored: the header of its segment knows the lane.
    fn id(&self, found: &FoundSegment, offset: u32) -> MessageId {
        MessageId { lane: found.header.origin.lane, sequence: found.header.sequence, offset }
    }

    /// Headers that cannot be, or that contradict each other.
    fn headers(&mut self) {
        let survey = self.survey;
        for Unsound { slot, what, messages } in &survey.damaged {
            let sequence = survey.at(*slot).map_or(0, |found| found.header.sequence);
            let rot = |message, what| Rot { slot: *slot, sequence, offset: 0, message, live: None, what };
            self.push(rot(None, what.clone()));
            for id in messages {
                self.push(rot(Some(*id), "out of reach: it is not delivered".to_owned()));
            }
        }
        for (place, found) in survey.active.iter().enumerate() {
            let header = found.header;
            if header.slot != found.slot {
                self.rot(found, 0, format!("its header is that of segment {}", header.slot));
            }
            if header.predecessor >= header.sequence && !found.lost {
                self.rot(found, 0, "its header names a predecessor that is younger");
            }
            if place > 0 && survey.active[place - 1].header.sequence == header.sequence {
                self.rot(found, 0, format!("a second segment with the number {}", header.sequence));
            }
            if found.sealed && found.end < FIRST_COMMIT {
                self.rot(found, 0, "its successor says that it ends before it begins");
            }
        }
    }

    fn step(&mut self, found: &FoundSegment, step: Step<'_>) {
        match step {
            Step::Record { offset, record } => self.record(found, offset, &record),
            Step::Rot { from, to, records } => self.gap(found, from, to, &records),
            Step::Torn { from, messages } => {
                self.report.torn.push(TornTail { slot: found.slot, offset: from, messages });
            }
        }
    }

    /// Commits that do not count although they were synced.
    fn gap(&mut self, found: &FoundSegment, from: u64, to: u64, records: &[Salvage]) {
        self.holes.push(found.header.sequence);
        let damaged = records.iter().any(|record| !record.whole);
        if !damaged {
            self.rot(found, from, format!("no sound commit between here and {to}"));
        }
        for record in records {
            // Recovery has looked at the same bytes: what it made of them is what a start does.
            let live = self.live.binary_search(&(found.slot, record.offset)).is_ok();
            let body = if record.whole && live { self.body_of(found, record.offset) } else { Ok(()) };
            let (live, what) = match (record.whole, record.message) {
                (true, false) => continue,
                (true, true) if body.is_err() => (Some(true), "its commit is damaged, and its body"),
                (true, true) if live => (Some(true), "whole, though its commit is damaged: it is delivered"),
                (true, true) => (Some(false), "whole, though its commit is damaged, and settled"),
                (false, true) => (None, "its record is damaged: it is not delivered"),
                (false, false) => (None, "a record is damaged"),
            };
            let message = record.message.then(|| self.id(found, record.offset));
            let (slot, sequence) = (found.slot, found.header.sequence);
            let offset = u64::from(record.offset);
            self.push(Rot { slot, sequence, offset, message, live, what: what.to_owned() });
        }
    }

    /// Reads the body of the message whose record stands there.
    fn body_of(&self, found: &FoundSegment, offset: u32) -> Result<(), Fault> {
        let room = found.end.saturating_sub(offset.into()).min(limits::COMMIT_BYTES_MAX as u64);
        let bytes = self.files.read(found.slot, offset.into(), room as usize).map_err(Fault::Io)?;
        let record = record::read(&bytes, found.header.salt, offset.into()).map_err(|_| Fault::Damaged)?;
        let view = MessageView::parse(record.payload).map_err(|_| Fault::Damaged)?;
        view.extents().try_for_each(|extent| message::read_extent(self.files, self.survey, &extent).map(drop))
    }

    fn record(&mut self, found: &FoundSegment, offset: u32, record: &Record<'_>) {
        let at = u64::from(offset);
        let mut payload = FieldReader(record.payload);
        let sense = match record.kind {
            kind if kind == RecordKind::Message as u8 => match MessageView::parse(record.payload) {
                Ok(view) => {
                    self.message(found, offset, &view);
                    Some(())
                }
                Err(_) => None,
            },
            kind if kind == RecordKind::Chunk as u8 => self.chunk(found, payload),
            kind if RecordKind::is_outcome(kind) => self.outcome(found, at, &mut payload),
            kind if RecordKind::snapshot(kind).is_some() => self.snapshot(found, at, &mut payload),
            _ => Some(()),
        };
        if sense.is_none() {
            self.rot(found, at, "the record is whole but makes no sense");
        }
    }

    fn message(&mut self, found: &FoundSegment, offset: u32, view: &MessageView<'_>) {
        let sequence = found.header.sequence;
        self.met.push((sequence, offset, view.count));
        let live = self.live.binary_search(&(found.slot, offset)).is_ok();
        let mut wrong = Vec::new();
        let names_its_place = match view.state() {
            // One that moved keeps the id of where it was first stored.
            Ok(Some(_)) => view.id.lane == found.header.origin.lane && view.id.sequence <= sequence,
            Ok(None) => view.id == self.id(found, offset),
            Err(_) => false,
        };
        if !names_its_place {
            wrong.push((u64::from(offset), "its record names another place".to_owned()));
        }
        let size: u64 = view.extents().map(|extent| u64::from(extent.length)).sum();
        if size != view.size || u64::from(view.header_length) > view.size {
            wrong.push((u64::from(offset), "its body is not as long as its record says".to_owned()));
        }
        for extent in view.extents() {
            match message::read_extent(self.files, self.survey, &extent) {
                Ok(body) => self.report.bodies += body.len() as u64,
                // Of a settled message the segments of its other pieces may have gone before.
                Err(Fault::Gone) if !live => {}
                Err(fault) => {
                    // The chunk has its own record, where the same was seen.
                    self.report.rot.retain(|rot| !same_piece(rot, &extent));
                    let place = if extent.slot == found.slot { "" } else { " in another segment" };
                    let what =
                        format!("its body ({} bytes at {}{place}) {fault}", extent.length, extent.offset);
                    wrong.push((u64::from(extent.offset), what));
                }
            }
        }
        for (at, what) in wrong {
            let (slot, message) = (found.slot, Some(view.id));
            self.push(Rot { slot, sequence, offset: at, message, live: Some(live), what });
        }
    }

    fn chunk(&mut self, found: &FoundSegment, mut payload: FieldReader<'_>) -> Option<()> {
        let extent = record::read_extent(&mut payload)?;
        if (extent.sequence, extent.slot) != (found.header.sequence, found.slot) {
            return None;
        }
        match message::read_extent(self.files, self.survey, &extent) {
            Ok(body) => self.report.bodies += body.len() as u64,
            Err(fault) => {
                self.rot(found, u64::from(extent.offset), format!("{PIECE} {fault}"));
            }
        }
        Some(())
    }

    /// Whether a record may speak of this message: it was met, or lies where nothing can be told.
    fn is_known(&self, sequence: u32, offset: u32, end: u32) -> bool {
        if self.survey.by_sequence(sequence).is_none() || self.holes.contains(&sequence) {
            return true;
        }
        let place = self.met.binary_search_by_key(&(sequence, offset), |met| (met.0, met.1));
        place.is_ok_and(|place| end <= u32::from(self.met[place].2))
    }

    fn outcome(&mut self, found: &FoundSegment, at: u64, payload: &mut FieldReader<'_>) -> Option<()> {
        let (sequence, offset) = (payload.u32()?, payload.u32()?);
        let (first, count, _) = record::read_disposition(payload)?;
        if !self.is_known(sequence, offset, u32::from(first) + u32::from(count)) {
            self.rot(found, at, format!("an outcome of a message that is not there ({sequence}, {offset})"));
        }
        Some(())
    }

    fn snapshot(&mut self, found: &FoundSegment, at: u64, payload: &mut FieldReader<'_>) -> Option<()> {
        let (sequence, messages) = (payload.u32()?, payload.u32()?);
        for _ in 0..messages {
            let (offset, ranges) = (payload.u32()?, payload.u16()?);
            for _ in 0..ranges {
                let (first, count, _) = record::read_disposition(payload)?;
                if !self.is_known(sequence, offset, u32::from(first) + u32::from(count)) {
                    let what = format!("a snapshot names a message that is not there ({sequence}, {offset})");
                    self.rot(found, at, what);
                }
            }
        }
        Some(())
    }
}

const PIECE: &str = "a piece of a body";

fn same_piece(rot: &Rot, extent: &Extent) -> bool {
    rot.slot == extent.slot
        && rot.offset == u64::from(extent.offset)
        && rot.message.is_none()
        && rot.what.starts_with(PIECE)
}
