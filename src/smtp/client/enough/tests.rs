use crate::smtp::client::tests::{begun_for, recipients_of, reply};
use crate::smtp::client::{NextStep, Verdict};
use crate::smtp::reply::Reply;

/// It had taken each of them, and says at DATA or behind the dot that they are too many: half of them are named next, and one has the reply.
#[test]
fn too_many_recipients_of_data_are_halved() {
    let after = |count: usize, codes: &[u16], said: (u16, Option<(u8, u16, u16)>, &str)| {
        let names = recipients_of(count);
        let mut transaction = begun_for(&names);
        for code in codes {
            transaction.on_reply(reply(*code));
        }
        let next = transaction.on_reply(Reply { enhanced: said.1, text: said.2.into(), ..reply(said.0) });
        assert_eq!(next, NextStep::Done);
        let letter = |place| match transaction.verdict(place).expect("decided").0 {
            Verdict::Later(_) => 'l',
            Verdict::Failed(_) => 'F',
            Verdict::Deferred(_) => 'd',
            Verdict::Delivered(_) => 'D',
        };
        let letters: String = (0..count).map(letter).collect();
        (letters, transaction.recipients_taken(), transaction.names_fewer())
    };
    let words = [
        (452, Some((4, 5, 3)), "too many recipients"),
        (552, Some((5, 5, 3)), "no"),
        (554, Some((5, 5, 3)), "no"),
        (550, None, "Too many recipients"),
    ];
    for said in words {
        assert_eq!(after(5, &[250; 6], said), ("lllll".into(), Some(2), true), "{said:?}");
        assert_eq!(after(4, &[250, 250, 250, 250, 250, 354], said), ("llll".into(), Some(2), true));
        assert_eq!(after(3, &[250, 250, 550, 250, 354], said), ("lFl".into(), Some(1), true));
        let one = if said.0 == 452 { "d" } else { "F" };
        assert_eq!(after(1, &[250, 250], said), (one.into(), None, false));
    }
    assert_eq!(after(2, &[250; 3], (451, Some((4, 3, 0)), "later")), ("dd".into(), None, false));
    assert!(!after(2, &[250; 3], (450, Some((4, 7, 1)), "too many recipients from 0.0.0.0")).2);
    // At a RCPT, with the end of the connection.
    let many = (421, Some((4, 5, 3)), "too many recipients");
    assert_eq!(after(4, &[250; 3], many), ("llll".into(), Some(2), true));
    assert_eq!(after(4, &[250; 3], (421, Some((4, 3, 2)), "going down")), ("dddd".into(), Some(2), false));
    assert_eq!(after(4, &[250], many), ("dddd".into(), None, false));
}

/// Those who are to go apart are named in the next transaction; how many of one domain go together is not known by that.
#[test]
fn who_is_to_go_apart_is_named_next() {
    let after = |words: &str| {
        let names = recipients_of(3);
        let mut transaction = begun_for(&names);
        let _ = [250, 250].map(|code| transaction.on_reply(reply(code)));
        let said = || Reply { enhanced: Some((4, 7, 1)), text: words.into(), ..reply(450) };
        let _ = [said(), said()].map(|said| transaction.on_reply(said));
        (transaction.has_later(), transaction.recipients_taken())
    };
    assert_eq!(after("only one recipient at a time"), (true, Some(1)));
    assert_eq!(after("Multiple destination domains per transaction is unsupported"), (true, None));
    assert_eq!(after("Greylisted"), (false, None));
}

/// A 552 to RCPT waits only where it may be about how many there are: a full mailbox is one, and what is too large stays too large.
#[test]
fn a_552_is_a_452_unless_it_says_otherwise() {
    for (enhanced, text, waits) in [
        (None, "no", true),
        (None, "Too many recipients, 1 user too many", true),
        (None, "mailbox full", false),
        (None, "Requested mail action aborted: exceeded storage allocation", false),
        (Some((5, 5, 3)), "no", true),
        (Some((5, 3, 1)), "no", true),
        (Some((5, 0, 0)), "Quota exceeded", false),
        (Some((5, 2, 2)), "no", false),
        (Some((5, 3, 4)), "no", false),
        (Some((5, 2, 3)), "no", false),
        (Some((5, 7, 0)), "no", false),
        (Some((5, 1, 1)), "no", false),
    ] {
        let names = recipients_of(1);
        let mut transaction = begun_for(&names);
        transaction.on_reply(reply(250));
        transaction.on_reply(Reply { enhanced, text: text.into(), ..reply(552) });
        let verdict = transaction.verdict(0).expect("decided").0;
        assert_eq!(matches!(verdict, Verdict::Deferred(_)), waits, "{enhanced:?} {text} {verdict:?}");
    }
}
