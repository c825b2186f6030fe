//! Who signs: what of a signature is the same for all messages (RFC 6376 3.5).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Canonicalization;
use super::folder::Folder;
use super::key::{Algorithm, PrivateKey};
use crate::limits;
use crate::mail::address;

/// What a signer is made of.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// `d=`: whose signature it is; an internationalised domain in A-labels.
    pub domain: &'a str,
    /// `s=`: which of its keys.
    pub selector: &'a str,
    /// The first half of `c=`.
    pub header: Canonicalization,
    /// The second half.
    pub body: Canonicalization,
    /// `i=`: for whom the domain signs, `user@domain` or `@domain`, there or below.
    pub identity: Option<&'a str>,
    /// How long after it was made a signature holds, for `x=`; in whole seconds.
    pub lifetime: Option<Duration>,
    /// The key whose public half DNS has at `SELECTOR._domainkey.DOMAIN`.
    pub key: Arc<PrivateKey>,
}

/// Why settings make no signer. The fault is with whoever wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerFlaw {
    /// That is no domain.
    Domain(String),
    /// It has letters beyond ASCII.
    NotAscii(String),
    /// That is no selector.
    Selector(String),
    /// The name of the record with the key is too long for DNS.
    TooLong,
    /// That is no identity.
    Identity(String),
    /// The identity is not of the domain.
    Elsewhere(String),
    /// A signature would end when it begins.
    NoLifetime,
}

impl fmt::Display for SignerFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignerFlaw::Domain(domain) => {
                write!(formatter, "{domain:?} is no domain; write it as example.com")
            }
            SignerFlaw::NotAscii(name) => {
                write!(formatter, "{name:?} has letters that DNS has not; write it in A-labels, as xn--...")
            }
            SignerFlaw::Selector(selector) => write!(
                formatter,
                "{selector:?} is no selector; it is made of letters, digits and hyphens, with dots between"
            ),
            SignerFlaw::TooLong => write!(
                formatter,
                "selector and domain together are too long for a name in DNS ({} bytes); take a shorter selector",
                limits::DOMAIN_MAX
            ),
            SignerFlaw::Identity(identity) => {
                write!(formatter, "{identity:?} is no identity; write it as user@example.com or @example.com")
            }
            SignerFlaw::Elsewhere(identity) => {
                write!(
                    formatter,
                    "the identity {identity:?} is neither in the domain that signs nor below it"
                )
            }
            SignerFlaw::NoLifetime => {
                write!(
                    formatter,
                    "a signature must hold for a second at least; leave its lifetime out, or take days"
                )
            }
        }
    }
}

impl std::error::Error for SignerFlaw {}

/// Who signs with what, checked.
#[derive(Debug)]
pub struct Signer {
    pub(super) header: Canonicalization,
    pub(super) body: Canonicalization,
    pub(super) lifetime: Option<u64>,
    pub(super) key: Arc<PrivateKey>,
    /// The begin of its field, up to what depends on the message; the last line may go on.
    pub(super) opening: Vec<u8>,
}

impl Signer {
    /// With these settings.
    pub fn new(settings: Settings<'_>) -> Result<Signer, SignerFlaw> {
        let domain = settings.domain.to_ascii_lowercase();
        let selector = settings.selector.to_ascii_lowercase();
        if let Some(name) = [&domain, &selector].into_iter().find(|name| !name.is_ascii()) {
            return Err(SignerFlaw::NotAscii(name.clone()));
        }
        if !address::is_domain(domain.as_bytes()) || address::is_numeric(&domain) {
            return Err(SignerFlaw::Domain(domain));
        }
        if !address::is_domain(selector.as_bytes()) {
            return Err(SignerFlaw::Selector(selector));
        }
        if selector.len() + "._domainkey.".len() + domain.len() > limits::DOMAIN_MAX {
            return Err(SignerFlaw::TooLong);
        }
        let lifetime = settings.lifetime.map(|lifetime| lifetime.as_secs());
        if lifetime == Some(0) {
            return Err(SignerFlaw::NoLifetime);
        }
        let mut opening = Vec::new();
        let mut field = Folder::begin(&mut opening, "DKIM-Signature:");
        field.tag(format_args!("v=1"));
        field.tag(format_args!("a={}", settings.key.algorithm().name()));
        field.tag(format_args!("c={}/{}", settings.header.name(), settings.body.name()));
        field.tag(format_args!("d={domain}"));
        field.tag(format_args!("s={selector}"));
        if let Some(identity) = settings.identity {
            field.tag(format_args!("i={}", encode_identity(identity, &domain)?));
        }
        let Settings { header, body, key, .. } = settings;
        Ok(Signer { header, body, lifetime, key, opening })
    }

    /// Whether a signature takes so long that others should have their turn behind it: one of RSA takes as long as some messages.
    pub fn is_slow(&self) -> bool {
        self.key.algorithm() == Algorithm::RsaSha256
    }

    /// In which form it wants the body hashed.
    pub fn body_form(&self) -> Canonicalization {
        self.body
    }
}

/// An identity as `i=` has it: its local part in dkim-quoted-printable (RFC 6376 2.11).
fn encode_identity(identity: &str, domain: &str) -> Result<String, SignerFlaw> {
    let flaw = || SignerFlaw::Identity(identity.to_owned());
    let (local, at) = identity.rsplit_once('@').ok_or_else(flaw)?;
    let at = at.to_ascii_lowercase();
    let bounds = local.len() <= limits::LOCAL_PART_MAX && address::is_domain(at.as_bytes());
    if !bounds || local.chars().any(char::is_control) {
        return Err(flaw());
    }
    let above = at.strip_suffix(domain).ok_or_else(|| SignerFlaw::Elsewhere(identity.to_owned()))?;
    if !above.is_empty() && !above.ends_with('.') {
        return Err(SignerFlaw::Elsewhere(identity.to_owned()));
    }
    let mut encoded = String::new();
    for byte in local.bytes() {
        match byte {
            b'!'..=b':' | b'<' | b'>'..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("={byte:02X}")),
        }
    }
    Ok(format!("{encoded}@{at}"))
}
