//! The files of the original, within bounds. Whoever calls reads them: nothing here touches a disk.

use std::fmt;

use crate::limits;

/// Why nothing was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// Where.
    pub file: String,
    /// From 1; 0: the file as such.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub problem: String,
}

impl ImportError {
    pub(super) fn new(file: &str, line: usize, problem: impl Into<String>) -> ImportError {
        ImportError { file: file.to_owned(), line, problem: problem.into() }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.file, self.problem),
            line => write!(formatter, "{}:{line}: {}", self.file, self.problem),
        }
    }
}

/// Reads a file, at most so many bytes; or says why not.
pub type Fetch<'a> = &'a mut dyn FnMut(&str, u64) -> Result<Vec<u8>, String>;

/// Files by their paths, as the original names them.
pub struct Library<'a> {
    fetch: Fetch<'a>,
    files: usize,
    bytes: u64,
}

/// Why there is no text.
#[derive(Debug)]
pub enum Missing {
    /// It cannot be read: the words of the system.
    Unread(String),
    /// It may not be used.
    Broken(ImportError),
}

impl Missing {
    /// As an error about a file that must be there.
    pub(super) fn needed(self, file: &str) -> ImportError {
        match self {
            Missing::Unread(words) => ImportError::new(file, 0, words),
            Missing::Broken(error) => error,
        }
    }
}

impl<'a> Library<'a> {
    /// One that reads by this.
    pub fn new(fetch: Fetch<'a>) -> Library<'a> {
        Library { fetch, files: 0, bytes: 0 }
    }

    /// The text of a file. Bytes that are no UTF-8 are replaced.
    pub fn text(&mut self, path: &str) -> Result<String, Missing> {
        let broken = |line, words: String| Missing::Broken(ImportError::new(path, line, words));
        self.files += 1;
        if self.files > limits::IMPORT_FILES_MAX {
            return Err(broken(0, format!("more than {} files are named", limits::IMPORT_FILES_MAX)));
        }
        let bytes = (self.fetch)(path, limits::IMPORT_FILE_MAX).map_err(Missing::Unread)?;
        self.bytes += bytes.len() as u64;
        if bytes.len() as u64 > limits::IMPORT_FILE_MAX || self.bytes > limits::IMPORT_TOTAL_MAX {
            return Err(broken(0, format!("more than {} bytes in all", limits::IMPORT_TOTAL_MAX)));
        }
        if let Some(place) = bytes.iter().position(|byte| *byte == 0) {
            let line = 1 + bytes[..place].iter().filter(|byte| **byte == b'\n').count();
            return Err(broken(line, "a NUL: this is no text; is it the right file?".to_owned()));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
