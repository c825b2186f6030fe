//! Recipients of a stored message get other parameters: the fields of its record, written again. What is not changed stays as it is, keys of later
//! versions included.

use std::collections::BTreeMap;

use crate::limits;
use crate::mail::parameters::{Key, Parameters};
use crate::spool::record::{self, MessageView, RecordError};
use crate::spool::segment::FieldReader;

/// What is to be set, to texts that [`crate::mail::parameters::check`] found right. No key twice, and none that is critical.
pub type Changes = [(Key, Box<str>)];

/// Whether some of these recipients have another value than is to be set.
pub fn differs(view: &MessageView<'_>, (first, count): (u16, u16), changes: &Changes) -> bool {
    let (mut at, end) = (u32::from(first), u32::from(first) + u32::from(count));
    while at < end {
        let own = view.parameters_of(at as u16);
        if changes.iter().any(|(key, value)| own.value(*key) != Some(&**value)) {
            return true;
        }
        at += u32::from(view.alike_from(at as u16).max(1));
    }
    false
}

/// The fields of a message of so many recipients where these of them (first, count) have what is set.
pub(in crate::spool) fn fields(
    fields: &[u8],
    (first, count, total): (u16, u16, u16),
    changes: &Changes,
) -> Result<Vec<u8>, RecordError> {
    let tags = &record::PARAMETERS;
    let (mut out, mut message, mut own) = (Vec::with_capacity(fields.len() + 64), &[][..], &[][..]);
    let mut rest = FieldReader(fields);
    while !rest.0.is_empty() {
        let tag = rest.u16().ok_or(RecordError::Damaged)?;
        let length = rest.u32().ok_or(RecordError::Damaged)?;
        let value = rest.bytes(length as usize).ok_or(RecordError::Damaged)?;
        match tag {
            _ if tag == tags.message => message = value,
            _ if tag == tags.recipients => own = value,
            _ => record::field(&mut out, tag, value),
        }
    }
    let own = Own::read(own).ok_or(RecordError::Damaged)?;
    let (message, own) = if first == 0 && count >= total {
        (edited(message, changes, true)?, own.without(changes)?)
    } else {
        (message.to_vec(), own.with((first, count), changes)?)
    };
    let own = own.write();
    if message.len() + own.len() > limits::REBOUND_BYTES_MAX {
        return Err(RecordError::Damaged);
    }
    for (tag, value) in [(tags.message, message), (tags.recipients, own)] {
        if !value.is_empty() {
            record::field(&mut out, tag, &value);
        }
    }
    Ok(out)
}

/// Parameters as a record has them, without those that are changed, and with what these are set to if that is wanted here.
fn edited(bytes: &[u8], changes: &Changes, sets: bool) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut rest = bytes;
    while let [number, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (_, behind) = behind.split_at_checked(length).ok_or(RecordError::Damaged)?;
        if changes.iter().all(|(key, _)| *key as u8 != *number) {
            out.extend_from_slice(&rest[..3 + length]);
        }
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(RecordError::Damaged);
    }
    if sets {
        let mut set = Parameters::default();
        changes.iter().for_each(|(key, value)| set.put(*key, &**value));
        set.write(false, &mut out);
    }
    Ok(out)
}

/// What recipients have in place of the message's: sets, and who has which, in order.
struct Own {
    sets: Vec<Vec<u8>>,
    runs: Vec<(u16, u16, u16)>,
}

impl Own {
    fn read(value: &[u8]) -> Option<Own> {
        let mut rest = FieldReader(value);
        let mut own = Own { sets: Vec::new(), runs: Vec::new() };
        if value.is_empty() {
            return Some(own);
        }
        for _ in 0..rest.u16()? {
            let length = rest.u16()?;
            own.sets.push(rest.bytes(usize::from(length))?.to_vec());
        }
        while !rest.0.is_empty() {
            let run = (rest.u16()?, rest.u16()?, rest.u16()?);
            if usize::from(run.2) >= own.sets.len() {
                return None;
            }
            own.runs.push(run);
        }
        Some(own)
    }

