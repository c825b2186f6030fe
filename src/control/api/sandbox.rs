//! Captured mail over HTTP, in the shapes of Mailpit's API, so that tools that are written for it work: `/api/v1/…` and `/view/…`, by the tokens and roles of all
//! else that is asked here. A message is by anybody: whatever goes out of it goes out under a policy in which nothing runs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::json;

use super::actor::Actor;
use super::answers::{Problem, json as shown};
use super::gate;
use crate::control::sandbox::desk::{self, Desk, Meant};
use crate::control::sandbox::show;
use crate::control::sandbox::wanted::Search;
use crate::control::store::StoreError;
use crate::limits;
use crate::policy::tokens::Role;

/// Nothing runs, nothing is fetched, and it is of no site.
const SEALED: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

type Given = State<Arc<Desk>>;

/// Answers them. Whoever lets in puts an [`Actor`] among a request's extensions.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/api/v1/info", get(info))
        .route("/api/v1/webui", get(webui))
        .route("/api/v1/messages", get(list).put(mark).delete(remove))
        .route("/api/v1/search", get(search).delete(remove_found))
        .route("/api/v1/message/{id}", get(message))
        .route("/api/v1/message/{id}/headers", get(headers))
        .route("/api/v1/message/{id}/raw", get(raw))
        .route("/api/v1/message/{id}/part/{part}", get(part))
        .route("/api/v1/tags", get(tags).put(tag))
        .route("/api/v1/tags/{tag}", put(rename_tag).delete(remove_tag))
        .route("/view/{file}", get(view))
        .with_state(desk)
        .layer(DefaultBodyLimit::max(limits::SANDBOX_BODY_MAX))
}

/// Whoever is bound to a tenant sees nothing here: inboxes are of accounts.
fn may(actor: &Actor, role: Role) -> Result<(), Problem> {
    if let Some(tenant) = actor.tenant() {
        return Err(Problem::OtherTenant(format!(
            "captured mail is not told by tenant, and the token is for tenant {tenant} alone"
        )));
    }
    gate::may(actor, role)
}

async fn ask<T: Send + 'static>(
    desk: &Arc<Desk>,
    question: impl FnOnce(&mut rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let answer = desk.ask(question).await.ok_or(Problem::Undecided)?;
    answer.map_err(|why| Problem::Damaged(format!("sandbox.db: {why}")))
}

fn ok() -> Response {
    ([(header::CONTENT_TYPE, "text/plain")], "ok").into_response()
}

fn read<T: for<'a> Deserialize<'a> + Default>(body: &Bytes) -> Result<T, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::Wrong(format!("the body is not what was expected: {error}")))
}

/// What stands behind a `?`.
#[derive(Default)]
struct Page {
    query: String,
    start: Option<u64>,
    limit: Option<u64>,
}

impl Page {
    fn read(query: Option<&str>) -> Page {
        let mut page = Page::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "query" => page.query = value.into_owned(),
                "start" => page.start = value.parse().ok(),
                "limit" => page.limit = value.parse().ok(),
                _ => {}
            }
        }
        page
    }

    fn of(&self) -> (u64, u64) {
        let limit = self.limit.unwrap_or(limits::SANDBOX_PAGE).min(limits::SANDBOX_PAGE_MOST);
        (self.start.unwrap_or(0).min(limits::SANDBOX_KEEP_MOST), limit)
    }
}

async fn list(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    may(&actor, Role::Read)?;
    let page = Page::read(query.as_deref());
    Ok(shown(&ask(&desk, move |file| desk::list(file, None, page.of())).await?))
}

