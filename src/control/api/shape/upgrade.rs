//! Another process takes over.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far that is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpgradeStatus {
    /// The process that answers.
    pub process: u32,
    /// Its version.
    pub version: String,
    /// `none`: it took over from nobody, and nobody is to take over; `done`: it took over; of one that is to take over: `asked`, `checking` (the
    /// new binary reads the configuration), `preparing`, `resting` (what is under way at next hops ends), `handing_over`, `failed`.
    pub stage: String,
    /// Which process takes over.
    pub next_process: Option<u32>,
    /// Its version.
    pub next_version: Option<String>,
    /// Why nothing came of it.
    pub problem: Option<String>,
    /// Of `done`: how long clients that came meanwhile waited for their greeting.
    pub waited_seconds: Option<f64>,
}

impl Default for UpgradeStatus {
    fn default() -> UpgradeStatus {
        UpgradeStatus {
            process: 0,
            version: String::new(),
            stage: "none".to_owned(),
            next_process: None,
            next_version: None,
            problem: None,
            waited_seconds: None,
        }
    }
}
