//! Paths and domains as SMTP writes them (RFC 5321 4.1.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits;

pub mod international;

/// Why a path is refused. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not `<path>`.
    Syntax,
    /// The local part, the domain or the whole is over its bound (RFC 5321 4.5.3.1).
    TooLong,
    /// A byte above 127, where nobody said SMTPUTF8 (RFC 6531).
    NotAscii,
    /// Bytes above 127 that are no UTF-8 (RFC 3629).
    NotUtf8,
    /// A domain beyond ASCII that is no name of the DNS (RFC 5891 section 5).
    Labels,
    /// No domain after the at sign.
    NoDomain,
}

impl AddressError {
    /// Whether it is one of addresses in UTF-8, which are none where nobody said SMTPUTF8.
    pub fn is_of_utf8(self) -> bool {
        matches!(self, AddressError::NotUtf8 | AddressError::Labels)
    }
}

/// A path taken from a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// Without angle brackets and source route; empty for `<>`.
    pub address: &'a [u8],
    /// Where the domain begins; equals the length when there is none (`<>`, `<postmaster>`).
    pub domain_at: usize,
    /// A source route stood before it (RFC 5321 appendix C: ignored, but no ground to relay).
    pub routed: bool,
    /// Bytes of the input used, closing bracket included.
    pub length: usize,
    /// It has text beyond ASCII, and is kept as [`canonical`](international::canonical) has it. [`parse_path`] lets none through that does.
    pub is_utf8: bool,
}

impl<'a> Path<'a> {
    /// The domain, or nothing.
    pub fn domain(&self) -> &'a [u8] {
        self.address.get(self.domain_at..).unwrap_or_default()
    }

    /// The local part.
    pub fn local(&self) -> &'a [u8] {
        &self.address[..self.domain_at.saturating_sub(1).min(self.address.len())]
    }
}

/// Whether a text is a path without its angle brackets; the null reverse path, which is empty, is one.
pub fn is_path(text: &str) -> bool {
    let path = format!("<{text}>");
    let parsed = parse_path(path.as_bytes(), true);
    parsed.is_ok_and(|parsed| parsed.length == path.len() && !parsed.routed)
}

/// Parses `<…>` at the start of `input`. `null` allows `<>` (a reverse path); otherwise a bare `postmaster` is
/// allowed (RFC 5321 4.5.1).
pub fn parse_path(input: &[u8], null: bool) -> Result<Path<'_>, AddressError> {
    if input.first() != Some(&b'<') {
        return Err(AddressError::Syntax);
    }
    let end = closing_bracket(input).ok_or(AddressError::Syntax)?;
    let inner = &input[1..end];
    let length = end + 1;
    if !inner.is_ascii() {
        return Err(AddressError::NotAscii);
    }
    if inner.is_empty() {
        return if null {
            Ok(Path { address: inner, domain_at: 0, routed: false, length, is_utf8: false })
        } else {
            Err(AddressError::Syntax)
        };
    }
    let (address, routed) = drop_source_route(inner)?;
    // Quoted, it is the same (RFC 5321 4.1.2).
    let unquoted = address.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(address);
    if !null && unquoted.eq_ignore_ascii_case(b"postmaster") {
        let address = unquoted;
        return Ok(Path { address, domain_at: address.len(), routed, length, is_utf8: false });
    }
    let at = local_part_end(address)?;
    if address.get(at) != Some(&b'@') {
        return Err(AddressError::NoDomain);
    }
    // The dot of the root at its end is no part of a domain here (RFC 5321 4.1.2), and does no harm: it is dropped.
    let rooted = address.ends_with(b".") && address.len() > at + 2;
    let address = &address[..address.len() - usize::from(rooted)];
    let domain = &address[at + 1..];
    if domain.is_empty() {
        return Err(AddressError::NoDomain);
    }
    if at > limits::LOCAL_PART_MAX
        || domain.len() > limits::DOMAIN_MAX
        || address.len() + 2 > limits::PATH_MAX
    {
        return Err(AddressError::TooLong);
    }
    if !is_domain(domain) && (rooted || !is_literal(domain)) {
        return Err(AddressError::Syntax);
    }
    Ok(Path { address, domain_at: at + 1, routed, length, is_utf8: false })
}

/// The bracket that ends the path: quoted strings may hold one.
fn closing_bracket(input: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (place, byte) in input.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(place),
            _ => {}
        }
    }
    None
}

fn drop_source_route(inner: &[u8]) -> Result<(&[u8], bool), AddressError> {
    if inner[0] != b'@' {
        return Ok((inner, false));
    }
    let colon = inner.iter().position(|byte| *byte == b':').ok_or(AddressError::Syntax)?;
    for hop in inner[..colon].split(|byte| *byte == b',') {
        let Some((b'@', domain)) = hop.split_first() else { return Err(AddressError::Syntax) };
        if !is_domain(domain.strip_suffix(b".").unwrap_or(domain)) {
            return Err(AddressError::Syntax);
        }
    }
    Ok((&inner[colon + 1..], true))
}

