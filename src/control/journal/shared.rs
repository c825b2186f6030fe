//! What the journal's writer, its readers and who looks after it know together. One lock, which no shard ever takes, and nothing is read or written
//! under it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

pub(super) use crate::control::journal::batch::Batch;
use crate::control::journal::frame::HEADER;
use crate::control::journal::overhear::Overhear;
use crate::control::journal::place::{FramePosition, LaneCheckpoint, ReadPosition};
use crate::control::journal::retain::SegmentInfo;
use crate::limits;
use crate::observe::repeat::Repeat;

/// The journal, as all of its threads see it.
#[derive(Debug)]
pub(in crate::control) struct Shared {
    directory: PathBuf,
    state: Mutex<JournalState>,
    overhear: Overhear,
    /// What is written next is to begin a segment.
    anew: AtomicBool,
}

#[derive(Debug, Default)]
struct JournalState {
    /// Behind all that is written.
    end: FramePosition,
    segments: BTreeMap<u64, Segment>,
    /// What was written last, as far as some reader that has all before it may not have read it.
    recent: VecDeque<Arc<Batch>>,
    recent_bytes: usize,
    readers: Vec<Reading>,
    /// Who syncs.
    keep: Option<Thread>,
    /// What is written and not synced yet.
    unsynced: Option<Arc<File>>,
    /// The positions that stand in what is written, and in what is synced.
    positions: BTreeMap<u16, LaneCheckpoint>,
    published: BTreeMap<u16, LaneCheckpoint>,
    /// A sync failed: nobody knows what of the lines before it is on the disk.
    frozen: Option<String>,
    unsynced_said: Repeat,
    /// It cannot be written.
    failed: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    bytes: u64,
    /// On a clock that nobody sets: a day that is wrong for a second must not age what no log has read.
    last: Duration,
}

/// A reader.
#[derive(Debug)]
struct Reading {
    name: String,
    at: ReadPosition,
    saved: ReadPosition,
    lost: u64,
    thread: Option<Thread>,
    /// Which file it writes, by device and number.
    file: Option<(u64, u64)>,
}

/// What a reader finds where it is.
#[derive(Debug)]
pub(super) enum NextRead {
    /// Nothing yet.
    End,
    /// This.
    Recent(Arc<Batch>),
    /// What stands in the file, of which so many bytes count.
    Disk(u64),
    /// That it goes on elsewhere.
    Elsewhere(FramePosition),
}

/// How a reader does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Progress {
    /// What it writes.
    pub name: String,
    /// Bytes of the journal that it has not read.
    pub behind: u64,
    /// Events that went before it read them.
    pub lost: u64,
}

/// What was found at a start.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// Each segment: its sequence, its bytes, and since when it counts as written.
    pub segments: Vec<(u64, u64, Duration)>,
    /// The positions in them.
    pub positions: BTreeMap<u16, LaneCheckpoint>,
    /// The segment that is written next.
    pub next: u64,
}

impl Shared {
    pub(super) fn new(directory: &Path, beginning: &Beginning) -> Shared {
        let segments = beginning
            .segments
            .iter()
            .map(|(sequence, bytes, last)| (*sequence, Segment { bytes: *bytes, last: *last }));
        let segments: BTreeMap<u64, Segment> = segments.collect();
        // A cursor may be of a segment that is gone: what comes is behind that.
        let last = segments
            .last_key_value()
            .map(|(segment, of)| FramePosition { segment: *segment, offset: of.bytes });
        let before = FramePosition { segment: beginning.next.saturating_sub(1), offset: 0 };
        let end = last.map_or(before, |last| last.max(before));
        let positions = beginning.positions.clone();
        let state = JournalState {
            end,
            segments,
            published: positions.clone(),
            positions,
            ..JournalState::default()
        };
        let (overhear, anew) = (Overhear::default(), AtomicBool::new(false));
        Shared { directory: directory.to_owned(), state: Mutex::new(state), overhear, anew }
    }

    fn state(&self) -> MutexGuard<'_, JournalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its files are.
    pub(in crate::control) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it takes, for whoever watches.
    pub(in crate::control) fn overhear(&self) -> &Overhear {
        &self.overhear
    }

