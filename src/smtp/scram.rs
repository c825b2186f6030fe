//! SCRAM-SHA-256 (RFC 5802, RFC 7677): what both sides of it compute, and what a server keeps in place of a password.
//!
//! Names and passwords are taken as they are: who has letters beyond ASCII in them writes them as the other side prepared them (RFC 4013).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits;

/// As EHLO, AUTH and a verifier name it.
pub const NAME: &str = "SCRAM-SHA-256";

/// What a key is derived with. Two hosts that say the same get the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    /// The host's.
    pub salt: Box<[u8]>,
    /// Within bounds.
    pub iterations: NonZeroU32,
}

/// What is derived of a password: as good as that at this host.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// What a client proves that it knows.
    pub(super) client: [u8; 32],
    /// What a host proves that it knows.
    pub(super) server: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Keys")
    }
}

impl Keys {
    /// Takes as long as the host wants: up to [`limits::client::ITERATIONS_MAX`] hashes, a good part of a second.
    pub fn derive(password: &[u8], costs: &Costs) -> Keys {
        let mut salted = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, costs.iterations, &costs.salt, password, &mut salted);
        Keys { client: sign(&salted, b"Client Key"), server: sign(&salted, b"Server Key") }
    }

    /// What a host that knows the password says of all that was signed.
    #[cfg(test)]
    pub(super) fn signature(&self, signed: &str) -> [u8; 32] {
        sign(&self.server, signed.as_bytes())
    }
}

/// What a server keeps of a password: enough to check a proof and to give its own, too little to be a client with.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// What the client is told to derive its key with.
    pub costs: Costs,
    /// The hash of the client's key.
    pub(super) stored: [u8; 32],
    /// What we prove that we know it with.
    pub(super) server: [u8; 32],
}

/// Who has it can be this server, and can try passwords.
impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Verifier")
    }
}

/// Why a text is no verifier. Nothing of it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadVerifier {
    /// It does not begin as one, or a part is missing, or is no base64 of its length.
    Form,
    /// Its salt is shorter or longer than one may be.
    Salt,
    /// So few iterations that they protect no password (RFC 7677 section 4), or so many that clients would not compute them.
    Iterations,
}

impl Verifier {
    /// That of a password.
    pub fn of(password: &[u8], costs: Costs) -> Verifier {
        let Keys { client, server } = Keys::derive(password, &costs);
        Verifier { costs, stored: hash(&client), server }
    }

    /// One that no password fits, for who is to be answered as if there were one.
    pub fn of_nobody(costs: Costs) -> Verifier {
        // Nothing is known that hashes to it.
        Verifier { costs, stored: [0; 32], server: [0; 32] }
    }

    /// Reads `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER`, the last three in base64: as RFC 5803 section 2 and other servers have it.
    pub fn parse(text: &str) -> Result<Verifier, BadVerifier> {
        let rest = text.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('$'));
        let (costs, keys) = rest.and_then(|rest| rest.split_once('$')).ok_or(BadVerifier::Form)?;
        let (count, salt) = costs.split_once(':').ok_or(BadVerifier::Form)?;
        let (stored, server) = keys.split_once(':').ok_or(BadVerifier::Form)?;
        let salt = STANDARD.decode(salt).map_err(|_| BadVerifier::Form)?;
        let key = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
        let (stored, server) = (key(stored).ok_or(BadVerifier::Form)?, key(server).ok_or(BadVerifier::Form)?);
        if !(limits::SCRAM_SALT_MIN..=limits::SCRAM_SALT_MAX).contains(&salt.len()) {
            return Err(BadVerifier::Salt);
        }
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = digits.then(|| count.parse().unwrap_or(u32::MAX)).ok_or(BadVerifier::Form)?;
        let within = (limits::client::ITERATIONS_MIN..=limits::client::ITERATIONS_MAX).contains(&count);
        let iterations = NonZeroU32::new(count).filter(|_| within).ok_or(BadVerifier::Iterations)?;
        Ok(Verifier { costs: Costs { salt: salt.into(), iterations }, stored, server })
    }

    /// The text that [`Verifier::parse`] reads.
    pub fn text(&self) -> String {
        let [salt, stored, server] =
            [&self.costs.salt[..], &self.stored, &self.server].map(|part| STANDARD.encode(part));
        format!("{NAME}${}:{salt}${stored}:{server}", self.costs.iterations)
    }

    /// The key of the client that gave this proof of it for what both signed.
    pub fn client_key(&self, signed: &str, proof: &[u8; 32]) -> [u8; 32] {
        let mut key = sign(&self.stored, signed.as_bytes());
        key.iter_mut().zip(proof).for_each(|(byte, of_proof)| *byte ^= of_proof);
        key
    }

    /// Whether that is the one of the password. In constant time.
    pub fn is_of(&self, client_key: &[u8; 32]) -> bool {
        verify_slices_are_equal(&hash(client_key), &self.stored).is_ok()
    }

    /// Our own proof for what both signed.
    pub fn signature(&self, signed: &str) -> [u8; 32] {
        sign(&self.server, signed.as_bytes())
    }
}

