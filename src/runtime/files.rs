//! Files for tools: opened for reading only and never mapped, and directories that move whole.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt, DirEntryExt as _, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::limits;

/// Who may read and write what the relay makes: its own user.
pub const FILE_MODE: u32 = 0o600;
/// The same of directories.
pub const DIRECTORY_MODE: u32 = 0o700;

/// Makes one directory for this user alone, whatever the umask.
pub fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
    // A umask that takes from the owner too would have left less.
    std::fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
}

/// Makes a directory and those above it that are missing.
pub fn make_directories(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(parent)?;
    }
    match make_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes a file for this user alone, whatever the umask, or empties the one that is there.
pub fn make_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

/// The same where nothing of that name may be there.
pub fn make_new_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

/// What tells that a file is not as it was: which one it is, its size, and when it and its name were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp([i64; 6]);

/// The stamp of a regular file that is there.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let of = std::fs::metadata(path).ok().filter(|of| of.is_file())?;
    let (inode, size) = (of.ino().cast_signed(), of.size().cast_signed());
    Some(Stamp([inode, size, of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()]))
}

/// Whether a file is given to single users or groups too (acl(5)).
pub fn has_access_list(path: &Path) -> bool {
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0; 0]).is_ok_and(|size| size > 0)
}

/// What [`mend`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// Only its owner may read and write it.
    Sound,
    /// Others could too, and cannot any more (or could, if nothing was to be changed).
    Others,
    /// Others can, and this user may not change that.
    NotOurs,
}

/// Whether a file or directory is its owner's alone; if not, and if `change`, it is made so. Links are not followed: what they lead
/// to has its own name.
pub fn mend(path: &Path, change: bool) -> io::Result<Mended> {
    let found = std::fs::symlink_metadata(path)?;
    let wanted = match found.file_type() {
        kind if kind.is_dir() => DIRECTORY_MODE,
        kind if kind.is_file() => FILE_MODE,
        _ => return Ok(Mended::Sound),
    };
    if found.mode() & 0o777 == wanted {
        return Ok(Mended::Sound);
    }
    // A umask may also have taken from the owner: that is mended, and nobody's business.
    let is_open = found.mode() & 0o077 != 0;
    let mended = if is_open { Mended::Others } else { Mended::Sound };
    if !change {
        let ours = [found.uid(), 0].contains(&rustix::process::geteuid().as_raw());
        return Ok(if is_open && !ours { Mended::NotOurs } else { mended });
    }
    let kept = found.mode() & 0o7000;
    match std::fs::set_permissions(path, Permissions::from_mode(kept | wanted)) {
        Ok(()) => Ok(mended),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_open => Ok(Mended::Sound),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Mended::NotOurs),
        Err(error) => Err(error),
    }
}

/// The same of a file that only looks like one of ours by its name: one of another user is left as it is, even by root.
pub fn mend_own(path: &Path, change: bool) -> io::Result<Mended> {
    let is_ours = std::fs::symlink_metadata(path)?.uid() == rustix::process::geteuid().as_raw();
    match mend(path, change && is_ours)? {
        Mended::Others if !is_ours => Ok(Mended::NotOurs),
        found => Ok(found),
    }
}

/// Bytes that are free on the file system of a directory: for this user, and at all (more is kept for root). None: it does not say.
pub fn free_bytes(directory: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(directory).ok().filter(|found| found.f_blocks > 0)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some((bytes(found.f_bavail), bytes(found.f_bfree)))
}

/// Bytes that are to stay free on the file system of a directory for what is written in another one: a share of a small file system, and none where
/// the other one lies elsewhere. What is not there yet lies where it will.
pub fn spare_bytes(directory: &Path, of: &Path) -> u64 {
    let there = |path: &Path| {
        let place = path.ancestors().find(|place| place.is_dir()).map(Path::to_owned)?;
        Some((std::fs::metadata(&place).ok()?.dev(), place))
    };
    match (there(directory), there(of)) {
        (Some((one, place)), Some((other, _))) if one == other => spare_of(size_bytes(&place)),
        _ => 0,
    }
}

/// The same of a file system of this size.
pub fn spare_of(size: u64) -> u64 {
    limits::JOURNAL_SPARE.min(size / limits::JOURNAL_SPARE_SHARE)
}

