//! Transactions against scripted replies.

use smallvec::smallvec;

use super::*;
use crate::mail::envelope::Needs;
use crate::smtp::client::auth::Mechanisms;

pub(super) fn reply(code: u16) -> Reply {
    Reply { code, enhanced: None, text: format!("r{code}"), lines: Vec::new(), odd: false, ours: false }
}

pub(super) const PIPELINING: Capabilities = Capabilities {
    require_tls: false,
    utf8: false,
    proven: false,
    pipelining: true,
    eight_bit: true,
    starttls: false,
    auth: Mechanisms::NONE,
    dsn: false,
    size: None,
    handover: false,
    recipients_max: None,
    messages_max: None,
};
pub(super) const PLAIN: Capabilities = Capabilities {
    require_tls: false,
    utf8: false,
    proven: false,
    pipelining: false,
    eight_bit: false,
    starttls: false,
    auth: Mechanisms::NONE,
    dsn: false,
    size: Some(0),
    handover: false,
    recipients_max: None,
    messages_max: None,
};

/// Runs a transaction of two recipients; the commands sent, the steps, the letters D(elivered) d(eferred) F(ailed).
fn run(capabilities: &Capabilities, codes: &[u16]) -> (String, Vec<NextStep>, String, bool) {
    let recipients = smallvec![&b"x@z"[..], &b"y@z"[..]];
    let mut transaction =
        Transaction::new(capabilities, b"a@b", recipients, 10, Body::default()).expect("fits");
    let (mut out, mut steps) = (Vec::new(), Vec::new());
    transaction.write_commands(&mut out);
    for code in codes {
        let next = transaction.on_reply(reply(*code));
        steps.push(next);
        if next == NextStep::WriteCommands {
            transaction.write_commands(&mut out);
        }
    }
    if steps.last() != Some(&NextStep::Done) {
        transaction.on_failure("lost");
    }
    let verdicts = (0..2)
        .map(|place| match transaction.verdict(place).expect("decided").0 {
            Verdict::Delivered(_) => 'D',
            Verdict::Deferred(_) => 'd',
            Verdict::Later(_) => 'l',
            Verdict::Failed(_) => 'F',
        })
        .collect();
    (String::from_utf8(out).expect("ASCII"), steps, verdicts, transaction.must_close())
}

#[test]
fn everything_goes_in_one_group() {
    let (sent, steps, verdicts, _) = run(&PIPELINING, &[250, 250, 250, 354, 250]);
    assert_eq!(sent, "MAIL FROM:<a@b>\r\nRCPT TO:<x@z>\r\nRCPT TO:<y@z>\r\nDATA\r\n");
    assert_eq!(steps[3..], [NextStep::SendBody, NextStep::Done]);
    assert_eq!(verdicts, "DD");
}

#[test]
fn without_pipelining_one_command_at_a_time() {
    let (sent, steps, verdicts, _) = run(&PLAIN, &[250, 250, 250, 354, 250]);
    assert_eq!(sent, "MAIL FROM:<a@b> SIZE=10\r\nRCPT TO:<x@z>\r\nRCPT TO:<y@z>\r\nDATA\r\n");
    assert_eq!(steps[0], NextStep::WriteCommands);
    assert_eq!(verdicts, "DD");
}

#[test]
fn verdicts_are_per_recipient() {
    for (codes, expected) in [
        (&[250, 550, 250, 354, 250][..], "FD"),
        (&[250, 450, 250, 354, 554], "dF"),
        (&[250, 552, 250, 354, 250], "dD"),
        (&[250, 250, 552, 354, 250], "Dl"),
        (&[250, 250, 452, 354, 250], "Dl"),
        (&[250, 250, 450, 354, 250], "Dd"),
        (&[250, 250, 250, 451], "dd"),
        (&[250, 250, 250, 354, 452], "dd"),
        (&[250, 550, 550, 554], "FF"),
        (&[250, 550, 450, 354, 250], "Fd"),
        (&[550, 503, 503, 503], "FF"),
        (&[450, 503, 503, 503], "dd"),
        (&[250, 250, 421], "dd"),
        (&[250, 550, 421], "Fd"),
        (&[250, 250, 250, 250], "dd"),
        (&[], "dd"),
        (&[250, 250, 250, 354], "dd"),
    ] {
        assert_eq!(run(&PIPELINING, codes).2, expected, "{codes:?}");
    }
    assert_eq!(run(&PLAIN, &[550]).2, "FF");
    assert_eq!(run(&PLAIN, &[250, 550, 450]).2, "Fd");
}

