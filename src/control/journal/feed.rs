//! What a log gets of the journal: the events it wants, in its shape, from where its cursor is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::control::journal::cursor::{Cursor, CursorFile};
use crate::control::journal::place::{FramePosition, ReadPosition};
use crate::control::journal::reader::{Piece, Reader};
use crate::control::journal::resume::{self, Resumed, Stream, Tail};
use crate::control::journal::shared::Shared;
use crate::control::outlet::{Made, Shape};
use crate::limits;

/// Lines for a log.
#[derive(Debug)]
pub(in crate::control) struct LogLines {
    piece: Piece,
    /// What is made of them; None: they are given as they are.
    made: Option<Made>,
}

impl LogLines {
    /// The bytes to be written; none where the log wants none of these lines.
    pub(in crate::control) fn bytes(&self) -> &[u8] {
        self.made.as_ref().map_or_else(|| self.piece.lines(), |made| &made.bytes[..])
    }

    /// How much of the journal is behind the last event of which all is within so many bytes, and how many of these that is.
    fn whole(&self, written: usize) -> (usize, usize) {
        let line = || memchr::memrchr(b'\n', &self.bytes()[..written]).map_or(0, |end| end + 1);
        self.made.as_ref().map_or_else(|| (line(), line()), |made| made.whole(written))
    }

    /// Where the event begins in which, or at whose end, these bytes end.
    pub(in crate::control) fn begin(&self, at: usize) -> usize {
        self.whole(at).1
    }

    /// Where it ends.
    pub(in crate::control) fn end(&self, at: usize) -> usize {
        let bytes = self.bytes();
        let line = || match at {
            0 => 0,
            _ => memchr::memchr(b'\n', &bytes[at - 1..]).map_or(bytes.len(), |end| at + end),
        };
        self.made.as_ref().map_or_else(line, |made| made.end(at))
    }
}

impl AsRef<[u8]> for LogLines {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

/// The journal, as one log gets it.
pub(in crate::control) struct Feed {
    shared: Arc<Shared>,
    reader: Reader,
    shape: Shape,
    file: CursorFile,
    name: String,
    /// What its cursor says.
    saved: Option<Cursor>,
}

impl Feed {
    /// For the log with this name. One that has no cursor begins at the end.
    pub(in crate::control) fn open(shared: &Arc<Shared>, name: &str, shape: Shape) -> io::Result<Feed> {
        let mut file = CursorFile::of(shared.directory(), name);
        let saved = file.read()?;
        let at = saved.as_ref().map_or_else(|| shared.end().into(), Cursor::point);
        let reader = Reader::new(shared.clone(), name, at);
        Ok(Feed { shared: shared.clone(), reader, shape, file, name: name.to_owned(), saved })
    }

    /// The name of its cursor's file.
    pub(in crate::control) fn cursor_name(&self) -> &str {
        self.file.name()
    }

    /// What its cursor says. None: it has none yet.
    pub(in crate::control) fn saved(&self) -> Option<&Cursor> {
        self.saved.as_ref()
    }

    /// Whether it has all before this.
    pub(in crate::control) fn is_at(&self, place: FramePosition) -> bool {
        self.reader.at().frame >= place
    }

    /// The next lines. None: there are none yet. After an error the same ones are tried again.
    pub(in crate::control) fn next(&mut self) -> io::Result<Option<LogLines>> {
        let Some(piece) = self.reader.next()? else { return Ok(None) };
        let made = self.shape.of(piece.lines());
        Ok(Some(LogLines { piece, made }))
    }

    /// What a file of it begins with.
    pub(in crate::control) fn head(&self) -> Vec<u8> {
        self.shape.head()
    }

    /// Gives again what is behind this point.
    pub(in crate::control) fn go_back(&mut self, to: ReadPosition) {
        self.reader.seek(to);
    }

    /// It is written to this file from now on. What another log is called that is, too.
    pub(in crate::control) fn is_written_to(&self, file: Option<(u64, u64)>) -> Option<String> {
        self.shared.writes(self.reader.number(), file)
    }

    /// Bytes of the journal that it has not given, and events that went before it could.
    pub(in crate::control) fn behind(&self) -> (u64, u64) {
        self.shared.behind_and_lost(self.reader.number())
    }

    /// How far it is when so many bytes of these lines are written: behind the last event that is whole, and how many bytes are behind that.
    pub(in crate::control) fn settled(
        &self,
        held: Option<&LogLines>,
        written: usize,
    ) -> (ReadPosition, usize) {
        let Some(held) = held else { return (self.reader.at(), 0) };
        let (behind, whole) = held.whole(written);
        let (lines, at) = (held.piece.lines(), held.piece.at);
        let point = match behind < lines.len() {
            true => ReadPosition { within: at.within + behind as u64, ..at },
            false => held.piece.next.into(),
        };
        (point, written - whole)
    }

    /// Writes its cursor: it is at this point, and its file, with this number, had this length then.
    pub(in crate::control) fn save(
        &mut self,
        point: ReadPosition,
        inode: u64,
        length: u64,
    ) -> io::Result<()> {
        let cursor = Cursor::new(&self.name, point, inode, length);
        if self.saved.as_ref() != Some(&cursor) {
            self.file.write(&cursor)?;
            self.shared.saved(self.reader.number(), point);
            self.saved = Some(cursor);
        }
        Ok(())
    }

    /// Goes on where its file ends, which was of this length at the cursor. Only what was in the journal at the start is looked at: `until` there.
    pub(in crate::control) fn resume(
        &mut self,
        file: &File,
        length: u64,
        until: FramePosition,
    ) -> io::Result<Resumed<LogLines>> {
        let from = self.reader.at();
        let file = Written { file, length: file.metadata()?.len() };
        self.reader.searches = true;
        let mut unwritten = Unwritten { feed: self, from, until };
        let resumed = resume::resume(&file, length, &mut unwritten, limits::EVENT_MAX);
        if resumed.is_err() {
            unwritten.rewind();
        }
        self.reader.searches = false;
        resumed
    }
}

/// A log's file.
struct Written<'a> {
    file: &'a File,
    length: u64,
}

impl Tail for Written<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }
}

/// What the journal has behind a cursor.
struct Unwritten<'a> {
    feed: &'a mut Feed,
    from: ReadPosition,
    until: FramePosition,
}

impl Stream for Unwritten<'_> {
    type Piece = LogLines;

    fn next(&mut self) -> io::Result<Option<LogLines>> {
        while self.feed.reader.at().frame < self.until {
            match self.feed.next()? {
                Some(held) if held.bytes().is_empty() => {}
                held => return Ok(held),
            }
        }
        Ok(None)
    }

    fn rewind(&mut self) {
        self.feed.reader.seek(self.from);
    }
}
