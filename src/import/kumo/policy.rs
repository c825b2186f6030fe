//! init.lua: its listeners, logs and spool, as far as they are literals; all else is told.

use super::lua::{self, Call};
use super::reader::Reader;
use super::values::{Entry, Value};
use crate::config::value;
use crate::import::words::{list, quoted, time};
use crate::import::{Id, ImportError};
use crate::limits;

/// Calls that nothing is made of.
const CALLS: [(&str, &str); 18] = [
    (
        "define_spool",
        "the spool is node.data_dir, /var/lib/relevo: let KumoMTA deliver what it holds before you turn it off",
    ),
    ("start_http_listener", "control.http is the HTTP interface, with tokens (docs/control-api.md)"),
    (
        "configure_bounce_classifier",
        "replies have classes by themselves (docs/replies.md); a rule of shaping.toml with class says another one",
    ),
    ("configure_acct_log", "each [[log]] has all events, or those that it names"),
    ("configure_log_hook", "[[webhook]] or [[stream]] has events sent elsewhere"),
    ("configure_redis_throttles", "limits are of this node"),
    ("configure_accounting_db_path", "what is counted is in node.data_dir"),
    ("set_diagnostic_log_filter", "diagnostics go to standard error, and relevo trace shows sessions"),
    ("make_egress_path", "limits are in shaping.toml"),
    ("make_egress_source", "[[source]] of relevo.toml"),
    ("define_egress_source", "[[source]] of relevo.toml"),
    ("make_egress_pool", "[[pool]] of relevo.toml"),
    ("define_egress_pool", "[[pool]] of relevo.toml"),
    ("make_queue_config", "[retry], [[tenant]] and shaping.toml"),
    ("make_listener_domain", "relay_to of a [[listener]], and [feedback]"),
    (
        "log_hooks:new",
        "[[webhook]] or [[stream]] has events sent elsewhere (docs/webhooks.md, docs/streams.md)",
    ),
    ("log_hooks:new_json", "[[webhook]] has events sent to a web server (docs/webhooks.md)"),
    ("aaa.configure_acl", "control.tokens say who may ask /control/v1 (docs/control-api.md)"),
];

/// Code for events, and where what it does is said here.
const EVENTS: [(&str, &str); 16] = [
    ("get_listener_domain", "relay_to of a [[listener]] and [feedback] say which domains are taken"),
    ("get_egress_source", "a [[source]] for each"),
    ("get_egress_pool", "a [[pool]] for each"),
    ("get_egress_path_config", "shaping.toml has limits by domain, provider and source"),
    ("get_queue_config", "[retry], [[tenant]], [[rule]] and [[route]] have what queues are asked for"),
    (
        "smtp_server_message_received",
        "[[rule]] sets what mail has and refuses, [dkim] signs, [hook] asks a service of yours",
    ),
    (
        "http_message_generated",
        "[[rule]] sets what mail has and refuses, [dkim] signs, [hook] asks a service of yours",
    ),
    ("smtp_server_auth_plain", "accounts log in: relevo account add NAME (docs/accounts.md)"),
    ("http_server_validate_auth_basic", "control.tokens say who may ask /control/v1"),
    ("smtp_server_ehlo", "what clients say in EHLO is not asked about"),
    ("smtp_server_mail_from", "a [[rule]] with match.sender and action = \"reject ...\""),
    ("smtp_server_rcpt_to", "a [[rule]] with match.recipient and action = \"reject ...\""),
    ("smtp_server_connection_accepted", "relay_from of a [[listener]], and match.clients of a [[rule]]"),
    ("should_enqueue_log_record", "events of a [[webhook]] or a [[stream]] choose what is told"),
    ("requeue_message", "[retry] and shaping.toml say when mail is tried again"),
    ("pre_init", "what it sets up stands in relevo.toml"),
];

const CODE: &str = "code: [[rule]] sets and refuses, [[tenant]] and shaping.toml have what queues ask for, [hook] asks a service of yours";