/// Bytes of the file system of a directory, or of the next one above it that is there. One that does not say is as large as can be.
pub fn size_bytes(directory: &Path) -> u64 {
    let found = directory.ancestors().find_map(|place| rustix::fs::statvfs(place).ok());
    found
        .filter(|found| found.f_blocks > 0)
        .map_or(u64::MAX, |found| found.f_blocks.saturating_mul(found.f_frsize))
}

/// What editors of other systems put in front of UTF-8: it is no part of the text.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Takes it away.
pub fn without_mark(text: &mut Vec<u8>) {
    if text.starts_with(MARK) {
        text.drain(..MARK.len());
    }
}

/// All of a text file that an operator named, at most so many bytes, without a byte order mark. Whatever the name leads to, nobody is waited for without a bound: a pipe
/// may be one that nobody ever writes to, or whose writer sleeps.
pub fn read_whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_patiently(path, most, limits::PIPE_PATIENCE)
}

fn read_patiently(path: &Path, most: u64, for_writer: Duration) -> io::Result<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let patience = if is_pipe { for_writer } else { limits::TERMINAL_PATIENCE };
    let mut bytes = Vec::new();
    let begun = instant();
    let mut last = begun;
    let mut rest = io::Read::take(&file, most + 1);
    loop {
        let before = bytes.len();
        // Of a pipe that nobody has open to write, this is the end; where somebody has, it would block.
        match rest.read_to_end(&mut bytes) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > before {
            last = instant();
        }
        // One that drips is not waited for byte by byte.
        if begun.elapsed() > patience * 4 {
            let problem = format!("it was not written to its end within {} s", patience.as_secs() * 4);
            return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
        }
        if !is_readable_within(&file, patience.saturating_sub(last.elapsed()))? {
            let silent = format!("its writer sent nothing for {} s", patience.as_secs());
            let problem = if is_pipe { silent } else { "no file, and nobody writes to it".to_owned() };
            return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
        }
    }
    if is_pipe && bytes.is_empty() {
        return Err(io::Error::other("a pipe that nobody writes to"));
    }
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")));
    }
    without_mark(&mut bytes);
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "the runtime is where clocks come from")]
fn instant() -> Instant {
    Instant::now()
}

/// Whether there is something to read, or an end, within a time. True also where a signal came: the caller looks again, and at the time.
fn is_readable_within(file: &File, left: Duration) -> io::Result<bool> {
    let patience = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
    match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&patience)) {
        Err(Errno::INTR) => Ok(true),
        ready => Ok(ready? > 0),
    }
}

/// Files that may still be made in the file system of a directory. None: it has no bound, or nobody can say.
pub fn free_inodes(directory: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory).ok().filter(|found| found.f_files > 0)?;
    Some(found.f_favail)
}

/// Descriptors that are kept for when all others are taken: the log must be rotated and questions be answered then too.
#[derive(Debug, Default)]
pub struct Reserve {
    spare: Mutex<Vec<File>>,
    size: usize,
}

impl Reserve {
    /// Keeps so many, as far as there are.
    pub fn new(size: usize) -> Reserve {
        let reserve = Reserve { spare: Mutex::default(), size };
        reserve.refill();
        reserve
    }

    /// Takes back what was given away, as far as there are descriptors again.
    pub fn refill(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        while spare.len() < self.size {
            let Ok(file) = File::open("/dev/null") else { return };
            spare.push(file);
        }
    }

    /// Gives one away if that is what was missing.
    pub fn helps(&self, error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
            && self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().is_some()
    }

    /// Does what needs a descriptor, with the reserve if need be.
    pub fn with<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match open() {
                Err(error) if self.helps(&error) => {}
                done => return done,
            }
        }
    }
}

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

