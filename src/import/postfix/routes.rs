//! Where mail goes: relayhost, transport maps, and who we are at smart hosts.

use std::collections::{BTreeMap, BTreeSet};

use super::hops::{Hop, Target};
use super::maps::Entry;
use super::parameters::{items, seconds};
use super::reader::Reader;
use crate::import::said::Said;
use crate::import::words::{self, quoted, time};
use crate::import::{Id, ImportError};
use crate::limits;

/// What routes know of each other.
#[derive(Default)]
pub(super) struct Routes {
    domains: BTreeSet<String>,
    logins: BTreeMap<String, Entry>,
    /// Login names that are there, by the key of the map.
    made: BTreeMap<String, String>,
    /// Keys of the transport map.
    keys: BTreeSet<String>,
    /// What entries for recipients say beside where mail goes.
    choices: Vec<Choice>,
    /// Where the mail of a client of master.cf goes.
    places: BTreeMap<usize, BTreeSet<String>>,
}

/// By what source mail to a domain leaves, or why it is refused.
struct Choice {
    domain: String,
    what: Chosen,
    from: Vec<Id>,
}

enum Chosen {
    /// None: by that of all mail.
    Pool(Option<String>),
    Refused(String),
}

impl Choice {
    /// Wider ones before narrower ones.
    fn rank(&self) -> usize {
        match self.domain.strip_prefix("*.") {
            _ if self.domain == "*" => 0,
            Some(above) => 1 + above.split('.').count(),
            None => usize::MAX,
        }
    }

    /// Whether it is about the other's mail, too.
    fn covers(&self, other: &str) -> bool {
        let other = other.trim_start_matches('*');
        let below = self.domain.strip_prefix('*');
        self.domain == "*" || below.is_some_and(|below| other.ends_with(below) && other.len() > below.len())
    }

    fn matched(&self) -> String {
        let domain = &self.domain;
        let recipient = if domain.starts_with('*') { domain.clone() } else { format!("@{domain}") };
        format!("{{ recipient = {} }}", quoted(&recipient))
    }
}

/// Where mail goes; what is left to be said is said by [`choices`].
pub(super) fn routes(reader: &mut Reader<'_, '_>) -> Result<Routes, ImportError> {
    let mut routes = Routes { logins: self::logins(reader)?, ..Routes::default() };
    super::senders::tls_level(reader);
    if let Some((value, id)) = reader.main.get("transport_maps") {
        let entries = super::maps::entries(reader, &value, id, false)?;
        routes.keys = entries.iter().map(|entry| entry.key.clone()).collect();
        for entry in entries {
            self::transport(reader, &mut routes, &entry);
        }
    }
    stores(reader, &mut routes)?;
    default_route(reader, &mut routes);
    unused_logins(reader, &routes);
    limits_of_clients(reader, &routes);
    super::senders::tls_policies(reader)?;
    Ok(routes)
}

/// Rules for recipients, behind those for senders, which they overrule (transport(5)). Each rule sets over those before: the narrowest is the last.
pub(super) fn choices(reader: &mut Reader<'_, '_>, routes: Routes) {
    let mut all = routes.choices;
    all.sort_by_key(Choice::rank);
    for (at, choice) in all.iter().enumerate() {
        match &choice.what {
            Chosen::Pool(pool) => {
                let is_set = all[..at]
                    .iter()
                    .any(|wider| matches!(wider.what, Chosen::Pool(Some(_))) && wider.covers(&choice.domain));
                let pool = match pool {
                    Some(pool) => quoted(pool),
                    None if is_set => self::usual_pool(reader),
                    None => continue,
                };
                let section = reader.out.relevo.push("[[rule]]", &[]);
                section.set("match", &choice.matched(), &choice.from);
                section.set("set", &format!("{{ pool = {pool} }}"), &choice.from);
            }
            Chosen::Refused(words) => {
                let first = choice.from.first().copied().unwrap_or_default();
                let narrower =
                    |other: &Choice| matches!(other.what, Chosen::Pool(_)) && choice.covers(&other.domain);
                if all[at + 1..].iter().any(narrower) {
                    let words = "narrower entries take some of this mail, and no rule refuses all but those: a [[rule]] with action = \"reject 550 5.1.1 ...\" for each domain that is to be refused, or relay_to for those that are taken";
                    reader.out.ledger.none(first, words);
                } else {
                    self::reject(reader, choice, words, first);
                }
            }
        }
    }
}

