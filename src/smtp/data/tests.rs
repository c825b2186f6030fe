//! Bodies, whole and cut at every byte.

use super::*;

mod faults;

/// Scans `input` cut at `split`; the body, the summary, and what was left over.
fn scan(input: &[u8], split: usize) -> Option<(Vec<u8>, Summary, Vec<u8>)> {
    scan_as(BareNewlines::Refuse, input, split)
}

fn kind(summary: &Summary) -> Option<FaultKind> {
    summary.fault.map(|fault| fault.kind)
}

fn is_bare(summary: &Summary) -> bool {
    summary.fault.is_some_and(|fault| fault.is_bare())
}

fn scan_as(bare: BareNewlines, input: &[u8], split: usize) -> Option<(Vec<u8>, Summary, Vec<u8>)> {
    scan_with(Scanner::new(1_000_000, bare), input, split)
}

fn scan_with(mut scanner: Scanner, input: &[u8], split: usize) -> Option<(Vec<u8>, Summary, Vec<u8>)> {
    let mut body = Vec::new();
    let mut consumed = 0;
    for range in [0..split, split..input.len()] {
        let mut piece = input[range].to_vec();
        let scanned = scanner.scan(&mut piece);
        body.extend_from_slice(scanned.body(&piece));
        consumed += scanned.consumed;
        if scanned.done {
            return Some((body, scanner.summary(), input[consumed..].to_vec()));
        }
    }
    None
}

#[test]
fn bodies_at_every_split() {
    for (input, body, rest) in [
        (&b".\r\n"[..], &b""[..], &b""[..]),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"...x\r\n.\r\n", b"..x\r\n", b""),
        (b".x\r\n.\r\n", b"x\r\n", b""),
        (b"\r\n\r\n.\r\n", b"\r\n\r\n", b""),
        (
            b"Received: x\r\nSubject: y\r\n\r\nReceived: no\r\n.\r\n",
            b"Received: x\r\nSubject: y\r\n\r\nReceived: no\r\n",
            b"",
        ),
    ] {
        for split in 0..=input.len() {
            // A split after the end leaves the rest in the second piece.
            let Some((got, summary, left)) = scan(input, split) else { panic!("no end at split {split}") };
            assert_eq!(got, body, "split {split}");
            assert_eq!(summary.fault, None);
            assert_eq!(summary.size, body.len() as u64);
            assert_eq!(summary.needs_stuffing, body.starts_with(b"."));
            assert_eq!(left, rest, "split {split}");
        }
    }
}

#[test]
fn header_is_measured() {
    let input = b"Received: a\r\nrECEIVED: b\r\nX: Received: c\r\n\r\nbody\r\n.\r\n";
    for split in 0..input.len() {
        let (_, summary, _) = scan(input, split).unwrap();
        assert_eq!(summary.hops, 2, "split {split}");
        assert_eq!(summary.header_length, 44, "split {split}");
    }
    let (_, summary, _) = scan(b"X: y\r\n.\r\n", 0).unwrap();
    assert_eq!(summary.header_length, 6);
}

#[test]
fn a_field_on_tls_is_noticed() {
    for (input, wanted) in [
        (&b"To: x\r\nTLS-Required: No\r\n\r\n.\r\n"[..], true),
        (b"tls-required : no\r\n\r\n.\r\n", true),
        (b"Thread: TLS-Required: No\r\nTLS-Requiredx: No\r\n TLS-Required: No\r\n\r\n.\r\n", false),
        (b"Subject: x\r\n\r\nTLS-Required: No\r\n.\r\n", false),
        (b"tls-required\r\nX-Relevo-Tenant: x\r\n\r\n.\r\n", false),
    ] {
        for split in 0..input.len() {
            let (_, summary, _) = scan(input, split).expect("it ends");
            assert_eq!(summary.speaks_of_tls, wanted, "{} at {split}", String::from_utf8_lossy(input));
        }
    }
}

/// Every ending that some server takes for the end of the data and another does not.
#[test]
fn smuggling_endings_do_not_end() {
    for ending in [
        &b"\n.\n"[..],
        b"\n.\r\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r\n.\n",
        b"\r.\r\n",
        b"\n.\r",
        b"\r\n\x00.\r\n",
        b"\r\n.\x00\r\n",
        b"\r\r\n.\r\r\n",
        b"\n\r\n.\n\r\n",
        b"\r\n.\r\r\n",
        b"\r.\n",
        b"\n\n.\n\n",
    ] {
        let mut input = b"a".to_vec();
        input.extend_from_slice(ending);
        input.extend_from_slice(b"MAIL FROM:<x@y>\r\n.\r\n");
        for split in 0..input.len() {
            let (body, summary, _) = scan(&input, split).unwrap();
            let harmless = ending.contains(&0);
            assert!(is_bare(&summary) || harmless, "{ending:?} split {split}");
            assert!(body.windows(4).any(|window| window == b"MAIL"), "{ending:?} ended the data");
        }
    }
}

