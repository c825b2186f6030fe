//! What is no TOML at all: which line, and the line that was meant where that can be told.
//!
//! A line is proposed only after it was tried: with it in place, the error is gone.

use toml::de::DeTable;

use crate::config::literal::quoted;
use crate::limits;

/// One error: where it begins, what it is, what to do.
pub(super) struct SyntaxError {
    pub at: usize,
    pub problem: String,
    pub fix: String,
}

/// All errors of syntax, at most one a line.
pub(super) fn errors(text: &str) -> Vec<SyntaxError> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let mut found: Vec<SyntaxError> = Vec::new();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let (start, line) = line_at(text, at);
        if found.iter().any(|other| line_at(text, other.at).0 == start)
            || found.len() == limits::CONFIG_ERRORS_TOLD
        {
            continue;
        }
        let problem = error.message().trim().replace('\n', ", ");
        let fix = if problem.contains("duplicate") {
            "remove one of the two".to_owned()
        } else {
            let better = candidates(line).into_iter().find(|better| helps(text, start, line, better));
            better.map_or_else(|| shape(line).to_owned(), |better| format!("write {better}"))
        };
        let problem = match line.trim() {
            "" => problem,
            line => format!(
                "`{}` is no TOML ({problem})",
                line.chars().take(limits::CONFIG_LINE_MAX).collect::<String>()
            ),
        };
        found.push(SyntaxError { at, problem, fix });
    }
    found
}

/// The line around a place: where it begins, and what it says.
fn line_at(text: &str, at: usize) -> (usize, &str) {
    let bytes = text.as_bytes();
    // An error at the end of a line may be told of the line break behind it.
    let at = if bytes.get(at) == Some(&b'\n') && at > 0 && bytes[at - 1] != b'\n' { at - 1 } else { at };
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let end = bytes[start..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| start + end);
    (start, text.get(start..end).unwrap_or_default().trim_end_matches('\r'))
}

/// Whether there are fewer errors with another line in place of this one, and none on it.
fn helps(text: &str, start: usize, line: &str, better: &str) -> bool {
    let whole = format!("{}{better}{}", &text[..start], &text[start + line.len()..]);
    let (_, before) = DeTable::parse_recoverable(text);
    let (_, after) = DeTable::parse_recoverable(&whole);
    let on_it = after
        .iter()
        .filter_map(|error| error.span())
        .any(|span| (start..=start + better.len()).contains(&span.start.min(whole.len())));
    after.len() < before.len() && !on_it
}

fn shape(line: &str) -> &'static str {
    if line.trim_start().starts_with('[') {
        "write a section as [name], one of several as [[name]] (see deploy/relevo.toml)"
    } else if line.split('=').nth(1).is_none_or(|value| value.trim().is_empty()) {
        "add a value, as in key = \"text\" or key = 10, or remove the line (see deploy/relevo.toml)"
    } else {
        "write each line as key = value, texts in double quotes (see deploy/relevo.toml)"
    }
}

/// What may have been meant by a line.
fn candidates(line: &str) -> Vec<String> {
    let line: String = line
        .trim()
        .chars()
        .map(|letter| match letter {
            '“' | '”' | '„' | '‘' | '’' | '«' | '»' => '"',
            '\u{a0}' => ' ',
            letter => letter,
        })
        .collect();
    let mut found = vec![line.clone()];
    if line.starts_with('[') {
        let name = line.split('#').next().unwrap_or_default().trim_matches(['[', ']', ' ', ':']);
        let several = matches!(name, "listener" | "route" | "shard");
        found.push(if several { format!("[[{name}]]") } else { format!("[{name}]") });
        return found;
    }
    let is_key = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let end = line.find(|letter| !is_key(letter)).unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    if key.is_empty() {
        return found;
    }
    let value = rest.trim_start_matches([' ', '\t', '=', ':']).trim();
    let bare = value.split(" #").next().unwrap_or_default().trim().trim_end_matches([';', ',']);
    if value.is_empty() {
        // Nothing says what it was to be.
        return found;
    }
    match bare.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" => found.push(format!("{key} = true")),
        "no" | "off" | "false" => found.push(format!("{key} = false")),
        _ => {}
    }
    // With an equals sign alone, or without a comma behind it, it may be right already.
    found.push(format!("{key} = {value}"));
    found.push(format!("{key} = {bare}"));
    let unquoted = bare.trim_matches(['"', '\'']);
    if let Some(items) = bare.strip_prefix('[') {
        let items = items.trim_end_matches(']').split(',').map(|item| item.trim().trim_matches(['"', '\'']));
        let items: Vec<_> = items.filter(|item| !item.is_empty()).map(quoted).collect();
        found.push(format!("{key} = [{}]", items.join(", ")));
    }
    // Text in quotes that ends before the line does: the rest is none of it.
    if let Some((inner, rest)) = bare.strip_prefix('"').and_then(|rest| rest.split_once('"'))
        && !rest.is_empty()
    {
        found.push(format!("{key} = \"{inner}\""));
    }
    found.push(format!("{key} = {}", quoted(unquoted)));
    found
}
