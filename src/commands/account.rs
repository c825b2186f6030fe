//! `relevo account …`: the file of accounts, changed as a whole and with all else in it as it was.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use relevo::control::api::shape::accounts::{AccountEntry, AccountRights};
use relevo::limits;
use relevo::policy::accounts::edit::{self, NewAccount};
use relevo::policy::accounts::{self, Accounts};
use relevo::runtime::process;

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
    let rights = AccountRights {
        tenant: arguments.tenant,
        pool: arguments.pool,
        senders: arguments.senders,
        recipients: arguments.recipients,
        networks: arguments.networks,
        connections_max: arguments.connections_max,
        rate: arguments.rate,
        recipients_rate: arguments.recipients_rate,
        quota: arguments.quotas,
    };
    let account = NewAccount {
        name: arguments.name,
        password: hash.transpose().map_err(text)?,
        scram: scram.transpose().map_err(text)?,
        rights: rights.values(),
    };
    edited::change(&path, limits::ACCOUNTS_FILE_MAX, |text| edit::add(text, &account))?;
    say!("{}: {} is added; `relevo reload` puts it in force", path.display(), account.name);
    Ok(())
}

fn list(place: &Place, json: bool) -> Result<(), Failure> {
    let path = place.path()?;
    let all = edited::read(&path, limits::ACCOUNTS_FILE_MAX, Accounts::parse)?;
    for (name, how) in all.names() {
        let listed = AccountEntry::of(name, how, all.own(name));
        match json {
            true => say!("{}", serde_json::to_string(&listed).map_err(|error| error.to_string())?),
            false => say!("{}", line(&listed)),
        }
    }
    Ok(())
}

fn line(listed: &AccountEntry) -> String {
    let by = match (listed.password, listed.scram) {
        (true, true) => "password, SCRAM",
        (false, true) => "SCRAM",
        _ => "password",
    };
    let mut line = format!("{:<24} {by:<15}", listed.name);
    let number = |count: Option<usize>| count.map(|count| count.to_string());
    let quota = (!listed.quota.is_empty()).then(|| listed.quota.join(","));
    let networks = (!listed.networks.is_empty()).then(|| listed.networks.join(" "));
    for (what, value) in [
        ("tenant", listed.tenant.clone()),
        ("pool", listed.pool.clone()),
        ("senders", number(listed.senders)),
        ("recipients", number(listed.recipients)),
        ("from", networks),
        ("connections", listed.connections_max.map(|most| most.to_string())),
        ("rate", listed.rate.clone()),
        ("recipients_rate", listed.recipients_rate.clone()),
        ("quota", quota),
    ] {
        value.iter().for_each(|value| line += &format!(" {what}={value}"));
    }
    line.trim_end().to_owned()
}
