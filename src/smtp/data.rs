//! The text after DATA: found, checked and un-stuffed in place (RFC 5321 4.1.1.4, 4.5.2).
//!
//! Only CRLF.CRLF ends it. A bare CR or LF anywhere is remembered, the scan goes on to the real end, and the message is
//! refused there: whatever the client meant by it, nobody downstream will read two messages where we read one. Where the
//! listener says so it becomes CRLF instead (`normalise`), and still ends nothing.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::config::{BareNewlines, Content, FinalNewline};
use crate::limits;

mod fault;
mod lines;
mod normalise;
#[cfg(test)]
mod tests;

pub use fault::{Fault, FaultKind};
pub use lines::Summary;
use lines::{Lines, ScanState, has_no_bare};

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

const _: () = assert!(limits::PLAIN_AT_ONCE <= limits::TEXT_LINE_MAX);

/// Where a line begins with a dot. Made once, as that costs what half a KiB costs to look through.
static LINE_WITH_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n."));

/// Scanners for messages to come: a session that waits has none of its own, and none is made for each message.
#[derive(Clone, Debug, Default)]
#[expect(clippy::vec_box, reason = "the box goes to a session as it is, and comes back")]
pub struct Scanners(Rc<RefCell<Vec<Box<Scanner>>>>);

impl Scanners {
    /// Puts one where it can stay.
    pub fn put(&self, scanner: Scanner) -> Box<Scanner> {
        match self.0.borrow_mut().pop() {
            Some(mut spare) => {
                *spare = scanner;
                spare
            }
            None => Box::new(scanner),
        }
    }

    /// Its message is over.
    pub fn give(&self, scanner: Box<Scanner>) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < limits::SPARE_BUFFERS {
            spare.push(scanner);
        }
    }
}

/// Scans one message, however its bytes are cut.
#[derive(Debug)]
pub struct Scanner {
    lines: Lines,
    bare: BareNewlines,
    /// Dots are doubled, and one alone is the end. Not so where the client says how many bytes come (RFC 3030 section 2).
    dots: bool,
}

impl Scanner {
    /// At the first byte after the 354, where all is taken that can be.
    pub fn new(size_max: u64, bare: BareNewlines) -> Scanner {
        Scanner::judging(size_max, bare, None)
    }

    /// The same where a listener may have rules of its own.
    pub fn judging(size_max: u64, bare: BareNewlines, content: Option<Rc<Content>>) -> Scanner {
        Scanner { lines: Lines::new(size_max, content), bare, dots: true }
    }

    /// At the first byte of the first BDAT: whoever counts the bytes says when to [`finish`](Scanner::finish).
    pub fn counted(self) -> Scanner {
        Scanner { dots: false, ..self }
    }

    /// The findings so far; final once [`Scanned::done`].
    pub fn summary(&self) -> Summary {
        self.lines.summary()
    }

    /// The header section, which is there whole, was changed: it has so many bytes more.
    pub fn header_grew(&mut self, by: i64) {
        self.lines.header_grew(by);
    }

    /// Its long lines were folded.
    pub fn header_is_folded(&mut self) {
        self.lines.header_is_folded();
    }

    /// Whether the header section goes on, as far as is known.
    pub fn is_in_header(&self) -> bool {
        self.lines.in_header
    }

    /// Scans newly received bytes and compacts the body to their front.
    pub fn scan(&mut self, fresh: &mut [u8]) -> Scanned {
        if self.bare == BareNewlines::Normalise && normalise::grows(self.lines.at, fresh) {
            let (grown, consumed, done) = normalise::normalise(&mut self.lines, fresh, self.dots);
            return Scanned { kept: 0, grown, consumed, done };
        }
        let (mut read, mut kept) = (0, 0);
        let mut done = false;
        // A block with a bare CR or LF is walked line by line, and looked at as a whole only once.
        let mut plain = true;
        while read < fresh.len() {
            if plain
                && !self.lines.in_header
                && matches!(self.lines.at, ScanState::LineStart | ScanState::Text)
            {
                match self.plain(&fresh[read..fresh.len().min(read + limits::PLAIN_AT_ONCE)]) {
                    Some(0) => {}
                    Some(length) => {
                        kept = self.keep(fresh, read, read + length, kept);
                        read += length;
                        continue;
                    }
                    None => plain = false,
                }
            }
            match self.lines.at {
                ScanState::LineStart | ScanState::BareStart => {
                    self.lines.begin();
                    let dot = fresh[read] == b'.';
                    if dot && self.dots {
                        self.lines.at = ScanState::Dot;
                        read += 1;
                        continue;
                    }
                    self.lines.first(fresh[read]);
                    self.lines.found.needs_stuffing |= dot;
                    self.lines.at = ScanState::Text;
                }
                ScanState::Dot if fresh[read] == b'\r' => {
                    self.lines.at = ScanState::DotCr;
                    read += 1;
                    continue;
                }
                ScanState::Dot => {
                    self.lines.first(fresh[read]);
                    self.lines.found.needs_stuffing |= fresh[read] == b'.';
                    self.lines.at = ScanState::Text;
                }
                ScanState::DotCr if fresh[read] == b'\n' => {
                    read += 1;
                    done = true;
                    break;
                }
                ScanState::DotCr => {
                    self.lines.bare(FaultKind::BareCr, self.lines.found.size + 1);
                    self.lines.at = ScanState::Text;
                }
                ScanState::Text | ScanState::Cr => {}
            }
            let end = self.text(fresh, read);
            kept = self.keep(fresh, read, end, kept);
            read = end;
        }
        if !self.lines.found.eight_bit && !fresh[..kept].is_ascii() {
            self.lines.eight_bit(&fresh[..kept]);
        }
        Scanned { kept, grown: Vec::new(), consumed: read, done }
    }

