//! Prepared messages: bodies made of words, or the files of a directory.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use memchr::memmem;

use super::label::HeaderSums;
use crate::checksum::Checksum;
use crate::mix::Sizes;
use crate::random::Random;

/// Templates of a run with mixed sizes. Sizes are drawn evenly over the quantiles, so the mean is exact.
const TEMPLATES: usize = 256;
/// What header section and last line take of a message's size.
const OVERHEAD: usize = 770;
/// Longest text line made, without CRLF; RFC 2045 6.7 keeps encoded lines to 76.
pub(super) const LINE: usize = 76;
/// Longest line a file may have (RFC 5321 4.5.3.1.6, without CRLF).
const LINE_MAX: usize = 998;
/// Files of a directory, and bytes of all of them, that are held in memory.
const FILES_MAX: usize = 20_000;
const BYTES_MAX: usize = 512 << 20;

/// The prepared bodies of a run.
#[derive(Clone, Debug)]
pub struct Templates {
    all: Vec<Template>,
    /// Files that could not be used.
    pub skipped: usize,
}

/// A message but for what differs each time.
#[derive(Clone, Debug)]
pub struct Template {
    /// The header fields, of a message from a file.
    pub head: Option<(Arc<[u8]>, HeaderSums)>,
    /// The body, dot-stuffed, ends with CRLF.
    pub wire: Arc<[u8]>,
    /// The body as it is, for BDAT.
    pub plain: Arc<[u8]>,
    /// Over that.
    pub(super) sum: Checksum,
    /// Whether it needs 8BITMIME (RFC 6152).
    pub eight_bit: bool,
}

impl Templates {
    /// Prepares bodies of these sizes.
    pub fn new(sizes: &Sizes, seed: u64) -> Templates {
        let count = if matches!(sizes, Sizes::Fixed(_)) { 1 } else { TEMPLATES };
        let body = |at: usize| {
            let size = sizes.quantile((at as f64 + 0.5) / count as f64);
            Template::of_words(size.saturating_sub(OVERHEAD), &mut Random::for_item(seed, at as u64))
        };
        Templates { all: (0..count).map(body).collect(), skipped: 0 }
    }

    /// Reads the `.eml` files of a directory, in the order of their names. Line ends become CRLF; a file that is no message
    /// SMTP can carry (a NUL, a line over 998 bytes, no header field) is skipped and counted.
    pub fn from_directory(directory: &Path) -> io::Result<Templates> {
        let named = |path: &Path, error: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {error}", path.display()))
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(|error| named(directory, &error))? {
            let path = entry.map_err(|error| named(directory, &error))?.path();
            if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml")) {
                paths.push(path);
            }
        }
        paths.sort();
        let (mut templates, mut bytes) = (Templates { all: Vec::new(), skipped: 0 }, 0);
        for path in paths {
            let text = crate::input::read(&path).map_err(|error| named(&path, &error))?;
            bytes += text.len();
            if templates.all.len() >= FILES_MAX || bytes > BYTES_MAX {
                let text = format!("more than {FILES_MAX} messages or {} MiB in it", BYTES_MAX >> 20);
                return Err(named(directory, &text));
            }
            match Template::of_message(&text) {
                Some(template) => templates.all.push(template),
                None => templates.skipped += 1,
            }
        }
        if templates.all.is_empty() {
            return Err(named(directory, &"no usable .eml file in it"));
        }
        Ok(templates)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Never: there is at least one.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn draw(&self, random: &mut Random) -> &Template {
        &self.all[random.below(self.all.len())]
    }
}

const WORDS: [&str; 24] = [
    "offer",
    "your",
    "account",
    "the",
    "statement",
    "of",
    "this",
    "month",
    "is",
    "ready",
    "order",
    "has",
    "been",
    "shipped",
    "and",
    "will",
    "arrive",
    "on",
    "Tuesday",
    "please",
    "confirm",
    "address",
    "thank",
    "you",
];

