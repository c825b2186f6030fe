//! Passwords that were found right of late, so that a client that logs in again costs no hash.
//!
//! What is kept is no password but a keyed hash of name, password and the stored hash it was right for, one an account, so as many as
//! there are accounts. The key is random and dies with the process, and what was verified is forgotten with it.

use std::collections::HashMap;

use ring::hmac;

use crate::limits;
use crate::time::Instant;

/// Credentials, as one keyed hash.
#[derive(Clone, Copy, Eq, PartialEq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A few bytes of it.
    pub fn fingerprint(&self) -> u64 {
        // 0 stands for none elsewhere.
        u64::from_be_bytes(self.0.first_chunk().copied().unwrap_or_default()).max(1)
    }
}

/// Makes digests.
pub struct DigestKey(hmac::Key);

impl DigestKey {
    /// `key`: bytes nobody knows, drawn once a process.
    pub fn new(key: &[u8; 32]) -> DigestKey {
        DigestKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The digest of a name and a password that are checked against `hash`.
    pub fn digest(&self, name: &str, password: &[u8], hash: &str) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [hash.as_bytes(), name.as_bytes(), password] {
            // With its length, so that no other parts give the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        Digest(digest)
    }
}

/// The credentials that were found right.
#[derive(Default)]
pub struct Verified {
    /// By place of the account: its credentials, and when they were last used.
    digests: HashMap<usize, (Digest, Instant)>,
}

impl Verified {
    /// Whether these credentials of the account at `place` were found right, and used since then.
    pub fn knows(&mut self, place: usize, digest: &Digest, now: Instant) -> bool {
        let Some((known, used)) = self.digests.get_mut(&place) else { return false };
        let fresh = now.since(*used) < limits::VERIFIED_KEPT;
        // All bytes are looked at, wherever they differ first.
        let differences = known.0.iter().zip(&digest.0).fold(0, |found, (one, other)| found | (one ^ other));
        let right = std::hint::black_box(differences) == 0;
        if right && fresh {
            *used = now;
        } else if !fresh {
            self.digests.remove(&place);
        }
        right && fresh
    }

    /// They were found right just now.
    pub fn remember(&mut self, place: usize, digest: Digest, now: Instant) {
        self.digests.insert(place, (digest, now));
    }

    /// How many are remembered: one an account at most.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_the_same_credentials_are_known_and_only_for_a_while() {
        let (mut verified, digest_key) = (Verified::default(), DigestKey::new(&[7; 32]));
        let (start, right) = (Instant(1), digest_key.digest("bob", b"secret", "hash"));
        assert!(!verified.knows(3, &right, start) && verified.is_empty());
        verified.remember(3, right, start);
        assert!(verified.knows(3, &right, start));
        for (name, password, hash) in [
            ("bob", &b"Secret"[..], "hash"),
            ("bo", b"bsecret", "hash"),
            ("bob", b"secret", "another"),
            ("bob", b"", "hash"),
            ("bo", b"secret", "hashb"),
        ] {
            let wrong = digest_key.digest(name, password, hash);
            assert!(wrong != right && !verified.knows(3, &wrong, start), "{name} {hash}");
        }
        assert!(!verified.knows(4, &right, start), "another account");
        assert!(verified.knows(3, &right, start), "a wrong guess takes nothing away");
        assert!(DigestKey::new(&[8; 32]).digest("bob", b"secret", "hash") != right, "the key counts");
        // Each use keeps them longer.
        let mut now = start;
        for _ in 0..5 {
            now = now + (limits::VERIFIED_KEPT - Duration::from_nanos(1));
            assert!(verified.knows(3, &right, now));
        }
        now = now + limits::VERIFIED_KEPT;
        assert!(!verified.knows(3, &right, now) && verified.is_empty());
        // A changed password takes the place of the one before.
        verified.remember(3, right, now);
        let changed = digest_key.digest("bob", b"changed", "other");
        verified.remember(3, changed, now);
        assert!(verified.knows(3, &changed, now) && !verified.knows(3, &right, now));
        assert_eq!(verified.len(), 1);
    }
}
