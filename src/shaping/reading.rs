//! A file while it is read: where each thing stands, and what is wrong with it.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeValue;

use crate::config::ConfigError;
use crate::config::error::{excerpt, on_one_line};
use crate::config::literal::Wrong;
use crate::limits;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLine {
    /// The file.
    pub file: Arc<Path>,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for FileLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file.display(), self.line)
    }
}

impl FileLine {
    /// Something that is wrong here.
    pub fn remark(&self, key: &str, problem: impl Into<String>, fix: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_path_buf(),
            line: self.line,
            key: on_one_line(key),
            value: String::new(),
            problem: on_one_line(&problem.into()),
            fix: on_one_line(&fix.into()),
        }
    }
}

/// What was found in files.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Why they cannot be used.
    pub errors: Vec<ConfigError>,
    /// What is said in them and has no effect, or another one than seems to be meant.
    pub warnings: Vec<ConfigError>,
}

impl Findings {
    /// One more reason not to use them. What is too much to be told is left out: the first ones are to be mended first.
    pub fn fail(&mut self, error: ConfigError) {
        if self.errors.len() < limits::SHAPING_FINDINGS_MAX {
            self.errors.push(error);
        }
    }

    /// One more doubt.
    pub fn warn(&mut self, warning: ConfigError) {
        if self.warnings.len() < limits::SHAPING_FINDINGS_MAX {
            self.warnings.push(warning);
        }
    }

    /// Those of other files behind these.
    pub fn append(&mut self, other: Findings) {
        self.errors.extend(other.errors);
        self.warnings.extend(other.warnings);
    }

    /// In the order of the lines.
    pub(super) fn sorted(mut self) -> Findings {
        self.errors.sort_by_key(|error| error.line);
        self.warnings.sort_by_key(|warning| warning.line);
        self
    }

    /// In the order of these files and their lines; no warnings of others.
    pub fn of_files(mut self, files: &[PathBuf]) -> Findings {
        let place = |file: &Path| files.iter().position(|known| *known == *file);
        self.warnings.retain(|one| place(&one.file).is_some());
        for all in [&mut self.errors, &mut self.warnings] {
            all.sort_by_key(|one| (place(&one.file), one.line));
        }
        self
    }
}

/// The file being read.
pub(super) struct Reading<'a> {
    text: &'a str,
    file: Arc<Path>,
    /// Where each line begins.
    lines: Vec<usize>,
    findings: RefCell<Findings>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(text: &'a str, file: &Path) -> Reading<'a> {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Reading { text, file: file.into(), lines, findings: RefCell::default() }
    }

    pub(super) fn place(&self, at: usize) -> FileLine {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        FileLine { file: self.file.clone(), line }
    }

    pub(super) fn into_findings(self) -> Findings {
        self.findings.into_inner().sorted()
    }

    pub(super) fn excerpt(&self, span: Range<usize>) -> String {
        excerpt(self.text, span)
    }

    /// Something is wrong, so that the file cannot be used.
    pub(super) fn fail(
        &self,
        span: Range<usize>,
        key: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let error = self.place(span.start).remark(key, problem, fix);
        self.findings.borrow_mut().fail(ConfigError { value: self.excerpt(span), ..error });
    }

    /// Something has no effect.
    pub(super) fn warn(
        &self,
        span: Range<usize>,
        key: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let warning = self.place(span.start).remark(key, problem, fix);
        self.findings.borrow_mut().warn(ConfigError { value: self.excerpt(span), ..warning });
    }

    /// What a value stands for; None, and an error with the line to write, where it is wrong.
    pub(super) fn value<T>(
        &self,
        value: &toml::Spanned<DeValue<'_>>,
        section: &str,
        key: &str,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        match parse(value.get_ref()) {
            Ok(value) => Some(value),
            Err(Wrong { problem, fix }) => {
                self.fail(value.span(), &format!("{section}.{key}"), problem, fix.of_key(key));
                None
            }
        }
    }
}
