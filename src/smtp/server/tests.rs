//! Sessions as stories: what the client says, what it hears.

use super::*;
use crate::config::AuthMechanisms;
use crate::mail::envelope::{Envelope, WithProtocol};
use crate::time::UnixMillis;

pub(super) fn config() -> Rc<SessionConfig> {
    Rc::new(SessionConfig {
        message_size_max: 1000,
        recipients_max: 3,
        starttls: true,
        auth: AuthMechanisms::TOLD,
        dsn: true,
        ..SessionConfig::plain("relay.example")
    })
}

fn peer() -> SocketAddr {
    "192.0.2.1:1234".parse().expect("an address")
}

/// Feeds `input` cut at `split` to a session; replies, steps met, accepted envelopes.
fn converse(session: &mut Session, input: &[u8], split: usize) -> (String, Vec<Step>, Vec<Envelope>) {
    let (mut out, mut steps, mut envelopes) = (Vec::new(), Vec::new(), Vec::new());
    let mut pending: Vec<u8> = Vec::new();
    'pieces: for piece in [&input[..split], &input[split..]] {
        pending.extend_from_slice(piece);
        loop {
            if session.takes_body() {
                let scanned = session.scan(&mut pending);
                pending.drain(..scanned.consumed);
                if !scanned.done {
                    break;
                }
                match session.body_end(UnixMillis(5), UnixMillis(9), &mut out) {
                    BodyEnd::Accept(envelope, _) => {
                        envelopes.push(*envelope);
                        out.extend_from_slice(b"250 stored\r\n");
                    }
                    BodyEnd::Refused { close: true } => break 'pieces,
                    BodyEnd::Refused { close: false } => {}
                }
                continue;
            }
            let (used, step) = session.handle(&pending, Intake::Open, &mut out);
            pending.drain(..used);
            match step {
                Step::NeedInput => break,
                Step::Flush | Step::Body => {}
                Step::Portion | Step::Part => panic!("nobody says BDAT or XPRT here"),
                Step::Ask(_) => assert!(!session.answered(Answer::Proceed, &mut out)),
                Step::StartTls => {
                    pending.clear();
                    steps.push(Step::StartTls);
                    session.tls_established("TLSv1.3 x".into());
                }
                Step::Authenticate(credentials) => {
                    let good = credentials.name == "bob" && credentials.password == b"secret";
                    if good {
                        session.authenticated("bob", &mut out);
                    } else if session.authentication_failed(&mut out) {
                        break 'pieces;
                    }
                    steps.push(Step::Authenticate(credentials));
                }
                Step::Introduce(_) => panic!("nobody is a gateway here"),
                Step::Challenge | Step::Prove(_) => panic!("nobody began with SCRAM"),
                Step::Close => {
                    steps.push(Step::Close);
                    break 'pieces;
                }
            }
        }
    }
    (String::from_utf8(out).expect("replies are ASCII"), steps, envelopes)
}

fn codes(replies: &str) -> Vec<&str> {
    replies.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect()
}

fn check(may_relay: bool, input: &str, expected: &[&str]) -> Vec<Envelope> {
    let mut last = Vec::new();
    for split in 0..input.len() {
        let mut session = Session::new(config(), peer(), may_relay);
        let (replies, _, envelopes) = converse(&mut session, input.as_bytes(), split);
        assert_eq!(codes(&replies), expected, "split {split}: {replies}");
        last = envelopes;
    }
    last
}

#[test]
fn a_pipelined_transaction() {
    let envelopes = check(
        true,
        "EHLO c.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@z.example>\r\nRCPT TO:<y@A.example>\r\nRCPT TO:<w@Z.example>\r\nDATA\r\n..hi\r\n.\r\nQUIT\r\n",
        &["250", "250", "250", "250", "250", "354", "250", "221"],
    );
    let addresses: Vec<_> =
        envelopes[0].recipients.iter().map(|r| String::from_utf8_lossy(&r.address)).collect();
    assert_eq!(addresses, ["y@A.example", "x@z.example", "w@Z.example"]);
    assert!(envelopes[0].needs_stuffing);
    assert_eq!(envelopes[0].origin.protocol, WithProtocol::Esmtp);
}

