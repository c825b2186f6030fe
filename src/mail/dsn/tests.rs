//! Bounces, read back by a small reader of their parts.

use super::*;
use crate::id::MessageId;

const ID: MessageId = MessageId { lane: 0, sequence: 1, offset: 4096 };
const HEADER: &[u8] =
    b"Received: from x\r\n\tby y; date\r\nMessage-ID: <orig@a.example>\r\nSubject: Hi\r\n\r\nbody\r\n";

fn refused<'a>(recipient: &'a [u8], text: &'a str) -> ReportedRecipient<'a> {
    ReportedRecipient {
        recipient,
        original: None,
        cause: Cause::Refused,
        status: None,
        remote: Some("mx.b.example"),
        text,
        last_attempt: Some(UnixMillis(86_400_000)),
    }
}

fn expired<'a>(recipient: &'a [u8], text: &'a str) -> ReportedRecipient<'a> {
    ReportedRecipient { cause: Cause::Expired, ..refused(recipient, text) }
}

fn notice<'a>(failures: &'a [ReportedRecipient<'a>], header: &'a [u8]) -> Notice<'a> {
    Notice {
        hostname: "relay.example",
        sender: b"sender@a.example",
        id: ID,
        envid: None,
        arrival: UnixMillis(0),
        expiry: UnixMillis(9 * 86_400_000),
        now: UnixMillis(5 * 86_400_000),
        unique: 0x0123_4567_89ab_cdef,
        recipients: failures,
        header,
        is_whole: false,
        utf8: false,
    }
}

/// Composes and checks what holds for every bounce; returns head, words, fields and returned header.
fn parts(notice: &Notice<'_>) -> [String; 4] {
    let bounce = compose(notice).unwrap();
    for line in bounce.body.split_inclusive(|byte| *byte == b'\n') {
        assert!(line.ends_with(b"\r\n") && line.len() <= LINE_MAX + 2, "{}", line.escape_ascii());
        assert!(
            !line[..line.len() - 2].iter().any(|byte| matches!(byte, 0 | b'\r')),
            "{}",
            line.escape_ascii()
        );
    }
    let dots = bounce.body.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"."));
    assert_eq!(bounce.needs_stuffing, dots);
    assert!(bounce.body.is_ascii(), "a hop without 8BITMIME takes it (RFC 6152)");
    let text = String::from_utf8_lossy(&bounce.body).into_owned();
    let text = text.strip_suffix("\r\n--=_relevo_0123456789abcdef--\r\n").unwrap();
    let pieces: Vec<_> = text.split("\r\n--=_relevo_0123456789abcdef\r\n").map(str::to_owned).collect();
    pieces.try_into().unwrap()
}

#[test]
fn a_refused_recipient() {
    let failures = [refused(b"nobody@b.example", "550 5.1.1 no such user")];
    let bounce = compose(&notice(&failures, HEADER)).unwrap();
    assert_eq!(bounce.recipient.address[..], *b"sender@a.example");
    assert_eq!(bounce.recipient.domain(), b"a.example");
    assert!(!bounce.needs_stuffing);
    let [head, words, fields, returned] = parts(&notice(&failures, HEADER));
    for line in [
        "Date: Tue, 6 Jan 1970 00:00:00 +0000",
        "From: Mail Delivery System <MAILER-DAEMON@relay.example>",
        "To: <sender@a.example>",
        "Subject: Undelivered mail: your message was refused",
        "Auto-Submitted: auto-replied",
        "In-Reply-To: <orig@a.example>",
        "References: <orig@a.example>",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "\tboundary=\"=_relevo_0123456789abcdef\"",
    ] {
        assert!(head.lines().any(|had| had == line), "{line}: {head}");
    }
    assert!(head.contains(&format!("Message-ID: <0123456789abcdef.{ID}@relay.example>\r\n")));
    assert!(words.starts_with("Content-Type: text/plain; charset=us-ascii\r\n\r\nThis is the mail relay at"));
    assert!(
        words.contains(
            "  <nobody@b.example>\r\n    The host mx.b.example said:\r\n\t550 5.1.1 no such user\r\n"
        )
    );
    assert!(words.contains("refused for good") && !words.contains("given up"), "{words}");
    assert_eq!(
        fields,
        format!(
            "Content-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; relay.example\r\n\
             X-Relevo-Message: {ID}\r\n\
             Arrival-Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
             \r\n\
             Final-Recipient: rfc822; nobody@b.example\r\n\
             Action: failed\r\n\
             Status: 5.1.1\r\n\
             Remote-MTA: dns; mx.b.example\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
             Last-Attempt-Date: Fri, 2 Jan 1970 00:00:00 +0000\r\n"
        )
    );
    assert_eq!(
        returned,
        "Content-Type: text/rfc822-headers\r\n\r\nReceived: from x\r\n\tby y; date\r\n\
         Message-ID: <orig@a.example>\r\nSubject: Hi\r\n"
    );
}

