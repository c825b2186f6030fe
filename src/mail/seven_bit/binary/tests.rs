//! Binary messages, cut everywhere.

use super::*;

/// What becomes of a message, whole and cut in two at every byte; or why nothing does.
fn converted(message: &[u8]) -> Result<Vec<u8>, &'static str> {
    let convert = |pieces: &[&[u8]]| {
        let (mut converter, mut out) = (Converter::default(), Vec::new());
        pieces.iter().for_each(|piece| converter.write(piece, &mut out));
        converter.finish(&mut out);
        converter.unfit().map_or(Ok(out), Err)
    };
    let whole = convert(&[message]);
    for cut in 0..message.len().min(2000) {
        let (one, other) = message.split_at(cut);
        let in_two = convert(&[one, other]);
        assert_eq!(in_two, whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = message.chunks(1).collect();
    assert_eq!(convert(&single), whole, "byte by byte");
    whole
}

fn text(message: &[u8]) -> String {
    String::from_utf8(converted(message).expect("it can be converted")).expect("text")
}

/// All that a text line must not have.
const ODD: &[u8] = b"\r\n.\r\n\0\n.\n\r.\r\xff\r\r\n\n--b \r\n\r\n--bx\r\n--b-\r\n\n--b\r\n";

#[test]
fn a_binary_part_becomes_base64() {
    let head = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    let parts: &[u8] = b"preamble\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Transfer-Encoding:\r\n BINARY (x)\r\nContent-Type: image/x\r\n\r\n";
    let image = &ODD[..ODD.len() - 10];
    let image = [image, b"--bx\r\n\n--b\r\n"].concat();
    let image = image.strip_suffix(b"\n--b\r\n").unwrap();
    let message = [head, parts, image, b"\r\n--b--\r\nend\r\n"].concat();
    let text = text(&message);
    assert!(text.is_ascii() && !text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{text:?}");
    let mut expected = Vec::new();
    let mut encoder = Base64::default();
    // A line that delimits is none of the part: it ends where the first one stands.
    let end = memchr::memmem::find(image, b"\r\n--b \r\n").unwrap_or(image.len());
    encoder.write(&image[..end], &mut expected);
    encoder.finish(&mut expected);
    let expected = String::from_utf8(expected).unwrap();
    let begin = "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Transfer-Encoding: base64\r\nContent-Type: image/x\r\n\r\n";
    assert!(text.starts_with(&format!("{begin}{expected}\r\n--b")), "{text:?}");
    assert!(text.ends_with("\r\n--b--\r\nend\r\n"), "{text:?}");
}

#[test]
fn a_message_that_is_binary_itself() {
    for (content, coded) in [
        (&b""[..], "\r\n"),
        (b"\0", "AA==\r\n"),
        (b"a\n", "YQo=\r\n"),
        (b"\r", "DQ==\r\n"),
        (b"\r\n", "DQo=\r\n"),
        (b"\r\n.\r\n", "DQouDQo=\r\n"),
        (b"--\r\n--x", "LS0NCi0teA==\r\n"),
    ] {
        let message = [b"Content-Transfer-Encoding: binary\r\nX: y\r\n\r\n", content].concat();
        let text = text(&message);
        assert_eq!(
            text,
            format!("Content-Transfer-Encoding: base64\r\nX: y\r\n\r\n{coded}")
                .replace("\r\n\r\n\r\n", "\r\n\r\n")
        );
    }
}

#[test]
fn what_is_text_passes_byte_for_byte() {
    let header = format!(
        "X: {}\r\nY: z\r\n y{}\r\n\r\n",
        "y".repeat(2 * limits::MIME_FIELD_MAX),
        "z".repeat(limits::MIME_FIELD_MAX)
    );
    let long = [b"X: y\r\n\r\n".to_vec(), b"l".repeat(5000), b"\r\nend".to_vec()].concat();
    for message in [
        &b""[..],
        b"X",
        b"X: y\r\n",
        b"X: y\r\n\r\nbody\r\n",
        b"X: y\r\n\r\nbody",
        b"\r\nbody\r\n",
        b"X: y\r\n\r\n\0\r\n.\r\nbare \n and \r here\r\n",
        b"Content-Transfer-Encoding: 8bit\r\nA: b\r\n\r\n\xff\r\n",
        b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n\r\nYQ==\r\n",
        b"DKIM-Signature: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n--b--\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n--b--\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\nx\n--b\nContent-Transfer-Encoding: binary\n\n\0",
        b"Content-Type: message/rfc822\r\n\r\nX: y\r\n\r\nbody\r\n",
        &long,
        header.as_bytes(),
    ] {
        assert_eq!(converted(message).as_deref(), Ok(message), "{}", message.escape_ascii());
    }
}

#[test]
fn parts_within_parts() {
    let message = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=oi\r\n\r\n--oi\r\nContent-Transfer-Encoding: binary\r\n\r\n\n\r\n--oi--\r\n--o\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nContent-Transfer-Encoding: binary\r\nSubject: y\r\n\r\n\0\r\n--o--";
    assert_eq!(
        text(message),
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=oi\r\n\r\n--oi\r\nContent-Transfer-Encoding: base64\r\n\r\nCg==\r\n--oi--\r\n--o\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nContent-Transfer-Encoding: base64\r\nSubject: y\r\n\r\nAA==\r\n--o--"
    );
}

#[test]
fn what_cannot_be_converted_is_refused() {
    let binary = "Content-Transfer-Encoding: binary\r\n\r\n\0";
    for (message, words) in [
        (format!("DKIM-Signature: x\r\n{binary}"), "somebody signed it"),
        (
            format!("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n{binary}\r\n--b--\r\n"),
            "somebody signed it",
        ),
        (format!("Content-Type: message/partial\r\n{binary}"), "of a type that cannot be encoded"),
        (format!("Content-Type: multipart/mixed\r\n{binary}"), "of a type that cannot be encoded"),
        (format!("Content-Transfer-Encoding: 7bit\r\n{binary}"), "a MIME field twice"),
        (format!("Content-Type: a/b\r\nContent-Type: c/d\r\n{binary}"), "a MIME field twice"),
        ("Content-Transfer-Encoding: binary\r\nX: y\r\n".to_owned(), "it ends in the header section"),
        (
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\nX: y\r\n--b--\r\n".to_owned(),
            "no end of its header section",
        ),
        (
            format!("Content-Type: {}\r\n\r\n", "y".repeat(limits::MIME_FIELD_MAX)),
            "too long to be understood",
        ),
        (
            format!(
                "Content-Transfer-Encoding: binary\r\n{}\r\n",
                "X: y\r\n".repeat(limits::MIME_FIELD_MAX / 6)
            ),
            "too long to be understood",
        ),
    ] {
        let why = converted(message.as_bytes()).unwrap_err();
        assert!(why.contains(words), "{message:.60}: {why}");
    }
    // Behind what is signed nothing is.
    let behind = format!(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/signed; boundary=i\r\n\r\n--i\r\n\r\nx\r\n--i--\r\n--o\r\n{binary}\r\n--o--\r\n"
    );
    assert!(text(behind.as_bytes()).contains("\r\n\r\nAA==\r\n--o--\r\n"));
}