/// Calls that read or make something for code around them.
const OF_CODE: [&str; 22] = [
    "set_httpinject_recipient_rate_limit",
    "set_httpinject_threads",
    "set_readyq_threads",
    "reject",
    "set_lua_gc_on_put",
    "set_config_monitor_globs",
    "memoize",
    "string.split",
    "time.now",
    "encode.base64_encode",
    "json_parse",
    "json_encode",
    "json_load",
    "toml_load",
    "toml_parse",
    "read_file",
    "set_max_spool_threads",
    "log_info",
    "log_warn",
    "log_error",
    "sleep",
    "serialize",
];

pub(super) fn policy(reader: &mut Reader<'_, '_>, text: &str) -> Result<(), ImportError> {
    let calls = lua::calls(text);
    let mut logs = 0;
    for (at, call) in calls.iter().enumerate() {
        // `kumo.on('get_listener_domain', listener_domains:setup { … })`: the helper is all that happens.
        let by_helper = calls
            .get(at + 1)
            .is_some_and(|next| next.line == call.line && super::helpers::is_one(&next.name));
        let prefix = if call.name.contains(':') { "" } else { "kumo." };
        let told = match &call.argument {
            Value::Text(text) => format!("{prefix}{}({})", call.name, quoted(text)),
            _ => format!("{prefix}{}", call.name),
        };
        let id = reader.out.ledger.add("init.lua", call.line, &told)?;
        match call.name.as_str() {
            "start_esmtp_listener" => self::listener(reader, call, id)?,
            "on" if by_helper => reader.out.ledger.usual(id, "what the helper's files say is read"),
            "on" => event(reader, call, id),
            "make_egress_source" | "define_egress_source" | "make_egress_pool" | "define_egress_pool"
                if super::sources::literal(reader, call)? =>
            {
                reader.out.ledger.usual(id, "what it says stands in relevo.toml");
            }
            name if name.ends_with("_signer") => super::keys::signer(reader, call, id)?,
            name if super::helpers::is_one(name) => super::helpers::helper(reader, call, id)?,
            "configure_local_logs" if logs < 8 => {
                logs += 1;
                self::log(reader, call, id)?;
            }
            name => self::call(reader, name, call, id)?,
        }
    }
    if !reader.out.relevo.has("[[listener]]") {
        let lines = self::shared(reader);
        let section = reader.out.relevo.push("[[listener]]", &[]);
        section.set("address", "\"0.0.0.0:25\"", &[]);
        for (key, values, from) in lines {
            section.set(key, &list(&values), &from);
        }
    }
    Ok(())
}

fn event(reader: &mut Reader<'_, '_>, call: &Call, id: Id) {
    let name = call.argument.text().unwrap_or_default();
    match name {
        "init" => reader.out.ledger.usual(id, "what it calls with literals is read"),
        name => {
            let words = EVENTS.iter().find(|(known, _)| *known == name).map_or(CODE, |(_, words)| words);
            reader.out.ledger.none(id, words);
        }
    }
}

fn call(reader: &mut Reader<'_, '_>, name: &str, call: &Call, id: Id) -> Result<(), ImportError> {
    let words = CALLS.iter().find(|(known, _)| *known == name).map(|(_, words)| *words);
    match words {
        Some(words) => reader.out.ledger.none(id, words),
        None if OF_CODE.contains(&name) => reader.out.ledger.usual(id, "for code around it"),
        None => {}
    }
    for entry in call.argument.table() {
        let id = super::reader::enter(reader, "init.lua", &call.name, entry)?;
        if let Some(words) = words {
            reader.out.ledger.none(id, words);
        }
    }
    Ok(())
}

