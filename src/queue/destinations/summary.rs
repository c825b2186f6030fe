//! All that waits on a shard, summed up: by state, age, domain and provider. Every group is looked at once, in slices, as a count does it.

use std::collections::HashMap;
use std::rc::Rc;

use super::Destinations;
use super::keys::{DomainKey, SiteKey};
use super::sites::OTHER;
use super::walked::Walked;
use crate::limits;
use crate::queue::Group;
use crate::queue::lifetimes::Times;
use crate::queue::select::GroupState;

/// Recipients that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// For a connection.
    pub ready: u64,
    /// For their next attempt.
    pub deferred: u64,
    /// For a suspension to end.
    pub suspended: u64,
    /// For the time at which they are to go.
    pub held: u64,
}

impl Waiting {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.ready + self.deferred + self.suspended + self.held
    }

    /// More of them.
    pub fn add(&mut self, more: &Waiting) {
        self.ready += more.ready;
        self.deferred += more.deferred;
        self.suspended += more.suspended;
        self.held += more.held;
    }

    fn meet(&mut self, group: &Group, state: GroupState) {
        let of = match state {
            GroupState::Ready => &mut self.ready,
            GroupState::Deferred => &mut self.deferred,
            GroupState::Suspended => &mut self.suspended,
            GroupState::Held => &mut self.held,
        };
        *of += u64::from(group.count);
    }
}

/// What waits, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSums {
    /// All of it.
    pub all: Waiting,
    /// Groups that connections have.
    pub under_way: u64,
    /// Domains with mail, as far as they are told apart.
    pub domains: u64,
    /// Recipients by age: those up to each of [`limits::SUMMARY_AGES`] and not in one before, and at last those that are older.
    pub ages: [u64; limits::SUMMARY_AGES.len() + 1],
    /// The largest domains, the largest first, and the rest as `other`.
    pub by_domain: Vec<(Box<str>, Waiting)>,
    /// What is for each provider; what is for none is not in it.
    pub by_provider: Vec<(Box<str>, Waiting)>,
}

/// A walk that sums up.
#[derive(Debug, Default)]
pub struct SummaryWalk {
    place: u32,
    /// Of the domain in which it stands.
    current: Waiting,
    domains: HashMap<Rc<str>, Waiting>,
    /// Domains that were put together, and how many they were.
    others: (Waiting, u64),
    /// By the number of the provider.
    providers: Vec<Waiting>,
    sums: QueueSums,
}

impl SummaryWalk {
    /// Passes over the first domain: a planted defect.
    pub fn skip(&mut self) {
        self.place += 1;
    }

    /// One slice of so many looks. True: that was all.
    pub fn step(&mut self, queues: &mut Destinations, times: Times<'_>, looks: usize) -> bool {
        let mut left = looks;
        while left > 0 {
            let key = DomainKey(self.place);
            if queues.domains.walked.is_none() && !self.enter(queues, key) {
                if self.place as usize >= queues.domains.slots() {
                    return true;
                }
                left -= 1;
                self.place += 1;
                continue;
            }
            let (current, ages) = (&mut self.current, &mut self.sums.ages);
            let meet = |group: &Group, state: GroupState| {
                current.meet(group, state.of(group));
                let age = times.age(group);
                ages[limits::SUMMARY_AGES.partition_point(|most| *most < age)] += u64::from(group.count);
            };
            let (looked, over) = queues.domains.go_on(key, times.now, left, meet);
            left = left.saturating_sub(looked.max(1));
            if over {
                queues.domains.walked = None;
                self.leave(queues, key);
                self.place += 1;
            }
        }
        false
    }

    fn enter(&mut self, queues: &mut Destinations, key: DomainKey) -> bool {
        self.current = Waiting::default();
        let Some(domain) = queues.domains.get(key).filter(|domain| !domain.is_empty()) else { return false };
        self.sums.under_way += u64::from(domain.active);
        let deferred = domain.deferred.len();
        queues.domains.walked = Some(Walked::new(key, deferred));
        true
    }

