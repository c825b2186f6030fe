//! Who signs a message, and with which keys: that of the domain in its From field, and the relay's (`[dkim]`).
//!
//! A key is a file `DOMAIN/SELECTOR.pem`, read by `node`. A domain without keys signs with those of the nearest one above it that has some. Of the keys of a domain
//! the newest of each algorithm signs, unless `[[dkim.key]]` sections name keys of it: then only these count, and of them the one that began last.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::config::DkimConfig;
use crate::config::dkim::EightBit;
use crate::limits;
use crate::mail::dkim::key::{Algorithm, KeyFlaw};
use crate::mail::dkim::signer::{Settings, SignerFlaw};
use crate::mail::dkim::{Canonicalization, PrivateKey, Signer};
use crate::time::UnixMillis;

/// Which key of a [`Signing`], and of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyNumber(pub u32);

/// What tells that a file is not as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// When it was written: nanoseconds of Unix time.
    pub at_ns: u64,
    /// Its bytes.
    pub size: u64,
    /// Which file it is.
    pub inode: u64,
}

/// The file of a key, which can sign.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// Whose it is, in lower case.
    pub domain: Arc<str>,
    /// Its name there, in lower case.
    pub selector: Box<str>,
    /// As it was when it was read.
    pub written: Written,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// What is in it.
    pem: Pem,
}

/// The text of a private key, which no log may have.
#[derive(Clone, PartialEq, Eq)]
struct Pem(Arc<str>);

impl fmt::Debug for Pem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pem")
    }
}

/// Why a file holds no key that can sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFileFlaw {
    /// What is in it is to blame.
    Key(KeyFlaw),
    /// Its name is, or that of its directory.
    Name(SignerFlaw),
}

impl KeyFileFlaw {
    /// What is to be done.
    pub fn fix(&self) -> &'static str {
        match self {
            KeyFileFlaw::Key(flaw) => flaw.fix(),
            KeyFileFlaw::Name(_) => "name it DOMAIN/SELECTOR.pem",
        }
    }
}

impl fmt::Display for KeyFileFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFileFlaw::Key(flaw) => write!(formatter, "{flaw}"),
            KeyFileFlaw::Name(flaw) => write!(formatter, "{flaw}"),
        }
    }
}

impl std::error::Error for KeyFileFlaw {}

impl KeyFile {
    /// Looks whether it can sign: its text is understood, and so are the names that it has by its place.
    pub fn new(
        domain: &Arc<str>,
        selector: &str,
        written: Written,
        text: &str,
    ) -> Result<KeyFile, KeyFileFlaw> {
        let key = PrivateKey::from_pem(text).map_err(KeyFileFlaw::Key)?;
        let algorithm = key.algorithm();
        let (domain, selector) = (domain.clone(), selector.to_ascii_lowercase().into());
        let file = KeyFile { domain, selector, written, algorithm, pem: Pem(text.into()) };
        file.signer(&Form::default(), key).map_err(KeyFileFlaw::Name)?;
        Ok(file)
    }

    fn signer(&self, form: &Form, key: PrivateKey) -> Result<Signer, SignerFlaw> {
        Signer::new(Settings {
            domain: &self.domain,
            selector: &self.selector,
            header: form.header,
            body: form.body,
            identity: None,
            lifetime: form.lifetime,
            key: Arc::new(key),
        })
    }

    /// Whether both are one text in memory: that of a file that was not read again.
    pub fn is_same_text_as(&self, other: &KeyFile) -> bool {
        Arc::ptr_eq(&self.pem.0, &other.pem.0)
    }

    /// Whether both files hold the same.
    pub fn has_same_key_as(&self, other: &KeyFile) -> bool {
        self.is_same_text_as(other) || self.pem == other.pem
    }

    /// The key.
    pub fn key(&self) -> Result<PrivateKey, KeyFlaw> {
        PrivateKey::from_pem(&self.pem.0)
    }
}

/// What is the same in all signatures.
#[derive(Clone, Debug)]
struct Form {
    header: Canonicalization,
    body: Canonicalization,
    lifetime: Option<Duration>,
    eight_bit: EightBit,
}

