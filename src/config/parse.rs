//! TOML to [`Config`]: every error found at once, in the order of the lines, each with file, line, key, value, problem and fix.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::config::literal::{Fix, Wrong, assignment};
use crate::config::{Config, read, syntax};

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
pub struct Places {
    file: PathBuf,
    lines: BTreeMap<String, (usize, String)>,
}

impl fmt::Debug for Places {
    /// Two configurations that mean the same look the same.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Places")
    }
}

impl Places {
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

    /// The same, with the line to write: `write` in place of the one that is there, `add` where there is none.
    pub fn propose(&self, key: &str, problem: impl Into<String>, literal: &str, more: &str) -> ConfigError {
        let verb = if self.has(key) { "write" } else { "add" };
        let name = key.rsplit_once('.').map_or(key, |(_, name)| name);
        self.remark(key, problem, format!("{verb} {}{more}", assignment(name, literal)))
    }
}

/// The file being read, and what was found wrong in it.
pub(super) struct Reader<'a> {
    text: &'a str,
    file: &'a Path,
    errors: RefCell<Vec<ConfigError>>,
    places: RefCell<BTreeMap<String, (usize, String)>>,
    /// Sections that were read, each with the keys it knows.
    sections: RefCell<Vec<(String, BTreeSet<&'static str>)>>,
    unknown: RefCell<Vec<Unknown>>,
}

/// A key that nobody asked for.
struct Unknown {
    at: usize,
    section: String,
    key: String,
    value: String,
    is_table: bool,
    /// Keys that are there already.
    beside: BTreeSet<String>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    fn fail(&self, at: usize, key: &str, value: &str, problem: impl Into<String>, fix: impl Into<String>) {
        let error = ConfigError {
            file: self.file.to_owned(),
            line: self.line(at),
            key: on_one_line(key),
            value: value.to_owned(),
            problem: on_one_line(&problem.into()),
            fix: on_one_line(&fix.into()),
        };
        self.errors.borrow_mut().push(error);
    }

    /// A piece of the file as one short line.
    fn source(&self, span: std::ops::Range<usize>) -> String {
        let text = self.text.get(span).unwrap_or_default();
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
        on_one_line(&line)
    }

    /// Says of each unknown key which one was meant, or where it belongs. All sections are known by now.
    fn explain_unknown(&self) {
        let sections = self.sections.borrow();
        for unknown in self.unknown.borrow().iter() {
            let known = sections.iter().find(|(path, _)| *path == unknown.section).map(|(_, keys)| keys);
            let known = known.into_iter().flatten().copied();
            let path = if unknown.section.is_empty() {
                unknown.key.clone()
            } else {
                format!("{}.{}", unknown.section, unknown.key)
            };
            let home = sections.iter().find(|(path, keys)| {
                !path.is_empty() && *path != unknown.section && keys.contains(&*unknown.key)
            });
            let fix = match (nearest(&unknown.key, known.clone(), 2), home) {
                (Some(close), _) if unknown.is_table => format!("did you mean {}?", header(close)),
                (Some(close), _) if unknown.beside.contains(close) => {
                    format!("remove it: {close} is there already")
                }
                (Some(close), _) => format!("did you mean {}?", assignment(close, &unknown.value)),
                (None, Some((section, _))) => format!("it belongs in {}", header(section)),
                (None, None) => format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
            };
            self.fail(unknown.at, &path, &unknown.value, "unknown key", fix);
        }
    }
}

/// How a section begins.
fn header(path: &str) -> String {
    let name = path.split('[').next().unwrap_or(path);
    if matches!(name, "listener" | "route" | "shard") { format!("[[{name}]]") } else { format!("[{name}]") }
}