#[test]
fn a_354_for_nobody_gets_a_lone_dot() {
    let (_, steps, verdicts, close) = run(&PIPELINING, &[250, 550, 550, 354, 250]);
    assert_eq!(steps[3..], [NextStep::SendDot, NextStep::Done]);
    assert_eq!((verdicts.as_str(), close), ("FF", false));
}

/// A hop that refused DATA still has a transaction (RFC 5321 4.1.1.4); one that answered a body, or a lone dot, has none.
#[test]
fn reset_is_owed_until_the_data_was_answered() {
    for (codes, owed) in [
        (&[250, 250, 250, 354, 250][..], false),
        (&[250, 250, 250, 354, 554], false),
        (&[250, 550, 550, 354, 554], false),
        (&[250, 250, 250, 451], true),
        (&[250, 550, 550, 554], true),
        (&[450, 503, 503, 503], true),
    ] {
        let recipients = smallvec![&b"x@z"[..], &b"y@z"[..]];
        let mut transaction =
            Transaction::new(&PIPELINING, b"a@b", recipients, 10, Body::default()).expect("fits");
        for code in codes {
            transaction.on_reply(reply(*code));
        }
        assert!(!transaction.must_close());
        assert_eq!(transaction.needs_reset(), owed, "{codes:?}");
    }
}

#[test]
fn what_cannot_go_is_known_before_asking() {
    let eight_bit = Body { needs: Needs { eight_bit: true, ..Needs::default() }, encoded: false };
    let refused = Transaction::new(&PLAIN, b"", smallvec![&b"x@y"[..]], 10, eight_bit).expect_err("8-bit");
    assert_eq!(refused.status(), "5.6.3");
    assert_eq!(PIPELINING.missing(&eight_bit.needs), None);
    assert_eq!(PLAIN.missing(&eight_bit.needs), Some(MissingExtension::EightBit));
    assert_eq!(PLAIN.missing(&eight_bit.needs.encoded()), None);
    let small = Capabilities { size: Some(5), ..PIPELINING };
    assert_eq!(
        Transaction::new(&small, b"", smallvec![&b"x@y"[..]], 10, Body::default())
            .expect_err("size")
            .status(),
        "5.3.4"
    );
}

/// The hop is asked of each recipient, and has no data.
#[test]
fn a_message_that_is_withheld() {
    for capabilities in [&PIPELINING, &PLAIN] {
        for (codes, expected) in [
            (&[250, 250, 450][..], ["5.6.3", "4.0.0"]),
            (&[250, 550, 250], ["5.0.0", "5.6.3"]),
            (&[250, 550, 450], ["5.0.0", "4.0.0"]),
            (&[250, 250, 250], ["5.6.3", "5.6.3"]),
        ] {
            let recipients = smallvec![&b"x@z"[..], &b"y@z"[..]];
            let begun =
                Transaction::new(capabilities, b"a@b", recipients, 10, Body::default()).expect("fits");
            let mut transaction = begun.withhold(local(554, (5, 6, 3), "no"));
            let (mut out, mut sent) = (Vec::new(), transaction.write_commands(&mut Vec::new()));
            let mut next = NextStep::AwaitReply;
            for code in codes {
                assert_ne!(next, NextStep::Done);
                next = transaction.on_reply(reply(*code));
                if next == NextStep::WriteCommands {
                    sent += transaction.write_commands(&mut out);
                }
            }
            assert_eq!((next, sent), (NextStep::Done, 3), "{codes:?}");
            let told = [0, 1].map(|place| transaction.verdict(place).expect("decided").1.status());
            assert_eq!(told, expected, "{codes:?}");
            assert!(transaction.needs_reset() && !out.windows(4).any(|word| word == b"DATA"));
        }
    }
}

