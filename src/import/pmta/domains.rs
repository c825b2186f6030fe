//! `<domain>`: at the top, in a virtual MTA or a pool.

use super::hops::{self, Hop};
use super::names::Spot;
use super::parse::Node;
use super::reader::Reader;
use super::scope::Scope;
use super::values::{seconds, time};
use crate::import::Id;
use crate::import::words::{self, quoted};
use crate::limits;

pub(super) fn domains(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    self::led(reader, tree);
    // What is said of all mail first: others are compared with it.
    for all in [true, false] {
        for block in tree.iter().filter(|node| node.is("<domain") && (node.value == "*") == all) {
            self::domain(reader, block, Vec::new());
        }
    }
    for of in tree.iter().filter(|node| {
        matches!(node.name.as_str(), "<virtual-mta" | "<cold-virtual-mta" | "<virtual-mta-pool")
    }) {
        let mut sources = reader.sources_of(&of.value).cloned().unwrap_or_default();
        sources.truncate(limits::POOL_SOURCES_MAX);
        for block in of.children.iter().filter(|node| node.is("<domain")) {
            if sources.is_empty() {
                reader.out.ledger.none(block.id, "of a virtual MTA that has no source here");
                continue;
            }
            self::domain(reader, block, sources.clone());
        }
    }
}

/// Which domains are sent to hosts: what any block says of one of them holds there.
fn led(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    for block in tree.iter().filter(|node| node.is("<domain") && !node.value.contains('/')) {
        let Some(hops) = hops::of_block(block).filter(|_| !discards(block)) else { continue };
        for spot in super::rollups::spots(reader, &block.value) {
            reader.led.extend(spot.domains.into_iter().map(|domain| (domain, hops.clone())));
        }
    }
}

fn discards(block: &Node) -> bool {
    block.last("type").is_some_and(|one| one.value.eq_ignore_ascii_case("discard"))
}

fn domain(reader: &mut Reader<'_, '_>, block: &Node, sources: Vec<String>) {
    let (name, of_source) = match block.value.split_once('/') {
        Some((name, source)) if !block.value.starts_with('/') => (name.to_owned(), Some(source.to_owned())),
        _ => (block.value.clone(), None),
    };
    let sources = match of_source.as_deref() {
        Some("*") | None => sources,
        Some(source) => reader.sources_of(source).cloned().unwrap_or_else(|| vec![words::name(source)]),
    };
    let mut spots = super::rollups::spots(reader, &name);
    if spots.is_empty() {
        let words = match name.starts_with('{') {
            true => "a queue of PowerMTA's own",
            false => {
                "no domain, macro or queue that is known: name domains, or a provider by its MX hosts (docs/shaping.md)"
            }
        };
        reader.out.ledger.none(block.id, words);
    } else {
        reader.out.ledger.translated(block.id);
    }
    let astray = name != "*" && self::at_hosts(reader, block, &mut spots);
    let (sources, none_left) = self::with_room(reader, &spots, sources);
    if none_left {
        let words = "a section tells at most 1000 sources apart: say it of all, or of those that differ";
        reader.out.ledger.withdraw(block.id, words);
        return block.children.iter().for_each(|one| reader.out.ledger.none(one.id, words));
    }
    let scope = Scope { block, spots, sources, astray };
    let moved = block.last("queue-to").is_some();
    if !moved {
        scope.spots.iter().for_each(|spot| super::rollups::declare(reader, spot));
    }
    for node in &block.children {
        if scope.spots.is_empty() {
            reader.out.ledger.none(node.id, "of a <domain> that is not known");
        } else if moved {
            if node.name == "queue-to" && !reader.out.ledger.is_marked(node.id) {
                let words = match node.value.starts_with('{') {
                    true => super::rollups::SERVICE,
                    false => "of a virtual MTA: a [[route]] leads mail of all, by its recipient's domain",
                };
                reader.out.ledger.none(node.id, words);
            } else if node.name != "queue-to" {
                reader.out.ledger.usual(node.id, "the shared queue's own settings hold: see queue-to");
            }
        } else if !astray || holds_anywhere(&node.name) {
            setting(reader, &scope, node);
        }
    }
    if !scope.spots.is_empty() && !moved {
        self::route(reader, &scope);
        if !astray {
            self::tls(reader, &scope);
            super::backoff::backoff(reader, &scope);
        }
    }
    if astray && !moved {
        let words = "mail of this domain goes to the hosts of <domain *>, and what is said there of them holds: a host's limits are of all mail that goes to it";
        let rest: Vec<Id> = block
            .children
            .iter()
            .map(|node| node.id)
            .filter(|id| !reader.out.ledger.is_marked(*id))
            .collect();
        rest.into_iter().for_each(|id| reader.out.ledger.none(id, words));
    }
}

