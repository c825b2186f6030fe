//! Writing to where perhaps nobody reads: standard error, standard output, a log that is a pipe. What would wait says so instead.
//!
//! A pipe or a terminal is opened once more, without waiting, through /proc: the flag on the descriptor we were given would be
//! shared with whoever else has it. Regular files never say that they would wait, so they are written by threads of their own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::runtime::files;

/// Bytes a pipe takes whole or not at all (pipe(7), PIPE_BUF).
pub const ATOMIC: usize = 4096;

/// Where something is written to.
#[derive(Debug)]
pub struct Output {
    file: File,
    kind: Kind,
    /// Of a pipe the kernel knows what was read.
    is_pipe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file on a disk.
    Regular,
    /// A socket: each call says that it does not wait.
    Socket,
    /// Opened by us, so that it does not wait.
    Ready,
    /// It may wait: it is asked first, and given little.
    Waits,
}

impl Output {
    /// Opens a log for appending. What is no file is opened without waiting for a reader.
    pub fn open(path: &Path) -> io::Result<Output> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(files::FILE_MODE).custom_flags(flags);
        // While somebody has it open to read, a pipe without a reader can be opened; where we may not read, it needs one.
        let held = std::fs::metadata(path)
            .is_ok_and(|found| found.file_type().is_fifo())
            .then(|| OpenOptions::new().read(true).custom_flags(flags).open(path));
        let file = match options.read(held.is_none()).open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options.read(false).open(path),
            opened => opened,
        };
        // Who held a pipe open would not hear that nobody reads it any more.
        drop(held);
        let file = file.map_err(|error| match std::fs::metadata(path).map(|found| found.file_type()) {
            Ok(kind) if kind.is_socket() => io::Error::other("it is a socket, not a file"),
            Ok(kind) if kind.is_fifo() => {
                io::Error::other("it is a pipe that nobody reads, and this user may not read it either")
            }
            _ => error,
        })?;
        let kind = file.metadata()?.file_type();
        if kind.is_block_device() || kind.is_dir() {
            return Err(io::Error::other("it is not a file, a pipe or a terminal"));
        }
        let is_pipe = kind.is_fifo();
        let kind = if kind.is_file() { Kind::Regular } else { Kind::Ready };
        Ok(Output { file, kind, is_pipe })
    }

    /// Standard output.
    pub fn standard_output() -> io::Result<Output> {
        Output::standard(io::stdout().as_fd(), 1)
    }

    fn standard(descriptor: BorrowedFd<'_>, number: u32) -> io::Result<Output> {
        let file = File::from(descriptor.try_clone_to_owned()?);
        let kind = file.metadata()?.file_type();
        if kind.is_file() {
            return Ok(Output { file, kind: Kind::Regular, is_pipe: false });
        }
        if kind.is_socket() {
            return Ok(Output { file, kind: Kind::Socket, is_pipe: false });
        }
        let is_pipe = kind.is_fifo();
        let again = PathBuf::from(format!("/proc/self/fd/{number}"));
        let mut options = OpenOptions::new();
        match options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(again) {
            Ok(file) => Ok(Output { file, kind: Kind::Ready, is_pipe }),
            // It is another user's, or nobody reads it any more.
            Err(_) => Ok(Output { file, kind: Kind::Waits, is_pipe }),
        }
    }

    /// Whether all that is written there is thrown away. A descriptor that is closed at a start is opened so by the standard library.
    pub fn is_nowhere(&self) -> bool {
        let null = rustix::fs::makedev(1, 3);
        self.file.metadata().is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == null)
    }

    /// The file behind it, if it is one on a disk.
    pub fn regular(&self) -> Option<&File> {
        (self.kind == Kind::Regular).then_some(&self.file)
    }

    /// Which file it is, by device and number.
    pub fn identity(&self) -> Option<(u64, u64)> {
        self.file.metadata().map(|meta| (meta.dev(), meta.ino())).ok()
    }

    /// Whether it is a pipe.
    pub fn is_pipe(&self) -> bool {
        self.is_pipe
    }

    /// Bytes that stand in a pipe until somebody reads them. None: it is no pipe, and what was written is out of our hands.
    pub fn unread(&self) -> Option<u64> {
        self.is_pipe.then(|| rustix::io::ioctl_fionread(&self.file).ok()).flatten()
    }

    /// Whether it is a pipe that nobody has open to read.
    pub fn is_unread(&self) -> bool {
        let mut asked = [PollFd::new(&self.file, PollFlags::OUT)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        self.is_pipe
            && rustix::event::poll(&mut asked, Some(&now)).is_ok()
            && asked[0].revents().contains(PollFlags::ERR)
    }

    /// Writes a prefix of it. `WouldBlock`: nothing of it now. `BrokenPipe`: nobody reads it, now.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.kind {
            Kind::Regular | Kind::Ready => rustix::io::write(&self.file, bytes),
            Kind::Socket => {
                let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
                rustix::net::send(&self.file, bytes, flags)
            }
            Kind::Waits if !self.await_room(Duration::ZERO) => Err(rustix::io::Errno::AGAIN),
            Kind::Waits => rustix::io::write(&self.file, &bytes[..bytes.len().min(ATOMIC)]),
        };
        match written {
            Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            written => Ok(written?),
        }
    }

    /// Waits until something can be written, at most so long. Whether it can.
    pub fn await_room(&self, at_most: Duration) -> bool {
        let mut asked = [PollFd::new(&self.file, PollFlags::OUT)];
        let at_most = rustix::event::Timespec {
            tv_sec: at_most.as_secs() as i64,
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        rustix::event::poll(&mut asked, Some(&at_most)).is_ok_and(|ready| ready > 0)
    }
}

