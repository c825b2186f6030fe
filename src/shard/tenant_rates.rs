//! Beside rate_count: rates of tenants. Each is one number that all shards share, so it holds over the node wherever a tenant's mail is queued.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::TenantConfig;
use crate::limits;
use crate::queue::flow;
use crate::shaping::pace::Pace;
use crate::shaping::rated::Rated;
use crate::shard::cluster::ClusterDesk;
use crate::shard::cluster_part::ClusterPart;
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
    /// Whose it is; None: no other node has a part in it.
    shared: Option<Box<str>>,
    /// What this node has of it, where it shares it with others.
    part: Arc<ClusterPart>,
}

impl TenantRate {
    /// None: other nodes have all of it.
    fn pace(&self) -> Option<Pace> {
        self.part.pace(Rated::Messages, self.pace)
    }

    fn take(&self, now: Instant) -> bool {
        let taken = self.pace().is_some_and(|pace| self.count.take(pace, now).is_ok());
        match taken {
            true => self.part.took(Rated::Messages),
            false => self.part.wants(Some(Rated::Messages)),
        }
        taken
    }

    fn free(&self, now: Instant) -> usize {
        self.pace().map_or(0, |pace| self.count.free(pace, now))
    }
}

impl TenantRates {
    /// Those of a configuration.
    pub fn new(tenants: &[TenantConfig]) -> TenantRates {
        let rate = |tenant: &TenantConfig| {
            let rate = tenant.max_message_rate.as_ref()?;
            let words = format!("tenant {}: max_message_rate = {rate}", tenant.name).into();
            let shared = (!rate.local).then(|| tenant.name.clone());
            let (pace, part) = (Pace::of(rate), Arc::default());
            let held = TenantRate { pace, count: Arc::default(), words, shared, part };
            Some((flow::number(&tenant.name), held))
        };
        TenantRates(tenants.iter().filter_map(rate).collect())
    }

    /// The same in place of others: what was taken stays taken.
    pub fn after(mut self, before: &TenantRates) -> TenantRates {
        for (tenant, rate) in &mut self.0 {
            if let Some(before) = before.0.get(tenant) {
                rate.count = before.count.clone();
                if rate.shared.is_some() == before.shared.is_some() {
                    rate.part = before.part.clone();
                }
            }
        }
        self
    }

    /// Other nodes have their parts of them.
    pub fn share_with_nodes(&self, desk: &ClusterDesk) {
        for rate in self.0.values() {
            if let Some(name) = &rate.shared {
                desk.limited_tenant(name, &rate.part, rate.pace);
            }
        }
    }

    /// Whether no tenant has one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the right to begin a message of a tenant. False: none may begin now.
    pub fn take(&self, tenant: u32, now: Instant) -> bool {
        self.0.get(&tenant).is_none_or(|rate| rate.take(now))
    }

    /// How many messages of a tenant may begin now, if it has a rate.
    pub fn free(&self, tenant: u32, now: Instant) -> Option<usize> {
        self.0.get(&tenant).map(|rate| rate.free(now))
    }

    /// When its next message may begin, where none may now, and what says so.
    pub fn wait(&self, tenant: u32, now: Instant) -> Option<(Instant, &str)> {
        let rate = self.0.get(&tenant).filter(|rate| rate.free(now) == 0)?;
        let when = rate.pace().map_or(now + limits::CLUSTER_LOOK, |pace| rate.count.next(pace, now));
        Some((when, &rate.words))
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
