//! What is wrong with a text that somebody wrote.

use std::borrow::Cow;
use std::fmt;

/// A text of a command line or of a file is not what is wanted there: its writer's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The key it stands at, in a file.
    key: Option<String>,
    /// What is wrong, and how to write it.
    problem: Cow<'static, str>,
}

impl Unfit {
    /// What is wrong, and how to write it.
    pub fn new(problem: impl Into<Cow<'static, str>>) -> Unfit {
        Unfit { key: None, problem: problem.into() }
    }

    /// The key of a file that it stands at.
    #[must_use]
    pub fn at(self, key: &str) -> Unfit {
        let key = self.key.map_or_else(|| key.to_owned(), |inner| format!("{key}: {inner}"));
        Unfit { key: Some(key), ..self }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(out, "{key}: ")?;
        }
        out.write_str(&self.problem)
    }
}

impl std::error::Error for Unfit {}
