//! What all shards said of their queues, put together.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::control::api::shape::overview::{Age, DomainTotals, Overview, ProviderTotals};
use crate::limits;
use crate::queue::destinations::summary::{Waiting, largest};
use crate::shard::ask::overview::{KnownSite, Summary};
use crate::time::UnixMillis;

/// All queues of the node, as they were at some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeSums {
    at: UnixMillis,
    all: Waiting,
    under_way: u64,
    domains: u64,
    ages: Vec<Age>,
    by_domain: Vec<DomainTotals>,
    by_provider: Vec<ProviderTotals>,
    /// The longest that a shard worked on it.
    pub(super) worked: Duration,
}

impl NodeSums {
    /// What these shards said, and when that was asked for.
    pub(super) fn of(shards: Vec<Summary>, at: UnixMillis) -> NodeSums {
        let mut sums = NodeSums { at, ..NodeSums::default() };
        let mut ages = [0; limits::SUMMARY_AGES.len() + 1];
        let (mut domains, mut providers) = (HashMap::<_, Waiting>::new(), BTreeMap::<_, Waiting>::new());
        let (mut connections, mut sites) = (BTreeMap::<_, u64>::new(), HashMap::<u64, KnownSite>::new());
        for Summary { queue, connections: opened, sites: known, worked } in shards {
            sums.all.add(&queue.all);
            sums.under_way += queue.under_way;
            sums.domains += queue.domains;
            sums.worked = sums.worked.max(worked);
            ages.iter_mut().zip(queue.ages).for_each(|(all, more)| *all += more);
            for (name, of) in queue.by_domain {
                domains.entry(name).or_default().add(&of);
            }
            for (name, of) in queue.by_provider {
                providers.entry(name).or_default().add(&of);
            }
            for (name, count) in opened {
                *connections.entry(name).or_default() += count;
            }
            for site in known {
                let narrowed = sites.get(&site.number).is_some_and(|before| before.narrowed);
                sites.insert(site.number, KnownSite { narrowed: narrowed || site.narrowed, ..site });
            }
        }
        // The rests of all shards have one name.
        let rest = domains.remove(OTHER).unwrap_or_default();
        sums.by_domain = largest(domains.into_iter().collect(), rest).into_iter().map(domain).collect();
        sums.by_provider = by_provider(providers, &connections, sites.into_values());
        let steps = limits::SUMMARY_AGES.iter().map(|most| Some(u64::from(*most))).chain([None]);
        sums.ages =
            steps.zip(ages).map(|(up_to_seconds, recipients)| Age { up_to_seconds, recipients }).collect();
        sums
    }

    /// Puts this into an overview.
    pub(super) fn tell(&self, overview: &mut Overview, iso: impl Fn(UnixMillis) -> String) {
        let queue = &mut overview.queue;
        queue.as_of = Some(iso(self.at));
        queue.ready = Some(self.all.ready);
        queue.deferred = Some(self.all.deferred);
        queue.suspended = Some(self.all.suspended);
        queue.held = Some(self.all.held);
        queue.under_way = Some(self.under_way);
        queue.domains = Some(self.domains);
        overview.ages = Some(self.ages.clone());
        overview.domains = Some(self.by_domain.clone());
        overview.providers = Some(self.by_provider.clone());
    }
}

/// What has no name of its own.
const OTHER: &str = crate::observe::families::OTHER;

fn domain((name, of): (Box<str>, Waiting)) -> DomainTotals {
    DomainTotals { name: name.into(), recipients: of.all(), ready: of.ready, deferred: of.deferred }
}

fn by_provider(
    mut providers: BTreeMap<Box<str>, Waiting>,
    connections: &BTreeMap<Box<str>, u64>,
    sites: impl Iterator<Item = KnownSite>,
) -> Vec<ProviderTotals> {
    let mut counted = BTreeMap::<Box<str>, (u64, u64)>::new();
    for site in sites {
        let Some(provider) = site.provider else { continue };
        let (all, narrowed) = counted.entry(provider).or_default();
        *all += 1;
        *narrowed += u64::from(site.narrowed);
    }
    for name in connections.keys().chain(counted.keys()) {
        providers.entry(name.clone()).or_default();
    }
    let rest = providers.remove(OTHER).unwrap_or_default();
    let one = |(name, of): (Box<str>, Waiting)| {
        let (sites, narrowed) = counted.get(&name).copied().unwrap_or_default();
        let connections = connections.get(&name).copied().unwrap_or_default();
        ProviderTotals {
            recipients: of.all(),
            ready: of.ready,
            deferred: of.deferred,
            suspended: of.suspended,
            name: name.into(),
            sites,
            connections,
            narrowed,
        }
    };
    largest(providers.into_iter().collect(), rest).into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::destinations::summary::QueueSums;

    fn shard(domain: &str, deferred: u64, narrowed: bool) -> Summary {
        let of = Waiting { deferred, ..Waiting::default() };
        let queue = QueueSums {
            all: of,
            domains: 1,
            ages: [deferred, 0, 0, 0, 0, 1],
            by_domain: vec![(domain.into(), of), (OTHER.into(), Waiting { ready: 1, ..Waiting::default() })],
            by_provider: vec![("google".into(), of)],
            ..QueueSums::default()
        };
        let site = |number, provider: &str| KnownSite { number, provider: Some(provider.into()), narrowed };
        Summary {
            queue,
            connections: vec![("google".into(), 2)],
            sites: vec![site(1, "google"), site(deferred, "yahoo")],
            worked: Duration::from_millis(deferred),
        }
    }

    #[test]
    fn shards_are_put_together_and_a_site_of_two_counts_once() {
        let sums =
            NodeSums::of(vec![shard("a.example", 5, false), shard("b.example", 7, true)], UnixMillis(9));
        assert_eq!((sums.all.all(), sums.domains, sums.worked), (12, 2, Duration::from_millis(7)));
        let names: Vec<_> = sums.by_domain.iter().map(|of| (&*of.name, of.recipients)).collect();
        assert_eq!(names, [("b.example", 7), ("a.example", 5), ("other", 2)]);
        let google = &sums.by_provider[0];
        assert_eq!((&*google.name, google.recipients, google.sites), ("google", 12, 1));
        assert_eq!((google.connections, google.narrowed), (4, 1));
        let yahoo = &sums.by_provider[1];
        assert_eq!((&*yahoo.name, yahoo.recipients, yahoo.sites, yahoo.narrowed), ("yahoo", 0, 2, 1));
        assert_eq!(sums.ages.first(), Some(&Age { up_to_seconds: Some(60), recipients: 12 }));
        assert_eq!(sums.ages.last(), Some(&Age { up_to_seconds: None, recipients: 2 }));
    }
}