/// Recipients that were not asked for are told what ended the session, and nothing that was said of others.
#[test]
fn what_ends_a_session_is_told_apart() {
    let begin = || {
        let recipients = smallvec![&b"x@z"[..], &b"y@z"[..]];
        Transaction::new(&PLAIN, b"a@b", recipients, 10, Body::default()).expect("fits")
    };
    let mut withheld = begin().withhold(local(451, (4, 6, 3), "no 8-bit text"));
    for code in [250, 450, 250] {
        withheld.on_reply(reply(code));
    }
    assert!(withheld.must_close() && !withheld.made_progress());
    assert_eq!(withheld.ended_by().map(Reply::status).as_deref(), Some("4.6.3"));
    let told = |codes: &[u16], lost: bool| {
        let mut transaction = begin();
        for code in codes {
            transaction.on_reply(reply(*code));
        }
        if lost {
            transaction.on_failure("gone");
        }
        transaction.ended_by().map(Reply::describe)
    };
    let described = |code| Some(reply(code).describe());
    assert_eq!(told(&[250, 450, 421], false), described(421));
    assert_eq!(told(&[451], false), described(451), "no mail of this sender");
    assert_eq!(told(&[250, 450], true).as_deref(), Some("451 4.4.2 gone"));
    assert_eq!(told(&[250, 450, 450], false), None, "two full mailboxes");
}

#[test]
fn ehlo_is_read() {
    let lines = ["hop.example hello", "pipelining", "SIZE 1000", "8BITMIME", "X-NEW thing", "STARTTLS"];
    let reply = Reply { lines: lines.iter().map(|line| (*line).to_owned()).collect(), ..reply(250) };
    let expected = Capabilities {
        pipelining: true,
        eight_bit: true,
        starttls: true,
        size: Some(1000),
        ..Capabilities::default()
    };
    assert_eq!(Capabilities::of_ehlo(&reply), expected);
}

#[test]
fn dots_are_stuffed() {
    for (body, expected) in
        [("", ""), (".a\r\n..b\r\nc.\r\n", "..a\r\n...b\r\nc.\r\n"), ("a\r\n.", "a\r\n.."), ("a", "a")]
    {
        let mut out = Vec::new();
        stuff(body.as_bytes(), true).for_each(|piece| out.extend_from_slice(piece));
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    }
}

#[test]
fn a_hop_that_has_had_enough_says_so_at_mail() {
    for (codes, unbegun) in [(&[421][..], true), (&[250, 421], false), (&[451], false)] {
        let mut transaction =
            Transaction::new(&PIPELINING, b"a@b", smallvec![&b"x@z"[..]], 10, Body::default()).expect("fits");
        for code in codes {
            transaction.on_reply(reply(*code));
        }
        assert_eq!(transaction.is_unbegun(), unbegun, "{codes:?}");
    }
}

/// RFC 5321 4.2.1 and 4.3.2: 3yz belongs to DATA, and to DATA belongs no 2yz. Whatever does not fit ends the connection, and nothing is sent
/// that could become part of a message, and nobody is returned for it.
#[test]
fn codes_that_do_not_fit_the_state() {
    let sane = [250, 250, 250, 354, 250];
    for capabilities in [&PIPELINING, &PLAIN] {
        for place in 0..sane.len() {
            for code in [200, 250, 299, 300, 334, 354, 399, 450, 550] {
                let mut codes = sane;
                codes[place] = code;
                let fits = match place {
                    3 => code == 354 || code >= 400,
                    _ => code / 100 != 3,
                };
                let (sent, steps, verdicts, close) = run(capabilities, &codes[..=place]);
                let told = format!("{place} {code} {capabilities:?}: {sent} {steps:?} {verdicts}");
                if !fits {
                    assert_eq!(
                        (steps[place], verdicts.as_str(), close),
                        (NextStep::Done, "dd", true),
                        "{told}"
                    );
                }
                if !fits && !capabilities.pipelining {
                    // Nothing but what was said before.
                    assert_eq!(sent.matches("\r\n").count(), (place + 1).min(4), "{told}");
                }
                assert!(fits || steps.iter().take(place).all(|step| *step != NextStep::Done), "{told}");
            }
        }
    }
    assert_eq!(run(&PIPELINING, &[250, 550, 334]).2, "dd", "what was said before is not trusted either");
    assert_eq!(run(&PIPELINING, &[250, 550, 250, 354, 354]).2, "Fd", "but once DATA was opened, it is");
    assert_eq!(run(&PIPELINING, &[250, 550, 550, 354, 354]).2, "FF");
}

