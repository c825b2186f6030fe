//! What holds for the mail of a tenant.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::TenantConfig;
use crate::config::retry::{Retry, Schedule};
use crate::mail::parameters::{Key, Parameters};
use crate::queue::flow::{self, Weights};

/// All that are named.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    named: HashMap<Box<str>, TenantConfig>,
    weights: Weights,
}

impl Tenants {
    /// Those of a configuration.
    pub fn new(tenants: &[TenantConfig]) -> Tenants {
        let weight = |tenant: &TenantConfig| (flow::number(&tenant.name), tenant.weight);
        Tenants {
            named: tenants.iter().map(|tenant| (tenant.name.clone(), tenant.clone())).collect(),
            weights: Weights::of_numbers(tenants.iter().map(weight)),
        }
    }

    /// What they weigh.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    fn of<Text: AsRef<str>>(&self, parameters: &Parameters<Text>) -> Option<&TenantConfig> {
        // Nobody looks at the parameters where none is named.
        if self.named.is_empty() { None } else { self.named.get(parameters.get(Key::Tenant)?) }
    }

    /// Age at which mail with these parameters is given up, at the latest.
    pub fn max_age<Text: AsRef<str>>(&self, parameters: &Parameters<Text>) -> Option<Duration> {
        self.of(parameters)?.max_age
    }

    /// When mail with these parameters is tried again: what a rule set for it comes before what its tenant has. None: neither says, and then
    /// its route does, or else its site.
    pub fn retry<Text: AsRef<str>>(&self, parameters: &Parameters<Text>, of_all: &Retry) -> Option<Retry> {
        let own = parameters.get(Key::Retry).and_then(Schedule::parse);
        own.map(|schedule| of_all.by(schedule)).or_else(|| self.of(parameters)?.retry.as_deref().cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_rule_comes_before_a_tenant() {
        let text = "[[tenant]]\nname = \"shop\"\nretry = { schedule = [\"10m\"] }\n[[tenant]]\nname = \"bank\"\nmax_age = \"1h\"\n";
        let config = Config::parse(text, Path::new("a.toml")).unwrap();
        let tenants = Tenants::new(&config.tenants);
        let wait = |set: &[(Key, &str)]| {
            let mut parameters: Parameters = Parameters::default();
            for (key, value) in set {
                parameters.set(*key, value).unwrap();
            }
            let retry = tenants.retry(&parameters, &config.retry);
            (retry.map(|retry| retry.wait(1) as u64), tenants.max_age(&parameters))
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(wait(&[]), (None, None));
        assert_eq!(wait(&[(Key::Tenant, "shop")]), (Some(600), None));
        assert_eq!(wait(&[(Key::Tenant, "bank")]), (None, Some(hour)));
        assert_eq!(wait(&[(Key::Tenant, "shop"), (Key::Retry, "20m 1h")]), (Some(1200), None));
        assert_eq!(wait(&[(Key::Tenant, "other"), (Key::Retry, "20m")]), (Some(1200), None));
    }
}
