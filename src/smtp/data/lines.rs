//! What is known of a message as its lines come: how they end, its header section, its size.

use std::rc::Rc;

use crate::config::{Content, FinalNewline, LongLines, OddBytes};
use crate::limits;
use crate::mail::envelope::BodyFacts;
use crate::mail::instructions;
use crate::smtp::data::fault::{Fault, FaultKind};

/// What is known of the whole message at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Canonical bytes.
    pub size: u64,
    /// A byte above 127 was seen.
    pub eight_bit: bool,
    /// The first of them in the header section.
    pub eight_bit_header: bool,
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
    /// What it is refused for, whoever brings it.
    pub fault: Option<Fault>,
    /// Where a line of the header section begins that is to be folded, from 1; 0: there is none.
    pub long_header: u64,
    /// The same of one of the body, which is to be encoded.
    pub long_body: u64,
    /// A line of the header section begins as an instruction does (`mail::instructions`).
    pub may_instruct: bool,
    /// It has a field `TLS-Required`.
    pub speaks_of_tls: bool,
}

impl Summary {
    /// What it is refused for, where nothing could be done about lines that are too long.
    pub fn refusal(&self) -> Option<Fault> {
        let long = [self.long_header, self.long_body].into_iter().find(|place| *place > 0);
        let long = long.map(|at| Fault { kind: FaultKind::LongLine(limits::TEXT_LINE_PROPER), at, line: 0 });
        self.fault.or(long)
    }

    /// What the envelope is to say of the body.
    pub fn facts(&self) -> BodyFacts {
        BodyFacts {
            eight_bit: self.eight_bit,
            eight_bit_header: self.eight_bit_header,
            needs_stuffing: self.needs_stuffing,
            mailbox_line: self.mailbox_line,
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
    pub(super) found: Found,
    size_max: u64,
    /// None: that of the usual listener.
    content: Option<Rc<Content>>,
    /// The longest line that nothing has to be done about. This and the next three are `content`'s, here as they are asked for at each line.
    pub(super) line_max: usize,
    header_size_max: u64,
    header_fields_max: u32,
    looks_at_bytes: bool,
    /// Lines of the header section that ended.
    header_lines: u32,
    fields: u32,
    odd: Option<Box<Odd>>,
    /// Start of the current header line, as far as it can still be a Received field.
    prefix: u8,
    opening: Opening,
    /// Bytes that the first line has of [`MAILBOX`].
    mailbox: u8,
}

/// What every message has of a [`Summary`].
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) size: u64,
    header_length: u64,
    hops: u32,
    pub(super) eight_bit: bool,
    eight_bit_header: bool,
    pub(super) needs_stuffing: bool,
    mailbox_line: bool,
    may_instruct: bool,
    speaks_of_tls: bool,
}

/// What few have. Behind a box, for room for it in every idle session would be too much.
#[derive(Debug, Default)]
struct Odd {
    fault: Option<Fault>,
    /// Where long lines begin that are to be folded: the message's first line, the first one of its header section, of its body; 0: there is
    /// none.
    long: [u64; 3],
}

static USUAL: Content = Content::USUAL;

/// In place of the number of a line: it is the first, and nobody knows yet whether that is one of the header section.
const FIRST: u32 = u32::MAX;

impl Lines {
    /// At the first byte after the 354.
    pub(super) fn new(size_max: u64, content: Option<Rc<Content>>) -> Lines {
        let rules = content.as_deref().unwrap_or(&USUAL);
        Lines {
            at: ScanState::LineStart,
            line_length: 0,
            in_header: true,
            found: Found::default(),
            size_max,
            line_max: match rules.long_lines {
                LongLines::Pass => limits::TEXT_LINE_MAX,
                LongLines::Refuse | LongLines::Fold => limits::TEXT_LINE_PROPER,
            },
            header_size_max: rules.header_size_max,
            header_fields_max: rules.header_fields_max,
            looks_at_bytes: rules.looks_at_bytes(),
            content,
            header_lines: 0,
            fields: 0,
            odd: None,
            prefix: 0,
            opening: Opening::Start,
            mailbox: 0,
        }
    }

    fn content(&self) -> &Content {
        self.content.as_deref().unwrap_or(&USUAL)
    }

    /// What becomes of a message that ends within a line.
    pub(super) fn final_newline(&self) -> FinalNewline {
        self.content().final_newline
    }