/// A reply too many in front of them makes each reply that to the command before: nobody is returned for another's refusal.
#[test]
fn replies_out_of_step_decide_nothing() {
    for extra in [250, 550, 450] {
        for rcpt in [[250, 250], [550, 250], [250, 450], [450, 250]] {
            let recipients = smallvec![&b"x@z"[..], &b"y@z"[..]];
            let mut transaction =
                Transaction::new(&PIPELINING, b"a@b", recipients, 10, Body::default()).expect("fits");
            let steps = [extra, 250, rcpt[0], rcpt[1]].map(|code| transaction.on_reply(reply(code)));
            assert_eq!(steps[3], NextStep::Done, "{extra} {rcpt:?}");
            // The answer to DATA is still to come, and is the one too many.
            if !transaction.must_close() {
                transaction.on_surplus();
            }
            let failed =
                (0..2).any(|place| matches!(transaction.decided.at(place), Some(Verdict::Failed(_))));
            assert!(!failed && transaction.must_close(), "{extra} {rcpt:?}");
        }
    }
    // A hop that refuses MAIL and takes RCPT is sloppy, and means it.
    let (_, steps, verdicts, close) = run(&PIPELINING, &[550, 250, 250, 354, 250]);
    assert_eq!((steps[3], verdicts.as_str(), close), (NextStep::SendDot, "FF", false));
    // And one that refuses DATA for good as well took nothing.
    for data in [503, 554] {
        let (_, steps, verdicts, close) = run(&PIPELINING, &[550, 250, 250, data]);
        assert_eq!((steps[3], verdicts.as_str(), close), (NextStep::Done, "FF", false));
    }
    let (_, _, verdicts, close) = run(&PIPELINING, &[450, 250, 250, 554]);
    assert_eq!((verdicts.as_str(), close), ("dd", true));
}

/// As above, and the connection ends before the replies are known to be out of step; or they were in step, and that is known.
#[test]
fn an_end_behind_another_message_leaves_no_doubtful_refusal() {
    let ended = |names: usize, codes: &[u16], known: bool| {
        let names = recipients_of(names);
        let count = names.len();
        let mut transaction = begun_for(&names);
        let over = codes.iter().map(|code| transaction.on_reply(reply(*code))).last() == Some(NextStep::Done);
        if known {
            transaction.on_reset();
        } else if !over {
            transaction.on_failure("gone");
        }
        if transaction.is_doubtful() {
            return 0;
        }
        (0..count).filter(|&place| matches!(transaction.decided.at(place), Some(Verdict::Failed(_)))).count()
    };
    for codes in [&[550][..], &[550, 250], &[550, 250, 421], &[550, 250, 550], &[550, 503, 421]] {
        assert_eq!(ended(1, codes, false), 0, "{codes:?}");
    }
    // 250, once more, and then the answers to MAIL and the first RCPT: the second was not refused.
    for codes in [&[250, 250, 550][..], &[250, 250, 550, 421], &[250, 250, 250, 550]] {
        assert_eq!(ended(2, codes, false), 0, "{codes:?}");
    }
    // Whichever reply to this one's MAIL or RCPT that is, it refuses it.
    assert_eq!(ended(1, &[250, 550], false), 1);
    assert_eq!(ended(1, &[250, 250, 550], false), 1);
    for codes in [&[550, 503, 503][..], &[250, 550, 550]] {
        assert_eq!(ended(1, codes, true), 1, "RSET was answered: {codes:?}");
    }
    assert_eq!(ended(2, &[250, 550, 250, 354], false), 1, "DATA was opened");
}

