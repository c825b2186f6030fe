//! What the API is, for programs: OpenAPI, made of the table of routes and of the shapes that are asked and answered.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::routes::{ROUTES, Route};
use super::shape::{
    self, accounts, analytics, check, cluster, drain, erase, logged, me, overview, quota, shaping,
    suppression, templates, tokens, trace, upgrade, warmup, why,
};
use super::told::{self, Answer, Body, Document, Parameter};
use crate::limits;
use crate::queue::{select, suspension};

#[cfg(test)]
mod tests;

/// All shapes.
#[derive(OpenApi)]
#[openapi(components(schemas(
    shape::Refusal,
    me::Me,
    overview::Overview,
    overview::History,
    overview::SitesPage,
    cluster::NodeSummary,
    cluster::ClusterNodes,
    cluster::ClusterPage,
    cluster::ClusterCount,
    cluster::ClusterWhy,
    shape::Page,
    shape::CountPage,
    shape::Message,
    shape::Status,
    shape::Change,
    shape::Changed,
    shape::Suspend,
    shape::Redirect,
    shape::Resume,
    shape::Suspensions,
    trace::Told,
    erase::Erase,
    erase::Erased,
    shape::Reload,
    shape::Reloaded,
    why::Why,
    warmup::Warmup,
    quota::QuotasUsed,
    analytics::Analytics,
    suppression::SuppressionPage,
    suppression::ChangeSuppression,
    suppression::SuppressionChanged,
    suppression::SuppressionImported,
    upgrade::UpgradeStatus,
    drain::Drain,
    tokens::TokenList,
    tokens::NewToken,
    tokens::TokenAdded,
    tokens::TokenRemoved,
    logged::LogPage,
    logged::LogCounts,
    shaping::ShapingShown,
    check::CheckReport,
    accounts::AccountPage,
    accounts::NewAccount,
    accounts::NewPassword,
    accounts::AccountsChanged,
    drain::DrainState,
    templates::TemplateList,
    templates::TemplateShown,
    templates::TemplateVersions,
    templates::NewTemplate,
    templates::ChangeTemplate,
    templates::PreviewTemplate,
    templates::TemplatePreview,
    templates::TestTemplate,
    templates::TemplateTested,
    templates::TemplateRemoved,
)))]
struct Shapes;

/// Its text.
pub(super) fn text() -> Document {
    Document((document().to_string() + "\n").into())
}

fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "relevo: control",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What operators ask of a running relay. Lists come in pages: `next` is the `cursor` of the next one, until it is null.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    })
}

