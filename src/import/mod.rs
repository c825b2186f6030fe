//! The configuration of another relay as one of ours. Text in; text, and what is to be said of each directive of the original, out.
//!
//! A reader (`pmta`, `kumo`, `postfix`) enters every directive in the [`Ledger`] when it meets it, and marks it when it knows what becomes
//! of it. What is never marked is told as unknown, so nothing is dropped in silence and the counts add up. What is made is a [`Draft`], each
//! line of which names the directives that it is from; [`prove`](mod@prove) takes out of it what `relevo check` would refuse, and says so.

pub mod ledger;
pub mod library;
pub mod draft;
pub mod words;
pub mod prove;
mod accounts;
mod report;
pub mod postfix;
pub mod pmta;
pub mod kumo;

#[cfg(test)]
mod tests;

pub use accounts::Account;
pub use draft::Draft;
pub use ledger::{Directive, Id, Ledger, Outcome};
pub use library::{ImportError, Library};

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
    /// Each directive of the original.
    pub ledger: Ledger,
}

impl Imported {
    /// The last steps of every reader: the shaping file is named, what would be refused is taken out, what nobody knew is called so.
    fn finish(mut self, terms: &Terms) -> Imported {
        if !self.shaping.is_empty() {
            let path = words::quoted(&format!("{}/shaping.toml", terms.at));
            self.relevo.set("[shaping]", "files", &format!("[{path}]"), &[]);
        }
        if self.accounts.is_some() {
            let path = words::quoted(&format!("{}/accounts.toml", terms.at));
            self.relevo.set("[auth]", "accounts", &path, &[]);
        }
        prove::prove(&mut self);
        self.ledger.close();
        self
    }
}
