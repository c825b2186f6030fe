//! Many patterns as few: a section of a shaping file has room for so many, and lists of PowerMTA's grow for years.

use crate::limits;
use crate::shaping::pattern::Pattern;

/// Alternatives of one pattern, as many as fit into it. What looks around stays alone.
pub(super) fn together(patterns: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    for pattern in patterns {
        let inner = pattern.strip_prefix("(?i)").unwrap_or(pattern);
        let joined = merged.last().and_then(|last| {
            let joined = match last.ends_with(')') && last.starts_with("(?i)(?:") {
                true => format!("{last}|(?:{inner})"),
                false => format!("(?i)(?:{})|(?:{inner})", last.strip_prefix("(?i)").unwrap_or(last)),
            };
            let looks = joined.contains("(?!") || joined.contains("(?=");
            (!looks && joined.len() <= limits::SHAPING_PATTERN_MAX && Pattern::new(&joined).is_ok())
                .then_some(joined)
        });
        match joined {
            Some(joined) => *merged.last_mut().unwrap_or(&mut String::new()) = joined,
            None => merged.push(pattern.clone()),
        }
    }
    merged
}
