//! Limits that this node shares with others: where control finds what is used of each, and puts what may be (`ClusterPart`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crate::limits;
use crate::policy::cluster::ledger::{Reading, Standing, beginning};
use crate::policy::cluster::nodes::RegisteredNode;
use crate::policy::cluster::{Limit, SharedLimits, script};
use crate::policy::rates::Counted;
use crate::shaping::pace::Pace;
use crate::shaping::rated::{EachRate, Rated};
use crate::shaping::value::Rate;
use crate::shard::cluster_counts::CountDesk;
use crate::shard::cluster_part::ClusterPart;
use crate::shard::counts::ConnectionCount;
use crate::shard::rates::Rates;
use crate::time::Instant;

/// The limits that the node shares, and what it has of each.
#[derive(Debug)]
pub struct ClusterDesk {
    entries: Mutex<HashMap<Box<str>, Arc<Entry>>>,
    /// Nobody can be asked: what begins has the node's share at once.
    cut_off: AtomicBool,
    share: f64,
    /// Quotas, and volumes of warm-up.
    pub counts: CountDesk,
    /// What is told of it.
    told: Mutex<Arc<ClusterNews>>,
}

/// How it stands with the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterNews {
    /// Whether the store answers, and why not.
    pub trouble: Option<String>,
    /// Limits, by how they are held.
    pub standing: Standing,
    /// Nodes that are there, or were a day ago.
    pub nodes: Vec<RegisteredNode>,
    /// Commands that were sent, and those that failed.
    pub commands: [u64; 2],
}

#[derive(Debug)]
struct Entry {
    shared: SharedLimits,
    part: Weak<ClusterPart>,
    /// What says how much is used.
    count: Used,
    keys: Vec<(Option<Rated>, Box<str>, Limit)>,
    /// What was taken of each rate at the last look, and when that was.
    seen: EachRate<AtomicU64>,
    seen_at: AtomicU64,
    /// When it was last seen that some was taken of each rate.
    taken_at: EachRate<AtomicU64>,
}

/// What says how much is used of a limit; of rates their parts do.
#[derive(Debug)]
enum Used {
    Connections(Weak<ConnectionCount>),
    /// What an account brought in a window of time.
    Window(Weak<Rates>, Counted),
    Nothing,
}

impl Used {
    fn now(&self, now: Instant) -> u64 {
        match self {
            Used::Connections(count) => count.upgrade().map_or(0, |count| count.used() as u64),
            Used::Window(rates, counted) => rates.upgrade().map_or(0, |rates| rates.used(*counted, now)),
            Used::Nothing => 0,
        }
    }
}

/// The desk of a node that is in a cluster.
#[derive(Debug, Default)]
pub struct Cluster(OnceLock<ClusterDesk>);

impl Cluster {
    /// The node is in one, and has this share of each limit while nobody can be asked.
    pub fn join(&self, share: f64) {
        let _ = self.0.set(ClusterDesk {
            entries: Mutex::default(),
            cut_off: AtomicBool::new(true),
            share,
            counts: CountDesk::new(share),
            told: Mutex::default(),
        });
    }

    /// None: it is in none.
    pub fn desk(&self) -> Option<&ClusterDesk> {
        self.0.get()
    }
}

impl ClusterDesk {
    /// These limits hold for a site or a provider, by its name.
    pub fn limited(&self, name: &str, count: &Arc<ConnectionCount>, shared: SharedLimits) {
        if shared == SharedLimits::default() && count.part().is_none() {
            return;
        }
        let part = count.share_with_nodes();
        self.put(name, (part, Used::Connections(Arc::downgrade(count))), shared);
    }

    /// This rate of messages holds for a tenant.
    pub fn limited_tenant(&self, tenant: &str, part: &Arc<ClusterPart>, pace: Pace) {
        let mut shared = SharedLimits::default();
        shared.rates[Rated::Messages] = Some(pace);
        self.put(&format!("t {tenant}"), (part, Used::Nothing), shared);
    }

    /// This rate holds for an account.
    pub fn limited_account(&self, account: &str, (rates, counted): (&Arc<Rates>, Counted), rate: &Rate) {
        let Some(part) = rates.untold(counted, rate) else { return };
        let what = match counted {
            Counted::Messages => "m",
            Counted::Recipients => "r",
        };
        let most = usize::try_from(rate.count).unwrap_or(usize::MAX).min(u32::MAX as usize);
        let shared = SharedLimits { connections: Some(most), ..SharedLimits::default() };
        // Another length is another count.
        let name = format!("a{what} {} {account}", rate.period.as_millis());
        self.put(&name, (part, Used::Window(Arc::downgrade(rates), counted)), shared);
    }