/// What a file says may hold line ends and terminal controls; an error is one plain line.
fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        let steers =
            matches!(letter, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || steers { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}

/// One table; keys nobody asked for are errors when it is dropped out of use by [`Section::finish`].
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    table: Option<&'a DeTable<'a>>,
    path: String,
    at: usize,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    fn new(reader: &'a Reader<'a>, table: Option<&'a DeTable<'a>>, path: String, at: usize) -> Section<'a> {
        if table.is_some() {
            let line = reader.line(at);
            reader.places.borrow_mut().insert(path.clone(), (line, String::new()));
        }
        Section { reader, table, path, at, known: RefCell::default() }
    }

    /// A section that the file does not have.
    pub(super) fn absent(&self, path: &str) -> Section<'a> {
        Section::new(self.reader, None, path.to_owned(), 0)
    }

    /// Where it stands: file, path as in `shard[0]`, and line.
    pub(super) fn place(&self) -> (PathBuf, String, usize) {
        (self.reader.file.to_owned(), self.path.clone(), self.reader.line(self.at))
    }

    /// The line of a key.
    pub(super) fn line(&self, key: &'static str) -> Option<usize> {
        self.get(key).map(|(_, span)| self.reader.line(span.start))
    }

    /// Whether it is there, and has no such key.
    pub(super) fn lacks(&self, key: &str) -> bool {
        self.table.is_some_and(|table| !table.contains_key(key))
    }

    /// What was found wrong so far in the whole file.
    pub(super) fn errors(&self) -> &RefCell<Vec<ConfigError>> {
        &self.reader.errors
    }

    /// Where each key stands that was asked for so far.
    pub(super) fn places(&self) -> Places {
        Places { file: self.reader.file.to_owned(), lines: self.reader.places.borrow().clone() }
    }

    /// Says what is wrong with a key that was read already, or is not there. Told of `beside` where only that is there.
    pub(super) fn fail(&self, key: &str, beside: &str, problem: &str, fix: Fix) {
        let found = |key: &str| self.table.and_then(|table| table.get(key));
        let at = found(key).or(found(beside)).map_or(self.at, |value| value.span().start);
        let value = found(key).map(|value| self.reader.source(value.span())).unwrap_or_default();
        let fix = match fix {
            Fix::Do(words) => words,
            Fix::Write(literal, more) => {
                let verb = if found(key).is_some() { "write" } else { "add" };
                format!("{verb} {}{more}", assignment(key, literal))
            }
        };
        self.reader.fail(at, &self.key(key), &value, problem, fix);
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &'static str) -> Option<(&'a DeValue<'a>, std::ops::Range<usize>)> {
        self.known.borrow_mut().insert(key);
        let value = self.table?.get(key)?;
        if !value.get_ref().is_table() {
            let place = (self.reader.line(value.span().start), self.reader.source(value.span()));
            self.reader.places.borrow_mut().insert(self.key(key), place);
        }
        Some((value.get_ref(), value.span()))
    }

    /// A value, read by `parse`; `default` where there is none or it is wrong.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&'a DeValue<'a>) -> Result<T, Wrong>,
    ) -> T {
        let Some((value, span)) = self.get(key) else { return default };
        match parse(value) {
            Ok(value) => value,
            Err(Wrong { problem, fix }) => {
                let fix = match fix {
                    Fix::Write(literal, more) => format!("write {}{more}", assignment(key, literal)),
                    Fix::Do(words) => words,
                };
                let source = self.reader.source(span.clone());
                self.reader.fail(span.start, &self.key(key), &source, problem, fix);
                default
            }
        }
    }

    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let path = self.key(key);
        match self.get(key) {
            Some((DeValue::Table(table), span)) => Section::new(self.reader, Some(table), path, span.start),
            Some((_, span)) => {
                let fix = format!("write it as [{path}] with its keys below");
                let value = self.reader.source(span.clone());
                self.reader.fail(span.start, &path, &value, "this is a section", fix);
                Section::new(self.reader, None, path, span.start)
            }
            None => Section::new(self.reader, None, path, 0),
        }
    }

    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some((value, span)) = self.get(key) else { return Vec::new() };
        let tables = value.as_array().map(|array| array.iter().collect::<Vec<_>>()).unwrap_or_default();
        if tables.is_empty() || tables.iter().any(|table| !table.get_ref().is_table()) {
            let fix = format!("write each as [[{key}]] with its keys below");
            self.reader.fail(span.start, key, "", "this is a list of sections", fix);
            return Vec::new();
        }
        let tables = tables.into_iter().enumerate();
        tables
            .map(|(number, table)| {
                let path = format!("{key}[{number}]");
                Section::new(self.reader, table.get_ref().as_table(), path, table.span().start)
            })
            .collect()
    }

    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        let beside: BTreeSet<String> =
            self.table.into_iter().flatten().map(|(key, _)| key.get_ref().to_string()).collect();
        for (key, value) in self.table.into_iter().flatten() {
            if known.contains(&**key.get_ref()) {
                continue;
            }
            let unknown = Unknown {
                at: key.span().start,
                section: self.path.clone(),
                key: key.get_ref().to_string(),
                value: self.reader.source(value.span()),
                is_table: value.get_ref().is_table()
                    || value
                        .get_ref()
                        .as_array()
                        .is_some_and(|all| all.iter().any(|one| one.get_ref().is_table())),
                beside: beside.clone(),
            };
            self.reader.unknown.borrow_mut().push(unknown);
        }
        self.reader.sections.borrow_mut().push((self.path.clone(), known.clone()));
    }
}

