//! What was found out about who sent a message (SPF, DKIM, DMARC), as its field `Authentication-Results` says it (RFC 8601), and which fields of that
//! name that came with it pass for ours.

use crate::limits;
use crate::mail::address;
use crate::mail::dkim::Canonicalization;
use crate::mail::header::{self, Edit};
use crate::names::{CHECKS, VERDICTS};

mod claim;
mod found;
mod write;

pub use claim::claims;
pub use found::{Dmarc, FIELD, Findings, Policy, Signature, Spf, Verdict};
pub use write::write;

/// The words in a field of ours, as it was stored: of SPF, DKIM and DMARC. None: it is no such field.
pub fn verdicts(field: &[u8]) -> Option<[&'static str; 3]> {
    let rest = field.strip_prefix(FIELD.as_bytes())?.strip_prefix(b":")?;
    let all = |check: &[u8]| {
        let mark = [b"\r\n\t", check, b"="].concat();
        memchr::memmem::find_iter(rest, &mark)
            .filter_map(|at| {
                let word = &rest[at + mark.len()..];
                VERDICTS
                    .into_iter()
                    .filter(|known| word.starts_with(known.as_bytes()))
                    .max_by_key(|known| known.len())
            })
            .collect::<Vec<_>>()
    };
    let one = |check: &str| {
        let all = all(check.as_bytes());
        if all.contains(&"pass") { Some("pass") } else { all.first().copied() }
    };
    let [spf, dkim, dmarc] = CHECKS.map(one);
    Some([spf?, dkim?, dmarc?])
}

/// What is taken out of a header section: fields that pass for ours (RFC 8601 section 5).
pub fn forged(section: &[u8], mailbox_line: bool, hostname: &str) -> Edit {
    let of_name = header::fields(section, mailbox_line).filter(|field| field.is(FIELD));
    let remove =
        of_name.filter(|field| claims(field.value, hostname)).map(|field| field.start..field.end).collect();
    Edit { remove, add: Vec::new() }
}

/// In which forms the body is hashed by the signatures that are looked at.
pub fn body_forms(section: &[u8], mailbox_line: bool) -> impl Iterator<Item = Canonicalization> {
    let signatures = header::fields(section, mailbox_line).filter(|field| field.is("DKIM-Signature"));
    signatures.take(limits::VERIFIED_SIGNATURES_MAX).map(|field| body_form(field.value))
}

/// RFC 6376 3.5: `c=` is that of the header section and, behind a slash, that of the body; what is not said is simple.
fn body_form(value: &[u8]) -> Canonicalization {
    let tags = value.split(|byte| *byte == b';').filter_map(|tag| {
        let at = memchr::memchr(b'=', tag)?;
        Some((tag[..at].trim_ascii(), &tag[at + 1..]))
    });
    let form = tags.filter(|(name, _)| *name == b"c").map(|(_, form)| form).next().unwrap_or_default();
    let of_body = memchr::memchr(b'/', form).map_or(&b""[..], |slash| form[slash + 1..].trim_ascii());
    if of_body.eq_ignore_ascii_case(b"relaxed") {
        Canonicalization::Relaxed
    } else {
        Canonicalization::Simple
    }
}

/// Whether a name that a client gives can be one of the DNS.
pub fn is_domain(name: &str) -> bool {
    found::shown(name).is_some()
}

/// The domain of a reverse path; empty: it has none.
pub fn domain_of(path: &[u8]) -> &str {
    let at = memchr::memrchr(b'@', path).map_or(path.len(), |at| at + 1);
    std::str::from_utf8(&path[at..])
        .ok()
        .filter(|domain| address::is_domain(domain.as_bytes()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
