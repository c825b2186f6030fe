//! How lines are written: fields of JSON, one after the other, in a line that is open.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::id::MessageId;
use crate::time::{UnixMillis, write_decimal, write_ipv4};

pub(super) fn until(time: UnixMillis, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"until\":\"");
    time.write_iso(out);
    out.push(b'"');
}

/// A message id under this name, appended to a line that is still open.
pub(in crate::observe) fn message(name: &str, id: MessageId, out: &mut Vec<u8>) {
    field(name, out);
    out.push(b'"');
    out.extend_from_slice(&id.to_text());
    out.push(b'"');
}

pub(super) fn field(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

pub(super) fn text(name: &str, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        field(name, out);
        string(value.as_bytes(), out);
    }
}

pub(super) fn number(name: &str, value: u64, out: &mut Vec<u8>) {
    field(name, out);
    write_decimal(value, 1, out);
}

pub(super) fn some_number(name: &str, value: u64, out: &mut Vec<u8>) {
    if value > 0 {
        number(name, value, out);
    }
}

/// An address of this end: no port says anything of it.
pub(super) fn own_address(address: IpAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"source_address\":\"");
    match address {
        IpAddr::V4(address) => write_ipv4(address, out),
        IpAddr::V6(address) => _ = write!(out, "{address}"),
    }
    out.push(b'"');
}

/// An address has no character that JSON would escape.
pub(super) fn address(client: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"client\":\"");
    match client {
        SocketAddr::V4(client) => {
            write_ipv4(*client.ip(), out);
            out.push(b':');
            write_decimal(client.port().into(), 1, out);
        }
        SocketAddr::V6(client) => _ = write!(out, "{client}"),
    }
    out.push(b'"');
}

pub(super) fn code(enhanced: Option<(u8, u16, u16)>, out: &mut Vec<u8>) {
    let Some((class, subject, detail)) = enhanced else { return };
    field("enhanced", out);
    for (before, part) in [(b'"', class.into()), (b'.', subject), (b'.', detail)] {
        out.push(before);
        write_decimal(part.into(), 1, out);
    }
    out.push(b'"');
}

pub(super) fn strings(all: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'[');
    for (place, one) in all.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        string(one, out);
    }
    out.push(b']');
}

/// A JSON string of bytes nobody vouches for; what is not UTF-8 becomes U+FFFD.
pub(super) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        escaped(bytes, out);
    }
    out.push(b'"');
}

/// Whether JSON has these bytes as they are: printable ASCII without quote and backslash. Eight at a time: most texts are too short for a wide
/// register to be worth its set-up.
fn is_plain(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(size_of::<u64>()).fold(0, |special, word| {
        special | special_bytes(u64::from_le_bytes(word.try_into().expect("a chunk is a word")))
    });
    // The last word again, from the end, or as much of one as there is.
    let last = match bytes.last_chunk() {
        Some(last) => *last,
        None => {
            let mut last = [b' '; size_of::<u64>()];
            last[..bytes.len()].copy_from_slice(bytes);
            last
        }
    };
    words | special_bytes(u64::from_le_bytes(last)) == 0
}

/// Not 0 if any of eight bytes is one that JSON escapes, or none of ASCII. A borrow or a carry can only come from such a byte.
fn special_bytes(word: u64) -> u64 {
    let ones = u64::MAX / 0xFF;
    let below = |word: u64, least: u64| word.wrapping_sub(ones * least) & !word;
    let is = |byte: u8| below(word ^ (ones * u64::from(byte)), 1);
    (word | below(word, 0x20) | is(b'"') | is(b'\\') | is(0x7F)) & (ones * 0x80)
}

#[cold]
fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            '\0'..='\x1F' | '\x7F' => {
                let (high, low) = (usize::from(character as u8 >> 4), usize::from(character as u8 & 15));
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[high], HEX[low]]);
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_escape_is_seen_at_every_place() {
        for byte in 0..=255 {
            let is_plain_byte = (0x20..0x7F).contains(&byte) && byte != b'"' && byte != b'\\';
            for (length, filler) in
                (1..40).flat_map(|length| [(length, b'a'), (length, b' '), (length, b'~')])
            {
                for place in 0..length {
                    let mut bytes = vec![filler; length];
                    bytes[place] = byte;
                    assert_eq!(is_plain(&bytes), is_plain_byte, "{byte:#x} at {place} of {length}");
                }
            }
        }
        assert!(is_plain(b""));
    }
}
