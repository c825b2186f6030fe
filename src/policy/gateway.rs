//! Domains that are taken from anybody, as we are their MX or gateway. Strangers reach these and nothing behind them.

use std::collections::HashSet;

use crate::config::DomainPattern;
use crate::mail::address::Path;

/// The domains of a listener.
#[derive(Debug, Default)]
pub struct Gateway {
    exact: HashSet<Box<str>>,
    /// All below these.
    above: HashSet<Box<str>>,
    /// The first that is named in full.
    first: Option<Box<str>>,
}

impl Gateway {
    /// Of a configuration. None: it names none.
    pub fn new(domains: &[DomainPattern]) -> Option<Gateway> {
        let mut gateway = Gateway::default();
        for domain in domains {
            match domain {
                DomainPattern::Exact(name) => {
                    gateway.first.get_or_insert_with(|| name.as_str().into());
                    gateway.exact.insert(name.as_str().into());
                }
                DomainPattern::Suffix(name) => drop(gateway.above.insert(name.as_str().into())),
                // No such configuration can be written.
                DomainPattern::Any => {}
            }
        }
        (!domains.is_empty()).then_some(gateway)
    }

    /// The domain of a postmaster without one (RFC 5321 4.5.1): our name where mail to it is taken, or else the first domain that is named in full,
    /// for that has a way to go.
    pub fn postmaster_of<'a>(&'a self, hostname: &'a str) -> &'a str {
        match &self.first {
            Some(first) if !self.has(hostname.as_bytes()) => first,
            _ => hostname,
        }
    }

    /// Whether a stranger's recipient is taken. `hostname`: our name.
    pub fn takes(&self, path: &Path<'_>, hostname: &str) -> bool {
        let domain =
            if path.domain().is_empty() { self.postmaster_of(hostname).as_bytes() } else { path.domain() };
        // The next hop may take a part of the address for another way: that would be ours to answer for.
        !path.routed && !leads_on(path.local()) && self.has(domain)
    }

    /// Whether mail to an address, in which its domain begins there, is taken from strangers.
    pub fn has_domain_of(&self, address: &[u8], domain_at: usize) -> bool {
        address.get(domain_at..).is_some_and(|domain| self.has(domain))
    }

    fn has(&self, domain: &[u8]) -> bool {
        let Ok(domain) = std::str::from_utf8(domain) else { return false };
        let domain = domain.to_ascii_lowercase();
        let mut above = domain.split_once('.').map(|(_, rest)| rest);
        let below = std::iter::from_fn(|| {
            let name = above?;
            above = name.split_once('.').map(|(_, rest)| rest);
            Some(name)
        });
        self.exact.contains(&*domain)
            || (!self.above.is_empty() && below.into_iter().any(|name| self.above.contains(name)))
    }
}

/// Whether a local part says where mail is to go from where it goes: `u%x@us`, `x!u@us`, `"u@x"@us`.
fn leads_on(local: &[u8]) -> bool {
    local.iter().any(|byte| matches!(byte, b'%' | b'!' | b'@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address;

    #[test]
    fn strangers_reach_what_is_named_and_nothing_behind_it() {
        let below = DomainPattern::Suffix("b.example".to_owned());
        let gateway = Gateway::new(&[DomainPattern::Exact("a.example".to_owned()), below]).unwrap();
        let takes = |path: &str| {
            let path = address::parse_path(path.as_bytes(), false).expect("a path");
            gateway.takes(&path, "relay.example")
        };
        for path in
            ["<u@a.example>", "<U@A.Example>", "<u@x.b.example>", "<u@y.x.B.example>", "<\"a b\"@a.example>"]
        {
            assert!(takes(path), "{path}");
        }
        for path in [
            "<u@b.example>",
            "<u@x.a.example>",
            "<u@xa.example>",
            "<u@example>",
            "<u@xb.example>",
            "<u@other.example>",
            "<u%other.example@a.example>",
            "<other.example!u@a.example>",
            "<\"u@other.example\"@a.example>",
            "<@a.example:u@other.example>",
            "<@other.example:u@a.example>",
            "<u@[192.0.2.1]>",
            "<u@[IPv6:::1]>",
            "<@a.example:postmaster>",
        ] {
            assert!(!takes(path), "{path}");
        }
        assert!(Gateway::new(&[]).is_none());
        assert!(gateway.has_domain_of(b"u@a.example", 2) && !gateway.has_domain_of(b"u", 1));
    }

    /// RFC 5321 4.5.1: whoever takes mail from outside takes that for its postmaster, by whatever letters, with no domain.
    #[test]
    fn a_postmaster_without_a_domain_goes_where_there_is_a_way() {
        let exact = |name: &str| DomainPattern::Exact(name.to_owned());
        let below = DomainPattern::Suffix("b.example".to_owned());
        let suffix_alone = [below.clone()];
        for (domains, hostname, expected) in [
            (&[exact("relay.example")][..], "relay.example", Some("relay.example")),
            (&[exact("a.example"), exact("relay.example")], "relay.example", Some("relay.example")),
            (&suffix_alone[..], "mx.B.example", Some("mx.B.example")),
            (&[below, exact("a.example"), exact("c.example")], "relay.example", Some("a.example")),
            // Nobody says which of them there are.
            (&suffix_alone, "relay.example", None),
        ] {
            let gateway = Gateway::new(domains).unwrap();
            for path in ["<postmaster>", "<PostMaster>", "<\"postmaster\">"] {
                let path = address::parse_path(path.as_bytes(), false).expect("a path");
                assert_eq!(gateway.takes(&path, hostname), expected.is_some(), "{domains:?}");
            }
            let of = gateway.postmaster_of(hostname);
            assert_eq!(expected.unwrap_or(hostname), of, "{domains:?}");
        }
    }
}
