//! The fields of a message record for its parameters. They are written only where there are any: the record of plain mail is byte for
//! byte what versions without them wrote.
//!
//! ```text
//! PARAMETERS             key u8, length u16, text      for each of the message's
//! CRITICAL_PARAMETERS    the same, of those that no version may pass over: one that does not know them would send too early
//! RECIPIENT_PARAMETERS   sets u16; each set: length u16, parameters as above      what recipients have in place of the message's, each set once
//!                        then first u16, count u16, set u16                       who has which
//! of an end              first u16, count u16          critical: a version that does not know it would deliver to them. Each end that recipients
//!                        may have at once has one of its own (`names::ends`)
//! ```

use std::collections::BTreeMap;

use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::parameters::{MessageParameters, Parameters};
use crate::names::ends::End;
use crate::spool::asked;
use crate::spool::segment::FieldReader;

/// The tags, in this order.
pub(in crate::spool) struct Tags {
    pub message: u16,
    pub critical: u16,
    pub recipients: u16,
}

/// At most so many bytes are written of this envelope.
pub(in crate::spool) fn bound(envelope: &Envelope) -> usize {
    let Some(parameters) = &envelope.parameters else { return 0 };
    // Both kinds of run for each. However recipients take turns, a set is written once.
    let runs = runs(&envelope.recipients, |one| (one.parameters, one.at_once)).count();
    let sets: usize = parameters.recipients.iter().map(|own| 2 + own.length()).sum();
    let own = (3 + End::ALL.len()) * 8 + parameters.message.length() + 2 + sets + runs * (6 + 4);
    own + asked::bound(envelope, &parameters.reports)
}

/// Writes the fields of an envelope that has parameters; `field` writes one.
pub(in crate::spool) fn write(
    out: &mut Vec<u8>,
    envelope: &Envelope,
    parameters: &MessageParameters,
    tags: &Tags,
    field: fn(&mut Vec<u8>, u16, &[u8]),
) {
    let mut value = Vec::new();
    let mut put = |tag, value: &mut Vec<u8>| {
        if !value.is_empty() {
            field(out, tag, value);
            value.clear();
        }
    };
    parameters.message.write(false, &mut value);
    put(tags.message, &mut value);
    parameters.message.write(true, &mut value);
    put(tags.critical, &mut value);
    let range = |value: &mut Vec<u8>, first: u16, count: u16| {
        value.extend_from_slice(&first.to_le_bytes());
        value.extend_from_slice(&count.to_le_bytes());
    };
    if envelope.recipients.iter().any(|one| one.parameters > 0) {
        value.extend_from_slice(&(parameters.recipients.len() as u16).to_le_bytes());
        for own in &parameters.recipients {
            let length = u16::try_from(own.length()).expect("parameters are bounded");
            value.extend_from_slice(&length.to_le_bytes());
            own.write(false, &mut value);
        }
    }
    for (first, count, number) in runs(&envelope.recipients, |one| one.parameters) {
        if let Some(set) = number.checked_sub(1) {
            range(&mut value, first, count);
            value.extend_from_slice(&set.to_le_bytes());
        }
    }
    put(tags.recipients, &mut value);
    for end in End::ALL {
        for (first, count, has_it) in runs(&envelope.recipients, |one| one.at_once == Some(end)) {
            if has_it {
                range(&mut value, first, count);
            }
        }
        put(end.field(), &mut value);
    }
}

/// Runs of neighbours that are alike: first ordinal, count, and in what.
fn runs<T: PartialEq>(
    recipients: &[Recipient],
    what: impl Fn(&Recipient) -> T,
) -> impl Iterator<Item = (u16, u16, T)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let alike = what(recipients.get(at)?);
        let count = recipients[at..].iter().take_while(|one| what(one) == alike).count();
        let first = at as u16;
        at += count;
        Some((first, count as u16, alike))
    })
}

/// What is written for RECIPIENT_PARAMETERS. None where it is cut off or names a set that is not there.
struct RecipientSets<'a> {
    /// Lengths and parameters.
    sets: &'a [u8],
    count: u16,
    runs: &'a [u8],
}

