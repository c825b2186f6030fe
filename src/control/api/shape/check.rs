//! What is said of the configuration on disk, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Finding;

/// What `relevo check` says. Nothing of it is in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// The file.
    pub file: String,
    /// Whether the relay would start with it.
    pub ok: bool,
    /// Why not, in the order of the lines.
    pub errors: Vec<Finding>,
    /// What should not be so.
    pub warnings: Vec<Finding>,
    /// What it means, a sentence each; empty where it has errors.
    pub summary: Vec<String>,
}
