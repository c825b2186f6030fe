//! The journal of events: what happened to mail, in files below the data directory, until all who are configured to read it have. A thread writes
//! what shards pass on (`writer`), another syncs that and removes what nobody needs (`keep`); each log has a cursor and a thread of its own.
//!
//! `docs/journal.md` has the promises and the layout.

mod cursor;
mod feed;
mod frame;
mod keep;
mod place;
mod reader;
mod resume;
mod retain;
mod segment;
mod select;
mod shared;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::control::say::say;
use crate::control::thread::{Turn, Worker};
use crate::id::Position;
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::observe::journaled::Journaled;
use crate::runtime::files::{self, Reserve};
use crate::runtime::process;
use crate::time::UnixMillis;

pub(super) use feed::{Feed, Held};
pub(super) use place::Place;
pub(super) use resume::Resumed;
pub(super) use select::Select;
pub(super) use shared::{Progress, Shared};

/// Where it lies.
pub(crate) fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// A journal that was opened: what it had is known, and nothing is written yet.
pub(super) struct Journal {
    pub shared: Arc<Shared>,
    /// The segment that is written next.
    next: u64,
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
        Ok(Journal { shared: Arc::new(Shared::new(&directory, &beginning)), next })
    }

    /// Forgets the cursors of logs that are not configured any more.
    pub(super) fn forget_others(&self, cursors: &[&str]) {
        let directory = self.shared.directory();
        let others = files::list(directory).unwrap_or_default();
        for name in others.iter().filter(|name| cursor::is_cursor(name) && !cursors.contains(&name.as_str()))
        {
            let _ = std::fs::remove_file(directory.join(name));
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
        let writer = writer::Writer::new(self.shared.clone(), reserve.clone(), self.next);
        let keep = keep::Keep::new(self.shared, size_max, journaled.clone());
        let (of_writer, of_keep) = (instruments.to_vec(), instruments.to_vec());
        let writer = Worker::start("relevo-journal", move |turn| write(writer, &of_writer, turn))?;
        let keep = Worker::start("relevo-keep", move |turn| look_after(keep, &of_keep, turn))?;
        Ok(Threads { writer, keep })
    }
}

impl Threads {
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
        let written = writer.round(&first.chunks, process::wall());
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
    while !turn.is_over() {
        let lost = keep.round(process::wall());
        if let (Some(first), 1..) = (instruments.first(), lost) {
            first.counters.accounting_lost.add(lost);
        }
        turn.pause(limits::JOURNAL_SYNC);
    }
    keep.sync();
}

/// Removes a journal that nothing reads: what is written later is to begin anew.
pub(super) fn remove(data_dir: &Path) {
    let directory = directory(data_dir);
    if !directory.is_dir() {
        return;
    }
    let names = files::list(&directory).unwrap_or_default();
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
        std::fs::remove_file(segment::path(directory, sequence))?;
        sequences.pop();
    }
    let mut segments = Vec::new();
    for sequence in sequences {
        let meta = std::fs::metadata(segment::path(directory, sequence))?;
        let age = meta.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let at = age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        segments.push((sequence, meta.len(), UnixMillis(at)));
    }
    let names = files::list(directory).unwrap_or_default();
    let of_cursors = names.iter().filter(|name| cursor::is_cursor(name));
    let of_cursors = of_cursors.filter_map(|name| cursor::segment(&directory.join(name)));
    let next = of_cursors.chain([last]).max().unwrap_or(0).saturating_add(1);
    Ok(shared::Beginning { segments, positions, next })
}

/// Cuts a segment behind its last whole frame, and takes the positions in it. Whether there is one.
fn cut(directory: &Path, sequence: u64, positions: &mut BTreeMap<u16, Position>) -> io::Result<bool> {
    let path = segment::path(directory, sequence);
    let file = File::options().read(true).write(true).open(&path)?;
    let mut frames = 0u64;
    let end = segment::whole(&file, sequence, |kind, carried| {
        frames += 1;
        if kind == frame::Kind::Positions {
            frame::read_positions(carried, positions);
        }
    })?;
    let length = file.metadata()?.len();
    if frames > 0 && end < length {
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
