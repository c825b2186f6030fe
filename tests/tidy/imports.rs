//! Which file of `src` uses which, and the circles in that.
//!
//! A path counts where it is used: `use` trees, paths in the code, and `name::…` of an imported or a child module. What a module only passes on
//! (`pub use`) is followed to the file that defines it; declaring a module, or importing one, uses nothing of it. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, is_word, words};

/// A path from the root of its crate.
type Names = Vec<String>;

/// One file as a module.
struct File {
    place: String,
    code: String,
    /// `crate` is the library, or the program.
    program: bool,
    module: Names,
    /// Its modules that are in files of their own.
    children: Names,
    /// Names that `use` brings: what is behind them, and whether others see it.
    brought: BTreeMap<String, (Names, bool)>,
    /// Each path that a `use` names, and whether it is passed on.
    used: Vec<(Names, bool)>,
}

/// All files of a crate.
pub struct Graph {
    files: Vec<File>,
    /// The file of a module, by whether it is the program's and by its path.
    modules: BTreeMap<(bool, Names), usize>,
}

impl Graph {
    /// Of the files of `src`; what `main.rs` declares belongs to the program.
    pub fn new(sources: &[Source]) -> Graph {
        let code = |source: &Source| without_tests(&source.code);
        let main = sources.iter().find(|source| source.place == "src/main.rs");
        let of_program = main.map_or(Vec::new(), |main| declared(&code(main)));
        let mut graph = Graph { files: Vec::new(), modules: BTreeMap::new() };
        let tests = tests_in_files(sources);
        for source in sources.iter().filter(|source| !tests.contains(&source.place)) {
            let path = source.place.trim_start_matches("src/").trim_end_matches(".rs");
            let mut module: Names = path.split('/').map(str::to_owned).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
                module.pop();
            }
            let program = path == "main" || module.first().is_some_and(|first| of_program.contains(first));
            let mut file = File {
                place: source.place.clone(),
                code: code(source),
                program,
                module: module.clone(),
                children: declared(&code(source)),
                brought: BTreeMap::new(),
                used: Vec::new(),
            };
            file.read_uses();
            graph.modules.insert((program, module), graph.files.len());
            graph.files.push(file);
        }
        graph
    }

    /// The file that defines what a path names. None: it is not of this crate, or a module as a whole.
    fn defined_in(&self, program: bool, path: &[String], depth: usize) -> Option<usize> {
        let known = (0..=path.len())
            .rev()
            .find(|length| self.modules.contains_key(&(program, path[..*length].to_vec())))?;
        let at = self.modules[&(program, path[..known].to_vec())];
        let name = path.get(known)?;
        match self.files[at].brought.get(name) {
            Some((behind, true)) if depth < 8 => {
                let rest = [behind.as_slice(), &path[known + 1..]].concat();
                if self.modules.contains_key(&(program, rest.clone())) {
                    return None;
                }
                self.defined_in(program, &rest, depth + 1).or(Some(at))
            }
            _ => Some(at),
        }
    }

    fn is_module(&self, program: bool, path: &[String]) -> bool {
        self.modules.contains_key(&(program, path.to_vec()))
    }

    /// What a file uses of others: the file, and the name it is known by there.
    fn uses(&self, from: usize) -> BTreeMap<usize, String> {
        let file = &self.files[from];
        let mut found = BTreeMap::new();
        let mut add = |path: &[String]| {
            if let Some(to) = self.defined_in(file.program, path, 0).filter(|to| *to != from) {
                found.entry(to).or_insert_with(|| path.join("::"));
            }
        };
        for (path, passed_on) in &file.used {
            // A mod.rs that only shows what its children have needs none of it.
            let needed = |name: &String| words(&file.code, name).next().is_some();
            if (!*passed_on || path.last().is_some_and(needed)) && !self.is_module(file.program, path) {
                add(path);
            }
        }
        for path in file.inline_paths() {
            if !self.is_module(file.program, &path) {
                add(&path);
            }
        }
        found
    }

    /// Sets of files each of which is reached from itself, with the uses inside.
    pub fn circles(&self) -> Vec<Circle> {
        let edges: Vec<BTreeMap<usize, String>> = (0..self.files.len()).map(|at| self.uses(at)).collect();
        let reached: Vec<BTreeSet<usize>> = (0..edges.len()).map(|at| reachable(&edges, at)).collect();
        let mut left: BTreeSet<usize> = (0..edges.len()).filter(|at| reached[*at].contains(at)).collect();
        let mut circles = Vec::new();
        while let Some(first) = left.first().copied() {
            let inside = |at: &usize| reached[first].contains(at) && reached[*at].contains(&first);
            let members: Vec<usize> = left.iter().copied().filter(inside).collect();
            left.retain(|at| !members.contains(at));
            let mut uses = Vec::new();
            for from in &members {
                for (to, name) in edges[*from].iter().filter(|(to, _)| members.contains(to)) {
                    uses.push(format!("{} -> {} ({name})", self.files[*from].place, self.files[*to].place));
                }
            }
            circles.push(Circle {
                files: members.iter().map(|at| self.files[*at].place.clone()).collect(),
                uses,
            });
        }
        circles
    }
}

