//! The bytes of the spool: whatever is read is read without harm, and what is written is read again.

use relevo::id::MessageId;
use relevo::mail::envelope::{Envelope, Needs, Origin, Recipient, TlsWish, Utf8, WithProtocol};
use relevo::mail::parameters::{Key, MessageParameters, Parameters};
use relevo::names::ends::End;
use relevo::spool::batch::{Item, NewMessage};
use relevo::spool::record::{self, CRITICAL, HEADER, MessageView, RecordError, RecordKind};
use relevo::spool::segment::{COMMIT_HEADER, CommitHeader, FIRST_COMMIT, Header, HeaderError};
use relevo::time::UnixMillis;

use super::input::Input;
use super::lane::Bench;

/// Bytes as a header block, a commit header, a record and a record's content; then an envelope made of them, there and back.
pub fn record(data: &[u8]) {
    decode(data);
    let mut input = Input(data);
    let (kind, salt, offset) = (input.byte(), input.long(), u32::from(input.word()));
    let forged = forge(kind, salt, offset, input.0);
    let read = record::read(&forged, salt, u64::from(offset)).expect("a whole record");
    assert_eq!((read.kind, read.payload, read.length), (kind, input.0, forged.len()));
    assert_eq!(record::claimed_length(&forged), Some(forged.len()));
    assert!(record::read_known(&forged, u64::from(offset)).is_ok());
    assert_eq!(record::read(&forged, !salt, u64::from(offset)).err(), Some(RecordError::Damaged));
    assert_eq!(record::read(&forged, salt, u64::from(offset) + 1).err(), Some(RecordError::Damaged));
    assert!(record::read(&forged[..forged.len() - 1], salt, u64::from(offset)).is_err());
    view(data);
    round_trip(data);
}

/// A record with a right CRC around any content.
fn forge(kind: u8, salt: u64, offset: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&salt.to_le_bytes());
    let crc =
        crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&bytes), &offset.to_le_bytes()), payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn decode(data: &[u8]) {
    match Header::decode(data) {
        Ok(header) => assert_eq!(Header::decode(&header.encode()), Ok(header)),
        Err(HeaderError::Blank) => assert!(data.iter().all(|byte| *byte == 0)),
        Err(HeaderError::Damaged | HeaderError::Version(_)) => {}
    }
    let salt = data.get(8..16).map_or(0, |salt| u64::from_le_bytes(salt.try_into().expect("eight bytes")));
    let offset =
        data.get(16..20).map_or(0, |place| u32::from_le_bytes(place.try_into().expect("four bytes")));
    if let Some(commit_header) = CommitHeader::read(data, salt, u64::from(offset)) {
        assert!(
            commit_header.end() > commit_header.bodies_at().saturating_sub(1)
                && commit_header.end().is_multiple_of(4096)
        );
    }
    if let Ok(record) = record::read_known(data, u64::from(offset)) {
        assert_eq!(record.length, record.payload.len() + HEADER);
        view(record.payload);
    }
}

/// Everything that can be asked of a message record.
fn view(payload: &[u8]) {
    let view = match MessageView::parse(payload) {
        Ok(view) => view,
        Err(RecordError::Damaged) => return,
        Err(RecordError::Unknown(tag)) => return assert!(tag & u16::from(CRITICAL) << 8 != 0),
    };
    let recipients: Vec<_> = view.recipients().collect();
    assert_eq!(recipients.len(), usize::from(view.count));
    let mut next = 0;
    for (first, count, domain) in view.domains() {
        assert!(first == next && count > 0 && domain.len() <= payload.len());
        next += count;
    }
    assert_eq!(next, view.count);
    assert!(view.extents().count() <= payload.len() / 18);
    for ordinal in [0, view.count - 1, u16::MAX] {
        assert!(view.named_parameters(ordinal).len() <= Key::ALL.len());
        assert!(view.alike(ordinal, u16::MAX).is_none_or(|alike| alike.iter().all(|some| !some.is_empty())));
    }
    assert!(view.at_once().count() <= payload.len() / 4);
    let origin = view.origin();
    assert!(origin.helo.len() + origin.tls.map_or(0, str::len) <= payload.len());
}

