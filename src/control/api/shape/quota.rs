//! How much of their quotas accounts and tenants have used, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Those that are used the most.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct QuotasUsed {
    /// When this was.
    pub now: String,
    /// One for each quota, the fullest first.
    pub quotas: Vec<QuotaUse>,
}

/// One quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaUse {
    /// `account` or `tenant`.
    pub owner: String,
    /// The name of that.
    pub name: String,
    /// `min`, `h`, `d` or `month`.
    pub period: String,
    /// Recipients that were counted in it.
    pub used: u64,
    /// The same by all nodes of the cluster that were heard of; none: quotas are not counted together, or nothing was heard yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by_all: Option<u64>,
    /// Recipients that there may be.
    pub most: u64,
    /// When it begins anew.
    pub until: String,
}
