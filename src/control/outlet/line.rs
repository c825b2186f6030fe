//! A line of the log, read: its fields as they stand there.

use std::borrow::Cow;

use crate::time::{Civil, UnixMillis};

/// One event.
#[derive(Debug, Default)]
pub struct Line<'a> {
    fields: Vec<(&'a str, Cow<'a, [u8]>)>,
}

impl<'a> Line<'a> {
    /// Reads one; None: it is no object of JSON, or is cut off.
    pub fn read(line: &'a [u8]) -> Option<Line<'a>> {
        let mut fields = Vec::with_capacity(24);
        walk(line, |name, value| {
            fields.push((std::str::from_utf8(name).ok()?, Cow::Borrowed(value)));
            Some(())
        })?;
        Some(Line { fields })
    }

    /// All fields, each as JSON.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &[u8])> {
        self.fields.iter().map(|(name, value)| (*name, &**value))
    }

    /// One of them, as JSON.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(other, _)| *other == name).map(|(_, value)| &**value)
    }

    /// A text; empty where there is none.
    pub fn text(&self, name: &str) -> Cow<'_, str> {
        self.raw(name).and_then(decoded).unwrap_or_default()
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<u64> {
        std::str::from_utf8(self.raw(name)?).ok()?.parse().ok()
    }

    /// A time.
    pub fn time(&self, name: &str) -> Option<UnixMillis> {
        let text = self.text(name);
        let (second, behind) = text.split_at_checked("2026-12-01T08:00:00".len())?;
        let milli = match behind {
            "" | "Z" => 0,
            part => {
                part.strip_prefix('.')?.strip_suffix('Z').filter(|digits| digits.len() == 3)?.parse().ok()?
            }
        };
        Civil::time_named(second).map(|time| UnixMillis(time.0.saturating_add(milli)))
    }

    /// The texts of a list; none where it is no list.
    pub fn each(&self, name: &str) -> Vec<Cow<'_, str>> {
        let mut found = Vec::new();
        let Some(mut rest) = self.raw(name).and_then(|list| list.strip_prefix(b"[")) else { return found };
        while let Some(end) = value_end(rest.trim_ascii_start()) {
            let (value, behind) = rest.trim_ascii_start().split_at(end);
            found.extend(decoded(value));
            match behind.trim_ascii_start().strip_prefix(b",") {
                Some(more) => rest = more,
                None => break,
            }
        }
        found
    }

    /// Has another text in place of one that is there.
    pub(super) fn put(&mut self, name: &str, value: Vec<u8>) {
        if let Some((_, place)) = self.fields.iter_mut().find(|(other, _)| *other == name) {
            *place = Cow::Owned(value);
        }
    }
}

/// Gives the fields of a line, each value as JSON, as long as they are taken. None: it is no object of JSON, or is cut off, or one was not taken.
pub(in crate::control) fn walk<'a>(
    line: &'a [u8],
    mut take: impl FnMut(&'a [u8], &'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut rest = line.trim_ascii().strip_prefix(b"{")?;
    if rest.trim_ascii() == b"}" {
        return Some(());
    }
    loop {
        let name = rest.trim_ascii_start();
        let end = value_end(name).filter(|_| name.first() == Some(&b'"'))?;
        let (name, behind) = name.split_at(end);
        let value = behind.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, behind) = value.split_at(value_end(value)?);
        take(&name[1..name.len() - 1], value)?;
        match behind.trim_ascii_start().split_first()? {
            (b',', more) => rest = more,
            (b'}', more) => return more.trim_ascii().is_empty().then_some(()),
            _ => return None,
        }
    }
}

/// How many values a list of JSON has; 0: it is none.
pub(in crate::control) fn count(list: &[u8]) -> u64 {
    let (mut number, mut rest) = (0, list.strip_prefix(b"[").unwrap_or_default());
    while let Some(end) = value_end(rest.trim_ascii_start()) {
        number += 1;
        match rest.trim_ascii_start()[end..].trim_ascii_start().strip_prefix(b",") {
            Some(more) => rest = more,
            None => break,
        }
    }
    number
}

/// Where a value of JSON ends that begins here.
fn value_end(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => text_end(text),
        b'{' | b'[' => {
            let (mut at, mut depth) = (0, 0_usize);
            while let Some(byte) = text.get(at) {
                match byte {
                    b'"' => at += text_end(&text[at..])? - 1,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            None
        }
        b',' | b':' | b'}' | b']' => None,
        _ => text.iter().position(|byte| b",}] \n".contains(byte)),
    }
}

/// The same of a text: the quote that has no backslash before it.
fn text_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// A text of JSON as it is meant.
pub(in crate::control) fn decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(value).ok().map(Cow::Owned)
}

/// Appends a text as JSON.
pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    // A vector takes all.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_stands_in_others() {
        let text = br#"{"time":"2026-11-30T05:00:00.123Z","metadata":{"event": "x]}", "a":[{"b":"\\\""}]},"event":"bounced","recipients":["a\"b@y","c@y"],"size":12,"counts":true,"reply":"550 \u00e4 \"no\""}
"#;
        let line = Line::read(text).unwrap();
        assert_eq!(line.text("event"), "bounced");
        assert_eq!(line.raw("metadata").unwrap(), br#"{"event": "x]}", "a":[{"b":"\\\""}]}"#);
        assert_eq!(line.each("recipients"), ["a\"b@y", "c@y"]);
        assert_eq!((line.number("size"), line.number("event"), line.number("none")), (Some(12), None, None));
        assert_eq!(line.text("reply"), "550 \u{e4} \"no\"");
        assert_eq!(line.time("time").unwrap().0 % 1000, 123);
        assert_eq!(line.fields().count(), 7);
        assert!(line.each("size").is_empty() && line.text("size").is_empty());
    }

    #[test]
    fn what_is_cut_off_is_no_line() {
        let text = br#"{"event":"bounced","recipients":["a@y"],"size":12,"metadata":{"a":"}"}}"#;
        for end in 0..text.len() {
            assert!(Line::read(&text[..end]).is_none(), "{end}");
        }
        assert!(Line::read(text).is_some() && Line::read(b"{}\n").is_some());
        for bad in [&b""[..], b"x", b"{\"a\"}", b"{\"a\":}", b"{a:1}", b"{\"a\":1}x", b"{\"a\":]}", b"{,}"] {
            assert!(Line::read(bad).is_none(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
