//! Services that listen, as `[[listener]]`.

use std::collections::BTreeSet;

use super::parameters::{items, seconds};
use super::reader::Reader;
use crate::config::value;
use crate::import::words::{self, list, quoted};
use crate::import::{Id, ImportError};
use crate::limits;

/// Ports that have a name.
const PORTS: [(&str, u16); 7] = [
    ("smtp", 25),
    ("submission", 587),
    ("smtps", 465),
    ("submissions", 465),
    ("lmtp", 24),
    ("relay", 25),
    ("ssmtp", 465),
];

/// A port by its name or number.
pub(super) fn port(text: &str) -> Option<u16> {
    let named = PORTS.iter().find(|(name, _)| *name == text).map(|(_, port)| *port);
    named.or_else(|| text.parse().ok()).filter(|port| *port > 0)
}

pub(super) fn listeners(reader: &mut Reader<'_, '_>) -> Result<(), ImportError> {
    for at in 0..reader.services.len() {
        let service = &reader.services[at];
        let (kind, command) = (service.kind.as_str(), service.command.as_str());
        if !matches!(kind, "inet" | "pass") || !matches!(command, "smtpd" | "postscreen") {
            continue;
        }
        if kind == "pass" {
            let id = service.id;
            self::mark(reader, id, |ledger, id| {
                ledger.usual(id, "what postscreen hands on; a listener takes both")
            });
            service_options(reader, at, "see the listener that postscreen has");
            continue;
        }
        let (host, name) = match service.name.rsplit_once(':') {
            Some((host, name)) => (Some(host.trim_matches(['[', ']']).to_owned()), name.to_owned()),
            None => (None, service.name.clone()),
        };
        let id = service.id;
        let Some(port) = port(&name) else {
            self::mark(reader, id, |ledger, id| {
                ledger.none(id, "a port by a name that is not known: write a [[listener]]")
            });
            continue;
        };
        self::listener(reader, at, (host, port))?;
    }
    Ok(())
}

fn mark(reader: &mut Reader<'_, '_>, id: Option<Id>, mark: impl FnOnce(&mut crate::import::Ledger, Id)) {
    if let Some(id) = id {
        mark(&mut reader.out.ledger, id);
    }
}

fn service_options(reader: &mut Reader<'_, '_>, at: usize, words: &str) {
    let ids: Vec<Id> = reader.services[at].options.values().map(|one| one.id).collect();
    ids.into_iter().for_each(|id| reader.out.ledger.usual(id, words));
}

/// A parameter as a service has it: by its own option or main.cf.
pub(super) fn of_service(reader: &Reader<'_, '_>, at: usize, name: &str) -> Option<(String, Id)> {
    match reader.services[at].options.get(name) {
        Some(one) => Some((reader.main.expand(&one.value), one.id)),
        None => reader.main.get(name),
    }
}

/// Where `inet_interfaces` and `inet_protocols` have it listen.
fn addresses(reader: &mut Reader<'_, '_>, at: usize, host: Option<String>) -> (Vec<String>, Vec<Id>) {
    let mut from = Vec::new();
    let protocols = of_service(reader, at, "inet_protocols");
    let protocols = protocols.map_or_else(
        || "all".to_owned(),
        |(value, id)| {
            from.push(id);
            value
        },
    );
    let (four, six) = (protocols != "ipv6", protocols != "ipv4");
    let named: Vec<String> = match host {
        Some(host) => vec![host],
        None => match of_service(reader, at, "inet_interfaces") {
            Some((value, id)) => {
                from.push(id);
                items(&value)
            }
            None => vec!["all".to_owned()],
        },
    };
    from.iter().for_each(|id| reader.out.ledger.translated(*id));
    let mut addresses = Vec::new();
    for name in named {
        match name.as_str() {
            "all" | "*" => {
                addresses.extend(four.then(|| "0.0.0.0".to_owned()));
                addresses.extend(six.then(|| "[::]".to_owned()));
            }
            "loopback-only" | "localhost" => {
                addresses.extend(four.then(|| "127.0.0.1".to_owned()));
                addresses.extend(six.then(|| "[::1]".to_owned()));
            }
            name => match name.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
                Ok(address) if address.is_ipv6() => addresses.push(format!("[{address}]")),
                Ok(address) => addresses.push(address.to_string()),
                Err(_) => {
                    let words = format!(
                        "{}: an address by its name; relevo listens at addresses",
                        words::shown(name)
                    );
                    from.iter().for_each(|id| reader.out.ledger.none(*id, &words));
                }
            },
        }
    }
    (addresses, from)
}

