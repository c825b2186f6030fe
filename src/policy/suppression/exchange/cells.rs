//! The cells of one line after the other. A line ends in CR, LF or both, and goes on over them inside of quotes; what separates cells is what the
//! first line has: a comma, else a semicolon, else a tab.

use crate::limits;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// A cell begins.
    #[default]
    Begins,
    /// In one without quotes, or behind them.
    Plain,
    Quoted,
    /// Behind a quote in quotes: it ended them, or is the first of two.
    Quote,
}

/// What is wrong with a line as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineTrouble {
    /// It has more bytes or more cells than it may.
    TooLong,
    /// A quote in it is not closed before the end of the file.
    Unclosed,
}

/// The line that is read.
#[derive(Debug, Default)]
pub(super) struct Cells {
    text: Vec<u8>,
    ends: Vec<usize>,
    state: State,
    separator: Option<u8>,
    /// The separator comes from this, until one is known.
    first: Vec<u8>,
    /// The number of this line, less one, and how many ends of lines are in it.
    before: u64,
    inside: u64,
    /// The last byte was CR: an LF behind it is of the same end.
    cr: bool,
    too_long: bool,
    unclosed: bool,
}

/// What some put in front of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

impl Cells {
    /// Takes bytes. Some: a line ends in them, so many of them were used, and `next` goes on behind it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.separator.is_none() {
            // Whatever it is, it is known within one line, or that is too long.
            let most = limits::SUPPRESSION_LINE_MAX - self.first.len().min(limits::SUPPRESSION_LINE_MAX);
            let piece = &bytes[..bytes.len().min(most)];
            let end = piece.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            self.first.extend_from_slice(&piece[..end.map_or(piece.len(), |end| end + 1)]);
            if end.is_none() && piece.len() == bytes.len() {
                return None;
            }
            self.choose();
            let first = std::mem::take(&mut self.first);
            let used = end.map_or(piece.len(), |end| end + 1);
            // The first line has no end before its last byte.
            return match self.scan(&first) {
                Some(_) => Some(used),
                None => self.scan(&bytes[used..]).map(|more| used + more),
            };
        }
        self.scan(bytes)
    }

    fn choose(&mut self) {
        let marks = [b',', b';', b'\t'];
        let has = |mark: &&u8| self.first.contains(mark);
        self.separator = Some(*marks.iter().find(has).unwrap_or(&b','));
        if self.first.starts_with(MARK) {
            self.first.drain(..MARK.len());
        }
    }

    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let separator = self.separator.unwrap_or(b',');
        for (place, byte) in bytes.iter().enumerate() {
            let again = std::mem::replace(&mut self.cr, *byte == b'\r') && *byte == b'\n';
            if again && self.state != State::Quoted {
                continue;
            }
            match (self.state, *byte) {
                (State::Quoted, b'"') => self.state = State::Quote,
                (State::Quoted, byte) => {
                    self.inside += u64::from(byte == b'\r' || byte == b'\n' && !again);
                    self.push(byte);
                }
                (State::Quote, b'"') => {
                    self.push(b'"');
                    self.state = State::Quoted;
                }
                (State::Begins, b'"') => self.state = State::Quoted,
                (_, b'\r' | b'\n') => {
                    self.end_cell();
                    return Some(place + 1);
                }
                (_, byte) if byte == separator => {
                    self.end_cell();
                    self.state = State::Begins;
                }
                // Blanks in front of a quote are none.
                (State::Begins, b' ') => {}
                (_, byte) => {
                    self.push(byte);
                    self.state = State::Plain;
                }
            }
        }
        None
    }

    fn push(&mut self, byte: u8) {
        if self.text.len() < limits::SUPPRESSION_LINE_MAX {
            self.text.push(byte);
        } else {
            self.too_long = true;
        }
    }

    fn end_cell(&mut self) {
        if self.ends.len() < limits::SUPPRESSION_CELLS_MAX {
            self.ends.push(self.text.len());
        } else {
            self.too_long = true;
        }
    }

    /// The file ends, and with it the last line, which may be blank.
    pub(super) fn finish(&mut self) {
        if self.separator.is_none() {
            self.choose();
            let first = std::mem::take(&mut self.first);
            let _ = self.scan(&first);
        }
        self.unclosed = self.state == State::Quoted;
        self.end_cell();
    }

    /// Goes on to the next line.
    pub(super) fn next(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.state = State::Begins;
        self.before += 1 + self.inside;
        self.inside = 0;
        self.too_long = false;
    }

    /// The number of this line, from 1.
    pub(super) fn line(&self) -> u64 {
        self.before + 1
    }

    /// What is wrong with the line as a whole.
    pub(super) fn trouble(&self) -> Option<LineTrouble> {
        if self.unclosed {
            Some(LineTrouble::Unclosed)
        } else {
            self.too_long.then_some(LineTrouble::TooLong)
        }
    }

    /// Whether nothing is in it, or only blanks and separators.
    pub(super) fn is_blank(&self) -> bool {
        self.text.iter().all(|byte| byte.is_ascii_whitespace()) && !self.too_long && !self.unclosed
    }

    /// How many cells it has.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// One of them.
    pub(super) fn get(&self, place: usize) -> Option<&[u8]> {
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }
}

/// A cell without blanks around it, and without the mark that keeps tables from taking it for a formula. What is no UTF-8 is no text.
pub(super) fn plain(cell: &[u8]) -> &str {
    let text = std::str::from_utf8(cell).unwrap_or("\u{fffd}").trim();
    match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(MARKED) => rest,
        _ => text,
    }
}

/// What a spreadsheet takes for the beginning of a formula, and the mark itself.
pub(super) const MARKED: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];
