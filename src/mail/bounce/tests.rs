//! Messages of the shapes that systems send, and what is found in them.

use super::*;
use crate::mail::classify::Class;

mod complaints;
mod reports;

/// `BOUNCE_CORPUS=DIR cargo test --lib bounce::tests::a_corpus` says in DIR/found what is found in each message of a directory.
#[test]
fn a_corpus_is_told() {
    let Some(directory) = std::env::var_os("BOUNCE_CORPUS").map(std::path::PathBuf::from) else { return };
    let entries = std::fs::read_dir(&directory).expect("a directory");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut told = String::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "eml")) {
        let bytes = std::fs::read(path).expect("a readable file");
        told.push_str(&format!("{}\t{:?}\n", path.display(), read(&bytes, b"")));
    }
    std::fs::write(directory.join("found"), told).expect("a writable directory");
}

/// What came to `to`, as a test writes it: LF between lines.
fn found(message: &str) -> Incoming {
    let lf = read(message.as_bytes(), b"b1-x@bounces.a.example");
    let crlf = read(message.replace('\n', "\r\n").as_bytes(), b"b1-x@bounces.a.example");
    assert_eq!(lf, crlf, "line ends make no difference");
    lf
}

fn bounce(message: &str) -> Returned {
    match found(message) {
        Incoming::Bounce(returned) => returned,
        other => panic!("{other:?}"),
    }
}

fn told(returned: &Returned) -> Vec<(&str, Class, bool)> {
    returned.reports.iter().map(|one| (one.recipient.as_str(), one.class, one.is_hard())).collect()
}

