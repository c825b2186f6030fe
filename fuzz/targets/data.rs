//! The text after DATA, against a reader of whole inputs that is too simple to be wrong.

use std::rc::Rc;

use relevo::config::{BareNewlines, Content, FinalNewline, LongLines, OddBytes};
use relevo::limits;
use relevo::smtp::client::stuff;
use relevo::smtp::data::{Fault, FaultKind, Scanner, Summary};

use super::input::{Input, splits};

struct Found {
    body: Vec<u8>,
    summary: Summary,
    consumed: usize,
    done: bool,
}

fn scan(pieces: &[&[u8]], size_max: u64, bare: BareNewlines, content: Option<Content>) -> Found {
    let mut scanner = Scanner::judging(size_max, bare, content.map(Rc::new));
    let (mut body, mut consumed, mut done) = (Vec::new(), 0, false);
    for piece in pieces {
        let mut piece = piece.to_vec();
        let before = piece.clone();
        let scanned = scanner.scan(&mut piece);
        assert!(scanned.kept <= scanned.consumed && scanned.consumed <= piece.len());
        assert_eq!(piece[scanned.consumed..], before[scanned.consumed..], "pipelined input was touched");
        assert!(scanned.done || scanned.consumed == piece.len(), "the scanner stands still");
        assert!(scanned.grown.len() <= 2 * piece.len() + 1, "the body grows without bound");
        body.extend_from_slice(scanned.body(&piece));
        consumed += scanned.consumed;
        if scanned.done {
            done = true;
            break;
        }
    }
    Found { body, summary: scanner.summary(), consumed, done }
}

/// The same by BDAT, where the whole input is the message.
fn scan_counted(pieces: &[&[u8]], size_max: u64, bare: BareNewlines, content: Option<Content>) -> Found {
    let mut scanner = Scanner::judging(size_max, bare, content.map(Rc::new)).counted();
    let (mut body, mut consumed) = (Vec::new(), 0);
    for piece in pieces {
        let mut fresh = piece.to_vec();
        let scanned = scanner.scan(&mut fresh);
        assert!(!scanned.done && scanned.consumed == piece.len(), "something ends it");
        body.extend_from_slice(scanned.body(&fresh));
        consumed += scanned.consumed;
    }
    body.extend_from_slice(scanner.finish());
    Found { body, summary: scanner.summary(), consumed, done: true }
}

/// All that a listener can refuse.
const STRICT: Content = Content {
    long_lines: LongLines::Refuse,
    nul: OddBytes::Refuse,
    eight_bit_headers: OddBytes::Refuse,
    utf8_headers: false,
    final_newline: FinalNewline::Refuse,
    header_size_max: 300,
    header_fields_max: 8,
};

/// A fault lies where it is said to be.
fn assert_fault(fault: Option<Fault>, body: &[u8]) {
    let Some(Fault { kind, at, line: _ }) = fault else { return };
    let place = (at as usize).checked_sub(1).expect("bytes are counted from 1");
    let begins = place == 0 || body.get(..place).is_some_and(|before| before.ends_with(b"\n"));
    match kind {
        FaultKind::BareLf => assert!(body[place] == b'\n' && (place == 0 || body[place - 1] != b'\r')),
        // One behind a dot that was dropped is not kept, and the place is that of what follows.
        FaultKind::BareCr => assert!(place <= body.len()),
        FaultKind::Nul => assert_eq!(body[place], 0),
        FaultKind::EightBitHeader(byte) | FaultKind::NotUtf8(byte) => {
            assert!(body[place] == byte && byte > 127)
        }
        FaultKind::LongLine(most) => {
            assert!(begins && !body[place..].iter().take(most + 1).any(|byte| *byte == b'\n'));
        }
        FaultKind::ManyFields(_) | FaultKind::Loop => assert!(begins),
        FaultKind::TooLarge(most) | FaultKind::LongHeader(most) => assert_eq!(at, most + 1),
        FaultKind::Unended => assert_eq!(place + 1, body.len()),
    }
}

/// What the input means by RFC 5321 4.1.1.4 and 4.5.2. None: it does not end.
struct Meaning {
    body: Vec<u8>,
    consumed: usize,
    bare: bool,
    longest: usize,
    hops: u32,
    header_length: usize,
}

fn meaning(input: &[u8], bare: BareNewlines) -> Option<Meaning> {
    let mut found =
        Meaning { body: Vec::new(), consumed: 0, bare: false, longest: 0, hops: 0, header_length: 0 };
    loop {
        let rest = &input[found.consumed..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &rest[..end];
        found.consumed += end + 2;
        if line == b"." {
            break;
        }
        let text = line.strip_prefix(b".").unwrap_or(line);
        for byte in text {
            match byte {
                b'\r' | b'\n' if bare == BareNewlines::Normalise => found.body.extend_from_slice(b"\r\n"),
                byte => {
                    found.bare |= matches!(byte, b'\r' | b'\n');
                    found.body.push(*byte);
                }
            }
        }
        found.body.extend_from_slice(b"\r\n");
    }
    let first = found.body.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut in_header = first.is_empty() || is_field(first) || is_of_mailbox(first);
    let mut rest = &found.body[..];
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = &rest[..end];
        found.longest = found.longest.max(end);
        if in_header {
            in_header = !line.is_empty();
            found.header_length += end + 2;
            let hop = line.get(..9).is_some_and(|name| name.eq_ignore_ascii_case(b"received:"));
            found.hops += u32::from(hop);
        }
        rest = &rest[end + 2..];
    }
    Some(found)
}

