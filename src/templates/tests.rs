//! Templates as a whole: what they say, and what they refuse.

use serde_json::{Map, Value, json};

use super::*;
use crate::limits;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn of_html(html: &str) -> Contents {
    Contents { subject: "s".to_owned(), html: Some(html.to_owned()), ..Contents::default() }
}

fn partials(all: &[(&str, &str)]) -> Partials {
    let one =
        |(name, html): &(&str, &str)| ((*name).to_owned(), Partial { html: (*html).to_owned(), text: None });
    all.iter().map(one).collect()
}

fn render(html: &str, data: Value) -> Result<Rendered, Fault> {
    super::render(&compile(&of_html(html), &Partials::new())?, object(data))
}

fn html(html: &str, data: Value) -> String {
    render(html, data).expect("it renders").html.expect("HTML")
}

#[test]
fn values_are_escaped_in_html_and_nowhere_else() {
    let contents = Contents {
        subject: "Hi {{name}}".to_owned(),
        html: Some("<p title=\"{{name}}\">{{name}} {{{name}}}</p>".to_owned()),
        ..Contents::default()
    };
    let compiled = compile(&contents, &Partials::new()).unwrap();
    let rendered =
        super::render(&compiled, object(json!({ "name": "<b>\"O'Neil\" & co</b>\r\nBcc: x@y" }))).unwrap();
    let escaped = "&lt;b&gt;&quot;O&#x27;Neil&quot; &amp; co&lt;/b&gt;\r\nBcc: x@y";
    assert_eq!(
        rendered.html.unwrap(),
        format!("<p title=\"{escaped}\">{escaped} <b>\"O'Neil\" & co</b>\r\nBcc: x@y</p>")
    );
    assert_eq!(rendered.subject, "Hi <b>\"O'Neil\" & co</b> Bcc: x@y", "one line, as it is");
    assert!(rendered.text.unwrap().starts_with("<b>\"O'Neil\" & co</b>"));
    for hostile in ["a\r\nBcc: b", "a\u{2028}b", "a\u{0}\u{85}b", "\n\n"] {
        let subject = super::render(&compiled, object(json!({ "name": hostile }))).unwrap().subject;
        assert!(!subject.contains(|letter: char| letter.is_control() || letter == '\u{2028}'), "{subject:?}");
    }
    let long = super::render(&compiled, object(json!({ "name": "x".repeat(2_000) }))).unwrap_err();
    assert_eq!(long.part, Part::Subject);
}

#[test]
fn loops_conditions_and_partials_say_what_they_are_to() {
    let contents = Contents {
        subject: "{{#if (gt (len items) 1)}}{{len items}} things{{else}}One thing{{/if}}".to_owned(),
        html: Some("{{#> layout title=\"Order\"}}{{#each items as |item at|}}{{at}}:{{item.name}}{{#unless @last}}, {{/unless}}{{/each}}{{/layout}}".to_owned()),
        ..Contents::default()
    };
    let layout = partials(&[
        ("layout", "<h1>{{title}}</h1><p>{{> @partial-block}}</p>{{> footer}}"),
        ("footer", "<i>{{shop}}</i>"),
    ]);
    let compiled = compile(&contents, &layout).unwrap();
    let data = json!({ "shop": "A&B", "items": [{ "name": "x" }, { "name": "y" }] });
    let rendered = super::render(&compiled, object(data)).unwrap();
    assert_eq!(rendered.html.unwrap(), "<h1>Order</h1><p>0:x, 1:y</p><i>A&amp;B</i>");
    assert_eq!(rendered.subject, "2 things");
    assert_eq!(rendered.text.unwrap(), "Order\n\n0:x, 1:y\n\nA&B\n");
    assert_eq!(
        html(
            "{{#with a}}{{b}}{{../c}}{{@root.c}}{{/with}}{{lookup list 1}}",
            json!({ "a": { "b": 1 }, "c": 2, "list": [3, 4] })
        ),
        "1224"
    );
    assert_eq!(
        html(
            "{{#if (and a (eq b \"x\"))}}yes{{else if c}}c{{else}}no{{/if}}",
            json!({ "a": 1, "b": "y", "c": true })
        ),
        "c"
    );
}

#[test]
fn names_of_other_engines_are_only_names() {
    for name in ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__class__"] {
        let fault = render(&format!("{{{{a.{name}}}}}"), json!({ "a": {} })).unwrap_err();
        assert!(fault.words.contains("is not in the data"), "{fault}");
        assert_eq!(html(&format!("{{{{a.{name}}}}}"), json!({ "a": { name: 7 } })), "7");
    }
    assert!(render("{{../../../../etc/passwd}}", json!({})).is_err());
    assert!(compile(&of_html("{{> ../../etc/passwd}}"), &Partials::new()).is_err());
}

