//! Messages are encoded, and read back by decoders of their own.

use super::*;

/// The plan, made from pieces of `step` bytes.
fn plan(message: &[u8], step: usize) -> Result<Plan, Unfit> {
    let mut survey = Survey::default();
    message.chunks(step).for_each(|piece| survey.read(piece));
    survey.finish()
}

fn rewrite(message: &[u8], plan: &Plan, step: usize) -> Vec<u8> {
    let (mut rewriter, mut out) = (Rewriter::new(plan), Vec::new());
    message.chunks(step).for_each(|piece| rewriter.write(piece, &mut out));
    rewriter.finish(&mut out);
    out
}

/// Encodes at many splits and checks what holds of every result.
fn convert(message: &[u8]) -> Result<Vec<u8>, Unfit> {
    let whole = plan(message, message.len().max(1))?;
    let out = rewrite(message, &whole, message.len().max(1));
    for step in [1, 2, 7, 100] {
        assert_eq!(plan(message, step), Ok(whole.clone()), "{step}");
        assert_eq!(rewrite(message, &whole, step), out, "{step}");
    }
    assert!(out.is_ascii(), "{}", out.escape_ascii());
    assert!(out.ends_with(b"\r\n"));
    assert_eq!(convert_once(&out), Ok(out.clone()), "what is 7-bit stays as it is");
    Ok(out)
}

fn convert_once(message: &[u8]) -> Result<Vec<u8>, Unfit> {
    Ok(rewrite(message, &plan(message, 1000)?, 1000))
}

fn unquote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, rest) {
            (b'=', [b'\r', b'\n', ..]) => rest = &rest[2..],
            (b'=', [high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &rest[2..];
            }
            _ => out.push(*byte),
        }
    }
    out
}

fn unbase(text: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text
        .iter()
        .filter_map(|byte| DIGITS.iter().position(|digit| digit == byte))
        .map(|digit| digit as u32)
        .collect();
    let mut out = Vec::new();
    for four in digits.chunks(4) {
        let bits = four.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - four.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}

/// What follows the empty line.
fn body(message: &[u8]) -> &[u8] {
    let at = memchr::memmem::find(message, b"\r\n\r\n").expect("a header section");
    &message[at + 4..]
}

#[test]
fn quoted_printable_comes_back() {
    let bytes: Vec<u8> = (0..=255).collect();
    let mut random = 7u32;
    let mut next = |bound: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % bound
    };
    for round in 0..400 {
        let mut text = Vec::new();
        for _ in 0..next(300) {
            match next(6) {
                0 => text.extend_from_slice(b"\r\n"),
                1 => text.push(b" \t.-=\r\n"[next(7) as usize]),
                2 => text.push(bytes[next(256) as usize]),
                _ => text.extend(std::iter::repeat_n(b'x', next(90) as usize)),
            }
        }
        let (mut encoder, mut out) = (QuotedPrintable::default(), Vec::new());
        text.chunks(1 + round % 50).for_each(|piece| encoder.write(piece, &mut out));
        encoder.finish(&mut out);
        assert_eq!(unquote(&out), text);
        for line in out.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            assert!(line.len() <= 76 && !line.starts_with(b"-") && !line.starts_with(b"."));
            assert!(!line.ends_with(b" ") && !line.ends_with(b"\t"), "{}", line.escape_ascii());
            assert!(line.iter().all(|byte| matches!(byte, b'\t' | 32..=126)), "{}", line.escape_ascii());
        }
        let (mut encoder, mut out) = (Base64::default(), Vec::new());
        text.chunks(1 + round % 50).for_each(|piece| encoder.write(piece, &mut out));
        encoder.finish(&mut out);
        assert_eq!(unbase(&out), text);
        assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
    }
}