    /// The findings so far.
    pub(super) fn summary(&self) -> Summary {
        let Found {
            size,
            header_length,
            hops,
            eight_bit,
            eight_bit_header,
            needs_stuffing,
            mailbox_line,
            may_instruct,
            speaks_of_tls,
        } = self.found;
        let header_length = if self.in_header { size } else { header_length };
        let mut summary = Summary {
            size,
            eight_bit,
            eight_bit_header,
            needs_stuffing,
            hops,
            header_length,
            mailbox_line,
            fault: None,
            long_header: 0,
            long_body: 0,
            may_instruct,
            speaks_of_tls,
        };
        if let Some(odd) = &self.odd {
            self.sum_up(odd, &mut summary);
        }
        if size > self.size_max {
            let too_large =
                Fault { kind: FaultKind::TooLarge(self.size_max), at: self.size_max + 1, line: 0 };
            summary.fault = Some(too_large.or(summary.fault));
        }
        summary
    }

    /// The header section was changed, which made it longer by so much.
    pub(super) fn header_grew(&mut self, by: i64) {
        self.found.size = self.found.size.saturating_add_signed(by);
        if !self.in_header {
            self.found.header_length = self.found.header_length.saturating_add_signed(by);
        }
        if let Some(Odd { long: [_, _, body], .. }) = self.odd.as_deref_mut() {
            *body = if *body > 0 { body.saturating_add_signed(by) } else { 0 };
        }
    }

    /// Its long lines were folded.
    pub(super) fn header_is_folded(&mut self) {
        if let Some(Odd { long: [first, header, _], .. }) = self.odd.as_deref_mut() {
            (*first, *header) = (0, 0);
        }
    }

    #[cold]
    fn sum_up(&self, odd: &Odd, summary: &mut Summary) {
        summary.fault = odd.fault;
        if let Some(fault) = summary.fault.as_mut().filter(|fault| fault.line == FIRST) {
            fault.line = u32::from(summary.header_length > 0);
        }
        let ([first, header, body], has_header) = (odd.long, summary.header_length > 0);
        (summary.long_header, summary.long_body) = match (first > 0, has_header) {
            (true, true) => (first, body),
            (true, false) => (0, first),
            (false, _) => (header, body),
        };
    }

