//! How far a reader of the journal is, as a file beside the segments: two places, written in turn and in place, so that a full disk keeps nobody from it
//! and there is always one that is whole.
//!
//! Each has a line: JSON, and the CRC-32C of that. The one with the higher number counts. The file gets its name when both places are written: from then
//! on nothing needs room. (A file system that never writes in place wants some all the same.)

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::journal::place::{FramePosition, ReadPosition};
use crate::limits;
use crate::runtime::files;

const SUFFIX: &str = ".cursor";
/// Behind that: it is being made.
pub(super) const UNFINISHED: &str = ".new";

/// What is remembered of a reader that writes a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) struct Cursor {
    /// Where it writes to. A cursor of another log that happens to have this name is not taken for its own.
    reader: String,
    segment: u64,
    offset: u64,
    within: u64,
    /// The number of the file that it writes, and its length when all up to the point had been written: 0 where it is no file.
    pub inode: u64,
    /// That length.
    pub length: u64,
}

/// The same as it is written.
#[derive(Serialize, Deserialize)]
struct Numbered<C> {
    number: u64,
    #[serde(flatten)]
    cursor: C,
}

impl Cursor {
    /// At this point, of the log with this name, whose file has this number and length.
    pub(in crate::control) fn new(reader: &str, point: ReadPosition, inode: u64, length: u64) -> Cursor {
        let ReadPosition { frame: FramePosition { segment, offset }, within } = point;
        Cursor { reader: reader.to_owned(), segment, offset, within, inode, length }
    }

    /// How far it is.
    pub(in crate::control) fn point(&self) -> ReadPosition {
        ReadPosition {
            frame: FramePosition { segment: self.segment, offset: self.offset },
            within: self.within,
        }
    }
}

/// A log that is not configured any more, and has not read all.
pub(super) struct RemovedLog {
    /// What it was called.
    pub reader: String,
    /// Its cursor. It stays until what is behind it was counted.
    pub cursor: PathBuf,
    /// How far it is.
    pub at: ReadPosition,
    /// Bytes behind that.
    pub bytes: u64,
}

/// The file of the cursor of a log.
#[derive(Debug)]
pub(in crate::control) struct CursorFile {
    directory: PathBuf,
    name: String,
    reader: String,
    /// Where it is written. None: it is not there yet, or as it was before there were two places.
    open: Option<File>,
    /// The number of what is written next.
    next: u64,
}

impl CursorFile {
    /// In the journal's directory, of the log that is called so.
    pub(in crate::control) fn of(directory: &Path, reader: &str) -> CursorFile {
        let name = format!("log-{:08x}{SUFFIX}", crc32c::crc32c(reader.as_bytes()));
        CursorFile { directory: directory.to_owned(), name, reader: reader.to_owned(), open: None, next: 0 }
    }

    /// Its name.
    pub(in crate::control) fn name(&self) -> &str {
        &self.name
    }

    /// Reads it. None: there is none, or it is another log's, or damaged.
    pub(in crate::control) fn read(&mut self) -> io::Result<Option<Cursor>> {
        let path = self.directory.join(&self.name);
        let text = match files::read_whole(&path, limits::CURSOR_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((next, cursor)) = last(&text).filter(|(_, cursor)| cursor.reader == self.reader) else {
            return Ok(None);
        };
        if text.len() as u64 == limits::CURSOR_MAX {
            self.open = Some(File::options().read(true).write(true).open(&path)?);
        }
        self.next = next;
        Ok(Some(cursor))
    }

    /// Writes it.
    pub(in crate::control) fn write(&mut self, cursor: &Cursor) -> io::Result<()> {
        // What somebody removed nobody would read after a start.
        let is_there = |file: &File| file.metadata().is_ok_and(|meta| meta.nlink() > 0);
        if !self.open.as_ref().is_some_and(is_there) {
            self.open = None;
        }
        let line = line(self.next, cursor)?;
        if let Some(file) = &self.open {
            file.write_all_at(&line, self.place())?;
            file.sync_data()?;
        } else {
            let fresh = self.directory.join(format!("{}{UNFINISHED}", self.name));
            let made = self.make(&fresh, &line).inspect_err(|_| drop(std::fs::remove_file(&fresh)));
            self.open = Some(made?);
        }
        // Until here what the other place has counts, and this one is written again.
        self.next += 1;
        Ok(())
    }

    /// Where in the file that stands.
    fn place(&self) -> u64 {
        self.next % 2 * limits::CURSOR_SLOT as u64
    }

    /// Makes the file, with this line in its place.
    fn make(&self, fresh: &Path, line: &[u8]) -> io::Result<File> {
        files::make_directories(&self.directory)?;
        let mut file = files::make_file(fresh)?;
        // Blanks that are written, not only room that is set aside: what is written over them later needs nothing more.
        file.write_all(&vec![b' '; 2 * limits::CURSOR_SLOT])?;
        file.write_all_at(line, self.place())?;
        // Else a power cut may leave the name on an empty file.
        file.sync_all()?;
        std::fs::rename(fresh, self.directory.join(&self.name))?;
        File::open(&self.directory)?.sync_all()?;
        Ok(file)
    }
}

/// A cursor with its number and checksum, in whole blocks.
fn line(number: u64, cursor: &Cursor) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Numbered { number, cursor }).map_err(io::Error::other)?;
    let crc = crc32c::crc32c(&line);
    line.extend_from_slice(format!(" {crc:08x}\n").as_bytes());
    line.resize(line.len().next_multiple_of(limits::BLOCK as usize), b' ');
    if line.len() > limits::CURSOR_SLOT {
        return Err(io::Error::other("its path is too long to be remembered"));
    }
    Ok(line)
}