/// A hop that ends the connection at a RCPT has its recipients in smaller parts.
#[test]
fn a_hop_that_leaves_at_a_recipient() {
    let after = |codes: &[u16], lost: bool| {
        let names = recipients_of(5);
        let mut transaction = begun_for(&names);
        for code in codes {
            transaction.on_reply(reply(*code));
        }
        if lost {
            transaction.on_failure("gone");
        }
        (transaction.recipients_taken(), transaction.blames_host())
    };
    // Nobody knows whether it has enough of recipients or is in trouble: its limit is learnt, and no other host is asked for all of them.
    assert_eq!(after(&[250, 250, 250, 421], false), (Some(2), false));
    assert_eq!(after(&[250, 550, 250, 421], false), (Some(2), false));
    assert_eq!(after(&[250, 250, 250, 250], true), (Some(3), false));
    assert_eq!(after(&[250, 421], false), (None, true));
    assert_eq!(after(&[250, 550, 421], false), (None, true), "none was taken");
    assert_eq!(after(&[250], true), (None, false));
    assert_eq!(after(&[250, 250, 250, 250, 250, 250, 421], false), (None, true), "at DATA");
}

/// A stray reply before a command undoes all of it, whatever was said before.
#[test]
fn a_stray_reply_undoes_the_transaction() {
    let names = recipients_of(2);
    let mut transaction = begun_for(&names);
    let _ = [250, 550, 250, 354].map(|code| transaction.on_reply(reply(code)));
    transaction.on_stray();
    for place in 0..2 {
        let verdict = transaction.verdict(place);
        assert!(matches!(verdict, Some((Verdict::Deferred(_), reply)) if reply.status() == "4.5.0"));
    }
    assert!(transaction.must_close() && !transaction.made_progress());
}

pub(super) fn recipients_of(count: usize) -> Vec<String> {
    (0..count).map(|place| format!("r{place}@z")).collect()
}

/// A transaction for them.
pub(super) fn begun_for(names: &[String]) -> Transaction<'_> {
    let names = names.iter().map(|name| name.as_bytes()).collect();
    Transaction::new(&PIPELINING, b"a@b", names, 10, Body::default()).expect("fits")
}

#[test]
fn surplus_replies_undo_what_was_not_answered_in_step() {
    let names = recipients_of(2);
    let begin = || begun_for(&names);
    let mut refused = begin();
    let _ = [250, 550, 550, 554].map(|code| refused.on_reply(reply(code)));
    refused.on_surplus();
    assert!(matches!(refused.verdict(1), Some((Verdict::Deferred(_), reply)) if reply.status() == "4.5.0"));
    let mut taken = begin();
    let _ = [250, 550, 250, 354, 250].map(|code| taken.on_reply(reply(code)));
    taken.on_surplus();
    assert!(matches!(taken.verdict(0), Some((Verdict::Failed(_), _))));
    assert!(matches!(taken.verdict(1), Some((Verdict::Delivered(_), _))));
    assert!(taken.must_close());
}

/// What a reply that breaks the rules says counts, and the connection ends with it.
#[test]
fn an_odd_reply_ends_the_connection() {
    let mut transaction =
        Transaction::new(&PIPELINING, b"a@b", smallvec![&b"x@z"[..]], 10, Body::default()).expect("fits");
    let _ = [250, 250, 354].map(|code| transaction.on_reply(reply(code)));
    assert_eq!(transaction.on_reply(Reply { odd: true, ..reply(250) }), NextStep::Done);
    assert!(matches!(transaction.verdict(0), Some((Verdict::Delivered(_), _))) && transaction.must_close());
}

