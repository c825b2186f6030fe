//! One thing the machine was asked, and what came of it.

use serde::Serialize;

/// Whether it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It is enough, or only shown.
    Good,
    /// It limits a busy relay.
    Low,
    /// It could not be read.
    Unknown,
}

/// One limit.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub value: String,
    /// What it should be; empty when it is only shown.
    pub wanted: String,
    /// Whether it is enough.
    pub grade: Grade,
    /// What goes wrong when it is low.
    pub why: String,
    /// Commands that change it, one a line.
    pub fix: String,
}

impl Finding {
    /// Shown, not judged.
    pub fn shown(name: impl Into<String>, value: impl Into<String>) -> Finding {
        Finding::new(name, Grade::Good, value)
    }

    /// Judged; what is wanted and why is said with [`Finding::wanting`].
    pub fn new(name: impl Into<String>, grade: Grade, value: impl Into<String>) -> Finding {
        Finding {
            name: name.into(),
            value: value.into(),
            wanted: String::new(),
            grade,
            why: String::new(),
            fix: String::new(),
        }
    }

    /// What it should be, what goes wrong otherwise, and what to do.
    pub fn wanting(
        mut self,
        wanted: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        (self.wanted, self.why, self.fix) = (wanted.into(), why.into(), fix.into());
        self
    }
}

/// Good when `fine`, low when not, unknown when nobody knows.
pub fn grade(fine: Option<bool>) -> Grade {
    match fine {
        Some(true) => Grade::Good,
        Some(false) => Grade::Low,
        None => Grade::Unknown,
    }
}

/// What to print for a value that is not there.
pub const UNREADABLE: &str = "cannot be read";
