//! Keys that sign (RFC 6376 3.3, RFC 8301, RFC 8463): read from PEM, made new, and what DNS has to say of them.

use std::fmt;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::pem;
use crate::limits;

/// The object identifiers of the two kinds (RFC 8017 A.1, RFC 8410 3), encoded.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Which algorithm signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// What all receivers know.
    RsaSha256,
    /// Short and fast, and unknown to many receivers: beside the other one, never alone.
    Ed25519Sha256,
}

impl Algorithm {
    /// As `a=` has it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

/// Why a text is no key that can sign. The fault is with the file, or with whoever named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFlaw {
    /// There is no section of PEM in it.
    NoPem,
    /// A section has no end.
    CutOff,
    /// A password protects it.
    Encrypted,
    /// It is the half that belongs into DNS.
    Public,
    /// It is in a format of its own that OpenSSH has.
    OpenSsh,
    /// There is something else in it, such as a certificate.
    NoKey,
    /// DKIM has no use for its algorithm.
    OtherAlgorithm,
    /// So many bits of RSA are too few.
    Short(usize),
    /// So many bits of RSA are more than receivers must know.
    Long(usize),
    /// What is between begin and end is no key.
    Damaged,
}

impl KeyFlaw {
    /// What is to be done.
    pub fn fix(self) -> &'static str {
        match self {
            KeyFlaw::NoPem | KeyFlaw::NoKey => {
                "name the file with the private key; it begins with -----BEGIN PRIVATE KEY-----"
            }
            KeyFlaw::CutOff | KeyFlaw::Damaged => "copy the whole file again, or make a new key",
            KeyFlaw::Encrypted => {
                "write it without its password: openssl pkey -in OLD -out NEW, and let nobody else read NEW"
            }
            KeyFlaw::Public => "name the file with the private key, which was made together with it",
            KeyFlaw::OpenSsh => "make a key of its own for DKIM: openssl genpkey -algorithm RSA -out NEW",
            KeyFlaw::OtherAlgorithm => "make an RSA key: openssl genpkey -algorithm RSA -out NEW",
            KeyFlaw::Short(_) | KeyFlaw::Long(_) => {
                "make a key of 2048 bits, publish it under a new selector, and sign with that one"
            }
        }
    }
}

impl fmt::Display for KeyFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFlaw::NoPem => write!(formatter, "there is no key in PEM in it"),
            KeyFlaw::CutOff => write!(formatter, "the key has no end (a line -----END ...-----)"),
            KeyFlaw::Encrypted => {
                write!(formatter, "the key is encrypted, and nobody is there to type its password")
            }
            KeyFlaw::Public => write!(formatter, "it is the public key, which belongs into DNS"),
            KeyFlaw::OpenSsh => write!(formatter, "it is a key of OpenSSH"),
            KeyFlaw::NoKey => write!(formatter, "there is no private key in it"),
            KeyFlaw::OtherAlgorithm => write!(formatter, "it is a key of neither RSA nor Ed25519"),
            KeyFlaw::Short(bits) => write!(
                formatter,
                "an RSA key of {bits} bits is too short: a signature is to have {} at least (RFC 8301)",
                limits::DKIM_RSA_BITS_MIN
            ),
            KeyFlaw::Long(bits) => write!(
                formatter,
                "an RSA key of {bits} bits is too long: receivers need not know more than {} (RFC 8301)",
                limits::DKIM_RSA_BITS_MAX
            ),
            KeyFlaw::Damaged => write!(formatter, "the key is damaged"),
        }
    }
}

impl std::error::Error for KeyFlaw {}

/// The machine or its cryptographic library fails: neither key nor message is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the cryptographic library fails, which points to a faulty machine")
    }
}

impl std::error::Error for Failed {}

enum Kind {
    Rsa(rsa::KeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key that signs. It is shown nowhere but where it is asked for as text. The library locks an RSA key for a moment at each signature, so
/// that shards, which share no lock, read one each.
pub struct PrivateKey(Kind);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrivateKey({})", self.algorithm().name())
    }
}