/// What is said before the final dot: a refusal is the answer, anything else is none.
#[test]
fn early_replies() {
    for (code, expected) in [(250, "4.5.0"), (354, "4.5.0"), (421, "4.0.0"), (451, "4.0.0"), (552, "5.0.0")] {
        let mut transaction =
            Transaction::new(&PIPELINING, b"a@b", smallvec![&b"x@z"[..]], 10, Body::default()).expect("fits");
        let _ = [250, 250, 354].map(|code| transaction.on_reply(reply(code)));
        transaction.on_early(reply(code));
        let (verdict, words) = transaction.verdict(0).expect("decided");
        assert_eq!(words.status(), expected, "{code}");
        assert_eq!(matches!(verdict, Verdict::Failed(_)), code == 552);
        assert!(!matches!(verdict, Verdict::Delivered(_)) && transaction.must_close());
    }
}

/// RFC 5321 4.5.3.1.10: the rest is asked for in the next transaction.
#[test]
fn a_hop_takes_few_recipients() {
    type Answer = (u16, Option<(u8, u16, u16)>);
    let answered = |codes: &[Answer]| {
        let names = recipients_of(codes.len());
        let mut transaction = begun_for(&names);
        transaction.on_reply(reply(250));
        for (code, enhanced) in codes {
            transaction.on_reply(Reply { enhanced: *enhanced, ..reply(*code) });
        }
        let later = (0..codes.len())
            .map(
                |place| {
                    if matches!(transaction.decided.at(place), Some(Verdict::Later(_))) { 'l' } else { '.' }
                },
            )
            .collect::<String>();
        (later, transaction.recipients_taken(), transaction.has_later())
    };
    let (ok, many) = ((250, None), (452, None));
    assert_eq!(answered(&[ok, ok, many, many]), ("..ll".into(), Some(2), true));
    assert_eq!(answered(&[ok, ok, many]), ("..l".into(), None, true), "one may be a full mailbox");
    assert_eq!(answered(&[ok, (452, Some((4, 5, 3)))]), (".l".into(), Some(1), true));
    assert_eq!(answered(&[ok, (550, Some((5, 5, 3)))]), (".l".into(), Some(1), true));
    assert_eq!(answered(&[ok, (552, None), many]), (".ll".into(), Some(1), true));
    assert_eq!(answered(&[ok, many, ok, many]), (".l.l".into(), None, true));
    let quota = |words: &str| {
        let names = recipients_of(4);
        let mut transaction = begun_for(&names);
        let _ = [250, 250, 250].map(|code| transaction.on_reply(reply(code)));
        let _ = [0, 1].map(|_| transaction.on_reply(Reply { text: words.into(), ..reply(452) }));
        (transaction.recipients_taken(), transaction.has_later())
    };
    assert_eq!(quota("user over quota"), (None, false), "two full mailboxes at the end");
    assert_eq!(quota("too many recipients"), (Some(2), true));
    assert_eq!(answered(&[many, many, many]), ("...".into(), None, false), "not one was taken");
    assert_eq!(
        answered(&[ok, (452, Some((4, 2, 2))), (450, None)]),
        ("...".into(), None, false),
        "a mailbox is full"
    );
}

/// RFC 9422 section 4.
#[test]
fn limits_are_read() {
    let read = |line: &str| {
        let reply = Reply { lines: vec!["hop".into(), line.into()], ..reply(250) };
        let read = Capabilities::of_ehlo(&reply);
        (read.recipients_max, read.messages_max)
    };
    assert_eq!(read("LIMITS RCPTMAX=5 MAILMAX=20 RCPTDOMAINMAX=1"), (Some(5), Some(20)));
    assert_eq!(read("limits rcptmax=5"), (Some(5), None));
    assert_eq!(read("LIMITS RCPTMAX=0 MAILMAX=x FOO BAR=1"), (None, None));
    assert_eq!(read("LIMITS"), (None, None));
}

