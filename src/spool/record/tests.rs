//! Records as they are written and read.

use super::*;
use crate::mail::envelope::{Needs, Origin, Recipient, Utf8};
use crate::mail::handover::{Begun, Carried};

fn envelope() -> Envelope {
    let recipient =
        |address: &str| Recipient::new(address.as_bytes().into(), address.find('@').unwrap() as u16 + 1);
    Envelope {
        sender: b"a@b.example".to_vec(),
        recipients: vec![recipient("x@one.example"), recipient("y@ONE.example"), recipient("z@two.example")],
        arrival: UnixMillis(1_700_000_000_123),
        expiry: UnixMillis(1_700_000_999_000),
        origin: Origin {
            client: Some("192.0.2.7:4321".parse().unwrap()),
            helo: "client.example".into(),
            protocol: WithProtocol::Esmtps,
            tls: Some("TLSv1.3 X".into()),
        },
        account: Some("news".into()),
        needs: Needs { eight_bit: true, ..Needs::default() },
        needs_stuffing: false,
        mailbox_line: false,
        hides_client: false,
        parameters: None,
        signatures: None,
        handover: None,
    }
}

fn encoded() -> Vec<u8> {
    let mut out = vec![0xEE; 10];
    let id = MessageId { lane: 2, sequence: 3, offset: 4106 };
    let at = start(&mut out, RecordKind::Message);
    let place = write_message(&mut out, &envelope(), id, 9_999, 42, &[], true).unwrap();
    patch_extent(&mut out, place, &Extent { sequence: 3, slot: 1, offset: 5000, length: 9_999, crc: 77 });
    let end = out.len();
    finish(&mut out, at, end, 99, 4106);
    out.split_off(at)
}

#[test]
fn message_survives() {
    let bytes = encoded();
    let record = read(&bytes, 99, 4106).unwrap();
    assert_eq!((record.kind, record.length), (RecordKind::Message as u8, bytes.len()));
    let view = MessageView::parse(record.payload).unwrap();
    assert_eq!(view.id, MessageId { lane: 2, sequence: 3, offset: 4106 });
    assert_eq!((view.sender, view.size, view.header_length, view.count), (&b"a@b.example"[..], 9_999, 42, 3));
    assert_eq!(view.client, Some("192.0.2.7:4321".parse().unwrap()));
    assert_eq!((view.helo, view.tls, view.account), ("client.example", Some("TLSv1.3 X"), Some("news")));
    assert!(view.needs.eight_bit && !view.needs_stuffing && view.protocol == WithProtocol::Esmtps);
    let extents: Vec<_> = view.extents().collect();
    assert_eq!(extents, [Extent { sequence: 3, slot: 1, offset: 5000, length: 9_999, crc: 77 }]);
    let domains: Vec<_> = view.domains().collect();
    assert_eq!(domains, [(0, 2, &b"one.example"[..]), (2, 1, b"two.example")]);
}

#[test]
fn no_damage_passes_and_no_cut_panics() {
    let bytes = encoded();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(read(&damaged, 99, 4106).is_err(), "byte {at}");
        assert!(read(&bytes[..at], 99, 4106).is_err(), "cut at {at}");
        let _ = MessageView::parse(&damaged[HEADER.min(at)..]);
        let _ = MessageView::parse(&bytes[at..]);
    }
    assert!(read(&bytes, 98, 4106).is_err(), "another life");
    assert!(read(&bytes, 99, 4107).is_err(), "another place");
}

#[test]
fn unknown_fields_refuse_only_when_critical() {
    let mut payload = encoded().split_off(HEADER);
    field(&mut payload, 77, b"from the future");
    assert!(MessageView::parse(&payload).is_ok());
    field(&mut payload, 77 | CRITICAL_TAG, b"from the future");
    assert_eq!(MessageView::parse(&payload).unwrap_err(), RecordError::Unknown(77 | CRITICAL_TAG));
}

#[test]
fn each_end_has_a_critical_field_of_its_own() {
    for end in End::ALL {
        let mut payload = encoded().split_off(HEADER);
        field(&mut payload, end.field(), &[0, 0, 1, 0]);
        let view = MessageView::parse(&payload).expect("it is known");
        assert_eq!(view.at_once().collect::<Vec<_>>(), [(end, 0, 1)]);
        let number = end.field() & !CRITICAL_TAG;
        assert!(number != end.field() && ![11, 12].contains(&number), "critical, and not reserved: {number}");
    }
}