/// What listener_domains said, put together.
fn shared(reader: &Reader<'_, '_>) -> Vec<(&'static str, Vec<String>, Vec<Id>)> {
    let mut all: Vec<(&'static str, Vec<String>, Vec<Id>)> = Vec::new();
    for (key, values, from) in &reader.intake {
        match all.iter_mut().find(|one| one.0 == *key) {
            Some(one) => {
                one.1.extend(values.iter().cloned());
                one.2.extend(from);
            }
            None => all.push((key, values.clone(), from.clone())),
        }
    }
    for one in &mut all {
        one.1.sort();
        one.1.dedup();
    }
    all.retain(|one| !one.1.is_empty());
    all
}

fn listener(reader: &mut Reader<'_, '_>, call: &Call, id: Id) -> Result<(), ImportError> {
    let mut lines: Vec<(&'static str, String, Id)> = Vec::new();
    for entry in call.argument.table().iter().filter(|entry| entry.key == "domains") {
        super::domains::domains(reader, "init.lua", entry.value.table())?;
    }
    let mut shared = self::shared(reader);
    let mut address = None;
    for entry in call.argument.table() {
        let own = super::reader::enter(reader, "init.lua", "start_esmtp_listener", entry)?;
        let text = entry.value.text().unwrap_or_default().to_owned();
        let kept = match entry.key.as_str() {
            "listen" if entry.value == Value::Code => {
                let words =
                    "code: the [[listener]] here has 0.0.0.0:25 in its place; write one for each address";
                reader.out.ledger.none(own, words);
                false
            }
            _ if entry.value == Value::Code => {
                reader.out.ledger.none(own, "code: write what it comes to into the [[listener]]");
                false
            }
            "domains" => {
                reader.out.ledger.usual(own, "domain by domain, each with a line of its own");
                false
            }
            "listen" => {
                address = listening(&text);
                if address.is_none() {
                    reader.out.ledger.none(own, "no address and port");
                }
                address.is_some()
            }
            "relay_hosts" => {
                relay_hosts(reader, entry, own, &mut shared);
                true
            }
            "hostname" => {
                reader.out.relevo.set("[node]", "hostname", &quoted(&text), &[own]);
                true
            }
            _ => match self::line(reader, entry, own) {
                Some((key, value)) => {
                    lines.push((key, value, own));
                    true
                }
                None => false,
            },
        };
        if kept {
            reader.out.ledger.translated(own);
        }
    }
    pairs(reader, &mut lines);
    let section = reader.out.relevo.push("[[listener]]", &[id]);
    section.set("address", &quoted(&address.unwrap_or_else(|| "0.0.0.0:25".to_owned())), &[]);
    for (key, values, from) in shared {
        section.set(key, &list(&values), &from);
    }
    for (key, value, id) in lines {
        section.set(key, &value, &[id]);
    }
    reader.out.ledger.translated(id);
    Ok(())
}

/// A certificate without its key is none.
fn pairs(reader: &mut Reader<'_, '_>, lines: &mut Vec<(&'static str, String, Id)>) {
    let both =
        ["tls_certificate", "tls_key"].iter().filter(|key| lines.iter().any(|line| line.0 == **key)).count()
            == 2;
    for (_, _, id) in lines.iter().filter(|line| !both && line.0.starts_with("tls_")) {
        reader
            .out
            .ledger
            .withdraw(*id, "a certificate and its key belong together, and one of both is not here");
    }
    lines.retain(|line| both || !line.0.starts_with("tls_"));
}

fn relay_hosts(
    reader: &mut Reader<'_, '_>,
    entry: &Entry,
    id: Id,
    shared: &mut Vec<(&'static str, Vec<String>, Vec<Id>)>,
) {
    let (networks, others): (Vec<String>, Vec<String>) =
        entry.value.texts().into_iter().partition(|one| value::network(one).is_ok());
    if networks.iter().any(|one| one.ends_with("/0")) {
        let words = "OPEN RELAY: everybody who reaches the port may send to anybody; write your own networks";
        reader.out.ledger.differs(id, words);
    }
    for other in others {
        reader.out.ledger.differs(id, &format!("{}: no network", crate::import::words::shown(&other)));
    }
    match shared.iter_mut().find(|one| one.0 == "relay_from") {
        Some(one) => {
            one.1.extend(networks);
            one.2.push(id);
        }
        None => shared.push(("relay_from", networks, vec![id])),
    }
}

/// One that is a line of a listener here, too.
fn line(reader: &mut Reader<'_, '_>, entry: &Entry, id: Id) -> Option<(&'static str, String)> {
    let text = entry.value.text().unwrap_or_default();
    Some(match entry.key.as_str() {
        "banner" => ("banner", quoted(text)),
        "max_message_size" => ("message_size_max", text.to_owned()),
        "max_recipients_per_message" => {
            let bounds = (limits::RECIPIENTS_LEAST, limits::RECIPIENTS_MAX as u64);
            let count: u64 = text.parse().unwrap_or(bounds.1);
            ("recipients_max", count.clamp(bounds.0, bounds.1).to_string())
        }
        "max_messages_per_connection" => ("messages_per_connection", text.to_owned()),
        "max_connections" => ("connections_max", text.to_owned()),
        "tls_certificate" | "tls_private_key" => {
            if reader.library.text(text).is_err() {
                let words = "it cannot be read here: set tls_certificate and tls_key where it can";
                reader.out.ledger.none(id, words);
                return None;
            }
            let key = if entry.key == "tls_certificate" { "tls_certificate" } else { "tls_key" };
            (key, quoted(text))
        }
        _ => {
            self::usual(reader, entry, id);
            return None;
        }
    })
}

/// What a listener has here anyway, or has not.
fn usual(reader: &mut Reader<'_, '_>, entry: &Entry, id: Id) {
    match entry.key.as_str() {
        "trace_headers" => reader
            .out
            .ledger
            .usual(id, "Received says who we are; set.hide_trace of a [[rule]] hides where mail was"),
        "client_timeout"
        | "data_processing_timeout"
        | "line_length_hard_limit"
        | "invalid_line_endings"
        | "data_buffer_size"
        | "peer"
        | "meta"
        | "via" => {
            reader.out.ledger.usual(id, "a listener has bounds of its own (docs/receiving.md)");
        }
        "require_proxy_protocol" => reader
            .out
            .ledger
            .none(id, "name the balancers: proxy_from = [\"10.0.0.10/32\"] of the [[listener]]"),
        "deferred_spool" | "deferred_queue" if entry.value.text() == Some("false") => {
            reader.out.ledger.usual(id, "nothing is accepted before it is on disk");
        }
        "deferred_spool" | "deferred_queue" => {
            reader.out.ledger.none(id, "nothing is accepted before it is on disk")
        }
        _ => {}
    }
}

fn log(reader: &mut Reader<'_, '_>, call: &Call, id: Id) -> Result<(), ImportError> {
    let mut lines = Vec::new();
    for entry in call.argument.table() {
        let own = super::reader::enter(reader, "init.lua", "configure_local_logs", entry)?;
        let text = entry.value.text().unwrap_or_default();
        match entry.key.as_str() {
            "log_dir" => {
                reader.out.ledger.differs(own, "one file, /var/log/relevo/kumo.jsonl, which is rotated")
            }
            "max_segment_duration" => match crate::shaping::value::time(text) {
                Some(span) => {
                    if span.as_secs() < 60 {
                        reader.out.ledger.differs(own, "a minute at least");
                    }
                    lines.push(("rotate", quoted(&time(span.as_secs().max(60))), own));
                    reader.out.ledger.translated(own);
                }
                None => reader.out.ledger.none(own, "no time"),
            },
            "back_pressure" | "per_record" => reader.out.ledger.none(
                own,
                "events of the [[log]] choose records; the journal holds what cannot be written yet",
            ),
            "max_file_size" => {
                reader.out.ledger.none(own, "rotate = \"1GiB/1d\" of the [[log]] has a size, too")
            }
            "headers" | "meta" => reader
                .out
                .ledger
                .none(own, "records have no header fields; X-Relevo-Metadata is in every event"),
            "compression_level" => {
                lines.push(("compress", "true".to_owned(), own));
                reader
                    .out
                    .ledger
                    .differs(own, "what was rotated is compressed, at a level that is not chosen");
            }
            _ => {}
        }
    }
    let section = reader.out.relevo.push("[[log]]", &[id]);
    section.set("path", &quoted("/var/log/relevo/kumo.jsonl"), &[]);
    section.set("format", &quoted("kumo-json"), &[]);
    for (key, value, id) in lines {
        section.set(key, &value, &[id]);
    }
    reader.out.ledger.translated(id);
    Ok(())
}

/// `0:25`, `0.0.0.0:2525`, `[::]:25`
fn listening(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.trim_matches(['[', ']']) {
        "0" | "" | "*" => "0.0.0.0",
        host => host,
    };
    let host: std::net::IpAddr = host.parse().ok()?;
    let port: u16 = port.parse().ok()?;
    Some(std::net::SocketAddr::new(host, port).to_string())
}
