use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::*;
use crate::control::api::shape::{self, me, suppression, trace};

/// All references lead somewhere, and each route is told once.
#[test]
fn each_route_is_told_with_its_shapes() {
    let document = document();
    let mut names = BTreeSet::new();
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method];
        assert!(
            operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')),
            "{}",
            route.path
        );
        assert_eq!(operation["x-role"], route.role.word());
        assert!(names.insert(operation["operationId"].to_string()), "{}", operation["operationId"]);
    }
    let told = |path: &Value| path.as_object().map_or(0, Map::len);
    let all: usize = document["paths"].as_object().expect("paths").values().map(told).sum();
    assert_eq!(all, ROUTES.len(), "two routes are one");
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > ROUTES.len());
    for reference in references {
        let at = reference.trim_start_matches('#');
        assert!(document.pointer(at).is_some_and(Value::is_object), "{reference} is nowhere");
    }
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(all) => {
            found.extend(all.get("$ref").and_then(Value::as_str).map(str::to_owned));
            all.values().for_each(|value| collect(value, found));
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[test]
fn examples_are_what_is_read() {
    fn reads<T: DeserializeOwned>(text: &str) -> Result<(), String> {
        serde_json::from_str::<T>(text).map(drop).map_err(|error| error.to_string())
    }
    let schemas = schemas();
    for (name, text) in told::EXAMPLES {
        let read = match *name {
            "Refusal" => reads::<shape::Refusal>(text),
            "Me" => reads::<me::Me>(text),
            "Change" => reads::<shape::Change>(text),
            "Changed" => reads::<shape::Changed>(text),
            "Suspend" => reads::<shape::Suspend>(text),
            "Redirect" => reads::<shape::Redirect>(text),
            "Suspensions" => reads::<shape::Suspensions>(text),
            "Told" => reads::<trace::Told>(text),
            "Resume" => reads::<shape::Resume>(text),
            "Erase" => reads::<shape::erase::Erase>(text),
            "Reload" => reads::<shape::Reload>(text),
            "ChangeSuppression" => reads::<suppression::ChangeSuppression>(text),
            "SuppressionChanged" => reads::<suppression::SuppressionChanged>(text),
            "CountPage" => reads::<shape::CountPage>(text),
            "Page" => reads::<shape::Page>(text),
            "NewToken" => reads::<shape::tokens::NewToken>(text),
            "TokenAdded" => reads::<shape::tokens::TokenAdded>(text),
            "NewAccount" => reads::<shape::accounts::NewAccount>(text),
            "NewPassword" => reads::<shape::accounts::NewPassword>(text),
            "ClusterNodes" => reads::<shape::cluster::ClusterNodes>(text),
            "LogCounts" => reads::<shape::logged::LogCounts>(text),
            other => Err(format!("nobody reads {other}")),
        };
        assert_eq!(read, Ok(()), "{name}");
        let shown = schemas[*name]["examples"].as_array().expect("examples");
        let own: Value = serde_json::from_str(text).expect("JSON");
        assert!(shown.contains(&own), "{name} has its example");
    }
    // A field that nobody knows is refused where it is read, and the document says so.
    for name in
        ["Change", "Suspend", "Redirect", "Resume", "Reload", "ChangeSuppression", "Filter", "Scope", "Place"]
    {
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
    assert!(
        schemas["Filter"]["properties"]["reply"].is_object()
            && schemas["Scope"]["properties"]["reply"].is_null()
    );
}

/// What hold takes and answers, what redirect takes, and what a line of a watched session is.
#[test]
fn what_operators_do_is_told_as_it_is_read() {
    let schemas = schemas();
    let of = |shape: &str, field: &str| schemas[shape]["properties"][field].clone();
    for shape in ["Change", "Suspend", "Redirect"] {
        let seconds = of(shape, "seconds");
        assert_eq!((&seconds["minimum"], &seconds["maximum"]), (&json!(1), &json!(366 * 86_400)), "{shape}");
    }
    for shape in ["Change", "Changed"] {
        assert_eq!(of(shape, "until")["format"], "int64", "{shape}");
        let required = schemas[shape]["required"].as_array().cloned().unwrap_or_default();
        assert!(!required.contains(&json!("until")) && !required.contains(&json!("seconds")), "{shape}");
    }
    let place = schemas["Place"]["properties"].as_object().expect("filters");
    let names: BTreeSet<_> = place.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["domain", "site", "provider"]));
    assert_eq!(of("Redirect", "filter"), reference("Place"));
    let document = document();
    let told = &document["paths"]["/control/v1/trace"]["get"]["responses"]["200"]["content"];
    let schema = &told["application/x-ndjson"]["schema"];
    assert_eq!((&schema["type"], &schema["x-line"]), (&json!("string"), &reference("Told")));
    assert!(schemas["Told"]["description"].as_str().is_some_and(|words| words.contains("x-ndjson")));
    assert!(schemas["Told"]["required"].is_null(), "each field may be left out");
}