    /// The last whole lines that it took, of so many bytes at the most.
    pub(in crate::control) fn latest(&self, most: usize) -> Vec<u8> {
        let Some(batch) = self.state().recent.back().cloned() else { return Vec::new() };
        let lines = &batch.bytes[batch.lines.clone()];
        let from = match lines.len().checked_sub(most) {
            None => 0,
            Some(from) => memchr::memchr(b'\n', &lines[from..]).map_or(lines.len(), |end| from + end + 1),
        };
        lines[from..].to_vec()
    }

    /// What is written next is to begin a segment: the ones before it go when all have read them.
    pub(in crate::control) fn begin_anew(&self) {
        self.anew.store(true, Ordering::SeqCst);
    }

    /// Whether that is so; asked by the writer, once.
    pub(super) fn takes_anew(&self) -> bool {
        self.anew.load(Ordering::Relaxed) && self.anew.swap(false, Ordering::SeqCst)
    }

    /// Segments up to this one that are there.
    pub(in crate::control) fn segments_until(&self, sequence: u64) -> Vec<u64> {
        self.state().segments.range(..=sequence).map(|(sequence, _)| *sequence).collect()
    }

    /// Readers whose cursor is before this: all, or those that write a file.
    pub(in crate::control) fn unsaved(&self, before: FramePosition, files: bool) -> Vec<String> {
        let state = self.state();
        let readers = state.readers.iter().filter(|reader| reader.saved.frame < before);
        readers.filter(|reader| !files || reader.file.is_some()).map(|reader| reader.name.clone()).collect()
    }

    /// Behind all that is written.
    pub(in crate::control) fn end(&self) -> FramePosition {
        self.state().end
    }

    /// Adds a reader that is there. Its number.
    pub(super) fn register(&self, name: &str, at: ReadPosition) -> usize {
        let mut state = self.state();
        state.readers.push(Reading {
            name: name.to_owned(),
            at,
            saved: at,
            lost: 0,
            thread: None,
            file: None,
        });
        state.readers.len() - 1
    }

    /// A reader writes this file from now on. The name of another that does.
    pub(super) fn writes(&self, reader: usize, file: Option<(u64, u64)>) -> Option<String> {
        let mut state = self.state();
        if let Some(reading) = state.readers.get_mut(reader) {
            reading.file = file;
        }
        let mut readers = state.readers.iter().enumerate();
        let other = readers.find(|(number, other)| *number != reader && file.is_some() && other.file == file);
        other.map(|(_, other)| other.name.clone())
    }

    /// What a reader finds there; it has all before that, unless it only searches.
    pub(super) fn look(&self, reader: usize, at: ReadPosition, searches: bool) -> NextRead {
        let mut state = self.state();
        if let Some(reading) = state.readers.get_mut(reader) {
            reading.at = if searches { reading.at } else { at };
            reading.thread.get_or_insert_with(std::thread::current);
        }
        state.look(at.frame)
    }

    /// The cursor of a reader says so.
    pub(super) fn saved(&self, reader: usize, saved: ReadPosition) {
        if let Some(reading) = self.state().readers.get_mut(reader) {
            reading.saved = saved;
        }
    }

    /// A batch stands in this file, and with it these positions. A buffer for another one, if there is one.
    pub(super) fn wrote(
        &self,
        batch: Batch,
        file: &Arc<File>,
        positions: &BTreeMap<u16, LaneCheckpoint>,
        at: Duration,
    ) -> Option<Vec<u8>> {
        let batch = Arc::new(batch);
        self.overhear.hear(&batch);
        let mut state = self.state();
        state.end = batch.end;
        state.segments.insert(batch.end.segment, Segment { bytes: batch.end.offset, last: at });
        state.unsynced = Some(file.clone());
        state.positions.extend(positions);
        state.recent_bytes += batch.bytes.len();
        state.recent.push_back(batch);
        let mut spare = None;
        let all_read = state.readers.iter().map(|reader| reader.at.frame).min();
        let is_kept = |oldest: &Batch, bytes| {
            bytes <= limits::JOURNAL_RECENT && all_read.is_some_and(|read| read < oldest.end)
        };
        while state.recent.len() > 1
            && state.recent.front().is_some_and(|oldest| !is_kept(oldest, state.recent_bytes))
        {
            let Some(oldest) = state.recent.pop_front() else { break };
            state.recent_bytes -= oldest.bytes.len();
            spare = Arc::into_inner(oldest).map(|batch| batch.bytes);
        }
        let is_awaited = positions.iter().any(|(lane, known)| state.is_awaited(*lane, *known));
        let keep = state.keep.clone().filter(|_| is_awaited);
        let waiting: Vec<Thread> = state.readers.iter().filter_map(|reader| reader.thread.clone()).collect();
        drop(state);
        waiting.iter().chain(&keep).for_each(Thread::unpark);
        spare
    }