/// What mail leaves by that nothing else is said of.
fn usual_pool(reader: &mut Reader<'_, '_>) -> String {
    if let Some(pool) = reader
        .out
        .relevo
        .has("[delivery]")
        .then(|| reader.out.relevo.table("[delivery]"))
        .and_then(|one| one.value("pool").map(str::to_owned))
    {
        return pool;
    }
    let name = quoted("any-address");
    let is_there =
        |one: &crate::import::draft::Section| one.head == "[[source]]" && one.value("name") == Some(&name);
    if !reader.out.relevo.sections.iter().any(is_there) {
        reader.out.relevo.push("[[source]]", &[]).set("name", &name, &[]);
    }
    name
}

fn transport(reader: &mut Reader<'_, '_>, routes: &mut Routes, entry: &Entry) {
    let key = entry.key.as_str();
    let domain = match key {
        "*" => "*".to_owned(),
        key if key.contains('@') => {
            let words = "one address: routes are by domain; a mail store behind the domain's route can tell addresses apart";
            return reader.out.ledger.none(entry.id, words);
        }
        key => match key.strip_prefix('.') {
            Some(above) => format!("*.{above}"),
            None => key.to_owned(),
        },
    };
    let widens = domain == key && super::settings::has_subdomains(reader, "transport_maps");
    let (mut target, client) = match entry.value.trim() {
        // As if the map did not have it.
        "" | ":" => self::usual(reader),
        value => super::hops::target(reader, value),
    };
    if let Target::Hosts("smtp", hops) = &target
        && let [hop] = &hops[..]
        && hop.by_mx
        && hop.port.is_none()
        && hop.host == domain
    {
        // The MX of a domain by its own name.
        target = Target::Mx;
    }
    let below = format!("*.{domain}");
    if widens && domain != "*" && !routes.keys.contains(&format!(".{key}")) {
        self::route(reader, routes, &below, (target.clone(), client), &[entry.id]);
    }
    self::route(reader, routes, &domain, (target, client), &[entry.id]);
}

/// Where mail goes that no map knows: `default_transport`, which names a host or leaves it to `relayhost`.
fn usual(reader: &Reader<'_, '_>) -> (Target, Option<usize>) {
    let of = |name: &str| reader.main.get(name).map(|(value, _)| value.trim().to_owned()).unwrap_or_default();
    let (transport, relay) = (of("default_transport"), of("relayhost"));
    // Clients in turn, each of which is a source.
    let transport = if transport.starts_with("randmap:") { String::new() } else { transport };
    match transport.split_once(':') {
        Some((_, next)) if !next.trim().is_empty() => super::hops::target(reader, &transport),
        _ if transport.starts_with("error") || transport.starts_with("discard") => {
            super::hops::target(reader, &transport)
        }
        _ => {
            let name = transport.trim_end_matches(':');
            let name = if name.is_empty() { "smtp" } else { name };
            super::hops::target(reader, &format!("{name}:{relay}"))
        }
    }
}

/// Mail of domains that Postfix keeps itself or relays, where a parameter says by what.
fn stores(reader: &mut Reader<'_, '_>, routes: &mut Routes) -> Result<(), ImportError> {
    for (domains, transports) in [
        ("relay_domains", &["relay_transport"][..]),
        ("virtual_mailbox_domains", &["virtual_transport"][..]),
        ("mydestination", &["mailbox_transport", "local_transport"][..]),
    ] {
        let found = transports.iter().find_map(|name| reader.main.get(name)).filter(|one| !one.0.is_empty());
        let Some((value, id)) = found else { continue };
        let (target, client) = super::hops::target(reader, &value);
        if target == Target::Mx {
            reader.out.ledger.usual(id, "by SMTP to the MX, as all mail");
            continue;
        }
        if reader.main.get(domains).is_some_and(|(value, _)| value.is_empty()) {
            reader.out.ledger.usual(id, "there are no such domains");
            continue;
        }
        let all = reader.main.get(domains).map(|(value, _)| items(&value)).unwrap_or_default();
        let all: Vec<String> = all
            .into_iter()
            .filter(|domain| {
                !domain.contains(['/', ':']) && !domain.starts_with("localhost") && words::is_domain(domain)
            })
            .collect();
        if let Target::Nowhere(words) = &target {
            reader.out.ledger.none(id, words);
            continue;
        }
        if all.is_empty() {
            reader.out.ledger.none(id, "no domain is named in main.cf for it: write a [[route]] for each");
        }
        for domain in all {
            if super::listeners::has_transport(&routes.keys, &domain) {
                reader
                    .out
                    .ledger
                    .differs(id, "for domains that the transport map does not have, as it stands over this");
                continue;
            }
            self::route(reader, routes, &domain, (target.clone(), client), &[id]);
        }
    }
    Ok(())
}

