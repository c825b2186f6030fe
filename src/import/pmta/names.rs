//! Names that stand for others: macros of domains, and queues that several domains share.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::Node;
use crate::import::{Id, Ledger};
use crate::limits;

/// Who belongs to a shared queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Rollup {
    /// `{ DomainSuffix = "x" }`, with what it is from.
    pub matches: Vec<(String, Id)>,
    /// Its domains, as routes have them.
    pub domains: Vec<String>,
}

/// Macros and shared queues.
#[derive(Debug, Default)]
pub(super) struct Names {
    macros: BTreeMap<String, (Vec<String>, Id)>,
    used: BTreeSet<String>,
    pub rollups: BTreeMap<String, Rollup>,
}

/// What a `<domain>` is about, in a shaping file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// `"default"`, `"example.com"`, `provider."x"`
    pub base: String,
    /// Whether it is a queue of several domains, whose limits are of all of them together.
    pub shared: bool,
    /// Domains, or `*.` and what all of them are below, as routes have them.
    pub domains: Vec<String>,
    /// How a provider knows them, where its section is theirs.
    pub matches: Vec<String>,
}

impl Names {
    /// Those of a configuration.
    pub fn of(tree: &[Node], ledger: &mut Ledger) -> Names {
        let mut names = Names::default();
        for node in tree.iter().filter(|node| node.is("domain-macro")) {
            let mut words = node.words().into_iter();
            let Some(name) = words.next() else { continue };
            let domains: Vec<String> =
                words.take(limits::IMPORT_LIST_MAX).map(str::to_ascii_lowercase).collect();
            if let Some((_, before)) = names.macros.insert(name.to_ascii_lowercase(), (domains, node.id)) {
                ledger.usual(before, "a later line gives the name another meaning");
            }
        }
        names
    }

    /// The domains of a name that may be a macro's. A macro may name others.
    pub fn domains(&mut self, name: &str, ledger: &mut Ledger) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![(name.to_ascii_lowercase(), name.to_owned(), 0)];
        let mut looked_at = 0;
        while let Some((lower, name, depth)) = left.pop().filter(|_| looked_at < limits::IMPORT_SECTIONS_MAX)
        {
            looked_at += 1;
            let Some((before, rest)) = name.split_once('$') else {
                found.push(lower);
                continue;
            };
            // `$isp`, and `aol.$tld`: a dot behind it ends its name.
            let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '-');
            let (called, after) = rest.split_at(end.unwrap_or(rest.len()));
            let called = called.to_ascii_lowercase();
            let known = self.macros.get(&called).filter(|_| depth < limits::IMPORT_VARIABLES_MAX);
            if let Some((domains, id)) = known {
                let room = limits::IMPORT_LIST_MAX.saturating_sub(found.len() + left.len());
                let whole = |one: &String| format!("{before}{one}{after}");
                let each = domains.iter().rev().take(room).map(whole);
                left.extend(each.map(|one| (one.to_ascii_lowercase(), one, depth + 1)));
                self.used.insert(called);
                ledger.usual(*id, "its domains stand where it is named");
            }
        }
        found
    }

    /// Macros that nothing names.
    pub fn unused(&self) -> Vec<Id> {
        let unused = self.macros.iter().filter(|(name, _)| !self.used.contains(*name));
        unused.map(|(_, (_, id))| *id).collect()
    }
}
