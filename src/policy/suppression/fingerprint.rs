//! Fingerprints: SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012) of whom an entry is about and for whom it holds, by
//! a key that is in the head of the list's file and nowhere else to be seen. Who does not know it cannot make two addresses meet.
//!
//! Of its 64 bits the lowest is left to others. With 50,000,000 entries a look-up of somebody who is not listed finds him all the same
//! once in 1.8e11 times (50e6 / 2^63 = 5.4e-12).

use super::canonical::Kind;

/// What fingerprints are made with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

impl Key {
    /// The fingerprint of an entry: what it holds mail back from, and of which tenant; None: of the node. Even, and not 0.
    pub fn fingerprint(&self, kind: Kind, tenant: Option<&str>, about: &[u8]) -> u64 {
        let mut sip = Sip::new(self);
        let tenant = tenant.map(str::as_bytes);
        // No length of a name is that of none.
        let length = tenant.map_or(0, |tenant| tenant.len() as u64 + 1);
        sip.block(kind as u64 | length << 8);
        for part in tenant.unwrap_or_default().chunks(8) {
            sip.block(word(part));
        }
        let hash = sip.finish(about) & !1;
        if hash == 0 { 2 } else { hash }
    }
}

/// At most 8 bytes, filled up with zeroes.
fn word(part: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..part.len()].copy_from_slice(part);
    u64::from_le_bytes(bytes)
}

struct Sip {
    state: [u64; 4],
    length: u64,
}

impl Sip {
    #[inline]
    fn new(key: &Key) -> Sip {
        let (low, high) = (word(&key.0[..8]), word(&key.0[8..]));
        let state = [
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ];
        Sip { state, length: 0 }
    }

    #[inline]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.state;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32);
        c = c.wrapping_add(b);
        a = a.wrapping_add(d);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        c = c.rotate_left(32);
        self.state = [a, b, c, d];
    }

    #[inline]
    fn block(&mut self, word: u64) {
        self.state[3] ^= word;
        self.round();
        self.round();
        self.state[0] ^= word;
        self.length += 8;
    }

    /// What remains is hashed, and it ends.
    #[inline]
    fn finish(mut self, rest: &[u8]) -> u64 {
        let (words, tail) = rest.as_chunks::<8>();
        words.iter().for_each(|bytes| self.block(u64::from_le_bytes(*bytes)));
        let length = self.length + tail.len() as u64;
        self.block(word(tail) | length << 56);
        self.state[2] ^= 0xff;
        (0..4).for_each(|_| self.round());
        self.state.into_iter().fold(0, |all, word| all ^ word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key(std::array::from_fn(|place| place as u8))
    }

    /// The vectors of the reference implementation: key 00 01 … 0f, input 00 01 … of each length.
    #[test]
    fn it_is_siphash() {
        let input: Vec<u8> = (0..64).collect();
        for (length, hash) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (63, 0x958a_324c_eb06_4572),
        ] {
            assert_eq!(Sip::new(&key()).finish(&input[..length]), hash, "{length}");
        }
    }

    /// What is in files of before must be found by any later version.
    #[test]
    fn fingerprints_stay_as_they_are() {
        let of = |kind, tenant, about: &str| key().fingerprint(kind, tenant, about.as_bytes());
        let known = [
            of(Kind::Address, None, "ada@example.org"),
            of(Kind::Address, Some("shop"), "ada@example.org"),
            of(Kind::Domain, None, "example.org"),
            of(Kind::Subdomains, Some("a tenant of more than 8 bytes"), "example.org"),
        ];
        assert_eq!(known, KNOWN, "{known:x?}");
    }

    const KNOWN: [u64; 4] =
        [0x3090_5960_296e_13c2, 0x2012_e01c_acf1_2d32, 0x0a7e_bffb_1421_3b7a, 0xba88_df63_7ce2_56d0];

    #[test]
    fn each_part_counts() {
        let of = |kind, tenant, about: &str| key().fingerprint(kind, tenant, about.as_bytes());
        let all = [
            of(Kind::Address, None, "a"),
            of(Kind::Domain, None, "a"),
            of(Kind::Subdomains, None, "a"),
            of(Kind::Address, Some(""), "a"),
            of(Kind::Address, Some("a"), ""),
            of(Kind::Address, Some("a"), "a"),
            of(Kind::Address, Some("a\0"), "a"),
            of(Kind::Address, Some("shop"), "a"),
            of(Kind::Address, None, "shopa"),
            Key([0; 16]).fingerprint(Kind::Address, None, b"a"),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(one % 2 == 0 && *one > 0 && !all[..place].contains(one));
        }
    }
}
