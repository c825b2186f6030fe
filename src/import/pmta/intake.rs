//! Who may send: listeners and `<source>`.

use super::parse::Node;
use super::reader::Reader;
use super::values::{bytes, network};
use crate::import::Id;
use crate::import::library::Missing;
use crate::import::words::{self, list, quoted};
use crate::limits;

/// What all listeners have.
#[derive(Default)]
pub(super) struct Intake {
    pub lines: Vec<(&'static str, String, Vec<Id>)>,
    pub has_certificate: bool,
}

pub(super) fn intake(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    let sources: Vec<&Node> = tree.iter().filter(|node| node.is("<source")).collect();
    let mut intake = Intake::default();
    self::relaying(reader, tree, &sources, &mut intake);
    relay_domains(reader, tree, &mut intake);
    sizes(reader, tree, &sources, &mut intake);
    merges(reader, tree, &sources, &mut intake);
    self::certificate(reader, tree, &mut intake);
    super::clients::accounts(reader, tree, &sources, intake.has_certificate);
    let mut by_width = sources.clone();
    // Of two as wide the first one holds.
    by_width.reverse();
    by_width.sort_by_key(|source| narrowness(source));
    for source in by_width {
        self::source(reader, source, tree);
    }
    duties(reader, &sources, &mut intake);
    self::listeners(reader, tree, &intake);
}

fn relaying(reader: &mut Reader<'_, '_>, tree: &[Node], sources: &[&Node], intake: &mut Intake) {
    let (mut networks, mut from) = (Vec::new(), Vec::new());
    for source in sources {
        reader.out.ledger.translated(source.id);
        let Some(one) = source.last("always-allow-relaying") else { continue };
        let is_named = tree.iter().any(|node| {
            node.is("<smtp-user") && node.last("source").is_some_and(|one| one.value == source.value)
        });
        if source.value.starts_with('{') || is_named {
            reader
                .out
                .ledger
                .usual(one.id, "who has logged in may relay; what comes without SMTP has no networks");
            continue;
        }
        if let Some(auth) = source.last("require-auth").filter(|auth| words::yes(&auth.value)) {
            reader.out.ledger.usual(one.id, "who has logged in may relay, and nobody else from there");
            reader.out.ledger.usual(auth.id, "its network is not in relay_from");
            continue;
        }
        if !words::yes(&one.value) {
            reader.out.ledger.usual(one.id, "who is not in relay_from may not");
            continue;
        }
        match network(&source.value) {
            Some(network) => {
                if network == "0.0.0.0/0" || network == "::/0" {
                    reader.out.ledger.differs(one.id, "OPEN RELAY: everybody who reaches the port may send to anybody; write your own networks");
                } else {
                    reader.out.ledger.translated(one.id);
                }
                if !networks.contains(&network) {
                    networks.push(network);
                }
                from.push(one.id);
            }
            None => reader.out.ledger.none(one.id, "relay_from has addresses and networks alone"),
        }
    }
    // Unsaid it would be this machine itself, which PowerMTA lets relay only where a source says so.
    if networks.is_empty() {
        let words = "No <source> lets a network relay, so relay_from = []: who sends logs in, or sends to relay_to alone.";
        reader.out.notes.push(words.to_owned());
    }
    intake.lines.push(("relay_from", list(&networks), from));
}

fn relay_domains(reader: &mut Reader<'_, '_>, tree: &[Node], intake: &mut Intake) {
    let (mut domains, mut from) = (Vec::new(), Vec::new());
    for node in tree.iter().filter(|node| node.is("relay-domain")) {
        for word in node.words() {
            for domain in reader.names.domains(word, &mut reader.out.ledger) {
                match domain.strip_prefix("[*.]") {
                    Some(below) => domains.extend([below.to_owned(), format!("*.{below}")]),
                    None => domains.push(domain),
                }
            }
        }
        reader.out.ledger.translated(node.id);
        from.push(node.id);
    }
    domains.sort();
    domains.dedup();
    domains.retain(|domain| crate::config::value::pattern(domain).is_ok());
    if !domains.is_empty() {
        intake.lines.push(("relay_to", list(&domains), from));
    }
}

/// The largest that any source may send: a listener has one bound.
fn sizes(reader: &mut Reader<'_, '_>, tree: &[Node], sources: &[&Node], intake: &mut Intake) {
    let of = |name: &str| -> Vec<Node> {
        let own = sources.iter().flat_map(|source| &source.children).chain(tree);
        own.filter(|node| node.name == name).cloned().collect()
    };
    let all = of("max-message-size");
    let most = all.iter().map(|node| match bytes(&node.value) {
        Some(0) | None => limits::MESSAGE_SIZE_MOST,
        Some(size) => size.clamp(limits::MESSAGE_SIZE_LEAST, limits::MESSAGE_SIZE_MOST),
    });
    if let Some(most) = most.max() {
        intake.lines.push(("message_size_max", most.to_string(), all.iter().map(|one| one.id).collect()));
        let words = "one bound for all clients of a listener, the largest that was said; 2 GiB at most";
        let several = all.len() > 1 || most == limits::MESSAGE_SIZE_MOST;
        all.iter().for_each(|one| {
            if several {
                reader.out.ledger.differs(one.id, words)
            } else {
                reader.out.ledger.translated(one.id)
            }
        });
    }
    let all: Vec<Node> =
        of("max-rcpt-per-message").into_iter().filter(|node| !reader.out.ledger.is_marked(node.id)).collect();
    if let Some(most) =
        all.iter().filter_map(|node| node.value.parse::<u64>().ok().filter(|count| *count > 0)).max()
    {
        let kept = most.clamp(limits::RECIPIENTS_LEAST, limits::RECIPIENTS_MAX as u64);
        intake.lines.push(("recipients_max", kept.to_string(), all.iter().map(|one| one.id).collect()));
        all.iter().for_each(|one| {
            reader.out.ledger.differs(one.id, "of a transaction, at most 1000; of all clients of a listener")
        });
    }
    for one in of("max-smtp-connections").iter().chain(&of("max-smtp-in")) {
        match one.value.parse::<u64>() {
            Ok(count) if count > 0 => {
                intake.lines.push(("connections_max", count.to_string(), vec![one.id]));
                reader.out.ledger.differs(one.id, "of each listener");
            }
            _ => reader.out.ledger.usual(one.id, "connections_max, 30000, holds"),
        }
    }
}

/// Whether any source may merge: a listener takes merges of all its clients that may relay.
fn merges(reader: &mut Reader<'_, '_>, tree: &[Node], sources: &[&Node], intake: &mut Intake) {
    let own = sources.iter().flat_map(|source| &source.children).chain(tree);
    let all: Vec<Id> = own
        .filter(|node| node.is("allow-mailmerge") && words::yes(&node.value))
        .map(|node| node.id)
        .collect();
    all.iter().for_each(|id| reader.out.ledger.translated(*id));
    if !all.is_empty() {
        intake.lines.push(("merge", "true".to_owned(), all));
    }
}

fn certificate(reader: &mut Reader<'_, '_>, tree: &[Node], intake: &mut Intake) {
    let Some(node) = tree.iter().rev().find(|node| node.is("smtp-server-tls-certificate")) else {
        return;
    };
    let path = node.words().first().map(|word| word.trim_matches('"').to_owned()).unwrap_or_default();
    match reader.library.text(&path) {
        Ok(_) => {
            intake.lines.push(("tls_certificate", quoted(&path), vec![node.id]));
            intake.lines.push(("tls_key", quoted(&path), vec![node.id]));
            intake.has_certificate = true;
            match node.words().len() > 1 {
                true => reader.out.ledger.differs(
                    node.id,
                    "a key under a password is not read: openssl pkey -in FILE -out KEY makes one without",
                ),
                false => reader.out.ledger.translated(node.id),
            }
        }
        Err(Missing::Unread(why)) => {
            let words =
                format!("{path} cannot be read here ({why}): set tls_certificate and tls_key where it can");
            reader.out.ledger.none(node.id, &words);
        }
        Err(Missing::Broken(error)) => reader.out.ledger.none(node.id, &error.to_string()),
    }
}

/// Whose messages a source is about, as rules match them: accounts that name it, or its network; empty: everybody's. None: those of nobody who
/// comes by SMTP.
pub(super) fn whose(source: &Node, tree: &[Node]) -> Option<Vec<String>> {
    if source.is("<smtp-user") {
        return Some(vec![format!("account = {}", quoted(&source.value))]);
    }
    let names = |node: &&Node| {
        node.is("<smtp-user") && node.last("source").is_some_and(|one| one.value == source.value)
    };
    let accounts = tree.iter().filter(names).take(limits::RULES_MAX);
    let accounts: Vec<String> = accounts.map(|node| format!("account = {}", quoted(&node.value))).collect();
    if !accounts.is_empty() {
        return Some(accounts);
    }
    match network(&source.value)?.as_str() {
        network if network.ends_with("/0") => Some(vec![String::new()]),
        network => Some(vec![format!("clients = [{}]", quoted(network))]),
    }
}

/// How narrow its network is: what is said of a part stands behind what is said of all, as later rules set over earlier ones.
fn narrowness(source: &Node) -> u8 {
    let network = network(&source.value).and_then(|one| crate::config::value::network(&one).ok());
    network
        .map_or(u8::MAX, |one| if one.address.is_ipv4() && one.bits > 0 { one.bits + 96 } else { one.bits })
}

/// What a source says of its messages: rules for its network, or for accounts that name it.
fn source(reader: &mut Reader<'_, '_>, source: &Node, tree: &[Node]) {
    let whose = self::whose(source, tree);
    for node in &source.children {
        let set = match node.name.as_str() {
            "hide-message-source" | "remove-received-headers" if words::yes(&node.value) => {
                "{ hide_trace = true }".to_owned()
            }
            "jobid-header" => {
                let matched = format!(
                    "header = {{ name = {}, pattern = \"^\\\\s*(\\\\S.*)$\" }}",
                    quoted(node.value.trim_end_matches(':'))
                );
                self::rules(reader, whose.as_deref(), &matched, "{ campaign = \"$1\" }", node);
                continue;
            }
            "remove-header" | "remove-headers" => {
                let names: Vec<&str> = node.words().iter().map(|word| word.trim_end_matches(':')).collect();
                format!("{{ header_remove = {} }}", list(&names))
            }
            "suppress-local-dsn" if words::yes(&node.value) => {
                reader.out.relevo.set("[bounces]", "dsn", "false", &[node.id]);
                reader.out.ledger.differs(node.id, "no sender is told, wherever mail comes from");
                continue;
            }
            "allow-unencrypted-plain-auth" if words::yes(&node.value) => {
                let words =
                    "nobody logs in without TLS: clients have to speak STARTTLS, or come from relay_from";
                reader.out.ledger.none(node.id, words);
                continue;
            }
            "add-received-header" if words::no(&node.value) => {
                let words = "a Received field is always added, as loops are found by them; set.hide_trace of a [[rule]] hides the client in it";
                reader.out.ledger.none(node.id, words);
                continue;
            }
            "default-virtual-mta" => {
                default_mta(reader, source, node, whose.as_deref());
                continue;
            }
            _ => continue,
        };
        self::rules(reader, whose.as_deref(), "", &set, node);
    }
}

/// A rule for each of those whose messages they are.
fn rules(reader: &mut Reader<'_, '_>, whose: Option<&[String]>, matched: &str, set: &str, node: &Node) {
    let Some(whose) = whose else {
        let words = "what comes neither by SMTP from a network nor from an account has no rules: a header field of the message says it";
        return reader.out.ledger.none(node.id, words);
    };
    for whose in whose {
        let both: Vec<&str> = [whose.as_str(), matched].into_iter().filter(|one| !one.is_empty()).collect();
        let matched = if both.is_empty() { "sender = \"*\"".to_owned() } else { both.join(", ") };
        let is_same = |one: &&mut crate::import::draft::Section| {
            one.value("match") == Some(&format!("{{ {matched} }}")) && one.value("set") == Some(set)
        };
        let last = reader.out.relevo.sections.iter_mut().rev().take(limits::RULES_MAX).find(is_same);
        if let Some(same) = last {
            same.from.push(node.id);
            continue;
        }
        let section = reader.out.relevo.push("[[rule]]", &[node.id]);
        section.set("match", &format!("{{ {matched} }}"), &[]);
        section.set("set", set, &[]);
    }
    reader.out.ledger.translated(node.id);
}

/// By what mail goes that names no virtual MTA: of all mail in `[delivery]`, of a network by a rule, of an account by itself.
fn default_mta(reader: &mut Reader<'_, '_>, source: &Node, node: &Node, whose: Option<&[String]>) {
    let Some(pool) = reader.known(&node.value) else {
        return reader.out.ledger.none(node.id, "there is no virtual MTA or pool of this name");
    };
    let pool = quoted(&words::name(&pool));
    match whose {
        Some([one]) if one.is_empty() => {
            reader.out.relevo.set("[delivery]", "pool", &pool, &[node.id]);
            reader.out.ledger.translated(node.id);
        }
        Some(all) if all.iter().any(|one| one.starts_with("account")) => {
            reader.out.ledger.usual(node.id, "pool of the accounts that name this source");
        }
        networks => {
            self::rules(reader, networks, "", &format!("{{ pool = {pool} }}"), node);
            if source.last("process-x-virtual-mta").is_some_and(|one| words::yes(&one.value)) {
                // What a message names itself stands over the default.
                for field in self::named_mtas(reader) {
                    self::rules(reader, networks, &field, "{ pool = \"$1\" }", node);
                }
            }
        }
    }
}

/// Header fields that name a virtual MTA or pool which is there: another name leaves the default's in place.
fn named_mtas(reader: &Reader<'_, '_>) -> Vec<String> {
    let mut all: Vec<String> =
        reader.called.values().map(|name| words::name(name).replace('.', "\\.")).collect();
    all.dedup();
    let mut fields = Vec::new();
    let mut rest = &all[..];
    while !rest.is_empty() {
        let mut room = limits::SHAPING_PATTERN_MAX;
        let count = rest
            .iter()
            .take_while(|name| {
                room = room.saturating_sub(name.len() + 1);
                room > 0
            })
            .count();
        let (these, others) = rest.split_at(count.max(1));
        let pattern = quoted(&format!("^\\s*({})\\s*$", these.join("|")));
        fields.push(format!("header = {{ name = \"X-Virtual-MTA\", pattern = {pattern} }}"));
        rest = others;
    }
    fields
}

fn duties(reader: &mut Reader<'_, '_>, sources: &[&Node], intake: &mut Intake) {
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for node in sources.iter().flat_map(|source| &source.children) {
        if matches!(node.name.as_str(), "add-message-id-header" | "add-date-header") {
            if words::yes(&node.value) { on.push(node.id) } else { off.push(node.id) }
        }
    }
    off.iter()
        .for_each(|id| reader.out.ledger.usual(*id, "missing fields are left out, unless mail is signed"));
    if !on.is_empty() {
        on.iter().for_each(|id| reader.out.ledger.differs(*id, "both fields, of all clients that may relay"));
        intake.lines.push(("missing_fields", quoted("add"), on));
    }
}

fn listeners(reader: &mut Reader<'_, '_>, tree: &[Node], intake: &Intake) {
    let all: Vec<&Node> =
        tree.iter().filter(|node| matches!(node.name.as_str(), "smtp-listener" | "<smtp-listener")).collect();
    let mut made = Vec::new();
    for node in &all {
        let first = node.words().first().copied().unwrap_or_default();
        let (host, port) = match first.rsplit_once(':') {
            Some((host, port)) => (host, port.parse::<u16>().ok()),
            None => (first, Some(25)),
        };
        let host = match host.trim_matches(['[', ']']) {
            "0/0" | "0.0.0.0/0" | "*" | "" => "0.0.0.0".to_owned(),
            host => host.to_owned(),
        };
        let (Ok(host), Some(port)) = (host.parse::<std::net::IpAddr>(), port.filter(|port| *port > 0)) else {
            reader.out.ledger.none(node.id, "no address and port: [[listener]] address = \"192.0.2.1:25\"");
            continue;
        };
        let address = std::net::SocketAddr::new(host, port).to_string();
        if made.contains(&address) {
            reader.out.ledger.usual(node.id, "it is listened there already");
            continue;
        }
        match node.words().len() > 1 {
            true => reader.out.ledger.differs(node.id, "what stands behind the address has no meaning here"),
            false => reader.out.ledger.translated(node.id),
        }
        let section = reader.out.relevo.push("[[listener]]", &[]);
        section.set("address", &quoted(&address), &[node.id]);
        intake.lines.iter().for_each(|(key, value, from)| section.set(key, value, from));
        made.push(address);
    }
    if made.is_empty() {
        let section = reader.out.relevo.push("[[listener]]", &[]);
        section.set("address", "\"0.0.0.0:25\"", &[]);
        intake.lines.iter().for_each(|(key, value, from)| section.set(key, value, from));
    }
}
