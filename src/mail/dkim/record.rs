//! Records of keys in DNS (RFC 6376 3.6.1): read, compared with a key, and written as a zone file has them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::Algorithm;
use crate::limits;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// `k=`
    pub algorithm: Option<Algorithm>,
    /// `p=`; empty: the key is revoked.
    pub key: Vec<u8>,
    /// `t=y`: who looks is to treat mail as if it were not signed.
    pub is_test: bool,
    /// `h=` allows the hash that is in use, or is not there.
    pub allows_sha256: bool,
    /// `s=` allows mail, or is not there.
    pub allows_mail: bool,
}

/// Why a text is no record of a key. The fault is with whoever published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFlaw {
    /// It is about something else: it has no key in it, or another version.
    OtherRecord,
    /// It is no list of tags.
    NoTags,
    /// A tag is there twice.
    Twice,
    /// The key is no base64.
    NoBase64,
}

impl fmt::Display for RecordFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RecordFlaw::OtherRecord => "it is no record of a key",
            RecordFlaw::NoTags => "it is no list of tags as in v=DKIM1; k=rsa; p=...",
            RecordFlaw::Twice => "a tag is in it twice",
            RecordFlaw::NoBase64 => "its key (p=) is damaged",
        })
    }
}

impl std::error::Error for RecordFlaw {}

impl KeyRecord {
    /// Reads a record, its strings in a row.
    pub fn parse(text: &[u8]) -> Result<KeyRecord, RecordFlaw> {
        let text = std::str::from_utf8(text).map_err(|_| RecordFlaw::OtherRecord)?;
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for tag in text.split(';').map(str::trim) {
            if tag.is_empty() {
                continue;
            }
            let (name, value) = tag.split_once('=').ok_or(RecordFlaw::NoTags)?;
            let (name, value) = (name.trim(), value.trim());
            if tags.iter().any(|(other, _)| *other == name) {
                return Err(RecordFlaw::Twice);
            }
            tags.push((name, value));
        }
        let tag = |name: &str| tags.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        // RFC 6376 3.6.1: the version comes first, where it is there at all.
        let version = tags.first().filter(|(name, _)| *name == "v").map(|(_, value)| *value);
        if version.is_some_and(|version| version != "DKIM1") || (version.is_none() && tag("v").is_some()) {
            return Err(RecordFlaw::OtherRecord);
        }
        let Some(key) = tag("p") else { return Err(RecordFlaw::OtherRecord) };
        let key: String = key.split_ascii_whitespace().collect();
        let has = |name: &str, words: &[&str]| {
            let value = tag(name)?;
            Some(value.split(':').map(str::trim).any(|word| words.contains(&word)))
        };
        Ok(KeyRecord {
            algorithm: match tag("k").unwrap_or("rsa") {
                "rsa" => Some(Algorithm::RsaSha256),
                "ed25519" => Some(Algorithm::Ed25519Sha256),
                _ => None,
            },
            key: STANDARD.decode(key).map_err(|_| RecordFlaw::NoBase64)?,
            is_test: has("t", &["y"]).unwrap_or(false),
            allows_sha256: has("h", &["sha256"]).unwrap_or(true),
            allows_mail: has("s", &["*", "email"]).unwrap_or(true),
        })
    }

    /// Whether it is the same key as that of another record. An RSA key may stand there without what says that it is one (erratum 3017).
    pub fn is_key_of(&self, other: &KeyRecord) -> bool {
        let (short, long) = if self.key.len() < other.key.len() { (self, other) } else { (other, self) };
        let frame = long.key.len() - short.key.len();
        let framed = frame == FRAME && self.algorithm == Some(Algorithm::RsaSha256);
        self.algorithm == other.algorithm
            && !short.key.is_empty()
            && (frame == 0 || framed)
            && long.key.ends_with(&short.key)
    }
}

/// Bytes of a SubjectPublicKeyInfo in front of an RSA key of 2048 to 4096 bits.
const FRAME: usize = 24;

/// A TXT record as a line of a zone file: in strings of at most 255 bytes (RFC 1035 3.3.14).
pub fn zone_line(name: &str, text: &str) -> String {
    let mut line = format!("{name}. IN TXT");
    let mut rest = text;
    while !rest.is_empty() {
        let (string, behind) = rest.split_at(rest.len().min(limits::TXT_STRING_MAX));
        line.push_str(&format!(" \"{string}\""));
        rest = behind;
    }
    line
}

/// Where the record of a key is.
pub fn name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}
