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

    /// Whether nobody is listed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.kinds | self.recent.kinds() == 0
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
        let asks =
            |kind, of_tenant: bool| kinds & bit(kind, of_tenant) != 0 && (!of_tenant || tenant.is_some());
        let place = |kind, of_tenant, about: &[u8]| {
            let scope = if of_tenant { tenant } else { None };
            let fingerprint = self.key.fingerprint(kind, scope, about);
            Place { of_domains: kind != Kind::Address, fingerprint }
        };
        let asked = ASKED.map(|(kind, of_tenant)| {
            let about = if kind == Kind::Address { of.whole() } else { of.domain() };
            asks(kind, of_tenant).then(|| place(kind, of_tenant, about))
        });
        if let Some(first) = self.first_of(asked) {
            let (kind, of_tenant) = ASKED[first];
            return Some(Hit { kind, of_tenant });
        }
        let kind = Kind::Subdomains;
        let asked = [false, true].into_iter().filter(|of_tenant| asks(kind, *of_tenant));
        let mut hits = asked.filter(|of_tenant| {
            above(of.domain()).any(|above| self.first_of([Some(place(kind, *of_tenant, above))]).is_some())
        });
        hits.next().map(|of_tenant| Hit { kind, of_tenant })
    }

    /// The first of these that is listed.
    #[inline]
    fn first_of<const N: usize>(&self, mut asked: [Option<Place>; N]) -> Option<usize> {
        if !self.recent.is_empty() {
            let recent = asked.map(|place| place.and_then(|place| self.recent.get(place.fingerprint)));
            if let Some(first) = recent.iter().position(|recent| *recent == Some(true)) {
                return Some(first);
            }
            for (place, recent) in asked.iter_mut().zip(recent) {
                // What changed since the file was made counts.
                *place = place.filter(|_| recent.is_none());
            }
        }
        self.base.as_ref()?.first_of(&asked)
    }
}

/// What is asked for of every recipient, and whether of his tenant: all at one time, as most are listed nowhere.
const ASKED: [(Kind, bool); 4] =
    [(Kind::Address, false), (Kind::Domain, false), (Kind::Address, true), (Kind::Domain, true)];

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
