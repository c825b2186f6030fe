//! The rules of the tree that no compiler knows: which module may know which, what must stay in `runtime`, and how long
//! a file and a function may be.
//!
//! Sources are read with comments and the contents of literals blanked out, so that words in them mean nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that are pure: bytes, events and `now` in; bytes, events and decisions out.
const CORE: [&str; 7] = ["smtp", "mail", "policy", "spool", "queue", "route", "dns"];
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

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files below `directory`, sorted.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // What builds leave is nobody's source.
                if path.file_name().is_some_and(|name| name != "target") {
                    left.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A source file: where it is (from the root, with slashes) and its code.
struct Source {
    place: String,
    code: String,
}

impl Source {
    fn new(place: &str, text: &str) -> Source {
        Source { place: place.to_owned(), code: blank(text) }
    }

    fn complaint(&self, offset: usize, what: &str) -> String {
        let line = 1 + self.code[..offset].matches('\n').count();
        format!("{}:{line}: {what}", self.place)
    }
}

fn sources(directory: &str) -> Vec<Source> {
    let read = |path: PathBuf| {
        let place = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        Source::new(&place, &fs::read_to_string(&path).expect("a readable file"))
    };
    let found: Vec<_> = rust_files(&root().join(directory)).into_iter().map(read).collect();
    assert!(!found.is_empty(), "no sources in {directory}");
    found
}

/// The text with comments, strings and characters turned into blanks; lines stay where they are.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while place < bytes.len() {
        let rest = &bytes[place..];
        let word_before = out.last().is_some_and(|byte| is_word(*byte));
        let end = if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if rest[0] == b'"' {
            string(rest, 1)
        } else if matches!(rest[0], b'b' | b'c') && rest.get(1) == Some(&b'"') && !word_before {
            string(rest, 2)
        } else if let (Some(end), false) = (raw_string(rest), word_before) {
            end
        } else if rest[0] == b'\'' {
            character(rest)
        } else {
            0
        };
        if end == 0 {
            out.push(bytes[place]);
            place += 1;
        } else {
            out.extend(rest[..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            place += end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut place) = (0, 0);
    while place < rest.len() {
        match &rest[place..] {
            [b'/', b'*', ..] => (depth, place) = (depth + 1, place + 2),
            [b'*', b'/', ..] => (depth, place) = (depth - 1, place + 2),
            _ => place += 1,
        }
        if depth == 0 {
            return place;
        }
    }
    rest.len()
}

fn string(rest: &[u8], open: usize) -> usize {
    let mut place = open;
    while place < rest.len() {
        match rest[place] {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `br#"…"#` and the like.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let after = rest.strip_prefix(b"br").or(rest.strip_prefix(b"cr")).or(rest.strip_prefix(b"r"))?;
    let hashes = after.iter().take_while(|byte| **byte == b'#').count();
    if after.get(hashes) != Some(&b'"') {
        return None;
    }
    let from = rest.len() - after.len() + hashes + 1;
    let closing: Vec<u8> = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let found = rest[from..].windows(closing.len()).position(|window| window == closing);
    Some(found.map_or(rest.len(), |found| from + found + closing.len()))
}

/// A character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let closing = rest[3.min(rest.len())..].iter().position(|byte| *byte == b'\'');
        return closing.map_or(0, |closing| closing + 4);
    }
    // One character of up to four bytes.
    let closing = rest.iter().skip(2).take(4).position(|byte| *byte == b'\'');
    match closing {
        Some(closing) if closing == 0 || !rest[1].is_ascii() => closing + 3,
        _ => 0,
    }
}

/// Offsets of `word` as a whole word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code.as_bytes()[..*at].last().is_none_or(|byte| !is_word(*byte));
        before && code.as_bytes().get(at + word.len()).is_none_or(|byte| !is_word(*byte))
    })
}

/// Paths from the root of the crate that `code` names, groups taken apart: (`crate::a::B`, where).
fn crate_paths(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for start in ["crate", "super"] {
        for at in words(code, start).filter(|at| !code[..*at].trim_end().ends_with("::")) {
            // `pub(crate)` and `pub(super)` are no paths; expand says so by finding nothing.
            expand(&code[at + start.len()..], start.to_owned(), at, &mut found);
        }
    }
    found
}

/// Follows `::name::{a, b::C}` behind `prefix`; returns how many bytes it took.
fn expand(code: &str, prefix: String, at: usize, found: &mut Vec<(String, usize)>) -> usize {
    let skip = code.len() - code.trim_start().len();
    let Some(rest) = code[skip..].strip_prefix("::") else {
        found.push((prefix, at));
        return 0;
    };
    let blanks = rest.len() - rest.trim_start().len();
    let start = skip + 2 + blanks;
    if !rest[blanks..].starts_with('{') {
        let name: String = rest[blanks..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = start + name.len();
        return end + expand(&code[end..], format!("{prefix}::{name}"), at, found);
    }
    let mut place = start + 1;
    while place < code.len() && !code[place..].starts_with('}') {
        let tail = &code[place..];
        let name: String = tail.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            place += tail.chars().next().map_or(1, char::len_utf8);
        } else {
            place += name.len();
            place += expand(&code[place..], format!("{prefix}::{name}"), at, found);
        }
    }
    place + 1
}

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

#[test]
fn files_and_functions_are_short() {
    let all = ["src", "loadtest", "tuning", "tests", "benches", "fuzz"];
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
        assert_eq!(count(too_long, "src/a.rs", &body(68)), 0);
        assert_eq!(count(too_long, "src/a.rs", &body(69)), 1);
        let declared =
            format!("trait T {{ fn a(); fn b(f: fn(u8)) -> u8; }}\n{}{}", "\n".repeat(80), body(3));
        assert_eq!(count(too_long, "src/a.rs", &declared), 0);
        assert_eq!(count(too_long, "src/a.rs", &"\n".repeat(600)), 0);
        assert_eq!(count(too_long, "src/a.rs", &"\n".repeat(601)), 1);
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
