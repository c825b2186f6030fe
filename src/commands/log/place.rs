//! Which log, and each line of it.

use std::io;
use std::path::PathBuf;

use clap::Args;
use relevo::check::DEFAULT_PATH;
use relevo::config::LogConfig;
use relevo::control::logged::files::{Lines, Take, open};
use relevo::control::logged::filter::Wanted;

use super::super::check::load;
use super::super::output::{Failure, WRONG_USE, complain};

/// Which log.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The configuration whose first [log] in JSON is meant.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, conflicts_with = "log")]
    config: PathBuf,
    /// A log, in place of that of a configuration.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

impl Place {
    /// Its file.
    pub fn log(&self) -> Result<PathBuf, Failure> {
        if let Some(log) = &self.log {
            return Ok(log.clone());
        }
        let config = load(&self.config).map_err(|error| Failure(WRONG_USE, error.to_string()))?;
        LogConfig::first_json(&config.logs).map(PathBuf::from).ok_or_else(|| {
            let file = self.config.display();
            let words =
                format!("{file}: no [log] there writes JSON to a file: name one by --log, or give it one");
            Failure(WRONG_USE, words)
        })
    }
}

/// Gives every line of these files that is wanted to `take`, until that says that it has enough (false).
pub fn each(files: &[PathBuf], wanted: &Wanted, take: &mut Take<'_, Failure>) -> Result<(), Failure> {
    for path in files {
        let mut lines = Lines::default();
        let mut reader = match open(path, 0, &mut || true) {
            Ok(reader) => reader,
            // Removed, or compressed, in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                complain!("{}: {error}", path.display());
                continue;
            }
        };
        loop {
            match lines.fill(&mut *reader) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    // What is whole before that counts.
                    complain!("{}: {error}; what is behind that is not read", path.display());
                    break;
                }
            }
            if !lines.each(wanted, take)? {
                return Ok(());
            }
        }
        if lines.long > 0 {
            complain!("{}: {} lines are too long for events", path.display(), lines.long);
        }
    }
    Ok(())
}