impl Form {
    fn of(config: &DkimConfig) -> Form {
        let DkimConfig { header, body, lifetime, eight_bit, keys: _, relay_domain: _, named: _ } = config;
        Form { header: *header, body: *body, lifetime: *lifetime, eight_bit: *eight_bit }
    }
}

impl Default for Form {
    fn default() -> Form {
        Form::of(&DkimConfig::default())
    }
}

/// When a key of a domain signs, unless one before it in the list does.
#[derive(Clone, Copy, Debug)]
struct Term {
    key: KeyNumber,
    algorithm: Algorithm,
    from: UnixMillis,
    until: UnixMillis,
}

impl Term {
    fn holds(&self, now: UnixMillis) -> bool {
        self.from <= now && now < self.until
    }
}

/// What a key does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It signs.
    Signs,
    /// It will from then on.
    Later(UnixMillis),
    /// It did up to then.
    Over(UnixMillis),
    /// Another one of its domain signs in its place.
    Rests,
}

/// All keys, and which of them sign what. Never changed: a reload makes another one.
#[derive(Debug)]
pub struct Signing {
    form: Form,
    relay_domain: Option<Box<str>>,
    /// By number.
    files: Vec<KeyFile>,
    /// Of each domain that has keys which may sign, when each of them does: what began later comes first.
    domains: HashMap<Arc<str>, Box<[Term]>>,
    /// Labels of the domain that has the most: no name above that is looked for.
    labels_max: usize,
}

impl Signing {
    /// With what the directory holds. A `[[dkim.key]]` whose file is not there names nothing.
    pub fn new(config: &DkimConfig, mut files: Vec<KeyFile>) -> Signing {
        // The newest first; of two that are as old as each other, the one that comes later in the alphabet.
        files.sort_unstable_by(|one, other| {
            let age = (other.written.at_ns, &other.selector).cmp(&(one.written.at_ns, &one.selector));
            one.domain.cmp(&other.domain).then(age)
        });
        let mut named: HashMap<&str, Vec<_>> = HashMap::new();
        for key in &config.named {
            named.entry(&key.domain).or_default().push(key);
        }
        let mut domains = HashMap::new();
        let mut first = 0;
        for keys in files.chunk_by(|one, other| one.domain == other.domain) {
            let domain = &keys[0].domain;
            let numbered = (first..).map(KeyNumber).zip(keys);
            first += keys.len() as u32;
            let mut terms: Vec<Term> = match named.get(&**domain) {
                Some(named) => numbered
                    .filter_map(|(key, file)| {
                        let one = named.iter().find(|one| one.selector == file.selector)?;
                        Some(Term { key, algorithm: file.algorithm, from: one.from, until: one.until })
                    })
                    .collect(),
                None => [Algorithm::RsaSha256, Algorithm::Ed25519Sha256]
                    .into_iter()
                    .filter_map(|algorithm| numbered.clone().find(|(_, file)| file.algorithm == algorithm))
                    .map(|(key, file)| {
                        let (from, until) = (UnixMillis(0), UnixMillis(u64::MAX));
                        Term { key, algorithm: file.algorithm, from, until }
                    })
                    .collect(),
            };
            // Stable: the newest file of those that begin together.
            terms.sort_by_key(|term| std::cmp::Reverse(term.from));
            if !terms.is_empty() {
                domains.insert(domain.clone(), terms.into_boxed_slice());
            }
        }
        let labels_max = domains.keys().map(|domain| domain.split('.').count()).max().unwrap_or(0);
        let relay_domain = config.relay_domain.clone();
        Signing { form: Form::of(config), relay_domain, files, domains, labels_max }
    }

    /// Whether nobody could sign anything.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Who signs mail of this domain, which is in lower case and in A-labels; of none: only the relay does. The nearest domain, upwards from there,
    /// that has keys which sign now, and the relay's, each with a key of each algorithm.
    pub fn signers_for(
        &self,
        from_domain: Option<&str>,
        now: UnixMillis,
    ) -> SmallVec<[KeyNumber; limits::SIGNATURES_MAX]> {
        let mut numbers = SmallVec::new();
        let own = from_domain.and_then(|domain| self.add_nearest(domain, now, None, &mut numbers));
        if let Some(relay) = &self.relay_domain {
            self.add_nearest(relay, now, own, &mut numbers);
        }
        numbers
    }

