//! A message of text and HTML that say the same (RFC 2046 section 5.1.4), all of it 7-bit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits;
use crate::mail::encoding::QuotedPrintable;
use crate::mail::trace::{append, write_date, write_name};
use crate::time::UnixMillis;

/// What it says, and of whom.
#[derive(Clone, Copy, Debug)]
pub struct Alternative<'a> {
    /// The author's address.
    pub from: &'a str,
    /// The recipient's.
    pub to: &'a str,
    /// One line.
    pub subject: &'a str,
    /// The text, if there is some.
    pub text: Option<&'a str>,
    /// The HTML, if there is some.
    pub html: Option<&'a str>,
    /// Fields more, each with its CRLF.
    pub fields: &'a str,
    /// The node.
    pub hostname: &'a str,
    /// When it is made.
    pub now: UnixMillis,
    /// A random number.
    pub unique: u64,
}

/// Header and body; every line ends with CRLF.
pub fn compose(mail: &Alternative<'_>) -> Vec<u8> {
    let Alternative { from, to, subject, text, html, fields, hostname, now, unique } = *mail;
    let mut out = Vec::new();
    out.extend_from_slice(b"Date: ");
    write_date(&mut out, now);
    append(&mut out, format_args!("\r\nFrom: <{from}>\r\nTo: <{to}>\r\nMessage-ID: <{unique:016x}@"));
    write_name(&mut out, hostname);
    out.extend_from_slice(b">\r\nSubject:");
    write_words(subject, &mut out);
    append(&mut out, format_args!("\r\n{fields}MIME-Version: 1.0\r\n"));
    match (text, html) {
        (Some(text), Some(html)) => {
            let boundary = format!("=_relevo_{unique:016x}");
            append(
                &mut out,
                format_args!("Content-Type: multipart/alternative; boundary=\"{boundary}\"\r\n\r\n"),
            );
            // What can be shown best is last.
            for (kind, body) in [("plain", text), ("html", html)] {
                append(&mut out, format_args!("--{boundary}\r\n"));
                write_part(kind, body, &mut out);
            }
            append(&mut out, format_args!("--{boundary}--\r\n"));
        }
        (None, Some(html)) => write_part("html", html, &mut out),
        (text, None) => write_part("plain", text.unwrap_or_default(), &mut out),
    }
    out
}

/// Words of a field (RFC 2047 section 2): as they are where they are plain and short, else in encoded words that end between letters.
fn write_words(text: &str, out: &mut Vec<u8>) {
    let is_plain = text.len() <= limits::PLAIN_FIELD_MAX
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !text.contains("=?");
    if is_plain {
        append(out, format_args!(" {text}"));
        return;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.char_indices().map(|(at, letter)| at + letter.len_utf8());
        let length = length.take_while(|end| *end <= limits::ENCODED_WORD_TEXT).last().unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let fold = if after.len() + word.len() == text.len() { " " } else { "\r\n " };
        append(out, format_args!("{fold}=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
}

fn write_part(kind: &str, body: &str, out: &mut Vec<u8>) {
    append(
        out,
        format_args!(
            "Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        ),
    );
    let mut writer = QuotedPrintable::default();
    for line in body.split_inclusive('\n') {
        let text = line.trim_end_matches(['\r', '\n']);
        writer.write(text.as_bytes(), out);
        if text.len() < line.len() {
            writer.write(b"\r\n", out);
        }
    }
    writer.finish(out);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(subject: &str, text: Option<&str>, html: Option<&str>) -> String {
        let mail = Alternative {
            from: "a@b.example",
            to: "c@d.example",
            subject,
            text,
            html,
            fields: "X-Test: 1\r\n",
            hostname: "mx.example",
            now: UnixMillis(0),
            unique: 7,
        };
        String::from_utf8(compose(&mail)).expect("7-bit")
    }

    #[test]
    fn text_comes_before_html() {
        let mail = composed("Hi", Some("a\nb = c"), Some("<p>é</p>"));
        let wanted = "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: <a@b.example>\r\nTo: <c@d.example>\r\n\
                      Message-ID: <0000000000000007@mx.example>\r\nSubject: Hi\r\nX-Test: 1\r\nMIME-Version: 1.0\r\n\
                      Content-Type: multipart/alternative; boundary=\"=_relevo_0000000000000007\"\r\n\r\n\
                      --=_relevo_0000000000000007\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                      a\r\nb =3D c\r\n--=_relevo_0000000000000007\r\nContent-Type: text/html; charset=utf-8\r\n\
                      Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>=C3=A9</p>\r\n--=_relevo_0000000000000007--\r\n";
        assert_eq!(mail, wanted);
        assert!(!composed("Hi", None, Some("x")).contains("multipart"));
    }

    #[test]
    fn a_subject_is_in_lines_that_anybody_reads() {
        let mail = composed(&"é".repeat(100), Some("x"), None);
        let field: String =
            mail.split_once("Subject:").unwrap().1.split_once("\r\nX-Test").unwrap().0.to_owned();
        let words: Vec<&str> = field.split("\r\n").map(str::trim).collect();
        assert!(
            words
                .iter()
                .all(|word| word.len() <= 75 && word.starts_with("=?utf-8?B?") && word.ends_with("?="))
        );
        let decoded = words.iter().flat_map(|word| STANDARD.decode(&word[10..word.len() - 2]).unwrap());
        assert_eq!(String::from_utf8(decoded.collect()).unwrap(), "é".repeat(100));
        assert!(composed("=?x?=", Some("x"), None).contains("=?utf-8?B?PT94Pz0=?="));
    }
}
