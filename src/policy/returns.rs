//! What comes back: which recipients are this node's own, and what return paths say.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::FeedbackConfig;
use crate::limits;
use crate::mail::bounce::verp::Verp;
use crate::mail::envelope::Envelope;

/// What holds for mail that comes back.
#[derive(Debug, Default)]
pub struct Returns {
    /// What writes return paths, and reads them.
    pub verp: Option<Verp>,
    verp_domain: Option<Box<str>>,
    domains: HashSet<Box<str>>,
    addresses: HashSet<Box<str>>,
}

impl Returns {
    /// Of a configuration, with what signs return paths if there is any.
    pub fn new(config: &FeedbackConfig, verp: Option<Verp>) -> Returns {
        let FeedbackConfig { verp_domain, addresses, domains } = config.clone();
        let set = |all: Vec<Box<str>>| all.into_iter().collect();
        Returns { verp, verp_domain, domains: set(domains), addresses: set(addresses) }
    }

    /// Whether mail to this address, in which its domain begins there, is read here, whoever brings it.
    pub fn takes(&self, address: &[u8], domain_at: usize) -> bool {
        let Some((text, domain)) = texts(address, domain_at) else { return false };
        self.verp_domain.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(domain))
            || (!self.domains.is_empty() && self.domains.contains(&*domain.to_ascii_lowercase()))
            || self.takes_address(text)
    }

    /// Whether it is one of single addresses that are read here, whose domains may be elsewhere.
    pub fn takes_address(&self, address: &str) -> bool {
        !self.addresses.is_empty() && self.addresses.contains(&*address.to_ascii_lowercase())
    }

    /// Recipients of which only the address is read here go where it goes, not where its domain does: to queues, all of it is their domain.
    pub fn set_apart(&self, envelope: &mut Envelope) {
        for one in &mut envelope.recipients {
            if std::str::from_utf8(&one.address).is_ok_and(|address| self.takes_address(address)) {
                one.domain_at = 0;
            }
        }
    }

    /// Whether any single address is.
    pub fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }
}

fn texts(address: &[u8], domain_at: usize) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(address).ok()?;
    Some((text, text.get(domain_at..)?))
}

/// Names of tenants, of all shards: few, and each is added once.
#[derive(Clone, Debug, Default)]
pub struct KnownTenants(Arc<Mutex<Names>>);

/// In the order in which they came.
#[derive(Debug, Default)]
struct Names {
    all: Vec<Arc<str>>,
    set: HashSet<Arc<str>>,
}

impl KnownTenants {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more. Where there are too many it is left out.
    pub fn add(&self, tenant: &str) {
        let mut names = self.names();
        if !tenant.is_empty() && names.all.len() < limits::KNOWN_TENANTS_MAX && !names.set.contains(tenant) {
            let name: Arc<str> = tenant.into();
            names.set.insert(name.clone());
            names.all.push(name);
        }
    }

    /// Those behind the first so many.
    pub fn behind(&self, count: usize) -> Vec<Arc<str>> {
        self.names().all.get(count..).unwrap_or_default().to_vec()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names().all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_told_from_other_mail() {
        let text = |all: &[&str]| all.iter().map(|one| (*one).into()).collect();
        let config = FeedbackConfig {
            verp_domain: Some("bounces.example.net".into()),
            addresses: text(&["fbl@example.net"]),
            domains: text(&["fbl.example.net"]),
        };
        let returns = Returns::new(&config, None);
        let takes = |address: &str| {
            returns.takes(address.as_bytes(), address.rfind('@').map_or(address.len(), |at| at + 1))
        };
        for address in ["b1-x@Bounces.example.net", "FBL@example.NET", "any@fbl.example.net"] {
            assert!(takes(address), "{address}");
        }
        for address in ["x@example.net", "x@a.bounces.example.net", "postmaster", "fbl@example.net@x.example"]
        {
            assert!(!takes(address), "{address}");
        }
        assert!(returns.takes_address("Fbl@Example.net") && !returns.takes_address("any@fbl.example.net"));
        assert!(!Returns::default().takes(b"a@b", 2));
    }
}