/// A message with a bare CR or LF is refused, and even so nothing that is said of it depends on the cut.
#[test]
fn bare_line_ends_are_the_same_at_every_split() {
    for input in [
        &b"\r\r\nx\r\n.\r\n"[..],
        b"\nReceived\r:x\r\n.\r\n",
        b"Rec\reived:x\r\n\r\n.\r\n",
        b".\rReceived:\r\n.\r\n",
    ] {
        let whole = scan(input, 0);
        assert!(whole.as_ref().is_some_and(|(_, summary, _)| is_bare(summary)));
        for split in 0..input.len() {
            assert_eq!(scan(input, split), whole, "{} split {split}", input.escape_ascii());
        }
    }
}

/// Whole blocks and single bytes say the same of any body.
#[test]
fn a_body_is_the_same_in_one_piece_and_in_bytes() {
    let mut seed = 7u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let pieces: [&[u8]; 10] =
        [b"\r\n", b"\r\n", b"text", b"\r\n.", b"\r\n..", b".", b"x", b"\r\n\r\n", b"\r", b"\n"];
    for round in 0..3000 {
        // A bare CR or LF in some rounds only.
        let kinds = if round % 3 == 0 { 10 } else { 8 };
        let mut input = b"Subject: x\r\n\r\n".to_vec();
        for _ in 0..next(60) {
            input.extend_from_slice(pieces[next(kinds)]);
        }
        input.extend_from_slice(b"\r\n.\r\nQUIT\r\n");
        let bare = [BareNewlines::Refuse, BareNewlines::Normalise][round % 2];
        let whole = scan_as(bare, &input, 0);
        let mut scanner = Scanner::new(1_000_000, bare);
        let (mut body, mut consumed) = (Vec::new(), 0);
        for byte in &input {
            let mut piece = [*byte];
            let scanned = scanner.scan(&mut piece);
            body.extend_from_slice(scanned.body(&piece));
            consumed += scanned.consumed;
            if scanned.done {
                break;
            }
        }
        let rest = input[consumed..].to_vec();
        assert_eq!(whole, Some((body, scanner.summary(), rest)), "{}", input.escape_ascii());
    }
}

#[test]
fn limits_hold() {
    let mut scanner = Scanner::new(4, BareNewlines::Refuse);
    let mut input = b"12345678\r\n.\r\nrest".to_vec();
    let scanned = scanner.scan(&mut input);
    assert!(scanned.done);
    assert_eq!(kind(&scanner.summary()), Some(FaultKind::TooLarge(4)));
    assert_eq!((scanned.kept, scanned.consumed), (0, 13));
    let mut long = vec![b'x'; limits::TEXT_LINE_MAX + 1];
    long.extend_from_slice(b"\r\n.\r\n");
    assert_eq!(kind(&scan(&long, 100).unwrap().1), Some(FaultKind::LongLine(limits::TEXT_LINE_MAX)));
    assert!(scan("é\r\n.\r\n".as_bytes(), 1).unwrap().1.eight_bit);
}

/// RFC 5322 2.2.3: a line that begins with white space continues the field above it, and above it stands what we add.
#[test]
fn white_space_first_is_no_header() {
    for (input, header_length, hops) in [
        (&b" by evil.example\r\nReceived: x\r\n\r\nbody\r\n.\r\n"[..], 0, 0),
        (b"\tx\r\n.\r\n", 0, 0),
        (b".\tx\r\n.\r\n", 0, 0),
        (b" \r\n\r\n.\r\n", 0, 0),
        (b"\r\n x\r\n.\r\n", 2, 0),
        (b"a: b\r\n c\r\n\r\n.\r\n", 12, 0),
        // What a dot was dropped from is a field as it will be sent.
        (b".Received: x\r\n\r\n.\r\n", 15, 1),
        // RFC 5322 4.5: blanks before the colon are understood.
        (b"Received : x\r\nreceived\t : y\r\n\r\n.\r\n", 31, 2),
        (b"Receiv ed: x\r\n\r\n.\r\n", 0, 0),
    ] {
        for bare in [BareNewlines::Refuse, BareNewlines::Normalise] {
            for split in 0..input.len() {
                let (_, summary, _) = scan_as(bare, input, split).unwrap();
                assert_eq!(
                    (summary.header_length, summary.hops),
                    (header_length, hops),
                    "{}",
                    input.escape_ascii()
                );
            }
        }
    }
}

