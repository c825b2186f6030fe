//! The node is emptied.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SuspensionEntry;

/// That all mail is to go to another relay, and none is to be taken in.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Where: `smtp://host:port`.
    pub to: String,
    /// For how long at most, seconds.
    pub seconds: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// How far it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DrainState {
    /// Mail is taken in no more, and goes elsewhere, by these; none: nobody drains it.
    pub drains: Vec<SuspensionEntry>,
    /// The spool is not read to its end yet: less is counted than there is.
    pub starting: bool,
    /// Messages that are left.
    pub messages: u64,
    /// Recipients that are left.
    pub recipients: u64,
}
