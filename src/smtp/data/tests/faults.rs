//! What messages are refused for: every kind, whole and cut at every byte.

use super::super::*;
use crate::config::{LongLines, OddBytes};

/// All that a listener can refuse, and little of it taken.
fn strict() -> Content {
    Content {
        long_lines: LongLines::Refuse,
        nul: OddBytes::Refuse,
        eight_bit_headers: OddBytes::Refuse,
        final_newline: FinalNewline::Refuse,
        header_size_max: 3000,
        header_fields_max: 7,
    }
}

/// The summary of `text` cut in two, by DATA: a dot and CRLF stand behind it.
fn by_data(content: Content, bare: BareNewlines, text: &[u8], split: usize) -> Summary {
    let mut scanner = Scanner::judging(5000, bare, Some(Rc::new(content)));
    let sent = [text, b".\r\n"].concat();
    for piece in [&sent[..split], &sent[split..]] {
        let scanned = scanner.scan(&mut piece.to_vec());
        assert!(scanned.done || scanned.consumed == piece.len());
    }
    scanner.summary()
}

/// The same by BDAT, with what stands in the body then.
fn by_bdat(content: Content, bare: BareNewlines, text: &[u8], split: usize) -> (Vec<u8>, Summary) {
    let mut scanner = Scanner::judging(5000, bare, Some(Rc::new(content))).counted();
    let mut body = Vec::new();
    for piece in [&text[..split], &text[split..]] {
        let mut fresh = piece.to_vec();
        let scanned = scanner.scan(&mut fresh);
        assert_eq!((scanned.done, scanned.consumed), (false, piece.len()), "nothing ends it");
        body.extend_from_slice(scanned.body(&fresh));
    }
    body.extend_from_slice(scanner.finish());
    (body, scanner.summary())
}

fn cuts(text: &[u8]) -> impl Iterator<Item = usize> {
    let length = text.len();
    (0..=length).filter(move |place| length < 1500 || place % 97 < 2 || length - place < 4)
}

/// Which byte, in which line, and why; the same wherever the input was cut, and whichever command brought it.
#[test]
fn each_fault_is_told_with_its_place() {
    let long = |name: &str, length: usize| format!("{name}{}\r\n", "x".repeat(length - name.len()));
    let (good, received) = (long("", 998), "Received: x\r\n");
    let head = "A: b\r\n\r\n";
    for (text, kind, at, line) in [
        (format!("{head}one\rtwo\r\n"), FaultKind::BareCr, 12, 0),
        (format!("{head}\r\nx\n\r\n"), FaultKind::BareLf, 12, 0),
        ("A: b\r\nC: \nd\r\n\r\n".into(), FaultKind::BareLf, 10, 2),
        ("A: b\r\r\n".into(), FaultKind::BareCr, 5, 1),
        ("A\r: b\r\n".into(), FaultKind::BareCr, 2, 0),
        ("no field\n\r\n".into(), FaultKind::BareLf, 9, 0),
        (format!("{head}\0\r\nx\ry\r\n"), FaultKind::BareCr, 13, 0),
        (format!("{head}{good}{}", long("", 999)), FaultKind::LongLine(998), 1009, 0),
        (format!("A: b\r\n{}\r\n", long("S: ", 999)), FaultKind::LongLine(998), 7, 2),
        (long("A: ", 999), FaultKind::LongLine(998), 1, 1),
        (long("no field", 999), FaultKind::LongLine(998), 1, 0),
        (format!("{head}\0\r\n"), FaultKind::Nul, 9, 0),
        ("A: b\r\nC: \0\r\n\r\n".into(), FaultKind::Nul, 10, 2),
        ("A: b\r\n\0: x\r\n".into(), FaultKind::Nul, 7, 2),
        ("a\0: x\r\n".into(), FaultKind::Nul, 2, 0),
        ("A: b\r\n c\u{e4}\r\n\r\n\u{e4}\r\n".into(), FaultKind::EightBitHeader(0xc3), 9, 2),
        ("A: \u{e4}\r\n".into(), FaultKind::EightBitHeader(0xc3), 4, 1),
        (format!("{}B: c\r\n\r\n", "A: b\r\n c\r\n".repeat(7)), FaultKind::ManyFields(7), 71, 15),
        (format!("A: b\r\n{}", " c\r\n".repeat(800)), FaultKind::LongHeader(3000), 3001, 0),
        (format!("{head}{good}{good}{good}{good}{good}"), FaultKind::TooLarge(5000), 5001, 0),
    ] {
        for cut in cuts(text.as_bytes()) {
            let told = Some(Fault { kind, at, line });
            let found = by_data(strict(), BareNewlines::Refuse, text.as_bytes(), cut).fault;
            assert_eq!(found, told, "{text:?} cut at {cut}");
            let found = by_bdat(strict(), BareNewlines::Refuse, text.as_bytes(), cut).1.fault;
            assert_eq!(found, told, "{text:?} cut at {cut}, by BDAT");
        }
    }
    let text = format!("A: b\r\n{}\r\n", received.repeat(limits::HOPS_MAX as usize + 2));
    let told = Some(Fault { kind: FaultKind::Loop, at: 6 + 13 * 100 + 1, line: 102 });
    for cut in cuts(text.as_bytes()) {
        let found = by_data(Content::default(), BareNewlines::Refuse, text.as_bytes(), cut).fault;
        assert_eq!(found, told, "cut at {cut}");
    }
}

