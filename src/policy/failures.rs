//! Hosts that failed in some way of late, kept in mind for a while: one that offers STARTTLS and cannot do it is spoken to in plain text
//! at once, one that hangs up on EHLO or loses commands sent together is spared these, and one that cannot be reached or took no message
//! is asked after the others of its site (RFC 5321 5.1).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::time::Instant;

/// Bounded; a host is known by its name and address.
#[derive(Debug)]
pub struct Failures {
    kept: Duration,
    most: usize,
    until: BTreeMap<String, Instant>,
    /// In the order they are forgotten: all are kept for the same time.
    order: VecDeque<(Instant, String)>,
}

impl Failures {
    /// Of so many hosts at most, each kept in mind for so long.
    pub fn new(kept: Duration, most: usize) -> Failures {
        Failures { kept, most, until: BTreeMap::new(), order: VecDeque::new() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Whether this host failed, not long ago.
    pub fn is_known(&self, host: &str, now: Instant) -> bool {
        self.until(host, now).is_some()
    }

    /// Until when this is kept in mind: the later, the later it failed.
    pub fn until(&self, host: &str, now: Instant) -> Option<Instant> {
        self.until.get(host).copied().filter(|until| *until > now)
    }

    /// How long ago it failed last, if it is known.
    pub fn since(&self, host: &str, now: Instant) -> Option<Duration> {
        Some(self.kept.saturating_sub(self.until(host, now)?.since(now)))
    }

    /// It does well again.
    pub fn forget(&mut self, host: &str) {
        self.until.remove(host);
    }

    /// All of them may do well again.
    pub fn clear(&mut self) {
        self.until.clear();
        self.order.clear();
    }

    /// It failed. Whether that is news.
    pub fn note(&mut self, host: &str, now: Instant) -> bool {
        while let Some((until, oldest)) = self.order.front() {
            if *until > now && self.order.len() < self.most {
                break;
            }
            if self.until.get(oldest) == Some(until) {
                self.until.remove(oldest);
            }
            self.order.pop_front();
        }
        let news = !self.is_known(host, now);
        let until = now + self.kept;
        self.until.insert(host.to_owned(), until);
        self.order.push_back((until, host.to_owned()));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(600);
    const MOST: usize = 100;

    #[test]
    fn hosts_are_known_for_a_while() {
        let mut failures = Failures::new(KEPT, MOST);
        let (begin, half) = (Instant(5), KEPT / 2);
        assert!(failures.note("a", begin) && !failures.note("a", begin + half));
        assert!(failures.is_known("a", begin + half) && !failures.is_known("b", begin));
        // It broke again half way, and that counts.
        assert!(failures.is_known("a", begin + KEPT));
        assert!(failures.note("b", begin + KEPT));
        assert!(failures.is_known("a", begin + KEPT));
        assert!(!failures.is_known("a", begin + half + KEPT));
        assert!(failures.note("a", begin + half + KEPT));
        assert_eq!(failures.since("a", begin + half + KEPT + half), Some(half));
        failures.forget("a");
        assert_eq!(failures.since("a", begin + half + KEPT), None);
        assert!(!failures.is_known("a", begin + half + KEPT) && failures.note("a", begin + half + KEPT));
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let mut failures = Failures::new(KEPT, MOST);
        for host in 0..MOST + 10 {
            failures.note(&host.to_string(), Instant(host as u64));
        }
        for _ in 0..3 * MOST {
            failures.note("again", Instant(9_999_999));
        }
        assert!(failures.order.len() <= MOST && failures.until.len() <= failures.order.len());
        assert!(
            failures.is_known("again", Instant(10_000_000)) && !failures.is_known("3", Instant(10_000_000))
        );
    }
}
