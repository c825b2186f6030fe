//! Whose mail it is and how urgent, as far as the order of a site goes by it.
//!
//! Tenants and campaigns are hashes of their names: nothing is interned, so there is no table, no lock and nothing to reclaim, and a start finds
//! the same. Two names that collide share a part, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use crate::mail::parameters::{Key, Parameters, Priority};
use crate::queue::fair;
use crate::route::egress::EgressKey;

/// What has a part of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// How urgent it is.
    pub class: Priority,
    /// Whose mail it is; 0: nobody's in particular.
    pub tenant: u32,
    /// What it is sent for; 0: nothing in particular.
    pub campaign: u32,
}

impl Flow {
    /// That of mail with these parameters.
    pub fn of<Text: AsRef<str>>(parameters: &Parameters<Text>) -> Flow {
        let number = |key| parameters.get(key).map_or(0, number);
        Flow { class: parameters.priority(), tenant: number(Key::Tenant), campaign: number(Key::Campaign) }
    }

    /// Whether it is mail without parameters.
    pub fn is_plain(self) -> bool {
        self == Flow::default()
    }
}

/// The number of a tenant or a campaign of this name; never 0.
pub fn number(name: &str) -> u32 {
    fair::hash(name.as_bytes()).max(1)
}

/// What the tenants weigh that a configuration names; all others 1.
#[derive(Clone, Debug, Default)]
pub struct Weights(Arc<HashMap<u32, u32>>);

impl Weights {
    /// By their numbers.
    pub fn of_numbers(weights: impl IntoIterator<Item = (u32, u32)>) -> Weights {
        Weights(Arc::new(weights.into_iter().collect()))
    }

    /// That of a tenant.
    pub fn of(&self, tenant: u32) -> u32 {
        self.0.get(&tenant).copied().unwrap_or(1)
    }

    /// Whether a tenant is named.
    pub fn has(&self, tenant: u32) -> bool {
        self.0.contains_key(&tenant)
    }
}

/// What of a domain's mail has a queue of its own: one flow, by one egress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strand {
    /// By which pool and source it leaves.
    pub egress: EgressKey,
    /// Whose it is.
    pub flow: Flow,
}

impl From<EgressKey> for Strand {
    fn from(egress: EgressKey) -> Strand {
        Strand { egress, flow: Flow::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_without_parameters_is_nobodys() {
        let mut parameters = Parameters::default();
        assert!(Flow::of(&parameters).is_plain());
        for (key, value) in [(Key::Tenant, "shop"), (Key::Campaign, "may"), (Key::Priority, "low")] {
            let before = Flow::of(&parameters);
            parameters.set(key, value).expect("a value");
            assert_ne!(Flow::of(&parameters), before, "{key:?}");
        }
        let flow = Flow { class: Priority::Low, tenant: number("shop"), campaign: number("may") };
        assert_eq!(Flow::of(&parameters), flow);
        parameters.set(Key::Category, "receipts").expect("a value");
        assert_eq!(Flow::of(&parameters), flow, "a category has no part");
    }
}
