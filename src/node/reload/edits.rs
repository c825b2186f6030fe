//! Files of those who may ask, or send, are changed. As with a reload, one at a time: none reads such a file while it is written and not in force yet.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, MutexGuard, TryLockError};

use super::{CurrentConfig, Reloader, lock};
use crate::config::ConfigError;
use crate::control::edits::{
    EditText, EditedAccounts, EditedTokens, Edits, ListedAccounts, ListedTokens, NotEdited,
};
use crate::limits;
use crate::node::{auth, files, tokens};
use crate::policy::accounts::{self, Accounts, AccountsError};
use crate::policy::tokens::edit::NoEdit;
use crate::policy::tokens::{Tokens, TokensError};
use crate::runtime::files::read_whole;
use crate::runtime::replace::{self, Missing, Unchanged};

/// The right to change them.
fn turn(reloader: &Reloader) -> Result<MutexGuard<'_, CurrentConfig>, NotEdited> {
    if reloader.health.upgrade().is_under_way() {
        return Err(NotEdited::UnderWay);
    }
    match reloader.state.try_lock() {
        Ok(state) => Ok(state),
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(NotEdited::UnderWay),
    }
}

fn let_in(reloader: &Reloader) -> Tokens {
    lock(&reloader.tokens).as_deref().cloned().unwrap_or_default()
}

impl Edits for Reloader {
    fn tokens(&self) -> Result<ListedTokens, NotEdited> {
        let path = lock(&self.in_force).config.access.tokens.clone();
        let path = path.ok_or(NotEdited::NoFile("control.tokens"))?;
        let read = tokens::read(&path);
        let of_file = read.map_err(|bad| NotEdited::Unusable(path, bad.flaw.to_string()))?;
        Ok(ListedTokens { of_file, in_force: let_in(self) })
    }

    fn edit_tokens(&self, edit: EditText<'_, NoEdit>) -> Result<EditedTokens, NotEdited> {
        // Held until it is in force.
        let state = turn(self)?;
        let file = state.live.config.access.tokens.clone().ok_or(NotEdited::NoFile("control.tokens"))?;
        let before = let_in(self);
        let mut wanted = None;
        let had = before.all().len();
        let bounds = (limits::TOKENS_FILE_MAX, Missing::Refused);
        let changed = replace::change_text(&file, bounds, |text| {
            if is_cut(text, had) {
                return Err(NoEdit::Empty(had));
            }
            let text = edit(text)?;
            wanted = Some(text.clone());
            Ok(text)
        });
        // One that was written, and perhaps not to the end of a disk: whoever is in it is let in all the same.
        let text = match &changed {
            Ok(text) => Some(text),
            Err(Unchanged::File(_)) => wanted.as_ref().filter(|text| says(&file, text)),
            Err(_) => None,
        };
        let unsound = |error: TokensError| NotEdited::Unsound(error.to_string());
        let now = text.map(|text| Tokens::parse(text).map_err(unsound)).transpose()?;
        if let Some(now) = &now {
            *lock(&self.tokens) = Some(Arc::new(now.clone()));
        }
        changed.map_err(|why| NotEdited::of_tokens(file.clone(), why))?;
        Ok(EditedTokens { file, before, now: now.unwrap_or_default() })
    }

    fn accounts(&self) -> Result<ListedAccounts, NotEdited> {
        let live = lock(&self.in_force).clone();
        let path = live.config.accounts.clone().ok_or(NotEdited::NoFile("auth.accounts"))?;
        let read = files::read_accounts(&path);
        let of_file = read.map_err(|bad| NotEdited::Unusable(path, bad.flaw.to_string()))?;
        Ok(ListedAccounts { of_file, in_force: live.accounts.clone() })
    }

    fn edit_accounts(
        &self,
        by: &str,
        edit: EditText<'_, accounts::edit::NoEdit>,
    ) -> Result<EditedAccounts, NotEdited> {
        let mut state = turn(self)?;
        if !self.health.is_open() {
            return Err(NotEdited::UnderWay);
        }
        let file = state.live.config.accounts.clone().ok_or(NotEdited::NoFile("auth.accounts"))?;
        let had = state.live.accounts.as_ref().map_or(0, |logins| logins.accounts().len());
        let (mut wanted, bounds) = (None, (limits::ACCOUNTS_FILE_MAX, Missing::Refused));
        let changed = replace::change_text(&file, bounds, |text| {
            if is_cut(text, had) {
                return Err(accounts::edit::NoEdit::Empty(had));
            }
            let text = edit(text)?;
            wanted = Some(text.clone());
            Ok(text)
        });
        // As with tokens.
        let text = match changed {
            Ok(text) => text,
            Err(why) => {
                let there = wanted.filter(|text| matches!(why, Unchanged::File(_)) && says(&file, text));
                there.ok_or_else(|| NotEdited::of_accounts(file.clone(), why))?
            }
        };
        Ok(match log_in_by(self, &mut state, &text, by) {
            Ok(late) if late.is_empty() => EditedAccounts { file, why: None, in_force: true },
            Ok(late) => {
                let words = "have not confirmed it; they apply it before they start another transaction";
                EditedAccounts { file, why: Some(format!("shards {late:?} {words}")), in_force: true }
            }
            Err(why) => EditedAccounts { file, why: Some(why.to_string()), in_force: false },
        })
    }
}

/// Why accounts that are in the file are not in force.
enum NotLoggedIn {
    Accounts(AccountsError),
    Configuration(Box<ConfigError>),
}

impl fmt::Display for NotLoggedIn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotLoggedIn::Accounts(error) => write!(formatter, "{error}"),
            NotLoggedIn::Configuration(error) => write!(formatter, "{error}"),
        }
    }
}

/// Puts these accounts in force, and all else as it is. The shards that do not say in time that they go by them.
fn log_in_by(
    reloader: &Reloader,
    state: &mut CurrentConfig,
    text: &str,
    by: &str,
) -> Result<Vec<usize>, NotLoggedIn> {
    let config = state.live.config.clone();
    let accounts = Accounts::parse(text).map_err(NotLoggedIn::Accounts)?;
    let logins = files::logins(accounts, state.logins.as_deref());
    let logins = auth::salted(logins, &config).map_err(NotLoggedIn::Configuration)?;
    let live = state.live.with_accounts(Arc::new(logins));
    let live = live.after(&state.live, state.last + 1, (by, &["auth"]));
    let done = reloader.put_in_force(state, Arc::new(live));
    done.map_err(|why| NotLoggedIn::Configuration(Box::new(why.told(&config))))
}

/// A file that is being written anew is empty for a moment: nobody is to be shut out by that.
fn is_cut(text: &str, had: usize) -> bool {
    text.trim().is_empty() && had > 0
}

/// Whether a file has this text.
fn says(path: &Path, text: &str) -> bool {
    read_whole(path, limits::ACCOUNTS_FILE_MAX.max(limits::TOKENS_FILE_MAX))
        .is_ok_and(|there| there == text.as_bytes())
}