/// The word that is most like another one, if one is at all: at most so many letters to change, or the same parts in another order.
pub(super) fn nearest(
    word: &str,
    known: impl Iterator<Item = &'static str>,
    most: usize,
) -> Option<&'static str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let parts = |word: &str| {
        let mut parts: Vec<String> = word.split('_').map(str::to_owned).collect();
        parts.sort();
        parts
    };
    let mine = parts(&word);
    let far = |known: &&str| if parts(known) == mine { 0 } else { distance(&word, known) };
    let best = known.map(|known| (far(&known), known)).min_by_key(|(far, _)| *far)?;
    (best.0 <= most && best.0 * 2 < word.chars().count().max(2)).then_some(best.1)
}

/// Letters to change to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], place + 1);
        for (at, candidate) in other.iter().enumerate() {
            let change = corner + usize::from(letter != *candidate);
            corner = row[at + 1];
            row[at + 1] = change.min(row[at] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}

impl Config {
    /// Reads a configuration. All errors are reported, not only the first.
    pub fn parse(text: &str, file: &Path) -> Result<Config, Vec<ConfigError>> {
        let (config, errors) = Config::examine(text, file);
        match config {
            Some(config) if errors.is_empty() => Ok(config),
            _ => Err(errors),
        }
    }

    /// Reads what can be read, with defaults in place of what is wrong: what else may be wrong can be looked for all the same.
    /// No configuration: the file is no TOML.
    pub fn examine(text: &str, file: &Path) -> (Option<Config>, Vec<ConfigError>) {
        let reader = Reader {
            text,
            file,
            errors: RefCell::default(),
            places: RefCell::default(),
            sections: RefCell::default(),
            unknown: RefCell::default(),
        };
        let config = DeTable::parse(text).ok().map(|table| {
            let root = Section::new(&reader, Some(table.get_ref()), String::new(), 0);
            let mut config = read::config(&root);
            root.finish();
            reader.explain_unknown();
            config.places = root.places();
            config
        });
        if config.is_none() {
            for error in syntax::errors(text) {
                reader.fail(error.at, "", "", error.problem, error.fix);
            }
        }
        let mut errors = reader.errors.into_inner();
        errors.sort_by_key(|error| error.line);
        (config, errors)
    }

    /// What an empty file means.
    pub fn embedded() -> Config {
        Config::parse("", Path::new("(built-in defaults)")).expect("an empty configuration is valid")
    }
}

#[cfg(test)]
mod tests;
