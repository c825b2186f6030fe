//! What was found out about who sent a message (SPF, DKIM, DMARC), as its field `Authentication-Results` says it (RFC 8601), and which fields of that
//! name that came with it pass for ours.

use crate::limits;
use crate::mail::address;
use crate::mail::dkim::Canonicalization;
use crate::mail::header::{self, Edit};
use crate::names::{CHECKS, VERDICTS};

mod claim;
mod write;

pub use claim::claims;
pub use write::write;

/// The name of the field.
pub const FIELD: &str = "Authentication-Results";

/// What a check came to (RFC 8601 2.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    Pass,
    /// It is not.
    Fail,
    /// It is probably not, says the domain.
    SoftFail,
    /// The domain says nothing of it, or it counts for nothing.
    Neutral,
    /// There is nothing to check.
    #[default]
    None,
    /// It could not be found out now.
    TempError,
    /// What was published, or the message, cannot be understood.
    PermError,
}

impl Verdict {
    /// All of them, in their order.
    pub const ALL: [Verdict; 7] = [
        Verdict::Pass,
        Verdict::Fail,
        Verdict::SoftFail,
        Verdict::Neutral,
        Verdict::None,
        Verdict::TempError,
        Verdict::PermError,
    ];

    /// As the field has it.
    pub fn word(self) -> &'static str {
        VERDICTS[self as usize]
    }
}

/// Whether the client may send for a domain (RFC 7208).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spf {
    /// Whether.
    pub verdict: Verdict,
    /// That of MAIL FROM, or of EHLO where that is `<>`.
    pub domain: Box<str>,
    /// It is that of EHLO.
    pub of_helo: bool,
}

/// A signature (RFC 6376).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Whether it holds.
    pub verdict: Verdict,
    /// Why not: printable, and without quotes.
    pub reason: &'static str,
    /// `d=`; empty: it has none that can be read.
    pub domain: Box<str>,
    /// `s=`
    pub selector: Box<str>,
    /// `a=`
    pub algorithm: &'static str,
    /// How `b=` begins, which tells it from others of the same domain (RFC 6008).
    pub begins: Box<str>,
}

/// What the domain in From wants done with mail that is not its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    #[default]
    None,
    /// It is to be suspected.
    Quarantine,
    /// It is to be refused.
    Reject,
}

impl Policy {
    fn word(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }
}

/// Whether a message is of the domain in its From field (RFC 9989).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dmarc {
    /// Whether.
    pub verdict: Verdict,
    /// Why that is not known: printable, and without quotes.
    pub reason: &'static str,
    /// That domain.
    pub domain: Box<str>,
    /// What it wants.
    pub policy: Policy,
}

/// All that was found out about a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Of its client.
    pub spf: Spf,
    /// Of its signatures, at most [`limits::VERIFIED_SIGNATURES_MAX`].
    pub dkim: Vec<Signature>,
    /// Of its From field.
    pub dmarc: Dmarc,
}

impl Findings {
    /// Nothing could be found out now.
    pub fn unknown() -> Findings {
        let (verdict, reason) = (Verdict::TempError, "no result in time");
        Findings {
            spf: Spf { verdict, ..Spf::default() },
            dkim: vec![Signature { verdict, reason, ..Signature::default() }],
            dmarc: Dmarc { verdict, reason, ..Dmarc::default() },
        }
    }

    /// Of all signatures: that one holds, or what is wrong with the first.
    pub fn dkim(&self) -> Verdict {
        let holds = self.dkim.iter().any(|signature| signature.verdict == Verdict::Pass);
        if holds { Verdict::Pass } else { self.dkim.first().map_or(Verdict::None, |first| first.verdict) }
    }

    /// The reply to who sends what the domain in From wants refused. None: it does not.
    pub fn refusal(&self) -> Option<Box<str>> {
        let Dmarc { verdict: Verdict::Fail, domain, policy: Policy::Reject, .. } = &self.dmarc else {
            return None;
        };
        let of_other = |verdict| if verdict == Verdict::Pass { " for another domain" } else { "" };
        let (spf, dkim) = (self.spf.verdict, self.dkim());
        let domain = write::shown(domain).unwrap_or("its author's domain");
        let words = format!(
            "550 5.7.1 DMARC of {domain} says reject: SPF {}{}, DKIM {}{}\r\n",
            spf.word(),
            of_other(spf),
            dkim.word(),
            of_other(dkim)
        );
        Some(words.into())
    }
}

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
    write::shown(name).is_some()
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