/// Of all other mail.
fn default_route(reader: &mut Reader<'_, '_>, routes: &mut Routes) {
    let spare = reader
        .main
        .get("smtp_fallback_relay")
        .or_else(|| reader.main.get("fallback_relay"))
        .filter(|one| !one.0.is_empty());
    let transport = reader.main.get("default_transport").filter(|(value, _)| {
        !value.trim().is_empty()
            && !matches!(value.trim(), "smtp" | "smtp:")
            && !value.starts_with("randmap:")
    });
    let relay = reader.main.get("relayhost");
    let (target, client) = self::usual(reader);
    let all = transport.iter().chain(&relay);
    let ids: Vec<Id> = all.filter(|one| !one.0.trim().is_empty()).map(|one| one.1).collect();
    if let Some((_, id)) = relay.filter(|one| one.0.trim().is_empty()) {
        reader.out.ledger.usual(id, "to the MX, as here");
    }
    if routes.domains.contains("*") {
        ids.iter()
            .for_each(|id| reader.out.ledger.usual(*id, "the entry * of the transport map stands over it"));
    } else if let Some(first) = ids.first().copied() {
        // Senders may choose another source: this one is the first to be said.
        let before = routes.choices.len();
        self::route(reader, routes, "*", (target, client), &ids);
        for choice in routes.choices.split_off(before) {
            match &choice.what {
                Chosen::Pool(Some(pool)) => {
                    let section = reader.out.relevo.push("[[rule]]", &[]);
                    section.set("match", &choice.matched(), &ids);
                    section.set("set", &format!("{{ pool = {} }}", quoted(pool)), &ids);
                }
                Chosen::Pool(None) => {}
                Chosen::Refused(_) => routes.choices.push(choice),
            }
        }
        if !reader.out.ledger.is_marked(first) {
            ids.iter().for_each(|id| reader.out.ledger.translated(*id));
        }
    }
    let Some((value, id)) = spare else { return };
    let hops: Option<Vec<Hop>> = items(&value).iter().map(|one| super::hops::hop(one)).collect();
    let Some(hops) = hops.filter(|hops| !hops.is_empty() && hops.len() < 16) else {
        return reader.out.ledger.none(id, "no host that can be named in a route");
    };
    if routes.domains.contains("*") {
        let words = "add it to the list of the route of \"*\": { to = \"smtp://spare\", order = 1 }";
        return reader.out.ledger.none(id, words);
    }
    let spares = hops
        .iter()
        .enumerate()
        .map(|(at, hop)| format!("{{ to = {}, order = {} }}", quoted(&hop.url("smtp")), at + 1));
    let to = format!("[{{ to = \"mx\" }}, {}]", spares.collect::<Vec<_>>().join(", "));
    let section = reader.out.relevo.push("[[route]]", &[]);
    section.set("domain", &quoted("*"), &[id]);
    section.set("to", &to, &[id]);
    reader.out.ledger.translated(id);
}