#[test]
fn strangers_do_not_relay() {
    check(
        false,
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nRCPT TO:<u%x@relay.example>\r\nDATA\r\nRSET\r\nQUIT\r\n",
        &["250", "250", "550", "550", "554", "250", "221"],
    );
}

#[test]
fn order_matters() {
    check(
        true,
        "MAIL FROM:<a@b>\r\nHELO c\r\nRCPT TO:<a@b>\r\nDATA\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nDATA\r\nNOOP\r\n",
        &["503", "250", "503", "503", "250", "503", "503", "250"],
    );
}

#[test]
fn limits_are_answered() {
    check(
        true,
        "EHLO c\r\nMAIL FROM:<a@b> SIZE=1001\r\nMAIL FROM:<a@b>\r\nRCPT TO:<1@x>\r\nRCPT TO:<2@x>\r\nRCPT TO:<3@x>\r\nRCPT TO:<4@x>\r\nRCPT TO:<1@x>\r\n",
        &["250", "552", "250", "250", "250", "250", "452", "250"],
    );
    let long = format!("EHLO c\r\nNOOP {}\r\nNOOP\r\n", "x".repeat(limits::COMMAND_LINE_MAX));
    for split in [0, 100, limits::COMMAND_LINE_MAX + 10, long.len() - 3] {
        let mut session = Session::new(config(), peer(), true);
        assert_eq!(
            codes(&converse(&mut session, long.as_bytes(), split).0),
            ["250", "500", "250"],
            "{split}"
        );
    }
    let errors = "FROB\r\n".repeat(100);
    let mut session = Session::new(config(), peer(), true);
    let (replies, steps, _) = converse(&mut session, errors.as_bytes(), 0);
    assert_eq!(codes(&replies).last(), Some(&"421"));
    assert_eq!(steps, [Step::Close]);
}

#[test]
fn bare_line_ends_are_refused_and_end_the_session() {
    check(
        true,
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\na\n.\r\nMAIL FROM:<evil@x>\r\n\r\n.\r\nNOOP\r\n",
        &["250", "250", "250", "354", "550"],
    );
}

#[test]
fn too_large_is_refused_and_the_session_goes_on() {
    let input = format!(
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\n{}\r\n.\r\nNOOP\r\n",
        "x".repeat(1200)
    );
    check(true, &input, &["250", "250", "250", "354", "552", "250"]);
}

#[test]
fn text_before_the_handshake_is_discarded() {
    let mut session = Session::new(config(), peer(), true);
    let input = b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<injected@x>\r\n";
    let (replies, steps, _) = converse(&mut session, input, input.len());
    assert_eq!(codes(&replies), ["250", "220"]);
    assert_eq!(steps, [Step::StartTls]);
    assert_eq!(
        codes(&converse(&mut session, b"MAIL FROM:<a@b>\r\nEHLO c\r\nSTARTTLS\r\n", 0).0),
        ["503", "250", "503"]
    );
}

#[test]
fn auth_plain() {
    let mut session = Session::new(config(), peer(), false);
    let (replies, ..) = converse(&mut session, b"EHLO c\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\n", 0);
    assert_eq!(codes(&replies), ["250", "538"]);
    assert!(!replies.contains("AUTH PLAIN"));
    session.tls_established("TLSv1.3 x".into());
    let (replies, ..) = converse(
        &mut session,
        b"EHLO c\r\nAUTH CRAM-MD5\r\nAUTH PLAIN\r\n*\r\nAUTH PLAIN !!\r\nAUTH PLAIN AGJvYgB3cm9uZw==\r\nAUTH PLAIN\r\nAGJvYgBzZWNyZXQ=\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\n",
        0,
    );
    assert!(replies.contains("250-AUTH PLAIN LOGIN\r\n"));
    assert_eq!(
        codes(&replies),
        ["250", "504", "334", "501", "501", "535", "334", "235", "503", "250", "250"]
    );
}

#[test]
fn a_full_spool_closes_mail() {
    let mut session = Session::new(config(), peer(), true);
    let mut out = Vec::new();
    session.handle(b"EHLO c\r\nMAIL FROM:<a@b>\r\n", Intake::NoSpace, &mut out);
    assert_eq!(codes(std::str::from_utf8(&out).unwrap()), ["250", "452"]);
}

