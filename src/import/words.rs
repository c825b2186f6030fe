//! Values and names between the ways to write them.

use crate::config::literal;
use crate::limits;

/// A string as TOML.
pub fn quoted(text: &str) -> String {
    literal::quoted(text)
}

/// A list of strings as TOML.
pub fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A text in one line, not too long, that a terminal and a comment can show.
pub fn shown(text: &str) -> String {
    let mut line = String::new();
    let mut blank = false;
    for letter in text.trim().chars() {
        if letter.is_whitespace() || letter.is_control() {
            blank = true;
            continue;
        }
        if std::mem::take(&mut blank) {
            line.push(' ');
        }
        // Marks that turn the direction of text would show a line as another one.
        line.push(if matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') {
            '?'
        } else {
            letter
        });
    }
    match line.char_indices().nth(limits::IMPORT_TEXT_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A name that a source, a pool or credentials can have.
pub fn name(text: &str) -> String {
    let name: String = text
        .trim()
        .chars()
        .take(limits::SOURCE_NAME_MAX)
        .map(|letter| if letter.is_ascii_alphanumeric() || ".-_".contains(letter) { letter } else { '-' })
        .collect();
    if name.trim_matches(['-', '.']).is_empty() { format!("x{name}") } else { name }
}

/// Whether a word means yes.
pub fn yes(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on")
}

/// The same of no.
pub fn no(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "no" | "false" | "0" | "off")
}

/// Seconds as the configuration has times.
pub fn time(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let unit = units.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// Whether it is a domain that a route or a section can be of.
pub fn is_domain(text: &str) -> bool {
    crate::mail::address::is_domain(text.as_bytes())
}