#[test]
fn a_plain_message() {
    let text = "Subject: x\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n--x\r\n".as_bytes();
    let out = convert(text).unwrap();
    let expected = b"Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=unknown-8bit\r\n\r\nGr=C3=BC=C3=9Fe\r\n=2E\r\n=2D-x\r\n";
    assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn a_declared_part_keeps_its_other_fields() {
    let text = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding:\r\n 8bit\r\nX: y\r\n\r\n\xe4\xb8\xad\r\n";
    let out = convert(text).unwrap();
    let expected = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\nX: y\r\n\r\n=E4=B8=AD\r\n";
    assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn parts_are_encoded_each_by_its_type() {
    let text = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\" (comment; x)\r\n\
        Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n--a b\r\n\r\nplain\r\n--a b  \r\n\
        Content-Type: application/x-raw\r\n\r\n\xff\x00\r\n\r\n--a b\r\nContent-Type: message/rfc822\r\n\
        Content-Transfer-Encoding: binary\r\n\r\nSubject: inner\r\n\r\n\xe9\r\n--a b--\r\nepilogue\r\n";
    let out = convert(text).unwrap();
    let expected =
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\" (comment; x)\r\n\
        Content-Transfer-Encoding: 7bit\r\n\r\npreamble\r\n--a b\r\n\r\nplain\r\n--a b  \r\n\
        Content-Type: application/x-raw\r\nContent-Transfer-Encoding: base64\r\n\r\n/wANCg==\r\n--a b\r\n\
        Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: inner\r\n\
        Content-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=unknown-8bit\r\n\r\n=E9\r\n--a b--\r\nepilogue\r\n";
    assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn lines_that_are_too_long_are_encoded_with_it() {
    let long = "x".repeat(3000);
    let text = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\
         {long}\r\n--b\r\nContent-Type: text/plain\r\n\r\n\u{e9}\r\n--b--\r\n"
    );
    let out = convert(text.as_bytes()).unwrap();
    assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= 999));
    assert!(unquote(body(&out)).windows(3000).any(|window| window == long.as_bytes()));
}

/// Base64 in lines that are too long is cut anew; not where something else stands in it, which could become a boundary.
#[test]
fn lines_of_base64_become_shorter() {
    let part = |text: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\n\r\n--b\r\n\
             Content-Transfer-Encoding: Base64 (x)\r\nContent-Type: image/png\r\n\r\n{text}\r\n--b--\r\n"
        )
    };
    let long = "QUJD".repeat(500);
    let out = String::from_utf8(convert(part(&long).as_bytes()).unwrap()).unwrap();
    assert!(out.split("\r\n").all(|line| line.len() <= 76), "{out}");
    assert_eq!(out.replace("\r\n", ""), part(&long).replace("\r\n", ""));
    assert!(out.ends_with("QUJD\r\n--b--\r\n"), "{out}");
    let alone = format!("Content-Transfer-Encoding: base64\r\n\r\n{long}=\r\n\r\n");
    let out = String::from_utf8(convert(alone.as_bytes()).unwrap()).unwrap();
    assert!(out.split("\r\n").all(|line| line.len() <= 76) && out.ends_with("QUJD=\r\n"), "{out}");
    for text in
        [part(&format!("{}{long}--b\r\n{long}", "A".repeat(76))), part(&format!("{long}\r\n--c\r\nA"))]
    {
        assert_eq!(plan(text.as_bytes(), 100), Ok(Plan::default()));
    }
}

/// Before a message is signed: its body is encoded, though its header section has 8-bit text that nobody can.
#[test]
fn a_body_is_encoded_below_an_eight_bit_header() {
    let of_body = |message: &str| {
        let mut survey = Survey::of_body();
        message.as_bytes().chunks(3).for_each(|piece| survey.read(piece));
        survey.finish().map(|plan| String::from_utf8(rewrite(message.as_bytes(), &plan, 5)).unwrap())
    };
    let head = "From: a@b\r\nSubject: Gr\u{fc}\u{df}e\r\n \u{e9}\r\nMIME-Version: 1.0\r\n";
    let long = "x".repeat(999);
    for text in ["\u{e9}", &long] {
        let out =
            of_body(&format!("{head}Content-Type: text/plain; name=\"\u{e9}\"\r\n\r\n{text}\r\n")).unwrap();
        assert!(
            out.starts_with(head) && body(out.as_bytes()).is_ascii() && out.contains("quoted-printable"),
            "{out}"
        );
        assert!(out.split("\r\n").all(|line| line.len() <= 998));
    }
    let parts = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Description: \u{e9}\r\n\r\n\u{e9}\r\n--b--\r\n";
    assert!(of_body(&format!("{head}{parts}")).is_err(), "that of a part is in the body");
    assert!(
        of_body("Content-Type: multipart/mixed; boundary=\"\u{e9}\"\r\n\r\n--\u{e9}\r\n\r\n\u{e9}\r\n")
            .is_err()
    );
}

