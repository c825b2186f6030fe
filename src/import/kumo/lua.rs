//! What a policy says in plain words: calls of `kumo.…` with a table of literals. It is read, not run.

use super::values::{Entry, Value};
use crate::limits;

/// `kumo.NAME(…)`, `kumo.NAME { … }`, or `NAME:METHOD { … }` of a helper
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub name: String,
    pub line: usize,
    /// Its first argument.
    pub argument: Value,
}

/// A place in the text.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

/// All calls, in order.
pub(super) fn calls(text: &str) -> Vec<Call> {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0, line: 1 };
    let helpers = helpers(text);
    let mut calls = Vec::new();
    while cursor.at < cursor.bytes.len() {
        if cursor.skip_blank() || cursor.skip_string() {
            continue;
        }
        let word = cursor.word();
        if word.is_empty() {
            cursor.step();
            continue;
        }
        let of_helper = cursor.rest().first() == Some(&b':') && helpers.iter().any(|(name, _)| *name == word);
        let name = match word.strip_prefix("kumo.") {
            Some(name) => name.to_owned(),
            None if of_helper => {
                cursor.step();
                let module = helpers.iter().find(|(name, _)| *name == word).map_or("", |(_, module)| module);
                format!("{module}:{}", cursor.word())
            }
            None => continue,
        };
        let line = cursor.line;
        while cursor.skip_blank() {}
        let has_paren = cursor.bytes.get(cursor.at) == Some(&b'(');
        if !has_paren && !matches!(cursor.bytes.get(cursor.at), Some(b'{' | b'"' | b'\'')) {
            continue;
        }
        if has_paren {
            cursor.step();
        }
        let argument = cursor.value(0);
        calls.push(Call { name, line, argument });
    }
    calls
}

/// `local shaping = require 'policy-extras.shaping'`: each name, and the helper that it stands for.
fn helpers(text: &str) -> Vec<(String, String)> {
    let one = |line: &str| {
        let (name, rest) = line.trim_start().strip_prefix("local ")?.split_once('=')?;
        let module = rest.trim_start().strip_prefix("require")?.split("policy-extras.").nth(1)?;
        let end = module.find(['"', '\'', ')'])?;
        Some((name.trim().to_owned(), module[..end].to_owned()))
    };
    text.lines().filter_map(one).take(limits::IMPORT_FILES_MAX).collect()
}

/// Helper files that the policy names, by the ends of their paths.
pub(super) fn files(text: &str) -> Vec<String> {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0, line: 1 };
    let mut found: Vec<String> = Vec::new();
    while cursor.at < cursor.bytes.len() && found.len() < limits::IMPORT_FILES_MAX {
        if cursor.skip_blank() {
            continue;
        }
        match cursor.string() {
            Some(text) if text.ends_with(".toml") || text.ends_with(".json") => {
                // What the program ships is not the operator's: we ship our own.
                let shipped = text.starts_with("/opt/kumomta/share/");
                let name = text.rsplit('/').next().unwrap_or_default().to_owned();
                if !shipped && !found.contains(&name) {
                    found.push(name);
                }
            }
            Some(_) => {}
            None => cursor.step(),
        }
    }
    found
}