/// RFC 5322 2.2, and blanks before the colon (4.5).
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
    let blanks = line[..colon].iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let name = &line[..colon - blanks];
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// The line that stands before each message in a mailbox file.
fn is_of_mailbox(line: &[u8]) -> bool {
    let quoted = line.iter().take_while(|byte| **byte == b'>').count();
    line[quoted..].starts_with(b"From ")
}

/// What is found does not depend on the cuts, is what the input means, and survives the way to the next hop.
pub fn data(data: &[u8]) {
    let mut input = Input(data);
    let choices = input.piece(8);
    let choice = input.byte();
    let size_max = if choice == 0 { 100 } else { 1 << 20 };
    let bare = if choice & 2 == 0 { BareNewlines::Refuse } else { BareNewlines::Normalise };
    let content = (choice & 4 != 0).then_some(STRICT);
    let input = input.0;
    let ways = splits(input, choices);
    counted(&ways, size_max, bare, content);
    let whole = scan(&ways[0], size_max, bare, content);
    for way in &ways[1..] {
        let cut = scan(way, size_max, bare, content);
        assert_eq!((cut.done, cut.consumed), (whole.done, whole.consumed));
        if whole.done && whole.summary.size <= size_max {
            assert_eq!((cut.summary, &cut.body), (whole.summary, &whole.body));
        }
        if whole.done {
            assert_eq!(cut.summary.fault, whole.summary.fault);
        }
    }
    let Some(meant) = meaning(input, bare) else {
        assert!(!whole.done, "an end was found that is none");
        return;
    };
    assert!(whole.done, "the end was not found");
    let summary = whole.summary;
    assert_eq!(whole.consumed, meant.consumed);
    let kind = summary.fault.map(|fault| fault.kind);
    if summary.size <= size_max {
        assert_fault(summary.fault, &whole.body);
    }
    assert_eq!(summary.fault.is_some_and(|fault| fault.is_bare()), meant.bare);
    if meant.bare {
        // It is refused, whatever else is known of it.
        return;
    }
    assert_eq!(summary.size, meant.body.len() as u64);
    assert_eq!(kind == Some(FaultKind::TooLarge(size_max)), summary.size > size_max);
    assert_eq!((summary.hops, summary.header_length), (meant.hops, meant.header_length as u64));
    if summary.size > size_max {
        assert!(whole.body.len() as u64 <= size_max);
        return;
    }
    let most = if content.is_some() { limits::TEXT_LINE_PROPER } else { limits::TEXT_LINE_MAX };
    assert_eq!(kind == Some(FaultKind::LongLine(most)), meant.longest > most);
    let nul = meant.body.contains(&0) && content.is_some();
    assert!(kind.is_some() || !nul);
    assert_eq!(whole.body, meant.body);
    assert_eq!(summary.eight_bit, !meant.body.is_ascii());
    let dots = meant.body.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"."));
    assert_eq!(summary.needs_stuffing, dots);
    assert_round_trip(&meant.body);
}

/// By BDAT nothing depends on the cuts either, and what is taken is what came, with its last line ended.
fn counted(ways: &[Vec<&[u8]>], size_max: u64, bare: BareNewlines, content: Option<Content>) {
    let whole = scan_counted(&ways[0], size_max, bare, content);
    for way in &ways[1..] {
        let cut = scan_counted(way, size_max, bare, content);
        assert_eq!(cut.summary.fault, whole.summary.fault);
        // Where a line begins behind a bare line end is nobody's concern: the message is refused.
        let plain = |summary: Summary| {
            let refused = summary.fault.is_some_and(|fault| fault.is_bare());
            Summary { needs_stuffing: summary.needs_stuffing && !refused, ..summary }
        };
        if whole.summary.size <= size_max {
            assert_eq!((plain(cut.summary), &cut.body), (plain(whole.summary), &whole.body));
        }
    }
    let Found { body, summary, .. } = whole;
    if summary.size > size_max {
        return;
    }
    assert_fault(summary.fault, &body);
    if let Some(Fault { kind: FaultKind::BareCr, at, .. }) = summary.fault {
        assert!(body[at as usize - 1] == b'\r' && body.get(at as usize) != Some(&b'\n'));
    }
    assert_eq!(summary.size, body.len() as u64);
    if summary.fault.is_none() {
        let input = ways[0].concat();
        assert!(body.is_empty() || body.ends_with(b"\r\n"));
        assert!(bare == BareNewlines::Normalise || body.starts_with(&input) && body.len() <= input.len() + 2);
        let dots = body.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"."));
        assert_eq!((summary.needs_stuffing, summary.eight_bit), (dots, !body.is_ascii()));
        assert_round_trip(&body);
    }
}

/// A canonical body, stuffed and scanned again.
fn assert_round_trip(body: &[u8]) {
    let mut wire = Vec::new();
    stuff(body, true).for_each(|piece| wire.extend_from_slice(piece));
    wire.extend_from_slice(b".\r\n");
    let again = scan(&[&wire], u64::MAX, BareNewlines::Refuse, None);
    assert!(again.done && again.consumed == wire.len());
    assert_eq!(again.body, body);
    assert_eq!(again.summary.fault.filter(Fault::is_bare), None);
    // Cut in two at a line's end, as a body of several extents is.
    if let Some(place) = body.windows(2).position(|pair| pair == b"\r\n") {
        let mut pieces = Vec::new();
        stuff(&body[..place + 2], true).for_each(|piece| pieces.extend_from_slice(piece));
        stuff(&body[place + 2..], true).for_each(|piece| pieces.extend_from_slice(piece));
        pieces.extend_from_slice(b".\r\n");
        assert_eq!(pieces, wire);
    }
}
