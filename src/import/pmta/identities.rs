//! Virtual MTAs and pools, and those that are being warmed up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::parse::Node;
use super::reader::Reader;
use crate::import::Id;
use crate::import::words::{self, quoted};
use crate::limits;

/// A virtual MTA's address, with its name in EHLO.
struct Address {
    ip: IpAddr,
    ehlo: Option<String>,
    id: Id,
}

pub(super) fn identities(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    let own = self::addresses(reader, tree);
    if !own.is_empty() {
        let sources = sources_of(reader, "main", &own, None);
        let pool =
            if sources.len() > 1 { self::pool(reader, "main", &sources, &[]) } else { "main".to_owned() };
        let from: Vec<Id> = own.iter().map(|one| one.id).collect();
        reader.out.relevo.set("[delivery]", "pool", &quoted(&pool), &from);
    }
    for node in tree.iter().filter(|node| matches!(node.name.as_str(), "<virtual-mta" | "<cold-virtual-mta"))
    {
        virtual_mta(reader, tree, node);
    }
    for node in tree.iter().filter(|node| node.is("<virtual-mta-pool")) {
        virtual_pool(reader, node);
    }
}

/// `smtp-source-host`: addresses, then a name; it may be there several times.
fn addresses(reader: &mut Reader<'_, '_>, nodes: &[Node]) -> Vec<Address> {
    let mut found = Vec::new();
    for node in
        nodes.iter().filter(|node| matches!(node.name.as_str(), "smtp-source-host" | "smtp-source-ip"))
    {
        let mut ips = Vec::new();
        let mut ehlo = None;
        for word in node.words() {
            let word = word.trim_matches('"');
            match word.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(ip) => ips.push(ip),
                Err(_) if words::is_domain(word) => ehlo = Some(word.to_owned()),
                Err(_) => {}
            }
        }
        if ips.is_empty() {
            reader.out.ledger.none(node.id, "no address in it: give the [[source]] one");
            continue;
        }
        reader.out.ledger.translated(node.id);
        found.extend(ips.into_iter().map(|ip| Address { ip, ehlo: ehlo.clone(), id: node.id }));
    }
    found
}

/// A source for each IPv4 address, IPv6 addresses beside them.
fn sources_of(
    reader: &mut Reader<'_, '_>,
    name: &str,
    addresses: &[Address],
    whole: Option<(Id, Option<(&str, Id)>)>,
) -> Vec<String> {
    let four: Vec<&Address> = addresses.iter().filter(|one| one.ip.is_ipv4()).collect();
    let six: Vec<&Address> = addresses.iter().filter(|one| one.ip.is_ipv6()).collect();
    let count = four.len().max(six.len()).max(1);
    let mut made = Vec::new();
    for at in 0..count {
        let own = match count {
            1 => words::name(name),
            _ => words::name(&format!("{}-{}", &name.chars().take(56).collect::<String>(), at + 1)),
        };
        let head: Vec<Id> = whole.iter().map(|one| one.0).collect();
        let section = reader.out.relevo.push("[[source]]", &head);
        section.set("name", &quoted(&own), &[]);
        let (four, six) = (four.get(at), six.get(at));
        if let Some(one) = four {
            section.set("address", &quoted(&one.ip.to_string()), &[one.id]);
        }
        if let Some(one) = six {
            section.set("address6", &quoted(&one.ip.to_string()), &[one.id]);
        }
        let by_host = four.or(six).and_then(|one| Some((one.ehlo.clone()?, one.id)));
        let by_name = whole.and_then(|one| one.1).map(|(name, id)| (name.to_owned(), id));
        if let Some((ehlo, id)) = by_name.or(by_host) {
            section.set("ehlo", &quoted(&ehlo), &[id]);
        }
        let both = four.into_iter().chain(six).map(|one| one.ip).collect();
        reader.addresses.insert(own.clone(), both);
        made.push(own);
    }
    reader.call(name, made.clone());
    made
}

fn pool(reader: &mut Reader<'_, '_>, name: &str, sources: &[String], from: &[Id]) -> String {
    let name = words::name(name);
    let section = reader.out.relevo.push("[[pool]]", from);
    section.set("name", &quoted(&name), &[]);
    section.set("sources", &words::list(sources), &[]);
    name
}

