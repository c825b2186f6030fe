//! Where opportunistic TLS broke of late: such a host is spoken to in plain text for a while, at once, because a host that offers
//! STARTTLS and cannot do it would otherwise cost each connection a time-out, or its mail.

use std::collections::{BTreeMap, VecDeque};

use crate::limits;
use crate::time::Instant;

/// Bounded; a host is known by its name and address.
#[derive(Debug, Default)]
pub struct TlsFailures {
    until: BTreeMap<String, Instant>,
    /// In the order they are forgotten: all are kept for the same time.
    order: VecDeque<(Instant, String)>,
}

impl TlsFailures {
    /// Whether TLS broke at this host, not long ago.
    pub fn is_known(&self, host: &str, now: Instant) -> bool {
        self.until.get(host).is_some_and(|until| *until > now)
    }

    /// TLS broke there. Whether that is news.
    pub fn note(&mut self, host: &str, now: Instant) -> bool {
        while let Some((until, oldest)) = self.order.front() {
            if *until > now && self.order.len() < limits::TLS_FAILURES_MAX {
                break;
            }
            if self.until.get(oldest) == Some(until) {
                self.until.remove(oldest);
            }
            self.order.pop_front();
        }
        let news = !self.is_known(host, now);
        let until = now + limits::TLS_FAILURE_KEPT;
        self.until.insert(host.to_owned(), until);
        self.order.push_back((until, host.to_owned()));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_for_a_while() {
        let mut failures = TlsFailures::default();
        let (begin, half) = (Instant(5), limits::TLS_FAILURE_KEPT / 2);
        assert!(failures.note("a", begin) && !failures.note("a", begin + half));
        assert!(failures.is_known("a", begin + half) && !failures.is_known("b", begin));
        // It broke again half way, and that counts.
        assert!(failures.is_known("a", begin + limits::TLS_FAILURE_KEPT));
        assert!(failures.note("b", begin + limits::TLS_FAILURE_KEPT));
        assert!(failures.is_known("a", begin + limits::TLS_FAILURE_KEPT));
        assert!(!failures.is_known("a", begin + half + limits::TLS_FAILURE_KEPT));
        assert!(failures.note("a", begin + half + limits::TLS_FAILURE_KEPT));
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let mut failures = TlsFailures::default();
        for host in 0..limits::TLS_FAILURES_MAX + 10 {
            failures.note(&host.to_string(), Instant(host as u64));
        }
        for _ in 0..3 * limits::TLS_FAILURES_MAX {
            failures.note("again", Instant(9_999_999));
        }
        assert!(
            failures.order.len() <= limits::TLS_FAILURES_MAX && failures.until.len() <= failures.order.len()
        );
        assert!(
            failures.is_known("again", Instant(10_000_000)) && !failures.is_known("3", Instant(10_000_000))
        );
    }
}
