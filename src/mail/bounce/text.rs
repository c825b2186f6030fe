//! Texts of mail from outside: decoded, without markup, and the addresses in them. All of it bounded.

use crate::limits;

/// Quoted-printable (RFC 2045 6.7), with LF between lines; what is no code stays as it is.
pub(super) fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(place) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..place]);
        rest = &rest[place + 1..];
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match rest {
            _ if rest.get(blanks) == Some(&b'\n') => rest = &rest[blanks + 1..],
            [high, low, after @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'='),
            },
            _ => out.push(b'='),
        }
    }
    out.extend_from_slice(rest);
    out
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// Base64 (RFC 2045 6.8), with LF between the lines of what comes out; what is none of its letters is left out.
pub(super) fn base64(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in body {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(sextet);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out.retain(|byte| *byte != b'\r');
    out
}

/// Text of a page: without tags, styles and comments, and with lines where its blocks end.
pub(super) fn without_markup(page: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &page[..page.len().min(limits::INCOMING_PAGE_MAX)];
    while out.len() < limits::INCOMING_TEXT_MAX {
        let Some(place) = memchr::memchr2(b'<', b'&', rest) else {
            out.extend_from_slice(rest);
            break;
        };
        out.extend_from_slice(&rest[..place]);
        rest = &rest[place..];
        rest = if rest[0] == b'&' { entity(rest, &mut out) } else { tag(rest, &mut out) };
    }
    out.truncate(limits::INCOMING_TEXT_MAX);
    out
}

fn tag<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let is_tag = rest.get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!'));
    let end = memchr::memchr(b'>', &rest[..rest.len().min(limits::INCOMING_TAG_MAX)]);
    let (true, Some(end)) = (is_tag, end) else {
        out.push(b'<');
        return &rest[1..];
    };
    let inner = &rest[1..end];
    let name: Vec<u8> = inner
        .iter()
        .skip_while(|byte| **byte == b'/')
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .take(8)
        .map(u8::to_ascii_lowercase)
        .collect();
    // Addresses stand in brackets in pages that nobody escaped.
    if inner.contains(&b'@') && !inner.contains(&b' ') && !inner.contains(&b'=') {
        out.extend_from_slice(&rest[..=end]);
        return &rest[end + 1..];
    }
    if (name == b"style" || name == b"script") && inner.first() != Some(&b'/') {
        let close: &[u8] = if name == b"style" { b"</style" } else { b"</script" };
        // Without an end all of the rest is style.
        return memchr::memmem::find(rest, close).map_or(&[], |close| &rest[close..]);
    }
    if matches!(
        name.as_slice(),
        b"br" | b"p" | b"div" | b"tr" | b"td" | b"li" | b"table" | b"h1" | b"h2" | b"h3" | b"pre" | b"hr"
    ) {
        out.push(b'\n');
    }
    &rest[end + 1..]
}

fn entity<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    const KNOWN: [(&[u8], u8); 7] = [
        (b"&lt;", b'<'),
        (b"&gt;", b'>'),
        (b"&amp;", b'&'),
        (b"&quot;", b'"'),
        (b"&nbsp;", b' '),
        (b"&#39;", b'\''),
        (b"&#64;", b'@'),
    ];
    for (name, byte) in KNOWN {
        if let Some(after) = rest.strip_prefix(name) {
            out.push(byte);
            return after;
        }
    }
    out.push(b'&');
    &rest[1..]
}

/// Bytes as one line: blanks and line ends of any number are one blank, and it ends after so many bytes.
pub(super) fn one_line(bytes: &[u8], most: usize) -> String {
    // Blanks shrink: a few times as many bytes have as much text as is wanted, or are no text.
    let bytes = &bytes[..bytes.len().min(most.saturating_mul(4))];
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len().min(most));
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        if out.len() > most {
            break;
        }
    }
    out.truncate(crate::mail::header::cut(&out, most).len());
    out
}

/// An address as reports and notifications write it: without its type, brackets, quotes and comments. None: it is none.
pub(super) fn address(value: &str) -> Option<String> {
    let value = value.trim();
    let inner = match (value.rfind('<'), value.rfind('>')) {
        (Some(open), Some(close)) if open < close => &value[open + 1..close],
        _ => value,
    };
    let trimmed = |letter: char| {
        letter.is_whitespace()
            || matches!(letter, '<' | '>' | '"' | '\'' | '(' | ')' | ',' | ';' | ':' | '[' | ']')
    };
    let mut words = inner.split(|letter: char| letter.is_whitespace() || letter == ';' || letter == ',');
    let word = words.find(|word| word.trim_matches(trimmed).contains('@'))?;
    let word = word.trim_matches(trimmed);
    let word = word.strip_prefix("mailto:").or(word.strip_prefix("rfc822:")).unwrap_or(word);
    let word = word.trim_end_matches('.');
    let (local, domain) = word.rsplit_once('@')?;
    let fits = !local.is_empty() && !domain.is_empty() && word.len() <= limits::INCOMING_ADDRESS_MAX;
    let plain = !word.chars().any(|letter| letter.is_control() || matches!(letter, '<' | '>'));
    (fits && plain).then(|| word.to_owned())
}