    /// What is to be synced, by the thread that asks, and the positions that may be published then.
    pub(super) fn unsynced(&self) -> Option<(Arc<File>, BTreeMap<u16, LaneCheckpoint>)> {
        let mut state = self.state();
        state.keep.get_or_insert_with(std::thread::current);
        let file = state.unsynced.take()?;
        Some((file, state.positions.clone()))
    }

    /// It is synced. Whether they may be published.
    pub(super) fn synced(&self, positions: &BTreeMap<u16, LaneCheckpoint>) -> bool {
        let mut state = self.state();
        if state.frozen.is_none() {
            state.published.clone_from(positions);
        }
        state.frozen.is_none()
    }

    /// A sync failed. From here on no position is written or published: the next start tells again what is recorded behind the last that was.
    /// Whether that is to be said.
    pub(super) fn freeze(&self, words: String, now: Duration) -> bool {
        let mut state = self.state();
        state.frozen.get_or_insert(words);
        state.unsynced_said.lasts(now)
    }

    /// The positions to begin a segment with, if a sync failed: else those that its writer knows.
    pub(super) fn frozen(&self) -> Option<BTreeMap<u16, LaneCheckpoint>> {
        let state = self.state();
        state.frozen.as_ref().map(|_| state.published.clone())
    }

    /// The positions in what is synced.
    pub(in crate::control) fn published(&self) -> BTreeMap<u16, LaneCheckpoint> {
        self.state().published.clone()
    }

    /// It cannot be written, or can again.
    pub(super) fn set_failed(&self, words: Option<String>) {
        self.state().failed = words;
    }

    /// What is wrong with it, in words.
    pub(in crate::control) fn problem(&self) -> Option<String> {
        let state = self.state();
        state.failed.clone().or_else(|| state.frozen.clone())
    }

    /// The segments, the oldest first, and the one that the slowest reader is in as its cursor says.
    pub(super) fn kept(&self, now: Duration) -> (Vec<SegmentInfo>, u64) {
        let state = self.state();
        let kept = |(sequence, segment): (&u64, &Segment)| SegmentInfo {
            sequence: *sequence,
            bytes: segment.bytes,
            age: now.saturating_sub(segment.last),
        };
        let read = state.readers.iter().map(|reader| reader.saved.frame.segment).min();
        (state.segments.iter().map(kept).collect(), read.unwrap_or(0))
    }

    /// The readers that have not read all of a segment, and where they are.
    pub(super) fn unread(&self, sequence: u64) -> Vec<(usize, ReadPosition)> {
        let state = self.state();
        let bytes = state.segments.get(&sequence).map_or(0, |segment| segment.bytes);
        let readers = state.readers.iter().enumerate();
        readers
            .filter(|(_, reader)| reader.at.frame < FramePosition { segment: sequence, offset: bytes })
            .map(|(number, reader)| (number, reader.at))
            .collect()
    }

    /// A segment is gone, and with it so many events that a reader has not read.
    pub(super) fn gone(&self, sequence: u64, lost: &[(usize, u64)]) {
        let mut state = self.state();
        state.segments.remove(&sequence);
        for (number, events) in lost {
            if let Some(reader) = state.readers.get_mut(*number) {
                reader.lost += events;
            }
        }
    }

    /// What a reader is called.
    pub(super) fn name(&self, reader: usize) -> String {
        self.state().readers.get(reader).map_or_else(String::new, |reader| reader.name.clone())
    }

    /// Bytes of all segments.
    pub(in crate::control) fn bytes(&self) -> u64 {
        self.state().segments.values().map(|segment| segment.bytes).sum()
    }

    /// Bytes behind a place.
    pub(super) fn behind(&self, at: FramePosition) -> u64 {
        self.state().behind(at)
    }

    /// Bytes behind a reader, and events that went before it read them.
    pub(super) fn behind_and_lost(&self, reader: usize) -> (u64, u64) {
        let state = self.state();
        let reading = state.readers.get(reader);
        reading.map_or((0, 0), |reading| (state.behind(reading.at.frame), reading.lost))
    }