fn listener(
    reader: &mut Reader<'_, '_>,
    at: usize,
    (host, port): (Option<String>, u16),
) -> Result<(), ImportError> {
    let id = reader.services[at].id;
    let (addresses, mut from) = self::addresses(reader, at, host);
    from.extend(id);
    let wrapped = of_service(reader, at, "smtpd_tls_wrappermode").filter(|(value, _)| words::yes(value));
    let logs_in = of_service(reader, at, "smtpd_sasl_auth_enable").filter(|(value, _)| words::yes(value));
    let strangers = lets_networks(reader, at);
    let by_name = matches!(reader.services[at].name.as_str(), "submission" | "submissions" | "smtps");
    let is_submission = wrapped.is_some() || by_name || (logs_in.is_some() && !strangers && port != 25);
    let kind = if wrapped.is_some() { "submissions" } else { "submission" };
    let mut lines: Vec<(String, String, Vec<Id>)> = Vec::new();
    if is_submission {
        let why = wrapped.iter().chain(logs_in.as_ref()).map(|(_, id)| *id).chain(id).take(1).collect();
        lines.push(("kind".into(), quoted(kind), why));
    }
    let has_certificate = self::certificate(reader, at, &mut lines)?;
    if is_submission && !has_certificate {
        let words = "clients log in under TLS alone, and there is no certificate that can be read: name one, and write a [[listener]] with kind = \"submission\"";
        self::mark(reader, id, |ledger, id| ledger.none(id, words));
        if let Some((_, id)) = logs_in {
            reader.out.ledger.none(id, words);
        }
        service_options(reader, at, "of a service that is not there");
        self::wanting(reader, at, (&addresses, port), (kind, words), &from);
        return Ok(());
    }
    for (_, id) in wrapped.iter().chain(logs_in.as_ref()) {
        reader.out.ledger.differs(
            *id,
            "whom it asks for passwords is not known here: add accounts, relevo account add NAME",
        );
    }
    if logs_in.is_some() || is_submission {
        reader.out.accounts.get_or_insert_with(Vec::new);
    }
    if strangers {
        self::networks(reader, at, &mut lines)?;
    } else if !is_submission {
        let why = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_client_restrictions"];
        let why = why.iter().find_map(|name| of_service(reader, at, name)).map(|one| one.1);
        lines.push(("relay_from".into(), "[]".into(), why.into_iter().collect()));
    }
    if !is_submission {
        let (domains, from) = self::relay_domains(reader)?;
        if !domains.is_empty() {
            lines.push(("relay_to".into(), list(&domains), from));
        }
    }
    bounds_of(reader, at, &mut lines);
    manners(reader, at, &mut lines);
    self::mark(reader, id, |ledger, id| ledger.translated(id));
    for address in addresses {
        let section = reader.out.relevo.push("[[listener]]", &[]);
        section.set("address", &quoted(&format!("{address}:{port}")), &from);
        lines.iter().for_each(|(key, value, from)| section.set(key, value, from));
    }
    Ok(())
}

/// A listener that lacks its certificate, as a comment.
fn wanting(
    reader: &mut Reader<'_, '_>,
    at: usize,
    (addresses, port): (&[String], u16),
    (kind, words): (&str, &str),
    from: &[Id],
) {
    let of = |name: &str, usual: &str| {
        let found =
            of_service(reader, at, name).map(|one| one.0).filter(|one| !one.is_empty() && one != "none");
        quoted(&found.unwrap_or_else(|| usual.to_owned()))
    };
    let chain = of("smtpd_tls_cert_file", "/etc/relevo/chain.pem");
    let key = of("smtpd_tls_key_file", "/etc/relevo/key.pem");
    for address in addresses {
        let section = reader.out.relevo.push("[[listener]]", &[]);
        section.off = Some(words.to_owned());
        section.set("address", &quoted(&format!("{address}:{port}")), from);
        section.set("kind", &quoted(kind), &[]);
        section.set("tls_certificate", &chain, &[]);
        section.set("tls_key", &key, &[]);
    }
}

