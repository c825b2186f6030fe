//! The sites of a sink: which addresses belong together, which domains they take mail for, and what they know of their
//! clients.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::behaviour::Behaviour;
use crate::ledger::locked;

/// Sites of one sink.
pub const SITES_MAX: usize = 512;
/// Clients a site keeps count of; further ones are not limited.
const CLIENTS_MAX: usize = 100_000;
/// Triplets a site remembers; when they are too many it begins anew, as real ones do when they restart.
const TRIPLETS_MAX: usize = 4_000_000;

/// Hosts that answer for the same domains in the same way.
#[derive(Clone, Debug)]
pub struct Site {
    /// In reports.
    pub name: String,
    /// Where its hosts listen; port 0 lets the kernel choose.
    pub addresses: Vec<SocketAddr>,
    /// How they behave.
    pub behaviour: Behaviour,
    /// Domains it takes mail for, `*.suffix` for all below; none: for all that no other site takes.
    pub domains: Vec<String>,
}

impl Site {
    /// One that takes everything, at these addresses.
    pub fn new(name: &str, addresses: Vec<SocketAddr>) -> Site {
        Site { name: name.to_owned(), addresses, behaviour: Behaviour::default(), domains: Vec::new() }
    }
}

/// Which site is responsible for a domain.
#[derive(Clone, Debug, Default)]
pub(super) struct Responsible {
    exact: HashMap<Vec<u8>, usize>,
    /// By what follows `*.`.
    below: HashMap<Vec<u8>, usize>,
}

impl Responsible {
    pub(super) fn new(sites: &[Site]) -> Responsible {
        let mut found = Responsible::default();
        for (at, site) in sites.iter().enumerate() {
            for domain in &site.domains {
                let domain = domain.to_ascii_lowercase();
                match domain.strip_prefix("*.") {
                    Some(suffix) => found.below.insert(suffix.as_bytes().to_vec(), at),
                    None => found.exact.insert(domain.into_bytes(), at),
                };
            }
        }
        found
    }

    /// Whether mail for `domain` belongs elsewhere than to site `at`.
    pub(super) fn is_elsewhere(&self, domain: &[u8], at: usize) -> bool {
        if self.exact.is_empty() && self.below.is_empty() {
            return false;
        }
        let mut buffer = [0; 255];
        let Some(lower) = buffer.get_mut(..domain.len()) else { return true };
        lower.copy_from_slice(domain);
        lower.make_ascii_lowercase();
        self.site_of(lower).is_some_and(|site| site != at)
    }

    fn site_of(&self, domain: &[u8]) -> Option<usize> {
        if let Some(site) = self.exact.get(domain) {
            return Some(*site);
        }
        let mut rest = domain;
        while let Some(dot) = memchr::memchr(b'.', rest) {
            rest = &rest[dot + 1..];
            if let Some(site) = self.below.get(rest) {
                return Some(*site);
            }
        }
        None
    }
}

/// What a site knows of its clients, over all threads.
#[derive(Debug, Default)]
pub(super) struct Gate {
    clients: Mutex<HashMap<IpAddr, Client>>,
    /// When each triplet, by its hash, was first seen.
    triplets: Mutex<HashMap<u64, u64>>,
    open: AtomicU64,
    peak: AtomicU64,
    /// Messages taken in each tenth of a second since the first.
    taken: Mutex<Taken>,
}

/// When a site took its messages.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// When the first came, nanoseconds of [`crate::sys::now`].
    pub since: u64,
    /// How many came in each [`Taken::SPAN`] from then on.
    pub each: Vec<u32>,
}

impl Taken {
    /// Nanoseconds of one count.
    pub const SPAN: u64 = 100_000_000;
    /// Counts: three hours. What comes later counts in the last.
    const EACH_MAX: usize = 108_000;

    fn add(&mut self, now: u64) {
        if self.each.is_empty() {
            self.since = now;
        }
        let at = (now.saturating_sub(self.since) / Taken::SPAN).min(Taken::EACH_MAX as u64 - 1) as usize;
        if self.each.len() <= at {
            self.each.resize(at + 1, 0);
        }
        self.each[at] += 1;
    }

    /// How many came up to a moment.
    pub fn until(&self, moment: u64) -> u64 {
        let counts = moment.saturating_sub(self.since).div_ceil(Taken::SPAN).min(self.each.len() as u64);
        self.each[..counts as usize].iter().map(|count| u64::from(*count)).sum()
    }
}

#[derive(Debug, Default)]
struct Client {
    open: u32,
    /// Messages it may still send, and when that was reckoned.
    credit: f64,
    reckoned: u64,
}