/// RFC 3207 section 4: 454 where TLS cannot be had for now. Mail may come in all the same, and it is no error of the client's.
#[test]
fn tls_may_be_put_off() {
    let mut session = Session::new(config(), peer(), true);
    session.put_off_tls(true);
    let input = format!("EHLO c\r\n{}MAIL FROM:<a@b>\r\n", "STARTTLS\r\n".repeat(30));
    let (replies, steps, _) = converse(&mut session, input.as_bytes(), 0);
    assert!(codes(&replies)[1..31].iter().all(|code| *code == "454") && steps.is_empty(), "{replies}");
    assert!(replies.ends_with("250 2.1.0 Ok\r\n"), "{replies}");
    session.put_off_tls(false);
    assert_eq!(converse(&mut session, b"STARTTLS\r\n", 0).1, [Step::StartTls]);
}

/// What a silent client makes us keep of a login is counted, and no longer than a name.
#[test]
fn a_name_of_login_has_a_bound_and_counts() {
    let mut session = Session::new(config(), peer(), true);
    session.tls_established("TLSv1.3 x".into());
    converse(&mut session, b"EHLO c\r\n", 0);
    let before = session.carried();
    assert!(before > 0, "the name in EHLO counts");
    // base64 of so many times three bytes
    let ask = |session: &mut Session, triples: usize| {
        let line = format!("AUTH LOGIN {}\r\n", "eHh4".repeat(triples));
        codes(&converse(session, line.as_bytes(), 0).0).join(" ")
    };
    assert_eq!(ask(&mut session, 86), "501");
    assert_eq!(session.carried(), before);
    assert_eq!(ask(&mut session, 85), "334");
    assert!(session.carried() >= before + 255);
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 256, "{}", size_of::<Session>());
}

/// Who is told that we have no time for its password did nothing wrong, however often; who guesses is cut off.
#[test]
fn only_failed_logins_end_a_session() {
    let mut session = Session::new(config(), peer(), true);
    let mut out = Vec::new();
    for _ in 0..10 * limits::AUTH_FAILURES_MAX {
        out.clear();
        session.authentication_postponed(&mut out);
        assert!(out.starts_with(b"454 4.7.0 ") && codes(std::str::from_utf8(&out).unwrap()).len() == 1);
    }
    for number in 1..=limits::AUTH_FAILURES_MAX {
        assert_eq!(session.authentication_unavailable(&mut out), number == limits::AUTH_FAILURES_MAX);
    }
}

/// What one receive of `input` brings with this gate: codes, whether the session is over, and the reasons of what is recorded.
fn behind(gate: Intake, may_relay: bool, input: &str) -> (Vec<String>, bool, Vec<&'static str>) {
    let mut session = Session::new(config(), peer(), may_relay);
    behind_of(&mut session, gate, input)
}

fn behind_of(session: &mut Session, gate: Intake, input: &str) -> (Vec<String>, bool, Vec<&'static str>) {
    let (mut out, mut used, mut closed) = (Vec::new(), 0, false);
    while used < input.len() && !closed {
        let (more, step) = session.handle(&input.as_bytes()[used..], gate, &mut out);
        used += more;
        closed = step == Step::Close;
    }
    let replies = String::from_utf8(out).unwrap();
    let recorded = session.take_refusals().unwrap_or_default().held;
    let reasons = recorded.iter().map(|refusal| refusal.reason().word()).collect();
    (codes(&replies).into_iter().map(str::to_owned).collect(), closed, reasons)
}

