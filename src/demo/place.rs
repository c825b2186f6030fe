//! What both demonstrations have: a directory, somebody to read what is printed, and an end.

use std::path::{Path, PathBuf};

use relevo::runtime::process::{self, Signal};

use crate::commands::output;

/// The demonstration's directory, removed at its end.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch(std::env::temp_dir().join(format!("relevo-demo-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Standard output. What cannot be written any more stops nothing here: the relay is stopped in order first.
#[derive(Default)]
pub(super) struct Printer(Option<std::io::Error>);

impl Printer {
    pub(super) fn line(&mut self, words: std::fmt::Arguments<'_>) {
        if self.0.is_none() {
            self.0 = output::print(format_args!("{words}\n")).err();
        }
    }

    /// Whether all could be written so far.
    pub(super) fn is_sound(&self) -> bool {
        self.0.is_none()
    }

    /// Whether all of it was written.
    pub(super) fn end(&mut self) -> std::io::Result<()> {
        self.0.take().map_or(Ok(()), Err)
    }
}

/// A disk in memory makes syncs free, and the figures better than they are.
pub(super) fn disk_words(directory: &Path) -> &'static str {
    let mut path = directory;
    while !path.exists() {
        match path.parent() {
            Some(parent) => path = parent,
            None => break,
        }
    }
    if process::is_memory_file_system(path) {
        " (in memory: syncs cost nothing here; set TMPDIR to a real disk)"
    } else {
        ""
    }
}

/// Whether a signal leaves the demonstration to its time: there is no log to open again and nothing to reload.
pub(super) fn goes_on(signal: Option<Signal>) -> bool {
    signal != Some(Signal::Stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stop_ends_the_demonstration() {
        for signal in [None, Some(Signal::Reload), Some(Signal::Reopen), Some(Signal::Upgrade)] {
            assert!(goes_on(signal), "{signal:?}");
        }
        assert!(!goes_on(Some(Signal::Stop)));
    }
}
