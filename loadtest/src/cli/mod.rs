//! What the commands have in common.

pub mod run;
pub mod send;
pub mod sink;

use std::io;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use relevo_load::{complain, say, sys};

/// How often the live line changes.
pub const TICK: Duration = Duration::from_millis(200);

/// Many connections need many descriptors.
pub fn prepare() {
    if let Err(error) = sys::raise_open_files() {
        complain!("relevo-load: the limit on open files stays as it is: {error}");
    }
}

/// A line that is written over.
pub fn live_line() -> ProgressBar {
    let line = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}") {
        line.set_style(style);
    }
    line.enable_steady_tick(TICK);
    line
}

/// A rate per second from a counter read once a tick.
pub fn per_tick(count: u64, before: &mut u64) -> u64 {
    let more = count.saturating_sub(*before);
    *before = count;
    more * 1000 / TICK.as_millis() as u64
}

pub fn table(rows: &[(&str, u64)]) -> io::Result<()> {
    for (name, value) in rows {
        say!("{name:<16}{value:>12}");
    }
    Ok(())
}

/// An error of what was asked for, with the word that is wrong.
pub fn invalid(word: &str, problem: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("`{word}`: {problem}"))
}