    /// Adds what signs for a domain, unless it is the one that did already. Whose keys they are.
    fn add_nearest<'d>(
        &self,
        domain: &'d str,
        now: UnixMillis,
        other: Option<&str>,
        numbers: &mut SmallVec<[KeyNumber; limits::SIGNATURES_MAX]>,
    ) -> Option<&'d str> {
        for name in nearest(domain, self.labels_max) {
            let Some(terms) = self.domains.get(name) else { continue };
            let sign = |algorithm| terms.iter().find(|term| term.algorithm == algorithm && term.holds(now));
            let [rsa, ed25519] = [Algorithm::RsaSha256, Algorithm::Ed25519Sha256].map(sign);
            if rsa.is_none() && ed25519.is_none() {
                continue;
            }
            if other != Some(name) {
                numbers.extend([rsa, ed25519].into_iter().flatten().map(|term| term.key));
            }
            return Some(name);
        }
        None
    }

    /// Whether what the relay signs in its own name passes for mail of this domain: it is the relay's, above or below it (RFC 9989, relaxed
    /// alignment).
    pub fn relay_passes_for(&self, domain: &str) -> bool {
        let is_below = |one: &str, other: &str| {
            one.strip_suffix(other).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.relay_domain.as_ref().is_some_and(|relay| is_below(relay, domain) || is_below(domain, relay))
    }

    /// Whether a domain, or one above it, has keys.
    pub fn has_keys(&self, domain: &str) -> bool {
        nearest(domain, self.labels_max).any(|name| self.domains.contains_key(name))
    }

    /// Whether a key signs, and if not why.
    pub fn standing(&self, key: KeyNumber, now: UnixMillis) -> Standing {
        let Some(file) = self.files.get(key.0 as usize) else { return Standing::Rests };
        let terms = self.domains.get(&file.domain).map(|terms| &**terms).unwrap_or_default();
        let first = terms.iter().find(|term| term.algorithm == file.algorithm && term.holds(now));
        match terms.iter().find(|term| term.key == key) {
            None => Standing::Rests,
            Some(term) if term.until <= now => Standing::Over(term.until),
            Some(term) if term.from > now => Standing::Later(term.from),
            Some(_) if first.is_some_and(|first| first.key == key) => Standing::Signs,
            Some(_) => Standing::Rests,
        }
    }

    /// How many keys there are: their numbers are below.
    pub fn key_count(&self) -> usize {
        self.files.len()
    }

    /// The files of the keys, by number.
    pub fn files(&self) -> &[KeyFile] {
        &self.files
    }

    /// A signer with a key of its own: the cryptographic library locks one while it signs, and shards share no lock. An error is our fault, or
    /// the machine's: this key could sign when it was read.
    pub fn make_signer(&self, key: KeyNumber) -> Result<Signer, KeyFileFlaw> {
        let file = self.files.get(key.0 as usize).ok_or(KeyFileFlaw::Key(KeyFlaw::NoKey))?;
        file.signer(&self.form, file.key().map_err(KeyFileFlaw::Key)?).map_err(KeyFileFlaw::Name)
    }

    /// In which forms bodies are hashed.
    pub fn body_forms(&self) -> [Canonicalization; 1] {
        [self.form.body]
    }

    /// Whether 8-bit text is encoded before it is signed.
    pub fn encodes_eight_bit(&self) -> bool {
        self.form.eight_bit == EightBit::Encode
    }
}

/// A domain and those above it, as far as they have at most so many labels.
fn nearest(domain: &str, labels_max: usize) -> impl Iterator<Item = &str> {
    let begin = match labels_max.checked_sub(1) {
        None => domain.len(),
        Some(dots) => domain.rmatch_indices('.').nth(dots).map_or(0, |(dot, _)| dot + 1),
    };
    let first = domain.get(begin..).filter(|name| !name.is_empty());
    std::iter::successors(first, |name| name.split_once('.').map(|(_, above)| above))
}

#[cfg(test)]
mod tests;
