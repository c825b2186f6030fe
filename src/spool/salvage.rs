//! Rot in what was synced: what is whole of a damaged commit.

use memchr::memmem::Finder;

use crate::id::MessageId;
use crate::limits;
use crate::spool::files::Files;
use crate::spool::record::{self, MessageView, RecordKind};
use crate::spool::segment::{COMMIT_HEADER, CommitHeader, Header};
use crate::spool::survey::read_patchy;

/// What is found where a commit is damaged.
pub(in crate::spool) enum Piece<'a> {
    /// Nothing tells how many records there were.
    Unknown,
    /// A whole record.
    Whole { bytes: &'a [u8], offset: u32 },
    /// One that is not.
    Damaged { bytes: &'a [u8], offset: u32 },
}

/// Looks through the commit at `at`, which was synced; the next one begins at `next` at most. Returns where to go on. Bodies are checked when
/// they are sent.
pub(in crate::spool) fn salvage<E>(
    files: &impl Files,
    (slot, salt): (u16, u64),
    (at, next): (u64, u64),
    mut each: impl FnMut(Piece<'_>) -> Result<(), E>,
) -> Result<u64, E> {
    let start = at + COMMIT_HEADER as u64;
    let read = |offset, length| read_patchy(files, slot, offset, length);
    let commit_header = CommitHeader::read(&read(at, COMMIT_HEADER as u64), salt, at)
        .filter(|commit_header| commit_header.end() <= next);
    if let Some(commit_header) = commit_header {
        let records = read(start, u64::from(commit_header.records_length));
        if records.is_empty() {
            each(Piece::Unknown)?;
        }
        pick(salt, &records, (start, records.len(), true), &mut each)?;
        return Ok(commit_header.end());
    }
    each(Piece::Unknown)?;
    let mut from = start;
    while from < next {
        // A record that begins in this stretch ends in the one behind it at the latest.
        let bytes = read(from, (2 * limits::SALVAGED_AT_ONCE).min(next - from));
        let own = bytes.len().min(limits::SALVAGED_AT_ONCE as usize);
        from +=
            pick(salt, &bytes, (from, own, false), &mut each)?.max(limits::SALVAGED_AT_ONCE as usize) as u64;
    }
    Ok(next)
}

/// Finds the whole records that begin in the first `own` of these bytes, and those that do not look whole; returns where the last
/// one ends. They are found by the salt, which no client has ever seen: no body can pass for one. `tight`: they follow each other.
fn pick<E>(
    salt: u64,
    bytes: &[u8],
    (start, own, tight): (u64, usize, bool),
    each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
) -> Result<usize, E> {
    let finder = Finder::new(&salt.to_le_bytes()).into_owned();
    let (mut place, mut end, mut is_due) = (0, 0, tight);
    while place < own {
        let offset = u32::try_from(start + place as u64).unwrap_or(u32::MAX);
        let bytes = &bytes[place..];
        if let Ok(record) = record::read(bytes, salt, u64::from(offset)) {
            each(Piece::Whole { bytes, offset })?;
            place += record.length;
            (end, is_due) = (place, tight);
            continue;
        }
        if is_due || record::stands_at(bytes, salt, u64::from(offset)) {
            each(Piece::Damaged { bytes, offset })?;
            is_due = false;
        }
        // The salt stands 8 bytes into a record.
        let hit = bytes.get(9..).and_then(|rest| finder.find(rest));
        place = hit.map_or(own, |hit| place + 1 + hit);
    }
    Ok(end)
}

/// What is lost with a damaged record of a segment: the message, if it is one that can be named, and in words.
pub(in crate::spool) fn lost(
    header: &Header,
    lane: u16,
    bytes: &[u8],
    offset: u32,
) -> (Option<MessageId>, String) {
    let kind = bytes[0];
    let tells_state = RecordKind::snapshot(kind).is_some() || RecordKind::is_outcome(kind);
    if tells_state {
        (None, "what became of some mail is forgotten, it may be delivered again".to_owned())
    } else if kind == RecordKind::Chunk as u8 {
        (None, "a piece of a body is lost; the message it is of is named when it is sent".to_owned())
    } else {
        // What the record itself says, if it can be read at all: one that moved has the id it was stored with.
        let claimed = record::claimed_id(bytes).filter(|id| id.lane == lane);
        let id = claimed.unwrap_or(MessageId { lane, sequence: header.sequence, offset });
        (Some(id), format!("message {id} cannot be delivered from there; its bytes are kept"))
    }
}

/// Messages in the commit from `at` to `end`, which does not count.
pub(in crate::spool) fn torn_messages(
    files: &impl Files,
    slot: u16,
    header: &Header,
    lane: u16,
    (at, end): (u64, u64),
) -> Vec<MessageId> {
    let (sequence, salt) = (header.sequence, header.salt);
    let bytes = files.read(slot, at, limits::SALVAGED_AT_ONCE.min(end - at) as usize).unwrap_or_default();
    let named = Finder::new(&salt.to_le_bytes()).into_owned();
    let places = named.find_iter(&bytes).filter_map(|hit| hit.checked_sub(8)).filter(|place| *place > 0);
    let messages = places.filter(|place| {
        let offset = at + *place as u64;
        bytes[*place] == RecordKind::Message as u8 && record::stands_at(&bytes[*place..], salt, offset)
    });
    let id = |place: usize| {
        let offset = u32::try_from(at + place as u64).unwrap_or(u32::MAX);
        let whole = record::read(&bytes[place..], salt, u64::from(offset)).ok();
        let view = whole.and_then(|record| MessageView::parse(record.payload).ok());
        view.map_or(MessageId { lane, sequence, offset }, |view| view.id)
    };
    messages.map(id).collect()
}
