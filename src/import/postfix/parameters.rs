//! main.cf: logical lines, and `$name` in values.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::import::{Id, ImportError, Ledger};
use crate::limits;

/// What Postfix itself calls so, unless main.cf says otherwise.
const BUILT_IN: [(&str, &str); 9] = [
    ("mail_name", "Postfix"),
    ("config_directory", "/etc/postfix"),
    ("queue_directory", "/var/spool/postfix"),
    ("data_directory", "/var/lib/postfix"),
    ("default_database_type", "hash"),
    ("default_cache_db_type", "btree"),
    ("indexed", "hash:/etc/postfix/"),
    ("mydestination", ""),
    ("relay_domains", ""),
];

/// Words of one line that a backslash or a comment cannot split: Postfix joins what begins with white space to the line before.
pub(super) struct LogicalLine {
    /// Each piece with its line in the file.
    pub pieces: Vec<(usize, String)>,
}

impl LogicalLine {
    /// Where it begins.
    pub fn line(&self) -> usize {
        self.pieces.first().map_or(1, |piece| piece.0)
    }

    /// All of it in one line.
    pub fn text(&self) -> String {
        let pieces: Vec<&str> = self.pieces.iter().map(|piece| piece.1.trim()).collect();
        pieces.join(" ").trim().to_owned()
    }
}

/// Splits a file.
pub(super) fn logical_lines(text: &str) -> Vec<LogicalLine> {
    let mut lines: Vec<LogicalLine> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let is_nothing = line.trim().is_empty() || line.trim_start().starts_with('#');
        if is_nothing {
            continue;
        }
        let goes_on = line.starts_with([' ', '\t']);
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => last.pieces.push((at + 1, line.to_owned())),
            None => lines.push(LogicalLine { pieces: vec![(at + 1, line.to_owned())] }),
        }
    }
    lines
}

/// `name = value`
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub value: String,
    pub id: Id,
}

/// All of main.cf.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    all: BTreeMap<String, Parameter>,
    named: RefCell<BTreeSet<String>>,
    /// Variables that may still be replaced in the value that is looked at: each may name many others.
    left: Cell<usize>,
}

impl Parameters {
    /// Reads the file.
    pub fn read(text: &str, ledger: &mut Ledger) -> Result<Parameters, ImportError> {
        let mut parameters = Parameters::default();
        for line in logical_lines(text) {
            let text = line.text();
            let Some((name, value)) = text.split_once('=') else {
                let id = ledger.add("main.cf", line.line(), &text)?;
                ledger.none(id, "it is no `name = value`, and Postfix ignores or refuses it");
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            let id = ledger.add("main.cf", line.line(), &without_secret(name, value))?;
            let new = Parameter { value: value.to_owned(), id };
            if let Some(before) = parameters.all.insert(name.to_owned(), new) {
                ledger.usual(before.id, "a later line of the file overrules it");
            }
        }
        Ok(parameters)
    }

    /// Its value, variables replaced; None: the file does not say it.
    pub fn get(&self, name: &str) -> Option<(String, Id)> {
        let one = self.all.get(name)?;
        Some((self.expand(&one.value), one.id))
    }

    /// A value with its variables replaced: `$name`, `${name}`, `$(name)`, `${name?text}`, `${name:text}`.
    pub fn expand(&self, value: &str) -> String {
        self.left.set(limits::IMPORT_LIST_MAX);
        self.expanded(value, 0)
    }

    fn expanded(&self, value: &str, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let (inner, after) = variable(rest);
            rest = after;
            let left = self.left.get();
            if depth < limits::IMPORT_VARIABLES_MAX && out.len() < limits::IMPORT_VALUE_MAX && left > 0 {
                self.left.set(left - 1);
                out.push_str(&self.variable(inner, depth));
            }
        }
        out.push_str(rest);
        if out.len() > limits::IMPORT_VALUE_MAX {
            let end = (0..=limits::IMPORT_VALUE_MAX).rev().find(|end| out.is_char_boundary(*end));
            out.truncate(end.unwrap_or(0));
        }
        out
    }

    fn variable(&self, inner: &str, depth: usize) -> String {
        let end = inner.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let (name, more) = inner.split_at(end.unwrap_or(inner.len()));
        let value = match self.all.get(name) {
            Some(one) => {
                self.named.borrow_mut().insert(name.to_owned());
                self.expanded(&one.value, depth + 1)
            }
            None => self.built_in(name, depth),
        };
        let text = |more: &str| {
            let more = more.trim();
            let more = more.strip_prefix('{').and_then(|more| more.strip_suffix('}')).unwrap_or(more);
            self.expanded(more.trim(), depth + 1)
        };
        match (more.chars().next(), value.is_empty()) {
            (Some('?'), false) => text(more[1..].split("}:").next().unwrap_or_default()),
            (Some('?'), true) => more.split_once("}:").map_or_else(String::new, |(_, other)| text(other)),
            (Some(':'), true) => text(&more[1..]),
            _ => value,
        }
    }

    fn built_in(&self, name: &str, depth: usize) -> String {
        if name == "mydomain" && depth < limits::IMPORT_VARIABLES_MAX {
            let host = self.all.get("myhostname").map(|one| self.expanded(&one.value, depth + 1));
            return host.and_then(|host| Some(host.split_once('.')?.1.to_owned())).unwrap_or_default();
        }
        BUILT_IN
            .iter()
            .find(|(known, _)| *known == name)
            .map_or_else(String::new, |(_, value)| (*value).to_owned())
    }

    /// Whether a value named it.
    pub fn is_named(&self, name: &str) -> bool {
        self.named.borrow().contains(name)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.all.iter().map(|(name, one)| (name.as_str(), one))
    }
}

/// What stands behind a dollar, and what follows.
fn variable(rest: &str) -> (&str, &str) {
    let (open, close) = match rest.chars().next() {
        Some('{') => ('{', '}'),
        Some('(') => ('(', ')'),
        _ => {
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            return rest.split_at(end.unwrap_or(rest.len()));
        }
    };
    let mut depth = 0usize;
    for (at, letter) in rest.char_indices() {
        if letter == open {
            depth += 1;
        } else if letter == close {
            depth -= 1;
        }
        if depth == 0 {
            return (&rest[1..at], &rest[at + 1..]);
        }
    }
    (&rest[1..], "")
}

fn without_secret(name: &str, value: &str) -> String {
    let has_secret =
        name.contains("password") && ["static:", "inline:"].iter().any(|kind| value.contains(kind));
    match has_secret {
        true => format!("{name} = {}:***", value.split(':').next().unwrap_or_default()),
        false => format!("{name} = {value}"),
    }
}

/// A list: commas and white space between its items.
pub(super) fn items(value: &str) -> Vec<String> {
    let items = value.split(|letter: char| letter.is_whitespace() || letter == ',');
    items.filter(|item| !item.is_empty()).take(limits::IMPORT_LIST_MAX).map(str::to_owned).collect()
}

/// Seconds of a time: `5d`, `300s`, `2h`; a bare number has the unit of the parameter.
pub(super) fn seconds(value: &str, usual: u64) -> Option<u64> {
    let value = value.trim();
    let digits = value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..digits].parse().ok()?;
    let unit = match &value[digits..] {
        "" => usual,
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.checked_mul(unit)
}
