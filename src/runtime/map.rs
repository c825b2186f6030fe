//! The read-only map of a segment, shared by all shards of the process.

use std::fs::File;
use std::io;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut, MmapOptions};

/// A shared view of one segment. Cloning is a reference count; the memory stays mapped while a clone lives.
///
/// Reading is sound under the spool's discipline, which no caller outside `spool` and `shard` can break: bytes of a
/// segment are read only inside a record that was completely appended, and a region is never appended to twice while
/// the segment holds anything live.
#[derive(Clone, Debug)]
pub struct SegmentMap(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backing: Backing,
    /// The file behind the map, for reads that must not fault. None in the simulator.
    file: Option<File>,
    /// Names the segment to a simulated runtime.
    tag: u64,
}

#[derive(Debug)]
enum Backing {
    File(Mmap),
    Memory(MmapMut),
}

impl SegmentMap {
    /// Maps a file of fixed size.
    pub(in crate::runtime) fn of_file(file: File) -> io::Result<SegmentMap> {
        // SAFETY: the file is locked by this process, never truncated while mapped, and written only by appends to
        // regions that no reader holds (see the type's documentation).
        let map = unsafe { MmapOptions::new().map(&file)? };
        Ok(SegmentMap(Arc::new(Inner { backing: Backing::File(map), file: Some(file), tag: 0 })))
    }

    /// Memory that stands in for a file, for the simulator. `tag` is the simulator's own name for it.
    pub(in crate::runtime) fn of_memory(size: usize, tag: u64) -> io::Result<SegmentMap> {
        Ok(SegmentMap(Arc::new(Inner {
            backing: Backing::Memory(MmapMut::map_anon(size)?),
            file: None,
            tag,
        })))
    }

    /// Bytes of the segment.
    pub fn len(&self) -> usize {
        match &self.0.backing {
            Backing::File(map) => map.len(),
            Backing::Memory(map) => map.len(),
        }
    }

    /// Whether the segment has no bytes; a segment always has some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes at `offset`, or None if they reach outside the segment.
    pub fn slice(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(length)?;
        match &self.0.backing {
            Backing::File(map) => map.get(start..end),
            Backing::Memory(map) => map.get(start..end),
        }
    }

    /// Takes its pages out of the memory of this process; they stay in the page cache as long as the kernel likes. Who reads there again
    /// takes a fault for each.
    pub fn let_go(&self) {
        if let Backing::File(map) = &self.0.backing {
            // SAFETY: a shared map of a file: nothing is lost by it, the next read finds the same bytes.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }

    pub(in crate::runtime) fn file(&self) -> Option<&File> {
        self.0.file.as_ref()
    }

    pub(in crate::runtime) fn tag(&self) -> u64 {
        self.0.tag
    }

    /// Overwrites bytes of simulated memory.
    pub(in crate::runtime) fn write_memory(&self, offset: u64, bytes: &[u8]) {
        let Backing::Memory(map) = &self.0.backing else {
            panic!("only simulated memory is written through its map")
        };
        let start = usize::try_from(offset).expect("offsets are 32 bits");
        assert!(start + bytes.len() <= map.len(), "an append past the end of its segment");
        // SAFETY: in bounds (asserted); the simulator runs all shards on one thread, and no slice of this region is
        // alive during an append (see the type's documentation).
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), map.as_ptr().cast_mut().add(start), bytes.len())
        }
    }
}
