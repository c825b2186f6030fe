//! The rules of the tree that no compiler knows: which module may know which, what must stay in `runtime`, and how long
//! a file and a function may be.

mod constants;
mod imports;
mod inline;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, blank, crate_paths, root, rust_files, sources, words};

/// Modules that are pure: bytes, events and `now` in; bytes, events and decisions out.
const CORE: [&str; 9] = ["smtp", "mail", "policy", "shaping", "spool", "queue", "route", "dns", "templates"];
/// What they must not know.
const NOT_IN_CORE: [&str; 4] = ["runtime", "shard", "observe", "control"];
/// The one exception: the spool mints its proof of durability from the runtime's proof of a sync.
const SPOOL_MAY: &str = "crate::runtime::Synced";

/// Where clocks, sockets and threads may be named: the runtime, and what runs off the message path.
const OWNS_THE_MACHINE: [&str; 4] = ["src/runtime/", "src/control/", "src/main.rs", "src/run.rs"];
const OF_THE_MACHINE: [&str; 10] = [
    "Instant::now",
    "SystemTime::now",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "thread::spawn",
    "thread::sleep",
    "thread::Builder",
];

const FILE_LINES_MAX: usize = 599;
const FUNCTION_LINES_MAX: usize = 69;

/// The arrows of the core, for one file of `src`.
fn broken_arrows(source: &Source) -> Vec<String> {
    let module = source.place.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
    if !CORE.contains(&module) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (path, at) in crate_paths(&source.code) {
        let mut names = path.split("::").skip_while(|name| *name == "crate" || *name == "super");
        let Some(bad) = names.next().filter(|name| NOT_IN_CORE.contains(name)) else { continue };
        if module == "spool" && path == SPOOL_MAY {
            continue;
        }
        complaints
            .push(source.complaint(at, &format!("`{module}` is core and must not know `{bad}` ({path})")));
    }
    complaints
}

/// Clocks, sockets and threads, for one file of `src`.
fn machine_names(source: &Source) -> Vec<String> {
    if OWNS_THE_MACHINE.iter().any(|owner| source.place.starts_with(owner)) {
        return Vec::new();
    }
    let named = |name: &'static str| {
        words(&source.code, name)
            .map(move |at| source.complaint(at, &format!("`{name}` belongs in src/runtime")))
    };
    OF_THE_MACHINE.into_iter().flat_map(named).collect()
}

fn unsafe_code(source: &Source) -> Vec<String> {
    if source.place.starts_with("src/runtime/") {
        return Vec::new();
    }
    words(&source.code, "unsafe").map(|at| source.complaint(at, "`unsafe` belongs in src/runtime")).collect()
}

/// Only the lane has the proof of a sync in hand when it says that something is durable.
fn mints(source: &Source) -> Vec<String> {
    if matches!(source.place.as_str(), "src/spool/lane.rs" | "src/id.rs") {
        return Vec::new();
    }
    words(&source.code, "mint")
        .map(|at| source.complaint(at, "`Durable` is made in spool/lane.rs alone, from a `Synced`"))
        .collect()
}

/// One place makes what is stored of a new message, so that none comes in beside rules and duties. The spool only lays it out.
fn new_messages(source: &Source) -> Vec<String> {
    if source.place.starts_with("src/spool/") || source.place == "src/shard/inbound/submission.rs" {
        return Vec::new();
    }
    let made = |at: &usize| {
        let (before, behind) = source.code.split_at(*at);
        let is_type = before.trim_end().ends_with("->");
        !is_type && behind["NewMessage".len()..].trim_start().starts_with('{')
    };
    words(&source.code, "NewMessage")
        .filter(made)
        .map(|at| source.complaint(at, "a new message is made by `Submission` alone"))
        .collect()
}

fn too_long(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = source.code.lines().count();
    if lines > FILE_LINES_MAX {
        complaints.push(format!("{}: {lines} lines, split it (at most {FILE_LINES_MAX})", source.place));
    }
    for at in words(&source.code, "fn") {
        let Some((name, lines)) = function(&source.code[at..]) else { continue };
        if lines > FUNCTION_LINES_MAX {
            let what = format!("`{name}` has {lines} lines, split it (at most {FUNCTION_LINES_MAX})");
            complaints.push(source.complaint(at, &what));
        }
    }
    complaints
}