fn operation(route: &Route) -> Value {
    let told = (route.told)();
    let name = route.path.trim_start_matches("/control/v1/").replace(['/', '{', '}', '.'], "_");
    let mut parameters: Vec<Value> = told.query.iter().map(parameter).collect();
    for (name, help, schema) in of_path() {
        if route.path.contains(&format!("{{{name}}}")) {
            parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema, "description": help }));
        }
    }
    let mut responses = Map::new();
    let (kind, shape) = match told.answer {
        Answer::Shape(name) => ("application/json", reference(name)),
        Answer::Lines(name) => ("application/x-ndjson", lines(name)),
        Answer::Object => ("application/json", json!({ "type": "object" })),
        Answer::Of(kind) => (kind, json!({})),
    };
    let answer = json!({ "description": "The answer.", "content": { kind: { "schema": shape } } });
    responses.insert("200".to_owned(), answer);
    let usual = [400, 401, 403, 405, 421, 429, 500, 503, 504];
    let writes = if route.method == "get" { &[][..] } else { &[413][..] };
    for status in usual.iter().chain(writes).chain(told.refusals) {
        let content = json!({ "application/json": { "schema": reference("Refusal") } });
        responses.insert(status.to_string(), json!({ "description": refused(*status), "content": content }));
    }
    let mut operation = json!({
        "operationId": format!("{}_{}", route.method, name.trim_matches('_')),
        "summary": told.summary,
        "description": format!("Role: {}.", route.role.word()),
        "x-role": route.role.word(),
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = told.body {
        operation["requestBody"] = match body {
            Body::Shape(name) => {
                json!({ "required": true, "content": { "application/json": { "schema": reference(name) } } })
            }
            Body::Maybe(name) => {
                json!({ "required": false, "content": { "application/json": { "schema": reference(name) } } })
            }
            Body::Table => {
                json!({ "required": true, "content": { "text/csv": { "schema": {} } } })
            }
        };
    }
    operation
}

/// What may stand in a path.
fn of_path() -> [(&'static str, &'static str, Value); 4] {
    let pattern = |pattern| json!({ "type": "string", "pattern": pattern });
    [
        ("id", "The message.", pattern("^[0-9A-Za-z]{16}$")),
        ("name", "Whose.", pattern("^[0-9A-Za-z._-]{1,64}$")),
        ("account", "Whose.", pattern("^[!-.0-9:-~]{1,255}$")),
        ("template", "Its uuid or its name.", pattern("^[^/]{1,128}$")),
    ]
}

fn parameter(of: &Parameter) -> Value {
    json!({ "name": of.name, "in": "query", "required": of.required, "description": of.help, "schema": of.schema })
}

/// Lines of JSON: no schema of this version can say of what shape each is.
fn lines(name: &str) -> Value {
    let words = format!("Lines, each of them a {name} as JSON, or empty.");
    json!({ "type": "string", "description": words, "x-line": reference(name) })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Why a status may come.
fn refused(status: u16) -> &'static str {
    match status {
        400 => "Something in the request is wrong: what, and what is right.",
        401 => "There is no token, or it is none of control.tokens.",
        403 => "Whoever asks may not: the role, the tenant or the origin is another.",
        404 => "There is nothing of that.",
        405 => "The path is asked in another way.",
        409 => "There is one of that name already, or it would be the one that this is asked with.",
        410 => "The cursor is of an earlier start, or of a file that is gone: begin with the first page.",
        413 => "The body is too long.",
        421 => "The node does not go by that name.",
        429 => "Too many wrong tokens come from there.",
        500 => "Something broke; the relay's log says more.",
        503 => "The relay is starting, stopping, or too much is asked: ask again.",
        504 => "A shard or a disk did not answer in time.",
        507 => "There is no room for it.",
        _ => "It is refused.",
    }
}

/// The shapes by their names, with what only the code that reads them knows.
fn schemas() -> Map<String, Value> {
    let all = serde_json::to_value(Shapes::openapi()).unwrap_or_default();
    let mut all = match all.pointer("/components/schemas") {
        Some(Value::Object(schemas)) => schemas.clone(),
        _ => Map::new(),
    };
    let one = |(name, help): (&str, &str)| (name.to_owned(), told::filter(name, help));
    let filters = select::FILTERS.map(|filter| one((filter.name, filter.help)));
    let named = |names: &[&str]| -> Map<String, Value> {
        let those = select::FILTERS.iter().filter(|filter| names.contains(&filter.name));
        those.map(|filter| one((filter.name, filter.help))).collect()
    };
    // What leads mail elsewhere asks no record, and no source.
    let places = named(&["domain", "site", "provider"]);
    let scopes = named(&suspension::NAMES);
    for (name, of) in [("Filter", Map::from_iter(filters)), ("Scope", scopes), ("Place", places)] {
        let words = "Which mail: all of this holds.";
        let filter = json!({ "type": "object", "description": words, "properties": of, "additionalProperties": false });
        all.insert(name.to_owned(), filter);
    }
    for (shape, filter) in
        [("Change", "Filter"), ("Suspend", "Scope"), ("Redirect", "Place"), ("Resume", "Scope")]
    {
        all[shape]["properties"]["filter"] = reference(filter);
    }
    for shape in ["Change", "Suspend", "Redirect", "Drain"] {
        let seconds = &mut all[shape]["properties"]["seconds"];
        (seconds["minimum"], seconds["maximum"]) = (1.into(), limits::CONFIG_TIME_MAX.as_secs().into());
    }
    // Of these seconds 32 bits have no sign.
    for shape in ["Change", "Changed"] {
        all[shape]["properties"]["until"]["format"] = "int64".into();
    }
    for (name, example) in told::EXAMPLES {
        if let (Some(schema), Ok(example)) = (all.get_mut(*name), serde_json::from_str::<Value>(example)) {
            match &mut schema["examples"] {
                Value::Array(examples) => examples.push(example),
                examples => *examples = json!([example]),
            }
        }
    }
    all
}
