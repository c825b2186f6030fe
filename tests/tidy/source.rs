//! Sources, with comments and the contents of literals blanked out, so that words in them mean nothing.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files below `directory`, sorted.
pub fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // What builds leave is nobody's source.
                if path.file_name().is_some_and(|name| name != "target") {
                    left.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A source file: where it is (from the root, with slashes) and its code.
pub struct Source {
    pub place: String,
    pub code: String,
}

impl Source {
    pub fn new(place: &str, text: &str) -> Source {
        Source { place: place.to_owned(), code: blank(text) }
    }

    pub fn complaint(&self, offset: usize, what: &str) -> String {
        let line = 1 + self.code[..offset].matches('\n').count();
        format!("{}:{line}: {what}", self.place)
    }
}

pub fn sources(directory: &str) -> Vec<Source> {
    let read = |path: PathBuf| {
        let place = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        Source::new(&place, &fs::read_to_string(&path).expect("a readable file"))
    };
    let found: Vec<_> = rust_files(&root().join(directory)).into_iter().map(read).collect();
    assert!(!found.is_empty(), "no sources in {directory}");
    found
}

/// The text with comments, strings and characters turned into blanks; lines stay where they are.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while place < bytes.len() {
        let rest = &bytes[place..];
        let word_before = out.last().is_some_and(|byte| is_word(*byte));
        let end = if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if rest[0] == b'"' {
            string(rest, 1)
        } else if matches!(rest[0], b'b' | b'c') && rest.get(1) == Some(&b'"') && !word_before {
            string(rest, 2)
        } else if let (Some(end), false) = (raw_string(rest), word_before) {
            end
        } else if rest[0] == b'\'' {
            character(rest)
        } else {
            0
        };
        if end == 0 {
            out.push(bytes[place]);
            place += 1;
        } else {
            out.extend(rest[..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            place += end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut place) = (0, 0);
    while place < rest.len() {
        match &rest[place..] {
            [b'/', b'*', ..] => (depth, place) = (depth + 1, place + 2),
            [b'*', b'/', ..] => (depth, place) = (depth - 1, place + 2),
            _ => place += 1,
        }
        if depth == 0 {
            return place;
        }
    }
    rest.len()
}

fn string(rest: &[u8], open: usize) -> usize {
    let mut place = open;
    while place < rest.len() {
        match rest[place] {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `br#"…"#` and the like.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let after = rest.strip_prefix(b"br").or(rest.strip_prefix(b"cr")).or(rest.strip_prefix(b"r"))?;
    let hashes = after.iter().take_while(|byte| **byte == b'#').count();
    if after.get(hashes) != Some(&b'"') {
        return None;
    }
    let from = rest.len() - after.len() + hashes + 1;
    let closing: Vec<u8> = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let found = rest[from..].windows(closing.len()).position(|window| window == closing);
    Some(found.map_or(rest.len(), |found| from + found + closing.len()))
}

/// A character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let closing = rest[3.min(rest.len())..].iter().position(|byte| *byte == b'\'');
        return closing.map_or(0, |closing| closing + 4);
    }
    // One character of up to four bytes.
    let closing = rest.iter().skip(2).take(4).position(|byte| *byte == b'\'');
    match closing {
        Some(closing) if closing == 0 || !rest[1].is_ascii() => closing + 3,
        _ => 0,
    }
}

/// Offsets of `word` as a whole word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code.as_bytes()[..*at].last().is_none_or(|byte| !is_word(*byte));
        before && code.as_bytes().get(at + word.len()).is_none_or(|byte| !is_word(*byte))
    })
}

/// Paths from the root of the crate that `code` names, groups taken apart: (`crate::a::B`, where).
pub fn crate_paths(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for start in ["crate", "super"] {
        for at in words(code, start).filter(|at| !code[..*at].trim_end().ends_with("::")) {
            // `pub(crate)` and `pub(super)` are no paths; expand says so by finding nothing.
            expand(&code[at + start.len()..], start.to_owned(), at, &mut found);
        }
    }
    found
}

/// Follows `::name::{a, b::C}` behind `prefix`; returns how many bytes it took.
pub fn expand(code: &str, prefix: String, at: usize, found: &mut Vec<(String, usize)>) -> usize {
    let skip = code.len() - code.trim_start().len();
    let Some(rest) = code[skip..].strip_prefix("::") else {
        found.push((prefix, at));
        return 0;
    };
    let blanks = rest.len() - rest.trim_start().len();
    let start = skip + 2 + blanks;
    if !rest[blanks..].starts_with('{') {
        let name: String = rest[blanks..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = start + name.len();
        return end + expand(&code[end..], format!("{prefix}::{name}"), at, found);
    }
    let mut place = start + 1;
    while place < code.len() && !code[place..].starts_with('}') {
        let tail = &code[place..];
        let name: String = tail.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            place += tail.chars().next().map_or(1, char::len_utf8);
        } else {
            place += name.len();
            place += expand(&code[place..], format!("{prefix}::{name}"), at, found);
        }
    }
    place + 1
}