/// Name and lines, first to last, of the function that starts with `code`. None for a type `fn(…)` and for a
/// declaration without body.
fn function(code: &str) -> Option<(&str, usize)> {
    let after = code[2..].trim_start();
    let name = &after[..after.find(|c: char| !c.is_alphanumeric() && c != '_')?];
    if name.is_empty() {
        return None;
    }
    // The body opens at the first brace outside of parentheses; a semicolon there says that there is none.
    let mut depth = 0i32;
    let mut braces = 0i32;
    for (place, character) in code.char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 && braces == 0 => return None,
            '{' if depth == 0 || braces > 0 => braces += 1,
            '}' if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some((name, 1 + code[..place].matches('\n').count()));
                }
            }
            _ => {}
        }
    }
    None
}

fn assert_tidy(directory: &str, rule: impl Fn(&Source) -> Vec<String>) {
    let complaints: Vec<_> = sources(directory).iter().flat_map(rule).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_core_knows_neither_runtime_nor_shards() {
    assert_tidy("src", broken_arrows);
}

#[test]
fn the_machine_is_reached_through_the_runtime() {
    assert_tidy("src", machine_names);
}

/// The macros wait for whoever reads, and panic where nobody can: the relay says things through its diagnostics.
#[test]
fn only_commands_print() {
    const MAY: [&str; 4] = ["src/main.rs", "src/demo.rs", "src/commands/", "src/runtime/sim/"];
    let prints = |source: &Source| {
        if MAY.iter().any(|may| source.place.starts_with(may)) {
            return Vec::new();
        }
        let names = ["eprintln", "eprint", "println", "print", "dbg"];
        let called = |name: &&str| {
            let after = |at: &usize| source.code[at + name.len()..].starts_with('!');
            words(&source.code, name).filter(after).collect::<Vec<_>>()
        };
        let found = names.iter().flat_map(called);
        found
            .map(|at| source.complaint(at, "say it (`control::say`, `shard.say`), or `last_words`"))
            .collect()
    };
    assert!(prints(&Source::new("src/node.rs", "fn f() { eprintln!(); }")).len() == 1);
    assert_tidy("src", prints);
}

#[test]
fn unsafe_code_is_in_the_runtime() {
    assert_tidy("src", unsafe_code);
}

#[test]
fn only_the_lane_says_that_something_is_durable() {
    assert_eq!(mints(&Source::new("src/shard/a.rs", "fn f() { Durable::mint(3) }")).len(), 1);
    assert_tidy("src", mints);
}

#[test]
fn new_messages_are_submitted() {
    let made = "fn f() { keep(NewMessage { body }) }";
    assert_eq!(new_messages(&Source::new("src/shard/outbound/settle.rs", made)).len(), 1);
    assert_eq!(
        new_messages(&Source::new("src/shard/a.rs", "fn f(one: NewMessage) -> NewMessage { one }")).len(),
        0
    );
    assert_tidy("src", new_messages);
}

/// Names of lanes and segments in literals outside the tests of a file; of its whole text, since `Source` blanks literals.
fn names_files_of_lanes(place: &str, text: &str) -> Vec<String> {
    const MAY: [&str; 2] = ["src/spool/layout.rs", "src/runtime/"];
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    if MAY.iter().any(|may| place.starts_with(may)) || place.contains("/tests") {
        return Vec::new();
    }
    let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let named = lines.filter(|(_, line)| line.contains(".seg\"") || line.contains("\"lane-"));
    named
        .map(|(at, _)| format!("{place}:{}: spool/layout.rs says where lanes and segments lie", at + 1))
        .collect()
}

#[test]
fn one_module_says_where_segments_lie() {
    assert_eq!(names_files_of_lanes("src/a.rs", "f(\"lane-{}\");\n// \"lane-\n\ng(\".seg\")").len(), 2);
    let read = |path: &PathBuf| fs::read_to_string(path).expect("a readable file");
    let place =
        |path: &Path| path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    let files = rust_files(&root().join("src"));
    let complaints: Vec<_> =
        files.iter().flat_map(|path| names_files_of_lanes(&place(path), &read(path))).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// What delivers to a site, and so reads what its policy says and never the configuration.
const BY_SITE: [&str; 10] = [
    "address.rs",
    "connect.rs",
    "deliver.rs",
    "eight_bit.rs",
    "lend.rs",
    "line.rs",
    "pump.rs",
    "session.rs",
    "transact.rs",
    "work.rs",
];

fn configuration_of_a_site(source: &Source) -> Vec<String> {
    let file = source.place.strip_prefix("src/shard/outbound/").unwrap_or_default();
    let named = |text: &'static str| source.code.match_indices(text);
    let read = ["live.get()", "LiveConfig", "InForce"].into_iter().flat_map(named);
    let read = read.filter(|_| BY_SITE.contains(&file));
    read.map(|(at, what)| source.complaint(at, &format!("`{what}`: route::SitePolicy says it of a site")))
        .collect()
}

#[test]
fn delivery_reads_the_policy_of_its_site() {
    let code = "let most = shard.live.get().config.delivery.connections_per_address;";
    for file in BY_SITE {
        let place = format!("src/shard/outbound/{file}");
        assert!(root().join(&place).exists(), "{place} is elsewhere");
        assert_eq!(configuration_of_a_site(&Source::new(&place, code)).len(), 1);
    }
    assert!(configuration_of_a_site(&Source::new("src/shard/outbound/sites.rs", code)).is_empty());
    assert_tidy("src", configuration_of_a_site);
}

/// No circle, and no type whose methods are in another file than the type.
#[test]
fn files_use_each_other_in_no_circle() {
    let sources = sources("src");
    let circles = imports::Graph::new(&sources).circles();
    let circles: Vec<_> =
        circles.iter().map(|circle| format!("a circle:\n  {}", circle.uses.join("\n  "))).collect();
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
    assert_tidy(
        "src",
        |source| {
            if source.place.contains("/tests") { Vec::new() } else { imports::spread(source) }
        },
    );
}

#[test]
fn bounds_stand_among_the_limits() {
    constants::assert_bounds_are_limits(&sources("src"));
}

#[test]
fn bounds_have_names() {
    inline::assert_bounds_have_names(&sources("src"));
}

#[test]
fn each_limit_bounds_something() {
    constants::assert_limits_are_used(&sources("src"));
}

/// A map that is longer than a few screens is not read.
#[test]
fn the_map_is_short() {
    let map = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
    let bytes = std::fs::read(map).unwrap().len();
    assert!(bytes <= 8192, "ARCHITECTURE.md has {bytes} bytes: what is no map belongs in docs/");
}

#[test]
fn files_and_functions_are_short() {
    let all = ["src", "loadtest", "tuning", "tests", "benches", "fuzz"];
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = manifest.parse().expect("a manifest");
    for member in manifest["workspace"]["members"].as_array().expect("members") {
        let member = member.as_str().expect("a path");
        assert!(member == "." || all.contains(&member), "how long are the files of {member}?");
    }
    let complaints: Vec<_> = all.into_iter().flat_map(sources).flat_map(|source| too_long(&source)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The load generator judges the relay, so it must not be made of it.
#[test]
fn the_load_generator_is_independent() {
    let manifest = fs::read_to_string(root().join("loadtest/Cargo.toml")).expect("loadtest/Cargo.toml");
    let complaints = depends_on_relevo(&manifest);
    assert!(complaints.is_empty(), "loadtest/Cargo.toml: {complaints:?}");
    assert_tidy("loadtest", |source| {
        words(&source.code, "relevo")
            .filter(|at| source.code[at + "relevo".len()..].trim_start().starts_with("::"))
            .map(|at| source.complaint(at, "the load generator shares no code with the relay"))
            .collect()
    });
}

/// Dependencies of any kind and platform that are the relay, renamed or not.
fn depends_on_relevo(manifest: &str) -> Vec<String> {
    fn walk(table: &toml::Table, found: &mut Vec<String>) {
        for (key, value) in table {
            let Some(inner) = value.as_table() else { continue };
            if !key.ends_with("dependencies") {
                walk(inner, found);
                continue;
            }
            for (name, entry) in inner {
                let package = entry.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                let path = entry.get("path").and_then(toml::Value::as_str);
                if package == "relevo" || path.is_some_and(|path| path.trim_end_matches('/').ends_with(".."))
                {
                    found.push(name.clone());
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(&manifest.parse().expect("a manifest"), &mut found);
    found
}

mod the_rules_themselves {
    use super::*;

    fn count(rule: impl Fn(&Source) -> Vec<String>, place: &str, text: &str) -> usize {
        rule(&Source::new(place, text)).len()
    }

    #[test]
    fn literals_and_comments_are_blank() {
        for text in [
            "// unsafe\n",
            "/* unsafe /* unsafe */ unsafe */",
            "\"unsafe \\\" unsafe\"",
            "b\"unsafe\"",
            "r\"unsafe\\\"",
            "br##\"unsafe \"# unsafe\"##",
            "/// unsafe",
            "'\\'' // unsafe '",
            "'\"' // unsafe \"",
            "'é' // unsafe '",
            "unsafely not_unsafe",
        ] {
            assert_eq!(count(unsafe_code, "src/a.rs", text), 0, "{text}");
        }
        for text in [
            "unsafe {}",
            "fn a<'a>(b: &'a u8) { unsafe {} }",
            "'\"' unsafe",
            "\"\\\\\" unsafe",
            "'\\u{e9}' unsafe",
        ] {
            assert_eq!(count(unsafe_code, "src/a.rs", text), 1, "{text}");
        }
        assert_eq!(blank("a\n/*\n*/\"\n\"b").matches('\n').count(), 3);
    }

    #[test]
    fn arrows_are_found_in_every_spelling() {
        for text in [
            "use crate::runtime;",
            "use crate::runtime::Runtime;",
            "use crate::{limits, shard};",
            "use crate::{limits::{A, B}, observe::Counter, time};",
            "use crate::{\n    spool::{id::{A}, B},\n    control,\n};",
            "fn a() { crate::runtime::now() }",
            "use super::super::shard::Mesh;",
            "use super::runtime::Bell;",
            "pub use crate :: runtime :: Synced;",
        ] {
            assert_eq!(count(broken_arrows, "src/mail/dsn.rs", text), 1, "{text}");
            assert_eq!(count(broken_arrows, "src/shard/mesh.rs", text), 0, "{text}");
        }
        for text in [
            "use crate::limits::runtime;",
            "use crate::{limits::{shard, A}, mail};",
            "pub(crate) fn runtime() {}",
            "use std::runtime;",
            "// crate::runtime",
            "use crate::runtimes;",
        ] {
            assert_eq!(count(broken_arrows, "src/mail/dsn.rs", text), 0, "{text}");
        }
        assert_eq!(count(broken_arrows, "src/spool/lane.rs", "use crate::runtime::Synced;"), 0);
        assert_eq!(count(broken_arrows, "src/spool/lane.rs", "use crate::runtime::{Synced, Segment};"), 1);
        assert_eq!(count(broken_arrows, "src/spool.rs", "use crate::runtime::Segment;"), 1);
    }

    #[test]
    fn the_machine_is_noticed() {
        let text = "use std::net::{SocketAddr, TcpStream};\nlet a = Instant::now();";
        assert_eq!(count(machine_names, "src/shard/accept.rs", text), 2);
        assert_eq!(count(machine_names, "src/runtime/clock.rs", text), 0);
        assert_eq!(count(machine_names, "src/shard/accept.rs", "use crate::time::Instant; a.now()"), 0);
    }

    #[test]
    fn long_functions_are_noticed() {
        let body =
            |lines: usize| format!("fn long(a: [u8; 4]) -> bool {{\n{}}}\n", "    x();\n".repeat(lines));
        assert_eq!(count(too_long, "src/a.rs", &body(67)), 0);
        assert_eq!(count(too_long, "src/a.rs", &body(68)), 1);
        let declared =
            format!("trait T {{ fn a(); fn b(f: fn(u8)) -> u8; }}\n{}{}", "\n".repeat(80), body(3));
        assert_eq!(count(too_long, "src/a.rs", &declared), 0);
        assert_eq!(count(too_long, "src/a.rs", &"\n".repeat(599)), 0);
        assert_eq!(count(too_long, "src/a.rs", &"\n".repeat(600)), 1);
    }

    #[test]
    fn dependencies_on_the_relay_are_noticed() {
        for manifest in [
            "[dependencies]\nrelevo = \"1\"",
            "[dev-dependencies]\nother = { path = \"..\" }",
            "[target.'cfg(unix)'.dependencies]\nother = { package = \"relevo\", version = \"1\" }",
            "[build-dependencies.relevo]\npath = \"../\"",
        ] {
            assert_eq!(depends_on_relevo(manifest).len(), 1, "{manifest}");
        }
        assert!(
            depends_on_relevo("[package]\nname = \"relevo\"\n[dependencies]\nrelevo-load = { path = \"x\" }")
                .is_empty()
        );
    }
}
