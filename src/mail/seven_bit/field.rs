//! What two header fields say: Content-Type (RFC 2045 5.1) and Content-Transfer-Encoding (RFC 2045 6.1).

use crate::limits;

/// What a part is, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `text/*`, and what is like text.
    Text,
    /// Anything else that is one thing.
    Bytes,
    /// Parts between these boundaries.
    Multipart { boundary: Vec<u8>, digest: bool, signed: bool },
    /// A whole message.
    Message,
    /// A type that may not be encoded (RFC 2046 5.2), or that nobody can read.
    Fixed,
}

/// Reads the value of a Content-Type field, unfolded.
pub(super) fn kind(value: &[u8]) -> Kind {
    let plain = without_comments(value);
    let mut pieces = split(&plain);
    let name = pieces.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let (main, sub) = match name.iter().position(|byte| *byte == b'/') {
        Some(slash) => (name[..slash].trim_ascii(), name[slash + 1..].trim_ascii()),
        // RFC 2045 5.2: what cannot be read is plain text.
        None => return Kind::Text,
    };
    match (main, sub) {
        (b"multipart", _) => {
            let mut boundaries = pieces.filter_map(boundary);
            match (boundaries.next(), boundaries.next()) {
                (Some(boundary), None)
                    if boundary.is_ascii() && (1..=limits::MIME_BOUNDARY_MAX).contains(&boundary.len()) =>
                {
                    Kind::Multipart { boundary, digest: sub == b"digest", signed: sub == b"signed" }
                }
                _ => Kind::Fixed,
            }
        }
        (b"message", b"rfc822") => Kind::Message,
        // RFC 6532 3.7, RFC 6533: these may be encoded.
        (b"message", _) if sub.starts_with(b"global") => Kind::Text,
        (b"message", _) => Kind::Fixed,
        (b"text", _) => Kind::Text,
        _ => Kind::Bytes,
    }
}

/// What was done with the bytes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// They are what they are.
    Identity,
    Base64,
    Other,
}

/// What a Content-Transfer-Encoding says.
pub(super) fn encoding(value: &[u8]) -> Encoding {
    match &without_comments(value).trim_ascii().to_ascii_lowercase()[..] {
        b"" | b"7bit" | b"8bit" | b"binary" => Encoding::Identity,
        b"base64" => Encoding::Base64,
        _ => Encoding::Other,
    }
}

/// Whether it says that lines are none of its business.
pub(super) fn is_binary(value: &[u8]) -> bool {
    without_comments(value).trim_ascii().eq_ignore_ascii_case(b"binary")
}

/// Comments become a blank (RFC 5322 3.2.2), outside quoted strings.
fn without_comments(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let (mut depth, mut quoted, mut escaped) = (0u32, false, false);
    for byte in value {
        let plain = !std::mem::take(&mut escaped);
        match byte {
            b'\\' if plain && (quoted || depth > 0) => escaped = true,
            b'"' if plain && depth == 0 => quoted = !quoted,
            b'(' if plain && !quoted => {
                depth += 1;
                continue;
            }
            b')' if plain && depth > 0 => {
                depth -= 1;
                out.push(b' ');
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            out.push(*byte);
        }
    }
    out
}

/// Pieces between semicolons, outside quoted strings.
fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        let plain = !std::mem::take(&mut escaped);
        match byte {
            b'\\' if plain && quoted => escaped = true,
            b'"' if plain => quoted = !quoted,
            _ => {}
        }
        *byte == b';' && !quoted
    })
}

/// The value, if this parameter is the boundary; empty if it is one that is not understood (RFC 2231).
fn boundary(parameter: &[u8]) -> Option<Vec<u8>> {
    let equals = parameter.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (parameter[..equals].trim_ascii(), parameter[equals + 1..].trim_ascii());
    if !name.get(..8)?.eq_ignore_ascii_case(b"boundary") {
        return None;
    }
    if name.len() > 8 {
        return name[8..].starts_with(b"*").then(Vec::new);
    }
    let Some(inner) = value.strip_prefix(b"\"") else { return Some(value.to_vec()) };
    let mut out = Vec::new();
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => out.extend(bytes.next()),
            _ => out.push(*byte),
        }
    }
    // A boundary does not end in a blank (RFC 2046 5.1.1), and readers differ about one that does.
    Some(if out.last() == Some(&b' ') { Vec::new() } else { out })
}