/// What a file of a cursor says, and the number of what is to be written next there.
fn last(text: &[u8]) -> Option<(u64, Cursor)> {
    let slots = text.chunks(limits::CURSOR_SLOT).filter_map(slot);
    let last = slots.max_by_key(|(number, _)| *number);
    // Before there were two places it was the JSON alone.
    let old = || Some((0, serde_json::from_slice(text).ok()?));
    last.map(|(number, cursor)| (number.saturating_add(1), cursor)).or_else(old)
}

fn slot(text: &[u8]) -> Option<(u64, Cursor)> {
    let line = &text[..memchr::memchr(b'\n', text)?];
    let (json, crc) = line.split_at_checked(line.len().checked_sub(9)?)?;
    if crc != format!(" {:08x}", crc32c::crc32c(json)).as_bytes() {
        return None;
    }
    let Numbered { number, cursor } = serde_json::from_slice(json).ok()?;
    Some((number, cursor))
}

/// Whether a file of the journal is a cursor, or was to become one.
pub(super) fn is_cursor(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).unwrap_or(name).ends_with(SUFFIX)
}

/// What a file says, whosever cursor it is: of which log, and how far that is.
pub(super) fn of_file(path: &Path) -> Option<(String, ReadPosition)> {
    let text = files::read_whole(path, limits::CURSOR_MAX).ok()?;
    last(&text).map(|(_, cursor)| (cursor.reader.clone(), cursor.point()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: &str = "/var/log/a \"b\".jsonl";

    fn cursor(length: u64) -> Cursor {
        let point = ReadPosition { frame: FramePosition { segment: 7, offset: 8 }, within: 9 };
        Cursor::new(READER, point, 5, length)
    }

    fn read(directory: &Path) -> Option<u64> {
        CursorFile::of(directory, READER).read().unwrap().map(|cursor| cursor.length)
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let scratch = tempfile::tempdir().unwrap();
        let mut file = CursorFile::of(scratch.path(), READER);
        assert_eq!(file.read().unwrap(), None);
        for length in 6..11 {
            file.write(&cursor(length)).unwrap();
            let mut other = CursorFile::of(scratch.path(), READER);
            assert_eq!(other.read().unwrap(), Some(cursor(length)));
            if length == 8 {
                // Another life goes on with it.
                file = other;
            }
        }
        let path = scratch.path().join(file.name());
        assert_eq!(
            (is_cursor(file.name()), of_file(&path)),
            (true, Some((READER.to_owned(), cursor(0).point())))
        );
        assert_eq!(files::list(scratch.path()).unwrap(), [file.name()], "nothing else stays");
        file.reader = "/var/log/b".into();
        assert_eq!(file.read().unwrap(), None);
        // Who removes it finds it again.
        std::fs::remove_file(&path).unwrap();
        file.write(&cursor(11)).unwrap();
        assert_eq!(read(scratch.path()), Some(11));
    }

    /// Whatever is torn of the last write, the one before it counts; and what is written takes no more room.
    #[test]
    fn a_torn_cursor_leaves_the_one_before() {
        let scratch = tempfile::tempdir().unwrap();
        let mut file = CursorFile::of(scratch.path(), READER);
        file.write(&cursor(6)).unwrap();
        let path = scratch.path().join(file.name());
        let shape = || std::fs::metadata(&path).map(|meta| (meta.ino(), meta.len(), meta.blocks())).unwrap();
        let before = shape();
        for length in 7..12 {
            let old = std::fs::read(&path).unwrap();
            file.write(&cursor(length)).unwrap();
            let new = std::fs::read(&path).unwrap();
            assert_eq!(shape(), before);
            let changed: Vec<usize> = (0..old.len()).filter(|at| old[*at] != new[*at]).collect();
            for cut in &changed {
                let torn = [&new[..*cut], &old[*cut..]].concat();
                std::fs::write(&path, torn).unwrap();
                assert_eq!(read(scratch.path()), Some(length - 1), "torn at {cut}");
                let mut damaged = new.clone();
                damaged[*cut] ^= 1;
                std::fs::write(&path, damaged).unwrap();
                assert_eq!(read(scratch.path()), Some(length - 1), "damaged at {cut}");
            }
            std::fs::write(&path, new).unwrap();
        }
        std::fs::write(&path, vec![b' '; limits::CURSOR_MAX as usize]).unwrap();
        assert_eq!(read(scratch.path()), None);
    }

    #[test]
    fn a_cursor_of_before_is_read_once() {
        let scratch = tempfile::tempdir().unwrap();
        let mut file = CursorFile::of(scratch.path(), READER);
        let path = scratch.path().join(file.name());
        let text = [serde_json::to_vec(&cursor(6)).unwrap(), b"\n".to_vec()].concat();
        for length in 0..text.len() - 1 {
            std::fs::write(&path, &text[..length]).unwrap();
            assert_eq!(file.read().unwrap(), None, "{length}");
        }
        std::fs::write(&path, text).unwrap();
        assert_eq!(file.read().unwrap(), Some(cursor(6)));
        assert_eq!(of_file(&path), Some((READER.to_owned(), cursor(0).point())));
        file.write(&cursor(7)).unwrap();
        assert_eq!(read(scratch.path()), Some(7));
    }
}
