//! What is known of a message as its lines come: how they end, its header section, its size.

use crate::limits;
use crate::mail::envelope::BodyFacts;
use crate::mail::instructions;
use crate::smtp::words;

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
    /// A line of the header section begins as an instruction does (`mail::instructions`).
    pub may_instruct: bool,
    /// It has a field `TLS-Required`.
    pub speaks_of_tls: bool,
}

impl Summary {
    /// What the envelope is to say of the body.
    pub fn facts(&self) -> BodyFacts {
        BodyFacts {
            eight_bit: self.eight_bit,
            needs_stuffing: self.needs_stuffing,
            mailbox_line: self.mailbox_line,
        }
    }

    /// What a message is refused for whoever brings it: the reply.
    pub fn refusal(&self) -> Option<&'static str> {
        if self.bare_line_end {
            Some(words::BARE_LINE_END)
        } else if self.too_large {
            Some(words::TOO_LARGE)
        } else if self.line_too_long {
            Some(words::TEXT_LINE_TOO_LONG)
        } else if self.hops > limits::HOPS_MAX {
            Some(words::MAIL_LOOP)
        } else {
            None
        }
    }
}

/// Where the last byte left the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanState {
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
/// In place of a length of [`RECEIVED`]: so many bytes of the line are those of an instruction.
const INSTRUCTION: u8 = 100;
/// The same for [`TLS_REQUIRED`], from there on.
const OF_TLS: u8 = 150;
const TLS_REQUIRED: &[u8] = b"tls-required:";
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

/// Whether LF stands behind CR and nowhere else, and CR before LF or at the end. Without a branch in the loop, so that it is done for
/// many bytes at a time.
pub(super) fn has_no_bare(block: &[u8]) -> bool {
    let behind = block.get(1..).unwrap_or_default();
    let differ = |(one, next): (&u8, &u8)| u8::from(*one == b'\r') ^ u8::from(*next == b'\n');
    block.first() != Some(&b'\n')
        && block.iter().zip(behind).map(differ).fold(0, |bad, differs| bad | differs) == 0
}

/// A name of printable ASCII and a colon: the first line as it mostly is, told at a glance.
fn begins_with_field(piece: &[u8]) -> bool {
    let name = piece.iter().position(|byte| !matches!(byte, b'!'..=b'9' | b';'..=b'~'));
    name.is_some_and(|length| length > 0 && piece[length] == b':')
}

/// Follows one message line by line, as it is stored. Whoever walks the bytes says where lines end, and counts what is kept.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) at: ScanState,
    pub(super) line_length: usize,
    pub(super) in_header: bool,
    pub(super) summary: Summary,
    size_max: u64,
    /// Start of the current header line, as far as it can still be a Received field.
    prefix: u8,
    opening: Opening,
    /// Bytes that the first line has of [`MAILBOX`].
    mailbox: u8,
}

impl Lines {
    /// At the first byte after the 354.
    pub(super) fn new(size_max: u64) -> Lines {
        Lines {
            at: ScanState::LineStart,
            line_length: 0,
            in_header: true,
            summary: Summary::default(),
            size_max,
            prefix: 0,
            opening: Opening::Start,
            mailbox: 0,
        }
    }

    /// The findings so far.
    pub(super) fn summary(&self) -> Summary {
        let mut summary = self.summary;
        if self.in_header {
            summary.header_length = summary.size;
        }
        summary
    }

    /// A line begins.
    pub(super) fn begin(&mut self) {
        self.line_length = 0;
        self.prefix = 0;
    }

    /// A bare CR or LF. The message will be refused, and its line is no header field, wherever the input was cut.
    pub(super) fn bare(&mut self) {
        self.summary.bare_line_end = true;
        self.prefix = u8::MAX;
    }

    pub(super) fn end(&mut self) {
        self.at = ScanState::LineStart;
        if self.line_length > limits::TEXT_LINE_MAX {
            self.summary.line_too_long = true;
        }
        if self.in_header && self.line_length == 0 && self.prefix != u8::MAX {
            self.in_header = false;
            // `count` counts this line right after, and puts the number in.
            self.summary.header_length = u64::MAX;
        }
    }

    /// Looks at the first line as far as it tells whether it is a field: printable ASCII, then a colon (RFC 5322 2.2). If not, the message
    /// has no header section, unless the line is a mailbox file's, which stands in front of one.
    #[cold]
    fn open(&mut self, piece: &[u8]) {
        if self.opening == Opening::Start && begins_with_field(piece) {
            self.opening = Opening::Known;
            return;
        }
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
    pub(super) fn match_prefix(&mut self, text: &[u8]) {
        if (INSTRUCTION..u8::MAX).contains(&self.prefix) {
            return if self.prefix < OF_TLS { self.match_instruction(text) } else { self.match_tls(text) };
        }
        for byte in text {
            let Some(wanted) = RECEIVED.get(usize::from(self.prefix)) else { return };
            if matches!(byte, b'\r' | b'\n') {
                return;
            }
            // Blanks before the colon are obsolete, and understood (RFC 5322 section 4.5).
            if *wanted == b':' && matches!(byte, b' ' | b'\t') {
                continue;
            }
            if byte.to_ascii_lowercase() != *wanted {
                if self.prefix == 0 && matches!(byte, b'x' | b'X') {
                    self.prefix = INSTRUCTION + 1;
                    return self.match_instruction(&text[1..]);
                }
                if self.prefix == 0 && matches!(byte, b't' | b'T') {
                    self.prefix = OF_TLS + 1;
                    return self.match_tls(&text[1..]);
                }
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

    /// The same of a line that begins with an X: whether it is an instruction, as its first letters tell.
    fn match_instruction(&mut self, text: &[u8]) {
        for byte in text {
            let is = match self.prefix - INSTRUCTION {
                1 => *byte == b'-',
                _ => instructions::may_go_on(*byte),
            };
            self.prefix = match (is, self.prefix - INSTRUCTION) {
                (true, 1) => INSTRUCTION + 2,
                (true, _) => {
                    self.summary.may_instruct = true;
                    u8::MAX
                }
                (false, _) => u8::MAX,
            };
            if self.prefix == u8::MAX {
                return;
            }
        }
    }

    /// The same of a line that begins with a T: whether it is the field `TLS-Required`.
    fn match_tls(&mut self, text: &[u8]) {
        for byte in text {
            let Some(wanted) = TLS_REQUIRED.get(usize::from(self.prefix - OF_TLS)) else { return };
            if *wanted == b':' && matches!(byte, b' ' | b'\t') {
                continue;
            }
            if byte.to_ascii_lowercase() != *wanted {
                self.prefix = u8::MAX;
                return;
            }
            self.prefix += 1;
            if usize::from(self.prefix - OF_TLS) == TLS_REQUIRED.len() {
                self.summary.speaks_of_tls = true;
                self.prefix = u8::MAX;
                return;
            }
        }
    }

    /// Counts canonical bytes; true: the message is too large and they are not kept.
    #[inline]
    pub(super) fn count(&mut self, piece: &[u8]) -> bool {
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