impl Gate {
    /// A connection of this client is open. False: it has more than `most` now. Each call needs a [`Gate::leave`].
    pub(super) fn enter(&self, client: IpAddr, most: Option<u32>) -> bool {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
        let mut clients = locked(&self.clients);
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&client) {
            return true;
        }
        let found = clients.entry(client).or_default();
        found.open += 1;
        most.is_none_or(|most| found.open <= most)
    }

    pub(super) fn leave(&self, client: IpAddr) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(found) = locked(&self.clients).get_mut(&client) {
            found.open = found.open.saturating_sub(1);
        }
    }

    /// A message was taken.
    pub(super) fn take(&self, now: u64) {
        locked(&self.taken).add(now);
    }

    /// When they were.
    pub(super) fn taken(&self) -> Taken {
        locked(&self.taken).clone()
    }

    /// The most connections open at one time.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether this client may send one more message. Up to a second's worth may come at once.
    pub(super) fn admit(&self, client: IpAddr, rate: f64, now: u64) -> bool {
        let mut clients = locked(&self.clients);
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&client) {
            return true;
        }
        let found = clients.entry(client).or_default();
        if found.reckoned == 0 {
            (found.credit, found.reckoned) = (rate.max(1.0), now);
        }
        let gained = now.saturating_sub(found.reckoned) as f64 / 1e9 * rate;
        (found.credit, found.reckoned) =
            ((found.credit + gained).min(rate.max(1.0)), now.max(found.reckoned));
        let admitted = found.credit >= 1.0;
        if admitted {
            found.credit -= 1.0;
        }
        admitted
    }

    /// Whether this triplet has to come again later.
    pub(super) fn is_new(&self, triplet: u64, wait: u64, now: u64) -> bool {
        let mut triplets = locked(&self.triplets);
        if triplets.len() >= TRIPLETS_MAX {
            triplets.clear();
        }
        now.saturating_sub(*triplets.entry(triplet).or_insert(now)) < wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn domains_belong_to_their_site() {
        let site = |domains: &[&str]| Site {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            ..Site::new("x", Vec::new())
        };
        let sites = Responsible::new(&[site(&["A.example"]), site(&["*.example", "b.test"])]);
        for (domain, at) in
            [("a.example", 0), ("A.EXAMPLE", 0), ("x.example", 1), ("x.a.example", 1), ("B.test", 1)]
        {
            assert!(!sites.is_elsewhere(domain.as_bytes(), at), "{domain}");
            assert!(sites.is_elsewhere(domain.as_bytes(), 1 - at), "{domain}");
        }
        assert!(!sites.is_elsewhere(b"other.org", 0), "nobody's mail is not misrouted");
        assert!(sites.is_elsewhere(&[b'x'; 300], 0));
        assert!(!Responsible::new(&[site(&[])]).is_elsewhere(b"any.example", 0));
    }

    #[test]
    fn rates_are_kept() {
        let gate = Gate::default();
        let second = 1_000_000_000;
        let taken = |from: u64| (0..100).filter(|_| gate.admit(CLIENT, 10.0, from)).count();
        assert_eq!((taken(second), taken(2 * second), taken(2 * second + second / 2)), (10, 10, 5));
    }

    #[test]
    fn connections_are_counted() {
        let gate = Gate::default();
        assert!(gate.enter(CLIENT, Some(2)) && gate.enter(CLIENT, Some(2)) && !gate.enter(CLIENT, Some(2)));
        gate.leave(CLIENT);
        gate.leave(CLIENT);
        assert!(gate.enter(CLIENT, Some(2)));
        assert_eq!(gate.peak(), 3);
    }

    #[test]
    fn it_is_known_when_messages_were_taken() {
        let gate = Gate::default();
        let at = |tenths: u64| 7_000_000_000 + tenths * Taken::SPAN;
        [0, 1, 1, 25].iter().for_each(|tenths| gate.take(at(*tenths)));
        let taken = gate.taken();
        assert_eq!([0, 1, 2, 24, 26, 900].map(|tenths| taken.until(at(tenths))), [0, 1, 3, 3, 4, 4]);
        gate.take(u64::MAX);
        assert_eq!(gate.taken().each.len(), Taken::EACH_MAX);
    }

    #[test]
    fn triplets_wait_once() {
        let gate = Gate::default();
        assert!(gate.is_new(7, 100, 1000) && gate.is_new(7, 100, 1050) && !gate.is_new(7, 100, 1100));
        assert!(gate.is_new(8, 100, 1100));
    }
}
