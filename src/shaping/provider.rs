//! Who a provider is known by: how the names of MX hosts, or of a domain, end.

use std::fmt;

use super::FileLine;
use crate::limits;
use crate::mail::address::international;

/// One entry of `match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What is compared.
    pub what: MatchKind,
    /// As it stands in the file.
    pub written: Box<str>,
    /// [`canonical`].
    name: Box<str>,
    /// Where it stands.
    pub place: FileLine,
}

/// What an entry of `match` is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchKind {
    /// `MXSuffix`: how the name of an MX host ends.
    MxSuffix,
    /// `DomainSuffix`: how the name of the domain ends.
    DomainSuffix,
    /// `HostName`: the name of an MX host.
    HostName,
    /// `Domain`: the domain itself. Ours.
    Domain,
}

impl MatchKind {
    /// Its name in the file, and what it is.
    pub const ALL: [(&'static str, MatchKind); 4] = [
        ("MXSuffix", MatchKind::MxSuffix),
        ("DomainSuffix", MatchKind::DomainSuffix),
        ("HostName", MatchKind::HostName),
        ("Domain", MatchKind::Domain),
    ];

    /// Whether it is about the domain, and not about its hosts.
    fn is_of_domain(self) -> bool {
        matches!(self, MatchKind::DomainSuffix | MatchKind::Domain)
    }
}

impl fmt::Display for MatchKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MatchKind::ALL.iter().find(|(_, what)| what == self).map_or("", |(name, _)| name))
    }
}

impl Match {
    pub(super) fn new(what: MatchKind, written: &str, place: FileLine) -> Match {
        Match { what, written: written.into(), name: canonical(written).into(), place }
    }

    /// Whether a name is meant, which is in lower case and without a dot at its end.
    fn fits(&self, name: &str) -> bool {
        match self.what {
            MatchKind::HostName | MatchKind::Domain => name == &*self.name,
            MatchKind::MxSuffix | MatchKind::DomainSuffix => name.ends_with(&*self.name),
        }
    }

    /// Whether each name that fits this one fits that one too.
    pub fn is_within(&self, other: &Match) -> bool {
        let is_one = |what| matches!(what, MatchKind::HostName | MatchKind::Domain);
        self.what.is_of_domain() == other.what.is_of_domain()
            && (is_one(self.what) || !is_one(other.what))
            && other.fits(&self.name)
    }

    /// Why no name can ever fit, if none can.
    pub fn cannot_match(&self) -> Option<&'static str> {
        let name = &*self.name;
        if name.is_empty() {
            return Some("it is empty, and nothing is meant by it");
        }
        if name.contains("://") {
            return Some("it is a URL, and hosts have names alone");
        }
        if name.contains(char::is_whitespace) {
            return Some("it has a blank in it, and names have none");
        }
        if name.contains('*') {
            return Some("it has a * in it: a suffix is how a name ends, as it is");
        }
        if name.contains('@') {
            return Some("it is an address, and domains have no @");
        }
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !name.bytes().all(is_of_name) {
            return Some("it has letters that no name in the DNS has");
        }
        if name.contains("..")
            || name.len() > limits::DOMAIN_MAX
            || name.split('.').any(|label| label.len() > limits::LABEL_MAX)
        {
            return Some("no name in the DNS ends so");
        }
        (matches!(self.what, MatchKind::HostName | MatchKind::Domain) && name.starts_with('.'))
            .then_some("no name begins with a dot")
    }
}

/// A name, or its end, as it is compared: in lower case and A-labels, without the dot at its end. What is no name stays as it is.
pub fn canonical(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    // The end of a name begins with a dot, and a name does not.
    let (dot, labels) = name.strip_prefix('.').map_or(("", name), |labels| (".", labels));
    match international::of_name(labels) {
        Some(labels) => format!("{dot}{}", labels.to_ascii_lowercase()),
        None => name.to_ascii_lowercase(),
    }
}

