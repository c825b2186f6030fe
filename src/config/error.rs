//! What is wrong in a configuration, and where.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::literal::assignment;
use crate::limits;

/// One thing that is wrong, or doubtful, in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 when it is about something the file does not say.
    pub line: usize,
    /// The key, as in `listener[0].address`; empty when the file is no TOML.
    pub key: String,
    /// What stands there, as TOML; empty when nothing does.
    pub value: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(formatter, "{}:", self.line)?;
        }
        formatter.write_str(" ")?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        write!(formatter, "{}; {}", self.problem, self.fix)
    }
}

/// Where each key of the file stands, for what is found out later: by `check`, or at the start.
#[derive(Clone, Default)]
pub struct KeyLines {
    pub(super) file: PathBuf,
    pub(super) lines: BTreeMap<String, (usize, String)>,
}

impl fmt::Debug for KeyLines {
    /// Two configurations that mean the same look the same.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Places")
    }
}

impl KeyLines {
    /// Whether the file has this key.
    pub fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// Something that is wrong with a key. It is told of the section where the key is not there.
    pub fn remark(&self, key: &str, problem: impl Into<String>, fix: impl Into<String>) -> ConfigError {
        let above = key.rsplit_once('.').map_or("", |(section, _)| section);
        let (line, value) = match self.lines.get(key) {
            Some((line, value)) => (*line, value.clone()),
            // Of the machine, not of a line.
            None if key.is_empty() => (0, String::new()),
            None => (self.lines.get(above).map_or(0, |(line, _)| *line), String::new()),
        };
        let (problem, fix) = (on_one_line(&problem.into()), on_one_line(&fix.into()));
        ConfigError { file: self.file.clone(), line, key: key.to_owned(), value, problem, fix }
    }

    /// An error of a start as one of the configuration: what is wrong, and behind the last semicolon what to do.
    pub fn told(&self, key: &str, words: &str) -> ConfigError {
        let (problem, fix) =
            words.rsplit_once("; ").or(words.rsplit_once(": ")).unwrap_or((words, "mend it"));
        self.remark(key, problem, fix)
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The same, with the line to write: `write` in place of the one that is there, `add` where there is none.
    pub fn propose(&self, key: &str, problem: impl Into<String>, literal: &str, more: &str) -> ConfigError {
        let verb = if self.has(key) { "write" } else { "add" };
        let name = key.rsplit_once('.').map_or(key, |(_, name)| name);
        self.remark(key, problem, format!("{verb} {}{more}", assignment(name, literal)))
    }
}

/// A piece of a file as one short line.
pub(crate) fn excerpt(text: &str, span: Range<usize>) -> String {
    let words: Vec<_> = text.get(span).unwrap_or_default().split_whitespace().collect();
    let line: String = words.join(" ").chars().take(limits::CONFIG_SOURCE_MAX).collect();
    on_one_line(&line)
}

/// What a file says may hold line ends and terminal controls; an error is one plain line.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        let steers =
            matches!(letter, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || steers { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}