/// Whether clients in `mynetworks` may relay there.
fn lets_networks(reader: &Reader<'_, '_>, at: usize) -> bool {
    let names = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_client_restrictions"];
    let own: Vec<&str> = names
        .iter()
        .filter_map(|name| reader.services[at].options.get(*name))
        .map(|one| one.value.as_str())
        .collect();
    let closed = own.iter().any(|value| value.contains("reject") && !value.contains("permit_mynetworks"));
    let lets = |name: &str| {
        let value = of_service(reader, at, name).map(|one| one.0).filter(|value| !value.trim().is_empty());
        value.map(|value| value.contains("permit_mynetworks"))
    };
    // Without a restriction of its own Postfix lets them relay; of old it asked the second list alone.
    let empty = of_service(reader, at, "smtpd_relay_restrictions").is_some_and(|one| one.0.trim().is_empty());
    let relays = lets("smtpd_relay_restrictions");
    let relays = if empty { lets("smtpd_recipient_restrictions") } else { relays };
    !closed && relays.unwrap_or(true)
}

fn networks(
    reader: &mut Reader<'_, '_>,
    at: usize,
    lines: &mut Vec<(String, String, Vec<Id>)>,
) -> Result<(), ImportError> {
    let Some((value, id)) = of_service(reader, at, "mynetworks") else { return Ok(()) };
    let mut networks = Vec::new();
    for item in items(&value) {
        let plain = plain_network(&item);
        if value::network(&plain).is_ok() {
            if plain.ends_with("/0") {
                let words =
                    "OPEN RELAY: everybody who reaches the port may send to anybody; write your own networks";
                reader.out.ledger.differs(id, words);
            }
            networks.push(plain);
        } else if item.starts_with('/') {
            if let Some((_, text)) = super::maps::file(reader, &item, id)? {
                let of_file = text.split_whitespace().map(plain_network);
                networks
                    .extend(of_file.filter(|one| value::network(one).is_ok()).take(limits::IMPORT_LIST_MAX));
            }
        } else {
            let words = format!(
                "{}: relay_from has addresses and networks alone; write those that are meant",
                words::shown(&item)
            );
            reader.out.ledger.none(id, &words);
        }
    }
    networks.sort();
    networks.dedup();
    if networks.is_empty() {
        networks.extend(["127.0.0.0/8".to_owned(), "::1".to_owned()]);
    }
    reader.out.ledger.translated(id);
    lines.push(("relay_from".into(), list(&networks), vec![id]));
    Ok(())
}

/// `[::1]/128`, and IPv4 as IPv6 has it: `[::ffff:127.0.0.0]/104`.
fn plain_network(item: &str) -> String {
    let plain = item.replace(['[', ']'], "");
    let mapped = plain.strip_prefix("::ffff:").and_then(|rest| rest.split_once('/'));
    match mapped.and_then(|(address, bits)| Some((address, bits.parse::<u8>().ok()?.checked_sub(96)?))) {
        Some((address, bits)) if address.contains('.') => format!("{address}/{bits}"),
        _ => plain,
    }
}

/// What transport_maps have a transport for.
fn transport_keys(reader: &mut Reader<'_, '_>) -> Result<BTreeSet<String>, ImportError> {
    let mut keys = BTreeSet::new();
    let Some((value, id)) = reader.main.get("transport_maps") else { return Ok(keys) };
    for map in items(&value) {
        let map = map.strip_prefix("proxy:").unwrap_or(&map);
        let path = map.split_once(':').map_or(map, |(_, path)| path);
        let text = super::maps::file(reader, path, id)?.map(|(_, text)| text).unwrap_or_default();
        let first = text.lines().filter_map(|line| line.split_whitespace().next());
        keys.extend(first.take(limits::IMPORT_LIST_MAX).map(str::to_ascii_lowercase));
    }
    Ok(keys)
}

