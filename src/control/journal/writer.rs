//! The one who writes the journal: takes what shards pass on and appends it, a batch at a time.
//!
//! What a full disk cut is gone on with at the byte; meanwhile nothing is taken, and shards see their queue fill.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::Duration;

use crate::control::journal::frame::{self, Kind};
use crate::control::journal::place::{FramePosition, LaneCheckpoint};
use crate::control::journal::segment;
use crate::control::journal::shared::{Batch, Shared};
use crate::control::say::say;
use crate::limits;
use crate::observe::accounting::Chunks;
use crate::observe::diagnostics::Level;
use crate::observe::journaled::{Chunk, Journaled, WriteAck};
use crate::observe::repeat::Repeat;
use crate::runtime::files::Reserve;
use crate::runtime::process;

/// The writer.
pub(super) struct Writer {
    shared: Arc<Shared>,
    reserve: Arc<Reserve>,
    journaled: Arc<Journaled>,
    /// The segment that is written.
    open: Option<OpenSegment>,
    /// The next one.
    next: u64,
    /// Bytes after which the next one begins.
    pub segment_max: u64,
    /// Each lane's position in what was taken.
    positions: BTreeMap<u16, LaneCheckpoint>,
    pending: Option<PendingBatch>,
    spare: Vec<u8>,
    looked_at: Duration,
    unwritten: Repeat,
}

struct OpenSegment {
    file: Arc<File>,
    sequence: u64,
    length: u64,
    began: Duration,
}

/// A batch that is being written.
struct PendingBatch {
    batch: Batch,
    written: usize,
    /// Positions in it.
    positions: BTreeMap<u16, LaneCheckpoint>,
    /// Who waits for it.
    awaited: Vec<WriteAck>,
}

impl Writer {
    /// One that begins this segment, behind these positions.
    pub(super) fn new(
        shared: Arc<Shared>,
        reserve: Arc<Reserve>,
        journaled: Arc<Journaled>,
        next: u64,
    ) -> Writer {
        let positions = shared.published();
        Writer {
            shared,
            reserve,
            journaled,
            open: None,
            next,
            segment_max: limits::JOURNAL_SEGMENT,
            positions,
            pending: None,
            spare: Vec::new(),
            looked_at: Duration::ZERO,
            unwritten: Repeat::after(limits::LOG_PATIENCE),
        }
    }

    /// Takes what there is and writes it; `now` is the time of day. Whether nothing is left.
    pub(super) fn round(&mut self, chunks: &Chunks, now: Duration) -> bool {
        if now >= self.looked_at + limits::LOG_LOOK {
            self.looked_at = now;
            self.look_at_file();
        }
        loop {
            if self.pending.is_none() && !self.gather(chunks, now) {
                self.recovered(now);
                return true;
            }
            if let Err(error) = self.write(now) {
                self.failed(&error, now);
                return false;
            }
        }
    }

    /// Lines that were taken and are not written.
    pub(super) fn unwritten(&self) -> usize {
        let Some(PendingBatch { batch, .. }) = &self.pending else { return 0 };
        memchr::memchr_iter(b'\n', &batch.bytes[batch.lines.clone()]).count()
    }

    /// Makes a batch of what shards have passed on. Whether there was anything.
    fn gather(&mut self, chunks: &Chunks, now: Duration) -> bool {
        let Some(mut chunk) = next(chunks) else { return false };
        let is_old = |open: &OpenSegment| {
            let age = now.saturating_sub(open.began);
            open.length >= self.segment_max || age > limits::JOURNAL_SEGMENT_AGE
        };
        if self.open.as_ref().is_some_and(is_old) || self.shared.takes_anew() {
            self.close();
        }
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let (sequence, offset) = match &self.open {
            Some(open) => (open.sequence, open.length),
            None => {
                bytes.extend_from_slice(&frame::header(self.next));
                let known = self.shared.frozen().unwrap_or_else(|| self.positions.clone());
                frame::positions(&known, &mut bytes);
                (self.next, 0)
            }
        };
        let at = frame::begin(Kind::Lines, &mut bytes);
        let (lines_at, begin) = (offset + at as u64, bytes.len());
        let (mut positions, mut awaited) = (BTreeMap::new(), Vec::new());
        loop {
            bytes.extend_from_slice(&chunk.lines);
            if let Some(recorded) = chunk.recorded {
                let origin = self.journaled.origin(recorded.lane);
                positions.insert(recorded.lane, LaneCheckpoint { until: recorded.until, origin });
            }
            awaited.extend(chunk.awaited);
            chunks.give_back(chunk.lines);
            if bytes.len() >= limits::JOURNAL_BATCH {
                break;
            }
            let Some(next) = chunks.take() else { break };
            chunk = next;
        }
        let lines = begin..bytes.len();
        frame::end(at, &mut bytes);
        self.positions.extend(&positions);
        if !positions.is_empty() && self.shared.frozen().is_none() {
            frame::positions(&positions, &mut bytes);
        }
        let place = |offset: u64| FramePosition { segment: sequence, offset };
        // A reader that goes on in a new segment begins behind its header.
        let start = place(offset.max(frame::HEADER as u64));
        let end = place(offset + bytes.len() as u64);
        let batch = Batch { start, frame: place(lines_at), end, bytes, lines };
        self.pending = Some(PendingBatch { batch, written: 0, positions, awaited });
        true
    }

