//! A header section as it lies in memory: its fields (RFC 5322 2.2), and what is taken out of it and put in.

use std::borrow::Cow;
use std::ops::Range;

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// As it is spelled, without the blanks that older mail has in front of the colon (RFC 5322 4.5). Empty: the line is no field.
    pub name: &'a [u8],
    /// What stands behind the colon, line ends of folded lines included.
    pub value: &'a [u8],
    /// Where its first line begins.
    pub start: usize,
    /// Behind its last line end.
    pub end: usize,
}

impl Field<'_> {
    /// Whether it is called so.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Where the fields begin: behind the `From ` line of a mailbox file.
pub fn start(section: &[u8], mailbox_line: bool) -> usize {
    if mailbox_line { memchr::memchr(b'\n', section).map_or(section.len(), |end| end + 1) } else { 0 }
}

/// The fields of a section, up to its empty line.
pub fn fields(section: &[u8], mailbox_line: bool) -> impl Iterator<Item = Field<'_>> {
    let mut at = start(section, mailbox_line);
    std::iter::from_fn(move || {
        let start = at;
        if matches!(section.get(start..)?, [] | [b'\r', b'\n', ..]) {
            return None;
        }
        loop {
            let rest = &section[at..];
            at += memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            // RFC 5322 2.2.3: a line that begins with white space goes on with the field before.
            if !matches!(section.get(at), Some(b' ' | b'\t')) {
                break;
            }
        }
        let text = &section[start..at];
        let text = text.strip_suffix(b"\r\n").unwrap_or(text);
        let (name, value) = match memchr::memchr(b':', text) {
            Some(colon) => (text[..colon].trim_ascii_end(), &text[colon + 1..]),
            None => (&b""[..], text),
        };
        Some(Field { name, value, start, end: at })
    })
}

/// A value as one line: folds and tabs are blanks, and it ends after `most` bytes.
pub fn one_line(value: &[u8], most: usize) -> Cow<'_, str> {
    let value = value.trim_ascii();
    let simple = value.len() <= most && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\t'));
    if simple {
        return String::from_utf8_lossy(value);
    }
    let bytes = value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    let line: Vec<u8> = bytes.map(|byte| if *byte == b'\t' { b' ' } else { *byte }).take(most).collect();
    // What is no text is shown as such, which makes it longer; a letter that was cut in two goes.
    let mut line = match std::str::from_utf8(&line) {
        Ok(line) => line.to_owned(),
        Err(error) if error.error_len().is_none() => {
            String::from_utf8_lossy(&line[..error.valid_up_to()]).into_owned()
        }
        Err(_) => String::from_utf8_lossy(&line).into_owned(),
    };
    line.truncate(cut(&line, most).len());
    Cow::Owned(line)
}

/// As much of a text as has so many bytes, and no half letter.
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// What is changed in a header section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Whole fields that go, in order.
    pub remove: Vec<Range<usize>>,
    /// Whole fields that come, in front of the others.
    pub add: Vec<u8>,
}

impl Edit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Makes the change in a message whose section has `length` bytes; returns how many it has now. 0 is no section: then it gets one
    /// where fields are added.
    pub fn apply(&self, message: &mut Vec<u8>, length: usize, mailbox_line: bool) -> usize {
        let mut kept = self.remove.first().map_or(0, |first| first.start);
        for (place, gone) in self.remove.iter().enumerate() {
            let next = self.remove.get(place + 1).map_or(message.len(), |next| next.start);
            message.copy_within(gone.end..next, kept);
            kept += next - gone.end;
        }
        let removed: usize = self.remove.iter().map(Range::len).sum();
        message.truncate(message.len() - removed);
        if self.add.is_empty() {
            return length - removed;
        }
        let empty_line: &[u8] = if length == 0 { b"\r\n" } else { b"" };
        let at = start(&message[..length - removed], mailbox_line);
        message.splice(at..at, self.add.iter().chain(empty_line).copied());
        length - removed + self.add.len() + empty_line.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &[u8] =
        b"Subject: one\r\n two\r\nX-Job : a\r\nno field\r\n\tgoes on\r\nx-job:b\r\n\r\nX-Job: body\r\n";

    fn names(section: &[u8], mailbox_line: bool) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields(section, mailbox_line).map(|field| (text(field.name), text(field.value))).collect()
    }

    #[test]
    fn fields_end_where_the_next_begins_and_at_the_empty_line() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("Subject", " one\r\n two"),
            pair("X-Job", " a"),
            pair("", "no field\r\n\tgoes on"),
            pair("x-job", "b"),
        ];
        assert_eq!(names(SECTION, false), expected);
        let ends: Vec<_> = fields(SECTION, false).map(|field| (field.start, field.end)).collect();
        assert!(ends.windows(2).all(|pair| pair[0].1 == pair[1].0) && ends[0].0 == 0);
        assert_eq!(&SECTION[ends[3].1..][..2], b"\r\n");
        let mailbox = [b"From a@b:c\r\n", SECTION].concat();
        assert_eq!(names(&mailbox, true), expected);
        assert_eq!(names(b"\r\nX: y\r\n", false), []);
        assert_eq!(names(b"", false), []);
        assert_eq!(names(b"A: b", false), [pair("A", " b")]);
        for end in 0..SECTION.len() {
            assert!(fields(&SECTION[..end], true).all(|field| field.end <= end));
        }
    }

    #[test]
    fn values_as_one_line() {
        assert_eq!(one_line(b" one\r\n\ttwo ", 100), "one two");
        assert_eq!(one_line(b" simple ", 100), "simple");
        assert_eq!(one_line("aé".as_bytes(), 2), "a", "no half letter");
        assert_eq!(one_line(b"a\xffb\tc", 100), "a\u{fffd}b c");
        assert_eq!(one_line(&b"\xff".repeat(100), 10), "\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn edits() {
        let edit = |remove: &[usize], add: &[u8], text: &[u8], length: usize, mailbox_line: bool| {
            let all: Vec<_> =
                fields(&text[..length], mailbox_line).map(|field| field.start..field.end).collect();
            let remove = remove.iter().map(|place| all[*place].clone()).collect();
            let mut message = text.to_vec();
            let length = Edit { remove, add: add.to_vec() }.apply(&mut message, length, mailbox_line);
            (String::from_utf8(message).unwrap(), length)
        };
        let section = SECTION.len() - b"X-Job: body\r\n".len();
        let rest = "\r\nX-Job: body\r\n";
        assert_eq!(
            edit(&[1, 3], b"", SECTION, section, false),
            (format!("Subject: one\r\n two\r\nno field\r\n\tgoes on\r\n{rest}"), section - 20)
        );
        assert_eq!(
            edit(&[0, 1, 2], b"A: b\r\n", SECTION, section, false),
            (format!("A: b\r\nx-job:b\r\n{rest}"), 6 + 9 + 2)
        );
        assert_eq!(edit(&[0, 1, 2, 3], b"", SECTION, section, false), (rest.to_owned(), 2));
        assert_eq!(
            edit(&[0], b"A: b\r\n", b"From x\r\nC: d\r\n\r\n.", 16, true),
            ("From x\r\nA: b\r\n\r\n.".to_owned(), 16)
        );
        assert_eq!(edit(&[], b"A: b\r\n", b" body", 0, false), ("A: b\r\n\r\n body".to_owned(), 8));
        assert_eq!(edit(&[], b"", b" body", 0, false), (" body".to_owned(), 0));
        assert!(Edit::default().is_empty());
    }
}
