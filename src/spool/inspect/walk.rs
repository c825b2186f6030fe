//! One segment, commit by commit, by the eyes of recovery: what counts, what is rot, what is a torn tail.

use std::convert::Infallible;

use crate::id::MessageId;
use crate::limits;
use crate::spool::commit::{CommitReader, NoCommit};
use crate::spool::files::Files;
use crate::spool::inspect::FoundSegment;
use crate::spool::record::{self, MessageView, Record, RecordKind};
use crate::spool::salvage::{self, Piece};
use crate::spool::segment::{self, COMMIT_HEADER};

/// What a walk meets.
#[derive(Debug)]
pub enum Step<'a> {
    /// A whole record of a commit that counts.
    Record {
        /// Where it begins.
        offset: u32,
        /// The record.
        record: Record<'a>,
    },
    /// Damage in a part that was synced.
    Rot {
        /// Where the damaged commit begins.
        from: u64,
        /// Where it ends, or if nothing tells that, the next sound one begins or the segment ends.
        to: u64,
        /// Records in between, at most as many as a commit has.
        records: Vec<Salvage>,
    },
    /// The last commit is not whole: it was under way when the writer stopped.
    Torn {
        /// Where it begins.
        from: u64,
        /// Messages that are there of it, as far as they can be told.
        messages: Vec<MessageId>,
    },
}

/// A record inside a commit that does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salvage {
    /// Where it begins.
    pub offset: u32,
    /// Bytes of it, if it is whole.
    pub length: u32,
    /// It is a message, as far as can be seen.
    pub message: bool,
    /// It is whole itself; its commit is not.
    pub whole: bool,
}

/// Walks a segment from its first commit on; returns where what counts ends. Holds one commit's records at a time.
pub fn walk(files: &impl Files, found: &FoundSegment, mut each: impl FnMut(Step<'_>)) -> u64 {
    let commits = CommitReader::new(files, found.slot, &found.header, found.size);
    let mut at = segment::FIRST_COMMIT;
    let mut valid = at;
    while at < found.end {
        match commits.whole(at, found.end, found.sealed) {
            Ok(commit) => {
                for place in commit.offsets {
                    let offset = at + (COMMIT_HEADER + place) as u64;
                    let record = record::read(&commit.records[place..], found.header.salt, offset);
                    if let (Ok(record), Ok(offset)) = (record, u32::try_from(offset)) {
                        each(Step::Record { offset, record });
                    }
                }
                at = commit.next;
                valid = at;
            }
            Err(why) => {
                let next =
                    commits.next_mark(at + limits::BLOCK, found.end).or(found.sealed.then_some(found.end));
                let Some(next) = next else {
                    if why != NoCommit::Absent || commits.has_traces(at) {
                        let (slot, lane) = (found.slot, found.header.origin.lane);
                        let messages =
                            salvage::torn_messages(files, slot, &found.header, lane, (at, found.end));
                        each(Step::Torn { from: at, messages });
                    }
                    break;
                };
                let (to, records) = salvaged(files, found, at, next);
                each(Step::Rot { from: at, to, records });
                at = to;
            }
        }
    }
    valid
}

/// The message in a record, if it is one and makes sense.
fn message<'a>(record: &Record<'a>) -> Option<MessageView<'a>> {
    if record.kind == RecordKind::Message as u8 { MessageView::parse(record.payload).ok() } else { None }
}

/// What can still be told of the records of a commit that is damaged, and where it ends: at `next` at most.
fn salvaged(files: &impl Files, found: &FoundSegment, at: u64, next: u64) -> (u64, Vec<Salvage>) {
    let salt = found.header.salt;
    let mut records = Vec::new();
    let Ok(to) = salvage::salvage(files, (found.slot, salt), (at, next), |piece| {
        let (bytes, offset, whole) = match piece {
            Piece::Unknown => return Ok::<(), Infallible>(()),
            Piece::Whole { bytes, offset } => (bytes, offset, true),
            Piece::Damaged { bytes, offset } => (bytes, offset, false),
        };
        let record = record::read(bytes, salt, offset.into()).ok().filter(|_| whole);
        let is_message = match &record {
            Some(record) => message(record).is_some(),
            None => bytes.first() == Some(&(RecordKind::Message as u8)),
        };
        if records.len() < limits::COMMIT_ITEMS_MAX {
            let length = record.map_or(0, |record| record.length as u32);
            records.push(Salvage { offset, length, message: is_message, whole });
        }
        Ok(())
    });
    (to, records)
}
