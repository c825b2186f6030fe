//! What the queues know of a domain and of a site, for whoever asks why mail waits. Nothing is changed.

use std::rc::Rc;

use super::Destinations;
use super::keys::{DomainKey, SiteKey};
use crate::limits;
use crate::queue::GroupPhase;
use crate::queue::flow::Flow;
use crate::route::egress::EgressKey;

/// A domain with mail by one egress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainState {
    /// Its key.
    pub key: DomainKey,
    /// By which pool and source its mail leaves.
    pub egress: EgressKey,
    /// Whose mail it is.
    pub flow: Flow,
    /// Groups that a connection has.
    pub under_way: u32,
    /// Since when it is asked for (seconds of the queues' clock).
    pub asked_since: Option<u32>,
    /// The site that it leads to, while that is known.
    pub site: Option<SiteKey>,
}

/// The domain of this name, lower case, by each egress that has mail for it: at most so many.
pub fn domains(queues: &Destinations, name: &str, most: usize) -> Vec<DomainState> {
    let mut found = Vec::new();
    let mut from = 0;
    while found.len() < most
        && let Some(key) = queues.domains.find(name, from)
    {
        from = key.next();
        let Some(domain) = queues.domains.get(key) else { continue };
        if domain.is_empty() {
            continue;
        }
        found.push(DomainState {
            key,
            egress: domain.egress,
            flow: domain.flow(),
            under_way: domain.active,
            asked_since: domain.resolving.then_some(domain.since),
            site: domain.site(),
        });
    }
    found
}

/// The site of this canonical name, if anything leads there, or did a moment ago.
pub fn site_named(queues: &Destinations, name: &str) -> Option<SiteKey> {
    queues.sites.find(name)
}

/// Domains whose mail is ready at a site, so many at most.
pub fn domains_at(queues: &Destinations, site: SiteKey, most: usize) -> Vec<Rc<str>> {
    let mut found: Vec<Rc<str>> = Vec::new();
    let turns = queues.sites.get(site).rings.some();
    for domain in turns.filter_map(|turn| queues.domains.of(turn)).take(4 * most) {
        // One may have mail by several sources, and of several tenants.
        if found.len() < most && !found.contains(&domain.name) {
            found.push(domain.name.clone());
        }
    }
    found
}

/// Whether a connection of a site would find a credit for what is next there.
pub fn has_credit(queues: &Destinations, site: SiteKey) -> bool {
    let takes = |turn| {
        let Some(domain) = queues.domains.of(turn) else { return true };
        domain.ready.front().is_some_and(|group| queues.credits.has(group.location.lane))
    };
    let rings = &queues.sites.get(site).rings;
    rings.is_empty() || rings.some().take(limits::STARVED_LOOKED_AT).any(takes)
}

/// Groups and their recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Groups: the recipients of one message in one domain.
    pub groups: u64,
    /// Their recipients.
    pub recipients: u64,
}

impl Amount {
    fn add(&mut self, recipients: u16) {
        self.groups += 1;
        self.recipients += u64::from(recipients);
    }
}

/// How much of a domain waits, counted a slice at a time: what comes and goes meanwhile may be counted or not.
#[derive(Clone, Debug, Default)]
pub struct DomainBacklog {
    /// For its next attempt.
    pub deferred: Amount,
    /// When the first of that is due (seconds of the queues' clock); what is given up before that does not count.
    pub next: Option<u32>,
    /// For a suspension to end.
    pub suspended: Amount,
    /// When the first of that does.
    pub resumes: Option<u32>,
    /// For the time at which it is to go.
    pub held: Amount,
    /// When the first of that is.
    pub released: Option<u32>,
    /// For an operator who holds it.
    pub kept: Amount,
    /// Until when he holds the first of that.
    pub let_go: Option<u32>,
    /// For a connection, or to hear where the domain leads.
    pub ready: Amount,
    place: usize,
}

