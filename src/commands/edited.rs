//! Files that a command lists and changes, and a reload puts in force: accounts, tokens.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use relevo::config::Config;
use relevo::runtime::files;
use relevo::runtime::replace::{self, Unchanged};

use super::output::{Failure, NO, WRONG_USE};

/// The file that a command means: itself, or as the configuration names it by this key.
pub fn path(
    itself: Option<&PathBuf>,
    config: Option<&Path>,
    named: impl FnOnce(Config) -> Option<PathBuf>,
    (key, option): (&str, &str),
) -> Result<PathBuf, Failure> {
    if let Some(path) = itself {
        return Ok(path.clone());
    }
    let path = config.unwrap_or(Path::new(relevo::check::DEFAULT_PATH));
    let words = || format!("{}: {key} names no file; set it, or give {option} FILE", path.display());
    // What it names may be what is to be made.
    let config = super::check::load(path).map_err(|error| Failure(WRONG_USE, error.to_string()))?;
    named(config).ok_or_else(|| Failure(WRONG_USE, words()))
}

/// Writes the file anew, at most so many bytes, or leaves it as it was.
pub fn change<E: Display>(
    path: &Path,
    most: u64,
    edit: impl FnOnce(&str) -> Result<String, E>,
) -> Result<(), Failure> {
    let changed = replace::change_text(path, (most, replace::Missing::Made), edit);
    changed.map(drop).map_err(|unchanged| {
        let code = if matches!(unchanged, Unchanged::File(_)) { WRONG_USE } else { NO };
        Failure(code, format!("{}: {unchanged}", path.display()))
    })
}

/// What it has, as `parse` reads it.
pub fn read<T, E: Display>(
    path: &Path,
    most: u64,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Failure> {
    let wrong = |words: String| Failure(WRONG_USE, format!("{}: {words}", path.display()));
    let bytes = files::read_whole(path, most).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is no UTF-8".to_owned()))?;
    parse(&text).map_err(|error| wrong(error.to_string()))
}
