//! PowerMTA: its configuration, with what it includes.
//!
//! `parse` makes a tree of directives and blocks. `names` knows macros and roll-ups, `identities` virtual MTAs, `domains` what
//! `<domain>` says, `patterns` what replies do, `intake` and `pickup` who may send, `logs` what is written; `others` speaks of the rest.

mod reader;
mod parse;
mod values;
mod names;
mod hops;
mod rollups;
mod scope;
mod identities;
mod domains;
mod limits_of;
mod backoff;
mod patterns;
mod merged;
mod intake;
mod clients;
mod signing;
mod logs;
mod pickup;
mod others;

use std::collections::{BTreeMap, BTreeSet};

use super::prove::finish;
use super::said::Said;
use super::{ImportError, Imported, Library, Terms};
use names::Names;
use reader::Reader;

/// Reads a configuration.
pub fn import(file: &str, library: &mut Library<'_>, terms: &Terms) -> Result<Imported, ImportError> {
    let mut out = Imported::default();
    let tree = parse::read(file, library, &mut out.ledger)?;
    let names = Names::of(&tree, &mut out.ledger);
    let blocks = |name: &str| tree.iter().filter(|node| node.is(name)).cloned().collect::<Vec<_>>();
    let lists = blocks("<smtp-pattern-list")
        .into_iter()
        .map(|node| (node.value.to_ascii_lowercase(), node))
        .collect();
    let defaults = blocks("<domain").into_iter().filter(|node| node.value == "*").collect();
    let mut reader = Reader {
        library,
        terms,
        names,
        sources: BTreeMap::new(),
        cold: BTreeMap::new(),
        led: BTreeMap::new(),
        said: Said::default(),
        routes: BTreeMap::new(),
        apart: BTreeMap::new(),
        addresses: BTreeMap::new(),
        called: BTreeMap::new(),
        lists,
        taken: BTreeSet::new(),
        defaults,
        keys: BTreeMap::new(),
        out,
    };
    identities::identities(&mut reader, &tree);
    rollups::rollups(&mut reader, &tree);
    domains::domains(&mut reader, &tree);
    intake::intake(&mut reader, &tree);
    pickup::pickup(&mut reader, &tree);
    patterns::patterns(&mut reader, &tree);
    signing::signing(&mut reader, &tree);
    logs::logs(&mut reader, &tree);
    others::others(&mut reader, &tree);
    if !reader.out.shaping.is_empty() {
        reader.out.relevo.set("[shaping]", "defaults", "false", &[]);
        let words = "[shaping] defaults = false: what PowerMTA was told holds, and not the limits for large providers that relevo ships, which \
            would hold beside it; without the line both do (docs/shaping.md).";
        reader.out.notes.push(words.to_owned());
    }
    if !reader.out.relevo.has("[retry]") {
        let words = "PowerMTA tries every 10m for 4d12h where nothing says otherwise; here it is as deploy/relevo.toml has [retry].";
        reader.out.notes.push(words.to_owned());
    }
    Ok(finish(reader.out, terms))
}