fn virtual_mta(reader: &mut Reader<'_, '_>, tree: &[Node], node: &Node) {
    let name = node.value.as_str();
    if name.is_empty() {
        return reader.out.ledger.none(node.id, "it has no name");
    }
    match words::name(name) == name {
        true => reader.out.ledger.translated(node.id),
        false => reader.out.ledger.differs(node.id, "names have letters, digits, dots, hyphens and underscores: X-Virtual-MTA must name it as it is called here"),
    }
    let addresses = self::addresses(reader, &node.children);
    let ehlo = node.last("host-name").map(|one| (one.value.clone(), one.id));
    if let Some((_, id)) = &ehlo {
        reader.out.ledger.translated(*id);
    }
    let whole = Some((node.id, ehlo.as_ref().map(|(name, id)| (name.as_str(), *id))));
    let cold = cold_of(reader, tree, node);
    let base = if cold.is_some() { format!("{name}-warm") } else { name.to_owned() };
    let sources = sources_of(reader, &base, &addresses, whole);
    if addresses.is_empty() {
        reader
            .out
            .ledger
            .differs(node.id, "without smtp-source-host: it leaves by whatever address the machine chooses");
    }
    if let Some((cold, id)) = cold {
        let limit = limit_of(reader, tree, node);
        warming(reader, name, (&cold, id), &sources, (node, limit));
    } else if sources.len() > 1 {
        self::pool(reader, name, &sources, &[node.id]);
    }
    reader.call(name, sources);
}

/// How much goes by the cold source of a virtual MTA: what it says itself, else what is said of all mail, else of any domain.
fn limit_of(reader: &Reader<'_, '_>, tree: &[Node], node: &Node) -> Option<Node> {
    let limit = |one: &'_ Node| one.last("max-cold-virtual-mta-msg").cloned();
    let domains = |all: &[Node], all_mail: bool| {
        let mut domains = all.iter().filter(|one| one.is("<domain") && (one.value == "*") == all_mail);
        domains.find_map(limit)
    };
    let found = domains(&node.children, true).or_else(|| limit(node));
    let found =
        found.or_else(|| reader.defaults.iter().find_map(limit)).or_else(|| domains(&node.children, false));
    found.or_else(|| domains(tree, false)).filter(|one| !one.value.trim_start().starts_with("0"))
}

/// The source that a virtual MTA warms up: one that it names, or has an address of, or that is called as it is.
fn cold_of(reader: &mut Reader<'_, '_>, tree: &[Node], node: &Node) -> Option<(String, Id)> {
    if limit_of(reader, tree, node).is_none() {
        if let Some(one) = node.last("auto-cold-virtual-mta").or_else(|| node.last("cold-virtual-mta")) {
            let words = "without max-cold-virtual-mta-msg nothing goes by it; a [[warmup]] with plan = \"standard\" warms a source up (docs/warmup.md)";
            reader.out.ledger.usual(one.id, words);
        }
        return None;
    }
    if let Some(one) = node.last("auto-cold-virtual-mta") {
        let text = Node { name: "smtp-source-host".to_owned(), ..one.clone() };
        let addresses = self::addresses(reader, &[text]);
        let name = format!("{}-cold", node.value);
        sources_of(reader, &name, &addresses, None);
        return Some((words::name(&name), one.id));
    }
    let named = node.last("cold-virtual-mta").map(|one| (one.value.clone(), one.id));
    let called = format!("{}-cold", node.value);
    let is_it = |other: &&Node| {
        other.value == called && matches!(other.name.as_str(), "<virtual-mta" | "<cold-virtual-mta")
    };
    let found = named.or_else(|| tree.iter().find(is_it).map(|other| (called.clone(), other.id)));
    let (name, id) = found?;
    let is_there = |other: &Node| {
        other.value == name && matches!(other.name.as_str(), "<virtual-mta" | "<cold-virtual-mta")
    };
    if !tree.iter().any(is_there) {
        reader.out.ledger.none(id, "there is no virtual MTA of this name");
        return None;
    }
    Some((words::name(&name), id))
}

