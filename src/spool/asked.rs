//! The fields of a message record for what the next hop must be told of it: what its sender wants to be told (RFC 3461). Both are critical, as a
//! version that does not know them would tell senders that want to hear nothing. They are written only where there is anything to say.
//!
//! ```text
//! MESSAGE       key u8, length u16, value                  1 RET: 1 FULL, 2 HDRS
//! RECIPIENTS    first u16, count u16, length u16, keys     for each run of recipients, in order: as above, 1 NOTIFY (the bits of `Notify`), 2 ORCPT
//! ```
//!
//! ENVID is the parameter `envid`. A key that is not known refuses the spool, as an unknown field does.

use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::notify::{Asked, Notify, Reports, Ret};
use crate::spool::segment::FieldReader;

/// Its tags in a message record.
#[derive(Clone, Copy)]
pub(in crate::spool) struct Tags {
    pub message: u16,
    pub recipients: u16,
}

const RET: u8 = 1;
const NOTIFY: u8 = 1;
const ORIGINAL: u8 = 2;
/// Bytes of a key and its length, and of a run of recipients and its length.
const KEY: usize = 3;
const RUN: usize = 6;

/// What a record says of it, read in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedFields<'a> {
    message: &'a [u8],
    recipients: &'a [u8],
}

/// At most so many bytes are written of an envelope that has these.
pub(in crate::spool) fn bound(envelope: &Envelope, reports: &Reports) -> usize {
    let asked = |one: &&Recipient| !one.notify.is_unsaid() || one.original > 0;
    let runs = envelope.recipients.iter().filter(asked).count();
    let originals: usize = reports.originals.iter().map(|original| original.len()).sum();
    2 * 6 + KEY + 1 + runs * (RUN + 2 * KEY + 1) + originals
}

/// Writes the fields; `field` writes one.
pub(in crate::spool) fn write(
    out: &mut Vec<u8>,
    envelope: &Envelope,
    reports: &Reports,
    tags: Tags,
    field: fn(&mut Vec<u8>, u16, &[u8]),
) {
    let key = |value: &mut Vec<u8>, key: u8, text: &[u8]| {
        value.push(key);
        value.extend_from_slice(&u16::try_from(text.len()).expect("they are bounded").to_le_bytes());
        value.extend_from_slice(text);
    };
    let mut value = Vec::new();
    if let Some(ret) = reports.ret {
        key(&mut value, RET, &[ret as u8]);
        field(out, tags.message, &value);
        value.clear();
    }
    let alike =
        |one: &Recipient, next: &Recipient| (one.notify, one.original) == (next.notify, next.original);
    let (mut first, mut keys) = (0u16, Vec::new());
    for some in envelope.recipients.chunk_by(alike) {
        let count = some.len() as u16;
        keys.clear();
        if !some[0].notify.is_unsaid() {
            key(&mut keys, NOTIFY, &[some[0].notify.bits()]);
        }
        if let Some(original) = reports.original(some[0].original) {
            key(&mut keys, ORIGINAL, original);
        }
        if !keys.is_empty() {
            for number in [first, count, keys.len() as u16] {
                value.extend_from_slice(&number.to_le_bytes());
            }
            value.extend_from_slice(&keys);
        }
        first += count;
    }
    if !value.is_empty() {
        field(out, tags.recipients, &value);
    }
}

/// Keys and their values. None: it is cut off.
fn keys(bytes: &[u8], mut each: impl FnMut(u8, &[u8]) -> Option<()>) -> Option<()> {
    let mut rest = FieldReader(bytes);
    while !rest.0.is_empty() {
        let (key, length) = (rest.u8()?, rest.u16()?);
        each(key, rest.bytes(usize::from(length))?)?;
    }
    Some(())
}

