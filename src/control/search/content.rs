//! The content of a message that waits, read where it lies: piece by piece, each checked. On a thread that may wait for disks.

use std::io;
use std::path::PathBuf;

use super::Searches;
use super::read::Reader;
use crate::limits;
use crate::runtime::files::ReadFile;
use crate::shard::ask::StoredAt;
use crate::spool::layout::{lane_directory, segment_path};
use crate::spool::record::{Extent, MessageView};

/// What is left of it to be read.
pub(in crate::control) struct Content {
    data_dir: PathBuf,
    lane: u16,
    /// Bytes of all of it.
    pub size: u64,
    pieces: std::vec::IntoIter<Extent>,
}

impl Content {
    /// That of a message of a lane.
    pub(in crate::control) fn of(searches: &Searches, lane: u16, stored: &StoredAt) -> io::Result<Content> {
        let mut reader = Reader::new(searches.data_dir.clone(), Default::default());
        let payload = reader.record(lane, stored.at, &mut 0)?;
        let view = MessageView::parse(payload).ok().filter(|view| view.id == stored.id);
        let view =
            view.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not the record of that message"))?;
        let pieces = view.extents().collect::<Vec<_>>().into_iter();
        Ok(Content { data_dir: searches.data_dir.clone(), lane, size: view.size, pieces })
    }

    /// The next piece; None: that was all.
    pub(in crate::control) fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let piece = self.pieces.next()?;
        Some(self.read(&piece))
    }

    fn read(&self, piece: &Extent) -> io::Result<Vec<u8>> {
        let broken = |words| Err(io::Error::new(io::ErrorKind::InvalidData, words));
        let length = piece.length as usize;
        if length > limits::COMMIT_BYTES_MAX {
            return broken("a piece of it makes no sense");
        }
        let file = ReadFile::open(&segment_path(&lane_directory(&self.data_dir, self.lane), piece.slot))?;
        let bytes = file.read(piece.offset.into(), length)?;
        // Also where the segment has another life by now.
        if crc32c::crc32c(&bytes) == piece.crc {
            Ok(bytes)
        } else {
            broken("a piece of it is damaged (CRC), or it was settled")
        }
    }
}