fn envelope(input: &mut Input<'_>) -> Envelope {
    let flags = input.byte();
    let mut recipients: Vec<Recipient> = (0..=input.below(8))
        .map(|_| {
            let address = [input.piece(20), b"@", input.piece(20)].concat();
            let domain_at = input.below(address.len() + 2) as u16;
            Recipient::new(address.into(), domain_at)
        })
        .collect();
    let client = match flags & 3 {
        0 => None,
        1 => Some(([192, 0, 2, input.byte()], input.word()).into()),
        _ => Some(([0x2001, 0xdb8, 0, 0, 0, 0, 0, input.word()], input.word()).into()),
    };
    let protocols = [
        WithProtocol::Smtp,
        WithProtocol::Esmtp,
        WithProtocol::Esmtps,
        WithProtocol::Esmtpa,
        WithProtocol::Esmtpsa,
        WithProtocol::Utf8Smtp,
        WithProtocol::Utf8Smtpsa,
    ];
    let parameters = (flags & 128 != 0).then(|| Box::new(parameters(input, &mut recipients)));
    Envelope {
        sender: input.piece(300).to_vec(),
        recipients,
        arrival: UnixMillis(input.long()),
        expiry: UnixMillis(input.long()),
        origin: Origin {
            client,
            helo: input.text(255).into(),
            protocol: protocols[input.below(7)],
            tls: (flags & 4 != 0).then(|| input.text(64).into()),
        },
        account: (flags & 8 != 0).then(|| input.text(64).into()),
        needs: Needs {
            eight_bit: flags & 16 != 0,
            tls: TlsWish::of_number(flags & 3).unwrap_or_default(),
            utf8: Utf8::of_bits(flags >> 4).unwrap_or_default(),
        },
        needs_stuffing: flags & 32 != 0,
        mailbox_line: flags & 64 != 0,
        hides_client: flags & 2 != 0,
        parameters,
        signatures: None,
        handover: None,
    }
}

/// Some of the message's, and what some recipients have of their own.
fn parameters(input: &mut Input<'_>, recipients: &mut [Recipient]) -> MessageParameters {
    let mut found = MessageParameters::default();
    for key in Key::ALL {
        // What cannot be one is not set.
        let _ = found.message.set(key, &input.text(300));
    }
    for one in recipients {
        let mut own = Parameters::default();
        let _ = own.set(Key::ALL[input.below(Key::ALL.len())], &input.text(40));
        one.parameters = found.number(own.borrowed()).unwrap_or_default();
        one.at_once = (input.byte() & 1 == 1).then_some(End::Discarded);
    }
    found
}

/// An envelope and a body through a commit of a lane.
fn round_trip(data: &[u8]) {
    let mut input = Input(data);
    let envelope = envelope(&mut input);
    let header_length = u32::from(input.word());
    let body = input.take(8000).to_vec();
    let mut bench = Bench::new();
    let new = NewMessage {
        envelope: Box::new(envelope.clone()),
        size: body.len() as u64,
        header_length,
        chunks: Vec::new(),
        body: body.clone(),
    };
    bench.queue.push_back(Item::Message(new, ()));
    let batch = bench.begin().expect("it fits in an empty lane");
    let bytes: Vec<u8> = batch.parts().iter().flat_map(|part| part.to_vec()).collect();
    let header = Header::decode(batch.header.as_ref().expect("a first commit")).expect("a header");
    let commit_header = CommitHeader::read(&bytes, header.salt, FIRST_COMMIT).expect("a commit_header");
    assert_eq!((commit_header.end() - FIRST_COMMIT, commit_header.records), (bytes.len() as u64, 1));
    let place = FIRST_COMMIT + COMMIT_HEADER as u64;
    let record = record::read(&bytes[COMMIT_HEADER..], header.salt, place).expect("a record");
    assert_eq!(
        (record.kind, record.length),
        (RecordKind::Message as u8, commit_header.records_length as usize)
    );
    let view = MessageView::parse(record.payload).expect("a message");
    assert_eq!(view.id, MessageId { lane: 3, sequence: header.sequence, offset: place as u32 });
    assert_eq!(view.id.to_string().parse(), Ok(view.id));
    let recipients: Vec<_> = view.recipients().map(|(address, at)| (address.to_vec(), at)).collect();
    let expected = envelope.recipients.iter();
    assert_eq!(
        recipients,
        expected.map(|r| (r.address.to_vec(), usize::from(r.domain_at))).collect::<Vec<_>>()
    );
    assert_eq!(
        (view.sender, view.arrival, view.expiry, view.size, view.header_length),
        (&*envelope.sender, envelope.arrival, envelope.expiry, body.len() as u64, header_length)
    );
    assert_eq!(
        (view.needs, view.needs_stuffing, view.mailbox_line, view.hides_client),
        (envelope.needs, envelope.needs_stuffing, envelope.mailbox_line, envelope.hides_client)
    );
    assert_eq!(view.origin(), (&envelope.origin).into());
    assert_eq!(view.account, envelope.account.as_deref());
    for (ordinal, one) in (0..).zip(&envelope.recipients) {
        let expected = envelope.parameters.as_ref().map(|of| of.of(one.parameters)).unwrap_or_default();
        assert_eq!(view.parameters_of(ordinal), expected);
        let ended = view.at_once().find(|(_, first, count)| (*first..first + count).contains(&ordinal));
        let is_ended = envelope.parameters.as_ref().and(one.at_once);
        assert_eq!(ended.map(|(end, ..)| end), is_ended);
    }
    for some in view.alike(0, view.count).unwrap_or_default() {
        assert!(some.iter().all(|one| view.parameters_of(*one) == view.parameters_of(some[0])));
    }
    let extents: Vec<_> = view.extents().collect();
    assert_eq!(extents.len(), usize::from(!body.is_empty()));
    for extent in extents {
        let at = (u64::from(extent.offset) - FIRST_COMMIT) as usize;
        assert_eq!(bytes[at..at + extent.length as usize], body);
        assert_eq!(extent.crc, crc32c::crc32c(&body));
    }
}
