//! One mail transaction (RFC 5321 3.3): its envelope as it grows, and what of it is kept in memory.

use std::cmp::Ordering;

use crate::limits;
use crate::mail::address::Path;
use crate::mail::envelope::{Address, Envelope, Recipient};
use crate::mail::notify::{Asked, Notify, Reports};
use crate::smtp::data::Scanner;
use crate::smtp::server::open_merge::OpenMerge;

#[derive(Debug)]
pub(super) struct Transaction {
    /// Sender and recipients so far.
    pub(super) envelope: Box<Envelope>,
    /// Recipients refused.
    pub(super) refused: u32,
    /// RCPT commands, whatever became of them.
    pub(super) offered: u32,
    pub(super) scanner: Option<Box<Scanner>>,
    /// Bytes of addresses that have memory of their own.
    heap: u32,
    /// The same of the recipients' names for them (ORCPT).
    originals: u32,
    aside: Option<Box<RareState>>,
}

/// What is seldom there. Behind a box, for room for it in every idle session would be too much.
#[derive(Debug, Default)]
struct RareState {
    /// Ordinals in the order of their addresses, once there are more than [`limits::RECIPIENTS_UNORDERED`].
    order: Option<Vec<u16>>,
    /// The recipient that somebody is asked about.
    asked: Option<PendingRecipient>,
    /// Recipients that were refused as such that get no mail, which is no error of the client.
    listed: u32,
    /// Some were more than the client may bring now.
    put_off: bool,
    /// What a merge has.
    merge: Option<OpenMerge>,
}

impl RareState {
    fn held(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, |asked| {
            asked.original.len() + if asked.address.spilled() { asked.address.capacity() } else { 0 }
        });
        let merge = self.merge.as_ref().map_or(0, OpenMerge::held);
        size_of::<RareState>() + asked + merge + self.order.as_ref().map_or(0, |order| order.capacity() * 2)
    }
}

/// A recipient that is not taken yet.
#[derive(Debug)]
pub(super) struct PendingRecipient {
    pub(super) address: Address,
    pub(super) domain_at: usize,
    notify: Notify,
    /// Empty: there is none.
    original: Box<[u8]>,
    /// There is memory for it.
    pub(super) memory: bool,
}

impl PendingRecipient {
    pub(super) fn path(&self) -> Path<'_> {
        Path {
            address: &self.address,
            domain_at: self.domain_at,
            routed: false,
            length: self.address.len() + 2,
            is_utf8: false,
        }
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        let original = (!self.original.is_empty()).then_some(&*self.original);
        Asked { notify: self.notify, original }
    }
}

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecipientAdded {
    /// It is in the envelope, now or before.
    Yes,
    /// There is no room in this transaction.
    Full,
    /// There is no memory for it.
    NoMemory,
}

impl Transaction {
    pub(super) fn new(mut envelope: Box<Envelope>, sender: &[u8]) -> Transaction {
        envelope.sender.extend_from_slice(sender);
        Transaction { envelope, refused: 0, offered: 0, scanner: None, heap: 0, originals: 0, aside: None }
    }

    /// Somebody is asked about a recipient first, by the address that it will have.
    pub(super) fn ask(&mut self, path: &Path<'_>, asked: Asked<'_>, ours: &str, memory: bool) {
        let (address, domain_at) = of_ours(path, ours).map_or_else(
            || (Address::from_slice(path.address), path.domain_at),
            |(address, domain_at)| (Address::from_vec(address), domain_at),
        );
        let Asked { notify, original } = asked;
        let original = original.unwrap_or_default().into();
        self.aside.get_or_insert_default().asked =
            Some(PendingRecipient { address, domain_at, notify, original, memory });
    }

    /// Which, and where its domain begins.
    pub(super) fn asked(&self) -> Option<(&[u8], usize)> {
        self.aside.as_ref()?.asked.as_ref().map(|asked| (&asked.address[..], asked.domain_at))
    }

    /// It is known what becomes of it.
    pub(super) fn take_asked(&mut self) -> Option<PendingRecipient> {
        self.aside.as_mut()?.asked.take()
    }

    /// One more is refused as such that gets no mail.
    pub(super) fn is_listed(&mut self) {
        self.aside.get_or_insert_default().listed += 1;
    }

    /// How many were.
    pub(super) fn listed(&self) -> u32 {
        self.aside.as_ref().map_or(0, |aside| aside.listed)
    }