    fn leave(&mut self, queues: &Destinations, key: DomainKey) {
        let met = std::mem::take(&mut self.current);
        self.sums.all.add(&met);
        let Some(domain) = queues.domains.get(key) else {
            self.others.0.add(&met);
            return;
        };
        let provider = domain.provider();
        if self.providers.len() <= provider {
            self.providers.resize(provider + 1, Waiting::default());
        }
        self.providers[provider].add(&met);
        self.domains.entry(domain.name.clone()).or_default().add(&met);
        if self.domains.len() > limits::SUMMARY_KEPT {
            self.put_together();
        }
    }

    /// The smaller half of the domains becomes one row.
    fn put_together(&mut self) {
        let mut sizes: Vec<u64> = self.domains.values().map(Waiting::all).collect();
        let (_, median, above) = sizes.select_nth_unstable(limits::SUMMARY_KEPT / 2);
        let (median, others) = (*median, &mut self.others);
        // Those that are larger stay, in whatever order they come; of those as large as the median as many as there is room for.
        let larger = above.iter().filter(|size| **size > median).count();
        let mut room = (limits::SUMMARY_KEPT / 2).saturating_sub(larger);
        self.domains.retain(|_, of| {
            let fits = of.all() == median && room > 0;
            room -= usize::from(fits);
            let stays = of.all() > median || fits;
            if !stays {
                others.0.add(of);
                others.1 += 1;
            }
            stays
        });
    }

    /// What was found.
    pub fn sums(self, queues: &Destinations) -> QueueSums {
        let mut sums = self.sums;
        sums.domains = self.domains.len() as u64 + self.others.1;
        // One whose mail is all under way has none that waits.
        let waits = self.domains.into_iter().filter(|(_, of)| of.all() > 0);
        let named = waits.map(|(name, of)| (Box::from(&*name), of)).collect();
        sums.by_domain = largest(named, self.others.0);
        let number = |(number, of): (usize, &Waiting)| {
            (number > 0 && of.all() > 0).then(|| (Box::from(queues.sites.provider(number)), *of))
        };
        sums.by_provider = self.providers.iter().enumerate().filter_map(number).collect();
        sums
    }
}

/// The largest, the largest first, and the rest as one row.
pub fn largest(mut named: Vec<(Box<str>, Waiting)>, mut rest: Waiting) -> Vec<(Box<str>, Waiting)> {
    named.sort_unstable_by(|(one, of), (other, than)| than.all().cmp(&of.all()).then_with(|| one.cmp(other)));
    for (_, of) in named.drain(named.len().min(limits::SUMMARY_NAMES)..) {
        rest.add(&of);
    }
    if rest.all() > 0 {
        named.push((OTHER.into(), rest));
    }
    named
}

/// Who runs a site, by his name in the shaping files. Told when it is found where a domain leads, and remembered for what waits there.
pub fn is_run_by(queues: &mut Destinations, site: SiteKey, provider: Option<&str>) {
    queues.sites.is_run_by(site, provider);
}

#[cfg(test)]
mod tests {
    use super::super::sites::OTHER_NUMBER;
    use super::*;
    use crate::id::Location;
    use crate::queue::GroupPhase;
    use crate::queue::lifetimes::Lifetimes;

    fn group(offset: u32, count: u16, not_before: u32, came: u32, lifetimes: &Lifetimes) -> Group {
        let location = Location { lane: 0, slot: 0, offset };
        let life = lifetimes.number(1_000_000);
        Group { count, not_before, life, expiry: came + 1_000_000, ..Group::bare(location, offset) }
    }

    fn sums(queues: &mut Destinations, times: Times<'_>, looks: usize) -> QueueSums {
        let mut walk = SummaryWalk::default();
        while !walk.step(queues, times, looks) {}
        assert!(queues.domains.walked.is_none());
        walk.sums(queues)
    }