/// Each entry of the file is the one that knows its examples, and finds in them what it says.
#[test]
fn each_system_is_known_by_its_examples() {
    let file = freeform::file().expect("it is TOML of this shape");
    let mut faults = Vec::new();
    for entry in file.entries() {
        assert!(!entry.example.is_empty(), "{} has no example", entry.name);
        for example in &entry.example {
            let found = found(example.message.trim_start());
            let (Incoming::Bounce(returned) | Incoming::Delay(returned)) = &found else {
                faults.push(format!("{}: {found:?}", entry.name));
                continue;
            };
            let told: Vec<_> = returned
                .reports
                .iter()
                .map(|one| format!("{} {}", one.recipient, one.class.word()))
                .collect();
            if returned.matched != entry.name || told != example.found {
                faults.push(format!("{}: {} {told:?}", entry.name, returned.matched));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn a_system_that_no_entry_knows_is_read_by_its_words() {
    let returned = bounce(
        "From: Mail Service <postmaster@b.example>\nTo: shop@a.example\nSubject: Undeliverable: Offers\n\n\
         We could not deliver your mail.\n\n  <ada@b.example>: 550 5.2.2 over quota\n  <bob@b.example>: no such user\n\n\
         ----- Original message -----\nReturn-Path: <b1-x@bounces.a.example>\nMessage-ID: <1@a.example>\nTo: ada@b.example\n",
    );
    assert_eq!(
        told(&returned),
        [("ada@b.example", Class::MailboxFull, false), ("bob@b.example", Class::BadMailbox, true)]
    );
    assert_eq!(returned.matched, "unknown");
    assert_eq!(returned.original.message_id.as_deref(), Some("<1@a.example>"));
}

#[test]
fn who_failed_may_be_told_by_the_message_alone_or_by_nothing() {
    let returned = bounce(
        "Return-Path: <>\nFrom: MAILER-DAEMON@b.example\nSubject: Returned mail\n\nYour message was not delivered: mailbox full.\n\n\
         ----- Original message -----\nReceived: from a\nTo: Ada <ada@b.example>\n",
    );
    assert_eq!(told(&returned), [("ada@b.example", Class::MailboxFull, false)]);
    let returned =
        bounce("From: MAILER-DAEMON@b.example\nSubject: Returned mail\n\nIt failed: user unknown.\n");
    assert_eq!(told(&returned), [("", Class::BadMailbox, true)]);
    assert_eq!(returned.original.return_paths, ["b1-x@bounces.a.example"], "where it came to tells");
}

#[test]
fn mail_that_is_tried_on_is_no_bounce() {
    for message in [
        "From: MAILER-DAEMON@b.example\nSubject: Warning: could not send message for past 4 hours\n\n\
         ** THIS IS A WARNING MESSAGE ONLY **\n** YOU DO NOT NEED TO RESEND YOUR MESSAGE **\n\n<ada@b.example>... Deferred: Connection refused by b.example.\n\
         Will keep trying until message is 5 days old\n",
        "From: postmaster@b.example\nSubject: Delivery delayed\n\nYour mail to the following is delayed, and will be retried for 3 days:\n\nada@b.example: Connection refused\n",
    ] {
        let Incoming::Delay(returned) = found(message) else { panic!("{message}") };
        assert_eq!(told(&returned), [("ada@b.example", Class::Connection, false)]);
        assert_eq!(returned.reports[0].action, Action::Delayed);
    }
    let given_up = "From: MAILER-DAEMON@b.example\nSubject: Returned mail\n\nada@b.example: message has been delayed for 5 days, no further attempts will be made.\n";
    assert!(matches!(found(given_up), Incoming::Bounce(_)));
}

#[test]
fn answers_of_programs_are_told_apart() {
    let kind = |message: &str| match found(message) {
        Incoming::AutoReply(reply) => Some((reply.kind, reply.matched)),
        _ => None,
    };
    for (message, kind_of) in [
        (
            "From: Ada <ada@b.example>\nSubject: Re: Offers\nAuto-Submitted: auto-replied (vacation)\nIn-Reply-To: <1@a.example>\n\nI am away.\n",
            AutoReplyKind::Vacation,
        ),
        ("From: ada@b.example\nSubject: Out of Office: Offers\n\nBack on Monday.\n", AutoReplyKind::Vacation),
        ("From: ada@b.example\nSubject: Abwesenheitsnotiz\n\nIch bin nicht da.\n", AutoReplyKind::Vacation),
        (
            "From: ada@b.example\nSubject: =?utf-8?q?R=C3=A9ponse_automatique_:_Offres?=\n\nAbsente.\n",
            AutoReplyKind::Vacation,
        ),
        (
            "From: ada@b.example\nSubject: Re: Offers\nPrecedence: auto_reply\n\nundeliverable? no: away\n",
            AutoReplyKind::Vacation,
        ),
        (
            "Return-Path: <>\nFrom: ada@b.example\nSubject: Please confirm your message\nAuto-Submitted: auto-replied\n\nClick to release it.\n",
            AutoReplyKind::Challenge,
        ),
        (
            "From: ada@b.example\nSubject: Read: Offers\nContent-Type: multipart/report; report-type=disposition-notification; boundary=x\n\n\
             --x\n\nIt was read.\n--x\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822;ada@b.example\nDisposition: manual-action/MDN-sent-manually; displayed\n--x--\n",
            AutoReplyKind::Read,
        ),
    ] {
        assert_eq!(kind(message).map(|kind| kind.0), Some(kind_of), "{message}");
    }
    // Mail systems call their notifications so, too.
    let exim = "From: Mailer-Daemon@b.example\nSubject: Mail delivery failed\nAuto-Submitted: auto-replied\nX-Failed-Recipients: ada@b.example\n\nNo such user here.\n";
    assert_eq!(told(&bounce(exim)), [("ada@b.example", Class::BadMailbox, true)]);
}

#[test]
fn mail_of_humans_and_of_nobody_is_nothing() {
    for message in [
        "",
        "\n",
        "x",
        "From: Ada <ada@b.example>\nSubject: Re: Offers\n\nThe delivery failed to impress me: mailbox full of these. ada@b.example\n",
        "From: Ada <ada@b.example>\nSubject: Undeliverable promises\n\nHello\n",
        "From: news@b.example\nSubject: Newsletter\nContent-Type: text/html\n\n<p>550 reasons why mail is rejected</p>\n",
        "From: postmaster@b.example\nSubject: Maintenance on Sunday\n\nThe server is down from 2 to 3.\n",
    ] {
        assert_eq!(found(message), Incoming::Other, "{message}");
    }
}

/// Only a front piece is looked at, so a report behind it is none.
#[test]
fn size_makes_no_difference() {
    let head =
        "From: MAILER-DAEMON@b.example\nSubject: failure\nContent-Type: multipart/report; boundary=x\n\n";
    let report = "--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; b\n\nFinal-Recipient: rfc822; ada@b.example\nAction: failed\nStatus: 5.1.1\n\n";
    let filler = "--x\nContent-Type: image/png\n\nAAAA\n";
    let front = format!("{head}{report}{}", filler.repeat(100_000));
    assert!(front.len() > 3_000_000);
    assert!(matches!(read(front.as_bytes(), b""), Incoming::Bounce(returned) if returned.reports.len() == 1));
    let behind = format!("{head}{}{report}", filler.repeat(100_000));
    assert!(
        !matches!(read(behind.as_bytes(), b""), Incoming::Bounce(returned) if returned.matched == "rfc3464")
    );
    let deep: String =
        (0..5_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
    assert_eq!(read(deep.as_bytes(), b""), Incoming::Other);
    let of_many: String = (0..5_000)
        .map(|n| format!("Final-Recipient: rfc822; u{n}@b.example\nAction: failed\nDiagnostic-Code: smtp; 550 words {n}\n\n"))
        .collect();
    let many = format!("{head}--x\nContent-Type: message/delivery-status\n\n{of_many}");
    let Incoming::Bounce(returned) = read(many.as_bytes(), b"") else { panic!() };
    assert_eq!(returned.reports.len(), crate::limits::INCOMING_REPORTS_MAX);
}
