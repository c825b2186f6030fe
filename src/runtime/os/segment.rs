//! Spool segments as files: written with pwritev, read through one shared map, made durable by fdatasync.
//!
//! Appending through a writable map was measured against pwritev (benches/append.rs): the fault on each page after a sync
//! costs more than the copy pwritev makes, so the map is read-only.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use crate::limits;
use crate::runtime::os::engine::{Engine, Syncer};
use crate::runtime::{Segment, SegmentMap, Synced, files};

/// A segment file of this shard's lane.
pub struct FileSegment<S>(Rc<Inner<S>>);

impl<S> Clone for FileSegment<S> {
    fn clone(&self) -> Self {
        FileSegment(self.0.clone())
    }
}

struct Inner<S> {
    map: SegmentMap,
    file: File,
    syncer: S,
}

impl<S: Syncer> FileSegment<S> {
    pub(super) fn open<E: Engine<Syncer = S>>(engine: &E, path: &Path) -> io::Result<FileSegment<S>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let map = SegmentMap::of_file(file.try_clone()?)?;
        let syncer = engine.syncer(&file)?;
        Ok(FileSegment(Rc::new(Inner { map, file, syncer })))
    }
}

impl<S: Syncer> Segment for FileSegment<S> {
    fn map(&self) -> &SegmentMap {
        &self.0.map
    }

    fn append(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let end = usize::try_from(offset).ok().and_then(|start| start.checked_add(total));
        if end.is_none_or(|end| end > self.0.map.len()) {
            return Err(io::Error::other("an append past the end of its segment"));
        }
        write_all(&self.0.file, offset, parts)
    }

    async fn sync(&self) -> io::Result<Synced> {
        let synced = self.0.syncer.fdatasync().await;
        synced.map(Synced).map_err(|error| io::Error::other(format!("fdatasync: {error}")))
    }
}

fn write_all(file: &File, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut written = rustix::io::pwritev(file.as_fd(), parts, offset)?;
    // A short write is rare: finish it piece by piece.
    if written < total {
        for part in parts {
            if written >= part.len() {
                written -= part.len();
                offset += part.len() as u64;
                continue;
            }
            file.write_all_at(&part[written..], offset + written as u64)?;
            offset += part.len() as u64;
            written = 0;
        }
    }
    Ok(())
}

/// Makes a file of zeroes: allocated, written once, synced, its directory entry synced, so that a commit is pure data. It gets
/// its name last: a file that has one is whole. It never takes the name of another, nor the room that is left for what is written `beside` it.
pub(super) fn create(path: &Path, size: u64, beside: Option<&Path>) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let result = write_zeroes(&unfinished, size, beside).and_then(|()| {
        files::rename_over_nothing(&unfinished, path)?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    });
    if result.is_err() {
        // Half a segment is of no use, and a full disk wants its blocks back.
        let _ = std::fs::remove_file(&unfinished);
    }
    result
}

fn write_zeroes(path: &Path, size: u64, beside: Option<&Path>) -> io::Result<()> {
    let spare = path.parent().zip(beside).map_or(0, |(here, beside)| files::spare_bytes(here, beside));
    let lacks = |size: u64| {
        let free = path.parent().and_then(files::free_bytes);
        free.is_some_and(|(ours, all)| all < size || (spare > 0 && ours < size.saturating_add(spare)))
    };
    // A disk that surely has not so much is not filled up for the try: others write there too, the log for one.
    if lacks(size) {
        return Err(rustix::io::Errno::NOSPC.into());
    }
    if path.parent().and_then(files::free_inodes) == Some(0) {
        // The error of the system speaks of space, of which there is enough.
        return Err(io::Error::new(io::ErrorKind::StorageFull, "no inode is free there"));
    }
    let file = files::make_file(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size)?;
    if lacks(0) {
        // Another shard looked at the same time, and both found enough for one.
        return Err(rustix::io::Errno::NOSPC.into());
    }
    let zeroes = vec![0; limits::ZEROES_AT_ONCE];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(limits::ZEROES_AT_ONCE).min(limits::ZEROES_AT_ONCE);
        file.write_all_at(&zeroes[..length], at)?;
        at += length as u64;
    }
    file.sync_all()
}

/// Reads what the page cache holds, without waiting for the disk. None: not all of it is there.
pub(super) fn read_cached(segment: &SegmentMap, offset: u64, length: usize) -> Option<Vec<u8>> {
    let file = segment.file()?;
    let mut bytes = vec![0; length];
    let mut parts = [io::IoSliceMut::new(&mut bytes)];
    let read = rustix::io::preadv2(file, &mut parts, offset, rustix::io::ReadWriteFlags::NOWAIT).ok()?;
    (read == length).then_some(bytes)
}

/// Reads without touching the map.
pub(super) fn read_at(segment: &SegmentMap, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let file = segment.file().ok_or_else(|| io::Error::other("not a file"))?;
    let end = offset.checked_add(length as u64).filter(|end| *end <= segment.len() as u64);
    if end.is_none() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a read past the end of a segment"));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_never_takes_the_place_of_another_file() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("00000.seg");
        create(&path, 8192, None).unwrap();
        std::fs::write(&path, b"mail").unwrap();
        assert_eq!(create(&path, 8192, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"mail");
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1, "the unfinished file is gone");
    }
}
