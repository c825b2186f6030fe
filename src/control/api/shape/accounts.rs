//! Who may send, as JSON: for commands that read the file, and for who asks the relay.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::policy::accounts::Rights;
use crate::policy::accounts::edit::RightValue;

/// All accounts of a page, by their names.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AccountPage {
    /// In the order of their names.
    pub accounts: Vec<AccountKnown>,
    /// The `cursor` of the next page; none: this was the last.
    pub next: Option<String>,
}

/// An account, and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountKnown {
    /// As the file has it; where it is not there, as it is in force.
    #[serde(flatten)]
    pub account: AccountEntry,
    /// It stands in the file of `auth.accounts`.
    pub in_file: bool,
    /// It logs in with what the file says. Where this is not as `in_file` is, the file was changed, and not put in force: a reload does.
    pub in_force: bool,
}

/// An account. Nothing tells its password, or a hash of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountEntry {
    /// Its name.
    pub name: String,
    /// It logs in by PLAIN and LOGIN.
    pub password: bool,
    /// It logs in by SCRAM.
    pub scram: bool,
    /// Whose its mail is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The pool, or source, that its mail leaves by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Where it may log in from; none: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// How many patterns say what it may send as; none: as anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub senders: Option<usize>,
    /// How many say what it may send to; none: to anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<usize>,
    /// Connections that it may have at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// Messages in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Recipients in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients_rate: Option<String>,
    /// Recipients by the calendar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quota: Vec<String>,
}

impl AccountEntry {
    /// Of an account by how it logs in and what it may.
    pub fn of(name: &str, [password, scram]: [bool; 2], own: Option<&Rights>) -> AccountEntry {
        let none = Rights::default();
        let own = own.unwrap_or(&none);
        let many = |count: usize| (count > 0).then_some(count);
        AccountEntry {
            name: name.to_owned(),
            password,
            scram,
            tenant: own.tenant.as_deref().map(str::to_owned),
            pool: own.pool.as_ref().map(|(pool, _)| pool.to_string()),
            networks: own.networks.iter().map(ToString::to_string).collect(),
            senders: many(own.senders.len()),
            recipients: many(own.recipients.len()),
            connections_max: own.connections_max,
            rate: own.rate.map(|rate| rate.to_string()),
            recipients_rate: own.recipients_rate.map(|rate| rate.to_string()),
            quota: own.quota.each().map(|(period, most)| format!("{most}/{}", period.unit())).collect(),
        }
    }
}

/// What an account may: keys of its section, none of them needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountRights {
    /// Whose its mail is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The pool, or source, that its mail leaves by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What it may send as: `@example.com`, `*.example.com` or an address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub senders: Vec<String>,
    /// What it may send to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Where it may log in from: addresses and prefixes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Connections that it may have at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// Messages in a time, as `50000/d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Recipients in a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients_rate: Option<String>,
    /// Recipients in a minute, hour, day or month of the calendar, as `50000/d`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quota: Vec<String>,
}

impl AccountRights {
    /// As keys of its section, in their order.
    pub fn values(&self) -> Vec<(&'static str, RightValue)> {
        let one = |key, value: &Option<String>| value.clone().map(|value| (key, RightValue::Text(value)));
        let list = |key, all: &Vec<String>| (!all.is_empty()).then(|| (key, RightValue::List(all.clone())));
        let all = [
            one("tenant", &self.tenant),
            one("pool", &self.pool),
            list("senders", &self.senders),
            list("recipients", &self.recipients),
            list("networks", &self.networks),
            self.connections_max.map(|most| ("connections_max", RightValue::Number(most))),
            one("rate", &self.rate),
            one("recipients_rate", &self.recipients_rate),
            list("quota", &self.quota),
        ];
        all.into_iter().flatten().collect()
    }
}

/// How an account logs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogsIn {
    /// By a hash for PLAIN and LOGIN, and by a verifier of SCRAM.
    #[default]
    Both,
    /// By SCRAM alone.
    Scram,
    /// By PLAIN and LOGIN alone.
    Password,
}

/// An account that is to be.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Its name.
    #[schema(min_length = 1)]
    pub name: String,
    /// Its password: the file keeps a hash and a verifier of SCRAM of it.
    #[schema(min_length = 1)]
    pub password: String,
    /// How it logs in.
    #[serde(default)]
    pub logs_in: LogsIn,
    /// What it may.
    #[serde(default)]
    pub rights: AccountRights,
}

/// Another password.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password.
    #[schema(min_length = 1)]
    pub password: String,
    /// How the account logs in from now on.
    #[serde(default)]
    pub logs_in: LogsIn,
}

impl fmt::Debug for NewAccount {
    /// Without its password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NewAccount({}, {:?})", self.name, self.rights)
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NewPassword")
    }
}

/// What came of a change of accounts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AccountsChanged {
    /// Whose.
    pub name: String,
    /// The file, which says so from now on.
    pub file: String,
    /// It holds on all shards: whoever logs in from now on is asked for this. If not, a reload puts it in force.
    pub in_force: bool,
    /// Why it does not.
    pub why: Option<String>,
}
