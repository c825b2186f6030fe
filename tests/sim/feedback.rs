//! Complaints that come back are told and suppress who complains, whatever a kill cuts off between the spool, the event and the list.

use std::collections::{BTreeMap, BTreeSet};

use relevo::mail::bounce;
use relevo::mail::bounce::verp::Copy;
use relevo::runtime::sim::World;
use relevo::runtime::{Defect, Runtime};
use serde_json::Value;

use super::peers::{Sink, hand_in_from, hand_in_text};
use super::relay::{Relay, VERP_DOMAIN, configuration, return_paths};
use super::story;
use super::suppressed::{Control, run};

const RECIPIENTS: usize = 40;

fn address(number: usize) -> String {
    format!("u{number}@d{}.example", number % 5)
}

fn complaint(recipient: &str, path: &str) -> String {
    format!(
        "From: fbl@provider.example\r\nTo: x@{VERP_DOMAIN}\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nNo.\r\n\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: provider/1\r\nVersion: 1\r\n\
         Original-Rcpt-To: <{recipient}>\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nReturn-Path: <{path}>\r\nTo: {recipient}\r\n\r\nx\r\n--b--\r\n"
    )
}

/// What the thread does that reads what comes back.
fn answer(relay: &Relay<'_>, most: usize) {
    for _ in 0..most {
        let Some(question) = relay.reading().next() else { return };
        let (message, to) = question.about();
        question.answer(bounce::read(message, to));
    }
}

fn kills(seed: u64, defect: Option<Defect>) {
    let world = World::new(seed);
    if let Some(defect) = defect {
        world.plant(defect, 1.0);
    }
    let sink = Sink::start(&world, "10.0.0.2:25");
    let mut control = Control::new(seed);
    let configuration = configuration(&format!("[bounces]\nverp_domain = \"{VERP_DOMAIN}\"\n"));
    let mut relay = control.start(&world, &configuration);
    hand_in_from(&world, (0, None), 0..RECIPIENTS, |number| vec![address(number)]);
    let all = || sink.received.borrow().len() >= RECIPIENTS;
    assert!(run(&world, &mut control, &relay, 300, all), "not all of it goes");
    assert!(run(&world, &mut control, &relay, 100, || relay.sum(|of| &of.spool_messages) == 0));
    // The journal's reader comes behind the mail.
    control.finish(&world, &relay);
    let ids = control.ids();
    assert_eq!(ids.len(), RECIPIENTS);
    let verp = return_paths(&configuration).expect("a secret");
    for (place, (recipient, id)) in ids.iter().enumerate() {
        let copy = Copy { id: *id, ordinal: 0, recipient: recipient.as_bytes(), tenant: "" };
        let path = verp.write(&copy, world.shard(0, 0).wall());
        let to = if place % 2 == 0 { path.clone() } else { format!("fbl@{VERP_DOMAIN}") };
        hand_in_text(&world, 20 + place as u16, &to, complaint(recipient, &path));
    }
    let taken = || relay.sum(|of| &of.spool_messages) >= RECIPIENTS as u64;
    assert!(run(&world, &mut control, &relay, 300, taken), "not all complaints are taken");
    for life in 0..6 {
        for _ in 0..control.below(10) {
            answer(&relay, 3);
            world.run_for(std::time::Duration::from_millis(7 + seed * 3 + life * 5));
            control.sometimes(&relay);
        }
        world.kill(1);
        drop(relay);
        relay = control.start(&world, &configuration);
    }
    for _ in 0..900 {
        answer(&relay, 100);
        if run(&world, &mut control, &relay, 1, || relay.sum(|of| &of.spool_messages) == 0) {
            break;
        }
    }
    assert_eq!(relay.sum(|of| &of.spool_messages), 0, "something stays in the spool");
    control.finish(&world, &relay);
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in control.events("feedback") {
        let recipient = event["recipients"][0].as_str().expect("a recipient").to_owned();
        told.entry(recipient).or_default().insert(event["event_id"].to_string());
        assert_eq!((&event["complaint"], &event["counts"]), (&Value::from("abuse"), &Value::from(true)));
    }
    for number in 0..RECIPIENTS {
        let ids = told.get(&address(number)).map_or(0, BTreeSet::len);
        assert_eq!((ids, control.is_listed(&relay, &address(number))), (1, true), "{}", address(number));
    }
    assert_eq!(*sink.bounces.borrow(), [""; 0], "nothing of it is answered");
    relay.drain();
}

#[test]
fn who_complains_gets_nothing_more() {
    story(4, |seed| kills(seed, None));
}

pub fn is_found(defect: Defect) {
    let told = |seed| std::panic::catch_unwind(|| kills(seed, Some(defect)));
    assert!((1..=4).any(|seed| told(seed).is_err()), "{defect:?}: not found in 4 stories");
}
