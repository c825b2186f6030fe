//! Bare CR and LF made CRLF. The dot rules (RFC 5321 4.5.2) are those of lines that CRLF ended, in and out: a dot behind a bare
//! line end is neither the end nor a dot to drop, and is doubled on the way out like any that begins a line.

use super::{At, Scanned, Scanner, has_no_bare};

impl Scanner {
    /// Whether a line end must be put in somewhere in `fresh`, or was put in right before.
    pub(super) fn grows(&self, fresh: &[u8]) -> bool {
        let rest = match (self.at, fresh) {
            (_, []) => return false,
            (At::BareStart, _) => return true,
            (At::Cr | At::DotCr, [b'\n', rest @ ..]) => rest,
            (At::Cr | At::DotCr, _) => return true,
            _ => fresh,
        };
        !has_no_bare(rest)
    }

    /// [`Scanner::scan`] for input that grows.
    pub(super) fn normalise(&mut self, fresh: &[u8]) -> Scanned {
        let mut out = Vec::with_capacity(fresh.len() + fresh.len() / 16);
        let (mut read, mut done) = (0, false);
        while read < fresh.len() {
            let byte = fresh[read];
            match self.at {
                At::LineStart | At::BareStart => {
                    self.line_length = 0;
                    self.prefix = 0;
                    if byte == b'.' && self.at == At::LineStart {
                        self.at = At::Dot;
                        read += 1;
                    } else {
                        self.summary.needs_stuffing |= byte == b'.';
                        self.at = At::Text;
                    }
                }
                At::Dot if byte == b'\r' => {
                    self.at = At::DotCr;
                    read += 1;
                }
                At::Dot => {
                    self.summary.needs_stuffing |= byte == b'.';
                    self.at = At::Text;
                }
                At::DotCr if byte == b'\n' => {
                    read += 1;
                    done = true;
                    break;
                }
                At::DotCr => self.end_line(b"\r\n", At::BareStart, &mut out),
                At::Text => read += self.normalise_text(&fresh[read..], &mut out),
                At::Cr if byte == b'\n' => {
                    read += 1;
                    self.end_line(b"\n", At::LineStart, &mut out);
                }
                At::Cr => self.end_line(b"\n", At::BareStart, &mut out),
            }
        }
        self.summary.eight_bit |= !out.is_ascii();
        Scanned { kept: 0, grown: out, consumed: read, done }
    }

    /// Text up to the end of its line, that included; returns its length.
    fn normalise_text(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let text = &rest[..end];
        if self.in_header {
            self.match_prefix(text);
        }
        self.line_length += text.len();
        self.put(text, out);
        match rest.get(end) {
            None => return end,
            Some(b'\r') => {
                self.put(b"\r", out);
                self.at = At::Cr;
            }
            Some(_) => self.end_line(b"\r\n", At::BareStart, out),
        }
        end + 1
    }

    fn end_line(&mut self, end: &[u8], next: At, out: &mut Vec<u8>) {
        self.line_ends();
        self.at = next;
        self.put(end, out);
    }

    fn put(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if !piece.is_empty() && !self.count(piece) {
            out.extend_from_slice(piece);
        }
    }
}
