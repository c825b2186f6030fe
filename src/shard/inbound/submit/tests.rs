//! Messages that come by no session, to a simulated shard that stores them.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::id::Location;
use crate::mail::envelope::{Envelopes, Recipient, TlsWish, WithProtocol};
use crate::mail::notify::Notify;
use crate::mail::parameters::Key;
use crate::mail::tls_report::Letter;
use crate::policy::hook::HookAnswer;
use crate::policy::quota::{Owner, Spent};
use crate::runtime::sim::{SimRuntime, World};
use crate::shard::alone;
use crate::shard::quota::ledger::{Keeps, Ledger, QuotaRows};
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
    SubmittedMessage {
        envelope,
        message,
        size_max: 2_000_000,
        trusted: true,
        duties: Duties::NONE,
        tenant: None,
    }
}

fn place(shard: &Shard<SimRuntime>, id: &Durable<MessageId>) -> Location {
    place_of(shard, *id.get())
}

fn place_of(shard: &Shard<SimRuntime>, id: MessageId) -> Location {
    let writer = shard.own();
    let lane = writer.lane();
    let found = lane.entries().find(|(key, _)| lane.id(*key) == Some(id));
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
    let bare = |byte: &str, place: &str| {
        format!(
            "550 5.6.11 Bare {byte} in the message at byte {place}; lines end with CRLF (RFC 5321 section 2.3.8)\r\n"
        )
    };
    let too_large = "552 5.3.4 Message size exceeds fixed limit of 2000000 bytes (RFC 1870 section 6.3)\r\n";
    let (no_lf, no_cr) = (bare("CR (0x0d)", "20"), bare("LF (0x0a)", "11, line 1"));
    let too_long = format!(
        "550 5.6.0 A line of the message is too long: that at byte 15 has more than {} bytes (RFC 5321 section 4.5.3.1.6)\r\n",
        limits::TEXT_LINE_MAX
    );
    let cases = [
        ("spam@a.example", &["c@d.example"][..], good, "550 5.7.1 Not you\r\n", "rule"),
        ("a@b.example", &["c@d.example", "x@never.example"], good, "550 5.7.1 Not them\r\n", "rule"),
        ("a@b.example", &["c@d.example"], "Subject: x\r\n\r\nhello", &*no_lf, "bare_newline"),
        ("a@b.example", &["c@d.example"], "Subject: x\n\r\nhello\r\n", &*no_cr, "bare_newline"),
        ("a@b.example", &["c@d.example"], &long, too_large, "too_large"),
        ("a@b.example", &[], good, words::NO_VALID_RECIPIENTS, "protocol"),
        ("a@b.example", &many, good, words::TOO_MANY_RECIPIENTS, "too_many_recipients"),
        ("a@b.example", &["c@d.example"], &endless, &*too_long, "line_too_long"),
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

/// A message of the node's own: rules are not asked, and nobody hears what becomes of it.
#[test]
fn a_message_of_our_own_is_stored() {
    let world = World::new(5);
    let shard = alone::serving(&world, &format!("{RULES}[[rule]]\naction = \"reject 550 5.7.1 Nobody\"\n"));
    let message = b"Date: x\r\nFrom: <a@b.example>\r\nMessage-ID: <x@y>\r\n\r\n.one\r\n".to_vec();
    let letter = Letter { from: "a@b.example".to_owned(), to: "r@d.example".to_owned(), message };
    let id = world.block_on(own(&shard, letter.clone())).expect("it is stored");
    let source = StoredRecord::read_now(&shard, place(&shard, &id)).expect("a record");
    let view = source.view().expect("a message");
    assert_eq!((view.sender, view.needs.tls), (&b"a@b.example"[..], TlsWish::Waived));
    assert_eq!(view.recipients().map(|(address, _)| address).collect::<Vec<_>>(), [b"r@d.example"]);
    assert_eq!((view.asked().of(0).notify, view.client), (Notify::NEVER, None));
    assert_eq!(view.lives().0, limits::TLS_RPT_LIFE.as_millis() as u64);
    assert!(view.needs_stuffing);
    assert_eq!(shard.inbound.gathered.get(), 0);
    let nowhere = Letter { to: "nobody".to_owned(), ..letter };
    assert!(world.block_on(own(&shard, nowhere)).is_err());
}

/// A program of this machine is trusted, and what it leaves out is put in.
#[test]
fn a_parcel_is_taken_as_mail_that_is_submitted() {
    let world = World::new(7);
    let rules = "[[rule]]\nmatch = { account = \"app\" }\nset = { tenant = \"shop\" }\n";
    let shard = alone::serving(&world, rules);
    let take = |text: &str| {
        let recipients = incoming("a@b.example", &["c@d.example"], b"").envelope.recipients.clone();
        let parcel = Parcel {
            sender: b"a@b.example".to_vec(),
            recipients,
            account: Some("app".into()),
            message: text.as_bytes().to_vec(),
            size_max: 2_000_000,
            duties: Duties::SUBMISSION,
            by: "pickup",
            client: None,
            parameters: None,
            tenant: None,
        };
        world.block_on(super::parcel(&shard, parcel))
    };
    let large = format!(
        "X-Job: spring\r\nBcc: x@y.example\r\nFrom: <q@r.example>\r\n\r\n{}",
        "0123456789\r\n".repeat(60_000)
    );
    for text in ["X-Job: spring\r\nBcc: x@y.example\r\nFrom: <q@r.example>\r\n\r\nhello\r\n", &large] {
        let id = take(text).expect("it is taken");
        let source = StoredRecord::read_now(&shard, place_of(&shard, id)).expect("a record");
        let view = source.view().expect("a message");
        let body = world.block_on(source.body_prefix(&shard, id.lane, &view, 2_000_000)).expect("its body");
        let body = String::from_utf8(body).unwrap();
        let (header, rest) = body.split_once("From: <q@r.example>\r\n\r\n").expect("as it was");
        assert!(header.starts_with("Date: ") && header.contains("\r\nMessage-ID: <"), "{header}");
        assert_eq!((header.lines().count(), view.size), (2, body.len() as u64));
        assert!(text.ends_with(rest));
        assert_eq!(view.header_length as usize, header.len() + "From: <q@r.example>\r\n\r\n".len());
        let parameters = view.parameters();
        assert_eq!(
            (parameters.get(Key::Tenant), parameters.get(Key::Campaign)),
            (Some("shop"), Some("spring"))
        );
        assert_eq!(view.client.map(|client| client.to_string()).as_deref(), Some("127.0.0.1:0"));
    }
    let refused = take("From: <q@r.example>\r\nFrom: <s@t.example>\r\n\r\n").expect_err("it has two");
    assert!(refused.reply().starts_with("554 5.6.0 There is a second From field at line 2"));
    assert_eq!(shard.inbound.gathered.get(), 0, "nothing is counted any more");
}

/// RFC 8689 section 5: the field counts where it says No, and not where MAIL requires TLS.
#[test]
fn a_sender_may_waive_what_domains_ask_of_tls() {
    let world = World::new(6);
    let shard = alone::serving(&world, "");
    for (field, before, wanted) in [
        ("TLS-Required: No", TlsWish::Usual, TlsWish::Waived),
        ("tls-required:  nO \r\n\t", TlsWish::Usual, TlsWish::Waived),
        ("TLS-Required: Yes", TlsWish::Usual, TlsWish::Usual),
        ("TLS-Required: Nobody", TlsWish::Usual, TlsWish::Usual),
        ("X: No", TlsWish::Usual, TlsWish::Usual),
        ("TLS-Required: No", TlsWish::Required, TlsWish::Required),
    ] {
        let text = format!("To: x\r\n{field}\r\nSubject: y\r\n\r\nhello\r\n");
        let mut message = incoming("a@b.example", &["c@d.example"], text.as_bytes());
        message.envelope.needs.tls = before;
        let id = world.block_on(submit(&shard, message)).expect("it is taken");
        let source = StoredRecord::read_now(&shard, place(&shard, &id)).expect("a record");
        let view = source.view().expect("a message");
        assert_eq!((view.needs.tls, view.size), (wanted, text.len() as u64), "{field}: it stays in");
    }
}

/// What control keeps of quotas, in memory.
#[derive(Default)]
struct Kept(Vec<QuotaRows>);

impl Keeps for Kept {
    fn rows(&mut self, owner: Owner, name: &str) -> Option<Vec<Spent>> {
        let is_it = |one: &&QuotaRows| one.owner == owner && *one.name == *name;
        Some(self.0.iter().rev().find(is_it).map(|one| one.rows.clone()).unwrap_or_default())
    }

    fn keep(&mut self, all: &[QuotaRows]) -> bool {
        self.0.extend_from_slice(all);
        true
    }
}

#[test]
fn recipients_count_for_the_quota_of_their_tenant() {
    let world = World::new(1);
    let rules = "[[rule]]\nmatch = { recipient = \"@b.example\" }\nset = { tenant = \"bank\" }\n";
    let quotas =
        "[[tenant]]\nname = \"all\"\nquota = [\"5/d\"]\n[[tenant]]\nname = \"bank\"\nquota = [\"2/month\"]\n";
    let shard = alone::serving(&world, &format!("{RULES}{rules}{quotas}"));
    let live = shard.live.get();
    shard.mesh.quotas().put_in_force(live.generation, &live.quotas);
    let (mut ledger, mut kept) = (Ledger::default(), Kept::default());
    let mut take = |recipients: &[&str]| {
        for _ in 0..2 {
            let taken = world.block_on(submit(&shard, incoming("a@b.example", recipients, TEXT.as_bytes())));
            match taken.map_err(|why| why.reply().to_owned()) {
                Err(reply) if reply.starts_with("451 4.3.0 Recipients of tenant ") => {
                    // Nobody gave out a block in time.
                    ledger.serve(shard.mesh.quotas(), shard.runtime.wall(), &mut kept);
                }
                Err(reply) => return reply,
                Ok(_) => return "250".to_owned(),
            }
        }
        "nothing".to_owned()
    };
    let mut all = |recipients: &[&str]| {
        // One waits for the block of one tenant, and then for that of the other.
        (0..3).map(|_| take(recipients)).find(|reply| reply != "nothing").unwrap_or_default()
    };
    assert_eq!(all(&["one@a.example", "two@a.example", "three@b.example"]), "250");
    let refused = all(&["one@b.example", "two@b.example"]);
    assert!(
        refused.starts_with("451 4.7.1 The quota of tenant bank is used: 2 recipients a month"),
        "{refused}"
    );
    assert_eq!(all(&["one@a.example", "two@a.example"]), "250");
    let refused = all(&["one@a.example", "two@a.example", "three@b.example"]);
    assert!(
        refused.starts_with("451 4.7.1 The quota of tenant all is used: 5 recipients a day"),
        "{refused}"
    );
    assert_eq!(all(&["three@b.example"]), "250", "nothing of what was refused is kept");
    assert!(all(&["three@b.example"]).starts_with("451 4.7.1 The quota of tenant bank"));
    let refused = all(&["1@b.example", "2@b.example", "3@b.example"]);
    assert!(
        refused.starts_with("550 5.7.1 3 recipients are more than the quota of tenant bank"),
        "{refused}"
    );
    assert_eq!(all(&["one@a.example"]), "250");
}

#[test]
fn the_hook_is_asked_about_it() {
    let world = World::new(1);
    let shard = alone::serving(&world, &format!("{RULES}[hook]\nurl = \"http://127.0.0.1:1/\"\n"));
    let served = shard.clone();
    shard.runtime.spawn(async move {
        for _ in 0..10_000 {
            while let Some(asked) = served.mesh.hooking().next() {
                let about = asked.about();
                assert!(about.header.starts_with("Subject: hello\r\n") && about.set["tenant"] == "all");
                let text = match &*about.sender {
                    "no@a.example" => r#"{"action": "reject", "reply": "554 not this"}"#,
                    _ => r#"{"action": "accept", "set": {"tenant": "shop", "expire": "3h", "header_add": {"X-Seen": "a"}}}"#,
                };
                asked.answer(Ok(HookAnswer::parse(text.as_bytes()).expect("an answer")));
            }
            served.runtime.sleep_until(served.runtime.now() + Duration::from_millis(10)).await;
        }
    });
    let take =
        |sender: &str| world.block_on(submit(&shard, incoming(sender, &["one@a.example"], TEXT.as_bytes())));
    let refused = take("no@a.example").expect_err("it is refused");
    assert_eq!(refused.reply(), "554 5.7.1 not this\r\n");
    let id = take("a@a.example").expect("it is taken");
    let source = StoredRecord::read_now(&shard, place(&shard, &id)).expect("a record");
    let view = source.view().expect("a message");
    assert_eq!(view.parameters().get(Key::Tenant), Some("shop"));
    assert_eq!(view.expiry.0 - view.arrival.0, 3 * 3_600_000);
    let body = world.block_on(source.body_prefix(&shard, id.get().lane, &view, 1000)).expect("its body");
    let kept = TEXT.split_once("Subject").map(|(_, kept)| format!("X-Seen: a\r\nSubject{kept}")).unwrap();
    assert_eq!(String::from_utf8(body).unwrap(), kept);
    assert_eq!((view.size, view.header_length), (kept.len() as u64, 29));
    // A rule refuses it before.
    let refused = take("spam@a.example").expect_err("it is refused");
    assert_eq!(refused.reply(), "550 5.7.1 Not you\r\n");
}
