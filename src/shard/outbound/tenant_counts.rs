//! What became of tenants' mail, counted by tenant.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::limits;
use crate::mail::parameters::Key;
use crate::observe::families::{Families, NamePlace, Tried};
use crate::queue::outcome::Ended;

/// Where each tenant is counted that came up, so that names are compared once.
#[derive(Default)]
pub struct TenantCounts(RefCell<HashMap<Box<str>, NamePlace, ahash::RandomState>>);

impl TenantCounts {
    /// Counts so many recipients, whose parameters are these. Of mail without parameters nothing is looked up.
    pub(super) fn count(
        &self,
        families: &Families,
        parameters: &[(&str, &str)],
        (disposition, count): (&Ended, usize),
    ) {
        let Some((_, name)) = parameters.iter().find(|(key, _)| *key == Key::Tenant.name()) else { return };
        let tried = match disposition {
            Ended::Delivered => Tried::Delivered,
            Ended::Deferred(_) => Tried::Deferred,
            Ended::Bounced(_) | Ended::Expired(_) => Tried::Bounced,
            Ended::Local(_) | Ended::Held(_) => return,
        };
        let by_tenant = &families.by_tenant;
        let place = self.place(name, |name| by_tenant.place(name));
        by_tenant.add(place, tried as usize, count as u64);
    }

    /// Of one too many: with all others.
    fn place(&self, name: &str, find: impl FnOnce(&str) -> NamePlace) -> NamePlace {
        let mut known = self.0.borrow_mut();
        if let Some(place) = known.get(name) {
            return *place;
        }
        // One place is that of all others.
        if known.len() + 1 >= limits::METRIC_TENANTS_MAX {
            return NamePlace::default();
        }
        let place = find(name);
        known.insert(name.into(), place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_one_too_many_none() {
        let (counts, families) = (TenantCounts::default(), Families::default());
        let place = |number: usize| counts.place(&number.to_string(), |name| families.by_tenant.place(name));
        let all: Vec<NamePlace> = (0..limits::METRIC_TENANTS_MAX + 5).map(place).collect();
        let room = limits::METRIC_TENANTS_MAX - 1;
        assert!(all[..room].iter().all(|place| *place != NamePlace::default()));
        assert!(all[room..].iter().all(|place| *place == NamePlace::default()));
        assert_eq!((place(0), place(room - 1)), (all[0], all[room - 1]), "they are remembered");
    }
}
