//! RFC 2033 section 4.2: the replies behind the dot.

use super::super::tests::{PIPELINING, PLAIN, reply};
use super::super::{Body, Capabilities, NextStep, Recipients, Transaction, Verdict};

/// A transaction of so many recipients, told these codes.
fn told(capabilities: &Capabilities, count: usize, codes: &[u16]) -> (Transaction<'static>, Vec<NextStep>) {
    let recipients: Recipients<'static> = std::iter::repeat_n(&b"x@z"[..], count).collect();
    let begun = Transaction::new(capabilities, b"a@b", recipients, 10, Body::default()).expect("fits");
    let mut transaction = begun.with_answers();
    let mut steps = Vec::new();
    transaction.write_commands(&mut Vec::new());
    for code in codes {
        let next = transaction.on_reply(reply(*code));
        steps.push(next);
        if next == NextStep::WriteCommands {
            transaction.write_commands(&mut Vec::new());
        }
    }
    (transaction, steps)
}

/// D(elivered), d(eferred), F(ailed), l(ater), ? (undecided) of each recipient.
fn letters(transaction: &Transaction<'_>) -> String {
    (0..)
        .map_while(|place| {
            transaction.recipients.get(place)?;
            Some(match transaction.decided.at(place) {
                Some(Verdict::Delivered(_)) => 'D',
                Some(Verdict::Deferred(_)) => 'd',
                Some(Verdict::Later(_)) => 'l',
                Some(Verdict::Failed(_)) => 'F',
                None => '?',
            })
        })
        .collect()
}

#[test]
fn each_recipient_that_was_taken_has_its_reply() {
    for capabilities in [&PIPELINING, &PLAIN] {
        for (codes, expected) in [
            (&[250, 250, 250, 250, 354, 250, 552, 451][..], "DFd"),
            (&[250, 250, 250, 250, 354, 250, 250, 250], "DDD"),
            // Those whose RCPT was refused have none.
            (&[250, 550, 250, 250, 354, 552, 250], "FFD"),
            (&[250, 250, 450, 250, 354, 250, 552], "DdF"),
            (&[250, 550, 450, 250, 354, 250], "FdD"),
        ] {
            let (transaction, steps) = told(capabilities, 3, codes);
            assert_eq!(letters(&transaction), expected, "{codes:?}");
            let (last, before) = steps.split_last().expect("steps");
            assert_eq!(*last, NextStep::Done, "{codes:?}");
            let body = before.iter().position(|step| *step == NextStep::SendBody).expect("a body was sent");
            assert!(
                before[body + 1..].iter().all(|step| *step == NextStep::AwaitAnswer),
                "{codes:?}: {steps:?}"
            );
            assert!(!transaction.must_close());
        }
    }
}

#[test]
fn as_many_replies_are_due_as_recipients_were_taken() {
    let (mut transaction, steps) = told(&PIPELINING, 4, &[250, 250, 550, 250, 250, 354]);
    assert_eq!(steps.last(), Some(&NextStep::SendBody));
    for left in [3, 2, 1] {
        assert_eq!(transaction.replies_due(), left);
        transaction.on_reply(reply(250));
    }
    assert_eq!((transaction.replies_due(), letters(&transaction).as_str()), (0, "DFDD"));
}

#[test]
fn what_was_answered_stands_when_the_rest_is_not() {
    let half = [250, 250, 250, 250, 354, 250, 552];
    let (mut transaction, _) = told(&PIPELINING, 3, &half);
    transaction.on_failure("the connection was lost");
    assert_eq!(letters(&transaction), "DFd");
    // But for a refusal, which might be that of another: nothing showed that it is not.
    assert!(transaction.doubts_answers());
    transaction.on_unconfirmed();
    assert_eq!(letters(&transaction), "Ddd");
    assert!(transaction.mixes_up() && !transaction.doubts_answers());
    // RFC 5321 3.8: it closes.
    let (mut transaction, _) = told(&PIPELINING, 3, &half);
    assert_eq!(transaction.on_reply(reply(421)), NextStep::Done);
    assert_eq!(letters(&transaction), "DFd");
    assert!(transaction.must_close());
    let (mut transaction, _) = told(&PIPELINING, 3, &half[..5]);
    transaction.on_failure("the connection was lost");
    assert_eq!(letters(&transaction), "ddd");
}

