use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::*;
use crate::control::api::shape::{self, me, suppression};

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
            "Resume" => reads::<shape::Resume>(text),
            "Reload" => reads::<shape::Reload>(text),
            "ChangeSuppression" => reads::<suppression::ChangeSuppression>(text),
            "SuppressionChanged" => reads::<suppression::SuppressionChanged>(text),
            "CountPage" => reads::<shape::CountPage>(text),
            "Page" => reads::<shape::Page>(text),
            other => Err(format!("nobody reads {other}")),
        };
        assert_eq!(read, Ok(()), "{name}");
        assert!(schemas[*name]["examples"][0].is_object(), "{name} has its example");
    }
    // A field that nobody knows is refused where it is read, and the document says so.
    for name in ["Change", "Suspend", "Resume", "Reload", "ChangeSuppression", "Filter", "Scope"] {
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
    assert!(
        schemas["Filter"]["properties"]["reply"].is_object()
            && schemas["Scope"]["properties"]["reply"].is_null()
    );
}
