//! Return paths that tell, when something comes back to one, which message and which recipient it is about (VERP), signed so that strangers
//! cannot make bounces of mail that was never sent.
//!
//! The local part is `b1-` and 57 letters and digits: the message's id, the recipient's ordinal, the day, the node, a tag of the recipient and one of
//! the tenant, and a truncated HMAC-SHA-256 over these and the domain, then two letters that tell damage from forgery. A tag says of an address, or of
//! a name, whether it is that one, and nothing to who has no secret: what a report says of whom it is about is believed only where it fits. Mail
//! systems change the case of local parts: any case is read.
//! No clock and no secret is kept here but what the caller gives.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

use crate::id::MessageId;
use crate::limits;
use crate::mail::address;
use crate::policy::suppression::canonical::Compared;
use crate::time::UnixMillis;

/// In front of what is signed, and of the version's form.
const PREFIX: &str = "b1-";
/// RFC 4648 has letters that look alike; these have not, and sort as `MessageId` does.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Bytes of id, ordinal, day, node and both tags; then the code.
const CLAIM: usize = 24;
/// Bytes of a tag.
const TAG: usize = 4;
/// 80 bits: who guesses has no other way to try than to send mail.
const CODE: usize = 10;
/// Letters of claim and code, and of the check.
const LETTERS: usize = 55;
const CHECK: usize = 2;
/// In front of what tags are of.
const RECIPIENT: &[u8] = b"recipient ";
const TENANT: &[u8] = b"tenant ";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What signs return paths, and reads them again.
pub struct Verp {
    domain: String,
    node: [u8; 2],
    current: Key,
    previous: Option<Key>,
    days: u64,
}

/// What says of an address, or of a name, whether it is that one.
pub type Tag = [u8; TAG];

/// What a return path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message.
    pub id: MessageId,
    /// The recipient's ordinal in it.
    pub ordinal: u16,
    /// When it was written: the beginning of that day.
    pub day: UnixMillis,
    /// Tags of recipient and tenant.
    tags: [Tag; 2],
    /// The secret before the current one signed it.
    by_previous: bool,
}

impl Sent {
    /// The tag of the tenant whose mail it was.
    pub fn tenant_tag(&self) -> Tag {
        self.tags[1]
    }
}

/// What a return path is written for.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// The message.
    pub id: MessageId,
    /// The recipient's ordinal in it.
    pub ordinal: u16,
    /// The recipient.
    pub recipient: &'a [u8],
    /// Whose mail it is; empty: nobody's.
    pub tenant: &'a str,
}

/// Why an address is no return path to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is an address of something else.
    NotOurs,
    /// It was one, and lost or changed letters on its way.
    Altered,
    /// Another node wrote it, which has to read it.
    OtherNode,
    /// No secret of this node, current or previous, made it: somebody invented it, or the secret is older than that.
    Forged,
    /// It is what this node wrote, longer ago than bounces come.
    Expired(Sent),
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Unfit::NotOurs => "it is no return path of ours",
            Unfit::Altered => "it was a return path of ours and was changed on its way",
            Unfit::OtherNode => "another node wrote this return path",
            Unfit::Forged => "no secret of this node signed this return path",
            Unfit::Expired(_) => "this return path is too old",
        })
    }
}

impl std::error::Error for Unfit {}

/// A secret that can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortSecret;

impl fmt::Display for ShortSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a secret of return paths has at least {} bytes", limits::VERP_SECRET_MIN)
    }
}

impl std::error::Error for ShortSecret {}

impl fmt::Debug for Verp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Verp")
            .field("domain", &self.domain)
            .field("days", &self.days)
            .finish_non_exhaustive()
    }
}

impl Verp {
    /// For a domain and a node, by its name; `previous` is a secret that was current before, whose return paths are still out. Return paths are
    /// good for so many days.
    pub fn new(
        domain: &str,
        node: &str,
        current: &[u8],
        previous: Option<&[u8]>,
        days: u16,
    ) -> Result<Verp, ShortSecret> {
        let secrets = [Some(current), previous];
        if secrets.into_iter().flatten().any(|secret| secret.len() < limits::VERP_SECRET_MIN) {
            return Err(ShortSecret);
        }
        let key = |secret: &[u8]| Key::new(HMAC_SHA256, secret);
        let name = digest(&SHA256, node.to_ascii_lowercase().as_bytes());
        let name = name.as_ref();
        Ok(Verp {
            domain: domain.to_ascii_lowercase(),
            node: [name[0], name[1]],
            current: key(current),
            previous: previous.map(key),
            days: days.into(),
        })
    }