impl<'a> RecipientSets<'a> {
    fn read(value: &'a [u8]) -> Option<RecipientSets<'a>> {
        let mut rest = FieldReader(value);
        let count = if value.is_empty() { 0 } else { rest.u16()? };
        let sets = rest.0;
        for _ in 0..count {
            let length = rest.u16()?;
            rest.bytes(usize::from(length))?;
        }
        let sets = &sets[..sets.len() - rest.0.len()];
        (rest.0.len() % 6 == 0).then_some(RecipientSets { sets, count, runs: rest.0 })
    }

    /// First ordinal, how many, and the number of their set.
    fn runs(&self) -> impl Iterator<Item = (u16, u16, u16)> {
        let mut rest = FieldReader(self.runs);
        std::iter::from_fn(move || Some((rest.u16()?, rest.u16()?, rest.u16()?)))
    }

    fn sets(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = FieldReader(self.sets);
        std::iter::from_fn(move || {
            let length = rest.u16()?;
            rest.bytes(usize::from(length))
        })
    }

    fn is_whole(&self) -> bool {
        self.runs().all(|(.., set)| set < self.count)
            && self.sets().all(|set| Parameters::read(set).is_some())
    }
}

/// What this recipient has in place of the message's parameters.
pub(in crate::spool) fn own(value: &[u8], ordinal: u16) -> Option<Parameters<&str>> {
    let own = RecipientSets::read(value)?;
    let (.., set) =
        own.runs().find(|(first, count, _)| (*first..first.saturating_add(*count)).contains(&ordinal))?;
    Parameters::read(own.sets().nth(usize::from(set))?)
}

/// How many recipients from this one on are in one run, or in none.
pub(in crate::spool) fn alike_from(value: &[u8], ordinal: u16) -> u16 {
    let mut end = u16::MAX;
    for (first, count, _) in RecipientSets::read(value).iter().flat_map(RecipientSets::runs) {
        let behind = first.saturating_add(count);
        if (first..behind).contains(&ordinal) {
            return behind - ordinal;
        }
        if first > ordinal {
            end = end.min(first);
        }
    }
    end - ordinal.min(end - 1)
}

/// Which of so many recipients from this one on have the same parameters: their ordinals, in the order of the first of each.
pub(in crate::spool) fn alike(value: &[u8], first: u16, count: u16) -> Vec<Vec<u16>> {
    let mut sets = vec![None; usize::from(count)];
    for (from, length, set) in RecipientSets::read(value).iter().flat_map(RecipientSets::runs) {
        let behind = from.saturating_add(length).min(first.saturating_add(count));
        for ordinal in from.max(first)..behind {
            sets[usize::from(ordinal - first)] = Some(set);
        }
    }
    let mut places = BTreeMap::new();
    let mut found: Vec<Vec<u16>> = Vec::new();
    for (ordinal, set) in (first..first.saturating_add(count)).zip(sets) {
        let place = *places.entry(set).or_insert_with(|| {
            found.push(Vec::new());
            found.len() - 1
        });
        found[place].push(ordinal);
    }
    found
}

/// Reads what is written for those that have one end at once. Stops where it is cut off.
pub(in crate::spool) fn ended_runs(value: &[u8]) -> impl Iterator<Item = (u16, u16)> {
    let mut rest = FieldReader(value);
    std::iter::from_fn(move || Some((rest.u16()?, rest.u16()?)))
}

/// The fields of a message without its parameters: what a planted defect makes of them.
#[cold]
pub(in crate::spool) fn without(fields: &[u8], tags: &[u16], field: fn(&mut Vec<u8>, u16, &[u8])) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::new(), FieldReader(fields));
    while let (Some(tag), Some(length)) = (rest.u16(), rest.u32()) {
        let value = rest.bytes(length as usize).unwrap_or_default();
        if !tags.contains(&tag) {
            field(&mut kept, tag, value);
        }
    }
    kept
}