/// What is no fault for the usual listener, and what a body may have anywhere.
#[test]
fn what_is_taken() {
    let long = format!("S: {}\r\n\r\n{}\r\n", "x".repeat(2000), "y".repeat(2000));
    for (content, text) in [
        (Content::default(), long.as_str()),
        (Content::default(), "A: \0\u{e4}\r\n\r\n\0\r\n"),
        (strict(), "A: b\r\n\r\n\u{e4}\u{e4}\r\n.\r\n..\r\n"),
        (strict(), "A: b\r\n c\r\n\td\r\n\r\nx\r\n"),
        (strict(), "no field\u{e4}\r\n"),
        (strict(), "\r\n\u{e4}\r\n"),
        (strict(), ""),
    ] {
        for bare in [BareNewlines::Refuse, BareNewlines::Normalise] {
            for cut in cuts(text.as_bytes()) {
                let (body, summary) = by_bdat(content, bare, text.as_bytes(), cut);
                assert_eq!((summary.fault, &body[..]), (None, text.as_bytes()), "{text:?} cut at {cut}");
                assert_eq!(summary.size, text.len() as u64);
                let dots = text.starts_with('.') || text.contains("\n.");
                assert_eq!((summary.needs_stuffing, summary.eight_bit), (dots, !text.is_ascii()), "{text:?}");
            }
        }
    }
}

/// A message that is refused is the same wherever it was cut, too.
#[test]
fn dots_behind_bare_line_ends_are_no_dots() {
    for text in [&b"a@\n.\r\n"[..], b"A: b\r\n\r\nc\n.d\r\n.\r\n", b"x\r.\r\ny\r\n"] {
        let whole = by_bdat(Content::USUAL, BareNewlines::Refuse, text, 0);
        for cut in cuts(text) {
            let found = by_bdat(Content::USUAL, BareNewlines::Refuse, text, cut);
            assert_eq!(found, whole, "{} cut at {cut}", text.escape_ascii());
        }
    }
}

/// Where long lines are folded it is known which: of the header, or where one of the body begins.
#[test]
fn lines_that_are_to_be_folded_are_noticed() {
    let fold = Content { long_lines: LongLines::Fold, ..Content::default() };
    let long = "x".repeat(1500);
    for (text, header, body) in [
        (format!("A: b\r\n\r\n{long}\r\n"), 0, 9),
        (format!("A: b\r\n\r\nc\r\n{long}\r\n{long}\r\n"), 0, 12),
        (format!("A: {long}\r\n\r\nc\r\n"), 1, 0),
        (format!("A: b\r\nC: {long}\r\n\r\n{long}\r\n"), 7, 1514),
        (format!("no field {long}\r\n"), 0, 1),
        (format!("A: {}\r\n\r\n{}\r\n", &long[..995], &long[..998]), 0, 0),
    ] {
        for cut in cuts(text.as_bytes()) {
            let summary = by_data(fold, BareNewlines::Refuse, text.as_bytes(), cut);
            let found = (summary.fault, summary.long_header, summary.long_body);
            assert_eq!(found, (None, header, body), "{}... cut at {cut}", &text[..20]);
            let told = [header, body].into_iter().find(|at| *at > 0);
            let kind = FaultKind::LongLine(limits::TEXT_LINE_PROPER);
            assert_eq!(summary.refusal(), told.map(|at| Fault { kind, at, line: 0 }), "nothing was done");
        }
    }
    let endless = format!("A: b\r\n\r\n{}\r\n", "x".repeat(limits::TEXT_LINE_MAX + 1));
    let mut scanner = Scanner::judging(1 << 20, BareNewlines::Refuse, Some(Rc::new(fold)));
    scanner.scan(&mut endless.into_bytes());
    let told = Fault { kind: FaultKind::LongLine(limits::TEXT_LINE_MAX), at: 9, line: 0 };
    assert_eq!(scanner.summary().fault, Some(told));
}

