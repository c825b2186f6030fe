//! A socket of this machine, by the path of its file.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::limits;
use crate::runtime::given::{self, At, Listed, Taken};
use crate::runtime::process;

/// Why it cannot be served. The operator's to mend.
#[derive(Debug)]
pub enum LocalError {
    /// Another process answers there.
    InUse,
    /// There is a file of that name, and it is no socket.
    NotASocket,
    /// What stands there now is not what was made: somebody else changes the directory.
    Replaced,
    /// Another process keeps its directory locked.
    Locked,
    /// The kernel refuses.
    Io(io::Error),
}

impl fmt::Display for LocalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::InUse => formatter.write_str("another process serves there"),
            LocalError::NotASocket => formatter.write_str("there is a file of that name which is no socket"),
            LocalError::Replaced => {
                formatter.write_str("others change this directory: only the relay's user may write it")
            }
            LocalError::Locked => formatter.write_str("another process keeps this directory locked"),
            LocalError::Io(error) => error.fmt(formatter),
        }
    }
}

impl From<LocalError> for io::Error {
    fn from(error: LocalError) -> io::Error {
        match error {
            LocalError::InUse => io::ErrorKind::AddrInUse.into(),
            LocalError::Io(error) => error,
            other => io::Error::new(io::ErrorKind::AlreadyExists, other.to_string()),
        }
    }
}

impl From<io::Error> for LocalError {
    fn from(error: io::Error) -> LocalError {
        LocalError::Io(error)
    }
}

/// A listening socket, whose file goes with it.
#[derive(Debug)]
pub struct Local {
    /// The socket.
    pub listener: UnixListener,
    path: PathBuf,
    /// By device and number; None: it is a supervisor's.
    file: Option<(u64, u64)>,
}

/// Opens it, for this process's user alone: nobody can connect before that is so. What an earlier process left there is replaced; what it was
/// given, or handed over, it takes as it is.
pub fn listen(path: &Path, backlog: i32) -> Result<Local, LocalError> {
    match given::take_alone(&At::Path(path.to_owned()))? {
        Some(Taken::Shared(fd)) => Ok(Local { listener: fd.into(), path: path.to_owned(), file: None }),
        Some(Taken::Own(mut all, file)) => {
            let fd = all.pop().ok_or(io::Error::from(io::ErrorKind::NotFound))?;
            Ok(Local { listener: fd.into(), path: path.to_owned(), file })
        }
        None => open(path, backlog, Mode::RUSR | Mode::WUSR),
    }
}

/// Opens it for this process's group too.
pub(super) fn open_for_group(path: &Path, backlog: i32) -> Result<Local, LocalError> {
    open(path, backlog, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP)
}

/// Lets the group in, whatever the umask of the process left out: Linux takes that off the mode that a socket has when it gets its name. By a
/// descriptor, so that no link is followed.
fn let_in(path: &Path, mode: Mode) -> Result<(), LocalError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let found = rustix::fs::fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return Err(LocalError::Replaced);
    }
    let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(std::fs::set_permissions(by_descriptor, std::fs::Permissions::from_mode(mode.bits()))?)
}

fn open(path: &Path, backlog: i32, mode: Mode) -> Result<Local, LocalError> {
    // Two that start at once do not take each other's socket for one that is left.
    let _alone = alone_in(path)?;
    let socket = bind(path, mode)?;
    if mode.contains(Mode::WGRP) {
        let_in(path, mode)?;
    }
    let found = std::fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() || found.permissions().mode() & 0o777 & !mode.bits() != 0 {
        return Err(LocalError::Replaced);
    }
    let served =
        Local { listener: socket.into(), path: path.to_owned(), file: Some((found.dev(), found.ino())) };
    socket2::SockRef::from(&served.listener).listen(backlog)?;
    Ok(served)
}

/// Gives a socket its name. Linux makes the file with the mode that the socket has by then: to set it by the path would follow a link, where
/// somebody who may write the directory puts one in its place.
fn bind(path: &Path, mode: Mode) -> Result<socket2::Socket, LocalError> {
    let address = socket2::SockAddr::unix(path)?;
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    rustix::fs::fchmod(&socket, mode).map_err(io::Error::from)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error.into());
        }
        take_away(path)?;
        socket.bind(&address)?;
    }
    Ok(socket)
}

/// The lock of a socket's directory, for as long as it is held; others hold it as shortly. One that cannot be read is not locked: who may not read it
/// hardly shares it. Nor is one that this process has locked already.
fn alone_in(path: &Path) -> Result<Option<std::fs::File>, LocalError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(directory) = std::fs::File::open(directory) else { return Ok(None) };
    if process::is_ours(&directory) {
        return Ok(None);
    }
    for _ in 0..limits::SOCKET_LOCK_LOOKS {
        match rustix::fs::flock(&directory, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(directory)),
            Err(rustix::io::Errno::WOULDBLOCK) => process::pause(limits::SOCKET_LOCK_LOOK),
            // A file system that locks no directories.
            Err(_) => return Ok(None),
        }
    }
    Err(LocalError::Locked)
}

