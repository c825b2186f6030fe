//! What came of an import, and what is said of it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Account, Draft, Ledger, Outcome};
use crate::policy::accounts::PasswordError;

/// What every file that is made begins with.
pub(super) const TITLE: &str = "Made by `relevo import`: behind each line, or above it, stands what it is from.\n\
    What has no equivalent is in report.txt. Read both before you use it.";

/// What does not stand in the original.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Where what is made will lie: an absolute path.
    pub at: String,
    /// The day that warm-up plans begin, as 2026-12-01.
    pub today: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Imported {
    /// `relevo.toml`
    pub relevo: Draft,
    /// `shaping.toml`
    pub shaping: Draft,
    /// Who logs in; their passwords are hashed by whoever writes the file. None: nobody does.
    pub accounts: Option<Vec<Account>>,
    /// Further files: keys and passwords, by their paths below [`Terms::at`].
    pub files: Vec<(String, String)>,
    /// What is to be known of all of it, before any directive.
    pub notes: Vec<String>,
    /// Each directive of the original.
    pub ledger: Ledger,
}

impl Imported {
    /// `relevo.toml`
    pub fn relevo_toml(&self) -> String {
        self.relevo.render(TITLE, &self.ledger).0
    }

    /// `shaping.toml`
    pub fn shaping_toml(&self) -> String {
        self.shaping.render(TITLE, &self.ledger).0
    }

    /// `accounts.toml`, if there is to be one. `hash` makes of a password what is kept of it.
    pub fn accounts_toml(
        &self,
        mut hash: impl FnMut(&str) -> Result<String, PasswordError>,
    ) -> Option<Result<String, PasswordError>> {
        let accounts = self.accounts.as_ref()?;
        let mut text = TITLE.lines().fold(String::new(), |text, line| text + "# " + line + "\n");
        if accounts.is_empty() {
            text.push_str("# The original has its passwords elsewhere: relevo account add NAME\n");
        }
        for account in accounts {
            let kept = match hash(&account.password) {
                Ok(kept) => kept,
                Err(error) => return Some(Err(error)),
            };
            text.push('\n');
            account.from.iter().for_each(|id| _ = writeln!(text, "# {}", self.ledger.origin(*id)));
            let name = super::words::quoted(&account.name);
            let _ = writeln!(text, "[[account]]\nname = {name}\npassword = \"{kept}\"");
            account.keys.iter().for_each(|(key, value)| _ = writeln!(text, "{key} = {value}"));
        }
        Some(Ok(text))
    }

    /// All that is not simply translated, and a count that adds up.
    pub fn report(&self) -> String {
        let mut text = String::new();
        if !self.notes.is_empty() {
            text.push_str("Of all of it\n");
            self.notes.iter().for_each(|note| _ = writeln!(text, "  {note}"));
            text.push('\n');
        }
        for outcome in [Outcome::Unknown, Outcome::None, Outcome::Differs, Outcome::Default] {
            let those: Vec<_> = self.ledger.all().iter().filter(|one| one.outcome == Some(outcome)).collect();
            if those.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{}", title(outcome));
            for one in those {
                let _ = writeln!(text, "  {}:{}: {}", one.file, one.line, one.text);
                if !one.words.is_empty() {
                    let _ = writeln!(text, "      {}", one.words);
                }
            }
            text.push('\n');
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    /// The count, in one line.
    pub fn summary(&self) -> String {
        let counts = self.ledger.counts();
        let parts: Vec<String> = Outcome::ALL
            .iter()
            .zip(counts)
            .map(|(outcome, count)| match outcome {
                Outcome::Translated => format!("{count} translated"),
                Outcome::Differs => format!("{count} translated with a difference"),
                Outcome::Default => format!("{count} our default anyway"),
                Outcome::None => format!("{count} without an equivalent"),
                Outcome::Unknown => format!("{count} unknown"),
            })
            .collect();
        format!("{} directives: {}", self.ledger.all().len(), parts.join(", "))
    }

    /// The same for programs.
    pub fn to_json(&self) -> Value {
        let all: Vec<Value> = self
            .ledger
            .all()
            .iter()
            .map(|one| {
                json!({
                    "file": one.file, "line": one.line, "text": one.text,
                    "outcome": one.outcome.unwrap_or(Outcome::Unknown).word().replace(' ', "_"), "words": one.words,
                })
            })
            .collect();
        let counts = Outcome::ALL.iter().zip(self.ledger.counts());
        let counts =
            counts.map(|(outcome, count)| (outcome.word().replace(' ', "_"), json!(count))).collect();
        json!({ "notes": self.notes, "directives": self.ledger.all().len(), "counts": Value::Object(counts), "findings": all })
    }
}

fn title(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unknown => "Unknown: nobody knows what these mean",
        Outcome::None => "No equivalent: what to do instead",
        Outcome::Differs => "Translated, and not quite the same here",
        Outcome::Default => "Nothing needs to be said of these",
        Outcome::Translated => "Translated",
    }
}
