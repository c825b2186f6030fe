//! Paths and domains beyond ASCII (RFC 6531 section 3.3). A domain is kept, routed and compared by its A-labels, whatever it came as, so that one domain is
//! one everywhere; a local part is its receiver's, and stays as it came.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{
    AddressError, Path, closing_bracket, drop_source_route, is_atext, is_domain, is_literal, is_path,
    parse_path,
};
use crate::limits;

/// A path in UTF-8 as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// Its local part as it came, and its domain in A-labels.
    pub address: Vec<u8>,
    /// Where the domain begins.
    pub domain_at: usize,
    /// The domain came in U-labels.
    pub u_labels: bool,
}

/// As [`parse_path`], where a path may be in UTF-8: then [`Path::is_utf8`] is set, and it is kept as [`canonical`] has it.
#[inline]
pub fn parse(input: &[u8], null: bool) -> Result<Path<'_>, AddressError> {
    match parse_path(input, null) {
        Err(AddressError::NotAscii) => parse_utf8(input),
        parsed => parsed,
    }
}

#[cold]
fn parse_utf8(input: &[u8]) -> Result<Path<'_>, AddressError> {
    let end = closing_bracket(input).ok_or(AddressError::Syntax)?;
    let inner = std::str::from_utf8(&input[1..end]).map_err(|_| AddressError::NotUtf8)?;
    let (address, routed) = drop_source_route(inner.as_bytes())?;
    let address = &inner[inner.len() - address.len()..];
    let at = local_part_end(address)?;
    let Some(domain) = address[at..].strip_prefix('@') else { return Err(AddressError::NoDomain) };
    let rooted = domain.len() > 1 && domain.ends_with('.');
    let domain = &domain[..domain.len() - usize::from(rooted)];
    if domain.is_empty() {
        return Err(AddressError::NoDomain);
    }
    let address = &address[..at + 1 + domain.len()];
    let kept = match domain.is_ascii() {
        true if is_domain(domain.as_bytes()) || !rooted && is_literal(domain.as_bytes()) => domain.len(),
        true => return Err(AddressError::Syntax),
        false => to_a_labels(domain).ok_or(AddressError::Labels)?.len(),
    };
    // However it goes on, it fits there.
    if at > limits::LOCAL_PART_MAX
        || domain.len() > limits::DOMAIN_MAX
        || at + 1 + domain.len().max(kept) + 2 > limits::PATH_MAX
    {
        return Err(AddressError::TooLong);
    }
    Ok(Path { address: address.as_bytes(), domain_at: at + 1, routed, length: end + 1, is_utf8: true })
}

/// Where the local part ends: the grammar is that of ASCII, with more letters.
fn local_part_end(address: &str) -> Result<usize, AddressError> {
    let mut quoted = address.starts_with('"');
    let mut escaped = false;
    for (place, character) in address.char_indices() {
        match character {
            character if !is_letter(character) => return Err(AddressError::Syntax),
            '"' if place == 0 => {}
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted => return Ok(place + 1),
            _ if quoted => {}
            '@' if place > 0 => return Ok(place),
            character if !character.is_ascii() || character == '.' || is_atext(character as u8) => {}
            _ => return Err(AddressError::Syntax),
        }
        quoted &= place < limits::PATH_MAX;
    }
    Err(if quoted { AddressError::Syntax } else { AddressError::NoDomain })
}

/// Whether a character may stand in a local part at all. None that ends a line, turns the text around it or is no character does: nobody could read such
/// an address, and some would read another one (RFC 6530 section 13).
fn is_letter(character: char) -> bool {
    let turns = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends_line = matches!(character, '\u{2028}' | '\u{2029}');
    let is_none =
        u32::from(character) & 0xfffe == 0xfffe || matches!(character, '\u{feff}' | '\u{fdd0}'..='\u{fdef}');
    !character.is_control() && !turns && !ends_line && !is_none
}

/// A path in UTF-8 as it is kept. None: it is ASCII, and is kept as it is.
pub fn canonical(path: &Path<'_>) -> Option<Canonical> {
    if !path.is_utf8 {
        return None;
    }
    let domain = std::str::from_utf8(path.domain()).unwrap_or_default();
    let labels = if domain.is_ascii() { Cow::Borrowed(domain) } else { to_a_labels(domain)?.into() };
    let local = path.address.get(..path.domain_at).unwrap_or_default();
    let address = [local, labels.as_bytes()].concat();
    Some(Canonical { address, domain_at: path.domain_at, u_labels: !domain.is_ascii() })
}

/// A domain as the DNS has it (RFC 5890 2.3.2.1), by UTS 46 without its transitional part. None: it is none, as its letters are not assigned, go in both
/// directions, or are none of a name.
pub fn to_a_labels(domain: &str) -> Option<String> {
    let processing = Uts46::new();
    let labels = processing
        .to_ascii(domain.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::Verify)
        .ok()?;
    is_domain(labels.as_bytes()).then(|| labels.into_owned())
}

/// The same for somebody who names a domain in a configuration or a list: ASCII stays as it is.
pub fn of_name(name: &str) -> Option<Cow<'_, str>> {
    if name.is_ascii() { Some(Cow::Borrowed(name)) } else { to_a_labels(name).map(Cow::Owned) }
}

/// A domain that somebody names in a configuration, a file or a command, as mail has it: in A-labels and lower case. None: it is none.
pub fn domain_of(name: &str) -> Option<String> {
    let labels = of_name(name)?.to_ascii_lowercase();
    is_domain(labels.as_bytes()).then_some(labels)
}

/// The name of a host, likewise: one of ASCII stays as it is written.
pub fn host_of(name: &str) -> Option<Cow<'_, str>> {
    of_name(name).filter(|name| is_domain(name.as_bytes()))
}

/// An address without angle brackets that somebody names, as it is kept. None: it is none.
pub fn of_address(text: &str) -> Option<Cow<'_, str>> {
    if text.is_ascii() {
        return is_path(text).then_some(Cow::Borrowed(text));
    }
    let path = format!("<{text}>");
    let parsed = parse(path.as_bytes(), false).ok().filter(|one| one.length == path.len() && !one.routed)?;
    String::from_utf8(canonical(&parsed)?.address).ok().map(Cow::Owned)
}

/// Writes an address with its domain in U-labels, for a hop that understands them. One that is in A-labels for no U-label stays so.
pub fn write_u_labels(address: &[u8], out: &mut Vec<u8>) {
    let at = memchr::memrchr(b'@', address).map_or(0, |at| at + 1);
    let (local, domain) = address.split_at(at);
    out.extend_from_slice(local);
    match Uts46::new().to_unicode(domain, AsciiDenyList::EMPTY, Hyphens::Allow) {
        (labels, Ok(())) => out.extend_from_slice(labels.as_bytes()),
        _ => out.extend_from_slice(domain),
    }
}

#[cfg(test)]
mod tests;
