//! Who logs in, before a password is hashed.

use std::fmt;

use super::ledger::Id;

/// One account of the original.
#[derive(Clone, Default)]
pub struct Account {
    /// As it logs in.
    pub name: String,
    /// Its password in plain text.
    pub password: String,
    /// Further keys, with values as TOML has them.
    pub keys: Vec<(&'static str, String)>,
    /// Where it is from.
    pub from: Vec<Id>,
}

impl fmt::Debug for Account {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Account({})", self.name)
    }
}
