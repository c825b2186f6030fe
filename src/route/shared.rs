//! Beside site: which limits hold for this node alone (`local:` in a shaping file), and which for all nodes of a cluster together.

use crate::policy::cluster::SharedLimits;
use crate::shaping::pace::Pace;
use crate::shaping::rated::EachRate;
use crate::shaping::value::Value;

/// Limits of this node alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalLimits {
    /// Connections.
    pub connections: bool,
    /// Each rate.
    pub rates: EachRate<bool>,
}

impl LocalLimits {
    /// The others of these.
    pub fn shared(&self, connections: Option<usize>, rates: &EachRate<Option<Pace>>) -> SharedLimits {
        SharedLimits {
            connections: connections.filter(|_| !self.connections),
            rates: EachRate::of(|of| rates[of].filter(|_| !self.rates[of])),
        }
    }
}

/// Whether a value says that it is of this node alone.
pub fn is_local(value: &Value) -> bool {
    match value {
        Value::Limit(limit) => limit.local,
        Value::Rate(rate) => rate.local,
        _ => false,
    }
}
