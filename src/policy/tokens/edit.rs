//! Changes to the text of a file of tokens that leave all else in it as it was: comments, order, empty lines.

use std::fmt;

use super::{Problem, Role, Tokens, TokensError};

/// Why a file is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEdit {
    /// It cannot be read as it is.
    Unread(TokensError),
    /// It is empty, and so many are in force: whoever writes it anew may be about to.
    Empty(usize),
    /// What would be written is no token.
    Unsound(Problem),
    /// There is a token of this name.
    There,
    /// There is none.
    NotThere,
}

impl fmt::Display for NoEdit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoEdit::Unread(error) => write!(formatter, "{error}"),
            NoEdit::Empty(number) => write!(
                formatter,
                "it is empty, and {number} tokens are in force: if all of these are to go, reload first"
            ),
            NoEdit::Unsound(problem) => write!(formatter, "{problem}"),
            NoEdit::There => formatter.write_str("there is a token of this name already"),
            NoEdit::NotThere => formatter.write_str("there is no token of this name"),
        }
    }
}

/// The text with one more token, at its end.
pub fn add(text: &str, (name, role, tenant): (&str, Role, &str), hash: &str) -> Result<String, NoEdit> {
    let before = Tokens::parse(text).map_err(NoEdit::Unread)?;
    if before.all().iter().any(|token| *token.name == *name) {
        return Err(NoEdit::There);
    }
    let mut grown = text.to_owned();
    if !grown.is_empty() && !grown.ends_with('\n') {
        grown.push('\n');
    }
    grown += &format!("{name}:{}:{tenant}:{hash}\n", role.word());
    let after = Tokens::parse(&grown).map_err(|error| NoEdit::Unsound(error.problem))?;
    // Nothing else may come of it, whatever is in a name.
    let is_meant = |last: &super::Token| {
        *last.name == *name && last.role == role && last.tenant.as_deref().unwrap_or_default() == tenant
    };
    let is_one_more = after.all().len() == before.all().len() + 1 && after.all().last().is_some_and(is_meant);
    if is_one_more { Ok(grown) } else { Err(NoEdit::Unsound(Problem::Name)) }
}

/// The text without a token.
pub fn remove(text: &str, name: &str) -> Result<String, NoEdit> {
    let before = Tokens::parse(text).map_err(NoEdit::Unread)?;
    if !before.all().iter().any(|token| *token.name == *name) {
        return Err(NoEdit::NotThere);
    }
    let is_its_own = |line: &str| line.trim().split_once(':').is_some_and(|(other, _)| other == name);
    Ok(text.split_inclusive('\n').filter(|line| !is_its_own(line)).collect())
}
