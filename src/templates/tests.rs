//! Templates as a whole: what they say, and that nobody's template or data takes long.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::*;
use crate::limits;
use crate::runtime::process;

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
    compile(&of_html(html), &Partials::new())?.render(object(data))
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
    let rendered = compiled.render(object(json!({ "name": "<b>\"O'Neil\" & co</b>\r\nBcc: x@y" }))).unwrap();
    let escaped = "&lt;b&gt;&quot;O&#x27;Neil&quot; &amp; co&lt;/b&gt;\r\nBcc: x@y";
    assert_eq!(
        rendered.html.unwrap(),
        format!("<p title=\"{escaped}\">{escaped} <b>\"O'Neil\" & co</b>\r\nBcc: x@y</p>")
    );
    assert_eq!(rendered.subject, "Hi <b>\"O'Neil\" & co</b> Bcc: x@y", "one line, as it is");
    assert!(rendered.text.unwrap().starts_with("<b>\"O'Neil\" & co</b>"));
    for hostile in ["a\r\nBcc: b", "a\u{2028}b", "a\u{0}\u{85}b", "\n\n"] {
        let subject = compiled.render(object(json!({ "name": hostile }))).unwrap().subject;
        assert!(!subject.contains(|letter: char| letter.is_control() || letter == '\u{2028}'), "{subject:?}");
    }
    let long = compiled.render(object(json!({ "name": "x".repeat(2_000) }))).unwrap_err();
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
    let rendered = compiled.render(object(data)).unwrap();
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
    assert_eq!(compiled.render(Map::new()).unwrap().html.unwrap(), "d");
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

