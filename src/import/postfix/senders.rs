//! By which address mail leaves, and what follows from its sender; TLS towards next hops.

use super::hops::Target;
use super::parameters::items;
use super::reader::Reader;
use crate::import::words::{self, list, quoted};
use crate::import::{Id, ImportError};

/// Levels of TLS: of a route, and of shaping files.
const LEVELS: [(&str, &str, &str); 8] = [
    ("none", "off", "Disabled"),
    ("may", "opportunistic", "OpportunisticInsecure"),
    ("encrypt", "require", "RequiredInsecure"),
    ("fingerprint", "verify", "Required"),
    ("verify", "verify", "Required"),
    ("secure", "verify", "Required"),
    ("dane", "opportunistic", "OpportunisticInsecure"),
    ("dane-only", "require", "RequiredInsecure"),
];

fn level(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.trim();
    LEVELS.iter().find(|(known, _, _)| *known == name).map(|(_, route, site)| (*route, *site))
}

pub(super) fn senders(reader: &mut Reader<'_, '_>) -> Result<(), ImportError> {
    own_address(reader);
    if let Some((value, id)) = reader.main.get("sender_dependent_default_transport_maps") {
        for entry in super::maps::entries(reader, &value, id, false)? {
            let (target, client) = super::hops::target(reader, &entry.value);
            let pool = client.and_then(|at| source_of(reader, at));
            let sender = sender_pattern(&entry.key);
            match (pool, target, sender) {
                (Some(pool), Target::Mx, Some(sender)) => {
                    let section = reader.out.relevo.push("[[rule]]", &[]);
                    section.set("match", &format!("{{ sender = {} }}", quoted(&sender)), &[entry.id]);
                    section.set("set", &format!("{{ pool = {} }}", quoted(&pool)), &[entry.id]);
                    reader.out.ledger.translated(entry.id);
                    if reader.main.get("transport_maps").is_some_and(|one| !one.0.is_empty()) {
                        let words = "the rule is for mail to anybody, where Postfix has a transport of transport_maps stand over it: write another below it for those domains (match.recipient)";
                        reader.out.ledger.differs(entry.id, words);
                    }
                }
                _ => {
                    let words = "routes go by the recipient's domain; by sender a [[rule]] can choose a pool: sources, and their proxies";
                    reader.out.ledger.none(entry.id, words);
                }
            }
        }
    }
    if let Some((value, id)) = reader.main.get("sender_dependent_relayhost_maps") {
        let usual =
            reader.main.get("relayhost").map(|(value, _)| value.to_ascii_lowercase()).unwrap_or_default();
        for entry in super::maps::entries(reader, &value, id, false)? {
            let host = entry.value.to_ascii_lowercase();
            if host == usual || host == "dunno" {
                reader.out.ledger.usual(entry.id, "it goes where all mail goes");
                continue;
            }
            let to = super::hops::hop(&entry.value)
                .map_or_else(|| "smtp://host:port".to_owned(), |hop| hop.url("smtp"));
            let words = format!(
                "routes go by the recipient's domain, not by the sender: hand this sender's mail to a relevo of its own whose [[route]] has domain = \"*\", to = {}{}",
                quoted(&to),
                if logs_in(reader) { " and credentials" } else { "" }
            );
            reader.out.ledger.none(entry.id, &words);
        }
    }
    Ok(())
}

fn logs_in(reader: &Reader<'_, '_>) -> bool {
    reader.main.get("smtp_sasl_auth_enable").is_some_and(|(value, _)| words::yes(&value))
}