    fn write(&mut self, now: Duration) -> io::Result<()> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let directory = self.shared.directory();
                let file = self.reserve.with(|| segment::make(directory, self.next))?;
                let open = OpenSegment { file: Arc::new(file), sequence: self.next, length: 0, began: now };
                self.next += 1;
                none.insert(open)
            }
        };
        while pending.written < pending.batch.bytes.len() {
            let rest = &pending.batch.bytes[pending.written..];
            match open.file.write_at(rest, open.length + pending.written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => pending.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if open.length == 0 {
            // Its name is to last before anybody relies on what stands in it.
            File::open(self.shared.directory())?.sync_all()?;
        }
        open.length = pending.batch.end.offset;
        if let Some(PendingBatch { batch, positions, awaited, .. }) = self.pending.take() {
            self.spare = self.shared.wrote(batch, &open.file, &positions, now).unwrap_or_default();
            awaited.into_iter().for_each(WriteAck::written);
        }
        Ok(())
    }

    /// Ends a segment. It is synced first: the next one begins with the positions up to here, and must not be there without what they tell of.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Err(error) = open.file.sync_data() {
            not_synced(&self.shared, &error);
        }
    }

    /// Somebody may have removed the file: what is written to it then, nobody reads after a start.
    fn look_at_file(&mut self) {
        let is_gone = |open: &OpenSegment| open.file.metadata().is_ok_and(|meta| meta.nlink() == 0);
        if self.pending.is_none()
            && let Some(open) = self.open.take_if(|open| is_gone(open))
        {
            self.shared.gone(open.sequence, &[]);
            let path = segment::path(self.shared.directory(), open.sequence);
            say(Level::Error, format_args!("{} was removed: another one is begun", path.display()));
        }
    }

    fn failed(&mut self, error: &io::Error, now: Duration) {
        let is_due = self.unwritten.lasts(now);
        if !self.unwritten.is_trouble(now) {
            return;
        }
        let words = format!(
            "the journal of events in {} cannot be written: {error}",
            self.shared.directory().display()
        );
        if is_due {
            say(
                Level::Error,
                format_args!("{words}; mail is taken only as long as its events find room in memory"),
            );
        }
        self.shared.set_failed(Some(words));
    }

    fn recovered(&mut self, now: Duration) {
        let was_trouble = self.unwritten.is_trouble(now);
        if let Some(lasted) = self.unwritten.ended(now) {
            let seconds = lasted.as_secs();
            say(Level::Info, format_args!("the journal of events is written again, after {seconds} s"));
        }
        if was_trouble {
            self.shared.set_failed(None);
        }
    }
}

/// The next chunk with something in it. Nothing is pending: who waits for what was taken before is told.
fn next(chunks: &Chunks) -> Option<Chunk> {
    loop {
        let chunk = chunks.take()?;
        if !chunk.is_empty() {
            return Some(chunk);
        }
        chunk.awaited.into_iter().for_each(WriteAck::written);
    }
}

/// Nobody knows what of the last lines is on the disk: what follows from the spool's records there is told again by the next start.
pub(super) fn not_synced(shared: &Shared, error: &io::Error) {
    let words = format!(
        "the journal of events in {} could not be synced: {error}; look at its disk, then restart: events since then are told again, and until then \
         the spool keeps the room of mail that has left",
        shared.directory().display()
    );
    if shared.freeze(words.clone(), process::since_boot()) {
        say(Level::Error, format_args!("{words}"));
    }
}
