//! What is known of an entry, and how the book has it: two bytes with the length of the rest, those of tenant and address, both, the reason, when it
//! was added and when it ends (milliseconds, 8 bytes each, 0: never), and the note. Numbers are little-endian.

use super::canonical::{Compared, Kind};
use super::fingerprint::Key;
use crate::limits;
use crate::time::UnixMillis;

/// Why somebody is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A next hop said for good that there is no such mailbox.
    HardBounce,
    /// He called mail of ours unwanted.
    Complaint,
    /// He unsubscribed.
    Unsubscribe,
    /// An operator or a client of the interface said so.
    Manual,
    /// A list of another service said so, for a reason that its note may tell.
    Imported,
}

impl Reason {
    /// All of them, in their order: their number is on disk.
    pub const ALL: [Reason; 5] =
        [Reason::HardBounce, Reason::Complaint, Reason::Unsubscribe, Reason::Manual, Reason::Imported];

    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::HardBounce => "hard_bounce",
            Reason::Complaint => "complaint",
            Reason::Unsubscribe => "unsubscribe",
            Reason::Manual => "manual",
            Reason::Imported => "imported",
        }
    }

    /// The one of this word.
    pub fn named(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// An entry of the list. Its address is canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whose mail it holds back; None: everybody's.
    pub tenant: Option<&'a str>,
    /// From whom: `ada@example.org`, `@example.org`, `*.example.org`.
    pub address: &'a str,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub added: UnixMillis,
    /// Until when; None: for good.
    pub expires: Option<UnixMillis>,
    /// What else was said.
    pub note: &'a str,
}

/// An entry that has its texts to itself: what somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedEntry {
    /// Whose mail it holds back; None: everybody's.
    pub tenant: Option<String>,
    /// From whom.
    pub address: String,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub added: UnixMillis,
    /// Until when; None: for good.
    pub expires: Option<UnixMillis>,
    /// What else was said.
    pub note: String,
}

impl OwnedEntry {
    /// The same, borrowed.
    pub fn entry(&self) -> Entry<'_> {
        let OwnedEntry { tenant, address, reason, added, expires, note } = self;
        Entry { tenant: tenant.as_deref(), address, reason: *reason, added: *added, expires: *expires, note }
    }
}

/// Where an entry stands in the list: addresses first, then domains, each by fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of domains, not of addresses.
    pub of_domains: bool,
    /// The fingerprint.
    pub fingerprint: u64,
}

impl<'a> Entry<'a> {
    /// What kind of entry it is.
    pub fn kind(&self) -> Kind {
        Kind::of(self.address)
    }

    /// Where it stands. None: it is about nothing that could get mail.
    pub fn place(&self, key: &Key) -> Option<Place> {
        place(key, self.tenant, self.address)
    }

    /// Whose it is and what about: there is one entry of that.
    pub fn name(&self) -> (Option<&'a str>, &'a str) {
        (self.tenant, self.address)
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Whether it holds mail back for longer than another.
    pub fn lasts_longer(&self, other: &Entry<'_>) -> bool {
        match (self.expires, other.expires) {
            (None, Some(_)) => true,
            (Some(at), Some(theirs)) => at > theirs,
            (_, None) => false,
        }
    }

    /// Whether its texts are within their bounds, and of one line.
    pub fn is_sound(&self) -> bool {
        let plain = |text: &str, most: usize| text.len() <= most && !text.chars().any(char::is_control);
        let tenant = self.tenant.unwrap_or("-");
        let texts = plain(tenant, limits::PARAMETER_MAX) && plain(self.note, limits::SUPPRESSION_NOTE_MAX);
        texts && !tenant.is_empty() && plain(self.address, limits::SUPPRESSION_ADDRESS_MAX)
    }

    /// Appends it as the book has it. It is sound.
    pub fn write(&self, out: &mut Vec<u8>) {
        let tenant = self.tenant.unwrap_or_default();
        let length =
            limits::SUPPRESSION_RECORD_HEAD - 2 + tenant.len() + self.address.len() + self.note.len();
        for number in [length, tenant.len(), self.address.len()] {
            out.extend_from_slice(&(number as u16).to_le_bytes());
        }
        out.extend_from_slice(tenant.as_bytes());
        out.extend_from_slice(self.address.as_bytes());
        out.push(self.reason as u8);
        out.extend_from_slice(&self.added.0.to_le_bytes());
        out.extend_from_slice(&self.expires.map_or(0, |at| at.0).to_le_bytes());
        out.extend_from_slice(self.note.as_bytes());
    }

    /// Reads one from the front of bytes, and how many it has. None: there is none, or it makes no sense.
    pub fn read(bytes: &'a [u8]) -> Option<(Entry<'a>, usize)> {
        let mut rest = bytes;
        let length = usize::from(u16::from_le_bytes(*rest.split_off(..2)?.first_chunk()?));
        let mut rest = rest.get(..length)?;
        let mut short = || Some(usize::from(u16::from_le_bytes(*rest.split_off(..2)?.first_chunk()?)));
        let (tenant, address) = (short()?, short()?);
        let tenant = std::str::from_utf8(rest.split_off(..tenant)?).ok()?;
        let address = std::str::from_utf8(rest.split_off(..address)?).ok()?;
        let reason = *Reason::ALL.get(usize::from(*rest.split_off_first()?))?;
        let mut long = || Some(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?));
        let (added, expires) = (UnixMillis(long()?), long()?);
        let expires = (expires != 0).then_some(UnixMillis(expires));
        let tenant = (!tenant.is_empty()).then_some(tenant);
        let note = std::str::from_utf8(rest).ok()?;
        let entry = Entry { tenant, address, reason, added, expires, note };
        entry.is_sound().then_some((entry, length + 2))
    }
}