/// `smtp_bind_address`, or several clients in turn.
fn own_address(reader: &mut Reader<'_, '_>) {
    let mut from = Vec::new();
    let mut lines = Vec::new();
    for (name, key) in
        [("smtp_bind_address", "address"), ("smtp_bind_address6", "address6"), ("smtp_helo_name", "ehlo")]
    {
        if let Some((value, id)) = reader.main.get(name).filter(|one| !one.0.is_empty()) {
            lines.push((key, quoted(value.trim_matches(['[', ']'])), id));
            from.push(id);
        }
    }
    if !lines.is_empty() {
        let section = reader.out.relevo.push("[[source]]", &[]);
        section.set("name", &quoted("main"), &[]);
        for (key, value, id) in lines {
            section.set(key, &value, &[id]);
            reader.out.ledger.translated(id);
        }
        reader.out.relevo.set("[delivery]", "pool", &quoted("main"), &from);
    }
    let Some((value, id)) = reader.main.get("default_transport") else { return };
    if let Some(names) = value.strip_prefix("randmap:{").and_then(|rest| rest.strip_suffix('}')) {
        let clients: Vec<usize> = items(names)
            .iter()
            .filter_map(|name| super::hops::client(reader, name.split(':').next().unwrap_or_default()))
            .collect();
        let sources: Vec<String> = clients.into_iter().filter_map(|at| source_of(reader, at)).collect();
        if sources.is_empty() {
            return reader.out.ledger.none(id, "none of these clients has an address of its own");
        }
        let section = reader.out.relevo.push("[[pool]]", &[]);
        section.set("name", &quoted("rotation"), &[id]);
        section.set("sources", &list(&sources), &[id]);
        reader.out.relevo.set("[delivery]", "pool", &quoted("rotation"), &[id]);
        reader.out.ledger.differs(id, "a message stays with its source for its retries");
    } else if let Some(source) =
        super::hops::client(reader, value.trim_end_matches(':')).and_then(|at| source_of(reader, at))
    {
        reader.out.relevo.set("[delivery]", "pool", &quoted(&source), &[id]);
        reader.out.ledger.translated(id);
    } else if !reader.out.ledger.is_marked(id) {
        reader.out.ledger.usual(id, "by SMTP to the MX");
    }
}

/// The source of a client of master.cf that has an address or a name of its own; it is made when it is asked for first.
pub(super) fn source_of(reader: &mut Reader<'_, '_>, at: usize) -> Option<String> {
    let service = &reader.services[at];
    let name = words::name(&service.name);
    let mut lines = Vec::new();
    for (option, key) in [
        ("smtp_bind_address", "address"),
        ("smtp_bind_address6", "address6"),
        ("smtp_helo_name", "ehlo"),
        ("myhostname", "ehlo"),
    ] {
        if let Some(one) = service.options.get(option) {
            lines.push((key, quoted(reader.main.expand(&one.value).trim_matches(['[', ']'])), one.id));
        }
    }
    if lines.is_empty() {
        return None;
    }
    let id: Vec<Id> = service.id.into_iter().collect();
    if reader
        .out
        .relevo
        .sections
        .iter()
        .any(|one| one.head == "[[source]]" && one.value("name") == Some(&quoted(&name)))
    {
        return Some(name);
    }
    let section = reader.out.relevo.push("[[source]]", &[]);
    section.set("name", &quoted(&name), &id);
    id.iter().for_each(|id| reader.out.ledger.translated(*id));
    for (key, value, id) in lines {
        section.set(key, &value, &[id]);
        reader.out.ledger.translated(id);
    }
    Some(name)
}

/// The level of TLS that a client says for itself.
pub(super) fn own_level(reader: &mut Reader<'_, '_>, at: usize) -> Option<(&'static str, Id)> {
    let one = reader.services[at].options.get("smtp_tls_security_level")?;
    let (route, _) = level(&reader.main.expand(&one.value))?;
    reader.out.ledger.translated(one.id);
    Some((route, one.id))
}

