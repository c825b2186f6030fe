//! `relevo account …`: the file of accounts, changed as a whole and with all else in it as it was.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use relevo::limits;
use relevo::policy::accounts::edit::{self, NewAccount, RightValue};
use relevo::policy::accounts::{self, Accounts, Rights};
use relevo::runtime::process;
use serde::Serialize;

use super::edited;
use super::output::{Failure, say};
use super::password::password;

/// `relevo account …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Add an account. Its password is asked for, or read from standard input; the file keeps a hash and a verifier of SCRAM of it.
    #[command(
        after_help = "Examples:\n  relevo account add shop --sender @shop.example --tenant shop\n  relevo account add app --network 192.0.2.0/24 --rate 1000/h < password-file\n\n`relevo reload` puts it in force."
    )]
    Add(Box<Add>),
    /// Show who has an account, how they log in, and what they may. No hash is shown.
    #[command(after_help = "Examples:\n  relevo account list\n  relevo account list --json")]
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Remove an account. `relevo reload` then ends its sessions between two messages.
    #[command(after_help = "Example: relevo account remove shop && relevo reload")]
    Remove {
        #[command(flatten)]
        place: Place,
        /// Whose.
        name: String,
    },
}

/// Which file.
#[derive(Args)]
#[group(multiple = false)]
struct Place {
    /// The configuration whose auth.accounts names it [default: /etc/relevo/relevo.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file of accounts itself.
    #[arg(long, value_name = "FILE")]
    accounts: Option<PathBuf>,
}

#[derive(Args)]
struct Add {
    #[command(flatten)]
    place: Place,
    /// Its name, as clients give it.
    name: String,
    /// Keep no hash for PLAIN and LOGIN: its clients know SCRAM.
    #[arg(long, conflicts_with = "password_only")]
    scram_only: bool,
    /// Keep no verifier for SCRAM.
    #[arg(long)]
    password_only: bool,
    /// Whose its mail is.
    #[arg(long)]
    tenant: Option<String>,
    /// The pool, or source, that its mail leaves by.
    #[arg(long)]
    pool: Option<String>,
    /// What it may send as: @example.com, *.example.com or an address; may be given again.
    #[arg(long = "sender", value_name = "PATTERN")]
    senders: Vec<String>,
    /// What it may send to; may be given again.
    #[arg(long = "recipient", value_name = "PATTERN")]
    recipients: Vec<String>,
    /// Where it may log in from: an address or a prefix; may be given again.
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// Connections that it may have at one time.
    #[arg(long, value_name = "COUNT")]
    connections_max: Option<u32>,
    /// Messages in a time, as 50000/d.
    #[arg(long)]
    rate: Option<String>,
    /// Recipients in a time.
    #[arg(long, value_name = "RATE")]
    recipients_rate: Option<String>,
    /// Recipients in a minute, hour, day or month of the calendar, as 50000/d; may be given again.
    #[arg(long = "quota", value_name = "QUOTA")]
    quotas: Vec<String>,
}

/// Exit 0: it is done; 1: it is not, and the file is as it was.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.tool {
        Tool::Add(arguments) => add(*arguments),
        Tool::List { place, json } => list(&place, json),
        Tool::Remove { place, name } => {
            let path = place.path()?;
            edited::change(&path, limits::ACCOUNTS_FILE_MAX, |text| edit::remove(text, &name))?;
            say!("{}: {name} is removed; `relevo reload` puts it in force", path.display());
            Ok(())
        }
    }
}

impl Place {
    fn path(&self) -> Result<PathBuf, Failure> {
        let key = ("auth.accounts", "--accounts");
        edited::path(self.accounts.as_ref(), self.config.as_deref(), |config| config.accounts, key)
    }
}

fn add(arguments: Add) -> Result<(), Failure> {
    let path = arguments.place.path()?;
    let password = password()?;
    let hash = (!arguments.scram_only).then(|| accounts::hash(&password, &process::random_bytes()));
    let iterations = NonZeroU32::new(limits::SCRAM_ITERATIONS).filter(|_| !arguments.password_only);
    let scram =
        iterations.map(|iterations| accounts::verifier(&password, process::random_bytes(), iterations));
    let text = |error: accounts::PasswordError| error.to_string();
    let one = |key, value: Option<String>| value.map(|value| (key, RightValue::Text(value)));
    let list = |key, all: Vec<String>| (!all.is_empty()).then_some((key, RightValue::List(all)));
    let rights = [
        one("tenant", arguments.tenant),
        one("pool", arguments.pool),
        list("senders", arguments.senders),
        list("recipients", arguments.recipients),
        list("networks", arguments.networks),
        arguments.connections_max.map(|most| ("connections_max", RightValue::Number(most))),
        one("rate", arguments.rate),
        one("recipients_rate", arguments.recipients_rate),
        list("quota", arguments.quotas),
    ];
    let account = NewAccount {
        name: arguments.name,
        password: hash.transpose().map_err(text)?,
        scram: scram.transpose().map_err(text)?,
        rights: rights.into_iter().flatten().collect(),
    };
    edited::change(&path, limits::ACCOUNTS_FILE_MAX, |text| edit::add(text, &account))?;
    say!("{}: {} is added; `relevo reload` puts it in force", path.display(), account.name);
    Ok(())
}

/// One account, as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    password: bool,
    scram: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    senders: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients_rate: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quota: Vec<String>,
}

fn list(place: &Place, json: bool) -> Result<(), Failure> {
    let path = place.path()?;
    let all = edited::read(&path, limits::ACCOUNTS_FILE_MAX, Accounts::parse)?;
    let none = Rights::default();
    for (name, [password, scram]) in all.names() {
        let own = all.own(name).unwrap_or(&none);
        let many = |count: usize| (count > 0).then_some(count);
        let listed = Listed {
            name,
            password,
            scram,
            tenant: own.tenant.as_deref(),
            pool: own.pool.as_ref().map(|(pool, _)| &**pool),
            networks: own.networks.iter().map(ToString::to_string).collect(),
            senders: many(own.senders.len()),
            recipients: many(own.recipients.len()),
            connections_max: own.connections_max,
            rate: own.rate.map(|rate| rate.to_string()),
            recipients_rate: own.recipients_rate.map(|rate| rate.to_string()),
            quota: own.quota.each().map(|(period, most)| format!("{most}/{}", period.unit())).collect(),
        };
        match json {
            true => say!("{}", serde_json::to_string(&listed).map_err(|error| error.to_string())?),
            false => say!("{}", listed.line()),
        }
    }
    Ok(())
}

impl Listed<'_> {
    fn line(&self) -> String {
        let by = match (self.password, self.scram) {
            (true, true) => "password, SCRAM",
            (false, true) => "SCRAM",
            _ => "password",
        };
        let mut line = format!("{:<24} {by:<15}", self.name);
        let number = |count: Option<usize>| count.map(|count| count.to_string());
        let quota = (!self.quota.is_empty()).then(|| self.quota.join(","));
        let networks = (!self.networks.is_empty()).then(|| self.networks.join(" "));
        for (what, value) in [
            ("tenant", self.tenant.map(str::to_owned)),
            ("pool", self.pool.map(str::to_owned)),
            ("senders", number(self.senders)),
            ("recipients", number(self.recipients)),
            ("from", networks),
            ("connections", self.connections_max.map(|most| most.to_string())),
            ("rate", self.rate.clone()),
            ("recipients_rate", self.recipients_rate.clone()),
            ("quota", quota),
        ] {
            value.iter().for_each(|value| line += &format!(" {what}={value}"));
        }
        line.trim_end().to_owned()
    }
}
