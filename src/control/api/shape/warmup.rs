//! How far sources in warm-up are, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Warmup {
    /// The day, in UTC.
    pub today: String,
    /// Each source at each provider that mail went to.
    pub sources: Vec<Warming>,
}

/// A source at a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warming {
    /// The source.
    pub source: String,
    /// The provider by its name in the shaping files, or the first host of the site.
    pub provider: String,
    /// The site, where no provider is known.
    pub site: Option<String>,
    /// The first day of the plan.
    pub start: String,
    /// The day of the plan; none: it has not begun, or is over.
    pub day: Option<u32>,
    /// Its last day.
    pub days: u32,
    /// How many days it is behind, as the provider complained.
    pub behind: u32,
    /// Messages that may leave today; none: any number.
    pub volume: Option<u32>,
    /// How many left, and what a kill wasted.
    pub used: u32,
    /// The same by all nodes of the cluster that were heard of; none: they are not counted together, or nothing was heard yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by_all: Option<u32>,
    /// Messages that went by other sources today.
    pub overflowed: u32,
    /// `not yet`, `warming`, `used up`, `throttled`, `blocked`, `warm`.
    pub state: String,
}