async fn search(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    may(&actor, Role::Read)?;
    let page = Page::read(query.as_deref());
    let search = Search::read(&page.query);
    Ok(shown(&ask(&desk, move |file| desk::list(file, Some(&search), page.of())).await?))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Change {
    #[serde(rename = "IDs")]
    ids: Vec<String>,
    read: bool,
    search: String,
    tags: Vec<String>,
    name: String,
}

impl Change {
    fn ids(&mut self) -> Result<Vec<String>, Problem> {
        if self.ids.len() > limits::SANDBOX_IDS {
            let words = format!("there are more than {} IDs: ask for some of them", limits::SANDBOX_IDS);
            return Err(Problem::Wrong(words));
        }
        Ok(std::mem::take(&mut self.ids))
    }
}

async fn mark(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    may(&actor, Role::Operate)?;
    let mut change: Change = read(&body)?;
    let ids = change.ids()?;
    let meant = match (ids.is_empty(), &change.search[..]) {
        (false, _) => Meant::Ids(ids),
        (true, "") => Meant::All,
        (true, search) => Meant::Search(some(search)?),
    };
    ask(&desk, move |file| desk::mark(file, &meant, change.read)).await?;
    Ok(ok())
}

/// A search that means something: one that is not understood would mean all.
fn some(text: &str) -> Result<Search, Problem> {
    let search = Search::read(text);
    if search.wanted.is_empty() || !search.left_out.is_empty() {
        return Err(Problem::Wrong(format!("the search {text:?} is not understood")));
    }
    Ok(search)
}

async fn remove(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    may(&actor, Role::Operate)?;
    let mut change: Change = read(&body)?;
    let ids = change.ids()?;
    let meant = if ids.is_empty() { Meant::All } else { Meant::Ids(ids) };
    ask(&desk, move |file| desk::remove(file, &meant)).await?;
    Ok(ok())
}

async fn remove_found(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    may(&actor, Role::Operate)?;
    let page = Page::read(query.as_deref());
    let meant = Meant::Search(some(&page.query)?);
    ask(&desk, move |file| desk::remove(file, &meant)).await?;
    Ok(ok())
}

/// What is answered about a message, read and made on a thread that may take its time.
async fn about<T: Send + 'static>(
    desk: &Arc<Desk>,
    (actor, id): (&Actor, String),
    make: impl FnOnce(&mut rusqlite::Connection, desk::Found) -> Result<Option<T>, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    may(actor, Role::Read)?;
    let gone = Problem::NotFound(format!("there is no message {id} in the sandbox, or not that of it"));
    let found = ask(desk, move |file| match desk::find(file, &id)? {
        Some(found) => make(file, found),
        None => Ok(None),
    });
    found.await?.ok_or(gone)
}

async fn message(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let made = about(&desk, (&actor, id), |file, found| {
        let mut shown = show::contents(&found.bytes);
        let id = found.id.clone();
        desk::mark(file, &Meant::Ids(vec![id]), true)?;
        desk::add_fields(file, &mut shown, (found.number, &found.fields))?;
        shown["ID"] = found.id.into();
        shown["Size"] = found.bytes.len().into();
        shown["Tags"] = desk::tags_of(file, found.number)?.into();
        shown["ReturnPath"] = found.sender.into();
        shown["Username"] = found.inbox.into();
        if shown["Date"].is_null() {
            shown["Date"] = show::time(found.at).into();
        }
        Ok(Some(shown))
    });
    Ok(shown(&made.await?))
}

async fn headers(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(shown(&about(&desk, (&actor, id), |_, found| Ok(Some(show::headers(&found.bytes)))).await?))
}

async fn raw(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let bytes = about(&desk, (&actor, id), |_, found| Ok(Some(found.bytes))).await?;
    Ok(sealed("text/plain; charset=utf-8", bytes))
}

async fn part(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    Path((id, number)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let number = number.parse().map_err(|_| Problem::NotFound("parts have numbers".to_owned()))?;
    let part = about(&desk, (&actor, id), move |_, found| Ok(show::part(&found.bytes, number))).await?;
    let mut answer = sealed(&part.kind, part.bytes);
    let name: String = form_urlencoded::byte_serialize(part.name.as_bytes()).collect();
    let name = name.replace('+', "%20");
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}")) {
        answer.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(answer)
}