/// RFC 2920 section 3.1: the group was sent before the client could hear that MAIL is refused.
#[test]
fn what_was_pipelined_behind_a_refused_mail_is_no_error() {
    let many = limits::COMMAND_ERRORS_MAX as usize * 3;
    let group = format!("{}RCPT TO:<c@\u{e4}>\r\nDATA\r\n", "RCPT TO:<x@y.example>\r\n".repeat(many));
    let (good, large, bad) = ("MAIL FROM:<a@b>", "MAIL FROM:<a@b> SIZE=1000000", "MAIL FROM:<a@\u{e4}>");
    for (gate, may_relay, mail, reason) in [
        (Intake::NoSpace, true, good, "no_room"),
        (Intake::QueueFull, true, good, "no_room"),
        (Intake::NoMemory, true, good, "no_room"),
        (Intake::NoJournal, true, good, "no_room"),
        (Intake::NoSpace, false, good, "no_room"),
        (Intake::Open, true, large, "too_large"),
        (Intake::Open, true, bad, "bad_address"),
        (Intake::Open, true, "MAIL FROM:<a@b> FOO=1", "protocol"),
    ] {
        let (codes, closed, reasons) =
            behind(gate, may_relay, &format!("EHLO c\r\n{mail}\r\n{group}RSET\r\n"));
        assert!(!closed, "{mail}: {codes:?}");
        assert!(codes[2..codes.len() - 1].iter().all(|code| code == "503"), "{mail}: {codes:?}");
        assert_eq!((codes.len(), codes.last().map(|code| &**code)), (many + 5, Some("250")), "{mail}");
        assert_eq!(reasons, [reason], "{mail}");
    }
    let early = behind(Intake::Open, true, &format!("{good}\r\n{group}"));
    assert_eq!((early.1, early.2), (false, vec!["protocol"]));
    // After RSET or EHLO they are errors again, and those of a stranger behind an error of its own always were.
    for (may_relay, input) in [
        (true, format!("EHLO c\r\n{bad}\r\nRSET\r\n{group}")),
        (true, format!("EHLO c\r\n{bad}\r\nEHLO c\r\n{group}")),
        (false, format!("EHLO c\r\n{bad}\r\n{group}")),
        (false, format!("EHLO c\r\n{large}\r\n{group}")),
    ] {
        let (codes, closed, reasons) = behind(Intake::Open, may_relay, &input);
        assert_eq!((closed, reasons.last()), (true, Some(&"too_many_errors")), "{codes:?}");
    }
    // And it has an end.
    let endless = "RCPT TO:<x@y.example>\r\n".repeat(limits::RECIPIENTS_OFFERED_MAX as usize);
    assert!(behind(Intake::Open, true, &format!("EHLO c\r\n{large}\r\n{endless}")).1);
}

#[test]
fn recipients_that_we_have_no_memory_for_are_no_errors() {
    let mut session = Session::new(config(), peer(), true);
    let _ = behind_of(&mut session, Intake::Open, "EHLO c\r\nMAIL FROM:<a@b>\r\n");
    for _ in 0..limits::COMMAND_ERRORS_MAX * 2 {
        let group = "RCPT TO:<x@y.example>\r\nDATA\r\nRSET\r\nMAIL FROM:<a@b>\r\n";
        session.dialogue.conduct.commands = 0;
        let (codes, closed, _) = behind_of(&mut session, Intake::NoMemory, group);
        assert_eq!((&codes[..3], closed), (&["452".to_owned(), "452".into(), "250".into()][..], false));
        let _ = behind_of(&mut session, Intake::Open, "MAIL FROM:<a@b>\r\n");
    }
}

/// However long it goes on: who was turned away is sent away without a word that a filter bans for.
#[test]
fn who_is_turned_away_for_long_is_no_intruder() {
    let rounds = "MAIL FROM:<a@b>\r\nRSET\r\n".repeat(limits::COMMANDS_WITHOUT_MAIL_MAX as usize);
    for (gate, ours) in [(Intake::NoSpace, true), (Intake::Open, false)] {
        let mut session = Session::new(config(), peer(), true);
        let (_, closed, reasons) = behind_of(&mut session, gate, &format!("EHLO c\r\n{rounds}"));
        assert_eq!((closed, reasons.contains(&"too_many_errors")), (true, !ours));
        let mut out = Vec::new();
        session.overdue(Overdue::Message, &mut out);
        assert_eq!(out.starts_with(b"421 4.3.2"), ours);
    }
    // Nor one whose login we could not look at.
    for (unavailable, end) in [(true, words::SESSION_OVER), (false, words::TOO_MANY_ERRORS)] {
        let (mut session, mut out) = (Session::new(config(), peer(), false), Vec::new());
        for _ in 0..limits::AUTH_FAILURES_MAX {
            out.clear();
            let _ = if unavailable {
                session.authentication_unavailable(&mut out)
            } else {
                session.authentication_failed(&mut out)
            };
        }
        assert!(out.ends_with(end.as_bytes()));
    }
}
