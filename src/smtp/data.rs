//! The text after DATA: found, checked and un-stuffed in place (RFC 5321 4.1.1.4, 4.5.2).
//!
//! Only CRLF.CRLF ends it. A bare CR or LF anywhere is remembered, the scan goes on to the real end, and the message is
//! refused there: whatever the client meant by it, nobody downstream will read two messages where we read one. Where the
//! listener says so it becomes CRLF instead (`normalise`), and still ends nothing.

use crate::config::BareNewlines;
use crate::limits;

mod normalise;
#[cfg(test)]
mod tests;

/// What one call found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Canonical body bytes, now at the front of the buffer.
    pub kept: usize,
    /// Instead of these, where line ends were put in: the canonical bytes, at most twice as many as were scanned.
    pub grown: Vec<u8>,
    /// Bytes of the buffer that belonged to the message; the rest is pipelined input, untouched.
    pub consumed: usize,
    /// The final dot was seen.
    pub done: bool,
}

impl Scanned {
    /// The canonical bytes; `buffer` is the one that was scanned.
    pub fn body<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        if self.grown.is_empty() { &buffer[..self.kept] } else { &self.grown }
    }
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
    /// Bytes of the header section, the empty line included; the whole size if there is no empty line. 0: there is none, for
    /// the message begins with white space, which would continue a field that is put in front of it (RFC 5322 2.2.3), or with another
    /// line that is no field.
    pub header_length: u64,
    /// The first line is the `From ` of a mailbox file, perhaps quoted with `>`; the header section is around it.
    pub mailbox_line: bool,
    /// A CR without LF, or LF without CR, where these are refused.
    pub bare_line_end: bool,
    /// A line over TEXT_LINE_MAX.
    pub line_too_long: bool,
    /// More bytes than the limit given; from there on nothing was kept.
    pub too_large: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    /// After a line that a bare CR or LF ended: a dot here is text.
    BareStart,
    /// After a dot at a line's start, which is never part of the body (4.5.2).
    Dot,
    DotCr,
    Text,
    Cr,
}

const RECEIVED: &[u8] = b"received:";
/// How a message begins in a mailbox file.
const MAILBOX: &[u8] = b"From ";

/// How far the first line is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    Start,
    /// In what may be the name of a field.
    Name,
    /// In blanks behind it, which older mail has (RFC 5322 4.5).
    Blanks,
    /// It is a field, or is not.
    Known,
}

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
    opening: Opening,
    /// Bytes that the first line has of [`MAILBOX`].
    mailbox: u8,
    bare: BareNewlines,
}

impl Scanner {
    /// At the first byte after the 354.
    pub fn new(size_max: u64, bare: BareNewlines) -> Scanner {
        Scanner {
            bare,
            at: At::LineStart,
            summary: Summary::default(),
            size_max,
            line_length: 0,
            prefix: 0,
            in_header: true,
            opening: Opening::Start,
            mailbox: 0,
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
        if self.bare == BareNewlines::Normalise && self.grows(fresh) {
            return self.normalise(fresh);
        }
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
                At::LineStart | At::BareStart => {
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
        Scanned { kept, grown: Vec::new(), consumed: read, done }
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

    /// Looks at the first line as far as it tells whether it is a field: printable ASCII, then a colon (RFC 5322 2.2). If not, the message
    /// has no header section, unless the line is a mailbox file's, which stands in front of one.
    fn open(&mut self, piece: &[u8]) {
        for byte in piece {
            if let Some(wanted) = MAILBOX.get(usize::from(self.mailbox)) {
                match *byte {
                    b'>' if self.mailbox == 0 => {}
                    byte if byte == *wanted => self.mailbox += 1,
                    _ => self.mailbox = u8::MAX,
                }
            }
            self.opening = match (self.opening, *byte) {
                (Opening::Start, b'\r' | b'\n') => Opening::Known,
                (Opening::Name | Opening::Blanks, b':') => Opening::Known,
                (Opening::Name | Opening::Blanks, b' ' | b'\t') => Opening::Blanks,
                (Opening::Start | Opening::Name, b'!'..=b'9' | b';'..=b'~') => Opening::Name,
                _ => {
                    self.summary.mailbox_line = usize::from(self.mailbox) == MAILBOX.len();
                    self.in_header = self.summary.mailbox_line;
                    Opening::Known
                }
            };
            if self.opening == Opening::Known {
                return;
            }
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
        if self.count(&fresh[from..to]) {
            return kept;
        }
        if kept != from {
            fresh.copy_within(from..to, kept);
        }
        kept + (to - from)
    }

    /// Counts canonical bytes; true: the message is too large and they are not kept.
    fn count(&mut self, piece: &[u8]) -> bool {
        if self.opening != Opening::Known {
            self.open(piece);
        }
        self.summary.size += piece.len() as u64;
        if self.summary.header_length == u64::MAX {
            self.summary.header_length = self.summary.size;
        }
        if self.summary.size > self.size_max {
            self.summary.too_large = true;
        }
        self.summary.too_large
    }
}