    fn put(&self, name: &str, (part, count): (&Arc<ClusterPart>, Used), shared: SharedLimits) {
        let mut entries = lock(&self.entries);
        let same = |entry: &Arc<Entry>| entry.shared == shared && entry.part.as_ptr() == Arc::as_ptr(part);
        if entries.get(name).is_some_and(same) {
            return;
        }
        let is_full = entries.len() >= limits::CLUSTER_KEYS_MAX && !entries.contains_key(name);
        let entry = Entry::new(name, (part, count), shared);
        for (of, _, limit) in &entry.keys {
            let whole = is_full || self.cut_off.load(Ordering::Relaxed);
            part.set(*of, beginning(*limit, self.share, whole));
        }
        for of in [None].into_iter().chain(Rated::ALL.map(Some)) {
            if entry.keys.iter().all(|(other, ..)| *other != of) {
                part.set(of, u64::MAX);
            }
        }
        if !is_full {
            entries.insert(name.into(), Arc::new(entry));
        }
    }

    /// Tells of each limit what was used of it since the last look, and takes what may be used from now on. Whoever waits for more looks again, and
    /// whoever has more than that gives it back.
    pub fn look(
        &self,
        now: Instant,
        decide: &mut impl FnMut(&str, Limit, Reading) -> u64,
        wake: &mut impl FnMut(&ConnectionCount),
    ) {
        let entries: Vec<Arc<Entry>> = {
            let mut entries = lock(&self.entries);
            entries.retain(|_, entry| entry.part.strong_count() > 0);
            entries.values().cloned().collect()
        };
        for entry in entries {
            let Some(part) = entry.part.upgrade() else { continue };
            let since = now.since(Instant(entry.seen_at.swap(now.0, Ordering::Relaxed)));
            let used = entry.count.now(now);
            for (of, key, limit) in &entry.keys {
                let wanted = part.take_wanted(*of);
                let reading = match of {
                    None => Reading { used, wanted, taken: Instant(0) },
                    Some(of) => entry.read_rate(*of, &part, (now, since, wanted)),
                };
                part.set(*of, decide(key, *limit, reading));
            }
            let Used::Connections(count) = &entry.count else { continue };
            count
                .upgrade()
                .filter(|count| count.is_wanted() || count.is_over_part())
                .iter()
                .for_each(|count| wake(count));
        }
    }

    /// Connections that are used now, and what windows hold, by the names of their limits; other rates are not counted.
    pub fn used(&self, now: Instant) -> HashMap<Box<str>, u64> {
        let entries = lock(&self.entries);
        let used = |entry: &Arc<Entry>| {
            let (_, key, _) = entry.keys.iter().find(|(of, ..)| of.is_none())?;
            let used = entry.count.now(now);
            (used > 0).then(|| (key.clone(), used))
        };
        entries.values().filter_map(used).collect()
    }

    /// Whether nobody can be asked: what begins has the node's share.
    pub fn cut_off(&self, is_so: bool) {
        self.cut_off.store(is_so, Ordering::Relaxed);
    }

    /// This is how it stands.
    pub fn tell(&self, news: ClusterNews) {
        *lock(&self.told) = Arc::new(news);
    }

    /// How it stood last.
    pub fn told(&self) -> Arc<ClusterNews> {
        lock(&self.told).clone()
    }
}

impl Entry {
    fn new(name: &str, (part, count): (&Arc<ClusterPart>, Used), shared: SharedLimits) -> Entry {
        let key = |kind: char| script::short(&format!("{kind}{name}"));
        let connections = shared.connections.map(|most| match count {
            Used::Window(..) => (None, key('w'), Limit::window(most as u64)),
            _ => (None, key('c'), Limit::connections(most)),
        });
        let rates = shared.rates.set().map(|(of, pace)| {
            let kind = match of {
                Rated::Messages => 'm',
                Rated::Connections => 'r',
            };
            (Some(of), key(kind), Limit::rate(pace.each()))
        });
        Entry {
            keys: connections.into_iter().chain(rates).collect(),
            shared,
            part: Arc::downgrade(part),
            count,
            seen: EachRate::of(|of| AtomicU64::new(part.taken(of))),
            seen_at: AtomicU64::new(0),
            taken_at: EachRate::of(|_| AtomicU64::new(0)),
        }
    }

