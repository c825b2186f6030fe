//! The journal of events: what happened to mail, in files below the data directory, until all who are configured to read it have. A thread writes
//! what shards pass on (`writer`), another syncs that and removes what nobody needs (`keep`); each log has a cursor and a thread of its own.
//!
//! `docs/journal.md` has the promises and the layout.

mod batch;
mod cursor;
mod feed;
mod frame;
mod keep;
mod overhear;
mod place;
mod reader;
mod resume;
mod retain;
mod segment;
mod select;
mod shared;
mod tap;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Thread;

use crate::control::journal::place::LaneCheckpoint;
use crate::control::say::say;
use crate::control::thread::{Turn, Worker};
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::observe::journaled::Journaled;
use crate::runtime::files::{self, Reserve};
use crate::runtime::process;
use crate::spool::layout;

pub(super) use feed::{Feed, LogLines};
pub(super) use place::{FramePosition, ReadPosition};
pub(super) use resume::Resumed;
pub(super) use select::Select;
pub(super) use shared::{Progress, Shared};
pub(super) use tap::Tap;

/// Where it lies.
pub(crate) fn directory(data_dir: &Path) -> PathBuf {
    layout::journal_directory(data_dir)
}

/// A journal that was opened: what it had is known, and nothing is written yet.
pub(super) struct Journal {
    pub shared: Arc<Shared>,
    /// The segment that is written next.
    next: u64,
    forgotten: Vec<cursor::RemovedLog>,
}

/// Its threads.
pub(super) struct Threads {
    writer: Worker,
    keep: Worker,
}

impl Journal {
    /// Opens the one of a data directory. What was not written to its end is cut off; its directory is made when there is something to write.
    pub(super) fn open(data_dir: &Path) -> io::Result<Journal> {
        let directory = directory(data_dir);
        let beginning = begin(&directory)?;
        let next = beginning.next;
        Ok(Journal { shared: Arc::new(Shared::new(&directory, &beginning)), next, forgotten: Vec::new() })
    }

    /// How far it is with each lane, for so many.
    pub(super) fn journaled(&self, lanes: usize) -> Journaled {
        let known = self.shared.published();
        let journaled = Journaled::new(lanes, |lane| known.get(&lane).map(|known| known.until));
        journaled.of_origins(|lane| known.get(&lane).map_or(0, |known| known.origin))
    }

    /// Forgets the cursors of logs that are not configured any more. Nobody waits for these: the journal would grow to its bound for a log that an
    /// operator gave up. What they lose is counted, and said.
    pub(super) fn forget_others(&mut self, cursors: &[&str]) {
        let directory = self.shared.directory();
        let others = files::list(directory).unwrap_or_default();
        for name in others.iter().filter(|name| cursor::is_cursor(name) && !cursors.contains(&name.as_str()))
        {
            let cursor = directory.join(name);
            let of = cursor::of_file(&cursor).filter(|_| !name.ends_with(cursor::UNFINISHED));
            let behind = of.map(|(reader, at)| (reader, at, self.shared.behind(at.frame)));
            match behind.filter(|(.., bytes)| *bytes > 0) {
                Some((reader, at, bytes)) => {
                    self.forgotten.push(cursor::RemovedLog { reader, cursor, at, bytes })
                }
                None => _ = std::fs::remove_file(cursor),
            }
        }
    }

    /// Starts to write what shards pass on. There may be so many bytes; what is on the disk is published there.
    pub(super) fn start(
        self,
        instruments: &[Arc<Instruments>],
        reserve: &Arc<Reserve>,
        size_max: u64,
        journaled: &Arc<Journaled>,
    ) -> io::Result<Threads> {
        let mut writer =
            writer::Writer::new(self.shared.clone(), reserve.clone(), journaled.clone(), self.next);
        writer.segment_max = segment_max(files::size_bytes(self.shared.directory()));
        let keep = keep::Keep::new(self.shared, size_max, journaled.clone(), self.forgotten);
        let (of_writer, of_keep) = (instruments.to_vec(), instruments.to_vec());
        let writer = Worker::start("relevo-journal", move |turn| write(writer, &of_writer, turn))?;
        let keep = Worker::start("relevo-keep", move |turn| look_after(keep, &of_keep, turn))?;
        Ok(Threads { writer, keep })
    }
}

impl Threads {
    /// Wakes the writer by its `unpark`.
    pub(super) fn writer(&self) -> Thread {
        self.writer.waker()
    }

    /// Writes and syncs what was passed on, within a bound.
    pub(super) fn stop(self) {
        self.writer.stop(limits::LAST_WRITES);
        self.keep.stop(limits::LAST_WRITES);
    }
}

fn write(mut writer: writer::Writer, instruments: &[Arc<Instruments>], turn: &Turn) {
    let Some(first) = instruments.first() else { return };
    loop {
        let stop = turn.is_over();
        let written = writer.round(&first.chunks, process::since_boot());
        if stop && (written || turn.is_late()) {
            let left = writer.unwritten();
            if left > 0 {
                say(
                    Level::Error,
                    format_args!(
                        "{left} events and more could not be written to the journal: those of accepted mail are told again by the next start"
                    ),
                );
            }
            return;
        }
        turn.pause(limits::CONTROL_ROUND);
    }
}

fn look_after(mut keep: keep::Keep, instruments: &[Arc<Instruments>], turn: &Turn) {
    let mut looked = None;
    while !turn.is_over() {
        let now = process::since_boot();
        // Who wakes it wants a sync.
        if looked.is_some_and(|looked| now < looked + limits::JOURNAL_SYNC) {
            keep.sync();
        } else {
            looked = Some(now);
            let lost = keep.round(now);
            if let (Some(first), 1..) = (instruments.first(), lost) {
                first.counters.accounting_lost.add(lost);
            }
        }
        turn.pause(limits::JOURNAL_SYNC);
    }
    keep.sync();
}