/// That of all mail.
pub(super) fn tls_level(reader: &mut Reader<'_, '_>) {
    if let Some((value, id)) = reader.main.get("smtp_tls_wrappermode") {
        match words::yes(&value) {
            true => reader.out.ledger.usual(id, "routes to hosts begin with smtps://"),
            false => reader.out.ledger.usual(id, "STARTTLS, as routes have it"),
        }
    }
    if let (Some(_), Some((_, id))) =
        (reader.main.get("smtp_tls_security_level"), reader.main.get("smtp_use_tls"))
    {
        reader.out.ledger.usual(id, "smtp_tls_security_level overrules it");
    }
    let old = |main: &super::parameters::Parameters| {
        let forced = main
            .get("smtp_enforce_tls")
            .filter(|(value, _)| words::yes(value))
            .map(|(_, id)| ("encrypt".to_owned(), id));
        forced.or_else(|| {
            main.get("smtp_use_tls")
                .map(|(value, id)| (if words::yes(&value) { "may" } else { "none" }.to_owned(), id))
        })
    };
    let Some((value, id)) = reader.main.get("smtp_tls_security_level").or_else(|| old(&reader.main)) else {
        return;
    };
    if value.is_empty() {
        return reader.out.ledger.usual(id, "TLS where it is offered is the default here");
    }
    let Some((_, site)) = level(&value) else {
        return reader.out.ledger.none(id, "no level that is known");
    };
    match value.trim() {
        "may" => reader.out.ledger.usual(id, "TLS where it is offered is the default here"),
        "dane" => reader
            .out
            .ledger
            .usual(id, "TLS where it is offered, and DANE ([tls] dane = true), are the default here"),
        other => {
            reader.out.shaping.set("[\"default\"]", "enable_tls", &quoted(site), &[id]);
            match other {
                "fingerprint" | "dane-only" => reader.out.ledger.differs(id, "no certificate is known by its fingerprint here: authorities are asked, and DANE where the domain has it"),
                _ => reader.out.ledger.translated(id),
            }
        }
    }
}

/// `smtp_tls_policy_maps`
pub(super) fn tls_policies(reader: &mut Reader<'_, '_>) -> Result<(), ImportError> {
    let Some((value, id)) = reader.main.get("smtp_tls_policy_maps") else { return Ok(()) };
    for entry in super::maps::entries(reader, &value, id, false)? {
        let word = entry.value.split_whitespace().next().unwrap_or_default();
        let hop = super::hops::hop(entry.key.trim_start_matches('.'));
        let below = entry.key.strip_prefix('.').filter(|below| words::is_domain(below));
        let (Some((_, site)), Some(hop)) = (level(word), hop) else {
            reader.out.ledger.none(
                entry.id,
                "no domain or no level that is known: write enable_tls into a section of shaping.toml",
            );
            continue;
        };
        let head = match below {
            Some(below) => below_head(reader, below),
            None => format!("[{}]", quoted(&hop.host)),
        };
        reader.out.shaping.set(&head, "enable_tls", &quoted(site), &[entry.id]);
        match entry.value.split_whitespace().nth(1).is_some() || matches!(word, "fingerprint" | "dane-only") {
            true => reader.out.ledger.differs(entry.id, "names, fingerprints, protocols and DANE alone have no equivalent there: the certificate is held against the host's name, or is any where none is verified"),
            false => reader.out.ledger.translated(entry.id),
        }
    }
    Ok(())
}

/// The section of a provider that knows all names below a domain.
pub(super) fn below_head(reader: &mut Reader<'_, '_>, below: &str) -> String {
    let head = format!("[provider.{}]", quoted(&format!("below {below}")));
    let value = format!("[{{ DomainSuffix = {} }}]", quoted(&format!(".{below}")));
    reader.out.shaping.set(&head, "match", &value, &[]);
    head
}

/// A sender as rules match it.
fn sender_pattern(key: &str) -> Option<String> {
    match key {
        "*" => Some("*".to_owned()),
        "<>" => Some("<>".to_owned()),
        key if key.starts_with('@') && words::is_domain(&key[1..]) => Some(key.to_owned()),
        key if key.contains('@') => Some(key.to_owned()),
        key if words::is_domain(key) => Some(format!("@{key}")),
        _ => None,
    }
}
