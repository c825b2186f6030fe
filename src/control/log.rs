//! A log's writer: gives what the journal has for it to a file, a pipe or standard output, on a thread of its own, because a disk or a reader may
//! keep it waiting for as long as they like.
//!
//! What cannot be written waits in the journal and is tried again. A line is written whole or not at all: where a full disk took half of one, the half
//! is cut off again. The cursor says how far it is; after a kill the file itself is looked at too (`journal::resume`), so that nothing stands in it
//! twice and nothing is missing, also where it was rotated meanwhile.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::control::journal::{Feed, Held, Journal, Place, Resumed, Select};
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::files::{self, Mended, Reserve};
use crate::runtime::output::{ATOMIC, Output};

/// The log file, or standard output.
pub(super) struct Log {
    path: Option<PathBuf>,
    output: Output,
    reserve: Arc<Reserve>,
    feed: Feed,
    /// What the journal had when this was opened ends there.
    begin: Place,
    /// Where it goes on is known.
    resumed: bool,
    /// Until then nobody tries to find out.
    resume_at: Duration,
    /// Nothing may be written before its cursor says which file it is.
    unsaved: bool,
    saved_at: Duration,
    /// Lines, of which `at` bytes are written.
    held: Option<Held>,
    at: usize,
    /// The file ends in the middle of a line that could not be cut off.
    torn: bool,
    round: u32,
    /// The last round wrote all that it was allowed to, and there may be more.
    more: bool,
    /// Rounds in which nothing could be written.
    failing: u32,
    /// The time of this round, and of the last words about the journal or the cursor.
    now: Duration,
    complained: Option<Duration>,
}

impl Log {
    /// Opens the file for appending; its directory is made if it is missing. Nothing here waits for a reader.
    pub(super) fn open(path: Option<PathBuf>, journal: &Journal, select: Select) -> io::Result<Log> {
        let output = match &path {
            Some(path) => open_file(path)?,
            None => Output::standard_output()?,
        };
        if let (Some(path), Some(_)) = (&path, output.regular()) {
            close_to_others(path)?;
        }
        let torn = output.regular().is_some_and(ends_torn);
        let feed = Feed::open(&journal.shared, &name(path.as_deref()), select)?;
        let mut log = Log {
            path,
            output,
            reserve: Arc::default(),
            feed,
            begin: journal.shared.end(),
            resumed: false,
            resume_at: Duration::ZERO,
            unsaved: true,
            saved_at: Duration::ZERO,
            held: None,
            at: 0,
            torn,
            round: 0,
            more: false,
            failing: 0,
            now: Duration::ZERO,
            complained: None,
        };
        if log.feed.saved().is_none() {
            // What is told from here on is for it, whatever happens before its thread begins. A disk without room has none for events either.
            let _ = log.save();
        }
        Ok(log)
    }

    /// Descriptors for when all others are taken.
    pub(super) fn use_reserve(&mut self, reserve: Arc<Reserve>) {
        self.reserve = reserve;
    }

    /// The name of its cursor's file.
    pub(super) fn cursor_name(&self) -> &str {
        self.feed.cursor_name()
    }

