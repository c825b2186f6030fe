//! Templates: listed, shown, saved, looked at, tried. What is wrong with one is told with its line and what to write.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::json as value;
use tokio::sync::oneshot;

use super::actor::Actor;
use super::answers::{Api, Problem, iso, json, read};
use super::shape::templates::{
    ChangeTemplate, NewTemplate, PreviewTemplate, TemplateEntry, TemplateList, TemplatePreview,
    TemplateRemoved, TemplateShown, TemplateTested, TemplateVersion, TemplateVersions, TestTemplate,
};
use super::told::{Body, Told, cursor, limit, of, optional};
use crate::config::Duties;
use crate::control::say::say;
use crate::control::store::TemplateRow;
use crate::control::templates::{Found, Made, Saving, TemplateProblem};
use crate::limits;
use crate::mail::address::parse_path;
use crate::mail::alternative::{Alternative, compose};
use crate::mail::envelope::Recipient;
use crate::observe::diagnostics::Level;
use crate::observe::event::{Admin, Edit, Edited};
use crate::runtime::process;
use crate::shard::ask::{Ask, Reply};
use crate::shard::parcel::Parcel;
use crate::templates::Contents;

/// Where all of it is asked: what is said there may be longer than elsewhere.
pub(in crate::control) const PATH: &str = "/control/v1/templates";

impl From<TemplateProblem> for Problem {
    fn from(why: TemplateProblem) -> Problem {
        match why {
            TemplateProblem::NotFound(words) => Problem::NotFound(words),
            TemplateProblem::Fault(fault) => Problem::Template(fault),
            TemplateProblem::Wrong(words) => Problem::Wrong(words),
            TemplateProblem::Known(words) => Problem::Conflict(words),
            TemplateProblem::Full(words) => Problem::Full(words),
            TemplateProblem::Store(error) => Problem::NotKept(format!("control.db: {error}")),
            TemplateProblem::Busy => {
                Problem::Busy("too many templates are rendered just now; ask again in a moment")
            }
            TemplateProblem::Late => Problem::Undecided,
            TemplateProblem::Broken => Problem::Broken,
        }
    }
}

/// What stands behind a `?`.
#[derive(Default)]
struct Query {
    tenant: Option<String>,
    version: Option<u64>,
    behind: u64,
    most: usize,
}

fn asked(query: Option<&str>) -> Result<Query, Problem> {
    let mut asked = Query { most: limits::TEMPLATES_PAGE, ..Query::default() };
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let number = value.parse::<u64>().ok().filter(|_| !value.starts_with('+'));
        match (&*name, number) {
            ("tenant", _) => asked.tenant = Some(value.into_owned()),
            ("version", Some(number)) => asked.version = Some(number),
            ("cursor", Some(number)) => asked.behind = number,
            ("cursor", None) if value.is_empty() => {}
            ("limit", Some(number)) if (1..=limits::TEMPLATES_PAGE_MAX as u64).contains(&number) => {
                asked.most = number as usize;
            }
            _ => {
                let most = limits::TEMPLATES_PAGE_MAX;
                return Err(Problem::Wrong(format!(
                    "this takes tenant, version, cursor (`next` of the page before) and limit, from 1 to {most}"
                )));
            }
        }
    }
    Ok(asked)
}

fn entry(row: TemplateRow) -> TemplateEntry {
    let TemplateRow { number, uuid, tenant, name, is_partial, category, subject, version, made, changed } =
        row;
    TemplateEntry {
        uuid,
        id: number,
        name,
        tenant: Some(tenant).filter(|tenant| !tenant.is_empty()),
        partial: is_partial,
        category,
        subject,
        version,
        created: iso(made),
        changed: iso(changed),
    }
}

fn shown(found: Found) -> Response {
    let Found { row, version, contents } = found;
    json(&TemplateShown { template: entry(row), version, contents })
}

/// A page of them.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Query { tenant, behind, most, .. } = asked(query.as_deref())?;
    let mut rows = api.templates.list(tenant, (behind, most + 1)).await?;
    let is_last = rows.len() <= most;
    rows.truncate(most);
    let next = rows.last().filter(|_| !is_last).map(|row| row.number.to_string());
    Ok(json(&TemplateList { templates: rows.into_iter().map(entry).collect(), next }))
}

/// One, with what it says.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(which): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Query { tenant, version, .. } = asked(query.as_deref())?;
    Ok(shown(api.templates.find(tenant, &which, version).await?))
}

