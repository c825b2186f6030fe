//! Lines, blocks and includes as a tree. Every directive and every opening of a block is in the ledger from then on.

use crate::import::{Id, ImportError, Ledger, Library};
use crate::limits;

/// A directive, or a block with what stands in it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// In lower case; of a block with `<` in front.
    pub name: String,
    /// What stands behind, quotes around all of it taken away.
    pub value: String,
    pub id: Id,
    pub children: Vec<Node>,
}

impl Node {
    /// Whether it is called so.
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// The last directive of this name in it: that one holds.
    pub fn last(&self, name: &str) -> Option<&Node> {
        self.children.iter().rev().find(|child| child.name == name)
    }

    /// The words of its value.
    pub fn words(&self) -> Vec<&str> {
        self.value
            .split(|letter: char| letter.is_whitespace() || letter == ',')
            .map(|word| word.trim_matches('"'))
            .filter(|word| !word.is_empty())
            .collect()
    }
}

/// A block that is open.
struct Open {
    node: Node,
    line: usize,
}

/// Reads a file and those that it includes.
pub(super) fn read(
    file: &str,
    library: &mut Library<'_>,
    ledger: &mut Ledger,
) -> Result<Vec<Node>, ImportError> {
    let mut files = Vec::new();
    one_file(file, library, ledger, &mut files)
}

fn one_file(
    file: &str,
    library: &mut Library<'_>,
    ledger: &mut Ledger,
    within: &mut Vec<String>,
) -> Result<Vec<Node>, ImportError> {
    let text = library.text(file).map_err(|missing| missing.needed(file))?;
    within.push(file.to_owned());
    let shown = file.rsplit('/').next().unwrap_or(file).to_owned();
    let mut open: Vec<Open> = Vec::new();
    let mut top: Vec<Node> = Vec::new();
    for (at, line) in joined(&text) {
        let wrong = |problem: String| ImportError::new(file, at, problem);
        let line = without_comment(&line);
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix("</") {
            let node = closed(&mut open, name).map_err(wrong)?;
            push(&mut open, &mut top, node);
            continue;
        }
        if let Some(head) = line.strip_prefix('<') {
            let Some(head) = head.strip_suffix('>') else {
                return Err(wrong("a block begins with <name ...>: the > is missing".to_owned()));
            };
            if open.len() >= limits::IMPORT_BLOCKS_MAX {
                return Err(wrong(format!("more than {} blocks in blocks", limits::IMPORT_BLOCKS_MAX)));
            }
            let (name, value) = split(head.trim());
            let id = ledger.add(&shown, at, line)?;
            open.push(Open {
                node: Node { name: format!("<{name}"), value, id, children: Vec::new() },
                line: at,
            });
            continue;
        }
        let (name, value) = split(line);
        let id = ledger.add(&shown, at, &without_secret(&name, line))?;
        if name == "include" {
            for node in included(&value, (file, at), library, ledger, within)? {
                push(&mut open, &mut top, node);
            }
            ledger.usual(id, "what it includes was read");
            continue;
        }
        push(&mut open, &mut top, Node { name, value, id, children: Vec::new() });
    }
    if let Some(last) = open.pop() {
        let problem = format!(
            "<{}> is never closed: write </{}> where it ends",
            &last.node.name[1..],
            &last.node.name[1..]
        );
        return Err(ImportError::new(file, last.line, problem));
    }
    within.pop();
    Ok(top)
}

/// The block that a line closes; else what is wrong with the line.
fn closed(open: &mut Vec<Open>, name: &str) -> Result<Node, String> {
    let name = name.trim_end_matches('>').trim().to_ascii_lowercase();
    let Some(last) = open.pop() else {
        return Err(format!("</{name}> closes a block that was never opened: remove it"));
    };
    if last.node.name[1..] != name {
        let (opened, line) = (&last.node.name[1..], last.line);
        return Err(format!("</{name}> stands where <{opened}> of line {line} is open: close that first"));
    }
    Ok(last.node)
}

fn included(
    name: &str,
    (file, line): (&str, usize),
    library: &mut Library<'_>,
    ledger: &mut Ledger,
    within: &mut Vec<String>,
) -> Result<Vec<Node>, ImportError> {
    let wrong = |problem: String| ImportError::new(file, line, problem);
    let path = match (name.starts_with('/'), file.rsplit_once('/')) {
        (false, Some((directory, _))) => format!("{directory}/{name}"),
        _ => name.to_owned(),
    };
    if within.contains(&path) {
        return Err(wrong(format!("{path} includes itself, by way of {}", within.join(", "))));
    }
    if within.len() >= limits::IMPORT_DEPTH_MAX {
        return Err(wrong(format!("more than {} files include each other", limits::IMPORT_DEPTH_MAX)));
    }
    one_file(&path, library, ledger, within).map_err(|error| match error.line {
        // What it is that cannot be read does not say who wants it.
        0 => wrong(format!("include {}: {}", error.file, error.problem)),
        _ => error,
    })
}

fn push(open: &mut [Open], top: &mut Vec<Node>, node: Node) {
    match open.last_mut() {
        Some(last) => last.node.children.push(node),
        None => top.push(node),
    }
}

/// Lines from 1; one that ends in a backslash goes on in the next.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (at, line) in text.lines().enumerate() {
        let ends = line.trim_end().strip_suffix('\\').filter(|_| !line.trim_start().starts_with('#'));
        let piece = ends.unwrap_or(line);
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(piece.trim());
            }
            None => lines.push((at + 1, piece.to_owned())),
        }
        goes_on = ends.is_some();
    }
    lines
}

/// A `#` begins a comment at the start of a word, outside of quotes and patterns.
fn without_comment(line: &str) -> String {
    let (mut quoted, mut pattern, mut before) = (false, false, ' ');
    for (at, letter) in line.char_indices() {
        match letter {
            '"' if !pattern => quoted = !quoted,
            '/' if !quoted && before != '\\' && (pattern || before.is_whitespace()) => {
                // A path begins so, too; it has no blank before its end, and a pattern of one word does no harm.
                pattern = !pattern && line[at + 1..].contains('/');
            }
            '#' if !quoted && before.is_whitespace() && !pattern => return line[..at].to_owned(),
            _ => {}
        }
        before = letter;
    }
    line.to_owned()
}

/// The name in lower case, and the rest.
fn split(line: &str) -> (String, String) {
    let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let value = value.trim();
    let plain = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .filter(|value| !value.contains('"'));
    (name.to_ascii_lowercase(), plain.unwrap_or(value).to_owned())
}

fn without_secret(name: &str, line: &str) -> String {
    let first = |count: usize| line.split_whitespace().take(count).collect::<Vec<_>>().join(" ") + " ***";
    match name {
        name if name.contains("password") || name.contains("secret") || name == "license" => first(1),
        name if name.contains("certificate") && line.split_whitespace().count() > 2 => first(2),
        _ => line.to_owned(),
    }
}