/// What does not stand in a section of the shaping file.
fn holds_anywhere(name: &str) -> bool {
    matches!(
        name,
        "retry-after"
            | "type"
            | "deliver-local-dsn"
            | "dkim-sign"
            | "dk-sign"
            | "dkim-body-canon"
            | "dkim-headers-canon"
            | "dkim-expire-after"
            | "max-cold-virtual-mta-msg"
    )
}

/// Sources that the sections have room for; whether there was none for any.
fn with_room(reader: &mut Reader<'_, '_>, spots: &[Spot], sources: Vec<String>) -> (Vec<String>, bool) {
    let any = !sources.is_empty() && !spots.is_empty();
    let fits = |source: &String| {
        spots.iter().all(|spot| {
            let all = reader.apart.entry(spot.base.clone()).or_default();
            let room = all.contains(source) || all.len() < limits::SHAPING_SOURCES_MAX;
            if room {
                all.insert(source.clone());
            }
            room
        })
    };
    let sources: Vec<String> = sources.into_iter().filter(fits).collect();
    let none = any && sources.is_empty();
    (sources, none)
}

/// Mail that goes by a route is limited by the host that it goes to, and not by its domain: sections of the hosts take the place of the
/// domains'. Whether all of it goes where `<domain *>` sends it.
fn at_hosts(reader: &Reader<'_, '_>, block: &Node, spots: &mut Vec<Spot>) -> bool {
    let of_all = reader.led.contains_key("*") && !discards(block);
    let (mut found, mut any_domain): (Vec<Spot>, bool) = (Vec::new(), false);
    for spot in spots.iter() {
        any_domain |= !spot.domains.is_empty();
        let own = spot.domains.iter().find_map(|domain| reader.led.get(domain));
        let Some(hops) = own else { continue };
        let at = |hop: &Hop| Spot {
            base: quoted(&hop.host),
            shared: false,
            domains: Vec::new(),
            matches: Vec::new(),
        };
        let mut here: Vec<Spot> = hops.iter().map(at).collect();
        here.retain(|one| !found.iter().any(|other| other.base == one.base));
        found.extend(here);
    }
    if found.is_empty() {
        return of_all && !spots.is_empty() && (any_domain || spots.iter().all(|spot| spot.shared));
    }
    // Those that go to no host of their own keep their sections.
    let domains: Vec<String> = spots.iter().flat_map(|spot| spot.domains.clone()).collect();
    let is_led = |spot: &Spot| {
        !spot.domains.is_empty() && spot.domains.iter().all(|domain| reader.led.contains_key(domain))
    };
    spots.retain(|spot| !is_led(spot));
    spots.iter_mut().for_each(|spot| spot.domains.clear());
    if let Some(first) = found.first_mut() {
        first.domains = domains;
    }
    found.append(spots);
    *spots = found;
    false
}

/// One directive, where it stands for itself. Those that belong together are looked at behind.
fn setting(reader: &mut Reader<'_, '_>, scope: &Scope<'_>, node: &Node) {
    if super::limits_of::limit(reader, scope, node) || super::limits_of::timeout(reader, scope, node) {
        return;
    }
    match node.name.as_str() {
        "retry-after" => self::retry(reader, scope, node),
        "bounce-after" => expiry(reader, scope, node),
        "type" => match node.value.to_ascii_lowercase().as_str() {
            "smtp" => reader.out.ledger.usual(node.id, "as all mail"),
            "discard" => {}
            _ => reader.out.ledger.none(node.id, "mail goes by SMTP or LMTP: a [[route]] to lmtp:/path hands it to a program"),
        },
        "deliver-local-dsn" if words::yes(&node.value) => reader.out.ledger.usual(node.id, "senders are told of what fails"),
        "deliver-local-dsn" if scope.is_all() => {
            reader.out.relevo.set("[bounces]", "dsn", "false", &[node.id]);
            reader.out.ledger.translated(node.id);
        }
        "deliver-local-dsn" => reader.out.ledger.none(node.id, "notifications are for all senders or none: bounces.dsn"),
        "dkim-sign" | "dk-sign" => match words::yes(&node.value) {
            true => reader.out.ledger.usual(node.id, "all is signed for which there is a key ([dkim] keys)"),
            false => reader.out.ledger.none(node.id, "signing goes by the domain in From, not by who gets it: leave the key out for mail that is not to be signed"),
        },
        "dkim-body-canon" | "dkim-headers-canon" => canonical(reader, scope, node),
        "dkim-expire-after" => match time(&node.value).filter(|_| scope.is_all()) {
            Some(span) => {
                reader.out.relevo.set("[dkim]", "lifetime", &quoted(&span), &[node.id]);
                reader.out.ledger.translated(node.id);
            }
            None => reader.out.ledger.usual(node.id, "signatures have no end"),
        },
        "max-cold-virtual-mta-msg" if !reader.out.ledger.is_marked(node.id) => {
            let words = "a plan of [[warmup]] is the same for each provider (docs/warmup.md)";
            reader.out.ledger.none(node.id, words);
        }
        "notify-of-delay-every" if scope.is_all() => match time(&node.value) {
            Some(span) => {
                reader.out.relevo.set("[bounces]", "delay_warning", &quoted(&span), &[node.id]);
                reader.out.ledger.differs(node.id, "told once, when mail is so old");
            }
            None => reader.out.ledger.usual(node.id, "nobody is told of delays by default"),
        },
        _ => {}
    }
}

