//! The text after DATA: found, checked and un-stuffed in place (RFC 5321 4.1.1.4, 4.5.2).
//!
//! Only CRLF.CRLF ends it. A bare CR or LF anywhere is remembered, the scan goes on to the real end, and the message is
//! refused there: whatever the client meant by it, nobody downstream will read two messages where we read one.

use crate::limits;

/// What one call found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Canonical body bytes, now at the front of the buffer.
    pub kept: usize,
    /// Bytes of the buffer that belonged to the message; the rest is pipelined input, untouched.
    pub consumed: usize,
    /// The final dot was seen.
    pub done: bool,
}

/// What is known of the whole message at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Canonical bytes.
    pub size: u64,
    /// A byte above 127 was seen.
    pub eight_bit: bool,
    /// Some canonical line begins with a dot.
    pub needs_stuffing: bool,
    /// Received fields.
    pub hops: u32,
    /// Bytes of the header section, the empty line included; the whole size if there is no empty line.
    pub header_length: u64,
    /// A CR without LF, or LF without CR.
    pub bare_line_end: bool,
    /// A line over TEXT_LINE_MAX.
    pub line_too_long: bool,
    /// More bytes than the limit given; from there on nothing was kept.
    pub too_large: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    /// After a dot at a line's start, which is never part of the body (4.5.2).
    Dot,
    DotCr,
    Text,
    Cr,
}

const RECEIVED: &[u8] = b"received:";

/// Bytes looked at in one go; no line in them is too long.
const PLAIN_MAX: usize = 32 * 1024;
const _: () = assert!(PLAIN_MAX <= limits::TEXT_LINE_MAX);

/// Whether LF stands behind CR and nowhere else, and CR before LF or at the end. Without a branch in the loop, so that it is done for
/// many bytes at a time.
fn has_no_bare(block: &[u8]) -> bool {
    let behind = block.get(1..).unwrap_or_default();
    let differ = |(one, next): (&u8, &u8)| u8::from(*one == b'\r') ^ u8::from(*next == b'\n');
    block.first() != Some(&b'\n')
        && block.iter().zip(behind).map(differ).fold(0, |bad, differs| bad | differs) == 0
}

/// Scans one message, however its bytes are cut.
#[derive(Debug)]
pub struct Scanner {
    at: At,
    summary: Summary,
    size_max: u64,
    line_length: usize,
    /// Start of the current header line, as far as it can still be a Received field.
    prefix: u8,
    in_header: bool,
}

impl Scanner {
    /// At the first byte after the 354.
    pub fn new(size_max: u64) -> Scanner {
        Scanner {
            at: At::LineStart,
            summary: Summary::default(),
            size_max,
            line_length: 0,
            prefix: 0,
            in_header: true,
        }
    }

    /// The findings so far; final once [`Scanned::done`].
    pub fn summary(&self) -> Summary {
        let mut summary = self.summary;
        if self.in_header {
            summary.header_length = summary.size;
        }
        summary
    }

    /// Scans newly received bytes and compacts the body to their front.
    pub fn scan(&mut self, fresh: &mut [u8]) -> Scanned {
        let (mut read, mut kept) = (0, 0);
        let mut done = false;
        // A block with a bare CR or LF is walked line by line, and looked at as a whole only once.
        let mut plain = true;
        while read < fresh.len() {
            if plain && !self.in_header && matches!(self.at, At::LineStart | At::Text) {
                match self.plain(&fresh[read..fresh.len().min(read + PLAIN_MAX)]) {
                    Some(0) => {}
                    Some(length) => {
                        kept = self.keep(fresh, read, read + length, kept);
                        read += length;
                        continue;
                    }
                    None => plain = false,
                }
            }
            match self.at {
                At::LineStart => {
                    self.line_length = 0;
                    self.prefix = 0;
                    if fresh[read] == b'.' {
                        self.at = At::Dot;
                        read += 1;
                    } else {
                        self.at = At::Text;
                    }
                }
                At::Dot if fresh[read] == b'\r' => {
                    self.at = At::DotCr;
                    read += 1;
                }
                At::Dot => {
                    self.summary.needs_stuffing |= fresh[read] == b'.';
                    // A line that began with a dot is no header field.
                    self.prefix = u8::MAX;
                    self.at = At::Text;
                }
                At::DotCr if fresh[read] == b'\n' => {
                    read += 1;
                    done = true;
                    break;
                }
                At::DotCr => {
                    self.bare();
                    self.at = At::Text;
                }
                At::Text | At::Cr => {
                    let end = self.text(fresh, read);
                    kept = self.keep(fresh, read, end, kept);
                    read = end;
                }
            }
        }
        if !self.summary.eight_bit && !fresh[..kept].is_ascii() {
            self.summary.eight_bit = true;
        }
        Scanned { kept, consumed: read, done }
    }

