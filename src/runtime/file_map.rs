//! The read-only map of a file that was made once: it is replaced by another of its name, and never written or cut.

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap, MmapMut, MmapOptions};

/// The first bytes of such a file. They stay mapped while this lives, also when the file has another name or none.
///
/// Who writes such a file gives it its name when it is whole, so nobody ever writes one that is mapped. A page that the disk cannot
/// read any more ends the process, as one of a segment does.
#[derive(Debug)]
pub struct FileMap(Mmap);

impl FileMap {
    /// Maps the first `length` bytes of a file that has as many. Whoever calls it knows that it is one of those.
    pub fn new(file: &File, length: usize) -> io::Result<FileMap> {
        if (length as u64) > file.metadata()?.len() || length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the file lies in a directory that this process has locked, and is never changed once it has its name (see the type's
        // documentation).
        let map = unsafe { MmapOptions::new().len(length).map(file)? };
        // Look-ups are all over it: to read on would fetch what nobody wants.
        let _ = map.advise(Advice::Random);
        Ok(FileMap(map))
    }
}

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Memory for what is looked into all over, in large pages where the kernel has them: a page of 4 KiB for each place that is read costs more than the read.
#[derive(Debug)]
pub struct LargePages(MmapMut);

impl LargePages {
    /// So many zeroes. Only what is written takes room.
    pub fn new(length: usize) -> io::Result<LargePages> {
        let memory = MmapMut::map_anon(length.max(1))?;
        let _ = memory.advise(Advice::HugePage);
        Ok(LargePages(memory))
    }
}

impl AsRef<[u8]> for LargePages {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for LargePages {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_outlives_the_name_of_its_file() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("list");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = File::open(&path).unwrap();
        let map = FileMap::new(&file, 4).unwrap();
        std::fs::write(scratch.path().join("new"), b"9876543210").unwrap();
        std::fs::rename(scratch.path().join("new"), &path).unwrap();
        assert_eq!(map.as_ref(), b"0123");
        assert!(FileMap::new(&file, 11).is_err() && FileMap::new(&file, 0).is_err());
    }
}
