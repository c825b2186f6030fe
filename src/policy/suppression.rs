//! Who gets no mail: the suppression list, of the node and of its tenants, by address and by domain.
//!
//! Shards ask [`Suppression::find`] of each recipient. It compares fingerprints: those of the list's file, which is mapped ([`base`]), and those that
//! changed since it was made ([`recent`]), which win. Nothing here waits, locks or makes room. What else is known of an entry is in the file's book and
//! in `control.db`, which control keeps: `entry` is how, `merge` makes a new file of an old one and what changed.
//!
//! docs/suppression.md: how it is used, what it costs, and the format of the file.

pub mod base;
pub mod canonical;
pub mod entry;
pub mod exchange;
pub mod fingerprint;
pub mod layout;
pub mod merge;
pub mod recent;
pub mod shared;
pub mod sorted;

use std::sync::Arc;

use base::Base;
use canonical::{Compared, Kind};
use entry::Place;
use fingerprint::Key;
use recent::{Recent, bit};

/// Why a recipient gets no mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What the entry is about.
    pub kind: Kind,
    /// It is the tenant's, not the node's.
    pub of_tenant: bool,
}

/// The list as shards look into it.
#[derive(Debug)]
pub struct Suppression {
    key: Key,
    base: Option<Arc<Base>>,
    recent: Arc<Recent>,
    /// Kinds of entries that the file has.
    kinds: u8,
}

impl Default for Suppression {
    fn default() -> Suppression {
        Suppression::new(Key([0; 16]), None, Arc::default())
    }
}

impl Suppression {
    /// A list of a file, if there is one, and of what changed since.
    pub fn new(key: Key, base: Option<Arc<Base>>, recent: Arc<Recent>) -> Suppression {
        let kinds = base.as_ref().map_or(0, |base| base.kinds());
        Suppression { key, base, recent, kinds }
    }

    /// Whether a recipient gets no mail of a tenant's: his address without angle brackets, and where its domain begins in it. None: he does, as far as
    /// this list goes.
    pub fn find(&self, recipient: &[u8], domain_at: usize, tenant: Option<&str>) -> Option<Hit> {
        let kinds = self.kinds | self.recent.kinds();
        if kinds == 0 {
            return None;
        }
        let mut of = Compared::default();
        if !of.set(recipient, domain_at) {
            return None;
        }
        let tenant = tenant.filter(|tenant| !tenant.is_empty());
        let scopes = [None, tenant];
        for scope in &scopes[..1 + usize::from(tenant.is_some())] {
            let asks = |kind| kinds & bit(kind, scope.is_some()) != 0;
            let hit = |kind| Some(Hit { kind, of_tenant: scope.is_some() });
            if asks(Kind::Address) && self.lists(Kind::Address, *scope, of.whole()) {
                return hit(Kind::Address);
            }
            if asks(Kind::Domain) && self.lists(Kind::Domain, *scope, of.domain()) {
                return hit(Kind::Domain);
            }
            if asks(Kind::Subdomains)
                && above(of.domain()).any(|above| self.lists(Kind::Subdomains, *scope, above))
            {
                return hit(Kind::Subdomains);
            }
        }
        None
    }

    #[inline]
    fn lists(&self, kind: Kind, tenant: Option<&str>, about: &[u8]) -> bool {
        let fingerprint = self.key.fingerprint(kind, tenant, about);
        let place = Place { of_domains: kind != Kind::Address, fingerprint };
        let recent = if self.recent.is_empty() { None } else { self.recent.get(fingerprint) };
        recent.unwrap_or_else(|| self.base.as_ref().is_some_and(|base| base.has(place)))
    }
}

/// The domains above one: of `a.b.example`, `b.example` and `example`. A domain has 127 parts at most.
fn above(domain: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memchr_iter(b'.', domain).map(|dot| &domain[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use entry::place;

    fn list(entries: &[(Option<&str>, &str)]) -> Suppression {
        let (key, recent) = (Key([3; 16]), Recent::new(100));
        for (tenant, address) in entries {
            let place = place(&key, *tenant, address).unwrap();
            recent.set(place.fingerprint, true, bit(Kind::of(address), tenant.is_some())).unwrap();
        }
        Suppression::new(key, None, Arc::new(recent))
    }

    fn find(list: &Suppression, recipient: &str, tenant: Option<&str>) -> Option<Hit> {
        let domain_at = recipient.rfind('@').map_or(recipient.len(), |at| at + 1);
        list.find(recipient.as_bytes(), domain_at, tenant)
    }

    #[test]
    fn each_kind_holds_for_whom_it_is_about() {
        let shop = Some("shop");
        let all = [
            (None, "ada@example.org"),
            (shop, "bob@example.org"),
            (None, "@blocked.example"),
            (shop, "@theirs.example"),
            (None, "*.wide.example"),
        ];
        let list = list(&all);
        let hit = |kind, of_tenant| Some(Hit { kind, of_tenant });
        for (recipient, tenant, found) in [
            ("Ada@EXAMPLE.org", None, hit(Kind::Address, false)),
            ("\"ada\"@example.org", shop, hit(Kind::Address, false)),
            ("ada+x@example.org", shop, None),
            ("bob@example.org", None, None),
            ("bob@example.org", Some("other"), None),
            ("bob@example.org", Some(""), None),
            ("BOB@example.org", shop, hit(Kind::Address, true)),
            ("x@blocked.EXAMPLE", None, hit(Kind::Domain, false)),
            ("x@a.blocked.example", None, None),
            ("x@theirs.example", None, None),
            ("x@theirs.example", shop, hit(Kind::Domain, true)),
            ("x@wide.example", None, None),
            ("x@a.wide.example", None, hit(Kind::Subdomains, false)),
            ("x@a.b.c.wide.example", shop, hit(Kind::Subdomains, false)),
            ("x@awide.example", shop, None),
            ("postmaster", shop, None),
            ("@blocked.example@fine.example", None, None),
        ] {
            assert_eq!(find(&list, recipient, tenant), found, "{recipient} {tenant:?}");
        }
    }

    #[test]
    fn an_empty_list_holds_nothing_back() {
        assert_eq!(find(&Suppression::default(), "ada@example.org", Some("shop")), None);
    }

    #[test]
    fn what_was_removed_since_is_not_listed() {
        let list = list(&[(None, "ada@example.org")]);
        let place = place(&list.key, None, "ada@example.org").unwrap();
        list.recent.set(place.fingerprint, false, 0).unwrap();
        assert_eq!(find(&list, "ada@example.org", None), None);
    }
}
