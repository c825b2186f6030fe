//! Policies of domains (MTA-STS, RFC 8461), as all shards have them: shards say whose is wanted, control fetches it.
//!
//! A shard looks here when it is asked where a domain's mail goes, never for a message. Each look is one into a table behind a lock.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::limits;
use crate::policy::sts::{KeptPolicy, Mode};
use crate::time::UnixMillis;

/// A domain whose policy is to be fetched, and the id that its record has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPolicy {
    /// In lower case.
    pub domain: Box<str>,
    /// What a policy that is fetched now is known by.
    pub id: Box<str>,
}

/// The policies of the node.
#[derive(Debug)]
pub struct StsPolicies {
    known: Mutex<KnownPolicies>,
    wanted: ArrayQueue<WantedPolicy>,
    served: AtomicBool,
}

#[derive(Debug, Default)]
struct KnownPolicies {
    kept: HashMap<Box<str>, Arc<KeptPolicy>>,
    /// Those that could not be fetched are not asked for again before then.
    failed: HashMap<Box<str>, UnixMillis>,
    pending: HashSet<Box<str>>,
}

impl Default for StsPolicies {
    fn default() -> StsPolicies {
        let wanted = ArrayQueue::new(limits::STS_WANTED_MAX);
        StsPolicies { known: Mutex::default(), wanted, served: AtomicBool::new(false) }
    }
}

impl StsPolicies {
    /// Somebody fetches them.
    pub fn serve(&self) {
        self.served.store(true, Ordering::Release);
    }

    /// Whether anybody does.
    pub fn is_served(&self) -> bool {
        self.served.load(Ordering::Acquire)
    }

    /// The policy of a domain that holds.
    pub fn policy(&self, domain: &str, now: UnixMillis) -> Option<Arc<KeptPolicy>> {
        self.lock().kept.get(domain).filter(|kept| kept.holds(now)).cloned()
    }

    /// It is to be fetched. True: it will be, or is being.
    pub fn want(&self, domain: &str, id: &str, now: UnixMillis) -> bool {
        let mut known = self.lock();
        if known.pending.contains(domain) {
            return true;
        }
        if known.failed.get(domain).is_some_and(|until| now < *until) {
            return false;
        }
        let wanted = WantedPolicy { domain: domain.into(), id: id.into() };
        let room = self.wanted.push(wanted).is_ok();
        if room {
            known.pending.insert(domain.into());
        }
        room
    }

    /// Whether it is being fetched.
    pub fn is_pending(&self, domain: &str) -> bool {
        self.lock().pending.contains(domain)
    }

    /// The next one to fetch.
    pub fn next(&self) -> Option<WantedPolicy> {
        self.wanted.pop()
    }

    /// What came of it. A failure leaves what is kept (RFC 8461 section 3.3), and `none` too, for as long as it says.
    pub fn fetched(&self, domain: &str, policy: Option<KeptPolicy>, now: UnixMillis) {
        let mut known = self.lock();
        known.pending.remove(domain);
        known.failed.remove(domain);
        match policy {
            Some(policy) => known.keep(domain, policy, now),
            None => {
                if known.failed.len() >= limits::STS_FAILED_MAX {
                    known.failed.clear();
                }
                known.failed.insert(domain.into(), now.after(limits::STS_FAILED_KEPT));
            }
        }
    }

    /// One that was kept from before.
    pub fn restore(&self, domain: &str, policy: KeptPolicy, now: UnixMillis) {
        if policy.holds(now) {
            self.lock().keep(domain, policy, now);
        }
    }

    /// Policies that are known, and how many of them are enforced.
    pub fn counts(&self) -> (usize, usize) {
        let known = self.lock();
        let enforced = known.kept.values().filter(|kept| kept.policy.mode == Mode::Enforce).count();
        (known.kept.len(), enforced)
    }

    fn lock(&self) -> MutexGuard<'_, KnownPolicies> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownPolicies {
    fn keep(&mut self, domain: &str, policy: KeptPolicy, now: UnixMillis) {
        if self.kept.len() >= limits::STS_POLICIES_MAX && !self.kept.contains_key(domain) {
            self.kept.retain(|_, kept| kept.holds(now));
            if self.kept.len() >= limits::STS_POLICIES_MAX {
                // Whoever publishes many policies is not to push out those that are enforced.
                return;
            }
        }
        self.kept.insert(domain.into(), Arc::new(policy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sts::Policy;

    fn policy(mode: &str, age: u64, fetched: u64) -> KeptPolicy {
        let text = format!("version: STSv1\nmode: {mode}\nmx: mx.a.example\nmax_age: {age}\n");
        let policy = Policy::parse(text.as_bytes()).expect("a policy");
        KeptPolicy { policy, id: "1".into(), fetched: UnixMillis(fetched) }
    }

    #[test]
    fn a_failed_fetch_leaves_what_is_kept_and_rests() {
        let known = StsPolicies::default();
        let at = |seconds: u64| UnixMillis(seconds * 1000);
        assert!(known.want("a.example", "1", at(0)) && known.want("a.example", "1", at(0)));
        assert_eq!(known.next().map(|wanted| wanted.domain), Some("a.example".into()));
        assert_eq!(known.next(), None, "once");
        assert!(known.is_pending("a.example"));
        known.fetched("a.example", Some(policy("enforce", 1_000_000, 0)), at(0));
        assert!(!known.is_pending("a.example") && known.policy("a.example", at(999_999)).is_some());
        assert!(known.want("a.example", "2", at(1)));
        known.fetched("a.example", None, at(1));
        assert!(known.policy("a.example", at(2)).is_some(), "it survives");
        assert!(!known.want("a.example", "2", at(2)), "not at once");
        assert!(known.want("a.example", "2", at(2).after(limits::STS_FAILED_KEPT)));
        assert!(known.policy("a.example", at(1_000_000)).is_none(), "its time is over");
        known.fetched("a.example", Some(policy("none", 1_000, 5_000)), at(5));
        assert_eq!(known.counts(), (1, 0));
        known.restore("b.example", policy("enforce", 10, 0), at(10));
        assert_eq!(known.counts(), (1, 0), "it had ended");
    }

    #[test]
    fn what_waits_to_be_fetched_is_bounded() {
        let known = StsPolicies::default();
        let taken = (0..limits::STS_WANTED_MAX + 5)
            .filter(|at| known.want(&format!("d{at}.example"), "1", UnixMillis(0)));
        assert_eq!(taken.count(), limits::STS_WANTED_MAX);
    }
}
