use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Canonicalization, FORMS, Random, canonical, hashes, text};

/// RFC 6376 3.4.3 and 3.4.4, word by word.
pub(super) fn naive(body: &[u8], form: Canonicalization) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut at = 0;
    while at < body.len() {
        if body[at..].starts_with(b"\r\n") {
            lines.push(Vec::new());
            at += 2;
        } else {
            lines.last_mut().unwrap().push(body[at]);
            at += 1;
        }
    }
    if form == Canonicalization::Relaxed {
        for line in &mut lines {
            line.iter_mut().filter(|byte| **byte == b'\t').for_each(|byte| *byte = b' ');
            line.dedup_by(|one, before| (*one, *before) == (b' ', b' '));
            while line.last() == Some(&b' ') {
                line.pop();
            }
        }
    }
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    if lines.is_empty() && form == Canonicalization::Simple {
        lines.push(Vec::new());
    }
    lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect()
}

#[test]
fn forms_of_a_body() {
    for (body, simple, relaxed) in [
        ("", "\r\n", ""),
        ("\r\n", "\r\n", ""),
        ("\r\n\r\n\r\n", "\r\n", ""),
        (" \t\r\n", " \t\r\n", ""),
        ("\r\n \r\n\t", "\r\n \r\n\t\r\n", ""),
        ("a", "a\r\n", "a\r\n"),
        ("a\r\n", "a\r\n", "a\r\n"),
        ("a\r\n\r\n \r\n\r\n", "a\r\n\r\n \r\n", "a\r\n"),
        ("a \r\n\r\n\t b", "a \r\n\r\n\t b\r\n", "a\r\n\r\n b\r\n"),
        ("a\tb  c", "a\tb  c\r\n", "a b c\r\n"),
        ("\r\n\r\na", "\r\n\r\na\r\n", "\r\n\r\na\r\n"),
        ("a \rb \nc\r", "a \rb \nc\r\r\n", "a \rb \nc\r\r\n"),
        ("é ü\r\n", "é ü\r\n", "é ü\r\n"),
        // RFC 6376 3.4.5
        (" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"),
    ] {
        for (form, expected) in FORMS.into_iter().zip([simple, relaxed]) {
            assert_eq!(text(&naive(body.as_bytes(), form)), expected, "{body:?} {form:?}");
            assert_eq!(text(&canonical([body.as_bytes()], form)), expected, "{body:?} {form:?}");
        }
    }
}

/// RFC 6376 3.4.3 and 3.4.4 name these.
#[test]
fn hashes_of_no_body() {
    let hashes = hashes(b"");
    let encoded = [hashes.simple, hashes.relaxed].map(|hash| STANDARD.encode(hash.unwrap()));
    assert_eq!(encoded[0], "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
    assert_eq!(encoded[1], "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

#[test]
fn many_empty_lines_are_counted_and_not_kept() {
    let lines = b"\r\n".repeat(10_000);
    for form in FORMS {
        let body = [b"a", lines.as_slice(), b"b", &lines].concat();
        assert_eq!(canonical(body.chunks(999), form), naive(&body, form));
    }
}

fn assert_any_split(body: &[u8], random: &mut Random) {
    for form in FORMS {
        let expected = naive(body, form);
        assert_eq!(canonical([body], form), expected, "{:?} {form:?}", text(body));
        assert_eq!(canonical(body.chunks(1), form), expected, "{:?} {form:?}", text(body));
        let every = if body.len() < 40 { 1 } else { 1 + random.below(body.len()) };
        for cut in (0..body.len()).step_by(every) {
            let (one, other) = body.split_at(cut);
            assert_eq!(canonical([one, other], form), expected, "{:?} at {cut} {form:?}", text(body));
        }
        let (mut pieces, mut rest) = (Vec::new(), body);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + random.below(90)).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(canonical(pieces, form), expected, "{:?} {form:?}", text(body));
    }
}

#[test]
fn any_split_gives_the_same() {
    const SHORT: [&[u8]; 9] = [b" ", b"\t", b"\r\n", b"\r\n", b"\r", b"\n", b"a", b"  ", b"\xa0\x89"];
    const LONG: [&[u8]; 12] = [
        b" ",
        b"\t",
        b"\r\n",
        b" \r\n",
        b"\r",
        b"\n",
        b"some words of text, ",
        b"   ",
        &[b'x'; 63],
        &[b'y'; 130],
        b"\0\xc3\xa0\x80\x89",
        b"\r\n\r\n \t\r\n",
    ];
    let mut random = Random(1);
    for _ in 0..20_000 {
        let body = random.text(&SHORT, 12);
        assert_any_split(&body, &mut random);
    }
    for _ in 0..3_000 {
        let body = random.text(&LONG, 40);
        assert_any_split(&body, &mut random);
    }
}
