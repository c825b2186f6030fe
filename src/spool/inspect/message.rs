//! One message: where it lies, what it says, what became of its recipients.

use std::io;

use crate::id::MessageId;
use crate::limits;
use crate::queue::outcome::{Stored, StoredDeferral};
use crate::spool::fold::Files;
use crate::spool::inspect::{FoundSegment, Salvage, Step, Survey, walk};
use crate::spool::record::{self, Extent, MessageView, Record, RecordKind};
use crate::spool::segment::FieldReader;

/// Why a message or a piece of it cannot be had.
#[derive(Debug)]
pub enum Fault {
    /// The file cannot be read.
    Io(io::Error),
    /// A CRC, a salt or a place is wrong.
    Damaged,
    /// The segment it lies in lives another life.
    Gone,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Io(error) => write!(formatter, "cannot be read: {error}"),
            Fault::Damaged => write!(formatter, "is damaged (CRC)"),
            Fault::Gone => write!(formatter, "lies in a segment that is gone"),
        }
    }
}

/// A message record, found and checked.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its segment's file.
    pub slot: u16,
    /// That segment's sequence number.
    pub sequence: u32,
    /// Where the record begins.
    pub offset: u32,
    /// The payload, to be read with [`MessageView::parse`].
    pub payload: Vec<u8>,
}

/// Reads the message record at `offset` of a segment.
pub fn read_message(files: &impl Files, found: &FoundSegment, offset: u32) -> Result<Placed, Fault> {
    let at = u64::from(offset);
    let room = found.end.saturating_sub(at);
    let mut bytes =
        files.read(found.slot, at, limits::RECORD_FIRST_READ.min(room) as usize).map_err(Fault::Io)?;
    let length = record::claimed_length(&bytes).ok_or(Fault::Damaged)?;
    if length > limits::COMMIT_BYTES_MAX || length as u64 > room {
        return Err(Fault::Damaged);
    }
    if length > bytes.len() {
        bytes = files.read(found.slot, at, length).map_err(Fault::Io)?;
    }
    let record = record::read(&bytes, found.header.salt, at).map_err(|_| Fault::Damaged)?;
    if record.kind != RecordKind::Message as u8 || MessageView::parse(record.payload).is_err() {
        return Err(Fault::Damaged);
    }
    let payload = record.payload.to_vec();
    Ok(Placed { slot: found.slot, sequence: found.header.sequence, offset, payload })
}

/// Looks for a message in a lane. None: this lane never had it, or has it no more. It may be settled, and it may stand in a
/// commit that does not count; a damaged one is an error only if a record that says it is this message lies there.
pub fn find(files: &impl Files, survey: &Survey, id: MessageId) -> Option<Result<Placed, Fault>> {
    let first = find_first(files, survey, id);
    // Where it lies now, if it moved.
    let mut moved = None;
    for found in survey.active.iter().filter(|found| found.header.sequence >= id.sequence) {
        each(files, found, |offset, record| {
            if record.kind == RecordKind::Message as u8
                && MessageView::parse(record.payload).is_ok_and(|view| view.id == id && view.is_moved())
            {
                let payload = record.payload.to_vec();
                moved = Some(Placed { slot: found.slot, sequence: found.header.sequence, offset, payload });
            }
        });
    }
    moved.map(Ok).or(first)
}

/// The records that recovery counts: of whole commits, and those that are whole in damaged ones.
fn each(files: &impl Files, found: &FoundSegment, mut each: impl FnMut(u32, &Record<'_>)) {
    walk(files, found, |step| match step {
        Step::Record { offset, record } => each(offset, &record),
        Step::Rot { records, .. } => {
            for Salvage { offset, length, .. } in records.into_iter().filter(|record| record.whole) {
                let bytes = files.read(found.slot, offset.into(), length as usize).unwrap_or_default();
                if let Ok(record) = record::read(&bytes, found.header.salt, offset.into()) {
                    each(offset, &record);
                }
            }
        }
        Step::Torn { .. } => {}
    });
}

/// Looks where its id says that it was first stored.
fn find_first(files: &impl Files, survey: &Survey, id: MessageId) -> Option<Result<Placed, Fault>> {
    let found = survey.by_sequence(id.sequence)?;
    let placed = match read_message(files, found, id.offset) {
        Ok(placed) => placed,
        Err(fault) => {
            let start = files.read(found.slot, u64::from(id.offset), record::HEADER).ok()?;
            let here = start.get(20..24) == Some(&id.offset.to_le_bytes()[..])
                || start.get(8..16) == Some(&found.header.salt.to_le_bytes()[..]);
            return (here && found.header.origin.lane == id.lane).then_some(Err(fault));
        }
    };
    let same = MessageView::parse(&placed.payload).is_ok_and(|view| view.id == id);
    same.then_some(Ok(placed))
}

/// Reads one piece of a body and checks it.
pub fn read_extent(files: &impl Files, survey: &Survey, extent: &Extent) -> Result<Vec<u8>, Fault> {
    let found = survey.at(extent.slot).filter(|found| found.header.sequence == extent.sequence);
    let found = found.ok_or(Fault::Gone)?;
    let end = u64::from(extent.offset) + u64::from(extent.length);
    if extent.length as usize > limits::COMMIT_BYTES_MAX || end > found.end {
        return Err(Fault::Damaged);
    }
    let at = u64::from(extent.offset);
    let bytes = files.read(found.slot, at, extent.length as usize).map_err(Fault::Io)?;
    if crc32c::crc32c(&bytes) == extent.crc { Ok(bytes) } else { Err(Fault::Damaged) }
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// Never tried.
    Waiting,
    /// This is what was said of it last.
    Known(Stored),
    /// Done with; the record that said how is recycled.
    Settled,
}

impl RecipientState {
    /// Whether it is still to be delivered.
    pub fn is_live(&self) -> bool {
        match self {
            RecipientState::Waiting => true,
            RecipientState::Known(stored) => !stored.is_end(),
            RecipientState::Settled => false,
        }
    }

    /// What it is after an outcome.
    fn after(&self, outcome: &Stored) -> RecipientState {
        let Stored::Held(hold) = outcome else { return of_stored(outcome) };
        of_stored(&match self {
            RecipientState::Known(Stored::Deferred(StoredDeferral { attempts, reply, late, .. })) => {
                hold.onto((*attempts, reply, *late))
            }
            RecipientState::Known(Stored::Held(before)) => {
                hold.onto((before.attempts, &before.reply, before.late))
            }
            _ => hold.onto((0, "", false)),
        })
    }
}

/// What the lane says about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// By ordinal.
    pub recipients: Vec<RecipientState>,
    /// Its commit counts: a start of the relay delivers it. False for a torn or rotten one.
    pub counts: bool,
}

