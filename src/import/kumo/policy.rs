//! init.lua: its listeners, logs and spool, as far as they are literals; all else is told.

use super::lua::{self, Call};
use super::reader::Reader;
use super::values::{Entry, Value};
use crate::config::value;
use crate::import::words::{list, quoted, time};
use crate::import::{Id, ImportError};
use crate::limits;

/// Calls that nothing is made of.
const CALLS: [(&str, &str); 14] = [
    (
        "on",
        "code for an event: [[rule]] sets and refuses, [[tenant]] and shaping.toml have what queues ask for, [hook] asks a service of yours",
    ),
    (
        "define_spool",
        "the spool is node.data_dir, /var/lib/relevo: let KumoMTA deliver what it holds before you turn it off",
    ),
    ("start_http_listener", "control.http is for operators, with tokens; mail comes by SMTP"),
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
    ("make_egress_pool", "[[pool]] of relevo.toml"),
    ("make_queue_config", "[retry], [[tenant]] and shaping.toml"),
    ("make_listener_domain", "relay_to of a [[listener]], and [feedback]"),
];

/// Calls that read or make something for code around them.
const OF_CODE: [&str; 12] = [
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
    for call in &calls {
        let told = match &call.argument {
            Value::Text(text) => format!("kumo.{}({})", call.name, quoted(text)),
            _ => format!("kumo.{}", call.name),
        };
        let id = reader.out.ledger.add("init.lua", call.line, &told)?;
        match call.name.as_str() {
            "start_esmtp_listener" => self::listener(reader, call, id)?,
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
    let mut shared = self::shared(reader);
    let mut address = None;
    for entry in call.argument.table() {
        let own = super::reader::enter(reader, "init.lua", "start_esmtp_listener", entry)?;
        let text = entry.value.text().unwrap_or_default().to_owned();
        let kept = match entry.key.as_str() {
            _ if entry.value == Value::Code => {
                reader.out.ledger.none(own, "code: write what it comes to into the [[listener]]");
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
                let networks: Vec<String> =
                    entry.value.texts().into_iter().filter(|one| value::network(one).is_ok()).collect();
                match shared.iter_mut().find(|one| one.0 == "relay_from") {
                    Some(one) => {
                        one.1.extend(networks);
                        one.2.push(own);
                    }
                    None => shared.push(("relay_from", networks, vec![own])),
                }
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
                    lines.push(("rotate", quoted(&time(span.as_secs().max(60))), own));
                    reader.out.ledger.translated(own);
                }
                None => reader.out.ledger.none(own, "no time"),
            },
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
