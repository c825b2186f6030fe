//! A receiver that checks signatures (RFC 6376 6.1, in relaxed form only), and shares no code with the relay.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

/// The keys that DNS has, by domain and selector: the second is the public half, as it lies in a SubjectPublicKeyInfo for Ed25519 and in PKCS#1 for
/// RSA.
pub struct Published<'a> {
    pub domain: &'a str,
    pub selector: &'a str,
    pub key: &'a [u8],
}

/// The signatures of a message, as `domain/selector`, each of them found right; its lines end with LF.
pub fn verify(text: &str, published: &[Published<'_>]) -> Result<Vec<String>, String> {
    let (header, body) = text.split_once("\n\n").ok_or("no header")?;
    let fields = unfold(header);
    let mut right = Vec::new();
    for field in fields.iter().filter(|field| field.to_ascii_lowercase().starts_with("dkim-signature:")) {
        let tags: Vec<(&str, String)> = tags(field);
        let tag = |name: &str| {
            let found = tags.iter().find(|(tag, _)| *tag == name);
            found.map(|(_, value)| value.clone()).ok_or(format!("no {name}= in {field}"))
        };
        let (domain, selector) = (tag("d")?, tag("s")?);
        let key = published.iter().find(|key| key.domain == domain && key.selector == selector);
        let key = key.ok_or(format!("no key of {selector}._domainkey.{domain}"))?;
        if tag("c")? != "relaxed/relaxed" {
            return Err(format!("{field} is not in relaxed form"));
        }
        let hash = digest(&SHA256, relaxed_body(body).as_bytes());
        if STANDARD.encode(hash) != tag("bh")? {
            return Err(format!("the body is not the one that was signed: {field}"));
        }
        let mut signed = String::new();
        let mut left: Vec<&String> = fields.iter().collect();
        for name in tag("h")?.split(':') {
            let is = |field: &&String| {
                field.split(':').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(name))
            };
            if let Some(place) = left.iter().rposition(is) {
                signed += &relaxed_field(left.remove(place));
                signed += "\r\n";
            }
        }
        let (before, _) = field.rsplit_once("b=").ok_or("no b=")?;
        signed += &relaxed_field(&format!("{before}b="));
        let signature = STANDARD.decode(tag("b")?).map_err(|error| error.to_string())?;
        let checked = match &tag("a")?[..] {
            "rsa-sha256" => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.key)
                .verify(signed.as_bytes(), &signature),
            _ => UnparsedPublicKey::new(&ED25519, key.key)
                .verify(digest(&SHA256, signed.as_bytes()).as_ref(), &signature),
        };
        checked.map_err(|_| format!("the signature is wrong: {field}"))?;
        right.push(format!("{domain}/{selector}"));
    }
    Ok(right)
}

fn unfold(header: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for line in header.lines() {
        match fields.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(field) => field.push_str(line),
            None => fields.push(line.to_owned()),
        }
    }
    fields
}

fn tags(field: &str) -> Vec<(&str, String)> {
    let (_, value) = field.split_once(':').unwrap_or_default();
    let tag = |tag: &'_ str| -> Option<(usize, usize, String)> {
        let (name, value) = tag.split_once('=')?;
        let name = name.trim();
        let at = name.as_ptr() as usize - field.as_ptr() as usize;
        Some((at, name.len(), value.split_whitespace().collect()))
    };
    value.split(';').filter_map(tag).map(|(at, length, value)| (&field[at..at + length], value)).collect()
}

fn relaxed_field(field: &str) -> String {
    let (name, value) = field.split_once(':').unwrap_or_default();
    let value: Vec<&str> = value.split_whitespace().collect();
    format!("{}:{}", name.trim().to_ascii_lowercase(), value.join(" "))
}

fn relaxed_body(body: &str) -> String {
    let mut lines: Vec<String> = body.lines().map(relaxed_line).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

fn relaxed_line(line: &str) -> String {
    let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let ahead = if line.starts_with([' ', '\t']) && !words.is_empty() { " " } else { "" };
    format!("{ahead}{}", words.join(" "))
}
