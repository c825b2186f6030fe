//! Bare CR and LF made CRLF. The dot rules (RFC 5321 4.5.2) are those of lines that CRLF ended, in and out: a dot behind a bare
//! line end is neither the end nor a dot to drop, and is doubled on the way out like any that begins a line.

use super::lines::{Lines, ScanState, has_no_bare};

/// Whether a line end must be put in somewhere in `fresh`, or was put in right before.
pub(super) fn grows(at: ScanState, fresh: &[u8]) -> bool {
    let rest = match (at, fresh) {
        (_, []) => return false,
        (ScanState::BareStart, _) => return true,
        (ScanState::Cr | ScanState::DotCr, [b'\n', rest @ ..]) => rest,
        (ScanState::Cr | ScanState::DotCr, _) => return true,
        _ => fresh,
    };
    !has_no_bare(rest)
}

/// Scans input that grows: its canonical bytes, how much of it belonged to the message, and whether the final dot was seen.
pub(super) fn normalise(lines: &mut Lines, fresh: &[u8], dots: bool) -> (Vec<u8>, usize, bool) {
    let out = Vec::with_capacity(fresh.len() + fresh.len() / 16);
    let mut normaliser = Normaliser { lines, out, dots };
    let (read, done) = normaliser.scan(fresh);
    let out = normaliser.out;
    if !lines.found.eight_bit && !out.is_ascii() {
        lines.eight_bit(&out);
    }
    (out, read, done)
}

struct Normaliser<'a> {
    lines: &'a mut Lines,
    out: Vec<u8>,
    dots: bool,
}

impl Normaliser<'_> {
    fn scan(&mut self, fresh: &[u8]) -> (usize, bool) {
        let mut read = 0;
        while read < fresh.len() {
            let byte = fresh[read];
            match self.lines.at {
                ScanState::LineStart | ScanState::BareStart => {
                    self.lines.begin();
                    if byte == b'.' && self.lines.at == ScanState::LineStart && self.dots {
                        self.lines.at = ScanState::Dot;
                        read += 1;
                    } else {
                        self.lines.first(byte);
                        self.lines.found.needs_stuffing |= byte == b'.';
                        self.lines.at = ScanState::Text;
                    }
                }
                ScanState::Dot if byte == b'\r' => {
                    self.lines.at = ScanState::DotCr;
                    read += 1;
                }
                ScanState::Dot => {
                    self.lines.first(byte);
                    self.lines.found.needs_stuffing |= byte == b'.';
                    self.lines.at = ScanState::Text;
                }
                ScanState::DotCr if byte == b'\n' => return (read + 1, true),
                ScanState::DotCr => self.end_line(b"\r\n", ScanState::BareStart),
                ScanState::Text => read += self.text(&fresh[read..]),
                ScanState::Cr if byte == b'\n' => {
                    read += 1;
                    self.end_line(b"\n", ScanState::LineStart);
                }
                ScanState::Cr => self.end_line(b"\n", ScanState::BareStart),
            }
        }
        (read, false)
    }

    /// Text up to the end of its line, that included; returns its length.
    fn text(&mut self, rest: &[u8]) -> usize {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let text = &rest[..end];
        if self.lines.in_header {
            self.lines.match_prefix(text);
        }
        self.lines.line_length += text.len();
        self.put(text);
        match rest.get(end) {
            None => return end,
            Some(b'\r') => {
                self.put(b"\r");
                self.lines.at = ScanState::Cr;
            }
            Some(_) => self.end_line(b"\r\n", ScanState::BareStart),
        }
        end + 1
    }

    fn end_line(&mut self, end: &[u8], next: ScanState) {
        // The CR that such an LF follows was put.
        self.lines.end(self.lines.found.size - u64::from(end.len() == 1));
        self.lines.at = next;
        self.put(end);
    }

    fn put(&mut self, piece: &[u8]) {
        if !piece.is_empty() && !self.lines.count(piece) {
            self.out.extend_from_slice(piece);
        }
    }
}