/// RFC 3030 section 2: there is no dot at the end, so there may be no line end either.
#[test]
fn a_counted_message_may_end_within_a_line() {
    let ended = |bare, final_newline, text: &[u8]| {
        let content = Content { final_newline, ..Content::default() };
        let whole = by_bdat(content, bare, text, 0);
        for cut in cuts(text) {
            assert_eq!(by_bdat(content, bare, text, cut), whole, "{} cut at {cut}", text.escape_ascii());
        }
        let (body, summary) = whole;
        (String::from_utf8(body).unwrap(), summary.fault.map(|fault| (fault.kind, fault.at)))
    };
    use BareNewlines::{Normalise, Refuse};
    use FinalNewline::Add;
    for bare in [Refuse, Normalise] {
        assert_eq!(ended(bare, Add, b"A: b\r\n\r\n.x"), ("A: b\r\n\r\n.x\r\n".into(), None));
        assert_eq!(ended(bare, Add, b"A: b"), ("A: b\r\n".into(), None));
        assert_eq!(ended(bare, Add, b"A: b\r\n"), ("A: b\r\n".into(), None));
        let refused = ended(bare, FinalNewline::Refuse, b"A: b\r\n\r\nx");
        assert_eq!(refused, ("A: b\r\n\r\nx".into(), Some((FaultKind::Unended, 9))));
    }
    assert_eq!(ended(Refuse, Add, b"x\r").1, Some((FaultKind::BareCr, 2)));
    assert_eq!(ended(Normalise, FinalNewline::Refuse, b"A: b\r\n\r"), ("A: b\r\n\r\n".into(), None));
    assert_eq!(ended(Normalise, Add, b"A: b\n.\n"), ("A: b\r\n.\r\n".into(), None));
}

/// Each says which byte, where, and by which RFC, in one line that a client can take (RFC 5321 4.5.3.1.5).
#[test]
fn replies_say_where_and_why() {
    let kinds = [
        (FaultKind::BareCr, "550 5.6.11 ", "bare_newline"),
        (FaultKind::BareLf, "550 5.6.11 ", "bare_newline"),
        (FaultKind::TooLarge(u64::MAX), "552 5.3.4 ", "too_large"),
        (FaultKind::LongLine(limits::TEXT_LINE_MAX), "550 5.6.0 ", "line_too_long"),
        (FaultKind::LongHeader(u64::MAX), "552 5.3.4 ", "too_large"),
        (FaultKind::ManyFields(u32::MAX), "552 5.3.4 ", "too_large"),
        (FaultKind::Nul, "550 5.6.0 ", "content"),
        (FaultKind::EightBitHeader(0xe4), "550 5.6.0 ", "content"),
        (FaultKind::Loop, "554 5.4.6 ", "loop"),
        (FaultKind::Unended, "550 5.6.0 ", "content"),
    ];
    for (kind, codes, reason) in kinds {
        let fault = Fault { kind, at: 1234, line: 56 };
        let (reply, elsewhere) = (fault.reply(), Fault { line: 0, ..fault }.reply());
        assert!(reply.starts_with(codes) && reply.contains("RFC ") && reply.len() <= 512, "{reply}");
        let is_of_all = matches!(kind, FaultKind::TooLarge(_));
        assert!(
            is_of_all || (reply.contains("byte 1234, line 56") && !elsewhere.contains("line 56")),
            "{reply}"
        );
        assert_eq!(fault.reason().word(), reason);
    }
    assert_eq!(
        Fault { kind: FaultKind::BareLf, at: 1234, line: 0 }.to_string(),
        "550 5.6.11 Bare LF (0x0a) in the message at byte 1234; lines end with CRLF (RFC 5321 section 2.3.8)"
    );
}
