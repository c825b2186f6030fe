//! A log's writer: gives what the journal has for it to a file, a pipe or standard output, on a thread of its own, because a disk or a reader may
//! keep it waiting for as long as they like.
//!
//! What cannot be written waits in the journal and is tried again; so does what stands in a pipe, until its reader has it. A line is written whole or not at all: where a full disk took half of one, the half
//! is cut off again. The cursor says how far it is; after a kill the file itself is looked at too (`journal::resume`), so that nothing stands in it
//! twice and nothing is missing, also where it was rotated meanwhile.

mod file;
mod pipe;
mod rotate;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::value::show_size;
use crate::control::journal::{Feed, FramePosition, Journal, LogLines, ReadPosition, Resumed};
use crate::control::outlet::Shape;
use crate::control::say::say;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::observe::repeat::Repeat;
use crate::runtime::files::{self, Reserve};
use crate::runtime::output::{ATOMIC, Output};

use file::{
    begin_file, close_to_others, cut, end_event, ends_torn, name, open_file, own_file, patience, set_aside,
    whole,
};
use pipe::Passed;
pub(super) use rotate::Rotation;

/// The log file, or standard output.
pub(super) struct Log {
    path: Option<PathBuf>,
    output: Output,
    /// What it was given, if it is a pipe.
    passed: Passed,
    reserve: Arc<Reserve>,
    feed: Feed,
    /// What the journal had when this was opened ends there.
    begin: FramePosition,
    /// Where it goes on is known.
    resumed: bool,
    /// Until then nobody tries to find out.
    resume_at: Duration,
    /// Nothing may be written before its cursor says which file it is.
    unsaved: bool,
    saved_at: Duration,
    /// Lines, of which `at` bytes are written.
    held: Option<LogLines>,
    at: usize,
    /// The file ends in the middle of a line that could not be cut off.
    torn: bool,
    /// What it is to begin with could not be written.
    headless: bool,
    /// When it is moved aside.
    rotation: Option<Rotation>,
    looked_at: Duration,
    /// The last round wrote all that it was allowed to, and there may be more.
    more: bool,
    /// Nothing could be written.
    unwritten: Repeat,
    /// Its file cannot be opened again.
    unopened: Repeat,
    /// The journal or its cursor is not as it should be.
    waits: Repeat,
    /// So it was found in this round.
    troubled: bool,
    /// The time of this round.
    now: Duration,
}