/// The versions of one.
pub(super) async fn versions(
    State(api): State<Arc<Api>>,
    Path(which): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Query { tenant, .. } = asked(query.as_deref())?;
    let (row, versions) = api.templates.versions(tenant, &which).await?;
    let versions = versions.into_iter().map(|of| TemplateVersion {
        version: of.version,
        saved: iso(of.made),
        by: of.by,
        bytes: of.bytes,
    });
    Ok(json(&TemplateVersions { versions: versions.collect(), template: entry(row) }))
}

/// Makes one.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    let NewTemplate { tenant, name, partial, contents } = read(&body)?;
    let saving = Saving { tenant, which: None, name: Some(name), is_partial: partial, by: actor.to_string() };
    let saved = api.templates.save(saving, move |_| Ok(contents)).await?;
    tell(&api, &actor, Edited::SaveTemplate, &saved.row).await;
    Ok(shown(saved))
}

/// Another version of one, another name, or both.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Path(which): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let ChangeTemplate { tenant, name, contents } = read(&body)?;
    let saving = Saving { tenant, which: Some(which), name, is_partial: false, by: actor.to_string() };
    let change = move |before: Option<Contents>| Ok(contents.or(before).unwrap_or_default());
    let saved = api.templates.save(saving, change).await?;
    tell(&api, &actor, Edited::SaveTemplate, &saved.row).await;
    Ok(shown(saved))
}

/// Removes one.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Path(which): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Query { tenant, .. } = asked(query.as_deref())?;
    let row = api.templates.remove(tenant, &which).await?;
    tell(&api, &actor, Edited::RemoveTemplate, &row).await;
    Ok(json(&TemplateRemoved { template: entry(row) }))
}

/// What one says, or what is not saved would say.
pub(super) async fn preview(State(api): State<Arc<Api>>, body: Bytes) -> Result<Response, Problem> {
    let PreviewTemplate { tenant, template, version, contents, data } = read(&body)?;
    let templates = &api.templates;
    let (tenant, contents) = match (template, contents) {
        (None, Some(contents)) => (tenant.unwrap_or_default(), contents),
        (Some(which), None) => {
            let found = templates.find(tenant, &which, version).await?;
            (found.row.tenant, found.contents)
        }
        _ => return Err(Problem::Wrong("say which: a template, or contents".to_owned())),
    };
    let made = templates.preview(&tenant, contents, data).await?;
    let frame = made.html.as_deref().map(|html| templates.frames.put(html));
    Ok(json(&TemplatePreview { subject: made.subject, html: made.html, text: made.text, frame }))
}

/// A mail of one, to be looked at where it comes.
pub(super) async fn test(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Path(which): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let TestTemplate { tenant, version, from, to, data } = read(&body)?;
    let templates = &api.templates;
    let Found { row, version, contents } = templates.find(tenant, &which, version).await?;
    let data = data.unwrap_or(contents.sample);
    let made = templates.make((&row.tenant, &row.uuid, Some(version)), data).await?;
    let Made { uuid, name, version, category, rendered } = made;
    // Whose mail it is, as a trusted client says it.
    let field = |name: &str, value: &str| {
        let is_fine = !value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if is_fine { format!("{name}: {value}\r\n") } else { String::new() }
    };
    let fields = field("X-Relevo-Tenant", &row.tenant);
    let fields = fields + &field("X-Relevo-Category", &category);
    let message = compose(&Alternative {
        from: address(&from)?,
        to: address(&to)?,
        subject: &rendered.subject,
        text: rendered.text.as_deref(),
        html: rendered.html.as_deref(),
        fields: &fields,
        hostname: &api.hostname,
        now: process::wall(),
        unique: u64::from_ne_bytes(process::random_bytes()),
    });
    let domain_at = to.rfind('@').map_or(0, |at| at + 1);
    let recipient = Recipient::new(to.as_bytes().into(), u16::try_from(domain_at).unwrap_or_default());
    let parcel = Parcel {
        sender: from.into_bytes(),
        recipients: vec![recipient],
        account: None,
        size_max: message.len() as u64,
        message,
        duties: Duties::SUBMISSION,
        by: "template",
        client: None,
        parameters: None,
        tenant: None,
    };
    say(
        Level::Info,
        format_args!("a mail of template {name} ({uuid}, version {version}) was sent by {actor}, to try it"),
    );
    let id = submit(&api, parcel).await?;
    Ok(json(&TemplateTested { id }))
}