/// Escapes a name (RFC 5802 section 5.1).
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Undoes that. None: it is empty, or has a `=` that escapes nothing, for which authentication must fail, or a NUL.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = [("3D", '='), ("2C", ',')]
            .into_iter()
            .find_map(|(code, letter)| Some((letter, part.strip_prefix(code)?)))?;
        name.push(letter);
        name.push_str(rest);
    }
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

/// HMAC-SHA-256.
pub(super) fn sign(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut signature = [0; 32];
    signature.copy_from_slice(tag.as_ref());
    signature
}

/// SHA-256.
pub(super) fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// RFC 7677 section 3: user `user`, password `pencil`.
    pub(crate) fn costs() -> Costs {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64").into();
        Costs { salt, iterations: NonZeroU32::new(4096).expect("not 0") }
    }

    /// The verifier of that password, as PostgreSQL's functions give it for the same salt.
    pub(crate) const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn what_is_kept_of_the_password_of_rfc_7677() {
        let verifier = Verifier::of(b"pencil", costs());
        assert_eq!(verifier.text(), PENCIL);
        assert_eq!(Verifier::parse(PENCIL), Ok(verifier.clone()));
        let signed = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").expect("base64");
        let mut proof: [u8; 32] = proof.try_into().expect("32 bytes");
        assert!(verifier.is_of(&verifier.client_key(signed, &proof)));
        let signature = STANDARD.encode(verifier.signature(signed));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        proof[31] ^= 1;
        assert!(!verifier.is_of(&verifier.client_key(signed, &proof)));
        assert!(!Verifier::of_nobody(costs()).is_of(&verifier.client_key(signed, &proof)));
        assert_eq!(format!("{verifier:?}"), "Verifier");
    }

    #[test]
    fn what_no_verifier_is() {
        let key = STANDARD.encode([7; 32]);
        let of = |count: &str, salt: &str| format!("SCRAM-SHA-256${count}:{salt}${key}:{key}");
        let (salt, long) = (STANDARD.encode([1; 8]), STANDARD.encode([1; limits::SCRAM_SALT_MAX + 1]));
        for (text, wanted) in [
            (of("4096", &salt), None),
            (of("1000000", &salt), None),
            (of("4095", &salt), Some(BadVerifier::Iterations)),
            (of("0", &salt), Some(BadVerifier::Iterations)),
            (of("1000001", &salt), Some(BadVerifier::Iterations)),
            (of("99999999999999999999", &salt), Some(BadVerifier::Iterations)),
            (of("+4096", &salt), Some(BadVerifier::Form)),
            (of("", &salt), Some(BadVerifier::Form)),
            (of("4096", "AQEBAQEBAQ=="), Some(BadVerifier::Salt)),
            (of("4096", &long), Some(BadVerifier::Salt)),
            (of("4096", "!"), Some(BadVerifier::Form)),
            (of("4096", &salt).replace("256", "1"), Some(BadVerifier::Form)),
            (of("4096", &salt) + "A", Some(BadVerifier::Form)),
            (format!("SCRAM-SHA-256$4096:{salt}${key}"), Some(BadVerifier::Form)),
            (format!("SCRAM-SHA-256$4096:{salt}$AAAA:{key}"), Some(BadVerifier::Form)),
            ("SCRAM-SHA-256".to_owned(), Some(BadVerifier::Form)),
            (String::new(), Some(BadVerifier::Form)),
        ] {
            assert_eq!(Verifier::parse(&text).err(), wanted, "{text}");
        }
    }

    #[test]
    fn names_go_through_escapes() {
        for name in ["bob", "a=b,c", "=,=", "ünï", "=3D"] {
            assert_eq!(unescape(&escape(name)).as_deref(), Some(name));
        }
        for wrong in ["", "=", "a=", "a=3d", "a=41", "=2", "a=2Cb=", "a\0b"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
        assert_eq!(escape("a=b,c"), "a=3Db=2Cc");
    }
}
