//! Signatures of mail (DKIM: RFC 6376, 8301, 8463), without IO: bytes in, `DKIM-Signature` fields out.
//!
//! A message is signed in this order:
//! 1. its body, whichever way it comes in, is hashed once for each canonicalisation that its signers use ([`body`]);
//! 2. of its header section, in memory, the fields that a [`FieldList`] names are picked and hashed, once for all signers ([`field`]);
//! 3. the field of each [`Signer`] is composed around both and signed with its [`PrivateKey`] ([`sign`]).
//!
//! There is no `l=`: what is added behind a signed part of a body is not covered, and passes for signed. All hashes are SHA-256 (RFC 8301).

pub mod body;
mod folder;
pub mod field;
mod pem;
pub mod key;
pub mod record;
pub mod signer;
pub mod sign;
#[cfg(test)]
mod tests;

pub use body::{BodyHashers, BodyHashes};
pub use field::FieldList;
pub use key::PrivateKey;
pub use sign::{Message, SignatureWriter, Unsigned};
pub use signer::Signer;

/// How much a message may be changed on its way before a signature breaks (RFC 6376 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canonicalization {
    /// Not at all.
    Simple,
    /// In its white space and line breaks.
    Relaxed,
}

impl Canonicalization {
    /// As `c=` has it.
    pub fn name(self) -> &'static str {
        match self {
            Canonicalization::Simple => "simple",
            Canonicalization::Relaxed => "relaxed",
        }
    }
}
