//! A file of accounts as sections: `[[account]]` with `name`, `password` or `scram`, and what else holds for it.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::quota::Quotas;
use crate::config::{AddressPattern, Network, value};
use crate::limits;
use crate::mail::parameters::{self, Key};
use crate::policy::accounts::rights::Rights;
use crate::shaping::value::{Rate, rate};
use crate::smtp::scram::{BadVerifier, Verifier};

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
    /// It has neither a password nor a verifier.
    NoPassword,
    /// What is no verifier of SCRAM.
    Scram(BadVerifier),
    /// What cannot be the name of a pool.
    Pool,
    /// What cannot be the name of a tenant.
    Tenant,
    /// What is no list of addresses.
    Senders,
    /// The same, of those that mail may go to.
    Recipients,
    /// What is no list of networks.
    Networks,
    /// What is no number of connections.
    Connections,
    /// What is no rate.
    Rate,
    /// What is no list of quotas.
    Quota,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt_min, salt_max) = (limits::SCRAM_SALT_MIN, limits::SCRAM_SALT_MAX);
        let (least, most) = (limits::client::ITERATIONS_MIN, limits::client::ITERATIONS_MAX);
        let connections = limits::INBOUND_CONNECTIONS_LIMIT;
        formatter.write_str(match self {
            Flaw::Scram(BadVerifier::Salt) => {
                return write!(formatter, "its salt has fewer than {salt_min} or more than {salt_max} bytes");
            }
            Flaw::Scram(BadVerifier::Iterations) => {
                return write!(formatter, "its iterations are fewer than {least} or more than {most}");
            }
            Flaw::Connections => {
                return write!(formatter, "this is no number of connections; write one from 1 to {connections}");
            }
            Flaw::NoToml => "this is no TOML; write name = \"shop\"",
            Flaw::Mixed => {
                "a line of name:hash in a file that begins with [[account]]; write it as [[account]] with name = and password = below, each in quotes"
            }
            Flaw::NoAccount => "this is no account; write [[account]]",
            Flaw::Key => {
                "unknown key; known here: name, password, scram, pool, tenant, senders, recipients, networks, connections_max, rate, recipients_rate, quota"
            }
            Flaw::NoText => "this is no text; write it in quotes",
            Flaw::NoName => "the account has no name; add name = \"shop\"",
            Flaw::NoPassword => {
                "the account has no password; add password = \"…\", a hash of `relevo hash-password`, or scram = \"…\", of `relevo hash-password --scram`"
            }
            Flaw::Scram(BadVerifier::Form) => {
                "this is no verifier of SCRAM-SHA-256; make one with `relevo hash-password --scram`"
            }
            Flaw::Pool => "no pool can have this name; name one, or a source",
            Flaw::Tenant => "no tenant can have this name; name one",
            Flaw::Senders => {
                "these are no addresses; write senders = [\"@example.com\", \"*.example.com\", \"ada@example.org\"]"
            }
            Flaw::Recipients => {
                "these are no addresses; write recipients = [\"@example.com\", \"*.example.com\", \"ada@example.org\"]"
            }
            Flaw::Networks => "these are no networks; write networks = [\"192.0.2.0/24\", \"2001:db8::/32\"]",
            Flaw::Quota => {
                "these are no quotas; write quota = [\"50000/d\", \"1000000/month\"], each with another number from 1 and one of /min, /h, /d, /month"
            }
            Flaw::Rate => "this is no rate; write \"50000/d\", or another number from 1 in a unit: /s, /min, /h, /d",
        })
    }
}

/// What a section says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Section {
    pub name: Box<str>,
    /// As a hash.
    pub password: Option<Box<str>>,
    /// What a client proves that it knows.
    pub scram: Option<Box<Verifier>>,
    /// What it may, and what holds for its mail.
    pub own: Rights,
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

/// Where the header of each section begins, and whose it is, in the order of the file. None: it cannot be read.
pub(super) fn places(text: &str) -> Option<Vec<(usize, String)>> {
    let table = DeTable::parse(text).ok()?;
    let all = table.get_ref().get("account")?.get_ref().as_array()?;
    let place = |one: &Spanned<DeValue<'_>>| {
        let name = one.get_ref().as_table()?.get("name")?.get_ref().as_str()?.to_owned();
        let before = text.get(..one.span().start)?;
        Some((before.rfind('\n').map_or(0, |end| end + 1), name))
    };
    all.iter().map(place).collect()
}