/// Whether one of them is for this domain: by its name, or that of one above it (transport(5)).
pub(super) fn has_transport(keys: &BTreeSet<String>, domain: &str) -> bool {
    let domain = domain.to_ascii_lowercase();
    let above = domain.match_indices('.').any(|(dot, _)| keys.contains(&domain[dot..]));
    above || keys.contains(&domain) || keys.contains("*")
}

/// The domains that a list names, itself or by its maps and files, but for our own.
fn domains_of(reader: &mut Reader<'_, '_>, value: &str, id: Id) -> Result<Vec<String>, ImportError> {
    let mut found = Vec::new();
    for item in items(value) {
        if item.contains(":/") {
            for entry in super::maps::entries(reader, &item, id, false)? {
                found.push(entry.key.clone());
                reader.out.ledger.translated(entry.id);
            }
        } else if item.starts_with('/') {
            let text = super::maps::file(reader, &item, id)?.map(|(_, text)| text).unwrap_or_default();
            found.extend(text.split_whitespace().take(limits::IMPORT_LIST_MAX).map(str::to_owned));
        } else {
            found.push(item);
        }
    }
    found.retain(|domain| {
        domain != "localhost"
            && !domain.starts_with("localhost.")
            && words::is_domain(domain.trim_start_matches('.'))
    });
    Ok(found)
}

fn relay_domains(reader: &mut Reader<'_, '_>) -> Result<(Vec<String>, Vec<Id>), ImportError> {
    if let Some(taken) = &reader.taken {
        return Ok(taken.clone());
    }
    let mut domains: Vec<String> = Vec::new();
    let mut from = Vec::new();
    let all_below = super::settings::has_subdomains(reader, "relay_domains");
    for (name, transports) in [
        ("relay_domains", &[][..]),
        ("virtual_mailbox_domains", &["virtual_transport", "transport_maps"][..]),
        ("mydestination", &["mailbox_transport", "local_transport", "transport_maps"][..]),
    ] {
        let Some((value, id)) = reader.main.get(name) else { continue };
        let goes_on = |name: &&str| reader.main.get(name).is_some_and(|one| !one.0.is_empty());
        let by_map = transports.iter().any(|one| *one == "transport_maps" && goes_on(one));
        let by_all = transports.iter().any(|one| *one != "transport_maps" && goes_on(one));
        let mut found = domains_of(reader, &value, id)?;
        if found.is_empty() && reader.out.ledger.is_marked(id) {
            continue;
        }
        if found.is_empty() {
            reader.out.ledger.usual(id, "there is no domain in it that others send to");
            continue;
        }
        let all = found.len();
        if by_map && !by_all {
            // A map that names others says nothing of these.
            let keys = transport_keys(reader)?;
            found.retain(|domain| has_transport(&keys, domain.trim_start_matches('.')));
        }
        if !transports.is_empty() && (found.is_empty() || !by_map && !by_all) {
            let words = "there are no mailboxes here, and nothing says where else this mail goes, so it is not taken: name the domains in relay_to and give each a [[route]] to a mail store (lmtp://)";
            reader.out.ledger.none(id, words);
            continue;
        }
        let taken = found.len();
        for domain in found {
            let bare = domain.trim_start_matches('.');
            if !domain.starts_with('.') {
                domains.push(bare.to_owned());
            }
            if domain.starts_with('.') || name == "relay_domains" && all_below {
                domains.push(format!("*.{bare}"));
            }
        }
        reader.out.ledger.translated(id);
        if name != "relay_domains" {
            let words = match taken < all {
                true => {
                    "mail of those that transport_maps names is taken, and goes where a [[route]] says; there are no mailboxes here, and that of the others is not taken"
                }
                false => {
                    "its mail is taken, and goes where a [[route]] says, else to the MX: there are no mailboxes here"
                }
            };
            reader.out.ledger.differs(id, words);
        }
        from.push(id);
    }
    domains.sort();
    domains.dedup();
    reader.taken = Some((domains.clone(), from.clone()));
    Ok((domains, from))
}