/// A pool whose cold source has so many messages a day, and the warm ones the rest.
fn warming(
    reader: &mut Reader<'_, '_>,
    name: &str,
    (cold, id): (&str, Id),
    warm: &[String],
    (node, limit): (&Node, Option<Node>),
) {
    reader.cold.insert(name.to_owned(), cold.to_owned());
    let warm: Vec<String> =
        warm.iter().map(|one| format!("{{ source = {}, weight = 1 }}", quoted(one))).collect();
    let members = format!("[{{ source = {}, weight = 100 }}, {}]", quoted(cold), warm.join(", "));
    let section = reader.out.relevo.push("[[pool]]", &[node.id]);
    section.set("name", &quoted(&words::name(name)), &[]);
    section.set("sources", &members, &[id]);
    let days: Vec<u64> = limit
        .iter()
        .flat_map(|one| one.words())
        .filter_map(|word| word.split('/').next()?.parse().ok())
        .filter(|count| *count > 0)
        .take(limits::IMPORT_DAYS_MAX)
        .collect();
    let from: Vec<Id> = limit.iter().map(|one| one.id).chain([id]).collect();
    let plan = match days[..] {
        [] => quoted("standard"),
        [one] => format!(
            "[{{ day = 1, per_provider = \"{one}/d\" }}, {{ day = {last}, per_provider = \"{one}/d\" }}]",
            last = limits::WARMUP_DAY_MAX
        ),
        _ => {
            let each = days
                .iter()
                .enumerate()
                .map(|(at, count)| format!("{{ day = {}, per_provider = \"{count}/d\" }}", at + 1));
            format!("[{}]", each.collect::<Vec<_>>().join(", "))
        }
    };
    let section = reader.out.relevo.push("[[warmup]]", &[id]);
    section.set("source", &quoted(cold), &[]);
    section.set("start", &reader.terms.today, &[]);
    section.set("plan", &plan, &from);
    let words = match days[..] {
        [_] => {
            "so many a day to each provider, for two years from today, where PowerMTA has no end; plan = \"standard\" grows by itself (docs/warmup.md)"
        }
        _ => {
            "a plan of [[warmup]], from today, counted by provider; behind its last day the source is warm (docs/warmup.md)"
        }
    };
    from.iter().for_each(|id| reader.out.ledger.differs(*id, words));
}

/// So small that shares of a pool stay whole numbers; where it would not be small, shares are about right.
fn least_common(one: u64, other: u64) -> u64 {
    let (mut a, mut b) = (one, other);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    let least = one / a * other;
    if least <= limits::IMPORT_SHARES_MAX { least } else { one }
}

fn virtual_pool(reader: &mut Reader<'_, '_>, node: &Node) {
    let mut members: BTreeMap<String, u64> = BTreeMap::new();
    let mut asked: Vec<(String, u64)> = Vec::new();
    let mut from = vec![node.id];
    for child in
        node.children.iter().filter(|child| matches!(child.name.as_str(), "virtual-mta" | "virtual-mta-list"))
    {
        let whole = reader.known(&child.value);
        let words: Vec<String> = match &whole {
            Some(name) => vec![name.clone()],
            None => child.words().iter().map(|word| (*word).to_owned()).collect(),
        };
        for word in words {
            if word.contains('=') || (whole.is_none() && word.parse::<u64>().is_ok()) {
                continue;
            }
            let weight = child
                .words()
                .iter()
                .find_map(|word| word.trim_start_matches("weight=").parse().ok())
                .unwrap_or(1u64);
            match reader.known(&word).filter(|name| *name != node.value) {
                Some(name) => {
                    asked.push((name, weight));
                    reader.out.ledger.translated(child.id);
                    from.push(child.id);
                }
                None => reader.out.ledger.none(child.id, "there is no virtual MTA of this name"),
            }
        }
    }
    // Each virtual MTA has its share, however many sources it has.
    let counts =
        asked.iter().filter_map(|(name, _)| reader.sources.get(name)).map(|sources| sources.len() as u64);
    let scale = counts.fold(1u64, |scale, count| least_common(scale, count.max(1)));
    for (name, weight) in asked {
        let sources = reader.sources.get(&name).cloned().unwrap_or_default();
        let share = (weight * scale / sources.len().max(1) as u64).clamp(1, limits::SOURCE_WEIGHT_MAX);
        members.extend(sources.into_iter().map(|source| (source, share)));
        if let Some(cold) = reader.cold.get(&name) {
            // It is to have its volume before the others have theirs.
            members.insert(cold.clone(), (share * 100).min(limits::SOURCE_WEIGHT_MAX));
        }
    }
    if members.is_empty() {
        return reader.out.ledger.none(node.id, "no virtual MTA is in it");
    }
    if members.len() > limits::POOL_SOURCES_MAX {
        reader.out.ledger.differs(node.id, "a pool has at most 256 sources here: split it");
    }
    let list: Vec<String> = members
        .iter()
        .take(limits::POOL_SOURCES_MAX)
        .map(|(source, weight)| match weight {
            1 => quoted(source),
            weight => format!("{{ source = {}, weight = {weight} }}", quoted(source)),
        })
        .collect();
    let section = reader.out.relevo.push("[[pool]]", &[node.id]);
    section.set("name", &quoted(&words::name(&node.value)), &[]);
    section.set("sources", &format!("[{}]", list.join(", ")), &from[1..]);
    reader.out.ledger.translated(node.id);
    reader.call(&node.value, members.into_keys().collect());
}
