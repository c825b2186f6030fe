//! Whether hosts greet through the proxy of a source. One that takes connections and headers, and passes nothing on, looks like hosts that
//! greet nobody: that several sites in a row do so, and none answers meanwhile, is the proxy's fault.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::gate::AdmittedAddress;
use crate::limits;
use crate::time::Instant;

/// What is to be seen of a proxy that was found silent before it is used again, beyond that it takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Nothing: it was not silent.
    Nothing,
    /// That this host greets through it.
    Greeting(AdmittedAddress),
    /// None of those greeted that were silent before. It may be theirs after all: others are to be tried.
    Others,
}

/// Which hosts were silent through a proxy, and since when. One for the whole node.
#[derive(Debug, Default)]
pub struct Silence {
    /// When a host was heard last.
    heard: AtomicU64,
    /// Some were silent since.
    some: AtomicBool,
    silent: Mutex<Silent>,
}

#[derive(Debug, Default)]
struct Silent {
    /// Of each site the first that was: the hash of the site's name, and the host.
    hosts: Vec<(u32, AdmittedAddress)>,
    /// Since when.
    since: Instant,
    /// Hosts that were asked for a greeting since the proxy was blamed; None: it was not.
    asked: Option<usize>,
    /// It was, and is tried again.
    on_trial: bool,
}

impl Silence {
    /// A host was heard. True: some were silent before.
    pub fn heard(&self, now: Instant) -> bool {
        self.heard.fetch_max(now.0, Ordering::AcqRel);
        // Nearly always none was.
        if !self.some.load(Ordering::Acquire) {
            return false;
        }
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        *silent = Silent::default();
        self.some.store(false, Ordering::Release);
        true
    }

    /// A host of a site was silent on a connection that was begun then. True: so were others of other sites, and none was heard.
    pub fn unheard(&self, site: u32, to: AdmittedAddress, (begun, now): (Instant, Instant)) -> bool {
        // What is older says nothing of the proxy as it is now.
        if begun.0 < self.heard.load(Ordering::Acquire) {
            return false;
        }
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        self.some.store(true, Ordering::Release);
        if silent.hosts.is_empty() {
            silent.since = now;
        }
        let most = if silent.on_trial { limits::SILENT_SITES_ON_TRIAL } else { limits::SILENT_SITES };
        // One host of many domains is one host, and many hosts of one domain are one site.
        let is_known =
            silent.hosts.iter().any(|(of, host)| *of == site || host.address().ip() == to.address().ip());
        if !is_known && silent.hosts.len() < most {
            silent.hosts.push((site, to));
        }
        let blames = silent.asked.is_some()
            || silent.hosts.len() >= most && now.since(silent.since) >= limits::SILENT_FOR;
        if blames && silent.asked.is_none() {
            silent.asked = Some(0);
        }
        blames
    }

    /// What is to be seen next: each of the hosts is asked once.
    pub fn sought(&self) -> Sought {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asked) = silent.asked else { return Sought::Nothing };
        silent.asked = Some(asked + 1);
        silent.hosts.get(asked).map_or(Sought::Others, |(_, host)| Sought::Greeting(*host))
    }

    /// Others are tried. What was begun before does not count.
    pub fn begin_trial(&self, now: Instant) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        *silent = Silent { on_trial: true, ..Silent::default() };
        self.some.store(true, Ordering::Release);
        self.heard.fetch_max(now.0, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::route::gate::{Gate, NamedBy};

    fn host(number: u8) -> AdmittedAddress {
        let to = ([10, 0, 0, number], 25).into();
        Gate::default().admit(to, NamedBy::Operator).expect("an address")
    }

    fn at(seconds: u64) -> Instant {
        Instant(0) + Duration::from_secs(seconds)
    }

    /// Hosts of these sites are silent, a second after each other; which of them it took.
    fn blamed(silence: &Silence, all: impl IntoIterator<Item = (u32, u8)>, begun: u64) -> Option<u64> {
        let mut seconds = begun..;
        all.into_iter().find_map(|(site, number)| {
            let now = seconds.next()?;
            silence.unheard(site, host(number), (at(begun), at(now))).then_some(now)
        })
    }

    #[test]
    fn a_proxy_is_blamed_where_hosts_of_several_sites_are_silent() {
        let most = limits::SILENT_SITES as u8;
        let all = || (1..=most).map(|number| (number.into(), number));
        assert_eq!(blamed(&Silence::default(), all(), 10), Some(9 + u64::from(most)));
        for few in [
            (0..99).map(|_| (1, 1)).collect::<Vec<_>>(),
            (0..99).map(|number| (1, number)).collect(),
            (0..99).map(|number| (number, 1)).collect(),
            all().skip(1).chain((0..99).map(|_| (2, 2))).collect(),
        ] {
            assert_eq!(blamed(&Silence::default(), few, 10), None);
        }
        let silence = Silence::default();
        assert_eq!(blamed(&silence, all().skip(1), 10), None);
        assert!(silence.heard(at(20)) && !silence.heard(at(21)), "one is heard");
        assert_eq!(blamed(&silence, all(), 20), None, "all of that was begun before");
        assert_eq!(blamed(&silence, all().skip(1), 30), None);
        // At once is too soon, and the next one tells.
        let silence = Silence::default();
        for (site, number) in all() {
            assert!(!silence.unheard(site, host(number), (at(1), at(1))));
        }
        assert!(silence.unheard(1, host(1), (at(1), at(1) + limits::SILENT_FOR)));
    }

    #[test]
    fn those_that_were_silent_are_asked_before_others_are_tried() {
        let silence = Silence::default();
        assert_eq!(silence.sought(), Sought::Nothing);
        let all = (1..=limits::SILENT_SITES as u8).map(|number| (u32::from(number), number));
        assert!(blamed(&silence, all.clone(), 10).is_some());
        for (_, number) in all {
            assert_eq!(silence.sought(), Sought::Greeting(host(number)));
        }
        assert_eq!(silence.sought(), Sought::Others);
        silence.begin_trial(at(60));
        assert_eq!(silence.sought(), Sought::Nothing);
        let two = [(7, 7), (8, 8), (8, 8), (8, 8)];
        assert_eq!(blamed(&silence, two, 50), None, "begun before");
        assert_eq!(blamed(&silence, two, 70), Some(73), "a few are enough now");
        assert_eq!(silence.sought(), Sought::Greeting(host(7)));
        assert!(silence.heard(at(80)));
        assert_eq!(silence.sought(), Sought::Nothing);
        assert_eq!(blamed(&silence, two, 90), None, "as if nothing had been");
    }
}