/// Whether there is one that can be read here.
fn certificate(
    reader: &mut Reader<'_, '_>,
    at: usize,
    lines: &mut Vec<(String, String, Vec<Id>)>,
) -> Result<bool, ImportError> {
    let (chain, key) = match of_service(reader, at, "smtpd_tls_chain_files") {
        Some((value, id)) => {
            let files = items(&value);
            let first = files.first().cloned().unwrap_or_default();
            let second = files.get(1).cloned().unwrap_or_else(|| first.clone());
            // In these files a key stands in front of its chain.
            ((second, id), (first, id))
        }
        None => {
            let Some(chain) = of_service(reader, at, "smtpd_tls_cert_file") else { return Ok(false) };
            let key = of_service(reader, at, "smtpd_tls_key_file").unwrap_or_else(|| chain.clone());
            let key = if key.0.is_empty() { (chain.0.clone(), key.1) } else { key };
            (chain, key)
        }
    };
    if let Some((level, id)) = of_service(reader, at, "smtpd_tls_security_level") {
        match level.as_str() {
            "none" => {
                reader.out.ledger.translated(id);
                return Ok(false);
            }
            "encrypt" => reader.out.ledger.differs(id, "kind = \"submission\" asks for TLS before MAIL; a listener for relaying offers it and takes plain text too"),
            _ => reader.out.ledger.translated(id),
        }
    }
    if chain.0.is_empty() || chain.0 == "none" {
        return Ok(false);
    }
    for (path, id) in [&chain, &key] {
        let place = super::maps::place_of(reader, path);
        if let Err(crate::import::library::Missing::Unread(why)) = reader.library.text(&place) {
            let words =
                format!("{path} cannot be read here ({why}): set tls_certificate and tls_key where it can");
            reader.out.ledger.none(chain.1, &words);
            reader.out.ledger.none(key.1, &words);
            let _ = id;
            return Ok(false);
        }
    }
    for (name, (path, id)) in [("tls_certificate", chain), ("tls_key", key)] {
        reader.out.ledger.translated(id);
        let place = super::maps::place_of(reader, &path);
        lines.push((name.into(), quoted(&place), vec![id]));
    }
    Ok(true)
}

fn bounds_of(reader: &mut Reader<'_, '_>, at: usize, lines: &mut Vec<(String, String, Vec<Id>)>) {
    if let Some((value, id)) = of_service(reader, at, "message_size_limit") {
        let size: u64 = value.trim().parse().unwrap_or(0);
        let kept = if size == 0 {
            limits::MESSAGE_SIZE_MOST
        } else {
            size.clamp(limits::MESSAGE_SIZE_LEAST, limits::MESSAGE_SIZE_MOST)
        };
        lines.push(("message_size_max".into(), kept.to_string(), vec![id]));
        match kept == size {
            true => reader.out.ledger.translated(id),
            false => reader.out.ledger.differs(id, "it is 64 KiB to 2 GiB here, and there is always a limit"),
        }
    }
    if let Some((value, id)) = of_service(reader, at, "smtpd_recipient_limit") {
        let count: usize = value.trim().parse().unwrap_or(1000);
        let kept = count.clamp(limits::RECIPIENTS_LEAST as usize, limits::RECIPIENTS_MAX);
        lines.push(("recipients_max".into(), kept.to_string(), vec![id]));
        match kept == count {
            true => reader.out.ledger.translated(id),
            false => reader
                .out
                .ledger
                .differs(id, "at most 1000 a transaction here; clients send the others in the next one"),
        }
    }
    if let Some((value, id)) = of_service(reader, at, "smtpd_client_connection_count_limit") {
        let count: u64 = value.trim().parse().unwrap_or(0);
        if count == 0 {
            reader.out.ledger.differs(id, "there is always a limit of connections of one client: 100 unless connections_per_client says otherwise");
        } else {
            reader
                .out
                .ledger
                .differs(id, "of one IPv4 address or IPv6 /64; clients in mynetworks are counted here too");
            lines.push((
                "connections_per_client".into(),
                count.min(limits::INBOUND_CONNECTIONS_MAX as u64).to_string(),
                vec![id],
            ));
        }
    }
    let unit = reader
        .main
        .get("anvil_rate_time_unit")
        .and_then(|(value, _)| seconds(&value, 1))
        .unwrap_or(60)
        .max(1);
    for (name, key) in [
        ("smtpd_client_message_rate_limit", "messages_per_client"),
        ("smtpd_client_recipient_rate_limit", "recipients_per_client"),
    ] {
        let Some((value, id)) = of_service(reader, at, name) else { continue };
        let count: u64 = value.trim().parse().unwrap_or(0);
        if count == 0 {
            reader.out.ledger.usual(id, "no limit");
            continue;
        }
        lines.push((key.into(), quoted(&format!("{count}/{}", words::time(unit))), vec![id]));
        reader.out.ledger.differs(id, "clients in mynetworks are counted here too");
    }
}

