//! What a search of captured mail asks for, in the words that Mailpit knows: `from:` `to:` `cc:` `bcc:` `reply-to:` `addressed:` `subject:`
//! `message-id:` `tag:` `is:` `has:` `before:` `after:` `larger:` `smaller:`, each turned round by `-` or `!` in front, text with spaces in quotes. All
//! must hold. What makes no sense, as a date that is none, is left out and told, so that a page that searches as one types shows something.

use crate::limits;
use crate::time::{Civil, UnixMillis};

/// One thing that must hold of a message, or must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// It must not hold.
    pub is_not: bool,
    /// What.
    pub what: What,
}

/// A thing that may hold of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// This is part of that field, in lower case.
    Part(Field, String),
    /// It has this tag.
    Tag(String),
    /// Somebody has looked at it.
    Read,
    /// It has any tag.
    Tagged,
    /// It has an attachment.
    Attachment,
    /// It has a part that its HTML shows, as an image.
    Inline,
    /// It came then or later.
    Since(UnixMillis),
    /// It came then or before.
    Until(UnixMillis),
    /// It has more bytes.
    Larger(u64),
    /// It has fewer bytes.
    Smaller(u64),
}

/// Where text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Who wrote it.
    From,
    /// Whom it is to.
    To,
    /// Who has a copy.
    Cc,
    /// Who has one that the others do not see.
    Bcc,
    /// Who is answered.
    ReplyTo,
    /// Any of those with addresses.
    Addressed,
    /// What it is about.
    Subject,
    /// Its `Message-ID`.
    MessageId,
    /// Anywhere.
    All,
}

/// A search as it is understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// All must hold.
    pub wanted: Vec<Wanted>,
    /// Words that make no sense, or are too many.
    pub left_out: Vec<String>,
}

impl Search {
    /// Never fails. Text longer than [`limits::SANDBOX_SEARCH_MAX`] is cut there.
    pub fn read(text: &str) -> Search {
        let mut end = text.len().min(limits::SANDBOX_SEARCH_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        let mut search = Search::default();
        for word in words(text) {
            let (is_not, bare) = match word.strip_prefix(['-', '!']) {
                Some(bare) if !bare.is_empty() => (true, bare),
                _ => (false, &word[..]),
            };
            if !bare.contains(char::is_alphanumeric) {
                continue;
            }
            match what(bare) {
                Ok(None) => {}
                Ok(Some((turned, what))) if search.wanted.len() < limits::SANDBOX_SEARCH_WORDS => {
                    search.wanted.push(Wanted { is_not: is_not != turned, what });
                }
                _ => search.left_out.push(word),
            }
        }
        search
    }
}

/// Words, split at spaces outside of quotes; quotes are taken off. One that is not closed goes to the end.
fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for char in text.chars() {
        match char {
            '"' => is_quoted = !is_quoted,
            _ if char.is_whitespace() && !is_quoted => all.push(std::mem::take(&mut word)),
            _ => word.push(char),
        }
    }
    all.push(word);
    all.retain(|word| !word.is_empty());
    all
}

/// No sense can be made of a word.
struct Senseless;

/// What a word asks for, and whether it is turned round. None: a key without a value, as while it is typed.
fn what(word: &str) -> Result<Option<(bool, What)>, Senseless> {
    let lower = word.to_lowercase();
    let found = match &lower[..] {
        "is:read" => (false, What::Read),
        "is:unread" => (true, What::Read),
        "is:tagged" => (false, What::Tagged),
        "has:attachment" | "has:attachments" => (false, What::Attachment),
        "has:inline" | "has:inlines" => (false, What::Inline),
        _ => {
            let (key, value) = lower.split_once(':').unwrap_or(("", &lower));
            let value = value.trim();
            let part = |field| What::Part(field, value.to_owned());
            let of_key = match key {
                "from" => part(Field::From),
                "to" => part(Field::To),
                "cc" => part(Field::Cc),
                "bcc" => part(Field::Bcc),
                "reply-to" => part(Field::ReplyTo),
                "addressed" => part(Field::Addressed),
                "subject" => part(Field::Subject),
                "message-id" => What::Part(Field::MessageId, value.trim_matches(['<', '>']).to_owned()),
                "tag" => What::Tag(value.to_owned()),
                "after" | "before" | "larger" | "smaller" if value.is_empty() => return Ok(None),
                "after" => What::Since(point(value).ok_or(Senseless)?),
                "before" => What::Until(point(value).ok_or(Senseless)?),
                "larger" => What::Larger(bytes(value).ok_or(Senseless)?),
                "smaller" => What::Smaller(bytes(value).ok_or(Senseless)?),
                // A colon in text, as in a link.
                _ => return Ok(Some((false, What::Part(Field::All, lower)))),
            };
            if matches!(&of_key, What::Part(_, text) | What::Tag(text) if text.is_empty()) {
                return Ok(None);
            }
            (false, of_key)
        }
    };
    Ok(Some(found))
}