/// Whether a field with one of these tags is whole.
pub(in crate::spool) fn is_whole(tags: &Tags, tag: u16, value: &[u8]) -> bool {
    if tag == tags.message || tag == tags.critical {
        Parameters::read(value).is_some()
    } else if tag == tags.recipients {
        RecipientSets::read(value).is_some_and(|own| own.is_whole())
    } else {
        value.len().is_multiple_of(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::mail::envelope::{Needs, Origin, WithProtocol};
    use crate::mail::parameters::Key;
    use crate::spool::record::{self, MessageView, RecordError};
    use crate::time::UnixMillis;

    const ID: MessageId = MessageId { lane: 2, sequence: 3, offset: 4096 };

    fn plain() -> Envelope {
        let recipient = |text: &str| Recipient::new(text.as_bytes().into(), 2);
        Envelope {
            sender: b"a@b".to_vec(),
            recipients: ["u@x", "v@x", "w@x", "x@x", "y@x"].map(recipient).to_vec(),
            arrival: UnixMillis(1),
            expiry: UnixMillis(2),
            origin: Origin { client: None, helo: "".into(), protocol: WithProtocol::Esmtp, tls: None },
            account: None,
            needs: Needs::default(),
            needs_stuffing: true,
            mailbox_line: false,
            hides_client: false,
            parameters: None,
            signatures: None,
            handover: None,
        }
    }

    /// The second and third have a pool of their own, the third and fourth are discarded.
    fn rich() -> Envelope {
        let mut envelope = plain();
        let mut parameters = MessageParameters::default();
        parameters.message.set(Key::Tenant, "shop").unwrap();
        parameters.message.set(Key::Pool, "usual").unwrap();
        parameters.message.set(Key::Metadata, "{\"order\":7}").unwrap();
        let mut own = Parameters::default();
        own.set(Key::Pool, "bulk").unwrap();
        let number = parameters.number(own.borrowed()).unwrap();
        envelope.recipients[1..3].iter_mut().for_each(|one| one.parameters = number);
        envelope.recipients[2..4].iter_mut().for_each(|one| one.at_once = Some(End::Discarded));
        envelope.parameters = Some(Box::new(parameters));
        envelope
    }

    fn payload(envelope: &Envelope) -> Vec<u8> {
        let mut out = Vec::new();
        record::write_message(&mut out, envelope, ID, 10, 5, &[], true);
        out
    }

    #[test]
    fn a_plain_record_is_what_it_always_was() {
        #[rustfmt::skip]
        let expected = [
            &[1, 0x80, 42, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0,
              5, 0, 0, 0, 2, 1, 5, 0, 2, 0, 3, 0, 0, 0, 0, 0x10, 0, 0][..],
            b"\x02\x80\x03\0\0\0a@b",
            b"\x03\x80\x23\0\0\0\x03\0\x02\0u@x\x03\0\x02\0v@x\x03\0\x02\0w@x\x03\0\x02\0x@x\x03\0\x02\0y@x",
            b"\x04\x80\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ].concat();
        assert_eq!(payload(&plain()), expected);
        let mut empty = plain();
        empty.parameters = Some(Box::default());
        assert_eq!(payload(&empty), expected, "nothing is written for none");
    }

    #[test]
    fn parameters_survive_and_move() {
        let written = payload(&rich());
        assert!(written.len() <= payload(&plain()).len() + bound(&rich()));
        let mut moved = record::lasting_fields(&written).unwrap();
        let fields = std::mem::take(&mut moved);
        record::write_moved(&mut moved, &fields, (b"", false), &[], true);
        for payload in [written, moved] {
            let view = MessageView::parse(&payload).unwrap();
            let parameters = view.parameters();
            let all: Vec<_> = parameters.iter().collect();
            assert_eq!(all, [(Key::Tenant, "shop"), (Key::Pool, "usual"), (Key::Metadata, "{\"order\":7}")]);
            let pool = |one| view.parameters_of(one).get(Key::Pool).map(str::to_owned);
            let pools: Vec<_> = (0..6).filter_map(pool).collect();
            assert_eq!(pools, ["usual", "bulk", "bulk", "usual", "usual", "usual"]);
            assert_eq!(view.parameters_of(1).get(Key::Tenant), Some("shop"));
            assert_eq!(view.at_once().collect::<Vec<_>>(), [(End::Discarded, 2, 2)]);
        }
        let written = payload(&rich());
        let view = MessageView::parse(&written).unwrap();
        assert_eq!([0, 1, 2, 3].map(|one| view.alike_from(one)), [1, 2, 1, u16::MAX - 3]);
        assert_eq!(view.alike(0, 5).unwrap(), [vec![0, 3, 4], vec![1, 2]]);
        assert_eq!(view.alike(2, 2).unwrap(), [[2], [3]]);
        let written = payload(&plain());
        let view = MessageView::parse(&written).unwrap();
        assert_eq!((view.alike_from(0), view.alike(0, 5)), (u16::MAX, None));
    }

    /// What must not be passed over stands in a critical field, moves along, and a key there that is not known refuses the spool.
    #[test]
    fn a_time_to_be_sent_at_is_critical() {
        let mut envelope = plain();
        let mut parameters = MessageParameters::default();
        parameters.message.set(Key::SendAt, "2026-12-01T08:00:00Z").unwrap();
        envelope.parameters = Some(Box::new(parameters));
        envelope.expiry = UnixMillis(1_796_112_000_000 + 5_000);
        let written = payload(&envelope);
        assert!(written.len() <= payload(&plain()).len() + bound(&envelope));
        let mut moved = Vec::new();
        record::write_moved(&mut moved, &record::lasting_fields(&written).unwrap(), (b"", false), &[], true);
        for payload in [&written, &moved] {
            let view = MessageView::parse(payload).unwrap();
            assert_eq!(
                (view.release(), view.lives()),
                (Some(UnixMillis(1_796_112_000_000)), UnixMillis(5_000))
            );
            assert_eq!(view.named_parameters(0), [("send_at", "2026-12-01T08:00:00Z")]);
        }
        let at = written.windows(2).position(|two| two == 0x8010u16.to_le_bytes()).unwrap();
        let mut later = written;
        later[at + 6] = 200;
        assert_eq!(MessageView::parse(&later).err(), Some(RecordError::Unknown(0x8010)));
        assert_eq!(MessageView::parse(&payload(&plain())).unwrap().lives(), UnixMillis(1));
    }

    /// Recipients that take turns with the largest sets: each set is written once, and the record stays within its bound.
    #[test]
    fn a_set_is_written_once() {
        let mut envelope = rich();
        let mut parameters = MessageParameters::default();
        let numbers = ["a", "b"].map(|letter| {
            let mut own = Parameters::default();
            own.set(Key::Metadata, &format!("{{\"{}\":1}}", letter.repeat(16_000))).unwrap();
            parameters.number(own.borrowed()).unwrap()
        });
        let one = Recipient::new(b"u@x".as_slice().into(), 2);
        envelope.recipients = vec![one; 1000];
        for (place, one) in envelope.recipients.iter_mut().enumerate() {
            one.parameters = numbers[place % 2];
        }
        envelope.parameters = Some(Box::new(parameters));
        assert!(bound(&envelope) < crate::limits::PARAMETERS_BYTES_MAX, "{}", bound(&envelope));
        let written = payload(&envelope);
        let view = MessageView::parse(&written).unwrap();
        for ordinal in [0, 1, 998, 999] {
            let own = view.parameters_of(ordinal);
            let metadata = own.get(Key::Metadata).unwrap();
            assert_eq!((metadata.len(), &metadata[2..3]), (16_006, ["a", "b"][usize::from(ordinal % 2)]));
        }
        let turns = view.alike(1, 999).unwrap();
        assert_eq!((turns.len(), turns[0].len(), &turns[1][..3]), (2, 500, &[2, 4, 6][..]));
    }

    /// A run of a set that is not there is damage, not a recipient without parameters.
    #[test]
    fn a_run_names_a_set_that_is_there() {
        let mut field = payload(&rich());
        let at = field.windows(2).rposition(|two| two == 13u16.to_le_bytes()).unwrap();
        let length = u32::from_le_bytes(field[at + 2..at + 6].try_into().unwrap()) as usize;
        field[at + 6 + length - 2] = 1;
        assert_eq!(MessageView::parse(&field).err(), Some(RecordError::Damaged));
    }

    /// What a bound promises holds for sets of every kind.
    #[test]
    fn the_bound_holds() {
        for pattern in 0u32..1 << 10 {
            let mut envelope = rich();
            for (place, one) in envelope.recipients.iter_mut().enumerate() {
                one.parameters = (pattern >> place & 1) as u16;
                one.at_once = (pattern >> (place + 5) & 1 > 0).then_some(End::Discarded);
            }
            let more = payload(&envelope).len() - payload(&plain()).len();
            assert!(more <= bound(&envelope), "{pattern:b}: {more}");
        }
        assert_eq!(bound(&plain()), 0);
    }

    #[test]
    fn fields_that_are_cut_off_are_damage() {
        let tags = [10u16, 13, 0x800f];
        for tag in tags {
            let mut payload = payload(&plain());
            payload.extend_from_slice(&tag.to_le_bytes());
            payload.extend_from_slice(&[5, 0, 0, 0, 1, 9, 0, 9, 0]);
            assert_eq!(MessageView::parse(&payload).err(), Some(RecordError::Damaged), "{tag}");
        }
    }
}