/// Whether a domain, led to these MX hosts, is a provider's: its own name fits, or each of its hosts does. Names are canonical.
pub fn is_of(entries: &[Match], domain: &str, hosts: &[String]) -> bool {
    let of_domain = |entry: &&Match| entry.what.is_of_domain();
    if entries.iter().filter(of_domain).any(|entry| entry.fits(domain)) {
        return true;
    }
    // A domain with hosts of several providers is nobody's.
    let known = |host: &String| entries.iter().any(|entry| !of_domain(&entry) && entry.fits(host));
    !hosts.is_empty() && hosts.iter().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(what: MatchKind, name: &str) -> Match {
        Match::new(what, name, FileLine { file: std::path::Path::new("a.toml").into(), line: 1 })
    }

    fn hosts(all: &[&str]) -> Vec<String> {
        all.iter().map(|host| canonical(host)).collect()
    }

    #[test]
    fn every_host_must_be_a_provider_s() {
        let entries =
            [entry(MatchKind::MxSuffix, ".Google.com."), entry(MatchKind::HostName, "mx.example.net")];
        assert!(is_of(&entries, "a.example", &hosts(&["ASPMX.L.Google.com.", "alt1.aspmx.l.google.com"])));
        assert!(is_of(&entries, "a.example", &hosts(&["aspmx.l.google.com", "mx.example.net"])));
        assert!(!is_of(&entries, "a.example", &hosts(&["aspmx.l.google.com", "mx.other.example"])));
        assert!(!is_of(&entries, "a.example", &hosts(&["google.com"])));
        assert!(!is_of(&entries, "a.example", &hosts(&["a.mx.example.net"])));
        assert!(!is_of(&entries, "x.google.com", &[]));
    }

    #[test]
    fn a_domain_is_known_by_its_own_name() {
        let entries = [entry(MatchKind::DomainSuffix, ".mil"), entry(MatchKind::MxSuffix, ".b.example")];
        assert!(is_of(&entries, "navy.mil", &hosts(&["mx.a.example"])));
        assert!(is_of(&entries, "a.example", &hosts(&["mx.b.example"])));
        assert!(!is_of(&entries, "mil", &hosts(&["mx.mil"])));
        let entries = [entry(MatchKind::Domain, "A.example."), entry(MatchKind::Domain, "b.example")];
        assert!(
            is_of(&entries, "a.example", &hosts(&["mx.other.example"])) && is_of(&entries, "b.example", &[])
        );
        assert!(
            !is_of(&entries, "not-a.example", &[]) && !is_of(&entries, "x.a.example", &hosts(&["a.example"]))
        );
        let within = |one: (MatchKind, &str), other: (MatchKind, &str)| {
            entry(one.0, one.1).is_within(&entry(other.0, other.1))
        };
        assert!(within((MatchKind::Domain, "a.example"), (MatchKind::DomainSuffix, ".example")));
        assert!(!within((MatchKind::DomainSuffix, "a.example"), (MatchKind::Domain, "a.example")));
        assert!(!within((MatchKind::Domain, "a.example"), (MatchKind::HostName, "a.example")));
    }

    #[test]
    fn names_are_written_in_letters_or_in_a_labels() {
        for (written, wanted) in [
            ("münchen.test", "xn--mnchen-3ya.test"),
            ("MÜNCHEN.Test.", "xn--mnchen-3ya.test"),
            (".münchen.test", ".xn--mnchen-3ya.test"),
            ("XN--mnchen-3ya.test", "xn--mnchen-3ya.test"),
            (".Google.com.", ".google.com"),
            ("_x.example", "_x.example"),
            ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
            ("*.ä.example", "*.ä.example"),
            ("", ""),
            (".", ""),
        ] {
            assert_eq!(canonical(written), wanted, "{written}");
        }
        let entries =
            [entry(MatchKind::Domain, "münchen.test"), entry(MatchKind::MxSuffix, ".bücher.example")];
        assert!(entries.iter().all(|entry| entry.cannot_match().is_none()));
        assert!(is_of(&entries, "xn--mnchen-3ya.test", &[]));
        assert!(is_of(&entries, "a.example", &hosts(&["mx.xn--bcher-kva.example"])));
        assert!(!is_of(&entries, "x.xn--mnchen-3ya.test", &hosts(&["xn--bcher-kva.example"])));
    }

    #[test]
    fn what_can_match_nothing_is_known() {
        for wrong in [
            "",
            ".",
            "smtp://a.example",
            "a example",
            "*.a.example",
            "@a.example",
            "\u{202e}ä.example",
            "*.ä.example",
            "ä.a b.example",
            "a..b",
            ".a/b",
        ] {
            assert!(entry(MatchKind::MxSuffix, wrong).cannot_match().is_some(), "{wrong}");
        }
        for right in [".google.com", "example.com.", "_x.example", ".XN--p1ai"] {
            assert_eq!(entry(MatchKind::MxSuffix, right).cannot_match(), None, "{right}");
        }
        assert!(entry(MatchKind::HostName, ".a.example").cannot_match().is_some());
    }
}
