//! `header_checks`: entries that are about one field are rules; what is said of all others is for a rule's author to say anew.

use super::parameters::{items, logical_lines};
use super::reader::Reader;
use crate::import::words::quoted;
use crate::import::{Id, ImportError};
use crate::limits;

/// Maps of this kind, each with whether its entries are about the header of the message itself.
const KINDS: [(&str, bool); 5] = [
    ("header_checks", true),
    ("smtp_header_checks", true),
    ("mime_header_checks", false),
    ("nested_header_checks", false),
    ("body_checks", false),
];

pub(super) fn checks(reader: &mut Reader<'_, '_>) -> Result<(), ImportError> {
    for (name, of_header) in KINDS {
        if let Some((value, id)) = reader.main.get(name) {
            self::map(reader, of_header, &value, id)?;
        }
    }
    Ok(())
}

fn map(reader: &mut Reader<'_, '_>, of_header: bool, value: &str, id: Id) -> Result<(), ImportError> {
    for map in items(value) {
        let Some((kind, path)) = map.split_once(':') else { continue };
        if !matches!(kind, "regexp" | "pcre") {
            reader.out.ledger.none(id, "no patterns in a file");
            continue;
        }
        let Some((shown, text)) = super::maps::file(reader, path, id)? else { continue };
        reader.out.ledger.usual(id, "its entries are told one by one");
        let lines = logical_lines(&text);
        let is_nested = lines.iter().any(|line| line.text().to_ascii_lowercase().starts_with("if "));
        for line in lines {
            let text = line.text();
            let entry = reader.out.ledger.add(&shown, line.line(), &text)?;
            if !of_header {
                reader.out.ledger.none(entry, "parts and bodies are not looked at: ask a filter by [hook]");
            } else if is_nested || !self::rule(reader, &text, entry) {
                reader.out.ledger.none(entry, words(&text));
            }
        }
    }
    Ok(())
}

/// What to do where no rule was made.
fn words(text: &str) -> &'static str {
    let does = |word: &str| text.to_ascii_uppercase().contains(&format!(" {word}"));
    match () {
        () if does("IGNORE") => {
            "a [[rule]] with set.header_remove takes out a field by its name, whatever its value"
        }
        () if does("REJECT") => {
            "[[rule]] with match = { header = { name, pattern } } and action = \"reject 550 5.7.1 text\""
        }
        () if does("DISCARD") => {
            "[[rule]] with match = { header = { name, pattern } } and action = \"discard\""
        }
        () if does("PREPEND") => "set = { header_add = { \"X-Name\" = \"text\" } } in a [[rule]]",
        () if does("REPLACE") => {
            "no field is written anew: set.header_remove takes one out, header_add adds one"
        }
        () => "a [[rule]] matches a header field by pattern, and sets or refuses",
    }
}

/// `/^Name: pattern/flags ACTION text` as a rule. False: it is none.
fn rule(reader: &mut Reader<'_, '_>, text: &str, id: Id) -> bool {
    let Some((name, pattern, rest)) = field(text) else { return false };
    let (action, words) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let words = words.trim();
    let any = pattern.is_empty() || pattern == ".*";
    let action = action.to_ascii_uppercase();
    let (matched, key, value) = match action.as_str() {
        "IGNORE" if any && name.eq_ignore_ascii_case("received") => {
            ("{ sender = \"*\" }".to_owned(), "set", "{ hide_trace = true }".to_owned())
        }
        "IGNORE" if any => {
            let value = format!("{{ header_remove = [{}] }}", quoted(&name));
            ("{ sender = \"*\" }".to_owned(), "set", value)
        }
        "REJECT" => {
            let (code, words) = match words.split_once(' ') {
                Some((code, words)) if code.starts_with("5.") => (code, words),
                _ => ("5.7.1", words),
            };
            let plain: String =
                words.chars().filter(|one| matches!(one, ' '..='~')).take(limits::IMPORT_TEXT_MAX).collect();
            let plain = if plain.is_empty() { "not accepted here".to_owned() } else { plain };
            (matched(&name, &pattern), "action", quoted(&format!("reject 550 {code} {plain}")))
        }
        "DISCARD" => (matched(&name, &pattern), "action", "\"discard\"".to_owned()),
        "PREPEND" => {
            let Some((field, text)) = words.split_once(':') else { return false };
            let text = text.trim().replace('$', "$$");
            let value = format!("{{ header_add = {{ {} = {} }} }}", quoted(field.trim()), quoted(&text));
            (matched(&name, &pattern), "set", value)
        }
        _ => return false,
    };
    let section = reader.out.relevo.push("[[rule]]", &[id]);
    section.set("match", &matched, &[]);
    section.set(key, &value, &[]);
    match value.contains("hide_trace") {
        true => reader.out.ledger.differs(
            id,
            "a Received field stays with our name and its date in place of what it says, as loops are found by them",
        ),
        false => reader.out.ledger.translated(id),
    }
    true
}

fn matched(name: &str, pattern: &str) -> String {
    let pattern = if pattern.is_empty() { "(?s).*" } else { pattern };
    format!("{{ header = {{ name = {}, pattern = {} }} }}", quoted(name), quoted(pattern))
}

/// A field's name, the pattern that its value is to match, and what follows.
fn field(text: &str) -> Option<(String, String, &str)> {
    let inner = text.strip_prefix('/')?;
    let end = inner.match_indices('/').map(|(at, _)| at).find(|at| !inner[..*at].ends_with('\\'))?;
    let (flags, rest) = inner[end + 1..].split_once(char::is_whitespace)?;
    let whole = inner[..end].replace("\\/", "/");
    let (name, pattern) = whole.strip_prefix('^')?.split_once(':')?;
    let name = name.replace("\\-", "-");
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let pattern =
        pattern.trim_start_matches("\\s*").trim_start_matches("[[:space:]]*").trim_start_matches("\\s+");
    let pattern = pattern.trim_start();
    let (anchor, pattern) = match pattern.strip_prefix(".*") {
        Some(pattern) => ("", pattern),
        None => ("^\\s*", pattern),
    };
    // Case does not matter unless the flag says so.
    let case = if flags.contains('i') { "" } else { "(?i)" };
    let pattern = if pattern.is_empty() { String::new() } else { format!("{case}{anchor}(?:{pattern})") };
    Some((name, pattern, rest.trim()))
}
