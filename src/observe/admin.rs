//! What operators do, and rules in their place: what is told of it.

use crate::time::UnixMillis;

/// What an operator did.
#[derive(Clone, Copy, Debug)]
pub enum Admin<'a> {
    /// Queued mail is due at once.
    Retry(Change<'a>),
    /// Queued mail went back to its senders.
    Bounce(Change<'a>),
    /// Queued mail is held by an operator.
    Hold(Change<'a>),
    /// It is not any more.
    Release(Change<'a>),
    /// Queued mail has other parameters: these.
    Rebind(Change<'a>, &'a str),
    /// An operator watches sessions.
    Trace(Change<'a>),
    /// Mail waits, or goes back, or a key of sites has another value.
    Suspend(Suspended<'a>),
    /// It does not any more, before its time.
    Resume(Suspended<'a>),
    /// Entries came on the suppression list.
    Suppress(ListChange<'a>),
    /// Entries were taken from it.
    Unsuppress(ListChange<'a>),
    /// An address was made unreadable where it stood: a hash of it, and how often that was.
    Erase(ListChange<'a>),
    /// Another configuration holds.
    Reload {
        /// Who asked for it.
        by: &'a str,
        /// Keys that differ.
        changed: &'a [&'a str],
    },
    /// Another process is to take over from this one.
    Upgrade {
        /// Who asked for it.
        by: &'a str,
    },
    /// An address of a source is on a list of others (`[blocklists]`).
    Listed(Listed<'a>),
    /// It is not any more.
    Delisted(Listed<'a>),
    /// Much of a quota is used, or all of it.
    Quota(QuotaUse<'a>),
    /// A file of those who may ask, or send, says something else.
    Edit(Edit<'a>),
}

/// What was done in such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// Somebody may ask control over HTTP.
    AddToken,
    /// He may not any more.
    RemoveToken,
    /// Somebody may send.
    AddAccount,
    /// He logs in by another password.
    SetPassword,
    /// He may not any more.
    RemoveAccount,
    /// A template of mail says something, or something else.
    SaveTemplate,
    /// It is gone.
    RemoveTemplate,
}

impl Edited {
    /// Its name in events.
    pub fn word(self) -> &'static str {
        match self {
            Edited::AddToken => "add_token",
            Edited::RemoveToken => "remove_token",
            Edited::AddAccount => "add_account",
            Edited::SetPassword => "set_password",
            Edited::RemoveAccount => "remove_account",
            Edited::SaveTemplate => "save_template",
            Edited::RemoveTemplate => "remove_template",
        }
    }
}

/// A change of such a file.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// What was done.
    pub edited: Edited,
    /// Who asked for it.
    pub by: &'a str,
    /// Whose, and what he may; never a secret.
    pub filter: &'a str,
}

/// How much of a quota is used.
#[derive(Clone, Copy, Debug)]
pub struct QuotaUse<'a> {
    /// Whose it is.
    pub filter: &'a str,
    /// The same and the rest in words.
    pub reason: &'a str,
    /// Percent of it, at least.
    pub percent: u64,
    /// Recipients that were counted.
    pub used: u64,
    /// Recipients that there may be.
    pub most: u64,
    /// When it begins anew.
    pub until: UnixMillis,
}

/// An address on a list.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Which list.
    pub by: &'a str,
    /// Whose address.
    pub source: &'a str,
    /// Which.
    pub address: &'a str,
    /// What the list says of it.
    pub reason: &'a str,
}

/// A change of queued mail.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Who asked for it.
    pub by: &'a str,
    /// Which mail was meant.
    pub filter: &'a str,
    /// Why, as was said; empty: nothing was.
    pub reason: &'a str,
    /// Recipients that it happened to.
    pub recipients: u64,
}

/// A suspension.
#[derive(Clone, Copy, Debug)]
pub struct Suspended<'a> {
    /// Who wants it, or wants it no more: an operator, or the line of a rule.
    pub by: &'a str,
    /// Which mail is meant.
    pub filter: &'a str,
    /// What it does.
    pub effect: &'a str,
    /// Why: the words of an operator, or the reply that did it.
    pub reason: &'a str,
    /// Until when.
    pub until: UnixMillis,
}

/// A change of the suppression list.
#[derive(Clone, Copy, Debug)]
pub struct ListChange<'a> {
    /// Who asked for it.
    pub by: &'a str,
    /// What about, where it is one entry.
    pub filter: &'a str,
    /// Why; empty: nothing was said.
    pub reason: &'a str,
    /// Entries that are another now.
    pub entries: u64,
}