/// `2026-01-31`, also with `/`, and a time behind it; in UTC.
fn point(text: &str) -> Option<UnixMillis> {
    Civil::time_named(&text.replace('/', "-"))
}

/// `200`, `2k`, `2kb`, `1.5m`, `1.5mb`.
fn bytes(text: &str) -> Option<u64> {
    let at = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit.trim_start() {
        "" => 1.0,
        "k" | "kb" => 1024.0,
        "m" | "mb" => 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let bytes = number * unit;
    (bytes >= 1.0).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (bool, What) {
        let search = Search::read(text);
        assert_eq!((search.wanted.len(), search.left_out.len()), (1, 0), "{text}: {search:?}");
        let Wanted { is_not, what } = search.wanted.into_iter().next().unwrap();
        (is_not, what)
    }

    fn part(field: Field, text: &str) -> (bool, What) {
        (false, What::Part(field, text.to_owned()))
    }

    #[test]
    fn words_that_name_a_field_look_there() {
        for (text, field) in [
            ("from:Ada", Field::From),
            ("TO:ada", Field::To),
            ("cc:ada", Field::Cc),
            ("bcc:ada", Field::Bcc),
            ("reply-to:ada", Field::ReplyTo),
            ("addressed:ada", Field::Addressed),
            ("subject:\"ada\"", Field::Subject),
            ("message-id:<ada>", Field::MessageId),
            ("ada", Field::All),
        ] {
            assert_eq!(one(text), part(field, "ada"));
        }
        assert_eq!(one("https://a.example/b"), part(Field::All, "https://a.example/b"));
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(one("subject:\"your order\""), part(Field::Subject, "your order"));
        assert_eq!(one("\"subject:your order\""), part(Field::Subject, "your order"));
        assert_eq!(one("\"never closed "), part(Field::All, "never closed "));
        assert_eq!(Search::read("two words").wanted.len(), 2);
    }

    #[test]
    fn a_sign_in_front_turns_it_round() {
        assert_eq!(one("-is:read"), (true, What::Read));
        assert_eq!(one("!is:unread"), (false, What::Read));
        assert_eq!(one("is:unread"), (true, What::Read));
        assert_eq!(one("-\"from:ada b\""), (true, What::Part(Field::From, "ada b".to_owned())));
        assert_eq!(one("-tag:Shop"), (true, What::Tag("shop".to_owned())));
        assert_eq!(one("-has:attachments"), (true, What::Attachment));
        assert_eq!(one("has:inline"), (false, What::Inline));
        assert_eq!(one("is:tagged"), (false, What::Tagged));
    }

    #[test]
    fn days_and_times_are_in_utc() {
        assert_eq!(one("after:1970-01-01"), (false, What::Since(UnixMillis(0))));
        assert_eq!(one("after:2026/12/01"), (false, What::Since(UnixMillis(1_796_083_200_000))));
        assert_eq!(one("before:2024-02-29T10:30:05Z"), (false, What::Until(UnixMillis(1_709_202_605_000))));
        assert_eq!(one("-before:\"2024-02-29 10:30\""), (true, What::Until(UnixMillis(1_709_202_600_000))));
        for wrong in ["2023-02-29", "2024-13-01", "2024-00-01", "yesterday", "2024-01-01T24:00", "-1-1-1"] {
            let search = Search::read(&format!("after:{wrong}"));
            assert_eq!((search.wanted.len(), search.left_out.len()), (0, 1), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(one("larger:200"), (false, What::Larger(200)));
        assert_eq!(one("larger:2KB"), (false, What::Larger(2048)));
        assert_eq!(one("smaller:1.5m"), (false, What::Smaller(1_572_864)));
        for wrong in ["0", "x", "1.2.3", "5tb", "..", "k"] {
            assert_eq!(Search::read(&format!("larger:{wrong}a")).wanted, [], "{wrong}");
            assert_eq!(Search::read(&format!("larger:{wrong}")).wanted, [], "{wrong}");
        }
    }

    /// While one types.
    #[test]
    fn half_a_word_asks_for_nothing() {
        for text in ["", " ", "-", "!", "\"", "from:", "-to:", "before:", "tag:\"\"", "larger:", "--", "*"] {
            assert_eq!(Search::read(text), Search::default(), "{text}");
        }
    }

    #[test]
    fn a_search_is_bounded() {
        let search = Search::read(&"a ".repeat(limits::SANDBOX_SEARCH_WORDS + 3));
        assert_eq!((search.wanted.len(), search.left_out.len()), (limits::SANDBOX_SEARCH_WORDS, 3));
        let (_, What::Part(_, text)) = one(&"é".repeat(limits::SANDBOX_SEARCH_MAX)) else { panic!() };
        assert!(text.len() <= limits::SANDBOX_SEARCH_MAX);
    }
}
