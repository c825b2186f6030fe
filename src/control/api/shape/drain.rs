//! The node is emptied.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
