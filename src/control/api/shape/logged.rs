//! What the log says, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Events of the log, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// As they stand there (docs/events.schema.json), shortened for whoever may only read where `control.redact` says so.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Value>,
    /// How far it was read.
    #[serde(flatten)]
    pub read: LogRead,
}

/// How far a log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogRead {
    /// Where to go on, also where nothing was found so far; none: that was all.
    pub next: Option<String>,
    /// Bytes, unpacked, that were read for this answer.
    pub bytes: u64,
    /// Lines that are longer than any event, or none.
    pub unreadable: u64,
    /// Files that could not be read, or not to their end, and why.
    pub troubles: Vec<String>,
}

/// What became of recipients, counted over what was read for this answer: counts of all answers until `next` is null are added.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct LogCounts {
    /// What makes a row.
    pub by: String,
    /// The largest first; `(other)` is last, of what has no row of its own.
    pub rows: Vec<LogCount>,
    /// How far it was read.
    #[serde(flatten)]
    pub read: LogRead,
}

/// A row: recipients by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogCount {
    /// Which provider, domain, …; empty: the event has none.
    pub name: String,
    /// Accepted.
    pub received: u64,
    /// Delivered.
    pub delivered: u64,
    /// Attempts that were put off.
    pub deferred: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Given up by their age.
    pub expired: u64,
    /// Complaints.
    pub feedback: u64,
    /// Of those that were delivered: from arrival, on average.
    pub delay_ms: Option<u64>,
    /// What was said last where one was not delivered.
    pub text: String,
}
