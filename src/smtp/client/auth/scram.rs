//! SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding: the connection is one to a host that has a valid certificate.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits;
pub use crate::smtp::scram::{Costs, Keys};
use crate::smtp::scram::{escape, hash, sign};

/// Why the host is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// A message of it is none.
    Malformed(&'static str),
    /// It wants so many iterations.
    TooMany(u64),
    /// So few, that whoever listens in could try passwords (RFC 7677 section 4).
    TooFew(u64),
    /// It says that it is done, and has not shown that it knows the password.
    Unproven,
    /// It showed something else.
    WrongSignature,
    /// It says what is wrong, in a word.
    Said(String),
}

impl fmt::Display for ScramError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScramError::Malformed(what) => write!(formatter, "does not follow SCRAM: {what}"),
            ScramError::TooMany(count) => write!(
                formatter,
                "wants {count} iterations of SCRAM, and more than {} are not computed",
                limits::client::ITERATIONS_MAX
            ),
            ScramError::TooFew(count) => write!(
                formatter,
                "wants {count} iterations of SCRAM, and fewer than {} protect no password (RFC 7677)",
                limits::client::ITERATIONS_MIN
            ),
            ScramError::Unproven => {
                formatter.write_str("says that we are logged in without proof that it knows the password")
            }
            ScramError::WrongSignature => {
                formatter.write_str("does not know the password itself: its signature is wrong")
            }
            ScramError::Said(word) => write!(formatter, "refuses the user or the password: {word}"),
        }
    }
}

/// An exchange.
#[derive(Debug)]
pub struct Scram {
    nonce: String,
    /// RFC 5802 section 3: all that both sides signed; first only what we said.
    signed: String,
    /// The nonce of both.
    whole: String,
    /// The host's key and what it is to have signed with it, when we have proven ours.
    expected: Option<[u8; 32]>,
    asked: bool,
}

/// `n,,`: no channel binding, and we act for ourselves.
const HEADER: &str = "n,,";

impl Scram {
    /// Our first message.
    pub fn begin(user: &str, nonce: &[u8]) -> (Scram, String) {
        Scram::with_nonce(user, STANDARD.encode(nonce))
    }

    pub(super) fn with_nonce(user: &str, nonce: String) -> (Scram, String) {
        let bare = format!("n={},r={nonce}", escape(user));
        let first = format!("{HEADER}{bare}");
        (Scram { nonce, signed: bare, whole: String::new(), expected: None, asked: false }, first)
    }

    /// Whether the host's first message was taken.
    pub fn is_answered(&self) -> bool {
        self.asked
    }

    /// The host's first message: nonce, salt, iterations.
    pub fn on_first(&mut self, message: &[u8]) -> Result<Costs, ScramError> {
        let message = str::from_utf8(message).map_err(|_| ScramError::Malformed("it is no text"))?;
        let mut parts = message.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        // `m=` here would be an extension that has to be known (RFC 5802 section 5.1).
        let whole = part("r=").ok_or(ScramError::Malformed("it has no nonce"))?;
        let salt = part("s=").ok_or(ScramError::Malformed("it has no salt"))?;
        let count = part("i=").ok_or(ScramError::Malformed("it has no count of iterations"))?;
        let added = whole.strip_prefix(&self.nonce).filter(|added| !added.is_empty());
        if added.is_none_or(|added| !added.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(ScramError::Malformed("its nonce does not begin with ours"));
        }
        let salt = STANDARD.decode(salt).map_err(|_| ScramError::Malformed("its salt is no base64"))?;
        if salt.is_empty() {
            return Err(ScramError::Malformed("its salt is empty"));
        }
        let digits =
            !count.is_empty() && count.len() <= 18 && count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u64 = if digits { count.parse().unwrap_or(u64::MAX) } else { 0 };
        if !digits {
            return Err(ScramError::Malformed("its count of iterations is no number"));
        } else if count < u64::from(limits::client::ITERATIONS_MIN) {
            return Err(ScramError::TooFew(count));
        }
        let within = u32::try_from(count).ok().filter(|count| *count <= limits::client::ITERATIONS_MAX);
        let iterations = within.and_then(NonZeroU32::new).ok_or(ScramError::TooMany(count))?;
        whole.clone_into(&mut self.whole);
        self.signed = format!("{},{message}", self.signed);
        self.asked = true;
        Ok(Costs { salt: salt.into(), iterations })
    }

    /// Our last message: the proof that we know the password.
    pub fn prove(&mut self, keys: &Keys) -> Result<String, ScramError> {
        if !self.asked || self.expected.is_some() {
            return Err(ScramError::Malformed("it is out of step"));
        }
        let without = format!("c={},r={}", STANDARD.encode(HEADER), self.whole);
        self.signed = format!("{},{without}", self.signed);
        let signature = sign(&hash(&keys.client), self.signed.as_bytes());
        let mut proof = keys.client;
        proof.iter_mut().zip(signature).for_each(|(byte, of_signature)| *byte ^= of_signature);
        self.expected = Some(keys.server);
        Ok(format!("{without},p={}", STANDARD.encode(proof)))
    }

    /// The host's last message: its own proof.
    pub fn on_last(&self, message: &[u8]) -> Result<(), ScramError> {
        let Some(key) = &self.expected else { return Err(ScramError::Malformed("it is out of step")) };
        let message = str::from_utf8(message).map_err(|_| ScramError::Malformed("it is no text"))?;
        let first = message.split(',').next().unwrap_or_default();
        if let Some(error) = first.strip_prefix("e=") {
            let word = error.chars().filter(|letter| letter.is_ascii_graphic());
            return Err(ScramError::Said(word.take(limits::client::SCRAM_WORD_MAX).collect()));
        }
        let signature =
            first.strip_prefix("v=").ok_or(ScramError::Malformed("its last message has no signature"))?;
        let signature =
            STANDARD.decode(signature).map_err(|_| ScramError::Malformed("its signature is no base64"))?;
        // In constant time.
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&key, self.signed.as_bytes(), &signature).map_err(|_| ScramError::WrongSignature)
    }
}
