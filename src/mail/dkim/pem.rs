//! Keys as text (RFC 7468), and as much of their encoding (DER) as tells what they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Letters of a line (RFC 7468 2).
const LINE: usize = 64;

/// A section of a text.
pub struct Section<'a> {
    /// What it is called: `PRIVATE KEY`.
    pub label: &'a str,
    /// Lines with a colon stand in front (RFC 1421): a password protects it.
    pub has_headers: bool,
    /// What is encoded; None: it is no base64.
    pub bytes: Option<Vec<u8>>,
}

/// There is a begin and no end.
pub struct CutOff;

/// The sections of a text, in order. What stands around them is no part of them.
pub fn sections(text: &str) -> Result<Vec<Section<'_>>, CutOff> {
    let mut sections = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = marked(line, "-----BEGIN ") else { continue };
        let (mut encoded, mut has_headers) = (String::new(), false);
        loop {
            let line = lines.next().ok_or(CutOff)?;
            if marked(line, "-----END ") == Some(label) {
                break;
            }
            if line.contains(':') {
                has_headers = true;
            } else {
                encoded.push_str(line);
            }
        }
        sections.push(Section { label, has_headers, bytes: STANDARD.decode(encoded).ok() });
    }
    Ok(sections)
}

fn marked<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.strip_prefix(mark)?.strip_suffix("-----")
}

/// A section with these bytes.
pub fn write(label: &str, bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Tags of elements.
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The content of the first element, which has this tag, and what is behind it (X.690 8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ ..0x80 => (short, rest),
        long => {
            let (digits, rest) = rest.split_at_checked(long & 0x7f)?;
            if digits.len() > size_of::<u32>() {
                return None;
            }
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length).filter(|_| *found == tag)
}

/// Of a private key in PKCS#8 (RFC 5208): which algorithm's it is, as an object identifier, and the key in that algorithm's own encoding.
pub fn pkcs8(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, _) = element(der, SEQUENCE)?;
    let (_version, rest) = element(info, INTEGER)?;
    let (algorithm, rest) = element(rest, SEQUENCE)?;
    Some((element(algorithm, OBJECT)?.0, element(rest, OCTETS)?.0))
}

/// How many bits the modulus of an RSA key in PKCS#1 (RFC 8017 A.1.2) has.
pub fn rsa_bits(der: &[u8]) -> Option<usize> {
    let (key, _) = element(der, SEQUENCE)?;
    let (_version, rest) = element(key, INTEGER)?;
    let (modulus, _) = element(rest, INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    Some(8 * (modulus.len() - zeros) - first.leading_zeros() as usize)
}