/// RFC 3464 2.3.6: what no host said is not told as SMTP, whatever it looks like.
#[test]
fn words_of_our_own_are_not_the_hops() {
    let ours = ReportedRecipient {
        remote: None,
        ..refused(b"x@b.example", "552 5.3.4 too large for the next hop (SIZE)")
    };
    let timed_out = ReportedRecipient { cause: Cause::Expired, text: "4.4.1 cannot connect", ..ours };
    for (failure, told) in [(ours, "x-relevo; 552 5.3.4 too large"), (timed_out, "x-relevo; 4.4.1 cannot")] {
        let [_, words, fields, _] = parts(&notice(&[failure], HEADER));
        assert!(fields.contains(told) && !fields.contains("Remote-MTA"), "{fields}");
        assert!(!words.contains("The host"), "{words}");
    }
}

#[test]
fn an_expired_recipient_reads_differently() {
    let failures = [ReportedRecipient { remote: None, ..expired(b"x@b.example", "451 4.2.0 try later") }];
    let [head, words, fields, _] = parts(&notice(&failures, HEADER));
    assert!(head.contains("could not be delivered in time"), "{head}");
    assert!(words.contains("The last reply was:\r\n\t451 4.2.0 try later"), "{words}");
    assert!(words.contains("within 5 days") && !words.contains("refused"), "{words}");
    assert!(fields.contains("Status: 4.4.7\r\n") && fields.contains("smtp; 451 4.2.0 try later"), "{fields}");
}

#[test]
fn several_recipients_share_one_bounce() {
    let many: Vec<_> = (0..150).map(|number| format!("user{number}@b.example").into_bytes()).collect();
    let mut failures: Vec<_> = many.iter().map(|address| refused(address, "550 no")).collect();
    failures.push(ReportedRecipient {
        remote: None,
        text: "",
        last_attempt: None,
        ..expired(b"late@c.example", "")
    });
    let [head, words, fields, _] = parts(&notice(&failures, HEADER));
    assert!(head.contains("some recipients were not reached"), "{head}");
    assert_eq!(fields.matches("\r\n\r\nFinal-Recipient: ").count(), 151);
    assert_eq!(words.matches("  <user").count(), limits::BOUNCE_LISTED_MAX);
    assert!(words.contains("and 50 more,") && words.contains("and 1 more,"), "{words}");
    assert!(
        fields.ends_with("Final-Recipient: rfc822; late@c.example\r\nAction: failed\r\nStatus: 4.4.7\r\n")
    );
}

#[test]
fn statuses() {
    for (text, expected) in [
        ("550 5.1.1 no", (5, 1, 1)),
        ("550 5.1.1", (5, 1, 1)),
        ("550 no", (5, 0, 0)),
        ("451 what", (4, 0, 0)),
        ("250 2.0.0 what", (5, 0, 0)),
        ("550 5.1.1.1 no", (5, 0, 0)),
        ("550 5.1000.1 no", (5, 0, 0)),
        ("550 5.99999.1 no", (5, 0, 0)),
        ("5501 5.1.1", (5, 0, 0)),
        ("no MX", (5, 0, 0)),
        ("é50 5.1.1", (5, 0, 0)),
        ("", (5, 0, 0)),
    ] {
        assert_eq!(status(&refused(b"a@b", text)), expected, "{text}");
    }
    assert_eq!(
        status(&ReportedRecipient { status: Some((5, 1, 10)), ..refused(b"a@b", "550 5.1.1") }),
        (5, 1, 10)
    );
    assert_eq!(
        status(&ReportedRecipient { status: Some((2, 0, 0)), ..refused(b"a@b", "550 5.1.1") }),
        (5, 1, 1)
    );
    assert_eq!(status(&expired(b"a@b", "450 4.2.1 busy")), (4, 4, 7));
}

#[test]
fn no_bounce_answers_a_bounce() {
    for sender in [&b""[..], b"nowhere", b"a@b\r\nEvil: x", b"a@b> <c@d", b"@", b"a@"] {
        assert!(!owed(sender), "{}", sender.escape_ascii());
        let failures = [refused(b"x@b", "550 no")];
        assert_eq!(compose(&Notice { sender, ..notice(&failures, HEADER) }), None);
    }
    assert!(owed(b"a@b") && owed(b"\"a@b >\"@c.example") && owed(b"a@[127.0.0.1]"));
    assert_eq!(compose(&notice(&[], HEADER)), None);
}