    /// One round, at this time of its thread's clock: takes what the journal has and writes what it can. Whether there is nothing left.
    pub(super) fn write(&mut self, now: Duration, reopen: bool) -> bool {
        (self.now, self.more) = (now, false);
        self.round = self.round.wrapping_add(1);
        if reopen || (self.round.is_multiple_of(limits::LOG_LOOK_ROUNDS) && self.was_moved()) {
            self.reopen();
            // Who asks for it has mended something.
            self.resume_at = Duration::ZERO;
        }
        if now < self.resume_at {
            return false;
        }
        if let Err(error) = self.resume() {
            // It begins anew, and may have read gigabytes by then.
            self.resume_at = now + limits::LOG_COMPLAINT;
            self.complain(&error);
            return false;
        }
        if self.unsaved
            && let Err(error) = self.save()
        {
            self.complain(&error);
            return false;
        }
        let done = self.pump();
        if now >= self.saved_at + limits::CURSOR_SAVED {
            self.saved_at = now;
            if let Err(error) = self.save() {
                self.complain(&error);
            }
        }
        match done {
            Ok(done) => {
                self.recovered();
                done
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Its last words: how far it is.
    pub(super) fn finish(&mut self) {
        if self.resumed
            && let Err(error) = self.save()
        {
            self.complain(&error);
        }
    }

    /// Whether it could write on at once: it only was to look up.
    pub(super) fn has_more(&self) -> bool {
        self.more
    }

    /// Waits for a reader, where it was one that was missing.
    pub(super) fn await_room(&self, at_most: Duration) {
        if self.output.regular().is_none()
            && self.held.is_some()
            && self.failing <= limits::LOG_PATIENCE_ROUNDS
        {
            self.output.await_room(at_most);
        }
    }

    /// Whether it is a file on a disk.
    pub(super) fn is_a_file(&self) -> bool {
        self.output.regular().is_some()
    }

    /// Writes what there is, some pieces of it. Whether there is no more.
    fn pump(&mut self) -> io::Result<bool> {
        for _ in 0..limits::LOG_PIECES {
            if self.held.is_none() {
                self.at = 0;
                match self.feed.next() {
                    Ok(None) => return Ok(true),
                    Ok(held) => self.held = held,
                    Err(error) => {
                        self.complain(&error);
                        return Ok(false);
                    }
                }
            }
            self.write_held()?;
        }
        self.more = true;
        Ok(false)
    }

    fn write_held(&mut self) -> io::Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        while self.at < held.bytes().len() {
            if self.torn {
                self.output.write(b"\n")?;
                self.torn = false;
            }
            let rest = &held.bytes()[self.at..];
            let piece = match self.output.regular() {
                Some(file) if self.failing > 0 => {
                    // Who reads along must not see half a line at every try.
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
                    let Some(file) = self.output.regular() else {
                        // A stream goes on where it stopped.
                        self.at += written;
                        continue;
                    };
                    let (whole, torn) = cut(file, &piece[..written]);
                    self.at += whole;
                    self.torn = torn;
                    // It would take as much again, for ever.
                    return Err(rustix::io::Errno::NOSPC.into());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.held, self.at) = (None, 0);
        Ok(())
    }

    /// Finds out where it goes on, once.
    fn resume(&mut self) -> io::Result<()> {
        if self.resumed {
            return Ok(());
        }
        let Some((inode, length)) = self.feed.saved().map(|cursor| (cursor.inode, cursor.length)) else {
            self.resumed = true;
            return Ok(());
        };
        self.unsaved = inode != self.inode();
        if self.feed.is_at(self.begin) {
            self.resumed = true;
            return Ok(());
        }
        let (file, is_same) = match &self.path {
            Some(path) if inode != 0 => {
                (files::find_inode(path, inode, limits::LOG_DIRECTORY_MAX), !self.unsaved)
            }
            // A pipe keeps nothing to compare with.
            _ => (None, true),
        };
        let resumed = match &file {
            Some(file) => self.feed.resume(file, length, self.begin)?,
            None if inode == 0 => Resumed::Next,
            None => Resumed::Cursor,
        };
        match resumed {
            Resumed::Next => {}
            Resumed::Within(held, at) => {
                let line = memchr::memrchr(b'\n', &held.bytes()[..at]).map_or(0, |end| end + 1);
                self.torn &= !is_same || at == line;
                self.at = match &file {
                    Some(other) if !is_same && at > line => end_line(other, held.bytes(), at).unwrap_or(line),
                    _ => at,
                };
                self.held = Some(held);
            }
            Resumed::Cursor => say(
                Level::Warning,
                format_args!(
                    "nobody can tell what {} had when the process ended: it was moved, cut or written by others; some of its last lines may come again",
                    self.name()
                ),
            ),
        }
        self.resumed = true;
        Ok(())
    }

    /// The number of its file; 0: it is none that could be looked at.
    fn inode(&self) -> u64 {
        let regular = self.output.regular().filter(|_| self.path.is_some());
        regular.and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.ino())
    }

    /// Writes down how far it is.
    fn save(&mut self) -> io::Result<()> {
        let (point, behind) = self.feed.settled(self.held.as_ref(), self.at);
        let (mut inode, mut length) = (0, 0);
        if let Some(file) = self.output.regular().filter(|_| self.path.is_some()) {
            let meta = file.metadata()?;
            (inode, length) = (meta.ino(), meta.len().saturating_sub(behind as u64));
            if self.feed.saved().is_none_or(|saved| (saved.inode, saved.length) != (inode, length)) {
                // What the cursor says to be written must not be lost by a power cut after it.
                file.sync_data()?;
            }
        }
        self.feed.save(point, inode, length)?;
        self.unsaved = false;
        Ok(())
    }

    /// A log rotator renames the file and expects a new one.
    fn was_moved(&self) -> bool {
        let Some(path) = &self.path else { return false };
        let named = std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        self.output.identity() != named
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match self.reserve.with(|| open_file(path).and_then(|file| close_to_others(path).map(|()| file))) {
            Ok(output) => {
                let is_another = output.identity() != self.output.identity();
                if let Some(file) = self.output.regular().filter(|_| is_another) {
                    // The cursor will be of the new one.
                    let _ = file.sync_data();
                }
                self.output = output;
                if self.resumed
                    && let Some(held) = self.held.as_ref().filter(|_| self.at > 0)
                {
                    let line = memchr::memrchr(b'\n', &held.bytes()[..self.at]).map_or(0, |end| end + 1);
                    // A line whose beginning went elsewhere is written whole; in the same pipe behind what is there of it.
                    if is_another || self.output.regular().is_none() {
                        self.torn = !is_another && self.at > line;
                        self.at = line;
                    }
                }
                if is_another {
                    self.torn = self.output.regular().is_some_and(ends_torn);
                    self.unsaved |= self.resumed;
                }
            }
            Err(error) => say(
                Level::Error,
                format_args!(
                    "the log {} cannot be opened again: {error}; still writing to the old file",
                    path.display()
                ),
            ),
        }
    }

    /// In words.
    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "on standard output".to_owned(),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.failing = self.failing.saturating_add(1);
        let patience =
            if error.kind() == io::ErrorKind::WouldBlock { limits::LOG_PATIENCE_ROUNDS } else { 1 };
        if self.failing != patience && !self.failing.is_multiple_of(limits::LOG_COMPLAIN_ROUNDS) {
            return;
        }
        let what = if error.kind() == io::ErrorKind::WouldBlock {
            "nobody reads it".to_owned()
        } else {
            error.to_string()
        };
        say(
            Level::Error,
            format_args!(
                "the accounting log {} cannot be written: {what}; its events wait in the journal, up to control.journal_size_max",
                self.name()
            ),
        );
    }

    fn recovered(&mut self) {
        let patience = if self.output.regular().is_some() { 1 } else { limits::LOG_PATIENCE_ROUNDS };
        if std::mem::take(&mut self.failing) >= patience {
            say(Level::Info, format_args!("the accounting log {} is written again", self.name()));
        }
    }

    /// The journal or its cursor is not as it should be.
    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_none_or(|last| self.now >= last + limits::LOG_COMPLAINT) {
            self.complained = Some(self.now);
            say(
                Level::Error,
                format_args!(
                    "the accounting log {} waits for the journal or its cursor there: {error}",
                    self.name()
                ),
            );
        }
    }
}

/// What a log is called, by its path.
pub(super) fn name(path: Option<&Path>) -> String {
    path.map_or("-".to_owned(), |path| path.to_string_lossy().into_owned())
}

/// A log is its owner's alone.
fn close_to_others(path: &Path) -> io::Result<()> {
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
    Ok(())
}

/// Writes the rest of a line, of which a file that was moved away has the beginning. Where it ends; None: it cannot be written there.
fn end_line(mut file: &File, bytes: &[u8], at: usize) -> Option<usize> {
    let end = at + memchr::memchr(b'\n', &bytes[at..])? + 1;
    file.write_all(&bytes[at..end]).ok().map(|()| end)
}

/// Only this much was taken: a disk is full. The part of a line at its end goes. How much stays, and whether the part stays too.
fn cut(file: &File, written: &[u8]) -> (usize, bool) {
    let whole = memchr::memrchr(b'\n', written).map_or(0, |end| end + 1);
    let torn = whole < written.len() && cut_off(file, (written.len() - whole) as u64).is_err();
    (whole, torn)
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

    use crate::control::journal::tests::Life;

    fn life(path: &Path, lines: &str) -> Life {
        let data_dir = path.parent().unwrap().join("spool");
        let mut life = Life::begin(&data_dir, &[(path, None)]);
        life.tell(lines);
        life.journal();
        life
    }

    #[test]
    fn half_a_line_is_cut_off_and_written_whole_later() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log/of/mail");
        let mut life = life(&path, "one\ntwo\nthree\n");
        let log = &mut life.logs[0];
        log.resume().unwrap();
        log.held = log.feed.next().unwrap();
        // As a disk that had room for ten bytes.
        assert_eq!(log.output.write(b"one\ntwo\nth").unwrap(), 10);
        (log.at, log.torn) = cut(log.output.regular().unwrap(), b"one\ntwo\nth");
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        // A cursor that is saved now counts what is whole.
        log.save().unwrap();
        assert!(log.write(Duration::ZERO, false) || log.write(Duration::ZERO, false));
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
    }