/// Standard error, opened at the first call. None: there is none.
pub fn standard_error() -> Option<&'static Output> {
    static STANDARD_ERROR: OnceLock<Option<Output>> = OnceLock::new();
    STANDARD_ERROR.get_or_init(|| Output::standard(io::stderr().as_fd(), 2).ok()).as_ref()
}

/// Writes a line to standard error now, if that takes it at once, and else never. For the words before an end: it does not wait,
/// does not panic and takes no lock.
pub fn last_words(words: &str) {
    let mut line = [0; ATOMIC];
    let mut length = words.len().min(ATOMIC - 1);
    while !words.is_char_boundary(length) {
        length -= 1;
    }
    line[..length].copy_from_slice(&words.as_bytes()[..length]);
    line[length] = b'\n';
    if let Some(output) = standard_error() {
        let _ = output.write(&line[..=length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pipe_at(path: &Path) {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    #[test]
    fn a_pipe_says_when_nobody_reads_it_and_when_it_is_full() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pipe");
        pipe_at(&path);
        let output = Output::open(&path).unwrap();
        let line = [b'x'; ATOMIC];
        let unread = |output: &Output| output.write(&line).unwrap_err().kind();
        assert_eq!((unread(&output), output.is_unread()), (io::ErrorKind::BrokenPipe, true));
        let mut reader = File::open(&path).unwrap();
        let mut taken = 0;
        let full = loop {
            match output.write(&line) {
                Ok(bytes) => taken += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!((full.kind(), taken % ATOMIC), (io::ErrorKind::WouldBlock, 0), "lines are whole");
        assert!(!output.await_room(Duration::ZERO) && !output.is_unread());
        reader.read_exact(&mut vec![0; taken - 7]).unwrap();
        assert_eq!(output.unread(), Some(7));
        assert!(output.await_room(Duration::ZERO) && output.write(b"on").unwrap() == 2);
        drop(reader);
        assert_eq!((unread(&output), output.is_unread()), (io::ErrorKind::BrokenPipe, true));
        assert_eq!(output.unread(), Some(9), "it stays for the next one");
    }

    #[test]
    fn what_is_no_log_is_refused_in_words() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(Output::open(scratch.path()).is_err(), "a directory");
        let socket = scratch.path().join("socket");
        let _listening = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
        assert!(Output::open(&socket).unwrap_err().to_string().contains("socket"));
        assert!(Output::open(Path::new("/dev/null")).is_ok());
        let full = Output::open(Path::new("/dev/full")).unwrap();
        assert_eq!(full.write(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
