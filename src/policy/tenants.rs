//! What holds for the mail of a tenant.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::TenantConfig;
use crate::config::retry::{Retry, Schedule};
use crate::mail::parameters::{Key, MessageParameters, Parameters};
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

    /// Whether mail with these parameters gets return paths of its own.
    pub fn has_return_paths<Text: AsRef<str>>(&self, parameters: &Parameters<Text>) -> bool {
        self.of(parameters).is_none_or(|tenant| tenant.verp)
    }

    /// Names the pools of tenants in the parameters of a message, and of its recipients that are another tenant's: what a rule or an instruction
    /// names comes before. Named here it stands in the record and its events.
    pub fn name_pools(&self, all: &mut MessageParameters) {
        if self.named.is_empty() || all.message.get(Key::Pool).is_some() {
            return;
        }
        let pool = |set: &Parameters| self.of(set)?.pool.clone();
        let of_all = pool(&all.message);
        for own in all.recipients.iter_mut().filter(|own| own.get(Key::Pool).is_none()) {
            // The other tenant's is not for it: an empty name is that of no pool.
            let none = of_all.is_some() && own.get(Key::Tenant).is_some();
            if let Some(pool) = pool(own).or_else(|| none.then(Box::default)) {
                own.put(Key::Pool, pool);
            }
        }
        if let Some(pool) = of_all {
            all.message.put(Key::Pool, pool);
        }
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
    fn a_pool_is_the_tenants_where_nobody_names_one() {
        let text = "[[source]]\nname = \"ip1\"\n[[source]]\nname = \"ip2\"\n[[tenant]]\nname = \"shop\"\npool = \"ip1\"\n\
                    [[tenant]]\nname = \"bank\"\npool = \"ip2\"\n[[tenant]]\nname = \"poor\"\n";
        let config = Config::parse(text, Path::new("a.toml")).unwrap();
        let tenants = Tenants::new(&config.tenants);
        let named = |message: &[(Key, &str)], own: &[(Key, &str)]| {
            let mut all = MessageParameters::default();
            message.iter().for_each(|(key, value)| all.message.set(*key, value).unwrap());
            let mut of_one: Parameters = Parameters::default();
            own.iter().for_each(|(key, value)| of_one.set(*key, value).unwrap());
            let one = all.number(of_one.borrowed()).unwrap();
            tenants.name_pools(&mut all);
            [0, one].map(|number| all.of(number).value(Key::Pool).unwrap_or("").to_owned())
        };
        let (shop, bank) = ((Key::Tenant, "shop"), (Key::Tenant, "bank"));
        assert_eq!(named(&[shop], &[]), ["ip1", "ip1"]);
        assert_eq!(named(&[shop], &[bank]), ["ip1", "ip2"]);
        assert_eq!(named(&[], &[bank]), ["", "ip2"]);
        assert_eq!(named(&[shop], &[(Key::Tenant, "poor")]), ["ip1", ""], "the default is its own");
        assert_eq!(named(&[shop], &[(Key::Tenant, "other")]), ["ip1", ""]);
        assert_eq!(named(&[shop], &[(Key::Campaign, "may")]), ["ip1", "ip1"]);
        assert_eq!(named(&[shop, (Key::Pool, "news")], &[bank]), ["news", "news"], "a rule names it");
        assert_eq!(named(&[shop], &[(Key::Pool, "news")]), ["ip1", "news"]);
        assert_eq!(named(&[(Key::Tenant, "poor")], &[(Key::Tenant, "other")]), ["", ""]);
        let wrong = Config::parse(
            &text.replace("\"ip2\"\n[[tenant]]\nname = \"poor", "\"ip3\"\n[[tenant]]\nname = \"poor"),
            Path::new("a.toml"),
        );
        assert!(format!("{:?}", wrong.unwrap_err()).contains("is called"), "there is no such pool");
    }

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