    /// The return path of one recipient's copy: local part and domain, without brackets.
    pub fn write(&self, copy: &Copy<'_>, now: UnixMillis) -> String {
        let claim = self.claim(copy, (now.0 / DAY_MS) as u16);
        let mut bytes = [0; CLAIM + CODE];
        bytes[..CLAIM].copy_from_slice(&claim);
        bytes[CLAIM..].copy_from_slice(&self.code(&self.current, &claim));
        let mut out = String::with_capacity(PREFIX.len() + LETTERS + CHECK + 1 + self.domain.len());
        out.push_str(PREFIX);
        out.extend(letters(&bytes));
        out.extend(check(&bytes));
        out.push('@');
        out.push_str(&self.domain);
        out
    }

    /// What an address is about, without brackets, in any case.
    pub fn read(&self, address: &[u8], now: UnixMillis) -> Result<Sent, Unfit> {
        let local = self.local(address).ok_or(Unfit::NotOurs)?;
        let bytes = bytes(local).ok_or(Unfit::Altered)?;
        let (claim, code) = bytes.split_at(CLAIM);
        if claim[14..16] != self.node {
            return Err(Unfit::OtherNode);
        }
        // Both are computed, and all of each is compared: time tells nothing of how much of a guess was right.
        let fits = |key: &Key| verify_slices_are_equal(&self.code(key, claim), code).is_ok();
        let (current, previous) = (fits(&self.current), self.previous.as_ref().is_some_and(fits));
        if !(current | previous) {
            return Err(Unfit::Forged);
        }
        let number = |from: usize, length: usize| {
            claim[from..from + length].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let id = MessageId {
            lane: number(0, 2) as u16,
            sequence: number(2, 4) as u32,
            offset: number(6, 4) as u32,
        };
        let day = number(12, 2);
        let tag = |from: usize| claim[from..].first_chunk().copied().unwrap_or_default();
        let (ordinal, tags) = (number(10, 2) as u16, [tag(16), tag(16 + TAG)]);
        let sent = Sent { id, ordinal, day: UnixMillis(day * DAY_MS), tags, by_previous: !current };
        let today = now.0 / DAY_MS;
        if today > day + self.days { Err(Unfit::Expired(sent)) } else { Ok(sent) }
    }

    /// Whether it was written for this recipient.
    pub fn is_recipient(&self, sent: &Sent, address: &str) -> bool {
        self.tag(self.key_of(sent), RECIPIENT, address.as_bytes()) == sent.tags[0]
    }

    /// Whether it was nobody's mail.
    pub fn is_nobodys(sent: &Sent) -> bool {
        sent.tags[1] == [0; TAG]
    }

    /// The tags that return paths of a tenant's mail have, by each secret.
    pub fn tags_of_tenant(&self, tenant: &str) -> impl Iterator<Item = Tag> {
        let keys = std::iter::once(&self.current).chain(&self.previous);
        keys.map(move |key| self.tag(key, TENANT, tenant.as_bytes()))
    }

    fn key_of(&self, sent: &Sent) -> &Key {
        self.previous.as_ref().filter(|_| sent.by_previous).unwrap_or(&self.current)
    }

    /// What says whether it is this one: of an address as the suppression list compares it. Never all zeroes.
    fn tag(&self, key: &Key, what: &[u8], text: &[u8]) -> Tag {
        let domain_at = memchr::memrchr(b'@', text).map_or(text.len(), |at| at + 1);
        let mut compared = Compared::default();
        let same = if what == RECIPIENT && compared.set(text, domain_at) { compared.whole() } else { text };
        let tag = sign(key, &[PREFIX.as_bytes(), what, same].concat());
        let tag = tag.as_ref().first_chunk().copied().unwrap_or_default();
        if tag == [0; TAG] { [1; TAG] } else { tag }
    }

    /// What stands between prefix and domain, if both are ours.
    fn local<'a>(&self, address: &'a [u8]) -> Option<&'a [u8]> {
        let at = memchr::memrchr(b'@', address)?;
        let (local, domain) = (&address[..at], &address[at + 1..]);
        let domain = domain.strip_suffix(b".").unwrap_or(domain);
        let front = local.get(..PREFIX.len())?;
        let ours = address::is_same_mailbox(domain, self.domain.as_bytes())
            && front.eq_ignore_ascii_case(PREFIX.as_bytes());
        ours.then(|| &local[PREFIX.len()..])
    }

    fn claim(&self, copy: &Copy<'_>, day: u16) -> [u8; CLAIM] {
        let Copy { id, ordinal, recipient, tenant } = *copy;
        let mut claim = [0; CLAIM];
        claim[..2].copy_from_slice(&id.lane.to_be_bytes());
        claim[2..6].copy_from_slice(&id.sequence.to_be_bytes());
        claim[6..10].copy_from_slice(&id.offset.to_be_bytes());
        claim[10..12].copy_from_slice(&ordinal.to_be_bytes());
        claim[12..14].copy_from_slice(&day.to_be_bytes());
        claim[14..16].copy_from_slice(&self.node);
        claim[16..20].copy_from_slice(&self.tag(&self.current, RECIPIENT, recipient));
        if !tenant.is_empty() {
            claim[20..].copy_from_slice(&self.tag(&self.current, TENANT, tenant.as_bytes()));
        }
        claim
    }

    fn code(&self, key: &Key, claim: &[u8]) -> [u8; CODE] {
        let tag = sign(key, &[PREFIX.as_bytes(), claim, self.domain.as_bytes()].concat());
        let mut code = [0; CODE];
        code.copy_from_slice(&tag.as_ref()[..CODE]);
        code
    }
}