#[test]
fn what_is_seven_bit_stays() {
    for text in [
        "",
        "Subject: x\r\n",
        "Subject: x\r\n\r\n",
        "\r\n\r\n",
        "Content-Transfer-Encoding: 8bit\r\n\r\nx\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
    ] {
        assert_eq!(plan(text.as_bytes(), 5), Ok(Plan::default()), "{text}");
    }
}

#[test]
fn what_cannot_be_changed_is_left() {
    let part = |head: &str, text: &str| {
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{head}\r\n{text}\r\n--b--\r\n")
    };
    let deep = (0..40)
        .map(|depth| format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n"));
    for text in [
        "Subject: \u{e9}\r\n\r\nx\r\n".to_owned(),
        "Subject: x\r\nno field\r\n\r\n\u{e9}\r\n".into(),
        " folded first\r\n\r\n\u{e9}\r\n".into(),
        "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n\u{e9}\r\n".into(),
        "Content-Type: multipart/mixed\r\n\r\n\u{e9}\r\n".into(),
        "Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\n\u{e9}\r\n".into(),
        "Content-Type: multipart/mixed; boundary*=a\r\n\r\n--a\r\n\r\n\u{e9}\r\n".into(),
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n\u{e9}\r\n--a\r\n\r\nx\r\n--a--\r\n".into(),
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n\u{e9}\r\n".into(),
        "Content-Type: multipart/signed; boundary=a\r\n\r\n--a\r\n\r\n\u{e9}\r\n--a--\r\n".into(),
        "Content-Type: multipart/signed; boundary=a\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\r\nX: y\r\n\r\n\u{e9}\r\n"
            .into(),
        part("Content-Transfer-Encoding: base64\r\n", "\u{e9}"),
        part("Content-Transfer-Encoding: x-uuencode\r\n", "\u{e9}"),
        part("Content-Type: message/partial\r\n", "\u{e9}"),
        part("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n", "\u{e9}"),
        part("Content-Description: \u{e9}\r\n", "x"),
        deep.collect::<String>() + "\r\n\u{e9}\r\n",
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}\u{e9}\r\n", "--b\r\n\r\n".repeat(1100)),
        format!("Content-Type: multipart/mixed;\r\n{}", " x=y;\r\n".repeat(5000)),
    ] {
        assert!(plan(text.as_bytes(), 9).is_err(), "{text}");
    }
    // A signed part without 8-bit text does not keep the rest from being encoded, and is not touched.
    let signed = "Content-Type: multipart/signed; boundary=s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--s\r\n\
        Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nsigned\r\n--s\r\n\r\nsignature\r\n--s--\r\n";
    let both = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{signed}--b\r\n\r\n\u{e9}\r\n--b--\r\n"
    );
    let out = String::from_utf8(convert(both.as_bytes()).unwrap()).unwrap();
    assert!(
        out.contains("Content-Transfer-Encoding: 8bit\r\n\r\nsigned\r\n--s\r\n\r\nsignature\r\n--s--\r\n"),
        "{out}"
    );
}

#[test]
fn an_outer_boundary_ends_inner_parts() {
    let text = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\n\
        Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\n\u{e9}\r\n--out\r\n\r\n\u{e8}\r\n--in\r\n";
    let out = String::from_utf8(convert(text.as_bytes()).unwrap()).unwrap();
    assert!(out.contains("=C3=A9\r\n--out\r\n"), "{out}");
    assert!(out.ends_with("=C3=A8\r\n=2D-in\r\n"), "a boundary that is closed is text: {out}");
}
