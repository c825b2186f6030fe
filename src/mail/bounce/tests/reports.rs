//! Reports for machines, as they are written and as they are broken on their way.

use super::*;

const PARTS: &str = "--=_1/mx\n\nThis is the mail system at host mx.c.example.\n\n<ada@b.example>: host mx.b.example[192.0.2.1] said: 550 5.1.1 User unknown\n\n\
    --=_1/mx\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.c.example\nOriginal-Envelope-Id: 00000000G0000102\nArrival-Date: Mon, 2 Nov 2026 10:00:00 +0000\n\n\
    Final-Recipient: rfc822; ada@b.example\nOriginal-Recipient: rfc822;ada.l@c.example\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.b.example\nDiagnostic-Code: smtp; 550 5.1.1\n    <ada@b.example>: User unknown\n\n\
    Final-Recipient: rfc822; bob@b.example\nAction: failed\nStatus: 4.4.7\nDiagnostic-Code: smtp; 452 4.2.2 mailbox over quota\n\n\
    --=_1/mx\nContent-Type: text/rfc822-headers\n\nReturn-Path: <b1-y@bounces.a.example>\nMessage-ID: <1@a.example>\nDate: Mon, 2 Nov 2026 09:00:00 +0000\nX-Relevo-Campaign: autumn\nX-Job: j1\nTo: Ada <ada.l@c.example>\nSubject: Offers\n\n--=_1/mx--\n";

fn report(content_type: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.c.example\nSubject: Undelivered Mail\nContent-Type: {content_type}\n\n{PARTS}"
    )
}

#[test]
fn a_report_is_read_whole() {
    let returned = bounce(&report("multipart/report; report-type=delivery-status;\n boundary=\"=_1/mx\""));
    assert_eq!(returned.matched, "rfc3464");
    assert_eq!(
        told(&returned),
        [("ada@b.example", Class::BadMailbox, true), ("bob@b.example", Class::MailboxFull, false)]
    );
    let [ada, bob] = returned.reports.as_slice() else { panic!() };
    assert_eq!(ada.original_recipient.as_deref(), Some("ada.l@c.example"));
    assert_eq!((ada.code, ada.status, ada.action), (Some(550), Some((5, 1, 1)), Action::Failed));
    assert_eq!(ada.diagnostic, "550 5.1.1 <ada@b.example>: User unknown");
    assert_eq!(ada.remote_mta.as_deref(), Some("mx.b.example"));
    assert_eq!((bob.status, bob.permanent), (Some((4, 4, 7)), false));
    assert_eq!(returned.envelope_id.as_deref(), Some("00000000G0000102"));
    assert_eq!(returned.reporting_mta.as_deref(), Some("mx.c.example"));
    let original = &returned.original;
    assert_eq!(original.message_id.as_deref(), Some("<1@a.example>"));
    assert_eq!(original.to, ["ada.l@c.example"]);
    assert_eq!(original.return_paths, ["b1-x@bounces.a.example", "b1-y@bounces.a.example"]);
    assert_eq!(original.subject.as_deref(), Some("Offers"));
    let ours: Vec<_> = original.ours.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(ours, [("X-Relevo-Campaign", "autumn"), ("X-Job", "j1")]);
}

#[test]
fn what_is_declared_wrongly_is_read_by_its_looks() {
    let whole = bounce(&report("multipart/report; boundary=\"=_1/mx\""));
    for kind in [
        "multipart/mixed; boundary=\"=_1/mx\"",
        "Multipart/Report; Boundary = \"=_1/mx\" ; report-type=x",
        "multipart/report; boundary=\"another\"",
        "multipart/report",
    ] {
        assert_eq!(bounce(&report(kind)).reports, whole.reports, "{kind}");
    }
    let plain = report("multipart/report; boundary=\"=_1/mx\"")
        .replace("Content-Type: message/delivery-status", "Content-Type: text/plain; name=report.txt");
    assert_eq!(bounce(&plain).reports, whole.reports);
    // Cut anywhere behind the first recipient, and without the words for humans.
    let text = report("multipart/report; boundary=\"=_1/mx\"");
    let end = text.find("Final-Recipient: rfc822; bob").expect("it is there");
    assert_eq!(bounce(&text[..end]).reports, whole.reports[..1]);
}

#[test]
fn encoded_parts_are_decoded() {
    let head = "From: MAILER-DAEMON@b.example\nSubject: failure\nContent-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n";
    let quoted = format!(
        "{head}Content-Transfer-Encoding: quoted-printable\n\nReporting-MTA: dns; b\n\nFinal-Recipient: rfc822; ada=\n@b.example\nAction:=20failed\nStatus: 5.1.1\n--x--\n"
    );
    // "Final-Recipient: rfc822; ada@b.example\nAction: failed\nStatus: 5.1.1\n"
    let base64 = format!(
        "{head}Content-Transfer-Encoding: base64\n\nRmluYWwtUmVjaXBpZW50OiByZmM4MjI7IGFkYUBiLmV4YW1wbGUKQWN0aW9uOiBmYWlsZWQK\nU3RhdHVzOiA1LjEuMQo=\n--x--\n"
    );
    for message in [quoted, base64] {
        assert_eq!(told(&bounce(&message)), [("ada@b.example", Class::BadMailbox, true)], "{message}");
    }
}

