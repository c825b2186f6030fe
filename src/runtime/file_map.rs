//! The read-only map of a file that was made once: it is replaced by another of its name, and never written or cut.

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap, MmapOptions};

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

    /// Takes some of it into the tables of this process, and reads what is not in memory. Blocks; a kernel before 5.14 does nothing.
    pub fn populate(&self, at: usize, length: usize) {
        if at.checked_add(length).is_some_and(|end| end <= self.0.len()) && length > 0 {
            let _ = self.0.advise_range(Advice::PopulateRead, at, length);
        }
    }
}

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
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
        map.populate(0, 4);
        map.populate(2, usize::MAX);
        assert_eq!(map.as_ref(), b"0123");
        assert!(FileMap::new(&file, 11).is_err() && FileMap::new(&file, 0).is_err());
    }
}