impl Log {
    /// Opens the file for appending; its directory is made if it is missing. Nothing here waits for a reader.
    pub(super) fn open(path: Option<PathBuf>, journal: &Journal, shape: Shape) -> io::Result<Log> {
        let output = match &path {
            Some(path) => open_file(path)?,
            None => Output::standard_output()?,
        };
        if path.is_none() && output.is_nowhere() {
            let words = "standard output is closed or /dev/null: the log that goes there is lost; set log.path to a file, or log = [] for none";
            say(Level::Warning, format_args!("{words}"));
        }
        if let (Some(path), Some(_)) = (&path, output.regular()) {
            close_to_others(path)?;
        }
        let feed = Feed::open(&journal.shared, &name(path.as_deref()), shape)?;
        if let Some(other) = feed.is_written_to(own_file(&output)) {
            return Err(io::Error::other(format!("the log {other} is the same file")));
        }
        // Where there is no room for it, it waits as the rest does.
        let named = output.regular().filter(|_| path.is_some());
        let headless = named.is_some_and(|file| begin_file(file, &feed.head()).is_err());
        let torn = output.regular().is_some_and(ends_torn);
        let mut log = Log {
            path,
            headless,
            rotation: None,
            passed: Passed::default(),
            unwritten: Repeat::after(patience(&output)),
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
            looked_at: Duration::ZERO,
            troubled: false,
            more: false,
            unopened: Repeat::default(),
            waits: Repeat::default(),
            now: Duration::ZERO,
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
        (self.now, self.more, self.troubled) = (now, false, false);
        let looks = now >= self.looked_at + limits::LOG_LOOK;
        if looks {
            self.looked_at = now;
        }
        if reopen || (looks && self.was_moved()) {
            self.reopen(reopen);
        }
        self.headless |= looks && self.was_emptied();
        self.rotate();
        if reopen {
            // Who asks for it has mended something.
            self.resume_at = Duration::ZERO;
        }
        if now < self.resume_at {
            return false;
        }
        if let Err(error) = self.resume() {
            // It begins anew, and may have read gigabytes by then.
            self.resume_at = now + limits::LOG_RESUMED_AGAIN;
            self.complain(&error);
            return false;
        }
        if let Err(error) = self.begin() {
            self.failed(&error);
            return false;
        }
        if self.unsaved
            && let Err(error) = self.save()
        {
            self.complain(&error);
            return false;
        }
        self.have_packed();
        let done = self.pump();
        if now >= self.saved_at + limits::CURSOR_SAVED {
            self.saved_at = now;
            match self.save() {
                Ok(()) if !self.troubled => self.goes_on(),
                Ok(()) => {}
                Err(error) => self.complain(&error),
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

    /// Waits for room in a pipe that somebody reads.
    pub(super) fn await_room(&self, at_most: Duration) {
        if self.output.regular().is_none() && self.held.is_some() && !self.is_unread() {
            self.output.await_room(at_most);
        }
    }

    /// Whether it looks for room soon: the reader of a pipe makes some at any time.
    pub(super) fn is_quick(&self) -> bool {
        self.output.regular().is_none() && !self.is_unread()
    }

    /// Whether it is a pipe that nobody reads.
    pub(super) fn is_unread(&self) -> bool {
        self.output.is_unread()
    }

    /// Whether nothing of what it was given stands in a pipe.
    pub(super) fn is_taken(&self) -> bool {
        self.output.unread().is_none_or(|unread| unread == 0)
    }

    /// Writes what there is, some pieces of it. Whether there is no more.
    fn pump(&mut self) -> io::Result<bool> {
        for _ in 0..limits::LOG_PIECES {
            if self.held.is_none() {
                self.at = 0;
                if self.is_full() {
                    break;
                }
                match self.feed.next() {
                    Ok(None) => return Ok(true),
                    Ok(held) => self.held = held,
                    Err(error) => {
                        self.complain(&error);
                        return Ok(false);
                    }
                }
            }
            if self.output.is_pipe() {
                self.passed.begin(self.feed.settled(self.held.as_ref(), self.at).0);
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
                self.passed.ended_line(self.output.write(b"\n")?);
                self.torn = false;
            }
            let rest = &held.bytes()[self.at..];
            let piece = match self.output.regular() {
                Some(file) if self.unwritten.is_trouble(self.now) => {
                    // Who reads along must not see half a line at every try.
                    let piece = whole(rest, limits::ACCOUNTING_CHUNK);
                    set_aside(file, piece.len() as u64)?;
                    piece
                }
                Some(_) => rest,
                None => whole(rest, ATOMIC),
            };
            match self.output.write(piece) {
                Ok(written) if written == piece.len() || self.output.regular().is_none() => {
                    // A stream goes on where it stopped.
                    self.at += written;
                    if self.output.is_pipe() {
                        self.passed.wrote(written, self.feed.settled(Some(held), self.at));
                    }
                }
                Ok(written) => {
                    let Some(file) = self.output.regular() else { continue };
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
                // What was moved aside lies where a link leads.
                let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                let beside = |path: &Path| files::find_inode(path, inode, limits::LOG_DIRECTORY_MAX);
                (beside(path).or_else(|| beside(&real)), !self.unsaved)
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
                    Some(other) if !is_same && at > held.begin(at) => {
                        end_event(other, &held, at).unwrap_or(line)
                    }
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

    /// How far it is: what stands in a pipe is not written before somebody has read it, as it goes with the pipe.
    fn settled(&mut self) -> (ReadPosition, usize) {
        let unread = self.output.unread().unwrap_or(0);
        match self.passed.read(unread) {
            Some(read) if unread > 0 => (read, 0),
            _ => self.feed.settled(self.held.as_ref(), self.at),
        }
    }

    /// Writes down how far it is.
    fn save(&mut self) -> io::Result<()> {
        let (point, behind) = self.settled();
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

    /// Opens the file again; `asked`: an operator wants to hear what came of it.
    fn reopen(&mut self, asked: bool) {
        let Some(path) = &self.path else { return };
        match self.reserve.with(|| open_file(path).and_then(|file| close_to_others(path).map(|()| file))) {
            Ok(output) => {
                if let Some(lasted) = self.unopened.ended(self.now) {
                    let seconds = lasted.as_secs();
                    say(
                        Level::Info,
                        format_args!("the log {} is opened again, after {seconds} s", path.display()),
                    );
                }
                self.go_on_with(output);
            }
            Err(error) => {
                if self.unopened.lasts(self.now) || asked {
                    say(
                        Level::Error,
                        format_args!(
                            "the log {} cannot be opened again: {error}; still writing to the old file, and trying again each second",
                            path.display()
                        ),
                    );
                }
            }
        }
    }

    /// Writes to this from now on.
    fn go_on_with(&mut self, output: Output) {
        let is_another = output.identity() != self.output.identity();
        if !is_another && self.output.is_pipe() {
            // What was given to it is known.
            return;
        }
        if is_another {
            self.end_event();
            if let Some(file) = self.output.regular() {
                // The cursor will be of the new one.
                let _ = file.sync_data();
            }
            self.take_back();
        }
        self.output = output;
        if self.resumed
            && let Some(held) = self.held.as_ref().filter(|_| self.at > 0)
        {
            let line = memchr::memrchr(b'\n', &held.bytes()[..self.at]).map_or(0, |end| end + 1);
            // A line whose beginning went elsewhere is written whole; on the same terminal behind what is there of it.
            if is_another || self.output.regular().is_none() {
                self.torn = !is_another && self.at > line;
                self.at = line;
            }
        }
        if is_another {
            self.passed = Passed::default();
            self.unwritten = Repeat::after(patience(&self.output));
            self.headless = true;
            // Where that fails it is tried before anything is written.
            let _ = self.begin();
            self.torn = self.output.regular().is_some_and(ends_torn);
            self.unsaved |= self.resumed;
        }
        if let Some(other) = self.feed.is_written_to(own_file(&self.output)) {
            say(
                Level::Error,
                format_args!(
                    "the logs {} and {other} are one file now: their lines are mixed, and some may be lost or come twice; give each a file of its own",
                    self.name()
                ),
            );
        }
    }

    /// It is moved aside as this says.
    pub(super) fn use_rotation(&mut self, rotation: Option<Rotation>) {
        self.rotation = rotation;
        self.rotation.iter_mut().for_each(|rotation| rotation.begins(&self.output));
    }

    /// Whether it is to be moved aside before more is written: at the end of an event, when its cursor is of this file.
    fn is_full(&self) -> bool {
        let at_rest = self.resumed && !self.unsaved && !self.headless && self.held.is_none();
        let file = self.output.regular().filter(|_| at_rest && self.path.is_some());
        let rotation = self.rotation.as_ref().zip(file);
        rotation.is_some_and(|(rotation, file)| rotation.is_due(file, self.feed.head().len(), self.now))
    }

    fn rotate(&mut self) {
        if !self.is_full() {
            return;
        }
        let file = self.output.regular().zip(self.path.as_deref());
        if let (Some(rotation), Some((file, path))) = (&mut self.rotation, file)
            && rotation.move_aside(path, file, self.now)
        {
            self.reopen(false);
            self.rotation.iter_mut().for_each(|rotation| rotation.begins(&self.output));
        }
    }

    /// What was moved aside is looked after: the cursor is of the file that is written now.
    fn have_packed(&mut self) {
        if let (Some(rotation), Some(path), Some(_)) = (&mut self.rotation, &self.path, self.output.regular())
        {
            rotation.have_packed(path);
        }
    }

    /// Whether somebody cut it to nothing: a rotator that copies.
    fn was_emptied(&self) -> bool {
        let is_empty = |file: &File| file.metadata().is_ok_and(|meta| meta.len() == 0);
        self.output.regular().is_some_and(is_empty) && !self.feed.head().is_empty()
    }

    /// Has a new file begin with what its format wants there.
    fn begin(&mut self) -> io::Result<()> {
        if let Some(file) = self.output.regular().filter(|_| self.headless && self.path.is_some()) {
            begin_file(file, &self.feed.head())?;
        }
        self.headless = false;
        Ok(())
    }

    /// The rest of an event goes where its beginning went.
    fn end_event(&mut self) {
        if let (Some(held), Some(file)) = (self.held.as_ref().filter(|_| !self.torn), self.output.regular())
            && self.at > held.begin(self.at)
        {
            self.at = end_event(file, held, self.at).unwrap_or(self.at);
        }
    }

    /// What stands in a pipe that nobody has open goes with it: it is read from the journal again.
    fn take_back(&mut self) {
        let unread = self.output.unread().filter(|unread| *unread > 0 && self.output.is_unread());
        if let Some(read) = unread.and_then(|unread| self.passed.read(unread)) {
            self.feed.go_back(read);
            (self.held, self.at) = (None, 0);
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
        if !self.unwritten.lasts(self.now) {
            return;
        }
        let what = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe => "nobody reads it".to_owned(),
            _ => error.to_string(),
        };
        let (behind, lost) = self.feed.behind();
        let lost = if lost > 0 { format!(", {lost} events went before it had them") } else { String::new() };
        say(
            Level::Error,
            format_args!(
                "the accounting log {} cannot be written: {what}; its events wait in the journal, up to control.journal_size_max: {} so far{lost}",
                self.name(),
                show_size(behind)
            ),
        );
    }

    fn recovered(&mut self) {
        if let Some(lasted) = self.unwritten.ended(self.now) {
            let seconds = lasted.as_secs();
            say(
                Level::Info,
                format_args!("the accounting log {} is written again, after {seconds} s", self.name()),
            );
        }
    }

    /// The journal and its cursor are as they should be.
    fn goes_on(&mut self) {
        if let Some(lasted) = self.waits.ended(self.now) {
            let seconds = lasted.as_secs();
            say(Level::Info, format_args!("the accounting log {} goes on, after {seconds} s", self.name()));
        }
    }

    /// The journal or its cursor is not as it should be.
    fn complain(&mut self, error: &io::Error) {
        self.troubled = true;
        if self.waits.lasts(self.now) {
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

#[cfg(test)]
mod tests;