    fn read_rate(
        &self,
        of: Rated,
        part: &ClusterPart,
        (now, since, wanted): (Instant, Duration, bool),
    ) -> Reading {
        let taken = part.taken(of);
        let some = taken.saturating_sub(self.seen[of].swap(taken, Ordering::Relaxed));
        let each = self.shared.rates[of].map_or(1, Pace::each);
        let whole = u128::from(some) * u128::from(each) * u128::from(limits::CLUSTER_PARTS);
        let used = u64::try_from(whole.div_ceil(since.as_nanos().max(1))).unwrap_or(u64::MAX);
        // Not before it was, and clocks of shards have beginnings of their own.
        if some > 0 {
            self.taken_at[of].store(now.0, Ordering::Relaxed);
        }
        Reading { used, wanted, taken: Instant(self.taken_at[of].load(Ordering::Relaxed)) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rates::Whose;
    use crate::shaping::value::rate;
    use crate::shard::rates::Taken;

    fn pace(text: &str) -> Pace {
        Pace::of(&rate(text).expect("a rate"))
    }

    #[test]
    fn what_an_account_brought_is_let_go_of_when_it_is_out_of_the_window() {
        let cluster = Cluster::default();
        cluster.join(0.5);
        let desk = cluster.desk().expect("it is in one");
        let (rates, per_minute) = (Arc::<Rates>::default(), rate("20/min").expect("a rate"));
        let second = 1_000_000_000;
        let take = |at: u64| {
            let of = (Whose::Account, rates.clone(), per_minute);
            (0..100)
                .take_while(|_| Taken::take([None, Some(of.clone())], Counted::Messages, Instant(at)).is_ok())
                .count()
        };
        desk.limited_account("shop", (&rates, Counted::Messages), &per_minute);
        assert_eq!(take(100 * second), 10, "nobody can be asked yet: its share");
        let look = |at: u64, units: u64| {
            let mut told = Vec::new();
            let mut decide = |key: &str, limit: Limit, reading: Reading| {
                told.push((key.to_owned(), limit.most, reading.used, reading.wanted));
                units
            };
            desk.look(Instant(at), &mut decide, &mut |_| {});
            told
        };
        assert_eq!(look(101 * second, 14), [("wam 60000 shop".to_owned(), 20, 10, true)]);
        assert_eq!(take(102 * second), 4);
        assert_eq!(desk.used(Instant(103 * second))["wam 60000 shop"], 14);
        // Told once; a reload with another rate is told again, and one of this node alone is whole.
        desk.limited_account("shop", (&rates, Counted::Messages), &per_minute);
        assert_eq!(take(104 * second), 0);
        let local = Rate { local: true, ..per_minute };
        desk.limited_account("shop", (&rates, Counted::Messages), &local);
        assert_eq!(take(105 * second), 6);
        assert_eq!(look(200 * second, 1)[0].2, 0, "nothing of it is in the window");
    }

    #[test]
    fn what_was_used_is_told_and_what_may_be_is_set() {
        let cluster = Cluster::default();
        assert!(cluster.desk().is_none());
        cluster.join(0.5);
        let desk = cluster.desk().expect("it is in one");
        let count = Arc::<ConnectionCount>::default();
        let mut shared = SharedLimits { connections: Some(20), ..SharedLimits::default() };
        shared.rates[Rated::Messages] = Some(pace("100/s"));
        desk.limited("ip1 mx:a:25", &count, shared.clone());
        let part = count.part().expect("a part").clone();
        assert_eq!(part.connections(20), 10, "nobody can be asked yet");
        assert!(count.take(20, 0));
        let second = 1_000_000_000;
        let look = |at: u64| {
            let mut told = Vec::new();
            let mut decide = |key: &str, _, reading| {
                told.push((key.to_owned(), reading));
                if key.starts_with('c') { 7 } else { 4_000 }
            };
            desk.look(Instant(at), &mut decide, &mut |_| {});
            told
        };
        look(second);
        (0..30).for_each(|_| part.took(Rated::Messages));
        part.wants(None);
        let told = look(2 * second);
        assert_eq!((told[0].0.as_str(), told[0].1.used, told[0].1.wanted), ("cip1 mx:a:25", 1, true));
        assert_eq!((told[1].1.used, told[1].1.wanted, told[1].1.taken), (3_000, false, Instant(2 * second)));
        assert_eq!(part.connections(20), 7);
        assert_eq!(desk.used(Instant(2 * second)).len(), 1);
        drop((part, count));
        assert!(look(3 * second).is_empty(), "nobody has it any more");
    }
}
