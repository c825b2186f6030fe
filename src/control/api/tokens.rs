//! Who may ask over HTTP is listed and changed, in the file and in force at one time.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::json;

use super::actor::Actor;
use super::answers::{Api, Problem, json, read};
use super::shape::tokens::{NewToken, TokenAdded, TokenEntry, TokenList, TokenRemoved};
use super::told::{Body, Told, of, optional};
use crate::control::admin::Teller;
use crate::control::edits::{EditedTokens, NotEdited};
use crate::control::reload::Reload;
use crate::control::say::say;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Admin, Edit, Edited};
use crate::policy::tokens::{Role, Token, edit, hash, secret};
use crate::runtime::process;

/// All of them.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let listed = by_files(&api, |reload| reload.tokens()).await?;
    let (file, force) = (listed.of_file.all(), listed.in_force.all());
    let entry = |token: &Token| TokenEntry {
        name: token.name.to_string(),
        role: token.role.word().to_owned(),
        tenant: token.tenant.as_deref().map(str::to_owned),
        in_file: file.contains(token),
        in_force: force.contains(token),
    };
    let gone = force.iter().filter(|token| !file.contains(token));
    Ok(json(&TokenList { tokens: file.iter().chain(gone).map(entry).collect() }))
}

/// Adds one. Its text is in the answer alone.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let NewToken { name, role, tenant } = read(&body)?;
    let wrong = || Problem::Wrong("role is send, read, operate or admin".to_owned());
    let (role, tenant) = (Role::named(&role).ok_or_else(wrong)?, tenant.unwrap_or_default());
    let token = secret(&process::random_bytes());
    let hash = hash(&token);
    let (own, to) = (name.clone(), tenant.clone());
    let whose = if tenant.is_empty() { String::new() } else { format!(" tenant={tenant}") };
    let filter = format!("name={name} role={}{whose}", role.word());
    let done = change(&api, (actor, Edited::AddToken, filter), move |text| {
        edit::add(text, (&own, role, &to), &hash)
    });
    let done = done.await?;
    Ok(json(&TokenAdded {
        others: done.others(&name),
        name,
        role: role.word().to_owned(),
        tenant: Some(tenant).filter(|tenant| !tenant.is_empty()),
        token,
        file: done.file.display().to_string(),
        in_force: true,
    }))
}

/// Removes one. Whoever means the one that he asks with says so.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let meant = is_meant(query.as_deref())?;
    let itself = matches!(&actor, Actor::Token { name: own, .. } if **own == *name);
    if itself && !meant {
        return Err(Problem::Conflict(format!(
            "{name} is the token that you ask with, and would be let in no more: ask with another, or say itself=true"
        )));
    }
    let (own, filter) = (name.clone(), format!("name={name}"));
    let done = change(&api, (actor, Edited::RemoveToken, filter), move |text| edit::remove(text, &own));
    let done = done.await?;
    Ok(json(&TokenRemoved {
        others: done.others(&name),
        name,
        file: done.file.display().to_string(),
        itself,
    }))
}

fn is_meant(query: Option<&str>) -> Result<bool, Problem> {
    let mut meant = false;
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        meant = match (&*name, &*value) {
            ("itself", "true") => true,
            ("itself", "false") => false,
            _ => return Err(Problem::Wrong("this takes itself=true or itself=false".to_owned())),
        };
    }
    Ok(meant)
}

/// Changes the file, and tells it: before this is answered the journal has it.
async fn change(
    api: &Api,
    (actor, edited, filter): (Actor, Edited, String),
    mut by: impl FnMut(&str) -> Result<String, edit::NoEdit> + Send + 'static,
) -> Result<EditedTokens, Problem> {
    let admin = api.admin.clone();
    // Told where it is done: whoever asked may be gone by then.
    let done = by_files(api, move |reload| {
        let done = reload.edit_tokens(&mut by)?;
        let edit = Edit { edited, by: &actor.to_string(), filter: &filter };
        tell(admin.as_deref(), edit, (&done.file, "in force"));
        Ok(done)
    })
    .await?;
    api.journal().await;
    Ok(done)
}

/// Tells what was done with a file, in the log and in words.
pub(super) fn tell(admin: Option<&Teller>, edit: Edit<'_>, (file, how): (&std::path::Path, &str)) {
    let Edit { edited, by, filter } = edit;
    say(Level::Info, format_args!("{}: {} by {by}: {filter}; {how}", file.display(), edited.word()));
    if let Some(admin) = admin {
        admin.tell(Admin::Edit(edit));
    }
}

/// Does what waits for files. Whoever is gone when its turn comes wants it no more.
pub(super) async fn by_files<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&dyn Reload) -> Result<T, NotEdited> + Send + 'static,
) -> Result<T, Problem> {
    let Some(reload) = api.reload.clone() else {
        return Err(Problem::NotFound("this relay has no configuration file".to_owned()));
    };
    let wanted = Arc::new(());
    let asks = Arc::downgrade(&wanted);
    let done = tokio::task::spawn_blocking(move || asks.upgrade().map(|_asks| work(&*reload))).await;
    match done {
        Ok(Some(done)) => done.map_err(Problem::Edit),
        _ => Err(Problem::Broken),
    }
}

pub(super) fn told_list() -> Told {
    Told { refusals: &[404], ..of("Who may ask over HTTP, by the file and in force.", "TokenList") }
}

pub(super) fn told_add() -> Told {
    let summary = "Adds a token, which is told once; it is in force at once.";
    Told { body: Some(Body::Shape("NewToken")), refusals: &[404, 409], ..of(summary, "TokenAdded") }
}

pub(super) fn told_remove() -> Told {
    let help = "Also where it is the token that this is asked with.";
    let query = vec![optional("itself", help, json!({ "type": "boolean" }))];
    let summary = "Removes a token, which is let in no more at once.";
    Told { query, refusals: &[404, 409], ..of(summary, "TokenRemoved") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_says_so_removes_itself() {
        assert!(is_meant(Some("itself=true")).expect("read") && !is_meant(None).expect("read"));
        assert!(!is_meant(Some("itself=false")).expect("read"));
        for wrong in ["itself", "itself=1", "force=true", "itself=true&x="] {
            assert!(is_meant(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