/// The regular file with this number, opened for reading and, where this user may, for appending: the one at this path, or what it was renamed to in its directory, among so many there.
pub fn find_inode(path: &Path, inode: u64, most: usize) -> Option<File> {
    let open = |path: &Path| {
        let mut options = OpenOptions::new();
        options.read(true).append(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(path).or_else(|_| options.append(false).open(path)).ok()?;
        let meta = file.metadata().ok()?;
        (meta.is_file() && meta.ino() == inode).then_some(file)
    };
    let others = || {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let entries = std::fs::read_dir(directory.unwrap_or(Path::new("."))).ok()?.take(most).flatten();
        entries.filter(|entry| entry.ino() == inode).find_map(|entry| open(&entry.path()))
    };
    open(path).or_else(others)
}

/// Whether a file that is there can be opened for writing. Nothing is written.
pub fn try_to_write(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).map(drop)
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

/// Renames within one file system, over nothing.
pub fn rename_over_nothing(from: &Path, to: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    let tried = rustix::fs::renameat_with(here, from, here, to, rustix::fs::RenameFlags::NOREPLACE);
    or_after_a_look(tried, from, to)
}

/// Not every file system can rename over nothing (NFS, 9p, FUSE): there one looks first. Nobody else makes what is named so in a directory that
/// this process has locked.
fn or_after_a_look(tried: Result<(), Errno>, from: &Path, to: &Path) -> io::Result<()> {
    match tried {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match std::fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::rename(from, to),
            Err(error) => Err(error),
        },
        done => Ok(done?),
    }
}