    #[test]
    fn what_waits_is_summed_up_however_small_the_slices() {
        let lifetimes = Lifetimes::new();
        let times = Times { now: 100_000, lifetimes: &lifetimes };
        let mut queues = Destinations::new(vec![9]);
        let mut push = |name: &str, group| {
            queues.push(name, group, times.now);
        };
        push("a.example", group(1, 3, 0, 99_990, &lifetimes));
        push("a.example", group(2, 5, 200_000, 99_940, &lifetimes));
        push("b.example", group(3, 7, 200_000, 99_939, &lifetimes));
        let held = Group { standing: GroupPhase::Held, ..group(4, 11, 200_000, 90_000, &lifetimes) };
        push("b.example", held);
        let aside = Group { standing: GroupPhase::Suspended, ..group(5, 13, 200_000, 0, &lifetimes) };
        push("c.example", aside);
        for looks in [1, 2, 3, 1_000] {
            let sums = sums(&mut queues, times, looks);
            assert_eq!(sums.all, Waiting { ready: 3, deferred: 12, suspended: 13, held: 11 }, "{looks}");
            assert_eq!((sums.ages, sums.domains), ([8, 7, 0, 11, 0, 13], 3), "{looks}");
            let names: Vec<_> = sums.by_domain.iter().map(|(name, of)| (&**name, of.all())).collect();
            assert_eq!(names, [("b.example", 18), ("c.example", 13), ("a.example", 8)]);
            assert!(sums.by_provider.is_empty(), "nobody is known to run anything");
        }
    }

    #[test]
    fn a_domain_is_its_providers_also_while_all_of_it_waits() {
        let lifetimes = Lifetimes::new();
        let mut queues = Destinations::new(vec![9]);
        let Some(crate::queue::destinations::Effect::Resolve(key, _)) =
            queues.push("a.example", group(1, 2, 0, 0, &lifetimes), 10)
        else {
            panic!("it is asked for")
        };
        let site = queues.site("mx:10 mx.example:25,");
        is_run_by(&mut queues, site, Some("google"));
        queues.resolved(key, "mx:10 mx.example:25,");
        queues.leave_site(key);
        let sums = sums(&mut queues, Times { now: 10, lifetimes: &lifetimes }, 9);
        assert_eq!(sums.by_provider, [("google".into(), Waiting { ready: 2, ..Waiting::default() })]);
    }

    #[test]
    fn there_are_no_more_names_than_may_be_and_nothing_is_left_out() {
        let lifetimes = Lifetimes::new();
        let mut queues = Destinations::new(vec![9]);
        let many = 2 * limits::SUMMARY_KEPT as u32;
        // Wherever they lie in a map, whose order is another in each build.
        let large = |number: u32| number % 300 == 77;
        let rest: u64 =
            (0..many).filter(|number| large(*number)).map(|number| 999 - u64::from(number % 299)).sum();
        for number in 0..many {
            let count = if large(number) { 1_000 - (number % 299) as u16 } else { 1 };
            queues.push(&format!("d{number}.example"), group(number, count, 500, 0, &lifetimes), 10);
        }
        let sums = sums(&mut queues, Times { now: 10, lifetimes: &lifetimes }, 2_048);
        assert_eq!((sums.all.deferred, sums.domains), (u64::from(many) + rest, u64::from(many)));
        assert_eq!(sums.by_domain.len(), limits::SUMMARY_NAMES + 1);
        let mut largest: Vec<u32> = (0..many).filter(|number| large(*number)).collect();
        largest.sort_by_key(|number| number % 299);
        let named = |number: &u32| format!("d{number}.example");
        let found: Vec<&str> = sums.by_domain.iter().take(largest.len()).map(|(name, _)| &**name).collect();
        assert_eq!(found, largest.iter().map(named).collect::<Vec<_>>());
        assert_eq!(sums.by_domain.iter().map(|(_, of)| of.all()).sum::<u64>(), sums.all.all());
        for number in 0..3 * u32::try_from(limits::SUMMARY_NAMES).unwrap() {
            let site = queues.site(&format!("mx:10 mx{number}.example:25,"));
            is_run_by(&mut queues, site, Some(&format!("p{number}")));
        }
        assert_eq!(queues.sites.provider(usize::from(OTHER_NUMBER)), OTHER);
    }
}