fn route(
    reader: &mut Reader<'_, '_>,
    routes: &mut Routes,
    domain: &str,
    (target, client): (Target, Option<usize>),
    from: &[Id],
) {
    let Some(first) = from.first().copied() else { return };
    if !routes.domains.insert(domain.to_owned()) {
        return reader
            .out
            .ledger
            .none(first, "there is a route for this domain already, and the first one holds");
    }
    if let Target::Nowhere(words) = &target {
        return reader.out.ledger.none(first, words);
    }
    let chosen = match &target {
        Target::Reject(words) => Chosen::Refused(words.clone()),
        _ => Chosen::Pool(client.and_then(|at| super::senders::source_of(reader, at))),
    };
    let is_refused = matches!(chosen, Chosen::Refused(_));
    routes.choices.push(Choice { domain: domain.to_owned(), what: chosen, from: from.to_vec() });
    if is_refused {
        return;
    }
    if let Some(at) = client {
        let places = routes.places.entry(at).or_default();
        match &target {
            Target::Hosts(_, hops) => places.extend(hops.iter().map(|hop| hop.host.clone())),
            _ => _ = places.insert(domain.to_owned()),
        }
    }
    let Some(to) = target.to() else { return };
    let mut lines =
        vec![("domain".to_owned(), quoted(domain), from.to_vec()), ("to".to_owned(), to, from.to_vec())];
    from.iter().for_each(|id| reader.out.ledger.translated(*id));
    let mut logged_in = false;
    if let Target::Hosts(scheme, hops) = &target {
        if hops.iter().any(|hop| hop.by_mx) && *scheme != "lmtp" {
            let words = "Postfix looks for the MX records of a host without brackets; a route goes to the host itself";
            reader.out.ledger.differs(first, words);
        }
        if *scheme != "lmtp"
            && let Some((name, id)) = login(reader, routes, hops)
        {
            lines.push(("credentials".to_owned(), quoted(&name), vec![id]));
            logged_in = true;
        }
    }
    let has_tls = matches!(target, Target::Mx | Target::Hosts(..));
    if let Some((level, id)) =
        client.and_then(|at| super::senders::own_level(reader, at)).filter(|_| has_tls && !logged_in)
    {
        lines.push(("tls".to_owned(), quoted(level), vec![id]));
    }
    let section = reader.out.relevo.push("[[route]]", &[]);
    lines.iter().for_each(|(key, value, from)| section.set(key, value, from));
}

fn reject(reader: &mut Reader<'_, '_>, choice: &Choice, words: &str, id: Id) {
    let text = words.trim_matches('"').trim();
    let (code, text) = match text.split_once(' ') {
        Some((code, text)) if code.starts_with("5.") && code.len() <= 8 => (code, text),
        _ => ("5.1.1", text),
    };
    let text: String = text
        .chars()
        .filter(|letter| letter.is_ascii() && !letter.is_ascii_control())
        .take(limits::IMPORT_TEXT_MAX)
        .collect();
    let text = if text.is_empty() { "undeliverable".to_owned() } else { text };
    let section = reader.out.relevo.push("[[rule]]", &[]);
    section.set("match", &choice.matched(), &[id]);
    section.set("action", &quoted(&format!("reject 550 {code} {text}")), &[id]);
    reader.out.ledger.differs(id, "refused at RCPT, in place of a bounce later");
}

/// `smtp_sasl_password_maps`
fn logins(reader: &mut Reader<'_, '_>) -> Result<BTreeMap<String, Entry>, ImportError> {
    let Some((value, id)) = reader.main.get("smtp_sasl_password_maps") else { return Ok(BTreeMap::new()) };
    let on = reader.main.get("smtp_sasl_auth_enable").is_some_and(|(value, _)| words::yes(&value));
    let mut all = BTreeMap::new();
    if let Some(login) = value.trim().strip_prefix("static:").filter(|_| on) {
        // One login for all hosts that routes name.
        let entry = Entry { key: "*".to_owned(), value: login.to_owned(), id };
        return Ok(BTreeMap::from([("*".to_owned(), entry)]));
    }
    for entry in super::maps::entries(reader, &value, id, true)? {
        if !on {
            reader
                .out
                .ledger
                .none(entry.id, "smtp_sasl_auth_enable is not yes, so Postfix does not log in either");
        } else if all.contains_key(&entry.key) {
            reader.out.ledger.usual(entry.id, "an earlier line has this host");
        } else {
            all.insert(entry.key.clone(), entry);
        }
    }
    if let Some((_, id)) = reader.main.get("smtp_sasl_auth_enable") {
        reader.out.ledger.translated(id);
    }
    Ok(all)
}

