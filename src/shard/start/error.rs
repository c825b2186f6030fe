//! Why a shard does not start.

use std::io;
use std::path::{Path, PathBuf};

use crate::shard::inbound::listener::ListenError;
use crate::spool::fold::SpoolRefusal;

/// Why a shard does not start.
#[derive(Debug)]
pub enum StartError {
    /// The directory of a lane cannot be made or read.
    Lane(PathBuf, io::Error),
    /// A file of a lane cannot be opened.
    Unopened(PathBuf, io::Error),
    /// A lane is not what this version may go on with.
    Refused(PathBuf, SpoolRefusal),
    /// A listener cannot be opened.
    Listen(ListenError),
    /// The thread of this shard ended before it had started.
    Ended(usize),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Lane(path, error) => write!(formatter, "{}: {error}", path.display()),
            StartError::Unopened(path, error) => formatter.write_str(&unopened(path, error)),
            StartError::Refused(path, refusal) => write!(formatter, "{}: {refusal}", path.display()),
            StartError::Listen(error) => write!(formatter, "{error}"),
            StartError::Ended(index) => write!(formatter, "shard {index} ended before it had started"),
        }
    }
}

/// A file of a lane that cannot be opened, with what to do.
pub(crate) fn unopened(path: &Path, error: &io::Error) -> String {
    let fix = match error.kind() {
        io::ErrorKind::PermissionDenied => "let the relay's user read and write it",
        io::ErrorKind::NotFound => "it is a link to nothing: bring back what it names",
        io::ErrorKind::NotADirectory => "move it away, or bring back the lane",
        _ if error.raw_os_error() == Some(libc::EMFILE) => {
            "raise RLIMIT_NOFILE: `ulimit -n 65536`, or LimitNOFILE=65536 in the systemd unit"
        }
        _ if error.raw_os_error() == Some(libc::ENFILE) => {
            "the whole machine has too many files open: raise fs.file-max (sysctl)"
        }
        _ => "mend what keeps it from being opened; its mail is not safe to start without",
    };
    format!("{}: {error}; {fix}", path.display())
}