fn canonical(reader: &mut Reader<'_, '_>, scope: &Scope<'_>, node: &Node) {
    if !scope.is_all() {
        return reader.out.ledger.none(node.id, "[dkim] canonicalization is of all mail");
    }
    let of = |name: &str| {
        scope
            .block
            .last(name)
            .map_or("relaxed", |one| if one.value == "simple" { "simple" } else { "relaxed" })
    };
    let value = quoted(&format!("{}/{}", of("dkim-headers-canon"), of("dkim-body-canon")));
    reader.out.relevo.set("[dkim]", "canonicalization", &value, &[node.id]);
    reader.out.ledger.translated(node.id);
}

/// Waits: of all mail in `[retry]`, of a domain in its section, a list in a route of its own.
fn retry(reader: &mut Reader<'_, '_>, scope: &Scope<'_>, node: &Node) {
    let waits: Option<Vec<String>> = node.words().iter().map(|word| time(word)).collect();
    let Some(mut waits) = waits.filter(|waits| !waits.is_empty()) else {
        return reader.out.ledger.none(node.id, "it is no time: retry.schedule has times as 10m");
    };
    if waits.len() > limits::RETRY_STEPS_MAX {
        waits.truncate(limits::RETRY_STEPS_MAX);
        reader.out.ledger.differs(node.id, "a schedule has at most 16 waits");
    }
    if scope.is_all() {
        reader.out.relevo.set("[retry]", "schedule", &words::list(&waits), &[node.id]);
        return reader.out.ledger.translated(node.id);
    }
    let domains = scope.domains();
    let several = waits.len() > 1;
    if scope.astray && (domains.is_empty() || !scope.sources.is_empty()) {
        return reader.out.ledger.none(
            node.id,
            "of mail that goes to the hosts of <domain *>: [retry], or a route of its own to them with retry",
        );
    }
    if (several || scope.astray) && scope.sources.is_empty() && !domains.is_empty() {
        let value = format!("{{ schedule = {} }}", words::list(&waits));
        for domain in domains {
            route_line(reader, &domain, "retry", &value, node.id);
        }
        return reader.out.ledger.translated(node.id);
    }
    let (first, longest) =
        (waits.first().cloned().unwrap_or_default(), waits.iter().max_by_key(|wait| seconds(wait)).cloned());
    for head in scope.heads() {
        reader.say(scope.block, (&head, "retry_interval"), &quoted(&first), node.id);
        let longest = quoted(longest.as_deref().unwrap_or(&first));
        reader.say(scope.block, (&head, "max_retry_interval"), &longest, node.id);
    }
    match several {
        true => reader.out.ledger.differs(node.id, "the first wait, then twice as long each time up to the longest: a list is of [retry], a route, a tenant or a rule"),
        false => reader.out.ledger.translated(node.id),
    }
}

fn expiry(reader: &mut Reader<'_, '_>, scope: &Scope<'_>, node: &Node) {
    let Some(span) = time(&node.value) else {
        return reader
            .out
            .ledger
            .none(node.id, "no time: mail always ends, after retry.expire (5d unless it is said)");
    };
    match scope.is_all() {
        true => reader.out.relevo.set("[retry]", "expire", &quoted(&span), &[node.id]),
        false => scope
            .heads()
            .iter()
            .for_each(|head| reader.say(scope.block, (head, "max_age"), &quoted(&span), node.id)),
    }
    reader.out.ledger.translated(node.id);
}