impl<'a> AskedFields<'a> {
    /// Takes up one of the fields. Whether this version knows all that it says; None: it is damaged. Plain mail has none of it.
    #[cold]
    pub(in crate::spool) fn take(&mut self, tags: Tags, tag: u16, value: &'a [u8]) -> Option<bool> {
        let (mut unknown, mut end) = (false, 0);
        let is_whole = if tag == tags.message {
            self.message = value;
            keys(value, |key, value| {
                unknown |= key != RET || value.first().is_none_or(|number| Ret::of_number(*number).is_none());
                Some(())
            })
            .is_some()
        } else {
            self.recipients = value;
            let mut left = FieldReader(value);
            let mut run = || {
                let (first, count, bytes) = read_run(&mut left)?;
                let in_order = first >= end && count > 0;
                end = first.checked_add(count)?;
                in_order.then_some(())?;
                keys(bytes, |key, value| {
                    let known = match key {
                        NOTIFY => value.first().is_some_and(|bits| Notify::of_bits(*bits).is_some()),
                        ORIGINAL => true,
                        _ => false,
                    };
                    unknown |= !known;
                    Some(())
                })?;
                Some(left.0.is_empty())
            };
            loop {
                match run() {
                    None => break false,
                    Some(true) => break true,
                    Some(false) => {}
                }
            }
        };
        is_whole.then_some(!unknown)
    }

    /// Whether its sender said nothing, as of nearly all mail.
    pub fn is_empty(&self) -> bool {
        self.message.is_empty() && self.recipients.is_empty()
    }

    /// RET
    pub fn ret(&self) -> Option<Ret> {
        let mut ret = None;
        let _ = keys(self.message, |key, value| {
            if key == RET {
                ret = value.first().and_then(|number| Ret::of_number(*number));
            }
            Some(())
        });
        ret
    }

    /// Whether any of its recipients has something of its own.
    pub fn is_of_recipients(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// What was asked of a recipient.
    pub fn of(&self, ordinal: u16) -> Asked<'a> {
        self.from(ordinal).next().unwrap_or_default()
    }

    /// The same of all from this one on, without an end.
    pub fn from(&self, ordinal: u16) -> impl Iterator<Item = Asked<'a>> + use<'a> {
        let mut left = FieldReader(self.recipients);
        let (mut at, mut run) = (ordinal, read_run(&mut left));
        std::iter::from_fn(move || {
            while run.is_some_and(|(first, count, _)| first.saturating_add(count) <= at) {
                run = read_run(&mut left);
            }
            let asked = run.filter(|(first, ..)| *first <= at).map(|(_, _, keys)| read_asked(keys));
            at = at.saturating_add(1);
            Some(asked.unwrap_or_default())
        })
    }
}

fn read_run<'a>(rest: &mut FieldReader<'a>) -> Option<(u16, u16, &'a [u8])> {
    let (first, count, length) = (rest.u16()?, rest.u16()?, rest.u16()?);
    Some((first, count, rest.bytes(usize::from(length))?))
}