/// Where the local part ends: at the `@` after a quoted string or a dot-atom (RFC 5321 4.1.2).
fn local_part_end(address: &[u8]) -> Result<usize, AddressError> {
    if address.first() == Some(&b'"') {
        let mut escaped = false;
        for (place, byte) in address.iter().enumerate().skip(1) {
            match byte {
                // qtextSMTP and quoted-pairSMTP are printable.
                0..=31 | 127.. => return Err(AddressError::Syntax),
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Ok(place + 1),
                _ => {}
            }
        }
        return Err(AddressError::Syntax);
    }
    let end = address.iter().position(|byte| *byte == b'@').ok_or(AddressError::NoDomain)?;
    let local = &address[..end];
    // Dots in odd places are refused by the grammar but live in real mailboxes of some providers; they are passed on.
    if local.is_empty() || !local.iter().all(|byte| is_atext(*byte) || *byte == b'.') {
        return Err(AddressError::Syntax);
    }
    Ok(end)
}

/// Whether a byte stands in a local part without quotes, the dot apart (RFC 5322 3.2.3).
pub fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// A dotted name of letters, digits, hyphens (and underscores, which real hosts have).
pub fn is_domain(domain: &[u8]) -> bool {
    !domain.is_empty()
        && domain.len() <= limits::DOMAIN_MAX
        && domain.split(|byte| *byte == b'.').all(|label| {
            (1..=limits::LABEL_MAX).contains(&label.len())
                && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
pub fn is_literal(domain: &[u8]) -> bool {
    let Some(inner) = domain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
        return false;
    };
    let Ok(text) = std::str::from_utf8(inner) else { return false };
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => text[5..].parse::<Ipv6Addr>().is_ok(),
        _ => text.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Whether a name would be read as an IPv4 address rather than as a domain: its last label is a number, which no top-level
/// domain is (RFC 3696 section 2). `127.0.0.1`, `127.1`, `2130706433` and `0x7f000001` are.
pub fn is_numeric(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let digits = |text: &str, hexadecimal: bool| {
        text.bytes().all(|byte| byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit())
    };
    match hexadecimal {
        Some(rest) => digits(rest, true),
        None => !last.is_empty() && digits(last, false) || name.parse::<IpAddr>().is_ok(),
    }
}

/// Whether two paths, without angle brackets, are one mailbox: letters count alike in either case, and a local part may be quoted that need not be
/// (RFC 5321 section 4.1.2).
pub fn is_same_mailbox(one: &[u8], other: &[u8]) -> bool {
    if !one.starts_with(b"\"") && !other.starts_with(b"\"") {
        return one.eq_ignore_ascii_case(other);
    }
    let split = |path: &'_ [u8]| memchr::memrchr(b'@', path).unwrap_or(path.len());
    let ((local, domain), (wanted, at)) = (one.split_at(split(one)), other.split_at(split(other)));
    let lower = |local| unquoted(local).map(|byte: u8| byte.to_ascii_lowercase());
    domain.eq_ignore_ascii_case(at) && lower(local).eq(lower(wanted))
}

/// A local part as it is meant.
pub fn unquoted(local: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let inner = local.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let (mut bytes, quoted) = (inner.unwrap_or(local).iter().copied(), inner.is_some());
    std::iter::from_fn(move || match bytes.next() {
        Some(b'\\') if quoted => bytes.next(),
        byte => byte,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(input: &str) -> Result<&str, AddressError> {
        parse_path(input.as_bytes(), true).map(|path| std::str::from_utf8(path.address).unwrap())
    }

    #[test]
    fn addresses_in_disguise() {
        for name in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0X7F.1",
            "0x7f.0x0.0x1",
            "017700000001",
            "256.256.256.256",
            "a.1",
            "::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "1.2.3.0x",
            "0",
        ] {
            assert!(is_numeric(name), "{name}");
        }
        for name in
            ["example", "1.example", "127.0.0.1.example", "a.b1", "0xyz", "x.0xg", "e1", "1a", "", "."]
        {
            assert!(!is_numeric(name), "{name}");
        }
    }

    #[test]
    fn quotes_that_need_not_be_make_no_other_mailbox() {
        let same = |one: &str, other: &str| is_same_mailbox(one.as_bytes(), other.as_bytes());
        for other in [
            "ada@x.example",
            "ADA@X.example",
            "\"ada\"@x.example",
            "\"a\\da\"@X.EXAMPLE",
            "\"\\a\\d\\a\"@x.example",
        ] {
            assert!(same("ada@x.example", other) && same(other, "ada@x.example"), "{other}");
        }
        for other in [
            "\"ada \"@x.example",
            "\"ada@x.example",
            "\"ada\"@y.example",
            "\"ada\"",
            "\"",
            "",
            "\"a\"da@x.example",
        ] {
            assert!(!same("ada@x.example", other) && !same(other, "ada@x.example"), "{other}");
        }
        assert!(same("\"a b\"@x", "\"A\\ b\"@x") && same("\"a\\\"b\"@x", "\"a\\\"b\"@x"));
    }

    #[test]
    fn paths() {
        assert_eq!(address("<a@b.example>"), Ok("a@b.example"));
        assert_eq!(address("<>"), Ok(""));
        assert_eq!(address("<@x,@y.z:a@b>"), Ok("a@b"));
        assert_eq!(address("<\"a b>c\\\"\"@b>"), Ok("\"a b>c\\\"\"@b"));
        assert_eq!(address("<a@[127.0.0.1]>"), Ok("a@[127.0.0.1]"));
        assert_eq!(address("<a@[IPv6:::1]>"), Ok("a@[IPv6:::1]"));
        assert_eq!(address("<a@b.example.>"), Ok("a@b.example"));
        assert_eq!(address("<@x.:a.@b.>"), Ok("a.@b"));
        for (wrong, error) in [
            ("a@b", AddressError::Syntax),
            ("<a@b", AddressError::Syntax),
            ("<a b@c>", AddressError::Syntax),
            ("<a@>", AddressError::NoDomain),
            ("<a>", AddressError::NoDomain),
            ("<@b>", AddressError::Syntax),
            ("<a@b..c>", AddressError::Syntax),
            ("<a@[1.2.3]>", AddressError::Syntax),
            ("<a@.>", AddressError::Syntax),
            ("<a@b..>", AddressError::Syntax),
            ("<a@b.example..>", AddressError::Syntax),
            ("<a@[127.0.0.1].>", AddressError::Syntax),
            ("<a.>", AddressError::NoDomain),
            ("<a@b\u{e9}>", AddressError::NotAscii),
        ] {
            assert_eq!(address(wrong), Err(error), "{wrong}");
        }
    }

    /// RFC 5321 4.5.3.1.1 to 4.5.3.1.3, as far as real mail keeps to them.
    #[test]
    fn lengths() {
        let domain = |length: usize| {
            let whole = [&"d".repeat(61)[..]; 4].join(".");
            format!("{whole}.{}", "e".repeat(length - whole.len() - 1))
        };
        let path = |local: &str, domain: &str| format!("<{local}@{domain}>");
        let local = |length: usize| "l".repeat(length);
        let quoted = format!("\"{}\"", local(253));
        for good in [
            path(&local(65), "b.example"),
            path(&local(255), "b.example"),
            path(&quoted, "b.example"),
            path("SRS0=Zx1y=AB=origin.example=a.long.name+tag", &domain(253)),
            path(&local(244), &domain(253)),
            path(&local(255), &domain(252)[10..]),
            path("a", &format!("{}.", domain(253))),
            format!("<@{}:{}@b>", domain(253), local(255)),
        ] {
            assert!(address(&good).is_ok(), "{good}");
        }
        for wrong in [
            path(&local(256), "b"),
            path(&format!("\"{}\"", local(254)), "b"),
            path("a", &domain(254)),
            path("a", &domain(255)),
            path("a", &format!("{}.{}", domain(253), domain(253))),
            path(&local(245), &domain(253)),
            path(&local(255), &domain(252)[9..]),
        ] {
            assert!(matches!(address(&wrong), Err(AddressError::TooLong | AddressError::Syntax)), "{wrong}");
        }
        assert_eq!(address(&path(&local(256), "b")), Err(AddressError::TooLong));
        assert_eq!(address(&path("a", &domain(254))), Err(AddressError::TooLong));
        assert_eq!(address(&path(&local(245), &domain(253))), Err(AddressError::TooLong));
        // RFC 1035 2.3.4: a label has 63 octets.
        assert!(address(&path("a", &format!("{}.example", "d".repeat(63)))).is_ok());
        assert_eq!(address(&path("a", &format!("{}.example", "d".repeat(64)))), Err(AddressError::Syntax));
        assert!(!is_domain(domain(254).as_bytes()) && is_domain(domain(253).as_bytes()));
    }

    #[test]
    fn postmaster_needs_no_domain() {
        let path = parse_path(b"<PostMaster>", false).unwrap();
        assert_eq!((path.address, path.domain()), (&b"PostMaster"[..], &b""[..]));
        let quoted = parse_path(b"<\"postMaster\">", false).unwrap();
        assert_eq!((quoted.address, quoted.domain(), quoted.length), (&b"postMaster"[..], &b""[..], 14));
        let routed = parse_path(b"<@a.example:postmaster>", false).unwrap();
        assert_eq!((routed.address, routed.routed), (&b"postmaster"[..], true));
        for wrong in
            ["<>", "<\"postmaster>", "<postmaster\">", "<\">", "<\"\">", "<postmasters>", "<\"webmaster\">"]
        {
            assert!(parse_path(wrong.as_bytes(), false).is_err(), "{wrong}");
        }
        assert!(parse_path(b"<postmaster>", true).is_err() && parse_path(b"<\"postmaster\">", true).is_err());
    }
}