impl PrivateKey {
    /// The first private key of a text in PEM: RSA in PKCS#1 or PKCS#8, or Ed25519 in PKCS#8.
    pub fn from_pem(text: &str) -> Result<PrivateKey, KeyFlaw> {
        let sections = pem::sections(text).map_err(|pem::CutOff| KeyFlaw::CutOff)?;
        let Some(section) = sections.iter().find(|section| section.label.ends_with("PRIVATE KEY")) else {
            return Err(match sections.first() {
                None => KeyFlaw::NoPem,
                Some(section) if section.label.ends_with("PUBLIC KEY") => KeyFlaw::Public,
                Some(_) => KeyFlaw::NoKey,
            });
        };
        match section.label {
            _ if section.has_headers => return Err(KeyFlaw::Encrypted),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyFlaw::Encrypted),
            "OPENSSH PRIVATE KEY" => return Err(KeyFlaw::OpenSsh),
            "PRIVATE KEY" | "RSA PRIVATE KEY" => {}
            _ => return Err(KeyFlaw::OtherAlgorithm),
        }
        let der = section.bytes.as_deref().ok_or(KeyFlaw::Damaged)?;
        let (algorithm, inner) = match section.label {
            "PRIVATE KEY" => pem::pkcs8(der).ok_or(KeyFlaw::Damaged)?,
            _ => (RSA, der),
        };
        let kind = match algorithm {
            RSA => Kind::Rsa(rsa_key(inner)?),
            ED25519 => Kind::Ed25519(Ed25519KeyPair::from_pkcs8(der).map_err(|_| KeyFlaw::Damaged)?),
            _ => return Err(KeyFlaw::OtherAlgorithm),
        };
        Ok(PrivateKey(kind))
    }

    /// A new key. Its random numbers are drawn inside the cryptographic library: this is for a command, and nothing that handles mail
    /// calls it.
    pub fn generate(algorithm: Algorithm) -> Result<PrivateKey, Failed> {
        let kind = match algorithm {
            Algorithm::RsaSha256 => Kind::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| Failed)?),
            Algorithm::Ed25519Sha256 => Kind::Ed25519(Ed25519KeyPair::generate().map_err(|_| Failed)?),
        };
        Ok(PrivateKey(kind))
    }

    /// As a file keeps it: PKCS#8 in PEM, which OpenSSL and other signers read too. Whoever reads it can sign.
    pub fn to_pem(&self) -> Result<String, Failed> {
        let der: Pkcs8V1Der<'_> = match &self.0 {
            Kind::Rsa(key) => key.as_der(),
            Kind::Ed25519(key) => key.as_der(),
        }
        .map_err(|_| Failed)?;
        Ok(pem::write("PRIVATE KEY", der.as_ref()))
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Kind::Rsa(_) => Algorithm::RsaSha256,
            Kind::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// Its length.
    pub fn bits(&self) -> usize {
        match &self.0 {
            Kind::Rsa(key) => 8 * key.public_modulus_len(),
            Kind::Ed25519(key) => 8 * key.public_key().as_ref().len(),
        }
    }

    /// What the TXT record at `SELECTOR._domainkey.DOMAIN` has to say (RFC 6376 3.6.1, RFC 8463 4), as one text: a zone file has it in
    /// strings of at most 255 bytes.
    pub fn txt_record(&self) -> Result<String, Failed> {
        Ok(match &self.0 {
            // A SubjectPublicKeyInfo, as all have it (erratum 3017 of RFC 6376).
            Kind::Rsa(key) => {
                let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| Failed)?;
                format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public.as_ref()))
            }
            Kind::Ed25519(key) => {
                format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(key.public_key().as_ref()))
            }
        })
    }

    /// The signature of what hashes to `digest`, in base64, into `out`.
    pub(super) fn sign(&self, digest: &Digest, out: &mut String) -> Result<(), Failed> {
        match &self.0 {
            Kind::Rsa(key) => {
                let mut room = [0; limits::DKIM_RSA_BITS_MAX / 8];
                let signature = room.get_mut(..key.public_modulus_len()).ok_or(Failed)?;
                key.sign_digest(&signature::RSA_PKCS1_SHA256, digest, signature).map_err(|_| Failed)?;
                STANDARD.encode_string(signature, out);
            }
            // RFC 8463 3: the hash is the message that is signed.
            Kind::Ed25519(key) => {
                STANDARD.encode_string(key.try_sign(digest.as_ref()).map_err(|_| Failed)?, out);
            }
        }
        Ok(())
    }
}

/// From PKCS#1.
fn rsa_key(der: &[u8]) -> Result<rsa::KeyPair, KeyFlaw> {
    match pem::rsa_bits(der).ok_or(KeyFlaw::Damaged)? {
        bits @ ..limits::DKIM_RSA_BITS_MIN => Err(KeyFlaw::Short(bits)),
        limits::DKIM_RSA_BITS_MIN..=limits::DKIM_RSA_BITS_MAX => {
            rsa::KeyPair::from_der(der).map_err(|_| KeyFlaw::Damaged)
        }
        bits => Err(KeyFlaw::Long(bits)),
    }
}
