//! Beside rate_count: rates of tenants. Each is one number that all shards share, so it holds over the node wherever a tenant's mail is queued.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::TenantConfig;
use crate::queue::flow;
use crate::shaping::pace::Pace;
use crate::shard::rate_count::RateCount;
use crate::time::Instant;

/// `[[tenant]] max_message_rate`, by the numbers of tenants.
#[derive(Debug, Default)]
pub struct TenantRates(HashMap<u32, TenantRate>);

#[derive(Debug)]
struct TenantRate {
    pace: Pace,
    count: Arc<RateCount>,
    words: Box<str>,
}

impl TenantRates {
    /// Those of a configuration.
    pub fn new(tenants: &[TenantConfig]) -> TenantRates {
        let rate = |tenant: &TenantConfig| {
            let rate = tenant.max_message_rate.as_ref()?;
            let words = format!("tenant {}: max_message_rate = {rate}", tenant.name).into();
            let held = TenantRate { pace: Pace::of(rate), count: Arc::default(), words };
            Some((flow::number(&tenant.name), held))
        };
        TenantRates(tenants.iter().filter_map(rate).collect())
    }

    /// The same in place of others: what was taken stays taken.
    pub fn after(mut self, before: &TenantRates) -> TenantRates {
        for (tenant, rate) in &mut self.0 {
            if let Some(before) = before.0.get(tenant) {
                rate.count = before.count.clone();
            }
        }
        self
    }

    /// Whether no tenant has one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the right to begin a message of a tenant. False: none may begin now.
    pub fn take(&self, tenant: u32, now: Instant) -> bool {
        self.0.get(&tenant).is_none_or(|rate| rate.count.take(rate.pace, now).is_ok())
    }

    /// How many messages of a tenant may begin now, if it has a rate.
    pub fn free(&self, tenant: u32, now: Instant) -> Option<usize> {
        self.0.get(&tenant).map(|rate| rate.count.free(rate.pace, now))
    }

    /// When its next message may begin, where none may now, and what says so.
    pub fn wait(&self, tenant: u32, now: Instant) -> Option<(Instant, &str)> {
        let rate = self.0.get(&tenant).filter(|rate| rate.count.free(rate.pace, now) == 0)?;
        Some((rate.count.next(rate.pace, now), &rate.words))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn rates(text: &str) -> TenantRates {
        TenantRates::new(&Config::parse(text, Path::new("test")).expect("it is valid").tenants)
    }

    #[test]
    fn a_reload_gives_nothing_back() {
        let shop = flow::number("shop");
        let now = Instant(7_000_000_000);
        let before = rates("[[tenant]]\nname = \"shop\"\nmax_message_rate = \"2/min\"\n");
        while before.take(shop, now) {}
        assert!(before.take(flow::number("other"), now), "it has no rate");
        let after = rates("[[tenant]]\nname = \"shop\"\nmax_message_rate = \"60/min\"\n").after(&before);
        assert!(!after.take(shop, now));
        let (when, words) = after.wait(shop, now).expect("it waits");
        assert_eq!(words, "tenant shop: max_message_rate = 60/min");
        assert!(
            when <= Instant(now.0 + 1_000_000_000) && after.take(shop, when),
            "no longer than its new rate says"
        );
    }
}