/// `use-starttls`, `require-starttls`
fn tls(reader: &mut Reader<'_, '_>, scope: &Scope<'_>) {
    let used = scope.block.last("use-starttls");
    let required = scope.block.last("require-starttls").filter(|one| words::yes(&one.value));
    let verified = scope.block.children.iter().rev().find(|one| {
        matches!(
            one.name.as_str(),
            "use-smtp-tls-certificate-validation"
                | "smtp-tls-require-valid-certificate"
                | "require-valid-certificate"
        ) && words::yes(&one.value)
    });
    if let Some(other) = scope.block.last("require-starttls").filter(|one| words::no(&one.value)) {
        reader.out.ledger.usual(other.id, "TLS where it is offered");
    }
    let (level, node) = match (used, required, verified) {
        (_, _, Some(node)) => ("Required", node),
        (_, Some(node), _) => ("RequiredInsecure", node),
        (Some(node), ..) if words::no(&node.value) => ("Disabled", node),
        (Some(node), ..) => return reader.out.ledger.usual(node.id, "TLS where it is offered"),
        _ => return,
    };
    if let Some(used) = used.filter(|used| used.id != node.id) {
        reader.out.ledger.usual(used.id, "what is required is used");
    }
    for head in scope.heads() {
        reader.say(scope.block, (&head, "enable_tls"), &quoted(level), node.id);
    }
    reader.out.ledger.translated(node.id);
}

/// `route`, `smtp-hosts`, `type discard`, and who we are there.
fn route(reader: &mut Reader<'_, '_>, scope: &Scope<'_>) {
    let discard = scope.block.last("type").filter(|one| one.value.eq_ignore_ascii_case("discard"));
    let Some(node) = discard.or_else(|| scope.block.last("smtp-hosts")).or_else(|| scope.block.last("route"))
    else {
        for name in ["auth-username", "auth-password"] {
            if let Some(one) = scope.block.last(name) {
                reader.out.ledger.none(one.id, "credentials belong to a [[route]] to a host: no MX is told a password (docs/smart-hosts.md)");
            }
        }
        return;
    };
    let domains = scope.domains();
    if !scope.sources.is_empty() || domains.is_empty() {
        return reader
            .out
            .ledger
            .none(node.id, "routes go by the recipient's domain, not by who sends, nor for a shared queue");
    }
    let to = if discard.is_some() {
        Some(quoted("discard"))
    } else {
        hops::hops(&node.value).map(|hops| hops::to(&hops))
    };
    let Some(to) = to else {
        return reader
            .out
            .ledger
            .none(node.id, "no host that can be named in a route: to = \"smtp://host:port\"");
    };
    for domain in &domains {
        route_line(reader, domain, "to", &to, node.id);
    }
    match discard.is_none() && node.value.contains("lookup-mx") {
        true => reader
            .out
            .ledger
            .differs(node.id, "a route goes to a host itself, and does not look for its MX records"),
        false => reader.out.ledger.translated(node.id),
    }
    login(reader, scope, &domains);
}

fn login(reader: &mut Reader<'_, '_>, scope: &Scope<'_>, domains: &[String]) {
    let (Some(user), Some(password)) = (scope.block.last("auth-username"), scope.block.last("auth-password"))
    else {
        return;
    };
    let first = domains.first().map_or("smart", |domain| if domain == "*" { "smart" } else { domain });
    let mut name = words::name(first).replace('.', "-");
    // `a.b` and `a-b` are two.
    if reader.out.relevo.table("[credentials]").value(&quoted(&name)).is_some() {
        let others = reader.out.relevo.table("[credentials]").lines.len();
        name = format!("{name}-{others}");
    }
    let path = format!("credentials/{name}.password");
    let full = quoted(&format!("{}/{path}", reader.terms.at));
    let value = format!("{{ user = {}, password_file = {full} }}", quoted(&user.value));
    reader.out.relevo.set("[credentials]", &quoted(&name), &value, &[user.id, password.id]);
    reader.out.files.push((path, format!("{}\n", password.value)));
    for domain in domains {
        route_line(reader, domain, "credentials", &quoted(&name), user.id);
    }
    let words =
        "the password is told to a host with a valid certificate for its name alone (docs/smart-hosts.md)";
    reader.out.ledger.differs(user.id, words);
    reader.out.ledger.differs(password.id, "it stands in a file of its own");
}

/// A line of the route of a domain, which is there once.
fn route_line(reader: &mut Reader<'_, '_>, domain: &str, key: &str, value: &str, id: Id) {
    let quoted_domain = quoted(domain);
    let section = match reader.routes.get(domain) {
        Some(at) => &mut reader.out.relevo.sections[*at],
        None => {
            reader.routes.insert(domain.to_owned(), reader.out.relevo.sections.len());
            let section = reader.out.relevo.push("[[route]]", &[]);
            section.set("domain", &quoted_domain, &[id]);
            // What is not said otherwise goes where all mail goes.
            section.set(
                "to",
                &reader.led.get("*").map_or_else(|| quoted("mx"), |hops| hops::to(hops)),
                &[id],
            );
            section
        }
    };
    section.set(key, value, &[id]);
}
