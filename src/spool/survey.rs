//! The files of a lane, one by one: what each header says, and what can be found out where it says nothing.
//!
//! Recovery and the tools see a lane through this, so that they agree. A header is 64 bytes; if they rot, every commit header still carries
//! the salt, and records know their ids: most segments can be read without their header, and are kept aside.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::MessageId;
use crate::limits;
use crate::spool::files::Files;
use crate::spool::record::{self, Extent, MessageView, RecordKind};
use crate::spool::segment::{
    self, COMMIT_HEADER, CommitHeader, FieldReader, Header, HeaderError, LaneOrigin, Life,
};
use crate::spool::torn::{self, Before};
use crate::spool::trouble::SpoolRefusal;

/// The predecessor of a segment whose header is lost: nobody's number.
pub(in crate::spool) const UNKNOWN: u32 = u32::MAX;

/// Of a file that is not there.
pub(in crate::spool) const MISSING: &str =
    "the file is missing; some mail may be lost, stop and put it back if there is a copy";

/// One file.
#[derive(Clone, Debug)]
pub(in crate::spool) struct SegmentFile {
    pub slot: u16,
    pub size: u64,
    pub said: FileState,
}

/// What is known of it.
#[derive(Clone, Debug)]
pub(in crate::spool) enum FileState {
    /// Created and never used.
    Unused,
    /// Nothing in it is live.
    Free(Header),
    /// It holds commits of this life.
    Active(Header),
    /// The first commit of its first life was cut off before all of it was on the disk. Its number, if it says so.
    Torn(Option<u32>),
    /// Not what was written. With a header, its own or one that was found out, it can be read all the same.
    Damaged { what: String, header: Option<Header>, messages: Vec<MessageId> },
}

impl FileState {
    pub fn header(&self) -> Option<&Header> {
        match self {
            FileState::Free(header) | FileState::Active(header) => Some(header),
            FileState::Damaged { header, .. } => header.as_ref(),
            FileState::Unused | FileState::Torn(_) => None,
        }
    }
}

/// All files of a lane.
pub(in crate::spool) struct Lookout {
    pub seen: Vec<SegmentFile>,
    /// Slots without a file, though later ones have one. Files are made one after the other and never deleted.
    pub missing: Vec<u16>,
}

/// Looks at every file. `least` is the smallest size a segment of this lane may have.
pub(in crate::spool) fn look(
    files: &impl Files,
    origin: LaneOrigin,
    least: u64,
) -> Result<Lookout, SpoolRefusal> {
    let mut seen = Vec::new();
    let mut lost = Vec::new();
    let slots = files.slots();
    for &(slot, size) in &slots {
        let said = match header(files, slot, size, origin)? {
            HeaderRead::Said(said) => said,
            HeaderRead::Lost(block) => {
                lost.push((seen.len(), block));
                FileState::Torn(None)
            }
        };
        seen.push(SegmentFile { slot, size, said });
    }
    for (place, block) in lost {
        let said = Search::new(files, &seen, place, origin).said(&block);
        seen[place].said = said;
    }
    for one in &mut seen {
        cut_off(one, least);
    }
    let last = slots.iter().map(|(slot, _)| *slot).max().unwrap_or(0);
    let missing = (0..last).filter(|slot| !slots.iter().any(|(other, _)| other == slot)).collect();
    Ok(Lookout { seen, missing })
}

/// Bytes of a file, zeros where they cannot be read.
pub(in crate::spool) fn read_patchy(files: &impl Files, slot: u16, at: u64, length: u64) -> Vec<u8> {
    if let Ok(bytes) = files.read(slot, at, length as usize) {
        return bytes;
    }
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        let offset = at + bytes.len() as u64;
        let step = (limits::BLOCK - offset % limits::BLOCK).min(at + length - offset) as usize;
        bytes.extend(files.read(slot, offset, step).unwrap_or_else(|_| vec![0; step]));
    }
    bytes
}

fn damaged(what: String) -> FileState {
    FileState::Damaged { what, header: None, messages: Vec::new() }
}