/// RFC 5321 4.3.2: what answers other commands takes nothing, and 221 ends the connection wherever it is said.
#[test]
fn a_2yz_of_another_command_takes_nothing() {
    for code in [211, 214, 220, 221, 235] {
        for (before, place) in
            [(&[][..], 0), (&[250], 1), (&[250, 250], 2), (&[250, 250, 250], 3), (&[250, 250, 250, 354], 4)]
        {
            for capabilities in [&PIPELINING, &PLAIN] {
                let (_, steps, verdicts, close) = run(capabilities, &[before, &[code]].concat());
                assert_eq!((verdicts.as_str(), close), ("dd", true), "{code} at {place}");
                assert_eq!(steps.last(), Some(&NextStep::Done), "{code} at {place}");
            }
        }
    }
    for code in [200, 250, 251, 252] {
        assert_eq!(run(&PLAIN, &[code, code, code, 354, code]).2, "DD", "{code}");
    }
    for (codes, unbegun) in [(&[221][..], true), (&[421], true), (&[220], false), (&[250, 221], false)] {
        let mut transaction =
            Transaction::new(&PLAIN, b"a@b", smallvec![&b"x@z"[..]], 10, Body::default()).expect("fits");
        for code in codes {
            transaction.on_reply(reply(*code));
        }
        assert_eq!(transaction.is_unbegun(), unbegun, "{codes:?}");
    }
}

/// Refused recipients are the hop's last word: what ends the connection behind it says nothing of the host.
#[test]
fn a_hop_that_answered_for_all_may_go() {
    for refusal in [550, 450] {
        for codes in [&[250, refusal][..], &[250, refusal, 421], &[550, 421], &[250, refusal, 451]] {
            for capabilities in [&PIPELINING, &PLAIN] {
                let recipients = smallvec![&b"x@z"[..]];
                let mut transaction =
                    Transaction::new(capabilities, b"a@b", recipients, 10, Body::default()).expect("fits");
                for code in codes {
                    transaction.on_reply(reply(*code));
                }
                transaction.on_failure("gone");
                let (_, said) = transaction.verdict(0).expect("decided");
                assert!(said.code == refusal || said.code == 550, "{codes:?}");
                assert!(transaction.must_close() && transaction.is_decided());
                assert!(!transaction.is_cut_short() && !transaction.blames_host(), "{codes:?}");
            }
        }
    }
}

/// RFC 5321 5.1: what one host cannot take now another may, and what is said of a recipient holds for all of them.
#[test]
fn a_host_is_blamed_when_all_of_it_is_its_own_trouble() {
    let storage = |code| Reply { code, enhanced: Some((4, 3, 1)), ..reply(code) };
    let grey = |code| Reply { enhanced: Some((4, 2, 0)), ..reply(code) };
    for (replies, blamed) in [
        (vec![storage(452)], true),
        (vec![reply(250), storage(452), storage(452)], true),
        (vec![reply(250), storage(452), grey(450)], false),
        (vec![reply(250), grey(450), grey(450)], false),
        (vec![reply(250), storage(452), reply(550)], true),
        (vec![reply(250), reply(550), reply(550)], false),
        (vec![reply(250), reply(250), storage(452), reply(354), reply(250)], false),
        (vec![reply(250), reply(250), reply(250), storage(451)], true),
        (vec![reply(250), reply(250), reply(250), reply(354), storage(451)], true),
        (vec![reply(250), reply(250), reply(250), reply(354), reply(421)], true),
        (vec![reply(250), reply(250), reply(250), reply(354), grey(451)], false),
        (vec![reply(250), reply(250), reply(250), reply(354), reply(250)], false),
        (vec![reply(250), reply(421)], true),
        (vec![reply(250), reply(250), reply(250), reply(354)], false),
    ] {
        let words: Vec<_> = replies.iter().map(Reply::describe).collect();
        let recipients = smallvec![&b"x@z"[..], &b"y@z"[..]];
        let mut transaction =
            Transaction::new(&PLAIN, b"a@b", recipients, 10, Body::default()).expect("fits");
        let mut next = NextStep::WriteCommands;
        for reply in replies {
            next = transaction.on_reply(reply);
        }
        if next != NextStep::Done {
            transaction.on_failure("lost");
        }
        assert_eq!(transaction.blames_host(), blamed, "{words:?}");
    }
}