/// The need of SMTPUTF8 survives, moves along, and refuses a spool where this version does not know all of it.
#[test]
fn what_is_asked_of_utf8_survives_and_moves() {
    let id = MessageId { lane: 2, sequence: 3, offset: 4106 };
    let written = |bits| {
        let mut out = Vec::new();
        let needs = Needs { utf8: Utf8::of_bits(bits).unwrap(), ..Needs::default() };
        write_message(&mut out, &Envelope { needs, ..envelope() }, id, 10, 5, &[], true);
        out
    };
    let plain = written(0);
    for bits in [0, 1, 3, 7] {
        let payload = written(bits);
        assert_eq!(payload.len() - plain.len(), if bits == 0 { 0 } else { 7 });
        let mut moved = Vec::new();
        write_moved(&mut moved, &lasting_fields(&payload).unwrap(), (b"", false), &[], true);
        for payload in [&payload, &moved] {
            assert_eq!(MessageView::parse(payload).unwrap().needs.utf8.bits(), bits);
        }
    }
    for (value, error) in [(&[9][..], RecordError::Unknown(tag::UTF8)), (&[], RecordError::Damaged)] {
        let mut other = plain.clone();
        field(&mut other, tag::UTF8, value);
        assert_eq!(MessageView::parse(&other).unwrap_err(), error);
    }
}

/// What a sender says of TLS survives, moves along, and refuses a spool where this version does not know it.
#[test]
fn what_is_asked_of_tls_survives_and_moves() {
    let id = MessageId { lane: 2, sequence: 3, offset: 4106 };
    let written = |tls| {
        let mut out = Vec::new();
        let needs = Needs { eight_bit: true, tls, ..Needs::default() };
        write_message(&mut out, &Envelope { needs, ..envelope() }, id, 10, 5, &[], true);
        out
    };
    let plain = written(TlsWish::Usual);
    for wish in [TlsWish::Usual, TlsWish::Waived, TlsWish::Required] {
        let payload = written(wish);
        assert_eq!(payload.len() - plain.len(), if wish == TlsWish::Usual { 0 } else { 7 });
        let mut moved = Vec::new();
        write_moved(&mut moved, &lasting_fields(&payload).unwrap(), (b"", false), &[], true);
        for payload in [&payload, &moved] {
            let needs = Needs { eight_bit: true, tls: wish, ..Needs::default() };
            assert_eq!(MessageView::parse(payload).unwrap().needs, needs);
        }
    }
    let mut later = plain.clone();
    field(&mut later, tag::TLS_WISH, &[3]);
    assert_eq!(MessageView::parse(&later).unwrap_err(), RecordError::Unknown(tag::TLS_WISH));
    let mut cut = plain;
    field(&mut cut, tag::TLS_WISH, &[]);
    assert_eq!(MessageView::parse(&cut).unwrap_err(), RecordError::Damaged);
}

#[test]
fn what_another_node_knew_is_read_again() {
    let id = MessageId { lane: 1, sequence: 2, offset: 4096 };
    let begun = Begun { attempts: 4, next: 1_700_000_000, late: true, reply: "451 4.7.1 later".into() };
    let carried = Carried { came: UnixMillis(77), begun };
    let of_node = Envelope { handover: Some(Box::new(carried)), ..envelope() };
    let written = |envelope: &Envelope| {
        let mut out = Vec::new();
        write_message(&mut out, envelope, id, 10, 5, &[], true);
        out
    };
    let (payload, plain) = (written(&of_node), written(&envelope()));
    let view = MessageView::parse(&payload).unwrap();
    assert_eq!((view.came(), view.arrival), (UnixMillis(77), envelope().arrival));
    assert_eq!(view.front("relay.example", None).arrival, UnixMillis(77), "Received says when it came here");
    assert_eq!(view.begun().collect::<Vec<_>>(), [(0, 3, super::begun(&of_node).expect("it was tried"))]);
    assert!(lasting_fields(&payload).unwrap().windows(5).any(|some| some == b"later"), "it stays in a move");
    assert!(payload.len() <= plain.len() + handover_bound(&of_node));
    let view = MessageView::parse(&plain).unwrap();
    assert_eq!((view.came(), view.begun().count()), (view.arrival, 0));
    assert_eq!(handover_bound(&envelope()), 0);
}