/// Names are given to whole files only, so a short one was cut off since.
fn cut_off(one: &mut SegmentFile, least: u64) {
    let size = one.size;
    if size >= least && size.is_multiple_of(limits::BLOCK) {
        return;
    }
    let short = || format!("the file is cut off at {size}; some mail may be lost");
    match &mut one.said {
        FileState::Damaged { what, .. } => *what = format!("{}; {what}", short()),
        FileState::Active(header) => {
            one.said = FileState::Damaged { what: short(), header: Some(*header), messages: Vec::new() };
        }
        FileState::Free(_) | FileState::Unused | FileState::Torn(_) => {
            one.said =
                damaged(if size == 0 { "the file is empty; some mail may be lost".into() } else { short() });
        }
    }
}

/// What comes of reading a header.
enum HeaderRead {
    /// This is what it says.
    Said(FileState),
    /// It is lost; this is the block it should stand in.
    Lost(Vec<u8>),
}

fn header(files: &impl Files, slot: u16, size: u64, origin: LaneOrigin) -> Result<HeaderRead, SpoolRefusal> {
    let block = match files.read(slot, 0, limits::BLOCK.min(size) as usize) {
        Ok(block) => block,
        // As good as one that rotted.
        Err(_) => return Ok(HeaderRead::Lost(vec![0xFF; segment::HEADER])),
    };
    match Header::decode(&block) {
        Ok(header) if header.origin.node != origin.node => {
            Err(SpoolRefusal::ForeignNode { slot, node: header.origin.node })
        }
        Ok(header) if !header.belongs(origin, slot) => {
            let (slot, lane) = (header.slot, header.origin.lane);
            let what = format!("its header is that of segment {slot} of lane {lane}; its mail is kept aside");
            Ok(HeaderRead::Said(damaged(what)))
        }
        Ok(header) if header.life == Life::Free => Ok(HeaderRead::Said(FileState::Free(header))),
        Ok(header) => Ok(HeaderRead::Said(FileState::Active(header))),
        Err(HeaderError::Version(version)) => {
            Err(SpoolRefusal::Newer(format!("segment {slot} has version {version}")))
        }
        Err(HeaderError::Blank) if is_blank(files, slot, size) => Ok(HeaderRead::Said(FileState::Unused)),
        Err(HeaderError::Blank | HeaderError::Damaged) => Ok(HeaderRead::Lost(block)),
    }
}

/// Whether nothing stands where the first commit begins.
fn is_blank(files: &impl Files, slot: u16, size: u64) -> bool {
    let length = limits::BLOCK.min(size.saturating_sub(segment::FIRST_COMMIT));
    files
        .read(slot, segment::FIRST_COMMIT, length as usize)
        .is_ok_and(|block| block.iter().all(|byte| *byte == 0))
}

/// The search for what a lost header said.
struct Search<'a, F> {
    files: &'a F,
    all: &'a [SegmentFile],
    slot: u16,
    size: u64,
    origin: LaneOrigin,
}

/// What the commits of one life say.
#[derive(Default)]
struct Evidence {
    /// Numbers that records say their segment has.
    sequences: BTreeSet<u32>,
    /// Where commits end.
    ends: BTreeSet<u32>,
    messages: Vec<MessageId>,
}

/// Why it is not known which number a segment has.
enum NoSequence {
    Untold,
    Several(BTreeSet<u32>),
    Impossible(u32),
    Taken(u32),
}

impl std::fmt::Display for NoSequence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoSequence::Untold => write!(formatter, "nothing in it tells its sequence number"),
            NoSequence::Several(all) => {
                write!(formatter, "its records name several sequence numbers ({all:?})")
            }
            NoSequence::Impossible(sequence) => {
                write!(formatter, "its sequence number {sequence} cannot be")
            }
            NoSequence::Taken(sequence) => {
                write!(formatter, "another segment has its sequence number {sequence}")
            }
        }
    }
}