impl Cursor<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self) {
        if self.bytes.get(self.at) == Some(&b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    /// White space and comments. Whether there were any.
    fn skip_blank(&mut self) -> bool {
        let begin = self.at;
        while self.rest().first().is_some_and(u8::is_ascii_whitespace) {
            self.step();
        }
        if self.rest().starts_with(b"--[[") {
            let end =
                self.rest().windows(2).position(|two| two == b"]]").map_or(self.rest().len(), |end| end + 2);
            self.steps(end);
        } else if self.rest().starts_with(b"--") {
            let end = self.rest().iter().position(|byte| *byte == b'\n').unwrap_or(self.rest().len());
            self.steps(end);
        }
        self.at > begin
    }

    fn skip_string(&mut self) -> bool {
        self.string().is_some()
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.rest();
        if rest.starts_with(b"[[") {
            let end = rest.windows(2).position(|two| two == b"]]").unwrap_or(rest.len());
            let text = String::from_utf8_lossy(rest.get(2..end).unwrap_or_default()).into_owned();
            self.steps((end + 2).min(self.rest().len()));
            return Some(text);
        }
        let quote = *rest.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
        let mut text = Vec::new();
        self.step();
        while let Some(byte) = self.rest().first().copied() {
            self.step();
            match byte {
                byte if byte == quote => break,
                b'\\' => {
                    if let Some(next) = self.rest().first().copied() {
                        self.step();
                        text.push(match next {
                            b'n' => b'\n',
                            b't' => b'\t',
                            other => other,
                        });
                    }
                }
                byte => text.push(byte),
            }
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// A name, with dots in it.
    fn word(&mut self) -> String {
        let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.';
        let end = self.rest().iter().position(|byte| !is_one(byte)).unwrap_or(self.rest().len());
        let word = String::from_utf8_lossy(&self.rest()[..end]).into_owned();
        self.at += end;
        word
    }

    /// A literal; what is none is code, and passed over up to where it ends.
    fn value(&mut self, depth: usize) -> Value {
        while self.skip_blank() {}
        if let Some(text) = self.string() {
            return self.ended(Value::Text(text));
        }
        if self.rest().first() == Some(&b'{') && depth < limits::IMPORT_BLOCKS_MAX {
            self.step();
            let table = self.table(depth);
            return self.ended(table);
        }
        let negative = self.rest().first() == Some(&b'-');
        if negative {
            self.step();
        }
        let word = self.word();
        let is_number = !word.is_empty() && word.parse::<f64>().is_ok();
        if is_number || matches!(word.as_str(), "true" | "false") {
            let sign = if negative { "-" } else { "" };
            let word = self.product(word);
            return self.ended(Value::Plain(format!("{sign}{word}")));
        }
        self.pass();
        Value::Code
    }

    /// `20 * 1024 * 1024`
    fn product(&mut self, first: String) -> String {
        let mut all = first;
        loop {
            let before = (self.at, self.line);
            while self.skip_blank() {}
            let factor = match self.rest().first() {
                Some(b'*') => {
                    self.step();
                    while self.skip_blank() {}
                    self.word().parse::<u64>().ok()
                }
                _ => None,
            };
            match factor.zip(all.parse::<u64>().ok()).and_then(|(one, other)| one.checked_mul(other)) {
                Some(product) => all = product.to_string(),
                None => {
                    (self.at, self.line) = before;
                    return all;
                }
            }
        }
    }

    /// A literal is one only where nothing goes on behind it.
    fn ended(&mut self, value: Value) -> Value {
        while self.skip_blank() {}
        match self.rest().first() {
            None | Some(b',' | b';' | b'}' | b')') => value,
            // The next statement: a call without parentheses has ended.
            Some(byte) if byte.is_ascii_alphabetic() => value,
            Some(_) => {
                self.pass();
                Value::Code
            }
        }
    }

    /// Passes over code up to a comma or the end of what holds it.
    fn pass(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.rest().first().copied() {
            if self.skip_blank() || self.skip_string() {
                continue;
            }
            match byte {
                b'(' | b'{' | b'[' => depth += 1,
                b')' | b'}' | b']' if depth == 0 => return,
                b')' | b'}' | b']' => depth -= 1,
                b',' | b';' if depth == 0 => return,
                _ => {}
            }
            self.step();
        }
    }

    /// What stands behind `{`.
    fn table(&mut self, depth: usize) -> Value {
        let (mut named, mut listed) = (Vec::new(), Vec::new());
        while named.len() + listed.len() < limits::IMPORT_LIST_MAX {
            while self.skip_blank() {}
            match self.rest().first() {
                None => break,
                Some(b'}') => {
                    self.step();
                    break;
                }
                Some(b',' | b';') => {
                    self.step();
                    continue;
                }
                Some(_) => {}
            }
            let before = (self.at, self.line);
            let key = self.key();
            match key {
                Some(key) => {
                    let value = self.value(depth + 1);
                    named.push(Entry { key, line: before.1, value });
                }
                None => {
                    (self.at, self.line) = before;
                    listed.push(self.value(depth + 1));
                    if self.at == before.0 {
                        // A bracket that closes nothing.
                        self.step();
                    }
                }
            }
        }
        if named.is_empty() { Value::List(listed) } else { Value::Table(named) }
    }

    /// `name =`, `["name"] =`
    fn key(&mut self) -> Option<String> {
        let bracket = self.rest().first() == Some(&b'[') && !self.rest().starts_with(b"[[");
        let name = if bracket {
            self.step();
            let name = self.string()?;
            if self.rest().first() != Some(&b']') {
                return None;
            }
            self.step();
            name
        } else {
            self.word()
        };
        while self.skip_blank() {}
        let is_assigned = self.rest().first() == Some(&b'=') && self.rest().get(1) != Some(&b'=');
        if !is_assigned || name.is_empty() {
            return None;
        }
        self.step();
        Some(name)
    }
}
