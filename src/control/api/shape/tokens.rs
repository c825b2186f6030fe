//! Who may ask over HTTP, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// In the order of the file.
    pub tokens: Vec<TokenEntry>,
}

/// A token. Nothing tells it, or its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenEntry {
    /// Its name, by which events call whoever has it.
    pub name: String,
    /// `read`, `operate` or `admin`.
    pub role: String,
    /// Whose mail alone it sees and moves; none: all of it.
    pub tenant: Option<String>,
    /// It stands in the file of `control.tokens`.
    pub in_file: bool,
    /// It is let in. Where this is not as `in_file` is, the file was changed, and not put in force: a reload does.
    pub in_force: bool,
}

/// A token that is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name.
    #[schema(pattern = "^[0-9A-Za-z._-]{1,64}$")]
    pub name: String,
    /// `read` looks, `operate` moves mail, `admin` changes the node.
    #[schema(pattern = "^(read|operate|admin)$")]
    pub role: String,
    /// Whose mail alone it sees and moves; none, or empty: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = r"^[!-~]{0,255}$")]
    pub tenant: Option<String>,
}

/// A token that there is from now on.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct TokenAdded {
    /// Its name.
    pub name: String,
    /// What it may.
    pub role: String,
    /// Whose mail alone it sees and moves.
    pub tenant: Option<String>,
    /// The token: told here, and never again.
    pub token: String,
    /// The file that has a hash of it.
    pub file: String,
    /// It is let in from now on.
    pub in_force: bool,
    /// Others that are let in otherwise than before: the file had been changed, and not put in force.
    pub others: Vec<String>,
}

/// A token that is no more.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TokenRemoved {
    /// Its name.
    pub name: String,
    /// The file that had a hash of it.
    pub file: String,
    /// It was the one that this was asked with.
    pub itself: bool,
    /// As of [`TokenAdded`].
    pub others: Vec<String>,
}
