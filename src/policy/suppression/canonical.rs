//! What an entry is about, and what of a recipient is compared with that.
//!
//! The domain counts in lower case, as the DNS has it (A-labels, whatever was written). Of the local part letters of ASCII count alike in either case, and quotes that need
//! not be are none: RFC 5321 2.4 lets a receiver tell `Ada` from `ada`, hardly one does, and mail to somebody who complained is worse than none to
//! his namesake. There is no other magic: `ada+news` is another address than `ada`, and so is `a.da`.

use std::fmt;

use crate::limits;
use crate::mail::address::{self, AddressError, international, is_atext, unquoted};

/// What an entry holds mail back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One address.
    Address,
    /// All addresses at a domain.
    Domain,
    /// All addresses at domains below one, at any depth.
    Subdomains,
}

impl Kind {
    /// All of them, in their order.
    pub const ALL: [Kind; 3] = [Kind::Address, Kind::Domain, Kind::Subdomains];

    /// What kind of entry a canonical text is.
    pub fn of(text: &str) -> Kind {
        match text.as_bytes() {
            [b'@', ..] => Kind::Domain,
            [b'*', b'.', rest @ ..] if !rest.contains(&b'@') => Kind::Subdomains,
            _ => Kind::Address,
        }
    }
}

/// Why a text is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEntry {
    /// There is nothing.
    Empty,
    /// There is no `@`.
    NoDomain,
    /// It has letters beyond ASCII that no domain has, or no address.
    NotAscii,
    /// It is longer than an address may be.
    TooLong,
    /// It is no address, and no domain.
    Syntax,
}

impl fmt::Display for BadEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            BadEntry::Empty => "there is no address",
            BadEntry::NoDomain => {
                "it has no @: write name@example.org for one address, @example.org for all of a domain"
            }
            BadEntry::NotAscii => "it has letters beyond ASCII that no address has: write the domain as the DNS has it (xn--…)",
            BadEntry::TooLong => "it is longer than an address may be",
            BadEntry::Syntax => {
                "it is no address: write name@example.org, @example.org for all of a domain, or *.example.org for all below it"
            }
        })
    }
}

/// The canonical text of what somebody wrote: `ada@example.org`, `@example.org` (or `*@example.org`), `*.example.org`.
pub fn canonical(text: &str) -> Result<String, BadEntry> {
    let domain = |mark: &str, domain: &str| {
        let domain = international::of_name(domain.strip_suffix('.').unwrap_or(domain));
        let domain = domain.ok_or(BadEntry::NotAscii)?;
        if address::is_domain(domain.as_bytes()) || mark == "@" && address::is_literal(domain.as_bytes()) {
            return Ok(format!("{mark}{}", domain.to_ascii_lowercase()));
        }
        Err(BadEntry::Syntax)
    };
    match text.as_bytes() {
        [] => return Err(BadEntry::Empty),
        [b'@', ..] => return domain("@", &text[1..]),
        [b'*', b'@', ..] => return domain("@", &text[2..]),
        [b'*', b'.', ..] if !text.contains('@') => return domain("*.", &text[2..]),
        _ => {}
    }
    let path = format!("<{text}>");
    let parsed = international::parse(path.as_bytes(), true).map_err(|error| match error {
        AddressError::Syntax => BadEntry::Syntax,
        AddressError::TooLong => BadEntry::TooLong,
        AddressError::NotAscii | AddressError::NotUtf8 | AddressError::Labels => BadEntry::NotAscii,
        AddressError::NoDomain => BadEntry::NoDomain,
    })?;
    if parsed.length != path.len() || parsed.routed {
        return Err(BadEntry::Syntax);
    }
    let mut of = Compared::default();
    let kept = international::canonical(&parsed);
    if !of.set(kept.as_ref().map_or(parsed.address, |kept| &kept.address), parsed.domain_at) {
        return Err(BadEntry::Syntax);
    }
    let (local, domain) = (of.local(), of.domain());
    let plain =
        !local.is_empty() && local.iter().all(|byte| is_atext(*byte) || *byte == b'.' || !byte.is_ascii());
    let mut canonical = Vec::with_capacity(of.whole().len() + 2);
    if plain {
        canonical.extend_from_slice(local);
    } else {
        canonical.push(b'"');
        for byte in local {
            if matches!(byte, b'"' | b'\\') {
                canonical.push(b'\\');
            }
            canonical.push(*byte);
        }
        canonical.push(b'"');
    }
    canonical.push(b'@');
    canonical.extend_from_slice(domain);
    if canonical.len() > limits::SUPPRESSION_ADDRESS_MAX {
        return Err(BadEntry::TooLong);
    }
    String::from_utf8(canonical).map_err(|_| BadEntry::NotAscii)
}

/// A recipient, as it is compared: local part as it is meant, `@`, domain, all in lower case. The last `@` is the one in front of the domain.
pub struct Compared {
    bytes: [u8; limits::PATH_MAX],
    length: usize,
    domain_at: usize,
}

impl Default for Compared {
    fn default() -> Compared {
        Compared { bytes: [0; limits::PATH_MAX], length: 0, domain_at: 0 }
    }
}