/// Whether [`listen`] could be done there now. Nothing is made or taken away.
pub fn probe(path: &Path) -> Result<(), LocalError> {
    if given::is_there(&At::Path(path.to_owned())) {
        return Ok(());
    }
    socket2::SockAddr::unix(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(_) => look(path).map(drop)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !std::fs::metadata(directory)?.is_dir() {
        return Err(LocalError::Io(io::ErrorKind::NotADirectory.into()));
    }
    Ok(process::may_write(directory)?)
}

/// Connects to one.
pub async fn connect(path: &Path) -> io::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(path).await
}

/// A file that nobody serves any more.
fn take_away(path: &Path) -> Result<(), LocalError> {
    if look(path)? { Ok(std::fs::remove_file(path)?) } else { Ok(()) }
}

/// Whether a socket that nobody serves any more stands there. One that is served, and what is no socket, is in the way.
fn look(path: &Path) -> Result<bool, LocalError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(LocalError::NotASocket),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    // Without a wait: who serves it may take nobody in just now.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&socket2::SockAddr::unix(path)?) {
        Ok(()) => Err(LocalError::InUse),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(LocalError::InUse),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error.into()),
    }
}

impl Local {
    /// Says that it is open, so that it can be handed on.
    pub fn listed(&self) -> io::Result<Listed> {
        given::listed_here(At::Path(self.path.clone()), self.file, &self.listener)
    }

    /// The socket, to be served, and what takes its file away.
    pub fn into_parts(self) -> (UnixListener, File) {
        (self.listener, File { path: self.path, file: self.file })
    }
}

/// The file of a socket, taken away when this is dropped, unless it is another's by now.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: Option<(u64, u64)>,
}

impl File {
    /// That of a socket which an earlier process opened.
    pub(super) fn known(path: &Path, file: (u64, u64)) -> File {
        File { path: path.to_owned(), file: Some(file) }
    }

    /// By device and number.
    pub(super) fn number(&self) -> Option<(u64, u64)> {
        self.file
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.file.is_none() || given::is_handed_on() {
            return;
        }
        let found = std::fs::symlink_metadata(&self.path).ok().map(|found| (found.dev(), found.ino()));
        if found == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// unix(7): a connection that finds the queue full waits for a place, for as long as nobody takes one.
    #[test]
    fn one_that_takes_nobody_in_is_served_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let _busy = listen(&path, 0).unwrap();
        let _waits = UnixStream::connect(&path).unwrap();
        assert!(matches!(listen(&path, 8), Err(LocalError::InUse)));
    }

    /// A data directory is locked by the process that makes the control socket in it.
    #[test]
    fn a_locked_directory_is_waited_for_unless_we_have_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let ours = process::lock_directory(directory.path()).unwrap();
        drop(listen(&path, 8).unwrap());
        drop(ours);
        let other = std::fs::File::open(directory.path()).unwrap();
        rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(matches!(listen(&path, 8), Err(LocalError::Locked)));
        drop(other);
        assert!(listen(&path, 8).is_ok());
    }

    /// Nobody looks it up by its name to set its mode: by then another file may have that name.
    #[test]
    fn its_file_is_made_with_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("control.sock"), directory.path().join("other"));
        let bound = bind(&path, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(bound);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(matches!(listen(&path, 8), Err(LocalError::NotASocket)));
    }

    #[test]
    fn it_is_for_its_user_alone_and_what_is_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let first = listen(&path, 8).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(listen(&path, 8), Err(LocalError::InUse)), "it is served");
        // As after a kill.
        drop(first.listener);
        let (second, file) = listen(&path, 8).unwrap().into_parts();
        UnixStream::connect(&path).unwrap();
        drop((second, file));
        assert!(!path.exists(), "it is taken away");
        std::fs::write(&path, "not ours").unwrap();
        assert!(matches!(listen(&path, 8), Err(LocalError::NotASocket)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not ours");
        let long = directory.path().join("x".repeat(crate::limits::SOCKET_PATH_MAX));
        assert!(matches!(listen(&long, 8), Err(LocalError::Io(_))));
    }

    #[test]
    fn one_for_the_group_is_for_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        let _served = open_for_group(&path, 8).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o660, "whatever the umask is");
    }

    /// Each may have seen the file that an earlier process left: only one of them takes it away.
    #[test]
    fn of_many_that_start_at_once_one_serves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        drop(listen(&path, 8).unwrap().listener);
        let start = std::sync::Barrier::new(8);
        let served: Vec<_> = std::thread::scope(|scope| {
            let one = || {
                start.wait();
                listen(&path, 8).ok()
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(served.len(), 1);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn the_file_of_another_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let (listener, file) = listen(&path, 8).unwrap().into_parts();
        std::fs::remove_file(&path).unwrap();
        let other = listen(&path, 8).unwrap();
        drop((listener, file));
        assert!(path.exists());
        drop(other);
    }
}
