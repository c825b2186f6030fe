//! Where a command line ends. One that is too long is skipped up to its end, as it comes.

use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Lines found so far; the number wraps.
    pub(super) count: u32,
    /// A line is being skipped because it was too long: so many bytes of it. 0: none is.
    skipped: u32,
}

/// What stands first in some input.
pub(super) enum NextLine<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// The end of a line that is too long. `endless`: longer than is skipped.
    TooLong { rest: &'a [u8], endless: bool },
    /// No line end.
    Part { endless: bool },
}

impl Lines {
    /// What stands first in `input`, where a line is shorter than `max`; and how much of `input` that used.
    pub(super) fn next<'a>(&mut self, input: &'a [u8], max: usize) -> (usize, NextLine<'a>) {
        let Some(end) = memchr::memchr(b'\n', input) else { return self.part(input.len(), max) };
        self.count = self.count.wrapping_add(1);
        let before = std::mem::take(&mut self.skipped) as usize;
        // A bare LF ends a command line for us, as for every server; only in DATA it matters.
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        let found = if before > 0 || end >= max {
            NextLine::TooLong { rest: line, endless: before + end > limits::LINE_SKIPPED_MAX }
        } else {
            NextLine::Line(line)
        };
        (end + 1, found)
    }

    /// So many bytes without a line end are there.
    fn part(&mut self, length: usize, max: usize) -> (usize, NextLine<'static>) {
        if !self.is_skipping() && length < max {
            return (0, NextLine::Part { endless: false });
        }
        let skipped = self.skipped as usize + length;
        let endless = skipped > limits::LINE_SKIPPED_MAX;
        if !endless {
            self.skipped = skipped as u32;
        }
        (length, NextLine::Part { endless })
    }

    /// Whether the start of a line was thrown away and its end is still to come.
    pub(super) fn is_skipping(&self) -> bool {
        self.skipped > 0
    }
}