impl Compared {
    /// Takes an address whose domain begins at a place. False: it has no domain, or is longer than any that is listed.
    pub fn set(&mut self, address: &[u8], domain_at: usize) -> bool {
        let Some((front, domain)) = address.split_at_checked(domain_at) else { return false };
        let Some((b'@', local)) = front.split_last() else { return false };
        if domain.is_empty() || address.len() > self.bytes.len() {
            return false;
        }
        self.length = 0;
        if local.first() == Some(&b'"') {
            unquoted(local).for_each(|byte| self.push(byte));
        } else {
            self.extend(local);
        }
        self.push(b'@');
        self.domain_at = self.length;
        self.extend(domain);
        self.bytes[..self.length].make_ascii_lowercase();
        true
    }

    /// Takes what a canonical text is about: the address, or the domain.
    pub fn set_text(&mut self, text: &str) -> bool {
        match Kind::of(text) {
            Kind::Address => {
                let at = memchr::memrchr(b'@', text.as_bytes());
                at.is_some_and(|at| self.set(text.as_bytes(), at + 1))
            }
            kind => {
                let domain = &text.as_bytes()[if kind == Kind::Domain { 1 } else { 2 }..];
                (self.length, self.domain_at) = (0, 0);
                if domain.is_empty() || domain.len() > self.bytes.len() {
                    return false;
                }
                self.extend(domain);
                self.bytes[..self.length].make_ascii_lowercase();
                true
            }
        }
    }

    /// Never more than the address has, which was looked at.
    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// All of it.
    pub fn whole(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The domain.
    pub fn domain(&self) -> &[u8] {
        &self.bytes[self.domain_at..self.length]
    }

    fn local(&self) -> &[u8] {
        &self.bytes[..self.domain_at.saturating_sub(1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_has_one_form() {
        for (written, form) in [
            ("Ada.L@Example.ORG", "ada.l@example.org"),
            ("ada@example.org.", "ada@example.org"),
            ("\"ada\"@example.org", "ada@example.org"),
            ("\"A\\d\\a\"@example.org", "ada@example.org"),
            ("\"a b\"@example.org", "\"a b\"@example.org"),
            ("\"A\\\"@b\"@example.org", "\"a\\\"@b\"@example.org"),
            ("\"\"@example.org", "\"\"@example.org"),
            ("ada+news@example.org", "ada+news@example.org"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("@Example.org", "@example.org"),
            ("*@example.org.", "@example.org"),
            ("*.Example.org", "*.example.org"),
            ("*.a@example.org", "*.a@example.org"),
            ("Ada@B\u{fc}cher.example", "ada@xn--bcher-kva.example"),
            ("\u{fc}A@XN--BCHER-KVA.example", "\u{fc}a@xn--bcher-kva.example"),
            ("\"\u{fc}\"@b.example", "\u{fc}@b.example"),
            ("@B\u{fc}cher.example.", "@xn--bcher-kva.example"),
            ("*.b\u{fc}cher.example", "*.xn--bcher-kva.example"),
        ] {
            let found = canonical(written).unwrap();
            assert_eq!(found, form);
            assert_eq!(canonical(&found).as_deref(), Ok(form), "it is its own form");
        }
        let long = format!("{}@example.org", "l".repeat(300));
        for (written, why) in [
            ("", BadEntry::Empty),
            ("example.org", BadEntry::NoDomain),
            ("@", BadEntry::Syntax),
            ("@a..b", BadEntry::Syntax),
            ("*.", BadEntry::Syntax),
            ("*.[192.0.2.1]", BadEntry::Syntax),
            ("a@b>c", BadEntry::Syntax),
            ("@x:a@b", BadEntry::Syntax),
            ("a b@example.org", BadEntry::Syntax),
            ("a@\u{378}.example", BadEntry::NotAscii),
            ("@\u{378}.example", BadEntry::NotAscii),
            ("a\u{202e}@b.example", BadEntry::Syntax),
            (&long, BadEntry::TooLong),
        ] {
            assert_eq!(canonical(written), Err(why), "{written}");
        }
    }

    #[test]
    fn a_recipient_is_compared_as_its_entry_is() {
        let compared = |address: &str, domain_at| {
            let mut of = Compared::default();
            of.set(address.as_bytes(), domain_at).then(|| (of.whole().to_vec(), of.domain().to_vec()))
        };
        let mut entry = Compared::default();
        for (recipient, text) in [
            ("ADA@X.example", "ada@x.example"),
            ("\"ada\"@x.EXAMPLE", "ada@x.example"),
            ("\"a@B\"@x", "\"a@b\"@x"),
        ] {
            assert!(entry.set_text(text));
            let at = recipient.rfind('@').unwrap() + 1;
            assert_eq!(compared(recipient, at).unwrap().0, entry.whole(), "{recipient}");
        }
        assert!(entry.set_text("@x.example") && entry.whole() == b"x.example");
        assert!(entry.set_text("*.x.example") && entry.whole() == b"x.example");
        assert_eq!(compared("Postmaster", 10), None, "no domain");
        assert_eq!(compared("a@", 2), None);
        assert_eq!(compared("a@b", 9), None);
        assert_eq!(compared(&format!("{}@b", "x".repeat(limits::PATH_MAX)), limits::PATH_MAX + 1), None);
    }
}