#[test]
fn what_is_missing_is_told_with_its_place() {
    let fault = render("<p>\n  {{customer.name}}</p>", json!({ "customer": {} })).unwrap_err();
    assert_eq!((fault.part, fault.place), (Part::Html, Some((2, 3))));
    assert!(fault.words.contains("customer.name is not in the data"), "{}", fault.words);
    assert_eq!(html("{{#if a}}x{{/if}}{{#unless a}}y{{/unless}}", json!({})), "y");
    let declared = Contents {
        variables: vec![Variable { name: "a".to_owned(), default: Some(json!("d")), ..Variable::default() }],
        ..of_html("{{a}}")
    };
    let compiled = compile(&declared, &Partials::new()).unwrap();
    assert_eq!(super::render(&compiled, Map::new()).unwrap().html.unwrap(), "d");
}

#[test]
fn what_is_wrong_is_told_when_it_is_saved() {
    for (source, words) in [
        ("{{#frob a}}{{/frob}}", "there is no helper frob"),
        ("{{frob a}}", "there is no helper frob: there are if"),
        ("{{#if (frob a)}}{{/if}}", "there is no helper frob"),
        ("{{log a}}", "there is no helper log"),
        ("{{if a}}", "if opens a block"),
        ("{{#each}}{{/each}}", "each takes 1, and here are 0"),
        ("{{#each a b}}{{/each}}", "each takes 1, and here are 2"),
        ("{{#if a b=1}}{{/if}}", "if knows no b="),
        ("{{eq a}}", "eq takes 2"),
        ("{{> (lookup a b)}}", "called by its name"),
        ("{{> nowhere}}", "there is no partial nowhere"),
        ("{{#each [1,2,3]}}{{/each}}", "put it in the data"),
        ("{{a b", "no end"),
        ("{{a\"}}", "no end"),
        ("{{#if a}}", "never closed"),
        ("{{{{raw}}}}{{{{/raw}}}}", "raw blocks"),
        ("{{#*inline \"x\"}}{{> x}}{{/inline}}", "inline partials"),
        ("{{* inline}}", "inline partials"),
        ("{{each}}", "each is a helper"),
        ("{{ ! }}", ""),
        ("{{.}}", ""),
    ] {
        let fault = compile(&of_html(source), &Partials::new()).map(drop).expect_err(source);
        assert!(fault.words.contains(words), "{source}: {fault}");
    }
    assert!(compile(&Contents { subject: "x".to_owned(), ..Contents::default() }, &Partials::new()).is_err());
    assert!(compile(&of_html(&"x".repeat(1 << 20)), &Partials::new()).is_err(), "a megabyte");
}

#[test]
fn partials_that_call_each_other_in_a_circle_are_refused() {
    let circle = partials(&[
        ("a", "{{> b}}"),
        ("b", "{{#if x}}{{> c}}{{/if}}"),
        ("c", "{{#> a}}{{/a}}"),
        ("own", "{{> own}}"),
    ]);
    for source in ["{{> a}}", "{{> c}}", "{{> own}}"] {
        let fault = compile(&of_html(source), &circle).map(drop).expect_err(source);
        assert!(fault.words.contains("in a circle"), "{fault}");
    }
    assert!(compile_partial("b", &circle).unwrap_err().words.contains("b > c > a > b"));
    let name = |at: usize| format!("p{at}");
    let chain = |length: usize| -> Partials {
        let one = |at| (name(at), Partial { html: format!("{{{{> {}}}}}", name(at + 1)), text: None });
        let last = (name(length), Partial { html: "x".to_owned(), text: None });
        (1..length).map(one).chain([last]).collect()
    };
    assert!(compile(&of_html("{{> p1}}"), &chain(limits::TEMPLATE_PARTIAL_DEPTH)).is_ok());
    let deep = compile(&of_html("{{> p1}}"), &chain(limits::TEMPLATE_PARTIAL_DEPTH + 1)).map(drop);
    assert!(deep.unwrap_err().words.contains("more than"));
    // Each calls all behind it: as many ways as there are sets of them.
    let all = |at: usize| (at + 1..30).map(|to| format!("{{{{> {}}}}}", name(to))).collect::<String>();
    let wide = (0..30).map(|at| (name(at), Partial { html: all(at) + "x", text: None })).collect();
    assert!(compile(&of_html("{{> p0}}"), &wide).is_err());
}

/// What an ordinary template costs is far from the bound, also with lists.
#[test]
fn what_people_send_is_let_through() {
    let source = "<table>{{#each orders}}<tr><td>{{number}}</td><td>{{#each lines}}{{name}} {{price}} {{#each tags}}{{this}} {{/each}}{{/each}}</td></tr>{{/each}}</table>{{> footer}}";
    let line = json!({ "name": "A thing of the shop", "price": "12.50", "tags": ["new", "red", "sale"] });
    let order = json!({ "number": 17, "lines": vec![line; 10] });
    let data = json!({ "orders": vec![order; 100], "shop": { "name": "Shop", "address": "Main Street 1" } });
    let footer = partials(&[("footer", "<p>{{shop.name}}, {{shop.address}}</p>")]);
    let compiled = compile(&of_html(source), &footer).unwrap();
    let rendered = super::render(&compiled, object(data)).unwrap();
    assert!(rendered.html.unwrap().ends_with("<p>Shop, Main Street 1</p>"));
}
