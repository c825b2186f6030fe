//! Transactions against scripted replies.

use super::*;

fn reply(code: u16) -> Reply {
    Reply { code, enhanced: None, text: format!("r{code}"), lines: Vec::new() }
}

const PIPELINING: Capabilities =
    Capabilities { pipelining: true, eight_bit: true, starttls: false, size: None };
const PLAIN: Capabilities =
    Capabilities { pipelining: false, eight_bit: false, starttls: false, size: Some(0) };

/// Runs a transaction of two recipients; the commands sent, the steps, the letters D(elivered) d(eferred) F(ailed).
fn run(capabilities: &Capabilities, codes: &[u16]) -> (String, Vec<Next>, String, bool) {
    let recipients = smallvec![&b"x@z"[..], &b"y@z"[..]];
    let mut transaction = Transaction::new(capabilities, b"a@b", recipients, 10, false).expect("fits");
    let (mut out, mut steps) = (Vec::new(), Vec::new());
    transaction.write_commands(&mut out);
    for code in codes {
        let next = transaction.on_reply(reply(*code));
        steps.push(next);
        if next == Next::WriteCommands {
            transaction.write_commands(&mut out);
        }
    }
    if steps.last() != Some(&Next::Done) {
        transaction.on_failure("lost");
    }
    let verdicts = (0..2)
        .map(|place| match transaction.verdict(place).expect("decided").0 {
            Verdict::Delivered(_) => 'D',
            Verdict::Deferred(_) => 'd',
            Verdict::Failed(_) => 'F',
        })
        .collect();
    (String::from_utf8(out).expect("ASCII"), steps, verdicts, transaction.must_close())
}

#[test]
fn everything_goes_in_one_group() {
    let (sent, steps, verdicts, _) = run(&PIPELINING, &[250, 250, 250, 354, 250]);
    assert_eq!(sent, "MAIL FROM:<a@b>\r\nRCPT TO:<x@z>\r\nRCPT TO:<y@z>\r\nDATA\r\n");
    assert_eq!(steps[3..], [Next::SendBody, Next::Done]);
    assert_eq!(verdicts, "DD");
}

#[test]
fn without_pipelining_one_command_at_a_time() {
    let (sent, steps, verdicts, _) = run(&PLAIN, &[250, 250, 250, 354, 250]);
    assert_eq!(sent, "MAIL FROM:<a@b> SIZE=10\r\nRCPT TO:<x@z>\r\nRCPT TO:<y@z>\r\nDATA\r\n");
    assert_eq!(steps[0], Next::WriteCommands);
    assert_eq!(verdicts, "DD");
}

#[test]
fn verdicts_are_per_recipient() {
    for (codes, expected) in [
        (&[250, 550, 250, 354, 250][..], "FD"),
        (&[250, 450, 250, 354, 554], "dF"),
        (&[250, 552, 250, 354, 250], "dD"),
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
    assert_eq!(steps[3..], [Next::SendDot, Next::Done]);
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
        let mut transaction = Transaction::new(&PIPELINING, b"a@b", recipients, 10, false).expect("fits");
        for code in codes {
            transaction.on_reply(reply(*code));
        }
        assert!(!transaction.must_close());
        assert_eq!(transaction.needs_reset(), owed, "{codes:?}");
    }
}

#[test]
fn what_cannot_go_is_known_before_asking() {
    let refused = Transaction::new(&PLAIN, b"", smallvec![&b"x@y"[..]], 10, true).expect_err("8-bit");
    assert_eq!(refused.status(), "5.6.3");
    let small = Capabilities { size: Some(5), ..PIPELINING };
    assert_eq!(
        Transaction::new(&small, b"", smallvec![&b"x@y"[..]], 10, false).expect_err("size").status(),
        "5.3.4"
    );
}

#[test]
fn ehlo_is_read() {
    let lines = ["hop.example hello", "pipelining", "SIZE 1000", "8BITMIME", "X-NEW thing", "STARTTLS"];
    let reply = Reply { lines: lines.iter().map(|line| (*line).to_owned()).collect(), ..reply(250) };
    let expected = Capabilities { pipelining: true, eight_bit: true, starttls: true, size: Some(1000) };
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
            Transaction::new(&PIPELINING, b"a@b", smallvec![&b"x@z"[..]], 10, false).expect("fits");
        for code in codes {
            transaction.on_reply(reply(*code));
        }
        assert_eq!(transaction.is_unbegun(), unbegun, "{codes:?}");
    }
}