    /// One was more than the client may bring now.
    pub(super) fn put_off(&mut self) {
        self.aside.get_or_insert_default().put_off = true;
    }

    /// Whether one was.
    pub(super) fn is_put_off(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.put_off)
    }

    /// It is a merge.
    pub(super) fn begin_merge(&mut self) {
        self.aside.get_or_insert_default().merge = Some(OpenMerge::default());
    }

    /// What it has, if it is one.
    pub(super) fn merge(&mut self) -> Option<&mut OpenMerge> {
        self.aside.as_mut()?.merge.as_mut()
    }

    /// Whether it is one.
    pub(super) fn is_merge(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.merge.is_some())
    }

    /// Takes a recipient, unless it is there already: then what was asked of it first stands.
    pub(super) fn take(
        &mut self,
        path: &Path<'_>,
        asked: Asked<'_>,
        ours: &str,
        most: usize,
        memory: bool,
    ) -> RecipientAdded {
        let ours = of_ours(path, ours);
        let (address, domain_at) =
            ours.as_ref().map_or((path.address, path.domain_at), |(address, at)| (&address[..], *at));
        let place = match self.find(address) {
            Ok(()) => return RecipientAdded::Yes,
            Err(place) => place,
        };
        let recipients = &mut self.envelope.recipients;
        if recipients.len() >= most {
            return RecipientAdded::Full;
        }
        let more = asked.original.map_or(0, Reports::held_by);
        if self.originals as usize + more > limits::ORCPT_BYTES_MAX {
            return RecipientAdded::Full;
        }
        if !memory {
            return RecipientAdded::NoMemory;
        }
        let address = Address::from_slice(address);
        if address.spilled() {
            self.heap += (address.len() + limits::ALLOCATED) as u32;
        }
        let domain_at = u16::try_from(domain_at).unwrap_or(u16::MAX);
        recipients.push(Recipient::new(address, domain_at));
        if !asked.is_empty() {
            self.originals += more as u32;
            note(&mut self.envelope, asked);
        }
        let recipients = &self.envelope.recipients;
        let order = self.aside.as_mut().and_then(|aside| aside.order.as_mut());
        if let (Some(place), Some(order)) = (place, order) {
            order.insert(place, (recipients.len() - 1) as u16);
        } else if recipients.len() > limits::RECIPIENTS_UNORDERED {
            let mut order: Vec<u16> = (0..recipients.len() as u16).collect();
            order.sort_unstable_by(|one, other| {
                recipients[usize::from(*one)].address.cmp(&recipients[usize::from(*other)].address)
            });
            self.aside.get_or_insert_default().order = Some(order);
        }
        RecipientAdded::Yes
    }

    /// Ok: it is there. Else its place in the order, if one is kept.
    fn find(&self, address: &[u8]) -> Result<(), Option<usize>> {
        let recipients = &self.envelope.recipients;
        let Some(order) = self.aside.as_ref().and_then(|aside| aside.order.as_ref()) else {
            let known = recipients.iter().any(|recipient| recipient.address[..] == *address);
            return if known { Ok(()) } else { Err(None) };
        };
        let compare = |ordinal: &u16| -> Ordering {
            recipients.get(usize::from(*ordinal)).map_or(Ordering::Less, |one| one.address[..].cmp(address))
        };
        order.binary_search_by(compare).map(|_| ()).map_err(Some)
    }

    pub(super) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        limits::TRANSACTION_OVERHEAD
            + self.envelope.sender.capacity()
            + self.envelope.recipients.capacity() * size_of::<Recipient>()
            + (self.heap + self.originals) as usize
            + self.envelope.parameters.as_ref().map_or(0, |parameters| parameters.held())
            + self.aside.as_ref().map_or(0, |aside| aside.held())
    }
}

/// What its RCPT asked of the last recipient. Few clients ask for anything.
#[cold]
fn note(envelope: &mut Envelope, Asked { notify, original }: Asked<'_>) {
    let reports = &mut envelope.parameters.get_or_insert_default().reports;
    let Some(recipient) = envelope.recipients.last_mut() else { return };
    recipient.notify = notify;
    if let Some(original) = original {
        reports.originals.push(original.into());
        recipient.original = reports.originals.len() as u16;
    }
}

/// RFC 5321 4.5.1: `postmaster` without a domain is ours; it travels as postmaster of a domain that is. The address, and where its domain begins.
fn of_ours(path: &Path<'_>, domain: &str) -> Option<(Vec<u8>, usize)> {
    let whole = || [path.address, b"@", domain.as_bytes()].concat();
    path.domain().is_empty().then(|| (whole(), path.address.len() + 1))
}