/// Files that use each other.
#[derive(Debug)]
pub struct Circle {
    /// Their places, sorted.
    pub files: Vec<String>,
    /// Who uses what of whom.
    pub uses: Vec<String>,
}

fn reachable(edges: &[BTreeMap<usize, String>], from: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut left: Vec<usize> = edges[from].keys().copied().collect();
    while let Some(next) = left.pop() {
        if found.insert(next) {
            left.extend(edges[next].keys());
        }
    }
    found
}

impl File {
    /// Takes the `use` items out of the code.
    fn read_uses(&mut self) {
        let code = std::mem::take(&mut self.code);
        let mut rest = code.clone();
        for at in words(&code, "use") {
            let Some(end) = code[at..].find(';') else { continue };
            let tree: String = code[at + 3..at + end].split_whitespace().collect::<Vec<_>>().join(" ");
            let line = code[..at].rfind(['\n', ';', '{', '}']).map_or(0, |place| place + 1);
            let passed_on = code[line..at].contains("pub");
            let mut leaves = Vec::new();
            flatten(&tree, &mut Vec::new(), &mut leaves);
            for (path, name) in leaves {
                let Some(path) = self.absolute(&path) else { continue };
                self.used.push((path.clone(), passed_on));
                self.brought.insert(name, (path, passed_on));
            }
            rest.replace_range(at..at + end, &" ".repeat(end));
        }
        self.code = rest;
    }

    /// A path as the root of the crate would name it. None: another crate's.
    fn absolute(&self, path: &[String]) -> Option<Names> {
        let mut base = self.module.clone();
        match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "self" => base.extend_from_slice(&path[1..]),
            "super" => {
                let ups = path.iter().take_while(|name| *name == "super").count();
                base.truncate(base.len().saturating_sub(ups));
                base.extend_from_slice(&path[ups..]);
            }
            first if self.children.iter().any(|child| child == first) => base.extend_from_slice(path),
            _ => return None,
        }
        Some(base)
    }

    /// A path whose first name was brought by `use`, or is a child module, from the root of the crate.
    fn behind(&self, path: &[String]) -> Option<Names> {
        match self.brought.get(&path[0]) {
            Some((behind, _)) => Some([behind.as_slice(), &path[1..]].concat()),
            None if self.children.contains(&path[0]) => Some([self.module.as_slice(), path].concat()),
            None => None,
        }
    }

    /// Paths in the code, from the root of the crate.
    fn inline_paths(&self) -> Vec<Names> {
        let bytes = self.code.as_bytes();
        let mut found = Vec::new();
        let mut place = 0;
        while place < bytes.len() {
            let begins = is_word(bytes[place]) && (place == 0 || !is_word(bytes[place - 1]));
            if !begins || self.code[..place].trim_end().ends_with("::") {
                place += 1;
                continue;
            }
            let path = path_at(&self.code[place..]);
            place += path[0].len().max(1);
            match path[0].as_str() {
                "crate" | "self" | "super" if path.len() > 1 => found.extend(self.absolute(&path)),
                _ if path.len() > 1 => found.extend(self.behind(&path)),
                _ => {}
            }
        }
        found
    }
}