/// Renames a directory within one file system, over nothing, in one step, and syncs both parents.
pub fn move_directory(from: &Path, to: &Path) -> io::Result<()> {
    rename_over_nothing(from, to)?;
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
    fn what_is_left_free_is_a_share_and_only_on_the_same_file_system() {
        let mebibyte = 1 << 20;
        assert_eq!([60, 20_000].map(|size| spare_of(size * mebibyte)), [3 * mebibyte, limits::JOURNAL_SPARE]);
        let scratch = tempfile::tempdir().unwrap();
        let not_yet = scratch.path().join("a/b");
        assert_eq!(spare_bytes(scratch.path(), &not_yet), spare_of(size_bytes(&not_yet)));
        assert!(spare_bytes(scratch.path(), &not_yet) > 0);
        assert_eq!(spare_bytes(scratch.path(), Path::new("/proc/none")), 0);
    }

    #[test]
    fn a_file_is_found_by_its_number_whatever_it_is_called_now() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        std::fs::write(path("log"), b"old").unwrap();
        let inode = std::fs::metadata(path("log")).unwrap().ino();
        let read = |inode| {
            let mut text = String::new();
            let found = find_inode(&path("log"), inode, 10);
            found.map(|mut file| file.read_to_string(&mut text)).map(|_| text)
        };
        assert_eq!(read(inode).as_deref(), Some("old"));
        std::fs::rename(path("log"), path("log.1")).unwrap();
        assert_eq!(read(inode).as_deref(), Some("old"), "where the name is free");
        std::fs::write(path("log"), b"new").unwrap();
        assert_eq!(read(inode).as_deref(), Some("old"));
        std::fs::remove_file(path("log.1")).unwrap();
        assert_ne!(read(inode).as_deref(), Some("old"));
        assert_eq!(read(std::fs::metadata(scratch.path()).unwrap().ino()), None, "no file");
    }

    #[test]
    fn where_the_file_system_cannot_rename_over_nothing_one_looks() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for name in ["a", "b", "c"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
        for (error, from, to) in
            [(Errno::INVAL, "a", "d"), (Errno::NOSYS, "b", "e"), (Errno::NOTSUP, "c", "f")]
        {
            for taken in ["link", from] {
                let kept = or_after_a_look(Err(error), &path(from), &path(taken)).unwrap_err();
                assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
            }
            or_after_a_look(Err(error), &path(from), &path(to)).unwrap();
        }
        assert_eq!(list(scratch.path()).unwrap(), ["d", "e", "f", "link"]);
        let error = or_after_a_look(Err(Errno::XDEV), &path("d"), &path("g")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::XDEV.raw_os_error()));
    }

    #[test]
    fn what_others_may_read_is_mended_and_links_are_left() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let mode = |name: &str| std::fs::metadata(path(name)).unwrap().mode() & 0o7777;
        make_directories(&path("a/b")).unwrap();
        drop(make_file(&path("a/file")).unwrap());
        assert_eq!((mode("a"), mode("a/b"), mode("a/file")), (0o700, 0o700, 0o600));
        for (name, open) in [("a", 0o2755), ("a/file", 0o644)] {
            std::fs::set_permissions(path(name), Permissions::from_mode(open)).unwrap();
            assert_eq!(mend(&path(name), false).unwrap(), Mended::Others);
            assert_eq!(mode(name), open);
            assert_eq!(mend(&path(name), true).unwrap(), Mended::Others);
            assert_eq!(mend(&path(name), true).unwrap(), Mended::Sound);
        }
        assert_eq!((mode("a"), mode("a/file")), (0o2700, 0o600));
        std::fs::write(path("other"), b"").unwrap();
        std::fs::set_permissions(path("other"), Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(path("other"), path("a/link")).unwrap();
        assert_eq!(mend(&path("a/link"), true).unwrap(), Mended::Sound);
        assert_eq!(mode("other"), 0o644);
    }

    #[test]
    fn the_reserve_helps_as_often_as_it_has_descriptors() {
        let reserve = Reserve::new(2);
        let mut tries = 0;
        let done: io::Result<()> = reserve.with(|| {
            tries += 1;
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        });
        assert!(done.is_err() && tries == 3);
        assert!(!reserve.helps(&io::Error::from_raw_os_error(libc::EMFILE)));
        reserve.refill();
        assert!(!reserve.helps(&io::Error::from_raw_os_error(libc::ENOSPC)));
        assert!(reserve.helps(&io::Error::from_raw_os_error(libc::ENFILE)));
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
        assert!(read_whole(&pipe, 10).is_err(), "nor did anybody");
        assert_eq!(read_whole(&path, 10).unwrap(), b"0123456789");
        assert!(read_whole(&path, 9).is_err() && read_whole(scratch.path(), 9).is_err());
        std::fs::write(&path, b"\xef\xbb\xbfshop:\xef\xbb\xbf\n").unwrap();
        assert_eq!(read_whole(&path, 20).unwrap(), b"shop:\xef\xbb\xbf\n", "a mark in front is no text");
        assert!(
            read_whole(Path::new("/dev/zero"), 9).is_err() && read_whole(Path::new("/dev/null"), 9).is_ok()
        );
    }

    /// As `--config <(program)` gives one: its writer may take a moment, and not for ever.
    #[test]
    fn a_pipe_is_read_while_somebody_writes() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let read = std::thread::scope(|scope| {
            let read = scope.spawn(|| read_whole(Path::new(&path), 100));
            io::Write::write_all(&mut writer, b"one ").unwrap();
            crate::runtime::process::pause(Duration::from_millis(50));
            io::Write::write_all(&mut writer, b"two").unwrap();
            drop(writer);
            read.join().unwrap()
        });
        assert_eq!(read.unwrap(), b"one two");
        // A writer that is there and says nothing is told as one; its time counts from its last byte.
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let (pause, patience) = (Duration::from_millis(600), Duration::from_secs(1));
        let (begun, read) = std::thread::scope(|scope| {
            let begun = instant();
            let read = scope.spawn(|| read_patiently(Path::new(&path), 100, patience));
            for _ in 0..3 {
                crate::runtime::process::pause(pause);
                io::Write::write_all(&mut writer, b"x").unwrap();
            }
            (begun, read.join().unwrap())
        });
        assert_eq!(read.unwrap_err().to_string(), "its writer sent nothing for 1 s");
        assert!(begun.elapsed() >= 3 * pause + patience);
        assert_eq!(limits::PIPE_PATIENCE, Duration::from_secs(30));
        // One that drips is not waited for much longer.
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let read = std::thread::scope(|scope| {
            let read = scope.spawn(|| read_patiently(Path::new(&path), 100, Duration::from_millis(300)));
            for _ in 0..40 {
                crate::runtime::process::pause(Duration::from_millis(50));
                if read.is_finished() {
                    break;
                }
                io::Write::write_all(&mut writer, b"x").unwrap();
            }
            drop(writer);
            read.join().unwrap()
        });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Who ended without a word is no writer any more.
        let (reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        drop(writer);
        assert!(read_whole(Path::new(&path), 100).unwrap_err().to_string().contains("nobody writes"));
    }
}
