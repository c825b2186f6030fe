//! The file of those who may ask control over HTTP.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::policy::tokens::{Tokens, TokensError};
use crate::runtime::files;

/// Why it cannot be used.
#[derive(Debug)]
pub struct BadTokens {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub flaw: TokensFlaw,
}

/// What is wrong with it.
#[derive(Debug)]
pub enum TokensFlaw {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is no text.
    NotUtf8,
    /// A line of it makes no sense.
    Line(TokensError),
}

impl fmt::Display for BadTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.flaw)
    }
}

impl fmt::Display for TokensFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FIX: &str = "set control.tokens to a readable file, as `relevo token add` makes it";
        match self {
            TokensFlaw::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(formatter, "{error}; let the relay's user read it, and nobody else but root")
            }
            TokensFlaw::Unreadable(error) => write!(formatter, "{error}; {FIX}"),
            TokensFlaw::NotUtf8 => write!(formatter, "this is not UTF-8; {FIX}"),
            TokensFlaw::Line(error) => write!(formatter, "{error}; mend the line, or remove it"),
        }
    }
}

/// Reads it.
pub(super) fn read(path: &Path) -> Result<Tokens, BadTokens> {
    let bad = |flaw| BadTokens { path: path.to_owned(), flaw };
    let bytes = files::read_whole(path, limits::TOKENS_FILE_MAX)
        .map_err(|error| bad(TokensFlaw::Unreadable(error)))?;
    let text = String::from_utf8(bytes).map_err(|_| bad(TokensFlaw::NotUtf8))?;
    Tokens::parse(&text).map_err(|error| bad(TokensFlaw::Line(error)))
}
