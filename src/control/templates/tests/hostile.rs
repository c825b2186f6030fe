//! Hostile templates, with hostile data: each is refused, or done in a moment, as nothing ends one that is begun.

use std::time::Duration;

use serde_json::json;

use super::super::*;
use crate::templates::{Partials, render};

fn of_html(html: &str) -> Contents {
    Contents { subject: "s".to_owned(), html: Some(html.to_owned()), ..Contents::default() }
}

fn numbers(items: usize) -> Value {
    Value::Array(vec![json!(1); items])
}

fn nested(depth: usize) -> String {
    "{{#each @root.a}}".repeat(depth) + "x" + &"{{/each}}".repeat(depth)
}

/// Partials that make more of what they are given.
fn growing() -> Partials {
    let all = [
        ("g1", "{{> g2 a=this b=this c=this d=this}}".to_owned()),
        ("g2", "{{> g3 a=this b=this c=this d=this}}".to_owned()),
        ("g3", "{{> g4 a=this b=this c=this d=this}}".to_owned()),
        ("g4", "{{> g5 a=this b=this c=this d=this}}".to_owned()),
        ("g5", "{{#each this}}{{#each this}}{{#each this}}{{this}}{{/each}}{{/each}}{{/each}}".to_owned()),
        ("calls", "{{> more}}".repeat(300)),
        ("more", "{{> most}}".repeat(300)),
        ("most", "{{> least}}".repeat(300)),
        ("least", "x".to_owned()),
        ("layout", "{{#> inner}}{{> @partial-block}}{{> @partial-block}}{{/inner}}".to_owned()),
        ("inner", "{{#each @root.a}}{{> @partial-block}}{{/each}}".to_owned()),
        ("letters", "{{#each this}}{{this}}{{/each}}".to_owned()),
    ];
    all.into_iter().map(|(name, html)| (name.to_owned(), Partial { html, text: None })).collect()
}

/// Loops over much, within each other.
fn loops() -> Vec<(String, Value)> {
    let lists =
        |outer: usize, inner: usize| Value::Array(vec![Value::Array(vec![numbers(inner); inner]); outer]);
    vec![
        (nested(2), json!({ "a": numbers(10_000) })),
        (nested(3), json!({ "a": numbers(1_000) })),
        (nested(16), json!({ "a": numbers(4) })),
        (nested(1), json!({ "a": numbers(15_000) })),
        // Nearly too much, and let through.
        (nested(2), json!({ "a": numbers(350) })),
        ("{{#each a}}{{#each ../a}}{{/each}}{{/each}}".to_owned(), json!({ "a": numbers(15_000) })),
        (
            "{{#each a as |x|}}{{#each @root.a as |y|}}{{#if (eq x y)}}{{/if}}{{/each}}{{/each}}".to_owned(),
            json!({ "a": numbers(15_000) }),
        ),
        (
            "{{#each a}}{{#each @root.b as |x y|}}{{#if (and (gt @index 3) (eq x y))}}{{x}}{{/if}}{{/each}}{{/each}}"
                .to_owned(),
            json!({ "a": numbers(150), "b": numbers(150) }),
        ),
        ("{{#each a}}{{#each this}}{{#each this}}{{this}}{{/each}}{{/each}}{{/each}}".to_owned(), json!({ "a": lists(20, 20) })),
        ("{{a}}".to_owned(), json!({ "a": lists(100, 10) })),
        ("{{#each []}}{{/each}}".to_owned(), json!({ "": numbers(15_000) })),
        ("{{[a]}}".repeat(2_000), json!({ "a": "b" })),
        ("{{> calls}}".to_owned(), json!({})),
    ]
}

/// Long texts, handled again and again, and partials that copy them.
fn copies() -> Vec<(String, Value)> {
    let (big, text) = ("y".repeat(200_000), "z".repeat(100_000));
    let with = |items: usize| json!({ "a": numbers(items), "big": big, "o": { "big": big.get(..1_000) } });
    let each = |inner: &str| format!("{{{{#each a}}}}{inner}{{{{/each}}}}");
    let equal = each("{{#if (eq @root.big @root.big)}}{{/if}}");
    let given = each("{{> least x=@root.big}}");
    vec![
        (equal.clone(), with(110)),
        (equal, with(5_000)),
        (given.clone(), with(100)),
        (given, with(5_000)),
        (each("{{@root.big}}"), with(5_000)),
        (each("{{#with (lookup @root \"big\")}}{{/with}}"), with(5_000)),
        (each("{{#with (lookup @root.o \"big\")}}{{/with}}"), with(5_000)),
        (each("{{> least x=@root.a}}"), with(5_000)),
        (each("{{> letters @root.big x=1}}"), with(5_000)),
        (each("{{this}}"), json!({ "a": vec!["\"".repeat(100); 3_000] })),
        (each(&text), json!({ "a": numbers(15_000) })),
        (format!("{{{{#> layout}}}}{text}{{{{/layout}}}}"), json!({ "a": numbers(5_000) })),
        ("{{> letters big x=1}}".to_owned(), with(1)),
        ("{{> g1}}".to_owned(), json!({ "a": numbers(1_000) })),
    ]
}

#[test]
fn nobodys_template_takes_long() {
    let growing = growing();
    for (source, data) in loops().into_iter().chain(copies()) {
        let told = &source[..source.len().min(100)];
        let begun = process::since_boot();
        let data = data.as_object().cloned().unwrap_or_default();
        let done = compile(&of_html(&source), &growing).and_then(|compiled| render(&compiled, data));
        let took = process::since_boot() - begun;
        assert!(took < Duration::from_millis(1_500), "{told}: {took:?}");
        if let Ok(rendered) = done {
            assert!(rendered.html.is_some_and(|html| html.len() <= limits::TEMPLATE_OUTPUT_MAX), "{told}");
        }
    }
}

/// The second wall, should somebody find a way around the first: an output that has no end is cut off.
#[test]
fn output_ends_at_its_bound() {
    let data = json!({ "a": vec!["\"".repeat(100); 3_500] });
    let done = compile(&of_html("{{#each a}}{{this}}{{/each}}"), &Partials::new())
        .and_then(|compiled| render(&compiled, data.as_object().cloned().unwrap_or_default()));
    assert!(done.unwrap_err().words.contains("more than 2097152 bytes"));
}

/// Blocks within blocks, in partials within partials, do not end the stack of the threads that have them.
#[test]
fn depth_fits_on_the_stack() {
    let (blocks, deep) = (limits::TEMPLATE_BLOCKS_MAX, limits::TEMPLATE_PARTIAL_DEPTH);
    let own = move |inner: &str| "{{#if a}}".repeat(blocks) + inner + &"{{/if}}".repeat(blocks);
    let name = |at: usize| format!("p{at}");
    let calls = |at: usize| if at < deep { format!("{{{{> {}}}}}", name(at + 1)) } else { "x".to_owned() };
    let all: Partials =
        (1..=deep).map(|at| (name(at), Partial { html: own(&calls(at)), text: None })).collect();
    let work = move || {
        let compiled = compile(&of_html(&own("{{> p1}}")), &all)?;
        render(&compiled, json!({ "a": 1 }).as_object().cloned().unwrap_or_default())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let done = runtime.block_on(Pool::start().unwrap().run(work));
    assert_eq!(done.unwrap().unwrap().html.as_deref(), Some("x"));
}