/// RFC 3464 2.3.5: the type `dns` is a name, or the literal of an address.
#[test]
fn the_remote_host_is_a_name() {
    for (remote, field) in [
        ("mx.b.example", "mx.b.example"),
        ("mx.b.example [192.0.2.1]:25", "mx.b.example ([192.0.2.1]:25)"),
        ("mx.b.example [2001:db8::1]:25", "mx.b.example ([2001:db8::1]:25)"),
        ("192.0.2.1 [192.0.2.1]:2525", "[192.0.2.1] ([192.0.2.1]:2525)"),
        ("2001:db8::1 [2001:db8::1]:25", "[IPv6:2001:db8::1] ([2001:db8::1]:25)"),
        ("mx.b.example ", "mx.b.example"),
        ("mx.b.example at) home", "mx.b.example"),
        ("mx.b.example \\", "mx.b.example"),
    ] {
        let failures = [ReportedRecipient { remote: Some(remote), ..refused(b"a@b.example", "550 no") }];
        let [_, _, fields, _] = parts(&notice(&failures, HEADER));
        assert!(fields.contains(&format!("\r\nRemote-MTA: dns; {field}\r\n")), "{remote}: {fields}");
    }
}

#[test]
fn nothing_from_outside_makes_a_line() {
    let evil = "550 5.1.1 a\r\n\r\n--=_relevo_0123456789abcdef\r\n.\r\nBcc: x\u{e9}\u{0}";
    let failures = [
        ReportedRecipient { remote: Some("mx\r\nEvil: 1"), ..refused(b"a\r\nEvil: 2@b", evil) },
        expired(b"b@c\n.\n", "\r\n\t \r\n"),
    ];
    let [head, words, fields, _] = parts(&notice(&failures, b"Message-ID: <a>\r\n b\r\n"));
    for part in [&head, &words, &fields] {
        assert!(!part.lines().any(|line| line.starts_with("Evil") || line.starts_with("Bcc")), "{part}");
    }
    assert!(fields.contains("Remote-MTA: dns; mx??Evil: (1)\r\n"), "{fields}");
}

#[test]
fn returned_headers_are_made_valid() {
    let long_word = [b"X: ".as_slice(), &b"w".repeat(5000), b"\r\n"].concat();
    let long_text = [b"Y:".as_slice(), &b" word".repeat(1000), b"\n"].concat();
    let accents = ["Z: ", &"\u{e9}".repeat(3000), "\r\n"].concat().into_bytes();
    let odd = b".dot: a\rb\0c\n".to_vec();
    let header = [long_word, long_text, accents, odd, b"\r\nBody: not this\r\n".to_vec()].concat();
    let failures = [refused(b"a@b", "550 no")];
    let [_, _, _, returned] = parts(&notice(&failures, &header));
    let (head, quoted) = returned.split_once("\r\n\r\n").unwrap();
    assert_eq!(head, "Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable");
    assert!(quoted.lines().all(|line| line.len() <= 76));
    let returned = format!("{head}\r\n\r\n{}", unquote(quoted));
    assert!(!returned.contains("Body:") && returned.ends_with(".dot: a?b?c\r\n"));
    assert!(!returned.contains('\u{fffd}'), "a character was cut in two");
    let (_, lines) = returned.split_once("\r\n\r\n").unwrap();
    let fields: Vec<_> =
        lines.lines().filter(|line| !line.starts_with([' ', '\t'])).map(|line| &line[..2]).collect();
    assert_eq!(fields, ["X:", "Y:", "Z:", ".d"], "a broken line goes on after a blank");
    assert_eq!(returned.matches('w').count(), 5000 + 1000);
    assert_eq!(returned.matches('\u{e9}').count(), 3000);
}

#[test]
fn returned_headers_are_bounded() {
    let line = [b"X: ".as_slice(), &b"v".repeat(60), b"\r\n"].concat();
    for header in [line.repeat(10_000), b"w".repeat(2 * limits::HEADER_MAX), b"a\r\n".repeat(200_000)] {
        let mut out = Vec::new();
        copy_header(&mut out, &header);
        assert!(out.len() <= limits::HEADER_MAX);
        assert!(header[0] == b'w' || out.len() > limits::HEADER_MAX - 100);
    }
    // The rest of a broken line and the blank before it are as long as a line may be, or one byte longer.
    for length in 2 * LINE_MAX - 3..2 * LINE_MAX + 3 {
        parts(&notice(&[refused(b"a@b", "550 no")], &b"w".repeat(length)));
    }
    // Whatever the bytes are, lines stay valid and the walk ends.
    let mut state = 1u32;
    for length in [0, 1, 997, 998, 999, 1995, 1996, 50_000] {
        let mut bytes = Vec::new();
        for _ in 0..length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(b"a \t\r\x80\xbf\xc3\xff"[(state >> 24) as usize % 8]);
        }
        parts(&notice(&[refused(b"a@b", "550 no")], &bytes));
    }
}