#[test]
fn one_that_was_passed_on_is_found() {
    let inner = report("multipart/report; boundary=\"=_1/mx\"");
    let forward = format!(
        "From: Ada <ada@b.example>\nSubject: Fwd: Undelivered Mail\nContent-Type: multipart/mixed; boundary=fw\n\n--fw\n\nWhat is this?\n--fw\nContent-Type: message/rfc822\n\n{inner}\n--fw--\n"
    );
    assert_eq!(bounce(&forward).reports.len(), 2);
    let quoted = "From: Ada <ada@b.example>\nSubject: Fwd: Returned mail\n\nSee:\n\n> Reporting-MTA: dns; c\n> \n> Final-Recipient: rfc822; bob@b.example\n> Action: failed\n> Status: 5.1.1\n> Diagnostic-Code: smtp; 550 5.1.1 no such user\n";
    assert_eq!(told(&bounce(quoted)), [("bob@b.example", Class::BadMailbox, true)]);
}

/// RFC 6533 section 3: letters of other scripts, as they are or as numbers.
#[test]
fn global_addresses() {
    let message = "From: MAILER-DAEMON@b.example\nSubject: failure\nContent-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/global-delivery-status\n\n\
        Reporting-MTA: dns; b\n\nFinal-Recipient: utf-8; ad\\x{E1}@b.example\nAction: failed\nStatus: 5.1.1\n\nFinal-Recipient: utf-8; \u{e1}da@b.example\nAction: failed\nStatus: 5.1.1\n\n\
        Final-Recipient: utf-8; \\x{110000}a@b.example\nAction: failed\nStatus: 5.1.1\n--x--\n";
    let returned = bounce(message);
    let names: Vec<_> = returned.reports.iter().map(|report| report.recipient.as_str()).collect();
    assert_eq!(names, ["ad\u{e1}@b.example", "\u{e1}da@b.example", "\\x{110000}a@b.example"]);
}

#[test]
fn actions_are_told_apart() {
    let of = |fields: &str| {
        found(&format!(
            "From: MAILER-DAEMON@b.example\nSubject: report\nContent-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; b\n\n{fields}\n--x--\n"
        ))
    };
    let ada =
        |action: &str| format!("Final-Recipient: rfc822; ada@b.example\nAction: {action}\nStatus: 2.0.0\n\n");
    for action in ["delivered", "relayed", "expanded (list)"] {
        assert!(matches!(of(&ada(action)), Incoming::Receipt(_)), "{action}");
    }
    assert!(matches!(of(&ada("delayed")), Incoming::Delay(_)));
    let mixed = of(&format!(
        "{}Final-Recipient: rfc822; bob@b.example\nAction: FAILED\nStatus: 5.2.2\n",
        ada("delivered")
    ));
    let Incoming::Bounce(returned) = mixed else { panic!() };
    assert_eq!(
        returned.reports.iter().map(|one| (one.action, one.is_hard())).collect::<Vec<_>>(),
        [(Action::Delivered, false), (Action::Failed, false)]
    );
    // Without an action the status says it; without a recipient a field of the notification does.
    assert!(matches!(of("Final-Recipient: rfc822; ada@b.example\nStatus: 5.1.1\n"), Incoming::Bounce(_)));
    let named = found(
        "From: MAILER-DAEMON@b.example\nX-Failed-Recipients: ada@b.example\nSubject: report\nContent-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\nAction: failed\nStatus: 5.1.1\n--x--\n",
    );
    let Incoming::Bounce(returned) = named else { panic!("{named:?}") };
    assert_eq!(told(&returned), [("ada@b.example", Class::BadMailbox, true)]);
}

/// The hop's words count first, then the notification's, then codes: 5.0.0 and 5.1.1 stand for anything.
#[test]
fn the_class_is_that_of_the_words() {
    let class = |diagnostic: &str, status: &str, words: &str| {
        let returned = bounce(&format!(
            "From: MAILER-DAEMON@b.example\nSubject: failure\nContent-Type: multipart/report; boundary=x\n\n--x\n\n{words}\n--x\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; ada@b.example\nAction: failed\nStatus: {status}\n{diagnostic}\n--x--\n"
        ));
        (returned.reports[0].class, returned.reports[0].is_hard())
    };
    for (diagnostic, status, words, expected) in [
        ("Diagnostic-Code: smtp; 550 mailbox is full", "5.1.1", "", (Class::MailboxFull, false)),
        ("Diagnostic-Code: smtp; 550 5.7.1 message looks like spam", "5.0.0", "", (Class::Spam, false)),
        ("", "5.0.0", "<ada@b.example>: user unknown", (Class::BadMailbox, true)),
        ("", "5.1.1", "", (Class::BadMailbox, true)),
        ("", "5.0.0", "", (Class::Other, false)),
        (
            "Diagnostic-Code: X-Postfix; connect to b.example[192.0.2.1]:25: Connection timed out",
            "4.4.1",
            "",
            (Class::NoAnswer, false),
        ),
        ("Diagnostic-Code: smtp; 450 4.1.1 user unknown", "4.1.1", "", (Class::BadMailbox, false)),
        ("Diagnostic-Code: smtp; 556 5.1.10 null MX", "5.1.10", "", (Class::NoMx, true)),
        (
            "Diagnostic-Code: smtp; 550-5.7.1 See the next line,",
            "5.7.1",
            "<<< 550-5.7.1 See the next line,\n<<< 550 5.7.1 this is spam.\n",
            (Class::Spam, false),
        ),
        (
            "Diagnostic-Code: smtp; 550 no such domain (in reply to MAIL FROM command)",
            "5.0.0",
            "",
            (Class::BadSender, false),
        ),
        ("", "4.4.7", "Message could not be delivered for 5 days", (Class::Expired, false)),
    ] {
        assert_eq!(class(diagnostic, status, words), expected, "{diagnostic} {status} {words}");
    }
}
