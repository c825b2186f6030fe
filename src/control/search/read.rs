//! Reads records where they lie, and says which recipients are meant. On a thread of its own kind: disks may be slow.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::limits;
use crate::queue::select::{Filter, Run};
use crate::runtime::files::ReadFile;
use crate::shard::ask::StoredAt;
use crate::spool::layout::{lane_directory, segment_path};
use crate::spool::record::{self, MessageView, RecordKind};

/// A message whose record is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordToRead {
    pub stored: StoredAt,
    /// How often it was not found where it was said to lie.
    pub tries: u32,
}

/// What some records said.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Who is meant.
    pub runs: Vec<Run>,
    /// These lie elsewhere by now, or nobody can read them.
    pub stale: Vec<RecordToRead>,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Where it reads, and what it has read.
#[derive(Debug)]
pub(super) struct Reader {
    data_dir: PathBuf,
    filter: Arc<Filter>,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    place: (u16, u16),
    file: ReadFile,
    size: u64,
    window: Vec<u8>,
    /// Where the window begins.
    at: u64,
    bytes: u64,
}

impl Reader {
    pub(super) fn new(data_dir: PathBuf, filter: Arc<Filter>) -> Reader {
        Reader { data_dir, filter, open: None }
    }

    /// Reads the records of some messages of a lane, in the order in which they lie.
    pub(super) fn step(&mut self, lane: u16, wanted: &[RecordToRead]) -> Step {
        let mut step = Step::default();
        for one in wanted {
            let RecordToRead { stored, .. } = one;
            let filter = self.filter.clone();
            let view = self.record(lane, stored.at, &mut step.bytes).and_then(|payload| {
                let view = MessageView::parse(payload).ok();
                view.filter(|view| view.id == stored.id).ok_or_else(wrong)
            });
            let Ok(view) = view else {
                // What was read of this file may be of another life of it.
                self.open = None;
                step.stale.push(*one);
                continue;
            };
            let (slot, offset) = stored.told;
            let run = |(first, count)| Run { key: stored.key, slot, offset, first, count };
            step.runs.extend(meant(&view, &filter).into_iter().map(run));
        }
        step
    }

    /// The payload of the message record that lies there.
    pub(super) fn record(
        &mut self,
        lane: u16,
        (slot, offset): (u16, u32),
        bytes: &mut u64,
    ) -> io::Result<&[u8]> {
        if self.open.as_ref().is_none_or(|open| open.place != (lane, slot)) {
            let file = ReadFile::open(&segment_path(&lane_directory(&self.data_dir, lane), slot))?;
            let size = file.size()?;
            let (window, at, bytes) = Default::default();
            self.open = Some(OpenFile { place: (lane, slot), file, size, window, at, bytes });
        }
        let open = self.open.as_mut().ok_or_else(wrong)?;
        let record = open.record(offset.into());
        *bytes += std::mem::take(&mut open.bytes);
        let (from, to) = record?;
        let record = record::read_known(&open.window[from..to], offset.into()).map_err(|_| wrong())?;
        if record.kind == RecordKind::Message as u8 { Ok(record.payload) } else { Err(wrong()) }
    }
}

impl OpenFile {
    /// Where in the window the record lies that begins there; what of it is missing is read.
    fn record(&mut self, offset: u64) -> io::Result<(usize, usize)> {
        let header = self.within(offset, record::HEADER)?;
        let length = record::claimed_length(&self.window[header..]).ok_or_else(wrong)?;
        if length > limits::COMMIT_BYTES_MAX {
            return Err(wrong());
        }
        let from = self.within(offset, length)?;
        Ok((from, from + length))
    }

    /// Where in the window so many bytes of the file begin.
    fn within(&mut self, offset: u64, length: usize) -> io::Result<usize> {
        let end = offset + length as u64;
        if offset < self.at || end > self.at + self.window.len() as u64 {
            let room = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let most = length.max(limits::SCAN_READ).min(room);
            self.window = self.file.read(offset, most)?;
            self.at = offset;
            self.bytes += most as u64;
        }
        if length > self.window.len() {
            return Err(wrong());
        }
        Ok((offset - self.at) as usize)
    }
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not the record of that message")
}

/// The recipients of a message that are meant: first ordinal, count.
fn meant(view: &MessageView<'_>, filter: &Filter) -> Vec<(u16, u16)> {
    let recorded = &filter.recorded;
    let sender = recorded.sender.as_ref().is_none_or(|pattern| pattern.matches(view.sender));
    let account = recorded.account.as_deref().is_none_or(|name| view.account == Some(name));
    if !sender || !account {
        return Vec::new();
    }
    let mut runs: Vec<(u16, u16)> = Vec::new();
    if recorded.parameters.is_empty() {
        runs.push((0, view.count));
    } else {
        let mut first = 0;
        while first < view.count {
            let count = view.alike_from(first).min(view.count - first);
            if recorded.wants_parameters(view.parameters_of(first)) {
                join(&mut runs, first, count);
            }
            first += count.max(1);
        }
    }
    if recorded.recipient.is_none() && filter.domain.is_none() {
        return runs;
    }
    let mut kept: Vec<(u16, u16)> = Vec::new();
    for (first, count) in runs {
        let recipients = view.recipients().skip(first.into()).take(count.into());
        for (ordinal, (address, domain_at)) in (first..).zip(recipients) {
            if is_meant(filter, address, domain_at) {
                join(&mut kept, ordinal, 1);
            }
        }
    }
    kept
}

/// Adds a run behind others, or to the last of them.
fn join(runs: &mut Vec<(u16, u16)>, first: u16, count: u16) {
    match runs.last_mut() {
        Some((from, before)) if *from + *before == first => *before += count,
        _ => runs.push((first, count)),
    }
}

/// Whether this recipient is meant. Its domain is looked at again by the shards: here it keeps what is found small.
fn is_meant(filter: &Filter, address: &[u8], domain_at: usize) -> bool {
    let domain = || {
        let domain = address.get(domain_at..).unwrap_or_default();
        String::from_utf8_lossy(domain).to_ascii_lowercase()
    };
    filter.recorded.recipient.as_ref().is_none_or(|pattern| pattern.matches(address))
        && filter.domain.as_ref().is_none_or(|pattern| {
            // `<postmaster>` is of our own domain (RFC 5321 4.5.1), which the shards know.
            let domain = domain();
            domain.is_empty() || pattern.matches(&domain)
        })
}