async fn view(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    Path(file): Path<String>,
) -> Result<Response, Problem> {
    let none = || Problem::NotFound("there are /view/ID.html and /view/ID.txt".to_owned());
    let (id, kind) = file.rsplit_once('.').ok_or_else(none)?;
    let id = id.to_owned();
    match kind {
        "html" => {
            let html = about(&desk, (&actor, id), |_, found| Ok(show::page(&found.bytes))).await?;
            Ok(sealed("text/html; charset=utf-8", html))
        }
        "txt" => {
            let text = about(&desk, (&actor, id), |_, found| Ok(show::plain(&found.bytes))).await?;
            Ok(sealed("text/plain; charset=utf-8", text))
        }
        _ => Err(none()),
    }
}

/// What a message brought, as it may be looked at.
fn sealed(kind: &str, bytes: impl IntoResponse) -> Response {
    let mut answer = bytes.into_response();
    let fields = answer.headers_mut();
    let kind = HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::CONTENT_TYPE, kind);
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SEALED));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let same = HeaderName::from_static("cross-origin-resource-policy");
    fields.insert(same, HeaderValue::from_static("same-origin"));
    answer
}

async fn tags(State(desk): Given, Extension(actor): Extension<Actor>) -> Result<Response, Problem> {
    may(&actor, Role::Read)?;
    Ok(shown(&json!(ask(&desk, |file| desk::tags(file)).await?)))
}

/// A tag as it is kept: letters, digits and a few others.
fn cleaned(tag: &str) -> Option<String> {
    let is_one = |char: &char| char.is_ascii_alphanumeric() || "-. _".contains(*char);
    let kept: String = tag.chars().filter(is_one).take(limits::SANDBOX_TAG).collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

async fn tag(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    may(&actor, Role::Operate)?;
    let mut change: Change = read(&body)?;
    let ids = change.ids()?;
    let tags: Vec<String> = change.tags.iter().filter_map(|tag| cleaned(tag)).collect();
    if tags.len() > limits::SANDBOX_TAGS_OF_ONE {
        return Err(Problem::Wrong(format!("a message has at most {} tags", limits::SANDBOX_TAGS_OF_ONE)));
    }
    ask(&desk, move |file| desk::tag(file, ids, &tags)).await?;
    Ok(ok())
}

async fn rename_tag(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    Path(tag): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    may(&actor, Role::Operate)?;
    let change: Change = read(&body)?;
    let name = cleaned(&change.name).ok_or_else(|| Problem::Wrong("Name is no tag".to_owned()))?;
    change_tag(&desk, tag, Some(name)).await
}

async fn remove_tag(
    State(desk): Given,
    Extension(actor): Extension<Actor>,
    Path(tag): Path<String>,
) -> Result<Response, Problem> {
    may(&actor, Role::Operate)?;
    change_tag(&desk, tag, None).await
}

async fn change_tag(desk: &Arc<Desk>, tag: String, other: Option<String>) -> Result<Response, Problem> {
    let gone = Problem::NotFound(format!("there is no tag {tag}"));
    let done = ask(desk, move |file| desk::rename_tag(file, &tag, other.as_deref())).await?;
    done.then(ok).ok_or(gone)
}

async fn info(State(desk): Given, Extension(actor): Extension<Actor>) -> Result<Response, Problem> {
    may(&actor, Role::Read)?;
    let (messages, unread, size) = ask(&desk, |file| desk::sizes(file)).await?;
    Ok(shown(&json!({
        "Version": env!("CARGO_PKG_VERSION"), "LatestVersion": "", "Database": "sandbox.db", "DatabaseSize": size,
        "Messages": messages, "Unread": unread, "Tags": {}, "RuntimeStats": {},
    })))
}

async fn webui(Extension(actor): Extension<Actor>) -> Result<Response, Problem> {
    may(&actor, Role::Read)?;
    Ok(shown(&json!({
        "Label": "relevo", "ChaosEnabled": false, "SpamAssassin": false, "DuplicatesIgnored": true,
        "HideDeleteAllButton": false, "MessageRelay": { "Enabled": false },
    })))
}