/// Where the entry of a tenant, or of the node, about an address or a domain stands.
pub fn place(key: &Key, tenant: Option<&str>, address: &str) -> Option<Place> {
    let (mut of, kind) = (Compared::default(), Kind::of(address));
    let fingerprint = of.set_text(address).then(|| key.fingerprint(kind, tenant, of.whole()))?;
    Some(Place { of_domains: kind != Kind::Address, fingerprint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            tenant: Some("shop"),
            address: "ada@example.org",
            reason: Reason::Complaint,
            added: UnixMillis(1_764_000_000_000),
            expires: None,
            note: "\u{fc}ber ARF",
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (long, note) =
            ("a".repeat(limits::SUPPRESSION_ADDRESS_MAX), "n".repeat(limits::SUPPRESSION_NOTE_MAX));
        let tenant = "t".repeat(limits::PARAMETER_MAX);
        let other = Entry {
            tenant: None,
            reason: Reason::Imported,
            expires: Some(UnixMillis(u64::MAX)),
            note: "",
            ..entry()
        };
        for entry in [entry(), other, Entry { address: &long, note: &note, tenant: Some(&tenant), ..entry() }]
        {
            let mut bytes = Vec::new();
            entry.write(&mut bytes);
            let length = bytes.len();
            assert!(length <= limits::SUPPRESSION_BLOCK_BYTES_MAX / limits::SUPPRESSION_BLOCK);
            bytes.extend_from_slice(b"more");
            assert_eq!(Entry::read(&bytes), Some((entry, length)));
            for short in 0..length {
                assert_eq!(Entry::read(&bytes[..short]), None, "{short}");
            }
        }
        for senseless in [
            Entry { note: "two\nlines", ..entry() },
            Entry { tenant: Some("a\0"), ..entry() },
            Entry { note: &"n".repeat(limits::SUPPRESSION_NOTE_MAX + 1), ..entry() },
        ] {
            let mut bytes = Vec::new();
            senseless.write(&mut bytes);
            assert_eq!((Entry::read(&bytes), senseless.is_sound()), (None, false));
        }
        assert!(!Entry { tenant: Some(""), ..entry() }.is_sound());
    }

    #[test]
    fn their_times_compare() {
        let until = |at: Option<u64>| Entry { expires: at.map(UnixMillis), ..entry() };
        let longer = |one, other| until(one).lasts_longer(&until(other));
        assert!(longer(None, Some(9)) && longer(Some(9), Some(8)));
        assert!(!longer(None, None) && !longer(Some(9), None) && !longer(Some(8), Some(8)));
        assert!(until(Some(8)).is_over(UnixMillis(8)) && !until(Some(8)).is_over(UnixMillis(7)));
        assert!(!until(None).is_over(UnixMillis(u64::MAX)));
    }

    #[test]
    fn words_are_theirs() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!((reason as usize, Reason::named(reason.word())), (number, Some(reason)));
        }
    }
}
