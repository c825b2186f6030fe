//! Files of those who may ask, or send, that are changed while the relay runs: the node writes them, and brings them into force.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::policy::accounts::{self, Accounts};
use crate::policy::tokens::edit::NoEdit;
use crate::policy::tokens::{Token, Tokens};
use crate::runtime::replace::Unchanged;
use crate::shard::inbound::logins::Logins;

/// What is to be done with the text of a file.
pub type EditText<'a, E> = &'a mut dyn FnMut(&str) -> Result<String, E>;

/// Whoever changes such files.
pub trait Edits {
    /// Tokens of `control.tokens`, as they are in its file and as they are in force. Waits for a disk.
    fn tokens(&self) -> Result<ListedTokens, NotEdited>;

    /// Changes the file, and puts what it has then in force at once. Nothing else of the configuration is read. Waits for a disk.
    fn edit_tokens(&self, edit: EditText<'_, NoEdit>) -> Result<EditedTokens, NotEdited>;

    /// Accounts of `auth.accounts`, as they are in its file and as they are in force. Waits for a disk.
    fn accounts(&self) -> Result<ListedAccounts, NotEdited>;

    /// Changes the file, and puts what it has then in force on all shards; nothing else of the configuration is read. Waits for a disk, and for the shards.
    /// `by`: who asks.
    fn edit_accounts(
        &self,
        by: &str,
        edit: EditText<'_, accounts::edit::NoEdit>,
    ) -> Result<EditedAccounts, NotEdited>;
}

/// The accounts of a node.
pub struct ListedAccounts {
    /// As the file has them.
    pub of_file: Accounts,
    /// Who logs in; None: no file was configured.
    pub in_force: Option<Arc<Logins>>,
}

/// What came of a change of accounts. The file has it in any case.
pub struct EditedAccounts {
    /// Which file was written.
    pub file: PathBuf,
    /// Why it is not in force, or not known to be on all shards.
    pub why: Option<String>,
    /// It is in force.
    pub in_force: bool,
}

/// The tokens of a node.
pub struct ListedTokens {
    /// As the file has them.
    pub of_file: Tokens,
    /// Who is let in.
    pub in_force: Tokens,
}

/// What came of a change.
pub struct EditedTokens {
    /// Which file was written.
    pub file: PathBuf,
    /// Those who were let in before.
    pub before: Tokens,
    /// Those who are now.
    pub now: Tokens,
}

impl EditedTokens {
    /// Names of others that are let in otherwise than before: the file had been changed, and was not in force.
    pub fn others(&self, name: &str) -> Vec<String> {
        let differs = |one: &&Token, all: &Tokens| !all.all().contains(one);
        let gone = self.before.all().iter().filter(|token| differs(token, &self.now));
        let come = self.now.all().iter().filter(|token| differs(token, &self.before));
        let mut names: Vec<String> = gone.chain(come).map(|token| token.name.to_string()).collect();
        names.retain(|other| other != name);
        names.sort();
        names.dedup();
        names
    }
}

/// Why nothing is changed.
#[derive(Debug)]
pub enum NotEdited {
    /// The configuration that is in force names no file: by this key it would.
    NoFile(&'static str),
    /// A reload is under way, or another process takes over, and would read half of it.
    UnderWay,
    /// The file cannot be used, or not be written.
    Unusable(PathBuf, String),
    /// There is one of this name.
    There(String),
    /// There is none.
    NotThere(String),
    /// What was asked for cannot be.
    Unsound(String),
}

impl NotEdited {
    /// Of a file of tokens.
    pub fn of_tokens(path: PathBuf, why: Unchanged<NoEdit>) -> NotEdited {
        let words = why.to_string();
        match why {
            Unchanged::File(_)
            | Unchanged::Text
            | Unchanged::Refused(NoEdit::Unread(_) | NoEdit::Empty(_)) => NotEdited::Unusable(path, words),
            Unchanged::Refused(NoEdit::There) => NotEdited::There(words),
            Unchanged::Refused(NoEdit::NotThere) => NotEdited::NotThere(words),
            Unchanged::Refused(NoEdit::Unsound(_)) => NotEdited::Unsound(words),
        }
    }

    /// Of a file of accounts.
    pub fn of_accounts(path: PathBuf, why: Unchanged<accounts::edit::NoEdit>) -> NotEdited {
        use accounts::edit::NoEdit;
        let words = why.to_string();
        match why {
            Unchanged::File(_)
            | Unchanged::Text
            | Unchanged::Refused(NoEdit::Unread(_) | NoEdit::Empty(_)) => NotEdited::Unusable(path, words),
            Unchanged::Refused(NoEdit::There) => NotEdited::There(words),
            Unchanged::Refused(NoEdit::NotThere) => NotEdited::NotThere(words),
            Unchanged::Refused(NoEdit::Unsound(_) | NoEdit::Lines) => NotEdited::Unsound(words),
        }
    }
}

impl fmt::Display for NotEdited {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotEdited::NoFile(key) => {
                write!(formatter, "{key} names no file: set it, make the file, and reload")
            }
            NotEdited::UnderWay => {
                formatter.write_str("a reload or an upgrade is under way; ask again in a moment")
            }
            NotEdited::Unusable(path, words) => write!(
                formatter,
                "{}: {words}; nothing changed. The relay's user writes this file and its directory, which the shipped unit leaves read-only (ReadWritePaths=); by a command root may",
                path.display()
            ),
            NotEdited::There(words) | NotEdited::NotThere(words) | NotEdited::Unsound(words) => {
                formatter.write_str(words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tokens::hash;

    #[test]
    fn others_that_came_into_force_are_named() {
        let tokens = |all: &[(&str, &str)]| {
            let lines = all.iter().map(|(name, secret)| format!("{name}:read::{}\n", hash(secret)));
            Tokens::parse(&lines.collect::<String>()).expect("tokens")
        };
        let edited = |before, now| EditedTokens { file: PathBuf::new(), before, now }.others("own");
        let one = || tokens(&[("a", "1"), ("b", "2")]);
        assert!(edited(one(), tokens(&[("a", "1"), ("b", "2"), ("own", "3")])).is_empty());
        assert_eq!(edited(one(), tokens(&[("a", "4"), ("c", "2"), ("own", "3")])), ["a", "b", "c"]);
    }
}
