//! What is wrong with a file of accounts, or with a password.

use std::fmt;

use crate::limits;
use crate::policy::accounts::sections::Flaw;

/// A line of the file that is wrong. Always the operator's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountsError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line. Never shows any of the line itself, which may be a password in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No colon.
    NoColon,
    /// The name is empty, too long, or holds blanks or control characters.
    Name,
    /// The name stands on an earlier line, too.
    Duplicate,
    /// Not a hash in PHC form, or one that argon2 cannot use.
    Hash,
    /// A hash of another kind than argon2id version 19.
    Kind,
    /// A hash that takes more memory or time than is allowed.
    Costly,
    /// More accounts than ACCOUNTS_MAX.
    TooMany,
    /// A section of a file of sections.
    Section(Flaw),
}

/// A password no account can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// It is empty.
    Empty,
    /// It is longer than PASSWORD_MAX bytes.
    TooLong,
    /// It holds a NUL, which AUTH PLAIN cannot carry (RFC 4616 section 2).
    Nul,
}

impl fmt::Display for AccountsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoColon => formatter.write_str("no colon; a line is `name:hash`"),
            Problem::Name => {
                write!(
                    formatter,
                    "the name is empty, has blanks in it, or is longer than {} bytes",
                    limits::ACCOUNT_NAME_MAX
                )
            }
            Problem::Duplicate => formatter.write_str("the name is on an earlier line already; remove one"),
            Problem::Hash => {
                formatter.write_str("this is no password hash; make one with `relevo hash-password`")
            }
            Problem::Kind => formatter.write_str(
                "only argon2id hashes (version 19) are known; make one with `relevo hash-password`",
            ),
            Problem::Costly => write!(
                formatter,
                "the hash costs too much; allowed are m <= {}, m * t <= {}, p <= {}",
                limits::ACCOUNT_MEMORY_MAX,
                limits::ACCOUNT_WORK_MAX,
                limits::ACCOUNT_LANES_MAX
            ),
            Problem::TooMany => write!(formatter, "more than {} accounts", limits::ACCOUNTS_MAX),
            Problem::Section(flaw) => write!(formatter, "{flaw}"),
        }
    }
}

impl fmt::Display for PasswordError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordError::Empty => formatter.write_str("the password is empty"),
            PasswordError::TooLong => {
                write!(formatter, "the password is longer than {} bytes", limits::PASSWORD_MAX)
            }
            PasswordError::Nul => formatter.write_str("the password holds a NUL, which AUTH cannot carry"),
        }
    }
}

impl std::error::Error for AccountsError {}
impl std::error::Error for PasswordError {}
