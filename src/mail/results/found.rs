//! What was found out about a message, as types.

use crate::mail::address;
use crate::names::VERDICTS;

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
    pub(super) fn word(self) -> &'static str {
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
    /// Of its signatures, at most [`limits::VERIFIED_SIGNATURES_MAX`](crate::limits::VERIFIED_SIGNATURES_MAX).
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
        let domain = shown(domain).unwrap_or("its author's domain");
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

/// A domain that can be written. None: it is none.
pub(super) fn shown(domain: &str) -> Option<&str> {
    Some(domain).filter(|domain| address::is_domain(domain.as_bytes()))
}