/// An address that stands in a field and in the envelope as it is.
fn address(text: &str) -> Result<&str, Problem> {
    let path = format!("<{text}>");
    let is_fine =
        text.is_ascii() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\".contains(&byte));
    let is_path = parse_path(path.as_bytes(), false).is_ok_and(|path| path.domain_at > 0);
    if is_fine && is_path && text.contains('@') {
        return Ok(text);
    }
    Err(Problem::Wrong(format!("{text:?} is no address: write it as ada@example.org")))
}

/// A shard takes it as it takes mail of a program of this machine.
async fn submit(api: &Api, parcel: Parcel) -> Result<String, Problem> {
    // Dropped with this: then nobody waits any more.
    let asker = Arc::new(());
    let (tell, told) = oneshot::channel();
    let reply = Reply::new(&asker, move |taken| drop(tell.send(taken)));
    let shards = api.mesh.shards().max(1);
    let shard = usize::from_ne_bytes(process::random_bytes()) % shards;
    let asked = api.mesh.asks().ask(shard, Ask::Submit(Box::new(parcel), reply));
    asked.map_err(|_| Problem::Busy("a shard has too much to do; try again in a moment"))?;
    match tokio::time::timeout(limits::ORDER_WAIT, told).await {
        Ok(Ok(Ok(id))) => Ok(String::from_utf8_lossy(&id.to_text()).into_owned()),
        Ok(Ok(Err(why))) => {
            Err(Problem::Wrong(format!("the relay does not take it: {}", why.reply().trim_end())))
        }
        _ => Err(Problem::Undecided),
    }
}

/// In the log before it is answered.
async fn tell(api: &Api, actor: &Actor, edited: Edited, row: &TemplateRow) {
    let by = actor.to_string();
    let tenant = if row.tenant.is_empty() { String::new() } else { format!(" tenant={}", row.tenant) };
    let filter = format!("name={} uuid={} version={}{tenant}", row.name, row.uuid, row.version);
    say(Level::Info, format_args!("{} by {by}: {filter}", edited.word()));
    if let Some(teller) = &api.admin {
        teller.tell(Admin::Edit(Edit { edited, by: &by, filter: &filter }));
        api.journal().await;
    }
}

fn tenant() -> super::told::Parameter {
    optional(
        "tenant",
        "Whose; nothing: of all, and of the node where a name is given.",
        value!({ "type": "string" }),
    )
}

fn version() -> super::told::Parameter {
    let whole = value!({ "type": "integer", "minimum": 1 });
    optional("version", "A version of it; nothing: its newest.", whole)
}

pub(super) fn told_list() -> Told {
    let query = vec![tenant(), limit(limits::TEMPLATES_PAGE_MAX), cursor()];
    Told { query, refusals: &[404], ..of("Templates of mail, and partials.", "TemplateList") }
}

pub(super) fn told_show() -> Told {
    let query = vec![tenant(), version()];
    Told { query, refusals: &[404], ..of("A template, with what it says.", "TemplateShown") }
}

pub(super) fn told_versions() -> Told {
    Told { query: vec![tenant()], refusals: &[404], ..of("The versions of a template.", "TemplateVersions") }
}

pub(super) fn told_add() -> Told {
    let summary = "Makes a template, or a partial, where nothing is wrong with it.";
    Told {
        body: Some(Body::Shape("NewTemplate")),
        refusals: &[404, 409, 507],
        ..of(summary, "TemplateShown")
    }
}

pub(super) fn told_change() -> Told {
    let summary = "Saves another version of a template: the next mail is of that.";
    Told {
        body: Some(Body::Shape("ChangeTemplate")),
        refusals: &[404, 409, 507],
        ..of(summary, "TemplateShown")
    }
}

pub(super) fn told_remove() -> Told {
    Told {
        query: vec![tenant()],
        refusals: &[404],
        ..of("Removes a template with all its versions.", "TemplateRemoved")
    }
}

pub(super) fn told_preview() -> Told {
    let summary = "What a template says, or one that is not saved, with data or with its sample.";
    Told { body: Some(Body::Shape("PreviewTemplate")), refusals: &[404], ..of(summary, "TemplatePreview") }
}

pub(super) fn told_test() -> Told {
    let summary = "Sends a mail of a template, to be looked at where it comes.";
    Told { body: Some(Body::Shape("TestTemplate")), refusals: &[404], ..of(summary, "TemplateTested") }
}