    #[test]
    fn behind_the_torn_end_of_another_a_line_begins() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        std::fs::write(&path, b"one\ntw").unwrap();
        let mut life = life(&path, "three\n");
        assert!(life.logs[0].write(Duration::ZERO, false));
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntw\nthree\n");
    }

    #[test]
    fn what_a_full_disk_refuses_waits_in_the_journal() {
        let scratch = tempfile::tempdir().unwrap();
        let data_dir = scratch.path().join("spool");
        let mut life = Life::begin(&data_dir, &[(Path::new("/dev/full"), None)]);
        for _ in 0..3 {
            life.tell("one\n");
            assert!(life.journal(), "the journal takes it all the same");
            assert!(!life.logs[0].write(Duration::ZERO, false));
        }
        assert_eq!(life.logs[0].failing, 3);
        let path = scratch.path().join("log");
        life.logs[0].path = Some(path.clone());
        assert!(life.logs[0].write(Duration::ZERO, true), "opened again");
        assert_eq!(std::fs::read(&path).unwrap(), b"one\none\none\n");
    }

    #[test]
    fn a_pipe_nobody_reads_gets_whole_lines_later() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let lines =
            |from: u32| (from..from + 4000).map(|at| format!("line {at} of many\n")).collect::<String>();
        let mut life = life(&path, &lines(0));
        assert!(!life.logs[0].write(Duration::ZERO, false) && life.logs[0].failing > 0);
        life.tell(&lines(4000));
        life.journal();
        // Its own end keeps what is in the pipe.
        let mut pipe = File::options().read(true).write(true).open(&path).unwrap();
        let (mut text, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        while text.len() < (lines(0) + &lines(4000)).len() {
            life.logs[0].write(Duration::ZERO, false);
            let read = pipe.read(&mut buffer).unwrap();
            assert_eq!(buffer[read - 1], b'\n', "lines are whole");
            text.extend_from_slice(&buffer[..read]);
        }
        assert!(text == (lines(0) + &lines(4000)).as_bytes());
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