fn manners(reader: &mut Reader<'_, '_>, at: usize, lines: &mut Vec<(String, String, Vec<Id>)>) {
    if let Some((value, id)) = of_service(reader, at, "smtpd_banner") {
        let words: Vec<&str> = value.split_whitespace().skip(1).filter(|word| *word != "ESMTP").collect();
        lines.push(("banner".into(), quoted(&words.join(" ")), vec![id]));
        reader.out.ledger.translated(id);
    }
    if let Some((value, id)) = of_service(reader, at, "smtpd_forbid_bare_newline") {
        let kept = if value.trim() == "normalize" || value.trim() == "no" { "normalise" } else { "refuse" };
        lines.push(("bare_newlines".into(), quoted(kept), vec![id]));
        match value.trim() {
            "no" => reader.out.ledger.differs(
                id,
                "bare newlines never end a message here, nor are they passed on: they become CRLF",
            ),
            _ => reader.out.ledger.translated(id),
        }
    }
    if let Some((value, id)) = of_service(reader, at, "smtputf8_enable").filter(|(value, _)| words::no(value))
    {
        lines.push(("smtputf8".into(), "false".into(), vec![id]));
        let _ = value;
        reader.out.ledger.translated(id);
    }
    if let Some((value, id)) = of_service(reader, at, "smtpd_discard_ehlo_keywords") {
        for word in items(&value.to_ascii_lowercase()) {
            match word.as_str() {
                "chunking" => {
                    lines.push(("chunking".into(), "false".into(), vec![id]));
                    reader.out.ledger.translated(id);
                }
                "silent-discard" | "etrn" | "vrfy" => reader.out.ledger.usual(id, "there is none here"),
                other => {
                    let words = format!("{}: it is always offered", words::shown(other));
                    reader.out.ledger.none(id, &words);
                }
            }
        }
    }
    if let Some((value, id)) =
        of_service(reader, at, "smtpd_authorized_xclient_hosts").filter(|one| !one.0.is_empty())
    {
        let mut networks: Vec<String> = items(&value).iter().map(|one| one.replace(['[', ']'], "")).collect();
        networks.retain(|one| value::network(one).is_ok());
        if networks.is_empty() {
            reader.out.ledger.none(id, "xclient_from has addresses and networks alone");
        } else {
            lines.push(("xclient_from".into(), list(&networks), vec![id]));
            reader.out.ledger.translated(id);
        }
    }
    if let Some((_, id)) =
        of_service(reader, at, "smtpd_upstream_proxy_protocol").filter(|one| !one.0.is_empty())
    {
        let words = "name the balancers: proxy_from = [\"10.0.0.10/32\"] in this [[listener]]; nobody else is believed";
        reader.out.ledger.none(id, words);
    }
    if let Some((value, id)) =
        of_service(reader, at, "cleanup_service_name").or_else(|| of_service(reader, at, "syslog_name"))
    {
        let _ = value;
        reader.out.ledger.usual(id, "of Postfix's own processes");
    }
}
