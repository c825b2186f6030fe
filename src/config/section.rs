//! The tables of a file: what was asked of each, and what nobody asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::config::error::{ConfigError, KeyLines, excerpt, on_one_line};
use crate::config::literal::{Fix, Wrong, assignment};
use crate::config::nearest::nearest;

/// The file being read, and what was found wrong in it.
pub(super) struct Reader<'a> {
    text: &'a str,
    /// Where its lines end.
    ends: Vec<usize>,
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

impl<'a> Reader<'a> {
    /// Of the text of a file.
    pub(super) fn new(text: &'a str, file: &'a Path) -> Reader<'a> {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Reader {
            text,
            ends,
            file,
            errors: RefCell::default(),
            places: RefCell::default(),
            sections: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// All that was found wrong, in the order of the lines.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|error| error.line);
        errors
    }

    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    /// Something is wrong at this place of the text.
    pub(super) fn fail(
        &self,
        at: usize,
        key: &str,
        value: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
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

    fn excerpt(&self, span: std::ops::Range<usize>) -> String {
        excerpt(self.text, span)
    }

    /// Says of each unknown key which one was meant, or where it belongs. All sections are known by now.
    pub(super) fn explain_unknown(&self) {
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
                (Some(close), _) if unknown.value.is_empty() => format!("did you mean {close}?"),
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
    if matches!(
        name,
        "listener" | "route" | "rule" | "source" | "pool" | "shard" | "tenant" | "warmup" | "dkim.key"
    ) {
        format!("[[{name}]]")
    } else {
        format!("[{name}]")
    }
}

/// The section whose values no error shows.
const SECRETS: &str = "credentials";

/// One table; keys nobody asked for are errors when it is dropped out of use by [`Section::finish`].
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    table: Option<&'a DeTable<'a>>,
    path: String,
    at: usize,
    known: RefCell<BTreeSet<&'static str>>,
    /// What stands in it is repeated nowhere: it may be a password in the wrong place.
    hides: bool,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        reader: &'a Reader<'a>,
        table: Option<&'a DeTable<'a>>,
        path: String,
        at: usize,
    ) -> Section<'a> {
        if table.is_some() {
            let line = reader.line(at);
            reader.places.borrow_mut().insert(path.clone(), (line, String::new()));
        }
        let hides = path == SECRETS || path.strip_prefix(SECRETS).is_some_and(|rest| rest.starts_with('.'));
        Section { reader, table, path, at, known: RefCell::default(), hides }
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
    pub(super) fn places(&self) -> KeyLines {
        KeyLines { file: self.reader.file.to_owned(), lines: self.reader.places.borrow().clone() }
    }

    /// Says what is wrong with a key that was read already, or is not there. Told of `beside` where only that is there.
    pub(super) fn fail(&self, key: &str, beside: &str, problem: &str, fix: Fix) {
        let found = |key: &str| self.table.and_then(|table| table.get(key));
        let at = found(key).or(found(beside)).map_or(self.at, |value| value.span().start);
        let value = found(key).map(|value| self.excerpt(value.span())).unwrap_or_default();
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

    /// What stands there, as far as that may be shown.
    fn excerpt(&self, span: std::ops::Range<usize>) -> String {
        if self.hides { String::new() } else { self.reader.excerpt(span) }
    }

    /// Whether it has this key, which is known by now.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Its keys, each a section, whatever they are called.
    pub(super) fn named(&self) -> Vec<(String, Section<'a>)> {
        let section =
            |(key, value): (&'a toml::Spanned<std::borrow::Cow<'a, str>>, &'a toml::Spanned<DeValue<'a>>)| {
                let (name, at) = (key.get_ref().to_string(), value.span().start);
                let path = self.key(&name);
                let table = value.get_ref().as_table();
                if table.is_none() {
                    let fix = format!("write it as [{path}] with its keys below");
                    self.reader.fail(at, &path, "", "this is a section", fix);
                }
                table.map(|table| (name, Section::new(self.reader, Some(table), path, at)))
            };
        self.table.into_iter().flatten().filter_map(section).collect()
    }

    fn get(&self, key: &'static str) -> Option<(&'a DeValue<'a>, std::ops::Range<usize>)> {
        self.known.borrow_mut().insert(key);
        let value = self.table?.get(key)?;
        if !value.get_ref().is_table() {
            let place = (self.reader.line(value.span().start), self.excerpt(value.span()));
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
                let fix = fix.of_key(key);
                let value = self.excerpt(span.clone());
                self.reader.fail(span.start, &self.key(key), &value, problem, fix);
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
                let value = self.reader.excerpt(span.clone());
                self.reader.fail(span.start, &path, &value, "this is a section", fix);
                Section::new(self.reader, None, path, span.start)
            }
            None => Section::new(self.reader, None, path, 0),
        }
    }

    /// The tables of a key that may be one or several: its sections, none where it is an empty list. None: it is not there.
    pub(super) fn one_or_more(&self, key: &'static str) -> Option<Vec<Section<'a>>> {
        let (value, _) = self.get(key)?;
        match value.as_array() {
            None => Some(vec![self.section(key)]),
            Some(array) if array.is_empty() => Some(Vec::new()),
            Some(_) => Some(self.sections(key)),
        }
    }

    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some((value, span)) = self.get(key) else { return Vec::new() };
        let tables = value.as_array().map(|array| array.iter().collect::<Vec<_>>()).unwrap_or_default();
        if tables.is_empty() || tables.iter().any(|table| !table.get_ref().is_table()) {
            let fix = format!("write each as [[{}]] with its keys below", self.key(key));
            self.reader.fail(span.start, &self.key(key), "", "this is a list of sections", fix);
            return Vec::new();
        }
        let tables = tables.into_iter().enumerate();
        tables
            .map(|(number, table)| {
                let path = format!("{}[{number}]", self.key(key));
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
                value: self.excerpt(value.span()),
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
