//! Tokens of those who ask control by HTTP: a file of `name:role:tenant:hash` lines.
//!
//! A token is 256 random bits, so that nobody guesses it, and SHA-256 of it can be kept as it is: no work of a password's hash would make that safer.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use crate::limits;

pub mod edit;
pub mod guesses;
#[cfg(test)]
mod tests;

/// What each token begins with, so that people and scanners for lost secrets know one.
const PREFIX: &str = "relevo_";

/// What whoever asks may do: each role may all that stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Hand in mail by `[api]`, and nothing else.
    Send,
    /// Look.
    Read,
    /// Move mail: suspend, retry, return it.
    Operate,
    /// Change the node itself.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 4] = [Role::Send, Role::Read, Role::Operate, Role::Admin];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Role::Send => "send",
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        }
    }

    /// The one of this name.
    pub fn named(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// One of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its name, by which events and logs call whoever has it.
    pub name: Arc<str>,
    /// What it may.
    pub role: Role,
    /// The tenant whose mail alone it sees and moves.
    pub tenant: Option<Arc<str>>,
    hash: [u8; SHA256_OUTPUT_LEN],
}

/// All tokens of a node. Immutable: a changed file makes new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

/// A line of the file that is wrong. Always the operator's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokensError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line. Never shows any of it, which may be a token in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It has not four parts.
    Parts,
    /// The name is no word.
    Name,
    /// The name stands on an earlier line, too.
    Duplicate,
    /// There is no such role.
    Role,
    /// The tenant has blanks or control characters in it, or is too long.
    Tenant,
    /// It ends in no hash.
    Hash,
    /// It ends in a token, where its hash belongs.
    Plain,
    /// Another line has the same hash: who has that token would be one of two.
    SameHash,
    /// There are too many.
    TooMany,
}

impl fmt::Display for TokensError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Parts => formatter.write_str("a line is `name:role:tenant:hash`, where tenant may be empty"),
            Problem::Name => write!(
                formatter,
                "a name has letters, digits, `.`, `_` and `-`, at most {} of them",
                limits::TOKEN_NAME_MAX
            ),
            Problem::Duplicate => formatter.write_str("the name is on an earlier line already; remove one"),
            Problem::Role => formatter.write_str("the role is `send`, `read`, `operate` or `admin`"),
            Problem::Tenant => write!(
                formatter,
                "a tenant has no blanks or control characters in it, and at most {} bytes",
                limits::TOKEN_TENANT_MAX
            ),
            Problem::Hash => {
                formatter.write_str("this is no hash, which has 64 hexadecimal digits; make a token with `relevo token add`")
            }
            Problem::Plain => formatter.write_str(
                "this is a token itself, and only its hash belongs here; take it for lost, and make another with `relevo token add`",
            ),
            Problem::SameHash => formatter.write_str("an earlier line has the same hash; make each its own token"),
            Problem::TooMany => write!(formatter, "there are more than {} tokens", limits::TOKENS_MAX),
        }
    }
}

impl Tokens {
    /// Reads the text of a file. Empty lines and lines that begin with `#` say nothing; blanks around a line do not count.
    pub fn parse(text: &str) -> Result<Tokens, TokensError> {
        let mut tokens = Tokens::default();
        for (line, token) in lines(text) {
            tokens.add(token).map_err(|problem| TokensError { line, problem })?;
        }
        Ok(tokens)
    }

    fn add(&mut self, line: &str) -> Result<(), Problem> {
        let token = Token::parse(line)?;
        if self.0.iter().any(|other| other.name == token.name) {
            return Err(Problem::Duplicate);
        }
        if self.0.iter().any(|other| other.hash == token.hash) {
            return Err(Problem::SameHash);
        }
        if self.0.len() >= limits::TOKENS_MAX {
            return Err(Problem::TooMany);
        }
        self.0.push(token);
        Ok(())
    }

    /// All of them, in the order of the file.
    pub fn all(&self) -> &[Token] {
        &self.0
    }

    /// The one that somebody shows. It takes as long whichever it is, and for none.
    pub fn find(&self, shown: &str) -> Option<&Token> {
        if shown.len() > limits::TOKEN_TEXT_MAX {
            return None;
        }
        let hash = digest(&SHA256, shown.as_bytes());
        let mut found = None;
        for token in &self.0 {
            if verify_slices_are_equal(&token.hash, hash.as_ref()).is_ok() {
                found = Some(token);
            }
        }
        found
    }
}

/// The lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(place, line)| (place + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

impl Token {
    fn parse(line: &str) -> Result<Token, Problem> {
        let mut parts = line.splitn(3, ':');
        let (Some(name), Some(role), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Problem::Parts);
        };
        // Nothing keeps a colon out of the name of a tenant.
        let (tenant, hash) = rest.rsplit_once(':').ok_or(Problem::Parts)?;
        if !is_name(name) {
            return Err(Problem::Name);
        }
        let role = Role::named(role).ok_or(Problem::Role)?;
        if !is_tenant(tenant) {
            return Err(Problem::Tenant);
        }
        let hash = match unhex(hash) {
            Some(hash) => hash,
            None if hash.starts_with(PREFIX) => return Err(Problem::Plain),
            None => return Err(Problem::Hash),
        };
        Ok(Token { name: name.into(), role, tenant: (!tenant.is_empty()).then(|| tenant.into()), hash })
    }
}

fn is_name(name: &str) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= limits::TOKEN_NAME_MAX && name.bytes().all(is_of_names)
}

fn is_tenant(tenant: &str) -> bool {
    tenant.len() <= limits::TOKEN_TENANT_MAX
        && !tenant.chars().any(|letter| letter.is_whitespace() || letter.is_control())
}

fn unhex(text: &str) -> Option<[u8; SHA256_OUTPUT_LEN]> {
    if text.len() != 2 * SHA256_OUTPUT_LEN || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The text of a token of these random bytes, which its owner keeps.
pub fn secret(random: &[u8; limits::TOKEN_BYTES]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

/// What the file keeps of it.
pub fn hash(secret: &str) -> String {
    digest(&SHA256, secret.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
