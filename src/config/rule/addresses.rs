//! `match.sender` and `match.recipient`: patterns of addresses.

use toml::de::DeValue;

use crate::config::literal::Wrong;
use crate::config::value::BadValue;
use crate::mail::address::{self, international};

/// Which addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPattern {
    /// `*`
    Any,
    /// `<>`, the null reverse path.
    Null,
    /// `ada@example.org`, in lower case.
    Address(String),
    /// `@example.org`, in lower case: this domain.
    Domain(String),
    /// `*.example.org`, in lower case: every domain below it.
    Below(String),
}

impl AddressPattern {
    /// `*`, `<>`, `ada@example.org`, `@example.org`, `*.example.org`; an error says what may be written.
    pub fn parse(text: &str) -> Result<AddressPattern, BadValue> {
        const FIX: BadValue = BadValue::Syntax(
            "\"@example.org\", \"*.example.org\" for all below it, \"ada@example.org\", \"*\", or \"<>\" for the null sender",
        );
        let lower = text.to_ascii_lowercase();
        let domain = |domain: &str| {
            let literal = || address::is_literal(domain.as_bytes()).then(|| domain.to_owned());
            international::domain_of(domain).or_else(literal).ok_or(FIX)
        };
        match lower.as_str() {
            "*" => Ok(AddressPattern::Any),
            "<>" => Ok(AddressPattern::Null),
            _ => {
                let below = lower.strip_prefix("*.").or(lower.strip_prefix("@*."));
                if let Some(name) = below {
                    domain(name).map(AddressPattern::Below)
                } else if let Some(name) = lower.strip_prefix('@').or(lower.strip_prefix("*@")) {
                    domain(name).map(AddressPattern::Domain)
                } else {
                    let whole = international::of_address(&lower).filter(|whole| whole.contains('@'));
                    whole.map(|whole| AddressPattern::Address(whole.into_owned())).ok_or(FIX)
                }
            }
        }
    }

    /// What may be meant by one that is not understood.
    fn guess(text: &str) -> Option<String> {
        let text = text.trim().trim_matches(['<', '>']);
        Some(if text.contains('@') || text.contains('*') { text.to_owned() } else { format!("@{text}") })
    }

    /// Whether it is about this path, which has no angle brackets. Letters count alike in either case.
    pub fn matches(&self, path: &[u8]) -> bool {
        let domain = || memchr::memrchr(b'@', path).map_or(&b""[..], |at| &path[at + 1..]);
        match self {
            AddressPattern::Any => true,
            AddressPattern::Null => path.is_empty(),
            AddressPattern::Address(wanted) => address::is_same_mailbox(path, wanted.as_bytes()),
            AddressPattern::Domain(wanted) => domain().eq_ignore_ascii_case(wanted.as_bytes()),
            AddressPattern::Below(wanted) => is_below(domain(), wanted.as_bytes()),
        }
    }
}

impl std::fmt::Display for AddressPattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AddressPattern::Any => write!(formatter, "anybody"),
            AddressPattern::Null => write!(formatter, "<>"),
            AddressPattern::Address(address) => write!(formatter, "{address}"),
            AddressPattern::Domain(domain) => write!(formatter, "@{domain}"),
            AddressPattern::Below(domain) => write!(formatter, "*.{domain}"),
        }
    }
}

pub(super) fn is_below(domain: &[u8], wide: &[u8]) -> bool {
    let Some(label) = domain.len().checked_sub(wide.len() + 1).filter(|label| *label > 0) else {
        return false;
    };
    domain[label] == b'.' && domain[label + 1..].eq_ignore_ascii_case(wide)
}

impl AddressPattern {
    pub(super) fn read(value: &DeValue<'_>) -> Result<AddressPattern, Wrong> {
        crate::config::literal::parsed(value, AddressPattern::parse, AddressPattern::guess, "@example.org")
    }
}
