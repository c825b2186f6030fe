//! The accounting log's writer: a thread of its own, because a disk or a reader may keep it waiting for as long as they like.
//!
//! What cannot be written is held, up to a bound, and tried again; what shards pass on beyond that fills their queues, and is dropped
//! and counted there. A record is written whole or not at all: where a full disk took half of one, the half is cut off again.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::control::say::say;
use crate::limits;
use crate::observe::Instruments;
use crate::observe::diagnostics::Level;
use crate::runtime::files::{self, Mended, Reserve};
use crate::runtime::output::{ATOMIC, Output};

/// The log file, or standard output.
pub(super) struct Log {
    path: Option<PathBuf>,
    output: Output,
    reserve: Arc<Reserve>,
    /// Whole records, of which `at` bytes are written.
    held: Vec<u8>,
    at: usize,
    /// The file ends in the middle of a record that could not be cut off.
    torn: bool,
    round: u32,
    /// Rounds in which nothing could be written.
    failing: u32,
}

impl Log {
    /// Opens the file for appending; its directory is made if it is missing. Nothing here waits for a reader.
    pub(super) fn open(path: Option<PathBuf>, reserve: Arc<Reserve>) -> io::Result<Log> {
        let output = match &path {
            Some(path) => open_file(path)?,
            None => Output::standard_output()?,
        };
        if let (Some(path), Some(_)) = (&path, output.regular()) {
            match files::mend(path, true)? {
                Mended::Sound => {}
                Mended::Others => say(
                    Level::Warning,
                    format_args!(
                        "{} could be read by others: it is for its owner alone now (mode 0600)",
                        path.display()
                    ),
                ),
                Mended::NotOurs => say(
                    Level::Warning,
                    format_args!(
                        "{} can be read by others, and belongs to another user: chmod 600 it",
                        path.display()
                    ),
                ),
            }
        }
        let torn = output.regular().is_some_and(ends_torn);
        Ok(Log { path, output, reserve, held: Vec::new(), at: 0, torn, round: 0, failing: 0 })
    }

    /// One round: takes what shards have passed on and writes what it can. Whether there is nothing left.
    pub(super) fn write(&mut self, instruments: &[Arc<Instruments>], reopen: bool) -> bool {
        self.round = self.round.wrapping_add(1);
        if reopen || (self.round.is_multiple_of(limits::LOG_LOOK_ROUNDS) && self.was_moved()) {
            self.reopen();
        }
        let mut done = Ok(());
        let mut more = true;
        while done.is_ok() && more {
            more = self.take(instruments);
            done = self.write_held();
        }
        match done {
            Ok(()) => self.recovered(),
            Err(error) => self.failed(&error),
        }
        self.held.is_empty()
    }

    /// Waits for a reader, where it was one that was missing.
    pub(super) fn await_room(&self, at_most: Duration) {
        if self.output.regular().is_none()
            && !self.held.is_empty()
            && self.failing <= limits::LOG_PATIENCE_ROUNDS
        {
            self.output.await_room(at_most);
        }
    }

    /// Whether it is a file on a disk.
    pub(super) fn is_a_file(&self) -> bool {
        self.output.regular().is_some()
    }

    /// Gathers records up to the bound. Whether there are more.
    fn take(&mut self, instruments: &[Arc<Instruments>]) -> bool {
        if self.at > 0 {
            self.held.drain(..self.at);
            self.at = 0;
        }
        for shard in instruments {
            loop {
                if self.held.len() >= limits::ACCOUNTING_HELD {
                    return true;
                }
                let Some(chunk) = shard.chunks.take() else { break };
                self.held.extend_from_slice(&chunk.lines);
                shard.chunks.give_back(chunk.lines);
            }
        }
        false
    }