/// `a::b::C` at the start of some code, without what is generic.
fn path_at(code: &str) -> Names {
    let mut names = Vec::new();
    let mut rest = code;
    loop {
        let end = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
        names.push(rest[..end].to_owned());
        match rest[end..].trim_start().strip_prefix("::").map(str::trim_start) {
            Some(after) if after.bytes().next().is_some_and(is_word) => rest = after,
            _ => return names,
        }
    }
}

/// The leaves of a `use` tree: each path, and the name it has from then on.
fn flatten(tree: &str, before: &mut Names, leaves: &mut Vec<(Names, String)>) {
    for part in split(tree) {
        let (path, group) = match part.find('{') {
            Some(at) => (&part[..at], Some(part[at + 1..].trim_end().trim_end_matches('}'))),
            None => (part.as_str(), None),
        };
        let (path, alias) = path
            .split_once(" as ")
            .map_or((path, None), |(path, alias)| (path, Some(alias.trim().to_owned())));
        let names: Names =
            path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        let length = before.len();
        before.extend(names);
        match group {
            Some(group) => flatten(group, before, leaves),
            None => {
                let mut path = before.clone();
                if path.len() > 1 && matches!(path.last().map(String::as_str), Some("self")) {
                    path.pop();
                }
                let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
                leaves.push((path, name));
            }
        }
        before.truncate(length);
    }
}