    /// How its readers do.
    pub(in crate::control) fn progress(&self) -> Vec<Progress> {
        let state = self.state();
        let one = |reader: &Reading| Progress {
            name: reader.name.clone(),
            behind: state.behind(reader.at.frame),
            lost: reader.lost,
        };
        state.readers.iter().map(one).collect()
    }
}

impl JournalState {
    /// A shard waits for the first position of a lane; and for the first one in a segment, as those before it may be used again then: else
    /// a lane that is written fast makes more of them.
    fn is_awaited(&self, lane: u16, known: LaneCheckpoint) -> bool {
        self.published.get(&lane).is_none_or(|before| {
            before.origin != known.origin
                || before.until > known.until
                || before.until.sequence() < known.until.sequence()
        })
    }

    fn look(&self, at: FramePosition) -> NextRead {
        if at >= self.end {
            return NextRead::End;
        }
        let next = || {
            let next = self.segments.range(at.segment + 1..).next();
            next.map_or(NextRead::End, |(segment, _)| {
                NextRead::Elsewhere(FramePosition { segment: *segment, offset: HEADER as u64 })
            })
        };
        let Some(segment) = self.segments.get(&at.segment).filter(|segment| at.offset < segment.bytes) else {
            return next();
        };
        match self.recent.binary_search_by_key(&at, |batch| batch.start) {
            Ok(found) => {
                self.recent.get(found).map_or(NextRead::End, |batch| NextRead::Recent(batch.clone()))
            }
            Err(_) => NextRead::Disk(segment.bytes),
        }
    }

    fn behind(&self, at: FramePosition) -> u64 {
        let left = |(sequence, segment): (&u64, &Segment)| match at.segment == *sequence {
            true => segment.bytes.saturating_sub(at.offset),
            false => segment.bytes,
        };
        self.segments.range(at.segment..).map(left).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Position;

    #[test]
    fn a_shard_waits_for_a_first_position_and_for_a_new_segment() {
        let known =
            |sequence, offset, origin| LaneCheckpoint { until: Position::new(sequence, offset), origin };
        let published = BTreeMap::from([(1, known(3, 8192, 7))]);
        let state = JournalState { published, ..JournalState::default() };
        for (lane, known, awaited) in [
            (0, known(3, 8192, 7), true),
            (1, known(3, 8192, 8), true),
            (1, known(3, 4096, 7), true),
            (1, known(4, 4096, 7), true),
            (1, known(3, 8192, 7), false),
            (1, known(3, u32::MAX, 7), false),
        ] {
            assert_eq!(state.is_awaited(lane, known), awaited, "{lane} {known:?}");
        }
    }

    fn place(offset: u64) -> FramePosition {
        FramePosition { segment: 1, offset }
    }

    fn write(shared: &Shared, number: u64, bytes: usize) -> usize {
        let file = Arc::new(File::open("/dev/null").expect("it is there"));
        let (start, end) = (place(100 * number), place(100 * (number + 1)));
        let batch = Batch { start, frame: start, end, bytes: vec![0; bytes], lines: 0..bytes };
        shared.wrote(batch, &file, &BTreeMap::new(), Duration::ZERO);
        shared.state().recent.len()
    }

    #[test]
    fn what_all_readers_have_is_not_kept_for_them() {
        let shared = Shared::new(Path::new("/"), &Beginning::default());
        assert_eq!((write(&shared, 0, 10), write(&shared, 1, 10)), (1, 1), "nobody reads");
        let quick = shared.register("quick", place(200).into());
        let slow = shared.register("slow", place(200).into());
        assert_eq!((write(&shared, 2, 10), write(&shared, 3, 10)), (1, 2));
        assert!(matches!(shared.look(quick, place(400).into(), false), NextRead::End));
        assert_eq!(write(&shared, 4, 10), 3, "the slow one has not read");
        assert!(matches!(shared.look(slow, place(200).into(), false), NextRead::Recent(_)));
        assert!(matches!(shared.look(slow, place(300).into(), false), NextRead::Recent(_)));
        assert_eq!(write(&shared, 5, 10), 3, "it has one more");
        assert_eq!(write(&shared, 6, limits::JOURNAL_RECENT), 1, "and then it reads from the disk");
        assert!(matches!(shared.look(slow, place(300).into(), false), NextRead::Disk(_)));
    }
}