    fn write_held(&mut self) -> io::Result<()> {
        while self.at < self.held.len() {
            if self.torn {
                self.output.write(b"\n")?;
                self.torn = false;
            }
            let rest = &self.held[self.at..];
            let piece = match self.output.regular() {
                Some(file) if self.failing > 0 => {
                    // Who reads along must not see half a record at every try.
                    let piece = whole(rest, limits::ACCOUNTING_CHUNK);
                    set_aside(file, piece.len() as u64)?;
                    piece
                }
                Some(_) => rest,
                None => whole(rest, ATOMIC),
            };
            match self.output.write(piece) {
                Ok(written) if written == piece.len() => self.at += written,
                Ok(written) => {
                    self.cut(written);
                    if self.output.regular().is_some() {
                        // It would take as much again, for ever.
                        return Err(rustix::io::Errno::NOSPC.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.held.clear();
        self.held.shrink_to(limits::ACCOUNTING_CHUNK);
        self.at = 0;
        Ok(())
    }

    /// Only so many bytes were taken: a disk is full. The part of a record among them goes.
    fn cut(&mut self, written: usize) {
        let Some(file) = self.output.regular() else {
            // A stream goes on where it stopped.
            self.at += written;
            return;
        };
        let whole = memchr::memrchr(b'\n', &self.held[self.at..][..written]).map_or(0, |end| end + 1);
        self.torn = cut_off(file, (written - whole) as u64).is_err() && whole < written;
        self.at += whole;
    }

    /// A log rotator renames the file and expects a new one.
    fn was_moved(&self) -> bool {
        let Some(path) = &self.path else { return false };
        let named = std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        self.output.identity() != named
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match self.reserve.with(|| open_file(path)) {
            Ok(output) => {
                self.torn = output.regular().is_some_and(ends_torn);
                self.output = output;
                // The rest of a record whose beginning went elsewhere is of no use there.
                if self.at > 0 && self.held[self.at - 1] != b'\n' {
                    let rest = memchr::memchr(b'\n', &self.held[self.at..]);
                    self.at = rest.map_or(self.held.len(), |end| self.at + end + 1);
                    say(
                        Level::Warning,
                        format_args!("an accounting record was cut in two by the rotation of a pipe"),
                    );
                }
            }
            Err(error) => say(
                Level::Error,
                format_args!(
                    "the log {} cannot be opened again: {error}; the old file is written on",
                    path.display()
                ),
            ),
        }
    }

    fn name(&self) -> String {
        self.path.as_ref().map_or("on standard output".to_owned(), |path| path.display().to_string())
    }

    fn failed(&mut self, error: &io::Error) {
        self.failing = self.failing.saturating_add(1);
        let patience =
            if error.kind() == io::ErrorKind::WouldBlock { limits::LOG_PATIENCE_ROUNDS } else { 1 };
        if self.failing != patience && !self.failing.is_multiple_of(limits::LOG_COMPLAIN_ROUNDS) {
            return;
        }
        let (name, records) = (self.name(), self.records());
        let what = if error.kind() == io::ErrorKind::WouldBlock {
            "nobody reads it".to_owned()
        } else {
            error.to_string()
        };
        say(
            Level::Error,
            format_args!(
                "the accounting log {name} cannot be written: {what}; {records} records wait for it, and what comes when {} are \
                 waiting is dropped and counted",
                crate::config::value::show_size(limits::ACCOUNTING_HELD as u64)
            ),
        );
    }

    fn recovered(&mut self) {
        let patience = if self.output.regular().is_some() { 1 } else { limits::LOG_PATIENCE_ROUNDS };
        if std::mem::take(&mut self.failing) >= patience {
            say(Level::Info, format_args!("the accounting log {} is written again", self.name()));
        }
    }

    /// Records that wait here.
    pub(super) fn records(&self) -> u64 {
        memchr::memchr_iter(b'\n', &self.held[self.at..]).count() as u64
    }
}

fn open_file(path: &Path) -> io::Result<Output> {
    if let Some(directory) = path.parent() {
        files::make_directories(directory)?;
    }
    Output::open(path)
}

/// As many whole records as fit into so many bytes, or one that is longer.
fn whole(records: &[u8], most: usize) -> &[u8] {
    if records.len() <= most {
        return records;
    }
    let end = memchr::memrchr(b'\n', &records[..most]).or_else(|| memchr::memchr(b'\n', records));
    &records[..end.map_or(records.len(), |end| end + 1)]
}

/// Asks the disk for room behind the end of a file, which does not become longer by that. A file system that cannot is not asked.
fn set_aside(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::io::Errno;
    let end = file.metadata()?.len();
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, end, bytes) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether a file ends in the middle of a line: a process that wrote it was killed there, or had no more room.
fn ends_torn(file: &File) -> bool {
    let mut last = [b'\n'];
    let length = file.metadata().map_or(0, |meta| meta.len());
    length > 0 && file.read_exact_at(&mut last, length - 1).is_ok() && last != [b'\n']
}

/// Takes away the last bytes that were written, unless somebody else has written behind them.
fn cut_off(mut file: &File, bytes: u64) -> io::Result<()> {
    let end = file.stream_position()?;
    if file.metadata()?.len() != end {
        return Err(io::Error::other("others write it too"));
    }
    file.set_len(end - bytes)?;
    file.seek(SeekFrom::Start(end - bytes)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    use crate::id::MessageId;
    use crate::observe::accounting::Journal;
    use crate::observe::event::{Arrival, Encoder, Event, Mail};
    use crate::time::UnixMillis;

    fn with_records(count: usize) -> Vec<Arc<Instruments>> {
        let instruments = vec![Arc::new(Instruments::default())];
        let mut journal = Journal::new(instruments[0].chunks.clone(), Encoder::new(1, UnixMillis(0), "0"));
        let id = MessageId { lane: 0, sequence: 0, offset: 0 };
        for _ in 0..count {
            let mail = Mail::new(id, b"a            x", (0, &[b"b            y"]));
            journal.record(UnixMillis(0), &Event::Received(mail, Arrival::default()));
        }
        journal.flush();
        instruments
    }

    fn log(path: &Path) -> Log {
        Log::open(Some(path.to_owned()), Arc::default()).unwrap()
    }

    #[test]
    fn half_a_record_is_cut_off_and_written_whole_later() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log/of/mail");
        let mut log = log(&path);
        log.held = b"one\ntwo\nthree\n".to_vec();
        // As a disk that had room for ten bytes.
        assert_eq!(log.output.write(b"one\ntwo\nth").unwrap(), 10);
        log.cut(10);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(log.records(), 1);
        log.write_held().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
    }

    #[test]
    fn behind_the_torn_end_of_a_killed_process_a_line_begins() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        std::fs::write(&path, b"one\ntw").unwrap();
        let mut log = log(&path);
        log.held = b"three\n".to_vec();
        log.write_held().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntw\nthree\n");
    }

    #[test]
    fn what_a_full_disk_refuses_waits_up_to_a_bound() {
        let instruments = with_records(3);
        let mut log = log(Path::new("/dev/full"));
        assert!(!log.write(&instruments, false));
        assert_eq!((log.records(), log.failing), (3, 1));
        log.held.resize(limits::ACCOUNTING_HELD, b'\n');
        let more = with_records(1);
        assert!(!log.write(&more, false));
        assert!(more[0].chunks.take().is_some(), "left to the shard, which counts what it drops");
        log.path = Some("/dev/null".into());
        assert!(log.write(&more, true), "opened again");
    }

    #[test]
    fn a_pipe_nobody_reads_gets_whole_records() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let mut log = log(&path);
        for _ in 0..4 {
            log.write(&with_records(400), false);
        }
        let left = log.records();
        assert!(left > 0 && log.failing > 0);
        // Its own end keeps what is in the pipe.
        let mut text = vec![0; 1 << 20];
        let read = (&File::open(&path).unwrap()).read(&mut text).unwrap();
        let mut whole = 0;
        for line in text[..read].split_inclusive(|byte| *byte == b'\n') {
            serde_json::from_slice::<serde_json::Value>(line).unwrap();
            whole += 1;
        }
        assert_eq!(whole + left, 1600);
    }

    #[test]
    fn pieces_for_a_pipe_end_with_a_record() {
        let long = [vec![b'x'; ATOMIC + 10], b"\n".to_vec(), b"y\n".to_vec()].concat();
        assert_eq!(whole(&long, ATOMIC).len(), ATOMIC + 11);
        let many = b"0123456\n".repeat(ATOMIC);
        assert_eq!(whole(&many, ATOMIC).len(), ATOMIC);
        assert_eq!(whole(b"y\n", ATOMIC), b"y\n");
    }
}
