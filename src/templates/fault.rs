//! What is wrong with a template or its data: where, and what to write.

use std::fmt;

use super::scan::{Flaw, position};

/// Which part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its subject.
    Subject,
    /// Its HTML.
    Html,
    /// Its text.
    Text,
    /// The HTML or the text of a partial.
    Partial(String),
    /// What it is rendered with.
    Data,
    /// None of them.
    Whole,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Subject => formatter.write_str("subject"),
            Part::Html => formatter.write_str("html"),
            Part::Text => formatter.write_str("text"),
            Part::Partial(name) => write!(formatter, "partial {name}"),
            Part::Data => formatter.write_str("data"),
            Part::Whole => formatter.write_str("template"),
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub part: Part,
    /// Its line and its column, from 1 on, where it is at one.
    pub place: Option<(usize, usize)>,
    /// What, and what to write.
    pub words: String,
}

impl Fault {
    /// One that is at no line.
    pub(super) fn of(part: Part, words: impl Into<String>) -> Fault {
        Fault { part, place: None, words: words.into() }
    }

    /// One at a line and a column.
    pub(super) fn at(part: Part, place: (usize, usize), words: impl Into<String>) -> Fault {
        Fault { part, place: Some(place), words: words.into() }
    }

    /// One at a byte of a source.
    pub(super) fn in_source(part: Part, source: &str, flaw: Flaw) -> Fault {
        Fault::at(part, position(source, flaw.at), flaw.words)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { part, place, words } = self;
        match place {
            Some((line, column)) => write!(formatter, "{part}, line {line}, column {column}: {words}"),
            None => write!(formatter, "{part}: {words}"),
        }
    }
}

impl std::error::Error for Fault {}