    /// Behind the last byte of a message whose bytes are counted: what is to stand behind that yet, so that its last line ends.
    pub fn finish(&mut self) -> &'static [u8] {
        let size = self.lines.found.size;
        let end: &[u8] = match self.lines.at {
            ScanState::LineStart | ScanState::BareStart => return b"",
            ScanState::Cr if self.bare == BareNewlines::Normalise => b"\n",
            ScanState::Cr => {
                self.lines.bare(FaultKind::BareCr, size);
                return b"";
            }
            _ if self.lines.final_newline() == FinalNewline::Refuse => {
                self.lines.blame(FaultKind::Unended, size);
                return b"";
            }
            _ => b"\r\n",
        };
        self.lines.end(size - u64::from(self.lines.at == ScanState::Cr));
        if self.lines.count(end) { b"" } else { end }
    }

    /// Text of the body as it mostly is, in one go: up to the next line that begins with a dot, if every CR in it is followed
    /// by an LF and every LF follows a CR. Returns its length; None if there is a bare one.
    fn plain(&mut self, block: &[u8]) -> Option<usize> {
        let mut block = block;
        let dotted = self.lines.at == ScanState::LineStart && block.first() == Some(&b'.');
        if self.dots {
            if dotted {
                return Some(0);
            }
            block = LINE_WITH_DOT.find(block).map_or(block, |end| &block[..=end]);
        }
        if !has_no_bare(block) {
            return None;
        }
        if !self.dots && !self.lines.found.needs_stuffing {
            self.lines.found.needs_stuffing = dotted || LINE_WITH_DOT.find(block).is_some();
        }
        if self.lines.at == ScanState::LineStart {
            self.lines.line_length = 0;
        }
        match (memchr::memchr(b'\n', block), memchr::memrchr(b'\n', block)) {
            (Some(first), Some(last)) => {
                self.lines.line_length += first - 1;
                self.first_line(block, first, last);
                self.lines.line_length = block.len() - (last + 1);
            }
            _ => self.lines.line_length += block.len(),
        }
        self.lines.at = match block.last() {
            Some(b'\n') => ScanState::LineStart,
            Some(b'\r') => {
                self.lines.line_length -= 1;
                ScanState::Cr
            }
            _ => ScanState::Text,
        };
        Some(block.len())
    }

    /// Looks at lines that end in a block of the body. Those that begin there too are shorter than it, and mostly that is short enough.
    #[inline]
    fn first_line(&mut self, block: &[u8], first: usize, last: usize) {
        let (size, length) = (self.lines.found.size, self.lines.line_length);
        if length > self.lines.line_max {
            self.lines.long_line(size + first as u64 - length as u64, length);
        }
        if self.lines.line_max < limits::PLAIN_AT_ONCE {
            self.lines.long_lines(&block[first + 1..=last], size + first as u64 + 1);
        }
    }

    /// Walks text up to the end of its line or of the buffer; returns where.
    fn text(&mut self, fresh: &[u8], from: usize) -> usize {
        let mut place = from;
        let size = self.lines.found.size;
        if self.lines.at == ScanState::Cr {
            self.lines.at = ScanState::Text;
            if fresh[place] == b'\n' {
                self.lines.end(size - 1);
                return place + 1;
            }
            self.lines.bare(FaultKind::BareCr, size);
            self.lines.line_length += 1;
        }
        if self.lines.in_header {
            self.lines.match_prefix(&fresh[place..]);
        }
        while let Some(found) = memchr::memchr2(b'\r', b'\n', &fresh[place..]) {
            let found = place + found;
            let before = size + (found - from) as u64;
            if fresh[found] == b'\n' {
                self.lines.bare(FaultKind::BareLf, before + 1);
                place = found + 1;
                continue;
            }
            match fresh.get(found + 1) {
                Some(b'\n') => {
                    self.lines.line_length += found - from;
                    self.lines.end(before);
                    return found + 2;
                }
                Some(_) => {
                    self.lines.bare(FaultKind::BareCr, before + 1);
                    place = found + 1;
                }
                None => {
                    self.lines.line_length += found - from;
                    self.lines.at = ScanState::Cr;
                    return found + 1;
                }
            }
        }
        self.lines.line_length += fresh.len() - from;
        fresh.len()
    }

    /// Moves `fresh[from..to]` behind the bytes already kept; nothing moves until a dot was dropped.
    #[inline(always)]
    fn keep(&mut self, fresh: &mut [u8], from: usize, to: usize, kept: usize) -> usize {
        if self.lines.count(&fresh[from..to]) {
            return kept;
        }
        if kept != from {
            fresh.copy_within(from..to, kept);
        }
        kept + (to - from)
    }
}