fn read_asked(bytes: &[u8]) -> Asked<'_> {
    let (mut asked, mut rest) = (Asked::default(), FieldReader(bytes));
    while let (Some(key), Some(length)) = (rest.u8(), rest.u16()) {
        let value = rest.bytes(usize::from(length)).unwrap_or_default();
        match key {
            NOTIFY => {
                asked.notify = value.first().and_then(|bits| Notify::of_bits(*bits)).unwrap_or_default()
            }
            ORIGINAL => asked.original = Some(value),
            _ => {}
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::mail::envelope::Envelopes;
    use crate::mail::parameters::MessageParameters;
    use crate::spool::record::{self, MessageView, RecordError};

    const ID: MessageId = MessageId { lane: 2, sequence: 3, offset: 4096 };
    const ORCPT: &[u8] = b"rfc822;Bob@b.example";

    fn plain() -> Box<Envelope> {
        let mut envelope = Envelopes::default().take();
        let one = |text: &str| Recipient::new(text.as_bytes().into(), 2);
        envelope.recipients = ["u@x", "v@x", "w@x", "x@x", "y@x"].map(one).to_vec();
        envelope
    }

    /// The second and third are never told of, the fourth has a name of the sender's.
    fn rich() -> Box<Envelope> {
        let mut envelope = plain();
        envelope.recipients[1..3].iter_mut().for_each(|one| one.notify = Notify::NEVER);
        envelope.recipients[3].notify = Notify::SUCCESS;
        envelope.recipients[3].original = 1;
        let reports = Reports { ret: Some(Ret::Headers), originals: vec![ORCPT.into()] };
        envelope.parameters = Some(Box::new(MessageParameters { reports, ..MessageParameters::default() }));
        envelope
    }

    fn payload(envelope: &Envelope) -> Vec<u8> {
        let mut out = Vec::new();
        record::write_message(&mut out, envelope, ID, 10, 5, &[], true);
        out
    }

    /// It survives, moves along, and mail of which nothing is asked has not a byte of it.
    #[test]
    fn what_is_asked_survives_and_moves() {
        let written = payload(&rich());
        let reports = &rich().parameters.unwrap().reports;
        assert!(written.len() <= payload(&plain()).len() + bound(&rich(), reports));
        let mut moved = Vec::new();
        record::write_moved(&mut moved, &record::lasting_fields(&written).unwrap(), (b"", false), &[], true);
        for payload in [&written, &moved] {
            let asked = MessageView::parse(payload).unwrap().asked();
            assert_eq!(asked.ret(), Some(Ret::Headers));
            let all: Vec<_> = asked.from(0).take(6).collect();
            let (none, never) = (Asked::default(), Asked { notify: Notify::NEVER, original: None });
            let named = Asked { notify: Notify::SUCCESS, original: Some(ORCPT) };
            assert_eq!(all, [none, never, never, named, none, none]);
            assert_eq!((asked.of(2), asked.of(3), asked.of(4)), (never, named, none));
        }
        let mut silent = rich();
        silent.recipients = plain().recipients;
        silent.parameters = Some(Box::default());
        assert_eq!(payload(&silent), payload(&plain()), "nothing is written for nothing");
        assert!(MessageView::parse(&payload(&plain())).unwrap().asked().is_empty());
    }

    /// A later version may have more to say to the next hop: this one refuses the spool, as it would leave that out.
    #[test]
    fn what_is_not_known_refuses_the_spool() {
        for (tag, inside) in [(0x800bu16, 0), (0x800c, RUN)] {
            let mut later = payload(&rich());
            let at = later.windows(2).position(|two| two == tag.to_le_bytes()).unwrap() + 6 + inside;
            later[at] = 200;
            assert_eq!(MessageView::parse(&later).err(), Some(RecordError::Unknown(tag)), "its key");
            let mut other = payload(&rich());
            other[at + KEY] = 200;
            assert_eq!(MessageView::parse(&other).err(), Some(RecordError::Unknown(tag)), "its value");
            let mut cut = payload(&rich());
            cut[at + 1] = 200;
            assert_eq!(MessageView::parse(&cut).err(), Some(RecordError::Damaged), "its length");
        }
    }

    /// What a bound promises holds, however recipients take turns.
    #[test]
    fn the_bound_holds() {
        for pattern in 0u32..1 << 10 {
            let mut envelope = plain();
            let mut reports = Reports { ret: Ret::of_number((pattern % 3) as u8), originals: Vec::new() };
            for (place, one) in envelope.recipients.iter_mut().enumerate() {
                one.notify = if pattern >> place & 1 > 0 { Notify::DELAY } else { Notify::default() };
                if pattern >> (place + 5) & 1 > 0 {
                    reports.originals.push(ORCPT.into());
                    one.original = reports.originals.len() as u16;
                }
            }
            let most = bound(&envelope, &reports);
            envelope.parameters =
                Some(Box::new(MessageParameters { reports, ..MessageParameters::default() }));
            let more = payload(&envelope).len() - payload(&plain()).len();
            assert!(more <= most, "{pattern:b}: {more}");
            let written = payload(&envelope);
            let asked = MessageView::parse(&written).unwrap().asked();
            for (one, found) in envelope.recipients.iter().zip(asked.from(0)) {
                assert_eq!((found.notify, found.original.is_some()), (one.notify, one.original > 0));
            }
        }
    }
}