    /// Text of the body as it mostly is, in one go: up to the next line that begins with a dot, if every CR in it is followed
    /// by an LF and every LF follows a CR. Returns its length; None if there is a bare one.
    fn plain(&mut self, block: &[u8]) -> Option<usize> {
        if self.at == At::LineStart && block.first() == Some(&b'.') {
            return Some(0);
        }
        let block = memchr::memmem::find(block, b"\n.").map_or(block, |end| &block[..=end]);
        if !has_no_bare(block) {
            return None;
        }
        if self.at == At::LineStart {
            self.line_length = 0;
        }
        match (memchr::memchr(b'\n', block), memchr::memrchr(b'\n', block)) {
            (Some(first), Some(last)) => {
                self.line_length += first - 1;
                // Lines that begin in this block are shorter than it.
                self.summary.line_too_long |= self.line_length > limits::TEXT_LINE_MAX;
                self.line_length = block.len() - (last + 1);
            }
            _ => self.line_length += block.len(),
        }
        self.at = match block.last() {
            Some(b'\n') => At::LineStart,
            Some(b'\r') => {
                self.line_length -= 1;
                At::Cr
            }
            _ => At::Text,
        };
        Some(block.len())
    }

    /// Walks text up to the end of its line or of the buffer; returns where.
    fn text(&mut self, fresh: &[u8], from: usize) -> usize {
        let mut place = from;
        if self.at == At::Cr {
            self.at = At::Text;
            if fresh[place] == b'\n' {
                self.line_ends();
                return place + 1;
            }
            self.bare();
            self.line_length += 1;
        }
        if self.in_header {
            self.match_prefix(&fresh[place..]);
        }
        while let Some(found) = memchr::memchr2(b'\r', b'\n', &fresh[place..]) {
            let found = place + found;
            if fresh[found] == b'\n' {
                self.bare();
                place = found + 1;
                continue;
            }
            match fresh.get(found + 1) {
                Some(b'\n') => {
                    self.line_length += found - from;
                    self.line_ends();
                    return found + 2;
                }
                Some(_) => {
                    self.bare();
                    place = found + 1;
                }
                None => {
                    self.line_length += found - from;
                    self.at = At::Cr;
                    return found + 1;
                }
            }
        }
        self.line_length += fresh.len() - from;
        fresh.len()
    }

    /// A bare CR or LF. The message will be refused, and its line is no header field, wherever the input was cut.
    fn bare(&mut self) {
        self.summary.bare_line_end = true;
        self.prefix = u8::MAX;
    }

    fn line_ends(&mut self) {
        self.at = At::LineStart;
        if self.line_length > limits::TEXT_LINE_MAX {
            self.summary.line_too_long = true;
        }
        if self.in_header && self.line_length == 0 && self.prefix != u8::MAX {
            self.in_header = false;
            // `keep` counts this line right after, and puts the number in.
            self.summary.header_length = u64::MAX;
        }
    }

    /// Compares the line's first bytes with "Received:", over any number of calls.
    fn match_prefix(&mut self, text: &[u8]) {
        for byte in text {
            let Some(wanted) = RECEIVED.get(usize::from(self.prefix)) else { return };
            if matches!(byte, b'\r' | b'\n') {
                return;
            }
            if byte.to_ascii_lowercase() != *wanted {
                self.prefix = u8::MAX;
                return;
            }
            self.prefix += 1;
            if usize::from(self.prefix) == RECEIVED.len() {
                self.summary.hops += 1;
                self.prefix = u8::MAX;
                return;
            }
        }
    }