/// RFC 5322 2.2: a field is a name of printable ASCII, and a colon. What else stands first would be read as a broken part of the header.
#[test]
fn a_first_line_that_is_no_field_begins_the_body() {
    for (input, header_length, mailbox, hops) in [
        (&b"hello world\r\nReceived: x\r\n\r\n.\r\n"[..], 0, false, 0),
        (b"hello\r\n\r\nx\r\n.\r\n", 0, false, 0),
        (b": x\r\n\r\n.\r\n", 0, false, 0),
        (b"n\xc3\xa4: x\r\n\r\n.\r\n", 0, false, 0),
        (b"a\0: x\r\n\r\n.\r\n", 0, false, 0),
        (b"a b: x\r\n\r\n.\r\n", 0, false, 0),
        (b"-----BEGIN\r\na: b\r\n\r\n.\r\n", 0, false, 0),
        (b"From x@y Mon\r\na: b\r\nReceived: x\r\n\r\nbody\r\n.\r\n", 35, true, 1),
        (b">From x@y\r\na: b\r\n\r\n.\r\n", 19, true, 0),
        (b"From \r\n\r\n.\r\n", 9, true, 0),
        (b"from x@y\r\n\r\n.\r\n", 0, false, 0),
        (b"Fromage x\r\n\r\n.\r\n", 0, false, 0),
        // Fields, those of older mail with blanks in front of the colon too.
        (b"From: x\r\n\r\n.\r\n", 11, false, 0),
        (b"From : x\r\n\r\n.\r\n", 12, false, 0),
        (b"From \t: x\r\n\r\n.\r\n", 13, false, 0),
        (b"!#~: x\r\n y\r\n\r\nz\r\n.\r\n", 14, false, 0),
        (b"a:\r\n.\r\n", 4, false, 0),
        (b"..a: x\r\n\r\n.\r\n", 9, false, 0),
        (b"\r\nhello\r\n.\r\n", 2, false, 0),
        (b".\r\n", 0, false, 0),
    ] {
        for bare in [BareNewlines::Refuse, BareNewlines::Normalise] {
            for split in 0..input.len() {
                let (_, summary, _) = scan_as(bare, input, split).unwrap();
                assert_eq!(
                    (summary.header_length, summary.mailbox_line, summary.hops),
                    (header_length, mailbox, hops),
                    "{} at {split}",
                    input.escape_ascii()
                );
            }
        }
    }
}

/// Bare line ends become CRLF, and end nothing: body, and whether a dot of it must be doubled.
#[test]
fn bare_line_ends_are_normalised_at_every_split() {
    for (input, body, stuffed) in [
        (&b"a\nb\r\n.\r\n"[..], &b"a\r\nb\r\n"[..], false),
        (b"a\rb\r\n.\r\n", b"a\r\nb\r\n", false),
        (b"a\r\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", false),
        (b"a\n\rb\r\n.\r\n", b"a\r\n\r\nb\r\n", false),
        (b"\n\n\r\n.\r\n", b"\r\n\r\n\r\n", false),
        // Only CRLF.CRLF ends it; the others are lines of one dot, which is doubled on the way out.
        (b"a\n.\n\r\n.\r\n", b"a\r\n.\r\n\r\n", true),
        (b"a\n.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n", true),
        (b"a\r.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n", true),
        (b"a\r.\rb\r\n.\r\n", b"a\r\n.\r\nb\r\n", true),
        // 4.5.2: the dot behind CRLF is not part of the line.
        (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", false),
        (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\r\nb\r\n", false),
        (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\n\r\n", false),
        (b"a\n..b\r\n..c\r\n.\r\n", b"a\r\n..b\r\n.c\r\n", true),
        (b"\n.\r\n\r\n.\r\n", b"\r\n.\r\n\r\n", true),
    ] {
        let input = [input, b"QUIT\n"].concat();
        for split in 0..input.len() - 5 {
            let (got, summary, left) = scan_as(BareNewlines::Normalise, &input, split).unwrap();
            assert_eq!(
                got.escape_ascii().to_string(),
                body.escape_ascii().to_string(),
                "{} at {split}",
                input.escape_ascii()
            );
            assert_eq!((summary.needs_stuffing, summary.fault), (stuffed, None), "{}", input.escape_ascii());
            assert_eq!((summary.size, &left[..]), (body.len() as u64, &b"QUIT\n"[..]));
        }
    }
}

/// What is counted is counted of the message as it is stored.
#[test]
fn what_is_normalised_is_counted_as_stored() {
    let of = |input: &[u8], split| scan_as(BareNewlines::Normalise, input, split).unwrap().1;
    let header = b"Received: a\nreceived: b\rReceived: c\n\nReceived: d\n\r\n.\r\n";
    for split in 0..header.len() {
        let summary = of(header, split);
        assert_eq!((summary.hops, summary.header_length), (3, 13 * 3 + 2), "split {split}");
    }
    let mut scanner = Scanner::new(10, BareNewlines::Normalise);
    let mut input = b"\n\n\n\n\n\n\r\n.\r\n".to_vec();
    let scanned = scanner.scan(&mut input);
    assert!(scanned.done && scanner.summary().fault.is_some() && scanned.grown.len() <= 10);
    for (length, long) in [(limits::TEXT_LINE_MAX, false), (limits::TEXT_LINE_MAX + 1, true)] {
        let line = [b"a\n", &vec![b'x'; length][..], b"\nb\r\n.\r\n"].concat();
        assert_eq!(of(&line, 1000).fault.is_some(), long);
    }
    assert!(of("\né\r\n.\r\n".as_bytes(), 2).eight_bit);
}
