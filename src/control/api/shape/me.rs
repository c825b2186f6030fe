//! Who asks, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// As events name him: `token ops`.
    pub who: String,
    /// `read`, `operate` or `admin`.
    pub role: String,
    /// Whose mail alone he sees and moves; none: all of it.
    pub tenant: Option<String>,
    /// Addresses are shortened for him.
    pub redacts: bool,
    /// The cluster of this node, all nodes of which he may look at; none: it is in none, or that is not told him.
    #[serde(default)]
    pub cluster: Option<String>,
}
