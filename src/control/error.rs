//! Why control does not start: what cannot be had, and what to set instead.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::control::suppression::KeepError;
use crate::runtime::local::LocalError;

/// Why control does not start.
#[derive(Debug)]
pub enum StartError {
    /// The journal of events cannot be kept in this directory.
    Journal(PathBuf, io::Error),
    /// A log cannot be written: its section, and where it is to go; None is standard output.
    Log(String, Option<PathBuf>, io::Error),
    /// HTTP cannot be served there.
    Http(SocketAddr, io::Error),
    /// Commands cannot be answered there.
    Socket(PathBuf, LocalError),
    /// The suppression list cannot be had.
    Suppression(KeepError),
    /// A thread cannot be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Journal(path, error) => write!(
                formatter,
                "cannot keep the journal of events in {}: {error}; make it a directory that this user may write",
                path.display()
            ),
            StartError::Log(section, path, error) => write!(
                formatter,
                "cannot write the log {}: {error}; make its directory writable, or set {section}.path to a file that this user may write, or \
                 to \"-\" for standard output",
                path.as_deref().unwrap_or("-".as_ref()).display()
            ),
            StartError::Http(address, error) => write!(
                formatter,
                "cannot serve HTTP on {address}: {error}; set control.http to a free address, or to \"\""
            ),
            StartError::Socket(path, error) => write!(
                formatter,
                "cannot serve commands at {}: {error}; set control.socket to a path that this user may make, or to \"\"",
                path.display()
            ),
            StartError::Suppression(error) => write!(formatter, "{error}"),
            StartError::Thread(error) => write!(formatter, "cannot start a thread: {error}"),
        }
    }
}
