//! The header of the PROXY protocol.

use relevo::limits;
use relevo::smtp::proxy::{Parsed, is_line_of_header, parse};

/// What is read does not depend on the cut nor on what follows, and keeps its bounds; its words can stand in a header field.
pub fn proxy(data: &[u8]) {
    let whole = parse(data);
    let mut ends = 0..=data.len();
    let decided = ends.find(|end| parse(&data[..*end]) != Parsed::More);
    if let Some(decided) = decided {
        assert!(decided <= limits::PROXY_V2_MAX, "more than a header may have");
        assert_eq!(parse(&data[..decided]), whole, "another outcome with what follows");
    }
    match whole {
        Parsed::Whole(length, header) => {
            assert_eq!(decided, Some(length), "it is known with its last byte");
            assert!((12..=limits::PROXY_V2_MAX).contains(&length));
            if data.starts_with(b"PROXY ") {
                assert!(
                    length <= limits::PROXY_V1_MAX
                        && data[..length].ends_with(b"\r\n")
                        && header.tls.is_none()
                );
            }
            if let Some(tls) = header.tls {
                assert!(header.client.is_some(), "a check has none");
                let fits = |letter: char| letter.is_ascii_alphanumeric() || " .-_".contains(letter);
                assert!(
                    tls.to_string().chars().all(fits) && tls.to_string().len() < 3 * limits::DOMAIN_MAX + 9
                );
            }
        }
        Parsed::Bad(flaw) => {
            let words = flaw.refusal().reply;
            assert!(words.starts_with("421 4.5.0 ") && words.ends_with("\r\n") && words.len() < 100);
        }
        Parsed::More => assert!(data.len() < limits::PROXY_V2_MAX),
    }
    // Where nobody takes headers each is told from commands at one of its first lines.
    let mut lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if matches!(parse(data), Parsed::Whole(..)) {
        assert!(lines.by_ref().take(3).any(is_line_of_header));
    }
}
