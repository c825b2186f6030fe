//! One commit as it stands in a file: whole, or not.

use crate::limits;
use crate::spool::files::Files;
use crate::spool::record::{self, MessageView, RecordError, RecordKind};
use crate::spool::segment::{COMMIT_HEADER, CommitHeader, Header};
use crate::spool::survey;

/// A commit that is whole.
pub(in crate::spool) struct Commit {
    /// All its records.
    pub records: Vec<u8>,
    /// Where each begins in them.
    pub offsets: Vec<usize>,
    /// Where the next commit begins.
    pub next: u64,
}

/// Why there is no whole commit at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spool) enum NoCommit {
    /// No header of one stands there.
    Absent,
    /// One was begun, and this is wrong with it.
    Unsound(RecordError),
}

/// Reads the commits of one segment.
pub(in crate::spool) struct CommitReader<'a, F> {
    files: &'a F,
    slot: u16,
    salt: u64,
    sequence: u32,
    size: u64,
}

impl<'a, F: Files> CommitReader<'a, F> {
    /// Of a file of so many bytes with this header.
    pub(in crate::spool) fn new(files: &'a F, slot: u16, header: &Header, size: u64) -> CommitReader<'a, F> {
        CommitReader { files, slot, salt: header.salt, sequence: header.sequence, size }
    }

    /// The valid commit header that stands there.
    pub(in crate::spool) fn commit_header(&self, offset: u64) -> Option<CommitHeader> {
        let commit_header = self.files.read(self.slot, offset, COMMIT_HEADER).ok()?;
        CommitHeader::read(&commit_header, self.salt, offset)
    }

    /// Whether a commit of this life was begun there: its commit header stands, or its first record.
    pub(in crate::spool) fn has_traces(&self, offset: u64) -> bool {
        let record = offset + COMMIT_HEADER as u64;
        self.commit_header(offset).is_some()
            || self
                .files
                .read(self.slot, record, record::HEADER)
                .is_ok_and(|bytes| record::stands_at(&bytes, self.salt, record))
    }

    /// The next valid commit header from `from` on.
    pub(in crate::spool) fn next_mark(&self, from: u64, end: u64) -> Option<u64> {
        let mut at = from;
        while at < end {
            let length = limits::HEADERS_SOUGHT_AT_ONCE.min(end - at);
            let bytes = survey::read_patchy(self.files, self.slot, at, length);
            for (place, block) in bytes.chunks(limits::BLOCK as usize).enumerate() {
                let offset = at + place as u64 * limits::BLOCK;
                if CommitHeader::read(block, self.salt, offset).is_some() {
                    return Some(offset);
                }
            }
            at += limits::HEADERS_SOUGHT_AT_ONCE;
        }
        None
    }

    /// Reads and checks the commit at `at`.
    pub(in crate::spool) fn whole(&self, at: u64, end: u64, sealed: bool) -> Result<Commit, NoCommit> {
        let read = |offset: u64, length: usize| self.files.read(self.slot, offset, length);
        let first = (limits::COMMIT_READ as u64).min(end - at) as usize;
        let mut bytes = read(at, first).map_err(|_| NoCommit::Unsound(RecordError::Damaged))?;
        let commit_header = CommitHeader::read(&bytes, self.salt, at).ok_or(NoCommit::Absent)?;
        if commit_header.end() > end || commit_header.records_length > limits::RECORDS_MAX {
            return Err(NoCommit::Unsound(RecordError::Damaged));
        }
        let length = COMMIT_HEADER + commit_header.records_length as usize;
        if bytes.len() < length {
            bytes = read(at, length).map_err(|_| NoCommit::Unsound(RecordError::Damaged))?;
        }
        bytes.truncate(length);
        bytes.drain(..COMMIT_HEADER);
        let records = &bytes[..];
        let offsets = offsets(records, &commit_header)?;
        // The last commit's bodies may not have reached the disk; any later commit header vouches for them, and any later segment, which is
        // the same to us: else what one start finds would be lost to the next.
        let next = commit_header.end();
        let vouched = sealed || (next < end && self.commit_header(next).is_some());
        if !vouched && !self.bodies_whole(records, &offsets, at) && self.next_mark(next, end).is_none() {
            return Err(NoCommit::Unsound(RecordError::Damaged));
        }
        Ok(Commit { records: bytes, offsets, next })
    }

    fn bodies_whole(&self, records: &[u8], offsets: &[usize], at: u64) -> bool {
        for place in offsets {
            let offset = at + (COMMIT_HEADER + place) as u64;
            let Ok(record) = record::read(&records[*place..], self.salt, offset) else {
                return false;
            };
            if record.kind != RecordKind::Message as u8 {
                continue;
            }
            let Ok(view) = MessageView::parse(record.payload) else { continue };
            for extent in view.extents().filter(|extent| extent.sequence == self.sequence) {
                if u64::from(extent.offset) + u64::from(extent.length) > self.size {
                    return false;
                }
                let body = self.files.read(self.slot, u64::from(extent.offset), extent.length as usize);
                if !body.is_ok_and(|body| crc32c::crc32c(&body) == extent.crc) {
                    return false;
                }
            }
        }
        true
    }
}

/// Where each record begins in those of a commit. All or nothing: every one is checked before the first one counts.
fn offsets(records: &[u8], commit_header: &CommitHeader) -> Result<Vec<usize>, NoCommit> {
    let mut offsets = Vec::new();
    let mut place = 0;
    while place < records.len() {
        let offset = u64::from(commit_header.offset) + (COMMIT_HEADER + place) as u64;
        match record::read(&records[place..], commit_header.salt, offset) {
            Ok(record) => {
                offsets.push(place);
                place += record.length;
            }
            Err(error) => return Err(NoCommit::Unsound(error)),
        }
    }
    if offsets.len() == commit_header.records as usize {
        Ok(offsets)
    } else {
        Err(NoCommit::Unsound(RecordError::Damaged))
    }
}
