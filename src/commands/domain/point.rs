//! One thing that receivers look at.

use relevo::dns::LookupError;
use serde_json::json;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Right,
    /// It may be so.
    Note,
    /// It should not be so.
    Doubtful,
    /// Mail is refused for it, or taken for spam.
    Wrong,
    /// Nobody said.
    Unknown,
}

impl State {
    /// In a line.
    pub fn word(self) -> &'static str {
        match self {
            State::Right => "right",
            State::Note => "note",
            State::Doubtful => "doubtful",
            State::Wrong => "wrong",
            State::Unknown => "unknown",
        }
    }
}

/// What is, and what should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// SPF, DKIM …
    pub what: &'static str,
    /// How it is.
    pub state: State,
    /// What there is.
    pub found: String,
    /// What to do.
    pub advice: Option<String>,
    /// What to publish, as a line of a zone file.
    pub line: Option<String>,
}

impl Point {
    /// One without advice.
    pub fn new(what: &'static str, state: State, found: impl Into<String>) -> Point {
        Point { what, state, found: found.into(), advice: None, line: None }
    }

    /// Nobody could say.
    pub fn unknown(what: &'static str, error: &LookupError) -> Point {
        Point::new(what, State::Unknown, format!("nobody could say: {error}"))
    }

    /// With what to do.
    pub fn advised(mut self, advice: impl Into<String>) -> Point {
        self.advice = Some(advice.into());
        self
    }

    /// With what to publish.
    pub fn with_line(mut self, line: impl Into<String>) -> Point {
        self.line = Some(line.into());
        self
    }

    /// As JSON.
    pub fn json(&self) -> String {
        let Point { what, state, found, advice, line } = self;
        json!({ "what": what, "state": state.word(), "found": found, "advice": advice, "line": line })
            .to_string()
    }
}
