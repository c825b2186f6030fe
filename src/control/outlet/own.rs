//! Whom an event is about, as hosts speak of them: often by the local part alone.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::limits;

/// Local parts of an event's own addresses, and what is shown in place of them.
#[derive(Debug, Default)]
pub(in crate::control) struct Own {
    names: HashMap<String, String>,
    /// A bit for each length of them: nearly no word of a reply needs to be looked up.
    lengths: u128,
}

impl Own {
    /// One more, shown as this address.
    pub fn add(&mut self, address: &str, shown: &str) {
        let local = |text: &str| text.rsplit_once('@').map_or(text, |(local, _)| local).to_owned();
        let (name, shown) = (local(address).trim_matches('"').to_lowercase(), local(shown));
        let base = name.split('+').next().unwrap_or_default();
        for name in [&*name, base] {
            if name.contains(char::is_alphanumeric) {
                self.names.entry(name.to_owned()).or_insert_with(|| shown.clone());
                self.lengths |= bit_of(name);
            }
        }
    }

    /// A text without them. Its own address is no longer in it, or has been shortened already.
    pub fn hide<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        // A reply's code is nobody.
        let code = text.bytes().take_while(u8::is_ascii_digit).count();
        let begin = if code == 3 { 3 } else { 0 };
        if self.names.is_empty() {
            return text;
        }
        // What stands before is copied once something is hidden.
        let (mut shown, mut copied) = (String::new(), 0);
        let mut rest = &text[begin..];
        while !rest.is_empty() {
            let begin = rest.find(is_of_one).unwrap_or(rest.len());
            let (between, behind) = rest.split_at(begin);
            let end = behind.find(|letter| !is_of_one(letter)).unwrap_or(behind.len());
            let (word, behind) = behind.split_at(end);
            if let Some((at, end, name)) = self.find(word).filter(|_| !between.ends_with('@')) {
                let word_at = text.len() - behind.len() - word.len();
                shown.push_str(&text[copied..word_at + at]);
                shown.push_str(name);
                copied = word_at + end;
            }
            rest = behind;
        }
        if copied == 0 {
            return text;
        }
        shown.push_str(&text[copied..]);
        Cow::Owned(shown)
    }

    /// Whether one of them stands behind the mark of a return path: `bounce+ada`, `b-7-ada`.
    pub fn is_marked_in(&self, local: &str) -> bool {
        self.find(local).is_some_and(|(at, ..)| at > 0)
    }

    /// Where one stands in a word: as all of it, or behind a mark.
    fn find(&self, word: &str) -> Option<(usize, usize, &String)> {
        let end = word.trim_end_matches(['.', '-']).len();
        let marks = word[..end].match_indices(['+', '-']).map(|(at, _)| at + 1);
        std::iter::once(0)
            .chain(marks)
            .filter(|at| end - at <= limits::LOCAL_PART_MAX)
            .find_map(|at| Some((at, end, self.get(&word[at..end])?)))
    }

    fn get(&self, word: &str) -> Option<&String> {
        if self.lengths & bit_of(word) == 0 && word.is_ascii() {
            return None;
        }
        if word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
            return self.names.get(word);
        }
        self.names.get(&word.to_lowercase())
    }
}

fn bit_of(name: &str) -> u128 {
    1 << (name.len() as u32 % u128::BITS)
}

fn is_of_one(letter: char) -> bool {
    letter.is_alphanumeric() || "._-+…".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_part_is_found_where_it_stands_alone() {
        let mut own = Own::default();
        own.add("Ada+news@example.org", "A…1@example.org");
        own.add("\"550\"@example.org", "…2@example.org");
        for (text, shown) in [
            ("550 5.1.1 user ada unknown", "550 5.1.1 user A…1 unknown"),
            ("550 550? (ADA+News).", "550 …2? (A…1)."),
            ("no mailbox adam, canada or ada.b", "no mailbox adam, canada or ada.b"),
            ("bounce+ada=example.org b-7-ada", "bounce+A…1=example.org b-7-A…1"),
            ("A…1@example.org x@ada", "A…1@example.org x@ada"),
            ("", ""),
        ] {
            assert_eq!(own.hide(text.into()), shown, "{text}");
        }
        assert_eq!(Own::default().hide("550 ada".into()), "550 ada");
        // Another length in lower case than in upper case.
        own.add("\u{130}x@example.org", "i…3@example.org");
        assert_eq!(own.hide("no \u{130}X here".into()), "no i…3 here");
        assert!(own.is_marked_in("b+ada") && !own.is_marked_in("ada") && !own.is_marked_in("b+adam"));
    }
}