    /// A line begins with this byte, behind a dot that is none of it.
    pub(super) fn first(&mut self, byte: u8) {
        if self.in_header && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            self.fields += 1;
            if self.fields > self.header_fields_max {
                self.blame(FaultKind::ManyFields(self.header_fields_max), self.found.size + 1);
            }
        }
    }

    /// A line begins.
    pub(super) fn begin(&mut self) {
        self.line_length = 0;
        self.prefix = 0;
    }

    /// Something is wrong with this byte, and the message will be refused.
    #[cold]
    pub(super) fn blame(&mut self, kind: FaultKind, at: u64) {
        self.blame_in(self.header_lines + 1, kind, at);
    }

    fn blame_in(&mut self, header_line: u32, kind: FaultKind, at: u64) {
        let line = match self.opening {
            Opening::Known if !self.in_header => 0,
            Opening::Known => header_line,
            _ => FIRST,
        };
        self.note(Fault { kind, at, line });
    }

    fn note(&mut self, fault: Fault) {
        let odd = self.odd.get_or_insert_default();
        odd.fault = Some(fault.or(odd.fault));
    }

    /// A bare CR or LF. The message will be refused, and its line is no header field, wherever the input was cut.
    pub(super) fn bare(&mut self, kind: FaultKind, at: u64) {
        self.blame(kind, at);
        self.prefix = u8::MAX;
    }

    /// A line ends, whose text ends at this byte of the message.
    pub(super) fn end(&mut self, text_end: u64) {
        self.at = ScanState::LineStart;
        if self.line_length > self.line_max {
            self.long_line(text_end - self.line_length as u64 + 1, self.line_length);
        }
        if self.in_header {
            self.header_lines += 1;
            if self.line_length == 0 && self.prefix != u8::MAX {
                // Also where it is the first line: that is known, then.
                (self.in_header, self.opening) = (false, Opening::Known);
                // With the line's CRLF, which is counted next.
                self.found.header_length = text_end + 2;
                self.header_grows(text_end + 2);
            }
        }
    }

    /// A line is longer than it should be, or than it may be; it began at this byte.
    #[cold]
    pub(super) fn long_line(&mut self, at: u64, length: usize) {
        let refuses = self.content().long_lines == LongLines::Refuse;
        if length > limits::TEXT_LINE_MAX || refuses {
            let most = if refuses { self.line_max } else { limits::TEXT_LINE_MAX };
            return self.blame(FaultKind::LongLine(most), at);
        }
        let place = if at == 1 { 0 } else { 2 - usize::from(self.in_header) };
        let long = &mut self.odd.get_or_insert_default().long[place];
        if *long == 0 {
            *long = at;
        }
    }

    /// The same of lines that lie whole in a piece of the body, behind so many bytes of the message: looks at the end of what a line may be, and
    /// back from there.
    pub(super) fn long_lines(&mut self, piece: &[u8], before: u64) {
        let (mut from, most) = (0, self.line_max);
        while piece.len() - from > most {
            let window = &piece[from..piece.len().min(from + most + 2)];
            if let Some(end) = memchr::memrchr(b'\n', window) {
                from += end + 1;
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', &piece[from..]) else { return };
            self.long_line(before + from as u64 + 1, end - 1);
            from += end + 1;
        }
    }

    /// Looks at the first line, unless it is longer than any may be: then it is none of a header section, whatever it says.
    #[cold]
    fn open_within(&mut self, piece: &[u8]) {
        let left = (limits::TEXT_LINE_MAX as u64).saturating_sub(self.found.size) as usize;
        self.open(&piece[..piece.len().min(left)]);
        if piece.len() > left && self.opening != Opening::Known {
            (self.opening, self.in_header) = (Opening::Known, false);
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
                    self.found.mailbox_line = usize::from(self.mailbox) == MAILBOX.len();
                    self.in_header = self.found.mailbox_line;
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
                self.found.hops += 1;
                self.prefix = u8::MAX;
                if self.found.hops > limits::HOPS_MAX {
                    self.blame(FaultKind::Loop, self.found.size - self.line_length as u64 + 1);
                }
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
                    self.found.may_instruct = true;
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
                self.found.speaks_of_tls = true;
                self.prefix = u8::MAX;
                return;
            }
        }
    }

    /// Counts canonical bytes; true: the message is too large and they are not kept.
    #[inline(always)]
    pub(super) fn count(&mut self, piece: &[u8]) -> bool {
        if !self.in_header && !self.looks_at_bytes {
            self.found.size += piece.len() as u64;
            return self.found.size > self.size_max;
        }
        if self.opening != Opening::Known {
            self.open_within(piece);
        }
        self.found.size += piece.len() as u64;
        if self.in_header && self.opening == Opening::Known {
            self.header_grows(self.found.size);
        }
        if self.looks_at_bytes {
            self.look(piece);
        }
        self.found.size > self.size_max
    }

    /// What was just kept has the first byte above 127.
    #[cold]
    pub(super) fn eight_bit(&mut self, kept: &[u8]) {
        let before = self.found.size.saturating_sub(kept.len() as u64);
        let end = if self.in_header { u64::MAX } else { self.found.header_length };
        let header = usize::try_from(end.saturating_sub(before)).unwrap_or(usize::MAX).min(kept.len());
        self.found.eight_bit = true;
        self.found.eight_bit_header = !kept[..header].is_ascii();
    }

    fn header_grows(&mut self, length: u64) {
        if length > self.header_size_max {
            self.header_too_long(self.header_size_max);
        }
    }

    /// Which of its lines passes the bound depends on how the input was cut; which byte does not.
    #[cold]
    fn header_too_long(&mut self, most: u64) {
        self.note(Fault { kind: FaultKind::LongHeader(most), at: most + 1, line: 0 });
    }

    /// Looks for bytes that should not be in what was just counted.
    #[inline(never)]
    fn look(&mut self, piece: &[u8]) {
        let before = self.found.size - piece.len() as u64;
        // Where its line ends with it, that end was seen already.
        let line = self.header_lines + u32::from(!piece.ends_with(b"\r\n"));
        if self.content().nul == OddBytes::Refuse
            && let Some(place) = memchr::memchr(0, piece)
        {
            self.blame_in(line, FaultKind::Nul, before + place as u64 + 1);
        }
        if self.in_header
            && self.content().eight_bit_headers == OddBytes::Refuse
            && let Some(place) = piece.iter().position(|byte| !byte.is_ascii())
        {
            self.blame_in(line, FaultKind::EightBitHeader(piece[place]), before + place as u64 + 1);
        }
    }
}
