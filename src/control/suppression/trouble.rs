//! Why the list's file could not be read or written.

use std::fmt;
use std::io;

use crate::limits;
use crate::policy::suppression::layout::BadFile;

/// Why the list's file could not be read or written.
#[derive(Debug)]
pub enum Trouble {
    /// The disk did not do it.
    Io(io::Error),
    /// The file is not what it should be.
    Bad(BadFile),
    /// The list is as long as it may be.
    Full,
    /// There is no room for a new file: bytes that are free, and wanted.
    NoRoom(u64, u64),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Io(error) => write!(formatter, "{error}"),
            Trouble::Bad(bad) => write!(formatter, "{bad}"),
            Trouble::Full => {
                write!(formatter, "the list would have more than {} entries", limits::SUPPRESSION_ENTRIES_MAX)
            }
            Trouble::NoRoom(free, wanted) => {
                write!(
                    formatter,
                    "a new file may need {wanted} bytes, and {free} are free beside the old one"
                )
            }
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

impl From<BadFile> for Trouble {
    fn from(bad: BadFile) -> Trouble {
        Trouble::Bad(bad)
    }
}
