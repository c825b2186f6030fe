//! A reader of the journal: gives the lines of all events, in order, from where its cursor is. What was written last is taken from memory, the rest
//! from the disk.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::control::journal::frame::{HEADER, Kind};
use crate::control::journal::place::{FramePosition, ReadPosition};
use crate::control::journal::segment::{self, FrameRead};
use crate::control::journal::shared::{Batch, NextRead, Shared};
use crate::control::say::say;
use crate::observe::diagnostics::Level;

/// Some lines.
#[derive(Debug)]
pub(in crate::control) struct Piece {
    lines: Lines,
    /// Where the first of them stands.
    pub(super) at: ReadPosition,
    /// Where the next one will.
    pub(super) next: FramePosition,
}

#[derive(Debug)]
enum Lines {
    /// As they are in memory, from so many bytes on.
    Recent(Arc<Batch>, usize),
    /// As they were read.
    Read(Vec<u8>),
}

impl Piece {
    pub(in crate::control) fn lines(&self) -> &[u8] {
        match &self.lines {
            Lines::Recent(batch, within) => {
                batch.bytes[batch.lines.clone()].get(*within..).unwrap_or_default()
            }
            Lines::Read(lines) => lines,
        }
    }
}

/// A reader.
pub(super) struct Reader {
    shared: Arc<Shared>,
    number: usize,
    at: ReadPosition,
    /// It only looks where it goes on, and comes back.
    pub searches: bool,
    open: Option<(u64, File)>,
}

impl Reader {
    /// One that is there.
    pub(super) fn new(shared: Arc<Shared>, name: &str, at: ReadPosition) -> Reader {
        let number = shared.register(name, at);
        Reader { shared, number, at, searches: false, open: None }
    }

    /// Its number among all.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Where it is: it has given all before that.
    pub(super) fn at(&self) -> ReadPosition {
        self.at
    }

    /// Goes there.
    pub(super) fn seek(&mut self, at: ReadPosition) {
        self.at = at;
    }

    /// The next lines. None: there are none yet. After an error the same ones are tried again.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let (at, within) = (self.at, usize::try_from(self.at.within).unwrap_or(usize::MAX));
            match self.shared.look(self.number, at, self.searches) {
                NextRead::End => return Ok(None),
                NextRead::Elsewhere(place) => self.at = place.into(),
                NextRead::Recent(batch) => {
                    let (next, at) = (batch.end, ReadPosition { frame: batch.frame, ..at });
                    self.at = next.into();
                    let piece = Piece { lines: Lines::Recent(batch, within), at, next };
                    if !piece.lines().is_empty() {
                        return Ok(Some(piece));
                    }
                }
                // After an error the file is opened anew.
                NextRead::Disk(end) => match self.read(at.frame, end).inspect_err(|_| self.open = None)? {
                    FrameRead::Frame(kind, mut lines, next) => {
                        let next = FramePosition { offset: next, ..at.frame };
                        self.at = next.into();
                        if kind == Kind::Lines && lines.len() > within {
                            lines.drain(..within);
                            return Ok(Some(Piece { lines: Lines::Read(lines), at, next }));
                        }
                    }
                    FrameRead::End => self.at = FramePosition { offset: end, ..at.frame }.into(),
                    FrameRead::Damaged => self.pass_over(end),
                },
            }
        }
    }

    fn read(&mut self, at: FramePosition, end: u64) -> io::Result<FrameRead> {
        let file = match self.open.take() {
            Some((sequence, file)) if sequence == at.segment => file,
            _ => match File::open(segment::path(self.shared.directory(), at.segment)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Removed by whoever did it: nothing there can be read any more.
                    self.shared.gone(at.segment, &[]);
                    return Ok(FrameRead::End);
                }
                file => file?,
            },
        };
        let (_, file) = self.open.insert((at.segment, file));
        // Its header tells that it is what its name says.
        if at.offset == HEADER as u64 && !segment::is_of(file, at.segment)? {
            return Ok(FrameRead::Damaged);
        }
        match segment::read(file, at.offset, end) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(FrameRead::Damaged),
            found => found,
        }
    }

    /// What is damaged there nobody can read, nor what is behind it in its segment.
    fn pass_over(&mut self, end: u64) {
        let at = self.at.frame;
        let path = segment::path(self.shared.directory(), at.segment);
        say(
            Level::Error,
            format_args!(
                "{} is damaged at {}: the events in the {} bytes from there on do not come to {}; look at its disk",
                path.display(),
                at.offset,
                end - at.offset,
                self.shared.name(self.number)
            ),
        );
        self.at = FramePosition { offset: end, ..at }.into();
    }
}