/// Bytes of a segment on a file system of this size: what the spool leaves free there has room for a few.
fn segment_max(size: u64) -> u64 {
    let most = files::spare_of(size) / limits::JOURNAL_SPARE_SEGMENTS;
    most.clamp(limits::JOURNAL_SEGMENT_MIN, limits::JOURNAL_SEGMENT)
}

/// Removes a journal that nothing reads: what is written later is to begin anew.
pub(super) fn remove(data_dir: &Path) {
    let directory = directory(data_dir);
    if !directory.is_dir() {
        return;
    }
    let names = files::list(&directory).unwrap_or_default();
    for name in names.iter().filter(|name| cursor::is_cursor(name)) {
        let of = cursor::of_file(&directory.join(name));
        if let Some((reader, bytes)) = of.map(|(reader, at)| (reader, behind(&directory, &names, at.frame)))
            && bytes > 0
        {
            say(
                Level::Warning,
                format_args!(
                    "the log {reader} is not configured any more: {bytes} bytes of the journal that it has not read go unread"
                ),
            );
        }
    }
    for name in names.iter().filter(|name| segment::sequence(name).is_some() || cursor::is_cursor(name)) {
        let _ = std::fs::remove_file(directory.join(name));
    }
    match std::fs::remove_dir(&directory) {
        Ok(()) => say(
            Level::Info,
            format_args!("{}: no log is configured, so there is no journal of events", directory.display()),
        ),
        Err(error) => {
            say(Level::Warning, format_args!("{}: {error}; nothing reads it, remove it", directory.display()))
        }
    }
}

/// Bytes that stand behind a place in the segments among these files.
fn behind(directory: &Path, names: &[String], at: FramePosition) -> u64 {
    let left = |name: &String| {
        let sequence = segment::sequence(name).filter(|sequence| *sequence >= at.segment)?;
        let length = std::fs::metadata(directory.join(name)).ok()?.len();
        Some(length.saturating_sub(if sequence == at.segment { at.offset } else { frame::HEADER as u64 }))
    };
    names.iter().filter_map(left).sum()
}

/// What a directory has. Segments without anything in them are removed, and the last one ends behind its last whole frame.
fn begin(directory: &Path) -> io::Result<shared::Beginning> {
    let mut sequences = segment::list(directory)?;
    let last = sequences.last().copied().unwrap_or(0);
    let mut positions = BTreeMap::new();
    while let Some(sequence) = sequences.last().copied() {
        if cut(directory, sequence, &mut positions)? {
            break;
        }
        // Each begins with positions: without these it has nothing, and the one before has been written to its end.
        set_aside(directory, sequence)?;
        sequences.pop();
    }
    let mut segments = Vec::new();
    for sequence in sequences {
        let bytes = std::fs::metadata(segment::path(directory, sequence))?.len();
        // While nothing ran no log could read it: that does not count.
        segments.push((sequence, bytes, process::since_boot()));
    }
    let names = files::list(directory).unwrap_or_default();
    let of_cursors = names.iter().filter(|name| cursor::is_cursor(name));
    let of_cursors = of_cursors.filter_map(|name| cursor::of_file(&directory.join(name)));
    let of_cursors = of_cursors.map(|(_, point)| point.frame.segment);
    let next = of_cursors.chain([last]).max().unwrap_or(0).saturating_add(1);
    Ok(shared::Beginning { segments, positions, next })
}

/// Removes a segment in which nothing can be read. One that was written is kept under another name.
fn set_aside(directory: &Path, sequence: u64) -> io::Result<()> {
    let path = segment::path(directory, sequence);
    if !segment::has_frame_behind(&File::open(&path)?, 0)? {
        return std::fs::remove_file(&path);
    }
    let aside = path.with_extension("journal.damaged");
    std::fs::rename(&path, &aside)?;
    say(
        Level::Error,
        format_args!(
            "{} is damaged at its beginning and is {} now: its events come to no log but as far as the spool can tell them again; look at its disk, then \
             remove it",
            path.display(),
            aside.display()
        ),
    );
    Ok(())
}

/// Cuts a segment behind its last whole frame, and takes the positions in it. Whether there is one.
fn cut(directory: &Path, sequence: u64, positions: &mut BTreeMap<u16, LaneCheckpoint>) -> io::Result<bool> {
    let path = segment::path(directory, sequence);
    let file = File::options().read(true).write(true).open(&path)?;
    let mut frames = 0u64;
    let end = segment::whole(&file, sequence, |kind, carried| {
        frames += 1;
        frame::read_positions(kind, carried, positions);
    })?;
    let length = file.metadata()?.len();
    // What a disk cannot read is damage: nothing behind it is thrown away.
    if frames > 0 && end < length && segment::has_frame_behind(&file, end).unwrap_or(true) {
        // Who reads it passes over that, and says so.
        say(
            Level::Error,
            format_args!(
                "{} is damaged at {end}, and more was written behind that: a power cut may leave this, else its disk loses data; what the last {} \
                 bytes told of mail is told again as far as the spool still has it",
                path.display(),
                length - end
            ),
        );
    } else if frames > 0 && end < length {
        file.set_len(end)?;
        say(
            Level::Info,
            format_args!(
                "{}: its last {} bytes were not written to their end and are cut off; what they told of mail is told again",
                path.display(),
                length - end
            ),
        );
    }
    // A killed process may have left it in memory alone, and shards let go of what is before these positions.
    file.sync_data()?;
    File::open(directory)?.sync_all()?;
    Ok(frames > 0)
}

#[cfg(test)]
pub(super) mod tests;
