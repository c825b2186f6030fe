//! Whom an event is about, as hosts speak of them: often by the local part alone.

use std::collections::HashMap;

use crate::limits;

/// Local parts of an event's own addresses, and what is shown in place of them.
#[derive(Debug, Default)]
pub(in crate::control) struct Own(HashMap<String, String>);

impl Own {
    /// One more, shown as this address.
    pub fn add(&mut self, address: &str, shown: &str) {
        let local = |text: &str| text.rsplit_once('@').map_or(text, |(local, _)| local).to_owned();
        let (name, shown) = (local(address).trim_matches('"').to_lowercase(), local(shown));
        let base = name.split('+').next().unwrap_or_default();
        for name in [&*name, base] {
            if name.contains(char::is_alphanumeric) {
                self.0.entry(name.to_owned()).or_insert_with(|| shown.clone());
            }
        }
    }

    /// A text without them. Its own address is no longer in it, or has been shortened already.
    pub fn hide(&self, text: &str) -> String {
        // A reply's code is nobody.
        let code = text.bytes().take_while(u8::is_ascii_digit).count();
        let begin = if code == 3 { 3 } else { 0 };
        if self.0.is_empty() {
            return text.to_owned();
        }
        let mut shown = text[..begin].to_owned();
        let mut rest = &text[begin..];
        while !rest.is_empty() {
            let begin = rest.find(is_of_one).unwrap_or(rest.len());
            let (between, behind) = rest.split_at(begin);
            let end = behind.find(|letter| !is_of_one(letter)).unwrap_or(behind.len());
            let (word, behind) = behind.split_at(end);
            shown.push_str(between);
            match self.find(word).filter(|_| !between.ends_with('@')) {
                Some((at, end, name)) => {
                    shown.push_str(&word[..at]);
                    shown.push_str(name);
                    shown.push_str(&word[end..]);
                }
                None => shown.push_str(word),
            }
            rest = behind;
        }
        shown
    }

    /// Whether one of them stands behind the mark of a return path: `bounce+ada`, `b-7-ada`.
    pub fn is_marked_in(&self, local: &str) -> bool {
        self.find(local).is_some_and(|(at, ..)| at > 0)
    }

    /// Where one stands in a word: as all of it, or behind a mark.
    fn find(&self, word: &str) -> Option<(usize, usize, &String)> {
        let end = word.trim_end_matches(['.', '-']).len();
        let marks = word[..end].match_indices(['+', '-']).map(|(at, _)| at + 1);
        std::iter::once(0).chain(marks).filter(|at| end - at <= limits::LOCAL_PART_MAX).find_map(|at| {
            let name = self.0.get(&word[at..end].to_lowercase())?;
            Some((at, end, name))
        })
    }
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
            assert_eq!(own.hide(text), shown, "{text}");
        }
        assert_eq!(Own::default().hide("550 ada"), "550 ada");
        assert!(own.is_marked_in("b+ada") && !own.is_marked_in("ada") && !own.is_marked_in("b+adam"));
    }
}
