//! Files for tools: opened for reading only and never mapped, and directories that move whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A file that is read and nothing else. Another process may write it meanwhile.
#[derive(Debug)]
pub struct ReadFile(File);

impl ReadFile {
    /// Opens it, without waiting for whoever may write to what is no file at all.
    pub fn open(path: &Path) -> io::Result<ReadFile> {
        let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        // What is read once must not push out the pages a running relay works with; a kernel that cannot is no reason
        // not to read.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::NoReuse);
        Ok(ReadFile(file))
    }

    /// Bytes of it.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Exactly `length` bytes at `offset`. The memory is taken only when the file is that long.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size().unwrap_or(0)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Names of the entries of a directory, sorted. Names that are not UTF-8 are none of ours.
pub fn list(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The file system a directory lies on. Not followed if it is a symbolic link: that could not be moved with what it holds.
pub fn device_of_directory(path: &Path) -> io::Result<u64> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory itself"));
    }
    Ok(metadata.dev())
}

/// Renames a directory within one file system, over nothing, in one step, and syncs both parents.
pub fn move_directory(from: &Path, to: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, from, here, to, rustix::fs::RenameFlags::NOREPLACE)?;
    for path in [to, from] {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_moves_over_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for name in ["a", "b"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        assert_eq!(move_directory(&path("a"), &path("b")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        move_directory(&path("a"), &path("c")).unwrap();
        assert_eq!(list(scratch.path()).unwrap(), ["b", "c"]);
        std::os::unix::fs::symlink(path("b"), path("link")).unwrap();
        assert!(device_of_directory(&path("link")).is_err());
        assert_eq!(device_of_directory(&path("b")).unwrap(), device_of_directory(&path("c")).unwrap());
    }

    #[test]
    fn reads_are_whole_or_errors() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = ReadFile::open(&path).unwrap();
        assert_eq!(file.read(3, 4).unwrap(), b"3456");
        assert!(
            file.read(3, 8).is_err() && file.read(u64::MAX, 2).is_err() && file.read(0, usize::MAX).is_err()
        );
        assert!(ReadFile::open(scratch.path()).is_err(), "a directory");
        let pipe = scratch.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(ReadFile::open(&pipe).is_err(), "nobody ever writes to it");
    }
}
