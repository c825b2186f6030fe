//! A text as gzip has it (RFC 1952).

/// As good as it can be at a moderate price: a report is made once.
const LEVEL: u8 = 6;

/// Bytes in one member, without name and time.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Magic, deflate, no flags, no time, no hint, unknown system.
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend_from_slice(&miniz_oxide::deflate::compress_to_vec(bytes, LEVEL));
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out
}

/// RFC 1952 section 8: bit by bit, as reports are short and few.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_the_text() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926, "the check value of CRC-32");
        for text in [String::new(), "{}".to_owned(), "{\"a\":1}".repeat(10_000)] {
            let packed = gzip(text.as_bytes());
            assert!(text.len() < 1000 || packed.len() < text.len() / 50);
            let (head, rest) = packed.split_at(10);
            let (body, tail) = rest.split_at(rest.len() - 8);
            assert_eq!(head[..4], [0x1f, 0x8b, 8, 0]);
            assert_eq!(miniz_oxide::inflate::decompress_to_vec(body).unwrap(), text.as_bytes());
            assert_eq!(tail[..4], crc32(text.as_bytes()).to_le_bytes());
            assert_eq!(tail[4..], (text.len() as u32).to_le_bytes());
        }
    }
}
