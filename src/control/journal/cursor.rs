//! How far a reader of the journal is, as a file beside the segments: written anew, synced, and renamed over the one before, so that there is always
//! a whole one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::journal::place::{Place, Point};
use crate::limits;
use crate::runtime::files;

const SUFFIX: &str = ".cursor";

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

impl Cursor {
    /// At this point, of the log with this name, whose file has this number and length.
    pub(in crate::control) fn new(reader: &str, point: Point, inode: u64, length: u64) -> Cursor {
        let Point { frame: Place { segment, offset }, within } = point;
        Cursor { reader: reader.to_owned(), segment, offset, within, inode, length }
    }

    /// How far it is.
    pub(in crate::control) fn point(&self) -> Point {
        Point { frame: Place { segment: self.segment, offset: self.offset }, within: self.within }
    }
}

/// The file of the cursor of a log.
#[derive(Clone, Debug)]
pub(in crate::control) struct CursorFile {
    directory: PathBuf,
    name: String,
    reader: String,
}

impl CursorFile {
    /// In the journal's directory, of the log that is called so.
    pub(in crate::control) fn of(directory: &Path, reader: &str) -> CursorFile {
        let name = format!("log-{:08x}{SUFFIX}", crc32c::crc32c(reader.as_bytes()));
        CursorFile { directory: directory.to_owned(), name, reader: reader.to_owned() }
    }

    /// Its name.
    pub(in crate::control) fn name(&self) -> &str {
        &self.name
    }

    /// Reads it. None: there is none, or it is another log's, or damaged.
    pub(in crate::control) fn read(&self) -> io::Result<Option<Cursor>> {
        let text = match files::read_whole(&self.directory.join(&self.name), limits::CURSOR_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(serde_json::from_slice(&text).ok().filter(|cursor: &Cursor| cursor.reader == self.reader))
    }

    /// Writes it.
    pub(in crate::control) fn write(&self, cursor: &Cursor) -> io::Result<()> {
        files::make_directories(&self.directory)?;
        let path = self.directory.join(&self.name);
        let fresh = self.directory.join(format!("{}.new", self.name));
        let mut text = serde_json::to_vec(cursor).map_err(io::Error::other)?;
        text.push(b'\n');
        let mut file: File = files::make_file(&fresh)?;
        file.write_all(&text)?;
        // Else a power cut may leave the name on an empty file.
        file.sync_data()?;
        std::fs::rename(fresh, path)
    }
}

/// Whether a file of the journal is a cursor, or was to become one.
pub(super) fn is_cursor(name: &str) -> bool {
    name.strip_suffix(".new").unwrap_or(name).ends_with(SUFFIX)
}

/// The segment that a cursor is in, whosever it is.
pub(super) fn segment(path: &Path) -> Option<u64> {
    let text = files::read_whole(path, limits::CURSOR_MAX).ok()?;
    serde_json::from_slice(&text).ok().map(|cursor: Cursor| cursor.segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_or_not_at_all() {
        let scratch = tempfile::tempdir().unwrap();
        let file = CursorFile::of(scratch.path(), "/var/log/a \"b\".jsonl");
        assert_eq!(file.read().unwrap(), None);
        let point = Point { frame: Place { segment: 7, offset: 8 }, within: 9 };
        let cursor = Cursor::new("/var/log/a \"b\".jsonl", point, 5, 6);
        for length in [6, 7] {
            let cursor = Cursor { length, ..cursor.clone() };
            file.write(&cursor).unwrap();
            let read = file.read().unwrap().unwrap();
            assert_eq!((&read, read.point()), (&cursor, point));
        }
        let path = scratch.path().join(file.name());
        assert_eq!((is_cursor(file.name()), segment(&path)), (true, Some(7)));
        assert_eq!(files::list(scratch.path()).unwrap(), [file.name()], "nothing else stays");
        // One byte less anywhere, or another's: none at all.
        let text = std::fs::read(&path).unwrap();
        for length in 0..text.len() - 1 {
            std::fs::write(&path, &text[..length]).unwrap();
            assert_eq!(file.read().unwrap(), None, "{length}");
        }
        std::fs::write(&path, text).unwrap();
        let other = CursorFile { reader: "/var/log/b".into(), ..file };
        assert_eq!(other.read().unwrap(), None);
    }
}
