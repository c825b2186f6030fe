//! Templates under the paths that Mailtrap's clients have for them: `/api/accounts/ACCOUNT/email_templates`. Whose they are says the token, whatever the
//! account; who sends alone may not change them.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use super::answers::{answer, later, refusal};
use super::asked::{Asked, Read};
use crate::control::say::say;
use crate::control::templates::{Found, Saving, TemplateProblem};
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::policy::tokens::Role;
use crate::templates::Contents;
use crate::time::UnixMillis;

/// All that may be asked.
pub(super) fn routes() -> Router<Asked> {
    Router::new()
        .route("/api/accounts/{account}/email_templates", get(list).post(create))
        .route("/api/accounts/{account}/email_templates/{id}", get(show).patch(update).delete(remove))
}

/// A template, as these clients read it.
#[derive(Debug, Serialize)]
struct EmailTemplate {
    id: u64,
    uuid: String,
    name: String,
    category: String,
    subject: String,
    body_html: Option<String>,
    body_text: Option<String>,
    created_at: String,
    updated_at: String,
}

/// What is asked with.
#[derive(Debug, Deserialize)]
struct Wrapped {
    email_template: Given,
}

/// What of a template is to be so; what is not there stays.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Given {
    name: Option<String>,
    category: Option<String>,
    subject: Option<String>,
    body_html: Option<String>,
    body_text: Option<String>,
}

impl Given {
    fn over(self, before: Contents) -> Contents {
        // An empty text is none: it is made from the HTML.
        let part = |given: Option<String>, before| {
            given.map_or(before, |text| Some(text).filter(|text| !text.is_empty()))
        };
        Contents {
            category: self.category.unwrap_or(before.category),
            subject: self.subject.unwrap_or(before.subject),
            html: part(self.body_html, before.html),
            text: part(self.body_text, before.text),
            ..Contents { category: String::new(), subject: String::new(), html: None, text: None, ..before }
        }
    }
}

impl EmailTemplate {
    fn of(found: Found) -> EmailTemplate {
        let Found { row, contents, .. } = found;
        let iso = |at: UnixMillis| {
            let mut text = Vec::new();
            at.write_iso(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        EmailTemplate {
            id: row.number,
            uuid: row.uuid,
            name: row.name,
            category: row.category,
            subject: row.subject,
            body_html: contents.html,
            body_text: contents.text,
            created_at: iso(row.made),
            updated_at: iso(row.changed),
        }
    }
}

/// Why not, as these clients read it.
fn refused(why: TemplateProblem) -> Response {
    match why {
        TemplateProblem::NotFound(_) => refusal(StatusCode::NOT_FOUND, "Not Found"),
        TemplateProblem::Fault(fault) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &fault.to_string()),
        TemplateProblem::Wrong(words) | TemplateProblem::Known(words) | TemplateProblem::Full(words) => {
            refusal(StatusCode::UNPROCESSABLE_ENTITY, &words)
        }
        TemplateProblem::Busy | TemplateProblem::Late => later("too much is asked of templates just now"),
        TemplateProblem::Store(_) | TemplateProblem::Broken => {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the relay's log says why this is not done")
        }
    }
}

/// A request that was let in, and whose templates it is about.
async fn read(asked: &Asked, request: Request) -> Result<(Read, String), Response> {
    let role = if *request.method() == Method::GET { Role::Read } else { Role::Operate };
    let read = asked.read_as(role, request, |_| limits::TEMPLATE_BODY_MAX).await?;
    let tenant = read.sender.tenant.as_deref().unwrap_or_default().to_owned();
    Ok((read, tenant))
}

/// What a body says; else what is wrong with it.
fn given(read: &Read) -> Result<Given, String> {
    let said = serde_json::from_slice(&read.body);
    said.map(|Wrapped { email_template }| email_template)
        .map_err(|error| format!("the body is no template as JSON: {error}"))
}

fn said(found: Result<Found, TemplateProblem>, status: StatusCode) -> Response {
    found.map_or_else(refused, |found| answer(status, &EmailTemplate::of(found)))
}

async fn list(State(asked): State<Asked>, request: Request) -> Response {
    let tenant = match read(&asked, request).await {
        Ok((_, tenant)) => tenant,
        Err(no) => return no,
    };
    match asked.api.templates.all(tenant).await {
        Ok(all) => answer(StatusCode::OK, &all.into_iter().map(EmailTemplate::of).collect::<Vec<_>>()),
        Err(why) => refused(why),
    }
}

async fn show(
    State(asked): State<Asked>,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    match read(&asked, request).await {
        Ok((_, tenant)) => said(numbered(&asked, tenant, &id).await, StatusCode::OK),
        Err(no) => no,
    }
}

async fn numbered(asked: &Asked, tenant: String, id: &str) -> Result<Found, TemplateProblem> {
    let number = id.parse().map_err(|_| TemplateProblem::NotFound(String::new()))?;
    asked.api.templates.numbered(tenant, number).await
}

async fn create(State(asked): State<Asked>, request: Request) -> Response {
    let (read, tenant) = match read(&asked, request).await {
        Ok(read) => read,
        Err(no) => return no,
    };
    let given = match given(&read) {
        Ok(given) => given,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, &words),
    };
    save(&asked, (&read, tenant), None, given).await
}

async fn update(
    State(asked): State<Asked>,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (read, tenant) = match read(&asked, request).await {
        Ok(read) => read,
        Err(no) => return no,
    };
    let given = match given(&read) {
        Ok(given) => given,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, &words),
    };
    match numbered(&asked, tenant.clone(), &id).await {
        Ok(found) => save(&asked, (&read, tenant), Some(found.row.uuid), given).await,
        Err(why) => refused(why),
    }
}

async fn save(
    asked: &Asked,
    (read, tenant): (&Read, String),
    which: Option<String>,
    given: Given,
) -> Response {
    let status = if which.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let by = format!("token {}", read.sender.name);
    let saving = Saving { tenant: Some(tenant), which, name: given.name.clone(), is_partial: false, by };
    let change = move |before: Option<Contents>| Ok(given.over(before.unwrap_or_default()));
    let saved = asked.api.templates.save(saving, change).await;
    if let Ok(Found { row, .. }) = &saved {
        told("saved", read, &row.name);
    }
    said(saved, status)
}

async fn remove(
    State(asked): State<Asked>,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (read, tenant) = match read(&asked, request).await {
        Ok(read) => read,
        Err(no) => return no,
    };
    let gone = match numbered(&asked, tenant.clone(), &id).await {
        Ok(found) => asked.api.templates.remove(Some(tenant), &found.row.uuid).await,
        Err(why) => Err(why),
    };
    match gone {
        Ok(row) => {
            told("removed", &read, &row.name);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(why) => refused(why),
    }
}

fn told(what: &str, read: &Read, name: &str) {
    say(Level::Info, format_args!("template {name} was {what} by token {} at api.http", read.sender.name));
}
