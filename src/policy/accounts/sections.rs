//! A file of accounts as sections: `[[account]]` with `name`, `password` and what else holds for it.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::AddressPattern;
use crate::limits;
use crate::mail::parameters::{self, Key};

/// What is wrong with a section. Nothing of it is repeated: a password may stand anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The file is no TOML.
    NoToml,
    /// A line of the other kind of file.
    Mixed,
    /// Something else than `[[account]]`.
    NoAccount,
    /// A key that no account has.
    Key,
    /// A value that is no text.
    NoText,
    /// It has no name.
    NoName,
    /// It has no password.
    NoPassword,
    /// What cannot be the name of a pool.
    Pool,
    /// What cannot be the name of a tenant.
    Tenant,
    /// What is no list of addresses.
    Senders,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Flaw::NoToml => "this is no TOML; write name = \"shop\"",
            Flaw::Mixed => {
                "a line of name:hash in a file that begins with [[account]]; write it as [[account]] with name = and password = below, each in quotes"
            }
            Flaw::NoAccount => "this is no account; write [[account]]",
            Flaw::Key => "unknown key; known here: name, password, pool, tenant, senders",
            Flaw::NoText => "this is no text; write it in quotes",
            Flaw::NoName => "the account has no name; add name = \"shop\"",
            Flaw::NoPassword => {
                "the account has no password; add password = \"…\", a hash of `relevo hash-password`"
            }
            Flaw::Pool => "no pool can have this name; name one, or a source",
            Flaw::Tenant => "no tenant can have this name; name one",
            Flaw::Senders => {
                "these are no addresses; write senders = [\"@example.com\", \"*.example.com\", \"ada@example.org\"]"
            }
        })
    }
}

/// What holds for the mail of an account, where nothing said of the mail says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountDefaults {
    /// The pool that it leaves by, and the line that says so.
    pub pool: Option<(Box<str>, usize)>,
    /// Whose it is.
    pub tenant: Option<Box<str>>,
    /// In whose name it may send; empty: in anybody's.
    pub senders: Vec<AddressPattern>,
}

impl AccountDefaults {
    /// Whether it may send as this address.
    pub fn may_send_as(&self, address: &[u8]) -> bool {
        self.senders.is_empty() || self.senders.iter().any(|sender| sender.matches(address))
    }
}

/// What a section says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub name: Box<str>,
    /// As a hash.
    pub password: Box<str>,
    /// What holds for its mail.
    pub own: AccountDefaults,
    /// The line at which it is told what is wrong with the account.
    pub line: usize,
}

/// Whether a file is written so: its first line that says something is a header of TOML. One of `name:hash` lines has a colon there, which a
/// header has at most in a comment.
pub(super) fn is_meant(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let header = |line: &str| {
        line.split('#').next().is_some_and(|line| !line.contains(':') && line.trim_end().ends_with(']'))
    };
    lines.next().is_some_and(|line| line.starts_with('[') && header(line))
}

/// Reads one; or what is wrong with it, and in which line.
pub(super) fn read(text: &str) -> Result<Vec<Section>, (usize, Flaw)> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
    let ends: Vec<usize> = ends.collect();
    let line = |at: usize| 1 + ends.partition_point(|end| *end < at);
    let wrong = |(at, flaw)| (line(at), flaw);
    let table = DeTable::parse(text);
    let table = table.map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let begin = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let of_line = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let is_mixed = of_line.split_once(':').is_some_and(|(_, hash)| hash.trim_start().starts_with('$'));
        wrong((at, if is_mixed { Flaw::Mixed } else { Flaw::NoToml }))
    })?;
    let mut sections = Vec::new();
    for (key, value) in table.get_ref() {
        let all = value.get_ref().as_array().filter(|_| &**key.get_ref() == "account");
        for one in all.ok_or(wrong((key.span().start, Flaw::NoAccount)))? {
            let start = one.span().start;
            let table = one.get_ref().as_table().ok_or(wrong((start, Flaw::NoAccount)))?;
            sections.push(section(table, start, line).map_err(wrong)?);
        }
    }
    Ok(sections)
}

fn section(
    table: &DeTable<'_>,
    header: usize,
    line: impl Fn(usize) -> usize,
) -> Result<Section, (usize, Flaw)> {
    let (mut name, mut password, mut pool, mut tenant) = (None, None, None, None);
    let mut senders = Vec::new();
    for (key, value) in table {
        let place = match &**key.get_ref() {
            "name" => &mut name,
            "password" => &mut password,
            "pool" => &mut pool,
            "tenant" => &mut tenant,
            "senders" => {
                senders = addresses(value)?;
                continue;
            }
            _ => return Err((key.span().start, Flaw::Key)),
        };
        *place = Some((text(value)?, value.span().start));
    }
    let (name, at) = name.ok_or((header, Flaw::NoName))?;
    let (password, _) = password.ok_or((header, Flaw::NoPassword))?;
    let pool = named(pool, Key::Pool, Flaw::Pool)?.map(|(pool, at)| (pool.into(), line(at)));
    let tenant = named(tenant, Key::Tenant, Flaw::Tenant)?.map(|(tenant, _)| tenant.into());
    let own = AccountDefaults { pool, tenant, senders };
    Ok(Section { name: name.into(), password: password.into(), own, line: line(at) })
}

/// A name that mail of the account gets. As in other places an empty one is none.
fn named(given: Option<(&str, usize)>, key: Key, flaw: Flaw) -> Result<Option<(&str, usize)>, (usize, Flaw)> {
    match given.filter(|(name, _)| !name.is_empty()) {
        Some((name, at)) if parameters::check(key, name).is_err() => Err((at, flaw)),
        given => Ok(given),
    }
}

/// Patterns of addresses: at least one, for nobody means an account that may send nothing.
fn addresses(value: &Spanned<DeValue<'_>>) -> Result<Vec<AddressPattern>, (usize, Flaw)> {
    let wrong = |at| (at, Flaw::Senders);
    let all =
        value.get_ref().as_array().filter(|all| !all.is_empty() && all.len() <= limits::ACCOUNT_SENDERS_MAX);
    let all = all.ok_or(wrong(value.span().start))?;
    let one = |one: &Spanned<DeValue<'_>>| AddressPattern::parse(one.get_ref().as_str()?).ok();
    all.iter().map(|each| one(each).ok_or(wrong(each.span().start))).collect()
}

fn text<'a>(value: &'a Spanned<DeValue<'_>>) -> Result<&'a str, (usize, Flaw)> {
    value.get_ref().as_str().ok_or((value.span().start, Flaw::NoText))
}
