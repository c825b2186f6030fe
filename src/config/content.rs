//! What a listener takes of messages that are not as RFC 5322 wants them. Each default takes what mail in the world has; who wants less says so.

use std::fmt;

use crate::config::literal::{bytes, integer, word};
use crate::config::section::Section;
use crate::config::value;
use crate::limits;

/// `long_lines`: lines of more than 998 bytes (RFC 5321 4.5.3.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongLines {
    /// Taken as they are, up to [`limits::TEXT_LINE_MAX`].
    #[default]
    Pass,
    /// 550 5.6.0 after the end.
    Refuse,
    /// Those of the header section are folded, and text that has some is encoded; what cannot be is refused.
    Fold,
}

/// `nul` and `eight_bit_headers`: bytes that should not be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OddBytes {
    /// Taken as they are.
    #[default]
    Pass,
    /// 550 5.6.0 after the end.
    Refuse,
}

/// `final_newline`: a message that came by BDAT, and ends within a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinalNewline {
    /// Its last line is ended.
    #[default]
    Add,
    /// 550 5.6.0 after the end.
    Refuse,
}

/// The content rules of a listener, but for `bare_newlines`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Lines over 998 bytes.
    pub long_lines: LongLines,
    /// NUL anywhere in a message.
    pub nul: OddBytes,
    /// Bytes over 127 in the header section.
    pub eight_bit_headers: OddBytes,
    /// A message without a CRLF at its end.
    pub final_newline: FinalNewline,
    /// The most bytes of a header section.
    pub header_size_max: u64,
    /// The most fields of it.
    pub header_fields_max: u32,
}

impl Default for Content {
    fn default() -> Content {
        Content::USUAL
    }
}

impl Content {
    /// What is taken where nothing is said.
    pub const USUAL: Content = Content {
        long_lines: LongLines::Pass,
        nul: OddBytes::Pass,
        eight_bit_headers: OddBytes::Pass,
        final_newline: FinalNewline::Add,
        header_size_max: limits::HEADER_SIZE_DEFAULT,
        header_fields_max: limits::HEADER_FIELDS_DEFAULT as u32,
    };

    /// Whether each byte has to be looked at.
    pub fn looks_at_bytes(&self) -> bool {
        self.nul == OddBytes::Refuse || self.eight_bit_headers == OddBytes::Refuse
    }
}

impl fmt::Display for Content {
    /// What is refused or changed, each with a comma before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.long_lines {
            LongLines::Pass => {}
            LongLines::Refuse => write!(f, ", no line over {} bytes", limits::TEXT_LINE_PROPER)?,
            LongLines::Fold => write!(f, ", lines over {} bytes are folded", limits::TEXT_LINE_PROPER)?,
        }
        if self.nul == OddBytes::Refuse {
            write!(f, ", no NUL")?;
        }
        if self.eight_bit_headers == OddBytes::Refuse {
            write!(f, ", no 8-bit header")?;
        }
        if self.final_newline == FinalNewline::Refuse {
            write!(f, ", the last line ended")?;
        }
        if self.header_size_max != Content::USUAL.header_size_max {
            write!(f, ", headers up to {}", value::show_size(self.header_size_max))?;
        }
        if self.header_fields_max != Content::USUAL.header_fields_max {
            write!(f, ", {} fields each", self.header_fields_max)?;
        }
        Ok(())
    }
}

/// Reads these keys of a listener.
pub(super) fn read(section: &Section<'_>) -> Content {
    let usual = Content::USUAL;
    let odd = |key| {
        section.read(key, OddBytes::Pass, |value| {
            word(value, [("pass", OddBytes::Pass), ("refuse", OddBytes::Refuse)])
        })
    };
    let most = limits::HEADER_FIELDS_MOST;
    Content {
        long_lines: section.read("long_lines", usual.long_lines, |value| {
            let words = [("pass", LongLines::Pass), ("refuse", LongLines::Refuse), ("fold", LongLines::Fold)];
            word(value, words)
        }),
        nul: odd("nul"),
        eight_bit_headers: odd("eight_bit_headers"),
        final_newline: section.read("final_newline", usual.final_newline, |value| {
            word(value, [("add", FinalNewline::Add), ("refuse", FinalNewline::Refuse)])
        }),
        header_size_max: section.read("header_size_max", usual.header_size_max, |value| {
            bytes(value, limits::HEADER_SIZE_LEAST..=limits::HEADER_SIZE_MOST, limits::HEADER_SIZE_DEFAULT)
        }),
        header_fields_max: section.read("header_fields_max", usual.header_fields_max, |value| {
            integer(value, limits::HEADER_FIELDS_LEAST..=most, limits::HEADER_FIELDS_DEFAULT)
                .map(|number| number as u32)
        }),
    }
}
