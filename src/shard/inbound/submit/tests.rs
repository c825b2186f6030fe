//! Messages that come by no session, to a simulated shard that stores them.

use std::net::SocketAddr;

use super::*;
use crate::id::Location;
use crate::mail::envelope::{Envelopes, Recipient, WithProtocol};
use crate::mail::parameters::Key;
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::alone;
use crate::shard::store::load::StoredRecord;

const RULES: &str = "[[rule]]\nmatch = { recipient = \"@never.example\" }\naction = \"reject 550 5.7.1 Not them\"\n\
                     [[rule]]\nmatch = { sender = \"spam@a.example\" }\naction = \"reject 550 5.7.1 Not you\"\n\
                     [[rule]]\nset = { tenant = \"all\" }\n";
const TEXT: &str = "X-Relevo-Campaign: spring\r\nX-Relevo-Expire: 2h\r\nSubject: hello\r\n\r\n.one\r\n..two\r\nthree \u{e4}\r\n";

fn incoming<'a>(sender: &str, recipients: &[&str], message: &'a [u8]) -> SubmittedMessage<'a> {
    let mut envelope = Envelopes::default().take();
    envelope.sender = sender.into();
    for address in recipients {
        let at = address.find('@').expect("an address") + 1;
        envelope.recipients.push(Recipient::new(address.as_bytes().into(), at as u16));
    }
    envelope.origin.client = Some("192.0.2.9:7".parse::<SocketAddr>().expect("an address"));
    envelope.origin.protocol = WithProtocol::Esmtpa;
    SubmittedMessage { envelope, message, size_max: 2_000_000, trusted: true }
}

fn place(shard: &Shard<SimRuntime>, id: &Durable<MessageId>) -> Location {
    let writer = shard.own();
    let lane = writer.lane();
    let found = lane.entries().find(|(key, _)| lane.id(*key) == Some(*id.get()));
    let (_, entry) = found.expect("it is in the lane");
    Location { lane: lane.number(), slot: entry.slot, offset: entry.offset }
}

/// What is stored is what a session would have stored: rules and instructions were heard, dots and 8-bit text seen, domains brought together.
#[test]
fn a_message_is_taken_without_a_session() {
    let world = World::new(1);
    let shard = alone::serving(&world, RULES);
    let recipients = ["one@B.example", "two@a.example", "three@b.example"];
    let submitted = submit(&shard, incoming("a@b.example", &recipients, TEXT.as_bytes()));
    let id = world.block_on(submitted).expect("it is taken");
    let source = StoredRecord::read_now(&shard, place(&shard, &id)).expect("a record");
    let view = source.view().expect("a message");
    let stored: Vec<_> =
        view.recipients().map(|(address, _)| std::str::from_utf8(address).unwrap()).collect();
    assert_eq!(stored, ["two@a.example", "one@B.example", "three@b.example"]);
    assert!(view.needs.eight_bit && view.needs_stuffing && !view.mailbox_line);
    assert_eq!(view.expiry.0 - view.arrival.0, 2 * 3_600_000);
    let parameters = view.parameters();
    assert_eq!((parameters.get(Key::Tenant), parameters.get(Key::Campaign)), (Some("all"), Some("spring")));
    let body = world.block_on(source.body_prefix(&shard, id.get().lane, &view, 1000)).expect("its body");
    let kept = TEXT.split_once("Subject").map(|(_, kept)| format!("Subject{kept}")).unwrap();
    assert_eq!(String::from_utf8(body).unwrap(), kept);
    assert_eq!((view.size, view.header_length), (kept.len() as u64, 18));
    assert_eq!(shard.inbound.gathered.get(), 0, "nothing of it is counted any more");
}

/// One that is larger than what is gathered in memory goes to the spool in pieces.
#[test]
fn a_large_message_is_not_held_whole() {
    let world = World::new(2);
    let shard = alone::serving(&world, RULES);
    let text = format!("Subject: x\r\n\r\n{}", ".0123456789\r\n".repeat(60_000));
    let submitted = submit(&shard, incoming("a@b.example", &["c@d.example"], text.as_bytes()));
    let id = world.block_on(submitted).expect("it is taken");
    let source = StoredRecord::read_now(&shard, place(&shard, &id)).expect("a record");
    let view = source.view().expect("a message");
    assert!(view.extents().count() > 2);
    let body =
        world.block_on(source.body_prefix(&shard, id.get().lane, &view, text.len())).expect("its body");
    assert!(body == text.as_bytes());
    assert_eq!(shard.inbound.gathered.get(), 0);
}

#[test]
fn what_is_refused_leaves_nothing() {
    let world = World::new(3);
    let shard = alone::serving(&world, RULES);
    let long = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(170_000));
    let endless = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(limits::TEXT_LINE_MAX + 1));
    let good = "Subject: x\r\n\r\nhello\r\n";
    let many = vec!["c@d.example"; limits::RECIPIENTS_MAX + 1];
    let cases = [
        ("spam@a.example", &["c@d.example"][..], good, "550 5.7.1 Not you\r\n", "rule"),
        ("a@b.example", &["c@d.example", "x@never.example"], good, "550 5.7.1 Not them\r\n", "rule"),
        ("a@b.example", &["c@d.example"], "Subject: x\r\n\r\nhello", words::BARE_LINE_END, "bare_newline"),
        ("a@b.example", &["c@d.example"], "Subject: x\n\r\nhello\r\n", words::BARE_LINE_END, "bare_newline"),
        ("a@b.example", &["c@d.example"], &long, words::TOO_LARGE, "too_large"),
        ("a@b.example", &[], good, words::NO_VALID_RECIPIENTS, "protocol"),
        ("a@b.example", &many, good, words::TOO_MANY_RECIPIENTS, "too_many_recipients"),
        ("a@b.example", &["c@d.example"], &endless, words::TEXT_LINE_TOO_LONG, "line_too_long"),
        (
            "a@b.example",
            &["c@d.example"],
            "X-Relevo-Priority: urgent\r\n\r\n",
            "550 5.6.0 X-Relevo-Priority must be high, normal or low\r\n",
            "rule",
        ),
    ];
    let counters = &shard.instruments.counters;
    for (number, (sender, recipients, message, reply, reason)) in cases.iter().enumerate() {
        let submitted = submit(&shard, incoming(sender, recipients, message.as_bytes()));
        let error = world.block_on(submitted).expect_err(reply);
        assert_eq!(error.reply(), *reply);
        assert_eq!(shard.inbound.gathered.get(), 0, "{reply}");
        let told = Reason::ALL.iter().filter(|one| one.word() == *reason).map(|one| *one as usize);
        let told: u64 = told.map(|place| shard.instruments.families.rejected.get(place)).sum();
        assert!(told > 0, "{reason}");
        assert_eq!(counters.messages_refused.get(), number as u64 + 1);
    }
    assert_eq!(shard.own().lane().messages(), 0);
}

#[test]
fn nothing_is_taken_while_the_gate_is_shut() {
    let world = World::new(4);
    let shard = alone::serving(&world, "");
    shard.draining.set(true);
    let submitted = submit(&shard, incoming("a@b.example", &["c@d.example"], TEXT.as_bytes()));
    let error = world.block_on(submitted).expect_err("the node stops");
    assert!(matches!(error, NotTaken::Closed(Intake::Closing)) && error.reply() == words::SHUTTING_DOWN);
}
