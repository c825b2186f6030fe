//! Why the file of decisions did not do what it was to do.

use std::fmt;
use std::io;

use rusqlite::ErrorCode;

/// Why the file did not do what it was to do.
#[derive(Debug)]
pub enum StoreError {
    /// It is not open, as was said.
    Closed,
    /// It cannot be opened, read or written.
    Database(rusqlite::Error),
    /// It is damaged.
    Damaged(String),
    /// A later version wrote it.
    Newer(i64),
    /// Something else has its name.
    NoFile,
    /// It cannot be put aside.
    Io(io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Closed => formatter.write_str("it could not be opened"),
            StoreError::Database(error) => write!(formatter, "{error}"),
            StoreError::Damaged(what) => write!(formatter, "it is damaged: {what}"),
            StoreError::Newer(version) => {
                write!(formatter, "a later version of relevo wrote it (its schema is {version})")
            }
            StoreError::NoFile => formatter.write_str("it is no plain file; remove it"),
            StoreError::Io(error) => write!(formatter, "{error}"),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Damaged(error.to_string())
            }
            _ => StoreError::Database(error),
        }
    }
}
