//! A field of tags, in lines that are not too long.

use std::io::Write;

/// Lines are folded to this many characters, where there is a place to (RFC 5322 2.1.1).
const LINE_WIDTH: usize = 78;

/// Writes a field tag by tag.
pub struct Folder<'a> {
    out: &'a mut Vec<u8>,
    /// Where the current line begins.
    line: usize,
}

impl<'a> Folder<'a> {
    /// A field of this name (colon included).
    pub fn begin(out: &'a mut Vec<u8>, name: &str) -> Folder<'a> {
        let line = out.len();
        out.extend_from_slice(name.as_bytes());
        Folder { out, line }
    }

    /// Goes on with a field whose begin is there from `start` on.
    pub fn resume(out: &'a mut Vec<u8>, start: usize) -> Folder<'a> {
        let line = memchr::memrchr(b'\n', &out[start..]).map_or(start, |end| start + end + 1);
        Folder { out, line }
    }

    /// A tag, and the semicolon behind it.
    pub fn tag(&mut self, tag: std::fmt::Arguments<'_>) {
        let blank = self.out.len();
        self.out.push(b' ');
        // Into a vector, which cannot fail.
        let _ = write!(self.out, "{tag};");
        if self.out.len() - self.line > LINE_WIDTH {
            self.out.splice(blank..=blank, *b"\r\n\t");
            self.line = blank + 2;
        }
    }

    /// A tag on lines of its own, up to its value.
    pub fn open(&mut self, name: &str) {
        self.break_line();
        self.out.extend_from_slice(name.as_bytes());
    }

    /// A part of a value that is not broken, on the next line where it does not fit; there may be white space in front of it.
    pub fn part(&mut self, part: &str, behind: &str) {
        let fresh = matches!(self.out.last(), Some(b'='));
        if !fresh && self.out.len() - self.line + part.len() + behind.len() > LINE_WIDTH {
            self.break_line();
        }
        self.out.extend_from_slice(part.as_bytes());
        self.out.extend_from_slice(behind.as_bytes());
    }

    /// A value that may be broken anywhere.
    pub fn text(&mut self, mut text: &str) {
        while !text.is_empty() {
            let room = LINE_WIDTH.saturating_sub(self.out.len() - self.line);
            if room == 0 {
                self.break_line();
                continue;
            }
            let (now, rest) = text.split_at(room.min(text.len()));
            self.out.extend_from_slice(now.as_bytes());
            text = rest;
        }
    }

    fn break_line(&mut self) {
        self.out.extend_from_slice(b"\r\n\t");
        self.line = self.out.len() - 1;
    }
}
