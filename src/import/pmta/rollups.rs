//! Queues that several domains share, as providers; and where what a `<domain>` says goes.

use super::names::Spot;
use super::parse::Node;
use super::reader::Reader;
use crate::import::Id;
use crate::import::words::{is_domain, quoted};
use crate::limits;

/// What is to be done for a queue that PowerMTA has by itself.
pub(super) const SERVICE: &str = "its mail goes to a service that PowerMTA knows by name, and here to the MX: write a [[route]] to the service's host, with [credentials] (docs/smart-hosts.md)";

/// `queue-to`, `<mx-rollup-list>` and its kin, as providers.
pub(super) fn rollups(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    for block in tree.iter().filter(|node| node.is("<domain")) {
        let Some(to) = block.last("queue-to") else { continue };
        let target = to.words().first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        let domains = reader.names.domains(&block.value, &mut reader.out.ledger);
        if target.starts_with('{') {
            reader.out.ledger.none(to.id, SERVICE);
            continue;
        }
        if target.is_empty() || block.value == "*" || domains.is_empty() {
            reader.out.ledger.none(to.id, "no domains that share a queue");
            continue;
        }
        let rollup = reader.names.rollups.entry(target).or_default();
        for domain in domains {
            rollup.matches.extend(entries(&domain).into_iter().map(|entry| (entry, to.id)));
            rollup.domains.extend(routed(&domain));
        }
        reader.out.ledger.translated(to.id);
        reader.out.ledger.translated(block.id);
    }
    let lists = ["<mx-rollup-list", "<rollup", "<mx-rollup", "<domain-rollup-list"];
    for block in tree.iter().filter(|node| lists.contains(&node.name.as_str())) {
        reader.out.ledger.translated(block.id);
        for entry in &block.children {
            rollup_entry(reader, block, entry);
        }
    }
    for (name, rollup) in reader.names.rollups.clone() {
        let mut matches: Vec<String> = rollup.matches.iter().map(|(one, _)| one.clone()).collect();
        matches.dedup();
        let from: Vec<Id> = rollup.matches.iter().map(|(_, id)| *id).collect();
        if matches.len() > limits::SHAPING_MATCHES_MAX {
            from.iter().for_each(|id| reader.out.ledger.differs(*id, "only the first 256 of these"));
            matches.truncate(limits::SHAPING_MATCHES_MAX);
        }
        let head = format!("[provider.{}]", quoted(&name));
        let value = format!("[{}]", matches.join(", "));
        let mut from = from;
        from.dedup();
        reader.out.shaping.set(&head, "match", &value, &from);
    }
}

/// A domain, all below it, or both, as a provider knows them.
fn entries(domain: &str) -> Vec<String> {
    let exact = |name: &str| format!("{{ Domain = {} }}", quoted(name));
    let below = |name: &str| format!("{{ DomainSuffix = {} }}", quoted(&format!(".{name}")));
    if let Some(name) = domain.strip_prefix("[*.]") {
        return vec![exact(name), below(name)];
    }
    match domain.strip_prefix('*') {
        Some(name) => vec![below(name.trim_start_matches('.'))],
        None => vec![exact(domain)],
    }
}

