//! What sessions say, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A line of what is told of sessions (application/x-ndjson): a line of a session, or, where it has no time, something about what is told. An empty line
/// says that it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// When it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The session: the shard and its number there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// `in`: a client's; `out`: with a next hop.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub side: String,
    /// `>`: the relay said it; `<`: it was told so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dir: String,
    /// Who is at the other end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// What was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub line: String,
    /// Lines that are missing here, as more was said than was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// There are no more, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}
