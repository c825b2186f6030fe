//! One segment, commit by commit: what counts, what is rot, what is a torn tail.

use memchr::memmem::Finder;

use crate::limits;
use crate::spool::commit::CommitReader;
use crate::spool::files::Files;
use crate::spool::inspect::Found;
use crate::spool::record::{self, Kind, MessageView, Record};
use crate::spool::segment::{self, COMMIT_HEADER, CommitHeader};
use crate::spool::survey::read_patchy;

/// What a walk meets.
#[derive(Debug)]
pub enum Step<'a> {
    /// A whole record of a commit that counts.
    Record {
        /// Where it begins.
        offset: u32,
        /// The record.
        record: Record<'a>,
        /// Something written later says that this commit was synced, bodies and all.
        vouched: bool,
    },
    /// Damage in a part that was synced.
    Rot {
        /// Where the damaged commit begins.
        from: u64,
        /// Where the next sound one does, or the segment ends.
        to: u64,
        /// Records in between.
        records: Vec<Salvage>,
    },
    /// The last commit is not whole: it was under way when the writer stopped.
    Torn {
        /// Where it begins.
        from: u64,
        /// Records that are there of it.
        records: Vec<Salvage>,
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
pub fn walk(files: &impl Files, found: &Found, mut each: impl FnMut(Step<'_>)) -> u64 {
    let mut at = segment::FIRST_COMMIT;
    let mut valid = at;
    while at < found.end {
        match Commit::read(files, found, at) {
            Ok(commit) => {
                for (offset, record) in commit.records(found) {
                    each(Step::Record { offset, record, vouched: commit.vouched });
                }
                at = commit.next;
                valid = at;
            }
            Err(()) => {
                let commits = CommitReader::new(files, found.slot, &found.header, found.size);
                let next =
                    commits.next_mark(at + limits::BLOCK, found.end).or(found.sealed.then_some(found.end));
                let records = salvage(files, found, at, next);
                match next {
                    Some(to) => {
                        each(Step::Rot { from: at, to, records });
                        at = to;
                    }
                    None => {
                        if !records.is_empty() || commit_header(files, found, at).is_some() {
                            each(Step::Torn { from: at, records });
                        }
                        break;
                    }
                }
            }
        }
    }
    valid
}

struct Commit {
    at: u64,
    bytes: Vec<u8>,
    next: u64,
    vouched: bool,
}

fn commit_header(files: &impl Files, found: &Found, at: u64) -> Option<CommitHeader> {
    let fits = at + COMMIT_HEADER as u64 <= found.end;
    let bytes = if fits { files.read(found.slot, at, COMMIT_HEADER).ok()? } else { return None };
    CommitHeader::read(&bytes, found.header.salt, at).filter(|commit_header| {
        commit_header.end() <= found.end && commit_header.records_length <= limits::RECORDS_MAX
    })
}

impl Commit {
    /// A commit whose commit header and records are whole, and its bodies too if nothing else vouches for them.
    fn read(files: &impl Files, found: &Found, at: u64) -> Result<Commit, ()> {
        let commit_header = commit_header(files, found, at).ok_or(())?;
        let length = commit_header.records_length as usize;
        let bytes = files.read(found.slot, at + COMMIT_HEADER as u64, length).map_err(|_| ())?;
        let next = commit_header.end();
        let vouched =
            if next < found.end { self::commit_header(files, found, next).is_some() } else { found.sealed };
        let commit = Commit { at, bytes, next, vouched };
        let (mut count, mut end) = (0, 0);
        for (offset, record) in commit.records(found) {
            count += 1;
            end = (u64::from(offset) - at) as usize - COMMIT_HEADER + record.length;
            if !vouched && !bodies_whole(files, found, &record) {
                return Err(());
            }
        }
        if count == commit_header.records && end == length { Ok(commit) } else { Err(()) }
    }

    /// Its records, up to the first that is not whole.
    fn records<'a>(&'a self, found: &Found) -> impl Iterator<Item = (u32, Record<'a>)> + use<'a> {
        let (salt, mut place) = (found.header.salt, 0);
        std::iter::from_fn(move || {
            let rest = self.bytes.get(place..).filter(|rest| !rest.is_empty())?;
            let offset = self.at + (COMMIT_HEADER + place) as u64;
            let record = record::read(rest, salt, offset).ok()?;
            place += record.length;
            Some((u32::try_from(offset).ok()?, record))
        })
    }
}

fn bodies_whole(files: &impl Files, found: &Found, record: &Record<'_>) -> bool {
    let Some(view) = message(record) else { return true };
    view.extents().filter(|extent| extent.sequence == found.header.sequence).all(|extent| {
        let body = files.read(found.slot, u64::from(extent.offset), extent.length as usize);
        body.is_ok_and(|body| crc32c::crc32c(&body) == extent.crc)
    })
}

/// The message in a record, if it is one and makes sense.
pub(super) fn message<'a>(record: &Record<'a>) -> Option<MessageView<'a>> {
    if record.kind == Kind::Message as u8 { MessageView::parse(record.payload).ok() } else { None }
}

/// What can still be told of the records of a commit that is not whole. It is looked for by the salt, which no client has ever
/// seen, so no body can pass for one.
fn salvage(files: &impl Files, found: &Found, at: u64, next: Option<u64>) -> Vec<Salvage> {
    let window = (limits::COMMIT_BYTES_MAX as u64 + limits::BLOCK).min(next.unwrap_or(found.end) - at);
    let bytes = read_patchy(files, found.slot, at, window);
    // With a commit header it is known where the records end; without one the bodies are passed over.
    let end = commit_header(files, found, at)
        .map_or(bytes.len(), |commit_header| COMMIT_HEADER + commit_header.records_length as usize);
    let bytes = &bytes[..end.min(bytes.len())];
    let marked = end < window as usize;
    let salt = Finder::new(&found.header.salt.to_le_bytes()).into_owned();
    let read = |place: usize| {
        bytes.get(place..).map(|rest| record::read(rest, found.header.salt, at + place as u64))
    };
    let mut records = Vec::new();
    let mut place = COMMIT_HEADER;
    while place < bytes.len() && records.len() < limits::COMMIT_ITEMS_MAX {
        let offset = (at + place as u64) as u32;
        if let Some(Ok(record)) = read(place) {
            let length = record.length as u32;
            records.push(Salvage { offset, length, message: message(&record).is_some(), whole: true });
            place += record.length;
            continue;
        }
        if let Some(message) = broken(&bytes[place..], found.header.salt, offset, marked) {
            records.push(Salvage { offset, length: 0, message, whole: false });
        }
        // The salt stands 8 bytes into a record.
        let from = place + 9;
        let mut hits = bytes.get(from..).into_iter().flat_map(|rest| salt.find_iter(rest));
        match hits.find(|hit| matches!(read(from + hit - 8), Some(Ok(_)))) {
            Some(hit) => place = from + hit - 8,
            None => break,
        }
    }
    records
}

/// Whether a damaged record begins here, and if so whether it is a message.
fn broken(bytes: &[u8], salt: u64, offset: u32, marked: bool) -> Option<bool> {
    let kind = *bytes.first()?;
    let has = |range: std::ops::Range<usize>, value: &[u8]| bytes.get(range) == Some(value);
    let named = has(8..16, &salt.to_le_bytes()) || has(20..24, &offset.to_le_bytes());
    (named || marked).then_some(kind == Kind::Message as u8)
}
