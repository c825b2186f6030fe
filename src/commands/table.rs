//! Lines that fit a terminal: what is too long for its place ends with an ellipsis, and is whole in JSON and in `show`.

use relevo::limits;
use relevo::runtime::terminal;

/// How wide lines may be.
pub fn columns() -> usize {
    let of_terminal = terminal::columns().unwrap_or(limits::LINE_COLUMNS);
    of_terminal.clamp(limits::LINE_COLUMNS_LEAST, limits::LINE_COLUMNS)
}

/// A text in so many columns at most.
pub fn fit(text: &str, columns: usize) -> String {
    let mut used = 0;
    let mut cut = 0;
    for (at, character) in text.char_indices() {
        if used < columns {
            cut = at;
        }
        used += width(character);
        if used > columns {
            return format!("{}…", &text[..cut]);
        }
    }
    text.to_owned()
}

/// The columns that a text takes.
pub fn wide(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// Columns of a character: two of those of East Asia and of pictures (UAX 11).
fn width(character: char) -> usize {
    match u32::from(character) {
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// An RFC 3339 time in UTC to the minute: what a column has room for.
pub fn to_the_minute(time: &str) -> String {
    match time.rmatch_indices(':').next() {
        Some((place, _)) => format!("{}Z", &time[..place]),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut() {
        for (text, columns, shown) in [
            ("", 3, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("äöüß", 3, "äö…"),
            ("郵便", 4, "郵便"),
            ("郵便局", 5, "郵便…"),
            ("郵便局", 4, "郵…"),
            ("abc", 1, "…"),
        ] {
            assert_eq!(fit(text, columns), shown);
            assert!(wide(shown) <= columns, "{shown}");
        }
        assert_eq!(to_the_minute("2026-11-27T20:40:31.123Z"), "2026-11-27T20:40Z");
    }
}
