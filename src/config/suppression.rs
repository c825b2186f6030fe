//! `[suppression]`: who gets no mail, and who is put on that list without being asked for.

use toml::de::DeValue;

use crate::config::literal::{Wrong, integer, list, word};
use crate::config::nearest::nearest;
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::limits;

/// `[suppression]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuppressionConfig {
    /// `auto`: what puts somebody on the list.
    pub auto: Auto,
    /// How often a hop must say for good that there is no such mailbox.
    pub hard_bounces: u32,
    /// For whom such an entry holds.
    pub scope: SuppressionScope,
    /// What becomes of a recipient who is listed.
    pub on_match: OnMatch,
}

/// What puts somebody on the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auto {
    /// Hops say that there is no such mailbox.
    pub hard_bounce: bool,
    /// He complains of mail.
    pub complaint: bool,
}

impl Auto {
    /// Whether nothing does.
    pub fn is_off(self) -> bool {
        self == Auto::default()
    }
}

/// For whom an entry holds that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuppressionScope {
    /// The tenant whose mail it was; the node where it was nobody's.
    Tenant,
    /// All mail of the node.
    Node,
}

/// What becomes of a recipient who is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMatch {
    /// RCPT is refused.
    Reject,
    /// He is taken, and gets nothing.
    Drop,
}

/// The words of `auto`.
const WORDS: [&str; 2] = ["hard_bounce", "complaint"];

pub(super) fn read(section: &Section<'_>) -> SuppressionConfig {
    let usual = SuppressionConfig::default();
    let config = SuppressionConfig {
        auto: section.read("auto", usual.auto, auto),
        hard_bounces: section.read("hard_bounces", usual.hard_bounces, |value| {
            integer(value, 1..=limits::HARD_BOUNCES_MAX, 1).map(|times| times as u32)
        }),
        scope: section.read("scope", usual.scope, |value| {
            word(value, [("tenant", SuppressionScope::Tenant), ("node", SuppressionScope::Node)])
        }),
        on_match: section.read("on_match", usual.on_match, |value| {
            word(value, [("reject", OnMatch::Reject), ("drop", OnMatch::Drop)])
        }),
    };
    section.finish();
    config
}

fn auto(value: &DeValue<'_>) -> Result<Auto, Wrong> {
    let known = |text: &str| {
        let found = WORDS.into_iter().find(|word| *word == text);
        found.ok_or(BadValue::Syntax("\"hard_bounce\" or \"complaint\""))
    };
    let meant = |text: &str| nearest(text, WORDS.into_iter(), 4).map(str::to_owned);
    let words = list(value, known, meant, "hard_bounce")?;
    let has = |word: &str| words.contains(&word);
    Ok(Auto { hard_bounce: has("hard_bounce"), complaint: has("complaint") })
}

impl Default for SuppressionConfig {
    fn default() -> SuppressionConfig {
        SuppressionConfig {
            auto: Auto { hard_bounce: true, complaint: true },
            hard_bounces: 1,
            scope: SuppressionScope::Tenant,
            on_match: OnMatch::Reject,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_said_of_it_is_read() {
        let read =
            |text: &str| Config::parse(text, Path::new("relevo.toml")).map(|config| config.suppression);
        let usual = SuppressionConfig::default();
        assert_eq!(read("").unwrap(), usual);
        let text = "[suppression]\nauto = [\"complaint\"]\nhard_bounces = 3\nscope = \"node\"\non_match = \"drop\"\n";
        let auto = Auto { complaint: true, ..Auto::default() };
        let (scope, on_match) = (SuppressionScope::Node, OnMatch::Drop);
        assert_eq!(read(text).unwrap(), SuppressionConfig { auto, hard_bounces: 3, scope, on_match });
        assert!(read("[suppression]\nauto = []\n").unwrap().auto.is_off());
        for (text, wanted) in [
            ("auto = [\"hardbounce\"]", "write auto = [\"hard_bounce\"]"),
            ("auto = true", "this is true or false, not a list"),
            ("hard_bounces = 0", "0 is out of range"),
            ("scope = \"tenants\"", "write scope = \"tenant\", or \"node\""),
            ("on_match = \"bounce\"", "\"bounce\" cannot be understood"),
        ] {
            let error = read(&format!("[suppression]\n{text}\n")).unwrap_err().remove(0).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