/// Reads everything the lane says about this message, which has `count` recipients.
pub fn history(files: &impl Files, survey: &Survey, id: MessageId, count: u16) -> History {
    let mut history =
        History { recipients: vec![RecipientState::Waiting; usize::from(count)], counts: false };
    // Outcomes call it by where it was first stored, snapshots by where it lay when they were written.
    let first = (id.sequence, id.offset);
    let mut lies = first;
    for found in survey.active.iter().filter(|found| found.header.sequence >= id.sequence) {
        each(files, found, |offset, record| {
            let mut payload = FieldReader(record.payload);
            match record.kind {
                kind if kind == RecordKind::Message as u8 => {
                    let view = MessageView::parse(record.payload).ok().filter(|view| view.id == id);
                    let Some(view) = view else { return };
                    lies = (found.header.sequence, offset);
                    history.counts = true;
                    if let Ok(Some(state)) = view.state() {
                        history.list(&state);
                    } else {
                        let begun = view.begun().map(|(first, count, of)| (first, count, of_stored(&of)));
                        begun.for_each(|(first, count, of)| history.range(first, count).fill(of));
                    }
                }
                kind if RecordKind::is_outcome(kind) => {
                    let about = (payload.u32(), payload.u32());
                    if about == (Some(first.0), Some(first.1)) {
                        history.outcome(&mut payload);
                    }
                }
                kind => {
                    let Some(partial) = RecordKind::snapshot(kind) else { return };
                    if payload.u32() == Some(lies.0) {
                        let ranges = listed(&mut payload, lies.1);
                        ranges.or((!partial).then(Vec::new)).iter().for_each(|ranges| history.list(ranges));
                    }
                }
            }
        });
    }
    history
}

impl History {
    fn outcome(&mut self, payload: &mut FieldReader<'_>) {
        let Some((first, count, disposition)) = record::read_disposition(payload) else { return };
        for state in self.range(first, count).iter_mut().filter(|state| state.is_live()) {
            *state = state.after(&disposition);
        }
    }

    /// A snapshot or a move lists all that is live; what it does not list is settled.
    fn list(&mut self, listed: &[(u16, u16, Stored)]) {
        let mut live = vec![None; self.recipients.len()];
        for (first, count, disposition) in listed {
            let end = (usize::from(*first) + usize::from(*count)).min(live.len());
            live[usize::from(*first).min(end)..end].fill(Some(of_stored(disposition)));
        }
        for (state, live) in self.recipients.iter_mut().zip(live) {
            match live {
                Some(live) => *state = live,
                None if state.is_live() => *state = RecipientState::Settled,
                None => {}
            }
        }
    }

    fn range(&mut self, first: u16, count: u16) -> &mut [RecipientState] {
        let end = (usize::from(first) + usize::from(count)).min(self.recipients.len());
        &mut self.recipients[usize::from(first).min(end)..end]
    }
}

/// The ranges a snapshot has for the message at `offset`.
fn listed(payload: &mut FieldReader<'_>, offset: u32) -> Option<Vec<(u16, u16, Stored)>> {
    let messages = payload.u32()?;
    for _ in 0..messages {
        let (place, ranges) = (payload.u32()?, payload.u16()?);
        let ranges: Option<Vec<_>> = (0..ranges).map(|_| record::read_disposition(payload)).collect();
        if place == offset {
            return ranges;
        }
        ranges?;
    }
    None
}

fn of_stored(disposition: &Stored) -> RecipientState {
    match disposition {
        Stored::Deferred(StoredDeferral { attempts: 0, .. }) => RecipientState::Waiting,
        known => RecipientState::Known(known.clone()),
    }
}