fn rollup_entry(reader: &mut Reader<'_, '_>, block: &Node, entry: &Node) {
    let words = entry.words();
    let by_name =
        block.is("<rollup").then(|| block.value.to_ascii_lowercase()).filter(|name| !name.is_empty());
    let (Some(what), Some(queue)) =
        (words.first(), words.get(1).map(|word| word.to_ascii_lowercase()).or(by_name))
    else {
        return reader.out.ledger.none(entry.id, "an entry has a pattern and a queue");
    };
    let inner = what.trim_matches('/').replace("\\.", ".");
    let plain =
        inner.trim_start_matches('^').trim_end_matches('$').trim_start_matches(".*").to_ascii_lowercase();
    // A pattern is looked for anywhere in a name, unless it says where it begins.
    let is_end = what.starts_with('/') && (!inner.starts_with('^') || inner.starts_with("^.*"));
    let found = match entry.name.as_str() {
        "mx" => match plain.strip_prefix('*') {
            Some(suffix) => vec![format!("{{ MXSuffix = {} }}", quoted(suffix))],
            None if is_end || plain.starts_with('.') => vec![format!("{{ MXSuffix = {} }}", quoted(&plain))],
            None => vec![format!("{{ HostName = {} }}", quoted(&plain))],
        },
        "domain" if plain.starts_with('.') => entries(&format!("*{plain}")),
        "domain" if is_end => vec![format!("{{ DomainSuffix = {} }}", quoted(&plain))],
        "domain" => entries(&plain),
        _ => Vec::new(),
    };
    let rest = plain.strip_prefix("[*.]").or_else(|| plain.strip_prefix('*')).unwrap_or(&plain);
    if found.is_empty() || rest.contains(['(', '|', '?', '+', '\\', '[', ']', '*']) {
        let words = "a provider is known by how names end, MXSuffix or DomainSuffix, or by HostName or Domain: write an entry of match for each that is meant";
        return reader.out.ledger.none(entry.id, words);
    }
    let rollup = reader.names.rollups.entry(queue).or_default();
    rollup.matches.extend(found.into_iter().map(|found| (found, entry.id)));
    reader.out.ledger.translated(entry.id);
}

/// Where what a `<domain>` says goes.
pub(super) fn spots(reader: &mut Reader<'_, '_>, name: &str) -> Vec<Spot> {
    let spot = |base: String, shared: bool, domains: Vec<String>| Spot {
        base,
        shared,
        domains,
        matches: Vec::new(),
    };
    if name == "*" {
        return vec![spot(quoted("default"), false, vec!["*".to_owned()])];
    }
    if name.contains(char::is_whitespace) {
        let names = name.split_whitespace().take(limits::IMPORT_LIST_MAX);
        return names.flat_map(|one| spots(reader, one)).collect();
    }
    if let Some(rollup) = reader.names.rollups.get(&name.to_ascii_lowercase()) {
        let base = format!("provider.{}", quoted(&name.to_ascii_lowercase()));
        return vec![spot(base, true, rollup.domains.clone())];
    }
    let all = reader.names.domains(name, &mut reader.out.ledger);
    if let Some(called) = name.strip_prefix('$').filter(|_| all.len() > 1) {
        let matches: Vec<String> = all.iter().flat_map(|domain| entries(domain)).collect();
        let called = called.to_ascii_lowercase();
        if matches.len() <= limits::SHAPING_MATCHES_MAX && !reader.names.rollups.contains_key(&called) {
            let domains = all.iter().flat_map(|domain| routed(domain)).collect();
            return vec![Spot { matches, ..spot(format!("provider.{}", quoted(&called)), false, domains) }];
        }
    }
    let mut spots = Vec::new();
    for domain in all {
        let bare = domain.strip_prefix("[*.]");
        let below = bare.or_else(|| domain.strip_prefix("*."));
        let exact = bare.or(below.is_none().then_some(domain.as_str()));
        if let Some(exact) = exact.filter(|exact| is_domain(exact)) {
            spots.push(spot(quoted(exact), false, vec![exact.to_owned()]));
        }
        if let Some(below) = below.filter(|below| is_domain(below)) {
            let name = format!("below {below}");
            let matches = vec![format!("{{ DomainSuffix = {} }}", quoted(&format!(".{below}")))];
            let below = spot(format!("provider.{}", quoted(&name)), false, vec![format!("*.{below}")]);
            spots.push(Spot { matches, ..below });
        }
    }
    spots
}

/// A provider is there where something is said of it.
pub(super) fn declare(reader: &mut Reader<'_, '_>, spot: &Spot) {
    if !spot.matches.is_empty() {
        let value = format!("[{}]", spot.matches.join(", "));
        reader.out.shaping.set(&format!("[{}]", spot.base), "match", &value, &[]);
    }
}

/// As routes have it.
fn routed(domain: &str) -> Vec<String> {
    match domain.strip_prefix("[*.]") {
        Some(below) => vec![below.to_owned(), format!("*.{below}")],
        None => vec![domain.to_owned()],
    }
}