impl DomainBacklog {
    /// Goes on, with so many looks. True: that is all.
    pub fn count(&mut self, queues: &Destinations, key: DomainKey, looks: usize) -> bool {
        let Some(domain) = queues.domains.get(key) else { return true };
        let heap = domain.deferred.as_slice();
        let end = heap.len() + domain.ready.len();
        for place in self.place..end.min(self.place + looks) {
            match heap.get(place) {
                Some(deferred) => {
                    let group = &deferred.0;
                    let (amount, due) = match group.standing {
                        GroupPhase::Suspended => (&mut self.suspended, &mut self.resumes),
                        GroupPhase::Held => (&mut self.held, &mut self.released),
                        GroupPhase::Kept => (&mut self.kept, &mut self.let_go),
                        _ => (&mut self.deferred, &mut self.next),
                    };
                    amount.add(group.count);
                    if group.not_before < group.expiry || group.is_last_try() {
                        *due = Some(due.unwrap_or(u32::MAX).min(group.not_before));
                    }
                }
                None => {
                    if let Some(group) = domain.ready.get(place - heap.len()) {
                        self.ready.add(group.count);
                    }
                }
            }
        }
        self.place += looks;
        self.place >= end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Location;
    use crate::queue::Group;
    use crate::queue::destinations::{Effect, Take};

    fn group(offset: u32, not_before: u32, expiry: u32) -> Group {
        let location = Location { lane: 0, slot: 0, offset };
        Group { count: 2, not_before, expiry, ..Group::bare(location, offset) }
    }

    fn counted(queues: &Destinations, key: DomainKey) -> DomainBacklog {
        let mut waiting = DomainBacklog::default();
        while !waiting.count(queues, key, 2) {}
        waiting
    }

    #[test]
    fn what_waits_is_counted_and_the_first_that_is_due_told() {
        let mut queues = Destinations::new(vec![1]);
        for (offset, not_before, expiry) in
            [(1, 90, 500), (2, 70, 60), (3, 80, 500), (4, 0, 500), (5, 0, 500)]
        {
            queues.push("a.example", group(offset, not_before, expiry), 10);
        }
        let suspended = Group { standing: GroupPhase::Suspended, ..group(6, 40, 500) };
        queues.push("a.example", suspended, 10);
        queues.push("a.example", Group { standing: GroupPhase::Held, ..group(7, 300, 500) }, 10);
        let [state] = domains(&queues, "a.example", 9)[..] else { panic!("there is one") };
        assert_eq!((state.asked_since, state.site, state.egress), (Some(10), None, EgressKey::NODE));
        let kept = |until| Group { standing: GroupPhase::Kept, ..group(until, until, 500) };
        queues.push("a.example", kept(400), 10);
        queues.push("a.example", kept(u32::MAX), 10);
        let waiting = counted(&queues, state.key);
        assert_eq!((waiting.kept.recipients, waiting.let_go), (4, Some(400)), "the other for ever");
        assert_eq!((waiting.deferred, waiting.ready.recipients), (Amount { groups: 3, recipients: 6 }, 4));
        assert_eq!((waiting.suspended.recipients, waiting.resumes), (2, Some(40)));
        assert_eq!((waiting.held.recipients, waiting.released), (2, Some(300)));
        assert_eq!(waiting.next, Some(80), "what is given up at 60 is not tried at 70");
        assert!(domains(&queues, "b.example", 9).is_empty() && domains(&queues, "a.example", 0).is_empty());
    }

    #[test]
    fn a_site_whose_credits_are_out_is_known_by_its_name() {
        let mut queues = Destinations::new(vec![1]);
        let Some(Effect::Resolve(key, _)) = queues.push("a.example", group(1, 0, 500), 10) else { panic!() };
        queues.push("a.example", group(2, 0, 500), 10);
        let site = queues.resolved(key, "mx:10 mx.example:25,").expect("it has work");
        assert_eq!(site_named(&queues, "mx:10 mx.example:25,"), Some(site));
        assert_eq!(site_named(&queues, "mx:10 other.example:25,"), None);
        assert!(has_credit(&queues, site));
        assert!(matches!(queues.take(site, 10), Take::Job(..)));
        assert!(!has_credit(&queues, site), "the only one is out");
        assert_eq!(domains(&queues, "a.example", 9)[0].under_way, 1);
    }
}