    /// None has what the message has from now on.
    fn without(mut self, changes: &Changes) -> Result<Own, RecordError> {
        for set in &mut self.sets {
            *set = edited(set, changes, false)?;
        }
        Ok(self)
    }

    /// These recipients have what is set.
    fn with(self, (first, count): (u16, u16), changes: &Changes) -> Result<Own, RecordError> {
        let (from, to) = (u32::from(first), u32::from(first) + u32::from(count));
        // Pieces of runs, and what is between them: start, end, set.
        let mut pieces: Vec<(u32, u32, Option<u16>)> = Vec::new();
        let mut at = 0;
        for (first, count, set) in &self.runs {
            let (start, end) = (u32::from(*first).max(at), u32::from(*first) + u32::from(*count));
            pieces.extend([(at, start, None), (start, end.max(start), Some(*set))]);
            at = at.max(end);
        }
        pieces.push((at, u32::from(u16::MAX) + 1, None));
        let (mut numbers, mut made) = (BTreeMap::new(), Own { sets: Vec::new(), runs: Vec::new() });
        for (start, end, set) in pieces {
            for (start, end, changed) in [
                (start, end.min(from), false),
                (start.max(from), end.min(to), true),
                (start.max(to), end, false),
            ] {
                if start >= end || (set.is_none() && !changed) {
                    continue;
                }
                let old = set.map_or(&[][..], |set| &self.sets[usize::from(set)]);
                let text = if changed { edited(old, changes, true)? } else { old.to_vec() };
                let number = match numbers.get(&text) {
                    Some(number) => *number,
                    None => {
                        let number = u16::try_from(made.sets.len()).map_err(|_| RecordError::Damaged)?;
                        made.sets.push(text.clone());
                        numbers.insert(text, number);
                        number
                    }
                };
                made.run(start, end, number);
            }
        }
        Ok(made)
    }