const _: () = assert!(limits::RECIPIENTS_MAX * (limits::PATH_MAX + limits::ALLOCATED) < u32::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address;
    use crate::mail::envelope::Envelopes;

    fn transaction() -> Transaction {
        Transaction::new(Envelopes::default().take(), b"a@b")
    }

    fn take(transaction: &mut Transaction, text: &str) -> RecipientAdded {
        let path = format!("<{text}>");
        let path = address::parse_path(path.as_bytes(), false).expect("a path");
        transaction.take(&path, Asked::default(), "relay.example", 1000, true)
    }

    /// Each address stands there once, in the order of the client, however many there are.
    #[test]
    fn each_address_is_taken_once() {
        let mut transaction = transaction();
        let mut expected: Vec<String> = Vec::new();
        let mut seed = 1u64;
        for round in 0..3000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let text = format!("{}u{}@d.example", "x".repeat((seed >> 60) as usize), (seed >> 33) % 700);
            assert_eq!(take(&mut transaction, &text), RecipientAdded::Yes);
            if !expected.contains(&text) && expected.len() < 1000 {
                expected.push(text);
            }
            if round % 500 == 0 {
                take(&mut transaction, "postmaster");
                if !expected.iter().any(|one| one == "postmaster@relay.example") {
                    expected.push("postmaster@relay.example".to_owned());
                }
            }
            if expected.len() == 1000 {
                break;
            }
        }
        let found: Vec<_> =
            transaction.envelope.recipients.iter().map(|one| String::from_utf8_lossy(&one.address)).collect();
        assert_eq!(found, expected);
        assert!(expected.len() > 300);
    }

    #[test]
    fn what_is_held_is_counted() {
        let mut transaction = transaction();
        let before = transaction.held();
        assert!(before < 4096, "{before}");
        for number in 0..1000 {
            let text = format!("{number:03}{}@d.example", "l".repeat(252));
            assert_eq!(take(&mut transaction, &text), RecipientAdded::Yes);
        }
        let held = transaction.held();
        assert!((1000 * (265 + size_of::<Recipient>())..450_000).contains(&held), "{held}");
        let path = address::parse_path(b"<one@more.example>", false).expect("a path");
        let mut take = |most, memory| transaction.take(&path, Asked::default(), "h", most, memory);
        assert_eq!(take(1000, true), RecipientAdded::Full);
        assert_eq!(take(1001, false), RecipientAdded::NoMemory);
        assert_eq!(take(1001, true), RecipientAdded::Yes);
        assert_eq!(take(1001, false), RecipientAdded::Yes, "it is there already");
    }

    /// RFC 3461 4.2: names of recipients are held, counted and bounded; the rest is for another transaction.
    #[test]
    fn what_is_asked_of_recipients_is_counted() {
        let mut transaction = transaction();
        let before = transaction.held();
        let original = [&b"rfc822;"[..], &[b'x'; 400]].concat();
        let mut taken = 0;
        for number in 0..1000 {
            let path = format!("<u{number}@d.example>");
            let path = address::parse_path(path.as_bytes(), false).expect("a path");
            let asked = Asked { notify: Notify::NEVER, original: Some(&original) };
            match transaction.take(&path, asked, "h", 1000, true) {
                RecipientAdded::Yes => taken += 1,
                other => assert_eq!(other, RecipientAdded::Full),
            }
        }
        assert!(taken > 500 && taken * original.len() < limits::ORCPT_BYTES_MAX, "{taken}");
        assert!(transaction.held() > before + taken * original.len());
        let envelope = transaction.envelope();
        let reports = &envelope.parameters.as_ref().unwrap().reports;
        assert_eq!(reports.originals.len(), taken);
        assert!(envelope.recipients.iter().all(|one| one.notify == Notify::NEVER));
        assert_eq!(reports.original(envelope.recipients[taken - 1].original), Some(&original[..]));
        let path = address::parse_path(b"<u0@d.example>", false).expect("a path");
        let again = Asked { notify: Notify::SUCCESS, original: None };
        assert_eq!(transaction.take(&path, again, "h", 1000, true), RecipientAdded::Yes);
        assert_eq!(transaction.envelope().recipients[0].notify, Notify::NEVER, "the first stands");
    }
}
