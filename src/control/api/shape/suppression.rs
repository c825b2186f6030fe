//! The suppression list, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressionEntry {
    /// From whom mail is held back: `ada@example.org`, `@example.org`, `*.example.org`.
    pub address: String,
    /// Whose mail; none: all mail of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Why: `hard_bounce`, `complaint`, `unsubscribe`, `manual`, `imported`.
    pub reason: String,
    /// Since when: RFC 3339, UTC.
    pub added: String,
    /// Until when; none: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// What else was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A page of the list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SuppressionPage {
    /// Its entries, in no order that means anything.
    pub entries: Vec<SuppressionEntry>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<String>,
}

/// What is to come on the list, or is to be taken from it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSuppression {
    /// Which.
    pub addresses: Vec<String>,
    /// Whose mail; none: all mail of the node.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Why; empty: `manual`. Not where it is taken from the list.
    #[serde(default)]
    pub reason: String,
    /// Until when: a time or a date; none: for good.
    #[serde(default)]
    pub expires: Option<String>,
    /// What else is to be known.
    #[serde(default)]
    pub note: String,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressionChanged {
    /// Entries that are as asked for now.
    pub changed: u64,
    /// Entries that were so before, and for as long.
    pub known: u64,
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressionImported {
    /// Lines that name an entry.
    pub lines: u64,
    /// Entries that are new on the list.
    pub added: u64,
    /// Entries that were there already, for as long.
    pub known: u64,
    /// Lines whose time is over.
    pub over: u64,
    /// Lines with a time that nobody understands, which are taken as of now, or for good.
    pub undated: u64,
    /// Lines that are wrong, and left out.
    pub wrong: u64,
    /// The first of these.
    pub told: Vec<WrongLine>,
    /// Entries of the list now.
    pub entries: u64,
}

/// A line that is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrongLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}
