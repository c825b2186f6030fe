//! Lines of a header section that are longer than every server takes: folded at white space, which changes nothing of their meaning (RFC 5322
//! 2.2.3).

use crate::limits;
use crate::mail::header;

/// The section with its long lines folded. None: nothing is to be done, or one of them has no white space where it could be, or somebody signed the
/// message: then it is left as it is.
pub fn fold(section: &[u8], mailbox_line: bool) -> Option<Vec<u8>> {
    let mut folded = Vec::with_capacity(section.len() + section.len() / 64);
    let start = header::start(section, mailbox_line);
    folded.extend_from_slice(&section[..start]);
    for line in section[start..].split_inclusive(|byte| *byte == b'\n') {
        fold_line(line, &mut folded)?;
    }
    (folded.len() > section.len()).then_some(folded)
}

/// Whether somebody signed it (RFC 6376): then nothing in it may change.
pub fn is_signed(section: &[u8], mailbox_line: bool) -> bool {
    header::fields(section, mailbox_line).any(|field| field.is("dkim-signature"))
}

fn fold_line(line: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = line;
    while rest.strip_suffix(b"\r\n").unwrap_or(rest).len() > limits::TEXT_LINE_PROPER {
        let place = place_in(rest)?;
        out.extend_from_slice(&rest[..place]);
        out.extend_from_slice(b"\r\n");
        rest = &rest[place..];
        // RFC 5322 3.2.2: no line of white space alone.
        if rest.trim_ascii().is_empty() {
            return None;
        }
    }
    out.extend_from_slice(rest);
    Some(())
}

/// The last white space behind text that a line may end before.
fn place_in(line: &[u8]) -> Option<usize> {
    let is_blank = |place: usize| matches!(line[place], b' ' | b'\t');
    (1..=limits::TEXT_LINE_PROPER).rev().find(|place| is_blank(*place) && !is_blank(place - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5322 2.2.3: what is folded is, unfolded, what it was.
    #[test]
    fn long_lines_are_folded_at_white_space() {
        let words = |count: usize| "word ".repeat(count).trim_end().to_owned();
        for text in [
            format!("Subject: {}\r\n\r\n", words(500)),
            format!("A: b\r\nTo: {}\r\n\t{}\r\nB: c\r\n\r\n", words(300), words(1000)),
            format!("X: {}{}y\r\n\r\n", words(50), " ".repeat(990)),
            format!("X: {}\ty\r\n\r\n", "x".repeat(994)),
        ] {
            let folded = fold(text.as_bytes(), false).expect(&text);
            let lines: Vec<_> =
                folded.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end()).collect();
            assert!(lines.iter().all(|line| line.len() <= limits::TEXT_LINE_PROPER), "{text}");
            assert!(lines[..lines.len() - 2].iter().all(|line| !line.is_empty()), "{text}");
            let unfolded = |text: &[u8]| {
                let text = String::from_utf8(text.to_vec()).expect("text");
                text.replace("\r\n ", " ").replace("\r\n\t", "\t")
            };
            assert_eq!(unfolded(&folded), unfolded(text.as_bytes()));
        }
    }

    #[test]
    fn what_cannot_be_folded_is_left() {
        let long = "x".repeat(2000);
        for text in [
            "A: b\r\n c\r\n\r\n".to_owned(),
            format!("A: {}\r\n\r\n", &long[..995]),
            format!("A:{long}\r\n\r\n"),
            format!("A: b {long}\r\n\r\n"),
            format!("A: {}{}\r\n\r\n", &long[..900], " ".repeat(1000)),
        ] {
            assert_eq!(fold(text.as_bytes(), false), None, "{text}");
        }
        let mailbox = format!("From {long}\r\nA: {} b\r\n\r\n", &long[..990]);
        assert_eq!(fold(mailbox.as_bytes(), true), None);
        assert!(
            is_signed(b"A: b\r\nDkim-Signature: v=1\r\n\r\n", false) && !is_signed(b"A: b\r\n\r\n", false)
        );
    }
}