impl Template {
    /// Lines of words up to `size` bytes; every few lines one starts with a dot.
    fn of_words(size: usize, random: &mut Random) -> Template {
        let mut content = Vec::with_capacity(size);
        let mut line = Vec::with_capacity(LINE);
        while content.len() + 2 < size {
            let room = (size - content.len() - 2).min(LINE);
            line.clear();
            if random.chance(0.04) {
                line.push(b'.');
            }
            while line.len() < room {
                line.extend_from_slice(WORDS[random.below(WORDS.len())].as_bytes());
                line.push(b' ');
            }
            line.truncate(room);
            content.extend_from_slice(&line);
            content.extend_from_slice(b"\r\n");
        }
        Template::of_body(None, content)
    }

    /// From a message as it lies in a file. None: SMTP cannot carry it.
    fn of_message(text: &[u8]) -> Option<Template> {
        let mut lines = Vec::with_capacity(text.len() + text.len() / 40);
        let mut rest = text;
        // A line of a mailbox file in front of the header section is none of the message.
        if rest.starts_with(b"From ") {
            rest = &rest[memchr::memchr(b'\n', rest)? + 1..];
        }
        while !rest.is_empty() {
            let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            if end > LINE_MAX || memchr::memchr(0, &rest[..end]).is_some() {
                return None;
            }
            lines.extend_from_slice(&rest[..end]);
            lines.extend_from_slice(b"\r\n");
            let skip = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
            rest = &rest[(end + skip).min(rest.len())..];
        }
        let (head, body) = match memmem::find(&lines, b"\r\n\r\n") {
            Some(found) => (&lines[..found + 2], &lines[found + 4..]),
            None => (&lines[..], &b""[..]),
        };
        let name = &head[..memchr::memchr(b':', head)?];
        let is_field = !name.is_empty() && name.iter().all(|byte| matches!(byte, 33..=126));
        is_field.then(|| Template::of_body(Some((head.into(), HeaderSums::of(head))), body.to_vec()))
    }

    fn of_body(head: Option<(Arc<[u8]>, HeaderSums)>, content: Vec<u8>) -> Template {
        let mut wire = Vec::with_capacity(content.len() + content.len() / 500 + 8);
        let mut at_line_start = true;
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            if at_line_start && line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
            at_line_start = line.ends_with(b"\r\n");
        }
        let mut sum = Checksum::new();
        sum.update(&content);
        let eight_bit = !content.is_ascii() || head.as_ref().is_some_and(|(head, _)| !head.is_ascii());
        Template { head, wire: wire.into(), plain: content.into(), sum, eight_bit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_from_files() {
        let wire = |text: &str| {
            let template = Template::of_message(text.as_bytes())?;
            let head = template.head.map(|(head, _)| String::from_utf8(head.to_vec()).unwrap())?;
            Some((head, String::from_utf8(template.wire.to_vec()).unwrap(), template.eight_bit))
        };
        let is = |head: &str, body: &str, eight| Some((head.to_owned(), body.to_owned(), eight));
        assert_eq!(wire("A: b\nC: d\n\n.x\r\ny"), is("A: b\r\nC: d\r\n", "..x\r\ny\r\n", false));
        assert_eq!(wire("From joe Mon\nA: b\r\n\r\n\r\nz"), is("A: b\r\n", "\r\nz\r\n", false));
        assert_eq!(wire("A: b"), is("A: b\r\n", "", false));
        assert_eq!(wire("A: b\n\na\rb"), is("A: b\r\n", "a\r\nb\r\n", false));
        assert_eq!(wire("A: b\n\nü"), is("A: b\r\n", "ü\r\n", true));
        for text in ["", "no field\n\nx", "A: b\n\n\0", &format!("A: b\n\n{}", "x".repeat(999)), "\n\nA: b"] {
            assert_eq!(wire(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_directory_of_them() {
        let directory = std::env::temp_dir().join(format!("relevo-load-eml-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert!(Templates::from_directory(&directory).unwrap_err().to_string().contains("no usable"));
        for (name, text) in
            [("a.eml", "A: b\n\nx\n"), ("b.EML", "A: c\n\n"), ("c.eml", "\0"), ("d.txt", "A: b\n\n")]
        {
            fs::write(directory.join(name), text).unwrap();
        }
        let templates = Templates::from_directory(&directory).unwrap();
        assert_eq!((templates.len(), templates.skipped), (2, 1));
        fs::remove_dir_all(&directory).unwrap();
        assert!(Templates::from_directory(&directory).unwrap_err().to_string().contains("relevo-load-eml"));
    }
}
