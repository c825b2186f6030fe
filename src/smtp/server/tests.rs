//! Sessions as stories: what the client says, what it hears.

use super::*;
use crate::mail::envelope::{Envelope, Protocol};
use crate::time::UnixMillis;

pub(super) fn rules() -> Rc<Rules> {
    Rc::new(Rules {
        hostname: "relay.example".into(),
        message_size_max: 1000,
        recipients_max: 3,
        starttls: true,
        accounts: true,
        bare_newlines: BareNewlines::Refuse,
        envelopes: Envelopes::default(),
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
            if let Some(scanner) = session.scanner() {
                let scanned = scanner.scan(&mut pending);
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
            let (used, step) = session.handle(&pending, Gate::Open, &mut out);
            pending.drain(..used);
            match step {
                Step::NeedInput => break,
                Step::Flush | Step::Body => {}
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
        let mut session = Session::new(rules(), peer(), may_relay);
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
    assert_eq!(envelopes[0].origin.protocol, Protocol::Esmtp);
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
        let mut session = Session::new(rules(), peer(), true);
        assert_eq!(
            codes(&converse(&mut session, long.as_bytes(), split).0),
            ["250", "500", "250"],
            "{split}"
        );
    }
    let errors = "FROB\r\n".repeat(100);
    let mut session = Session::new(rules(), peer(), true);
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
    let mut session = Session::new(rules(), peer(), true);
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
    let mut session = Session::new(rules(), peer(), false);
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
    let mut session = Session::new(rules(), peer(), true);
    let mut out = Vec::new();
    session.handle(b"EHLO c\r\nMAIL FROM:<a@b>\r\n", Gate::NoSpace, &mut out);
    assert_eq!(codes(std::str::from_utf8(&out).unwrap()), ["250", "452"]);
}

/// RFC 3207 section 4: 454 where TLS cannot be had for now. Mail may come in all the same, and it is no error of the client's.
#[test]
fn tls_may_be_put_off() {
    let mut session = Session::new(rules(), peer(), true);
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
    let mut session = Session::new(rules(), peer(), true);
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
    let mut session = Session::new(rules(), peer(), true);
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
