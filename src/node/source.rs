//! The configuration file as text.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{ConfigError, value};
use crate::limits;
use crate::runtime::{files, process};

/// Why a configuration file is no text: the operator's to mend.
#[derive(Debug)]
pub enum ReadError {
    /// There is none where it is unless said otherwise.
    NoDefault(PathBuf),
    /// It has more than [`limits::CONFIG_MAX`] bytes.
    TooLarge(PathBuf),
    /// The kernel's refusal.
    Io(PathBuf, io::Error),
    /// In this line it is no UTF-8.
    NotUtf8(PathBuf, usize),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const FIX: &str = "give the path of a configuration file";
        match self {
            ReadError::NoDefault(path) => write!(
                formatter,
                "{} is not there; {FIX} (--config FILE), or start from deploy/relevo.toml",
                path.display()
            ),
            ReadError::TooLarge(path) => {
                let most = value::show_size(limits::CONFIG_MAX);
                write!(formatter, "{}: more than {most}; {FIX}", path.display())
            }
            ReadError::Io(path, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let (user, _) = process::user();
                write!(formatter, "{}: {error}; let this user ({user}) read it", path.display())
            }
            ReadError::Io(path, error) => write!(formatter, "{}: {error}; {FIX}", path.display()),
            ReadError::NotUtf8(path, line) => {
                write!(formatter, "{}:{line}: this is not UTF-8; save the file as UTF-8", path.display())
            }
        }
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    /// The same as an error of the configuration, of a relay that runs.
    pub fn told(self) -> ConfigError {
        let (file, line, problem, fix) = match self {
            ReadError::NoDefault(path) => (path, 0, "it is not there".to_owned(), "put it back"),
            ReadError::TooLarge(path) => {
                let problem = format!("more than {}", value::show_size(limits::CONFIG_MAX));
                (path, 0, problem, "put the configuration file there")
            }
            ReadError::Io(path, error) => (path, 0, error.to_string(), "let the relay's user read it"),
            ReadError::NotUtf8(path, line) => {
                (path, line, "this is not UTF-8".to_owned(), "save the file as UTF-8")
            }
        };
        ConfigError { file, line, key: String::new(), value: String::new(), problem, fix: fix.to_owned() }
    }
}

/// A file that is named on a command line or is the default, as text.
pub fn read(path: &Path) -> Result<String, ReadError> {
    let at = path.to_owned();
    let bytes = match files::read_whole(path, limits::CONFIG_MAX) {
        Ok(bytes) => bytes,
        Err(error) => {
            return Err(match error.kind() {
                io::ErrorKind::NotFound if path == Path::new(DEFAULT_PATH) => ReadError::NoDefault(at),
                io::ErrorKind::FileTooLarge => ReadError::TooLarge(at),
                _ => ReadError::Io(at, error),
            });
        }
    };
    String::from_utf8(bytes).map_err(|error| {
        let at_byte = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at_byte].iter().filter(|byte| **byte == b'\n').count() + 1;
        ReadError::NotUtf8(at, line)
    })
}

/// Where the configuration is unless said otherwise.
pub const DEFAULT_PATH: &str = "/etc/relevo/relevo.toml";