#[test]
fn only_a_plain_message_id_is_repeated() {
    assert_eq!(message_id(b"MESSAGE-ID:   <a@b> \r\n"), Some(&b"<a@b>"[..]));
    for header in
        [&b"X: <a@b>\r\n"[..], b"Message-ID: a@b\r\n", b"Message-ID: <a b>\r\n", b"Message-ID:\r\n <a@b>\r\n"]
    {
        assert_eq!(message_id(header), None);
    }
}

/// RFC 6533: what a notification has in UTF-8, to a sender in ASCII by any hop, and to one that needs SMTPUTF8.
#[test]
fn a_report_is_in_utf8_where_it_has_to_be() {
    let original = Some(&b"utf-8;\\x{3B4}@b.example"[..]);
    let utf8 = ReportedRecipient { original, ..refused("\u{3b4}@b.example".as_bytes(), "550 5.1.1 no") };
    let failures = [utf8, refused(b"plain@b.example", "550 no")];
    let header = "Subject: gr\u{fc}n\r\n\r\nbody\r\n".as_bytes();
    let [_, words, fields, returned] = parts(&Notice { utf8: true, ..notice(&failures, header) });
    let encoded = "Content-Transfer-Encoding: quoted-printable\r\n\r\n";
    for (part, kind) in [
        (&words, "Content-Type: text/plain; charset=utf-8\r\n"),
        (&fields, "Content-Type: message/global-delivery-status\r\n"),
        (&returned, "Content-Type: message/global-headers\r\n"),
    ] {
        assert!(part.starts_with(&format!("{kind}{encoded}")), "{part}");
    }
    assert!(fields.contains("Original-Recipient: utf-8; =CE=B4@b.example\r\n"), "{fields}");
    assert!(fields.contains("Final-Recipient: utf-8; =CE=B4@b.example\r\n"), "{fields}");
    assert!(fields.contains("Final-Recipient: rfc822; plain@b.example\r\n"), "{fields}");
    assert!(returned.contains("Subject: gr=C3=BCn"), "{returned}");
    // One that nobody said SMTPUTF8 of is what it always was.
    let [.., returned] = parts(&notice(&[refused(b"a@b", "550 no")], header));
    assert!(returned.starts_with("Content-Type: text/rfc822-headers\r\n"), "{returned}");

    let sender = "\u{3b4}@a.example".as_bytes();
    let bounce =
        compose(&Notice { utf8: true, sender, is_whole: true, ..notice(&failures, header) }).unwrap();
    let text = String::from_utf8(bounce.body.clone()).unwrap();
    for wanted in [
        "\r\nTo: <\u{3b4}@a.example>\r\n",
        "\r\nContent-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        "\r\nFinal-Recipient: utf-8; \u{3b4}@b.example\r\n",
        "\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: gr\u{fc}n\r\n\r\nbody\r\n",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let envelope = bounce.envelope(UnixMillis(1), UnixMillis(2));
    assert!(envelope.needs.utf8.is_needed() && envelope.needs.eight_bit && envelope.sender.is_empty());
    let whole = compose(&Notice { utf8: true, is_whole: true, ..notice(&failures, header) }).unwrap();
    assert!(whole.body.is_ascii() && !whole.envelope(UnixMillis(1), UnixMillis(2)).needs.utf8.is_asked());
    let text = String::from_utf8(whole.body).unwrap();
    assert!(text.contains("message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjd"), "{text}");
}

#[test]
fn the_envelope_has_no_sender() {
    let failures = [refused(b"a@b", "550 no")];
    let envelope = compose(&notice(&failures, "X: \u{e9}\r\n".as_bytes()))
        .unwrap()
        .envelope(UnixMillis(1), UnixMillis(2));
    assert!(envelope.sender.is_empty() && envelope.origin.client.is_none() && !envelope.needs.eight_bit);
    assert_eq!(envelope.recipients[0].address[..], *b"sender@a.example");
}

/// RFC 3464 2.3.3: one notification tells of all that a turn brought, each in its own words.
#[test]
fn what_is_no_failure_reads_differently() {
    let told = |recipient, cause, text| ReportedRecipient { cause, ..refused(recipient, text) };
    let late = told(b"a@b.example", Cause::Late, "451 4.7.1 greylisted");
    let relayed = told(b"c@b.example", Cause::Relayed, "250 2.6.0 queued");
    let delivered = told(b"d@b.example", Cause::Delivered, "250 ok");
    for (one, subject, words, action, status) in [
        (late, "Delayed mail: your message has not been delivered yet", "goes on trying", "delayed", "4.7.1"),
        (relayed, "Relayed mail: your message was passed on", "passed on to a host", "relayed", "2.6.0"),
        (delivered, "Delivered mail: your message was delivered", "was delivered to", "delivered", "2.0.0"),
    ] {
        let [head, human, fields, _] = parts(&notice(&[one], HEADER));
        assert!(head.contains(&format!("Subject: {subject}\r\n")), "{head}");
        assert!(human.contains(words), "{human}");
        assert!(fields.contains(&format!("Action: {action}\r\nStatus: {status}\r\n")), "{fields}");
        let retries = "Will-Retry-Until: Sat, 10 Jan 1970 00:00:00 +0000\r\n";
        assert_eq!(fields.contains(retries), one.cause == Cause::Late, "{fields}");
    }
    let [head, _, fields, _] = parts(&notice(&[relayed, late, refused(b"e@b", "550 no")], HEADER));
    assert!(head.contains("your message was refused") && fields.matches("Final-Recipient:").count() == 3);
    let [head, ..] = parts(&notice(&[relayed, delivered], HEADER));
    assert!(head.contains("Subject: What became of your message\r\n"), "{head}");
    // A reply that was not taken at its word, and one of our own.
    for (text, expected) in [("550 5.1.1 no", (4, 0, 0)), ("451 4.4.1 no route", (4, 4, 1)), ("", (4, 0, 0))]
    {
        assert_eq!(status(&told(b"a@b", Cause::Late, text)), expected, "{text}");
    }
    assert_eq!(status(&told(b"a@b", Cause::Relayed, "450 4.1.1 x")), (2, 0, 0));
}

/// RFC 3464 2.2.1 and 2.3.1: the sender's own names come back, out of xtext.
#[test]
fn the_senders_names_come_back() {
    let one = ReportedRecipient {
        original: Some(b"rfc822;Bob+2B1@b.example"),
        ..refused(b"b@b.example", "550 no")
    };
    let [_, _, fields, _] = parts(&Notice { envid: Some("Q 1+2"), ..notice(&[one], HEADER) });
    assert!(fields.contains("\r\nOriginal-Envelope-Id: Q 1+2\r\nArrival-Date: "), "{fields}");
    let both =
        "\r\n\r\nOriginal-Recipient: rfc822; Bob+1@b.example\r\nFinal-Recipient: rfc822; b@b.example\r\n";
    assert!(fields.contains(both), "{fields}");
    let evil = ReportedRecipient { original: Some(b"rfc822;a+0D+0AEvil:+201"), ..one };
    let [_, _, fields, _] = parts(&Notice { envid: Some("a\r\nEvil: 2"), ..notice(&[evil], HEADER) });
    assert!(!fields.contains("Original-Envelope-Id") && !fields.contains("\nEvil"), "{fields}");
}

/// RFC 3461 4.3: all of it comes back where that was asked for. RFC 2046 5.2.1: its parts are encoded, not the message.
#[test]
fn a_whole_message_comes_back() {
    let failures = [refused(b"x@b.example", "550 no")];
    let whole = |message: &'static [u8]| {
        let [_, _, _, returned] = parts(&Notice { is_whole: true, ..notice(&failures, message) });
        returned
    };
    let text = whole(b"Subject: Hi\r\n\r\n.body\r\n\r\nend\r\n");
    assert_eq!(text, "Content-Type: message/rfc822\r\n\r\nSubject: Hi\r\n\r\n.body\r\n\r\nend\r\n");
    let eight =
        whole("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\u{e9}\r\n".as_bytes());
    assert!(eight.starts_with("Content-Type: message/rfc822\r\n\r\nMIME-Version"), "{eight}");
    assert!(eight.contains("quoted-printable") && eight.contains("=C3=A9"), "{eight}");
    // What cannot be encoded without a loss does not come back whole.
    let header = whole("Subject: \u{e9}\r\n\r\nbody\r\n".as_bytes());
    assert!(
        header.starts_with("Content-Type: text/rfc822-headers\r\n") && !header.contains("body"),
        "{header}"
    );
}

/// RFC 2045 6.7.
fn unquote(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let mut pieces = text.split('=');
    let mut out = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        out.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        out.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8_lossy(&out).into_owned()
}