    /// Moves `fresh[from..to]` behind the bytes already kept; nothing moves until a dot was dropped.
    fn keep(&mut self, fresh: &mut [u8], from: usize, to: usize, kept: usize) -> usize {
        let length = to - from;
        self.summary.size += length as u64;
        if self.summary.header_length == u64::MAX {
            self.summary.header_length = self.summary.size;
        }
        if self.summary.size > self.size_max {
            self.summary.too_large = true;
        }
        if self.summary.too_large {
            return kept;
        }
        if kept != from {
            fresh.copy_within(from..to, kept);
        }
        kept + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans `input` cut at `split`; the body, the summary, and what was left over.
    fn scan(input: &[u8], split: usize) -> Option<(Vec<u8>, Summary, Vec<u8>)> {
        let mut scanner = Scanner::new(1_000_000);
        let mut body = Vec::new();
        let mut consumed = 0;
        for range in [0..split, split..input.len()] {
            let mut piece = input[range].to_vec();
            let scanned = scanner.scan(&mut piece);
            body.extend_from_slice(&piece[..scanned.kept]);
            consumed += scanned.consumed;
            if scanned.done {
                return Some((body, scanner.summary(), input[consumed..].to_vec()));
            }
        }
        None
    }

    #[test]
    fn bodies_at_every_split() {
        for (input, body, rest) in [
            (&b".\r\n"[..], &b""[..], &b""[..]),
            (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
            (b"..\r\n.\r\n", b".\r\n", b""),
            (b"...x\r\n.\r\n", b"..x\r\n", b""),
            (b".x\r\n.\r\n", b"x\r\n", b""),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n", b""),
            (
                b"Received: x\r\nSubject: y\r\n\r\nReceived: no\r\n.\r\n",
                b"Received: x\r\nSubject: y\r\n\r\nReceived: no\r\n",
                b"",
            ),
        ] {
            for split in 0..=input.len() {
                // A split after the end leaves the rest in the second piece.
                let Some((got, summary, left)) = scan(input, split) else {
                    panic!("no end at split {split}")
                };
                assert_eq!(got, body, "split {split}");
                assert!(!summary.bare_line_end);
                assert_eq!(summary.size, body.len() as u64);
                assert_eq!(summary.needs_stuffing, body.starts_with(b"."));
                assert_eq!(left, rest, "split {split}");
            }
        }
    }

    #[test]
    fn header_is_measured() {
        let input = b"Received: a\r\nrECEIVED: b\r\nX: Received: c\r\n\r\nbody\r\n.\r\n";
        for split in 0..input.len() {
            let (_, summary, _) = scan(input, split).unwrap();
            assert_eq!(summary.hops, 2, "split {split}");
            assert_eq!(summary.header_length, 44, "split {split}");
        }
        let (_, summary, _) = scan(b"X: y\r\n.\r\n", 0).unwrap();
        assert_eq!(summary.header_length, 6);
    }

    /// Every ending that some server takes for the end of the data and another does not.
    #[test]
    fn smuggling_endings_do_not_end() {
        for ending in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\r.\r",
            b"\r\n.\r",
            b"\r\n.\n",
            b"\r.\r\n",
            b"\n.\r",
            b"\r\n\x00.\r\n",
            b"\r\n.\x00\r\n",
            b"\r\r\n.\r\r\n",
            b"\n\r\n.\n\r\n",
            b"\r\n.\r\r\n",
            b"\r.\n",
            b"\n\n.\n\n",
        ] {
            let mut input = b"a".to_vec();
            input.extend_from_slice(ending);
            input.extend_from_slice(b"MAIL FROM:<x@y>\r\n.\r\n");
            for split in 0..input.len() {
                let (body, summary, _) = scan(&input, split).unwrap();
                let harmless = ending.contains(&0);
                assert!(summary.bare_line_end || harmless, "{ending:?} split {split}");
                assert!(body.windows(4).any(|window| window == b"MAIL"), "{ending:?} ended the data");
            }
        }
    }

    /// A message with a bare CR or LF is refused, and even so nothing that is said of it depends on the cut.
    #[test]
    fn bare_line_ends_are_the_same_at_every_split() {
        for input in [
            &b"\r\r\nx\r\n.\r\n"[..],
            b"\nReceived\r:x\r\n.\r\n",
            b"Rec\reived:x\r\n\r\n.\r\n",
            b".\rReceived:\r\n.\r\n",
        ] {
            let whole = scan(input, 0);
            assert!(whole.as_ref().is_some_and(|(_, summary, _)| summary.bare_line_end));
            for split in 0..input.len() {
                assert_eq!(scan(input, split), whole, "{} split {split}", input.escape_ascii());
            }
        }
    }

    /// Whole blocks and single bytes say the same of any body.
    #[test]
    fn a_body_is_the_same_in_one_piece_and_in_bytes() {
        let mut seed = 7u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let pieces: [&[u8]; 10] =
            [b"\r\n", b"\r\n", b"text", b"\r\n.", b"\r\n..", b".", b"x", b"\r\n\r\n", b"\r", b"\n"];
        for round in 0..3000 {
            // A bare CR or LF in some rounds only.
            let kinds = if round % 3 == 0 { 10 } else { 8 };
            let mut input = b"Subject: x\r\n\r\n".to_vec();
            for _ in 0..next(60) {
                input.extend_from_slice(pieces[next(kinds)]);
            }
            input.extend_from_slice(b"\r\n.\r\nQUIT\r\n");
            let whole = scan(&input, 0);
            let mut scanner = Scanner::new(1_000_000);
            let (mut body, mut consumed) = (Vec::new(), 0);
            for byte in &input {
                let mut piece = [*byte];
                let scanned = scanner.scan(&mut piece);
                body.extend_from_slice(&piece[..scanned.kept]);
                consumed += scanned.consumed;
                if scanned.done {
                    break;
                }
            }
            let rest = input[consumed..].to_vec();
            assert_eq!(whole, Some((body, scanner.summary(), rest)), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn limits_hold() {
        let mut scanner = Scanner::new(4);
        let mut input = b"12345678\r\n.\r\nrest".to_vec();
        let scanned = scanner.scan(&mut input);
        assert!(scanned.done && scanner.summary().too_large);
        assert_eq!((scanned.kept, scanned.consumed), (0, 13));
        let mut long = vec![b'x'; limits::TEXT_LINE_MAX + 1];
        long.extend_from_slice(b"\r\n.\r\n");
        assert!(scan(&long, 100).unwrap().1.line_too_long);
        assert!(scan("é\r\n.\r\n".as_bytes(), 1).unwrap().1.eight_bit);
    }
}