/// Each is refused, or done in a moment: nothing ends it once it is begun.
#[test]
fn nobodys_template_takes_long() {
    let list = |items: usize, item: Value| Value::Array(vec![item; items]);
    let numbers = |items: usize| list(items, json!(1));
    let nested = |depth: usize| "{{#each @root.a}}".repeat(depth) + "x" + &"{{/each}}".repeat(depth);
    let big = "y".repeat(200_000);
    let grows = partials(&[
        ("g1", "{{> g2 a=this b=this c=this d=this}}"),
        ("g2", "{{> g3 a=this b=this c=this d=this}}"),
        ("g3", "{{> g4 a=this b=this c=this d=this}}"),
        ("g4", "{{> g5 a=this b=this c=this d=this}}"),
        ("g5", "{{#each this}}{{#each this}}{{#each this}}{{this}}{{/each}}{{/each}}{{/each}}"),
        ("calls", &"{{> more}}".repeat(300)),
        ("more", &"{{> most}}".repeat(300)),
        ("most", &"{{> least}}".repeat(300)),
        ("least", "x"),
        ("layout", "{{#> inner}}{{> @partial-block}}{{> @partial-block}}{{/inner}}"),
        ("inner", "{{#each @root.a}}{{> @partial-block}}{{/each}}"),
        ("letters", "{{#each this}}{{this}}{{/each}}"),
    ]);
    let text = "z".repeat(100_000);
    let cases: Vec<(String, Value)> = vec![
        (nested(2), json!({ "a": numbers(10_000) })),
        (nested(3), json!({ "a": numbers(1_000) })),
        (nested(16), json!({ "a": numbers(4) })),
        (nested(1), json!({ "a": numbers(15_000) })),
        // Nearly too much, and let through.
        (nested(2), json!({ "a": numbers(350) })),
        ("{{#each a}}{{#if (eq @root.big @root.big)}}{{/if}}{{/each}}".to_owned(), json!({ "a": numbers(110), "big": big })),
        ("{{#each a}}{{> least x=@root.big}}{{/each}}".to_owned(), json!({ "a": numbers(100), "big": big })),
        ("{{#each a}}{{#each @root.b as |x y|}}{{#if (and (gt @index 3) (eq x y))}}{{x}}{{else}}{{y}}{{/if}}{{/each}}{{/each}}".to_owned(), json!({ "a": numbers(150), "b": numbers(150) })),
        ("{{#each a}}{{#each ../a}}{{/each}}{{/each}}".to_owned(), json!({ "a": numbers(15_000) })),
        (
            "{{#each a as |x|}}{{#each @root.a as |y|}}{{#if (eq x y)}}{{/if}}{{/each}}{{/each}}".to_owned(),
            json!({ "a": numbers(15_000) }),
        ),
        ("{{#each a}}{{@root.big}}{{/each}}".to_owned(), json!({ "a": numbers(5_000), "big": big })),
        (
            "{{#each a}}{{#if (eq @root.big @root.big)}}{{/if}}{{/each}}".to_owned(),
            json!({ "a": numbers(5_000), "big": big }),
        ),
        (
            "{{#each a}}{{#with (lookup @root \"big\")}}{{/with}}{{/each}}".to_owned(),
            json!({ "a": numbers(5_000), "big": big }),
        ),
        (
            "{{#each a}}{{#with (lookup @root.o \"big\")}}{{/with}}{{/each}}".to_owned(),
            json!({ "a": numbers(5_000), "o": { "big": big } }),
        ),
        (format!("{{{{#each a}}}}{text}{{{{/each}}}}"), json!({ "a": numbers(15_000) })),
        (format!("{{{{#> layout}}}}{text}{{{{/layout}}}}"), json!({ "a": numbers(5_000) })),
        ("{{> g1}}".to_owned(), json!({ "a": numbers(1_000) })),
        ("{{> calls}}".to_owned(), json!({})),
        ("{{#each a}}{{> least x=@root.a}}{{/each}}".to_owned(), json!({ "a": numbers(15_000) })),
        ("{{> letters big x=1}}".to_owned(), json!({ "big": big })),
        (
            "{{#each a}}{{> letters @root.big x=1}}{{/each}}".to_owned(),
            json!({ "a": numbers(5_000), "big": big }),
        ),
        (
            "{{#each a}}{{#each this}}{{#each this}}{{this}}{{/each}}{{/each}}{{/each}}".to_owned(),
            json!({ "a": list(20, list(20, numbers(20))) }),
        ),
        ("{{a}}".to_owned(), json!({ "a": list(100, list(10, numbers(10))) })),
        ("{{#each a}}{{this}}{{/each}}".to_owned(), json!({ "a": list(3_000, json!("\"".repeat(100))) })),
        ("{{#each []}}{{/each}}".to_owned(), json!({ "": numbers(15_000) })),
        ("{{[a]}}".repeat(2_000), json!({ "a": "b" })),
    ];
    for (source, data) in cases {
        let told = &source[..source.len().min(60)];
        let begun = process::since_boot();
        let done = compile(&of_html(&source), &grows).and_then(|compiled| compiled.render(object(data)));
        let took = process::since_boot() - begun;
        assert!(took < Duration::from_millis(1_500), "{told}: {took:?}");
        if let Ok(rendered) = &done {
            assert!(
                rendered.html.as_ref().is_some_and(|html| html.len() <= limits::TEMPLATE_OUTPUT_MAX),
                "{told}"
            );
        }
        let told_of = done.map(|_| "done".to_owned()).unwrap_or_else(|fault| fault.to_string());
        println!("{took:>12.3?}  {told}: {told_of:.70}");
    }
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
    let rendered = compiled.render(object(data)).unwrap();
    assert!(rendered.html.unwrap().ends_with("<p>Shop, Main Street 1</p>"));
}

/// Blocks within blocks do not end the stack of the thread that has them.
#[test]
fn depth_fits_on_the_stack() {
    let depth = limits::TEMPLATE_BLOCKS_MAX;
    let own = move |inner: &str| "{{#if a}}".repeat(depth) + inner + &"{{/if}}".repeat(depth);
    let name = |at: usize| format!("p{at}");
    let mut all: Partials = (1..limits::TEMPLATE_PARTIAL_DEPTH)
        .map(|at| (name(at), Partial { html: own(&format!("{{{{> {}}}}}", name(at + 1))), text: None }))
        .collect();
    all.insert(name(limits::TEMPLATE_PARTIAL_DEPTH), Partial { html: own("x"), text: None });
    let work = move || {
        let compiled = compile(&of_html(&own("{{> p1}}")), &all).unwrap();
        compiled.render(object(json!({ "a": 1 }))).unwrap().html.unwrap()
    };
    let thread = std::thread::Builder::new().stack_size(limits::RENDER_STACK).spawn(work);
    assert_eq!(thread.unwrap().join().unwrap(), "x");
}
