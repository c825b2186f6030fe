//! Who may send is listed and changed, in the file and in force at one time. Passwords are hashed off this thread, and so many at one time.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use tokio::sync::OwnedSemaphorePermit;

use super::actor::Actor;
use super::answers::{Api, Problem, json, read};
use super::shape::accounts::{
    AccountEntry, AccountKnown, AccountPage, AccountRights, AccountsChanged, LogsIn, NewAccount, NewPassword,
};
use super::tokens::{by_files, tell};
use super::told::{Body, Told, cursor, limit, of};
use crate::control::edits::{ListedAccounts, NotEdited};
use crate::limits;
use crate::observe::event::{Edit, Edited};
use crate::policy::accounts::edit::{self, NoEdit};
use crate::policy::accounts::{self, Accounts, PasswordError};
use crate::runtime::process;

/// A page of them.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (most, after) = asked(query.as_deref())?;
    let place = place(&api)?;
    let page = by_files(&api, move |reload| {
        let _place = place;
        Ok(page(&reload.accounts()?, most, &after))
    });
    Ok(json(&page.await?))
}

fn asked(query: Option<&str>) -> Result<(usize, String), Problem> {
    let (mut most, mut after) = (limits::ACCOUNTS_PAGE, String::new());
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let limit = value.parse().ok().filter(|limit| (1..=limits::ACCOUNTS_PAGE_MAX).contains(limit));
        match (&*name, limit) {
            ("limit", Some(limit)) if !value.starts_with('+') => most = limit,
            ("cursor", _) if value.len() <= limits::ACCOUNT_NAME_MAX => after = value.into_owned(),
            _ => {
                let words = format!("this takes limit, from 1 to {}, and cursor", limits::ACCOUNTS_PAGE_MAX);
                return Err(Problem::Wrong(words));
            }
        }
    }
    Ok((most, after))
}

fn page(listed: &ListedAccounts, most: usize, after: &str) -> AccountPage {
    let ListedAccounts { of_file, in_force } = listed;
    let nobody = Accounts::default();
    let in_force = in_force.as_ref().map_or(&nobody, |logins| logins.accounts());
    // By their names; where one is in both, the file says what it may.
    let mut all: BTreeMap<&str, ([bool; 2], &Accounts)> = BTreeMap::new();
    for accounts in [in_force, of_file] {
        let beyond = accounts.names().filter(|(name, _)| *name > after);
        all.extend(beyond.map(|(name, how)| (name, (how, accounts))));
    }
    let known = |(name, (how, accounts)): (&&str, &([bool; 2], &Accounts))| AccountKnown {
        account: AccountEntry::of(name, *how, accounts.own(name)),
        in_file: of_file.has(name),
        in_force: in_force.has(name)
            && (!of_file.has(name) || in_force.is_as_in(of_file, name) && in_force.may_as_in(of_file, name)),
    };
    let accounts: Vec<AccountKnown> = all.iter().take(most).map(known).collect();
    let next = (all.len() > most).then(|| accounts.last().map(|last| last.account.name.clone())).flatten();
    AccountPage { accounts, next }
}

/// Adds one.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let NewAccount { name, password, logs_in, rights } = read(&body)?;
    let filter = format!("name={name}{}", words(&rights));
    let own = name.clone();
    let make = move || {
        let rights = rights.values();
        Ok(edit::NewAccount { rights, ..hashed(own, password.as_bytes(), logs_in)? })
    };
    change(&api, (actor, Edited::AddAccount, name, filter), make, edit::add).await
}

/// Sets the password of one.
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let NewPassword { password, logs_in } = read(&body)?;
    let (own, filter) = (name.clone(), format!("name={name}"));
    let make = move || hashed(own, password.as_bytes(), logs_in);
    change(&api, (actor, Edited::SetPassword, name, filter), make, edit::set_password).await
}

/// Removes one.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let filter = format!("name={name}");
    let account = edit::NewAccount { name: name.clone(), ..edit::NewAccount::default() };
    let by = |text: &str, account: &edit::NewAccount| edit::remove(text, &account.name);
    change(&api, (actor, Edited::RemoveAccount, name, filter), move || Ok(account), by).await
}