/// Who we are at one of these hosts.
fn login(reader: &mut Reader<'_, '_>, routes: &mut Routes, hops: &[Hop]) -> Option<(String, Id)> {
    let keys = hops.iter().flat_map(|hop| [hop.written.clone(), format!("[{}]", hop.host), hop.host.clone()]);
    let entry =
        keys.into_iter().find_map(|key| routes.logins.get(&key)).or_else(|| routes.logins.get("*"))?.clone();
    let name = match routes.made.get(&entry.key) {
        Some(name) => name.clone(),
        None => {
            let Some((user, password)) =
                entry.value.split_once(':').filter(|(user, secret)| !user.is_empty() && !secret.is_empty())
            else {
                reader.out.ledger.none(entry.id, "there is no user:password");
                return None;
            };
            let host = hops.first().map_or("smart", |hop| hop.host.as_str());
            let mut name = words::name(host).replace('.', "-");
            if routes.made.values().any(|taken| *taken == name) {
                name = format!("{name}-{}", routes.made.len());
            }
            let path = format!("credentials/{name}.password");
            let full = quoted(&format!("{}/{path}", reader.terms.at));
            let value = format!("{{ user = {}, password_file = {full} }}", quoted(user));
            reader.out.relevo.set("[credentials]", &quoted(&name), &value, &[entry.id]);
            reader.out.files.push((path, format!("{password}\n")));
            routes.made.insert(entry.key.clone(), name.clone());
            name
        }
    };
    let words =
        "the password is told to a host with a valid certificate for its name alone (docs/smart-hosts.md)";
    reader.out.ledger.differs(entry.id, words);
    Some((name, entry.id))
}

fn unused_logins(reader: &mut Reader<'_, '_>, routes: &Routes) {
    for (key, entry) in &routes.logins {
        if !routes.made.contains_key(key) && !reader.out.ledger.is_marked(entry.id) {
            let words = match key.contains('@') {
                true => {
                    "a login by sender: credentials belong to a route, and routes go by the recipient's domain"
                }
                false => {
                    "no route that was made goes to this host: add [credentials] and name it where one does"
                }
            };
            reader.out.ledger.none(entry.id, words);
        }
    }
}

/// `CLIENT_destination_concurrency_limit` and its kin, of the hosts that the client's mail goes to.
fn limits_of_clients(reader: &mut Reader<'_, '_>, routes: &Routes) {
    let mut said = Said::default();
    for at in 0..reader.services.len() {
        let service = reader.services[at].name.clone();
        if matches!(service.as_str(), "smtp" | "default") || super::hops::client(reader, &service) != Some(at)
        {
            continue;
        }
        for (suffix, key) in [
            ("destination_concurrency_limit", "connection_limit"),
            ("destination_rate_delay", "max_message_rate"),
            ("destination_recipient_limit", "max_recipients_per_batch"),
        ] {
            let Some((value, id)) = reader.main.get(&format!("{service}_{suffix}")) else { continue };
            let value = match (key, seconds(&value, 1)) {
                (_, Some(0)) | (_, None) => {
                    reader.out.ledger.usual(id, "no limit");
                    continue;
                }
                ("max_message_rate", Some(1)) => quoted("1/s"),
                ("max_message_rate", Some(span)) => quoted(&format!("1/{}", time(span))),
                (_, Some(count)) => count.to_string(),
            };
            let none = BTreeSet::new();
            let places = routes.places.get(&at).unwrap_or(&none);
            if places.is_empty() {
                reader.out.ledger.none(
                    id,
                    "no route by domain goes by this client: write a section of shaping.toml for whom it is",
                );
            }
            for place in places {
                let source = reader
                    .out
                    .relevo
                    .sections
                    .iter()
                    .any(|one| one.value("name") == Some(&quoted(&words::name(&service))));
                let place = if place == "*" { "default" } else { place };
                let below = place.strip_prefix("*.").map(|below| super::senders::below_head(reader, below));
                let head = match source && below.is_none() {
                    true => format!("[{}.sources.{}]", quoted(place), quoted(&words::name(&service))),
                    false => below.unwrap_or_else(|| format!("[{}]", quoted(place))),
                };
                let who = format!("the client {service}");
                said.say(&mut reader.out, (&who, &head, key), &value, id);
                reader.out.ledger.translated(id);
            }
        }
    }
}