    /// One more run behind the others.
    fn run(&mut self, start: u32, end: u32, number: u16) {
        match self.runs.last_mut() {
            Some((first, count, set)) if *set == number && u32::from(*first) + u32::from(*count) == start => {
                *count = (end - u32::from(*first)).min(u16::MAX.into()) as u16;
            }
            _ => self.runs.push((start as u16, (end - start).min(u16::MAX.into()) as u16, number)),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.runs.is_empty() {
            return out;
        }
        out.extend_from_slice(&(self.sets.len() as u16).to_le_bytes());
        for set in &self.sets {
            out.extend_from_slice(&u16::try_from(set.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(set);
        }
        for (first, count, set) in &self.runs {
            for number in [first, count, set] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::mail::envelope::{Envelope, Needs, Origin, Recipient, WithProtocol};
    use crate::mail::parameters::MessageParameters;
    use crate::time::UnixMillis;

    const ID: MessageId = MessageId { lane: 2, sequence: 3, offset: 4096 };

    /// Five recipients; the second and third have a pool of their own.
    fn payload(plain: bool) -> Vec<u8> {
        let recipient = |text: &str| Recipient::new(text.as_bytes().into(), 2);
        let mut envelope = Envelope {
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
        };
        if !plain {
            let mut parameters = MessageParameters::default();
            parameters.message.set(Key::Tenant, "shop").unwrap();
            parameters.message.set(Key::Pool, "usual").unwrap();
            parameters.message.set(Key::SendAt, "2026-12-01T08:00:00Z").unwrap();
            let mut own = Parameters::default();
            own.set(Key::Pool, "bulk").unwrap();
            let number = parameters.number(own.borrowed()).unwrap();
            envelope.recipients[1..3].iter_mut().for_each(|one| one.parameters = number);
            envelope.parameters = Some(Box::new(parameters));
        }
        let mut out = Vec::new();
        record::write_message(&mut out, &envelope, ID, 10, 5, &[], true);
        out
    }

    fn set(pairs: &[(Key, &str)]) -> Vec<(Key, Box<str>)> {
        pairs.iter().map(|(key, value)| (*key, (*value).into())).collect()
    }

    /// Tenant and pool of each recipient.
    fn seen(payload: &[u8]) -> Vec<String> {
        let view = MessageView::parse(payload).unwrap();
        let of = |one| {
            let own = view.parameters_of(one);
            let text = |key| own.get(key).unwrap_or("-").to_owned();
            format!("{} {}", text(Key::Tenant), text(Key::Pool))
        };
        (0..5).map(of).collect()
    }

    fn rebound(payload: &[u8], range: (u16, u16), changes: &Changes) -> Vec<u8> {
        let view = MessageView::parse(payload).unwrap();
        let fields = record::lasting_fields(payload).unwrap();
        let fields = super::fields(&fields, (range.0, range.1, view.count), changes).unwrap();
        let mut out = Vec::new();
        record::write_moved(&mut out, &fields, (b"", false), &[], true);
        out
    }

    #[test]
    fn a_whole_message_has_what_is_set() {
        let before = payload(false);
        let changes = set(&[(Key::Pool, "rest")]);
        assert!(differs(&MessageView::parse(&before).unwrap(), (0, 5), &changes));
        let after = rebound(&before, (0, 5), &changes);
        assert_eq!(seen(&after), ["shop rest"; 5]);
        let view = MessageView::parse(&after).unwrap();
        assert!(!differs(&view, (0, 5), &changes) && !differs(&view, (2, 1), &changes));
        assert_eq!(
            (view.id, view.release()),
            (ID, Some(UnixMillis(1_796_112_000_000))),
            "what is not set stays"
        );
        assert_eq!((view.arrival, view.expiry, view.sender), (UnixMillis(1), UnixMillis(2), &b"a@b"[..]));
        assert_eq!(seen(&rebound(&payload(true), (0, 5), &set(&[(Key::Tenant, "t")]))), ["t -"; 5]);
    }

    #[test]
    fn some_recipients_have_what_is_set_and_others_what_they_had() {
        let before = payload(false);
        let after = rebound(&before, (2, 2), &set(&[(Key::Tenant, "other"), (Key::Pool, "rest")]));
        assert_eq!(seen(&after), ["shop usual", "shop bulk", "other rest", "other rest", "shop usual"]);
        let back = rebound(&after, (2, 1), &set(&[(Key::Tenant, "shop"), (Key::Pool, "bulk")]));
        assert_eq!(seen(&back), ["shop usual", "shop bulk", "shop bulk", "other rest", "shop usual"]);
        let plain = rebound(&payload(true), (4, 1), &set(&[(Key::Pool, "rest")]));
        assert_eq!(seen(&plain), ["- -", "- -", "- -", "- -", "- rest"]);
        let whole = rebound(&back, (0, 5), &set(&[(Key::Tenant, "one"), (Key::Pool, "p")]));
        assert_eq!(seen(&whole), ["one p"; 5]);
    }

    /// However often and of whom, a record says what was set last of each.
    #[test]
    fn a_record_says_what_was_set_last() {
        let (mut payload, mut expected) = (payload(false), seen(&payload(false)));
        let mut dice = 12345u32;
        let mut draw = |most: u32| {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (dice >> 16) % most
        };
        for _ in 0..300 {
            let first = draw(5) as u16;
            let count = 1 + draw(5 - u32::from(first)) as u16;
            let (tenant, pool) = (format!("t{}", draw(3)), format!("p{}", draw(3)));
            payload = rebound(&payload, (first, count), &set(&[(Key::Tenant, &tenant), (Key::Pool, &pool)]));
            for one in first..first + count {
                expected[usize::from(one)] = format!("{tenant} {pool}");
            }
            assert_eq!(seen(&payload), expected);
        }
        assert!(payload.len() < 600, "it does not grow: {}", payload.len());
    }

    #[test]
    fn what_a_later_version_wrote_stays() {
        let payload = payload(false);
        let at = payload.windows(4).position(|four| four == b"shop").unwrap() - 3;
        let mut later = payload.clone();
        // A key 77 of the same length in place of the tenant.
        later[at] = 77;
        let after = rebound(&later, (0, 5), &set(&[(Key::Campaign, "may")]));
        assert!(after.windows(5).any(|five| five[0] == 77 && &five[3..5] == b"sh"));
    }
}