fn letters(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    (0..LETTERS).map(|place| {
        let bit =
            |place: usize| bytes.get(place / 8).map_or(0, |byte| usize::from(byte >> (7 - place % 8) & 1));
        let value = (0..5).fold(0, |value, offset| value << 1 | bit(place * 5 + offset));
        char::from(ALPHABET[value])
    })
}

/// Two letters that change when anything in front of them does, mostly.
fn check(bytes: &[u8]) -> [char; CHECK] {
    let sum = crc32c::crc32c(bytes) as usize;
    [char::from(ALPHABET[sum >> 5 & 31]), char::from(ALPHABET[sum & 31])]
}

/// Back. None: not as long, not of these letters, or another check.
fn bytes(local: &[u8]) -> Option<[u8; CLAIM + CODE]> {
    if local.len() != LETTERS + CHECK {
        return None;
    }
    let mut out = [0; CLAIM + CODE];
    for (place, letter) in local[..LETTERS].iter().enumerate() {
        let value = ALPHABET.iter().position(|known| *known == letter.to_ascii_lowercase())?;
        for offset in 0..5 {
            let (bit, at) = (value >> (4 - offset) & 1, place * 5 + offset);
            match out.get_mut(at / 8) {
                Some(byte) => *byte |= (bit << (7 - at % 8)) as u8,
                // What is left of the last letter means nothing, and is 0.
                None if bit == 1 => return None,
                None => {}
            }
        }
    }
    let given = local[LETTERS..].iter().map(|letter| char::from(letter.to_ascii_lowercase()));
    given.eq(check(&out)).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId { lane: 3, sequence: 0xABCD_1234, offset: 4096 };
    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn verp(node: &str, current: &[u8], previous: Option<&[u8]>) -> Verp {
        Verp::new("Bounces.example.net", node, current, previous, 14).expect("long secrets")
    }

    fn is_tenant(verp: &Verp, sent: &Sent, tenant: &str) -> bool {
        verp.tags_of_tenant(tenant).any(|tag| tag == sent.tenant_tag())
    }

    fn copy(id: MessageId, ordinal: u16) -> Copy<'static> {
        Copy { id, ordinal, recipient: b"Ada@B.example", tenant: "shop" }
    }

    fn later(days: u64) -> UnixMillis {
        UnixMillis(NOW.0 + days * DAY_MS)
    }

    #[test]
    fn what_was_written_is_read_in_any_case() {
        let ours = verp("mx1", &[1; 32], None);
        for (id, ordinal) in [(ID, 0), (ID, u16::MAX), (MessageId { lane: 0, sequence: 0, offset: 0 }, 7)] {
            let path = ours.write(&copy(id, ordinal), NOW);
            let (local, domain) = path.split_once('@').expect("an address");
            assert!(local.len() <= 64 && domain == "bounces.example.net", "{path}");
            assert!(
                local.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            for form in [path.clone(), path.to_ascii_uppercase(), format!("{path}.")] {
                let sent = ours.read(form.as_bytes(), NOW).expect("ours");
                assert_eq!((sent.id, sent.ordinal), (id, ordinal));
                assert!(NOW.0 - sent.day.0 < DAY_MS);
                assert!(
                    ours.is_recipient(&sent, "\"ada\"@b.example")
                        && !ours.is_recipient(&sent, "bob@b.example")
                );
                assert!(is_tenant(&ours, &sent, "shop") && !is_tenant(&ours, &sent, "Shop"));
                assert!(!Verp::is_nobodys(&sent));
            }
        }
    }

    #[test]
    fn secrets_change_one_at_a_time() {
        let old = verp("mx1", &[1; 32], None).write(&copy(ID, 1), NOW);
        let both = verp("mx1", &[2; 32], Some(&[1; 32]));
        let sent = both.read(old.as_bytes(), NOW).expect("ours");
        assert!(both.is_recipient(&sent, "ada@b.example") && is_tenant(&both, &sent, "shop"));
        let nobodys = both.write(&Copy { tenant: "", ..copy(ID, 1) }, NOW);
        let sent = both.read(nobodys.as_bytes(), NOW).expect("ours");
        assert!(Verp::is_nobodys(&sent) && !is_tenant(&both, &sent, "") && !is_tenant(&both, &sent, "shop"));
        assert_eq!(verp("mx1", &[3; 32], Some(&[2; 32])).read(old.as_bytes(), NOW), Err(Unfit::Forged));
        assert_eq!(Verp::new("a.example", "mx1", &[1; 32], Some(b"short"), 1).err(), Some(ShortSecret));
        assert_eq!(Verp::new("a.example", "mx1", b"", None, 1).err(), Some(ShortSecret));
    }

    #[test]
    fn each_way_to_be_unfit_is_told() {
        let ours = verp("mx1", &[1; 32], None);
        let path = ours.write(&copy(ID, 1), NOW);
        let read = |address: &str| ours.read(address.as_bytes(), NOW);
        assert_eq!(read(&verp("mx2", &[1; 32], None).write(&copy(ID, 1), NOW)), Err(Unfit::OtherNode));
        assert_eq!(read(&verp("mx1", &[9; 32], None).write(&copy(ID, 1), NOW)), Err(Unfit::Forged));
        let elsewhere =
            Verp::new("b.example", "mx1", &[1; 32], None, 14).expect("long").write(&copy(ID, 1), NOW);
        let moved = elsewhere.replace("b.example", "bounces.example.net");
        assert_eq!((read(&elsewhere), read(&moved)), (Err(Unfit::NotOurs), Err(Unfit::Forged)));
        for other in ["", "@", "ada@bounces.example.net", "b1-@", "b2-xyz@bounces.example.net", "b1"] {
            assert_eq!(read(other), Err(Unfit::NotOurs), "{other}");
        }
        let short = path.replacen('@', "", 1).replace("bounces", "@bounces");
        assert!(read(&short).is_ok(), "{short}");
        assert_eq!(read(&path.replace("@", "0@")), Err(Unfit::Altered));
        assert_eq!(read("b1-@bounces.example.net"), Err(Unfit::Altered));
        // Good to the last day, and told apart behind it.
        assert!(ours.read(path.as_bytes(), later(14)).is_ok());
        assert!(matches!(ours.read(path.as_bytes(), later(15)), Err(Unfit::Expired(sent)) if sent.id == ID));
        assert!(ours.read(path.as_bytes(), UnixMillis(0)).is_ok(), "a clock that was set back");
    }

    /// Every change of a letter is seen, nearly always as damage; whoever makes the check right is a forger.
    #[test]
    fn no_letter_can_be_changed() {
        let ours = verp("mx1", &[1; 32], None);
        let path = ours.write(&copy(ID, 1), NOW);
        let (mut altered, mut forged) = (0, 0);
        for place in PREFIX.len()..PREFIX.len() + LETTERS + CHECK {
            for letter in ALPHABET {
                let mut bytes = path.clone().into_bytes();
                if bytes[place] == *letter {
                    continue;
                }
                bytes[place] = *letter;
                match ours.read(&bytes, NOW) {
                    Err(Unfit::Altered) => altered += 1,
                    Err(Unfit::Forged | Unfit::OtherNode) => forged += 1,
                    other => panic!("{place} {letter}: {other:?}"),
                }
            }
        }
        assert!(altered > 40 * forged.max(1), "{altered} {forged}");
        // The claim of another recipient with this one's code, and a right check.
        let mut whole =
            bytes(path[PREFIX.len()..].split('@').next().expect("local").as_bytes()).expect("ours");
        whole[11] ^= 1;
        let made: String = letters(&whole).chain(check(&whole)).collect();
        let made = format!("{PREFIX}{made}@bounces.example.net");
        assert_eq!(ours.read(made.as_bytes(), NOW), Err(Unfit::Forged));
    }
}