/// A server that answers for those too that it refused at RCPT shifts all that follows: nobody is returned for another's refusal.
#[test]
fn a_reply_too_many_leaves_nobody_returned() {
    let (mut transaction, _) = told(&PIPELINING, 3, &[250, 550, 250, 250, 354, 550, 250]);
    assert_eq!(letters(&transaction), "FFD");
    assert!(transaction.doubts_answers(), "before that is believed");
    transaction.on_surplus();
    assert_eq!(letters(&transaction), "Fdd", "what was said at RCPT was in step");
    assert!(transaction.must_close() && transaction.mixes_up());
    // Whose was whose does not matter where all were delivered.
    let (mut transaction, _) = told(&PIPELINING, 3, &[250, 550, 250, 250, 354, 250, 250]);
    assert!(!transaction.doubts_answers());
    transaction.on_surplus();
    assert_eq!(letters(&transaction), "FDD");
}

/// The reply to one that was refused at RCPT stands before those of the others: what says that one was taken may have said it of another, and
/// he is not to be lost. Up to the first that was not taken, the replies are in step.
#[test]
fn what_may_be_shifted_is_not_believed_without_proof() {
    for (codes, given, unconfirmed) in [
        (&[250, 550, 250, 250, 354, 450, 250][..], "FdD", "Fdd"),
        (&[250, 450, 250, 250, 354, 550, 250], "dFD", "ddd"),
        (&[250, 250, 550, 250, 354, 250, 550], "DFF", "DFd"),
        // Nobody was refused at RCPT: as many replies as recipients.
        (&[250, 250, 250, 250, 354, 550, 250, 250], "FDD", "dDD"),
    ] {
        let (mut transaction, _) = told(&PIPELINING, 3, codes);
        assert_eq!(letters(&transaction), given);
        assert!(transaction.doubts_answers(), "{codes:?}");
        transaction.on_unconfirmed();
        assert_eq!(
            (letters(&transaction).as_str(), transaction.must_close()),
            (unconfirmed, true),
            "{codes:?}"
        );
    }
    for codes in [&[250, 550, 250, 250, 354, 250, 250][..], &[250, 550, 250, 250, 354, 250, 451]] {
        assert!(!told(&PIPELINING, 3, codes).0.doubts_answers(), "{codes:?}");
    }
}

#[test]
fn a_code_that_is_no_answer_to_data_leaves_nobody_returned() {
    let (mut transaction, _) = told(&PIPELINING, 3, &[250, 250, 250, 250, 354, 552, 250]);
    assert_eq!(transaction.on_reply(reply(354)), NextStep::Done);
    assert_eq!(letters(&transaction), "ddd");
    let (mut transaction, _) = told(&PIPELINING, 3, &[250, 250, 250, 250, 354, 250, 250]);
    transaction.on_reply(reply(354));
    assert_eq!(letters(&transaction), "DDd");
}

/// DATA must fail where nobody was taken; how many replies a dot would have is not said, so none is sent.
#[test]
fn a_354_for_nobody_ends_the_connection() {
    let (transaction, steps) = told(&PIPELINING, 2, &[250, 550, 550, 354]);
    assert_eq!(steps.last(), Some(&NextStep::Done));
    assert_eq!((letters(&transaction).as_str(), transaction.must_close()), ("FF", true));
}

#[test]
fn a_lone_recipient_is_believed_at_once() {
    let (transaction, _) = told(&PIPELINING, 1, &[250, 250, 354, 552]);
    assert_eq!((letters(&transaction).as_str(), transaction.doubts_answers()), ("F", false));
}