fn section(
    table: &DeTable<'_>,
    header: usize,
    line: impl Fn(usize) -> usize,
) -> Result<Section, (usize, Flaw)> {
    let (mut name, mut password, mut scram, mut pool, mut tenant) = (None, None, None, None, None);
    let mut own = Rights::default();
    for (key, value) in table {
        let place = match &**key.get_ref() {
            "name" => &mut name,
            "password" => &mut password,
            "scram" => &mut scram,
            "pool" => &mut pool,
            "tenant" => &mut tenant,
            other if right(&mut own, other, value)? => continue,
            _ => return Err((key.span().start, Flaw::Key)),
        };
        *place = Some((text(value)?, value.span().start));
    }
    let (name, at) = name.ok_or((header, Flaw::NoName))?;
    if password.is_none() && scram.is_none() {
        return Err((header, Flaw::NoPassword));
    }
    let verifier = |(text, at)| Verifier::parse(text).map_err(|bad| (at, Flaw::Scram(bad)));
    let scram = scram.map(verifier).transpose()?.map(Box::new);
    own.pool = named(pool, Key::Pool, Flaw::Pool)?.map(|(pool, at)| (pool.into(), line(at)));
    own.tenant = named(tenant, Key::Tenant, Flaw::Tenant)?.map(|(tenant, _)| tenant.into());
    let password = password.map(|(hash, _)| hash.into());
    Ok(Section { name: name.into(), password, scram, own, line: line(at) })
}

/// One of the keys that say what the account may. False: it is none.
fn right(own: &mut Rights, key: &str, value: &Spanned<DeValue<'_>>) -> Result<bool, (usize, Flaw)> {
    let at = value.span().start;
    match key {
        "senders" => own.senders = addresses(value, Flaw::Senders)?,
        "recipients" => own.recipients = addresses(value, Flaw::Recipients)?,
        "networks" => own.networks = networks(value)?,
        "connections_max" => {
            let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
            let within = |most: &u64| (1..=limits::INBOUND_CONNECTIONS_LIMIT).contains(most);
            let most = number.filter(within).ok_or((at, Flaw::Connections))?;
            own.connections_max = Some(u32::try_from(most).unwrap_or(u32::MAX));
        }
        "rate" => own.rate = Some(pace(value)?),
        "recipients_rate" => own.recipients_rate = Some(pace(value)?),
        "quota" => own.quota = quota(value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn pace(value: &Spanned<DeValue<'_>>) -> Result<Rate, (usize, Flaw)> {
    value
        .get_ref()
        .as_str()
        .and_then(rate)
        .filter(|rate| rate.burst.is_none())
        .ok_or((value.span().start, Flaw::Rate))
}

fn quota(value: &Spanned<DeValue<'_>>) -> Result<Quotas, (usize, Flaw)> {
    let all = value.get_ref().as_array().map(|all| all.iter().map(|one| one.get_ref().as_str()));
    let all = all.and_then(|all| all.collect::<Option<Vec<_>>>());
    all.and_then(Quotas::parse).ok_or((value.span().start, Flaw::Quota))
}

/// At least one: nobody means an account that nobody may use.
fn networks(value: &Spanned<DeValue<'_>>) -> Result<Vec<Network>, (usize, Flaw)> {
    let one = |one: &DeValue<'_>| value::network(one.as_str()?).ok();
    each(value, limits::ACCOUNT_NETWORKS_MAX, Flaw::Networks, one)
}

/// A name that mail of the account gets. As in other places an empty one is none.
fn named(given: Option<(&str, usize)>, key: Key, flaw: Flaw) -> Result<Option<(&str, usize)>, (usize, Flaw)> {
    match given.filter(|(name, _)| !name.is_empty()) {
        Some((name, at)) if parameters::check(key, name).is_err() => Err((at, flaw)),
        given => Ok(given),
    }
}

/// Patterns of addresses: at least one, for nobody means an account that may send nothing.
fn addresses(value: &Spanned<DeValue<'_>>, flaw: Flaw) -> Result<Vec<AddressPattern>, (usize, Flaw)> {
    let one = |one: &DeValue<'_>| AddressPattern::parse(one.as_str()?).ok();
    each(value, limits::ACCOUNT_SENDERS_MAX, flaw, one)
}

/// A list of up to so many, and of one at least.
fn each<T>(
    value: &Spanned<DeValue<'_>>,
    most: usize,
    flaw: Flaw,
    one: impl Fn(&DeValue<'_>) -> Option<T>,
) -> Result<Vec<T>, (usize, Flaw)> {
    let all = value.get_ref().as_array().filter(|all| (1..=most).contains(&all.len()));
    let all = all.ok_or((value.span().start, flaw))?;
    all.iter().map(|each| one(each.get_ref()).ok_or((each.span().start, flaw))).collect()
}

fn text<'a>(value: &'a Spanned<DeValue<'_>>) -> Result<&'a str, (usize, Flaw)> {
    value.get_ref().as_str().ok_or((value.span().start, Flaw::NoText))
}
