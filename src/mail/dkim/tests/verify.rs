//! What a receiver does (RFC 6376 6.1), in the simplest way.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::body::naive;
use super::{Canonicalization, text};

fn form(name: &str) -> Canonicalization {
    if name == "simple" { Canonicalization::Simple } else { Canonicalization::Relaxed }
}

/// A tag of a field or of a record, without the white space in it.
pub(super) fn tag(tags: &str, name: &str) -> Option<String> {
    let tags = tags.split(';').filter_map(|tag| tag.split_once('='));
    let mut found = tags.filter(|(found, _)| found.trim() == name);
    found.next().map(|(_, value)| value.chars().filter(|character| !character.is_whitespace()).collect())
}

/// Whole fields, without their last CRLF.
fn fields(section: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let mut rest = section;
    while !rest.is_empty() && !rest.starts_with(b"\r\n") {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").map_or(rest.len(), |end| end + 2);
        match fields.last_mut() {
            Some(last) if matches!(rest[0], b' ' | b'\t') => last.extend_from_slice(&rest[..end]),
            _ => fields.push(rest[..end].to_vec()),
        }
        rest = &rest[end..];
    }
    fields.iter_mut().for_each(|field| {
        let length = field.strip_suffix(b"\r\n").unwrap_or(field).len();
        field.truncate(length);
    });
    fields
}

fn canonical(field: &[u8], form: Canonicalization) -> Vec<u8> {
    if form == Canonicalization::Simple {
        return field.to_vec();
    }
    let colon = field.iter().position(|byte| *byte == b':').unwrap();
    let name = text(&field[..colon]).trim().to_lowercase();
    let mut value = Vec::new();
    let unfolded: Vec<&[u8]> = split(&field[colon + 1..], b"\r\n");
    for word in unfolded.concat().split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()) {
        value.extend_from_slice(if value.is_empty() { b"" } else { b" " });
        value.extend_from_slice(word);
    }
    [name.as_bytes(), b":", &value].concat()
}

fn split<'a>(mut text: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = text.windows(mark.len()).position(|window| window == mark) {
        parts.push(&text[..at]);
        text = &text[at + mark.len()..];
    }
    parts.push(text);
    parts
}

/// What is signed: the fields that `h=` names and the signature's own.
pub(super) fn signed(signature: &str, section: &[u8]) -> Vec<u8> {
    let forms = tag(signature, "c").unwrap();
    let form = form(forms.split('/').next().unwrap());
    let mut left = fields(section);
    let mut signed = Vec::new();
    for name in tag(signature, "h").unwrap().split(':') {
        let is_it = |field: &Vec<u8>| {
            let colon = field.iter().position(|byte| *byte == b':');
            colon.is_some_and(|colon| text(&field[..colon]).trim_end().eq_ignore_ascii_case(name))
        };
        if let Some(at) = left.iter().rposition(is_it) {
            signed.extend_from_slice(&canonical(&left.remove(at), form));
            signed.extend_from_slice(b"\r\n");
        }
    }
    let opens = |at: &usize| signature[*at..].starts_with("\tb=") || signature[*at..].starts_with(" b=");
    let opened = (0..signature.len()).find(opens).unwrap();
    let closed = signature[opened..].find(';').map_or("", |end| &signature[opened + end..]);
    let bare = format!("{}{}", &signature[..opened + 3], closed.trim_end_matches("\r\n"));
    signed.extend_from_slice(&canonical(bare.as_bytes(), form));
    signed
}

/// Whether a field is a signature of a message that the key in a record made.
pub(super) fn verify(signature: &str, section: &[u8], body: &[u8], record: &str) -> Result<(), &'static str> {
    let forms = tag(signature, "c").unwrap();
    let hash = digest(&SHA256, &naive(body, form(forms.split('/').nth(1).unwrap())));
    if tag(signature, "bh").unwrap() != STANDARD.encode(hash) {
        return Err("bh");
    }
    let signed = signed(signature, section);
    let [b, p] =
        [tag(signature, "b"), tag(record, "p")].map(|value| STANDARD.decode(value.unwrap()).unwrap());
    let verified = match (tag(signature, "a").unwrap().as_str(), tag(record, "k").unwrap().as_str()) {
        ("rsa-sha256", "rsa") => {
            UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, p).verify(&signed, &b)
        }
        ("ed25519-sha256", "ed25519") => {
            UnparsedPublicKey::new(&ED25519, p).verify(digest(&SHA256, &signed).as_ref(), &b)
        }
        _ => return Err("a"),
    };
    verified.map_err(|_| "b")
}