impl<'a, F: Files> Search<'a, F> {
    fn new(files: &'a F, all: &'a [SegmentFile], place: usize, origin: LaneOrigin) -> Search<'a, F> {
        let SegmentFile { slot, size, .. } = all[place];
        Search { files, all, slot, size, origin }
    }

    fn said(&self, block: &[u8]) -> FileState {
        const LOST: &str = "its header is damaged";
        let belongs = |header: &Header| header.belongs(self.origin, self.slot);
        if let Some(header) = Header::mended(block).filter(belongs) {
            let what = format!("{LOST} (one bit); all of its mail counts, and the file is kept aside");
            let header = (header.life == Life::Active).then_some(header);
            return FileState::Damaged { what, header, messages: Vec::new() };
        }
        if Header::seems_free(block, self.origin.node) {
            return damaged(format!("{LOST}; it had no mail"));
        }
        let commit_headers = self.commit_headers();
        match self.before(block, &commit_headers) {
            Some(Before::Free) => {
                return damaged(format!("{LOST}, as it was about to be used; it has no mail"));
            }
            Some(Before::Active(header)) => {
                let what = format!("{LOST}, as it was about to be freed; what is left of its mail counts");
                return FileState::Damaged { what, header: Some(header), messages: Vec::new() };
            }
            None => {}
        }
        // A first commit under way may reach the disk before its header, all of it or some; a second one begins only when both are
        // synced.
        let blank = block.iter().all(|byte| *byte == 0);
        if blank && commit_headers.is_empty() {
            return FileState::Torn(None);
        }
        let Some((salt, first)) = life(&commit_headers, block) else {
            let (messages, what) =
                (self.named(&commit_headers), "nothing tells which of its mail is of its last life");
            let what = if commit_headers.is_empty() { "no commit was found in it" } else { what };
            return FileState::Damaged { what: format!("{LOST}; {what}"), header: None, messages };
        };
        let evidence = self.evidence(&commit_headers, salt);
        let sequence = self.sequence(&evidence);
        let alone = commit_headers.len() == 1 && first && blank;
        match sequence {
            found if alone => FileState::Torn(found.ok()),
            Ok(sequence) => FileState::Damaged {
                what: format!("{LOST}; its mail was found by its commit headers, and the file is kept aside"),
                header: Some(self.header(sequence, salt)),
                messages: Vec::new(),
            },
            Err(why) => {
                let what = format!("{LOST}; its mail is not delivered, because {why}");
                FileState::Damaged { what, header: None, messages: evidence.messages }
            }
        }
    }

    /// What it was, if the write of a header was cut short.
    fn before(&self, block: &[u8], commit_headers: &[CommitHeader]) -> Option<Before> {
        let headers = self.all.iter().filter_map(|one| one.said.header());
        let highest = headers.map(|header| header.sequence).max().unwrap_or(0);
        // The numbers of other segments may be as little known.
        let highest = highest.saturating_add(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let salts: BTreeSet<u64> = commit_headers.iter().map(|one| one.salt).collect();
        torn::before(block, (self.origin, self.slot, highest), salts)
    }

    fn header(&self, sequence: u32, salt: u64) -> Header {
        Header {
            life: Life::Active,
            origin: self.origin,
            slot: self.slot,
            sequence,
            salt,
            predecessor: UNKNOWN,
            predecessor_end: 0,
        }
    }

    /// All commit headers of whatever life, in order.
    fn commit_headers(&self) -> Vec<CommitHeader> {
        let mut commit_headers = Vec::new();
        let mut at = segment::FIRST_COMMIT;
        while at + COMMIT_HEADER as u64 <= self.size {
            let length = limits::HEADERS_SOUGHT_AT_ONCE.min(self.size - at);
            let bytes = read_patchy(self.files, self.slot, at, length);
            for (place, block) in bytes.chunks(limits::BLOCK as usize).enumerate() {
                let offset = at + place as u64 * limits::BLOCK;
                let salt = block.get(8..16).and_then(|salt| FieldReader(salt).u64());
                let commit_header = salt.and_then(|salt| CommitHeader::read(block, salt, offset));
                commit_headers.extend(
                    commit_header.filter(|commit_header| {
                        commit_header.records_length <= limits::COMMIT_BYTES_MAX as u32
                    }),
                );
            }
            at += limits::HEADERS_SOUGHT_AT_ONCE;
        }
        commit_headers
    }

    /// Reads the commits with this salt.
    fn evidence(&self, commit_headers: &[CommitHeader], salt: u64) -> Evidence {
        let mut evidence = Evidence::default();
        for commit_header in commit_headers.iter().filter(|commit_header| commit_header.salt == salt) {
            self.commit(commit_header, &mut evidence);
        }
        evidence
    }

    fn commit(&self, commit_header: &CommitHeader, evidence: &mut Evidence) {
        let start = u64::from(commit_header.offset) + COMMIT_HEADER as u64;
        let records =
            self.files.read(self.slot, start, commit_header.records_length as usize).unwrap_or_default();
        evidence.ends.extend(u32::try_from(commit_header.end()).ok());
        let mut place = 0;
        while place < records.len() {
            let offset = start + place as u64;
            let Ok(record) = record::read(&records[place..], commit_header.salt, offset) else {
                break;
            };
            place += record.length;
            if record.kind == RecordKind::Chunk as u8 {
                let extent = record::read_extent(&mut FieldReader(record.payload));
                extent.into_iter().for_each(|extent| self.extent(commit_header, &extent, evidence));
            } else if record.kind == RecordKind::Message as u8
                && let Ok(view) = MessageView::parse(record.payload)
            {
                if evidence.messages.len() < limits::NAMED_MAX {
                    evidence.messages.push(view.id);
                }
                if !view.is_moved() && u64::from(view.id.offset) == offset && view.id.lane == self.origin.lane
                {
                    evidence.sequences.insert(view.id.sequence);
                }
                view.extents().for_each(|extent| self.extent(commit_header, &extent, evidence));
            }
        }
    }

    /// A piece of a body that was written with its record knows the number of its segment.
    fn extent(&self, commit_header: &CommitHeader, extent: &Extent, evidence: &mut Evidence) {
        let at = u64::from(extent.offset);
        if extent.slot == self.slot && (commit_header.bodies_at()..commit_header.end()).contains(&at) {
            evidence.sequences.insert(extent.sequence);
        }
    }

    /// The one number that everything agrees on.
    fn sequence(&self, evidence: &Evidence) -> Result<u32, NoSequence> {
        let mut sequences = evidence.sequences.clone();
        let known = |sequence: u32| {
            self.all.iter().filter_map(|one| one.said.header()).any(|header| header.sequence == sequence)
        };
        if sequences.is_empty() {
            // A later segment names this one and where it ends.
            let named = self.all.iter().filter_map(|one| match &one.said {
                FileState::Active(header) => Some((header.predecessor, header.predecessor_end)),
                _ => None,
            });
            let fits = named.filter(|(sequence, end)| !known(*sequence) && evidence.ends.contains(end));
            sequences.extend(fits.map(|(sequence, _)| sequence));
        }
        let (Some(&sequence), 1) = (sequences.first(), sequences.len()) else {
            return Err(if sequences.is_empty() {
                NoSequence::Untold
            } else {
                NoSequence::Several(sequences)
            });
        };
        if !(1..u32::MAX / 2).contains(&sequence) {
            return Err(NoSequence::Impossible(sequence));
        }
        if known(sequence) {
            return Err(NoSequence::Taken(sequence));
        }
        Ok(sequence)
    }

    /// Messages of all lives.
    fn named(&self, commit_headers: &[CommitHeader]) -> Vec<MessageId> {
        let mut evidence = Evidence::default();
        commit_headers.iter().for_each(|commit_header| self.commit(commit_header, &mut evidence));
        evidence.messages
    }
}

/// The salt of the present life, and whether its first commit header stands where it must. Behind it may lie what former lives left.
fn life(commit_headers: &[CommitHeader], block: &[u8]) -> Option<(u64, bool)> {
    let first = commit_headers.first()?;
    let in_place = u64::from(first.offset) == segment::FIRST_COMMIT;
    let claimed = block.get(32..40).and_then(|salt| FieldReader(salt).u64());
    let mut lives: BTreeMap<u64, usize> = BTreeMap::new();
    commit_headers.iter().for_each(|commit_header| *lives.entry(commit_header.salt).or_default() += 1);
    let claimed = claimed.filter(|salt| lives.contains_key(salt));
    let sure = in_place || lives.len() == 1;
    claimed.or(sure.then_some(first.salt)).map(|salt| (salt, in_place))
}