/// What the file keeps of a password.
fn hashed(name: String, password: &[u8], logs_in: LogsIn) -> Result<edit::NewAccount, PasswordError> {
    let hash = (logs_in != LogsIn::Scram).then(|| accounts::hash(password, &process::random_bytes()));
    let iterations = NonZeroU32::new(limits::SCRAM_ITERATIONS).filter(|_| logs_in != LogsIn::Password);
    let scram =
        iterations.map(|iterations| accounts::verifier(password, process::random_bytes(), iterations));
    Ok(edit::NewAccount {
        name,
        password: hash.transpose()?,
        scram: scram.transpose()?,
        ..edit::NewAccount::default()
    })
}

/// What an account may, as an event tells it.
fn words(rights: &AccountRights) -> String {
    let one = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!(" {name}={value}")).unwrap_or_default()
    };
    one("tenant", &rights.tenant) + &one("pool", &rights.pool)
}

fn place(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = |_| Problem::Busy("as many read files as may; ask again in a moment");
    api.file_readers.clone().try_acquire_owned().map_err(busy)
}

/// Changes the file, and tells it: before this is answered the journal has it.
async fn change(
    api: &Api,
    (actor, edited, name, filter): (Actor, Edited, String, String),
    make: impl FnOnce() -> Result<edit::NewAccount, PasswordError> + Send + 'static,
    by: fn(&str, &edit::NewAccount) -> Result<String, NoEdit>,
) -> Result<Response, Problem> {
    let place = place(api)?;
    let admin = api.admin.clone();
    let done = by_files(api, move |reload| {
        let _place = place;
        let account = make().map_err(|bad| NotEdited::Unsound(bad.to_string()))?;
        let who = actor.to_string();
        let done = reload.edit_accounts(&who, &mut |text| by(text, &account))?;
        let how = if done.in_force { "in force" } else { "not in force" };
        tell(admin.as_deref(), Edit { edited, by: &who, filter: &filter }, (&done.file, how));
        Ok(done)
    });
    let done = done.await?;
    api.journal().await;
    let file = done.file.display().to_string();
    Ok(json(&AccountsChanged { name, file, in_force: done.in_force, why: done.why }))
}

pub(super) fn told_list() -> Told {
    let query = vec![limit(limits::ACCOUNTS_PAGE_MAX), cursor()];
    Told { query, refusals: &[404], ..of("Who may send, by the file and in force.", "AccountPage") }
}

pub(super) fn told_add() -> Told {
    let summary = "Adds an account, which is in force at once.";
    Told { body: Some(Body::Shape("NewAccount")), refusals: &[404, 409], ..of(summary, "AccountsChanged") }
}

pub(super) fn told_set() -> Told {
    let summary = "Sets the password of an account, which is in force at once.";
    Told { body: Some(Body::Shape("NewPassword")), refusals: &[404], ..of(summary, "AccountsChanged") }
}

pub(super) fn told_remove() -> Told {
    let summary = "Removes an account: its sessions end between two messages.";
    Told { refusals: &[404], ..of(summary, "AccountsChanged") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_tell_who_is_in_the_file_and_who_logs_in() {
        let hash = accounts::hash(b"x", &[7; 16]).expect("a hash");
        let other = accounts::hash(b"y", &[7; 16]).expect("a hash");
        let of_file = Accounts::parse(&format!("a:{hash}\nc:{hash}\nd:{hash}\n")).expect("sound");
        let logins = Accounts::parse(&format!("a:{hash}\nb:{hash}\nd:{other}\n")).expect("sound");
        let logins = crate::shard::inbound::logins::Logins::new(logins, &[[1; 32], [2; 32]]);
        let listed = ListedAccounts { of_file, in_force: Some(Arc::new(logins)) };
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = page(&listed, 3, &after);
            assert!(page.accounts.len() <= 3);
            found.extend(page.accounts.into_iter().map(|one| (one.account.name, one.in_file, one.in_force)));
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        let wanted = [("a", true, true), ("b", false, true), ("c", true, false), ("d", true, false)];
        assert_eq!(found, wanted.map(|(name, file, force)| (name.to_owned(), file, force)));
        assert!(asked(Some("limit=0")).is_err() && asked(Some("limit=7&cursor=a")).is_ok());
        assert!(asked(Some("limit=+7")).is_err() && asked(Some("other=a")).is_err());
    }
}