/// At the commas that are in no braces.
fn split(tree: &str) -> Vec<String> {
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for character in tree.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(character);
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Modules that code declares to be in files of their own.
fn declared(code: &str) -> Names {
    let after = |at: usize| {
        let rest = code[at + 3..].trim_start();
        let end = rest.bytes().position(|byte| !is_word(byte))?;
        rest[end..].trim_start().starts_with(';').then(|| rest[..end].to_owned())
    };
    words(code, "mod").filter_map(after).collect()
}

/// Code without the items that only tests see.
pub fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    while let Some(at) = code.find("#[cfg(test)]") {
        let after = at + "#[cfg(test)]".len();
        let end = code[after..].find(['{', ';']).map_or(code.len(), |place| after + place);
        let end =
            if code[end..].starts_with('{') { end + block(&code[end..]) } else { (end + 1).min(code.len()) };
        let blanks: String =
            code[at..end].chars().map(|character| if character == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(at..end, &blanks);
    }
    code
}

/// How long the block is that code begins with.
fn block(code: &str) -> usize {
    let mut depth = 0;
    for (place, character) in code.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    code.len()
}

/// Files that are modules only of tests, and all below them.
fn tests_in_files(sources: &[Source]) -> BTreeSet<String> {
    let is_tests = |place: &str| {
        let mut names = place.trim_end_matches(".rs").split('/');
        names.any(|name| name == "tests")
    };
    sources.iter().filter(|source| is_tests(&source.place)).map(|source| source.place.clone()).collect()
}

/// Types whose own methods are in another file than the type: `impl` is spread to meet a cap, or a type has too much to do.
pub fn spread(source: &Source) -> Vec<String> {
    let code = without_tests(&source.code);
    let mut complaints = Vec::new();
    for at in words(&code, "impl") {
        // `impl Trait` in a signature is no item.
        let line = code[..at].rfind('\n').map_or(0, |place| place + 1);
        if !code[line..at].trim().is_empty() {
            continue;
        }
        let head = code[at + 4..].split('{').next().unwrap_or_default();
        if words(head, "for").next().is_some_and(|place| !head[place..].starts_with("for<")) {
            continue;
        }
        let Some(name) = own_type(head) else { continue };
        let defines = |kind: &str| {
            words(&code, kind).any(|place| path_at(code[place + kind.len()..].trim_start())[0] == name)
        };
        if !["struct", "enum", "union", "trait", "type"].into_iter().any(defines) {
            complaints.push(
                source.complaint(at, &format!("the methods of `{name}` belong in the file of `{name}`")),
            );
        }
    }
    complaints
}

/// The type of an `impl` without a trait, whose parameters and bounds are left out.
fn own_type(head: &str) -> Option<String> {
    let mut rest = head.trim_start();
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.char_indices().find(|(place, character)| {
            depth += match character {
                '<' => 1,
                '>' if !rest[..*place].ends_with('-') => -1,
                _ => 0,
            };
            depth == 0
        })?;
        rest = rest[end.0 + 1..].trim_start();
    }
    path_at(rest).pop().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let sources: Vec<_> = files.iter().map(|(place, text)| Source::new(place, text)).collect();
        Graph::new(&sources).circles().into_iter().map(|circle| circle.files).collect()
    }

    #[test]
    fn circles_are_found_in_every_spelling() {
        let lib = ("src/lib.rs", "pub mod a; pub mod b;");
        let shown = ("src/b/mod.rs", "mod c; pub use c::{C, D as E};");
        for use_of_b in [
            "use crate::b::B;",
            "use crate::{x, b::{self, B}};",
            "use super::b::B;",
            "use crate::b; fn f() { b::g() }",
            "use crate::b as other; fn f() { other::g() }",
            "fn f() -> crate::b::B { B }",
            "mod inner { pub fn f() -> crate::b::B { B } }",
        ] {
            let found =
                circles(&[lib, ("src/a.rs", use_of_b), ("src/b.rs", "use crate::a::A; pub struct B;")]);
            assert_eq!(found, [["src/a.rs", "src/b.rs"]], "{use_of_b}");
        }
        for use_of_c in [
            "use crate::b::C;",
            "use crate::b::E;",
            "fn f(c: crate::b::C) {}",
            "use crate::b; fn f(c: b::C) {}",
        ] {
            let c = ("src/b/c.rs", "use crate::a::A; pub struct C; pub struct D;");
            assert_eq!(
                circles(&[lib, ("src/a.rs", use_of_c), shown, c]),
                [["src/a.rs", "src/b/c.rs"]],
                "{use_of_c}"
            );
        }
        let parent = ("src/b/mod.rs", "mod c; pub use c::C; fn f(c: C) {}");
        assert_eq!(circles(&[lib, parent, ("src/b/c.rs", "use super::B; pub struct C;")]).len(), 1);
        assert_eq!(
            circles(&[("src/b/mod.rs", "mod c; fn f() { c::g() }"), ("src/b/c.rs", "use super::B;")]).len(),
            1
        );
    }

    #[test]
    fn what_uses_nothing_makes_no_circle() {
        let b = ("src/b.rs", "use crate::a::A; pub struct B;");
        for a in [
            "// crate::b::B",
            "mod b;",
            "use crate::b;",
            "use std::b::B;",
            "#[cfg(test)] mod tests { use crate::b::B; }",
            "#[cfg(test)]\nuse crate::b::B;\nfn f() {}",
            "fn f() { std::b::g() }",
        ] {
            assert_eq!(circles(&[("src/a.rs", a), b]), Vec::<Vec<String>>::new(), "{a}");
        }
        // What a program declares is not the library's.
        let main = ("src/main.rs", "mod a; fn main() {}");
        assert!(circles(&[main, ("src/a.rs", "use crate::b::B;"), b]).is_empty());
        assert!(circles(&[("src/a.rs", ""), ("src/a/tests.rs", "use crate::b::B;"), b]).is_empty());
    }

    #[test]
    fn methods_elsewhere_are_noticed() {
        let count = |text: &str| spread(&Source::new("src/a.rs", text)).len();
        for text in
            ["impl A {}", "impl<R: B<fn() -> u8>> A<R> {}", "impl super::A {}", "struct B;\nimpl A {}"]
        {
            assert_eq!(count(text), 1, "{text}");
        }
        for text in [
            "struct A;\nimpl A {}",
            "impl B for A {}",
            "fn f() -> impl B {}",
            "pub enum A<T> {}\nimpl<T> A<T> {}",
        ] {
            assert_eq!(count(text), 0, "{text}");
        }
    }
}
